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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from ..core.proxies.async_iterators import is_async
from ..epc import service
from ..epc.client_manager import EPCClientManager, runs_code
from ..epc.codec import CALL, METHODS, EpcCodec, Target
from ..epc.core import EPCCore, EPCDispatcher
from ..epc.errors import EPCClosed, EPCTimeout
from ..epc.peer import EpcSession, weight
from ..epc.responder import Responder
from ..lib.connection_threads import ConnectionThreads
from ..lib.introspection import hasattr_static
from ..lib.lifetimes import weak_call
from ..link.aio_plain_peer import AioPeer
from ..link.channel import Channel, client_of
from ..link.client_login import Login
from ..link.streams.base import NativeStream
from ..utils.openers import tcp_opener, unix_opener
from ..wire.framing import EpcFramer
from .client import in_thread

if TYPE_CHECKING:
    from ..link.admission import Client

__all__ = ["EPCConnection", "EPCService", "connect", "connect_stream", "unix_connect"]

_AT_ONCE = 20  # plain methods of a peer that run at the same time, where they are not ordered


class EPCConnection(Responder, AioPeer):
    """A connection to an EPC peer, on the running loop.

    Args:
        stream: an open stream of this package's, which belongs to the connection from then on.
        server: whose methods the peer may call.
        workers: threads for methods that are not ``async def``.
    """

    def __init__(self, stream: Any, server: Any, workers: ConnectionThreads | None = None) -> None:
        self.server = server
        self._codec = EpcCodec(server.reader)
        session = EpcSession(self._codec)
        session.pending.numbers = count(1)
        width = 1 if server.ordered else _AT_ONCE
        AioPeer.__init__(self, Channel(stream, framer=EpcFramer()), session, workers, width)
        self._link.closed_class = EPCClosed
        self._link.queued.weigh = weight
        self._calls = self._peer_calls(weak_call(self, "_look"))

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

    def introduce(self, config: dict[str, Any], client: Client | None) -> None:
        """Note what the server knows about the peer; see :meth:`.AioPeer.introduce`."""
        super().introduce(config, client)
        if client is not None:
            self._calls.count_for(client.account.add)

    def _look(self) -> None:
        """Raise if the connection has ended."""
        if self._link.lost:
            raise self._link.closed_error()

    # -- the peer's requests

    async def serve(self, id_: Any, target: Target, args: Any) -> None:
        """Does what is asked, and sees to it that exactly one answer is sent."""
        try:
            with self._link.queued.serving(args):
                if self._is_for_loop(target):
                    message = self.run_here(self.message, id_, target, args)
                else:
                    message, failures = await self.run(partial(self._attempt, id_, target, args))
                    if message is None:
                        if not self.closed:
                            self._send_first(failures)
                        return
                if len(message) > 2 and inspect.isawaitable(message[2]):
                    message[2] = await self.awaited(message[2])
            payload = self._codec.encode(*message)
            await self.when_drained(len(payload))
            self._link.send(payload)
        except Exception as error:
            if not self.closed:
                self.run_here(self._fail, id_, error)

    def _attempt(self, id_: Any, target: Target, args: Any) -> tuple[Any, list[list[Any]]]:
        """Do what is asked; return the answer, or None and what can be answered to a failure.

        Where a method fails in a thread, the program is told there.
        """
        try:
            return self.message(id_, target, args), []
        except BaseException as error:
            return None, self._failed(id_, error)

    def _is_for_loop(self, target: Target) -> bool:
        """Return whether a request needs no code of the program but for ``async def`` methods."""
        kind, server = type(self), self.server
        if target.kind == METHODS:
            return kind._handle_methods is Responder._handle_methods
        if target.kind != CALL or kind._handle_call is not Responder._handle_call:
            return False
        if getattr(server.get_method, "__func__", None) is not EPCDispatcher.get_method:
            return False
        name = target.name if type(target.name) is str else str(target.name)
        if name in server.funcs or server.instance is None:
            func = server.funcs.get(name)
            return func is None or is_async(func)
        if hasattr_static(server.instance, "_get_method"):
            return False
        return is_async(inspect.getattr_static(server.instance, name, None))

    def _send(self, kind: str, uid: Any, *parts: Any) -> None:
        self._link.send(self._codec.encode(kind, uid, *parts))

    def notice(self, payload: Any) -> None:
        """Hands an answer that nobody waits for to :meth:`handle_error`."""
        self.unclaimed(payload)

    # -- who is connected

    async def open(self) -> None:
        """Put the connection on the server's list. Nothing is served before."""
        add = partial(self.server.add_client, self)
        if not runs_code(self.server, "add_client", "handle_client_connect"):
            add()
            return
        self._link.hold(True, 0)
        try:
            await self.run(add)
        finally:
            self._hold()

    def end_thread(self) -> None:
        """Take the connection off the server's list, and end its thread."""
        remove: Any = partial(self.server.remove_client, self)
        if not runs_code(self.server, "remove_client", "handle_client_disconnect"):
            remove = remove()
        if self._calls.is_empty:
            self._calls.close()
            self.run_last(remove)
        else:
            self.run_last(partial(self._end, remove))

    def _end(self, remove: Callable[[], object] | None) -> None:
        try:
            if remove is not None:
                remove()
        finally:
            self._calls.close()


class EPCService(service.EPCService):
    """Methods for Emacs, to be given to :class:`rpyc_like.aio.Server` instead of a service.

    Args:
        options: see :class:`.EPCCore`.
    """

    def connect_in_loop(
        self, channel: Any, config: dict[str, Any], workers: ConnectionThreads | None
    ) -> EPCConnection:
        """Begins a connection over the stream of a channel."""
        connection = EPCConnection(channel.stream, self, workers)
        connection.introduce(config, client_of(channel))
        return connection


class _Client(EPCClientManager, EPCCore):
    """What a client offers to its server."""

    def __init__(self) -> None:
        EPCClientManager.__init__(self)
        EPCCore.__init__(self)


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
