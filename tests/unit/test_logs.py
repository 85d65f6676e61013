"""Warnings that are counted."""

from __future__ import annotations

import logging
import threading
from functools import partial

import pytest

from rpyc_like.errors import LimitExceeded
from rpyc_like.lib.connection_threads import ConnectionThreads
from rpyc_like.lib.contexts import SharedContext
from rpyc_like.lib.logging_setup import CountedWarning
from rpyc_like.lib.threads import spawn
from tests.support.joining import join

LOG = logging.getLogger("tests.logs")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what has been logged."""
    return [one.getMessage() for one in caplog.records if one.name == LOG.name]


def test_causes_are_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    """The first warning of each cause is logged at once, later ones as a sum for each."""
    warning = CountedWarning(LOG, "! %s: %s", interval=1000)
    for number in range(3):
        for key in ("max_digits", "max_depth"):
            error = LimitExceeded("something", number, 0, key)
            warning.count("a client", error, cause=error)
    assert len(lines(caplog)) == 2
    assert warning.due is not None
    warning.flush_due(0.0)
    assert len(lines(caplog)) == 2
    warning.flush()
    assert warning.due is None
    sums = lines(caplog)[2:]
    assert len(sums) == 2 and all("(and 1 more since)" in line for line in sums), sums
    assert "max_digits" in sums[0] and "max_depth" in sums[1]


def test_causes_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Causes without end are counted together, and none is kept when its lines are over."""
    warning = CountedWarning(LOG, "! %s", interval=1000)
    for number in range(1000):
        warning.count(number, cause=str(number))
    assert len(warning._sums) < 50
    assert len(lines(caplog)) < 50
    short = CountedWarning(LOG, "! %s", interval=0)
    for number in range(1000):
        short.count(number, cause=str(number))
    assert len(short._sums) < 50
    assert lines(caplog)[-1] == "! 999"


def test_a_function_that_failed_is_logged_with_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a function of a connection's thread raises is logged with the connection's name."""
    threads = ConnectionThreads(1)
    executor = threads.executor(SharedContext(), lambda *args: None)
    executor.name = lambda: "<connection 7>"
    done = threading.Event()

    def fail() -> None:
        raise ValueError("as told")

    def then() -> None:
        done.set()

    executor.submit(fail)  # type: ignore[arg-type]
    executor.submit(then)  # type: ignore[arg-type]
    assert done.wait(60)
    threads.close()
    assert any("<connection 7>" in one.getMessage() for one in caplog.records)


def test_threads_are_told_apart() -> None:
    """A thread is named after what it runs, and no two have one name."""

    class Owner:
        def work(self, *args: object) -> None:
            pass

    ran = [spawn(Owner().work), spawn(partial(partial(Owner().work, 1), 2))]
    for thread in ran:
        join(thread)
    assert all("Owner.work" in thread.name for thread in ran)
    assert ran[0].name != ran[1].name
