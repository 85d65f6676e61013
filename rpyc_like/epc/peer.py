"""One EPC connection: what a session and the driver for threads need to know of the protocol."""

from __future__ import annotations

import logging
from itertools import count
from typing import Any, Protocol

from ..lib.timing import Timeout
from ..link.channel import Channel
from ..link.connection import MessageConnection
from ..link.result import AsyncResult, Unfinished
from ..wire.framing import EpcFramer
from ..wire.session import NOTICE, Outcome, Session
from .codec import CALL, METHODS, EpcCodec, Target
from .errors import (
    CallerUnknown,
    EPCClosed,
    EPCError,
    EPCErrorCallerUnknown,
    EPCTimeout,
    ReturnErrorCallerUnknown,
)
from .reader import Reader

__all__ = ["EpcPeer", "RequestHandler"]

logger = logging.getLogger("epc")


class RequestHandler(Protocol):
    """What answers the peer's requests."""

    def answer(self, uid: Any, target: Target, args: Any) -> None:
        """Does what is asked and sends exactly one answer."""

    def unclaimed(self, error: CallerUnknown) -> None:
        """Is told of an answer that nobody waits for."""

    def disconnected(self, error: BaseException | None) -> None:
        """Is told once that the connection is gone."""


class _EpcSession(Session):
    """A session that tells of answers which nobody waits for."""

    def _unclaimed(self, failed: bool, value: Any) -> Outcome:
        kind = CallerUnknown
        if failed:
            kind = EPCErrorCallerUnknown if type(value) is EPCError else ReturnErrorCallerUnknown
            value = value.args[0]
        return (NOTICE, kind(value))


class EpcPeer:
    """The other side of an EPC connection.

    Args:
        stream: an open stream, which belongs to the connection from then on.
        handler: answers the peer's requests.
        reader: reads values.
    """

    def __init__(self, stream: Any, handler: RequestHandler, reader: Reader | None = None) -> None:
        self.codec = EpcCodec(reader)
        self.session = _EpcSession(self.codec)
        self.session.pending.numbers = count(1)
        self._handler = handler
        self.link = MessageConnection(Channel(stream, framer=EpcFramer()), self.session, self)
        self.link.closed_class = EPCClosed

    # -- requests of this side

    def call(self, name: str, args: Any) -> AsyncResult:
        """Calls a method of the peer.

        Args:
            args: a sequence; a dict becomes a property list, a text is sent as it is.
        """
        return self.link.request(AsyncResult(self), Target(CALL, name), args)

    def call_sync(self, name: str, args: Any, timeout: float | None) -> Any:
        """Calls a method of the peer and returns the value."""
        return self._exchange(Target(CALL, name), args, timeout)

    def methods_sync(self, timeout: float | None) -> Any:
        """Returns which methods the peer has."""
        return self._exchange(Target(METHODS), (), timeout)

    def _exchange(self, target: Target, args: Any, timeout: float | None) -> Any:
        result = AsyncResult(self)
        self.link.exchange(result, target, args, timeout, ())
        if not result._ready:
            raise self.expire(result)
        return result.value

    def methods(self) -> AsyncResult:
        """Asks which methods the peer has."""
        return self.link.request(AsyncResult(self), Target(METHODS), ())

    def wait_for(self, result: AsyncResult, deadline: Timeout | None) -> None:
        """Serves the connection until the result has come or the time is over."""
        self.link.wait(result, deadline)

    def poll_all(self, timeout: float = 0) -> bool:
        """Serves what has arrived."""
        served = False
        try:
            while self.link.serve(Timeout(timeout), False):
                served = True
        except EOFError:
            pass
        return served

    def finish(self, value: Unfinished) -> Any:
        """Has nothing to do: values are plain."""
        return value

    def expire(self, result: AsyncResult) -> BaseException:
        """Forgets a call that was not answered in time."""
        if result.id_ is not None:
            self.session.pending.abandon(result.id_)
        seconds = None if result._deadline is None else result._deadline.seconds
        return EPCTimeout(f"no answer to {result.target.name or METHODS} within {seconds} s")

    # -- answers

    def send(self, kind: str, uid: Any, *parts: Any) -> None:
        """Sends a message."""
        self.link.send(self.codec.encode(kind, uid, *parts))

    # -- what the link asks for

    def serve_request(self, id_: Any, target: Target, args: Any) -> None:
        """Has the handler answer."""
        try:
            self._handler.answer(id_, target, args)
        except EOFError as error:
            self.link.lose(error)

    def notice(self, payload: Any) -> None:
        """Tells the handler of an answer that nobody waits for."""
        self._handler.unclaimed(payload)

    def route(self, target: Target) -> tuple[int | None, int]:
        """Returns that any thread may serve a request."""
        return None, 0

    def disconnected(self, error: BaseException | None) -> None:
        """Tells the handler."""
        self._handler.disconnected(error)

    def will_repeat(self) -> bool:
        """Returns False: there is one dialect."""
        return False

    def recover(self, error: BaseException) -> BaseException | None:
        """Returns the error: there is no other way to go on."""
        return error

    # -- the end

    def close(self) -> None:
        """Hangs up. EPC has no goodbye."""
        self.link.lose(None)
