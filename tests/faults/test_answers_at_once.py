"""Two threads that settle, cancel or use one result at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from rpyc_like.lib.timing import Timeout
from rpyc_like.link.result import AsyncResult


class Conn:
    """Stands for a connection that notes what is given up."""

    def __init__(self) -> None:
        self.given_up: list[AsyncResult] = []

    def give_up(self, result: AsyncResult) -> None:
        self.given_up.append(result)

    def read_for(self, result: AsyncResult, ended: object) -> None: ...


class Meanwhile(Timeout):
    """A deadline at which, when it is first looked at, another thread does something."""

    def __init__(self, func: Callable[[], object]) -> None:
        super().__init__(60)
        self._funcs = [func]

    def expired(self) -> bool:
        if self._funcs:
            self._funcs.pop()()
        return False


def result_and_seen() -> tuple[AsyncResult, list[Any]]:
    """Return a result, and the list of what its callback finds."""
    result, seen = AsyncResult(Conn()), []  # type: ignore[var-annotated]

    def look(result: AsyncResult) -> None:
        try:
            seen.append(result.value)
        except CancelledError as error:
            seen.append(type(error))

    result.add_callback(look)
    return result, seen


def test_an_answer_that_comes_while_the_request_is_cancelled_changes_nothing() -> None:
    """``cancel()`` has said that it was in time; nobody finds another answer later."""
    result, seen = result_and_seen()
    cancelled: list[bool] = []
    result._deadline = Meanwhile(lambda: cancelled.append(result.cancel()))
    result(False, 42)
    assert (cancelled, seen) == ([True], [CancelledError])
    with pytest.raises(CancelledError):
        _ = result.value


@pytest.mark.parametrize("failed", [False, True])
def test_cancelling_at_the_moment_of_the_answer_is_too_late(failed: bool) -> None:
    """``cancel()`` says so, gives nothing up, and the answer stays."""
    result, seen = result_and_seen()
    answer: Any = CancelledError("by the peer") if failed else 42
    result._deadline = Meanwhile(lambda: result(failed, answer))
    assert result.cancel() is False
    assert result._conn.given_up == []  # type: ignore[attr-defined]
    assert seen == [CancelledError if failed else 42]
    assert result.error is failed


def test_a_second_answer_counts_for_nothing() -> None:
    """Whoever settles a result again changes nothing, whether it was taken or not."""
    result, seen = result_and_seen()
    result(False, 1)
    result(True, ValueError("late"))
    assert (result.value, result.error, seen) == (1, False, [1])
    result(False, 2)
    assert result.value == 1


def test_a_cancelled_future_cancels_its_request() -> None:
    """Callbacks of the result are called, as if the result had been cancelled."""
    result, seen = result_and_seen()
    assert result.as_future().cancel()
    assert seen == [CancelledError]
    assert result._conn.given_up == [result]  # type: ignore[attr-defined]
    assert result.cancel() is False


def test_a_future_is_cancelled_too_late() -> None:
    """A future that has its answer cannot be cancelled, and callbacks were called once."""
    result, seen = result_and_seen()
    future = result.as_future()
    result(False, 42)
    assert (future.cancel(), future.result(), seen) == (False, 42, [42])
