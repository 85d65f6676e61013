"""What asyncio programs do with remote objects, with a blocking server of this package."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import operator
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core import consts
from rpyc_like.core.stream import PipeStream, SocketStream
from rpyc_like.errors import AuthenticationError, ConnectionClosed
from rpyc_like.link.aio import AioResult
from rpyc_like.link.client_login import TokenLogin
from rpyc_like.utils.authenticators import SSLAuthenticator, TokenAuthenticator
from tests.support.joining import join
from tests.support.peers import ROOT, serving

QUIET = logging.getLogger("tests.aio")
QUIET.setLevel(logging.CRITICAL)
Body = Callable[..., Awaitable[None]]


class Point:
    """Something with operators."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __add__(self, other: Any) -> Any:
        return Point(self.x + other) if isinstance(other, int) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return Point(other + self.x)

    def __neg__(self) -> Any:
        return Point(-self.x)

    def __lt__(self, other: Any) -> Any:
        return self.x < other.x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self) -> int:
        return self.x

    def __repr__(self) -> str:
        return f"Point({self.x})"

    def __getitem__(self, key: int) -> int:
        return self.x + key

    def moved(self, by: int) -> Any:
        return Point(self.x + by)


class Door:
    """Something to enter and to leave."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def __enter__(self) -> Any:
        self.log.append("in")
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> bool:
        self.log.append("out" if kind is None else kind.__name__)
        return kind is KeyError


class Things(rpyc.Service):
    """What the tests ask for."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.exposed_note = 0
        self.numbers = [1, 2, 3]

    def exposed_point(self, x: int) -> Point:
        return Point(x)

    def exposed_door(self) -> Door:
        return Door()

    def exposed_list(self, count: int) -> list[int]:
        return list(range(count))

    def exposed_same(self) -> list[int]:
        return self.numbers

    def exposed_dict(self) -> dict[str, int]:
        return {"a": 1, "b": 2}

    def exposed_count(self, to: int) -> Iterator[int]:
        yield from range(to)

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_fail(self, text: str) -> None:
        raise ValueError(text)

    def exposed_stop(self) -> None:
        raise StopIteration(5)

    def exposed_wait(self, seconds: float) -> None:
        call = rpyc.current_call()
        assert call is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if call.cancelled:
                self.cancelled.set()
                return
            time.sleep(0.005)


OPEN = {"allow_public_attrs": True, "allow_setattr": True, "allow_delattr": True}


@contextlib.contextmanager
def server(service: Any = Things, **options: Any) -> Iterator[rpyc.ThreadedServer]:
    options.setdefault("port", 0)
    options.setdefault("protocol_config", dict(OPEN))
    if "socket_path" in options:
        del options["port"]
    made = rpyc.ThreadedServer(service, logger=QUIET, grace=0, **options)
    thread = threading.Thread(target=made.start)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        join(thread)


def with_server(body: Body) -> Callable[[], None]:
    """Runs a coroutine that is given a connection."""

    @functools.wraps(body)
    def test() -> None:
        async def main(port: int) -> None:
            async with aio.connect("127.0.0.1", port) as conn:
                await conn.root
                await body(conn)

        with server() as made:
            asyncio.run(main(made.port), debug=True)

    del test.__wrapped__  # type: ignore[attr-defined]  # pytest would look at its arguments
    return test


def requests_of(conn: Any) -> Callable[[], int]:
    """Returns a function that says how many requests have been made since it was asked."""
    made: list[Any] = []
    request = conn._link.request

    def counted(*args: Any) -> None:
        made.append(args[1])
        request(*args)

    def count() -> int:
        found = len(made)
        made.clear()
        return found

    conn._link.request = counted
    return count


@with_server
async def test_chains_take_one_trip(conn: Any) -> None:
    made = requests_of(conn)
    assert await conn.root.point(3).x == 3
    assert made() == 1
    assert await conn.root.point(3).moved(4).moved(5).x == 12
    assert made() == 1
    assert await conn.root.echo(7) == 7
    assert made() == 1
    point = await conn.root.point(1)
    assert await point.moved(await point.x).x == 2
    made()
    assert await point.moved(point.x).x == 2  # what is not known yet may be an argument
    assert made() == 1
    one, two = point.moved(1), point.moved(2)
    assert await aio.fetch(one.x, two.x) == (2, 3)
    assert made() == 1


