"""A bounded number of threads for any number of clients."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial
from typing import Any

from ..lib.settings import Kind, check_arguments, count
from ..lib.threads import ThreadCache
from ..lib.worker_pool import WorkerPool
from ..link.serve.poller import Poller, can_poll
from .base_server import Server

__all__ = ["ThreadPoolServer"]

ARGUMENTS: dict[str, Kind] = {"nbThreads": count(1), "requestBatchSize": count(1)}
"""What the arguments must be that only this server has."""


class ThreadPoolServer(Server):
    """Serves all clients with a bounded number of threads.

    One more thread reads from all clients, so a client that is slow to send, to read or to be let
    in takes none of them. What one client asks is done in order, one request at a time; but while a
    call waits for the client's answer, the next request may be served. A thread that waits is
    replaced, so that calls back and forth never block the pool.

    Args:
        nbThreads: how many requests are served at once, not counting those that wait for an answer.
        requestBatchSize: how many requests of a client a thread serves before it looks at others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_arguments(ARGUMENTS, kwargs)
        self.nbthreads: int = kwargs.pop("nbThreads", 20)
        self.request_batch_size: int = kwargs.pop("requestBatchSize", 10)
        self._pool = WorkerPool(self.nbthreads, self.request_batch_size)
        super().__init__(*args, **kwargs)
        self._handshakes = ThreadCache()
        self._poller: Poller | None = None

    def _listen(self) -> None:
        super()._listen()
        if self._poller is None and not self._closed:
            self._poller = Poller(self._pool)

    def _accept_method(self, sock: socket.socket) -> None:
        self._begin(self._handshakes.run, sock)

    def _makes_connections(self) -> bool:
        return type(self)._serve_client is ThreadPoolServer._serve_client

    def _serve_client(self, sock: Any, credentials: Any) -> Any:
        conn = self._make_connection(sock, credentials)
        if self._poller is None or not can_poll(conn._link):
            self._handle_connection(conn)  # over a stream of the program's own
            return False
        self._poller.add(conn._link, partial(self._drop, sock))
        return True

    def _handle_poll_result(self, connlist: Iterable[tuple[int, str]]) -> None:
        """Has descriptors read from, whatever has been heard of them.

        Args:
            connlist: pairs of a descriptor and what it is ready for.
        """
        if self._poller is not None:
            self._poller.look_at([fd for fd, _ in connlist])

    def close(self) -> None:
        super().close()
        if self._finished.is_set():
            if self._poller is not None:
                self._poller.close()
            self._pool.close()
