"""The dialects of the RPyC wire, and the codec that speaks them.

========  ====================  ==================================================================
version   thread mode           payload
========  ====================  ==================================================================
5 (3-5)   unbound               ``brine((kind, seq, args))``: the first byte is 12
6         unbound               kind as one raw byte (01 to 03), ``brine((seq, args))``
5.3.1, 6  bound (16 bytes)      ``!QQ`` sender and receiver thread, then one of the above
========  ====================  ==================================================================

A side that hears first speaks what it hears. A side that must speak first guesses 6 (or what the
configuration says), keeps what it sent until the peer has been heard, and sends it again in the
peer's dialect over a new connection if the guess was wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import starmap
from threading import get_ident
from typing import Any, Final, NamedTuple

from ...errors import LimitExceeded, MalformedValue, ProtocolError
from ...lib.brief import brief
from ...lib.lifetimes import weak_call
from ...lib.native import codec
from ...link.call_context import IN_TASK, THREAD, current
from ...link.result import Unresolved
from ...wire.codec import MalformedAnswer
from ...wire.messages import CAST, FAILURE, REPLY, REQUEST, Message
from ...wire.meter import budget_for, unmetered_size
from .. import brine, consts
from ..brine import (
    MAX_DEPTH,
    MAX_DIGITS,
    SplicedPayload,
    dump,
    dump_small,
    int_atom,
    load_at,
    tuple_head,
    tuple_size_at,
)
from ..iteration.cursors import Cursor
from ..netref import BaseNetref, NetrefMetaclass
from ..references.tables import StaleReference
from .boxing import Boxer, id_pack_end

__all__ = ["MAX_REQUESTS", "Dialect", "DialectMismatch", "RpycCodec", "Target", "recognise"]


MAX_REQUESTS = 100_000
"""Default limit of a peer's unanswered requests."""

_THREADS = struct.Struct("!QQ")


class Dialect(NamedTuple):
    """A version of the wire."""

    version: int
    bound: bool

    def __str__(self) -> str:
        return f"RPyC {self.version}.x" + (" with bind_threads" if self.bound else "")


def recognise(payload: bytes) -> Dialect:
    """Returns the dialect of a first payload.

    Raises:
        MalformedValue: it is of none.
    """
    kind = payload[0]
    if kind in (consts.MSG_REQUEST, consts.MSG_REPLY, consts.MSG_EXCEPTION):
        return Dialect(6, False)
    if kind == 0x12:
        return Dialect(5, False)
    if kind == 0 and len(payload) > 17:
        if payload[16] in (consts.MSG_REQUEST, consts.MSG_REPLY, consts.MSG_EXCEPTION):
            return Dialect(6, True)
        if payload[16] == 0x12:
            return Dialect(5, True)
    raise MalformedValue(
        f"expected a message of RPyC 5.x or 6.x, got a payload starting with {payload[:20]!r}"
    )


class DialectMismatch(ProtocolError):
    """The peer speaks another dialect than the one it was addressed in."""

    def __init__(self, spoken: Dialect, heard: Dialect) -> None:
        super().__init__(
            f"this side spoke {spoken} first and the peer answered in {heard}; connect with "
            f"config={{'dialect': {heard.version}, 'bind_threads': {heard.bound}}}"
        )
        self.heard = heard


Target = tuple[int, Any, int, int]
"""Of a request: the handler's number, the number of this side's request that caused it (or None),
the peer's thread that sent it and the thread of this side that it is meant for (or 0)."""


_PLACEHOLDER = b"-- parts --"


class SentMessage(NamedTuple):
    """A message that was sent before the peer was heard."""

    kind: int
    content: bytes
    sender: int
    addressee: int


_ANSWERS: Final = tuple(
    beginning
    for kind in (consts.MSG_REPLY, consts.MSG_EXCEPTION)
    for beginning in (bytes([kind]), brine.dump((kind, 0, 0))[:2])
)


