"""A connection that has been closed and dropped is freed at once, by counting alone.

Memory in a reference cycle waits for the cyclic collector, which a server under load runs late.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.aio import epc, erlang
from rpyc_like.core.endpoint import Endpoint
from rpyc_like.core.stream import SocketStream
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer
from rpyc_like.erlport.v1.bridge import Instance
from rpyc_like.erlport.v1.erlterms import Atom, decode, encode
from rpyc_like.link.aio import AioLink
from rpyc_like.link.aio_plain_peer import AioPeer
from rpyc_like.link.plain_peer import PlainPeer
from rpyc_like.link.threaded import ThreadedLink
from tests.support.joining import join

from ..attacks.served import eventually
from ..support.both_servers import LIMIT, QUIET, asyncio_server
from ..support.sockets import receive_exactly

PARTS = (Endpoint, ThreadedLink, AioLink, PlainPeer, AioPeer)


class Service(rpyc.Service):
    """Does a little of everything."""

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_make(self) -> Any:
        return Service()

    async def exposed_later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value

    def exposed_fail(self) -> None:
        raise LookupError("wanted")


def parts() -> dict[int, Any]:
    """Return the parts of connections that are in memory, by their ids."""
    return {id(one): one for one in gc.get_objects() if issubclass(type(one), PARTS)}


@contextmanager
def counted() -> Iterator[Callable[[int], list[weakref.ref[Any]]]]:
    """Run without the cyclic collector; give what finds the parts that have been made since."""
    gc.collect()
    before = set(parts())

    def made(at_least: int) -> list[weakref.ref[Any]]:
        found = [weakref.ref(part) for key, part in parts().items() if key not in before]
        assert len(found) >= at_least
        return found

    gc.disable()
    try:
        yield made
    finally:
        gc.enable()


def gone(found: list[weakref.ref[Any]]) -> None:
    """Wait until the parts have been freed."""
    try:
        eventually(lambda: not [part for part in found if part() is not None])
    except AssertionError:
        left = [type(part()).__qualname__ for part in found if part() is not None]
        pytest.fail(f"not freed: {left}")


def use(conn: Any) -> None:
    """Make calls of several kinds, some of which fail."""
    root = conn.root
    assert root.add(1, 2) == 3
    assert root.call(lambda value: value + 1, 1) == 2
    assert root.make().add(1, 2) == 3
    assert root.later(5) == 5
    with pytest.raises(LookupError):
        root.fail()
    result = rpyc.async_(root.add)(1, 2)
    assert result.value == 3
    with pytest.raises(LookupError):
        _ = rpyc.async_(root.fail)().value


@contextmanager
def served(kind: Any, **options: Any) -> Iterator[int]:
    """Run a server of one kind in a thread; give its port."""
    server = kind(Service, hostname="127.0.0.1", port=0, logger=QUIET, **options)
    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        yield server.port
    finally:
        server.close()
        join(thread, LIMIT)


@pytest.mark.parametrize("config", [{}, {"concurrent_calls": 4}, {"heartbeat": 1.0}], ids=str)
@pytest.mark.parametrize("kind", [rpyc.ThreadedServer, rpyc.ThreadPoolServer])
def test_a_blocking_connection_is_freed(kind: Any, config: dict[str, Any]) -> None:
    """Neither side of a closed connection waits for the collector."""
    with served(kind, protocol_config=config) as port, counted() as made:
        conn = rpyc.connect("127.0.0.1", port, config=config)
        use(conn)
        found = made(4)
        conn.close()
        del conn
        gone(found)


def test_the_server_frees_what_hangs_up() -> None:
    """A client that hangs up without a goodbye leaves nothing behind."""
    with served(rpyc.ThreadedServer) as port, counted() as made:
        conn = rpyc.connect("127.0.0.1", port)
        use(conn)
        found = made(4)
        conn._channel.close()
        with pytest.raises(EOFError):
            conn.root.add(1, 2)
        conn.close()
        del conn
        gone(found)


def test_a_tls_connection_is_freed(tmp_path: Path) -> None:
    """The stream makes no difference."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pair = authority.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    login = rpyc.utils.authenticators.SSLAuthenticator(
        str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    )
    with served(rpyc.ThreadedServer, authenticator=login) as port, counted() as made:
        conn = rpyc.ssl_connect("127.0.0.1", port, ca_certs=str(tmp_path / "ca.pem"))
        use(conn)
        found = made(4)
        conn.close()
        del conn
        gone(found)


def test_a_connection_with_a_serving_thread_is_freed() -> None:
    """``BgServingThread`` lets go of the connection when it is stopped."""
    with served(rpyc.ThreadedServer) as port, counted() as made:
        conn = rpyc.connect("127.0.0.1", port)
        background = rpyc.BgServingThread(conn)
        use(conn)
        found = made(4)
        background.stop()
        conn.close()
        del conn, background
        gone(found)