@with_server
async def test_a_deferred_value_is_asked_for_once(conn: Any) -> None:
    calls: list[int] = []
    deferred = conn.root.call(calls.append, 1)
    await asyncio.gather(*[_awaited(deferred) for _ in range(10)])
    assert await deferred is None
    assert calls == [1]
    first = asyncio.ensure_future(_awaited(conn.root.wait(5)))
    await asyncio.sleep(0.05)
    first.cancel()
    failing = conn.root.fail("twice")
    for _ in range(2):
        with pytest.raises(ValueError, match="twice"):
            await failing


async def _awaited(deferred: Any) -> Any:
    return await deferred


@with_server
async def test_operators(conn: Any) -> None:
    point = await conn.root.point(5)
    assert await (point + 1).x == 6
    assert await (1 + point).x == 6
    assert await (-point).x == -5
    assert await (conn.root.point(1) + 2).x == 3
    assert await (2 + conn.root.point(1)).x == 3
    assert await (conn.root.echo(20) + 1) == 21
    assert await (100 - conn.root.echo(20)) == 80
    assert await point[10] == 15
    assert await conn.root.point(1)[1] == 2
    with pytest.raises(TypeError, match="unsupported operand"):
        await (point + "x")
    assert await aio.lt(point, await conn.root.point(6))
    assert await aio.gt(conn.root.point(6), point)
    assert await aio.eq(point, conn.root.point(5))
    assert await aio.ne(point, 5)
    assert not await aio.eq(point, 5)
    assert point == point and hash(point) == hash(point)  # local identity
    assert point != await conn.root.point(5)
    assert await aio.eq(1, 1) and await aio.le(1, 2) and await aio.ge(2, 1)


@with_server
async def test_functions(conn: Any) -> None:
    point = await conn.root.point(5)
    await aio.setattr(point, "x", 6)
    assert await point.x == 6
    await aio.delattr(point, "x")
    with pytest.raises(AttributeError):
        await point.x
    numbers = conn.root.same()
    assert await aio.len(numbers) == 3
    await aio.setitem(numbers, 0, 10)
    await aio.delitem(numbers, 1)
    assert await aio.list(conn.root.same()) == [10, 3]
    assert await aio.contains(numbers, 10)
    assert not await aio.contains(numbers, 11)
    assert await aio.str(numbers) == "[10, 3]"
    assert await aio.repr(conn.root.point(1)) == "Point(1)"
    assert await aio.hash(conn.root.point(77)) == 77
    assert await aio.bool(numbers)
    assert not await aio.bool(conn.root.list(0))
    assert "x" in await aio.dir(conn.root.point(1))
    assert await aio.snapshot(conn.root.dict()) == {"a": 1, "b": 2}
    counting = await conn.root.count(2)
    assert [await aio.next(counting), await aio.next(counting)] == [0, 1]
    assert await aio.next(counting, "end") == "end"
    with pytest.raises(StopAsyncIteration):
        await aio.next(counting)
    with pytest.raises(StopAsyncIteration):
        await conn.root.stop()
    made = requests_of(conn)
    assert await aio.map(lambda n: n + 1, conn.root.list(5)) == [1, 2, 3, 4, 5]
    assert made() == 1
    # Plain values are dealt with here.
    assert await aio.len([1]) == 1
    assert await aio.list(x for x in "ab") == ["a", "b"]
    assert await aio.str(5) == "5"
    assert made() == 0


@with_server
async def test_iterating(conn: Any) -> None:
    made = requests_of(conn)
    seen = []
    async for number in await conn.root.list(1000):
        seen.append(number)
    assert seen == list(range(1000))
    assert made() <= 4
    assert [key async for key in conn.root.dict()] == ["a", "b"]
    assert [number async for number in conn.root.count(5)] == [0, 1, 2, 3, 4]
    numbers = await conn.root.same()
    seen = []
    async for number in numbers:
        seen.append(number)
        if number == 1:
            await aio.setitem(numbers, 1, 20)  # what was read ahead is forgotten
    assert seen == [1, 20, 3]
    with pytest.raises(TypeError, match="async for"):
        for _ in numbers:
            pass


@with_server
async def test_entering_and_leaving(conn: Any) -> None:
    async with await conn.root.door() as door:
        assert await aio.list(door.log) == ["in"]
    assert await aio.list(door.log) == ["in", "out"]
    async with door:
        raise KeyError("swallowed there")
    with pytest.raises(RuntimeError):
        async with door:
            raise RuntimeError
    assert (await aio.list(door.log))[-1] == "RuntimeError"


