"""The housekeeping thread: ends that idle sides notice, threads that are counted, no idle turns."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core import consts
from rpyc_like.lib import primitives
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link import housekeeping
from rpyc_like.link.call_registry import name_of
from rpyc_like.link.housekeeping import Housekeeper, housekeeper
from rpyc_like.link.serve.poller import Poller
from rpyc_like.link.streams import (
    MemoryStream,
    PipeStream,
    SocketStream,
    Stream,
    TlsStream,
    hangups,
)
from rpyc_like.link.streams.base import READ
from rpyc_like.link.streams.tls import client_context, server_context
from tests.support.eventually import eventually
from tests.support.joining import join

from .test_tls import Authority, authority

__all__ = ["authority"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]

Streams = Callable[[], tuple[Any, Any]]


class Noted:
    """States of a connection as its callback gets them, and in which threads."""

    def __init__(self, conn: Any) -> None:
        self.states: list[str] = []
        self.threads: list[str] = []
        conn.add_state_callback(self.note)

    def note(self, conn: Any, state: str) -> None:
        self.states.append(state)
        self.threads.append(threading.current_thread().name)


class Listening(rpyc.Service):
    """Notes what its peer tells it, and in which thread."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.threads: list[str] = []
        self.gone = threading.Event()

    def exposed_keep(self, func: Any) -> None:
        self.kept = func

    def exposed_note(self, value: Any) -> None:
        self.got.append(value)
        self.threads.append(threading.current_thread().name)

    def on_disconnect(self, conn: Any) -> None:
        self.got.append("gone")
        self.gone.set()


def sockets() -> tuple[Any, Any]:
    here, there = socket.socketpair()
    return SocketStream(here), SocketStream(there)


