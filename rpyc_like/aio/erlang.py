"""Erlang ports in asyncio programs, in the manner of erlport 0.6.

::

    async with erlang.Port(packet=4, use_stdio=True) as port:
        async for term in port:
            port.write((Atom("echo"), term))

Terms, atoms and errors are those of :mod:`rpyc_like.erlport`. A :class:`Protocol` may have handlers
that are ``async def``, and :class:`PortService` puts one behind :class:`rpyc_like.aio.Server`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from ..core.proxies.async_iterators import is_async
from ..erlport import erlterms, service
from ..erlport.erlproto import BADARG, Broken, PortCodec, is_answer, report
from ..erlport.erlproto import Protocol as PlainProtocol
from ..erlport.port_streams import stream_of_port
from ..errors import ConnectionClosed, LimitExceeded, ProtocolError
from ..lib.connection_threads import ConnectionThreads
from ..lib.finalizers import may_run_code
from ..link.aio_plain_peer import AioPeer
from ..link.backlog import weight_of
from ..link.channel import Channel, client_of
from ..wire.etf.decoder import MAX_INFLATED_SIZE
from ..wire.framing import MAX_FRAME_SIZE, ErlangFramer
from ..wire.messages import REQUEST, Message
from ..wire.session import Session

__all__ = ["Port", "PortService", "Protocol"]

logger = logging.getLogger("rpyc_like.erlport")

_END = object()
_MOST_UNREAD = 1000  # terms that are kept for a program that does not read them
_MOST_QUEUED = 16 << 20  # bytes of these, and of frames that are kept beside them


class _Codec(PortCodec):
    """Terms that come are requests without a number, unless they answer one of this side's."""

    pending: Any = ()

    def decode(self, payload: bytes) -> Message:
        if len(self.pending):
            term = self.term(payload)
            if is_answer(term) and term[1] in self.pending:
                return super().decode(payload)
        return (REQUEST, None, None, payload)  # which is smaller than what it becomes


