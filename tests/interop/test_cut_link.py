"""Two network namespaces, and a link between them that is cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.peers import INTEROP, OURS, environment

SCRIPT = str(INTEROP / "cut_link.py")
HERE, THERE = "10.217.33.1", "10.217.33.2"
PORT = "18999"
INTERVAL = 2.0
"""Of the signs of life, in seconds."""


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces with a link between them."""
    names = f"rl{os.getpid()}a", f"rl{os.getpid()}b"
    made = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces can be made here: {error}")
        ip("-n", names[0], "link", "add", "v0", "type", "veth", "peer", "v1", "netns", names[1])
        for name, link, address in zip(names, ("v0", "v1"), (HERE, THERE)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


def start(namespace: str, role: str) -> subprocess.Popen[str]:
    command = [
        "ip",
        "netns",
        "exec",
        namespace,
        sys.executable,
        SCRIPT,
        role,
        THERE,
        PORT,
        str(INTERVAL),
    ]
    return subprocess.Popen(command, env=environment(OURS), stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    """Returns the next line of what a side says."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.skipif(not shutil.which("ip"), reason="there is no command ip")
def test_both_sides_notice(namespaces: tuple[str, str]) -> None:
    """Case 75: no packet says that the link is gone; both find out within three intervals."""
    server = start(namespaces[1], "serve")
    client = None
    try:
        assert said(server) == "listening\n"
        client = start(namespaces[0], "call")
        assert said(client) == said(server) == "begun\n"
        time.sleep(3.5 * INTERVAL)  # nobody gives up
        assert client.poll() is None
        ip("-n", namespaces[0], "link", "set", "v0", "down")
        cut = time.monotonic()
        for process in (client, server):
            state = ""
            while state != "closed":
                state, when, why = said(process).split()
            assert float(when) - cut < 3 * INTERVAL + 20, process.args  # TCP takes minutes
            assert why == "PeerSilent" or "Silent" in why or why == "ConnectionClosed", why
    finally:
        for process in (client, server):
            if process is not None:
                process.kill()
                process.communicate()
