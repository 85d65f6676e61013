"""``async def`` methods of services, on every server, and results that are awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.errors import ConnectionClosed
from rpyc_like.utils.server import ThreadPoolServer
from tests.support.eventually import eventually, eventually_here
from tests.support.joining import join

QUIET = logging.getLogger("tests.async_methods")
QUIET.setLevel(logging.CRITICAL)
KINDS = ("threaded", "pool", "aio", "aio-inline")


class Service(rpyc.Service):
    """Plain and ``async def`` methods; what happened is noted in the class."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.made = self.met = 0
        self.ended = threading.Event()
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def on_connect(self, conn: Any) -> None:
        await asyncio.sleep(0.02)
        self.told.append("connected")

    async def on_disconnect(self, conn: Any) -> None:
        await asyncio.sleep(0)
        self.told.append("gone")

    def exposed_told(self) -> tuple[str, ...]:
        return tuple(self.told)

    def exposed_plain(self, value: Any) -> Any:
        return value

    async def exposed_add(self, a: int, b: int = 1) -> int:
        await asyncio.sleep(0)
        return a + b

    async def exposed_after(self, seconds: float, value: Any) -> Any:
        await asyncio.sleep(seconds)
        return value

    async def exposed_meet(self, value: Any, count: int) -> Any:
        """Returns when so many of these run at the same time."""
        self.met += 1
        await eventually_here(lambda: self.met == count)
        return value

    async def exposed_fail(self, text: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    async def exposed_call(self, func: Any, *args: Any) -> Any:
        return await rpyc.async_(func)(*args)

    async def exposed_count(self, to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                await asyncio.sleep(0)
                self.made += 1
                yield number
        finally:
            self.ended.set()

    def exposed_plain_count(self, to: int) -> Any:
        return self.exposed_count(to)

    def exposed_made(self) -> int:
        return self.made

    async def exposed_for_ever(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def exposed_who(self) -> Any:
        call = rpyc.current_call()
        assert call is not None
        await asyncio.sleep(0)
        later = rpyc.current_call()
        assert later is not None and later.id == call.id
        return call.deadline is not None, call.cancelled


@contextlib.contextmanager
def server(kind: str, service: Any, **options: Any) -> Iterator[int]:
    """Runs a server of a kind; an asyncio one in a loop of its own."""
    if kind.startswith("aio"):
        options.setdefault("threads", 0 if kind == "aio-inline" else 4)
        with in_loop(service, options) as port:
            yield port
        return
    made_by = ThreadPoolServer if kind == "pool" else rpyc.ThreadedServer
    made = made_by(service, port=0, logger=QUIET, grace=0, **options)
    thread = threading.Thread(target=made.start)
    thread.start()
    try:
        yield made.port
    finally:
        made.close()
        join(thread)


@contextlib.contextmanager
def in_loop(service: Any, options: dict[str, Any]) -> Iterator[Any]:
    port: Future[Any] = Future()
    stop: Future[None] = Future()
    options = {"grace": 0, "logger": QUIET, **options}

    async def main() -> None:
        try:
            made = aio.Server(service, **options)
            async with made:
                port.set_result(made.port)
                await asyncio.wrap_future(stop)
        except BaseException as error:
            if not port.done():
                port.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(main(), debug=True))
    thread.start()
    try:
        yield port.result(60)
    finally:
        stop.set_result(None)
        join(thread)


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Service, rpyc.Connection]]:
    service = Service()
    with server(request.param, service) as port:
        conn = rpyc.connect("127.0.0.1", port)
        with conn:
            yield service, conn


Served = tuple[Service, rpyc.Connection]


def test_methods(served: Served) -> None:
    """Values, errors and callbacks of coroutines."""
    _, conn = served
    root = conn.root
    assert root.add(1, b=2) == 3
    assert root.plain(4) == 4
    with pytest.raises(ValueError, match="expected") as caught:
        root.fail("expected")
    assert "exposed_fail" in str(caught.value)
    assert root.call(lambda a: a * 2, 4) == 8
    assert root.call(lambda: root.call(lambda: root.add(1))) == 2
    with pytest.raises(KeyError, match="lost"):
        root.call({}.__getitem__, "lost")


def test_a_service_is_told(served: Served) -> None:
    """``on_connect`` may be ``async def``; it has ended before anything is served."""
    service, conn = served
    assert conn.root.told() == ("connected",)
    conn.close()
    eventually(lambda: service.told == ["connected", "gone"])


def test_several_at_once(served: Served) -> None:
    """Coroutines of one connection run beside each other, and a plain call does not wait."""
    _, conn = served
    meet = rpyc.async_(conn.root.meet)
    results = [meet(n, 10) for n in range(9)]
    assert conn.root.plain(5) == 5
    assert not any(result.ready for result in results)
    results.append(meet(9, 10))
    assert [result.value for result in results] == list(range(10))


@pytest.mark.parametrize("method", ["count", "plain_count"])
def test_asynchronous_generators(served: Served, method: str) -> None:
    """A blocking client loops over one; an item is made when it is asked for."""
    service, conn = served
    make = getattr(conn.root, method)
    assert list(make(5)) == [0, 1, 2, 3, 4]
    assert list(rpyc.buffiter(make(25), chunk=10)) == list(range(25))
    service.made = 0
    service.ended.clear()
    items = iter(make(1000))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    assert service.made == 3
    items.close()
    assert service.ended.wait(60)
    with pytest.raises(StopIteration):
        next(items)


