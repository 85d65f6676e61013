"""The asyncio slice against servers of every kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rpyc_like import aio
from tests.support.peers import PEERS, serving


async def session(port: int) -> None:
    async with await aio.connect("127.0.0.1", port) as conn:
        assert await conn.root.add(2, b=3) == 5
        item = await conn.root.item(7)
        assert await item.value == 7
        assert await (await item.double()).value == 14
        assert await conn.root.item(4).double().value == 8
        assert await conn.root.call(lambda x: x + 1, 1) == 2

        async def callback(x: int) -> int:
            await asyncio.sleep(0)
            return x * 100

        assert await conn.root.call(callback, 2) == 200
        passed: list[Any] = []
        await conn.root.call(passed.append, item)
        assert passed == [item]
        assert passed[0] is item
        with pytest.raises(ValueError, match="expected"):
            await conn.root.fail("expected")
        with pytest.raises(AttributeError):
            await conn.root.missing
        many = await asyncio.gather(*[conn.root.add(n) for n in range(50)])
        assert many == list(range(1, 51))
    assert conn.closed
    with pytest.raises(EOFError):
        await conn.root.add(1)


@pytest.mark.parametrize("server", PEERS)
def test_asyncio_client(server: str) -> None:
    """Calls, objects of user classes, callbacks and errors, with asyncio in debug mode."""
    with serving(server, "service") as port:
        asyncio.run(session(port), debug=True)


def test_no_hidden_trips() -> None:
    """Nothing but awaiting asks the peer."""

    async def main(port: int) -> None:
        async with await aio.connect("127.0.0.1", port) as conn:
            item = await conn.root.item(7)
            sent: list[Any] = []
            conn._link.request = lambda *args: sent.append(args)  # type: ignore[method-assign]
            chain = item.double().value
            assert "async proxy" in repr(item)
            assert item == item and hash(item) and item != chain
            assert "not awaited" in repr(chain)
            with pytest.raises(TypeError, match=r"aio\.bool"):
                bool(chain)
            assert isinstance(item, aio.AsyncNetref)
            assert not sent
            del conn._link.request

    with serving("ours", "service") as port:
        asyncio.run(main(port))


def test_cancelling_an_awaited_call() -> None:
    """A cancelled call stays local, and its late answer is dropped."""

    async def main(port: int) -> None:
        async with await aio.connect("127.0.0.1", port) as conn:
            blocked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            async def wait() -> int:
                return await blocked

            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.ensure_future(_await(conn.root.call(wait))), 0.05)
            blocked.set_result(1)
            assert await conn.root.add(1) == 2

    async def _await(deferred: Any) -> Any:
        return await deferred

    with serving("ours", "service") as port:
        asyncio.run(main(port))
