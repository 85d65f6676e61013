"""Programs with another loop, or another library on asyncio."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest
import uvloop

import rpyc_like as rpyc
from rpyc_like import aio


class Service(rpyc.Service):
    """Both kinds of methods."""

    async def exposed_add(self, a: int, b: int = 1) -> int:
        await asyncio.sleep(0)
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    async def exposed_count(self, to: int) -> Any:
        for number in range(to):
            yield number

    async def exposed_for_ever(self) -> None:
        await asyncio.sleep(60)


async def conversation() -> None:
    """A server and clients of both kinds, with a large value, callbacks and a time limit."""
    async with aio.Server(Service) as server:
        async with aio.connect("127.0.0.1", server.port) as conn:
            assert await asyncio.gather(*[conn.root.add(n) for n in range(100)]) == list(
                range(1, 101)
            )

            async def back(n: int) -> int:
                return await conn.root.add(n)

            assert await conn.root.call(back, 4) == 5
            assert [n async for n in conn.root.count(3)] == [0, 1, 2]
            assert await conn.root.call(lambda data: data, b"x" * 3_000_000) == b"x" * 3_000_000
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_await(conn.root.for_ever()), 0.1)
            assert await conn.root.add(1) == 2

        def blocking() -> None:
            with rpyc.connect("127.0.0.1", server.port) as conn:
                assert conn.root.add(1) == 2
                assert conn.root.call(lambda n: n * 2, 4) == 8

        await asyncio.to_thread(blocking)


async def _await(value: Any) -> Any:
    return await value


def test_uvloop() -> None:
    """The loop may be uvloop's."""
    loop = uvloop.new_event_loop()
    loop.set_debug(True)
    try:
        loop.run_until_complete(asyncio.wait_for(conversation(), 60))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_anyio() -> None:
    """Task groups, cancel scopes and threads of anyio's, on asyncio."""
    got: list[int] = []

    async def main() -> None:
        async with aio.Server(Service) as server, aio.connect("127.0.0.1", server.port) as conn:

            async def ask(n: int) -> None:
                got.append(await conn.root.add(n))

            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(ask, n)
            with anyio.move_on_after(0.1) as scope:
                await conn.root.for_ever()
            assert scope.cancelled_caught
            with pytest.raises(TimeoutError), anyio.fail_after(0.1):
                await conn.root.for_ever()
            name = await anyio.to_thread.run_sync(lambda: threading.current_thread().name)
            assert name != threading.main_thread().name
            add = await conn.root.add
            assert await anyio.to_thread.run_sync(add, 4) == 5  # in a thread one waits
            await conversation()

    anyio.run(main)
    assert sorted(got) == list(range(1, 21))
