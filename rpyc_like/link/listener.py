"""Listening sockets and the accept loop, shared by every server.

An authenticator is a callable that is given an accepted socket and returns
``(socket, credentials)``, or raises :class:`~rpyc_like.errors.AuthenticationError`. It runs in
the client's own thread.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Sequence
from selectors import EVENT_READ
from typing import Any

from ..errors import ConnectionClosed
from ..lib import primitives
from ..lib.os_errors import address_text, naming
from ..wire.framing import Framer
from .admission import PAUSE, Admission, Client, ListenerAccount, exhausted, frame_arrived
from .streams.base import WakePipe

__all__ = [
    "Authenticator",
    "Listener",
    "ListenerAccount",
    "accept_client",
    "is_listening",
    "listen_tcp",
    "listen_unix",
]

Authenticator = Callable[[socket.socket], tuple[Any, Any]]


def is_listening(sock: socket.socket) -> bool:
    """Returns whether a socket waits for clients; else it is connected to one."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def listen_tcp(
    host: str | None, port: int, ipv6: bool, backlog: int, reuse_addr: bool
) -> socket.socket:
    """Returns a listening TCP socket.

    Args:
        host: an address or name to bind to; the loopback address without it.
    """
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    if host is None:
        host = "::1" if ipv6 else "127.0.0.1"
    place, kind = address_text(host, port), socket.SOCK_STREAM
    with naming(place):
        address = socket.getaddrinfo(host, port, family, kind, 0, socket.AI_PASSIVE)[0][4]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if reuse_addr and os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with naming(place):
            sock.bind(address)
            sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_unix(path: str, backlog: int, mode: int = 0o600) -> socket.socket:
    """Returns a listening unix socket at ``path``.

    A socket that nobody listens on any more is replaced.

    Args:
        mode: who may connect; programs of the same user without it.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(sock.fileno(), mode)  # Linux makes the file with it; others are told below
        with naming(path):
            sock.bind(path)
        os.chmod(path, mode)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def accept_client(sock: socket.socket, admission: Admission) -> tuple[socket.socket, Any] | None:
    """Return the socket and address of the next client of a listening socket.

    Returns:
        None if there is none at the moment, or if it has gone again. Where the system has no
        descriptors left, silent clients make room, and what called this calls it again.
    """
    try:
        client, address = sock.accept()
    except (BlockingIOError, InterruptedError, ConnectionAbortedError, TimeoutError):
        return None
    except OSError as error:
        if not exhausted(error):
            raise
        admission.make_room(error)
        primitives.sleep(PAUSE)
        return None
    if _has_gone(client):
        client.close()
        return None
    client.setblocking(True)
    return client, address


def _has_gone(client: socket.socket) -> bool:
    """Returns whether a client has hung up without having sent anything."""
    client.setblocking(False)
    try:
        return not client.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True


class Listener:
    """Accepts connections until it is closed.

    Args:
        socks: listening sockets, which belong to the listener from then on. Those that are
            connected already are accepted first.
        admission: of the silent clients, which make room when descriptors run out.
        path: of a unix socket among them, to be removed on closing.
        timeout: of the sockets themselves, in seconds; for programs that accept on their own.
        chores: called from time to time while waiting; returns in how many seconds it wants to be
            called again, None for not at all.
    """

    def __init__(
        self,
        socks: Sequence[socket.socket],
        admission: Admission,
        path: str | None = None,
        timeout: float | None = 0,
        chores: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._socks = [sock for sock in socks if is_listening(sock)]
        self._given = deque(sock for sock in socks if sock not in self._socks)
        self._path = path
        self._inode = None if path is None else _inode(path)
        self._wake = WakePipe()
        self._closed = False
        self._chores = chores
        self._admission = admission
        self._watched: dict[int, Callable[[], object]] = {}  # by their descriptors
        self._held: dict[int, Callable[[], object]] = {}  # what drops who waits, by descriptor
        self._calls: deque[Callable[[], object]] = deque()  # to be made by who accepts
        self._waiting: deque[socket.socket] = deque()  # those that had somebody when last asked
        self.crowded = False
        """Whether clients were waiting to be accepted when :meth:`turn` last looked."""
        # One for good: when descriptors run out there would be none for another.
        self._selector = primitives.DefaultSelector()
        self._selector.register(self._wake.fileno(), EVENT_READ)
        for sock in self._socks:
            sock.settimeout(timeout)
            self._selector.register(sock, EVENT_READ)

    def accept(self) -> socket.socket:
        """Waits for the next client and returns its socket.

        Raises:
            ConnectionClosed: the listener has been closed.
        """
        while True:
            client = self.turn()
            if client is not None:
                return client

    def turn(self) -> socket.socket | None:
        """Waits once; returns a client's socket, or None if something else has happened.

        Raises:
            ConnectionClosed: the listener has been closed.
        """
        if self._closed:
            raise ConnectionClosed("the server has stopped listening")
        if self._given:
            return self._given.popleft()
        if not self._waiting:
            self._wait(self._chores())
            return None
        try:
            accepted = accept_client(self._waiting.popleft(), self._admission)
        except OSError:
            if not self._closed:
                raise
            return None
        return None if accepted is None else accepted[0]

    @property
    def listens(self) -> bool:
        """Whether more clients may come."""
        return bool(self._given or self._socks) and not self._closed

    @property
    def ready(self) -> bool:
        """Whether :meth:`turn` does not wait."""
        return bool(self._given or self._waiting)

    def watch(self, descriptor: int, func: Callable[[], object]) -> None:
        """Have ``func`` called by :meth:`turn` when something can be read from a descriptor."""
        self._watched[descriptor] = func
        self._selector.register(descriptor, EVENT_READ)

    def unwatch(self, descriptor: int) -> None:
        """Take :meth:`watch` back."""
        del self._watched[descriptor]
        with contextlib.suppress(KeyError, ValueError, OSError):  # it may have been closed
            self._selector.unregister(descriptor)

    def hold(
        self,
        sock: socket.socket,
        client: Client,
        make_framer: Callable[[], Framer],
        arrived: Callable[[], object],
        gone: Callable[[], object],
    ) -> None:
        """Have an accepted client wait, without a thread, until it has sent a whole frame.

        Nothing is taken from the socket. :meth:`turn` calls one of the functions, once.

        Args:
            make_framer: makes what delimits the client's messages.
            arrived: called when a frame is there.
            gone: called when the client has hung up before.
        """
        client.held = True
        descriptor = sock.fileno()
        self._held[descriptor] = gone

        def look() -> None:
            whole = frame_arrived(sock, make_framer())
            if whole is None:
                return  # the system tells when more has come
            self.unwatch(descriptor)
            del self._held[descriptor]
            if whole:
                client.held = False
                arrived()
            else:
                gone()

        self.watch(descriptor, look)

    def drop_held(self) -> None:
        """Drop the clients that wait: called by the thread that called :meth:`turn`, at the end."""
        while self._held:
            descriptor, gone = self._held.popitem()
            self.unwatch(descriptor)
            gone()

    def call_soon(self, func: Callable[[], object]) -> None:
        """Have ``func`` called by :meth:`turn`. May be called from any thread."""
        self._calls.append(func)
        self._wake.wake()

    def _wait(self, timeout: float | None) -> None:
        """Waits for clients, for at most ``timeout`` seconds."""
        ready = {key.fd for key, _ in self._selector.select(timeout)}
        self._waiting.extend(sock for sock in self._socks if sock.fileno() in ready)
        self.crowded = bool(self._waiting)
        for descriptor, func in list(self._watched.items()):
            if descriptor in ready:
                func()
        if self._wake.fileno() in ready and not self._closed:
            self._wake.clear()
            while self._calls:
                self._calls.popleft()()

    def let_go(self) -> None:
        """Closes a forked child's copies of the sockets; the parent goes on listening."""
        self._closed = True
        for sock in self._socks:
            sock.close()

    def close(self) -> None:
        """Stops listening. Idempotent; may be called from another thread."""
        if self._closed:
            return
        self._closed = True
        self._wake.wake()
        for sock in (*self._socks, *self._given):
            sock.close()
        if self._path is not None and _inode(self._path) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def _inode(path: str) -> tuple[int, int] | None:
    """Returns what tells a file from another one that has taken its place."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
