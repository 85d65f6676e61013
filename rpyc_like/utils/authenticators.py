"""Authenticators: callables that let a client in or refuse it.

Each is given an accepted socket and returns ``(socket, credentials)``, or raises
:class:`~rpyc_like.errors.AuthenticationError`. Credentials reach the service as
``conn.credentials`` and ``rpyc_like.current_call().credentials``.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import AuthenticationError
from ..lib.optional_imports import needed
from ..lib.optional_imports import safe_import as safe_import
from ..lib.settings import checked, number
from ..lib.timing import Timeout
from ..link.admission import login_is_watched
from ..link.client_login import read_token
from ..link.streams.tls import server_context
from ..wire import login as wire
from ..wire.login import CLIENT, KEY, MAGIC, SERVER, TOKEN, Transcript

__all__ = [
    "AuthenticationError",
    "Chain",
    "KeyAuthenticator",
    "PeerUser",
    "SSLAuthenticator",
    "TokenAuthenticator",
    "UnixAuthenticator",
]

logger = logging.getLogger("rpyc_like.server")

_HANDSHAKE_LIMIT = 10.0  # seconds, where no server has a limit of its own
_TIMEOUT = number(optional=True)
_PEER_CREDENTIALS = struct.Struct("@iII")
_NO_TLS = "the client does not speak TLS"
_NOT_TRUSTED = "the client does not accept this server's certificate"
_MEANINGS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has shown no certificate",
    "CERTIFICATE_VERIFY_FAILED": "the client's certificate is not accepted",
    "HTTP_REQUEST": _NO_TLS,
    "SSLV3_ALERT_BAD_CERTIFICATE": _NOT_TRUSTED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _NOT_TRUSTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NOT_TRUSTED,
    "TLSV1_ALERT_UNKNOWN_CA": _NOT_TRUSTED,
    "UNKNOWN_PROTOCOL": _NO_TLS,
    "WRONG_VERSION_NUMBER": _NO_TLS,
}
"""What reasons of OpenSSL's mean here."""
_CERTIFICATE = "rpyc_like_certificate"  # of the server, on its sockets: the hash of it


