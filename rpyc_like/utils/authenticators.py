"""Authenticators: callables that let a client in or refuse it."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from ..errors import AuthenticationError
from ..lib.modules import safe_import as safe_import
from ..link.streams.tls import server_context

__all__ = ["AuthenticationError", "SSLAuthenticator"]

_HANDSHAKE_LIMIT = 10.0


class SSLAuthenticator:
    """Lets clients in that speak TLS; the credentials are the client's certificate or None.

    Args:
        keyfile, certfile: the server's key and certificate.
        ca_certs: whose clients are let in; with it a client certificate is required.
        cert_reqs, ssl_version, ciphers: as for :func:`rpyc_like.link.streams.tls.server_context`.
    """

    def __init__(
        self,
        keyfile: str,
        certfile: str,
        ca_certs: str | None = None,
        cert_reqs: int | None = None,
        ssl_version: int | None = None,
        ciphers: str | None = None,
    ) -> None:
        self.keyfile = keyfile
        self.certfile = certfile
        self.ca_certs = ca_certs
        self.cert_reqs = cert_reqs
        self.ssl_version = ssl_version
        self.ciphers = ciphers

    @property
    def authenticates(self) -> bool:
        """Whether clients must show a certificate: without that TLS only hides what is said."""
        if self.cert_reqs is None:
            return self.ca_certs is not None
        return self.cert_reqs == ssl.CERT_REQUIRED

    def __call__(self, sock: socket.socket) -> tuple[ssl.SSLSocket, Any]:
        context = server_context(
            self.keyfile,
            self.certfile,
            self.ca_certs,
            self.cert_reqs,
            self.ssl_version,
            self.ciphers,
        )
        try:
            sock.settimeout(_HANDSHAKE_LIMIT)
            wrapped = context.wrap_socket(sock, server_side=True)
        except (ssl.SSLError, OSError) as error:
            raise AuthenticationError(f"TLS handshake failed: {error}") from error
        return wrapped, wrapped.getpeercert()