class Dispatching(rpyc.Connection):
    """Sees each message, as a program's own connection does."""

    def _dispatch(self, data: bytes) -> None:
        super()._dispatch(data)


def test_a_connection_of_a_programs_own_class_is_freed() -> None:
    """Overridden methods, which the link calls, do not keep it either."""
    with served(rpyc.ThreadedServer) as port, counted() as made:
        channel = rpyc.Channel(SocketStream.connect("127.0.0.1", port))
        conn = Dispatching(rpyc.VoidService(), channel)
        use(conn)
        found = made(4)
        conn.close()
        del conn, channel
        gone(found)


def test_a_closed_connection_still_refuses() -> None:
    """Proxies and results of a closed connection fail as before."""
    with served(rpyc.ThreadedServer) as port:
        conn = rpyc.connect("127.0.0.1", port)
        root, made = conn.root, conn.root.make()
        late = rpyc.async_(root.make)()
        late.wait()
        conn.close()
        with pytest.raises(EOFError):
            made.add(1, 2)
        with pytest.raises(EOFError):
            rpyc.async_(root.add)(1, 2)
        with pytest.raises(EOFError):
            conn.ping()
        assert conn.closed


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), LIMIT))


async def gone_soon(found: list[weakref.ref[Any]]) -> None:
    """Wait on the loop until the parts have been freed."""
    end = asyncio.get_running_loop().time() + 20
    while left := [part for part in found if part() is not None]:
        names = [type(part()).__qualname__ for part in left]
        assert asyncio.get_running_loop().time() < end, f"not freed: {names}"
        del left
        await asyncio.sleep(0.01)


def test_an_asyncio_connection_is_freed() -> None:
    """Both sides, with functions in threads and on the loop."""

    async def body() -> None:
        conn = await aio.connect("127.0.0.1", port)
        root = await conn.root
        assert await root.add(1, 2) == 3
        assert await root.call(lambda value: value + 1, 1) == 2
        assert await root.later(5) == 5
        with pytest.raises(LookupError):
            await root.fail()
        found = made(4)
        await conn.close()
        del conn, root
        await gone_soon(found)

    with asyncio_server(Service) as port, counted() as made:
        in_loop(body)


@pytest.mark.parametrize("kind", [EPCServer, ThreadingEPCServer])
def test_an_epc_connection_is_freed(kind: Any) -> None:
    """Both sides of Emacs's protocol."""
    server = kind(("127.0.0.1", 0))
    server.logger.setLevel(logging.CRITICAL)
    server.register_function(lambda *args: list(args), "echo")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with counted() as made:
            client = EPCClient(server.server_address)
            assert client.call_sync("echo", [1]) == [1]
            found = made(4)
            client.close()
            del client
            gone(found)
    finally:
        server.shutdown()
        server.server_close()
        join(thread, LIMIT)


def test_an_asyncio_epc_connection_is_freed() -> None:
    """Both sides of Emacs's protocol on a loop."""

    async def echo(*args: Any) -> list[Any]:
        return list(args)

    async def body() -> None:
        functions = epc.EPCService()
        functions.register_function(echo)
        async with aio.Server(functions, port=0, logger=QUIET, grace=0) as server:
            with counted() as made:
                async with epc.connect("127.0.0.1", server.port) as client:
                    assert await client.call("echo", [1]) == [1]
                    found = made(4)
                del client
                await gone_soon(found)

    in_loop(body)


def send(sock: socket.socket, term: Any) -> None:
    data = encode(term)
    sock.sendall(len(data).to_bytes(4, "big") + data)


def receive(sock: socket.socket) -> Any:
    return decode(receive_exactly(sock, int.from_bytes(receive_exactly(sock, 4), "big")))[0]


def test_an_erlang_instance_is_freed() -> None:
    """What serves an Erlang node's port."""
    with counted() as made:
        here, there = socket.socketpair()
        here.settimeout(LIMIT)
        instance = Instance(SocketStream(there))
        thread = threading.Thread(target=instance.serve)
        thread.start()
        send(here, (Atom(b"C"), 1, Atom(b"operator"), Atom(b"add"), [1, 2]))
        assert receive(here)[2] == 3
        found = [*made(2), weakref.ref(instance)]
        here.close()
        join(thread, LIMIT)
        del instance, thread, there
        gone(found)


def test_an_asyncio_erlang_port_is_freed() -> None:
    """What asks an Erlang node on a loop."""

    async def body() -> None:
        with counted() as made:
            here, there = socket.socketpair()
            here.settimeout(LIMIT)
            port = erlang.Port(4, stream=SocketStream(there))
            await port.__aenter__()
            send(here, 5)
            assert await port.read() == 5
            found = made(2)
            here.close()
            await port.__aexit__(None, None, None)
            del port, there
            await gone_soon(found)

    in_loop(body)
