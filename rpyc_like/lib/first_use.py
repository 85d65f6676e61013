"""Objects that are made when they are first used, once, whichever thread comes first.

:class:`FirstUse` makes what needs nobody else, under a lock. What is fetched from a peer must not
be waited for under a lock, because the peer may ask back: :func:`kept_first` lets threads that come
at the same moment each fetch it, and gives all of them the value that was stored first. So does
:func:`set_first`, for an attribute of an object that is too short-lived for a lock of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from typing import Any, Generic, TypeVar

from . import primitives

__all__ = ["FirstUse", "kept_first", "set_first"]

T = TypeVar("T")

_setting = primitives.RLock()  # guards looking at an attribute and setting it; see set_first


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


def set_first(owner: Any, name: str, value: T) -> T:
    """Set an attribute, unless it is not ``None`` any more; return what it is.

    Args:
        value: that the caller has made, perhaps in vain.
    """
    with _setting:
        if getattr(owner, name) is None:
            setattr(owner, name, value)
        found: T = getattr(owner, name)
    return found


def _begin_anew() -> None:
    """Make the lock anew in a forked child, which lacks the thread that may hold it."""
    global _setting
    _setting = primitives.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
