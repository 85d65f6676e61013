"""Objects that are made when they are first used, once, whichever thread comes first.

:class:`FirstUse` makes what needs nobody else, under a lock. What is fetched from a peer must not
be waited for under a lock, because the peer may ask back: :func:`kept_first` lets threads that come
at the same moment each fetch it, and gives all of them the value that was stored first.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Generic, TypeVar

from . import primitives

__all__ = ["FirstUse", "kept_first"]

T = TypeVar("T")


class FirstUse(Generic[T]):
    """An object that is made at the first call of :meth:`get`.

    Args:
        make: makes it; runs under a lock and must not wait for a peer. If it raises, the next call
            tries again.
    """

    __slots__ = ("_lock", "_make", "made")

    def __init__(self, make: Callable[[], T]) -> None:
        self._lock = primitives.RLock()  # guards the making
        self._make = make
        self.made: T | None = None
        """The object, ``None`` if nobody has used it yet."""

    def get(self) -> T:
        """Return the object."""
        if self.made is None:
            with self._lock:
                if self.made is None:
                    made = self._make()
                    if self.made is None:  # else a finalizer has asked for it in this very thread
                        self.made = made
        return self.made


def kept_first(values: MutableMapping[str, T], name: str, make: Callable[[], T]) -> T:
    """Return ``values[name]``, which ``make`` makes if it is not there.

    Args:
        make: may wait for a peer, and runs in each of the threads that come at the same moment; all
            of them get the value that is stored first.
    """
    try:
        return values[name]
    except KeyError:
        return values.setdefault(name, make())
