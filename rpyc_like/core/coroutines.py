"""``async def`` functions that serve the requests of a blocking connection.

They run on one loop that all such connections of the process share, and the answer is sent from
there. So several calls of a connection may be under way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from ..lib.background_loop import run_in_background
from ..lib.workers import waiting
from .async_items import AsyncItems

__all__ = ["Coroutines"]


class Coroutines:
    """The coroutines that serve one connection."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._running: dict[int, Future[None]] = {}  # by the numbers of the requests they serve

    def begin(self, id_: int, work: Coroutine[Any, Any, Any]) -> None:
        """Has a coroutine run, which answers a request when it ends."""
        self._running[id_] = run_in_background(self._answer(id_, work))
        if self._conn._link.lost:
            self.cancel_all()

    async def _answer(self, id_: int, work: Coroutine[Any, Any, Any]) -> None:
        conn = self._conn
        try:
            try:
                value = await work
                payload = conn._codec.encode_reply(id_, _sendable(value))
            except asyncio.CancelledError:
                payload = conn._codec.encode_reply(id_, None)  # which nobody waits for
            except BaseException as error:
                payload = conn._encode_failure(id_, error)
            if conn._link.has_room():
                conn._answer(payload)
            else:  # it takes as long as the peer likes
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, conn._answer, payload)
        finally:
            self._running.pop(id_, None)
            conn._link.served(id_)

    def cancel(self, id_: int) -> None:
        """Ends the coroutine that serves a request, if there is one."""
        running = self._running.get(id_)
        if running is not None:
            running.cancel()

    def cancel_all(self) -> None:
        """Ends all."""
        for running in list(self._running.values()):
            running.cancel()

    @staticmethod
    def value_of(work: Any) -> Any:
        """Returns what an ``async def`` function gives; waits for it."""
        if type(work) is CoroutineType:
            with waiting():
                work = run_in_background(work).result()
        return _sendable(work)


def _sendable(value: Any) -> Any:
    return AsyncItems(value) if type(value) is AsyncGeneratorType else value
