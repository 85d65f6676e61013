"""Who is connected to a server, and how their calls are served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..lib.workers import WorkerPool

__all__ = ["EPCClientManager"]

_MANY = 10_000


class EPCClientManager:
    """Who is connected.

    Args:
        max_threads: how many calls of all clients are served at once; any number without it.
        ordered: whether the calls of a client are served one after the other.
        structured_errors: whether errors are told as lists instead of a text.
    """

    handle_client_connect: Callable[[Any], Any]
    handle_client_disconnect: Callable[[Any], Any]

    def __init__(
        self,
        max_threads: int | None = None,
        ordered: bool = False,
        structured_errors: bool = False,
    ) -> None:
        self.clients: list[Any] = []
        """The handlers of the connections that are open, oldest first."""
        self.ordered = ordered
        self.structured_errors = structured_errors
        self.pool = WorkerPool(max_threads or _MANY) if max_threads or ordered else None
        self._clients_lock = threading.Lock()  # guards clients

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
