"""Warnings that are counted."""

from __future__ import annotations

import logging

import pytest

from rpyc_like.errors import LimitExceeded
from rpyc_like.lib.logs import CountedWarning

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