@with_server
async def test_what_is_not_known_at_once(conn: Any) -> None:
    """Python's own questions are refused, with what to await instead; nothing is sent."""
    numbers = await conn.root.same()
    made = requests_of(conn)
    for value in (numbers, conn.root.same()):
        for question, hint in (
            (lambda x: len(x), r"aio\.len"),
            (lambda x: bool(x), r"aio\.bool"),
            (lambda x: iter(x), "async for"),
            (lambda x: 1 in x, r"aio\.contains"),
            (lambda x: int(x), r"await the value|int\(\) argument"),
            (lambda x: f"{x:>5}", r"aio\.str"),
            (lambda x: operator.setitem(x, 0, 1), r"aio\.setitem"),
            (lambda x: operator.delitem(x, 0), r"aio\.delitem"),
            (lambda x: setattr(x, "y", 1), r"aio\.setattr"),
            (lambda x: delattr(x, "y"), r"aio\.delattr"),
        ):
            with pytest.raises(TypeError, match=hint):
                question(value)  # type: ignore[no-untyped-call]
    assert made() == 0


@with_server
async def test_callbacks(conn: Any) -> None:
    """Plain functions and coroutines; the peer may call while this side waits."""

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    async def ask_back(x: int) -> Any:
        return await conn.root.echo(x)

    assert await conn.root.call(lambda x: x + 1, 1) == 2
    assert await conn.root.call(later, 4) == 8
    assert await conn.root.call(ask_back, 5) == 5

    async def fail() -> None:
        raise KeyError("there and back")

    with pytest.raises(KeyError, match="there and back"):
        await conn.root.call(fail)


@with_server
async def test_many_at_once(conn: Any) -> None:
    values = await asyncio.gather(*[conn.root.echo(n) for n in range(1000)])
    assert values == list(range(1000))


@with_server
async def test_much_both_ways(conn: Any) -> None:
    """More than the system's buffers hold, in both directions at once."""
    data = bytes(range(256)) * 40_000
    got = await asyncio.gather(*[conn.root.echo(data) for _ in range(8)])
    assert all(one == data for one in got)


@with_server
async def test_cancelling(conn: Any) -> None:
    """A call that is cancelled here is cancelled there; the next one is not delayed."""
    service = conn.root
    waiting = asyncio.ensure_future(_awaited(service.wait(30)))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    began = time.monotonic()
    assert await conn.root.echo(1) == 1
    assert time.monotonic() - began < 15
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(_awaited(service.wait(30)), 0.05)
    assert await conn.root.echo(2) == 2


def test_time_limit() -> None:
    """``sync_request_timeout`` holds for each request."""

    async def main(port: int) -> None:
        async with aio.connect("127.0.0.1", port, config={"sync_request_timeout": 5}) as conn:
            await conn.root
            began = time.monotonic()
            slow = [asyncio.ensure_future(_awaited(conn.root.wait(30))) for _ in range(3)]
            await asyncio.sleep(0.1)
            done = await asyncio.gather(*slow, return_exceptions=True)
            assert [type(one) for one in done] == [TimeoutError] * 3
            assert time.monotonic() - began < 25
            assert await conn.root.echo(1) == 1

    with server() as made:
        asyncio.run(main(made.port))


def test_the_peer_goes() -> None:
    """Whoever waits is told."""

    async def main(made: Any) -> None:
        conn = await aio.connect("127.0.0.1", made.port)
        waiting = [asyncio.ensure_future(_awaited(conn.root.wait(30))) for _ in range(3)]
        await asyncio.sleep(0.1)
        threading.Thread(target=made.close).start()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in outcomes] == [ConnectionClosed] * 3
        assert conn.closed
        with pytest.raises(ConnectionClosed):
            await conn.root.echo(1)
        await conn.close()

    with server() as made:
        asyncio.run(main(made))


def test_classic() -> None:
    async def main(port: int) -> None:
        async with aio.classic.connect("127.0.0.1", port) as conn:
            assert await conn.modules.os.path.join("a", "b") == "a/b"
            made = requests_of(conn)
            assert await conn.modules.math.sqrt(16) == 4
            assert await conn.modules["os.path"].basename("x/y") == "y"
            assert made() == 2
            assert await conn.eval("6 * 7") == 42
            await conn.execute("value = [1, 2]")
            assert await aio.list(conn.namespace["value"]) == [1, 2]
            assert await conn.builtins.len("abc") == 3
            with pytest.raises(ZeroDivisionError) as caught:
                await conn.eval("1 / 0")
            assert "division" in str(caught.value)
            with pytest.raises(ImportError):
                await conn.modules.no_such_module
        async with aio.connect("127.0.0.1", port) as conn:
            with pytest.raises(AttributeError, match="not a classic connection"):
                conn.modules

    with server(rpyc.ClassicService, protocol_config={}) as made:
        asyncio.run(main(made.port))


