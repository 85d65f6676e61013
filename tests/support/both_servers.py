"""A threaded and an asyncio server with the same options, each in a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rpyc_like import aio
from rpyc_like.utils.server import ThreadedServer

from .joining import join

QUIET = logging.getLogger("tests.both_servers")
QUIET.setLevel(logging.CRITICAL)
LIMIT = 30.0


@contextmanager
def blocking_server(service: Any, options: Any = None, **config: Any) -> Iterator[int]:
    """Run a threaded server; give its port.

    Args:
        options: further arguments of the server.
    """
    given = {"hostname": "127.0.0.1", "port": 0, "logger": QUIET, **(options or {})}
    server = ThreadedServer(service, protocol_config=config, **given)
    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        yield server.port
    finally:
        server.close()
        join(thread, LIMIT)


@contextmanager
def asyncio_server(service: Any, options: Any = None, **config: Any) -> Iterator[int]:
    """Run an asyncio server in a thread; give its port."""
    listens, ended = threading.Event(), asyncio.Event()
    made: list[Any] = []

    async def main() -> None:
        given = {"port": 0, "grace": 0, "logger": QUIET, **(options or {})}
        async with aio.Server(service, protocol_config=config, **given) as server:
            made.extend((asyncio.get_running_loop(), server.port))
            listens.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert listens.wait(LIMIT)
        yield made[1]
    finally:
        made[0].call_soon_threadsafe(ended.set)
        join(thread, LIMIT)
