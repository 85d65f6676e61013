"""The asyncio connection: an endpoint on an event loop.

Tables, boxing, gate, handlers, session, chains and proxy classes are those of the blocking side.
What takes a trip is awaited: unboxing never waits.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from ..core import brine, consts
from ..core.boxing import Steps
from ..core.channel import Channel
from ..core.dialects import DialectMismatch, Target
from ..core.endpoint import Endpoint
from ..core.netref import is_netref
from ..core.pipeline import one_request, recorded_request, sending
from ..link import flushing
from ..link.aio import AioMessageConnection, AioResult
from ..link.attending import Heart
from ..link.result import Stopped, Unfinished, thrown
from ..link.serving import CURRENT
from .names import ClassicNames
from .proxies import AsyncNetref, Deferred, unsupported

__all__ = ["Connection"]

_CLOSE_LIMIT = 2.0


class _Blocking:
    """A method of blocking connections that an asyncio program may look for."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __get__(self, conn: Any, owner: type) -> Any:
        raise TypeError(
            f"this connection belongs to an asyncio program and cannot {self._what}: await what "
            "rpyc_like.aio has for it, or open a second one with rpyc_like.connect"
        )


Reopen = Callable[[], Coroutine[Any, Any, Channel]]


class Connection(ClassicNames, Endpoint):
    """One side of a conversation about Python objects, on an event loop.

    It belongs to the loop that runs when it is made; :func:`rpyc_like.aio.connect` makes one.

    Args:
        root: the local service, which the peer gets as ``conn.root``.
        channel: an open channel over one of this package's streams.
        config: overrides of the default configuration.
        reopen: opens another channel to the same place, where that is possible.
    """

    _withheld = consts.FEATURE_CHAINS  # a step of a chain may have to be awaited
    _link: AioMessageConnection
    proc: Any  # of connections to a child process
    waits = False

    async_request = call = ping = wait_for = _Blocking("be waited for")
    serve = serve_all = serve_threaded = poll = poll_all = _Blocking("be served by threads")
    pipeline = _Blocking("be asked by functions that wait")

    def __init__(
        self,
        root: Any,
        channel: Channel,
        config: dict[str, Any] | None = None,
        reopen: Reopen | None = None,
    ) -> None:
        super().__init__(root, config, AsyncNetref)
        self._reopen_channel = reopen
        self._tasks: dict[asyncio.Task[Any], int] = {}  # and the requests that they serve
        self.adopt_channel(channel)
        self._link = AioMessageConnection(channel, self._session, self)
        self._codec.link = self._link
        self._codec.became_usual = lambda: self._link.use_shortcut(self._codec)
        flushing.start()

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
        return self._codec.heard

    @property
    def root(self) -> Any:
        """The peer's service, deferred; asked for once."""
        root = self.sync_request(consts.HANDLE_GETROOT)
        if self._remote_root is not None:
            object.__getattribute__(root, "____step__").settle(False, self._remote_root)
        return root

    # -- requests

    def sync_request(self, handler: int, *args: Any) -> Any:
        """Returns the deferred answer to a request, which is sent when it is awaited.

        The name is the blocking connection's: proxies ask through it on both.
        """
        return recorded_request(Deferred, self, handler, args)

    async def outcome_of(self, handler: int, *args: Any) -> tuple[bool, Any]:
        """Sends a request; returns whether the answer is an exception, and the answer."""
        if self._reads:
            self._reconsider(handler, args)
        link = self._link
        result = AioResult()
        before = self._ahead() if self._stands_ahead or not self._codec.heard else []
        link.request(result, handler, args, before, self._config["sync_request_timeout"])
        try:
            if link.full:
                await link.drained()
            failed, value = await result
        except asyncio.CancelledError:
            self._give_up(result)
            raise
        if issubclass(type(value), Unfinished):
            value = await self.run_steps(value.steps())
        return failed, value

    async def request(self, handler: int, *args: Any) -> Any:
        """Sends a request, awaits the answer, and returns it or raises it."""
        failed, value = await self.outcome_of(handler, *args)
        if failed:
            raise _raised(value)
        return value

    async def run_steps(self, steps: Steps) -> Any:
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
        except Stopped as stopped:
            raise _raised(stopped.error) from None

    async def value_of(self, step: Any, deferred: Deferred) -> Any:
        """Returns the value of a step; of several tasks that want it at once, one asks.

        Args:
            deferred: stands for the step; values are sent for those that are in use.
        """
        while step.failed is None:
            if step.asking is not None:
                await step.asking.wait()
                continue
            step.asking = asyncio.Event()
            try:
                await self._ask_for(step)
            finally:
                step.asking.set()
                step.asking = None
            assert step.failed is not None, deferred
        if step.failed:
            raise _raised(step.value)
        if step.value is NotImplemented:
            return await unsupported(step)
        return step.value

    async def _ask_for(self, step: Any) -> None:
        request = one_request(step)
        if request is not None:
            step.settle(*await self.outcome_of(request[0], *request[1]))
        else:
            await self.run_steps(sending([step]))
        if request is not None and request[0] == consts.HANDLE_GETROOT and not step.failed:
            self._remote_root = step.value

    def _give_up(self, result: AioResult) -> None:
        """Forgets a request and tells a peer of ours that nobody waits for its answer."""
        if result.id_ is not None and self._session.pending.abandon(result.id_):
            payload = self._cancel(result.id_)
            if payload is not None and not self._link.lost:
                self._link.send(payload)

    def expire(self, result: AioResult) -> BaseException:
        """Forgets a request that was not answered in time and returns the error to raise."""
        self._give_up(result)
        seconds = self._config["sync_request_timeout"]
        return TimeoutError(f"result expired: no answer within {seconds} s")

    # -- what the link asks for

    def serve_request(self, id_: int, target: Target, args: Any) -> None:
        """Does what the peer asks; a task does it where something has to be awaited."""
        if self._reads:
            self._forget_ahead()
        token = CURRENT.set((self._link, id_, target[2]))
        try:
            if type(args) is tuple:
                value = self._handler(target[0])(self, *args)
                if inspect.isawaitable(value) and not is_netref(value):
                    self._start(id_, self._answer_later(id_, value))
                else:
                    self._answer(self._codec.encode_reply(id_, value))
            elif issubclass(type(args), Unfinished):
                self._start(id_, self._serve_later(id_, target, args))
            else:
                raise self._bad_args(args)
        except Exception as error:
            self._fail(id_, error)
        finally:
            CURRENT.reset(token)

    def _answer(self, payload: Any) -> None:
        if not self._link.lost:
            # The answer may name objects of the peer whose proxies have died since: it goes first.
            self._link.send(*self._take_rewinds(), payload, *self._releases())

    def _start(self, id_: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = id_
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        id_ = self._tasks.pop(task, -1)
        if task.cancelled() and id_ in self._codec.serving:
            self._answer(self._codec.encode_reply(id_, None))  # which nobody waits for
        if id_ not in self._codec.serving:
            self._link.calls.forget(id_)

    def _told(self, handler: int, number: int, milliseconds: int = 0) -> None:
        super()._told(handler, number, milliseconds)
        if handler == consts.HANDLE_CANCEL:
            for task, id_ in list(self._tasks.items()):
                if id_ == number:
                    task.cancel()

    async def _serve_later(self, id_: int, target: Target, args: Unfinished) -> None:
        try:
            self.serve_request(id_, target, await self.run_steps(args.steps()))
        except Exception as error:
            self._fail(id_, error)

    async def _answer_later(self, id_: int, work: Any) -> None:
        try:
            self._answer(self._codec.encode_reply(id_, await work))
        except Exception as error:
            self._fail(id_, error)

    def _fail(self, id_: int, error: BaseException) -> None:
        if not self._link.lost:
            self._answer(self._encode_failure(id_, error))

    def serve_at_once(self, id_: int, target: Target, args: Any) -> bool:
        """Returns whether a request was a ping with plain data, and answers it then."""
        if target[0] == consts.HANDLE_PING and type(args) is tuple and brine.dumpable(args):
            self.serve_request(id_, target, args)
            return True
        return False

    # -- signs of life

    def _expect_beats(self, interval: float) -> None:
        link = self._link
        if self._codec.features & consts.FEATURE_HEARTBEAT:
            interval = self._beating(interval)
            if link.heart is None or interval < link.heart.interval:
                link.watch(Heart(interval))

    def beat(self, interval: float) -> None:
        """Sends a sign of life."""
        self._link.send(self._beat(interval))

    def fell_silent(self, silent: bool) -> None:
        """Has nothing to do."""

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

    def flush_released(self) -> bool:
        """Has releases sent. Called by the flusher's thread."""
        self._proxies.armed = False
        self._link.call_soon(self._flush)
        return False

    def _flush(self) -> None:
        if self._codec.heard and not self._link.lost:
            releases = self._releases()
            if releases:
                self._link.send(*releases)

    # -- the end

    async def close(self) -> None:
        """Says goodbye and closes. Takes at most 2 seconds. Idempotent."""
        if not self._session.closing():
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

    def _cleanup(self, _anyway: bool = True) -> None:
        self._link.lose(EOFError("connection closed by peer"))

    def disconnected(self, error: BaseException | None) -> None:
        """Clears the tables, cancels what still runs for the peer, tells the service. Once."""
        for task in list(self._tasks):
            task.cancel()
        self._forget_everything()


def _raised(error: BaseException) -> BaseException:
    """Returns what to raise in a coroutine, which StopIteration cannot leave."""
    if not isinstance(error, StopIteration):
        return error
    stopped = StopAsyncIteration(*error.args)
    stopped.__cause__ = error
    return stopped
