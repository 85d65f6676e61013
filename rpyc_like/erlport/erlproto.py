"""Ports in the shape of erlport 0.6's: :class:`Port` moves terms, :class:`Protocol` serves them."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import GeneratorType
from typing import Any, ClassVar, Final
from typing import Protocol as TypingProtocol

from ..errors import ConnectionClosed, LimitExceeded, LocalProtocolError, ProtocolError
from ..lib.settings import FLAG, Kind, check_arguments, count, one_of
from ..link.backlog import weight_of
from ..link.receiving import MAX_QUEUED
from ..link.result import AsyncResult
from ..wire.etf.decoder import MAX_INFLATED_SIZE
from ..wire.framing import MAX_FRAME_SIZE, ErlangFramer
from ..wire.messages import FAILURE, REPLY, Message
from ..wire.session import Outcome
from . import erlterms
from .erlterms import Atom
from .errors import CallError
from .peer import ErlangPeer
from .port_streams import stream_of_port

__all__ = ["NO_REPLY", "Port", "Protocol"]

logger = logging.getLogger("rpyc_like.erlport")


class _NoReply:
    """See :data:`NO_REPLY`."""

    def __repr__(self) -> str:
        return "NO_REPLY"


_OVERHEAD: Final = 64  # what a frame that is kept costs beside its bytes

NO_REPLY: Final = _NoReply()
"""Returned by a handler that sends no reply."""


class Writer(TypingProtocol):
    """What replies are written to."""

    def write(self, message: Any) -> None:
        """Writes a term."""


class Broken:
    """A frame whose content is not a term.

    Args:
        error: what is wrong with it.
    """

    def __init__(self, error: ValueError) -> None:
        self.error = error


ARGUMENTS: dict[str, Kind] = {
    "packet": one_of(1, 2, 4),
    "use_stdio": FLAG,
    "max_frame_size": count(1),
    "max_inflated_size": count(1),
    "max_memory": count(1, optional=True),
    "max_queued_bytes": count(1),
}
"""What the arguments of :class:`Port` must be, those that have a kind."""


class PortCodec:
    """This side's requests, and the answers to them.

    Args:
        compressed: see :func:`.encode`.
        max_inflated_size, max_memory: see :class:`.Decoder`.
    """

    def __init__(
        self,
        compressed: Any,
        max_inflated_size: int = MAX_INFLATED_SIZE,
        max_memory: int | None = None,
    ) -> None:
        self.compressed = compressed
        self._decode = erlterms.limited_decoder(max_inflated_size, max_memory).decode

    def term(self, payload: bytes) -> Any:
        """Return the term in a frame, or :class:`Broken`."""
        try:
            return self._decode(payload)[0]
        except ValueError as error:
            return Broken(error)

    def decode(self, payload: bytes) -> Message:
        """Returns the answer in a frame that holds one."""
        kind, id_, value = self._decode(payload)[0]
        return (REPLY, id_, value) if kind == "r" else (FAILURE, id_, CallError(value))

    def encode_request(self, id_: Any, target: Any, args: Any) -> bytes:
        module, function = target
        call = (Atom("C"), id_, Atom(module), Atom(function), list(args), Atom("N"))
        return erlterms.encode(call, self.compressed)

    def encode_reply(self, id_: Any, value: Any) -> bytes:
        return erlterms.encode(value, self.compressed)

    encode_failure = encode_reply


def is_answer(term: Any) -> bool:
    """Returns whether a term looks like the answer to a request of this side."""
    return type(term) is tuple and len(term) == 3 and term[0] in ("r", "e") and type(term[1]) is int


class Port:
    """Terms over a pair of descriptors, as Erlang's ``open_port`` has them.

    Args:
        packet: size of the length before each term, in bytes: 1, 2 or 4.
        use_stdio: whether to use standard input and output, which are moved to other descriptors:
            what the program prints goes to standard error then.
        compressed: whether terms are compressed when written; see :func:`.encode`.
        descriptors: numbers to read from and write to; without them and without ``use_stdio`` these
            are 3 and 4.
        stream: any open stream instead, a :class:`~rpyc_like.core.stream.SocketStream` for example.
        max_frame_size: longest term to accept, in bytes.
        max_inflated_size: longest term to accept, in bytes, when it is inflated.
        max_memory: how many bytes of memory a term may become; see :class:`.Decoder`.
        max_queued_bytes: of terms that have come and not been read.

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
        max_queued_bytes: int = MAX_QUEUED,
    ) -> None:
        framer = ErlangFramer(packet, max_frame_size)  # first: a wrong packet is erlport's error
        check_arguments(ARGUMENTS, locals())
        self.packet = packet
        self._codec = PortCodec(compressed, max_inflated_size, max_memory)
        self.in_d = self.out_d = -1
        """The descriptors that are read from and written to."""
        if stream is None:
            stream = stream_of_port(use_stdio, descriptors)
            self.in_d, self.out_d = stream.incoming.fileno(), stream.outgoing.fileno()
        self.protocol: Protocol | None = None
        """Handles the terms that come; without it they are kept for :meth:`read`."""
        self._unread: deque[bytes] = deque()  # frames, which are smaller than what they become
        self._unread_size = 0
        self._max_queued = max_queued_bytes
        self._on_first: Callable[[], object] | None = None
        self._peer = ErlangPeer(stream, framer, self._codec, self)
        self._peer.link.dispatch_with(self._dispatch)
        self._peer.link.queued.weigh = partial(weight_of, contents=erlterms.CONTENTS)
        self._pending = self._peer.session.pending
        self._receiver = self._peer.link.receiver
        self._batch = self._peer.batch
        self._encode = erlterms._encoder.encode

    @property
    def compressed(self) -> Any:
        """Whether terms are compressed when written; may be set."""
        return self._codec.compressed

    @compressed.setter
    def compressed(self, compressed: Any) -> None:
        self._codec.compressed = compressed

    @property
    def peer(self) -> ErlangPeer:
        """The connection."""
        return self._peer

    # -- terms

    def read(self) -> Any:
        """Returns the next term.

        Raises:
            EOFError: Erlang has closed the port.
            IncompleteData: a frame is empty, or ends within a term.
            ValueError: a frame holds something else.
        """
        link = self._peer.link
        if not self._unread:
            link.serve_forever(self._keep_one)
        if not self._unread:
            if isinstance(link.error, ProtocolError):
                raise link.error
            raise link.closed_error()
        term = self._next_unread()
        if type(term) is Broken:
            raise term.error
        return term

    def _next_unread(self) -> Any:
        payload = self._unread.popleft()
        self._unread_size -= len(payload) + _OVERHEAD
        return self._codec.term(payload)

    def _keep(self, payload: bytes) -> None:
        size = self._unread_size + len(payload) + _OVERHEAD
        if size > self._max_queued:
            what, limit = "terms that are not read, in bytes,", self._max_queued
            self._peer.link.lose(LimitExceeded(what, size, limit, "max_queued_bytes"))
            return
        self._unread_size = size
        self._unread.append(payload)

    def _keep_one(self, outcome: Outcome) -> bool:
        self._peer.link.act(outcome)
        return bool(self._unread)

    def write(self, message: Any) -> None:
        """Writes a term.

        Raises:
            ValueError: the value is no term.
            LocalProtocolError: it is longer than ``packet`` allows.
            LimitExceeded: the clients of the server hold too much.
            EOFError: Erlang has closed the port.
        """
        payload = self._encode(message, self._codec.compressed)
        with self._peer.link.queued.holding(len(payload)):
            self._batch.send(payload)

    def call(self, module: str, function: str, args: Any, timeout: float | None = None) -> Any:
        """Asks Erlang for something and returns the answer; serves what comes in meanwhile.

        Erlang gets ``{'C', Id, Module, Function, Args, 'N'}`` and answers ``{r, Id, Value}``, or
        ``{e, Id, Reason}``.

        Args:
            args: a list of terms.
            timeout: seconds that the answer may take, None for any time.

        Raises:
            CallError: the answer is an error.
            TimeoutError: it did not come in time.
            EOFError: Erlang has closed the port.
        """
        return self._peer.call_sync((module, function), args, timeout)

    def async_call(self, module: str, function: str, args: Any) -> AsyncResult:
        """Does what :meth:`call` does, and returns an :class:`AsyncResult` at once."""
        return self._peer.call((module, function), args)

    def close(self) -> None:
        """Closes both descriptors. Idempotent."""
        self._peer.close()

    def on_first_message(self, func: Callable[[], object]) -> None:
        """Call ``func`` once, when the first term has come."""
        self._on_first = func

    # -- what the connection asks for

    def _dispatch(self, payload: bytes) -> None:
        """Has a term handled, or keeps it for :meth:`read`; or takes it for an answer."""
        link = self._peer.link
        term: Any = None
        if len(self._pending) or self._on_first is not None:
            term = self._codec.term(payload)
            if self._on_first is not None and type(term) is not Broken:
                first, self._on_first = self._on_first, None
                first()
            if len(self._pending) and self._is_answer(term):
                link.take(payload)
                return
        link.pass_on()
        if self.protocol is None:
            self._keep(payload)
        elif not link.hand_over(payload):
            if term is None:
                term = self._codec.term(payload)
            try:
                self._handle(self.protocol, term)
                if self._batch.held and not self._receiver.payloads:
                    self._batch.flush()
            except ConnectionClosed as error:
                link.lose(error)

    def _is_answer(self, term: Any) -> bool:
        return is_answer(term) and term[1] in self._pending

    def _handle(self, protocol: Protocol, term: Any) -> None:
        if type(term) is Broken:
            logger.warning("! %s", term.error)
            self.write(BADARG)
            return
        try:
            with self._peer.link.queued.serving(term):
                protocol.handle(self, term)
        except LimitExceeded as error:
            report(self, error)

    def answer(self, id_: Any, target: Any, args: Any) -> None:
        """Is never called: requests have no numbers."""

    def message(self, payload: Any) -> None:
        """Is never called: every term may be a request."""

    def disconnected(self, error: BaseException | None) -> None:
        """Has nothing to do."""

    def serve(self, protocol: Protocol) -> None:
        """Has a protocol handle what comes, until Erlang closes the port."""
        self.protocol = protocol
        try:
            while self._unread:
                self._handle(protocol, self._next_unread())
            self._peer.serve_here()
        finally:
            self.protocol = None


