"""The two tables of references: what this side lends to the peer, and what it has borrowed.

Every reference that is sent counts once; the peer gives counts back when its proxy dies. Finalizers
only queue what is to be given back (:meth:`ProxyTable.release_later`).
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..lib.identity import IdPack, class_id, fresh_id, name_pack

__all__ = ["Export", "ExportTable", "ProxyTable", "StaleReference", "identify"]

logger = logging.getLogger("rpyc_like.core")


class StaleReference(KeyError):
    """The peer named an object that it does not hold."""

    def __str__(self) -> str:
        return "stale or foreign reference"


class Export:
    """An object lent to the peer, and how many references to it the peer holds."""

    __slots__ = ("count", "obj", "pack")

    def __init__(self, obj: Any, pack: IdPack) -> None:
        self.obj = obj
        self.pack = pack
        self.count = 0


class ExportTable:
    """Local objects that the peer holds references to, by id pack."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both dicts and all counts
        self._by_pack: dict[IdPack, Export] = {}
        self._by_identity: dict[int, Export] = {}
        self._pinned: Any = None

    def __len__(self) -> int:
        return len(self._by_pack)

    def __contains__(self, pack: Any) -> bool:
        return pack in self._by_pack

    def __iter__(self) -> Iterator[IdPack]:
        return iter(list(self._by_pack))

    def __getitem__(self, pack: Any) -> Any:
        try:
            return self._by_pack[pack].obj
        except (KeyError, TypeError):
            raise StaleReference(pack) from None

    def pin(self, obj: Any) -> None:
        """Keeps ``obj`` (the root) referenced whatever the peer gives back."""
        self._pinned = obj

    def count(self, pack: IdPack) -> int:
        """Returns how many references the peer holds."""
        entry = self._by_pack.get(pack)
        return 0 if entry is None else entry.count

    def lend(self, obj: Any, identify: Callable[[Any], IdPack]) -> IdPack:
        """Counts one reference to ``obj`` and returns the id pack to send.

        Args:
            identify: makes the id pack of an object that is not lent yet.
        """
        is_class = isinstance(obj, type)
        entry = None if is_class else self._by_identity.get(id(obj))
        if entry is None or entry.obj is not obj:
            pack = identify(obj)  # runs code of the program: outside of the lock
            with self._lock:
                known = self._by_pack.get(pack) if is_class else self._by_identity.get(id(obj))
                entry = known or Export(obj, pack)
                self._by_pack[entry.pack] = entry
                self._by_identity[id(obj)] = entry
                entry.count += 1
                return entry.pack
        with self._lock:
            if not entry.count:  # given back in this very moment: lend it anew under its old id
                self._by_pack[entry.pack] = entry
                self._by_identity[id(obj)] = entry
            entry.count += 1
        return entry.pack

    def give_back(self, pack: Any, count: int) -> bool:
        """Takes ``count`` references away; returns whether the peer held that many.

        The object is let go when none is left.
        """
        with self._lock:
            entry = self._by_pack.get(pack)
            held = 0 if entry is None else entry.count
            if entry is None or count < 1:
                return False
            entry.count -= min(count, held)
            if not entry.count and entry.obj is not self._pinned:
                del self._by_pack[entry.pack]
                if self._by_identity.get(id(entry.obj)) is entry:
                    del self._by_identity[id(entry.obj)]
        return count <= held

    def clear(self) -> None:
        """Lets everything go."""
        with self._lock:
            packs, self._by_pack = self._by_pack, {}
            identities, self._by_identity = self._by_identity, {}
            self._pinned = None
        packs.clear()
        identities.clear()


def identify(obj: Any) -> IdPack:
    """Returns a new id pack for a local object."""
    if isinstance(obj, type):
        return (name_pack(obj), class_id(obj), 0)
    return (name_pack(obj), class_id(type(obj)), fresh_id())


class ProxyTable:
    """Proxies of the peer's objects, by id pack, and the references to be given back.

    Args:
        arm: called (from finalizers) when something was queued and nothing was before.
    """

    def __init__(self, arm: Callable[[], None]) -> None:
        self.lock = threading.Lock()  # guards the dict and the proxies' reference counts
        self._proxies: dict[IdPack, weakref.ref[Any]] = {}
        self._released: deque[tuple[IdPack, int]] = deque()
        self._arm = arm

    def __len__(self) -> int:
        return sum(1 for ref in list(self._proxies.values()) if ref() is not None)

    def get(self, pack: IdPack) -> Any:
        """Returns the live proxy, or None."""
        ref = self._proxies.get(pack)
        return None if ref is None else ref()

    def put(self, pack: IdPack, proxy: Any) -> None:
        """Files a new proxy; the caller holds ``lock``."""
        self._proxies[pack] = weakref.ref(proxy)

    def release_later(self, pack: IdPack, count: int) -> None:
        """Queues references to be given back. Safe in finalizers and signal handlers."""
        self._released.append((pack, count))
        self._arm()

    def releasing(self) -> bool:
        """Returns whether something waits to be given back."""
        return bool(self._released)

    def take_released(self) -> list[tuple[IdPack, int]]:
        """Empties the queue and returns it, one item for each object."""
        counts: dict[IdPack, int] = {}
        while self._released:
            try:
                pack, count = self._released.popleft()
            except IndexError:
                break
            counts[pack] = counts.get(pack, 0) + count
        with self.lock:
            for pack in counts:
                ref = self._proxies.get(pack)
                if ref is not None and ref() is None:
                    del self._proxies[pack]
        return list(counts.items())
