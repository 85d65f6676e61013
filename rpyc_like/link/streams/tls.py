"""TLS over any native stream, and TLS contexts.

OpenSSL works on two memory buffers here. One short lock lets one operation at a time touch them,
and no operation waits while it holds the lock. Decrypted bytes that have not been read count as
readable.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import ConnectionClosed
from ...lib import primitives
from ...lib.interrupts import ignoring, raised_by_handler
from ...lib.timing import Timeout
from .base import READ, WRITE, NativeStream, noting, waits

__all__ = ["TlsStream", "client_context", "server_context"]

_RECORD = 1 << 14


def client_context(
    keyfile: str | None = None,
    certfile: str | None = None,
    ca_certs: str | None = None,
    cert_reqs: int | None = None,
    ssl_version: int | None = None,
    ciphers: str | None = None,
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """Returns a context for a client; the server's certificate and name are verified.

    Args:
        keyfile, certfile: this client's own key and certificate, if the server asks for one.
        ca_certs: a file of certificates to trust instead of the system's.
        cert_reqs: ``ssl.CERT_NONE`` switches verification off.
        ssl_version: a ``ssl.PROTOCOL_*`` number; the best of both sides without it.
        ciphers: an OpenSSL cipher list.
        check_hostname: whether the certificate must name the host.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if ssl_version is None else ssl_version)
    reqs = ssl.CERT_REQUIRED if cert_reqs is None else ssl.VerifyMode(cert_reqs)
    if reqs == ssl.CERT_NONE:
        context.check_hostname = False
    context.verify_mode = reqs
    context.check_hostname = check_hostname and reqs != ssl.CERT_NONE
    if ca_certs is not None:
        _load_authorities(context, ca_certs)
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if certfile is not None:
        _load_pair(context, certfile, keyfile)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


