"""Programs as users of python-epc write them, with the real one and, unchanged, with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.peers import INTEROP, ROOT, epc_environment

PROGRAMS = sorted((INTEROP / "epc_programs").glob("*.py"))


def output(*command: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, *command],
        env=epc_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_same_output(program: Path) -> None:
    """A program prints the same with either; ours answers to its imports of ``epc``."""
    theirs = output(str(program))
    assert len(theirs) >= 4
    assert output("-m", "rpyc_like.alias", "--epc", str(program)) == theirs
