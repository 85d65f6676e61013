"""Connecting to a host that may have several addresses, of which some may be dead.

The addresses are tried one after the other, families in turn; one that has not answered after a
quarter of a second is not waited for alone: the next is tried beside it, and the first that answers
wins (RFC 8305).
"""

from __future__ import annotations

import errno
import os
import socket
from itertools import zip_longest
from selectors import EVENT_WRITE
from typing import Any

from ...lib import primitives
from ...lib.os_errors import address_text, naming
from ...lib.settings import PORT, checked
from ...lib.timing import Timeout

__all__ = ["connect_socket"]

_HEAD_START = 0.25
"""Seconds before the next address is tried as well."""

_UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY}

_Address = tuple[Any, Any, int, str, Any]


def connect_socket(
    host: str,
    port: int,
    family: int = socket.AF_UNSPEC,
    timeout: float | None = 3,
    attempts: int = 1,
) -> socket.socket:
    """Returns a connected TCP socket, to the first of the host's addresses that answers.

    Args:
        family: AF_UNSPEC tries all.
        timeout: seconds for one address.
        attempts: how often to go through the addresses, with a growing pause between, if none
            answers in time.

    Raises:
        OSError: the last error met (:class:`ConnectionRefusedError`, :class:`socket.gaierror`).
        TypeError, ValueError: the port is none.
    """
    checked("argument 'port'", PORT, port)
    with naming(address_text(host, port)):
        addresses = _in_turn(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
    attempt = 0
    while True:
        try:
            return _ConnectAttempts(addresses, timeout).run()
        except (TimeoutError, InterruptedError):
            attempt += 1
            if attempt >= attempts:
                raise
            primitives.sleep(0.05 * 2**attempt)


def _in_turn(addresses: list[Any]) -> list[_Address]:
    """Returns addresses with families in turn, beginning with the first one's."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for pair in zip_longest(first, others) for one in pair if one is not None]


class _ConnectAttempts:
    """Attempts to connect, of which the first that succeeds wins."""

    def __init__(self, addresses: list[_Address], timeout: float | None) -> None:
        self._left = addresses
        self._timeout = timeout
        self._running: dict[socket.socket, Timeout] = {}
        self._addresses: dict[socket.socket, Any] = {}
        self._failure: OSError = OSError("the host has no address")

    def run(self) -> socket.socket:
        """Returns the winner; closes the others."""
        winner = None
        try:
            while winner is None and (self._left or self._running):
                if self._left:
                    winner = self._start(*self._left.pop(0))
                if winner is None and self._running:
                    winner = self._wait(_HEAD_START if self._left else None)
        finally:
            for sock in self._running:
                if sock is not winner:
                    sock.close()
        if winner is None:
            raise self._failure
        winner.setblocking(True)
        return winner

    def _start(
        self, family: Any, kind: Any, proto: int, _: str, address: Any
    ) -> socket.socket | None:
        """Begins an attempt; returns the socket if that was all it took."""
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            code = sock.connect_ex(address)
        except BaseException:
            sock.close()
            raise
        self._addresses[sock] = address
        if code in _UNDER_WAY:
            self._running[sock] = Timeout(self._timeout)
            return None
        if code == 0:
            return sock
        self._refused(sock, code)
        return None

    def _failed(self, sock: socket.socket, error: OSError) -> None:
        self._failure = error
        self._running.pop(sock, None)
        sock.close()

    def _refused(self, sock: socket.socket, code: int) -> None:
        self._failed(sock, OSError(code, f"{os.strerror(code)}: {self._place(sock)}"))

    def _place(self, sock: socket.socket) -> str:
        return address_text(*self._addresses[sock][:2])

    def _silence(self, sock: socket.socket) -> str:
        return f"no answer from {self._place(sock)} within {self._timeout} s"

    def _wait(self, limit: float | None) -> socket.socket | None:
        """Waits for an attempt to succeed, for one to fail, or until the time is over."""
        lefts = [deadline.timeleft() for deadline in self._running.values()]
        times = [left for left in (limit, *lefts) if left is not None]
        with primitives.DefaultSelector() as selector:
            for sock in self._running:
                selector.register(sock, EVENT_WRITE)
            ready: list[Any] = [key.fileobj for key, _ in selector.select(min(times, default=None))]
        for sock in ready:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                return sock  # type: ignore[no-any-return]
            self._refused(sock, code)
        for sock, deadline in list(self._running.items()):
            if deadline.expired():
                self._failed(sock, TimeoutError(self._silence(sock)))
        return None
