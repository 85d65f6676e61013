"""How a client logs in to a server that asks for it; see :mod:`rpyc_like.wire.login`.

A login is given to the functions that connect (``login=``). It can be used any number of times.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from ..errors import AuthenticationError
from ..lib.optional_imports import needed
from ..lib.timing import Timeout
from ..wire import login as wire
from ..wire.login import CLIENT, KEY, MAGIC, SERVER, TOKEN, Transcript
from .streams.base import READ, NativeStream

__all__ = ["KeyLogin", "Login", "TokenLogin", "log_in", "read_token"]

_LIMIT = 10.0


def read_token(token: str | bytes | Path) -> bytes:
    """Returns a token as bytes; a path is that of a file that holds it.

    Raises:
        ValueError: it has less than 16 bytes: who hears a login could guess it.
    """
    where = f" in {str(token)!r}" if isinstance(token, Path) else ""
    if isinstance(token, Path):
        token = token.read_bytes().strip()
    data = token.encode() if isinstance(token, str) else token
    if len(data) < 16:
        raise ValueError(f"expected a token of at least 16 bytes{where}, got {len(data)}")
    return data


class Login:
    """What a client shows to be let in. Base of the ways there are."""

    method = b""

    def name(self) -> bytes:
        """Returns who logs in."""
        raise NotImplementedError

    def prove(self, transcript: Transcript) -> bytes:
        """Returns this side's proof."""
        raise NotImplementedError

    def check(self, transcript: Transcript, proof: bytes) -> None:
        """Checks the server's proof.

        Raises:
            AuthenticationError: it is none.
        """
        raise NotImplementedError


class TokenLogin(Login):
    """Shows that this side knows a secret, without telling it.

    The server shows the same, so that this side does not talk to another by mistake.

    Args:
        token: the secret, or the path of a file that holds it.
        name: of this client, if the server knows several.
    """

    method = TOKEN

    def __init__(self, token: str | bytes | Path, name: str = "") -> None:
        self._token = read_token(token)
        self._name = name.encode()

    def name(self) -> bytes:
        return self._name

    def prove(self, transcript: Transcript) -> bytes:
        return wire.token_proof(self._token, CLIENT, transcript)

    def check(self, transcript: Transcript, proof: bytes) -> None:
        if not hmac.compare_digest(proof, wire.token_proof(self._token, SERVER, transcript)):
            raise AuthenticationError("the server does not know the token")


class KeyLogin(Login):
    """Signs with an Ed25519 key; needs the package ``cryptography``.

    Args:
        key: path of a private key, as ``ssh-keygen -t ed25519`` makes it.
        password: of the key, if it has one.
        server: the server's public key, ``ssh-ed25519 AAAA...``; without it whoever answers is
            believed to be the server, which is for unix sockets, TLS and ssh tunnels.
    """

    method = KEY

    def __init__(
        self, key: str | Path, password: str | None = None, server: str | None = None
    ) -> None:
        keys = needed("rpyc_like.link.ed25519", "cryptography")
        self._keys = keys
        self._key = keys.load_private(key, password)
        self._server = None if server is None else keys.parse_public(server)

    def name(self) -> bytes:
        public: bytes = self._keys.public_bytes(self._key)
        return public

    def prove(self, transcript: Transcript) -> bytes:
        signature: bytes = self._key.sign(transcript.signed_by(CLIENT))
        return signature

    def check(self, transcript: Transcript, proof: bytes) -> None:
        if self._server is None:
            return
        if not self._keys.verifies(self._server, proof, transcript.signed_by(SERVER)):
            raise AuthenticationError("the server does not have the expected key")


def log_in(stream: NativeStream, login: Login, timeout: float | None = None) -> None:
    """Logs in over an open stream.

    Args:
        timeout: seconds that all of it may take; 10 without it.

    Raises:
        AuthenticationError: the server does not ask for this kind of login, did not let this side
            in, or did not prove who it is.
    """
    deadline = Timeout(_LIMIT if timeout is None else timeout)
    try:
        magic = _read(stream, len(MAGIC), deadline)
        if magic != MAGIC:
            raise AuthenticationError(f"expected a server that asks for a login, got {magic!r}")
        method, nonce, certificate = wire.unpack(_message(stream, deadline), (3,))
        if method != login.method:
            asked = repr(method[:40])[2:-1]
            raise AuthenticationError(
                f"the server asks for a login by {asked}, got one by {login.method.decode()}"
            )
        wire.check_certificate(certificate, _certificate(stream))
        mine = wire.new_nonce()
        wire.check_nonces(mine, nonce)
        transcript = Transcript(method, nonce, login.name(), mine, certificate)
        stream.write(wire.pack(transcript.name, mine, login.prove(transcript)))
        verdict, *proof = wire.unpack(_message(stream, deadline), (1, 2))
        if verdict != wire.OK or not proof:
            raise AuthenticationError("the server did not let this side in")
        login.check(transcript, proof[0])
    except TimeoutError as error:
        raise AuthenticationError(f"{error}; does the server ask for a login?") from error
    except EOFError as error:
        raise AuthenticationError(f"the server hung up during the login: {error}") from error


def _certificate(stream: NativeStream) -> bytes:
    """Returns the hash of the certificate that the server has shown."""
    get = getattr(stream, "getpeercert", None) or getattr(
        getattr(stream, "sock", None), "getpeercert", None
    )
    return wire.fingerprint(get(True)) if get is not None else b""


def _message(stream: NativeStream, deadline: Timeout) -> bytes:
    return _read(stream, wire.check_size(_read(stream, 2, deadline)), deadline)


def _read(stream: NativeStream, size: int, deadline: Timeout) -> bytes:
    data = b""
    while len(data) < size:
        got = stream.recv_some(size - len(data))
        if got is None:
            if not stream.wait(READ, deadline.timeleft()):
                raise TimeoutError(f"no login message within {deadline.seconds:g} s")
        elif not got:
            raise EOFError("connection closed by peer")
        else:
            data += got
    return data
