"""Servers: accept clients and give each a service.

They differ in who serves a client: a thread of its own (:class:`ThreadedServer`), a bounded number
of threads (:class:`ThreadPoolServer`), a process (:class:`ForkingServer`), a greenlet
(:class:`GeventServer`), or the thread that started the server (:class:`OneShotServer`).
"""

from __future__ import annotations

import socket
from typing import Any

from ..core.channel import Channel as Channel
from ..core.stream import SocketStream as SocketStream
from ..errors import AuthenticationError as AuthenticationError
from ..lib.compat import get_exc_errno as get_exc_errno
from ..lib.compat import poll as poll
from ..lib.modules import safe_import
from ..lib.threads import spawn
from ..lib.threads import spawn_waitready as spawn_waitready
from .base_server import Server, gives_full_control
from .forking_server import ForkingServer
from .gevent_server import GeventServer
from .pool_server import ThreadPoolServer
from .registry import UDPRegistryClient as UDPRegistryClient

__all__ = [
    "ForkingServer",
    "GeventServer",
    "OneShotServer",
    "Server",
    "ThreadPoolServer",
    "ThreadedServer",
    "gives_full_control",
]


class ThreadedServer(Server):
    """Serves each client in a thread of its own."""

    def _accept_method(self, sock: socket.socket) -> None:
        try:
            spawn(self._authenticate_and_serve_client, sock)
        except RuntimeError as error:
            self.logger.warning("refused a client: %s", error)  # the system has no more threads
            self._drop(sock)


class OneShotServer(Server):
    """Serves one client, in the thread of :meth:`start`, and then stops."""

    def _accept_method(self, sock: socket.socket) -> None:
        try:
            self._authenticate_and_serve_client(sock)
        finally:
            self.close()


def __getattr__(name: str) -> Any:
    """Returns gevent, which RPyC has under this name, when it is asked for."""
    if name == "gevent":
        return safe_import(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
