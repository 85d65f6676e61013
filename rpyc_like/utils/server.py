"""Servers: accept clients and give each a service.

They differ in who serves a client: a thread of its own (:class:`ThreadedServer`), a bounded number
of threads (:class:`ThreadPoolServer`), a process (:class:`ForkingServer`), a greenlet
(:class:`GeventServer`), or the thread that started the server (:class:`OneShotServer`).
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from ..core.channel import Channel as Channel
from ..core.stream import SocketStream as SocketStream
from ..errors import AuthenticationError as AuthenticationError
from ..lib.compat import get_exc_errno as get_exc_errno
from ..lib.compat import poll as poll
from ..lib.optional_imports import safe_import
from ..lib.threads import spawn
from ..lib.threads import spawn_waitready as spawn_waitready
from ..link.serve.lobby import Lobby
from .base_server import Server, gives_full_control, peer_name
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
        self._begin(spawn, sock)


class OneShotServer(Server):
    """Serves one client, in the thread of :meth:`start`, and then stops.

    It is the first one that sends a message, or fails to log in. Others that have connected
    meanwhile are hung up on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lobby: Lobby[tuple[Any, Any]] = Lobby(self._accepting)

    def _accept_method(self, sock: socket.socket) -> None:
        if self.authenticator is None:
            self._authenticate_and_serve_client(sock)
        else:
            self._begin(spawn, sock)  # it takes as long as the client likes

    def _makes_connections(self) -> bool:
        return type(self)._serve_client is OneShotServer._serve_client

    def _serve_client(self, sock: Any, credentials: Any) -> Any:
        self._accepting.call_soon(partial(self._welcome, sock, credentials))
        return True

    def _welcome(self, sock: Any, credentials: Any) -> None:
        """Makes the connection of a client that has been let in; it is served when it speaks."""
        client = self._admitted.get(sock)
        self.logger.info("welcome %s", peer_name(sock))
        try:
            conn = self._make_connection(sock, credentials)
        except EOFError:
            self._drop(sock)
        except Exception as error:
            if client is not None:
                self._failed(client, error)
            self._drop(sock)
        else:
            self._lobby.add(conn._link, (sock, conn))

    def _refused(self) -> None:
        self._accepting.call_soon(self.close)

    def _drop(self, *socks: Any) -> None:
        super()._drop(*socks)
        if not self._admitted and not self._accepting.listens:
            self._accepting.call_soon(self.close)  # the only client there can be has gone

    def _chores(self) -> float | None:
        """Serves the client that has spoken; see :meth:`.Server._chores`."""
        dues = [super()._chores()]
        turn = self._lobby.take()
        while turn is not None:
            self._serve_first(*turn)
            turn = self._lobby.take()
        dues.append(self._lobby.left())
        return min((due for due in dues if due is not None), default=None)

    def _serve_first(self, sock: Any, conn: Any) -> None:
        """Serves a client; if it was the one, ends the server."""
        client = self._admitted.get(sock)
        try:
            self._handle_connection(conn)
        except EOFError:
            pass
        except Exception as error:
            if client is not None:
                self._failed(client, error)
        finally:
            self.logger.info("goodbye %s", peer_name(sock))
            self._drop(sock)
            if client is None or client.spoken:
                self.close()

    def close(self) -> None:
        super().close()
        for sock, conn in self._lobby.rest():
            conn.close()
            self._drop(sock)


def __getattr__(name: str) -> Any:
    """Returns gevent, which RPyC has under this name, when it is asked for."""
    if name == "gevent":
        return safe_import(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
