"""Ports in asyncio programs: what the programs that a real Erlang starts do not reach."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from rpyc_like import aio
from rpyc_like.aio import erlang
from rpyc_like.core.stream import SocketStream
from rpyc_like.erlport import Atom
from rpyc_like.erlport.erlterms import decode, encode
from rpyc_like.erlport.errors import CallError
from rpyc_like.errors import ConnectionClosed
from tests.support.eventually import eventually_here


class Wire:
    """Erlang's end of a port: frames of four bytes of length and a term."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, term: Any) -> None:
        self.raw(encode(term))

    def raw(self, frame: bytes) -> None:
        self.writer.write(len(frame).to_bytes(4, "big") + frame)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def receive(self) -> Any:
        size = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), 60), "big")
        return decode(await self.reader.readexactly(size))[0]


def run(body: Callable[[erlang.Port, Wire], Awaitable[None]]) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        wire = Wire(*await asyncio.open_connection(sock=theirs))
        try:
            async with erlang.Port(4, stream=SocketStream(ours)) as port:
                await asyncio.wait_for(body(port, wire), 60)
        finally:
            await wire.close()

    asyncio.run(main(), debug=True)


def test_terms() -> None:
    """Read, written, iterated over; the end of the port ends the loop."""

    async def body(port: erlang.Port, wire: Wire) -> None:
        wire.send((Atom("hello"), 1))
        assert await port.read() == (Atom("hello"), 1)
        port.write([1, b"two"])
        assert await wire.receive() == [1, b"two"]
        for number in range(5):
            wire.send(number)
        wire.writer.close()
        assert [term async for term in port] == [0, 1, 2, 3, 4]
        with pytest.raises(EOFError):
            await port.read()
        with pytest.raises(ConnectionClosed):
            port.write(1)

    run(body)


def test_what_is_no_term() -> None:
    """A frame that holds none is an error of its own; the next one is read."""

    async def body(port: erlang.Port, wire: Wire) -> None:
        wire.raw(b"\x83\xff")
        wire.send(5)
        with pytest.raises(ValueError, match="unsupported"):
            await port.read()
        assert await port.read() == 5
        with pytest.raises(ValueError, match="unsupported"):
            port.write(object())

    run(body)


def test_asking() -> None:
    """Answers come in any order, late ones are dropped, errors are raised."""

    async def body(port: erlang.Port, wire: Wire) -> None:
        calls = [asyncio.ensure_future(port.call("m", "f", [n])) for n in range(3)]
        asked = [await wire.receive() for _ in range(3)]
        assert [one[4] for one in asked] == [[0], [1], [2]]
        for question in reversed(asked):
            wire.send((Atom("r"), question[1], question[4][0] * 10))
        assert await asyncio.gather(*calls) == [0, 10, 20]
        failing = asyncio.ensure_future(port.call("m", "f", []))
        wire.send((Atom("e"), (await wire.receive())[1], Atom("why")))
        with pytest.raises(CallError):
            await failing
        with pytest.raises(TimeoutError):
            await port.call("m", "f", [], timeout=0.05)
        late = await wire.receive()
        wire.send((Atom("r"), late[1], 1))
        wire.send(Atom("next"))
        assert await port.read() in (late, (Atom("r"), late[1], 1), Atom("next"))

    run(body)


def test_a_cancelled_call() -> None:
    """Its late answer is dropped, and the next call has its own."""

    async def body(port: erlang.Port, wire: Wire) -> None:
        waiting = asyncio.ensure_future(port.call("m", "f", [1]))
        given_up = await wire.receive()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        following = asyncio.ensure_future(port.call("m", "f", [2]))
        wire.send((Atom("r"), given_up[1], "late"))
        wire.send((Atom("r"), (await wire.receive())[1], 2))
        assert await following == 2
        assert not port.session.pending.waiting()

    run(body)


def test_a_program_that_does_not_read() -> None:
    """Terms are kept up to a number, then they wait in the network."""

    async def body(port: erlang.Port, wire: Wire) -> None:
        frame = encode(b"x" * 20_000)
        wire.writer.transport.set_write_buffer_limits(high=0)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while sent < 3000:
                wire.raw(frame)
                await wire.writer.drain()
                sent += 1

        flooding = asyncio.ensure_future(flood())
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert 1000 <= sent < 3000
        for _ in range(3000):
            assert len(await port.read()) == 20_000
        await flooding

    run(body)


class Handlers(erlang.Protocol):
    """Of all kinds."""

    async def handle_later(self, value: Any) -> Any:
        await asyncio.sleep(0.01)
        return value

    def handle_thread(self) -> Any:
        return threading.current_thread() is threading.main_thread()

    def handle_slow(self) -> Any:
        time.sleep(0.1)
        return Atom("slow")

    async def handle_count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def handle_fail(self) -> None:
        raise KeyError("lost")


def test_a_protocol_behind_a_server() -> None:
    """Replies are in order; plain handlers run in threads."""

    async def main() -> None:
        service = erlang.PortService(Handlers)
        async with aio.Server(service, grace=0) as server:
            wire = Wire(*await asyncio.open_connection("127.0.0.1", server.port))
            for request in (
                (Atom("later"), 1),
                Atom("slow"),
                (Atom("count"), 3),
                Atom("thread"),
                Atom("fail"),
                Atom("missing"),
                7,
            ):
                wire.send(request)
            got = [await wire.receive() for _ in range(9)]
            assert got[:6] == [1, "slow", 0, 1, 2, False]
            assert got[6][1][1][0] == "builtins.KeyError"
            assert got[7:] == [(Atom("error"), Atom("undef")), (Atom("error"), Atom("badarg"))]
            assert len(server.connections) == 1
            await wire.close()
            await eventually_here(lambda: not server.connections)

    asyncio.run(main(), debug=True)


def test_over_descriptors() -> None:
    """Two pipes, as Erlang's open_port gives them."""

    async def main() -> None:
        incoming, to_port = os.pipe()
        from_port, outgoing = os.pipe()
        async with erlang.Port(2, descriptors=(incoming, outgoing)) as port:
            frame = encode([1, 2])
            os.write(to_port, len(frame).to_bytes(2, "big") + frame)
            assert await port.read() == [1, 2]
            port.write(3)
            assert os.read(from_port, 100)[2:] == encode(3)
        os.close(to_port)
        os.close(from_port)

    asyncio.run(main(), debug=True)
