"""Remote objects in asyncio programs.

::

    async with aio.connect("localhost", 18861) as conn:
        print(await conn.root.f(1))
"""

from __future__ import annotations

from . import classic, functions
from .client import connect, connect_stream, connect_subproc, ssh_connect, ssl_connect, unix_connect
from .connection import Connection
from .functions import *  # noqa: F403
from .proxies import AsyncNetref, Deferred
from .server import Server

__all__ = [
    "AsyncNetref",
    "Connection",
    "Deferred",
    "Server",
    "classic",
    "connect",
    "connect_stream",
    "connect_subproc",
    "ssh_connect",
    "ssl_connect",
    "unix_connect",
]
__all__ += functions.__all__
