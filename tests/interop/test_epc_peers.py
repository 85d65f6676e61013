"""The same program with the real python-epc and with ours, as server and as client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.peers import INTEROP, ROOT, epc_environment, epc_output

PROGRAMS = {
    "ours": (str(INTEROP / "epc_there.py"), "rpyc_like.epc"),
    "theirs": (str(INTEROP / "epc_there.py"), "epc"),
    "aio": (str(INTEROP / "epc_aio.py"),),
}
PAIRS = [(server, client) for server in PROGRAMS for client in PROGRAMS]


@contextmanager
def serving(name: str) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-u", *PROGRAMS[name], "serve"],
        env=epc_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def outcome(server: str, client: str) -> list[str]:
    with serving(server) as port:
        return epc_output(*PROGRAMS[client], "use", str(port))


@pytest.mark.parametrize(("server", "client"), PAIRS)
def test_pairs(server: str, client: str) -> None:
    """Values, errors, callbacks, the list of methods, many calls at once."""
    lines = outcome(server, client)
    assert len(lines) == 18
    assert all(line.startswith("True ") for line in lines[:9]), lines
    assert lines[9] == "':name'"
    assert lines[10] == "['a', 'b']"
    assert lines[11] == "5"
    assert lines[12] == "'ReturnError' True False"
    assert lines[13] == "'EPCError' False True"
    if server != "theirs":  # the real one does not answer where its own nested call has failed
        assert lines[14] == "'ReturnError' False True"
    assert lines[15] == "['call_back', 'echo', 'fail']"
    assert lines[16] == "[7]"
    assert lines[17] == repr([[n] for n in range(20)])
