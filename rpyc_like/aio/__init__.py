"""Remote objects in asyncio programs.

::

    async with aio.connect("localhost", 18861) as conn:
        print(await conn.root.f(1))
"""

from __future__ import annotations

from . import classic
from .connection import Connection
from .functions import (
    bool,
    contains,
    delattr,
    delitem,
    dir,
    eq,
    fetch,
    ge,
    gt,
    hash,
    le,
    len,
    list,
    lt,
    map,
    ne,
    next,
    repr,
    setattr,
    setitem,
    snapshot,
    str,
)
from .opening import (
    connect,
    connect_stream,
    connect_subproc,
    ssh_connect,
    ssl_connect,
    unix_connect,
)
from .proxies import AsyncNetref, Deferred

__all__ = [
    "AsyncNetref",
    "Connection",
    "Deferred",
    "bool",
    "classic",
    "connect",
    "connect_stream",
    "connect_subproc",
    "contains",
    "delattr",
    "delitem",
    "dir",
    "eq",
    "fetch",
    "ge",
    "gt",
    "hash",
    "le",
    "len",
    "list",
    "lt",
    "map",
    "ne",
    "next",
    "repr",
    "setattr",
    "setitem",
    "snapshot",
    "ssh_connect",
    "ssl_connect",
    "str",
    "unix_connect",
]
