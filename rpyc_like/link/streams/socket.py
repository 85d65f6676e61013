"""Streams over TCP and unix sockets.

The descriptor keeps the mode its creator gave it; no operation here blocks, because each says so
to the system (``MSG_DONTWAIT``) or, where that does not exist, because the socket is made
non-blocking. A socket that is already wrapped in TLS (:class:`ssl.SSLSocket`) is driven without
blocking and under one lock, since OpenSSL allows one operation at a time.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ...errors import ConnectionClosed
from ...lib import primitives
from ...lib.interrupts import ignoring, raised_by_handler
from ...lib.os_errors import naming
from .base import READ, DescriptorStream, ExplainedEnd, noting, polls_natively, waits
from .happy_eyeballs import connect_socket

__all__ = ["SocketStream", "TunneledSocketStream"]

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_LITTLE = 1 << 14
_TIMEVAL = struct.Struct("@ll")
_LEAST = 1e-6  # seconds that SO_RCVTIMEO can be
_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

S = TypeVar("S", bound="SocketStream")


class SocketStream(DescriptorStream):
    """A stream over a connected socket, which belongs to the stream from then on.

    Args:
        sock: a connected stream socket, plain or :class:`ssl.SSLSocket`. TCP_NODELAY is set.
    """

    __slots__ = (
        "_blocks",
        "_direct",
        "_fd",
        "_guard",
        "_limit",
        "_limited_for",
        "_quickack",
        "_receiving",
        "sock",
    )

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        if hasattr(type(sock), "____conn__"):
            raise TypeError(
                "expected a socket of this process, got a proxy, whose descriptor means something "
                "else here; a proxy of a stream can be used"
            )
        self.sock = sock
        self._fd = sock.fileno()
        self._quickack = False
        self._guard: Any = None
        self._receiving = False
        # Whether a plain recv waits in the system, bounded by SO_RCVTIMEO: one system call, where
        # polling and reading take two. A replaced socket module (gevent) waits in its own way.
        native = type(sock).recv is _socket.socket.recv
        self._blocks = bool(_DONTWAIT) and native and sock.gettimeout() is None
        self._direct = native  # whether an operation is one step, which no signal handler cuts
        if not native:
            self._pace = None
        self._limit: float = 0  # what SO_RCVTIMEO is set to
        self._limited_for: float | None = -1  # the timeout that asked for it
        if isinstance(sock, ssl.SSLSocket):
            self._guard = primitives.RLock()
            sock.setblocking(False)
        elif not _DONTWAIT or not native:
            sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            with ignoring(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- opening

    @classmethod
    def _connect(
        cls,
        host: str,
        port: int,
        family: int = socket.AF_INET,
        socktype: int = socket.SOCK_STREAM,
        proto: int = 0,
        timeout: float | None = 3,
        nodelay: bool = False,
        keepalive: bool | int = False,
        attempts: int = 6,
    ) -> socket.socket:
        sock = connect_socket(host, port, family, timeout, attempts)
        if keepalive:
            _keep_alive(sock, keepalive)
        return sock

    @classmethod
    def connect(cls: type[S], host: str, port: int, **kwargs: Any) -> S:
        """Connects over TCP.

        Args:
            kwargs: ``family``, ``ipv6``, ``timeout`` (3 seconds an address), ``nodelay`` (always
                on), ``keepalive`` (True, or seconds between probes), ``attempts``.

        Raises:
            OSError: nobody answered, or the name is unknown.
        """
        if kwargs.pop("ipv6", False):
            kwargs["family"] = socket.AF_INET6
        return cls(cls._connect(host, port, **kwargs))

    @classmethod
    def unix_connect(cls: type[S], path: str, timeout: float | None = 3) -> S:
        """Connects to the unix socket at ``path``."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            with naming(path):
                sock.connect(path)
            sock.settimeout(None)
        except OSError:
            sock.close()
            raise
        return cls(sock)

    @classmethod
    def ssl_connect(
        cls: type[S], host: str, port: int, ssl_kwargs: dict[str, Any], **kwargs: Any
    ) -> S:
        """Connects over TCP and wraps the socket in TLS.

        Args:
            ssl_kwargs: ``keyfile``, ``certfile``, ``ca_certs``, ``cert_reqs``, ``ciphers``,
                ``server_hostname``, as for :func:`rpyc_like.link.streams.tls.client_context`.
        """
        from .tls import client_context

        if kwargs.pop("ipv6", False):
            kwargs["family"] = socket.AF_INET6
        options = dict(ssl_kwargs)
        name = options.pop("server_hostname", host)
        context = client_context(**options)
        sock = cls._connect(host, port, **kwargs)
        try:
            sock.settimeout(kwargs.get("timeout", 3))
            return cls(context.wrap_socket(sock, server_hostname=name))
        except BaseException:
            sock.close()
            raise

    # -- state

    def fileno(self) -> int:
        self._check_open()
        return self._fd

    def _interrupt(self) -> None:
        with ignoring(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def _release(self) -> None:
        # A receiving thread sees _closed when it comes back, and it does: the socket is shut down.
        if not self._receiving:
            self.sock.close()

    def finish(self) -> None:
        with ignoring(OSError):
            if self._guard is None:
                self.sock.shutdown(socket.SHUT_WR)

    def ack_at_once(self, wanted: bool) -> None:
        """Has each packet acknowledged when it comes, for peers that do not set TCP_NODELAY."""
        self._quickack = (
            wanted
            and _QUICKACK is not None
            and self.sock.family in (socket.AF_INET, socket.AF_INET6)
        )

    # -- bytes

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        try:
            if self._guard is None:
                (self.landed,) = map(self.sock.recv, (limit,), (_DONTWAIT,))
            else:
                with self._guard, self._whole():
                    self.landed = self.sock.recv(limit)
        except _WOULD_BLOCK as error:
            if raised_by_handler(error):
                raise
            return None
        except ssl.SSLEOFError as error:
            if raised_by_handler(error):
                raise
            return b""
        except (OSError, ValueError) as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot read: {error}") from error
        if self._quickack:
            self._ack()
        return self.landed  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Close the stream where an operation of TLS, in Python, is interrupted in the middle."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, (OSError, ValueError)) or raised_by_handler(error):
                self.close()
            raise

    def _ack(self) -> None:
        with ignoring(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)  # type: ignore[arg-type]

    @waits
    def recv_wait(self, timeout: float | None, limit: int = 1 << 16) -> bytes | None:
        if timeout != self._limited_for:
            if not self._blocks or (timeout is not None and timeout < 1):
                return super().recv_wait(timeout, limit)
            wanted = 0 if timeout is None else 1 << (int(timeout).bit_length() - 1)
            if wanted != self._limit:
                self._limit_receiving(wanted)
            self._limited_for = timeout
        data: bytes | None
        try:
            self._receiving = True  # before _closed is looked at: _release has the other order
            if self._closed:
                raise ConnectionClosed("stream is closed")
            if self._pace is not None:
                data = self._pace.recv(self._fd, limit, self)
            else:
                if not self.roused:
                    (self.landed,) = map(self.sock.recv, (limit,))
                data = None if self.roused else self.landed
        except BlockingIOError as error:
            if raised_by_handler(error):
                raise
            data = None
        except OSError as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot read: {error}") from error
        finally:
            self._receiving = False
            if self._closed:
                self._release()
        if data is None:
            if self.roused:
                self.calm()
                return None
            # The system has waited as long as it was told.
            return self.recv_wait(None if timeout is None else timeout - self._limit, limit)
        if self._quickack:
            self._ack()
        return data

    def _limit_receiving(self, seconds: float) -> None:
        """Has the system wait that long; 0 for ever.

        For :meth:`recv_wait` it is the largest power of two that a timeout holds, so that it
        changes rarely.
        """
        limit = _TIMEVAL.pack(int(seconds), min(int(seconds % 1 * 1e6 + 0.999), 999_999))
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        except OSError as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot read: {error}") from error
        self._limit = seconds

    @waits
    def _peek(self, timeout: float | None) -> int:
        self._limited_for = -1
        if timeout:
            self._limit_receiving(max(_LEAST, timeout))
        elif timeout is None:
            self._limit_receiving(0)
        if self.roused:
            return 0
        try:
            self.sock.recv(1, socket.MSG_PEEK | (_DONTWAIT if timeout == 0 else 0))
        except BlockingIOError as error:
            if raised_by_handler(error):
                raise
            return 0
        except OSError as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot read: {error}") from error
        return READ

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        receiving = self._receiving
        self.hold()
        try:
            with super().interrupting():
                yield
        finally:
            self._receiving = receiving
            self.let_go()

    def rouse(self) -> None:
        super().rouse()
        if self._pace is None and not self._closed:
            self._limited_for = -1
            with ignoring(ConnectionClosed):
                self._limit_receiving(_LEAST)

    @noting
    def send_some(self, data: bytes | memoryview) -> int:
        try:
            if self._direct:
                if self._pace is not None and type(data) is bytes and len(data) < _LITTLE:
                    return self._pace.send(self.sock, data, self)  # type: ignore[no-any-return]
                (self.went,) = map(self.sock.send, (data,), (_DONTWAIT,))
            elif self._guard is None:
                with self._whole():
                    self.went = self.sock.send(data, _DONTWAIT)
            else:
                with self._guard, self._whole():
                    self.went = self.sock.send(data)
            return self.went  # type: ignore[no-any-return]
        except _WOULD_BLOCK as error:
            if raised_by_handler(error):
                raise
            return 0
        except (OSError, ValueError) as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot write: {error}") from error

    def recv_into(self, view: memoryview) -> int | None:
        if self._guard is not None:
            return super().recv_into(view)
        try:
            (self.landed,) = map(self.sock.recv_into, (view,), (0,), (_DONTWAIT,))
        except _WOULD_BLOCK as error:
            if raised_by_handler(error):
                raise
            return None
        except (OSError, ValueError) as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot read: {error}") from error
        count: int = self.landed
        if self._quickack:
            self._ack()
        return count

    @property
    def gathers(self) -> bool:
        return self._direct and hasattr(self.sock, "sendmsg")

    @property
    def hides(self) -> bool:
        return self._guard is not None

    @noting
    def send_vector(self, buffers: Sequence[bytes | memoryview]) -> int:
        if len(buffers) == 1 or not self.gathers:
            return super().send_vector(buffers)
        try:
            (self.went,) = map(self.sock.sendmsg, (buffers,), ([],), (_DONTWAIT,))
            return self.went  # type: ignore[no-any-return]
        except _WOULD_BLOCK as error:
            if raised_by_handler(error):
                raise
            return 0
        except (OSError, ValueError) as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot write: {error}") from error

    def _peer_ended(self) -> bool:
        if polls_natively():
            return super()._peer_ended()
        if self._guard is not None:
            return False
        # On Windows, and with gevent, an end is seen only when all before it has been read.
        try:
            return not self.sock.recv(1, socket.MSG_PEEK | _DONTWAIT)
        except _WOULD_BLOCK as error:
            if raised_by_handler(error):
                raise
            return False
        except OSError as error:
            if raised_by_handler(error):
                raise
            return True

    def _fds(self, events: int) -> list[tuple[int, int]]:
        return [(self._fd, events)]

    @waits
    def wait(self, events: int, timeout: float | None) -> int:
        if self._guard is not None and events & READ:
            with self._guard:
                self._check_open()
                if self.sock.pending():  # type: ignore[attr-defined]
                    return READ
        return super().wait(events, timeout)


class TunneledSocketStream(SocketStream):
    """A stream over a socket that leads through a tunnel, which is closed with the stream.

    Set ``tun`` to the tunnel, something with a ``close`` method, after making it. If it has a
    method ``failure``, the end of the stream is explained with what that returns.
    """

    __slots__ = ("tun",)

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.tun: Any = None

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        return self._explained(super().recv_some, limit)

    @waits
    def recv_wait(self, timeout: float | None, limit: int = 1 << 16) -> bytes | None:
        return self._explained(super().recv_wait, timeout, limit)

    @waits
    def _explained(self, receive: Callable[..., bytes | None], *args: Any) -> bytes | None:
        """Receives; the end, or an error, is explained with what the tunnel has said."""
        try:
            data = receive(*args)
        except ConnectionClosed as error:
            if raised_by_handler(error):
                raise
            raise self._explanation() or error from None
        explanation = self._explanation() if data == b"" else None
        if explanation is not None:
            raise explanation
        return data

    def _explanation(self) -> ConnectionClosed | None:
        why = self.tun.failure() if hasattr(self.tun, "failure") else ""
        return ExplainedEnd(f"the tunnel has ended: {why}") if why else None

    def close(self) -> None:
        super().close()
        tunnel, self.tun = self.tun, None
        if tunnel is not None:
            tunnel.close()


def _keep_alive(sock: socket.socket, keepalive: bool | int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if keepalive is True:
        return
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), int(keepalive))
