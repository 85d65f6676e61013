"""Case 136: what another connection's callback asks for waits for no thread that waits itself."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.lib import connection_threads
from rpyc_like.lib.connection_threads import ConnectionThreads
from rpyc_like.lib.contexts import SharedContext
from rpyc_like.lib.worker_pool import waiting
from tests.support.eventually import eventually
from tests.support.joining import join

from .test_affinity import LIMIT, Running

NEVER = 3600.0
CLIENTS = 4


@pytest.fixture
def no_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has functions that wait for patience wait for longer than the tests last."""
    monkeypatch.setattr(connection_threads, "_PATIENCE", NEVER)


class Ring(rpyc.Service):
    """Each client's call calls the next client."""

    functions: dict[int, Any] = {}
    connections: list[Any] = []

    def on_connect(self, conn: Any) -> None:
        self.connections.append(conn)

    def exposed_register(self, number: int, func: Any) -> None:
        self.functions[number] = func

    def exposed_ask_next(self, number: int) -> int:
        value: int = self.functions[(number + 1) % CLIENTS](number)
        return value

    def exposed_plain(self, value: int) -> int:
        return value + 1

    async def exposed_on_loop(self, value: int) -> int:
        return value + 1


def _ask_around(running: Running, chained: bool) -> list[list[int]]:
    """Return what the clients of a ring get from one another, three times each."""
    got: list[list[int]] = [[] for _ in range(CLIENTS)]
    ready, called = threading.Barrier(CLIENTS), threading.Barrier(CLIENTS)

    def client(number: int) -> None:
        with running.connect(sync_request_timeout=LIMIT) as conn:

            def back(value: int) -> int:
                called.wait(LIMIT)  # now the threads of all connections wait
                if not chained:
                    return int(conn.root.plain(conn.root.on_loop(value)))
                with conn.pipeline() as pipeline:
                    result = pipeline.root.plain(pipeline.root.on_loop(value))
                return int(rpyc.fetch(result))

            conn.root.register(number, back)
            for _ in range(3):
                ready.wait(LIMIT)
                got[number].append(conn.root.ask_next(number))
            ready.wait(LIMIT)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread, 2 * LIMIT)
    return got


@pytest.mark.usefixtures("no_patience_ends")
@pytest.mark.parametrize("chained", [False, True])
def test_clients_in_a_ring(chained: bool) -> None:
    """Callbacks ask their own connections, whose threads all wait for other clients."""
    Ring.functions, Ring.connections = {}, []
    with Running(Ring) as running:
        got = _ask_around(running, chained)
        assert got == [[number + 2] * 3 for number in range(CLIENTS)]
        assert eventually(lambda: not any(conn._threads_of for conn in Ring.connections))
        Ring.functions = {}


def test_a_quick_request_leaves_nothing_behind() -> None:
    """What is answered at once is not noted as awaited for ever."""
    Ring.functions, Ring.connections = {}, []
    with Running(Ring) as running, running.connect() as conn, running.connect() as other:
        served = rpyc.BgServingThread(conn)
        conn.root.register(1, lambda value: conn.ping() or value)
        assert other.root.ask_next(0) == 0
        assert not any(conn._threads_of for conn in Ring.connections)
        Ring.functions = {}
        served.stop()


class Locking(rpyc.Service):
    """Calls a client with a lock held."""

    lock = threading.Lock()
    wanted = threading.Event()
    functions: list[Any] = []

    def exposed_register(self, func: Any) -> None:
        self.functions[:] = [func]

    def exposed_call_locked(self) -> Any:
        with self.lock:
            return self.functions[0]()

    def exposed_lock(self) -> str:
        self.wanted.set()
        with self.lock:
            return "locked"

    def exposed_plain(self) -> str:
        return "plain"


