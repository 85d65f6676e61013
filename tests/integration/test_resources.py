"""What is left behind: descriptors, threads, and what a forked child may do."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import rpyc_like as rpyc
from rpyc_like.core.service import ClassicService
from rpyc_like.utils.server import ThreadedServer
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.processes import descriptors, has_proc


class Adder(rpyc.Service):
    """Adds."""

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    """A running server."""
    server = ThreadedServer(Adder)
    thread = server._start_in_thread()
    yield server
    server.close()
    join(thread)


@pytest.mark.skipif(not has_proc(), reason="needs /proc")
@pytest.mark.filterwarnings("ignore:.*unclosed.*")  # Python's own word to who forgets one
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_leaks(server: ThreadedServer) -> None:
    """A hundred connections, closed or just forgotten, leave no descriptor and no thread."""
    with rpyc.connect("127.0.0.1", server.port) as conn:
        conn.ping()
    eventually(lambda: not server.clients)
    before, threads = descriptors(), threading.active_count()
    for number in range(100):
        conn = rpyc.connect("127.0.0.1", server.port)
        assert conn.root.add(number, 1) == number + 1
        if number % 2:
            conn.close()
        del conn
        gc.collect(0)
    gc.collect()
    eventually(lambda: not server.clients)
    eventually(lambda: threading.active_count() <= threads)
    eventually(lambda: descriptors() <= before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(server: ThreadedServer) -> None:
    """A forked child cannot use its copies, and its end disturbs nobody."""
    conn = rpyc.connect("127.0.0.1", server.port)
    add = conn.root.add
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        verdict = b"no error"
        try:
            add(1, 2)
        except EOFError as error:
            verdict = str(error).encode()
        finally:
            del add
            gc.collect()
            conn.close()
            os.write(there, verdict)
            os._exit(0)
    os.waitpid(child, 0)
    assert b"forked" in os.read(here, 1000)
    os.close(here)
    os.close(there)
    time.sleep(0.1)  # longer than releases of the child would need, if there were any
    assert add(1, 2) == 3
    conn.close()


def test_exit_with_a_hung_server() -> None:
    """Interpreter exit does not wait for a server that is busy."""
    code = (
        "import rpyc_like as rpyc\n"
        "conn = rpyc.classic.connect_subproc()\n"
        "pending = rpyc.async_(conn.modules.time.sleep)(60)\n"
        "conn.proc.returncode = 0\n"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200, stderr=subprocess.DEVNULL)
    assert time.monotonic() - started < 50


def test_classic_service_as_an_instance() -> None:
    """A service instance is shared by its clients."""
    shared = Adder()
    shared.exposed_seen = []  # type: ignore[attr-defined]
    with ThreadedServer(shared) as server:
        server._start_in_thread()
        for number in range(2):
            with rpyc.connect("127.0.0.1", server.port) as conn:
                conn.root.seen
                shared.exposed_seen.append(number)  # type: ignore[attr-defined]
    assert shared.exposed_seen == [0, 1]  # type: ignore[attr-defined]
    assert ClassicService.get_service_name() == "CLASSIC"
