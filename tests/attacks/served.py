"""Servers of each kind in this process, for a service of the test's own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.utils.server import ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually
from tests.support.joining import join

__all__ = ["KINDS", "AioThread", "Served", "eventually"]

QUIET = logging.getLogger("tests.attacks")
QUIET.setLevel(logging.CRITICAL)


class AioThread:
    """An asyncio server on a loop of its own, in a thread."""

    def __init__(self, service: Any, **options: Any) -> None:
        self._ready = threading.Event()
        self._options = options
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(service),))
        self._thread.start()
        assert self._ready.wait(60)

    async def _run(self, service: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with aio.Server(service, port=0, logger=QUIET, grace=0, **self._options) as server:
            self.port = server.port
            self._server = server
            self._ready.set()
            await self._stop.wait()

    @property
    def connections(self) -> list[Any]:
        """The connections of its clients."""
        return self._server.connections

    @property
    def admission(self) -> Any:
        """Who counts its clients."""
        return self._server._door.admission

    def close(self) -> None:
        """Stop serving."""
        self.loop.call_soon_threadsafe(self._stop.set)
        join(self._thread, 60, "the loop did not end")


class _Threads:
    def __init__(self, service: Any, kind: Any, **options: Any) -> None:
        self._server = kind(service, port=0, logger=QUIET, grace=0, **options)
        self._server._start_in_thread()
        self.port = self._server.port

    @property
    def connections(self) -> list[Any]:
        return list(self._server._connections.values())

    @property
    def admission(self) -> Any:
        return self._server.admission

    def close(self) -> None:
        self._server.close()


KINDS: dict[str, Callable[..., Any]] = {
    "threads": lambda service, **options: _Threads(service, ThreadedServer, **options),
    "pool": lambda service, **options: _Threads(service, ThreadPoolServer, **options),
    "aio": AioThread,
    "aio on the loop": lambda service, **options: AioThread(service, threads=0, **options),
}
"""Kinds of servers by name."""


class Served:
    """Servers and clients that are closed at the end of a test."""

    def __init__(self) -> None:
        self._made: list[Any] = []

    def server(self, kind: str, service: Any, **config: Any) -> Any:
        """Start a server with a configuration."""
        server = KINDS[kind](service, protocol_config=config)
        self._made.append(server)
        return server

    def client(self, server: Any, **config: Any) -> Any:
        """Connect to a server; the connection knows what the server can do."""
        conn = rpyc.connect("127.0.0.1", server.port, config=config)
        self._made.append(conn)
        conn.ping()
        return conn

    def close(self) -> None:
        """Close all, the last one first."""
        while self._made:
            self._made.pop().close()
