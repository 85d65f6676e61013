"""EPC in asyncio programs: what the programs with real peers do not reach."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.aio import epc
from rpyc_like.epc.errors import EPCClosed, EPCError, EPCTimeout, ReturnError
from rpyc_like.errors import LocalProtocolError
from rpyc_like.link.client_login import TokenLogin
from rpyc_like.utils.authenticators import TokenAuthenticator
from rpyc_like.wire.framing import EpcFramer
from tests.support.eventually import eventually_here

QUIET = logging.getLogger("tests.aio_epc")
QUIET.setLevel(logging.CRITICAL)


def service(**options: Any) -> Any:
    made: Any = epc.EPCService(**options)
    made.logger = QUIET
    made.cancelled = made.begun = False

    async def later(value: Any, seconds: float = 0) -> Any:
        await asyncio.sleep(seconds)
        return value

    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    async def fail(text: str) -> None:
        raise ValueError(text)

    def slow(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    async def for_ever() -> None:
        made.begun = True
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            made.cancelled = True
            raise

    def who() -> Any:
        call = rpyc.current_call()
        assert call is not None
        return call.credentials

    for func in (later, where, fail, slow, for_ever, who):
        made.register_function(func)
    return made


def run(body: Callable[..., Awaitable[None]], served: Any = None, **options: Any) -> None:
    async def main() -> None:
        served_ = service() if served is None else served
        async with aio.Server(served_, logger=QUIET, grace=0, **options) as server:
            await body(server)

    asyncio.run(main(), debug=True)


def test_methods_of_both_kinds() -> None:
    """Coroutines on the loop, plain functions in threads; both beside each other."""

    async def body(server: aio.Server) -> None:
        async with epc.connect("127.0.0.1", server.port) as client:
            assert await client.call("later", [5]) == 5
            assert await client.call("where") == []  # nil
            started = time.monotonic()
            calls = [client.call("slow", [5]), *[client.call("later", [n, 5]) for n in (1, 2)]]
            assert await asyncio.gather(*calls) == [5, 1, 2]
            assert time.monotonic() - started < 14
            with pytest.raises(ReturnError, match="text"):
                await client.call("fail", ["text"])
            with pytest.raises(EPCError, match="No such method"):
                await client.call("missing")
            names = {row[0].value() for row in await client.methods()}
            assert {"later", "slow", "who"} <= names

    run(body)


def test_time_limits_and_cancelling() -> None:
    """A late answer is dropped, and the next call is not delayed."""

    async def body(server: aio.Server) -> None:
        async with epc.connect("127.0.0.1", server.port) as client:
            with pytest.raises(EPCTimeout, match=r"no answer to later within 0\.05 s"):
                await client.call("later", [1, 0.2], timeout=0.05)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.call("later", [1, 0.2]), 0.05)
            assert await client.call("later", [2]) == 2
            await asyncio.sleep(0.25)
            assert await client.call("later", [3]) == 3

    run(body)


def test_the_end() -> None:
    """Who waits is told, and what ran for a peer that is gone is cancelled."""
    served = service()

    async def body(server: aio.Server) -> None:
        async with epc.connect("127.0.0.1", server.port) as client:
            waiting = asyncio.ensure_future(client.call("for_ever"))
            while not served.begun:
                assert await client.call("later", [1]) == 1
            assert len(served.clients) == 1
        with pytest.raises(EPCClosed):
            await waiting
        with pytest.raises(EPCClosed):
            await client.call("later", [1])
        await eventually_here(lambda: served.cancelled and not served.clients)

    run(body, served)


def test_callbacks_and_logins() -> None:
    """A method calls its caller; the server knows who that is."""
    served = service()

    async def ask(value: int) -> Any:
        return await served.clients[0].call("double", [value])

    served.register_function(ask)
    mine = service()
    mine.register_function(lambda value: value * 2, "double")

    async def body(server: aio.Server) -> None:
        login = TokenLogin("x" * 32)
        async with epc.connect("127.0.0.1", server.port, mine, login) as client:
            assert await client.call("ask", [4]) == 8
            assert await client.call("who") is not None

    run(body, served, authenticator=TokenAuthenticator("x" * 32))


def test_bad_messages() -> None:
    """Each is answered or logged, and the connection goes on; a bad frame ends it."""

    async def body(server: aio.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def exchange(text: str) -> str:
            writer.write(b"%06x" % len(text.encode()) + text.encode())
            size = int(await asyncio.wait_for(reader.readexactly(6), 60), 16)
            return (await reader.readexactly(size)).decode()

        assert "return-error 1" in await exchange("(call 1 later\n")
        assert "epc-error" in await exchange("(call 2)\n")
        assert (await exchange("(call 3 later (4))\n")) == "(return 3 4)\n"
        assert "return-error" in await exchange("(call 4 fail (1))\n")
        writer.write(b"zzzzzz")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()

    run(body)


def test_ordered() -> None:
    """With ``ordered`` plain methods of a peer run one after the other."""
    served = service(ordered=True)
    most: list[int] = [0, 0]

    def count() -> None:
        most[0] += 1
        most[1] = max(most)
        time.sleep(0.02)
        most[0] -= 1

    served.register_function(count)

    async def body(server: aio.Server) -> None:
        async with epc.connect("127.0.0.1", server.port) as client:
            await asyncio.gather(*[client.call("count") for _ in range(5)])
        assert most[1] == 1

    run(body, served)


def test_over_any_stream() -> None:
    """Two ends of a socket pair, in one loop."""
    from rpyc_like.core.stream import SocketStream

    async def main() -> None:
        ends = [SocketStream(one) for one in socket.socketpair()]
        async with epc.connect_stream(ends[0], service()), epc.connect_stream(ends[1]) as client:
            assert await client.call("later", ["x" * 300_000]) == "x" * 300_000
            limit = EpcFramer.MAX_SIZE
            with pytest.raises(LocalProtocolError, match="EPC carries"):
                await client.call("later", ["x" * (limit + 1)])
            assert await client.call("later", [1]) == 1

    asyncio.run(main(), debug=True)
