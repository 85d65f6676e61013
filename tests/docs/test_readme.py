"""The figures of the README are those of the tables that it points to."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import hostility

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TRANSPARENCY = ROOT / "docs" / "reference" / "transparency.md"


def test_the_number_of_attacks_is_that_of_the_table() -> None:
    """The README counts the rows of the table of attacks, and those that RPyC comes through."""
    table = hostility.PAGE.read_text().partition(hostility.START)[2].partition(hostility.END)[0]
    rows = re.findall(r"^\| .* \| (.*) \| .* \|$", table, re.M)[1:]  # without the heading
    withstood = sum("**" not in outcome for outcome in rows)
    assert f"Of {len(rows)} attacks RPyC comes through {withstood}\n" in README


def test_the_number_of_behaviours_is_that_of_the_table() -> None:
    """The README has the totals of the table of behaviours."""
    totals = re.search(r"^\| \*\*as local\*\* \| (.*) \|$", TRANSPARENCY.read_text(), re.M)
    assert totals is not None
    tried, theirs, ours, _ = (re.findall(r"\d+", cell)[0] for cell in totals[1].split(" | "))
    assert f"of {tried} behaviours tried,\n{ours} are as local, with RPyC {theirs} (" in README
