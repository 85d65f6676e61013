"""The system refuses a thread: what needed it fails or is done later, and nothing hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.aio.epc import EPCService
from rpyc_like.core.dispatch.coroutines import CoroutineRunner
from rpyc_like.epc.client import EPCClient
from rpyc_like.lib import background_loop, primitives
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link import write_coalescing
from rpyc_like.link.admission import Admission
from rpyc_like.link.futures import BackgroundReader
from rpyc_like.link.serve.helpers import Helpers
from rpyc_like.utils.children import Input
from rpyc_like.utils.server import Server, ThreadedServer, ThreadPoolServer
from tests.support.both_servers import asyncio_server
from tests.support.eventually import eventually
from tests.support.joining import join

QUIET = logging.getLogger("tests.refused_threads")
QUIET.setLevel(logging.CRITICAL)


class Refusals:
    """Refuses to start threads by their names, as the system does that has no more."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}
        self.refused = threading.Semaphore(0)

    def add(self, name: str, count: int = 1) -> None:
        """Refuse the next threads whose names contain ``name``."""
        self._left[name] = count

    def end(self) -> None:
        """Refuse nothing any more."""
        self._left.clear()

    def check(self, name: str) -> None:
        """Raise what the system does, if the thread is to be refused."""
        for part, left in list(self._left.items()):
            if part in name and left:
                self._left[part] = left - 1
                self.refused.release()
                raise RuntimeError("can't start new thread")


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Has thread starts refused, none until the test says so."""
    made = Refusals()

    class Thread(threading.Thread):
        def start(self) -> None:
            func = getattr(self._target, "func", self._target)  # type: ignore[attr-defined]
            made.check(f"{self.name} {getattr(func, '__qualname__', '')}")
            super().start()

    monkeypatch.setattr(primitives, "Thread", Thread)
    return made


class Service(rpyc.Service):
    """What the tests call."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_hold(self) -> None:
        self.begun.set()
        self.released.wait(60)

    async def exposed_later(self, value: Any) -> Any:
        return value


