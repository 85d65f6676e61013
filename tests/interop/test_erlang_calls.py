"""A real Erlang VM and Python call each other, through the package's own Erlang module."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

import pytest

from tests.support.erlang import SOURCES, VMS, compiled, erl, run_erlang
from tests.support.peers import ROOT

PRIV = ROOT / "rpyc_like" / "erlport" / "priv"
NAMES = re.findall(r"^    \{(\w+), fun\(\) ->", (SOURCES / "checks.erl").read_text(), re.M)


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beams")
    sources = [SOURCES / "checks.erl", SOURCES / "checks_helper.erl", PRIV / "rpyc_like.erl"]
    return compiled(folder, *sources)


@functools.cache
def outcomes(vm: str, beams: Path) -> dict[str, str]:
    """Runs all checks; returns what is said of each, and all output under ``""``."""
    silent = beams / "silent"
    silent.write_text("#!/bin/sh\nexec cat > /dev/null\n")
    silent.chmod(0o755)
    erl(vm)
    done = run_erlang(vm, beams, "checks", sys.executable, SOURCES, silent, limit=120)
    lines = [line[1:].split(" ", 1) for line in done.stdout.splitlines() if line.startswith("#")]
    return {"": done.stdout + done.stderr, **dict(lines)}


def test_all_are_run() -> None:
    assert len(NAMES) > 30


@pytest.mark.timeout(180)
@pytest.mark.parametrize("vm", VMS)
@pytest.mark.parametrize("name", NAMES)
def test_check(name: str, vm: str, beams: Path) -> None:
    said = outcomes(vm, beams)
    assert said.get(name) == "ok", said.get(name) or said[""]


@pytest.mark.parametrize("vm", VMS)
def test_output(vm: str, beams: Path) -> None:
    """Erlang prints what Python prints, and nothing else gets in between."""
    assert "printed by Python\n" in outcomes(vm, beams)[""]
