"""Programs that wait for each other go well with ours; the documented comparison is true."""

from __future__ import annotations

import re

import pytest

from tests.support import waits
from tests.support.peers import OURS, path_of


@pytest.mark.parametrize("name", waits.programs())
def test_ours_goes_well(name: str) -> None:
    """Each program ends as it would with local objects."""
    found = waits.outcome(OURS, name)
    assert found["right"], found["text"]


def documented() -> dict[str, tuple[str, str]]:
    """Returns what the page says of each program: RPyC's outcome and ours."""
    table = waits.PAGE.read_text().partition(waits.START)[2].partition(waits.END)[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", table, re.M)
    return {what: (theirs, ours) for what, theirs, ours in rows[1:]}


def test_the_page_has_every_program() -> None:
    """There is a row for each program, and ours is right in all of them."""
    found = documented()
    assert list(found) == [what[0].lower() + what[1:] for what in waits.programs().values()]
    assert not [ours for _, ours in found.values() if "**" in ours]


@pytest.mark.parametrize("name", [one for one in waits.programs() if one not in waits.BY_LUCK])
def test_the_comparison_is_true(name: str) -> None:
    """The page says what RPyC does, where that does not depend on which thread is quicker."""
    path_of("rpyc-6.0.2")
    found = waits.outcome("rpyc-6.0.2", name)
    what = waits.programs()[name]
    theirs = documented()[what[0].lower() + what[1:]][0]
    assert theirs == (found["text"] if found["right"] else f"**{found['text']}**")
