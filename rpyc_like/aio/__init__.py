"""Remote objects in asyncio programs (a first slice).

::

    async with await aio.connect("localhost", 18861) as conn:
        print(await conn.root.f(1))
"""

from __future__ import annotations

from .connection import Connection, connect
from .proxies import AsyncNetref, Deferred

__all__ = ["AsyncNetref", "Connection", "Deferred", "connect"]
