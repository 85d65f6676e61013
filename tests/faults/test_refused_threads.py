"""The system refuses a thread: what needed it fails or is done later, and nothing hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.lib import background_loop, primitives
from rpyc_like.link.futures import ReadingAlong
from rpyc_like.utils.server import Server, ThreadedServer
from tests.support.eventually import eventually

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
            made.check(self.name)
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
    reading = ReadingAlong()
    ended = threading.Event()

    def leave(_: Any) -> None:
        raise SystemExit

    reading.add(Answered(), leave)  # type: ignore[arg-type]
    eventually(lambda: not reading._runs)
    reading.add(Answered(), lambda _: ended.set())  # type: ignore[arg-type]
    assert ended.wait(30)
