"""The conversation with which a client logs in, before any protocol is spoken.

::

    server  MAGIC  message(method, nonce, server's certificate?)
    client         message(name, nonce, proof)
    server         message(b"ok", proof)        or  message(b"no") and the end

A message is two bytes of length, and parts with two bytes of length each, big-endian. Nonces are 32
random bytes of each side, so that nothing can be replayed. Both proofs are made of one transcript:
the method, both nonces, the name, and the hash of the server's certificate if the conversation goes
through TLS, so that nobody in the middle can pass it on. They differ in a word at the beginning, so
that no side can be given its own proof.

Method ``token``: HMAC-SHA256 with a secret that both know. Method ``ed25519``: the name is the
client's public key, the proof a signature of it; the server's is a signature too, or empty.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..errors import AuthenticationError

__all__ = [
    "CLIENT",
    "KEY",
    "MAGIC",
    "MAX_SIZE",
    "NO",
    "OK",
    "SERVER",
    "TOKEN",
    "Transcript",
    "fingerprint",
    "new_nonce",
    "pack",
    "token_proof",
    "unpack",
]

MAGIC: Final = b"rpyc_like login 1\n"
TOKEN: Final = b"token"
KEY: Final = b"ed25519"
CLIENT, SERVER = b"client", b"server"
OK, NO = b"ok", b"no"

MAX_SIZE: Final = 2048
"""Bytes of a message after its length."""

_NONCE = 32
_LENGTH = struct.Struct("!H")


class Transcript(NamedTuple):
    """What both sides prove to have seen."""

    method: bytes
    server_nonce: bytes
    name: bytes
    client_nonce: bytes
    certificate: bytes

    def signed_by(self, side: bytes) -> bytes:
        """Returns the bytes that a side proves, CLIENT or SERVER."""
        return MAGIC + pack(side, *self)


def new_nonce() -> bytes:
    """Returns 32 random bytes."""
    return os.urandom(_NONCE)


def pack(*parts: bytes) -> bytes:
    """Returns a message of parts."""
    body = b"".join([_LENGTH.pack(len(part)) + part for part in parts])
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes, counts: Sequence[int]) -> list[bytes]:
    """Returns the parts of a message whose length has been taken off.

    Args:
        counts: how many parts it may have.

    Raises:
        AuthenticationError: it is no message of so many parts.
    """
    parts = []
    rest = body
    while len(rest) >= _LENGTH.size:
        (size,) = _LENGTH.unpack_from(rest)
        if len(rest) < _LENGTH.size + size:
            break
        parts.append(rest[_LENGTH.size : _LENGTH.size + size])
        rest = rest[_LENGTH.size + size :]
    if rest or len(parts) not in counts:
        wanted = " or ".join(map(str, counts))
        raise AuthenticationError(
            f"expected a login message of {wanted} parts, got {len(body)} bytes that are none"
        )
    return parts


def token_proof(token: bytes, side: bytes, transcript: Transcript) -> bytes:
    """Returns what only a side that knows the token can make."""
    return hmac.new(token, transcript.signed_by(side), hashlib.sha256).digest()


def fingerprint(certificate: bytes | None) -> bytes:
    """Returns the hash of a certificate (DER); empty without one."""
    return b"" if certificate is None else hashlib.sha256(certificate).digest()
