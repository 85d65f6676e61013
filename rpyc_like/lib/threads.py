"""Daemon threads, started with one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from . import primitives
from .subinterpreters import MAIN, daemons_allowed, remember

__all__ = ["SPAWN_THREAD_PREFIX", "ThreadCache", "spawn", "spawn_waitready", "start_thread"]

SPAWN_THREAD_PREFIX = "RpycSpawnThread"
_numbers = count(1)  # of the threads in this process


def spawn(*args: Any, **kwargs: Any) -> primitives.Thread:
    """Starts ``func(*args, **kwargs)`` in a daemon thread and returns the thread.

    The function is the first argument. The thread has its name, and a number.
    """
    func, *args = args  # type: ignore[assignment]
    named: Any = func
    while isinstance(named, partial):
        named = named.func
    does = getattr(named, "__qualname__", "call").rpartition("<locals>.")[2]
    name = f"{SPAWN_THREAD_PREFIX}-{does}-{next(_numbers)}"
    return start_thread(partial(func, *args, **kwargs), name)


def start_thread(func: Callable[[], Any], name: str) -> primitives.Thread:
    """Starts a thread that does not keep the interpreter from ending, and returns it."""
    thread = primitives.Thread(target=func, name=name, daemon=daemons_allowed())
    remember(thread)
    thread.start()
    return thread


def spawn_waitready(
    init: Callable[[], Any], main: Callable[[], Any]
) -> tuple[primitives.Thread, Any]:
    """Starts a thread that runs ``init`` and then ``main``; returns when ``init`` has ended.

    Returns:
        The thread, and a one-item list with the result of ``init``.

    Raises:
        BaseException: whatever ``init`` raised; ``main`` is not run then.
    """
    ready = primitives.Event()
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(init())
        except BaseException as error:
            failure.append(error)
            return
        finally:
            ready.set()
        main()

    thread = spawn(run)
    ready.wait()
    if failure:
        raise failure[0]
    return thread, outcome


class ThreadCache:
    """Threads that run functions at once, however many; idle ones are used again.

    Args:
        idle: seconds after which an idle thread ends.
    """

    def __init__(self, idle: float = 10.0) -> None:
        self._idle = idle if MAIN else 0.0  # no thread may be left in the others
        self._lock = primitives.RLock()  # guards _free
        self._free: list[primitives.SimpleQueue[Callable[[], Any]]] = []

    def run(self, func: Callable[[], Any], mark: Any = None) -> None:
        """Runs ``func`` in a thread of its own; ``mark`` is for other ways of running."""
        with self._lock:
            inbox = self._free.pop() if self._free else None
        if inbox is not None:
            inbox.put(func)
            return
        inbox = primitives.SimpleQueue()
        inbox.put(func)
        spawn(self._work, inbox)

    def _work(self, inbox: primitives.SimpleQueue[Callable[[], Any]]) -> None:
        while True:
            try:
                func = inbox.get(timeout=self._idle)
            except primitives.Empty:
                with self._lock:
                    if inbox in self._free:
                        self._free.remove(inbox)
                        return
                func = inbox.get()  # handed over in this very moment
            func()
            del func  # which may keep a connection while this thread is idle
            with self._lock:
                self._free.append(inbox)
