"""The asyncio connection: an endpoint on an event loop.

Tables, boxing, access policy, handlers, session, chains and proxy classes are those of the blocking
side. What takes a trip is awaited: unboxing never waits.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from typing import Any

from ..core import consts
from ..core.channel import Channel
from ..core.encoding.boxing import Steps
from ..core.encoding.codec import DialectMismatch
from ..core.pipelining.chain_sender import one_request, sending
from ..lib.connection_threads import ConnectionThreads
from ..lib.first_use import set_first
from ..lib.worker_pool import waiting
from ..link.aio import AioLink, AioResult
from ..link.call_context import task_context
from ..link.channel import client_of
from ..link.housekeeping import DELAY, HeartbeatMonitor
from ..link.result import AsyncResult, RemoteStopIteration, Unresolved, raised, thrown
from .classic_names import ClassicNames
from .dispatch import TaskDispatcher
from .proxies import AsyncNetref, Deferred, unsupported
from .thread_api import wrong_face

__all__ = ["Connection"]

_CLOSE_LIMIT = 2.0
_NOBODY_WAITS = object()  # for the value of a step beside the task that asks for it


def _flush_soon(loop: asyncio.AbstractEventLoop, reference: weakref.ref[Any]) -> None:
    """Have something flushed on a loop in a moment. Safe in finalizers and in any thread."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(loop.call_later, DELAY, _flush, reference)


def _flush(reference: weakref.ref[Any]) -> None:
    flushable = reference()
    if flushable is not None:
        flushable.flush_released()


