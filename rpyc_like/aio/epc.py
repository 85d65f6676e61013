"""EPC in asyncio programs: Emacs and other peers, as client and as server.

::

    service = epc.EPCService()
    service.register_function(search)          # may be async def
    async with aio.Server(service) as server:
        print(server.port)                     # which is how Emacs learns it
        await server.serve_forever()

    async with epc.connect("localhost", port) as client:
        print(await client.call("search", ["word"]))

Values, messages and errors are those of :mod:`rpyc_like.epc`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from ..epc import service
from ..epc.answers import Answers
from ..epc.codec import CALL, METHODS, EpcCodec, Target
from ..epc.core import EPCCore
from ..epc.errors import EPCClosed, EPCTimeout
from ..epc.peer import EpcSession, weight
from ..lib.workers import WorkerPool
from ..link.aio_peer import AioPeer
from ..link.channel import Channel, client_of
from ..link.logins import Login
from ..link.streams.base import NativeStream
from ..utils.opening import tcp_opener, unix_opener
from ..wire.framing import EpcFramer
from .opening import in_thread

__all__ = ["EPCConnection", "EPCService", "connect", "connect_stream", "unix_connect"]


class EPCConnection(Answers, AioPeer):
    """A connection to an EPC peer, on the running loop.

    Args:
        stream: an open stream of this package's, which belongs to the connection from then on.
        server: whose methods the peer may call.
        workers: threads for methods that are not ``async def``.
    """

    def __init__(self, stream: Any, server: Any, workers: WorkerPool | None = None) -> None:
        self.server = server
        self._codec = EpcCodec(server.reader)
        session = EpcSession(self._codec)
        session.pending.numbers = count(1)
        AioPeer.__init__(self, Channel(stream, framer=EpcFramer()), session, workers)
        self._link.closed_class = EPCClosed
        self._link.queued.weigh = weight

    async def __aenter__(self) -> EPCConnection:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def call(self, name: str, args: Any = (), timeout: float | None = None) -> Any:
        """Calls a method of the peer and returns the value.

        Args:
            args: the arguments; a dict is sent as a property list.
            timeout: seconds that the answer may take, None for any time.

        Raises:
            ReturnError, EPCError: the peer answered with an error.
            EPCClosed: the connection was lost.
            EPCTimeout: no answer came in time.
        """
        return await self.request(Target(CALL, name), args, timeout)

    async def methods(self, timeout: float | None = None) -> Any:
        """Returns ``(name, arguments, docstring)`` of the peer's methods."""
        return await self.request(Target(METHODS), (), timeout)

    def late(self, target: Any, timeout: float) -> TimeoutError:
        """Returns the error for an answer that has not come in time."""
        return EPCTimeout(f"no answer to {target.name or METHODS} within {timeout} s")

    # -- the peer's requests

    async def serve(self, id_: Any, target: Target, args: Any) -> None:
        """Does what is asked, and sees to it that exactly one answer is sent."""
        lane = self if self.server.ordered else object()
        try:
            with self._link.queued.serving(args):
                message = await self.run(lambda: self.message(id_, target, args), lane)
                if len(message) > 2 and inspect.isawaitable(message[2]):
                    message[2] = await message[2]
            payload = self._codec.encode(*message)
            await self.when_drained(len(payload))
            self._link.send(payload)
        except Exception as error:
            if not self.closed:
                self._fail(id_, error)

    def _send(self, kind: str, uid: Any, *parts: Any) -> None:
        self._link.send(self._codec.encode(kind, uid, *parts))

    def notice(self, payload: Any) -> None:
        """Hands an answer that nobody waits for to :meth:`handle_error`."""
        self.unclaimed(payload)

    # -- who is connected

    async def open(self) -> None:
        """Puts the connection on the server's list."""
        self.server.add_client(self)

    def disconnected(self, error: BaseException | None) -> None:
        """Takes it off."""
        super().disconnected(error)
        self.server.remove_client(self)


class EPCService(service.EPCService):
    """Methods for Emacs, to be given to :class:`rpyc_like.aio.Server` instead of a service.

    Args:
        options: see :class:`.EPCCore`.
    """

    def connect_in_loop(
        self, channel: Any, config: dict[str, Any], workers: WorkerPool | None
    ) -> EPCConnection:
        """Begins a connection over the stream of a channel."""
        connection = EPCConnection(channel.stream, self, workers)
        connection.introduce(config, client_of(channel))
        return connection


class _Client(EPCCore):
    """What a client offers to its server."""

    def add_client(self, connection: EPCConnection) -> None:
        """Has nothing to do: a client has one connection."""

    def remove_client(self, connection: EPCConnection) -> None:
        """Has nothing to do."""


@asynccontextmanager
async def connect_stream(stream: NativeStream, methods: Any = None) -> AsyncIterator[EPCConnection]:
    """Gives a connection over an open stream.

    Args:
        methods: an :class:`EPCService` whose methods the peer may call.
    """
    connection = EPCConnection(stream, _Client() if methods is None else methods)
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def connect(
    host: str, port: int, methods: Any = None, login: Login | None = None
) -> AsyncIterator[EPCConnection]:
    """Gives a connection over TCP; see :func:`connect_stream`.

    Args:
        login: what to show a server that asks for a login.
    """
    stream = await in_thread(tcp_opener(host, port, login=login))
    async with connect_stream(stream, methods) as connection:
        yield connection


@asynccontextmanager
async def unix_connect(
    path: str, methods: Any = None, login: Login | None = None
) -> AsyncIterator[EPCConnection]:
    """Gives a connection to a unix socket; see :func:`connect_stream`."""
    stream = await in_thread(unix_opener(path, login=login))
    async with connect_stream(stream, methods) as connection:
        yield connection