class RpycCodec:
    """Messages of the RPyC wire, with their values boxed.

    Args:
        boxer: boxes and unboxes values.
        dialect: what to speak until the peer is heard.
        max_depth, max_digits: limits of plain values, both ways.
        max_requests: of the peer's, that may be waiting for their answers at once.
        max_memory: bytes that a message may become; None for the rule of :mod:`..wire.meter`.
    """

    def __init__(
        self,
        boxer: Boxer,
        dialect: Dialect,
        max_depth: int = MAX_DEPTH,
        max_digits: int = MAX_DIGITS,
        max_requests: int = MAX_REQUESTS,
        max_memory: int | None = None,
    ) -> None:
        self.boxer = boxer
        self.dialect = dialect
        self.heard = False
        self._plain = False  # whether the usual dialect is spoken: 6, unbound
        self.features = 0
        self.accepted = 0
        """The features that the peer may use: it has been told, and may answer later."""
        self.link: Any = None
        self._limits = (max_depth, max_digits)
        self._max_requests = max_requests
        self._max_memory = max_memory
        self._unmetered = unmetered_size(max_memory)
        self.releases_at_once = True
        """Whether references given back with DEL are counted in wire order, without a handler."""
        self.unheld = False
        """Whether the peer has given back what it does not hold, and this is still to be logged."""
        self.became_usual: Callable[[], None] | None = None
        """Is called when ``native`` is there, because the peer has been heard."""
        self.learn: Callable[[int], None] | None = None
        """Is told in wire order which features the peer's HELLO says it has."""
        self.told: Callable[..., None] | None = None
        """Is given in wire order what the peer says about its requests and itself: the number of
        CANCEL, DEADLINE or HEARTBEAT, and numbers."""
        self.serving: set[int] = set()
        """Numbers of the peer's requests that have not been answered."""
        self._unheard: list[SentMessage] = []
        self.native: Any = None
        """The compiled half, while what is usual is spoken: 6, unbound."""
        self._compiled: Any = None
        if codec and boxer.direct and max_depth >= _DEPTH and max_digits >= _DIGITS:
            self._compiled = codec.Messages(
                boxer.conn,
                boxer.exports.by_raw,
                self.serving,
                max_requests,
                boxer.lend,
                boxer.receive,
                self._take_back,
                self._unmetered,
            )

    def disown(self) -> None:
        """Let go of the connection, which is gone."""
        self.link = self.became_usual = None
        if self._compiled is not None:
            self._compiled.disown(weak_call(self, "_take_back"))

    # -- encoding

    def encode_request(self, id_: int, target: int, args: Any) -> Any:
        payload = self.frame_request(id_, target, args, False) if self.native else None
        if payload is not None:
            return payload
        return self.encode_boxed_request(id_, target, self.boxer.encode(args))

    @property
    def open_frames(self) -> Callable[[bytes], Any]:
        """What returns the messages of received bytes, where the compiled half can tell."""
        opener: Callable[[bytes], Any] = self.native.open_frames
        return opener

    def frame_request(self, id_: int, target: int, args: Any, framed: bool = True) -> bytes | None:
        """Returns the whole frame of a request, or just its payload; None for what is unusual."""
        cause = None
        now, served = THREAD.now, IN_TASK.get()
        if now is not None and served is now[1]:
            served = now[0]  # as current() does, without another Python call
        if served is not None and served[0] is self.link:
            if not self.features & consts.FEATURE_CAUSE:
                return None
            cause = served[1]
        if not self.boxer.proxies.released:
            return self.native.request(framed, id_, target, args, cause, None)  # type: ignore[no-any-return]
        made: bytes | None = None
        if self.features & consts.FEATURE_RELEASE:
            # What is given back is not lost where a signal handler raises an exception.
            (made,) = starmap(
                self.native.request, ((framed, id_, target, args, cause, self._take_batch),)
            )
        return made

    def _take_batch(self) -> bytes:
        """Returns the brine of what finalizers have queued, to ride along."""
        return _batch(self.boxer.proxies.take_released())

    def encode_boxed_request(self, id_: int, target: int, boxed: Any) -> Any:
        """Returns the payload of a request whose arguments have been boxed."""
        if type(boxed) is list:
            # The same around a placeholder, and the parts in its place.
            outer = self.encode_boxed_request(id_, target, _PLACEHOLDER)
            before, _, after = outer.partition(_PLACEHOLDER)
            return self._in_parts(before, boxed, after)
        served = IN_TASK.get() if THREAD.now is None else current()  # mostly without another call
        if served is None or served[0] is not self.link:
            cause, addressee = None, 0
        else:
            cause, addressee = served[1], served[2]
        head = b"\x11" + int_atom(id_, 0)
        if self.features & consts.FEATURE_RELEASE and self.boxer.proxies.released:
            # What finalizers have queued rides along.
            batch = self._take_batch()
            content = b"%b\x13%b%b%b%b" % (head, _HANDLERS[target], boxed, dump(cause), batch)
        elif cause is not None and self.features & consts.FEATURE_CAUSE:
            content = b"%b\x12%b%b%b" % (head, _HANDLERS[target], boxed, dump(cause))
        else:
            content = b"%b\x11%b%b" % (head, _HANDLERS[target], boxed)
        return b"\x01" + content if self._plain else self._payload(1, content, addressee)

    def encode_reply(self, id_: int, value: Any) -> Any:
        self.serving.discard(id_)
        if self.native:
            payload = self.native.reply(False, id_, value)
            if payload is not None:
                return payload
        if type(value) is int and -49 < value < 160 and self.boxer.direct:
            content = b"\x11%b\x11\x51%c" % (int_atom(id_, 0), value + 0x50)
        else:
            boxed: Any = self.boxer.encode(value)
            if type(boxed) is list:
                head = self._payload(
                    consts.MSG_REPLY, b"\x11" + int_atom(id_, 0), self._requester()
                )
                return self._in_parts(head, boxed, b"")
            content = b"\x11%b%b" % (int_atom(id_, 0), boxed)
        if self._plain:
            return b"\x02" + content
        return self._payload(consts.MSG_REPLY, content, self._requester())

    def _in_parts(self, before: bytes, boxed: list[bytes], after: bytes) -> list[bytes]:
        """Returns a payload in parts."""
        if not self.heard:
            try:
                last = self._unheard[-1]
                content = b"".join((last.content.partition(_PLACEHOLDER)[0], *boxed, after))
                self._unheard[-1] = last._replace(content=content)
            except IndexError:
                pass  # another thread has heard the peer meanwhile
        return [before, *boxed, after]

    def encode_failure(self, id_: int, error: Any) -> bytes:
        self.serving.discard(id_)
        content = b"\x11" + dump(id_) + dump(error, *self._limits)
        return self._payload(consts.MSG_EXCEPTION, content, self._requester())

    def _requester(self) -> int:
        served = current()
        return 0 if served is None else served[2]

    def _payload(self, kind: int, content: bytes, addressee: int) -> bytes:
        """Wraps ``content``, the brine of a pair, in the dialect's envelope."""
        if not self.heard:
            self._unheard.append(SentMessage(kind, content, get_ident(), addressee))
        version, bound = self.dialect
        if version == 6:
            payload = _KINDS_6[kind] + content
        else:
            payload = _KINDS_5[kind] + content[1:]
        return _THREADS.pack(get_ident(), addressee) + payload if bound else payload

    @property
    def waits_to_be_heard(self) -> bool:
        """Whether something was sent and nothing has been heard."""
        return not self.heard and bool(self._unheard)

    def repeat_unheard(self, dialect: Dialect) -> list[bytes]:
        """Changes to another dialect and returns what must be sent again, as payloads."""
        self._change_to(dialect)
        self.heard = self._plain = False
        self.native = None
        self.serving.clear()
        unheard, self._unheard = self._unheard, []
        payloads = []
        for kind, content, sender, addressee in unheard:
            payload = self._payload(kind, content, addressee)
            if dialect.bound:
                payload = _THREADS.pack(sender, addressee) + payload[16:]
            payloads.append(payload)
        return payloads

    # -- decoding

    def is_answer(self, payload: bytes) -> bool:
        """Return whether a payload, which is not decoded, begins as an answer does."""
        return payload.startswith(_ANSWERS)

    def decode(self, payload: bytes) -> Message:
        if self.native:
            message: Message | None = self.native.open(payload)
            if message is not None:
                return message
        if len(payload) > self._unmetered and self.boxer.budget is None:
            return self._decode_metered(payload)
        try:
            if self._plain and payload[1] == 0x11:
                if payload[0] == consts.MSG_REPLY:
                    return self._answer(payload, 2)
                if payload[0] == consts.MSG_REQUEST:
                    return self._request(payload, 2, 0, 0)
            return self._decode(payload)
        except IndexError:
            raise MalformedValue(f"message of {len(payload)} bytes ends early") from None

    def _decode_metered(self, payload: bytes) -> Message:
        """Decodes a large message after its memory has been counted."""
        size = len(payload) + (len(payload.value) if type(payload) is SplicedPayload else 0)
        boxer, budget = self.boxer, budget_for(size, self._max_memory)
        version, bound = self.dialect if self.heard else recognise(payload)
        brine.spend_at(payload, (16 if bound else 0) + (1 if version == 6 else 0), budget)
        boxer.budget = budget
        try:
            return self.decode(payload)
        finally:
            boxer.budget = None

    def _answer(self, payload: bytes, position: int) -> Message:
        """Returns the message of a reply whose number starts at ``position``."""
        id_, position = self._number(payload, position)
        value, position = self.boxer.decode(payload, position)
        if position != len(payload):
            self._check_end(payload, position)
        if type(value) is StaleReference:
            return (FAILURE, id_, MalformedValue("the answer names an object that was never sent"))
        return (REPLY, id_, value)

    def _decode(self, payload: bytes) -> Message:
        if not self.heard:
            self._hear(payload)
        version, bound = self.dialect
        sender = addressee = position = 0
        if bound:
            if len(payload) < 17:
                raise MalformedValue(f"expected a thread prefix of 16 bytes, got {payload!r}")
            sender, addressee = _THREADS.unpack_from(payload)
            position = 16
        if version == 6:
            kind = payload[position]
            envelope = payload[position + 1] == 0x11
        else:
            kind = payload[position + 1] - 0x50
            envelope = payload[position] == 0x12
        position += 2
        if kind == consts.MSG_REPLY and envelope:
            return self._answer(payload, position)
        if kind == consts.MSG_REQUEST and envelope:
            return self._request(payload, position, sender, addressee)
        id_, position = self._number(payload, position)
        if not envelope:
            raise MalformedValue(f"expected a message of {self.dialect}, got {payload[:40]!r}")
        if kind == consts.MSG_EXCEPTION:
            error, position = load_at(payload, position, *self._limits)
            self._check_end(payload, position)
            try:
                return (FAILURE, id_, self.failure(error))
            except MalformedValue as malformed:
                raise MalformedAnswer(id_, str(malformed)) from None
        raise MalformedValue(f"expected message type 1, 2 or 3, got {kind}")

    def _number(self, payload: bytes, position: int) -> tuple[int, int]:
        """Returns the number of a request at ``position``, and where it ends."""
        tag = payload[position]
        if tag == 0x16:
            start = position + 2
            end = start + payload[position + 1]
            digits = payload[start:end]
            if digits.isdigit() and len(digits) < 19 and end <= len(payload):
                return int(digits), end
        number, end = load_at(payload, position, *self._limits)
        # Beyond, different numbers could have the same hash.
        if type(number) is not int or not -_MAX_NUMBER < number < _MAX_NUMBER:
            raise MalformedValue(
                f"expected the number of a request, below {_MAX_NUMBER}, got {brief(number)}"
            )
        return number, end

    def _request(self, payload: bytes, position: int, sender: int, addressee: int) -> Message:
        """Returns the message of a request whose number is at ``position``."""
        id_, position = self._number(payload, position)
        shape = payload[position]
        if not 0x11 <= shape <= 0x13:
            raise MalformedValue(f"expected (handler, args), got {payload[position:][:20]!r}")
        handler: Any = payload[position + 1] - 0x50
        position += 2
        if not 0 <= handler < 160:
            handler, position = load_at(payload, position - 1, *self._limits)
            if type(handler) is not int:
                handler = brief(handler)  # there is none, and it may not even be hashable
        if handler == consts.HANDLE_RELEASE and self.accepted & consts.FEATURE_RELEASE:
            if payload[position : position + 3] != b"\x11\x51\x10":
                raise MalformedValue("expected a boxed tuple of pairs of id pack and count")
            self._check_end(payload, self._released(payload, position + 3))
            return (CAST, None)
        if handler == consts.HANDLE_REWIND and self.accepted & consts.FEATURE_CHUNKS:
            return self._rewound(payload, position)
        if handler in _SAYINGS and self.accepted & _SAYINGS[handler][0]:
            return self._said(handler, payload, position)
        if handler == consts.HANDLE_DEL and self.releases_at_once:
            args: Any = (None,)
            position = self._deleted(payload, position)
        else:
            start = position
            args, position = self.boxer.decode(payload, position)
            if (
                payload[start + 1] != 0x52
                or payload.find(b"\x11\x53", start + 3, start + 5) != start + 3
            ) and handler in _ON_OBJECTS:
                args = self._check_object(payload, start, args)
        if handler == consts.HANDLE_HELLO and self.learn is not None:
            told = args.plain if issubclass(type(args), Unresolved) else args
            if type(told) is tuple and len(told) == 1 and type(told[0]) is int:
                self.learn(told[0])
        cause = None
        if shape != 0x11:
            cause, position = load_at(payload, position)
            if shape == 0x13:
                position = self._released(payload, position)
        if position != len(payload):
            self._check_end(payload, position)
        self._serve(id_)
        return (REQUEST, id_, (handler, cause, sender, addressee), args)

    def _serve(self, id_: int) -> None:
        """Notes a request that is to be answered."""
        serving = self.serving
        if id_ in serving:
            raise MalformedValue(f"expected a new number of a request, got {id_} a second time")
        serving.add(id_)
        if len(serving) > self._max_requests:
            key = "max_requests"
            raise LimitExceeded("unanswered requests", len(serving), self._max_requests, key)

    @staticmethod
    def _check_object(payload: bytes, position: int, args: Any) -> Any:
        """Refuses a request about something else than an object that was lent to the peer.

        A value that came with the request is none: the peer could have this side compute with it
        what it likes.
        """
        if payload[position : position + 3] == b"\x11\x52\x14":  # more than four arguments
            if payload[position + 4 : position + 6] == b"\x11\x53":
                return args
        return TypeError("expected a reference to an object of this side, got something else")

    @staticmethod
    def _check_end(payload: bytes, position: int) -> None:
        if position != len(payload):
            raise MalformedValue(
                f"expected the end of the message at byte {position}, got {len(payload)} bytes"
            )

    def spot(self, start: bytes) -> int | None:
        """Returns where the content of a large value begins in the beginning of a payload."""
        return brine.find_large(start, 1) if self._plain and self.boxer.direct else None

    def _hear(self, payload: bytes) -> None:
        heard = recognise(payload)
        if heard != self.dialect:
            if self._unheard:
                raise DialectMismatch(self.dialect, heard)
            self._change_to(heard)
        self.heard = True
        self._plain = heard == (6, False)
        self.native = self._compiled if self._plain else None
        if self.native is not None and self.became_usual is not None:
            self.became_usual()
        self._unheard.clear()

    def _change_to(self, dialect: Dialect) -> None:
        self.dialect = dialect
        if self.link is not None:
            self.link.names_threads = dialect.bound

    def failure(self, raw: Any) -> Any:
        """Returns what the waiter of a failed request is given; set by the connection."""
        raise NotImplementedError

    # -- references given back

    def encode_release(self, released: list[tuple[bytes, int]]) -> bytes:
        """Returns the payload that gives back a batch; it is never answered.

        Args:
            released: brine of id packs, and counts.
        """
        content = b"\x11%b\x11%b\x11\x51\x10%b" % (
            dump(0),
            dump(consts.HANDLE_RELEASE),
            _batch(released),
        )
        return self._payload(consts.MSG_REQUEST, content, 0)

    def encode_rewind(self, cursor: Any, used: int) -> bytes:
        """Returns the payload that says how many items of a chunk were used; never answered."""
        boxed: Any = self.boxer.encode((cursor, used))
        content = b"\x11%b\x11%b%b" % (dump(0), dump(consts.HANDLE_REWIND), boxed)
        return self._payload(consts.MSG_REQUEST, content, 0)

    def _rewound(self, payload: bytes, position: int) -> Message:
        """Has a cursor go back, in wire order: what comes next may change what it goes over."""
        args, position = self.boxer.decode(payload, position)
        self._check_end(payload, position)
        if type(args) is tuple and len(args) == 2:
            cursor, used = args
            if type(cursor) is Cursor and type(used) is int and used >= 0:
                try:
                    cursor.rewind(used)
                except RuntimeError:
                    pass  # the container has changed; who reads on is told
                return (CAST, None)
        raise MalformedValue("expected a cursor and a number of items")

    def encode_saying(self, handler: int, *numbers: int) -> bytes:
        """Returns the payload of CANCEL, DEADLINE or HEARTBEAT; never answered."""
        content = b"\x11%b\x11%b\x11\x51%b" % (dump(0), dump(handler), dump(numbers))
        return self._payload(consts.MSG_REQUEST, content, 0)

    def _said(self, handler: int, payload: bytes, position: int) -> Message:
        """Passes on what the peer says about its requests or itself."""
        numbers, end = None, position + 2
        if payload[position:end] == b"\x11\x51":
            numbers, end = load_at(payload, end, *self._limits)
            self._check_end(payload, end)
        if (
            type(numbers) is not tuple
            or len(numbers) != _SAYINGS[handler][1]
            or not all(type(number) is int and 0 <= number < _NUMBERS for number in numbers)
        ):
            raise MalformedValue(f"expected numbers, got {brief(numbers)}")
        if self.told is not None:
            self.told(handler, *numbers)
        return (CAST, None)

    def encode_delete(self, id_: int, raw: bytes, count: int) -> Any:
        """Returns the payload that gives back references to one object, in a vanilla way."""
        boxed = b"\x11\x52\x11\x11\x53%b\x11\x51%b" % (raw, dump(count))
        return self.encode_boxed_request(id_, consts.HANDLE_DEL, boxed)

    def _released(self, payload: bytes, position: int) -> int:
        """Handles a batch of references given back; returns where it ends."""
        size, position = tuple_size_at(payload, position)
        for _ in range(size):
            if payload[position] != 0x11:
                raise MalformedValue("expected a pair of id pack and count")
            end = id_pack_end(payload, position + 1)
            count, after = load_at(payload, end)
            self._take_back(payload[position + 1 : end], count)
            position = after
        return position

    def _deleted(self, payload: bytes, position: int) -> int:
        """Handles what DEL is given: ``(2, ((3, id pack), (1, count)))``, count optional."""
        if payload[position : position + 2] == b"\x11\x52":
            size, position = tuple_size_at(payload, position + 2)
            if 1 <= size <= 2 and payload[position : position + 2] == b"\x11\x53":
                end = id_pack_end(payload, position + 2)
                raw, count = payload[position + 2 : end], 1
                if size == 1 or payload[end : end + 2] == b"\x11\x51":
                    if size == 2:
                        count, end = load_at(payload, end + 2)
                    self._take_back(raw, count)
                    return end
        raise MalformedValue("expected a local reference and a count")

    def _take_back(self, raw: bytes, count: Any) -> None:
        """Counts references that the peer gives back."""
        if type(count) is not int:
            raise MalformedValue(f"expected a count, got {brief(count)}")
        if not self.boxer.exports.give_back(raw, count):
            if self.features & consts.FEATURE_RELEASE:
                raise ProtocolError("peer gave back references that it does not hold")
            self.unheld = True