class SSLAuthenticator:
    """Lets clients in that speak TLS; the credentials are the client's certificate or None.

    Files that change are read again, so that certificates can be renewed while a server runs. Files
    that do not fit together, because they are just being written, change nothing.

    Args:
        keyfile, certfile: the server's key and certificate.
        ca_certs: whose clients are let in; with it a client certificate is required.
        cert_reqs, ssl_version, ciphers: as for :func:`rpyc_like.link.streams.tls.server_context`.
        timeout: seconds that a handshake may take, if less than ``auth_timeout`` of the server.

    Raises:
        OSError: a file cannot be read, or does not hold what it should (``ssl.SSLError``).
    """

    def __init__(
        self,
        keyfile: str,
        certfile: str,
        ca_certs: str | None = None,
        cert_reqs: int | None = None,
        ssl_version: int | None = None,
        ciphers: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self.timeout = checked("argument 'timeout'", _TIMEOUT, timeout)
        self.keyfile = keyfile
        self.certfile = certfile
        self.ca_certs = ca_certs
        self.cert_reqs = cert_reqs
        self.ssl_version = ssl_version
        self.ciphers = ciphers
        self._loading = threading.RLock()  # guards _loaded
        self._loaded: tuple[Any, ssl.SSLContext, bytes] | None = None
        self._context()  # so that wrong files are found before anything is bound

    @property
    def authenticates(self) -> bool:
        """Whether clients must show a certificate: without that TLS only hides what is said."""
        if self.cert_reqs is None:
            return self.ca_certs is not None
        return self.cert_reqs == ssl.CERT_REQUIRED

    def _context(self) -> tuple[ssl.SSLContext, bytes]:
        """Returns what the files say at this moment, and the hash of the certificate."""
        files = (self.keyfile, self.certfile, self.ca_certs)
        rules = (self.cert_reqs, self.ssl_version, self.ciphers)
        with self._loading:
            before = self._loaded
            try:
                state = (files, rules, [_state(file) for file in files if file is not None])
                if before is None or before[0] != state:
                    context = server_context(*files, *rules)
                    pem = Path(self.certfile).read_text()
                    certificate = wire.fingerprint(ssl.PEM_cert_to_DER_cert(_first(pem)))
                    self._loaded = (state, context, certificate)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                if before is None:
                    raise
                logger.warning("! TLS files are not usable, going on with the old ones: %s", error)
            assert self._loaded is not None
            return self._loaded[1:]

    def __call__(self, sock: socket.socket) -> tuple[ssl.SSLSocket, Any]:
        context, certificate = self._context()
        limit = _limit(self.timeout)
        try:
            sock.settimeout(limit)
            wrapped = context.wrap_socket(sock, server_side=True)
        except TimeoutError as error:
            raise AuthenticationError(f"no TLS handshake {_within(limit)}") from error
        except (ssl.SSLError, OSError) as error:
            why = _MEANINGS.get(getattr(error, "reason", ""))
            text = f"{why} ({error})" if why else error
            raise AuthenticationError(f"TLS handshake failed: {text}") from error
        setattr(wrapped, _CERTIFICATE, certificate)
        return wrapped, wrapped.getpeercert()


def _state(file: str) -> tuple[int, int, int]:
    """Returns what changes with the content of a file."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0, 0  # reading it will say why
    return found.st_mtime_ns, found.st_ino, found.st_size


def _first(pem: str) -> str:
    """Returns the first certificate of a file; what follows are those of authorities."""
    end = ssl.PEM_FOOTER
    start = pem.find(ssl.PEM_HEADER)
    stop = pem.find(end)
    if start < 0 or stop < 0:
        raise ValueError("expected a certificate (PEM)")
    return pem[start : stop + len(end)]


def _limit(timeout: float | None) -> float | None:
    """Return the seconds that a login may take: a server cuts it off, if it is one of a server."""
    if timeout is not None or login_is_watched():
        return timeout
    return _HANDSHAKE_LIMIT


def _within(limit: float | None) -> str:
    return f"within {limit or 0:g} s (argument 'timeout' of the authenticator)"


class PeerUser(NamedTuple):
    """Who is at the other end of a unix socket, as the system says."""

    pid: int
    uid: int
    gid: int


class UnixAuthenticator:
    """Lets processes of certain users in, over unix sockets; the credentials are a PeerUser.

    Args:
        uids: numbers of users; that of this process without it.
    """

    def __init__(self, uids: Collection[int] | None = None) -> None:
        self.uids = frozenset({os.getuid()} if uids is None else uids)

    def __call__(self, sock: socket.socket) -> tuple[socket.socket, PeerUser]:
        if sock.family != socket.AF_UNIX:
            raise AuthenticationError(f"expected a unix socket, got one of family {sock.family}")
        user = _peer_user(sock)
        if user.uid not in self.uids:
            allowed = ", ".join(map(str, sorted(self.uids)))
            raise AuthenticationError(f"expected a process of user {allowed}, got {user.uid}")
        return sock, user


def _peer_user(sock: socket.socket) -> PeerUser:
    if not hasattr(socket, "SO_PEERCRED"):
        raise AuthenticationError("this system does not tell who is at the end of a unix socket")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    return PeerUser(*_PEER_CREDENTIALS.unpack(raw))


class _LoginAuthenticator:
    """Talks with a client that logs in; see :mod:`rpyc_like.wire.login`."""

    method = b""
    timeout: float | None = None

    def check(self, transcript: Transcript, proof: bytes) -> Any:
        """Returns the credentials.

        Raises:
            AuthenticationError: the proof is none.
        """
        raise NotImplementedError

    def prove(self, transcript: Transcript) -> bytes:
        """Returns this side's proof."""
        raise NotImplementedError

    def __call__(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        with _limited(sock, _limit(self.timeout)) as deadline:
            nonce, certificate = wire.new_nonce(), getattr(sock, _CERTIFICATE, b"")
            sock.sendall(MAGIC + wire.pack(self.method, nonce, certificate))
            size = wire.check_size(_read(sock, 2, deadline))
            name, theirs, proof = wire.unpack(_read(sock, size, deadline), (3,))
            wire.check_nonces(nonce, theirs)
            transcript = Transcript(self.method, nonce, name, theirs, certificate)
            try:
                credentials = self.check(transcript, proof)
            except AuthenticationError:
                sock.sendall(wire.pack(wire.NO))
                raise
            sock.sendall(wire.pack(wire.OK, self.prove(transcript)))
        return sock, credentials


class TokenAuthenticator(_LoginAuthenticator):
    """Lets clients in that know a secret; the credentials are the client's name.

    The secret itself does not travel. What is said afterwards is neither hidden nor protected: over
    a network combine it with TLS (:class:`Chain`).

    Args:
        token: the secret, or the path of a file that holds it; or names of clients and the token of
            each.
        timeout: seconds that a login may take, if less than ``auth_timeout`` of the server.
    """

    method = TOKEN

    def __init__(
        self,
        token: str | bytes | Path | Mapping[str, str | bytes | Path],
        timeout: float | None = None,
    ) -> None:
        self.timeout = checked("argument 'timeout'", _TIMEOUT, timeout)
        tokens = token if isinstance(token, Mapping) else {"": token}
        self._tokens = {name.encode(): read_token(one) for name, one in tokens.items()}
        self._nobodys = os.urandom(32)

    def check(self, transcript: Transcript, proof: bytes) -> str:
        # An unknown name takes as long as a wrong token, and is answered in the same way.
        token = self._tokens.get(transcript.name, self._nobodys)
        if not hmac.compare_digest(proof, wire.token_proof(token, CLIENT, transcript)):
            raise AuthenticationError("expected a client that knows the token")
        return transcript.name.decode()

    def prove(self, transcript: Transcript) -> bytes:
        return wire.token_proof(self._tokens[transcript.name], SERVER, transcript)


class KeyAuthenticator(_LoginAuthenticator):
    """Lets clients in that have one of some Ed25519 keys; needs the package ``cryptography``.

    The credentials are a dict with ``comment`` and ``fingerprint`` of the key. What is said
    afterwards is neither hidden nor protected: over a network combine it with TLS (:class:`Chain`).

    Args:
        authorized: path of a file with a line ``ssh-ed25519 KEY COMMENT`` for each, as OpenSSH's
            ``authorized_keys``. It is read for each client.
        key: path of this server's own private key, for clients that want to see it.
        timeout: seconds that a login may take, if less than ``auth_timeout`` of the server.
    """

    method = KEY

    def __init__(
        self,
        authorized: str | Path,
        key: str | Path | None = None,
        timeout: float | None = None,
    ) -> None:
        self.timeout = checked("argument 'timeout'", _TIMEOUT, timeout)
        self._keys = needed("rpyc_like.link.ed25519", "cryptography")
        self._authorized = authorized
        self._keys.load_authorized(authorized)
        self._key = None if key is None else self._keys.load_private(key)

    def check(self, transcript: Transcript, proof: bytes) -> dict[str, str]:
        keys = self._keys
        try:
            known = keys.load_authorized(self._authorized)
        except (OSError, ValueError) as error:
            raise AuthenticationError(f"authorized keys are not usable: {error}") from error
        public = transcript.name
        if public not in known or not keys.verifies(public, proof, transcript.signed_by(CLIENT)):
            raise AuthenticationError("expected a client with an authorized key")
        return {"comment": known[public], "fingerprint": keys.fingerprint(public)}

    def prove(self, transcript: Transcript) -> bytes:
        if self._key is None:
            return b""
        signature: bytes = self._key.sign(transcript.signed_by(SERVER))
        return signature


class Chain:
    """Asks several authenticators, one after the other; each is given the socket of the last.

    The credentials are a tuple of what they return.

    Args:
        authenticators: for instance an SSLAuthenticator and a TokenAuthenticator.
    """

    def __init__(self, *authenticators: Callable[[Any], tuple[Any, Any]]) -> None:
        self._authenticators = authenticators

    @property
    def authenticates(self) -> bool:
        """Whether at least one of them does."""
        return any(getattr(one, "authenticates", True) for one in self._authenticators)

    def __call__(self, sock: Any) -> tuple[Any, tuple[Any, ...]]:
        given, credentials = sock, []
        try:
            for one in self._authenticators:
                sock, found = one(sock)
                credentials.append(found)
        except BaseException:
            if sock is not given:
                sock.close()  # nobody else knows of it
            raise
        return sock, tuple(credentials)


@contextlib.contextmanager
def _limited(sock: socket.socket, limit: float | None) -> Iterator[Timeout]:
    """Makes what goes wrong in a login an AuthenticationError, and bounds all of it in time."""
    before = sock.gettimeout()
    try:
        sock.settimeout(limit)
        yield Timeout(limit)
        sock.settimeout(before)
    except TimeoutError as error:
        raise AuthenticationError(f"login failed: no login message {_within(limit)}") from error
    except (OSError, EOFError) as error:
        raise AuthenticationError(f"login failed: {error}") from error


def _read(sock: socket.socket, size: int, deadline: Timeout) -> bytes:
    data = b""
    while len(data) < size:
        if deadline.expired():
            raise TimeoutError
        sock.settimeout(deadline.timeleft())
        got = sock.recv(size - len(data))
        if not got:
            raise EOFError("the client hung up")
        data += got
    return data
