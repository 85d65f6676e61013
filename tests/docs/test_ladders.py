"""The page on security has the table of ladders that the policy uses."""

from __future__ import annotations

import re
from pathlib import Path

from rpyc_like.lib.guards.access_policy import LADDERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "security.md"


def test_the_table_is_the_policys() -> None:
    """Each row of the policy stands in the table, in its order, and nothing else does."""
    table = PAGE.read_text().partition("<!-- table: ladders -->")[2].partition("\n\n|")[2]
    rows = re.findall(r"^\| (.*) \| (yes|no: there is a warning) \| (.*) \|$", table, re.M)
    assert rows == [
        (row.title, "yes" if row.is_usual else "no: there is a warning", row.policy)
        for row in LADDERS
    ]