Start = Callable[..., tuple[Server, Any]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server of a service and connects to it."""
    servers: list[Server] = []
    conns: list[Any] = []

    def make(service: Any, kind: type[Server] = ThreadedServer, **options: Any) -> tuple[Any, Any]:
        server = kind(service, logger=QUIET, grace=0, **options)
        server._start_in_thread()
        servers.append(server)
        config = {"sync_request_timeout": 30}
        conns.append(rpyc.connect("127.0.0.1", server.port, config=config))
        conns[-1].ping()
        return server, conns[-1]

    yield make
    for conn in conns:
        conn.close()
    for server in servers:
        server.close()


def test_a_connection_is_served_when_its_next_thread_is_refused(
    start: Start, refusals: Refusals
) -> None:
    """The thread that serves goes on, when the one that was to replace it could not be started."""
    service = Service()
    _, conn = start(service)
    refusals.add("_serve_instead")
    held = rpyc.async_(conn.root.hold)()
    assert service.begun.wait(30)
    held.set_expiry(0)
    with pytest.raises(TimeoutError):
        held.wait()
    after = rpyc.async_(conn.root.echo)(1)  # which waits: then another thread is to serve
    assert refusals.refused.acquire(timeout=30)
    refusals.add("_serve_instead", 1000)
    service.released.set()
    assert after.value == 1
    assert conn.root.echo(2) == 2


def test_a_refused_next_thread_is_started_later(start: Start, refusals: Refusals) -> None:
    """The function that was given up goes on, and another thread serves as soon as it may."""
    service = Service()
    _, conn = start(service)
    refusals.add("_serve_instead")
    held = rpyc.async_(conn.root.hold)()
    assert service.begun.wait(30)
    held.set_expiry(0)
    with pytest.raises(TimeoutError):
        held.wait()
    try:
        assert conn.root.echo(1) == 1
        assert refusals.refused.acquire(timeout=30)
    finally:
        service.released.set()


def test_the_loop_for_coroutines_is_started_at_the_next_call(
    start: Start, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call whose loop could not be started fails, and the next one gets a loop."""
    monkeypatch.setattr(background_loop, "_loop", None)
    _, conn = start(Service())
    refusals.add("run_forever")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        conn.root.later(1)
    assert conn.root.later(2) == 2
    loop = background_loop._loop
    assert loop is not None
    loop.call_soon_threadsafe(loop.stop)
    eventually(lambda: not loop.is_running())
    loop.close()


def test_futures_are_read_for_when_the_first_thread_was_refused(
    start: Start, refusals: Refusals
) -> None:
    """The future whose thread could not be started fails, and the next ones are completed."""
    _, conn = start(Service())
    echo = rpyc.async_(conn.root.echo)
    refusals.add("_run_reader")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        echo(1).as_future()
    assert echo(2).as_future().result(30) == 2


class Answered:
    """A result whose answer is there."""

    _deadline = None

    def wait(self) -> None:
        """Return at once."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_futures_are_read_for_after_a_callback_has_ended_the_thread() -> None:
    """A callback that ends the thread that reads for futures ends nothing else."""
    reading = BackgroundReader()
    ended = threading.Event()

    threads: list[threading.Thread] = []

    def leave(_: Any) -> None:
        threads.append(threading.current_thread())
        raise SystemExit

    reading.add(Answered(), leave)  # type: ignore[arg-type]
    eventually(lambda: threads)
    join(threads[0])
    reading.add(Answered(), lambda _: ended.set())  # type: ignore[arg-type]
    assert ended.wait(30)


def test_what_a_refused_timer_would_send_is_sent_at_once(
    start: Start, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that nobody waits for leave though the thread that sends them was refused."""
    _, conn = start(Service())
    monkeypatch.setattr(write_coalescing, "_timer", write_coalescing._Timer())
    refusals.add("held-writes")
    echo = rpyc.async_(conn.root.echo)
    count = 2 * write_coalescing.IN_FLIGHT
    results = [echo(number) for number in range(count)]
    assert [result.value for result in results] == list(range(count))
    results = [echo(number) for number in range(count)]  # and there is a thread now
    assert [result.value for result in results] == list(range(count))
    write_coalescing._timer.end()


def test_the_timer_goes_on_when_a_sender_was_refused(refusals: Refusals) -> None:
    """What the peer does not take is sent after a later look, and other connections go on."""
    tries: list[bool] = []
    flushed = threading.Event()
    link: Any = SimpleNamespace(
        receiver=None,
        end=SimpleNamespace(_ready=False),
        sender=SimpleNamespace(try_send=lambda: tries.append(True), flush=flushed.set),
    )
    batch = write_coalescing.WriteCoalescer(link)
    batch.held = 1
    refusals.add("_flush_slowly")
    assert all(batch.guarded_look() for _ in range(4))
    assert flushed.wait(30)
    assert len(tries) == 2


def test_work_is_done_when_the_pools_first_thread_was_refused(refusals: Refusals) -> None:
    """The next function of the lane has both done."""
    pool = WorkerPool(1)
    done: list[int] = []
    refusals.add("WorkerPool._work")
    pool.run(lambda: done.append(1), "lane")
    pool.run(lambda: done.append(2), "lane")
    eventually(lambda: done == [1, 2])
    pool.close()


def test_a_pool_server_starts_its_first_thread_later(start: Start, refusals: Refusals) -> None:
    """A call whose thread was refused is served a moment later, without another one."""
    server, conn = start(Service(), ThreadPoolServer)
    server._pool._idle_limit = 0  # type: ignore[attr-defined]
    conn.root.echo(0)
    with server._pool._lock:  # type: ignore[attr-defined]
        server._pool._changed.notify_all()  # type: ignore[attr-defined]
    eventually(lambda: not server._pool.threads)  # type: ignore[attr-defined]
    refusals.add("WorkerPool._work")
    assert conn.root.echo(1) == 1
    assert refusals.refused.acquire(timeout=30)


def test_answers_of_coroutines_are_sent_when_a_thread_was_refused(
    refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that the peer takes slowly is sent by a thread that is started later."""
    monkeypatch.setattr(background_loop, "_loop", None)
    sent = threading.Event()
    conn: Any = SimpleNamespace(
        _answer=lambda payload: sent.set(),
        _kept=SimpleNamespace(release=lambda size: None),
        _link=SimpleNamespace(served=lambda id_: None),
    )
    coroutines = CoroutineRunner()
    coroutines._answers.append((1, b"", 0))
    refusals.add("ThreadCache._work")
    coroutines._have_sent(conn)
    assert sent.wait(30)
    loop = background_loop._loop
    assert loop is not None
    loop.call_soon_threadsafe(loop.stop)
    eventually(lambda: not loop.is_running())
    loop.close()


def test_an_interrupted_start_of_a_helper_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler's exception there keeps no later helper away."""
    helpers = Helpers(primitives.RLock())  # type: ignore[arg-type]

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rpyc_like.link.serve.helpers.spawn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        helpers.call(SimpleNamespace(has_work=True, max_helpers=16))  # type: ignore[arg-type]
    assert (helpers._count, helpers._looking) == (0, None)


def test_the_end_is_told_when_its_thread_was_refused(start: Start, refusals: Refusals) -> None:
    """A connection that fails tells the program, in the thread that is there."""
    _, conn = start(Service())
    states: list[str] = []
    conn.add_state_callback(lambda conn, state: states.append(state))
    refusals.add("tell_lost")
    refusals.add("went_down")
    conn._link.fail(EOFError("gone"))
    assert refusals.refused.acquire(timeout=30)
    assert states


def test_a_pipe_is_closed_when_its_writer_was_refused(refusals: Refusals) -> None:
    """The program that reads from it finds its end."""
    read_end, write_end = os.pipe()
    pipe = Input(os.fdopen(write_end, "wb"))
    refusals.add("_send")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        pipe.send(b"abc")
    pipe.close()
    assert os.read(read_end, 10) == b""
    os.close(read_end)


def test_an_asyncio_server_may_be_started_again(refusals: Refusals) -> None:
    """A server whose thread was refused does not take itself for started."""

    async def use() -> Any:
        server = aio.Server(Service(), hostname="127.0.0.1", port=0, logger=QUIET, grace=0)
        refusals.add("_let_in")
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await server.start()
        async with server:
            conn = await aio.connect("127.0.0.1", server.port)
            try:
                return await conn.root.echo(1)
            finally:
                await conn.close()

    assert asyncio.run(use()) == 1


WORKER = "ConnectionThread.work"
"""The threads that run plain functions of an asyncio server."""


@pytest.fixture
def clients() -> Iterator[Callable[..., Any]]:
    """Starts an asyncio server with the first client, and connects others to it."""
    with ExitStack() as stack:
        ports: list[int] = []

        def connect(service: Any = None, **options: Any) -> Any:
            if service is not None:
                ports.append(stack.enter_context(asyncio_server(service, options)))
            config = {"sync_request_timeout": 30}
            conn = rpyc.connect("127.0.0.1", ports[-1], config=config)
            return stack.enter_context(conn)

        yield connect


def test_a_plain_call_without_a_thread_is_refused(
    clients: Callable[..., Any], refusals: Refusals
) -> None:
    """It is answered at once; other calls of the connection are served, and later plain ones."""
    conn = clients(Service())
    refusals.add(WORKER, 1000)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"expected a thread.*got none.*again later"):
            conn.root.echo(1)
    assert time.monotonic() - began < 10
    assert conn.root.later(2) == 2
    refusals.end()
    assert conn.root.echo(3) == 3


def test_an_idle_connection_gives_up_its_thread_where_the_system_has_no_more(
    clients: Callable[..., Any], refusals: Refusals
) -> None:
    """A call that needs a thread gets one when another has ended; both connections go on."""
    first = clients(Service())
    second = clients()
    assert first.root.echo(0) == 0
    for value, conn in enumerate((second, first)):
        refusals.add(WORKER)
        assert conn.root.echo(value) == value
        assert refusals.refused.acquire(timeout=0)


def test_a_plain_call_waits_for_the_thread_of_another_connection(
    clients: Callable[..., Any], refusals: Refusals
) -> None:
    """It waits while another connection's call runs; when that ends, it is served or refused."""
    service = Service()
    first = clients(service)
    second = clients()
    held = rpyc.async_(first.root.hold)()
    assert service.begun.wait(30)
    refusals.add(WORKER, 1000)
    waits = rpyc.async_(second.root.echo)(1)
    assert refusals.refused.acquire(timeout=30)
    assert refusals.refused.acquire(timeout=30)  # which it gets no thread from either
    assert not waits.ready
    service.released.set()
    held.wait()
    with pytest.raises(RuntimeError, match="expected a thread"):
        waits.value
    refusals.end()
    assert second.root.echo(2) == 2


def test_strict_affinity_refuses_what_the_system_has_no_thread_for(
    clients: Callable[..., Any], refusals: Refusals
) -> None:
    """No connection would give its thread up: the call is refused at once."""
    first = clients(Service(), affinity="strict")
    second = clients()
    assert first.root.echo(1) == 1
    refusals.add(WORKER, 1000)
    with pytest.raises(RuntimeError, match="expected a thread"):
        second.root.echo(2)
    assert first.root.echo(3) == 3


def test_a_plain_on_connect_without_a_thread_is_refused(
    clients: Callable[..., Any], refusals: Refusals
) -> None:
    """The client's requests are answered with the reason."""

    class Greeting(Service):
        def on_connect(self, conn: Any) -> None:
            raise AssertionError("called")

    refusals.add(WORKER, 1000)
    conn = clients(Greeting())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="on_connect was not called: expected a thread"):
            conn.root.later(1)


