"""What servers of every kind do: end in an orderly way, listen anywhere, stay open to others."""

from __future__ import annotations

import functools
import logging
import queue
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.utils.server import ForkingServer, Server, ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.processes import descriptors, has_proc

QUIET = logging.getLogger("tests.servers")
QUIET.setLevel(logging.CRITICAL)
KINDS = [ThreadedServer, ThreadPoolServer, ForkingServer]
THREADED = [ThreadedServer, ThreadPoolServer]

Start = Callable[..., Server]


class Busy(rpyc.Service):
    """Does things that take time."""

    server: Any = None

    def exposed_sleep(self, seconds: float, begun: str = "") -> str:
        if begun:
            Path(begun).touch()
        time.sleep(seconds)
        return "slept"

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_nest(self, depth: int, back: Any) -> int:
        return 0 if depth == 0 else 1 + back(depth - 1)

    def exposed_stop(self) -> str:
        type(self).server.close()
        return "stopped"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers in threads, and closes them."""
    made: list[Server] = []

    def make(kind: type[Server], service: Any = Busy, **options: Any) -> Server:
        server = kind(service, logger=QUIET, **options)
        made.append(server)
        server._start_in_thread()
        return server

    yield make
    for server in made:
        server.grace = 0
        server.close()


def connect(server: Server, **options: Any) -> Any:
    if not server.host:
        return rpyc.utils.factory.unix_connect(str(server.port), **options)
    return rpyc.connect(server.host, server.port, ipv6=":" in server.host, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_close_lets_calls_finish(kind: type[Server], start: Start, tmp_path: Path) -> None:
    """A call that runs when the server is closed is answered; nobody new gets in."""
    server = start(kind, grace=60)
    begun = tmp_path / "begun"
    with connect(server) as busy, connect(server) as idle:
        idle.root.echo(1)
        result = rpyc.async_(busy.root.sleep)(2, str(begun))
        eventually(begun.exists)
        server.close()
        assert result.value == "slept"
        with pytest.raises(EOFError):
            idle.root.echo(2)
    with pytest.raises(OSError):
        connect(server)


@pytest.mark.parametrize("kind", KINDS)
def test_close_cuts_after_the_limit(kind: type[Server], start: Start) -> None:
    """A call that takes longer than the limit is cut."""
    server = start(kind, grace=0.3)
    with connect(server) as conn:
        result = rpyc.async_(conn.root.sleep)(20)
        time.sleep(0.1)
        begun = time.monotonic()
        server.close()
        assert time.monotonic() - begun < 15
        with pytest.raises(EOFError):
            result.value


@pytest.mark.parametrize("kind", THREADED)
def test_close_from_a_call(kind: type[Server], start: Start) -> None:
    """A call may close the server that serves it: it does not wait for itself."""
    service = type("Stopping", (Busy,), {})
    server = start(kind, service, grace=60)
    service.server = server
    with connect(server) as conn:
        begun = time.monotonic()
        with pytest.raises(EOFError):
            conn.root.stop()
        assert time.monotonic() - begun < 50
    eventually(server._finished.is_set)


@pytest.mark.parametrize("kind", KINDS)
def test_unix_socket(kind: type[Server], start: Start, tmp_path: Path) -> None:
    """A unix socket is for the user alone, and gone when the server is closed."""
    path = tmp_path / "socket"
    server = start(kind, socket_path=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with connect(server) as conn:
        assert conn.root.echo(5) == 5
    server.close()
    assert not path.exists()


def test_unix_socket_of_somebody_else(start: Start, tmp_path: Path) -> None:
    """What has taken the place of a unix socket is not removed with it."""
    path = tmp_path / "socket"
    server = start(ThreadedServer, socket_path=str(path))
    path.unlink()
    path.write_text("mine")
    server.close()
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_ipv6(kind: type[Server], start: Start) -> None:
    """Servers listen on IPv6, on the loopback address unless told otherwise."""
    server = start(kind, ipv6=True)
    assert server.host == "::1"
    with connect(server) as conn:
        assert conn.root.echo("six") == "six"


@pytest.mark.parametrize("kind", KINDS)
def test_several_sockets(kind: type[Server], start: Start, tmp_path: Path) -> None:
    """A server listens on each of the sockets that it is given."""
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "second"))
    unix.listen()
    port = tcp.getsockname()[1]
    start(kind, sockets=[tcp, unix])
    with rpyc.connect("127.0.0.1", port) as conn:
        assert conn.root.echo(1) == 1
    with rpyc.utils.factory.unix_connect(str(tmp_path / "second")) as conn:
        assert conn.root.echo(2) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_idle_exit(kind: type[Server]) -> None:
    """A server with an idle limit ends when it has had no client for that long, and not before."""
    server = kind(Busy, logger=QUIET, idle_timeout=2)
    thread = server._start_in_thread()
    with connect(server) as conn:
        assert conn.root.sleep(3) == "slept"
        assert thread.is_alive()
    join(thread)


@pytest.mark.parametrize("kind", KINDS)
def test_clients(kind: type[Server], start: Start) -> None:
    """``clients`` holds the sockets of those who are connected."""
    server = start(kind)
    with connect(server) as conn:
        conn.root.echo(1)
        if kind is not ForkingServer:
            assert len(server.clients) == 1
    eventually(lambda: not server.clients)
    eventually(lambda: not server._has_clients())


class Telling(rpyc.Service):
    """Notes when connections begin and end."""

    told: list[str] = []

    def on_connect(self, conn: Any) -> None:
        self.told.append("on")

    def on_disconnect(self, conn: Any) -> None:
        self.told.append("off")


@pytest.mark.parametrize("kind", THREADED)
def test_services_are_told_at_the_end(kind: type[Server], start: Start) -> None:
    """A server that is closed tells its services of each client, whoever is busy."""
    Telling.told = []
    server = start(kind, Telling)
    conns = [connect(server) for _ in range(5)]
    for conn in conns:
        conn.ping()
    server.close()
    eventually(lambda: Telling.told.count("off") == 5)
    for conn in conns:
        conn.close()
    eventually(lambda: not server._connections)


@pytest.mark.parametrize("kind", THREADED)
def test_services_are_told(kind: type[Server], start: Start) -> None:
    """on_connect and on_disconnect are called once for each client."""
    Telling.told = []
    server = start(kind, Telling)
    for _ in range(3):
        with connect(server) as conn:
            conn.ping()
    eventually(lambda: Telling.told.count("off") == 3)
    assert Telling.told.count("on") == 3
    eventually(lambda: not server._connections)


@pytest.mark.parametrize("kind", THREADED)
def test_no_thread_to_be_had(
    kind: type[Server], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client for whom the system has no thread is hung up on, and the server goes on."""
    server = start(kind)
    with connect(server) as conn:
        conn.root.echo(1)  # whatever needs a thread has one
    eventually(lambda: not server.clients)
    starting = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    if kind is ThreadPoolServer:
        server._handshakes._free.clear()  # type: ignore[attr-defined]
    with socket.create_connection((server.host, server.port)) as sock:
        sock.settimeout(60)
        assert sock.recv(1) == b""
    monkeypatch.setattr(threading.Thread, "start", starting)
    with connect(server) as conn:
        assert conn.root.echo(2) == 2


