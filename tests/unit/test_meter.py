"""Accounts of memory and work."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from rpyc_like.core.references import accounts
from rpyc_like.errors import LimitExceeded, MalformedValue
from rpyc_like.wire import meter

MEASURES = {"fastest": meter.measure, "python": meter._measure}

PRIME = (1 << 61) - 1
"""Integers that differ by a multiple of it have the same hash."""


def test_budget_refuses_what_is_not_left() -> None:
    """A budget names its limit and the key that changes it."""
    budget = meter.Budget(100)
    budget.spend(100)
    with pytest.raises(
        LimitExceeded, match=r"memory for a message: 101 bytes, limit is 100 .*'max_memory'"
    ):
        budget.spend(1)


def test_message_memory_grows_with_the_message() -> None:
    """Without a number of its own, the limit follows the size of the message."""
    assert meter.message_memory(1 << 20, None) == (64 << 20) + (32 << 20)
    assert meter.message_memory(1 << 20, 5) == 5


def test_meter_counts_what_is_held() -> None:
    """What is refused is not counted, and what is released makes room."""
    told: list[int] = []
    account = meter.Meter(10, "max_queued_bytes", told.append)
    account.hold(8, "queued messages")
    with pytest.raises(LimitExceeded, match="queued messages: 13 bytes, limit is 10"):
        account.hold(5, "queued messages")
    account.release(8)
    account.hold(5, "queued messages")
    assert (account.held, told) == (5, [8, -8, 5])


def test_work_looks_up_after_ten_thousand_steps() -> None:
    """Whoever works looks after every 10,000 steps whether he is still waited for."""
    looks: list[int] = []
    work = meter.Work(25_000, "max_steps", lambda: looks.append(work.steps))
    for _ in range(25_000):
        work.do()
    assert looks == [10_000, 20_000]
    with pytest.raises(LimitExceeded, match="'max_steps'"):
        work.do()


def test_check_hashes_counts_distinct_keys() -> None:
    """Equal keys are one key, and 64 distinct ones of a hash are allowed."""
    meter.check_hashes([k * PRIME for k in range(1, 65)] * 3)
    meter.check_hashes(range(10_000))
    with pytest.raises(MalformedValue, match="at most 64 keys"):
        meter.check_hashes(k * PRIME for k in range(1, 67))


@pytest.fixture(params=MEASURES)
def measure(request: pytest.FixtureRequest) -> Any:
    """Each implementation of ``meter.measure`` that this build has."""
    return MEASURES[request.param]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, ..., 7, -(1 << 40), 10**300, 1.5, 2j, "text" * 90, "\u20ac" * 90, b"x" * 90),
        *((), (1, 2), ("a" * 40, tuple(range(300))), slice(1, "b" * 50), frozenset({1, "c" * 60})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_measure_is_about_what_python_takes(measure: Any, value: Any) -> None:
    """The price of a value is hardly more than its size, and hardly less."""
    size, stack, seen = 0, [value], set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        size += sys.getsizeof(item) if item not in (None, True, ...) else 0
        if isinstance(item, slice):
            item = (item.start, item.stop, item.step)
        stack.extend(item if isinstance(item, (tuple, frozenset)) else ())
    memory, wire = measure(value)
    assert abs(memory - size) <= 32 * len(seen)
    assert wire > 0


def test_measure_of_references(measure: Any) -> None:
    """What is no plain value has the price that the caller says."""
    bare, _ = measure((1, 1))
    assert measure((object(), 1))[0] - bare == 512 - 32
    assert measure((object(), [1] * 1000), None, 200)[0] - bare == 2 * (200 - 32)
    assert measure(object(), None, 200)[0] == 200


@pytest.mark.parametrize("wrap", [lambda one: (one, one), lambda one: slice(one, one)])
def test_measure_looks_at_a_container_once(measure: Any, wrap: Any) -> None:
    """A value that takes little and would be endless when written out is measured at once."""
    value: Any = ("x" * 1000,)
    for _ in range(60):
        value = wrap(value)
    assert 1000 < measure(value)[0] < 1000 + 70 * 100


def test_measure_counts_its_work(measure: Any) -> None:
    """Each container is a step, and so are 64 items; whoever counts may stop it."""
    steps: list[int] = []
    inner = tuple(range(640))
    measure((inner, inner, frozenset({1}), slice(None), (), 5), steps.append)
    assert sorted(steps) == [1, 1, 1, 11]
    work = meter.Work(100, "max_steps", lambda: None)
    with pytest.raises(LimitExceeded, match="'max_steps'"):
        measure(tuple((n,) for n in range(1000)), work.do)


def test_price_of_an_answer_is_measured() -> None:
    """Values that are kept for an answer and those that have been received are measured alike."""
    value = ("a" * 100, (1.5, frozenset({b"b"})), None)
    assert accounts.price(value) == meter.measure(value)[0]
    assert accounts.price(object()) == accounts.ENTRY
    assert accounts.price((object(), object())) == 56 + 2 * accounts.ENTRY
