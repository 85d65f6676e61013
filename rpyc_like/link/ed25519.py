"""Ed25519 keys in the files of OpenSSH; needs the package ``cryptography``."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

__all__ = [
    "fingerprint",
    "load_authorized",
    "load_private",
    "parse_public",
    "public_bytes",
    "verifies",
]


def load_private(path: str | Path, password: str | None = None) -> Ed25519PrivateKey:
    """Returns the private key in a file.

    Raises:
        ValueError: it holds no Ed25519 key, or the password is wrong.
    """
    secret = None if password is None else password.encode()
    try:
        key = load_ssh_private_key(Path(path).read_bytes(), secret)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def parse_public(line: str) -> bytes:
    """Returns the 32 bytes of a public key, ``ssh-ed25519 AAAA... comment``.

    Raises:
        ValueError: the line holds something else.
    """
    words = line.split()
    if len(words) < 2 or words[0] != "ssh-ed25519":
        raise ValueError(f"expected a line 'ssh-ed25519 KEY COMMENT', got {line!r:.60}")
    key = load_ssh_public_key(" ".join(words[:2]).encode())
    assert isinstance(key, Ed25519PublicKey)
    return _raw(key)


def load_authorized(path: str | Path) -> dict[bytes, str]:
    """Returns the public keys of a file and their comments.

    Raises:
        ValueError: a line is neither a key, empty, nor a comment; it names the line.
    """
    keys = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                keys[parse_public(line)] = " ".join(line.split()[2:])
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
    return keys


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Returns the 32 bytes of a private key's public half."""
    return _raw(key.public_key())


def verifies(public: bytes, signature: bytes, signed: bytes) -> bool:
    """Returns whether a signature is that of the key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: bytes) -> str:
    """Returns a key's fingerprint, as OpenSSH prints it."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + public
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"