# -- the pool


def test_pool_is_bounded(start: Start) -> None:
    """Slow calls take a worker each; what is above their number waits."""
    server = start(ThreadPoolServer, nbThreads=2)
    conns = [connect(server) for _ in range(6)]
    begun = time.monotonic()
    results = [rpyc.async_(conn.root.sleep)(0.2) for conn in conns]
    assert [result.value for result in results] == ["slept"] * 6
    assert time.monotonic() - begun > 0.55
    assert len(server._pool.threads) <= 2  # type: ignore[attr-defined]
    for conn in conns:
        conn.close()


def test_slow_peers_take_no_worker(start: Start) -> None:
    """Clients that send half a frame, or nothing, or do not read, do not stop others."""
    server = start(ThreadPoolServer, nbThreads=2)
    halves = [socket.create_connection((server.host, server.port)) for _ in range(8)]
    for half in halves:
        half.sendall(b"\x00\x00\x00\x0c\x00\x01\x11\x54")
    silent = [socket.create_connection((server.host, server.port)) for _ in range(8)]
    deaf = [connect(server) for _ in range(4)]
    pending = [rpyc.async_(conn.root.echo)(b"x" * (1 << 24)) for conn in deaf]
    with connect(server) as conn:
        for number in range(20):
            assert conn.root.echo(number) == number
    assert [len(result.value) for result in pending] == [1 << 24] * 4
    for sock in (*halves, *silent, *deaf):
        sock.close()


