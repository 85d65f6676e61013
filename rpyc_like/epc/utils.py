"""Small things that programs import from python-epc."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..lib import primitives

__all__ = [
    "LockingDict",
    "ThreadedIterator",
    "autolog",
    "callwith",
    "deprecated",
    "func_call_as_str",
    "newname",
    "newthread",
]

_numbers = itertools.count(1)


def func_call_as_str(name: str, *args: Any, **kwds: Any) -> str:
    """Returns a call as it would be written."""
    shown = [repr(arg) for arg in args] + [f"{key}={value!r}" for key, value in kwds.items()]
    return f"{name}({', '.join(shown)})"


def autolog(level: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator for methods that logs their calls, if anybody wants to know."""
    number = getattr(logging, level.upper())

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def logged(self: Any, *args: Any, **kwds: Any) -> Any:
            if self.logger.isEnabledFor(number):
                self.logger.log(number, "%s", func_call_as_str(func.__name__, *args, **kwds))
            return func(self, *args, **kwds)

        return logged

    return decorate


def deprecated(func: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that warns when it is called."""

    @functools.wraps(func)
    def warning(*args: Any, **kwds: Any) -> Any:
        warnings.warn(f"{func.__name__} is deprecated", DeprecationWarning, stacklevel=2)
        return func(*args, **kwds)

    return warning


def newname(template: str) -> str:
    """Returns a name that has not been used; ``{0}`` is replaced by a number."""
    return template.format(next(_numbers))


def newthread(template: str = "EPCThread-{0}", **kwds: Any) -> primitives.Thread:
    """Returns a thread with a new name, which has not been started."""
    return primitives.Thread(name=newname(template), **kwds)


def callwith(context_manager: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that runs a function inside of a context manager."""

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def inside(*args: Any, **kwds: Any) -> Any:
            with context_manager:
                return func(*args, **kwds)

        return inside

    return decorate


class LockingDict(dict[Any, Any]):
    """A dict whose operations exclude one another."""

    def __init__(self, *args: Any, **kwds: Any) -> None:
        super().__init__(*args, **kwds)
        self._lock = primitives.Lock()

    def __setitem__(self, key: Any, value: Any) -> None:
        with self._lock:
            super().__setitem__(key, value)

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            return super().__getitem__(key)

    def pop(self, *args: Any, **kwds: Any) -> Any:
        """Removes a key and returns its value."""
        with self._lock:
            return super().pop(*args, **kwds)


class ThreadedIterator:
    """Iterates in a thread, so that the consumer can be stopped while the source waits.

    Args:
        iterable: the source.
    """

    _END = object()

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._source = iterable
        self._queue: primitives.Queue[Any] = primitives.Queue()
        self._thread = newthread("ThreadedIterator-{0}", target=self._target)
        self._thread.daemon = True
        self._thread.start()

    def _target(self) -> None:
        with contextlib.suppress(Exception):
            for item in self._source:
                self._queue.put(item)
        self._queue.put(self._END)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = self._queue.get()
        if item is self._END:
            self._queue.put(item)
            raise StopIteration
        return item

    next = __next__

    def stop(self) -> None:
        """Ends the iteration."""
        self._queue.put(self._END)
