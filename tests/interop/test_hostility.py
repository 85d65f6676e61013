"""Hostile peers: nothing they do harms ours, and the documented comparison with RPyC is true."""

from __future__ import annotations

import re

import pytest

from tests.support import hostility
from tests.support.peers import OURS, path_of


@pytest.mark.parametrize("name", hostility.scenarios())
def test_ours_comes_through(name: str) -> None:
    """Whatever the peer does, ours stays whole."""
    found = hostility.outcome(OURS, name)
    assert found["safe"], found["text"]


def documented() -> dict[str, tuple[bool, bool]]:
    """Returns what the page says of each scenario: whether RPyC and ours came through."""
    table = hostility.PAGE.read_text().partition(hostility.START)[2]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", table.partition(hostility.END)[0], re.M)
    return {what: ("**" not in theirs, "**" not in ours) for what, theirs, ours in rows[1:]}


def test_the_comparison_is_true() -> None:
    """The page says which scenarios RPyC does not come through."""
    path_of("rpyc-6.0.2")
    theirs = hostility.outcomes("rpyc-6.0.2")
    expected = {
        what[0].lower() + what[1:]: (theirs[name]["safe"], True)
        for name, what in hostility.scenarios().items()
    }
    assert documented() == expected
