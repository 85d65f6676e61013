"""The request that a thread or task serves.

Threads note it in :data:`THREAD`. What runs on a loop has it in a context variable, which the tasks
that it starts inherit; so does what a thread has done on a loop, in a context made for that.

A thread sets no context variable of its own context for a request. Before Python 3.12 the garbage
collector may run in the middle of ``ContextVar.set()``, ``reset()`` and ``copy_context()``, which
work on a part of the context that they do not own: a finalizer that serves a request there, and
sets the same variable, would have them use freed memory. On a loop no finalizer serves requests
that are noted in the variable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from threading import local
from typing import Any, TypeVar

__all__ = [
    "IN_TASK",
    "THREAD",
    "call_on_loop",
    "call_serving",
    "current",
    "idle_context",
    "task_context",
]

T = TypeVar("T")

IN_TASK: ContextVar[tuple[Any, Any, int] | None] = ContextVar(
    "rpyc_like_current_request", default=None
)
"""The request being served in this task or on this loop, as :func:`current` returns it."""


class _Thread(local):
    now: tuple[Any, Any] | None = None
    """The request that the thread serves, and what :data:`IN_TASK` was when that began."""


THREAD = _Thread()


def current() -> tuple[Any, Any, int] | None:
    """Return the request being served in this thread or task.

    Returns:
        Its connection, its id, and the mark that the application's ``route`` gave it.
    """
    now, served = THREAD.now, IN_TASK.get()
    if now is not None and served is now[1]:  # else a task serves, in a loop that the thread runs
        served = now[0]
    return served


def call_serving(served: Any, func: Callable[..., T], *args: Any) -> T:
    """Call a function that serves a request in a thread."""
    before = THREAD.now
    try:
        THREAD.now = served, IN_TASK.get()
        return func(*args)
    finally:
        THREAD.now = before


def call_on_loop(served: Any, func: Callable[..., T], *args: Any) -> T:
    """Call a function that serves a request on a loop; tasks that it starts serve that too."""
    token = IN_TASK.set(served)
    try:
        return func(*args)
    finally:
        IN_TASK.reset(token)


def task_context() -> Context:
    """Return a new context like the current one, for what serves the same request on a loop."""
    context = copy_context()
    context.run(IN_TASK.set, current())
    return context


def idle_context() -> Context:
    """Return a new context like the current one, for what serves no request on a loop.

    A timer keeps its context until its time has come, even if it is cancelled before.
    """
    context = copy_context()
    context.run(IN_TASK.set, None)
    return context
