"""Programs as users of python-epc write them, with the real one and, unchanged, with ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.peers import INTEROP, epc_output

PROGRAMS = sorted((INTEROP / "epc_programs").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_same_output(program: Path) -> None:
    """A program prints the same with either; ours answers to its imports of ``epc``."""
    theirs = epc_output(str(program))
    assert len(theirs) >= 4
    assert epc_output("-m", "rpyc_like.alias", "--epc", str(program)) == theirs