def tcp() -> tuple[Any, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        return SocketStream(here), SocketStream(listener.accept()[0])


def tls(authority: Authority) -> tuple[Any, Any]:
    """Return two ends of a TLS connection."""
    inner_here, inner_there = tcp()
    files = authority.issue("localhost")
    context = server_context(files.key, files.cert)
    made: list[TlsStream] = []
    serving = threading.Thread(
        target=lambda: made.append(TlsStream(inner_there, context, server_side=True))
    )
    serving.start()
    trusted = client_context(ca_certs=authority.file)
    here = TlsStream(inner_here, trusted, server_hostname="localhost")
    serving.join()
    return here, made[0]


@pytest.fixture(params=["unix", "tcp", "pipes", "tls"])
def streams(request: pytest.FixtureRequest) -> Streams:
    """Makes pairs of connected streams that have descriptors."""
    if request.param == "tls":
        authority = request.getfixturevalue("authority")
        return lambda: tls(authority)
    made: Streams = {"unix": sockets, "tcp": tcp, "pipes": PipeStream.create_pair}[request.param]
    return made


@pytest.fixture
def joined() -> Iterator[Callable[..., tuple[Any, Any]]]:
    """Makes pairs of connections, of which nobody serves the first, and a thread the second."""
    with ExitStack() as stack:

        def make(pair: tuple[Any, Any], here: Any = rpyc.VoidService) -> tuple[Any, Any]:
            client = rpyc.connect_stream(pair[0], here)
            server = rpyc.connect_stream(pair[1], Listening)
            threading.Thread(target=server.serve_all, daemon=True).start()
            stack.callback(server.close)
            stack.callback(client.close)
            client.ping()
            return client, server

        yield make


def notes_of(client: Any, server: Any, service: Listening) -> Callable[[Any], Any]:
    """Return what has the client's service note something, without waiting for it."""
    client.root.keep(service.exposed_note)
    return rpyc.async_(server._local_root.kept)  # type: ignore[no-any-return]


@contextmanager
def running(code: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a program, and kills it."""
    command = [sys.executable, "-c", code, *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


# -- the end is noticed


def test_case_109_an_idle_side_notices_the_end(
    joined: Callable[..., tuple[Any, Any]], streams: Streams
) -> None:
    """A side that makes no call learns that its peer has hung up, in a thread of its own."""
    service = Listening()
    client, server = joined(streams(), service)
    noted = Noted(client)
    server._link.channel.stream.close()
    assert service.gone.wait(60)
    eventually(lambda: noted.states)
    assert noted.states == ["closed"]
    assert client.closed
    assert "housekeeper" not in noted.threads[0]
    assert isinstance(client.reason, EOFError)
    with pytest.raises(EOFError):
        client.ping()


def test_case_109_a_farewell_is_noticed(
    joined: Callable[..., tuple[Any, Any]], streams: Streams
) -> None:
    """A peer that says goodbye and hangs up is gone as well."""
    client, server = joined(streams())
    noted = Noted(client)
    server.close()
    eventually(lambda: noted.states == ["closed"])
    assert client.closed


def test_case_109_half_closed(joined: Callable[..., tuple[Any, Any]]) -> None:
    """A peer that only says that it will send nothing more is gone."""
    client, server = joined(tcp())
    noted = Noted(client)
    server._link.channel.stream.finish()
    eventually(lambda: noted.states == ["closed"])


def test_case_109_without_a_callback(joined: Callable[..., tuple[Any, Any]]) -> None:
    """Nobody has to ask for it: the connection is closed and the service is told."""
    service = Listening()
    client, server = joined(tcp(), service)
    server._link.channel.stream.close()
    assert service.gone.wait(60)
    assert client.closed


def test_case_109_the_first_descriptor_cannot_be_watched(
    joined: Callable[..., tuple[Any, Any]], tmp_path: Path
) -> None:
    """The thread is woken for what can be watched, although a regular file came before it."""
    client, _ = joined(tcp())
    ends = housekeeping._Ends()
    with (tmp_path / "in").open("w+b") as reading, (tmp_path / "out").open("wb") as writing:
        with rpyc.connect_stream(PipeStream(reading, writing)) as first:
            assert not ends.watch(first._link, False)
            assert ends.watch(client._link, False)
    ends.close()


def test_case_109_several_may_learn_that_a_stream_is_closed() -> None:
    """Each function that is to be called before a stream is closed gets the descriptor, once."""
    here, there = sockets()
    fd, calls = here.fileno(), []

    def second(number: int) -> None:
        calls.append(("second", number))

    here.before_close(lambda number: calls.append(("first", number)))
    here.before_close(second)
    here.before_close(second)
    here.close()
    there.close()
    assert calls == [("first", fd), ("second", fd)]


SERVER = """
import sys
import rpyc_like as rpyc
server = rpyc.ThreadedServer(rpyc.VoidService, port=0)
print(server.port, flush=True)
server.start()
"""


def test_case_109_a_server_that_is_killed() -> None:
    """Its idle clients notice, each of them."""
    with running(SERVER) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        conns = [rpyc.connect("127.0.0.1", port) for _ in range(20)]
        noted = [Noted(conn) for conn in conns]
        for conn in conns:
            conn.ping()
        process.kill()
        eventually(lambda: all(one.states for one in noted))
        assert all(conn.closed for conn in conns)


def test_case_109_a_child_that_is_killed() -> None:
    """The end of a program at the other end of two pipes is noticed."""
    code = "from rpyc_like.utils.factory import connect_stdpipes as c; c().serve_all()"
    conn = rpyc.connect_subproc([sys.executable, "-c", code])
    noted = Noted(conn)
    conn.ping(timeout=30)
    conn.proc.kill()
    eventually(lambda: noted.states == ["closed"])


# -- what was sent before is served


def test_case_109_unread_messages_are_served_first(
    joined: Callable[..., tuple[Any, Any]], streams: Streams
) -> None:
    """What the peer has asked before it hung up is served before the end is told."""
    service = Listening()
    client, server = joined(streams(), service)
    note = notes_of(client, server, service)
    for number in range(3):
        note(number)
    eventually(lambda: server._link.sender.idle)
    server._link.channel.stream.close()
    assert service.gone.wait(60)
    assert service.got == [0, 1, 2, "gone"]
    assert not any("housekeeper" in name for name in service.threads)


def test_case_109_an_unread_answer_arrives(joined: Callable[..., tuple[Any, Any]]) -> None:
    """An answer that came before the end is there, though nobody has read it."""
    client, server = joined(tcp(), Listening)
    answer = client.async_request(1, "x")  # a ping
    assert client._link.channel.stream.wait(READ, 15)  # it has been sent back
    assert not answer._ready
    server._link.channel.stream.finish()
    eventually(lambda: client.closed)
    assert answer.value == "x"


def test_case_109_who_holds_the_receive_lock_reads(
    joined: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read while a program keeps others from receiving; then it serves itself."""
    service = Listening()
    client, server = joined(tcp(), service)
    ends = housekeeper._ends
    assert ends is not None
    looks = 0
    look = ends.do_what_is_due

    def counted() -> None:
        nonlocal looks
        looks += any(one._link() is client._link for one in ends._hung_up)
        look()

    monkeypatch.setattr(ends, "do_what_is_due", counted)
    note = notes_of(client, server, service)
    with client._recvlock:
        note("unread")
        eventually(lambda: server._link.sender.idle)
        server._link.channel.stream.finish()
        eventually(lambda: looks > 3)
        assert service.got == []
    while not service.gone.is_set():
        client.poll_all()
    assert service.got == ["unread", "gone"]


def test_case_109_a_pool_reads_itself(joined: Callable[..., tuple[Any, Any]]) -> None:
    """A connection that a pool serves is read by the pool to its end, and nothing is lost."""
    service = Listening()
    client, server = joined(tcp(), service)
    workers = WorkerPool(2)
    poller = Poller(workers)
    ended = threading.Event()
    note = notes_of(client, server, service)
    poller.add(client._link, ended.set)
    note("read by the pool")
    eventually(lambda: server._link.sender.idle)
    server._link.channel.stream.finish()
    assert ended.wait(60)
    assert service.gone.wait(60)
    eventually(lambda: {*service.got} == {"read by the pool", "gone"})  # in whichever order
    poller.close()
    workers.close()


@pytest.mark.parametrize("end", ["the peer hangs up", "it says goodbye"])
def test_case_109_a_pool_serves_what_is_queued(
    joined: Callable[..., tuple[Any, Any]], end: str
) -> None:
    """What was read and had to wait for a worker is served; the service is told when it begins."""
    service = Listening()
    client, server = joined(tcp(), service)
    workers = WorkerPool(2)
    poller = Poller(workers)
    ended, going_on = threading.Event(), threading.Event()
    workers.run(going_on.wait, (client._link, 0))
    note = notes_of(client, server, service)
    poller.add(client._link, ended.set)
    for number in range(3):
        note(number)
    eventually(lambda: len(client._link.unbegun) == 3)
    if end == "the peer hangs up":
        server._link.channel.stream.finish()
        eventually(lambda: client._link.lost)
    else:
        server.async_request(consts.HANDLE_CLOSE)
        eventually(lambda: len(client._link.unbegun) == 4)
    going_on.set()
    assert service.gone.wait(60)
    eventually(lambda: len(service.got) == 4)
    assert [value for value in service.got if value != "gone"] == [0, 1, 2]
    assert service.got.index("gone") >= 2  # beside the last one, which may have been quicker
    poller.close()
    workers.close()


def test_case_109_a_call_that_runs_keeps_a_pool_from_nothing(
    joined: Callable[..., tuple[Any, Any]],
) -> None:
    """A pool's service is told of the end although a call runs on, which loses nothing."""
    entered, going_on = threading.Event(), threading.Event()

    class Slow(Listening):
        def exposed_note(self, value: Any) -> None:
            entered.set()
            assert going_on.wait(60)
            super().exposed_note(value)

    service = Slow()
    client, server = joined(tcp(), service)
    workers = WorkerPool(2)
    poller = Poller(workers)
    note = notes_of(client, server, service)
    poller.add(client._link, lambda: None)
    note("slow")
    assert entered.wait(60)
    server._link.channel.stream.finish()
    assert service.gone.wait(60)
    going_on.set()
    eventually(lambda: service.got == ["gone", "slow"])
    poller.close()
    workers.close()


def test_case_109_messages_that_the_watchdog_has_kept(
    joined: Callable[..., tuple[Any, Any]],
) -> None:
    """What was read for signs of life is served before the end as well."""
    service = Listening()
    client, server = joined(tcp(), service)
    notes_of(client, server, service)("kept")
    eventually(lambda: server._link.sender.idle and _kept(client))
    server._link.channel.stream.close()
    assert service.gone.wait(60)
    assert service.got == ["kept", "gone"]


def test_case_109_messages_behind_a_call_that_runs(
    joined: Callable[..., tuple[Any, Any]],
) -> None:
    """What the watchdog has read during a call is served after it, before the end is told."""
    entered, going_on = threading.Event(), threading.Event()

    class Slow(Listening):
        def exposed_note(self, value: Any) -> None:
            if value == "slow":
                entered.set()
                assert going_on.wait(60)
            super().exposed_note(value)

    service = Slow()
    client, server = joined(tcp(), service)
    note = notes_of(client, server, service)
    threading.Thread(target=client.serve_all, daemon=True).start()
    for value in ("slow", 1, 2):
        note(value)
    assert entered.wait(60)
    eventually(lambda: server._link.sender.idle)
    server._link.channel.stream.finish()
    eventually(lambda: client._link.lost)
    going_on.set()
    assert service.gone.wait(60)
    assert service.got == ["slow", 1, 2, "gone"]


class Noting(rpyc.Service):
    """Notes what it is asked, in plain and in ``async def`` functions."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.gone = threading.Event()

    def exposed_note(self, value: Any) -> None:
        self.got.append(value)

    async def exposed_note_later(self, value: Any) -> None:
        self.got.append(value)
        await asyncio.sleep(0)

    def on_disconnect(self, conn: Any) -> None:
        self.got.append("gone")
        self.gone.set()


@pytest.mark.parametrize("name", ["note", "note_later"])
def test_case_109_asyncio_serves_what_has_come(name: str) -> None:
    """What was read before the end begins before the service is told, however much may run."""
    service = Noting()

    async def program() -> None:
        server = aio.Server(service, port=0, protocol_config={"concurrent_tasks": 2})
        await server.start()
        conn = await asyncio.to_thread(rpyc.connect, "127.0.0.1", server.port)
        func = await asyncio.to_thread(lambda: rpyc.async_(getattr(conn.root, name)))
        (served,) = server.connections
        served._link.hold(True, 1)  # until the end has come
        for number in range(20):
            func(number)
        while not conn._link.sender.idle:
            await asyncio.sleep(0.01)
        conn._link.channel.stream.finish()
        while not service.gone.is_set():
            await asyncio.sleep(0.01)
        await asyncio.to_thread(conn.close)
        await server.close()

    asyncio.run(asyncio.wait_for(program(), 60))
    assert service.got == [*range(20), "gone"]


def _kept(conn: Any) -> bool:
    """Have the watchdog read; return whether it keeps something."""
    housekeeping._read(conn._link)
    return bool(conn._link.stash)


def test_case_109_a_connection_that_goes_on_elsewhere(
    joined: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that serves what is left ends when the conversation has moved."""
    client, server = joined(tcp())
    link = client._link
    old, (here, there) = link.channel, tcp()
    act = link.act

    def move(outcome: Any) -> None:
        act(outcome)
        link.attach(type(old)(here))

    monkeypatch.setattr(link, "act", move)
    server.async_request(1, "x")
    thread = threading.Thread(target=link.serve_what_is_left, daemon=True)
    thread.start()
    join(thread)
    assert not client.closed
    old.close()
    there.close()


# -- systems and streams that do not tell


class OwnStream(Stream):
    """A program's own class over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @property
    def closed(self) -> bool:
        return self.sock.fileno() == -1

    def close(self) -> None:
        self.sock.close()

    def fileno(self) -> int:
        return self.sock.fileno()

    def read(self, count: int) -> bytes:
        try:
            data = self.sock.recv(count, socket.MSG_WAITALL)
        except OSError as error:
            raise EOFError(str(error)) from error
        if len(data) < count:
            raise EOFError("ended")
        return data

    def write(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise EOFError(str(error)) from error


@pytest.mark.parametrize("kind", ["memory", "own", "no epoll"])
def test_case_109_where_the_system_does_not_tell(
    joined: Callable[..., tuple[Any, Any]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a look now and then finds the end, while a state callback is set."""
    monkeypatch.setattr(primitives, "epoll", None)
    monkeypatch.setattr(primitives, "kqueue", None)
    if kind == "memory":
        pair: tuple[Any, Any] = MemoryStream.create_pair()
    elif kind == "own":
        pair = tuple(map(OwnStream, socket.socketpair()))  # type: ignore[assignment]
    else:
        pair = tcp()
    here = Housekeeper()
    monkeypatch.setattr("rpyc_like.core.protocol.housekeeper", here)
    client, server = joined(pair)
    noted = Noted(client)
    if kind == "memory":
        server._link.channel.stream.finish()
    else:
        server._link.channel.stream.sock.shutdown(socket.SHUT_WR)
    eventually(lambda: noted.states == ["closed"])
    here.end()


class FakeKqueue:
    """As much of a kqueue as is used here, over the one descriptor that was added last."""

    def __init__(self) -> None:
        self.filters: dict[int, Any] = {}
        self.events: list[Any] = []
        self.closed = False

    def control(self, changes: Any, most: int, timeout: float | None = None) -> list[Any]:
        for change in changes or ():
            if change.flags & 1:
                self.filters[change.ident] = change
            elif self.filters.pop(change.ident, None) is None:
                raise FileNotFoundError
        events, self.events = self.events[:most], []
        return events

    def close(self) -> None:
        self.closed = True


class FakeKevent:
    def __init__(self, ident: int, filter: int, flags: int, fflags: int = 0, data: int = 0) -> None:
        self.ident, self.filter, self.flags = ident, filter, flags
        self.fflags, self.data = fflags, data


def test_kqueue_tells_of_ends_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives is below the mark that wakes; EV_EOF is reported, other events are not."""
    monkeypatch.setattr(primitives, "epoll", None)
    monkeypatch.setattr(primitives, "kqueue", FakeKqueue)
    monkeypatch.setattr(primitives, "kevent", FakeKevent)
    made: Any = hangups.make_hangups()
    with closing(made):
        assert made.add(1000)
        added = made._kqueue.filters[1000]
        assert (added.filter, added.fflags) == (-1, 1)
        assert added.data > 1 << 30
        made._kqueue.events = [FakeKevent(1000, -1, 0), FakeKevent(1000, -1, 0x8000)]
        assert made.wait(0) == [1000]
        assert made.remove(1000)
        assert not made.remove(1000)


# -- descriptors and forks


@pytest.mark.skipif(primitives.epoll is None, reason="needs epoll")
def test_descriptors_leave_before_they_are_closed(
    joined: Callable[..., tuple[Any, Any]], streams: Streams
) -> None:
    """A descriptor is not watched any more when its number may come to mean another file."""
    client, _ = joined(streams())
    fd, ends = client.fileno(), housekeeper._ends
    assert ends is not None
    made = ends._hangups.made
    assert made is not None
    assert fd in ends._watched
    copy = os.dup(fd)  # so that the system does not remove it by itself
    try:
        client._link.lose(None)
        assert fd not in ends._watched
        assert not made.remove(fd)
    finally:
        os.close(copy)


@pytest.mark.skipif(primitives.epoll is None, reason="needs epoll")
def test_epoll_forgets_a_file_whose_number_was_taken() -> None:
    """A file that was closed elsewhere, and is open under another number, tells nothing more."""
    made: Any = hangups.make_hangups()
    (here, there), (other, other_there) = socket.socketpair(), socket.socketpair()
    with closing(made), closing(there), closing(other), closing(other_there):
        fd = here.fileno()
        assert made.add(fd)
        copy = socket.socket(fileno=os.dup(fd))
        os.dup2(other.fileno(), fd)  # the system does not remove what a copy keeps open
        there.close()
        assert made.wait(60) == [fd]
        made.remove(fd)
        made.renew([fd])
        assert made.wait(0) == []
        other_there.close()
        assert made.wait(60) == [fd]
        here.close()
        copy.close()


@pytest.mark.skipif(primitives.epoll is None, reason="needs epoll")
def test_what_is_told_of_another_file_ends_no_connection(
    joined: Callable[..., tuple[Any, Any]],
) -> None:
    """A connection under whose number an earlier file hangs up is still watched, for itself."""
    here = Housekeeper()
    client, server = joined(tcp())
    fd, ends = client.fileno(), here._ends
    assert ends is not None
    made: Any = hangups.make_hangups()
    ends._watched[fd] = weakref.ref(client._link)
    assert ends._link_of(fd, made) is None
    assert fd in ends._watched
    server._link.channel.stream.close()
    assert made.wait(60) == [fd]
    assert ends._link_of(fd, made) is client._link
    assert fd not in ends._watched
    made.close()


FORKS = """
import os, sys, time
import rpyc_like as rpyc
from rpyc_like.link.housekeeping import housekeeper
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
conn.ping()
parents = housekeeper._ends
FDS = "/proc/self/fd/"
fds = os.listdir(FDS) if os.path.isdir(FDS) else []
kinds = [fd for fd in fds if os.path.exists(FDS + fd) and "eventpoll" in os.readlink(FDS + fd)]
child = os.fork()
if child:
    status = os.waitpid(child, 0)[1]
    conn.ping()
    states = []
    conn.add_state_callback(lambda conn, state: states.append(state))
    print(status, len(kinds), flush=True)
    while not states:
        time.sleep(0.01)
    print(states, flush=True)
    os._exit(0)
left = [fd for fd in kinds if os.path.exists(FDS + fd)]
assert housekeeper._ends is not parents
assert not left, left
other = rpyc.connect("127.0.0.1", int(sys.argv[1]))
other.ping()
conn.adopt_after_fork()  # watched by the child as well
assert conn.fileno() in housekeeper._ends._watched
other.close()
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_shares_nothing() -> None:
    """A child has an epoll and a thread of its own, and the parent's goes on."""
    with running(SERVER) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        with running(FORKS, port) as program:
            assert program.stdout is not None
            status, epolls = program.stdout.readline().split()
            assert status == "0"
            assert int(epolls) <= 1
            server.kill()
            assert program.stdout.readline().strip() == "['closed']"


# -- threads and turns


class Giving(rpyc.Service):
    """Gives objects away and knows how many it has."""

    conn: Any

    def on_connect(self, conn: Any) -> None:
        self.conn = conn

    def exposed_thing(self) -> Any:
        return object()

    def exposed_held(self) -> int:
        return len(self.conn._local_objects)

    def exposed_size(self, data: Any) -> int:
        return len(data)


THREADS = """
import threading
import rpyc_like as rpyc

class Counted(rpyc.Service):
    def exposed_slow(self):
        threading.Event().wait(0.01)
    def exposed_echo(self, x):
        return x
    def exposed_names(self):
        return [thread.name for thread in threading.enumerate()]

server = rpyc.ThreadedServer(Counted, port=0, backlog=100, protocol_config={"heartbeat": 5})
print(server.port, flush=True)
server.start()
"""


def test_case_110_threads_are_counted() -> None:
    """A server with 100 clients has a thread for each, its own, and two more of the process."""
    with running(THREADS) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        conns = [rpyc.connect("127.0.0.1", port) for _ in range(100)]
        for conn in conns:
            answers = [rpyc.async_(conn.root.echo)(number) for number in range(40)]
            rpyc.async_(conn.root.slow)()
            assert answers[-1].value == 39
        names = [str(name) for name in conns[0].root.names()]
        assert len(names) <= 101 + 2, names
        for conn in conns:
            conn.close()
        server.kill()


CLIENTS = """
import sys, threading
import rpyc_like as rpyc
port = int(sys.argv[1])
conns = [rpyc.connect("127.0.0.1", port, config={"heartbeat": beat}) for beat in [None, 20] * 5]
for conn in conns:
    conn.add_state_callback(lambda conn, state: None)
    conn.ping()
print(*sorted(thread.name for thread in threading.enumerate()), flush=True)
"""


def test_case_110_clients_share_a_thread() -> None:
    """All idle connections of a process, with heartbeats or without, have one thread."""
    with running(SERVER) as server:
        assert server.stdout is not None
        with running(CLIENTS, server.stdout.readline().strip()) as program:
            assert program.stdout is not None
            names = program.stdout.readline().split()
            assert names == ["MainThread", "rpyc_like-housekeeper"]


def test_case_110_nothing_wakes_while_nothing_is_watched(
    joined: Callable[..., tuple[Any, Any]],
) -> None:
    """The thread sleeps, without a time limit, while connections are idle."""
    here = Housekeeper()
    client, _ = joined(tcp())
    here.start()
    here.watch_end(client._link)
    eventually(lambda: here.asleep and here._time_left() is None)
    turns = here.turns
    for _ in range(50):
        client.ping()  # what arrives wakes nobody
    assert here.turns <= turns + 1
    assert here._time_left() is None
    here.end()


def test_case_110_a_request_that_begins_during_a_look_is_watched() -> None:
    """The watchdog goes on with a connection whose request has begun since it looked."""

    class Attended(set[Any]):
        def __rand__(self, others: Any) -> set[Any]:  # the look at what is served
            Link.running.add(1)
            return set()

    class Link:
        running: set[int] = set()
        attended = Attended()
        lost_requests = None

    link: Any = Link()
    links = {link}
    housekeeping._Calls(links)._check_calls(link)
    assert links == {link}


def test_case_110_releases_do_not_wait_for_the_peer() -> None:
    """Releases over a stream of the program's own that blocks hold up no other connection."""
    blocked, go_on = threading.Event(), threading.Event()

    class Blocking(OwnStream):
        blocks = False

        def write(self, data: bytes) -> None:
            if self.blocks:
                blocked.set()
                go_on.wait(60)
            super().write(data)

    with ExitStack() as stack:

        def connected(stream: Any, there: Any) -> tuple[Any, Any]:
            client = rpyc.connect_stream(stream)
            server = rpyc.connect_stream(there, Giving)
            threading.Thread(target=server.serve_all, daemon=True).start()
            stack.callback(server.close)
            stack.callback(client.close)
            return client, server

        here, there = socket.socketpair()
        stream = Blocking(here)
        slow, _ = connected(stream, SocketStream(there))
        quick, server = connected(*tcp())
        things = [slow.root.thing(), quick.root.thing()]
        held = len(server._local_objects)
        stream.blocks = True
        del things[0]
        gc.collect()
        assert blocked.wait(60)
        del things[0]
        gc.collect()
        eventually(lambda: len(server._local_objects) < held)
        stream.blocks = False
        go_on.set()


def test_case_110_a_failure_names_the_connection(
    joined: Callable[..., tuple[Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the housekeeping thread logs says which connection it is about, and what has failed."""
    client, _ = joined(tcp())

    def fail() -> bool:
        raise RuntimeError("no luck")

    monkeypatch.setattr(client, "flush_released", fail, raising=False)
    housekeeping._guarded(housekeeping._flush, client)
    assert [record.getMessage() for record in caplog.records] == [
        f"! {name_of(client)}: flush failed"
    ]


def test_case_110_what_cannot_be_released_now_stays_queued(
    pair: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """References are not encoded while the peer takes nothing in, and released later."""
    client, server = pair(Giving)
    things = [client.root.thing() for _ in range(5)]
    held = len(server._local_objects)
    monkeypatch.setattr(client._link, "try_send", lambda *payloads: False)
    del things[:]
    gc.collect()
    assert client.flush_released()
    assert len(client._proxies.released) == 5
    monkeypatch.undo()
    eventually(lambda: len(server._local_objects) == held - 5)
    assert not client._proxies.released


# -- asyncio


GIVES = """
import rpyc_like as rpyc
from tests.faults.test_housekeeping import Giving
server = rpyc.ThreadedServer(Giving, port=0)
print(server.port, flush=True)
server.start()
"""


def test_case_110_asyncio_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, a connection is made, flushes, beats and notices its end."""

    async def program(port: int, kill: Callable[[], None]) -> None:
        conn = await aio.connect("127.0.0.1", port, config={"heartbeat": 5})
        noted = Noted(conn)
        held = await conn.root.held()
        things = [await conn.root.thing() for _ in range(3)]
        assert await conn.root.held() == held + 3
        del things
        gc.collect()
        while await conn.root.held() != held:
            await asyncio.sleep(0.01)
        assert await conn.root.size(bytes(3 << 20)) == 3 << 20
        assert await conn.root.size(tuple(range(300_000))) == 300_000
        arrivals = conn._link.receiver.arrivals
        while conn._link.receiver.arrivals == arrivals:  # a sign of life of the peer's
            await asyncio.sleep(0.01)
        kill()
        while not noted.states:
            await asyncio.sleep(0.01)
        assert noted.states == ["closed"]

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with running(GIVES) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        monkeypatch.setattr(threading.Thread, "start", refuse)
        asyncio.run(asyncio.wait_for(program(port, server.kill), 60))


def test_case_110_asyncio_flushes_on_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The releases of an asyncio connection are left to its loop, not to another thread."""
    server = rpyc.ThreadedServer(Giving, port=0)
    server._start_in_thread()
    scheduled: list[Any] = []
    schedule = housekeeper.schedule_flush

    def noted(reference: Any) -> None:
        scheduled.append(reference)
        schedule(reference)

    monkeypatch.setattr(housekeeper, "schedule_flush", noted)

    async def program() -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            things = [await conn.root.thing() for _ in range(3)]
            flush = conn.flush_released
            flushed: list[Any] = []
            conn.flush_released = lambda: (flushed.append(threading.current_thread()), flush())
            del things
            gc.collect()
            while not flushed:
                await asyncio.sleep(0.01)
            assert set(flushed) == {threading.current_thread()}
            assert not any(reference is conn._weak for reference in scheduled)

    asyncio.run(asyncio.wait_for(program(), 60))
    server.close()


def test_a_stale_number_without_descriptors_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no new object of the system's can be made, the old one goes on."""
    ends = housekeeping._Ends()
    made = ends._hangups.get()
    if made is None:
        pytest.skip("streams are asked one by one here")
    asked: list[Any] = []

    def refuse(fds: Any) -> None:
        asked.append(fds)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(made, "renew", refuse)
    assert ends._link_of(10**6, made) is None  # nobody knows it
    assert asked
    ends.close()
