"""Small messages that leave together, where that delays nobody who waits.

One write for each message costs more than most messages. So an answer is held while further
requests have arrived already, and leaves with the last one; and a request that nobody waits for is
held while many others are on their way, and leaves with what is sent next, or when somebody waits
for something. One thread of the process looks once in a while: what is held leaves after two looks
at most.
"""

from __future__ import annotations

import atexit
import contextlib
import weakref
from typing import TYPE_CHECKING, Final

from ..errors import ConnectionClosed
from ..lib import primitives
from ..lib.first_use import FirstUse
from ..lib.interrupts import raised_by_handler
from ..lib.subinterpreters import at_end
from ..lib.threads import spawn, start_thread
from . import fork
from .sending import FrameSender, takes_over

if TYPE_CHECKING:
    from .threaded import ThreadedLink

__all__ = ["IN_FLIGHT", "TICK", "WriteCoalescer"]

TICK: Final = 0.001
"""Seconds between two looks."""

IN_FLIGHT: Final = 16
"""Requests that are sent at once, even if nobody waits for them."""

_PATIENCE: Final = 20
"""Looks without anything being held, after which a connection is looked at no more."""

_LARGEST: Final = 1 << 16


class WriteCoalescer:
    """Sends over a connection.

    Args:
        link: the connection.
    """

    def __init__(self, link: ThreadedLink) -> None:
        self._link: ThreadedLink | None = link
        self._receiver = link.receiver
        self._sender = link.sender
        self._can_hold = isinstance(self._sender, FrameSender)
        self.held = 0
        """Bytes that are held."""
        self._number = 0  # of the batch
        self._looked_at = False  # whether the timer has it
        self._seen, self._quiet = 0, 0  # by the timer

    def send(self, payload: bytes) -> None:
        """Sends an answer, or holds it while there are requests to serve."""
        if self._can_hold and self._receiver.payloads:
            self._hold(self._sender.encode(payload))  # type: ignore[attr-defined]
        else:
            if self.held:
                self._done()
            link = self._link
            (self._sender if link is None else link).send(payload)

    @takes_over
    def send_frame(self, frame: bytes) -> None:
        """Does the same with a whole frame."""
        if self._receiver.payloads:
            self._hold(frame)
        else:
            if self.held:
                self._done()
            if not self._sender.try_frame(frame):  # type: ignore[attr-defined]
                self._sender.flush()  # type: ignore[attr-defined]

    @takes_over
    def send_unawaited(self, link: ThreadedLink, frame: bytes) -> None:
        """Sends the frame of a request that no thread waits for, or holds it."""
        if len(link.session.pending) > IN_FLIGHT:
            self._hold(frame)
        else:
            self._sender.send_frame(frame)  # type: ignore[attr-defined]

    @takes_over
    def _hold(self, frame: bytes) -> None:
        self._sender.hold(frame)  # type: ignore[attr-defined]
        self.held += len(frame)
        if self.held > _LARGEST:
            self.flush()
        else:
            self._watch()

    def _watch(self) -> None:
        if not self._looked_at:
            _alive.add(self)
            try:
                self._looked_at = True
                _timer.add(self)
            except BaseException as error:
                self._looked_at = False
                if not isinstance(error, RuntimeError) or raised_by_handler(error):
                    raise
                self.flush()  # the system has no more threads

    def resume(self) -> None:
        """Has what is queued sent soon: who was about to do so was interrupted."""
        if self._can_hold:
            self.held += 1
            self._watch()

    def flush(self) -> None:
        """Sends what is held."""
        if self.held:
            self._done()
            self._sender.flush()  # type: ignore[attr-defined]

    @takes_over
    def _done(self) -> None:
        self.held = 0
        self._number += 1

    def look(self) -> bool:
        """Send what has been held since the last look; return whether to look again.

        Waits for nobody: where the peer takes nothing in, another thread goes on.
        """
        if self.held:
            self._quiet = 0
            if self._number == self._seen:
                self._done()
                if not self._sender.try_send():
                    try:
                        spawn(self._flush_slowly)
                    except RuntimeError:  # the system has no more threads
                        self.held += 1  # at the next look
        else:
            self._quiet += 1
            if self._quiet > _PATIENCE:
                self._quiet = 0
                self._looked_at = False
                if not self.held:
                    return False
                self._looked_at = True  # held since
        self._seen = self._number
        return True

    def _flush_slowly(self) -> None:
        try:
            self._sender.flush()  # type: ignore[attr-defined]
        except ConnectionClosed as error:
            link = self._link
            if link is not None:
                link.answer_failed(error)

    def disown(self) -> None:
        """Let go of the connection, which has ended."""
        self._link = None

    def guarded_look(self) -> bool:
        """Look, unless the connection has ended; it ends if sending fails."""
        link = self._link
        if link is None or link.end._ready:
            return False
        try:
            return self.look()
        except ConnectionClosed as error:
            if not link.reads_on(error):
                link.fail(error)
            return False


class _Timer:
    """Looks at the connections that hold something, in one thread, which keeps none alive."""

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything; the thread starts again when it is needed."""
        self._coming: primitives.SimpleQueue[weakref.ref[WriteCoalescer] | None] = (
            primitives.SimpleQueue()
        )
        self._thread = FirstUse(lambda: start_thread(self._run, "rpyc_like-held-writes"))

    def add(self, batch: WriteCoalescer) -> None:
        """Look at ``batch`` until it has held nothing for a while."""
        self._thread.get()
        self._coming.put(weakref.ref(batch))

    def end(self) -> None:
        """End the thread."""
        self._coming.put(None)

    def _run(self) -> None:
        watched: dict[int, weakref.ref[WriteCoalescer]] = {}  # by identity: a dead one has no hash
        while True:
            while not watched or not self._coming.empty():
                coming = self._coming.get()
                if coming is None:
                    return
                watched[id(coming)] = coming
            primitives.sleep(TICK)
            watched = {key: one for key, one in watched.items() if _look(one)}


def _look(reference: weakref.ref[WriteCoalescer]) -> bool:
    batch = reference()
    return batch is not None and batch.guarded_look()


_timer = _Timer()
at_end(_timer.end)
fork.after_fork(_timer.start_anew)  # the thread stays with the parent

_alive: weakref.WeakSet[WriteCoalescer] = weakref.WeakSet()


def _flush_all() -> None:
    """Sends what is held when the program ends, as far as that goes at once."""
    for batch in list(_alive):
        with contextlib.suppress(ConnectionClosed):
            link = batch._link
            if link is not None:
                link.try_send()


atexit.register(_flush_all)
