"""One connection, in the shape of python-epc's: a request handler of ``socketserver``."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Callable, Iterator
from threading import current_thread, main_thread
from typing import Any

from ..lib import primitives
from ..lib.lifetimes import weak_call
from ..lib.threads import ThreadCache
from ..link.result import AsyncResult
from ..link.serve.leader_follower import LeaderFollower
from ..link.streams import SocketStream
from ..wire.sexp.reader import Reader
from ..wire.sexp.values import Symbol
from ..wire.sexp.writer import write
from .codec import CALL, Target
from .errors import (
    BaseRemoteError,
    CallerUnknown,
    EPCClosed,
    EPCError,
    EPCErrorCallerUnknown,
    ReturnError,
    ReturnErrorCallerUnknown,
)
from .peer import EpcPeer
from .responder import Responder

__all__ = [
    "BaseRemoteError",
    "BlockingCallback",
    "CallerUnknown",
    "EPCCallManager",
    "EPCClosed",
    "EPCError",
    "EPCErrorCallerUnknown",
    "EPCHandler",
    "ReturnError",
    "ReturnErrorCallerUnknown",
    "ThreadingEPCHandler",
    "encode_message",
    "encode_object",
    "encode_string",
    "itermessage",
    "unpack_message",
]

Callback = Callable[[Any], Any]


def encode_string(string: str) -> bytes:
    """Returns a text as a frame: six hexadecimal digits, then UTF-8 with a newline."""
    payload = string.encode("utf-8") + b"\n"
    return b"%06x" % len(payload) + payload


def encode_object(obj: Any, **kwds: Any) -> bytes:
    """Returns a value as a frame."""
    return encode_string(write(obj))


def encode_message(name: str, *args: Any, **kwds: Any) -> bytes:
    """Returns a message as a frame: a list of the symbol ``name`` and the arguments."""
    return encode_object([Symbol(name), *args])


def unpack_message(bytes: bytes) -> tuple[str, Any, list[Any]]:
    """Returns name, number and the rest of a message, from its payload."""
    message = Reader().read(bytes.decode("utf-8"))
    return (message[0].value(), message[1], message[2:])


def itermessage(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yields payloads.

    Args:
        read: returns so many bytes, fewer only at the end.
    """
    while True:
        head = read(6)
        if not head:
            return
        size = int(head, 16)
        payload = read(size)
        if len(payload) < size:
            raise ValueError(f"expected {size} bytes, got {len(payload)}")
        yield payload


class BlockingCallback:
    """Waits for one of two functions to be called: with a value, or with an error."""

    def __init__(self) -> None:
        self._answers: primitives.Queue[tuple[bool, Any]] = primitives.Queue()
        self.cbs: dict[str, Callback] = {"callback": self.callback, "errback": self.errback}

    def callback(self, value: Any) -> None:
        """Takes a value."""
        self._answers.put((True, value))

    def errback(self, error: Any) -> None:
        """Takes an error."""
        self._answers.put((False, error))

    def result(self, timeout: float | None) -> Any:
        """Returns the value or raises the error; :class:`queue.Empty` after ``timeout`` seconds."""
        succeeded, value = self._answers.get(timeout=timeout)
        if succeeded:
            return value
        raise value


class EPCCallManager:
    """The calls of this side that wait for their answers.

    Args:
        peer: makes the calls.
    """

    def __init__(self, peer: EpcPeer) -> None:
        self._peer = peer

    @property
    def callbacks(self) -> dict[int, Any]:
        """The calls that wait, by number; a copy."""
        return self._peer.session.pending.waiting()

    def get_uid(self) -> int:
        """Returns a number that no call has had."""
        return next(self._peer.session.pending.numbers)

    def call(
        self,
        handler: EPCHandler,
        name: str,
        args: Any = (),
        callback: Callback | None = None,
        errback: Callback | None = None,
    ) -> None:
        """Calls a method; see :meth:`EPCHandler.call`."""
        handler.call(name, args, callback, errback)

    def methods(
        self,
        handler: EPCHandler,
        callback: Callback | None = None,
        errback: Callback | None = None,
    ) -> None:
        """Asks which methods there are; see :meth:`EPCHandler.methods`."""
        handler.methods(callback, errback)


