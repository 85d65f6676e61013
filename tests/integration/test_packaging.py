"""The package as it is installed: with the compiled core, and without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import rpyc_like as rpyc
from rpyc_like.lib.native import IMPLEMENTATION
with rpyc.connect_thread(remote_service=rpyc.ClassicService) as conn:
    print(IMPLEMENTATION, conn.root.eval("6 * 7"))
"""


def build(folder: Path, **env: str) -> Path:
    """Returns a wheel of this clone."""
    pytest.importorskip("wheel")
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    unwanted = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "rpyc_like", source / "rpyc_like", ignore=unwanted)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "-w", str(folder), str(source)],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **env},
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(wheel: Path, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with what is in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(folder), "RPYC_LIKE_IMPL": "", **env},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler")
def test_a_wheel_has_the_compiled_core(tmp_path: Path) -> None:
    """It is used where it was built, and can be left aside."""
    wheel = build(tmp_path / "build")
    assert run(wheel, tmp_path / "here").stdout == "native 42\n"
    assert run(wheel, tmp_path / "here", RPYC_LIKE_IMPL="python").stdout == "python 42\n"


def test_without_a_compiler(tmp_path: Path) -> None:
    """The installation is pure then, and works; who asks for the compiled core is told."""
    wheel = build(tmp_path / "build", CC="no-such-compiler", CXX="no-such-compiler")
    assert run(wheel, tmp_path / "here").stdout == "python 42\n"
    asked = run(wheel, tmp_path / "here", RPYC_LIKE_IMPL="native")
    assert asked.returncode and "the compiled core was not built" in asked.stderr
