"""What is said to a registry: the format, and how it can be sealed with a secret.

A message is the brine of ``("RPYC", command, arguments)``, its answer that of a plain value; see
:mod:`rpyc_like.utils.registry` for the commands. Both are RPyC's.

Registries and clients that share a secret put each of them into a seal, the brine of
``("RPYC-SEALED", seconds since 1970, nonce, content, HMAC-SHA256)``. The code covers time, nonce
and content; the answer to a message has that message's nonce. What is older than a minute, or has
been seen before, is refused.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections import OrderedDict
from typing import Any, Final

from ..core import brine
from ..errors import ProtocolError

__all__ = ["Seal", "answer_of", "make_message", "parse"]

_MAGIC: Final = "RPYC"
_SEALED: Final = "RPYC-SEALED"
_MAX_DEPTH: Final = 8
_MAX_AGE: Final = 60.0
_REMEMBERED: Final = 100_000


def parse(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """Returns command and arguments of a message.

    Raises:
        ProtocolError, ValueError: it is none.
    """
    message = brine.load(data, _MAX_DEPTH, 20)
    if type(message) is not tuple or len(message) != 3:
        raise ValueError(f"expected a message of three items, got {message!r:.80}")
    magic, command, args = message
    if magic != _MAGIC or type(command) is not str or type(args) is not tuple:
        raise ValueError(f"expected ('RPYC', command, arguments), got {message!r:.80}")
    return command.upper(), args


def make_message(command: str, args: tuple[Any, ...]) -> bytes:
    """Returns a message."""
    return brine.dump((_MAGIC, command, args))


def answer_of(data: bytes) -> Any:
    """Returns a received answer; what is none counts as silence."""
    try:
        return brine.load(data, _MAX_DEPTH, 20)
    except ProtocolError:
        return ()


class Seal:
    """Puts messages into a seal, and takes them out.

    Args:
        secret: what both sides know, at least 16 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError(f"expected a secret of at least 16 bytes, got {len(secret)}")
        self._secret = secret
        self._lock = threading.Lock()  # guards _seen
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def close(self, content: bytes, nonce: bytes | None = None) -> tuple[bytes, bytes]:
        """Returns the sealed content, and its nonce.

        Args:
            nonce: of the message that is answered; a new one without it.
        """
        nonce = os.urandom(16) if nonce is None else nonce
        now = time.time()
        return brine.dump((_SEALED, now, nonce, content, self._code(now, nonce, content))), nonce

    def open(self, data: bytes, expected: bytes | None = None) -> tuple[bytes, bytes]:
        """Returns content and nonce of what was sealed.

        Args:
            expected: the nonce it must have; without it one that was never seen.

        Raises:
            ProtocolError, ValueError: it was not sealed with this secret, or not for now.
        """
        sealed = brine.load(data, _MAX_DEPTH, 20)
        if type(sealed) is not tuple or [type(item) for item in sealed] != _SHAPE:
            raise ValueError("expected a sealed message, got another")
        magic, when, nonce, content, code = sealed
        if magic != _SEALED or not hmac.compare_digest(code, self._code(when, nonce, content)):
            raise ValueError("a message sealed with another secret")
        if not abs(time.time() - when) <= _MAX_AGE:
            raise ValueError("a sealed message that is too old, or of the future")
        if (nonce != expected) if expected is not None else not self._is_new(nonce):
            raise ValueError("a sealed message that was seen before")
        return content, nonce

    def _code(self, when: float, nonce: bytes, content: bytes) -> bytes:
        return hmac.digest(self._secret, brine.dump((when, nonce, content)), "sha256")

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
