"""Messages that have been read and wait to be served, counted by the memory that they take.

The size on the wire says little: 60 KiB may have been inflated to 60 MiB, and a tuple of two-byte
items takes a hundred times its size. Whoever reads for a connection looks at :attr:`Backlog.full`
before, and reads nothing while it is: then the peer's sending ends by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import LimitExceeded
from ..lib import primitives
from ..wire.meter import Contents, measure, memory_of
from ..wire.session import CALL, Outcome
from . import fork
from .receiving import MAX_QUEUED
from .result import Unresolved

__all__ = ["Backlog", "Stash", "weight_of"]

_OVERHEAD = 512  # bytes that a message takes beside its values
_ASKING = 4  # times the limit, while this side waits for answers
_LOOK = 0.05  # seconds after which one who waits looks whether the connection is gone


def weight_of(outcome: Outcome, contents: Contents | None = None) -> int:
    """Return how many bytes of memory a message takes that has been read.

    Args:
        contents: what is in values; None for those of RPyC's messages.
    """
    if outcome[0] is CALL:
        value = outcome[3]
    else:
        value = outcome[1] if len(outcome) == 2 else None
    if isinstance(value, Unresolved):
        return _OVERHEAD + value.weight()
    if contents is not None:
        return _OVERHEAD + memory_of(value, contents)
    return _OVERHEAD + int(measure(value)[0])


class Backlog:
    """Memory of the messages of one connection that wait to be served. Used by any thread."""

    def __init__(self) -> None:
        self.limit = MAX_QUEUED
        """Bytes from which nothing more is read: configuration key ``max_queued_bytes``."""
        self.full = False
        """Whether nothing more may be read: this connection, or all of the listener's, hold much.

        A single message may be larger than the limit.
        """
        self.size = 0
        """Bytes that wait."""
        self.on_room: Callable[[], object] | None = None
        """Called once when the backlog is not full any more."""
        self.total: Callable[[int], object] | None = None
        """Called with each change, without a lock: the account of the listener.

        It raises LimitExceeded if there is too much. To be set before anything is counted.
        """
        self.weigh: Callable[[Outcome], int] = weight_of
        """Returns how many bytes a message takes."""
        self._beyond = 0  # bytes that the listener's account has refused
        self._closed = False
        self._sizes: dict[int, int] = {}  # of messages, by their ids
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        # A condition's own methods are Python's, in which a signal handler's exception may come
        # when the lock has been taken, or before it is released. A lock's are not.
        self._lock = primitives.RLock()  # guards both numbers and _closed
        self._changed = primitives.Condition(self._lock)

    @property
    def entered(self) -> bool:
        """Whether the current thread changes the numbers at this moment."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def add(self, size: int) -> None:
        """Count a message that waits."""
        total, beyond = self.total, 0
        if total is not None:
            try:
                total(size)
            except LimitExceeded:
                beyond = size
        with self._lock:
            if not self._closed:
                self.size += size
                if beyond:
                    self._beyond += beyond
                self._note()
                return
        if total is not None and not beyond:  # it has ended meanwhile
            total(-size)

    def remove(self, size: int) -> None:
        """Count a message that does not wait any more."""
        with self._lock:
            if self._closed:
                return
            total, on_room = self.total, None
            was_full = self.full
            self.size -= size
            if self._beyond:
                beyond = min(size, self._beyond)
                self._beyond -= beyond
                size -= beyond
            self._note()
            if was_full and not self.full:
                self._changed.notify_all()
                on_room, self.on_room = self.on_room, None
        if total is not None and size:
            total(-size)
        if on_room is not None:
            on_room()

    def put(self, outcome: Outcome) -> None:
        """Count a message that is handed to another thread; the caller keeps it until then."""
        self._sizes[id(outcome)] = size = self.weigh(outcome)
        self.add(size)

    def take(self, outcome: Outcome) -> None:
        """Count a message no more that was :meth:`put`.

        It is not weighed again: that takes time, and its weight may have changed.
        """
        self.remove(self._sizes.pop(id(outcome), 0))

    @contextmanager
    def serving(self, args: Any) -> Iterator[None]:
        """Count the arguments of a request for the listener while the request is served.

        Raises:
            LimitExceeded: the listener's clients would hold too much.
        """
        size = 0 if self.total is None else self.weigh((CALL, None, None, args))
        with self.holding(size):
            yield

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count ``size`` bytes for the listener that are neither queued nor a reason to wait.

        Raises:
            LimitExceeded: the listener's clients would hold too much.
        """
        total = self.total
        if total is None:
            yield
            return
        total(size)
        try:
            yield
        finally:
            total(-size)

    def _note(self) -> None:
        self.full = self.size >= self.limit or self._beyond > 0

    def keeps_from_reading(self, asks: bool) -> bool:
        """Return whether nothing more may be read.

        Args:
            asks: whether this side waits for answers. What waits to be served may wait for them.
        """
        if not self.full:
            return False
        return not asks or self._beyond > 0 or self.size >= _ASKING * self.limit

    def reconsider(self) -> None:
        """Have whoever has stopped reading look again, since this side waits for an answer now."""
        on_room, self.on_room = self.on_room, None
        if on_room is not None:
            on_room()

    def wait(self, timeout: float | None, anyway: Callable[[], bool]) -> bool:
        """Wait until more may be read; return whether it may.

        Args:
            timeout: seconds, None for ever.
            anyway: whether it may in any case, which ends the wait.
        """
        end = None if timeout is None else primitives.monotonic() + timeout
        with self._lock:
            while self.full and not anyway():
                left = _LOOK if end is None else min(_LOOK, end - primitives.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def close(self) -> None:
        """Count nothing any more: the connection is gone. Idempotent."""
        with self._lock:
            size, total = self.size - self._beyond, self.total
            self._closed = True
            self.size = self._beyond = 0
            self.total = None
            self._note()
            self._changed.notify_all()
        if total is not None:
            total(-size)


class Stash(deque[Any]):
    """Messages that were read too early, in order. Belongs to the reading role.

    Args:
        backlog: counts them.
    """

    def __init__(self, backlog: Backlog) -> None:
        super().__init__()
        self._backlog = backlog
        self._sizes: deque[int] = deque()

    def append(self, outcome: Outcome) -> None:
        """Keep a message."""
        size = self._backlog.weigh(outcome)
        self._backlog.add(size)
        self._sizes.append(size)
        super().append(outcome)

    def popleft(self) -> Outcome:
        """Return the oldest message."""
        outcome: Outcome = super().popleft()
        self._backlog.remove(self._sizes.popleft())
        return outcome
