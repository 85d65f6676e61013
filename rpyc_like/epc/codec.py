"""EPC's messages: lists that begin with a symbol, in UTF-8, with a newline at the end.

=================== =========================== =====================================
call                ``(call UID NAME ARGS)``    answered by one of the last three
methods             ``(methods UID)``           answered by ``return``
answer              ``(return UID VALUE)``      one value
error of the method ``(return-error UID INFO)`` what the method raised
error of the call   ``(epc-error UID INFO)``    no such method, or a broken message
=================== =========================== =====================================

A message that is broken is a message too: whoever sent it gets an answer, with the number of the
call as far as that can be made out.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from ..errors import LocalProtocolError, MalformedValue
from ..lib.brief import brief
from ..wire.framing import EpcFramer
from ..wire.messages import FAILURE, REPLY, REQUEST, Message
from ..wire.sexp.reader import Reader
from ..wire.sexp.values import Symbol
from ..wire.sexp.writer import symbol_text, write
from .errors import EPCError, ReturnError

__all__ = ["CALL", "METHODS", "EpcCodec", "RequestError", "Target", "Uid"]

CALL: Final = "call"
METHODS: Final = "methods"
_BROKEN: Final = "broken"
_HEAD: Final = re.compile(
    r"\s*\(\s*(call|methods|return|return-error|epc-error)\s+(-?\d{1,18})(?=[\s)])"
)
_USUAL: Final = re.compile(
    r"\((?:call (\d{1,18}) ([a-zA-Z][-\w/:+*]*)|return (\d{1,18})) ", re.ASCII
)
_MANY_NAMES: Final = 10_000
_LONG_NAME: Final = 100  # characters from which on a name is not kept


class Target(NamedTuple):
    """What a request is for: a call of a method, the list of methods, or nothing that is known."""

    kind: str
    name: Any = None


class RequestError(NamedTuple):
    """What a request is answered with if it fails: which kind of error, and what is told."""

    kind: str
    info: Any


class Uid:
    """The number of a peer's call that is no plain number: EPC allows any value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class EpcCodec:
    """EPC's payloads to messages and back.

    Args:
        reader: reads values.
    """

    def __init__(self, reader: Reader | None = None) -> None:
        self.reader = Reader() if reader is None else reader
        self._names: dict[str, Any] = {}

    # -- decoding

    def decode(self, payload: bytes) -> Message:
        """Returns the message in a payload; never raises on what the peer sent."""
        try:
            text = payload.decode("utf-8")
            usual = _USUAL.match(text)
            if usual is not None and text.endswith(")\n") and ";" not in text:
                return self._usual(usual, text[usual.end() : -2])
            message: Any = self.reader.read(text, 1 if text.startswith("(return") else 2)
        except (MalformedValue, ValueError) as error:
            return self._broken(payload, error)
        if type(message) is not list or not message or not _is_symbol(message[0]):
            wrong = MalformedValue(
                f"expected a list that begins with a symbol, got {brief(message)}"
            )
            return _problem(Uid([]), RequestError("epc-error", repr(wrong)))
        kind = message[0].value()
        uid: Any = message[1] if len(message) > 1 else []
        if type(uid) is not int or uid.bit_length() > 64:
            uid = Uid(uid)
        parts = message[2:]
        if kind == CALL or kind == METHODS:
            expected = 2 if kind == CALL else 0
            if len(message) < 2 or len(parts) != expected:
                return _problem(uid, _wrong_number(kind, len(parts), expected, parts))
            if kind == METHODS:
                return (REQUEST, uid, Target(METHODS), ())
            return (REQUEST, uid, Target(CALL, parts[0]), self._arguments(parts[1]))
        return self._answer(kind, uid, parts)

    def _usual(self, match: re.Match[str], rest: str) -> Message:
        """Returns the message of a text that begins as most do."""
        number, name, answered = match.groups()
        if answered is not None:
            return self._answer("return", int(answered), self.reader.read_all(rest))
        values = self.reader.read_all(rest, 1)
        if len(values) != 1:
            parts = [self._target(name).name, *values]
            return _problem(int(number), _wrong_number(CALL, len(parts), 2, parts))
        return (REQUEST, int(number), self._target(name), self._arguments(values[0]))

    def _target(self, name: str) -> Target:
        target = self._names.get(name)
        if target is None:
            target = Target(CALL, self.reader.read(name))
            if len(name) <= _LONG_NAME:
                if len(self._names) >= _MANY_NAMES:
                    self._names.clear()
                self._names[name] = target
        return target

    def _arguments(self, args: Any) -> Any:
        return () if type(args) is not list and self.reader.is_nil(args) else args

    def _answer(self, kind: str, uid: Any, parts: list[Any]) -> Message:
        id_ = uid if type(uid) is int else None
        if kind == "return":
            if len(parts) == 1:
                return (REPLY, id_, parts[0])
            what = "too many" if parts else "not enough"
            return (
                FAILURE,
                id_,
                EPCError(f"(return {id_} ...): Got {what} arguments in the reply: {brief(parts)}"),
            )
        info = parts[0] if parts else None
        if kind == "return-error":
            return (FAILURE, id_, ReturnError(info))
        if kind == "epc-error":
            return (FAILURE, id_, EPCError(info))
        unknown = AttributeError(f"no message of kind {brief(kind)}")
        return _problem(uid, RequestError("return-error", repr(unknown)))

    def _broken(self, payload: bytes, error: Exception) -> Message:
        """Returns what an unreadable message means: its kind and number may be readable."""
        head = _HEAD.match(payload[:200].decode("latin-1"))
        if head is None:
            return _problem(Uid([]), RequestError("epc-error", repr(error)))
        uid = int(head[2])
        if head[1] in (CALL, METHODS):
            return _problem(uid, RequestError("return-error", repr(error)))
        return (FAILURE, uid, EPCError(f"unreadable reply: {error}"))

    # -- encoding

    def encode(self, kind: str, uid: Any, *parts: Any) -> bytes:
        """Returns the payload of any message."""
        return self._payload(kind, uid, *map(write, parts))

    def encode_request(self, id_: Any, target: Target, args: Any) -> bytes:
        if target.kind == METHODS:
            return self._payload(METHODS, id_)
        name = target.name
        name = symbol_text(name) if type(name) is str else write(_symbol(name))
        return self._payload(CALL, id_, name, write(args))

    def encode_reply(self, id_: Any, value: Any) -> bytes:
        return self._payload("return", id_, write(value))

    def encode_failure(self, id_: Any, error: RequestError) -> bytes:
        return self._payload(error.kind, id_, write(error.info))

    @staticmethod
    def _payload(kind: str, uid: Any, *texts: str) -> bytes:
        if type(uid) is not int:
            uid = write(uid.value if type(uid) is Uid else uid)
        spaced = [part for text in texts for part in (" ", text)]
        payload = "".join((f"({kind} {uid}", *spaced, ")\n")).encode()
        if len(payload) > EpcFramer.MAX_SIZE:
            size, limit = len(payload), EpcFramer.MAX_SIZE
            raise LocalProtocolError(f"message of {size} bytes, EPC carries {limit}")
        return payload


def _symbol(name: Any) -> Any:
    return name if _is_symbol(name) else Symbol(name)


def _is_symbol(value: Any) -> bool:
    return isinstance(value, Symbol)


def _problem(uid: Any, problem: RequestError) -> Message:
    return (REQUEST, uid, Target(_BROKEN, problem), ())


def _wrong_number(kind: str, got: int, expected: int, parts: list[Any]) -> RequestError:
    what = "Not enough" if got < expected else "Too many"
    counts = f"expected {expected + 1}, got {got + 1}"
    info = f"({kind} UID ...): {what} arguments: {counts}: {brief(parts)}"
    return RequestError("epc-error", info)
