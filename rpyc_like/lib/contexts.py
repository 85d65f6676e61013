"""One context (:mod:`contextvars`) for all functions that serve a connection.

Plain functions run in it in a thread, ``async def`` ones on a loop. A context can be entered by one
at a time: a function that begins while another is under way gets a copy, and what it sets there is
the connection's when both have ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from types import CoroutineType
from typing import Any, TypeVar

from . import primitives

__all__ = ["SharedContext"]

T = TypeVar("T")
Changes = list[tuple[ContextVar[Any], Any]]

_MISSING = object()


class SharedContext:
    """A context that functions use one after the other; it begins as a copy of the current one."""

    def __init__(self) -> None:
        self._own = copy_context()
        # Held by the function that runs in the context, also while it awaits.
        self._used = primitives.Lock()
        self._late: deque[Changes] = deque()  # set in copies; emptied by the holder of the lock

    def run(self, func: Callable[..., T], *args: Any) -> T:
        """Call a function in the context, or in a copy while that is in use."""
        context, before = self.take()
        try:
            return context.run(func, *args)
        finally:
            self.give_back(context, before)

    def within(
        self, work: Awaitable[T], variable: ContextVar[Any], value: Any
    ) -> Coroutine[Any, Any, T]:
        """Return a coroutine that awaits ``work`` in the context, whichever task awaits it.

        Args:
            variable: has ``value`` meanwhile.
        """
        if type(work) is not CoroutineType:
            work = _awaited(work)
        return _Within(self, work, variable, value)

    def take(self) -> tuple[Context, Context | None]:
        """Return the context to enter, and if that is a copy what it looks like before."""
        if self._used.acquire(False):
            return self._own, None
        copied = self._own.copy()
        for changes in self._late.copy():
            copied.run(_set, changes)
        return copied, copied.copy()

    def give_back(self, context: Context, before: Context | None) -> None:
        """Take over what was set, when nothing runs in the context any more."""
        if before is not None:
            changes = [
                (variable, value)
                for variable, value in context.items()
                if before.get(variable, _MISSING) is not value
            ]
            if changes:
                self._late.append(changes)
            if not self._late or not self._used.acquire(False):
                return
        while True:
            while self._late:
                self._own.run(_set, self._late.popleft())
            self._used.release()
            # Another function may have ended since the look, and found the context in use.
            if not self._late or not self._used.acquire(False):
                return


def _set(changes: Changes) -> None:
    for variable, value in changes:
        variable.set(value)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


class _Within(Coroutine[Any, Any, Any]):
    """A coroutine each step of which runs in a shared context.

    A task could be given a context since Python 3.11 only, and chains await several coroutines in
    one task.
    """

    __slots__ = ("_before", "_context", "_shared", "_token", "_value", "_variable", "_work")

    def __init__(
        self,
        shared: SharedContext,
        work: Coroutine[Any, Any, Any],
        variable: ContextVar[Any],
        value: Any,
    ) -> None:
        self._shared = shared
        self._work = work
        self._variable = variable
        self._value = value
        self._context: Context | None = None
        self._before: Context | None = None
        self._token: Any = None

    def __await__(self) -> Any:
        return self

    __iter__ = __await__

    def __next__(self) -> Any:
        return self._step(self._work.send, None)

    def send(self, value: Any) -> Any:
        """Run the next step."""
        return self._step(self._work.send, value)

    def throw(self, *exc: Any) -> Any:
        """Run the next step, with an exception."""
        try:
            return self._step(self._work.throw, *exc)
        finally:
            del exc  # its traceback has this frame in it

    def close(self) -> None:
        """End the coroutine."""
        try:
            if self._context is None:
                self._work.close()
            else:
                self._context.run(self._work.close)
        finally:
            self._end()

    def _step(self, func: Callable[..., Any], *args: Any) -> Any:
        if self._context is None:
            self._context, self._before = self._shared.take()
            self._token = self._context.run(self._variable.set, self._value)
        try:
            return self._context.run(func, *args)
        except BaseException:  # StopIteration too: it has ended
            self._end()
            raise
        finally:
            del args  # of an exception, whose traceback has this frame in it

    def _end(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.run(self._variable.reset, self._token)
            self._shared.give_back(context, self._before)
            self._before = self._token = None
