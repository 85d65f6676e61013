"""``set_expiry`` while somebody waits for the result: the wait ends by the present limit."""

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
from tests.support.eventually import eventually
from tests.support.joining import join

QUIET = logging.getLogger("tests.changed_expiry")
QUIET.setLevel(logging.CRITICAL)


class Service(rpyc.Service):
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def exposed_hold(self, value: Any, progress: Any = None) -> Any:
        if progress is not None:
            progress()
        self.released.wait(60)
        return value


@pytest.fixture
def service() -> Service:
    """What is served."""
    return Service()


@pytest.fixture
def port(service: Service) -> Iterator[int]:
    """The port of a server of it."""
    server = ThreadedServer(service, logger=QUIET, grace=0)
    server._start_in_thread()
    yield server.port
    service.released.set()
    server.close()


@pytest.fixture
def conn(service: Service, port: int) -> Iterator[Any]:
    """A connection to it."""
    made = rpyc.connect("127.0.0.1", port)
    made.ping()
    yield made
    service.released.set()
    made.close()


def waiting_for(result: Any, use: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Returns a thread that waits for a result, and what it will have got."""
    got: list[Any] = []

    def work() -> None:
        try:
            got.append(use())
        except Exception as error:
            got.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    eventually(lambda: result._waiters or got)
    return thread, got


def is_late(outcomes: list[Any], seconds: float) -> bool:
    """Returns whether the only outcome is a time-out that names the limit."""
    (outcome,) = outcomes
    return isinstance(outcome, TimeoutError) and f"within {seconds} s" in str(outcome)


def test_a_limit_set_later_ends_a_wait(conn: Any) -> None:
    """A thread that waits for ever stops when the result gets a limit, which the error names."""
    result = rpyc.async_(conn.root.hold)(1)
    thread, got = waiting_for(result, lambda: result.value)
    result.set_expiry(0.01)
    join(thread)
    assert is_late(got, 0.01)


def test_a_limit_set_later_ends_the_waits_of_all_threads(conn: Any) -> None:
    """The same holds for threads that do not read themselves."""
    result = rpyc.async_(conn.root.hold)(1)
    waits = [waiting_for(result, lambda: result.value) for _ in range(3)]
    eventually(lambda: len(result._waiters) == 3)
    result.set_expiry(0.01)
    for thread, got in waits:
        join(thread)
        assert is_late(got, 0.01)


def test_a_limit_taken_away_lets_a_wait_go_on(conn: Any, service: Service) -> None:
    """A thread that waits goes on beyond the former limit."""
    result = rpyc.async_(conn.root.hold)(1)
    result.set_expiry(1)
    former = result._deadline
    thread, got = waiting_for(result, lambda: result.value)
    result.set_expiry(None)
    eventually(former.expired)
    service.released.set()
    join(thread)
    assert got == [1]


def test_a_callback_may_shorten_the_limit(conn: Any) -> None:
    """The thread that waits may change the limit itself, serving the peer."""
    progress = rpyc.async_(conn.root.hold)(1, lambda: progress.set_expiry(0.02))
    with pytest.raises(TimeoutError, match=r"within 0\.02 s"):
        progress.wait()


def test_a_future_follows_a_limit_set_later(conn: Any) -> None:
    """A future that somebody has taken before fails when the time is over, whatever is read for."""
    hold = rpyc.async_(conn.root.hold)
    hold(0).as_future()  # the thread that reads for futures waits for this
    result = hold(1)
    future = result.as_future()
    result.set_expiry(0.01)
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        future.result(60)


def test_an_awaited_result_follows_a_limit_set_later(conn: Any) -> None:
    """So does a result that is awaited."""

    async def use() -> Any:
        result = rpyc.async_(conn.root.hold)(1)
        asyncio.get_running_loop().call_soon(result.set_expiry, 0.01)
        return await asyncio.wait_for(result, 60)

    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        asyncio.run(use())


@pytest.mark.parametrize("first", [None, -1, 60])
def test_a_future_follows_a_shortened_limit(conn: Any, first: float | None) -> None:
    """A future fails when the second limit is over, also where the first one was finite."""
    result = rpyc.async_(conn.root.hold)(1)
    result.set_expiry(first)
    future = result.as_future()
    result.set_expiry(0.01)
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        future.result(30)


@pytest.mark.parametrize("first", [None, -1, 60])
def test_a_future_of_an_asyncio_connection_follows_a_shortened_limit(
    port: int, service: Service, first: float | None
) -> None:
    """So does one of an asyncio connection, where the loop looks at the time."""

    def use(hold: Any) -> None:
        result = rpyc.async_(hold)(1)
        result.set_expiry(first)
        future = result.as_future()
        result.set_expiry(0.01)
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            future.result(30)

    async def main() -> None:
        async with await aio.connect("127.0.0.1", port) as other:
            hold = await (await other.root).hold
            await asyncio.to_thread(use, hold)
            service.released.set()

    asyncio.run(main())
