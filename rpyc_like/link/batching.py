"""Small messages that leave together, where that delays nobody who waits.

One write for each message costs more than most messages. So an answer is held while further
requests have arrived already, and leaves with the last one; and a request that nobody waits for is
held while many others are on their way, and leaves with what is sent next, or when somebody waits
for something. A thread looks once in a while: what is held leaves after two looks at most.
"""

from __future__ import annotations

import atexit
import contextlib
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Final

from ..errors import ConnectionClosed
from ..lib.threads import spawn
from .receiving import Waiter
from .sending import FrameSender

if TYPE_CHECKING:
    from .connection import MessageConnection

__all__ = ["IN_FLIGHT", "TICK", "Batch"]

TICK: Final = 0.001
"""Seconds between two looks."""

IN_FLIGHT: Final = 16
"""Requests that are sent at once, even if nobody waits for them."""

_PATIENCE: Final = 20
"""Looks without anything being held, after which the thread sleeps until it is woken."""

_LARGEST: Final = 1 << 16


class Batch:
    """Sends over a connection.

    Args:
        link: the connection.
    """

    def __init__(self, link: MessageConnection) -> None:
        self._link = link
        self._receiver = link.receiver
        self._sender = link.sender
        self._can_hold = isinstance(self._sender, FrameSender)
        self.held = 0
        """Bytes that are held."""
        self._number = 0  # of the batch
        self._waiter: Waiter | None = None
        self._asleep = False
        self._seen, self._quiet = 0, 0  # by the thread that looks

    def __del__(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    def send(self, payload: bytes) -> None:
        """Sends an answer, or holds it while there are requests to serve."""
        if self._can_hold and self._receiver.payloads:
            self._hold(self._sender.encode(payload))  # type: ignore[attr-defined]
        else:
            if self.held:
                self._done()
            self._link.send(payload)

    def send_frame(self, frame: bytes) -> None:
        """Does the same with a whole frame."""
        if self._receiver.payloads:
            self._hold(frame)
        else:
            if self.held:
                self._done()
            if not self._sender.try_frame(frame):  # type: ignore[attr-defined]
                self._sender.flush()  # type: ignore[attr-defined]

    def send_unawaited(self, frame: bytes) -> None:
        """Sends the frame of a request that no thread waits for, or holds it."""
        if len(self._link.session.pending) > IN_FLIGHT:
            self._hold(frame)
        else:
            self._sender.send_frame(frame)  # type: ignore[attr-defined]

    def _hold(self, frame: bytes) -> None:
        self._sender.hold(frame)  # type: ignore[attr-defined]
        self.held += len(frame)
        if self.held > _LARGEST:
            self.flush()
        elif self._waiter is None:
            _alive.add(self)
            self._waiter = Waiter(get_ident())
            self._waiter.arm()
            self._link.end.add_waiter(self._waiter)
            spawn(_watch, weakref.ref(self), self._waiter)
        elif self._asleep:
            self._asleep = False
            self._waiter.wake()

    def flush(self) -> None:
        """Sends what is held."""
        if self.held:
            self._done()
            self._sender.flush()  # type: ignore[attr-defined]

    def _done(self) -> None:
        self.held = 0
        self._number += 1

    def look(self, waiter: Waiter) -> float | None:
        """Sends what has been held since the last look; returns when to look again.

        Returns:
            Seconds; None for when the waiter is woken.
        """
        self._asleep = False
        if self.held:
            self._quiet = 0
            if self._number == self._seen:
                self.flush()
        else:
            self._quiet += 1
            if self._quiet > _PATIENCE:
                waiter.arm()
                self._asleep = True
                self._quiet = 0
                if not self.held:
                    return None
        self._seen = self._number
        return TICK


_alive: weakref.WeakSet[Batch] = weakref.WeakSet()


def _flush_all() -> None:
    """Sends what is held when the program ends, as far as that goes at once."""
    for batch in list(_alive):
        with contextlib.suppress(ConnectionClosed):
            batch._link.try_send()


atexit.register(_flush_all)


def _watch(reference: weakref.ref[Batch], waiter: Waiter) -> None:
    """Looks until the connection is gone, which this thread does not keep alive."""
    wait: float | None = TICK
    while True:
        waiter.sleep(wait)
        batch = reference()
        if batch is None or batch._link.end._ready:
            return
        try:
            wait = batch.look(waiter)
        except ConnectionClosed as error:
            batch._link.lose(error)
            return
        del batch
