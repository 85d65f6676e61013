"""Time limits on a loop: each counts from when it was given, whatever held before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from rpyc_like import aio
from rpyc_like.core.stream import SocketStream
from rpyc_like.errors import ConnectionClosed
from rpyc_like.lib import primitives
from rpyc_like.link.housekeeping import HeartbeatMonitor


class Clock:
    """The time of the loop and of the package, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, and have the loop do what is due then."""
        self.now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def silent() -> Iterator[Callable[[Callable[[Any, Clock], Awaitable[None]]], None]]:
    """Runs a coroutine function with a connection to a peer that answers nothing, and a clock."""
    here, there = socket.socketpair()

    def run(main: Callable[[Any, Clock], Awaitable[None]]) -> None:
        async def with_clock() -> None:
            clock = Clock()
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(asyncio.get_running_loop(), "time", clock)
                patched.setattr(primitives, "monotonic", clock)
                conn: Any = await aio.connect_stream(SocketStream(here))
                await main(conn, clock)
                conn._link.lose(None)

        asyncio.run(with_clock())

    yield run
    here.close()
    there.close()


async def ask(conn: Any, seconds: float | None) -> asyncio.Future[Any]:
    """Make a request with so much time, or with no limit."""
    conn._config["sync_request_timeout"] = seconds
    asked: asyncio.Future[Any] = asyncio.ensure_future(conn.request(1, "hello"))
    await asyncio.sleep(0)  # until it has been sent
    return asked


def test_a_shorter_time_counts_from_then_on(silent: Any) -> None:
    """A lower ``sync_request_timeout`` holds for the next request, whatever earlier ones had."""

    async def main(conn: Any, clock: Clock) -> None:
        slow = await ask(conn, 30)
        await clock.advance(1)
        quick = await ask(conn, 2)
        await clock.advance(1)
        endless = await ask(conn, None)
        await clock.advance(0.5)
        assert not quick.done()
        await clock.advance(0.6)
        with pytest.raises(TimeoutError, match="within 2 s"):
            quick.result()
        assert not slow.done()
        await clock.advance(26.5)
        assert not slow.done()
        await clock.advance(0.5)
        with pytest.raises(TimeoutError, match="within 30 s"):
            slow.result()
        await clock.advance(1e6)
        assert not endless.done()
        endless.cancel()

    silent(main)


def test_a_longer_time_counts_from_then_on(silent: Any) -> None:
    """A higher ``sync_request_timeout`` holds for the next request, and for no earlier one."""

    async def main(conn: Any, clock: Clock) -> None:
        quick = await ask(conn, 2)
        await clock.advance(1)
        slow = await ask(conn, 30)
        await clock.advance(1.1)
        with pytest.raises(TimeoutError, match="within 2 s"):
            quick.result()
        await clock.advance(28)
        assert not slow.done()
        await clock.advance(1)
        with pytest.raises(TimeoutError, match="within 30 s"):
            slow.result()

    silent(main)


def test_times_in_any_order(silent: Any) -> None:
    """Each request ends when its own time is over."""

    async def main(conn: Any, clock: Clock) -> None:
        times = [5, 3, 8, 1, 9, 2, 7, 4, 6]
        asked = []
        for seconds in times:
            asked.append(await ask(conn, seconds))
        for second in range(1, 10):
            await clock.advance(1)
            done = sorted(times[place] for place, one in enumerate(asked) if one.done())
            assert done == list(range(1, second + 1))
        assert all(isinstance(one.exception(), TimeoutError) for one in asked)

    silent(main)


def test_a_shorter_interval_of_heartbeats_counts_from_then_on(silent: Any) -> None:
    """A silent peer is taken for dead by the shorter interval, though a longer one has begun."""

    async def main(conn: Any, clock: Clock) -> None:
        conn._link.watch(HeartbeatMonitor(1000))
        await clock.advance(1)
        conn._link.watch(HeartbeatMonitor(1))
        for _ in range(40):
            await clock.advance(0.25)
        assert isinstance(conn._link.error, ConnectionClosed)

    silent(main)