def _batch(released: list[tuple[bytes, int]]) -> bytes:
    """Returns the brine of a tuple of pairs of id pack and count."""
    if len(released) == 1:
        return b"\x10\x11%b%b" % (released[0][0], dump_small(released[0][1]))
    pairs = [b"\x11%b%b" % (raw, dump_small(count)) for raw, count in released]
    return tuple_head(len(pairs)) + b"".join(pairs)


class _HandlerBytes(dict[int, bytes]):
    """The brine of handler numbers."""

    def __missing__(self, number: int) -> bytes:
        known = self[number] = dump(number)
        return known


_HANDLERS = _HandlerBytes()

_ON_OBJECTS = frozenset(
    (
        *(consts.HANDLE_GETATTR, consts.HANDLE_DELATTR, consts.HANDLE_SETATTR, consts.HANDLE_CALL),
        *(consts.HANDLE_CALLATTR, consts.HANDLE_REPR, consts.HANDLE_STR, consts.HANDLE_CMP),
        *(consts.HANDLE_HASH, consts.HANDLE_DIR, consts.HANDLE_PICKLE, consts.HANDLE_BUFFITER),
        *(consts.HANDLE_OLDSLICING, consts.HANDLE_CTXEXIT, consts.HANDLE_INSTANCECHECK),
        *(consts.HANDLE_SUBCLASSCHECK, consts.HANDLE_ITERATE, consts.HANDLE_CHUNK),
        *(consts.HANDLE_SNAPSHOT, consts.HANDLE_PICKLE_PARTS),
    )
)
"""Requests whose first argument is an object of the side that is asked."""

