"""The asyncio driver: one message connection on an event loop.

The counterpart of :mod:`rpyc_like.link.connection` with the same session, framers and outcomes. It
belongs to the loop it was made on; only :meth:`AioMessageConnection.call_soon` may be used from
other threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ConnectionClosed
from ..wire.framing import Framer
from ..wire.session import ANSWER, BROKEN, CALL, NOTICE, Session, State
from . import forking
from .calls import Calls
from .receiving import FRAME_TIMEOUT, FrameClock

__all__ = ["AioApplication", "AioMessageConnection", "AioResult"]

logger = logging.getLogger("rpyc_like.link")


class AioResult:
    """The answer to a request, to be awaited once."""

    __slots__ = ("_future", "id_")

    def __init__(self) -> None:
        self._future: asyncio.Future[tuple[bool, Any]] = asyncio.get_running_loop().create_future()
        self.id_: int | None = None

    def settle(self, failed: bool, value: Any) -> bool:
        """Stores the answer and wakes who awaits it; has no callbacks."""
        if not self._future.done():
            self._future.set_result((failed, value))
        return False

    def run_callbacks(self) -> None:
        """Has none: the future wakes its task through the loop."""

    async def outcome(self) -> tuple[bool, Any]:
        """Returns whether the answer is an exception, and the answer."""
        return await self._future


class AioApplication(Protocol):
    """What runs on top of an asyncio message connection."""

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        """Does what the peer asks, or starts a task that does, and has the answer sent."""

    def disconnected(self, error: BaseException | None) -> None:
        """Is told once that the connection is gone."""

    def recover(self, error: BaseException) -> BaseException | None:
        """Takes a broken conversation up again, or returns the error to end it with."""


class AioMessageConnection(asyncio.Protocol):
    """Requests and answers over an asyncio transport.

    Args:
        session: knows the protocol.
        application: serves the peer's requests.
        make_framer: makes what delimits payloads, one for each transport.
        frame_timeout: seconds for a frame that has been started; None to wait for ever.
    """

    def __init__(
        self,
        session: Session,
        application: AioApplication,
        make_framer: Callable[[], Framer],
        frame_timeout: float | None = FRAME_TIMEOUT,
    ) -> None:
        self.session = session
        self.error: BaseException | None = None
        self.ended = asyncio.Event()
        self.application = application
        self.calls = Calls()
        """What the peer has said about its requests."""
        self._make_framer = make_framer
        self._framer = make_framer()
        self._frame_timeout = frame_timeout
        self._clock: FrameClock | None = None  # runs while a frame is incomplete
        self._alarm: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._room.set()
        forking.remember(self)

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._framer = self._make_framer()

    def data_received(self, data: bytes) -> None:
        transport, framer = self._transport, self._framer
        payloads = framer.feed(data)
        if payloads:
            self._clock = None
        for payload in payloads:
            self._receive(payload)
            if self._transport is not transport:
                return  # the conversation goes on elsewhere, or not at all
        if framer.error is not None:
            self._break(framer.error)
        elif not framer.idle or self._clock is not None:
            self._watch(len(data))

    def _watch(self, size: int) -> None:
        """Watches over a frame that has been started."""
        if self._framer.idle:
            self._clock = None
        elif self._clock is None:
            self._clock = FrameClock(self._frame_timeout)
        else:
            self._clock.received += size
        if self._clock is not None and self._alarm is None:
            left = self._clock.left()
            if left is not None:
                self._alarm = self._loop.call_later(left, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._clock is not None and not self.ended.is_set():
            if self._clock.expired():
                self._break(self._clock.error())
            else:
                self._watch(0)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._break(exc or ConnectionClosed("connection closed by peer"))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    @property
    def lost(self) -> bool:
        """Whether the peer is gone."""
        return self.ended.is_set()

    # -- messages

    def _receive(self, payload: bytes) -> None:
        outcome = self.session.receive(payload)
        kind = outcome[0]
        if kind is ANSWER:
            outcome[1].settle(outcome[2], outcome[3])
        elif kind is CALL:
            self.application.serve_request(outcome[1], outcome[2], outcome[3])
        elif kind is BROKEN:
            self._break(outcome[1])
        else:
            assert kind is NOTICE or len(outcome) == 1

    def request(self, result: AioResult, target: Any, args: Any, *before: bytes) -> None:
        """Sends a request whose answer goes to ``result``."""
        if self.session.state is State.CLOSED:
            raise self.closed_error()
        result.id_, payload = self.session.request(result, target, args)
        self.send(*before, payload)

    def send(self, *payloads: Any) -> None:
        """Sends payloads, in one write."""
        if self._transport is None:
            raise self.closed_error()
        encode = self._framer.encode
        whole = [b"".join(one) if type(one) is list else one for one in payloads]
        self._transport.write(b"".join([encode(payload) for payload in whole]))

    async def drained(self) -> None:
        """Waits until the transport takes more."""
        await self._room.wait()

    def call_soon(self, func: Callable[[], Any]) -> None:
        """Has ``func`` called on the loop. From any thread."""
        try:
            self._loop.call_soon_threadsafe(func)
        except RuntimeError:
            pass  # the loop is closed

    # -- the end

    def detach(self) -> None:
        """Drops the transport; the conversation goes on over another."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_protocol(asyncio.Protocol())
            transport.abort()

    def closed_error(self) -> ConnectionClosed:
        """Returns the error for whoever still wants something."""
        closed = ConnectionClosed(str(self.error) if self.error else "connection is closed")
        closed.__cause__ = self.error
        return closed

    def _break(self, error: BaseException) -> None:
        if self.ended.is_set():
            return
        remaining = self.application.recover(error)
        if remaining is not None:
            self.lose(remaining)

    def lose(self, error: BaseException | None) -> None:
        """Ends the connection for everybody. Idempotent."""
        if self.ended.is_set():
            return
        self.ended.set()
        self.error = error
        self._room.set()
        if self._alarm is not None:
            self._alarm.cancel()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        for entry in self.session.closed():
            entry.settle(True, self.closed_error())
        self.application.disconnected(error)

    def orphan(self) -> None:
        """Makes this copy, in a forked child, dead and silent."""
        self._transport = None
        self.ended.set()
