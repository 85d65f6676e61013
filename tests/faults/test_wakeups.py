"""Whatever has been read is visible to every thread that could act on it."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts, protocol
from rpyc_like.core.channel import Channel
from rpyc_like.core.protocol import Connection
from rpyc_like.lib import native, primitives
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link.fast_path import FastPath
from rpyc_like.link.receiving import Waiter
from rpyc_like.link.serve.poller import Poller
from rpyc_like.link.streams import SocketStream
from rpyc_like.utils.server import ThreadedServer
from rpyc_like.wire.session import CALL
from tests.support.joining import join

from ..support.eventually import eventually

QUIET = logging.getLogger("tests.wakeups")
QUIET.setLevel(logging.CRITICAL)
LIMIT = 20.0
needs_native = pytest.mark.skipif(native.codec is None, reason="needs the quick way to ask")

Connect = Callable[..., Any]


class Served(rpyc.Service):
    """Calls back, from its own thread and from others."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.pool = ThreadPoolExecutor(4)

    def on_disconnect(self, conn: Any) -> None:
        self.event.set()
        self.pool.shutdown(wait=False)

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_call_both(self, first: Any, second: Any) -> Any:
        """Calls two functions without waiting for the first."""
        results = [rpyc.async_(first)(), rpyc.async_(second)()]
        return [result.value for result in results]

    def exposed_start_both(self, first: Any, second: Any) -> None:
        """Calls two functions without waiting for either."""
        rpyc.async_(first)(), rpyc.async_(second)()

    def exposed_keep(self, *functions: Any) -> None:
        self.kept = functions

    def exposed_start_kept(self) -> None:
        """Calls what it keeps, without waiting."""
        for function in self.kept:
            rpyc.async_(function)()

    def exposed_submit(self, func: Any, *args: Any) -> Any:
        return self.pool.submit(func, *args)

    def exposed_result_of(self, future: Any) -> Any:
        return future.result()

    def exposed_wait(self) -> bool:
        return self.event.wait(LIMIT)

    def exposed_set(self) -> None:
        self.event.set()


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Fails tests in which somebody sat out a time-out."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < LIMIT


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects to a server of this process, which serves each client in one thread."""
    config = {"allow_public_attrs": True}
    server = ThreadedServer(Served, logger=QUIET, grace=0, protocol_config=config)
    server._start_in_thread()
    conns: list[Any] = []

    def make(service: Any = rpyc.VoidService) -> Any:
        conns.append(
            rpyc.connect(
                "127.0.0.1",
                server.port,
                service=service,
                config={"allow_public_attrs": True, "sync_request_timeout": LIMIT},
            )
        )
        conns[-1].root.add(1, 1)
        return conns[-1]

    yield make
    for conn in conns:
        conn.close()
    server.close()


@pytest.fixture
def background() -> Iterator[Callable[[Any], None]]:
    """Serves connections in the background."""
    threads: list[rpyc.BgServingThread] = []
    yield lambda conn: threads.append(rpyc.BgServingThread(conn))
    for thread in threads:
        thread.stop()


def made_with(dispatch: Callable[[Any, bytes], None]) -> type[rpyc.Service]:
    """Returns a service whose connections dispatch in another way."""

    class Own(Connection):
        def _dispatch(self, data: bytes) -> None:
            dispatch(self, data)

    class Client(rpyc.Service):
        _protocol = Own

    return Client


def test_a_slow_dispatch_loses_no_answer(connect: Connect, background: Any) -> None:
    """A caller beside a thread that dispatches in a way of its own gets each answer."""

    def slow(conn: Any, data: bytes) -> None:
        time.sleep(0.002)
        Connection._dispatch(conn, data)

    conn = connect(made_with(slow))
    background(conn)
    add = conn.root.add
    assert [add(number, 1) for number in range(50)] == [*range(1, 51)]
    assert [conn.root.call(lambda: number) for number in range(10)] == [*range(10)]  # noqa: B023


def test_a_dispatch_that_asks(connect: Connect, background: Any) -> None:
    """A method that dispatches may ask the peer before it passes a payload on."""
    asking: list[bool] = []
    answers: list[int] = []

    def ask(conn: Any, data: bytes) -> None:
        if not asking and conn._remote_root is not None:
            asking.append(True)
            answers.append(conn.root.add(1, 2))
            asking.clear()
        Connection._dispatch(conn, data)

    conn = connect(made_with(ask))
    background(conn)
    for number in range(20):
        assert conn.root.call(lambda: number) == number  # noqa: B023
    assert set(answers) == {3}


def test_a_dispatch_in_another_thread(connect: Connect, background: Any) -> None:
    """A method may pass payloads on from a thread of the program's own."""
    payloads: queue.SimpleQueue[tuple[Any, bytes] | None] = queue.SimpleQueue()

    def run() -> None:
        while (item := payloads.get()) is not None:
            Connection._dispatch(*item)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        conn = connect(made_with(lambda conn, data: payloads.put((conn, data))))
        background(conn)
        add = conn.root.add
        assert [add(number, 1) for number in range(20)] == [*range(1, 21)]
    finally:
        payloads.put(None)
        join(thread, LIMIT)


