"""Registries and their clients, of RPyC and ours, in every combination."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.peers import INTEROP, OURS, environment, package

SIDES = [(OURS, "rpyc-6.0.2"), ("rpyc-6.0.2", OURS), (OURS, OURS), ("rpyc-5.3.1", OURS)]


def run(name: str, role: str, kind: str, port: int) -> str:
    args = [sys.executable, str(INTEROP / "registry.py"), package(name), role, kind, str(port)]
    done = subprocess.run(
        args, env=environment(name), capture_output=True, text=True, timeout=200, check=True
    )
    return done.stdout


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
@pytest.mark.parametrize(("server", "client"), SIDES)
def test_registry(server: str, client: str, kind: str) -> None:
    """What one registers the other finds, lists and removes."""
    args = [
        sys.executable,
        "-u",
        str(INTEROP / "registry.py"),
        package(server),
        "server",
        kind,
        "0",
    ]
    with subprocess.Popen(
        args,
        env=environment(server),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            assert run(client, "register", kind, port) == "True\n"
            assert run(client, "ask", kind, port).splitlines() == [
                "(('127.0.0.1', 4321),)",
                "('FOUND', 'ALSO')",
                "()",
                "()",
            ]
        finally:
            process.kill()
