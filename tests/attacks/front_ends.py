"""A client of a blocking server and of an asyncio server, for the same test."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.utils.server import Server, ThreadedServer, ThreadPoolServer
from tests.support.joining import join

__all__ = ["FRONT_ENDS", "client_of", "port_of"]

FRONT_ENDS = ("blocking", "asyncio")

QUIET = logging.getLogger("tests.attacks")
QUIET.setLevel(logging.CRITICAL)


@contextlib.contextmanager
def client_of(front_end: str, service: Any, **config: Any) -> Iterator[Any]:
    """Serve, and yield a connection of a client.

    Args:
        config: the server's.
    """
    with port_of(front_end, service, **config) as port:
        conn = rpyc.connect("127.0.0.1", port)
        try:
            yield conn
        finally:
            conn.close()


def port_of(front_end: str, service: Any, **config: Any) -> contextlib.AbstractContextManager[int]:
    """Serve on a port of the loopback address, for a ``with`` block that is given its number.

    Args:
        front_end: one of ``FRONT_ENDS``, or ``pool``.
        config: the server's.
    """
    if front_end == "asyncio":
        return _asyncio(service, config)
    return _blocking(service, config, ThreadPoolServer if front_end == "pool" else ThreadedServer)


@contextlib.contextmanager
def _blocking(service: Any, config: dict[str, Any], kind: type[Server]) -> Iterator[int]:
    server = kind(service, port=0, protocol_config=config, logger=QUIET, grace=0)
    server._start_in_thread()
    try:
        yield server.port
    finally:
        server.close()


@contextlib.contextmanager
def _asyncio(service: Any, config: dict[str, Any]) -> Iterator[int]:
    ready, port = threading.Event(), 0
    loop: Any = None
    stop: Any = None

    async def serve() -> None:
        nonlocal loop, port, stop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        options = {"protocol_config": config, "logger": QUIET, "grace": 0}
        async with aio.Server(service, port=0, **options) as server:
            port = server.port
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        join(thread)
