"""Remote objects behave like local ones, and the table in the documentation says what happens."""

from __future__ import annotations

import re

import pytest

from tests.support import transparency
from tests.support.peers import OURS, path_of


@pytest.fixture(scope="module")
def columns() -> dict[str, dict[str, str]]:
    path_of(transparency.VANILLA)
    return transparency.all_outcomes()


def test_as_local(columns: dict[str, dict[str, str]]) -> None:
    """Between two of ours everything is as local, but for what is known."""
    ours, local = columns["ours"], columns["local"]
    different = {name for name in local if ours[name] != local[name]}
    assert different == set(transparency.KNOWN), {name: ours[name] for name in different}
    assert len(local) > 120


def test_never_worse_than_rpyc(columns: dict[str, dict[str, str]]) -> None:
    """What RPyC does as local is as local with a client of ours too, whoever owns the objects."""
    for name, (_, rpyc, ours, mixed) in transparency.marks(columns).items():
        assert ours or not rpyc, name
        assert mixed or not rpyc, name


def test_the_table_is_true(columns: dict[str, dict[str, str]]) -> None:
    """The page says for each behaviour who does it as local."""
    rows = re.findall(r"^\| ([^*|]+: [^|]+) \|(.*)\|$", transparency.TABLE.read_text(), re.M)
    said = {
        name.strip(): [True, *("as local" in cell for cell in re.split(r"(?<!\\)\|", rest)[1:])]
        for name, rest in rows
    }
    assert said == transparency.marks(columns)


def test_local_run_is_what_it_says() -> None:
    """The first column is made by the same program, without any connection."""
    assert transparency.COLUMNS["local"] == ("local", None)
    assert transparency.COLUMNS["ours"] == (OURS, OURS)
