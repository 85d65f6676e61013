"""What functions that run in threads ask of an asyncio connection: there one waits, as ever.

A service's plain methods run in a thread of the connection's. The same proxies that an ``async
def`` method awaits ask and wait there, as those of a blocking connection do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any

from ..core.encoding.foreign_memory import ForeignMemory, call_with_copies
from ..core.endpoint import Endpoint
from ..core.pipelining.lazy_value import recorded_request
from ..core.pipelining.pipeline import Pipeline
from ..errors import ConnectionClosed, LocalProtocolError
from ..lib.connection_threads import Executor, current_thread
from ..lib.guards.in_flight import to_mark, under_way
from ..lib.timing import Timeout
from ..lib.worker_pool import waiting
from ..link.aio import AioLink
from ..link.receiving import Waiter
from ..link.result import AsyncResult, awaited
from .proxies import Deferred

__all__ = ["ThreadApi", "wrong_face"]


def wrong_face(what: str) -> TypeError:
    """Returns the error for a program that wants to wait where it has to await."""
    return TypeError(
        f"this connection belongs to an asyncio program and cannot {what}: await what "
        "rpyc_like.aio has for it, or open a second one with rpyc_like.connect"
    )


_LOOK = 1.0  # seconds after which a thread that waits looks whether there still is a loop


class ThreadApi(Endpoint):
    """The part of an asyncio connection that other threads than the loop's may use."""

    _link: AioLink
    _executor: Executor | None

    def _prepare_threads(self) -> None:
        self._thread = get_ident()
        self._loop = asyncio.get_running_loop()
        self._sleepers: set[Waiter] = set()  # threads that wait for an answer
        self._requests: dict[AsyncResult, asyncio.Task[None]] = {}  # that have no answer yet

    @property
    def waits(self) -> bool:
        """Whether the current thread may wait: it is not the loop's."""
        return get_ident() != self._thread

    async def _outcome(
        self, timeout: float | None, handler: int, args: tuple[Any, ...], origin: Any = None
    ) -> tuple[bool, Any]:
        raise NotImplementedError

    def _run_soon(self, func: Callable[[], Any]) -> None:
        raise NotImplementedError

    def sync_request(self, handler: int, *args: Any) -> Any:
        """Returns the answer to a request; on the loop a deferred one, which asks when awaited.

        The name is the blocking connection's: proxies ask through it on both.
        """
        if get_ident() == self._thread:
            return recorded_request(Deferred, self, handler, args)
        if under_way and (use := to_mark()) is not None:
            with use.asking():
                return use.take(self.sync_request(handler, *args))
        timeout = self._config["sync_request_timeout"]
        try:
            result = self.async_request(handler, *args, timeout=timeout)
            result.set_expiry(timeout)  # this thread's own, should the loop not run
            try:
                return awaited(result)
            finally:
                del result  # an exception's traceback would keep it, and it keeps the exception
        except ForeignMemory as refusal:
            return call_with_copies(self.sync_request, (handler, *args), refusal)

    def async_request(self, handler: int, *args: Any, timeout: float | None = None) -> AsyncResult:
        """Sends a request and returns the AsyncResult of the answer, in any thread.

        Args:
            timeout: seconds until the result expires; None for never.
        """
        result = AsyncResult(self)
        result.target = handler
        origin = current_thread(self._executor)
        begin = partial(self._begin_request, result, timeout, handler, args, origin)
        if get_ident() == self._thread:
            begin()
        elif not self._link.call_soon(begin):
            result.settle(True, self._link.closed_error())
        return result

    def _begin_request(
        self,
        result: AsyncResult,
        timeout: float | None,
        handler: int,
        args: tuple[Any, ...],
        origin: Any,
    ) -> None:
        """Sends a request, on the loop."""
        work = self._deliver(result, timeout, handler, args, origin)
        self._requests[result] = task = self._loop.create_task(work)
        task.add_done_callback(partial(self._request_ended, result))

    def _request_ended(self, result: AsyncResult, task: asyncio.Task[None]) -> None:
        self._requests.pop(result, None)
        if task.cancelled():  # before its first step
            self._settle(result, True, ConnectionClosed("nobody waits for this answer any more"))

    def _settle(self, result: AsyncResult, failed: bool, value: Any) -> None:
        if result.settle(failed, value):
            self._run_soon(result.run_callbacks)

    async def _deliver(
        self,
        result: AsyncResult,
        timeout: float | None,
        handler: int,
        args: tuple[Any, ...],
        origin: Any,
    ) -> None:
        try:
            if timeout is None or timeout == self._config["sync_request_timeout"]:
                failed, value = await self._outcome(timeout, handler, args, origin)
            else:
                asking = self._outcome(None, handler, args, origin)
                failed, value = await asyncio.wait_for(asking, timeout)
        except asyncio.TimeoutError:
            failed, value = True, self._late(timeout)
        except asyncio.CancelledError:
            failed, value = True, ConnectionClosed("nobody waits for this answer any more")
        except Exception as error:
            failed, value = True, error
        self._settle(result, failed, value)

    def _late(self, seconds: float | None) -> TimeoutError:
        return TimeoutError(f"result expired: no answer within {seconds} s")

    # -- what an AsyncResult asks for

    def wait_for(self, result: AsyncResult, deadline: Timeout | None) -> None:
        """Waits until ``result`` has come or the time is over."""
        if result.expired:
            return
        if get_ident() == self._thread:
            raise wrong_face("be waited for")
        if self._local_objects.entered or self._proxies.entered:
            raise LocalProtocolError(
                "a finalizer asks the peer while its thread changes the connection's tables; "
                "expected async_(...) without waiting"
            )
        if under_way and (use := to_mark()) is not None:
            with use.asking():
                self.wait_for(result, deadline)
                if result._ready and not result.error:
                    use.take(result.value)
                return
        thread: Any = current_thread(self._executor)
        if thread is not None:
            result.add_waiter(thread)
            try:
                thread.wait(lambda: result._ready or result.expired, self._check_loop, _LOOK)
            finally:
                result.remove_waiter(thread)
            return
        waiter = Waiter(get_ident())
        waiter.arm()
        self._sleepers.add(waiter)
        result.add_waiter(waiter)
        try:
            with waiting():
                while not (result._ready or result.expired):
                    left = None if result._deadline is None else result._deadline.timeleft()
                    waiter.sleep(_LOOK if left is None else min(left, _LOOK))
                    waiter.arm()
                    if not result._ready:
                        self._check_loop()
        finally:
            result.remove_waiter(waiter)
            self._sleepers.discard(waiter)

    def _check_loop(self) -> None:
        if self._loop.is_closed():
            raise self._link.closed_error()  # nobody is there to answer

    def poll_all(self, timeout: float = 0) -> bool:
        """Has nothing to do: the loop serves what arrives."""
        return False

    def read_for(self, result: AsyncResult, ended: Callable[[AsyncResult], None]) -> None:
        """Has the loop, which reads, look when the time is over."""
        deadline = result._deadline
        left = None if deadline is None else deadline.timeleft()
        if left is not None:
            self._link.call_soon(partial(self._loop.call_later, left, self._look_at, result, ended))

    def _look_at(self, result: AsyncResult, ended: Callable[[AsyncResult], None]) -> None:
        if result.expired:
            ended(result)
        elif not result._ready:
            self.read_for(result, ended)  # the expiry has been changed

    def give_up(self, result: AsyncResult) -> None:
        """Forgets a request that nobody waits for any more."""
        self._link.call_soon(partial(self._cancel_request, result))

    def _cancel_request(self, result: AsyncResult) -> None:
        task = self._requests.get(result)
        if task is not None:
            task.cancel()

    def pipeline(self) -> Pipeline:
        """Returns a recorder of operations that are done in one trip."""
        if get_ident() == self._thread:
            raise wrong_face("be asked by functions that wait")
        return Pipeline(self)
