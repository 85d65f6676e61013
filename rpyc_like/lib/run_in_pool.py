"""Waiting on a loop for what a worker's thread does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any, TypeVar

from .connection_threads import Refusable
from .threads import spawn

__all__ = ["elsewhere", "in_new_thread"]

Outcome = tuple[bool, Any]
T = TypeVar("T")


async def elsewhere(run: Callable[[Refusable], Any], func: Callable[[], Any]) -> Outcome:
    """Have another thread call a function, and await what it returns.

    Args:
        run: has a thread run something, and then what that returns; or refuses it.

    Returns:
        Whether it failed, and the value or exception (StopIteration could not be raised here).
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome] = loop.create_future()

    def work(refused: Exception | None = None) -> Callable[[], None]:
        try:
            outcome = [(False, func())] if refused is None else [(True, refused)]
        except BaseException as error:
            outcome = [(True, error)]
        return partial(_tell, loop, done, outcome)

    run(Refusable(work))
    return await done


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Outcome], outcome: list[Outcome]
) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[Outcome], outcomes: list[Outcome]) -> None:
    outcome = outcomes.pop()  # the other thread, which has the list, keeps nothing alive
    if not future.done():
        future.set_result(outcome)
    elif type(outcome[1]) is CoroutineType:
        outcome[1].close()  # nobody waits for it any more


def in_new_thread(loop: asyncio.AbstractEventLoop, func: Callable[[], T]) -> asyncio.Future[T]:
    """Return a future, of a loop, for what a function returns in a thread that ends then.

    Where the system has no more threads, the function is called here.
    """
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():  # cancelled
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def run(then: Callable[..., object]) -> None:
        try:
            value, error = func(), None
        except BaseException as raised:
            value, error = None, raised
        with suppress(RuntimeError):  # the loop is closed
            then(settle, value, error)

    try:
        spawn(run, loop.call_soon_threadsafe)
    except RuntimeError:
        run(loop.call_soon)
    return future