def test_ways_to_connect(tmp_path: Path) -> None:
    """Unix sockets, logins, pipes, child processes; and errors of opening."""
    path = str(tmp_path / "socket")

    async def unix() -> None:
        async with aio.unix_connect(path) as conn:
            assert await conn.root.echo(1) == 1

    with server(socket_path=path):
        asyncio.run(unix())

    async def login(port: int) -> None:
        token = TokenLogin(b"secret" * 6, "ann")
        async with aio.connect("127.0.0.1", port, login=token) as conn:
            assert await conn.root.echo(1) == 1
        wrong = TokenLogin(b"wrong" * 7, "ann")
        with pytest.raises(AuthenticationError):
            await aio.connect("127.0.0.1", port, login=wrong)

    with server(authenticator=TokenAuthenticator({"ann": b"secret" * 6})) as made:
        asyncio.run(login(made.port))

    async def pipes() -> None:
        here, there = PipeStream.create_pair()
        serve = threading.Thread(target=lambda: rpyc.connect_stream(there, Things).serve_all())
        serve.start()
        async with aio.connect_stream(here) as conn:
            data = bytes(5_000_000)
            assert await conn.root.echo(data) == data
        join(serve)

    asyncio.run(pipes())

    async def child() -> None:
        command = [sys.executable, str(ROOT / "bin" / "rpyc_classic.py"), "-m", "stdio"]
        async with aio.classic.connect_subproc(command) as conn:
            assert await conn.modules.math.pi == math.pi
            proc = conn.proc
        assert proc.wait(60) == 0

    asyncio.run(child())

    async def nobody() -> None:
        with pytest.raises(ConnectionRefusedError):
            await aio.connect("127.0.0.1", 1)

    asyncio.run(nobody())


