"""What is said to a registry: the format, and how it can be sealed with a secret.

A message is the brine of ``("RPYC", command, arguments)``, its answer that of a plain value; see
:mod:`rpyc_like.utils.registry` for the commands. Both are RPyC's.

What travels is plain data, and it is looked at once, by exact types: what is not a message, or not
an answer to the command that was asked, is silence. Names and hosts are printable and at most 200
characters, ports are 1 to 65535.

Registries and clients that share a secret put each message into a seal, the brine of
``("RPYC-SEALED", seconds since 1970, nonce, content, HMAC-SHA256)``. A question's nonce is the time
when it was asked (8 bytes) and 16 random bytes, its answer has the same one. The code covers the
direction, the time, the nonce and the content; so an answer belongs to one question, and a question
that is sent back is no answer to itself. What is older than a minute, or has been seen before, is
refused.
"""

from __future__ import annotations

import hmac
import os
import struct
import threading
import time
from collections import OrderedDict
from typing import Any, Final

from ..core import brine
from ..lib.brief import brief
from ..lib.exact import exact, exact_count

__all__ = [
    "MAX_NAME",
    "Seal",
    "answer_of",
    "checked_name",
    "checked_port",
    "make_message",
    "parse",
]

_MAGIC: Final = "RPYC"
_SEALED: Final = "RPYC-SEALED"
_MAX_DEPTH: Final = 8
_MAX_AGE: Final = 60.0
_REMEMBERED: Final = 100_000
_QUESTION, _ANSWER = "a question", "an answer"
_TIME: Final = struct.Struct("!d")
_RANDOM: Final = 16

MAX_NAME: Final = 200
"""Most characters of a name or a host."""


def parse(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """Returns command and arguments of a message.

    Raises:
        ProtocolError, ValueError: it is none.
    """
    message = brine.load(data, _MAX_DEPTH, 20)
    if type(message) is not tuple or len(message) != 3:
        raise ValueError(f"expected a message of three items, got {brief(message)}")
    magic, command, args = message
    if magic != _MAGIC or type(command) is not str or type(args) is not tuple:
        raise ValueError(f"expected ('RPYC', command, arguments), got {brief(command)}")
    return command.upper(), args


def make_message(command: str, args: tuple[Any, ...]) -> bytes:
    """Returns a message."""
    return brine.dump((_MAGIC, command, args))


def checked_port(value: Any) -> int:
    """Return a port.

    Raises:
        TypeError, ValueError: it is none.
    """
    port = exact_count(value, "a port", 65535)
    if not port:
        raise ValueError("expected a port from 1 to 65535, got 0")
    return port


def checked_name(value: Any) -> str:
    """Return the name of a service, or a host.

    Raises:
        TypeError, ValueError: it is none.
    """
    name = exact(value, str, "a name")
    if not _is_name(name):
        raise ValueError(
            f"expected a name of 1 to {MAX_NAME} printable characters, got {brief(name)}"
        )
    return name


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def answer_of(command: str, data: bytes) -> Any:
    """Return the answer to a command.

    Raises:
        ProtocolError, TypeError, ValueError: it is none.
    """
    value = brine.load(data, _MAX_DEPTH, 20)
    if command == "QUERY":
        return tuple([_address(pair) for pair in exact(value, tuple, "addresses")])
    if command == "LIST":
        if value is None:
            return None
        names = [exact(name, str, "a name") for name in exact(value, tuple, "names")]
        return tuple(filter(_is_name, names))  # a bad one must not hide the others
    if exact(value, str, "OK") != "OK":
        raise ValueError(f"expected 'OK', got {brief(value)}")
    return value


def _address(value: Any) -> tuple[str, int]:
    pair = exact(value, tuple, "an address")
    if len(pair) != 2:
        raise ValueError(f"expected a host and a port, got {len(pair)} items")
    return checked_name(pair[0]), checked_port(pair[1])


class Seal:
    """Puts messages into a seal, and takes them out.

    Args:
        secret: what both sides know, at least 16 bytes.

    Raises:
        TypeError: the secret is no ``bytes``.
        ValueError: it is too short.
    """

    def __init__(self, secret: bytes) -> None:
        if not isinstance(secret, bytes):
            raise TypeError(f"expected a secret of bytes, got {type(secret).__name__}")
        if len(secret) < 16:
            raise ValueError(f"expected a secret of at least 16 bytes, got {len(secret)}")
        self._secret = secret
        self._lock = threading.RLock()  # guards _seen
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def close(self, content: bytes, nonce: bytes | None = None) -> tuple[bytes, bytes]:
        """Return the sealed content, and its nonce.

        Args:
            nonce: of the question that is answered; without it this is a question.
        """
        now = time.time()
        direction = _QUESTION if nonce is None else _ANSWER
        if nonce is None:
            nonce = _TIME.pack(now) + os.urandom(_RANDOM)
        code = self._code(direction, now, nonce, content)
        return brine.dump((_SEALED, now, nonce, content, code)), nonce

    def open(self, data: bytes, expected: bytes | None = None) -> tuple[bytes, bytes]:
        """Return content and nonce of what was sealed.

        Args:
            expected: the nonce of the question that this must answer; without it this must be a
                question, and one that was never seen.

        Raises:
            ProtocolError, ValueError: it was not sealed with this secret, or for another purpose.
        """
        sealed = brine.load(data, _MAX_DEPTH, 20)
        if type(sealed) is not tuple or [type(item) for item in sealed] != _SHAPE:
            raise ValueError("expected a sealed message, got another")
        magic, when, nonce, content, code = sealed
        direction = _QUESTION if expected is None else _ANSWER
        right = self._code(direction, when, nonce, content)
        if magic != _SEALED or not hmac.compare_digest(code, right):
            raise ValueError(
                f"expected {direction} sealed with this secret, got a message sealed with another "
                "secret, or of another direction"
            )
        if len(nonce) != _TIME.size + _RANDOM:
            raise ValueError(f"expected a nonce of {_TIME.size + _RANDOM} bytes, got {len(nonce)}")
        (asked,) = _TIME.unpack(nonce[: _TIME.size])
        if not all(abs(time.time() - moment) <= _MAX_AGE for moment in (when, asked)):
            raise ValueError("a sealed message that is too old, or of the future")
        if expected is None:
            if when != asked or not self._is_new(nonce):
                raise ValueError("a sealed message that was seen before")
        elif not hmac.compare_digest(nonce, expected):
            raise ValueError("a sealed message that was seen before, or answers another question")
        return content, nonce

    def _code(self, direction: str, when: float, nonce: bytes, content: bytes) -> bytes:
        covered = brine.dump((_SEALED, direction, when, nonce, content))
        return hmac.digest(self._secret, covered, "sha256")

    def _is_new(self, nonce: bytes) -> bool:
        now = time.monotonic()
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now - 2 * _MAX_AGE:
                self._seen.popitem(last=False)
            if nonce in self._seen or len(self._seen) >= _REMEMBERED:
                return False
            self._seen[nonce] = now
            return True


_SHAPE: Final = [str, float, bytes, bytes, bytes]