def test_a_slow_result_loses_no_answer(
    connect: Connect, background: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a result whose class takes its time with the answer gets it."""

    class Slow(rpyc.AsyncResult):
        def __call__(self, is_exc: bool, obj: Any) -> None:
            time.sleep(0.002)
            super().__call__(is_exc, obj)

    conn = connect()
    monkeypatch.setattr(protocol, "AsyncResult", Slow)
    background(conn)
    add = conn.root.add
    assert [add(number, 1) for number in range(50)] == [*range(1, 51)]


def test_a_callback_may_wait_for_the_next(connect: Connect, background: Any) -> None:
    """Two threads that serve a client serve two requests of the same cause, though one blocks."""
    conn = connect()
    background(conn)
    event = threading.Event()
    got = conn.root.call_both(lambda: event.wait(LIMIT), event.set)
    assert list(got) == [True, None]


@pytest.mark.parametrize("nested", [False, True])
def test_what_precedes_an_answer_is_served_first(connect: Connect, nested: bool) -> None:
    """What was sent before an answer is served before it, though the watchdog has read both."""
    conn = connect()
    served: list[int] = []

    def slow() -> None:
        (waiter,) = conn._link.waiters.values()
        while not waiter.awaited._ready:  # by the watchdog
            time.sleep(0.01)
        served.append(1)

    def start() -> list[int]:
        conn.root.start_both(slow, lambda: served.append(2))
        return [*served]

    assert [*(conn.root.call(start) if nested else start())] == [1, 2]


def test_callbacks_stay_in_their_thread(connect: Connect, background: Any) -> None:
    """Callbacks that are quick are served by the thread that waits, though another serves too."""
    conn = connect()
    background(conn)
    for _ in range(20):
        got = conn.root.call_both(threading.get_ident, threading.get_ident)
        assert set(got) == {threading.get_ident()}


def test_a_remote_executor(connect: Connect) -> None:
    """A thread that waits for a callback serves nobody who waits for that thread."""
    conn = connect()
    for number in range(100):
        future = conn.root.submit(lambda value: 2 * value, number)
        assert conn.root.result_of(future) == 2 * number


def test_a_remote_executor_of_several_threads(connect: Connect) -> None:
    """It is the same where several threads of the client share the connection."""
    conn = connect()

    def use(start: int) -> list[int]:
        futures = [conn.root.submit(lambda value: 2 * value, start + n) for n in range(20)]
        return [conn.root.result_of(future) for future in futures]

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(use, range(0, 400, 100), timeout=LIMIT)]
    assert found == [[2 * (start + n) for n in range(20)] for start in range(0, 400, 100)]


def test_a_busy_thread_gets_help(connect: Connect, background: Any) -> None:
    """What a waiting thread leaves to one that is busy is served: that one may wait for it."""
    conn = connect()
    background(conn)
    started, done = threading.Event(), threading.Event()

    def callback() -> None:
        started.set()
        done.wait(LIMIT)

    future = conn.root.submit(callback)
    assert started.wait(LIMIT)
    waiting = rpyc.async_(conn.root.wait)()
    conn.root.set()  # read by the thread that waits for the callback, while the other one waits
    waiting.set_expiry(LIMIT)
    assert waiting.value is True
    done.set()
    assert future.result() is None


def test_helpers_take_what_waits_at_the_same_time(connect: Connect) -> None:
    """Requests that have waited for a busy thread are taken without a pause in between."""
    link = connect()._link
    waiter = link.waiters[0] = Waiter(0)
    for number in range(3):
        request = (CALL, -number, (consts.HANDLE_PING, None, 0, 0), ("x",))
        link.queued.add(link.queued.weigh(request))
        waiter.inbox.append(request)
    waiter.since = time.monotonic() - 1
    taken = [link.helpers._overdue(link, time.monotonic())[0] for _ in range(3)]
    del link.waiters[0]
    assert [request[1] for request in taken] == [0, -1, -2]


def test_a_reader_is_not_handed_a_request(connect: Connect) -> None:
    """A request is served by the thread that has read it, if the one it is meant for reads now."""
    conn = connect()
    link, call = conn._link, conn.root.call
    link.reading.acquire()
    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(call, threading.get_ident)
            request = link._read(LIMIT)
        finally:
            link.reading.leave()
        while not link.reading.lock.locked():  # by the thread that waits for the answer
            time.sleep(0.01)
        link.act(request)
        assert future.result(LIMIT) == threading.get_ident()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has connections read by threads in the background, beside those that ask from then on."""
    links: list[Any] = []
    ask = FastPath.ask

    def ask_beside(self: Any, link: Any, target: Any, args: Any, timeout: Any) -> Any:
        if link not in links:
            return ask(self, link, target, args, timeout)
        id_ = next(link.session.pending.numbers)
        return self._ask_beside(link, id_, target, args, timeout, time.monotonic())

    def begin(*conns: Any) -> None:
        for conn in conns:
            conn.root.add(1, 1)  # which takes with it what stands ahead of the next request
            threading.Thread(target=conn.serve_all, daemon=True).start()
            eventually(conn._link.reading.lock.locked, "reading in the background")
            links.append(conn._link)

    monkeypatch.setattr(FastPath, "ask", ask_beside)
    return begin


@pytest.fixture
def woken_late(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has a thread look at its inbox when its answer is there; notes how much it finds then."""
    found: list[int] = []
    sleep = FastPath._sleep

    def sleep_late(self: Any, link: Any, me: Any, result: Any, timeout: Any) -> None:
        if not found:
            eventually(lambda: result._ready, "the answer")
            found.extend([len(me.inbox)] if me.inbox else [])
        sleep(self, link, me, result, timeout)

    monkeypatch.setattr(FastPath, "_sleep", sleep_late)
    return found


@needs_native
def test_a_callback_asks_over_another_connection(
    connect: Connect, read: Any, woken_late: list[int]
) -> None:
    """What is left of a connection's requests is served over that connection."""
    first, second = connect(), connect()
    served: list[Any] = []

    def callback() -> None:
        call = rpyc.current_call()
        assert call is not None
        served.append(call.connection)
        if len(served) == 1:
            served.append(second.root.add(1, 2))

    first.root.keep(callback, callback)
    start = first.root.start_kept
    read(first, second)
    start()
    assert woken_late == [2]
    assert served[0] is first and served[1] == 3 and served[2] is first


@needs_native
def test_a_callback_asks_for_what_the_next_one_does(
    connect: Connect, read: Any, woken_late: list[int]
) -> None:
    """A thread that serves what was left to it serves the rest while it waits in there."""
    conn = connect()
    event = threading.Event()
    served: list[Any] = []

    def wait() -> None:
        served.append(conn.root.call(event.wait, LIMIT / 2))

    conn.root.keep(wait, event.set)
    start = conn.root.start_kept
    read(conn)
    start()
    assert woken_late == [2]
    assert served == [True]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
def test_a_signal_handler_asks_over_another_connection(
    connect: Connect, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that comes while a signal handler asks another peer wakes who waits for it."""
    first, second = connect(), connect()
    done = threading.Event()
    monkeypatch.setattr(Served, "exposed_wait", lambda self: done.wait(LIMIT))
    answers: list[Any] = []

    def handle(number: int, frame: Any) -> None:
        if done.is_set():
            return
        done.set()
        pending = first._link.session.pending
        eventually(lambda: not [*pending.waiting()], "the answer")
        answers.append(second.root.add(1, 2))

    def interrupt() -> None:
        eventually(lambda: any(one.asleep for one in first._link.waiters.values()), "waiting")
        while not done.wait(0.01):  # a signal that comes just before the thread sleeps is too early
            signal.pthread_kill(main, signal.SIGUSR1)

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=interrupt)
    wait = first.root.wait
    read(first, second)
    thread.start()
    try:
        got = wait()
    finally:
        done.set()
        join(thread, LIMIT)
        signal.signal(signal.SIGUSR1, before)
    assert got is True and answers == [3]


def test_close_after_a_torn_write(connect: Connect) -> None:
    """What is held and cannot be sent any more ends the connection; closing it does not raise."""
    conn = connect()
    conn._link.batch._hold(b"rest")
    conn._link.sender._torn = True
    conn.close()
    assert conn.closed


def locks_of(conn: Any) -> list[Any]:
    """Returns the locks that another thread may hold when the process forks."""
    link = conn._link
    return [
        conn._local_objects._lock,
        conn._proxies.lock,
        conn._kept._lock,
        link.queued._changed,
        link.sender._role,
        link.inbox_lock,
        link._gone_lock,
        link._taking,
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_waits_for_no_lock(connect: Connect) -> None:
    """A copy in a forked child is closed though a thread of the parent held the locks."""
    conn = connect()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks_of(conn):
                stack.enter_context(lock)
            held.set()
            done.wait(LIMIT)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(LIMIT)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            conn.close()
            os.write(writing, b"closed")
        finally:
            os._exit(0)
    os.close(writing)
    done.set()
    thread.join()
    closed, _, _ = select.select([reading], [], [], LIMIT / 2)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert closed and os.read(reading, 100) == b"closed"
    os.close(reading)


class Numbers(rpyc.Service):
    """Adds."""

    def exposed_add(self, first: int, second: int) -> int:
        return first + second


def test_a_poller_serves_a_connection_that_comes_while_it_looks_at_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is added after the poller has looked, and before it goes on, wakes it."""
    pool = WorkerPool(1)
    poller = Poller(pool)
    pairs = [tuple(map(SocketStream, socket.socketpair())) for _ in range(2)]
    there = [Numbers()._connect(Channel(far)) for _, far in pairs]
    here = [
        rpyc.VoidService()._connect(Channel(near), {"sync_request_timeout": 20})
        for near, _ in pairs
    ]
    monotonic = primitives.monotonic
    added = threading.Event()

    def add_the_other() -> float:
        if threading.current_thread() is poller.thread and not added.is_set():
            added.set()
            poller.add(there[1]._link, there[1].close)
        return monotonic()

    monkeypatch.setattr(primitives, "monotonic", add_the_other)
    try:
        poller.add(there[0]._link, there[0].close)
        assert added.wait(60)
        assert here[1].root.add(1, 2) == 3
    finally:
        for conn in here:
            conn.close()
        poller.close()
        pool.close()
