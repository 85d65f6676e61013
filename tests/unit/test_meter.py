"""Accounts of memory and work."""

from __future__ import annotations

import pytest

from rpyc_like.errors import LimitExceeded, MalformedValue
from rpyc_like.wire import meter

PRIME = (1 << 61) - 1
"""Integers that differ by a multiple of it have the same hash."""


def test_budget_refuses_what_is_not_left() -> None:
    """A budget names its limit and the key that changes it."""
    budget = meter.Budget(100)
    budget.spend(100)
    with pytest.raises(LimitExceeded, match=r"of 101, limit is 100 .*'max_memory'"):
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
    with pytest.raises(LimitExceeded, match="queued messages, in bytes of 13, limit is 10"):
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
