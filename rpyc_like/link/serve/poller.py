"""One thread that reads from many connections, for a bounded pool of workers.

The poller has the reading role of each of its connections. It takes in what has arrived, never
waits for a single peer, settles answers and hands requests to the workers: a slow peer takes no
worker, a slow call takes one.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from selectors import EVENT_READ
from threading import current_thread
from typing import Any

from ...lib import primitives
from ...lib.threads import ThreadCache, spawn
from ...lib.worker_pool import WorkerPool
from ...wire.session import BROKEN, CALL, Outcome
from ..apart import APART
from ..call_registry import name_of
from ..receiving import FrameReceiver
from ..streams.base import DescriptorStream, WakePipe
from ..threaded import ThreadedLink

__all__ = ["Poller", "can_poll"]

logger = logging.getLogger("rpyc_like.link")

_AGAIN = 0.05  # seconds after which a thread is asked for again that the system has refused
_TURN = 64  # messages of one connection before the others are looked at again


def can_poll(link: Any) -> bool:
    """Returns whether a poller can read from a connection: not over a program's own stream."""
    return (
        isinstance(link, ThreadedLink)
        and isinstance(link.receiver, FrameReceiver)
        and isinstance(link.channel.stream, DescriptorStream)
    )


def _lose(link: ThreadedLink, error: Exception) -> None:
    logger.error("! %s: reading failed", name_of(link.application), exc_info=error)
    link.lose(error)


class _PolledLink:
    """A connection that is read by a poller."""

    def __init__(self, link: ThreadedLink, gone: Callable[[], object]) -> None:
        self.link = link
        self.gone = gone
        self.fd = link.channel.fileno()
        self.stream: DescriptorStream = link.channel.stream
        assert isinstance(link.receiver, FrameReceiver)
        self.receiver = link.receiver
        self.decoding = False  # whether a thread decodes a message, and nothing is read
        self.paused = False  # whether nothing is read, because too much waits to be served


