"""Networks and machines: cases 74 to 85 of the list of faults that no other file has."""

from __future__ import annotations

import ast
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.core.service import ClassicService
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.streams import SocketStream, happy_eyeballs
from rpyc_like.utils.server import ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually
from tests.support.joining import join

from .serving import Patient
from .test_waits import QUIET, ROOT, in_process, output, program, served


@pytest.fixture(params=[ThreadedServer, ThreadPoolServer])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A running server."""
    server = request.param(
        Patient, logger=QUIET, grace=0, protocol_config={"send_timeout": 0.5, "max_depth": 1000}
    )
    server._start_in_thread()
    yield server
    server.close()


def test_case_74_a_server_that_is_killed() -> None:
    """Each thread that waits is told at once when the peer is killed; cleanup happens once."""
    with program() as (port, process):
        conn = rpyc.connect("127.0.0.1", port)
        told: list[str] = []
        conn.add_state_callback(lambda conn, state: told.append(state))
        sleep = conn.root.sleep
        pending = rpyc.async_(sleep)(60)
        outcomes: list[BaseException] = []

        def wait() -> None:
            try:
                sleep(60)
            except ConnectionClosed as error:
                outcomes.append(error)

        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: conn._link.exchanges >= 4)
        time.sleep(0.1)
        process.kill()
        started = time.monotonic()
        for thread in threads:
            join(thread)
        assert time.monotonic() - started < 50
        assert len(outcomes) == 4
        with pytest.raises(EOFError):
            pending.value
        eventually(lambda: told == ["closed"])  # perhaps in another thread
        assert not len(conn._local_objects) or conn.closed
        assert outcomes[0].__cause__ is not None


KILLED = """
import os, sys
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
pending = rpyc.async_(conn.root.call)(print, "x")
pending.wait()
watch = rpyc.async_(conn.root.watch)(60)
conn.root
os.kill(os.getpid(), 9)
"""


def test_case_74_a_client_that_is_killed(server: Any) -> None:
    """A server forgets a client that is killed, once, and goes on."""
    here = rpyc.connect("127.0.0.1", server.port)
    here.ping()
    child = in_process(KILLED, str(server.port))
    child.communicate(timeout=200)
    eventually(lambda: len(server.clients) == 1)
    assert here.root.add(1, 2) == 3
    here.close()


def test_case_76_a_peer_that_does_not_read(server: Any) -> None:
    """A peer that takes nothing in is given up after ``send_timeout``; others notice nothing."""
    slow = rpyc.connect("127.0.0.1", server.port)
    fine = rpyc.connect("127.0.0.1", server.port)
    pending = rpyc.async_(slow.root.give)(64 << 20)
    other = served(slow)
    started = time.monotonic()
    while not other.closed:
        asked = time.monotonic()
        assert fine.root.add(1, 2) == 3
        assert time.monotonic() - asked < 25
        assert time.monotonic() - started < 110
    assert "taken nothing in" in str(other.reason)
    assert "send_timeout" in str(other.reason)
    with pytest.raises(EOFError):
        pending.value
    fine.close()


EXHAUSTED = """
import resource, socket, sys, threading, time
import rpyc_like as rpyc
from tests.faults.serving import Patient
server = rpyc.ThreadedServer(Patient, port=0)
server._start_in_thread()
first = rpyc.connect("127.0.0.1", server.port)
assert first.root.add(1, 2) == 3
used = len(__import__("os").listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, 10_000))
held = []
try:
    while True:
        held.append(socket.create_connection(("127.0.0.1", server.port)))
except OSError:
    pass
before = time.process_time()
time.sleep(1)
spent = time.process_time() - before
assert first.root.add(1, 2) == 3
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 100, 10_000))
for sock in held:
    sock.close()