def test_started_frame_has_a_deadline(start: Start) -> None:
    """A frame that is never completed ends its connection, though nobody waits for it."""
    server = start(ThreadPoolServer, protocol_config={"frame_timeout": 0.3})
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(b"\x00\x00\x00\x0c\x00\x01")
        sock.settimeout(60)
        assert sock.recv(1) == b""


def test_pool_never_deadlocks_on_recursion(start: Start) -> None:
    """Calls that go back and forth deeper than the pool is large come to an end."""
    server = start(ThreadPoolServer, nbThreads=2)
    conns = [connect(server) for _ in range(4)]
    depth = 12
    outcomes: list[int] = []

    def play(conn: Any) -> None:
        nest = conn.root.nest

        def back(left: int) -> int:
            return int(nest(left, back))

        outcomes.append(nest(depth, back))

    threads = [threading.Thread(target=play, args=(conn,)) for conn in conns]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert outcomes == [depth] * 4
    for conn in conns:
        conn.close()


def test_pool_serves_requests_in_order(start: Start) -> None:
    """What one client asks for is done one after another, in order."""
    seen: list[int] = []

    class Ordered(rpyc.Service):
        def exposed_note(self, number: int) -> None:
            time.sleep(0.001 * (number % 3))
            seen.append(number)

    server = start(ThreadPoolServer, Ordered, nbThreads=8)
    with connect(server) as conn:
        note = rpyc.async_(conn.root.note)
        results = [note(number) for number in range(50)]
        for result in results:
            result.wait()
    assert seen == list(range(50))


def test_pool_with_many_clients(start: Start) -> None:
    """Clients that come, call and go at once are all served, with few threads."""
    server = start(ThreadPoolServer, nbThreads=4)
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for turn in range(5):
                with connect(server) as conn:
                    assert conn.root.echo((number, turn)) == (number, turn)
                    assert conn.root.call(lambda x: x + 1, turn) == turn + 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert failures == []
    eventually(lambda: not server.clients)


@pytest.mark.skipif(not has_proc(), reason="needs /proc")
def test_pool_keeps_no_descriptor(start: Start) -> None:
    """A client that is gone leaves no descriptor behind."""
    server = start(ThreadPoolServer)
    with connect(server) as conn:
        conn.root.echo(1)
    eventually(lambda: not server.clients)
    before = descriptors()
    for _ in range(10):
        with connect(server) as conn:
            conn.root.echo(1)
    eventually(lambda: descriptors() <= before)


def test_work_that_comes_all_at_once() -> None:
    """One idle thread does not make a pool do things one after the other."""
    pool = WorkerPool(4)
    first = threading.Event()
    pool.run(first.set, "lane")
    assert first.wait(60)
    time.sleep(0.1)  # now that thread is idle
    together = threading.Barrier(4)
    done = queue.SimpleQueue[int]()

    def meet(number: int) -> None:
        together.wait(60)
        done.put(number)

    for number in range(4):
        pool.run(functools.partial(meet, number), number)
    assert sorted(done.get(timeout=60) for _ in range(4)) == [0, 1, 2, 3]
    pool.close()


def test_workers_are_replaced_and_leave() -> None:
    """A pool has more threads while some wait, and no more afterwards."""
    from rpyc_like.lib.worker_pool import waiting

    pool = WorkerPool(1, idle=0.2)
    gate, done = threading.Event(), threading.Event()
    order: list[str] = []

    def blocked() -> None:
        order.append("waits")
        with waiting():
            gate.wait(60)
        order.append("goes on")
        done.set()

    pool.run(blocked, "a")
    pool.run(lambda: order.append("same lane"), "a")
    pool.run(lambda: order.append("other lane"), "b")
    pool.run(gate.set, "c")
    assert done.wait(60)
    assert order[0] == "waits"
    assert sorted(order[1:3]) == ["other lane", "same lane"]
    assert order[3] == "goes on"
    eventually(lambda: not pool.threads)
    with pytest.raises(ValueError, match="at least 1"):
        WorkerPool(0)


def test_workers_survive_failures(caplog: pytest.LogCaptureFixture) -> None:
    """A function that fails is logged, and the next one runs."""
    pool = WorkerPool(1)
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "rpyc_like"):
        pool.run(lambda: 1 / 0, "a")
        pool.run(done.set, "a")
        assert done.wait(60)
    assert "ZeroDivisionError" in caplog.text
    pool.close()
    pool.run(done.clear, "a")
    assert done.is_set()
