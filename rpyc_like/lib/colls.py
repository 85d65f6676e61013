"""Collections with the names of ``rpyc.lib.colls``."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from . import primitives

__all__ = ["RefCountingColl", "WeakValueDict"]


class WeakValueDict(weakref.WeakValueDictionary[Any, Any]):
    """A dict whose values do not live because of it; a dead one raises KeyError."""

    def iterkeys(self) -> Iterator[Any]:
        """Iterates over the keys of what lives."""
        return iter(list(self.keys()))

    def itervalues(self) -> Iterator[Any]:
        """Iterates over what lives."""
        return iter(list(self.values()))

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        """Iterates over keys and values of what lives."""
        return iter(list(self.items()))


class RefCountingColl:
    """Objects by key, each with a count; one whose count is taken away is let go."""

    def __init__(self) -> None:
        self._lock = primitives.RLock()  # guards the dict
        self._dict: dict[Any, list[Any]] = {}

    def __repr__(self) -> str:
        return repr(self._dict)

    def add(self, key: Any, obj: Any) -> None:
        """Files an object, or counts it once more."""
        with self._lock:
            entry = self._dict.setdefault(key, [obj, 0])
            entry[1] += 1

    def clear(self) -> None:
        """Lets everything go."""
        with self._lock:
            objects, self._dict = self._dict, {}
        objects.clear()  # may run finalizers

    def decref(self, key: Any, count: int = 1) -> None:
        """Takes ``count`` references away."""
        with self._lock:
            entry = self._dict[key]
            if entry[1] <= count:
                del self._dict[key]
            else:
                entry[1] -= count

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            return self._dict[key][0]
