"""Where the real peers are, and how a program is run with one of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTEROP = ROOT / "tests" / "interop"
THERE = INTEROP / "there"
"""What only the test server can import."""

OURS = "ours"
PEERS = {
    OURS: {},
    "ours-bound": {"RPYC_BIND_THREADS": "true"},
    "rpyc-6.0.2": {},
    "rpyc-6.0.2-bound": {"RPYC_BIND_THREADS": "true"},
    "rpyc-5.3.1": {},
}
"""Names of implementations, and the environment each runs in."""


def is_ours(name: str) -> bool:
    return name.startswith(OURS)


def peers_folder() -> Path:
    return Path(os.environ.get("RPYC_LIKE_PEERS", ROOT / ".peers"))


def path_of(name: str) -> Path:
    """Returns the folder to put on the path; skips (in CI: fails) if the peer is not there."""
    if is_ours(name):
        return ROOT
    folder = peers_folder() / name.removesuffix("-bound")
    if not (folder / "rpyc").is_dir():
        message = f"{folder.name} is missing: run bin/test, which installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


AIO = {"ours-aio": "await", "ours-aio-threads": "threads", "ours-aio-inline": "inline"}
"""Asyncio programs: clients that await or use threads, servers with or without threads."""

AIO_CLIENTS, AIO_SERVERS = ("ours-aio", "ours-aio-threads"), ("ours-aio", "ours-aio-inline")


def environment(name: str) -> dict[str, str]:
    """Returns the environment for a program that runs with implementation ``name``."""
    return {**os.environ, "PYTHONPATH": str(path_of(name)), **PEERS.get(name, {})}


def package(name: str) -> str:
    return "rpyc_like" if is_ours(name) else "rpyc"


@contextmanager
def serving(name: str, kind: str) -> Iterator[int]:
    """Runs the test server with implementation ``name`` and gives its port."""
    args = [sys.executable, "-u", str(INTEROP / "serve.py"), package(name), kind]
    if name in AIO:
        args[1:1] = ["-X", "dev", "-W", "error"]
        args.append(AIO[name])
    env = environment(name)
    env["PYTHONPATH"] += os.pathsep + str(THERE)
    with subprocess.Popen(
        args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def run_scenario(
    name: str, kind: str, port: int, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs the scenario as a client with implementation ``name``."""
    if name in AIO:
        script = str(INTEROP / "scenario_aio.py")
        args = [sys.executable, "-W", "error", script, AIO[name], kind, str(port)]
    else:
        args = [sys.executable, str(INTEROP / "scenario.py"), package(name), kind, str(port)]
    return subprocess.run(
        args, env=environment(name), capture_output=True, text=True, timeout=timeout, check=False
    )


def epc_environment() -> dict[str, str]:
    """Returns the environment for a program that uses ours, python-epc and sexpdata."""
    folder = peers_folder() / "epc-0.0.5"
    if not (folder / "epc").is_dir():
        message = f"{folder.name} is missing: run bin/test, which installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}


def epc_output(*command: str) -> list[str]:
    """Runs Python with ours, python-epc and sexpdata, and returns the lines that it printed."""
    done = subprocess.run(
        [sys.executable, *command],
        env=epc_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def find_interpreter(version: str) -> str | None:
    """Returns an interpreter of a version (``3.9``), if the machine has one that works."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")), Path("/opt/python")]
    candidates = [shutil.which(f"python{version}")]
    for root in roots:
        candidates += map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))
    for candidate in filter(None, candidates):
        probe = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None
