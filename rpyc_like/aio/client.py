"""Functions that open a connection, one for each way there is; all are awaited.

What they do until there is a stream (names, addresses, handshakes, logins, ssh) is what blocking
programs do, and happens in a thread, which ends then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from ..core.channel import Channel
from ..core.service import Service, VoidService
from ..lib.brief import brief
from ..lib.run_in_pool import in_new_thread
from ..link.streams.base import NativeStream
from ..utils.children import START_TIMEOUT, Child, no_answer, start_child
from ..utils.openers import ssl_opener, tcp_opener, unix_opener
from .connection import Connection

__all__ = [
    "PendingConnection",
    "in_thread",
    "connect",
    "connect_stream",
    "connect_subproc",
    "ssh_connect",
    "ssl_connect",
    "unix_connect",
]

ServiceLike = Any  # a service class, or an instance
Config = dict[str, Any]


class PendingConnection:
    """A connection that is opened when this is awaited, or entered with ``async with``."""

    def __init__(self, opened: Callable[[], Awaitable[Connection]]) -> None:
        self._opened = opened
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._opened().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._opened()
        return self._connection

    async def __aexit__(self, *exc: object) -> None:
        assert self._connection is not None
        await self._connection.close()


async def in_thread(opener: Callable[[], Any]) -> Any:
    """Returns what a blocking function returns; closes it if nobody waits for it any more."""
    made = in_new_thread(asyncio.get_running_loop(), opener)
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        made.add_done_callback(lambda done: done.exception() or done.result().close())
        raise


async def _made(
    service: ServiceLike, channel: Channel, config: Config | None, reopen: Any = None
) -> Connection:
    root = service() if isinstance(service, type) else service
    conn = Connection(root, channel, config, reopen)
    await conn.open()
    return conn


async def _answered(
    conn: Connection, timeout: float | None, step: str, child: Child | None = None
) -> Connection:
    """Wait until what has been started answers for the first time; ``None``: do not wait."""
    if timeout is None:
        return conn
    asking = asyncio.ensure_future(conn.fetch_root(None))
    try:
        # Not wait_for(): a TimeoutError may be the peer's answer.
        if not (await asyncio.wait({asking}, timeout=timeout))[0]:
            asking.cancel()
            said = ""
            if child is not None:
                child.kill()
                said = await asyncio.get_running_loop().run_in_executor(None, child.errors.text)
            raise TimeoutError(no_answer(step, timeout, said))
        asking.result()
    except BaseException:
        asking.cancel()
        conn._link.lose(None)
        raise
    return conn


def _opening(
    opener: Callable[[], NativeStream], service: ServiceLike, config: Config | None
) -> PendingConnection:
    async def reopen() -> Channel:
        return Channel(await in_thread(opener))

    async def opened() -> Connection:
        return await _made(service, await reopen(), config, reopen)

    return PendingConnection(opened)


def connect(
    host: str,
    port: int,
    service: type[Service] | Service = VoidService,
    config: Config | None = None,
    **options: Any,
) -> PendingConnection:
    """Connects over TCP.

    Args:
        options: ``ipv6``, ``keepalive``, ``timeout``, ``login``; see :func:`rpyc_like.connect`.

    Raises:
        OSError: nobody listens there, or the name is unknown.
        AuthenticationError: the server did not let this side in.
    """
    return _opening(tcp_opener(host, port, **options), service, config)


def unix_connect(
    path: str,
    service: type[Service] | Service = VoidService,
    config: Config | None = None,
    **options: Any,
) -> PendingConnection:
    """Connects to a unix socket; ``options`` are those of :func:`rpyc_like.unix_connect`."""
    return _opening(unix_opener(path, **options), service, config)


def ssl_connect(
    host: str,
    port: int,
    service: type[Service] | Service = VoidService,
    config: Config | None = None,
    **options: Any,
) -> PendingConnection:
    """Connects over TCP with TLS; ``options`` are those of :func:`rpyc_like.ssl_connect`."""
    return _opening(ssl_opener(host, port, **options), service, config)


def ssh_connect(
    remote_machine: Any,
    remote_port: int,
    service: type[Service] | Service = VoidService,
    config: Config | None = None,
    timeout: float | None = None,
) -> PendingConnection:
    """Connects through ssh to a server on another machine; see :func:`rpyc_like.ssh_connect`.

    Args:
        timeout: seconds in which the server must answer for the first time.
    """
    from ..utils.tunnels import through_ssh

    async def opened() -> Connection:
        stream = await in_thread(lambda: through_ssh(remote_machine, remote_port))
        conn = await _made(service, Channel(stream), config)
        step = f"connecting to port {remote_port} of {remote_machine} through ssh"
        return await _answered(conn, timeout, step)

    return PendingConnection(opened)


def _once(
    opener: Callable[[], Any], service: ServiceLike, config: Config | None
) -> PendingConnection:
    async def opened() -> Connection:
        return await _made(service, Channel(await in_thread(opener)), config)

    return PendingConnection(opened)


def connect_stream(
    stream: NativeStream,
    service: type[Service] | Service = VoidService,
    config: Config | None = None,
) -> PendingConnection:
    """Makes a connection over an open stream of this package's."""
    return _once(lambda: stream, service, config)


def connect_subproc(
    args: Sequence[str],
    service: type[Service] | Service = VoidService,
    config: Config | None = None,
    timeout: float | None = START_TIMEOUT,
) -> PendingConnection:
    """Starts a program and connects to its standard input and output.

    The connection's ``proc`` is the :class:`subprocess.Popen`. It ends when the connection does.

    Args:
        timeout: seconds in which the program must answer for the first time, which is waited for.
            With None nothing is waited for.

    Raises:
        TimeoutError: it has not answered in time; it is killed.
        ConnectionClosed: it has ended instead; the error has the end of its standard error.
    """

    async def opened() -> Connection:
        stream, child = start_child(args)
        try:
            conn = await _made(service, Channel(stream), config)
            conn.proc = child
            return await _answered(conn, timeout, f"starting {brief(args)}", child)
        except BaseException:
            child.kill()
            raise

    return PendingConnection(opened)
