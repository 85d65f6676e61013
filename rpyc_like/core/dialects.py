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

import logging
import struct
from threading import get_ident
from typing import Any, NamedTuple

from ..errors import MalformedValue, ProtocolError
from ..link.connection import CURRENT
from ..wire.messages import CAST, FAILURE, REPLY, REQUEST, Message
from . import brine, consts
from .boxing import Boxer, id_pack
from .objects import StaleReference

__all__ = ["Dialect", "DialectMismatch", "RpycCodec", "Target", "recognise"]

logger = logging.getLogger("rpyc_like.core")

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


class Target(NamedTuple):
    """What a request asks for, and for which thread it is meant."""

    handler: int
    cause: int | None
    sender: int
    addressee: int


class _Unheard(NamedTuple):
    """A message that was sent before the peer was heard."""

    kind: int
    content: bytes
    sender: int
    addressee: int


class RpycCodec:
    """Messages of the RPyC wire, with their values boxed.

    Args:
        boxer: boxes and unboxes values.
        dialect: what to speak until the peer is heard.
        connection: the message connection that served requests are looked up for.
    """

    def __init__(
        self, boxer: Boxer, dialect: Dialect, max_depth: int, max_digits: int
    ) -> None:
        self.boxer = boxer
        self.dialect = dialect
        self.heard = False
        self.features = 0
        self.link: Any = None
        self._limits = (max_depth, max_digits)
        self._unheard: list[_Unheard] = []

    # -- encoding

    def encode_request(self, id_: int, target: int, args: Any) -> bytes:
        return self.boxer.pack(args, lambda package: self.encode_boxed_request(id_, target, package))

    def encode_boxed_request(self, id_: int, target: int, package: Any) -> bytes:
        """Returns the payload of a request whose arguments have been boxed."""
        served = CURRENT.get()
        if served is None or served.connection is not self.link:
            content = self._dump((id_, (target, package)))
            return self._payload(consts.MSG_REQUEST, content, 0)
        if self.features & consts.FEATURE_CAUSE:
            content = self._dump((id_, (target, package, served.id_)))
        else:
            content = self._dump((id_, (target, package)))
        return self._payload(consts.MSG_REQUEST, content, served.route or 0)

    def encode_reply(self, id_: int, value: Any) -> bytes:
        content = self.boxer.pack(value, lambda package: self._dump((id_, package)))
        return self._payload(consts.MSG_REPLY, content, self._requester())

    def encode_failure(self, id_: int, error: Any) -> bytes:
        return self._payload(consts.MSG_EXCEPTION, self._dump((id_, error)), self._requester())

    def _requester(self) -> int:
        served = CURRENT.get()
        return 0 if served is None else served.route or 0

    def _dump(self, pair: tuple[Any, Any]) -> bytes:
        return brine.dump(pair, *self._limits)

    def _payload(self, kind: int, content: bytes, addressee: int) -> bytes:
        """Wraps ``content``, the brine of a pair, in the dialect's envelope."""
        if not self.heard:
            self._unheard.append(_Unheard(kind, content, get_ident(), addressee))
        elif self._unheard:
            self._unheard.clear()
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
        self.dialect = dialect
        self.heard = False
        unheard, self._unheard = self._unheard, []
        payloads = []
        for kind, content, sender, addressee in unheard:
            payload = self._payload(kind, content, addressee)
            if dialect.bound:
                payload = _THREADS.pack(sender, addressee) + payload[16:]
            payloads.append(payload)
        return payloads

    # -- decoding

    def decode(self, payload: bytes) -> Message:
        if not self.heard:
            self._hear(payload)
        version, bound = self.dialect
        sender = addressee = start = 0
        if bound:
            if len(payload) < 17:
                raise MalformedValue(f"expected a thread prefix of 16 bytes, got {payload!r}")
            sender, addressee = _THREADS.unpack_from(payload)
            start = 16
        if version == 6:
            kind = payload[start]
            parts = brine.load(payload[start + 1 :], *self._limits)
        else:
            parts = brine.load(payload[start:] if start else payload, *self._limits)
            if type(parts) is not tuple or len(parts) != 3:
                raise MalformedValue(f"expected (kind, seq, args), got {parts!r:.80}")
            kind, parts = parts[0], parts[1:]
        if type(parts) is not tuple or len(parts) != 2 or type(parts[0]) is not int:
            raise MalformedValue(f"expected (seq, args), got {parts!r:.80}")
        seq, args = parts
        if kind == consts.MSG_REPLY:
            return (REPLY, seq, self._accept_answer(args))
        if kind == consts.MSG_REQUEST:
            return self._request(seq, args, sender, addressee)
        if kind == consts.MSG_EXCEPTION:
            return (FAILURE, seq, self.failure(args))
        raise MalformedValue(f"expected message type 1, 2 or 3, got {kind!r:.80}")

    def _hear(self, payload: bytes) -> None:
        heard = recognise(payload)
        if heard != self.dialect:
            if self._unheard:
                raise DialectMismatch(self.dialect, heard)
            self.dialect = heard
        self.heard = True

    def failure(self, raw: Any) -> Any:
        """Returns what the waiter of a failed request is given; set by the connection."""
        raise NotImplementedError

    def _accept_answer(self, args: Any) -> Any:
        try:
            return self.boxer.accept(args)
        except StaleReference as error:
            raise MalformedValue("the answer names an object that was never sent") from error

    def _request(self, seq: int, args: Any, sender: int, addressee: int) -> Message:
        if type(args) is not tuple or not 2 <= len(args) <= 3:
            raise MalformedValue(f"expected (handler, args), got {args!r:.80}")
        handler = args[0]
        if handler == consts.HANDLE_RELEASE and self.features & consts.FEATURE_RELEASE:
            self._take_back(_released(args[1]))
            return (CAST, None)
        target = Target(handler, args[2] if len(args) == 3 else None, sender, addressee)
        if handler == consts.HANDLE_DEL:
            self._take_back([_deleted(args[1])])
            return (REQUEST, seq, target, (None,))
        try:
            return (REQUEST, seq, target, self.boxer.accept(args[1]))
        except StaleReference as error:
            return (REQUEST, seq, target, error)

    def _take_back(self, counts: list[tuple[Any, int]]) -> None:
        """Lets go of what the peer gives back, in wire order."""
        for pack, count in counts:
            if not self.boxer.take_back(pack, count):
                if self.features & consts.FEATURE_RELEASE:
                    raise ProtocolError(f"peer gave back {count} references it does not hold")
                logger.info("< gave back %d references, which it does not hold", count)


