"""Nobody waits in vain: each scenario under many schedules, which a seed decides.

``RPYC_LIKE_SCHEDULES`` is how many for each scenario, ``RPYC_LIKE_SCHEDULES_SEED`` the seed. They
run in processes of their own, because they replace what the package waits with.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .adapters import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
COUNT = os.environ.get("RPYC_LIKE_SCHEDULES", "100")
SEED = os.environ.get("RPYC_LIKE_SCHEDULES_SEED", "1")
PROCESSES = 2


def _begin(names: list[str]) -> subprocess.Popen[str]:
    scenarios = [option for name in names for option in ("--scenario", name)]
    command = [sys.executable, "-m", "tests.schedules", "--schedules", COUNT, "--seed", SEED]
    return subprocess.Popen(
        [*command, *scenarios],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> dict[str, str]:
    """Run the wanted scenarios; return what was printed about each."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = [item.callspec.params["name"] for item in items if item.function is test_scenario]
    parts = [wanted[start::PROCESSES] for start in range(PROCESSES)]
    processes = [_begin(names) for names in parts if names]
    printed: dict[str, list[str]] = {name: [] for name in wanted}
    for process in processes:
        output, _ = process.communicate()
        current: list[str] = []
        for line in output.splitlines():
            current.append(line)
            name = line.partition(":")[0]
            if name in printed and " failed, " in line:
                printed[name], current = current, []
        assert process.returncode in (0, 1), output
    return {name: "\n".join(lines) for name, lines in printed.items()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(reports: dict[str, str], name: str) -> None:
    """Nobody waits in vain under any of the schedules, and the program does what it should."""
    assert f"{name}: 0 of {COUNT} failed" in reports[name], reports[name]