def test_tls() -> None:
    """Small and large values over TLS, and a certificate that is not trusted."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")

    async def main(port: int, ca_certs: str) -> None:
        async with aio.ssl_connect("localhost", port, ca_certs=ca_certs) as conn:
            data = bytes(range(256)) * 20_000
            assert await conn.root.echo(1) == 1
            got = await asyncio.gather(*[conn.root.echo(data) for _ in range(4)])
            assert all(one == data for one in got)
            assert [n async for n in conn.root.count(3)] == [0, 1, 2]
        with pytest.raises(ssl.SSLError):
            await aio.ssl_connect("localhost", port)

    with (
        authority.cert_pem.tempfile() as ca_certs,
        issued.private_key_pem.tempfile() as key,
        issued.cert_chain_pems[0].tempfile() as certificate,
        server(authenticator=SSLAuthenticator(key, certificate)) as made,
    ):
        asyncio.run(main(made.port, ca_certs), debug=True)


def test_faces() -> None:
    """A connection of one kind in functions for the other is refused, with what to do instead."""

    async def main(port: int) -> None:
        blocking = rpyc.connect("127.0.0.1", port)
        async with aio.connect("127.0.0.1", port) as conn:
            point = await conn.root.point(1)
            for wrong in (
                lambda: rpyc.lazy(point),
                lambda: rpyc.async_(point.moved)(1),
                lambda: conn.serve_all(),
                lambda: conn.ping(),
            ):
                with pytest.raises(TypeError, match=r"asyncio|rpyc_like\.connect|proxy"):
                    wrong()
            with pytest.raises(AttributeError):
                conn.nonsense
            theirs = blocking.root.point(1)
            for refused in (aio.str(theirs), aio.setattr(theirs, "x", 1), aio.eq(theirs, 1)):
                with pytest.raises(TypeError, match=r"rpyc_like\.aio\.connect"):
                    await refused
        blocking.close()

    with server() as made:
        asyncio.run(main(made.port))


def test_cancelled_while_nothing_can_be_written() -> None:
    """A request that waits for room is given up like any other."""

    async def main() -> None:
        here, there = socket.socketpair()
        conn = await aio.connect_stream(SocketStream(here))
        large = asyncio.ensure_future(conn.request(consts.HANDLE_PING, os.urandom(10_000_000)))
        await asyncio.sleep(0.1)
        assert conn._link.full
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large
        waiting = conn._session.pending.waiting().values()
        assert not any(isinstance(entry, AioResult) for entry in waiting)
        there.close()
        await conn.close()

    asyncio.run(main())


def test_signs_of_life() -> None:
    """An asyncio side watches for them, and gives them, while it computes nothing."""

    async def main(port: int) -> None:
        async with aio.connect("127.0.0.1", port, config={"heartbeat": 0.2}) as conn:
            assert await conn.root.echo(1) == 1
            await asyncio.sleep(1)
            assert not conn.closed
            assert conn._link.heart is not None

    with server() as made:
        asyncio.run(main(made.port))


async def _ticking(gaps: list[float]) -> None:
    last = time.monotonic()
    while True:
        await asyncio.sleep(0.002)
        now = time.monotonic()
        gaps.append(now - last)
        last = now


def test_nothing_blocks_the_loop() -> None:
    """Each operation takes trips of 0.25 s, and the loop never stands still meanwhile."""

    async def operations(conn: Any) -> AsyncIterator[Any]:
        point = await conn.root.point(5)
        yield conn.root
        yield conn.root.missing_attribute
        yield point.x
        yield point.moved(1).x
        yield point + 1
        yield aio.setattr(point, "x", 1)
        yield aio.eq(point, point)
        yield aio.len(conn.root.same())
        yield aio.str(point)
        yield aio.repr(point)
        yield aio.hash(point)
        yield aio.dir(point)
        yield aio.list(conn.root.list(3))
        yield aio.snapshot(conn.root.dict())
        yield aio.map(lambda n: n + 1, conn.root.list(3))
        yield aio.fetch(point.moved(2).x, point.moved(3).x)
        yield conn.root.call(lambda: 1)
        yield conn.close()

    async def relay(port: int) -> Any:
        async def pump(source: Any, target: Any) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    await asyncio.sleep(0.12)
                    target.write(data)
            target.close()

        async def handle(reader: Any, writer: Any) -> None:
            there = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        return await asyncio.start_server(handle, "127.0.0.1", 0)

    async def main(port: int) -> None:
        delayed = await relay(port)
        conn = await aio.connect("127.0.0.1", delayed.sockets[0].getsockname()[1])
        gaps: list[float] = []
        ticker = asyncio.ensure_future(_ticking(gaps))
        async for operation in operations(conn):
            with contextlib.suppress(AttributeError):
                await operation
        ticker.cancel()
        assert max(gaps) < 10, sorted(gaps)[-5:]
        delayed.close()

    with server() as made:
        asyncio.run(main(made.port))


@pytest.mark.parametrize("peer", ["rpyc-6.0.2", "rpyc-5.3.1"])
def test_with_rpyc(peer: str) -> None:
    """Chains fall back to requests, or to one trip where a helper can be lent."""

    async def service(port: int) -> None:
        async with aio.connect("127.0.0.1", port) as conn:
            assert await conn.root.item(4).double().value == 8
            assert await aio.list(conn.root.echo((1, 2))) == [1, 2]
            with pytest.raises(ValueError, match="expected"):
                await conn.root.fail("expected")

    async def classic(port: int) -> None:
        async with aio.classic.connect("127.0.0.1", port) as conn:
            assert await conn.modules.os.path.join("a", "b") == "a/b"
            made = requests_of(conn)
            assert await conn.modules.os.path.join("c", "d") == "c/d"
            assert made() == 1
            assert [n async for n in conn.eval("[1, 2, 3]")] == [1, 2, 3]
            assert await aio.snapshot(conn.eval("{'a': [1, {2}]}")) == {"a": [1, {2}]}

    with serving(peer, "service") as port:
        asyncio.run(service(port))
    with serving(peer, "classic") as port:
        asyncio.run(classic(port))


def test_the_state_is_told() -> None:
    """A program learns how a connection stands, and why it has ended."""
    told: list[str] = []

    async def main(port: int, stop: Callable[[], None]) -> None:
        async with aio.connect("localhost", port) as conn:
            conn.add_state_callback(lambda conn, state: told.append(state))
            assert (await conn.root.echo(1), conn.state, conn.reason) == (1, "open", None)
        assert (told, conn.state, conn.reason) == (["closing", "closed"], "closed", None)
        told.clear()
        async with aio.connect("localhost", port) as conn:
            conn.add_state_callback(lambda conn, state: told.append(state))
            await conn.root.echo(1)
            await asyncio.to_thread(stop)
            await asyncio.wait_for(conn._link.ended.wait(), 60)
            assert isinstance(conn.reason, EOFError)
        assert told == ["closed"]

    with server() as made:
        asyncio.run(main(made.port, made.close), debug=True)