_ERROR: Final = Atom("error")
BADARG: Final = (_ERROR, Atom("badarg"))
"""The reply to what is no request."""
_UNDEF: Final = (_ERROR, Atom("undef"))
_FUNCTION_CLAUSE: Final = (_ERROR, Atom("function_clause"))


class Protocol:
    """Serves requests: an atom, or a tuple that begins with one, is handled by ``handle_<atom>``.

    A handler is called with the rest of the tuple. What it returns is the reply; one that is a
    generator sends each value it yields. There is no reply if it returns :data:`NO_REPLY`.

    ======================================= ==================================================
    anything else                           ``{error, badarg}``
    there is no such handler                ``{error, undef}``
    it raised :class:`TypeError`            ``{error, function_clause}``, and a line in the log
    it raised another exception             ``{error, {exception, {Type, Text, Stack}}}``
    what it returned is no term, too long   the same
    ======================================= ==================================================
    """

    none_is_reply: ClassVar[bool] = True
    """Whether a handler that returns None replies with the atom ``none``, or not at all."""

    def run(self, port: Port) -> None:
        """Serves until Erlang closes the port."""
        port.serve(self)

    def handle(self, port: Port, message: Any) -> None:
        """Handles one message; override it to do something else with all of them."""
        found = self.handler_of(port, message)
        if found is not None:
            handler, args = found
            try:
                for one in self.replies(handler(*args)):
                    port.write(one)
            except ConnectionClosed:
                raise
            except Exception as error:
                self.failed(port, handler, error)

    def handler_of(self, port: Writer, message: Any) -> tuple[Callable[..., Any], Any] | None:
        """Returns the handler of a message and its arguments; if there is none, says so."""
        args: tuple[Any, ...] = ()
        name = message
        if type(message) is tuple and message:
            name, args = message[0], message[1:]
        if not isinstance(name, Atom):
            port.write(BADARG)
            return None
        handler = getattr(self, "handle_" + name, None)
        if handler is None:
            port.write(_UNDEF)
            return None
        return handler, args

    def replies(self, reply: Any) -> Iterable[Any]:
        """Returns what is to be written for what a handler has returned."""
        if type(reply) is GeneratorType:
            return reply
        if reply is NO_REPLY or (reply is None and not self.none_is_reply):
            return ()
        return (reply,)

    def failed(self, port: Writer, handler: Callable[..., Any], error: Exception) -> None:
        """Replies that a handler has failed."""
        logger.warning("! %s: %r", getattr(handler, "__name__", handler), error)
        if isinstance(error, TypeError):
            port.write(_FUNCTION_CLAUSE)
        else:
            report(port, error)


def report(port: Writer, error: BaseException) -> None:
    """Replies with what an exception says; without its stack where there is no room."""
    kind = type(error)
    frames = traceback.extract_tb(error.__traceback__)[1:]
    stack = [(one.filename, one.lineno or 0, one.name, one.line or "") for one in reversed(frames)]
    name = Atom(f"{kind.__module__}.{kind.__qualname__}"[-255:])
    for text, lines in ((_text(error), stack), ("", [])):
        try:
            port.write((_ERROR, (Atom("exception"), (name, text, lines))))
        except (LocalProtocolError, LimitExceeded):
            continue
        return
    port.write((_ERROR, Atom("exception")))


def _text(error: BaseException) -> str:
    with contextlib.suppress(Exception):
        return str(error).encode("utf-8", "replace").decode()
    return f"{type(error).__name__}, whose text cannot be made"