class EPCHandler(Responder, socketserver.StreamRequestHandler):
    """A connection to an EPC peer. What the peer asks is done in the thread that serves it.

    It belongs to a server or client (``server``), whose methods are called.
    """

    peer: EpcPeer

    def setup(self) -> None:
        """Begins the connection on ``request``, a socket."""
        self.connection = self.request
        stream = self.request
        if isinstance(stream, socket.socket):
            stream = SocketStream(stream)
        self.peer = EpcPeer(stream, self, self.server.reader)
        self.peer.credentials = self.server.take_credentials(self.request)
        client = self.server.take_client(self.request)
        self._calls = self._peer_calls(weak_call(self, "_look"))
        if client is not None:
            self.peer.count_for(client)
            self._calls.count_for(client.account.add)
        self.callmanager = EPCCallManager(self.peer)
        if type(self)._handle is not EPCHandler._handle:
            self.peer.link.dispatch_with(self._handle)
        self._prepare()
        self.server.add_client(self)

    def _prepare(self) -> None:
        """Decides which threads serve the peer's requests."""

    def handle(self) -> None:
        """Serves until the connection ends."""
        self.peer.link.serve_forever()

    def finish(self) -> None:
        """Ends the connection."""
        self.peer.close()

    def _look(self) -> None:
        """Raise if the connection has ended."""
        if self.peer.link.closed:
            raise self.peer.link.closed_error()

    def close(self) -> None:
        """Hangs up; whoever waits for an answer gets :class:`EPCClosed`. Idempotent."""
        self.peer.close()

    def disconnected(self, error: BaseException | None) -> None:
        """Takes the connection off the server's list."""
        self.server.remove_client(self)
        self._calls.close()
        if self.peer.link.dispatch is not None:
            self.peer.link.dispatch = weak_call(self, "_handle")

    # -- the peer's requests

    def _handle(self, sexp: bytes) -> None:
        """Acts on a payload; programs override it."""
        self.peer.link.take(sexp)

    def answer(self, uid: Any, target: Target, args: Any) -> None:
        """Does what is asked, and sees to it that exactly one answer is sent."""
        try:
            with self.peer.link.queued.serving(args):
                self._send(*self.message(uid, target, args))
        except EOFError as error:
            if self.peer.link.closed:
                raise
            self._fail(uid, error)
        except BaseException as error:
            self._fail(uid, error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)) and _in_main_thread():
                raise

    def _send(self, kind: str, uid: Any, *parts: Any) -> None:
        """Sends a message, an answer as a rule."""
        self.peer.send(kind, uid, *parts)

    # -- requests of this side

    def call(
        self,
        name: str,
        args: Any = (),
        callback: Callback | None = None,
        errback: Callback | None = None,
    ) -> None:
        """Calls a method of the peer and returns at once.

        Args:
            args: the arguments; a dict is sent as a property list.
            callback: called with the value when it comes.
            errback: called with the error (:class:`ReturnError`, :class:`EPCError`,
                :class:`EPCClosed`) instead; without it the error goes to :meth:`handle_error`.
                What either raises is logged here.
        """
        self._deliver(self.peer.call(name, args), callback, errback)

    def methods(self, callback: Callback | None = None, errback: Callback | None = None) -> None:
        """Asks which methods the peer has."""
        self._deliver(self.peer.methods(), callback, errback)

    def async_call(self, name: str, *args: Any) -> AsyncResult:
        """Calls a method of the peer and returns the :class:`AsyncResult` of the answer."""
        return self.peer.call(name, args)

    def call_sync(self, name: str, args: Any, timeout: float | None = None) -> Any:
        """Calls a method of the peer and returns the value.

        Args:
            timeout: seconds that the answer may take, None for any time.

        Raises:
            ReturnError, EPCError: the peer answered with an error.
            EPCClosed: the connection was lost.
            queue.Empty: no answer came in time.
        """
        return self.peer.call_sync(Target(CALL, name), args, timeout)

    def methods_sync(self, timeout: float | None = None) -> Any:
        """Returns ``(name, arguments, docstring)`` of the peer's methods."""
        return self.peer.methods_sync(timeout)

    def _deliver(
        self, result: AsyncResult, callback: Callback | None, errback: Callback | None
    ) -> None:
        def deliver(done: AsyncResult) -> None:
            try:
                value = done.value
            except BaseException as error:
                if errback is None:
                    self._is_handled(error)
                    return
                func, value = errback, error
            else:
                if callback is None:
                    return
                func = callback
            try:
                func(value)
            except Exception:
                self.logger.exception("a callback failed")

        result.add_callback(deliver)


class ThreadingEPCHandler(EPCHandler):
    """A connection whose requests are served at the same time, each in a thread of its own.

    A quick one is served by the thread that has read it; see :mod:`.serve.leader_follower`.
    """

    def handle(self) -> None:
        """Serves until the connection ends."""
        if self.server.pool is None:
            LeaderFollower(self.peer.link).serve()
        else:
            super().handle()

    def _prepare(self) -> None:
        pool = self.server.pool
        if pool is None:
            self.peer.link.workers = ThreadCache().run
        elif self.server.ordered:
            lane = object()
            self.peer.link.workers = lambda func, mark: pool.run(func, lane)
        else:
            self.peer.link.workers = lambda func, mark: pool.run(func, object())


def _in_main_thread() -> bool:
    return current_thread() is main_thread()