def test_a_lock_over_a_callback_of_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for the lock holds up for ever nothing that its holder waits for."""
    monkeypatch.setattr(connection_threads, "_PATIENCE", 0.01)
    config = {"sync_request_timeout": LIMIT}
    with Running(Locking) as running, running.connect(**config) as conn:
        with running.connect(**config) as other:
            served = rpyc.BgServingThread(other)
            locks: list[Any] = []

            def back() -> Any:
                locks.append(rpyc.async_(other.root.lock)())
                assert Locking.wanted.wait(LIMIT)
                return other.root.plain()

            other.root.register(back)
            assert conn.root.call_locked() == "plain"
            locks[0].set_expiry(LIMIT)
            assert locks[0].value == "locked"
            served.stop()
            Locking.functions.clear()


# -- the threads of one connection


class Threads:
    """The threads of a connection, one of which runs a function that goes on when it is told to."""

    def __init__(self, width: int = 1) -> None:
        self.looks: deque[Callable[[], Any]] = deque()
        self.threads = ConnectionThreads(8)
        self.executor = self.threads.executor(SharedContext(), self._call_later, width)
        self.executor.nests = False
        self.ran: list[tuple[str, int]] = []
        self.begun, self.waits, self.end = threading.Event(), threading.Event(), threading.Event()
        self.executor.submit(self._first)
        assert self.begun.wait(LIMIT)
        self.first = self.executor.threads[0]

    def _call_later(self, seconds: float, func: Callable[..., Any], *args: Any) -> None:
        self.looks.append(lambda: func(*args))

    def _first(self) -> None:
        """Compute, then wait for another connection, then compute again."""
        self.ran.append(("first", threading.get_ident()))
        self.begun.set()
        assert self.waits.wait(LIMIT)
        with waiting():
            assert self.end.wait(LIMIT)

    def submit(self, name: str, thread: Any = None, awaited: bool = False) -> None:
        def job() -> None:
            self.ran.append((name, threading.get_ident()))

        self.executor.submit(job, thread, awaited=awaited)

    def wait_elsewhere(self) -> None:
        """Have the first function wait for another connection."""
        self.waits.set()
        assert eventually(lambda: self.first.waits)

    def has_run(self, *names: str) -> bool:
        """Return whether just these have run, and no thread is left that stands in."""
        ran = tuple(name for name, _ in self.ran) == ("first", *names)
        return ran and len(self.executor.threads) == 1


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads()
    yield made
    made.waits.set()
    made.end.set()
    made.executor.close()
    made.threads.close()
    assert eventually(lambda: not made.threads.threads)


def test_a_thread_stands_in_for_one_that_waits(threads: Threads) -> None:
    """What another connection waits for is run at once."""
    threads.wait_elsewhere()
    threads.submit("awaited", awaited=True)
    assert eventually(lambda: threads.has_run("awaited"))
    assert threads.ran[1][1] != threads.ran[0][1]


def test_a_thread_stands_in_when_the_other_begins_to_wait(threads: Threads) -> None:
    """What others wait for runs in the connection's thread, unless that waits before."""
    threads.submit("awaited", awaited=True)
    threads.wait_elsewhere()
    assert eventually(lambda: threads.has_run("awaited"))


def test_what_a_thread_has_caused_does_not_wait_for_its_other_waits(threads: Threads) -> None:
    """A thread that waits for another connection leaves what it was to serve to others."""
    threads.submit("before", threads.first)
    threads.wait_elsewhere()
    assert eventually(lambda: threads.has_run("before"))
    threads.submit("after", threads.first)
    assert eventually(lambda: threads.has_run("before", "after"))


def test_who_stands_in_takes_nothing_else(threads: Threads) -> None:
    """Other functions wait for the connection's thread, as long as the patience lasts."""
    threads.wait_elsewhere()
    threads.submit("other")
    threads.submit("awaited", awaited=True)
    assert eventually(lambda: threads.has_run("awaited"))
    threads.end.set()
    assert eventually(lambda: threads.has_run("awaited", "other"))
    assert threads.ran[2][1] == threads.ran[0][1]


def test_the_patience_ends(threads: Threads) -> None:
    """Other functions run in another thread when nothing has begun for so long."""
    threads.wait_elsewhere()
    threads.submit("other")
    threads.looks.popleft()()
    assert eventually(lambda: threads.has_run("other"))


def test_a_busy_thread_is_stood_in_for_after_the_patience(threads: Threads) -> None:
    """It may wait for a lock that is held by who waits for the function."""
    threads.submit("other")
    threads.submit("awaited", awaited=True)
    threads.looks.popleft()()
    assert eventually(lambda: threads.has_run("awaited"))


def test_a_connection_has_only_so_many_threads(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that are nested too deeply between connections are refused."""
    monkeypatch.setattr(connection_threads, "_MOST_AT_ONCE", 1)
    threads.wait_elsewhere()
    with pytest.raises(RecursionError):
        threads.submit("awaited", awaited=True)
    assert not threads.executor.awaited