_KINDS_6 = {kind: bytes((kind,)) for kind in (1, 2, 3)}
_KINDS_5 = {kind: bytes((0x12, 0x50 + kind)) for kind in (1, 2, 3)}

_DEPTH, _DIGITS = 64, 18  # what the compiled codec does without asking for the limits
_SAYINGS = {
    consts.HANDLE_CANCEL: (consts.FEATURE_CALLS, 1),
    consts.HANDLE_DEADLINE: (consts.FEATURE_CALLS, 2),
    consts.HANDLE_HEARTBEAT: (consts.FEATURE_HEARTBEAT, 1),
}
"""What is said without being answered: the feature behind it, and how many numbers."""

_NUMBERS = 1 << 63
_MAX_NUMBER = 1 << 60

_SPECIAL = (
    *(consts.HANDLE_HELLO, consts.HANDLE_RELEASE, consts.HANDLE_DEL, consts.HANDLE_REWIND),
    *_SAYINGS,
)
"""Requests that mean something to the codec itself."""

if codec is not None:
    slots = BaseNetref.__dict__
    codec.configure_messages(
        NetrefMetaclass,
        slots["____conn__"],
        slots["____boxed__"],
        _ON_OBJECTS,
        _SPECIAL,
        REPLY,
        REQUEST,
    )
