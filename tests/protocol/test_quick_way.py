"""The quick way of requests, and messages that leave together."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.protocol import Connection
from rpyc_like.lib import native
from rpyc_like.link import write_coalescing
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import SocketStream
from tests.support.eventually import eventually
from tests.support.joining import join

Ends = tuple[Connection, Connection]
needs_native = pytest.mark.skipif(native.codec is None, reason="the compiled core is not in use")


class Notes(rpyc.Service):
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.released = threading.Event()

    def exposed_note(self, number: int) -> int:
        self.seen.append(number)
        return number

    def exposed_sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def exposed_hold(self) -> bool:
        return self.released.wait(60)

    def exposed_ask(self, func: Callable[[int], int], number: int) -> int:
        return func(number)

    def exposed_fail(self) -> None:
        raise KeyError("no")

    def exposed_make(self) -> list[int]:
        return [1, 2, 3]


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Notes]]:
    """Gives a client over a real socket, and the service."""
    a, b = socket.socketpair()
    service = Notes()
    server = service._connect(Channel(SocketStream(b)), {})
    thread = threading.Thread(target=server.serve_all, daemon=True)
    thread.start()
    client = rpyc.connect_stream(SocketStream(a), config={"sync_request_timeout": 30})
    assert client.root.note(-1) == -1
    service.seen.clear()
    yield client, service
    client.close()
    join(thread)


def sizes(conn: Connection) -> list[int]:
    """Returns a list that gets the size of each write of a connection."""
    sent: list[int] = []
    stream = conn._channel.sender._stream

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(stream, name)

        def send_some(self, data: Any) -> int:
            sent.append(len(data))
            return stream.send_some(data)  # type: ignore[no-any-return]

        def send_vector(self, buffers: Any) -> int:
            sent.append(sum(map(len, buffers)))
            return stream.send_vector(buffers)  # type: ignore[no-any-return]

    conn._channel.sender._stream = Counting()
    return sent


@needs_native
def test_requests_that_nobody_waits_for(ends: tuple[Connection, Notes]) -> None:
    """Each gets its own answer, in any order of asking for it; few writes carry many."""
    client, service = ends
    sent = sizes(client)
    note = rpyc.async_(client.root.note)
    results = [note(number) for number in range(1000)]
    assert len(sent) < 200
    assert [result.value for result in reversed(results)] == [*reversed(range(1000))]
    assert service.seen == [*range(1000)]


def test_what_is_held_leaves_by_itself(ends: tuple[Connection, Notes]) -> None:
    """A program that does something else after its requests need not wait for them."""
    client, service = ends
    note = rpyc.async_(client.root.note)
    kept = [note(number) for number in range(100)]
    eventually(lambda: len(service.seen) == 100)
    assert kept[0]._conn is client


def test_a_slow_request_holds_up_no_answer(ends: tuple[Connection, Notes]) -> None:
    """Answers that are held while a request is served leave after two looks."""
    client, service = ends
    note, hold = rpyc.async_(client.root.note), rpyc.async_(client.root.hold)
    results = [note(number) for number in range(50)]
    slow = hold()
    rest = [note(number) for number in range(50)]
    assert [result.value for result in results] == [*range(50)]
    assert not slow.ready
    service.released.set()
    assert slow.value is True
    assert [result.value for result in rest] == [*range(50)]


def test_few_requests_are_not_held(ends: tuple[Connection, Notes]) -> None:
    """While few requests are on their way each one leaves at once."""
    client, _ = ends
    sleep = rpyc.async_(client.root.sleep)
    sent = sizes(client)
    results = [sleep(0) for _ in range(write_coalescing.IN_FLIGHT // 2)]
    assert len(sent) == len(results)
    assert [result.value for result in results] == [0] * len(results)


def test_a_request_that_is_waited_for_takes_the_held_along(ends: tuple[Connection, Notes]) -> None:
    """What was asked before is done before."""
    client, service = ends
    note = rpyc.async_(client.root.note)
    for number in range(100):
        note(number)
    assert client.root.note(100) == 100
    assert service.seen == [*range(101)]


def test_everything_at_once(ends: tuple[Connection, Notes]) -> None:
    """Threads that call, call back, fail and do not wait, over one connection, are not mixed up."""
    client, _ = ends
    root = client.root
    note = rpyc.async_(root.note)
    wrong: list[Any] = []

    def work(thread: int) -> None:
        for number in range(thread * 1000, thread * 1000 + 60):
            found = [
                root.note(number),
                root.ask(lambda value: value + 1, number) - 1,
                note(number).value,
                root.make()[number % 3] - 1 - number % 3 + number,
            ]
            try:
                root.fail()
            except KeyError:
                found.append(number)
            if found != [number] * 5:
                wrong.append((number, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert not wrong


def test_the_time_is_over(ends: tuple[Connection, Notes]) -> None:
    """A late answer is nobody's, and the connection goes on."""
    client, service = ends
    client._config["sync_request_timeout"] = 0.2
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match=r"CALLATTR within 0\.2 s|CALL within 0\.2 s"):
            client.root.hold()
        assert time.monotonic() - begun > 0.15
    client._config["sync_request_timeout"] = 30
    service.released.set()
    assert client.root.note(5) == 5
    assert not client._session.pending.waiting()


