"""What opens a stream to a peer, one function for each way there is. Opening blocks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.config import COMPAT_RPYC6
from ..core.stream import SocketStream, TlsStream
from ..link.client_login import Login, log_in
from ..link.streams.base import NativeStream
from ..link.streams.tls import client_context

__all__ = ["CONNECT_TIMEOUT", "Opener", "ssl_opener", "tcp_opener", "unix_opener"]

CONNECT_TIMEOUT = 3
"""Default time that connecting to one address may take, in seconds."""

Opener = Callable[[], NativeStream]
N = TypeVar("N", bound=NativeStream)


def _logged_in(stream: N, login: Login | None) -> N:
    """Logs in over a stream that has just been opened, and returns it."""
    if login is not None:
        try:
            log_in(stream, login)
        except BaseException:
            stream.close()
            raise
    return stream


def _socket_options(ipv6: bool, keepalive: bool | int, timeout: float | None) -> dict[str, Any]:
    """Returns what to give ``SocketStream.connect``, which a program may have replaced."""
    options: dict[str, Any] = {"ipv6": ipv6, "keepalive": keepalive}
    return options if timeout == CONNECT_TIMEOUT else {**options, "timeout": timeout}


def tcp_opener(
    host: str,
    port: int,
    ipv6: bool = False,
    keepalive: bool | int = False,
    timeout: float | None = CONNECT_TIMEOUT,
    login: Login | None = None,
) -> Opener:
    """Returns what opens a TCP connection; see :func:`rpyc_like.connect`."""
    options = _socket_options(ipv6, keepalive, timeout)
    return lambda: _logged_in(SocketStream.connect(host, port, **options), login)


def unix_opener(
    path: str, timeout: float | None = CONNECT_TIMEOUT, login: Login | None = None
) -> Opener:
    """Returns what opens a connection to a unix socket; see :func:`rpyc_like.unix_connect`."""
    return lambda: _logged_in(SocketStream.unix_connect(path, timeout), login)


def _context(
    cert_reqs: int | None = None,
    verify_mode: int | None = None,
    ca_certs: str | None = None,
    **options: Any,
) -> ssl.SSLContext:
    """Returns a client's context; what RPyC's defaults leave unverified is so only if asked for."""
    reqs = cert_reqs if verify_mode is None else verify_mode
    if reqs is None and COMPAT_RPYC6 and ca_certs is None:
        reqs = ssl.CERT_NONE
    named = not COMPAT_RPYC6 or cert_reqs is not None
    return client_context(ca_certs=ca_certs, cert_reqs=reqs, check_hostname=named, **options)


def ssl_opener(
    host: str,
    port: int,
    ipv6: bool = False,
    keepalive: bool | int = False,
    timeout: float | None = CONNECT_TIMEOUT,
    login: Login | None = None,
    **tls: Any,
) -> Opener:
    """Returns what opens a TLS connection; see :func:`rpyc_like.ssl_connect`."""
    context = _context(**tls)
    options = _socket_options(ipv6, keepalive, timeout)

    def open_stream() -> TlsStream:
        stream = SocketStream.connect(host, port, **options)
        return _logged_in(TlsStream(stream, context, server_hostname=host), login)

    return open_stream