class Port(AioPeer):
    """Terms over a pair of descriptors, on the running loop.

    Args:
        packet: size of the length before each term, in bytes: 1, 2 or 4.
        use_stdio, compressed, descriptors, stream, max_frame_size, max_inflated_size, max_memory:
            see :class:`rpyc_like.erlport.Port`.
        workers: threads for handlers that are not ``async def``.

    Raises:
        ValueError: ``packet`` is something else.
    """

    def __init__(
        self,
        packet: int = 1,
        use_stdio: bool = False,
        compressed: Any = False,
        descriptors: tuple[int, int] | None = None,
        *,
        stream: Any = None,
        max_frame_size: int = MAX_FRAME_SIZE,
        max_inflated_size: int = MAX_INFLATED_SIZE,
        max_memory: int | None = None,
        workers: ConnectionThreads | None = None,
    ) -> None:
        framer = ErlangFramer(packet, max_frame_size)
        self._codec = _Codec(compressed, max_inflated_size, max_memory)
        self._unread: deque[bytes] = deque()
        self._unread_size = 0
        self._came = asyncio.Event()
        self._turn: asyncio.Future[None] | None = None  # ends when the next term may be handled
        if stream is None:
            stream = stream_of_port(use_stdio, descriptors)
        super().__init__(Channel(stream, framer=framer), Session(self._codec), workers)
        self._codec.pending = self.session.pending
        self._link.receiver.max_queued = _MOST_QUEUED
        self._link.queued.weigh = partial(weight_of, contents=erlterms.CONTENTS)

    async def __aenter__(self) -> Port:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- terms

    async def read(self) -> Any:
        """Returns the next term.

        Raises:
            EOFError: Erlang has closed the port.
            IncompleteData: a frame is empty, or ends within a term.
            ValueError: a frame holds something else.
        """
        term = await self._next()
        if type(term) is Broken:
            raise term.error
        return term

    async def _next(self) -> Any:
        while not self._unread:
            if self._link.lost:
                if isinstance(self._link.error, ProtocolError):
                    raise self._link.error
                raise self._link.closed_error()
            self._came.clear()
            await self._came.wait()
        payload = self._unread.popleft()
        self._unread_size -= len(payload)
        self._link.queued.remove(len(payload))
        self._hold()
        return self._codec.term(payload)

    def __aiter__(self) -> Port:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.read()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    def write(self, message: Any) -> None:
        """Writes a term, now or when there is room; see :meth:`drained`.

        Raises:
            ValueError: the value is no term.
            LocalProtocolError: it is longer than ``packet`` allows.
            EOFError: Erlang has closed the port.
        """
        self._link.send(erlterms.encode(message, self._codec.compressed))

    async def write_later(self, message: Any) -> None:
        """Write a term when Erlang takes more; it counts for the server until then.

        Raises:
            LimitExceeded: the clients of the server hold too much.
        """
        payload = erlterms.encode(message, self._codec.compressed)
        await self.when_drained(len(payload))
        self._link.send(payload)

    async def write_yielded(self, terms: GeneratorType[Any, Any, Any]) -> None:
        """Write what a generator of the program yields, which runs where handlers do."""
        try:
            while True:
                term = await self.run(partial(next, terms, _END))
                if term is _END:
                    return
                await self.write_later(term)
        except BaseException:
            self.run_soon(terms.close)
            raise

    async def drained(self) -> None:
        """Waits until Erlang takes more."""
        await self._link.drained()

    async def call(
        self, module: str, function: str, args: Any, timeout: float | None = None
    ) -> Any:
        """Asks Erlang for something and returns the answer, as ``call`` of a blocking port does.

        Raises:
            CallError: the answer is an error.
            TimeoutError: it did not come in time.
            EOFError: Erlang has closed the port.
        """
        self._next_turn()
        return await self.request((module, function), args, timeout)

    async def serve_with(self, protocol: Protocol) -> None:
        """Has a protocol handle what comes, until the port is closed.

        One term is handled after the other; but while a handler waits for an answer of Erlang's,
        the next one is.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                term = await self._next()
            except ConnectionClosed:
                return
            if type(term) is Broken:
                logger.warning("! %s", term.error)
                self.write(BADARG)
                continue
            self._turn = loop.create_future()
            task = loop.create_task(self._handle(protocol, term))
            self._tasks[task] = term
            task.add_done_callback(self._handled)
            await self._turn
            await self.drained()
            while len(self._tasks) >= _MOST_UNREAD:  # handlers that wait for answers of Erlang's
                await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def _handle(self, protocol: Protocol, term: Any) -> None:
        """Have a protocol handle a term, which counts for the server meanwhile."""
        try:
            with self._link.queued.serving(term):
                handling: Any = protocol.handle_term(self, term)
                if type(protocol).handle_term is not Protocol.handle_term:
                    handling = self.awaited(handling)  # else what it calls is, each by itself
                await handling
        except LimitExceeded as error:
            report(self, error)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._ended(task)
        self._next_turn()

    def _next_turn(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    # -- what the link asks for

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        """Keeps a term for :meth:`read`."""
        self._unread.append(args)
        self._unread_size += len(args)
        self._link.queued.add(len(args))
        self._came.set()
        self._hold()

    def _hold(self) -> None:
        held = len(self._unread) >= _MOST_UNREAD or self._unread_size >= _MOST_QUEUED
        self._link.hold(held, len(self._tasks))

    def disconnected(self, error: BaseException | None) -> None:
        """Wakes who reads, and cancels handlers."""
        self._came.set()
        super().disconnected(error)


class Protocol(PlainProtocol):
    """Serves requests as :class:`rpyc_like.erlport.Protocol` does; handlers may be ``async def``.

    One that is an asynchronous generator sends each value it yields. A handler that waits lets
    other tasks of the program run.
    """

    async def handle_term(self, port: Port, message: Any) -> None:
        """Handles one message; override it to do something else with all of them."""
        found = port.run_here(self.handler_of, port, message)
        if found is None:
            return
        handler, args = found
        try:
            if is_async(handler):
                reply = port.run_here(handler, *args)
            else:
                reply = await port.run(partial(handler, *args))
            if type(reply) is AsyncGeneratorType:
                await port.awaited(_write_all(port, reply))
                return
            if inspect.isawaitable(reply):
                reply = await port.awaited(reply)
            replies = port.run_here(self.replies, reply)
            if type(replies) is GeneratorType:
                await port.write_yielded(replies)
            else:
                for one in replies:
                    await port.write_later(one)
        except ConnectionClosed:
            raise
        except Exception as error:
            port.run_here(self.failed, port, handler, error)


async def _write_all(port: Port, replies: AsyncGeneratorType[Any, Any]) -> None:
    async for one in replies:
        port.write(one)
        await port.drained()


class PortService(service.PortService):
    """A protocol behind :class:`rpyc_like.aio.Server`.

    Args:
        protocol: makes the :class:`Protocol` of each connection: its class, for example.
        packet: size of the length before each term, in bytes: 1, 2 or 4.
        options: see :class:`Port`.
    """

    _protocol: Callable[[], Protocol]

    def connect_in_loop(
        self, channel: Any, config: dict[str, Any], workers: ConnectionThreads | None
    ) -> Port:
        """Begins a connection over the stream of a channel."""
        port = _ServedPort(self._packet, stream=channel.stream, workers=workers, **self._options)
        port.introduce(config, client_of(channel))
        port.make_protocol = self._protocol
        return port


class _ServedPort(Port):
    """A port whose terms a protocol handles from the beginning."""

    make_protocol: Callable[[], Protocol]

    async def open(self) -> None:
        """Serve until the connection ends. The protocol is made and dropped where handlers run."""
        make = self.make_protocol
        made: list[Protocol] = []
        try:
            plain = isinstance(make, type) and inspect.getattr_static(make, "__init__")
            if plain is object.__init__:  # which runs no code of the program
                made.append(self.run_here(make))
            else:
                made.append(await self.run(make))
            await self.serve_with(made[0])
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(set(self._tasks))
            self.run_last(made.clear if may_run_code(made) else None)

    def end_thread(self) -> None:
        """Leave the thread to :meth:`open`, whose handlers may have something to do yet."""
