"""What asyncio applications share whose values are plain and whose protocol has one dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConnectionClosed
from ..lib.connection_threads import ConnectionThreads, Executor
from ..lib.contexts import SharedContext
from ..lib.run_in_pool import elsewhere
from ..wire.session import Session
from .aio import AioLink, AioResult
from .call_context import IN_TASK, call_on_loop, call_serving, current, idle_context
from .call_registry import weak_name_of
from .result import raised

if TYPE_CHECKING:
    from .admission import Client

__all__ = ["AioPeer"]

T = TypeVar("T")

_LARGE = 1 << 16  # bytes of an answer that is not held together with others


class AioPeer:
    """The other side of a connection, on the running loop.

    Args:
        channel: an open channel, which belongs to the connection from then on.
        session: knows the protocol.
        workers: threads for functions that are not ``async def``; without them they run on the
            loop. The connection has one of these from its first such function on. All functions
            run in one context, which is the connection's.
        width: how many plain functions may run at once. One thread is kept between them.
    """

    credentials: Any = None
    """What the server's authenticator has found out about the peer; None without one."""
    endpoints: Any = None
    """The addresses of this side and of the peer, where a server has let it in."""
    note_malformed: Any = None
    """Counts for the log that the peer has broken the protocol, where a server has let it in."""

    def __init__(
        self,
        channel: Any,
        session: Session,
        workers: ConnectionThreads | None = None,
        width: int = 1,
    ) -> None:
        self.session = session
        self._context = SharedContext()
        self._executor: Executor | None = None
        if workers is not None:
            later = asyncio.get_running_loop().call_later
            self._executor = workers.executor(self._context, later, width, kept=1)
            self._executor.name = weak_name_of(self)
            self._executor.nests = False  # a thread that waits does so for something else
        self._tasks: dict[asyncio.Task[None], Any] = {}  # and the requests that they serve
        self._link = AioLink(channel, session, self)

    def introduce(self, config: dict[str, Any], client: Client | None) -> None:
        """Note what the server knows about the peer.

        Args:
            client: what the server counts the peer as.
        """
        self.credentials, self.endpoints = config.get("credentials"), config.get("endpoints")
        if client is not None:
            self._link.queued.total = client.account.add
            self.note_malformed = client.admission.note_malformed
            client.watch(self.session)

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._link.closed

    # -- requests of this side

    async def request(self, target: Any, args: Any, timeout: float | None) -> Any:
        """Sends a request and awaits the answer.

        Raises:
            TimeoutError: it did not come within ``timeout`` seconds.
            ConnectionClosed: the connection was lost.
        """
        result = AioResult(self._link.loop)
        self._link.request(result, target, args, [], None)
        timer = None
        if timeout is not None:
            late = self.late(target, timeout)
            later = self._link.loop.call_later
            timer = later(timeout, result.settle, True, late, context=idle_context())
        try:
            if self._link.full:
                await self._link.drained()
            failed, value = await result.future
        finally:
            if timer is not None:
                timer.cancel()
            if result.id_ is not None:
                self.session.pending.abandon(result.id_)
        if failed:
            try:
                raise raised(value)
            finally:
                del result, value  # which the exception's traceback would keep, in a cycle
        return value

    def late(self, target: Any, timeout: float) -> TimeoutError:
        """Returns the error for an answer that has not come in time."""
        return TimeoutError(f"no answer to {target} within {timeout} s")

    # -- the peer's requests

    async def serve(self, id_: Any, target: Any, args: Any) -> None:
        """Does what the peer asks and sends the answer."""
        raise NotImplementedError

    async def run(self, func: Callable[[], T]) -> T:
        """Return what a function of the program returns, in the connection's thread and context.

        Without threads it runs on the loop.

        Raises:
            LimitExceeded: connections keep their threads, and there is none for this one.
            ConnectionClosed: the connection has ended before the function could begin.
        """
        if self._executor is None:
            return self.run_here(func)
        work = partial(self._in_thread, current(), func)
        failed, value = await elsewhere(self._executor.submit, work)
        if failed:
            raise raised(value)
        return value  # type: ignore[no-any-return]

    def _in_thread(self, served: Any, func: Callable[[], T]) -> T:
        if self._link.lost:
            raise self._link.closed_error()
        return call_serving(served, func)

    def run_here(self, func: Callable[..., T], *args: Any) -> T:
        """Call a function of the program on the loop, in the connection's context."""
        value: T = self._context.run(call_on_loop, current(), func, *args)
        return value

    def awaited(self, value: Awaitable[T]) -> Awaitable[T]:
        """Return a coroutine that awaits something of the program in the connection's context."""
        return self._context.within(value, IN_TASK, current())

    def run_last(self, func: Callable[[], object] | None) -> None:
        """Call a function of the program when all others have ended; then the thread ends."""
        if self._executor is not None:
            self._executor.close(None if func is None else partial(_without_value, func))
        elif func is not None:
            self.run_here(func)

    def run_soon(self, func: Callable[[], object]) -> None:
        """Call a function of the program before others, also when the connection has ended."""
        if self._executor is not None:
            self._executor.submit(partial(_without_value, func), first=True)
        else:
            self.run_here(func)

    async def when_drained(self, size: int) -> None:
        """Wait until the peer takes more; count an answer of ``size`` bytes meanwhile.

        Raises:
            LimitExceeded: the clients of the server would hold too much.
        """
        if size >= _LARGE:
            self._link.flush()  # which tells whether the peer takes what is held
        if self._link.full:
            with self._link.queued.holding(size):
                await self._link.drained()

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        """Starts a task for it."""
        token = IN_TASK.set((self._link, id_, 0))
        try:
            task = asyncio.get_running_loop().create_task(self.serve(id_, target, args))
        finally:
            IN_TASK.reset(token)
        self._tasks[task] = id_
        task.add_done_callback(self._ended)
        self._hold()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._hold()
        if not task.cancelled() and task.exception() is not None:
            self._link.lose(task.exception())

    def _hold(self) -> None:
        self._link.hold(False, len(self._tasks))

    def _unanswered(self) -> set[Any]:
        return {*tuple(self._tasks.values())}

    # -- what the link asks for

    def is_awaited(self, target: Any) -> bool:
        """Return False: the protocol does not tell what caused a request."""
        return False

    def notice(self, payload: Any) -> None:
        """Has nothing to do."""

    def beat(self, interval: float) -> None:
        """Has nothing to do: the protocol has no words for it."""

    def fell_silent(self, silent: bool) -> None:
        """Has nothing to do."""

    def recover(self, error: BaseException) -> BaseException | None:
        """Returns the error: there is no other way to go on."""
        return error

    def expire(self, result: AioResult) -> BaseException:
        """Is never called: requests have time limits of their own."""
        return TimeoutError()

    def disconnected(self, error: BaseException | None) -> None:
        """Cancels what still runs for the peer."""
        for task in list(self._tasks):
            task.cancel()
        self.end_thread()

    # -- the end

    def end_thread(self) -> None:
        """Have the connection's thread do what is left to do, and end."""
        self.run_last(None)

    async def open(self) -> None:
        """Has nothing to do."""

    async def close(self) -> None:
        """Hangs up. Idempotent."""
        with suppress(ConnectionClosed):
            self._link.flush()
        self._link.lose(None)


def _without_value(func: Callable[[], object]) -> None:
    func()