def test_calls_of_other_protocols_without_a_thread_are_refused(
    clients: Callable[..., Any], refusals: Refusals
) -> None:
    """An EPC call is answered with the error."""
    service = EPCService()
    service.register_function(lambda value: value, "echo")
    with asyncio_server(service) as port:
        client = EPCClient(("127.0.0.1", port))
        try:
            refusals.add(WORKER, 1000)
            with pytest.raises(Exception, match="expected a thread"):
                client.call_sync("echo", [1], timeout=30)
            refusals.end()
            assert client.call_sync("echo", [2], timeout=30) == 2
        finally:
            client.close()


@pytest.fixture(params=[ThreadedServer, ThreadPoolServer, None])
def login_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server with an authenticator; without a class, it is an asyncio one."""
    options = {"authenticator": lambda sock: (sock, None)}
    if request.param is None:
        with asyncio_server(Service(), options) as port:
            yield port
        return
    server = request.param(Service(), logger=QUIET, grace=0, **options)
    server._start_in_thread()
    yield server.port
    server.close()


def test_a_server_without_a_thread_for_deadlines_goes_on(
    login_port: int, refusals: Refusals
) -> None:
    """The client that no thread watches over is hung up on, the next one is served."""
    refusals.add("rpyc_like-admission", 1000)
    with pytest.raises(EOFError):
        rpyc.connect("127.0.0.1", login_port).root.echo(0)
    refusals.end()
    with rpyc.connect("127.0.0.1", login_port) as conn:
        assert conn.root.echo(1) == 1


def test_a_client_with_a_deadline_is_served_when_others_make_room(
    login_port: int, refusals: Refusals
) -> None:
    """A thread that was refused once is asked for again."""
    refusals.add("rpyc_like-admission")
    with rpyc.connect("127.0.0.1", login_port) as conn:
        assert conn.root.echo(1) == 1


def test_the_refused_client_is_not_counted(refusals: Refusals) -> None:
    """A client that was hung up on is not silent any more, and has no deadline."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        admission = Admission(logger=QUIET)
        refusals.add("rpyc_like-admission", 1000)
        client = admission.admit(ours, logs_in=True)
        assert (client.cut_off, admission.silent, list(admission._deadlines)) == (True, 0, [])
        assert theirs.recv(1) == b""
