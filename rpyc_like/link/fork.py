"""After a fork: the child's copies of connections are dead, the threads beside them start anew."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol

from ..lib import native

__all__ = ["after_fork", "alive", "in_child", "remember"]


class _Forkable(Protocol):
    def orphan(self) -> None: ...


_alive: weakref.WeakSet[_Forkable] = weakref.WeakSet()
_resets: list[Callable[[], object]] = []


def remember(one: _Forkable) -> None:
    """Has ``orphan()`` called in each forked child, of a connection or what has a lock."""
    _alive.add(one)


def alive() -> list[_Forkable]:
    """Returns what is remembered."""
    return list(_alive)


def after_fork(reset: Callable[[], object]) -> None:
    """Call ``reset`` in each forked child: what it resets has a thread, which the child lacks."""
    _resets.append(reset)


def in_child() -> None:
    """Do what a forked child needs before it uses this package."""
    if native.waiting is not None:
        native.waiting.after_fork()
    for connection in alive():
        connection.orphan()
    for reset in _resets:
        reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=in_child)