def _released(package: Any) -> list[tuple[Any, int]]:
    """Returns what a RELEASE gives back: ``(1, (((pack, count), ...),))`` when boxed."""
    try:
        label, (pairs,) = package
        if label == consts.LABEL_VALUE:
            return [(id_pack(pack), _count(count)) for pack, count in pairs]
    except (TypeError, ValueError):
        pass
    raise MalformedValue(f"expected pairs of id pack and count, got {package!r:.80}")


def _deleted(package: Any) -> tuple[Any, int]:
    """Returns what a DEL gives back: ``(2, ((3, pack), (1, count)))`` when boxed, count optional."""
    try:
        label, ((ref, pack), *rest) = package
        count = rest[0][1] if rest else 1
        if label == consts.LABEL_TUPLE and ref == consts.LABEL_LOCAL_REF:
            return id_pack(pack), _count(count)
    except (TypeError, ValueError, IndexError):
        pass
    raise MalformedValue(f"expected a local reference and a count, got {package!r:.80}")


def _count(count: Any) -> int:
    if type(count) is not int:
        raise TypeError(f"count must be an int, got {type(count).__name__}")
    return count


_KINDS_6 = {kind: bytes((kind,)) for kind in (1, 2, 3)}
_KINDS_5 = {kind: bytes((0x12, 0x50 + kind)) for kind in (1, 2, 3)}
