"""Memory that is kept for the peer of a connection, counted by any thread."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..lib import primitives
from ..wire.meter import Contents, Meter, Work, memory_of
from . import fork
from .housekeeping import housekeeper

__all__ = ["ENTRY", "Kept", "RequestAccount"]

ENTRY: Final = 200
"""Bytes that a reference to an object costs: the entry in the table of exported objects."""


class Kept:
    """Memory that is kept for the peer of one connection, counted by any thread.

    Args:
        meter: the account of the connection.
        schedule_flush: has what a weak reference is to flushed soon; safe in finalizers.
    """

    __slots__ = (
        "__weakref__",
        "_armed",
        "_closed",
        "_lock",
        "_returned",
        "_schedule_flush",
        "meter",
    )

    def __init__(
        self,
        meter: Meter,
        schedule_flush: Callable[[weakref.ref[Any]], object] = housekeeper.schedule_flush,
    ) -> None:
        self.meter = meter
        self._schedule_flush = schedule_flush
        self._returned: deque[int] = deque()
        self._armed = False  # whether it is flushed soon
        self._closed = False
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        # Guards the meter. A finalizer that runs in the middle may come here again.
        self._lock = primitives.RLock()

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        with self._lock:
            self._settle()
            return self.meter.held

    def hold(self, size: int, what: str) -> None:
        """Count ``size`` bytes more.

        Args:
            what: for which they are kept, in words.

        Raises:
            LimitExceeded: that would be more than the connection or its server may keep.
        """
        with self._lock:
            self._settle()
            if not self._closed:
                self.meter.hold(size, what)

    def release(self, size: int) -> None:
        """Count ``size`` bytes less."""
        self._returned.append(size)
        with self._lock:
            self._settle()

    def release_later(self, size: int) -> None:
        """Count ``size`` bytes less in a moment, or before something else. Safe in finalizers."""
        self._returned.append(size)
        if not self._armed:
            self._armed = True
            self._schedule_flush(weakref.ref(self))

    def flush_released(self) -> bool:
        """Count what finalizers have left; return that nothing is left for later."""
        self._armed = False  # before: who comes from now on calls again
        with self._lock:
            self._settle()
        return False

    def close(self) -> None:
        """Count nothing any more: the connection is gone."""
        with self._lock:
            self._returned.clear()
            if not self._closed:
                self._closed = True
                self.meter.release(self.meter.held)

    def _settle(self) -> None:
        try:
            while self._returned:
                size = self._returned.popleft()
                if not self._closed:
                    self.meter.release(size)
        except IndexError:
            pass  # a finalizer has been faster


class RequestAccount:
    """Items that are taken for one request, and their memory, which counts until it is closed.

    Args:
        kept: the account of the connection.
        work: counts the items.
        contents: what containers of the protocol hold.
    """

    __slots__ = ("_contents", "_held", "_kept", "_work")

    def __init__(self, kept: Kept, work: Work, contents: Contents) -> None:
        self._kept = kept
        self._work = work
        self._contents = contents
        self._held = 0

    def __enter__(self) -> RequestAccount:
        return self

    def __exit__(self, *exc: object) -> None:
        self._kept.release(self._held)
        self._held = 0

    def count(self, steps: int = 1) -> None:
        """Count steps; raise LimitExceeded if there are too many."""
        self._work.do(steps)

    def check(self) -> None:
        """Raise an error if nobody waits for the items any more."""
        self._work.do(0)

    def hold(self, item: Any) -> None:
        """Count the memory of an item; raise LimitExceeded if it is too much."""
        size = memory_of(item, self._contents)
        self._kept.hold(size, "items that are taken for a request")
        self._held += size
