"""Threads that use an asyncio connection while the loop does not run, or not yet."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.utils.server import ThreadedServer
from tests.support.joining import join

QUIET = logging.getLogger("tests.stopped_loop")
QUIET.setLevel(logging.CRITICAL)


class Service(rpyc.Service):
    """What is called."""

    def exposed_echo(self, value: Any) -> Any:
        return value


class Ending(Service):
    """Notes the end of its connection."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.released = threading.Event()

    def exposed_hold(self) -> None:
        self.released.wait(60)

    def on_disconnect(self, conn: Any) -> None:
        self.ended.set()


@pytest.fixture
def stopped() -> Iterator[tuple[Any, Any, Any]]:
    """A loop that does not run, a connection of it and the peer's root."""
    server = ThreadedServer(Service(), logger=QUIET, grace=0)
    server._start_in_thread()
    loop = asyncio.new_event_loop()

    async def connect() -> tuple[Any, Any]:
        config = {"sync_request_timeout": 0.5}
        conn = await aio.connect("127.0.0.1", server.port, config=config)
        return conn, await conn.root

    conn, root = loop.run_until_complete(connect())
    yield loop, conn, root
    loop.run_until_complete(conn.close())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    server.close()


def outcome_in_thread(func: Callable[[], Any]) -> Any:
    """Return what ``func()`` gives or raises in a thread."""
    got: list[Any] = []

    def work() -> None:
        try:
            got.append(func())
        except Exception as error:
            got.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    join(thread, 30)
    assert got, "the thread waits in vain"
    return got[0]


def test_a_call_ends_with_its_time_out(stopped: Any) -> None:
    """A thread that asks gets TimeoutError when its time is over."""
    _, _, root = stopped
    error = outcome_in_thread(lambda: root.echo(1))
    assert isinstance(error, TimeoutError)
    assert "within 0.5 s" in str(error)


def test_closing_ends(stopped: Any) -> None:
    """A thread that closes goes on, and the connection is closed when the loop runs again."""
    loop, conn, _ = stopped
    assert outcome_in_thread(conn.close) is None
    assert not conn.closed
    for _ in range(1000):
        loop.run_until_complete(asyncio.sleep(0.01))
        if conn.closed:
            break
    assert conn.closed


def test_threads_end_with_a_closed_loop() -> None:
    """Calls fail at once, and a thread that closes ends the connection; the peer is told."""
    service = Ending()
    server = ThreadedServer(service, logger=QUIET, grace=0)
    server._start_in_thread()
    loop = asyncio.new_event_loop()

    async def connect() -> tuple[Any, Any]:
        conn = await aio.connect("127.0.0.1", server.port)
        return conn, await attribute(await conn.root, "echo")

    try:
        conn, echo = loop.run_until_complete(connect())
        waits = loop.create_task(hold(conn))
        early = outcome_in_thread(lambda: rpyc.async_(echo)(1))
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        result = outcome_in_thread(lambda: rpyc.async_(echo)(1))
        assert isinstance(outcome_in_thread(lambda: result.value), EOFError)
        assert outcome_in_thread(conn.close) is None
        assert conn.closed
        assert early.ready
        service.released.set()
        assert service.ended.wait(30)
        assert outcome_in_thread(conn.close) is None
        assert not waits.done()
    finally:
        waits.get_coro().close()
        service.released.set()
        loop.close()
        server.close()


def test_calls_work_when_the_loop_runs_again(stopped: Any) -> None:
    """A call that was given up leaves the connection usable."""
    loop, _, root = stopped
    assert isinstance(outcome_in_thread(lambda: root.echo(1)), Exception)

    async def ask() -> Any:
        return await root.echo(2)

    assert loop.run_until_complete(ask()) == 2


def test_requests_that_are_cancelled_at_once_are_forgotten(stopped: Any) -> None:
    """Nothing is kept of a request that a thread gives up before the loop has come to it."""
    loop, conn, root = stopped
    echo = loop.run_until_complete(attribute(root, "echo"))

    def ask_in_vain() -> Any:
        result = rpyc.async_(echo)(1)
        return result.cancel()

    assert outcome_in_thread(ask_in_vain) is True
    loop.run_until_complete(asyncio.sleep(0.01))
    assert not conn._requests


def test_requests_end_with_the_connection(stopped: Any) -> None:
    """A request that the loop has not begun fails when the connection is closed."""
    loop, conn, root = stopped
    echo = loop.run_until_complete(attribute(root, "echo"))
    result = outcome_in_thread(lambda: rpyc.async_(echo)(1))
    loop.run_until_complete(conn.close())
    loop.run_until_complete(asyncio.sleep(0.01))
    assert isinstance(outcome_in_thread(lambda: result.value), (EOFError, int))
    assert not conn._requests


async def hold(conn: Any) -> None:
    await (await conn.root).hold()


async def attribute(proxy: Any, name: str) -> Any:
    return await getattr(proxy, name)
