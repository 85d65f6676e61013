"""The interpreter that this is, of several that a process may have.

When one of them ends that is not the main one, none of its threads may be left: Python aborts the
whole process otherwise. So there the threads of this package end with the interpreter. The compiled
core is for the main interpreter only, see :mod:`rpyc_like.lib.native`.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from . import primitives
from .timing import Timeout

__all__ = ["MAIN", "at_end", "daemons_allowed", "remember"]

_LIMIT = 2.0
"""Seconds in which the threads of an interpreter that ends must have ended."""


def _is_main() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # the former since Python 3.13
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            return bool(module.get_current() == module.get_main())
    return True


MAIN: Final = _is_main()
"""Whether this is the main interpreter."""

_ends: list[Callable[[], Any]] = []
_threads: weakref.WeakSet[primitives.Thread] = weakref.WeakSet()


def daemons_allowed() -> bool:
    """Returns whether there may be daemon threads, which some interpreters do not allow."""
    allowed = getattr(threading, "_daemon_threads_allowed", None)  # since Python 3.12
    return allowed is None or bool(allowed())


def at_end(func: Callable[[], Any]) -> None:
    """Has a function called when the interpreter ends, if it is not the main one.

    It has threads end, or has them told to.
    """
    if not MAIN:
        _ends.append(func)


def remember(thread: primitives.Thread) -> None:
    """Has a thread waited for when the interpreter ends, if it is not the main one."""
    if not MAIN:
        _threads.add(thread)


def _end() -> None:
    for func in _ends:
        with contextlib.suppress(Exception):
            func()
    limit = Timeout(_LIMIT)
    for thread in list(_threads):
        if thread.is_alive() and thread is not threading.current_thread():
            thread.join(limit.timeleft())


if not MAIN:
    threading._register_atexit(_end)  # type: ignore[attr-defined]