class _Blocking:
    """A method of blocking connections that an asyncio program may look for."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __get__(self, conn: Any, owner: type) -> Any:
        raise wrong_face(self._what)


Reopen = Callable[[], Coroutine[Any, Any, Channel]]


class Connection(ClassicNames, TaskDispatcher):
    """One side of a conversation about Python objects, on an event loop.

    It belongs to the loop that runs when it is made; :func:`rpyc_like.aio.connect` makes one.

    Args:
        root: the local service, which the peer gets as ``conn.root``.
        channel: an open channel over one of this package's streams.
        config: overrides of the default configuration.
        reopen: opens another channel to the same place, where that is possible.
        workers: threads for the peer's requests, ``async def`` functions excepted. Without them all
            is done on the loop.
    """

    _link: AioLink
    proc: Any  # of connections to a child process

    call = ping = _Blocking("be waited for")
    serve = serve_all = serve_threaded = poll = _Blocking("be served by threads")

    def __init__(
        self,
        root: Any,
        channel: Channel,
        config: dict[str, Any] | None = None,
        reopen: Reopen | None = None,
        workers: ConnectionThreads | None = None,
    ) -> None:
        self._prepare_threads()
        self._prepare_serving(workers)
        super().__init__(root, config, client_of(channel), AsyncNetref)
        self._prepare_executor()
        self._reopen_channel = reopen
        self.adopt_channel(channel)
        self._link = AioLink(channel, self._session, self)
        self._link.queued.total = self._total
        self._codec.link = self._link
        self._codec.became_usual = self._use_shortcut

    def _use_shortcut(self) -> None:
        self._link.use_shortcut(self._codec)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, or closing."""
        return self._link.closed

    @property
    def heard(self) -> bool:
        """Whether the peer has said anything yet."""
        return bool(self._codec.heard)

    @property
    def root(self) -> Any:
        """The peer's service, deferred; asked for once."""
        if self.waits and self._remote_root is not None:
            return self._remote_root
        root = self.sync_request(consts.HANDLE_GETROOT)
        if self.waits:
            root = set_first(self, "_remote_root", root)
        elif self._remote_root is not None:
            object.__getattribute__(root, "____step__").settle(False, self._remote_root)
        return root

    # -- requests

    async def outcome_of(self, handler: int, *args: Any) -> tuple[bool, Any]:
        """Sends a request; returns whether the answer is an exception, and the answer."""
        return await self._outcome(self._config["sync_request_timeout"], handler, args)

    async def _outcome(
        self, timeout: float | None, handler: int, args: tuple[Any, ...], origin: Any = None
    ) -> tuple[bool, Any]:
        if self._reads:
            self._reconsider(handler, args)
        link = self._link
        result = AioResult(link.loop)
        before = self._ahead() if self._stands_ahead or not self._codec.heard else []
        link.request(result, handler, args, before, timeout)
        served = self._begin_wait()
        if origin is None and served is not None and self._threads_of:
            origin = self._threads_of.get(served)
        result.origin = origin
        try:
            if link.full:
                await link.drained()
            failed, value = await result.future
        except asyncio.CancelledError:
            self._give_up(result)
            raise
        finally:
            if served is not None:
                self._end_wait(served)
        if issubclass(type(value), Unresolved):
            value = await self.await_steps(value.steps())
        return failed, value

    async def request(self, handler: int, *args: Any) -> Any:
        """Sends a request, awaits the answer, and returns it or raises it."""
        failed, value = await self.outcome_of(handler, *args)
        if failed:
            raise raised(value)
        return value

    async def fetch_root(self, timeout: float | None) -> Any:
        """Return the peer's service.

        Args:
            timeout: seconds that the answer may take, instead of ``sync_request_timeout``.
        """
        failed, value = await self._outcome(timeout, consts.HANDLE_GETROOT, ())
        if failed:
            raise raised(value)
        if self._remote_root is None:
            self._remote_root = value
        return self._remote_root

    async def await_steps(self, steps: Steps) -> Any:
        """Makes the requests that a generator yields, gives it the answers, returns its value."""
        try:
            handler, args = next(steps)
            while True:
                try:
                    failed, value = await self.outcome_of(handler, *args)
                except BaseException as error:
                    handler, args = steps.throw(error)
                else:
                    handler, args = steps.throw(thrown(value)) if failed else steps.send(value)
        except StopIteration as end:
            return end.value
        except RemoteStopIteration as stopped:
            raise raised(stopped.error) from None

    async def value_of(self, step: Any, deferred: Deferred) -> Any:
        """Returns the value of a step; of several tasks that want it at once, one asks.

        Args:
            deferred: stands for the step; values are sent for those that are in use.
        """
        while step.failed is None:
            if step.asking is not None:
                if step.asking is _NOBODY_WAITS:
                    step.asking = asyncio.Event()
                await step.asking.wait()
                continue
            step.asking = _NOBODY_WAITS
            try:
                if step.direct is None:
                    await self._ask_for(step)
                else:
                    timeout = self._config["sync_request_timeout"]
                    step.settle(*await self._outcome(timeout, *step.direct))
            finally:
                asked, step.asking = step.asking, None
                if asked is not _NOBODY_WAITS:
                    asked.set()
            assert step.failed is not None, deferred
        if step.failed:
            try:
                raise raised(step.value)
            finally:
                del step, deferred  # which the exception's traceback would keep, in a cycle
        if step.value is NotImplemented:
            return await unsupported(step)
        return step.value

    async def _ask_for(self, step: Any) -> None:
        request = one_request(step)
        if request is not None:
            timeout = self._config["sync_request_timeout"]
            step.settle(*await self._outcome(timeout, *request))
        else:
            await self.await_steps(sending([step]))
        if request is not None and request[0] == consts.HANDLE_GETROOT and not step.failed:
            self._remote_root = step.value

    def _give_up(self, result: AioResult) -> None:
        """Forgets a request and tells a peer of ours that nobody waits for its answer."""
        if result.id_ is not None and self._session.pending.abandon(result.id_):
            payload = self._cancel(result.id_)
            if payload is not None and not self._link.lost:
                self._link.send(payload)

    def expire(self, result: Any) -> BaseException:
        """Forgets a request that was not answered in time and returns the error to raise."""
        if isinstance(result, AsyncResult):
            self.give_up(result)
            return self._late(None if result._deadline is None else result._deadline.seconds)
        self._give_up(result)
        return self._late(result.timeout)

    # -- signs of life

    def _expect_beats(self, interval: float) -> None:
        link = self._link
        if self._codec.features & consts.FEATURE_HEARTBEAT:
            interval = self._beating(interval)
            if link.heart is None or interval < link.heart.interval:
                link.watch(HeartbeatMonitor(interval))

    def beat(self, interval: float) -> None:
        """Sends a sign of life."""
        self._link.send(self._beat(interval))

    # -- another dialect

    def recover(self, error: BaseException) -> BaseException | None:
        """Speaks the peer's dialect over a new connection, if the first guess was wrong."""
        if not isinstance(error, DialectMismatch) or self._reopen_channel is None:
            return error
        if self._config["dialect"] is not None:
            return error
        reopen, self._reopen_channel = self._reopen_channel, None
        self._link.detach()
        self._start(-1, self._reopen(reopen, error))
        return None

    async def _reopen(self, reopen: Reopen, mismatch: DialectMismatch) -> None:
        try:
            channel = await reopen()
            self.adopt_channel(channel)
            self._link.attach(channel)
            self._link.send(*self._codec.repeat_unheard(mismatch.heard))
        except (OSError, EOFError) as error:
            error.__cause__ = mismatch
            self._link.lose(error)

    # -- releases

    def _flush_scheduler(self) -> Callable[[weakref.ref[Any]], object]:
        return partial(_flush_soon, self._loop)

    def flush_released(self) -> None:
        """Send releases. On the loop."""
        self._proxies.armed = False
        if self._codec.heard and not self._link.lost:
            releases = self._releases()
            if releases:
                self._link.send(*releases)

    # -- the end

    def close(self) -> Any:
        """Says goodbye and closes, when awaited; in a thread at once.

        Takes at most 2 seconds. Idempotent.
        """
        if not self.waits:
            return self._close()
        closing = self._close()
        try:
            future = task_context().run(asyncio.run_coroutine_threadsafe, closing, self._loop)
        except RuntimeError:  # the loop is closed, and nobody else ends the connection
            closing.close()
            if self._begin_closing():
                self._link.lose(None)
                for result in list(self._requests):  # whose tasks do nothing any more
                    self._settle(result, True, self._link.closed_error())
            return None
        with waiting(), suppress(FutureTimeout):  # if the loop does not run: it closes later
            return future.result(_CLOSE_LIMIT)

    def _begin_closing(self) -> bool:
        """Note that this side closes; return whether this is the first time."""
        if not self._session.closing():
            return False
        self._closed_here = self._link.closed_here = True
        self._state_changed("closing")
        return True

    async def _close(self) -> None:
        if not self._begin_closing():
            return
        try:
            if not self._link.lost:
                releases = self._releases() if self._codec.heard else []
                self._link.send(*releases, self._farewell())
                await asyncio.wait_for(self._link.ended.wait(), _CLOSE_LIMIT)
        except (asyncio.TimeoutError, EOFError):
            pass
        finally:
            self._link.lose(None)

    def _unanswered(self) -> set[int]:
        """Returns the numbers of the peer's requests whose answers have not been sent."""
        return {*tuple(self._codec.serving)}

    def _cleanup(self, _anyway: bool = True) -> None:
        self._link.lose(EOFError("connection closed by peer"))

    def disconnected(self, error: BaseException | None) -> None:
        """Clears the tables, cancels what still runs for the peer, tells the service. Once."""
        self.end_tasks()
        try:
            self._forget_everything()
        finally:
            self.went_down()
            self._hold_weakly()
