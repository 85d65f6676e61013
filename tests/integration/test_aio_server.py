"""What only the asyncio server has: threads, limits, doors and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.errors import AuthenticationError
from rpyc_like.link.client_login import TokenLogin
from rpyc_like.utils.authenticators import SSLAuthenticator, TokenAuthenticator
from tests.support.eventually import eventually_here
from tests.support.joining import join
from tests.support.peers import ROOT
from tests.support.processes import descriptors

QUIET = logging.getLogger("tests.aio_server")
QUIET.setLevel(logging.CRITICAL)
PUBLIC = {"allow_public_attrs": True}
Body = Callable[..., Awaitable[None]]


class Service(rpyc.Service):
    """What the tests ask for."""

    running = 0
    most = 0

    def on_connect(self, conn: Any) -> None:
        self.conn = conn
        self.thread = threading.current_thread()

    def exposed_add(self, a: int, b: int = 1) -> int:
        return a + b

    def exposed_thread(self) -> bool:
        """Returns whether this runs in the thread of the loop."""
        return threading.current_thread() is not threading.main_thread()

    async def exposed_async_thread(self) -> bool:
        return threading.current_thread() is not threading.main_thread()

    def exposed_busy(self, seconds: float) -> int:
        cls = type(self)
        cls.running += 1
        cls.most = max(cls.most, cls.running)
        time.sleep(seconds)
        cls.running -= 1
        return cls.most

    async def exposed_gate(self, event: Any = None) -> int:
        cls = type(self)
        cls.running += 1
        cls.most = max(cls.most, cls.running)
        await asyncio.sleep(0.05)
        cls.running -= 1
        return cls.most

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    async def exposed_async_call(self, func: Any, *args: Any) -> Any:
        return await func(*args)

    def exposed_with_objects(self, items: Any) -> Any:
        """Does with a client's list what plain methods do with one."""
        items.append(4)
        longer = [0] + items  # noqa: RUF005
        return len(items), sum(items), list(items), longer, items == [1, 2, 3, 4], str(items)

    async def exposed_awaiting(self, items: Any) -> Any:
        await items.append(4)
        return await aio.len(items), await aio.snapshot(items), [x async for x in items]

    def exposed_ask_later(self, func: Any) -> Any:
        return rpyc.async_(func)(3).value


def run(body: Body, service: Any = Service, **options: Any) -> None:
    """Runs a test in a loop, with a server there."""

    async def main() -> None:
        options.setdefault("logger", QUIET)
        options.setdefault("grace", 0)
        async with aio.Server(service, **options) as server:
            await body(server)

    asyncio.run(main(), debug=True)


@pytest.fixture(autouse=True)
def fresh() -> None:
    Service.running = Service.most = 0


def in_threads(*calls: Callable[[], Any]) -> Awaitable[list[Any]]:
    return asyncio.gather(*[asyncio.to_thread(call) for call in calls])