class Poller:
    """Reads from connections until it is closed.

    Args:
        workers: run requests and callbacks.
    """

    def __init__(self, workers: WorkerPool) -> None:
        self._workers = workers
        self._selector = primitives.DefaultSelector()
        self._wake = WakePipe()
        self._selector.register(self._wake.fileno(), EVENT_READ)
        self._members: dict[int, _PolledLink] = {}
        self._coming: deque[_PolledLink] = deque()
        self._asked: deque[int] = deque()
        self._decoders = ThreadCache()
        self._decoded: deque[tuple[_PolledLink, Outcome]] = deque()
        self._more: set[_PolledLink] = set()  # whose turn ended before what had arrived
        self._deadlines: dict[_PolledLink, float] = {}  # by when a started frame must be complete
        self._joining = primitives.RLock()  # guards _closed and _coming
        self._closed = False
        self.thread = spawn(self._run)

    def add(self, link: ThreadedLink, gone: Callable[[], object]) -> None:
        """Reads from a connection from now on, until it ends.

        Args:
            gone: called in a worker when it has ended.
        """
        link.reading.acquire()
        link.reading.kept_by = self.thread.ident
        link.guards.append(self._workers)
        link.channel.stream.hold()
        link.pooled = True
        member = _PolledLink(link, gone)
        reference = weakref.ref(link)

        def work(func: Callable[[], None], mark: Any) -> None:
            link = reference()
            in_order = link is not None and link.in_order
            self._workers.run(func, (link, mark) if in_order else object())

        link.workers = work
        link.overtake = lambda: self._workers.overtake((reference(), 0))
        with self._joining:
            late = self._closed
            if not late:
                self._coming.append(member)
        if late:
            self._end(member)
        else:
            self._wake.wake()

    def look_at(self, fds: Iterable[int]) -> None:
        """Has descriptors read from without waiting for the system to say so."""
        self._asked.extend(fds)
        self._wake.wake()

    def close(self) -> None:
        """Ends the connections that are left, and the thread."""
        with self._joining:
            self._closed = True
        self._wake.wake()
        if self.thread is not current_thread():
            self.thread.join(5)

    # -- the poller's thread

    def _run(self) -> None:
        try:
            while not self._closed:
                self._turn()
        finally:
            for member in [*self._members.values(), *self._coming]:
                self._end(member)
            self._selector.close()
            self._wake.close()

    def _turn(self) -> None:
        events = self._selector.select(self._timeout())
        if any(key.fd == self._wake.fileno() for key, _ in events):
            self._wake.clear()  # first: what comes from now on wakes the thread again
        if self._workers.lacks_threads:
            self._workers.start_again()
        while self._coming:
            self._admit(self._coming[0])
            self._coming.popleft()
        while self._decoded:
            self._read_on(*self._decoded.popleft())
        while self._asked:
            asked = self._members.get(self._asked.popleft())
            if asked is not None:
                self._more.add(asked)
        due, now = {*self._more}, primitives.monotonic()
        self._more.clear()
        due |= {member for member, end in self._deadlines.items() if end <= now}
        for key, _ in events:
            if key.fd in self._members:
                due.add(self._members[key.fd])
        self._handle(due)

    def _timeout(self) -> float | None:
        if self._more:
            return 0
        left = _AGAIN if self._workers.lacks_threads else None
        if self._deadlines:
            due = max(0.0, min(self._deadlines.values()) - primitives.monotonic())
            left = due if left is None else min(left, due)
        return left

    def _admit(self, member: _PolledLink) -> None:
        self._members[member.fd] = member
        self._selector.register(member.fd, EVENT_READ)
        self._more.add(member)  # something may have been read before

    def _handle(self, members: set[_PolledLink]) -> None:
        for member in members:
            try:
                going_on = self._read(member)
            except Exception as error:
                self._workers.run(partial(_lose, member.link, error), member)
                going_on = False
            if not going_on:
                self._forget(member)

    def _read(self, member: _PolledLink) -> bool:
        """Takes in what has arrived; returns whether the connection goes on."""
        link = member.link
        self._deadlines.pop(member, None)
        for _ in range(_TURN):
            if link.end._ready:
                return False
            if member.decoding or self._pauses(member):
                return True
            outcome = link.stash.popleft() if link.stash else link.read_quickly()
            if outcome is None:
                left = member.receiver.frame_left()
                if left is not None:
                    self._deadlines[member] = primitives.monotonic() + left
                return True
            if outcome[0] is APART:
                member.decoding = True
                self._selector.unregister(member.fd)
                try:
                    self._decoders.run(partial(self._decode, member, outcome[1]))
                except RuntimeError:  # the system has no more threads
                    self._decode(member, outcome[1])
                return True
            self._act(member, outcome)
            if outcome[0] is BROKEN:
                return not link.end._ready
        self._more.add(member)
        return True

    def _pauses(self, member: _PolledLink) -> bool:
        """Read nothing while too much waits to be served; return whether that is so."""
        queued = member.link.queued
        if queued.full:
            queued.on_room = partial(self.look_at, (member.fd,))
            asks = len(member.link.session.pending) > 0
            if queued.keeps_from_reading(asks):  # and not just while that was set
                if not member.paused:
                    member.paused = True
                    self._selector.unregister(member.fd)
                return True
        if member.paused:
            member.paused = False
            self._selector.register(member.fd, EVENT_READ)
        return False

    def _act(self, member: _PolledLink, outcome: Outcome) -> None:
        if outcome[0] is CALL:
            filed = member.link.file_request(outcome, True)
            if filed is not None:
                member.link.act(filed)
        elif len(outcome) > 1:  # may run code of the program
            self._workers.run(partial(member.link.act, outcome), (member.link, None))

    def _decode(self, member: _PolledLink, payload: bytes) -> None:
        """Decode a message that takes long, in a thread of its own."""
        failure = None
        try:
            outcome = member.link.understand(payload)
        except Exception as error:
            failure = error
            outcome = member.link.broken(error)
        name = name_of(member.link.application) if failure else ""
        self._decoded.append((member, outcome))
        self._wake.wake()
        if failure:  # a log handler may ask the peer: not before others can read
            logger.error("! %s: cannot decode a message", name, exc_info=failure)

    def _read_on(self, member: _PolledLink, outcome: Outcome) -> None:
        """Act on a message that has been decoded, and read what comes after it."""
        if self._members.get(member.fd) is not member:
            return  # it has been forgotten meanwhile
        member.decoding = False
        self._selector.register(member.fd, EVENT_READ)
        self._act(member, outcome)
        self._more.add(member)

    def _end(self, member: _PolledLink) -> None:
        """Hangs up, and forgets a connection."""
        self._workers.run(partial(member.link.lose, None), member)
        self._forget(member)

    def _forget(self, member: _PolledLink) -> None:
        self._members.pop(member.fd, None)
        self._more.discard(member)
        self._deadlines.pop(member, None)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(member.fd)
        member.stream.let_go()
        member.link.pooled = False
        member.link.reading.kept_by = None
        with contextlib.suppress(RuntimeError):
            member.link.reading.release()
        self._workers.run(member.gone, member)
