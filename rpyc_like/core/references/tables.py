"""The two tables of references: what this side lends to the peer, and what it has borrowed.

Every reference that is sent counts once; the peer gives counts back when its proxy dies. Finalizers
only queue what is to be given back (:meth:`ImportTable.release_later`).
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from ...errors import LimitExceeded
from ...lib import primitives
from ...lib.object_ids import IdPack, class_pack, fresh_id, is_class, known_class, name_pack
from ...link import fork
from ...link.kept import ENTRY, Kept
from ...link.made_objects import MadeObjects
from .. import brine
from ..encoding.foreign_memory import check_memory

__all__ = ["MAX_OBJECTS", "Export", "ExportTable", "ImportTable", "StaleReference", "identify"]

logger = logging.getLogger("rpyc_like.core")

MAX_OBJECTS = 2_000_000
"""Default limit of objects that a peer holds references to."""


_STEP = 1000  # entries that are counted at once
_BATCH = 500  # objects that are given back in one message: the peer may have a small max_memory


class StaleReference(KeyError):
    """The peer named an object that it does not hold."""

    def __init__(self) -> None:
        super().__init__("stale or foreign reference")


class Export:
    """An object lent to the peer, and how many references to it the peer holds."""

    __slots__ = ("count", "obj", "pack", "raw")

    def __init__(self, obj: Any, pack: IdPack) -> None:
        self.obj = obj
        self.pack = pack
        self.raw = _class_part(pack[0], pack[1]) + brine.dump_small(pack[2])
        self.count = 0


@lru_cache(maxsize=4096)
def _class_part(name: str, class_number: int) -> bytes:
    """Returns the brine of an id pack up to its last number."""
    return brine.tuple_head(3) + brine.dump(name) + brine.dump(class_number)


class ExportTable:
    """Local objects that the peer holds references to.

    Inside, the key is the brine of the id pack, because that is what travels; the face takes id
    packs.

    Args:
        max_objects: how many objects a peer may be lent at once.
        kept: counts the memory of the entries, in steps of 1000.
        made: counts the memory of some of the objects; asked to look when they are given back.
    """

    def __init__(
        self,
        max_objects: int = MAX_OBJECTS,
        kept: Kept | None = None,
        made: MadeObjects | None = None,
    ) -> None:
        self._max_objects = max_objects
        self._made = made
        self._records = {} if made is None else made.records
        self._kept = kept
        self._counted = 0  # entries whose memory is counted
        # Entries at which to count more.
        self._next = max_objects if kept is None else min(_STEP, max_objects)
        self.by_raw: dict[bytes, Export] = {}
        self._by_identity: dict[int, Export] = {}
        self._pinned: Any = None
        self.dropped: list[Export] | None = None
        """Collects what the peer has given back, where finalizers must not run at once."""
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Makes the locks anew in a forked child, which lacks the thread that may hold one."""
        self._growing = primitives.Lock()  # guards _counted and _next; nobody waits for it
        # Guards both dicts and all counts. A finalizer may take it again at any bytecode.
        self._lock = primitives.RLock()

    @property
    def entered(self) -> bool:
        """Whether the current thread changes the tables at this moment."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def __len__(self) -> int:
        return len(self.by_raw)

    def __contains__(self, pack: Any) -> bool:
        return self._entry(pack) is not None

    def __iter__(self) -> Iterator[IdPack]:
        return iter([entry.pack for entry in list(self.by_raw.values())])

    def __getitem__(self, pack: Any) -> Any:
        entry = self._entry(pack)
        if entry is None:
            raise StaleReference
        return entry.obj

    def _entry(self, pack: Any) -> Export | None:
        return self.by_raw.get(brine.dump(pack)) if brine.dumpable(pack) else None

    def pin(self, obj: Any) -> None:
        """Keeps ``obj`` (the root) referenced whatever the peer gives back."""
        self._pinned = obj

    def count(self, pack: IdPack) -> int:
        """Returns how many references the peer holds."""
        entry = self._entry(pack)
        return 0 if entry is None else entry.count

    def lend(self, obj: Any, identify: Callable[[Any], IdPack]) -> bytes:
        """Counts one reference to ``obj`` and returns the brine of the id pack to send.

        Args:
            identify: makes the id pack of an object that is not lent yet.
        """
        return self.lend_entry(obj, identify).raw

    def lend_entry(self, obj: Any, identify: Callable[[Any], IdPack]) -> Export:
        """Does the same and returns the whole entry."""
        key = id(obj)
        entry = self._by_identity.get(key)
        if entry is None or entry.obj is not obj or not entry.pack[2]:
            if len(self.by_raw) >= self._next:
                self._grow()
            fresh = Export(obj, identify(obj))  # runs code of the program: outside of the lock
            with self._lock:
                if fresh.pack[2]:
                    entry = self._by_identity.setdefault(key, fresh)
                else:  # a class, which may have got another number since
                    entry = self.by_raw.get(fresh.raw, fresh)
                if not entry.count:
                    self.by_raw[entry.raw] = self._by_identity[key] = entry
                entry.count += 1
                return entry
        with self._lock:
            if not entry.count:  # given back in this very moment
                self.by_raw[entry.raw] = self._by_identity[key] = entry
            entry.count += 1
            return entry

    def _grow(self) -> None:
        """Count the memory of more entries.

        Raises:
            LimitExceeded: there may be no more.
        """
        held = len(self.by_raw) + 1
        if held > self._max_objects:
            raise LimitExceeded("lent objects", held, self._max_objects, "max_objects")
        if self._kept is not None and self._growing.acquire(False):
            try:
                if held > self._next:
                    self._kept.hold(_STEP * ENTRY, "memory for exported objects")
                    self._counted += _STEP
                    self._next = min(self._counted + _STEP, self._max_objects)
            finally:
                self._growing.release()

    def _shrink(self) -> None:
        """Count the memory of fewer entries."""
        if self._kept is not None and self._growing.acquire(False):
            try:
                while len(self.by_raw) < self._counted - _STEP // 2:
                    self._counted -= _STEP
                    self._kept.release(_STEP * ENTRY)
                self._next = min(self._counted + _STEP, self._max_objects)
            finally:
                self._growing.release()

    def give_back(self, raw: bytes, count: int) -> bool:
        """Takes ``count`` references away; returns whether the peer held that many.

        The object is let go when none is left.

        Args:
            raw: the brine of the id pack.
        """
        with self._lock:
            entry = self.by_raw.get(raw)
            if entry is None or count < 1:
                return False
            key = id(entry.obj)
            if self._records and self._made is not None:
                self._made.release((entry.obj,))
            identified = self._by_identity.get(key) is entry
            # No calls until all is changed, so that no finalizer finds or leaves half of it.
            held = entry.count
            if count < held:
                entry.count = held - count
            else:
                entry.count = 0
                if entry.obj is not self._pinned:
                    try:
                        del self.by_raw[raw]
                        if identified:
                            del self._by_identity[key]
                    except KeyError:
                        pass  # a finalizer has cleared the table meanwhile
                    if self.dropped is not None:
                        # Another thread may empty the list at once. Finalizers would run here, in
                        # the reading role, if the entry were still held here then.
                        gone = [entry]
                        del entry
                        self.dropped.append(gone.pop())
        if len(self.by_raw) < self._counted - _STEP // 2:
            self._shrink()
        return count <= held

    def give_back_object(self, obj: Any, count: int) -> bool:
        """Does the same for an object instead of its id pack."""
        entry = self._by_identity.get(id(obj))
        return entry is not None and entry.obj is obj and self.give_back(entry.raw, count)

    def clear(self) -> None:
        """Lets everything go."""
        with self._lock:
            entries, self.by_raw = self.by_raw, {}
            identities, self._by_identity = self._by_identity, {}
            self._pinned = None
            if self.dropped is not None:
                self.dropped += entries.values()
        entries.clear()
        identities.clear()


def identify(obj: Any) -> IdPack:
    """Return a new id pack for a local object.

    Raises:
        ForeignMemory: it is a view of memory that no object keeps alive.
    """
    cls = type(obj)
    if is_class(obj):
        name, number = class_pack(obj)
        return (name, number, 0)
    if cls is memoryview:
        check_memory(obj)
    _, _, number, name = known_class(cls)
    if issubclass(cls, ModuleType) or obj.__class__ is not cls:
        name = name_pack(obj)
    return (name, number, fresh_id())


class _WeakProxy(weakref.ref[Any]):
    """A proxy that may have died, and how many of the peer's references it stands for.

    The count is not the proxy's own: while a finalizer runs the proxy can still be had from a weak
    reference, and what another thread counted then would never be given back.
    """

    __slots__ = ("count", "raw")

    raw: bytes  # the brine of the id pack
    count: int


class ImportTable:
    """Proxies of the peer's objects by the brine of their id pack, and references to be given back.

    Args:
        arm: called (from finalizers) when something was queued and nothing was before.
    """

    def __init__(self, arm: Callable[[], None]) -> None:
        self.armed = False
        self.on_released = arm
        self.by_raw: dict[bytes, weakref.ref[Any]] = {}
        """Proxies that may have died, by the brine of their id packs. Those of classes count
        themselves."""
        self.released: deque[tuple[bytes, int]] = deque()
        """What waits to be given back to the peer."""
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Makes the locks anew in a forked child, which lacks the thread that may hold one."""
        # Guards the dict and the proxies' reference counts; a finalizer may take it again.
        self.lock = primitives.RLock()

    @property
    def entered(self) -> bool:
        """Whether the current thread changes the table at this moment."""
        return self.lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def __len__(self) -> int:
        return sum(1 for ref in list(self.by_raw.values()) if ref() is not None)

    def count(self, raw: bytes) -> Any:
        """Returns the live proxy, or None, and counts one reference more; the caller holds
        ``lock``.
        """
        held = self.by_raw.get(raw)
        proxy = None if held is None else held()
        if proxy is not None:
            if type(held) is _WeakProxy:
                held.count += 1
            else:
                proxy.____refcount__ += 1
        return proxy

    def put(self, raw: bytes, proxy: Any) -> None:
        """Files a new proxy, for one reference; the caller holds ``lock``."""
        if issubclass(type(proxy), type):
            self.by_raw[raw] = weakref.ref(proxy)
        else:
            self.by_raw[raw] = held = _WeakProxy(proxy, self._died)
            held.raw, held.count = raw, 1

    def _died(self, held: _WeakProxy) -> None:
        """Queues the references of a proxy that nobody can have any more."""
        try:
            self.released.append((held.raw, held.count))
            if not self.armed:
                self.arm()
        except Exception:
            pass  # the interpreter is shutting down

    def clear(self) -> None:
        """Forget all: nothing is given back any more."""
        with self.lock:
            self.by_raw.clear()
        self.released.clear()

    def release_later(self, raw: bytes, count: int) -> None:
        """Queues references to be given back. Safe in finalizers and signal handlers."""
        self.released.append((raw, count))
        if not self.armed:
            self.arm()

    def arm(self) -> None:
        """Has what is queued sent soon if nothing else is. Safe in finalizers."""
        self.armed = True
        self.on_released()

    def take_released(self) -> list[tuple[bytes, int]]:
        """Take what fits into a message out of the queue; return one item for each object."""
        released: list[tuple[bytes, int]] = []
        try:
            while self.released and len(released) < _BATCH:
                released.append(self.released.popleft())
        except IndexError:
            pass  # another thread was faster
        with self.lock:
            for raw, _ in released:
                ref = self.by_raw.get(raw)
                if ref is not None and ref() is None and raw in self.by_raw:
                    if self.by_raw[raw] is ref:  # and no finalizer has put another one there
                        del self.by_raw[raw]
        if len(released) < 2:
            return released
        counts: dict[bytes, int] = {}
        for raw, count in released:
            counts[raw] = counts.get(raw, 0) + count
        return list(counts.items())
