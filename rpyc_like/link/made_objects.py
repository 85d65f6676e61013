"""Objects of this side that exist for a peer's calls of the library, counted while they live."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from sys import getrefcount
from typing import Any, Final

from ..errors import LimitExceeded
from ..lib import primitives
from ..lib.guards.growth import own_size
from . import fork
from .housekeeping import housekeeper
from .kept import ENTRY, Kept

__all__ = ["MadeObjects"]

_WHAT: Final = "memory for objects that are made or enlarged"
_FEW: Final = 64  # objects; among so many, those that nothing else refers to may stay
_ROUNDS: Final = 8  # objects that hold one another are let go one after the other


class _Record:
    """An object, the bytes that it took when it was new, and those that it has grown by."""

    __slots__ = ("growth", "obj", "size")

    def __init__(self, obj: Any) -> None:
        self.obj = obj
        self.size = self.growth = 0


class MadeObjects:
    """Objects that a peer has made or enlarged by calls of the library, with their memory.

    Whether one lives is known by its references: what nothing refers to but its record is dropped.
    That happens when the peer gives it back, when their number has doubled, and before something
    is refused.

    Args:
        kept: the account of the connection.
        schedule_flush: has what a weak reference is to flushed soon; safe in finalizers.
    """

    __slots__ = (
        *("__weakref__", "_armed", "_kept", "_lock", "_next", "_released", "records"),
        *("_schedule_flush", "_unpaid"),
    )

    def __init__(
        self,
        kept: Kept,
        schedule_flush: Callable[[weakref.ref[Any]], object] = housekeeper.schedule_flush,
    ) -> None:
        self._kept = kept
        self._schedule_flush = schedule_flush
        self.records: dict[int, _Record] = {}
        """By the ids of the objects; to be changed here only."""
        self._released: deque[int] = deque()  # ids of objects that may have been let go
        self._armed = False
        self._next = _FEW
        self._unpaid = 0  # bytes of records that could not be counted: they were there already
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        self._lock = primitives.RLock()

    # -- counting

    def check(self, size: int) -> None:
        """Raise LimitExceeded if so many bytes more may not be kept."""
        with self._lock:
            self._hold(size, pays=True)
            self._kept.release(size)

    def add(self, obj: Any, size: int) -> None:
        """Count a new object.

        Raises:
            LimitExceeded: it is too much.
        """
        with self._lock:
            record = self.records.get(id(obj))
            more = size + ENTRY if record is None else max(0, size - record.size)
            self._hold(more)
            self._record(obj).size += more
        self._look()

    def resize(self, obj: Any, size: int) -> None:
        """Count what an object has become larger or, below 0, smaller."""
        with self._lock:
            record = self.records.get(id(obj))
            if size < 0:
                if record is not None:
                    self._shrink(record, -size)
                return
            try:
                self._hold(size)
            except LimitExceeded:
                self._unpaid += size
            self._record(obj).growth += size
        self._look()

    def _record(self, obj: Any) -> _Record:
        found = self.records.get(id(obj))
        if found is None:
            found = self.records[id(obj)] = _Record(obj)
        return found

    def _shrink(self, record: _Record, size: int) -> None:
        """Count that an object has become smaller."""
        growth = min(size, record.growth)
        size = min(size - growth, record.size)
        record.growth -= growth
        record.size -= size
        self._give_back(growth + size)

    def _give_back(self, size: int) -> None:
        """Count fewer bytes; of those that could not be counted, there are fewer first."""
        unpaid = min(size, self._unpaid)
        self._unpaid -= unpaid
        self._kept.release(size - unpaid)

    def _take(self, size: int, pays: bool) -> None:
        self._kept.hold(size + (self._unpaid if pays else 0), _WHAT)
        if pays:
            self._unpaid = 0

    def _hold(self, size: int, pays: bool = False) -> None:
        """Count more bytes.

        Args:
            pays: whether those as well that could not be counted before.

        Raises:
            LimitExceeded: that is too much, though what nobody uses has been dropped.
        """
        try:
            self._take(size, pays)
        except LimitExceeded:
            for record in self.records.values():
                if record.growth:  # the program may have taken something
                    self._shrink(record, max(0, record.growth - own_size(record.obj)))
            for _ in range(_ROUNDS):
                if not self._drop([*self.records]):
                    break
            self._take(size, pays)

    def _look(self) -> None:
        """Drop what has been let go if there have come many."""
        if len(self.records) >= self._next:
            self._drop([*self.records])
            self._next = max(_FEW, 2 * len(self.records))

    # -- letting go

    def release(self, objects: Iterable[Any]) -> None:
        """Look soon whether some objects still live. Safe in finalizers."""
        ids = [id(one) for one in objects if id(one) in self.records]
        self._released += ids
        if ids and not self._armed:
            self._armed = True
            self._schedule_flush(weakref.ref(self))

    def flush_released(self) -> bool:
        """Drop those that have been let go; return that nothing is left for later."""
        self._armed = False  # before: who comes from now on calls again
        ids = []
        try:
            while self._released:
                ids.append(self._released.popleft())
        except IndexError:
            pass  # another thread was faster
        self._drop(ids)
        return False

    def _drop(self, ids: list[int]) -> int:
        """Drop objects that nothing else refers to; return how many there were."""
        gone = []
        with self._lock:
            for key in ids:
                record = self.records.get(key)
                if record is not None and getrefcount(record.obj) <= _ALONE:
                    gone.append(self.records.pop(key))
            if gone:
                self._give_back(sum([one.size + one.growth for one in gone]))
        return len(gone)  # their finalizers run now, after the lock

    def clear(self) -> None:
        """Forget all: the connection is gone."""
        with self._lock:
            records = [*self.records.values()]
            self.records.clear()
        records.clear()


def _references() -> int:
    """Return how many references are counted to the object of a record."""
    record: Any = _Record(object())
    return getrefcount(record.obj)


_ALONE: Final = _references()
