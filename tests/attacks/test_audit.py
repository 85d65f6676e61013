"""The audit oracle: nothing happens in a victim that no exposed function causes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .audit import running, watch
from .audit.services import SHAPES

SECONDS = float(os.environ.get("RPYC_LIKE_AUDIT_SECONDS", "40"))
"""For all victims together; to start them takes about half as long again."""
WEIGHTS = {"client": 3.0}
PLANTED = "tests.attacks.audit.planted"


@pytest.fixture(scope="module")
def seed() -> int:
    """A seed for all services, which is printed if a test fails."""
    return running.pick_seed()


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", SHAPES)
def test_no_event_without_a_cause(name: str, seed: int) -> None:
    """A hostile program makes nothing happen that no exposed function causes."""
    share = SECONDS * WEIGHTS.get(name, 1.0) / (len(SHAPES) - 1 + sum(WEIGHTS.values()))
    totals = running.Totals()
    running.attack(name, seed, share, totals, set())
    print(f"seed {seed}: {totals}")
    assert totals.programs
    assert not totals.failures, "\n".join(map(str, totals.failures))


@pytest.mark.parametrize(
    "hole, event",
    [
        ("ATTRIBUTES", "secret"),
        ("IMPORTS", "import"),
        ("FILES", "open"),
        ("CLASSES", "instance"),
        ("SECRETS", "secret"),
    ],
)
def test_a_planted_hole_is_found(hole: str, event: str) -> None:
    """The oracle finds a hole that was made for it."""
    totals = running.Totals()
    running.attack(f"{PLANTED}:{hole}", 1, 60, totals, set(), programs=400, minimise=0, until=event)
    assert event in {failure.finding.event for failure in totals.failures}


def test_a_program_is_repeated_by_its_seed() -> None:
    """The same seed makes the same program and finds the same."""
    found = []
    for _ in range(2):
        totals = running.Totals()
        running.attack(f"{PLANTED}:FILES", 7, 60, totals, set(), programs=10, minimise=0)
        found.append((totals.programs, totals.requests, [one[:2] for one in totals.failures]))
    assert found[0] == found[1]


def test_a_program_is_made_shorter() -> None:
    """A failure is shown with the steps that it needs."""
    totals = running.Totals()
    running.attack(f"{PLANTED}:FILES", 7, 60, totals, set(), programs=20, minimise=20, until="open")
    failure = next(one for one in totals.failures if one.finding.event == "open")
    assert len(failure.steps) <= 6


def test_few_events_are_expected(tmp_path: Path) -> None:
    """The file of expected events holds at most 20 lines."""
    assert len(watch.read_expected()) <= 20
    path = tmp_path / "expected.txt"
    path.write_text("\n".join(f"open {number} -" for number in range(21)))
    with pytest.raises(ValueError, match="at most 20 lines"):
        watch.read_expected(path)