again = rpyc.connect("127.0.0.1", server.port)
print(again.root.add(1, 2), spent < 0.5, server.active)
again.close()
first.close()
server.close()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_case_77_no_descriptors_left() -> None:
    """A server without descriptors waits, without spinning, and goes on when there are some."""
    out, err = output(EXHAUSTED)
    assert out == "3 True True\n", err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED, errno.EINTR]
)
def test_case_77_errors_of_accept(server: Any, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system in ``accept`` ends no server."""
    failures = iter([code] * 2)
    accept = socket.socket.accept

    def failing(self: socket.socket) -> Any:
        number = next(failures, None)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with rpyc.connect("127.0.0.1", server.port) as conn:
        assert conn.root.add(1, 2) == 3
    assert next(failures, None) is None


PIPES = """
import rpyc_like as rpyc
from rpyc_like.core.service import SlaveService
rpyc.connect_stdpipes(SlaveService).serve_all()
"""


FLOODS = """
import rpyc_like
def flood(func):
    results = [rpyc_like.async_(func)(bytes(4 << 20)) for _ in range(3)]
    return tuple(result.value for result in results)
def take(data):
    return len(data)
"""


def test_case_78_both_sides_send_much_over_pipes() -> None:
    """Two sides that send more than the pipes hold, at the same time, do not block each other."""
    with rpyc.connect_subproc([sys.executable, "-c", PIPES], ClassicService) as conn:
        much = 4 << 20
        conn.execute(FLOODS)
        flood, take = conn.namespace["flood"], rpyc.async_(conn.namespace["take"])
        flooded = rpyc.async_(flood)(len)
        taken = [take(bytes(much)) for _ in range(3)]
        assert flooded.value == (much,) * 3
        assert [result.value for result in taken] == [much] * 3


def test_case_78_neither_side_serves_while_it_sends() -> None:
    """Who sends reads as well, when the other side sends and nothing else."""
    much = os.urandom(4 << 20)
    conns = [rpyc.connect_stream(SocketStream(sock)) for sock in socket.socketpair()]
    outcomes: list[bool] = []

    def send(conn: Any) -> None:
        results = [conn.async_request(consts.HANDLE_PING, much) for _ in range(3)]
        outcomes.append(all(result.value == much for result in results))

    threads = [threading.Thread(target=send, args=(conn,), daemon=True) for conn in conns]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert outcomes == [True, True]
    closing = threading.Thread(target=conns[1].close)
    closing.start()
    conns[0].close()
    join(closing)


def test_case_79_monotonic_clocks_only() -> None:
    """No wait depends on the wall clock: the sources ask for it where others need to know it."""
    allowed = {
        "utils/registry_protocol.py": "messages from other machines say when they were made",
        "utils/certificates.py": "certificates say from when to when they hold",
    }
    found = set()
    for path in (ROOT / "rpyc_like").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            wall = isinstance(node, ast.Attribute) and ast.unparse(node) in (
                *("time.time", "datetime.now", "datetime.datetime.now", "time.time_ns"),
            )
            imported = isinstance(node, ast.ImportFrom) and node.module == "time"
            if wall or (imported and any(name.name == "time" for name in node.names)):
                found.add(str(path.relative_to(ROOT / "rpyc_like")))
    assert found == set(allowed)


# -- several addresses


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch, server: Any) -> Any:
    """Makes a host of several addresses, of which the last is the server's."""

    def make(*hosts: str) -> str:
        addresses: list[Any] = [
            (
                socket.AF_INET6 if ":" in host else socket.AF_INET,
                *(socket.SOCK_STREAM, 6, ""),
                (host, server.port, 0, 0) if ":" in host else (host, server.port),
            )
            for host in hosts
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: addresses)
        return "many.example"

    return make


@pytest.fixture
def dead(server: Any) -> Iterator[str]:
    """An address that never answers: somebody listens there and accepts nobody."""
    held: list[socket.socket] = []
    listener = socket.socket()
    listener.bind(("127.0.0.9", server.port))
    listener.listen(0)
    while True:
        held.append(socket.socket())
        held[-1].settimeout(0.2)
        try:
            held[-1].connect(("127.0.0.9", server.port))
        except TimeoutError:
            break
    yield "127.0.0.9"
    for sock in (*held, listener):
        sock.close()


def test_case_80_dead_addresses_first(several: Any, server: Any, dead: str) -> None:
    """An address that does not answer costs a quarter of a second, not a time-out."""
    started = time.monotonic()
    conn = rpyc.connect(several(dead, dead, "127.0.0.1"), server.port, timeout=60)
    assert 0.4 < time.monotonic() - started < 50
    assert conn.root.add(1, 2) == 3
    conn.close()


def test_case_80_families_in_turn() -> None:
    """The second attempt is of another family, so that one dead family costs little."""
    six, four = socket.AF_INET6, socket.AF_INET
    given: Any = [(six, 1), (six, 2), (six, 3), (four, 4), (four, 5)]
    assert [one[1] for one in happy_eyeballs._in_turn(given)] == [1, 4, 2, 5, 3]


def test_case_80_refusing_addresses(several: Any, server: Any) -> None:
    """Addresses that refuse are passed over at once; if all do, that is the error."""
    conn = rpyc.connect(several("127.0.0.3", "::1", "127.0.0.1"), server.port)
    assert conn.root.add(1, 2) == 3
    conn.close()
    with pytest.raises(ConnectionRefusedError):
        rpyc.connect(several("127.0.0.3", "127.0.0.4"), server.port)


def test_case_80_nobody_answers(several: Any, server: Any, dead: str) -> None:
    """The time-out holds for each address, and they are waited for together."""
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer from 127\.0\.0\.9 port \d+ within 8 s"):
        happy_eyeballs.connect_socket(several(dead, dead), server.port, timeout=8)
    assert 8 <= time.monotonic() - started < 15


# -- logs


DISK_FULL = """
import logging, os, sys
import rpyc_like as rpyc
from tests.faults.serving import Patient
if sys.argv[1] == "full":
    logging.basicConfig(filename="/dev/full", level=logging.DEBUG)
else:
    logging.basicConfig(level=logging.DEBUG)
    os.close(2)
server = rpyc.ThreadedServer(Patient, port=0, protocol_config={"log_exceptions": True})
server._start_in_thread()
for _ in range(3):
    with rpyc.connect("127.0.0.1", server.port) as conn:
        assert conn.root.add(1, 2) == 3
        try:
            conn.root.add(1, None)
        except TypeError:
            pass
server.close()
print("served", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["full", "closed"])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_case_84_logs_that_cannot_be_written(how: str) -> None:
    """A full disk under the log, or a closed standard error, does not stop a server."""
    out, _ = output(DISK_FULL, how)
    assert out == "served\n"
