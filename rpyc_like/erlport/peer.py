"""One connection to Erlang: what a session and the driver for threads need to know of it."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any, Protocol

from ..link.channel import Channel
from ..link.plain_peer import PlainPeer
from ..link.result import AsyncResult
from ..link.threaded import ThreadedLink
from ..wire.codec import Codec
from ..wire.framing import ErlangFramer
from ..wire.session import Session

__all__ = ["ErlangPeer", "Handler"]


class Handler(Protocol):
    """What serves the peer's requests."""

    def answer(self, id_: Any, target: Any, args: Any) -> None:
        """Does what is asked and sends the answers."""

    def message(self, payload: Any) -> None:
        """Takes a message that is not answered."""

    def disconnected(self, error: BaseException | None) -> None:
        """Is told once that the connection is gone."""


class ErlangPeer(PlainPeer):
    """The other side of a connection to Erlang.

    Args:
        stream: an open stream, which belongs to the connection from then on.
        framer: what delimits messages.
        codec: what messages look like.
        handler: serves the peer's requests.
    """

    def __init__(self, stream: Any, framer: ErlangFramer, codec: Codec, handler: Handler) -> None:
        self.handler = handler
        self.session = Session(codec)
        self.link = ThreadedLink(Channel(stream, framer=framer), self.session, self)
        self.batch = self.link.batch

    # -- requests of this side

    def call(self, target: Any, args: Any) -> AsyncResult:
        """Sends a request and returns the :class:`AsyncResult` of its answer."""
        return self.link.request(AsyncResult(self), target, args)

    # -- serving

    def serve_here(self) -> None:
        """Serves until the connection ends; every request in this thread, one after the other.

        While one of them waits for an answer of the peer's, the next may be served.
        """
        try:
            self.link.serve_in_order()
        finally:
            self._flush()

    # -- what the link asks for

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        """Has the handler answer."""
        try:
            self.handler.answer(id_, target, args)
            if not self.link.backlog:
                self.batch.flush()
        except EOFError as error:
            if not self.link.closed:
                self.link.answer_failed(error)

    def notice(self, payload: Any) -> None:
        """Hands a message to the handler."""
        self.handler.message(payload)

    def route(self, target: Any) -> tuple[int | None, int]:
        """Returns the thread of :meth:`serve_here`, if there is one."""
        thread = self.link.server_thread
        return None if thread is None else thread.ident, 0

    def disconnected(self, error: BaseException | None) -> None:
        """Tells the handler."""
        self.handler.disconnected(error)
        if not self.link.unbegun:
            self.handler = weakref.proxy(self.handler)

    def recover(self, error: BaseException) -> BaseException | None:
        """Returns the error: there is no other way to go on. What was answered is still sent."""
        with contextlib.suppress(EOFError):
            self.link.sender.try_send()
        return error

    # -- the end

    def close(self) -> None:
        """Hangs up. There is no goodbye."""
        self._flush()
        self.link.lose(None)

    def _flush(self) -> None:
        with contextlib.suppress(EOFError):
            self.batch.flush()
