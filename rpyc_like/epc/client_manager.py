"""Who is connected to a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lib import primitives

__all__ = ["EPCClientManager", "runs_code"]


class EPCClientManager:
    """Who is connected."""

    handle_client_connect: Callable[[Any], Any]
    handle_client_disconnect: Callable[[Any], Any]

    def __init__(self) -> None:
        self.clients: list[Any] = []
        """The handlers of the connections that are open, oldest first."""
        self._clients_lock = primitives.RLock()  # guards clients

    def add_client(self, handler: Any) -> None:
        """Notes a connection and calls :meth:`handle_client_connect`."""
        with self._clients_lock:
            self.clients.append(handler)
        self.handle_client_connect(handler)

    def remove_client(self, handler: Any) -> None:
        """Forgets a connection and calls :meth:`handle_client_disconnect`."""
        with self._clients_lock:
            if handler not in self.clients:
                return
            self.clients.remove(handler)
        self.handle_client_disconnect(handler)

    def handle_client_connect(self, handler: Any) -> None:  # type: ignore[no-redef]
        """Is told of a new connection; override or assign it."""

    def handle_client_disconnect(self, handler: Any) -> None:  # type: ignore[no-redef]
        """Is told that a connection has ended; override or assign it."""


def runs_code(server: Any, *methods: str) -> bool:
    """Return whether one of these methods of a server is a program's, and not the manager's."""
    own = (getattr(EPCClientManager, name) for name in methods)
    found = (getattr(getattr(server, name), "__func__", None) for name in methods)
    return any(one is not other for one, other in zip(found, own))
