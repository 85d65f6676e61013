"""``async def`` functions that serve the requests of a blocking connection.

They run on one loop that all such connections of the process share, and the answer is sent from
there. So several calls of a connection may be under way at once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from ...errors import LimitExceeded
from ...lib import primitives
from ...lib.background_loop import call_later, cancel_begun, run_in_background
from ...lib.threads import ThreadCache
from ...lib.worker_pool import waiting
from ...link.call_context import task_context
from ..proxies.async_iterators import AsyncIteratorExport
from ..references.accounts import CALL

__all__ = ["CoroutineRunner"]

logger = logging.getLogger("rpyc_like.core")

_PATIENCE = 0.05  # seconds after which a thread is asked for again that the system has refused


class CoroutineRunner:
    """The coroutines that serve one connection. They keep it alive, and nothing else here does."""

    def __init__(self) -> None:
        self._workers = ThreadCache()
        self._lock = primitives.RLock()  # guards the next two
        self._answers: deque[tuple[int, Any, int]] = deque()  # that wait, and their sizes
        self._sending = False  # whether a thread sends them
        self._running: dict[int, Future[Any]] = {}  # by the numbers of the requests they serve

    def begin(self, conn: Any, id_: int, work: Coroutine[Any, Any, Any]) -> None:
        """Has a coroutine run, which answers a request when it ends."""
        try:
            conn._kept.hold(CALL, "memory for calls under way")
        except BaseException:
            work.close()
            raise
        context = task_context()
        try:
            self._running[id_] = running = context.run(run_in_background, work)
        except BaseException:
            conn._kept.release(CALL)
            raise
        running.add_done_callback(partial(self._ended, conn, id_, context))
        link = conn._link
        if link.lost or link.calls.is_cancelled(id_):
            cancel_begun(running)  # that was told in the meantime

    def _ended(self, conn: Any, id_: int, context: Context, running: Future[Any]) -> None:
        context.run(self._finish, conn, id_, running)

    def _finish(self, conn: Any, id_: int, running: Future[Any]) -> None:
        self._running.pop(id_, None)
        conn._kept.release(CALL)
        try:
            value = None if running.cancelled() else running.result()  # None: nobody waits for it
            payload = conn._codec.encode_reply(id_, _sendable(value))
        except BaseException as error:
            payload = conn._encode_failure(id_, error)
        if conn._link.has_room():
            self._send(conn, id_, payload)
            return
        # It takes as long as the peer likes.
        size = sum(map(len, payload)) if type(payload) is list else len(payload)
        try:
            conn._kept.hold(size, "memory for answers that wait")
        except LimitExceeded as error:
            size, payload = 0, conn._encode_failure(id_, error)
        with self._lock:
            self._answers.append((id_, payload, size))
        self._have_sent(conn)

    def _have_sent(self, conn: Any) -> None:
        """Have a thread send the answers that wait, unless one does."""
        with self._lock:  # which the thread takes before it ends
            if self._sending or not self._answers:
                return
            try:
                self._workers.run(partial(self._send_waiting, conn))
            except RuntimeError:  # the system has no more threads
                call_later(_PATIENCE, partial(self._have_sent, conn))
            else:
                self._sending = True

    def _send_waiting(self, conn: Any) -> None:
        """Send the answers that wait for the peer to take them, in a thread."""
        while True:
            with self._lock:
                if not self._answers:
                    self._sending = False
                    return
                id_, payload, size = self._answers.popleft()
            try:
                self._send(conn, id_, payload)
            except Exception:
                logger.exception("! %s: sending an answer failed", conn)
            finally:
                conn._kept.release(size)

    @staticmethod
    def _send(conn: Any, id_: int, payload: Any) -> None:
        try:
            conn._answer(payload)
        finally:
            conn._link.served(id_)

    def cancel(self, id_: int) -> None:
        """Ends the coroutine that serves a request, if there is one."""
        running = self._running.get(id_)
        if running is not None:
            running.cancel()

    def cancel_all(self) -> None:
        """Ends all."""
        for running in list(self._running.values()):
            cancel_begun(running)

    @staticmethod
    def value_of(work: Any) -> Any:
        """Returns what an ``async def`` function gives; waits for it."""
        if type(work) is CoroutineType:
            with waiting():
                work = task_context().run(run_in_background, work).result()
        return _sendable(work)


def _sendable(value: Any) -> Any:
    return AsyncIteratorExport(value) if type(value) is AsyncGeneratorType else value
