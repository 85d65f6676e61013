"""One EPC connection: what a session and the driver for threads need to know of the protocol."""

from __future__ import annotations

import logging
import weakref
from itertools import count
from typing import Any, Protocol

from ..link.backlog import weight_of
from ..link.channel import Channel
from ..link.plain_peer import PlainPeer
from ..link.result import AsyncResult
from ..link.threaded import ThreadedLink
from ..wire.framing import EpcFramer
from ..wire.session import NOTICE, Outcome, Session
from ..wire.sexp.reader import Reader
from ..wire.sexp.values import CONTENTS
from .codec import CALL, METHODS, EpcCodec, Target
from .errors import (
    CallerUnknown,
    EPCClosed,
    EPCError,
    EPCErrorCallerUnknown,
    EPCTimeout,
    ReturnErrorCallerUnknown,
)

__all__ = ["EpcPeer", "EpcSession", "RequestHandler", "weight"]

logger = logging.getLogger("epc")


def weight(outcome: Outcome) -> int:
    """Return how many bytes of memory a message of EPC's takes."""
    return weight_of(outcome, CONTENTS)


class RequestHandler(Protocol):
    """What answers the peer's requests."""

    def answer(self, uid: Any, target: Target, args: Any) -> None:
        """Does what is asked and sends exactly one answer."""

    def unclaimed(self, error: CallerUnknown) -> None:
        """Is told of an answer that nobody waits for."""

    def disconnected(self, error: BaseException | None) -> None:
        """Is told once that the connection is gone."""


class EpcSession(Session):
    """A session that tells of answers which nobody waits for."""

    def _unclaimed(self, failed: bool, value: Any) -> Outcome:
        kind = CallerUnknown
        if failed:
            kind = EPCErrorCallerUnknown if type(value) is EPCError else ReturnErrorCallerUnknown
            value = value.args[0]
        return (NOTICE, kind(value))


class EpcPeer(PlainPeer):
    """The other side of an EPC connection.

    Args:
        stream: an open stream, which belongs to the connection from then on.
        handler: answers the peer's requests.
        reader: reads values.
    """

    timeout_class = EPCTimeout

    def __init__(self, stream: Any, handler: RequestHandler, reader: Reader | None = None) -> None:
        self.codec = EpcCodec(reader)
        self.session = EpcSession(self.codec)
        self.session.pending.numbers = count(1)
        self._handler = handler
        self.link = ThreadedLink(Channel(stream, framer=EpcFramer()), self.session, self)
        self.link.closed_class = EPCClosed
        self.link.queued.weigh = weight

    # -- requests of this side

    def call(self, name: str, args: Any) -> AsyncResult:
        """Calls a method of the peer.

        Args:
            args: a sequence; a dict becomes a property list, a text is sent as it is.
        """
        return self.link.request(AsyncResult(self), Target(CALL, name), args)

    def methods_sync(self, timeout: float | None) -> Any:
        """Returns which methods the peer has."""
        return self.call_sync(Target(METHODS), (), timeout)

    def methods(self) -> AsyncResult:
        """Asks which methods the peer has."""
        return self.link.request(AsyncResult(self), Target(METHODS), ())

    def describe(self, target: Target) -> str:
        """Returns the name of the method."""
        return str(target.name or METHODS)

    # -- answers

    def send(self, kind: str, uid: Any, *parts: Any) -> None:
        """Sends a message.

        Raises:
            LimitExceeded: it has a value, and the clients of the server hold too much. What says
                that a request has failed is small, and sent in any case.
        """
        payload = self.codec.encode(kind, uid, *parts)
        with self.link.queued.holding(len(payload) if kind == "return" else 0):
            self.link.send(payload)

    # -- what the link asks for

    def serve_request(self, id_: Any, target: Target, args: Any) -> None:
        """Has the handler answer."""
        try:
            self._handler.answer(id_, target, args)
        except EOFError as error:
            self.link.answer_failed(error)

    def notice(self, payload: Any) -> None:
        """Tells the handler of an answer that nobody waits for."""
        self._handler.unclaimed(payload)

    def route(self, target: Target) -> tuple[int | None, int]:
        """Returns that any thread may serve a request."""
        return None, 0

    def disconnected(self, error: BaseException | None) -> None:
        """Tells the handler."""
        self._handler.disconnected(error)
        if not self.link.unbegun:
            self._handler = weakref.proxy(self._handler)

    # -- the end

    def close(self) -> None:
        """Hangs up. EPC has no goodbye."""
        self.link.lose(None)