def test_where_methods_run() -> None:
    """``async def`` on the loop, others in threads, or on the loop by choice."""

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            assert await conn.root.thread() is True
            assert await conn.root.async_thread() is False

    async def inline(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            assert await conn.root.thread() is False

    run(body)
    run(inline, threads=0)


def test_the_same_objects_waited_for_and_awaited() -> None:
    """In a thread a client's list is used as in blocking programs, in a coroutine awaited."""

    async def body(server: aio.Server) -> None:
        def blocking() -> None:
            with rpyc.connect("127.0.0.1", server.port, config=PUBLIC) as conn:
                numbers = [1, 2, 3]
                got = conn.root.with_objects(numbers)
                assert got[:3] == (4, 10, numbers)
                assert list(got[3]) == [0, 1, 2, 3, 4]
                assert got[4:] == (True, "[1, 2, 3, 4]")
                length, copy, items = conn.root.awaiting([1, 2, 3])
                assert (length, list(copy), list(items)) == (4, [1, 2, 3, 4], [1, 2, 3, 4])
                assert conn.root.ask_later(lambda n: n + 1) == 4

        await asyncio.to_thread(blocking)
        async with aio.connect("127.0.0.1", server.port, config=PUBLIC) as conn:
            assert (await conn.root.with_objects([1, 2, 3]))[:2] == (4, 10)
            assert await conn.root.ask_later(lambda n: n + 1) == 4

    run(body)


@pytest.mark.parametrize("at_once", [1, 3])
def test_plain_calls_of_one_connection(at_once: int) -> None:
    """In order, or ``concurrent_calls`` of them at once."""

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            await asyncio.gather(*[conn.root.busy(0.02) for _ in range(9)])
            assert Service.most == at_once

    run(body, protocol_config={"concurrent_calls": at_once})


def test_the_threads_are_bounded() -> None:
    """Many connections share them."""

    async def body(server: aio.Server) -> None:
        conns = [await aio.connect("127.0.0.1", server.port) for _ in range(10)]
        await asyncio.gather(*[conn.root.busy(0.02) for conn in conns])
        assert Service.most == 3
        for conn in conns:
            await conn.close()

    run(body, threads=3)


def test_tasks_of_one_connection_are_bounded() -> None:
    """More requests wait; those that a waiting task needs do not."""

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            await asyncio.gather(*[conn.root.gate() for _ in range(20)])
            assert Service.most == 4

            async def back(n: int) -> int:
                return await conn.root.add(n)

            calls = [conn.root.async_call(back, n) for n in range(20)]
            assert await asyncio.gather(*calls) == list(range(1, 21))
            calls = [conn.root.call(back, n) for n in range(20)]
            assert await asyncio.gather(*calls) == list(range(1, 21))

    run(body, protocol_config={"concurrent_tasks": 4}, threads=2)


def test_a_flood_waits_in_the_network() -> None:
    """Who sends without end is not read any further, and gets all answers in the end."""

    async def body(server: aio.Server) -> None:
        def flood() -> None:
            with rpyc.connect("127.0.0.1", server.port) as conn:
                gate = rpyc.async_(conn.root.gate)
                results = [gate(b"x" * 50_000) for _ in range(60)]
                assert max(result.value for result in results) <= 10

        await asyncio.to_thread(flood)

    run(body, protocol_config={"concurrent_tasks": 10, "max_queued_bytes": 200_000})


@pytest.mark.parametrize("method", ["call", "async_call"])
def test_recursion_ends(method: str) -> None:
    """Endless calls between the sides are an error, and the connection goes on."""

    async def body(server: aio.Server) -> None:
        def blocking() -> None:
            with rpyc.connect("127.0.0.1", server.port) as conn:
                call = getattr(conn.root, method)

                def again() -> Any:
                    return call(again)

                with pytest.raises(RecursionError):
                    again()
                assert conn.root.add(1) == 2

        await asyncio.to_thread(blocking)

    run(body)


def test_nothing_is_served_before_on_connect_has_ended() -> None:
    """Unless it waits for the client itself."""
    told: list[str] = []

    class Slow(Service):
        async def on_connect(self, conn: Any) -> None:
            await asyncio.sleep(0.1)
            told.append("connected")

        async def exposed_ask(self) -> None:
            told.append("asked")

    class Asking(Service):
        def on_connect(self, conn: Any) -> None:
            told.append(conn.root.name())

        def exposed_helper(self) -> str:
            return "helped"

    class Client(rpyc.Service):
        def on_connect(self, conn: Any) -> None:
            self.conn = conn

        async def exposed_name(self) -> str:
            return str(await self.conn.root.helper())

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            await conn.root.ask()
        assert told == ["connected", "asked"]

    async def asked(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port, Client) as conn:
            assert await conn.root.add(1) == 2
            await eventually_here(lambda: told == ["helped"])
        assert told == ["helped"]

    run(body, Slow)
    told.clear()
    run(asked, Asking)


def test_a_service_that_refuses() -> None:
    """An exception in ``on_connect`` ends that connection, and no other."""

    class Refusing(Service):
        def on_connect(self, conn: Any) -> None:
            if conn.credentials != "friend":
                raise ValueError("not you")

    answers = ["friend", "foe"]

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as friend:
            assert await friend.root.add(1) == 2
            async with aio.connect("127.0.0.1", server.port) as foe:
                with pytest.raises(EOFError):
                    await foe.root.add(1)
            assert await friend.root.add(1) == 2

    run(body, Refusing, authenticator=lambda sock: (sock, answers.pop(0)))


def test_doors(tmp_path: Path) -> None:
    """A unix socket, a socket that is given, a token, TLS: as for blocking servers."""
    path = str(tmp_path / "socket")

    async def unix(server: aio.Server) -> None:
        async with aio.unix_connect(path) as conn:
            assert await conn.root.add(1) == 2

    run(unix, socket_path=path)
    assert not os.path.exists(path)

    async def plain(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            assert await conn.root.add(1) == 2

    given = socket.create_server(("127.0.0.1", 0))
    run(plain, sockets=[given])

    async def token(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port, login=TokenLogin("x" * 32)) as conn:
            assert await conn.root.add(1) == 2
        with pytest.raises(AuthenticationError):
            await aio.connect("127.0.0.1", server.port, login=TokenLogin("y" * 32))
        slow = socket.create_connection(("127.0.0.1", server.port))  # says nothing
        async with aio.connect("127.0.0.1", server.port, login=TokenLogin("x" * 32)) as conn:
            assert await conn.root.add(1) == 2
        slow.close()

    run(token, authenticator=TokenAuthenticator("x" * 32))

    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def tls(server: aio.Server) -> None:
        trusted = str(tmp_path / "ca.pem")
        async with aio.ssl_connect("localhost", server.port, ca_certs=trusted) as conn:
            assert await conn.root.add(1) == 2
            assert await conn.root.call(lambda data: data, b"x" * 200_000) == b"x" * 200_000
        with pytest.raises(ssl.SSLError):
            await aio.ssl_connect("localhost", server.port)

    files = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    run(tls, authenticator=SSLAuthenticator(*files))


def test_an_open_door_is_refused() -> None:
    """Full control for everybody on the network needs an authenticator."""

    async def main() -> None:
        with pytest.raises(AuthenticationError):
            aio.Server(rpyc.ClassicService, hostname="0.0.0.0")

    asyncio.run(main())


def test_clients_that_come_and_go() -> None:
    """They leave no thread, no descriptor, no connection behind."""

    async def body(server: aio.Server) -> None:
        async def visit() -> None:
            async with aio.connect("127.0.0.1", server.port) as conn:
                assert await conn.root.add(1) == 2

        async def visits(count: int) -> None:
            for _ in range(count // 10):
                await asyncio.gather(*[visit() for _ in range(10)])
            await eventually_here(lambda: not server.connections)

        await visits(50)
        threads, open_ones = threading.active_count(), descriptors()
        await visits(200)
        # The loop's own executor grows to a limit.
        await eventually_here(lambda: threading.active_count() <= threads + 6)
        await eventually_here(lambda: descriptors() <= open_ones + 1)

    run(body, threads=2)


def test_idle_connections_need_no_thread() -> None:
    """Nor do ``async def`` methods, from the first request of a connection on."""

    class Awaited(rpyc.Service):
        async def exposed_add(self, a: int) -> int:
            return a + 1

    async def body(server: aio.Server) -> None:
        conns = [await aio.connect("127.0.0.1", server.port) for _ in range(120)]
        assert await asyncio.gather(*[conn.root.add(1) for conn in conns]) == [2] * 120
        assert len(server.connections) == 120
        assert not server._workers.threads
        for conn in conns:
            await conn.close()

    run(body, Awaited)


# -- the end


@pytest.mark.parametrize("method", ["busy", "gate"])
def test_running_calls_end_first(method: str) -> None:
    """Closing waits for what has been asked, and takes nobody new."""

    async def body(server: aio.Server) -> None:
        conn = await aio.connect("127.0.0.1", server.port)
        args = (0.2,) if method == "busy" else ()
        call = asyncio.ensure_future(conn.root.add(1))
        await call
        call = asyncio.ensure_future(_await(getattr(conn.root, method)(*args)))
        await asyncio.sleep(0.02)
        started = time.monotonic()
        await server.close()
        assert time.monotonic() - started < 20
        assert await call == 1
        with pytest.raises(OSError, match="refused"):
            await aio.connect("127.0.0.1", server.port)
        with pytest.raises(EOFError):
            await conn.root.add(1)
        await server.close()

    run(body, grace=30)


async def _await(value: Any) -> Any:
    return await value


def test_a_method_closes_the_server() -> None:
    """The call that does so gets its answer or a closed connection, and nothing hangs."""

    class Closing(Service):
        async def exposed_shutdown(self) -> str:
            await self.server.close()
            return "closed"

    service = Closing()

    async def body(server: aio.Server) -> None:
        service.server = server  # type: ignore[attr-defined]
        conn = await aio.connect("127.0.0.1", server.port)
        started = time.monotonic()
        try:
            assert await conn.root.shutdown() == "closed"
        except EOFError:
            pass
        assert time.monotonic() - started < 20
        await conn.close()

    run(body, service, grace=1)


PROGRAM = """
import asyncio, sys
import rpyc_like as rpyc
from rpyc_like import aio

class Service(rpyc.Service):
    async def exposed_after(self, seconds):
        await asyncio.sleep(seconds)
        return "done"

async def main():
    server = aio.Server(Service, grace=5)
    await server.start()
    print(server.port, flush=True)
    await server.serve_forever()
    print("ended", flush=True)

asyncio.run(main(), debug=True)
"""


def test_sigterm() -> None:
    """The first one lets running calls finish."""
    server = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert server.stdout is not None
    conn = rpyc.connect("127.0.0.1", int(server.stdout.readline()))
    result = rpyc.async_(conn.root.after)(0.4)
    conn.ping()
    server.send_signal(signal.SIGTERM)
    assert result.value == "done"
    out, err = server.communicate(timeout=200)
    assert (out, err, server.returncode) == ("ended\n", "", 0)
    conn.close()


def test_idle_timeout() -> None:
    """A server without clients ends, if that is asked for."""

    async def main() -> None:
        server = aio.Server(Service, idle_timeout=0.2, logger=QUIET)
        await asyncio.wait_for(server.serve_forever(), 60)

    asyncio.run(main(), debug=True)


def test_a_plain_method_hangs_up() -> None:
    """As in blocking servers, ``conn.close()`` in a method ends the connection."""

    class Closing(Service):
        def exposed_leave(self) -> None:
            self.conn.close()

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port) as conn:
            assert await conn.root.add(1) == 2
            with pytest.raises(EOFError):
                await conn.root.leave()
            assert conn.closed

    run(body, Closing)


class Box:
    """Something of the client's."""

    def __init__(self, value: int) -> None:
        self.value = value

    async def plus(self, other: int) -> Any:
        await asyncio.sleep(0)
        return Box(self.value + other)


def test_chains_of_the_other_side() -> None:
    """A server's chain is done by an asyncio client in one request, ``async def`` steps too."""

    class Chaining(rpyc.Service):
        def exposed_chain(self, box: Any) -> Any:
            return rpyc.fetch(rpyc.lazy(box).plus(2).plus(3).value)

    served: list[int] = []

    async def body(server: aio.Server) -> None:
        async with aio.connect("127.0.0.1", server.port, config=PUBLIC) as conn:
            serve = conn.serve_request
            await conn.root.chain(Box(0))
            conn.serve_request = lambda id_, target, args: (  # type: ignore[method-assign]
                served.append(target[0]),
                serve(id_, target, args),
            )
            assert await conn.root.chain(Box(1)) == 6
            assert len(served) == 1
            del conn.serve_request

    run(body, Chaining)
    blocking = rpyc.ThreadedServer(Chaining, logger=QUIET)
    thread = threading.Thread(target=blocking.start)
    thread.start()
    served.clear()
    asyncio.run(body(blocking), debug=True)  # type: ignore[arg-type]
    blocking.close()
    join(thread)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_that_the_loop_does_not_begin(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was accepted while the server closes is hung up on, and leaves no socket behind."""

    async def main() -> None:
        here, there = socket.socketpair()
        server = aio.Server(Service, port=0, logger=QUIET)
        async with server:
            if when == "before":
                with monkeypatch.context() as patched:
                    patched.setattr(server, "_on_loop", lambda func: True)  # it ends before
                    server._arrived(here, None)
        if when == "after":
            server._arrived(here, None)
        assert here.fileno() == -1
        await asyncio.sleep(0)
        assert not server._clients
        there.close()

    asyncio.run(main())


def test_a_client_whose_task_is_cancelled_at_once() -> None:
    """A loop that ends before a client's task has begun leaves no socket behind."""

    async def main() -> None:
        here, there = socket.socketpair()
        async with aio.Server(Service, port=0, logger=QUIET) as server:
            server._arrived(here, None)
            while not server._clients:
                await asyncio.sleep(0)
            for task in server._clients:
                task.cancel()
            await asyncio.wait(server._clients)
            assert here.fileno() == -1
        there.close()

    asyncio.run(main())
