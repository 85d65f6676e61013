"""What a fork means for connections: the child's copies are dead and silent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from ..lib import impl

__all__ = ["alive", "remember"]


class _Forkable(Protocol):
    def orphan(self) -> None: ...


_alive: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def remember(connection: _Forkable) -> None:
    """Has ``connection.orphan()`` called in each forked child."""
    _alive.add(connection)


def alive() -> list[_Forkable]:
    """Returns what is remembered."""
    return list(_alive)


def _orphan_all() -> None:
    if impl.waiting is not None:
        impl.waiting.after_fork()
    for connection in alive():
        connection.orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
