"""Errors about limits read as sentences, and say what changes the limit."""

from __future__ import annotations

import pytest

from rpyc_like.errors import LimitExceeded

CASES = {
    "memory for exported objects, in bytes": "memory for exported objects: 12 bytes, limit is 10",
    "memory for a message in bytes": "memory for a message: 12 bytes, limit is 10",
    "waiting in a queue in seconds": "waiting in a queue: 12 seconds, limit is 10",
    "objects held in a table": "objects held in a table: 12, limit is 10",
    "nesting": "nesting: 12, limit is 10",
}


@pytest.mark.parametrize("what", CASES)
def test_the_number_stands_before_its_unit(what: str) -> None:
    """What was measured comes first, then the number with its unit, then the limit."""
    error = LimitExceeded(what, 12, 10, "max_things")
    assert str(error) == f"{CASES[what]} (configuration key 'max_things')"
    assert (error.what, error.got, error.limit, error.key) == (what, 12, 10, "max_things")


def test_an_argument_is_no_key() -> None:
    """A limit that is an argument of the server claims no configuration key."""
    error = LimitExceeded("memory in bytes", 12, 10, argument="max_memory")
    assert str(error) == "memory: 12 bytes, limit is 10 (argument 'max_memory' of the server)"
    assert error.key is None
