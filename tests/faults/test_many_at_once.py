"""Many at once: each call works, or its error names the setting that it needs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.utils.server import Server, ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually

QUIET = logging.getLogger("tests.many")
QUIET.setLevel(logging.CRITICAL)
LIMIT = 20.0

Start = Callable[..., int]


class Served(rpyc.Service):
    """Lends a lock, and calls functions of its clients, and other servers."""

    shared = threading.Lock()

    def exposed_give_lock(self) -> Any:
        return self.shared

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_call_at_once(self, func: Any, count: int) -> list[Any]:
        """Calls a function several times without waiting in between."""
        results = [rpyc.async_(func)() for _ in range(count)]
        return [result.value for result in results]

    gave_up = threading.Event()

    def exposed_call_in_vain(self, func: Any) -> Any:
        """Calls a function that nobody serves."""
        try:
            return func()
        finally:
            self.gave_up.set()

    def exposed_call_over(self, port: int, func: Any, *args: Any) -> Any:
        """Has another server call a function of this one's client."""
        with rpyc.connect("127.0.0.1", port, config={"sync_request_timeout": LIMIT}) as other:
            return other.root.call(lambda *values: func(*values), *args)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers in this process."""
    servers: list[Server] = []

    def make(kind: type[Server] = ThreadedServer, **config: Any) -> int:
        config = {"allow_public_attrs": True, **config}
        server = kind(Served, logger=QUIET, grace=0, protocol_config=config)
        server._start_in_thread()
        servers.append(server)
        return int(server.port)

    yield make
    for server in servers:
        server.close()


def connect(port: int, seconds: float = LIMIT, **config: Any) -> Any:
    """Connects to a server of this process."""
    return rpyc.connect("127.0.0.1", port, config={"sync_request_timeout": seconds, **config})


@pytest.mark.parametrize("kind", [ThreadedServer, ThreadPoolServer])
def test_a_remote_lock_held_over_calls(start: Start, kind: type[Server]) -> None:
    """Clients that hold a lock of the server over calls wait for one another, and go on."""
    port = start(kind)
    counts = [0]

    def work(number: int) -> None:
        with connect(port) as conn:
            lock = conn.root.give_lock()
            for _ in range(10):
                with lock:
                    before = counts[0]
                    assert conn.root.add(before, 1) == before + 1
                    counts[0] = before + 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4), timeout=3 * LIMIT))
    assert counts == [40]


def test_a_remote_lock_of_threads_that_share(start: Start) -> None:
    """Threads that share a connection can do so where calls are served at the same time."""
    port = start(concurrent_calls=8)
    counts = [0]
    with connect(port) as conn:
        lock = conn.root.give_lock()

        def work(number: int) -> None:
            for _ in range(10):
                with lock:
                    before = counts[0]
                    assert conn.root.add(before, 1) == before + 1
                    counts[0] = before + 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4), timeout=3 * LIMIT))
    assert counts == [40]


def test_a_call_behind_another_names_the_setting(start: Start) -> None:
    """Without that, the error of a call that waited for another one's end names the setting."""
    port = start()
    with connect(port) as conn:
        lock, add = conn.root.give_lock(), conn.root.add
        lock.acquire()
        blocked = rpyc.async_(lock.acquire)()
        conn._config["sync_request_timeout"] = 0.5
        with pytest.raises(TimeoutError, match="'concurrent_calls'"):
            add(1, 2)
        Served.shared.release()
        blocked.set_expiry(LIMIT)
        assert blocked.value is True
        conn._config["sync_request_timeout"] = LIMIT
        lock.release()


@pytest.fixture
def served() -> Iterator[Callable[[Any], None]]:
    """Serves connections in the background."""
    threads: list[rpyc.BgServingThread] = []
    yield lambda conn: threads.append(rpyc.BgServingThread(conn))
    for thread in threads:
        thread.stop()


@pytest.mark.parametrize("count", [2, 20])
def test_callbacks_that_wait_for_one_another(start: Start, served: Any, count: int) -> None:
    """The thread that waits and ``max_helpers`` others serve so many callbacks at once."""
    barrier = threading.Barrier(count)
    with connect(start(), max_helpers=count - 1) as conn:
        served(conn)
        assert len(conn.root.call_at_once(lambda: barrier.wait(LIMIT), count)) == count


def test_more_callbacks_than_helpers_name_the_setting(
    start: Start, served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Where one would wait in vain, the log and the error of the call name the setting."""
    begun: list[int] = []
    me = threading.get_ident()

    def wait() -> None:
        begun.append(threading.get_ident())
        eventually(lambda: "'max_helpers'" in caplog.text or len(begun) == 3, "the line in the log")
        if threading.get_ident() == me:
            eventually(conn._link.waiters[me].awaited._deadline.expired, "the end of the time")

    with connect(start(), 1.0, max_helpers=1) as conn:
        served(conn)
        with pytest.raises(TimeoutError, match="'max_helpers'"):
            conn.root.call_at_once(wait, 3)
    assert "'max_helpers'" in caplog.text


def test_callbacks_among_three(start: Start) -> None:
    """A function of a client is called by a server of a server, many at the same time."""
    first, second = start(), start()
    with ThreadPoolExecutor(4) as pool, connect(first) as conn:

        def work(number: int) -> int:
            own = number
            got: int = conn.root.call_over(second, lambda value: value + own, 1)
            return got

        assert [*pool.map(work, range(12), timeout=3 * LIMIT)] == [*range(1, 13)]


def test_callbacks_of_concurrent_calls(start: Start) -> None:
    """Calls that are served at the same time call back, each into the thread that waits for it."""
    port = start(concurrent_calls=4)
    with ThreadPoolExecutor(8) as pool, connect(port) as conn:

        def work(number: int) -> bool:
            me = threading.get_ident()
            return all(conn.root.call(threading.get_ident) == me for _ in range(10))

        assert all(pool.map(work, range(8), timeout=3 * LIMIT))


def test_a_callback_into_a_client_that_computes(start: Start) -> None:
    """The error of a call into a client that does not serve names how it would."""
    port = start(sync_request_timeout=2)  # which a busy client has to look for the service
    with connect(port) as conn:
        Served.gave_up.clear()
        result = rpyc.async_(conn.root.call_in_vain)(lambda: 1)
        # Computes until the server has given up; what it says is read then.
        assert Served.gave_up.wait(LIMIT)
        with pytest.raises(TimeoutError, match="BgServingThread"):
            result.value
