"""Real peers over standard input and output, where nothing can be reconnected."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rpyc_like as rpyc
from tests.support.peers import environment

CHILD = """
import rpyc
class Adder(rpyc.Service):
    def exposed_add(self, a, b):
        return a + b
rpyc.connect_stdpipes(Adder).serve_all()
"""


def child(peer: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD],
        env=environment(peer),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )


@pytest.mark.parametrize(
    ("peer", "config"),
    [
        ("rpyc-6.0.2", {}),
        ("rpyc-6.0.2-bound", {"bind_threads": True}),
        ("rpyc-5.3.1", {"dialect": 5}),
    ],
)
def test_dialect_is_configured(peer: str, config: dict[str, object]) -> None:
    """The configuration says what is spoken."""
    with child(peer) as proc:
        conn = rpyc.connect_pipes(proc.stdout, proc.stdin, config=config)
        assert conn.root.add(2, 3) == 5
        conn.close()
        proc.wait(60)


def test_wrong_dialect_is_named() -> None:
    """Without it the error names both versions and the key."""
    with child("rpyc-5.3.1") as proc:
        conn = rpyc.connect_pipes(proc.stdout, proc.stdin)
        with pytest.raises(EOFError, match=r"RPyC 6\.x first .* RPyC 5\.x; .*'dialect': 5"):
            conn.root.add(2, 3)
        conn.close()
        proc.wait(60)
