"""A signal handler's exception, wherever it comes, leaves no lock taken that others need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link.backlog import Backlog
from rpyc_like.link.receiving import Waiter
from rpyc_like.link.result import AsyncResult
from rpyc_like.link.streams import MemoryStream


class Interrupted(BaseException):
    """What the signal handler raises."""


def interrupted_at(number: int, do: Callable[[], Any]) -> bool:
    """Runs ``do`` and raises where it enters its ``number``-th function; returns whether it did.

    Python runs signal handlers there, among other places.
    """
    left = number

    def trace(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Interrupted

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def backlog() -> tuple[Any, Callable[[], Any]]:
    """A backlog that counts a message and forgets it."""
    made = Backlog()

    def do() -> None:
        made.add(10)
        made.remove(10)
        made.close()

    return made, do


def stream() -> tuple[Any, Callable[[], Any]]:
    """A stream in memory that is written to and read from."""
    here, there = MemoryStream.create_pair()

    def do() -> None:
        there.send_some(b"abc")
        here.recv_some(3)
        here.close()

    return here, do


def pool() -> tuple[Any, Callable[[], Any]]:
    """A pool that takes nothing any more."""
    made = WorkerPool(1)

    def do() -> None:
        made.close()
        made.run(int, None)

    return made, do


@pytest.mark.parametrize("make", [backlog, stream, pool])
def test_an_interrupted_thread_keeps_no_lock(make: Callable[[], Any]) -> None:
    """At none of its calls a method that is interrupted leaves its lock taken."""
    number = 1
    while True:
        subject, do = make()
        was_interrupted = interrupted_at(number, do)
        assert not subject.entered, f"interrupted at call {number}"
        if not was_interrupted:
            break
        number += 1
    assert number > 2


def test_a_waiter_may_be_removed_again() -> None:
    """Who was interrupted after it had left a result's waiters may leave them once more."""
    result = AsyncResult(None)
    waiter = Waiter(1)
    result.add_waiter(waiter)
    result.remove_waiter(waiter)
    result.remove_waiter(waiter)
    assert not result.waiters()
