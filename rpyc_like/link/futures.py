"""AsyncResults as futures, and who reads for them.

A future is waited for elsewhere, by code that knows nothing of the connection. So a thread reads
until the answer is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..lib import primitives
from ..lib.first_use import set_first
from ..lib.threads import ThreadCache, spawn
from .result import AsyncResult, ResultOwner, raised

__all__ = ["BackgroundReader", "future_of"]

Ended = Callable[[AsyncResult], None]


def future_of(result: AsyncResult, conn: ResultOwner) -> primitives.Future[Any]:
    """Return the future for the answer to a request, which is made once."""
    made: primitives.Future[Any] = primitives.Future()
    future = set_first(result, "_future", made)
    if future is made:
        _begin(future, result, conn)
    return future


def _begin(future: primitives.Future[Any], result: AsyncResult, conn: ResultOwner) -> None:
    """Have a future completed with the answer."""
    once = [None]

    def deliver(result: AsyncResult) -> None:
        try:
            once.pop()
        except IndexError:
            return
        try:
            value = result.value  # or raises that no answer has come in time
        except BaseException as error:
            fail(error)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(value)

    def fail(error: BaseException) -> None:
        if future.set_running_or_notify_cancel():
            future.set_exception(raised(error))

    def cancelled(future: primitives.Future[Any]) -> None:
        if future.cancelled():
            result.cancel()

    future.add_done_callback(cancelled)
    result._ended = deliver
    result.add_callback(deliver)
    try:
        conn.read_for(result, deliver)
    except BaseException as error:
        result._future = None  # the next caller tries again
        if once:
            once.clear()
            fail(error)  # for threads that have the future already
        raise


class BackgroundReader:
    """Waits for results of one connection: one thread does, and one more for each time limit."""

    def __init__(self) -> None:
        self._workers = ThreadCache()
        self._lock = primitives.RLock()  # guards the rest
        self._results: deque[tuple[AsyncResult, Ended]] = deque()
        self._runs = False

    def add(self, result: AsyncResult, ended: Ended) -> None:
        """Has the connection read until the answer has come, or the time is over.

        Args:
            ended: is called then.

        Raises:
            RuntimeError: the system has no more threads, or the interpreter is shutting down.
        """
        if result._deadline is not None:
            self._workers.run(lambda: _wait(result, ended))
            return
        with self._lock:
            self._read()
            self._results.append((result, ended))

    def _read(self) -> None:
        """Start the thread unless it runs; the caller holds the lock, which it takes first."""
        if not self._runs:
            spawn(self._run_reader)
            self._runs = True

    def _run_reader(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._results:
                        self._runs = False
                        return
                    result, ended = self._results.popleft()
                _wait(result, ended)
        except BaseException:  # of a callback, meant to end a thread of the program
            with self._lock:
                self._runs = False
                if self._results:
                    self._read()
            raise


def _wait(result: AsyncResult, ended: Ended) -> None:
    with suppress(Exception):
        result.wait()
    ended(result)
