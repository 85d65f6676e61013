"""The conversation with which a client logs in, before any protocol is spoken.

::

    server  MAGIC  message(method, nonce, server's certificate?)
    client         message(name, nonce, proof)
    server         message(b"ok", proof)        or  message(b"no") and the end

A message is two bytes of length, and parts with two bytes of length each, big-endian. Nonces are 32
random bytes of each side, so that nothing can be replayed: neither side goes on with a nonce of
another length, or with its own one. Both proofs are made of one transcript:
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
    "check_certificate",
    "check_nonces",
    "check_size",
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

_NONCE: Final = 32
_HASH: Final = 32  # bytes of a certificate's hash
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


def check_nonces(mine: bytes, theirs: bytes) -> None:
    """Check the nonce that the other side has sent.

    Raises:
        AuthenticationError: it has another length than 32 bytes, or is this side's own.
    """
    if type(theirs) is not bytes or len(theirs) != _NONCE:
        got = f"{len(theirs)}" if type(theirs) is bytes else type(theirs).__name__
        raise AuthenticationError(f"expected a login nonce of {_NONCE} bytes, got {got}")
    if hmac.compare_digest(mine, theirs):
        raise AuthenticationError("expected a login nonce of the other side, got this side's own")


def check_certificate(certificate: bytes, seen: bytes) -> None:
    """Check the hash of the certificate that a server says it has.

    Args:
        seen: the hash of the certificate that the connection has shown; empty without TLS.

    Raises:
        AuthenticationError: it is no hash, or of another certificate.
    """
    if len(certificate) not in (0, _HASH):
        raise AuthenticationError(
            f"expected the hash of a certificate ({_HASH} bytes), got {len(certificate)}"
        )
    if certificate and not hmac.compare_digest(certificate, seen):
        raise AuthenticationError("somebody stands between this side and the server")


def check_size(head: bytes) -> int:
    """Return how many bytes a message has, from the two in front of it.

    Raises:
        AuthenticationError: they are more than :data:`MAX_SIZE`.
    """
    (size,) = _LENGTH.unpack(head)
    if size > MAX_SIZE:
        raise AuthenticationError(
            f"expected a login message of at most {MAX_SIZE} bytes, got one of {size}"
        )
    return int(size)


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
