"""One event loop for a whole process, in a thread, for programs that have none.

It is started when it is first needed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from . import primitives
from .subinterpreters import at_end
from .threads import spawn

__all__ = ["call_later", "cancel_begun", "run_in_background"]

T = TypeVar("T")

_loop: asyncio.AbstractEventLoop | None = None
_starting = primitives.RLock()  # guards _loop


def run_in_background(work: Coroutine[Any, Any, T]) -> primitives.Future[T]:
    """Runs a coroutine there, in a copy of the current context; cancel the future to end it."""
    try:
        loop = _running()
    except BaseException:
        work.close()
        raise
    return asyncio.run_coroutine_threadsafe(work, loop)


def call_later(seconds: float, func: Callable[[], object]) -> None:
    """Have the loop call a function after so many seconds."""
    loop = _running()
    loop.call_soon_threadsafe(loop.call_later, seconds, func)


def cancel_begun(running: primitives.Future[Any]) -> None:
    """Cancel what :func:`run_in_background` has returned, when its first step has been done."""
    loop = _running()
    # The coroutine's task is made in the turn of the loop that this one waits for.
    loop.call_soon_threadsafe(loop.call_soon, running.cancel)


def _running() -> asyncio.AbstractEventLoop:
    global _loop
    with _starting:
        if _loop is None:
            # Not in the context of the request that comes first: the loop would keep it.
            loop = Context().run(asyncio.new_event_loop)
            try:
                spawn(loop.run_forever)
            except RuntimeError:  # the system has no more threads
                loop.close()
                raise
            _loop = loop
        return _loop


def _begin_anew() -> None:
    """The thread has stayed with the parent of a forked child."""
    global _loop, _starting
    _loop, _starting = None, primitives.RLock()


def _stop() -> None:
    if _loop is not None:
        _loop.call_soon_threadsafe(_loop.stop)


at_end(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
