"""A process for each client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import AuthenticationError
from tests.support.eventually import eventually

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Where(rpyc.Service):
    """Tells which process it runs in."""

    def __init__(self) -> None:
        self.count = 0

    def exposed_pid(self) -> int:
        return os.getpid()

    def exposed_count(self) -> int:
        self.count += 1
        return self.count

    def exposed_end(self) -> None:
        os._exit(3)

    def exposed_call(self, func: Any) -> Any:
        return func()


@pytest.fixture
def start() -> Iterator[Callable[..., rpyc.ForkingServer]]:
    """Starts servers in threads."""
    made: list[rpyc.ForkingServer] = []

    def make(service: Any = Where, **options: Any) -> rpyc.ForkingServer:
        made.append(rpyc.ForkingServer(service, port=0, **options))
        made[-1]._start_in_thread()
        return made[-1]

    yield make
    for server in made:
        server.close()
        eventually(lambda server=server: not server._children)


def test_processes(start: Any) -> None:
    """Clients are served at once, each in another process, and none is left behind."""
    server = start()
    conns = [rpyc.connect("127.0.0.1", server.port) for _ in range(3)]
    pids = {conn.root.pid() for conn in conns}
    assert len(pids | {os.getpid()}) == 4
    assert [conn.root.count() for conn in conns] == [1, 1, 1]
    assert conns[0].root.call(os.getpid) == os.getpid()
    for conn in conns:
        conn.close()
    eventually(lambda: not server._children)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not server.clients
    assert not server.admission.silent


def test_an_instance_is_copied(start: Any) -> None:
    """What a client changes, others do not see."""
    server = start(Where())
    for _ in range(2):
        with rpyc.connect("127.0.0.1", server.port) as conn:
            assert [conn.root.count(), conn.root.count()] == [1, 2]


def test_a_process_that_dies(start: Any) -> None:
    """It takes its own client with it and nobody else."""
    server = start()
    other = rpyc.connect("127.0.0.1", server.port)
    doomed = rpyc.connect("127.0.0.1", server.port)
    with pytest.raises(EOFError):
        doomed.root.end()
    assert other.root.count() == 1
    other.close()
    doomed.close()


def test_authentication(start: Any) -> None:
    """The authenticator runs in the child as well."""

    def refuse(sock: Any) -> Any:
        raise AuthenticationError("nobody")

    server = start(authenticator=refuse)
    conn = rpyc.connect("127.0.0.1", server.port)
    with pytest.raises(EOFError):
        conn.root.pid()
    conn.close()


def test_the_command() -> None:
    """rpyc_classic.py -m forking."""
    program = (
        "import rpyc_like.cli.rpyc_classic as c, rpyc_like.utils.server as s\n"
        "start = s.Server.start\n"
        "s.Server.start = lambda self: (print(self.port, flush=True), start(self))\n"
        "c.main()\n"
    )
    args = [sys.executable, "-c", program, "-m", "forking", "-p", "0", "-q"]
    with subprocess.Popen(args, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with rpyc.classic.connect("127.0.0.1", port) as conn:
                assert conn.modules.os.getpid() != process.pid
                assert conn.modules.os.getppid() == process.pid
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