def server_context(
    keyfile: str,
    certfile: str,
    ca_certs: str | None = None,
    cert_reqs: int | None = None,
    ssl_version: int | None = None,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """Returns a context for a server.

    Args:
        keyfile, certfile: the server's key and certificate.
        ca_certs: whose clients are let in; with it a client certificate is required, unless
            ``cert_reqs`` says otherwise.

    Raises:
        OSError: a file cannot be read; the error names it and the argument.
        ssl.SSLError: a file does not hold what it should, or key and certificate are no pair.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if ssl_version is None else ssl_version)
    _load_pair(context, certfile, keyfile)
    if ca_certs is not None:
        _load_authorities(context, ca_certs)
        context.verify_mode = ssl.CERT_REQUIRED
    if cert_reqs is not None:
        context.verify_mode = ssl.VerifyMode(cert_reqs)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


def _load_authorities(context: ssl.SSLContext, ca_certs: str) -> None:
    """Trust the certificates of a file."""
    _check_readable(ca_certs, "ca_certs")
    try:
        context.load_verify_locations(ca_certs)
    except ssl.SSLError as error:
        raise _unusable("certificates of authorities", ca_certs, "ca_certs", error) from error


def _load_pair(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    """Use a certificate and its private key, which are in one file if there is no ``keyfile``."""
    _check_readable(certfile, "certfile")
    if keyfile is not None:
        _check_readable(keyfile, "keyfile")
    try:
        context.load_cert_chain(certfile, keyfile)
    except ssl.SSLError as error:
        key, argument = (certfile, "certfile") if keyfile is None else (keyfile, "keyfile")
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"the private key of the certificate {str(certfile)!r}"
            raise _unusable(what, key, argument, error) from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certfile)
        except ssl.SSLError:
            raise _unusable("a certificate", certfile, "certfile", error) from error
        raise _unusable("a private key", key, argument, error) from error


def _check_readable(path: str, argument: str) -> None:
    """Open a file for a moment: OpenSSL's errors do not name it."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        text = f"{error.strerror} (argument {argument!r})"
        raise type(error)(error.errno, text, str(path)) from None


def _unusable(what: str, path: str, argument: str, error: ssl.SSLError) -> ssl.SSLError:
    """Return the error for a file that does not hold what it should."""
    why = error.reason or error.strerror or "nothing usable found"
    text = (
        f"expected {what} (PEM) in {str(path)!r}, got something else: {why} (argument {argument!r})"
    )
    made = ssl.SSLError(error.errno or 1, text)
    vars(made).update(vars(error))  # which part of OpenSSL it comes from, and why
    return made


class TlsStream(NativeStream):
    """TLS on top of another native stream, which belongs to it from then on.

    Args:
        inner: carries the encrypted bytes.
        context: from :func:`client_context` or :func:`server_context`.
        server_side: whether this end is the server.
        server_hostname: the name the peer's certificate must have, for a client.
        timeout: seconds for the handshake.

    Raises:
        ssl.SSLError: the handshake failed.
        TimeoutError: it did not end in time.
    """

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_cipher",
        "_ended",
        "_flushing",
        "_inbox",
        "_landed",
        "_lock",
        "_outbox",
        "_tls",
        "_unsure",
        "inner",
        "went",
    )

    def __init__(
        self,
        inner: NativeStream,
        context: ssl.SSLContext,
        server_side: bool = False,
        server_hostname: str | None = None,
        timeout: float | None = 10,
    ) -> None:
        self.inner = inner
        self._landed: Any = None
        self._inbox = ssl.MemoryBIO()
        self._outbox = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._inbox, self._outbox, server_side, server_hostname)
        # A finalizer may take it again at any bytecode, to send something.
        self._lock = primitives.RLock()
        self._flushing = False
        self._cipher: memoryview = memoryview(b"")
        self._accepted = 0
        self._unsure: tuple[int, int] | None = None
        self.went = 0
        self._ended = False
        try:
            self._handshake(Timeout(timeout))
        except BaseException:
            inner.close()
            raise

    @property
    def sock(self) -> Any:
        """The socket underneath, where there is one."""
        return self.inner.sock  # type: ignore[attr-defined]

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Returns the peer's certificate, as :meth:`ssl.SSLSocket.getpeercert`."""
        return self._tls.getpeercert(binary_form)

    @property
    def landed(self) -> Any:
        """What has been read, encrypted or not, and was not passed on."""
        if self._landed is None and self.inner.landed is not None:
            return True
        return self._landed

    @landed.setter
    def landed(self, value: Any) -> None:
        self._landed = self.inner.landed = value

    @property
    def roused(self) -> Any:
        """Whether a wait for bytes was interrupted and is to get nothing."""
        return self.inner.roused

    @property
    def rousable(self) -> bool:
        return self.inner.rousable

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        with self.inner.interrupting():
            try:
                yield
            finally:
                self.landed = None

    def calm(self) -> None:
        self.inner.calm()

    def _handshake(self, deadline: Timeout) -> None:
        while True:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLError:
                self._flush()  # the alert
                raise
            while not self._flush():
                self._await(WRITE, deadline)
            if done:
                return
            while (data := self.inner.recv_some()) is None:
                self._await(READ, deadline)
            if not data:
                raise ConnectionClosed("peer hung up during the TLS handshake")
            self._inbox.write(data)

    def _await(self, events: int, deadline: Timeout) -> None:
        if not self.inner.wait(events, deadline.timeleft()):
            raise TimeoutError("the TLS handshake did not end in time")

    @property
    def closed(self) -> bool:
        return self.inner.closed

    def fileno(self) -> int:
        return self.inner.fileno()

    def fileno_out(self) -> int:
        return self.inner.fileno_out()

    @property
    def hides(self) -> bool:
        return True

    def hung_up(self) -> bool:
        return self._ended or self.inner.hung_up()

    @property
    def entered(self) -> bool:
        return self._lock._is_owned() or self.inner.entered  # type: ignore[attr-defined,no-any-return]

    def close(self) -> None:
        if not self.inner.closed:
            self._say_goodbye()
        self.inner.close()

    def ack_at_once(self, wanted: bool) -> None:
        self.inner.ack_at_once(wanted)

    def busy_poll(self, microseconds: float) -> None:
        self.inner.busy_poll(microseconds)

    def finish(self) -> None:
        self._say_goodbye()
        self.inner.finish()

    def _say_goodbye(self) -> None:
        with self._lock, ignoring(ssl.SSLError, ConnectionClosed):
            try:
                self._tls.unwrap()
            except ssl.SSLError as error:
                if raised_by_handler(error):
                    raise
            finally:
                self._flush()

    def _flush(self) -> bool:
        """Write encrypted bytes as far as they go; return whether all have gone.

        In a finalizer that has interrupted this very function, the bytes are left to the latter.
        """
        if self._flushing:
            return True
        while True:
            self._flushing = True
            try:
                done = self._write_out()
            except BaseException as error:
                own = isinstance(error, (EOFError, OSError)) and not raised_by_handler(error)
                if not own and not hasattr(self.inner.send_some, "notes"):
                    self.inner.close()  # interrupted, perhaps in the middle of a record
                raise
            finally:
                self._flushing = False
            if not done or not self._outbox.pending:  # a finalizer may have added something
                return done

    def _write_out(self) -> bool:
        self._make_sure()
        inner = self.inner
        while True:
            # No call in between; perhaps after a handler has interrupted this very function.
            self._cipher = self._cipher[inner.went :]
            inner.went = 0
            if not self._cipher:
                (self._cipher,) = map(memoryview, map(self._outbox.read, (-1,)))  # type: ignore[arg-type]
                if not self._cipher:
                    return True
            inner.went = inner.send_some(self._cipher)
            if not inner.went:
                return False

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        with self._lock:
            self._make_sure()
            while True:
                try:
                    (self._landed,) = map(self._tls.read, (limit,))
                    self._flush()
                    return self._landed  # type: ignore[no-any-return]
                except ssl.SSLWantReadError as error:
                    if raised_by_handler(error):
                        raise
                    self._flush()
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
                    if raised_by_handler(error):
                        raise
                    return b""
                except ssl.SSLError as error:
                    if raised_by_handler(error):
                        raise
                    raise ConnectionClosed(f"TLS failed: {error}") from error
                raw = None if self._ended else self.inner.recv_some()
                if raw is None and not self._ended:
                    return None
                if not raw:
                    # An end without close_notify is an end all the same: frames say their length.
                    self._ended = True
                    self._inbox.write_eof()
                    return b""
                self._inbox.write(raw)
                self.inner.landed = None

    @noting
    def send_some(self, data: bytes | memoryview) -> int:
        # What has been encrypted is reported only when it has gone, so that the caller's idea of
        # "sent" is true. The caller repeats the same bytes meanwhile.
        with self._lock:
            self._make_sure()
            if not self._accepted:
                piece = data[: 4 * _RECORD]
                before = self._outbox.pending
                self._unsure = (len(piece), before)
                try:
                    self._accepted = self._tls.write(piece)
                except ssl.SSLWantReadError as error:
                    if raised_by_handler(error):
                        raise
                    self._unsure = None
                    return 0
                except ssl.SSLError as error:
                    if raised_by_handler(error):
                        raise
                    raise ConnectionClosed(f"TLS failed: {error}") from error
                self._unsure = None
            if not self._flush():
                return 0
            accepted = self.went = self._accepted
            self._accepted = 0
            return accepted

    def _make_sure(self) -> None:
        """Find out whether a write of OpenSSL's had been done that a signal handler interrupted.

        Before anything else is put into the outbox, or taken out.
        """
        if self._unsure is not None:
            size, before = self._unsure
            if self._outbox.pending - before > size:
                self._accepted = size
            self._unsure = None

    @waits
    def wait(self, events: int, timeout: float | None) -> int:
        if events & READ:
            with self._lock:
                if self._tls.pending() or self._inbox.pending or self._ended:
                    return READ
        return self.inner.wait(events, timeout)