def test_a_dropped_generator_ends(served: Served) -> None:
    """Who does not go on leaves nothing behind."""
    service, conn = served
    items = iter(conn.root.count(1000))
    next(items)
    del items
    eventually(lambda: conn.root.plain(1) and service.ended.is_set())


def test_chains(served: Served) -> None:
    """A step of a chain may be a coroutine, and its value is used by later ones."""
    _, conn = served
    with conn.pipeline() as p:
        three = p.root.add(1, b=2)
        seven = p.root.add(three, b=4)
        failed = p.root.fail("in a chain")
        items = p.root.count(3)
        doubled = p.map(lambda n: p.root.add(n, b=n), p.root.plain((1, 2)))
    assert rpyc.fetch(seven) == 7
    assert rpyc.fetch(doubled) == [2, 4]
    assert list(rpyc.fetch(items)) == [0, 1, 2]
    with pytest.raises(ValueError, match="in a chain"):
        rpyc.fetch(failed)


def test_who_gives_up_cancels(served: Served) -> None:
    """A call that timed out is cancelled as a task."""
    service, conn = served
    for seconds in (0.2, 1, 5, 20):  # until it has begun by then
        with pytest.raises(TimeoutError):
            conn.call(conn.root.for_ever, timeout=seconds)
        if service.begun.is_set():
            break
    assert service.cancelled.wait(60)
    assert conn.root.add(1) == 2


def test_a_client_that_is_gone_cancels(served: Served) -> None:
    """So is one whose caller has hung up."""
    service, conn = served
    rpyc.async_(conn.root.for_ever)()
    assert service.begun.wait(60)
    conn.close()
    assert service.cancelled.wait(60)


def test_current_call(served: Served) -> None:
    """A coroutine knows which request it serves."""
    _, conn = served
    assert conn.root.who() == (False, False)
    assert conn.call(conn.root.who, timeout=20) == (True, False)


FORKED = """
import asyncio, os, sys, threading
import rpyc_like as rpyc
from rpyc_like.utils.server import ForkingServer

class Service(rpyc.Service):
    async def exposed_pid(self):
        await asyncio.sleep(0)
        return os.getpid()

inside = rpyc.ThreadedServer(Service)
inside._start_in_thread()
with rpyc.connect("localhost", inside.port) as conn:  # a loop and threads of this process
    assert asyncio.run(asyncio.wait_for(rpyc.timed(conn.root.pid, 5)(), 60)) == os.getpid()
inside.close()
server = ForkingServer(Service)
print(server.port, flush=True)
server.start()
"""


def test_forked_servers() -> None:
    """The children of a forking server run coroutines on a loop of their own."""
    server = subprocess.Popen([sys.executable, "-c", FORKED], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        pids = set()
        for _ in range(2):
            with rpyc.connect("localhost", port) as conn:
                pids |= {conn.root.pid(), conn.root.pid()}
                assert asyncio.run(_awaited(rpyc.timed(conn.root.pid, 5)())) in pids
        assert len(pids) == 2
        assert server.pid not in pids
    finally:
        server.kill()
        server.communicate()


async def _awaited(result: Any) -> Any:
    return await result


# -- results


def test_results_are_awaited(served: Served) -> None:
    """An AsyncResult is awaited by an asyncio program, without anybody else reading."""
    _, conn = served
    after = rpyc.async_(conn.root.after)

    async def main() -> None:
        result = after(0.05, "a")
        assert await result == "a"
        assert await result == "a"
        assert await asyncio.gather(*[after(0.01, n) for n in range(20)]) == list(range(20))
        with pytest.raises(ValueError, match="awaited"):
            await rpyc.async_(conn.root.fail)("awaited")
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            await rpyc.timed(conn.root.for_ever, 0.1)()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(rpyc.async_(conn.root.for_ever)(), 0.1)
        items = rpyc.async_(conn.root.count)(1)
        assert list(await items) == [0]

    asyncio.run(main(), debug=True)
    assert conn.root.add(1) == 2


def test_results_as_futures(served: Served) -> None:
    """It turns into a future of the standard library; cancelling that gives the request up."""
    service, conn = served
    future = rpyc.async_(conn.root.after)(0.05, 3).as_future()
    assert isinstance(future, Future)
    assert future.result(60) == 3
    ready = rpyc.async_(conn.root.add)(1)
    ready.wait()
    assert ready.as_future().result(0) == 2
    at_once = rpyc.async_(conn.root.for_ever)().as_future()
    assert at_once.cancel()  # it may not even have begun
    assert conn.root.add(1) == 2
    service.begun.clear()
    service.cancelled.clear()
    waiting = rpyc.async_(conn.root.for_ever)().as_future()
    assert service.begun.wait(60)
    assert waiting.cancel()
    with pytest.raises(CancelledError):
        waiting.result()
    assert service.cancelled.wait(60)
    assert conn.root.add(1) == 2
    left = rpyc.async_(conn.root.for_ever)().as_future()
    conn.close()
    with pytest.raises(ConnectionClosed):
        left.result(60)


def test_awaiting_runs_no_thread_for_long(served: Served) -> None:
    """Who reads for awaited results ends when they have come."""
    _, conn = served
    assert conn.root.add(1) == 2

    async def main() -> None:
        await asyncio.gather(*[rpyc.async_(conn.root.add)(n) for n in range(100)])

    asyncio.run(main())

    def readers() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.endswith("-_run_reader")]

    eventually(lambda: not readers())