@needs_native
def test_a_large_burst_in_both_directions(ends: tuple[Connection, Notes]) -> None:
    """Frames that are cut anywhere by the reads come out whole, the large among the small."""
    client, _ = ends
    note = rpyc.async_(client.root.note)
    values: list[Any] = [
        number if number % 7 else "x" * (number * 37 % 9000) for number in range(3000)
    ]
    values[1500] = b"y" * 300_000
    results = [note(value) for value in values]
    assert [result.value for result in results] == values


def test_a_connection_that_is_forgotten_goes(ends: tuple[Connection, Notes]) -> None:
    """The thread that looks after what is held does not keep a connection alive."""
    a, b = socket.socketpair()
    server = Notes()._connect(Channel(SocketStream(b)), {})
    thread = threading.Thread(target=server.serve_all, daemon=True)
    thread.start()
    other: Any = rpyc.connect_stream(SocketStream(a))
    note = rpyc.async_(other.root.note)
    results = [note(number) for number in range(100)]
    assert results[-1].value == 99
    gone = weakref.ref(other)
    del other, note, results
    eventually(lambda: gc.collect() >= 0 and gone() is None)
    join(thread)


PROGRAM = """
import sys
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
note = rpyc.async_(conn.root.note)
conn.root.note(-1)
for number in range(100):
    note(number)
"""


def test_what_is_held_leaves_when_the_program_ends() -> None:
    """A program may ask and end."""
    service = Notes()
    server = rpyc.ThreadedServer(service, hostname="127.0.0.1", port=0)
    thread = threading.Thread(target=server.start, daemon=True)
    thread.start()
    eventually(lambda: server.active)
    try:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", PROGRAM, str(server.port)], env=env, check=True)
        eventually(lambda: len(service.seen) == 101, lambda: service.seen)
        assert service.seen == [*range(-1, 100)]
    finally:
        server.close()
        join(thread)


@needs_native
def test_one_thread_looks_at_all_connections() -> None:
    """Connections that have held messages do not have a thread each."""
    pairs = [socket.socketpair() for _ in range(10)]
    servers = [Notes()._connect(Channel(SocketStream(b)), {}) for _, b in pairs]
    clients = [rpyc.VoidService()._connect(Channel(SocketStream(a)), {}) for a, _ in pairs]
    serving = [threading.Thread(target=server.serve_all, daemon=True) for server in servers]
    for thread in serving:
        thread.start()
    before = {thread.ident for thread in threading.enumerate()}
    for client in clients:
        note = rpyc.async_(client.root.note)
        results = [note(number) for number in range(3 * write_coalescing.IN_FLIGHT)]
        assert [result.value for result in results] == list(range(3 * write_coalescing.IN_FLIGHT))
    more = [thread.name for thread in threading.enumerate() if thread.ident not in before]
    assert len(more) < len(pairs), more  # other tests' threads may be among them
    for client in clients:
        client.close()
    for thread in serving:
        join(thread)
