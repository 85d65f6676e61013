"""Several interpreters in one process: each has its own tables, and ends without a thread left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

INSIDE = """
import sys, threading
sys.path.insert(0, sys.argv[1] if len(sys.argv) > 1 else ROOT)
import rpyc_like as rpyc
from rpyc_like.lib import native

class Service(rpyc.Service):
    def exposed_call(self, func, *args):
        return func(*args)

    async def exposed_later(self):
        return [5]

server = rpyc.ThreadedServer(Service, port=0, hostname="127.0.0.1")
server._start_in_thread()
conn = rpyc.connect("127.0.0.1", server.port)
assert conn.root.call(lambda: 7) == 7
assert rpyc.async_(conn.root.later)().value == [5]
assert native.IMPLEMENTATION == "python"  # the compiled core is the main interpreter's
server.close()
if LEFT:
    left = rpyc.connect_thread(remote_service=Service)
    assert left.root.call(len, "abc") == 3
else:
    conn.close()
if sys.version_info < (3, 12):
    threading._shutdown()  # before that it is refused to end one that has more threads
    assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
"""

OUTSIDE = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import rpyc_like as rpyc

class Service(rpyc.Service):
    def exposed_make(self, *args):
        return [args]

with rpyc.connect_thread(remote_service=Service) as conn:
    for left in (False, True):
        if sys.version_info >= (3, 13):
            other = interpreters.create(sys.argv[1])
        else:
            other = interpreters.create(isolated=sys.argv[1] == "isolated")
        inside = f"ROOT, LEFT = {sys.argv[2]!r}, {left}" + sys.argv[3]
        failure = interpreters.run_string(other, inside)
        assert failure is None, failure
        interpreters.destroy(other)
        made = conn.root.make(conn.root, 5)
        assert made == [(conn.root, 5)] and type(made).__name__ == "list"
print("done")
"""


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_case_72_several_interpreters(kind: str) -> None:
    """One that is not the main one serves and asks, and its threads end with it.

    The objects of the main interpreter, those of the compiled core too, are not touched.
    """
    if kind == "isolated" and sys.version_info < (3, 13):
        kind = "legacy"  # of Python 3.12 such an interpreter with asyncio corrupts memory by itself
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, kind, str(ROOT), INSIDE],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RPYC_LIKE_IMPL": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
