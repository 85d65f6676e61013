"""How an asyncio connection serves its peer: on the loop, in tasks, in threads.

``async def`` functions and chains are tasks, several of a connection at once (configuration key
``concurrent_tasks``). Everything else that may run code of the program is done by the connection's
executor, if it has one: in order, ``concurrent_calls`` at once. A thread that waits for the peer
serves what the peer asks because of that. All functions run in one context.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from types import AsyncGeneratorType, CoroutineType, FunctionType, ModuleType
from typing import Any, Final

from ..core import brine, consts
from ..core.dispatch import handlers
from ..core.encoding.codec import Target
from ..core.netref import is_netref
from ..core.pipelining import chain_interpreter
from ..core.pipelining.chain_handler import HANDLERS, chain_work, do_step
from ..core.proxies.async_iterators import AsyncIteratorExport, is_async
from ..core.references.accounts import FAIR, Account, price
from ..core.service import Service
from ..errors import LimitExceeded
from ..lib.connection_threads import (
    TOO_DEEP,
    ConnectionThread,
    ConnectionThreads,
    Executor,
    Refusable,
)
from ..lib.contexts import SharedContext
from ..lib.finalizers import may_run_code
from ..lib.introspection import hasattr_static
from ..lib.recursion_limit import has_room
from ..lib.run_in_pool import elsewhere
from ..link.aio import AioLink, AioResult
from ..link.backlog import weight_of
from ..link.call_context import IN_TASK, call_on_loop, call_serving, current
from ..link.call_registry import weak_name_of
from ..link.result import Unresolved, thrown
from ..wire.messages import REQUEST
from .thread_api import ThreadApi

__all__ = ["TaskDispatcher"]

logger = logging.getLogger("rpyc_like.aio")

_QUICK: Final = frozenset(
    {
        consts.HANDLE_PING,
        consts.HANDLE_CLOSE,
        consts.HANDLE_GETROOT,
        consts.HANDLE_DEL,
        consts.HANDLE_HELLO,
        consts.HANDLE_CHAIN,
    }
)
"""Requests that run no code of the program, or see to it themselves where that runs."""

_UNASKED: Final = frozenset(
    (consts.HANDLE_PING, consts.HANDLE_CLOSE, consts.HANDLE_DEL, consts.HANDLE_HELLO)
)
"""Requests that have nothing to do with the service."""

_REQUESTS: Final = {
    **HANDLERS,
    chain_interpreter.ROOT: consts.HANDLE_GETROOT,
    chain_interpreter.ITEMS: consts.HANDLE_BUFFITER,
}
"""What each thing that a chain asks for would be by itself."""

_PLAIN_ACCESS: Final = (object.__getattribute__, type.__getattribute__)
_FUNCTIONS: Final = (FunctionType, staticmethod, classmethod)
_NESTED_TASKS, _NESTED_THREADS = 10_000, 1_000
"""Most of a connection's that wait for the peer, which may go on asking then."""
_ASKING: Final = 4  # times max_queued_bytes, of requests that wait for the peer
_OPENING: Final = -1
"""Stands for the number of a request while the service is told of the connection."""


class TaskDispatcher(ThreadApi):
    """The serving part of an asyncio connection.

    Args:
        workers: threads for what is not ``async def``; without them that is done on the loop.
    """

    _link: AioLink
    _executor: Executor | None
    await_steps: Callable[[Any], Coroutine[Any, Any, Any]]

    def _prepare_serving(self, workers: ConnectionThreads | None) -> None:
        self._workers = workers
        self._executor = None
        self._context = SharedContext()  # of all functions that serve the connection
        self._last: Callable[[], Any] | None = None  # what is done when the connection is gone
        self._threads_of: dict[int, ConnectionThread | None] = {}
        """Who waits for what the peer's requests with these numbers are part of: a thread of the
        connection's, or None for something else, such as another connection's function."""
        self._tasks: dict[asyncio.Task[Any], int] = {}  # and the requests that they serve
        self._asking: dict[int, int] = {}  # requests whose tasks wait for the peer, how often
        self._opening = False  # whether the service is being told of the connection
        self._refused: Exception | None = None  # why it was not, and nothing is served
        self._in_threads = 0  # requests that workers have not done yet
        self._weights: dict[int, int] = {}  # memory of the requests that take time
        self._asking_size = 0  # of those that wait for the peer: reading must go on for them

    def _prepare_executor(self) -> None:
        if self._workers is not None:
            width = self._config["concurrent_calls"]
            self._executor = self._workers.executor(self._context, self._loop.call_later, width)
            self._executor.name = weak_name_of(self)
            self._local_objects.dropped = []

    def _learn_features(self, features: int) -> None:
        super()._learn_features(features)
        if self._executor is not None:
            self._executor.nests = not self._codec.features & consts.FEATURE_CAUSE

    async def open(self) -> None:
        """Tells the service that the connection is there. Nothing is served before, unless the
        service waits for the peer.
        """
        told = self._local_root.on_connect
        if getattr(told, "__func__", None) is Service.on_connect:
            return  # which does nothing
        self._opening = True
        self._hold()
        try:
            if is_async(told):
                value = told(self)
            elif self._executor is None:
                value = self._context.run(told, self)
            else:
                value = await self._in_thread(partial(told, self), self._refuse)
            if inspect.isawaitable(value):
                await self._in_context(value)
        except BaseException as error:
            if self._refused is not None and isinstance(error, (LimitExceeded, RuntimeError)):
                return  # the client is answered with it
            try:
                self._link.lose(None)
            except Exception:
                logger.exception("! %s: on_disconnect failed, after on_connect", self)
            raise
        finally:
            self._opening = False
            self._hold()

    def _refuse(self, error: Exception) -> None:
        """Note that there is no thread to call ``on_connect`` in: nothing is served then."""
        if isinstance(error, LimitExceeded):
            what = "threads of connections (on_connect was not called: connect again later)"
            self._refused = LimitExceeded(what, error.got, error.limit, argument=error.argument)
        else:
            self._refused = RuntimeError(f"on_connect was not called: {error}")
        logger.warning("! %s: on_connect was not called, and requests are refused: %s", self, error)

    async def _in_thread(
        self, func: Callable[[], Any], refused: Callable[[Exception], object] | None = None
    ) -> Any:
        """Return what a function of the program returns in the connection's thread.

        Args:
            refused: called with the error if there is no thread for it.
        """
        executor, served = self._executor, current()
        assert executor is not None
        id_ = _OPENING if served is None else served[1]
        thread, awaited = self._threads_of.get(id_), id_ in self._threads_of
        work = partial(self._serving, served, func)

        def submit(job: Refusable) -> None:
            job.on_refused = refused
            try:
                executor.submit(job, thread, awaited=awaited)
            except LimitExceeded as error:
                if refused is not None:
                    refused(error)
                raise

        failed, value = await elsewhere(submit, work)
        if failed:
            raise thrown(value)
        return value

    def _serving(
        self, served: tuple[Any, Any, int] | None, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Call a function that serves a request, in the connection's thread and context."""
        if current() is not None and not has_room():
            raise RecursionError(TOO_DEEP)
        return call_serving(served, func, *args)

    def _in_context(self, value: Any) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that awaits something of the program in the connection's context."""
        return self._context.within(value, IN_TASK, current())

    def is_awaited(self, target: Target) -> bool:
        """Return whether something that is being served waits for a request of the peer's."""
        return target[1] is not None and self._session.pending.get(target[1]) is not None

    # -- one request

    def serve_request(self, id_: int, target: Target, args: Any) -> None:
        """Does what the peer asks, or has it done."""
        if self._reads:
            self._forget_ahead()
        if self._local_objects.dropped:
            self._let_go()
        if len(self._asking) >= _NESTED_TASKS or len(self._sleepers) >= _NESTED_THREADS:
            self._fail(id_, RecursionError(TOO_DEEP))
            return
        most = _ASKING * self._config["max_queued_bytes"]
        if self._asking_size > most:
            what, key = "memory of requests that wait for the peer, in bytes", "max_queued_bytes"
            self._fail(id_, LimitExceeded(what, self._asking_size, most, key))
            return
        token = IN_TASK.set((self._link, id_, target[2]))
        before = len(self._tasks) + self._in_threads
        if target[1] is not None and self._executor is not None:
            cause = self._session.pending.get(target[1])
            if type(cause) is AioResult:
                self._threads_of[id_] = cause.origin
        try:
            if type(args) is tuple:
                self._serve(id_, target[0], args)
            elif issubclass(type(args), Unresolved):
                self._start(id_, self._serve_later(id_, target, args))
            else:
                raise self._bad_args(args)
        except Exception as error:
            self._fail(id_, error)
        finally:
            IN_TASK.reset(token)
        if len(self._tasks) + self._in_threads > before and id_ not in self._weights:
            self._weights[id_] = size = weight_of((REQUEST, id_, target, args))
            self._count(size)
            self._hold()

    def _served(self, id_: int) -> None:
        """Counts a request no more that took time."""
        if self._threads_of:
            self._threads_of.pop(id_, None)
        size = self._weights.pop(id_, None)
        if size is None:
            return
        if id_ in self._asking:
            self._asking_size -= size
        else:
            self._count(-size)
        self._hold()

    def _count(self, size: int) -> None:
        """Counts what a request holds that is being served and does not wait for the peer."""
        if size > 0:
            self._link.queued.add(size)
        else:
            self._link.queued.remove(-size)

    def _serve(self, id_: int, number: int, args: tuple[Any, ...]) -> None:
        if self._refused is not None and number not in _UNASKED:
            raise self._refused.with_traceback(None)
        handler = self._handler(number)
        executor = self._executor
        if number in _QUICK:
            value = handler(self, *args)
            if type(value) is CoroutineType:
                self._start(id_, value, True)  # a chain, which sees to the context of its steps
            else:
                self._finish(id_, value)
        elif executor is None:
            if handler in _IN_TURNS:
                self._finish(id_, _in_turns(_IN_TURNS[handler](self, *args)))
            else:
                self._finish(id_, self._context.run(call_on_loop, current(), handler, self, *args))
        elif self._is_for_loop(number, args):
            self._finish(id_, handler(self, *args))
        else:
            work = Refusable(self._work, id_, current(), handler, args)
            awaited = id_ in self._threads_of
            executor.submit(work, self._threads_of.get(id_), awaited=awaited)
            self._in_threads += 1
            self._hold()

    def _is_for_loop(self, number: int, args: tuple[Any, ...]) -> bool:
        """Returns whether a request is for an ``async def`` function, or for a proxy.

        Or for a function of a class, which is bound without any code of the program.
        """
        if not args:
            return False
        if type(args[0]) is AsyncIteratorExport:
            return True
        if is_netref(args[0]):
            return number in (consts.HANDLE_CALL, consts.HANDLE_CALLATTR, consts.HANDLE_GETATTR)
        if number == consts.HANDLE_CALL:
            return is_async(args[0])
        if number == consts.HANDLE_CALLATTR and len(args) > 1 and type(args[1]) is str:
            return is_async(self._method_of(args[0], args[1]))
        if number == consts.HANDLE_GETATTR and len(args) > 1 and type(args[1]) is str:
            kind: Any = type(args[0])
            return (
                kind.__getattribute__ in _PLAIN_ACCESS
                and not hasattr_static(kind, "_rpyc_getattr")
                and type(self._method_of(args[0], args[1])) in _FUNCTIONS
            )
        return False

    def _method_of(self, obj: Any, name: str) -> Any:
        """Returns what a name stands for, as far as no code of the program is needed to know."""
        names = (self._config["exposed_prefix"] + name, name)
        kind: type = type(obj)
        if issubclass(kind, ModuleType):
            spaces = [vars(obj)]
        else:
            spaces = [vars(cls) for cls in (obj if issubclass(kind, type) else kind).__mro__]
        for candidate in names:
            for space in spaces:
                if candidate in space:
                    return space[candidate]
        return None

    def _work(
        self,
        id_: int,
        served: Any,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        refused: Exception | None = None,
    ) -> Callable[[], object]:
        """Do what the peer asks, in the connection's thread; return what answers.

        The answer leaves when the context is free: what the peer does next finds it so.

        Args:
            refused: the answer, where there is no thread.
        """
        link = self._link
        outcome: list[Any] = [refused is not None, refused]
        if refused is None and not link.drops and not link.calls.is_cancelled(id_):
            try:
                outcome[1] = self._serving(served, handler, self, *args)
            except BaseException as error:
                outcome[:] = True, error
        del args
        return partial(link.call_soon, partial(self._worked, id_, served, outcome))

    def _worked(self, id_: int, served: Any, outcome: list[Any]) -> None:
        """Send an answer.

        Args:
            outcome: whether the function failed, and the value or exception. It is taken out: the
                thread still has the list, and must not be the last to have what the peer drops.
        """
        IN_TASK.set(served)
        value, failed = outcome.pop(), outcome.pop()
        self._in_threads -= 1
        self._hold()
        if failed:
            self._fail(id_, value)
            return
        if self._link.drops and type(value) is CoroutineType:
            value.close()
            return
        try:
            self._finish(id_, value)
        except Exception as error:
            self._fail(id_, error)

    def _finish(self, id_: int, value: Any) -> None:
        """Sends an answer; has it awaited before, if that is needed."""
        kind = type(value)
        if kind is AsyncGeneratorType:
            value = AsyncIteratorExport(value)
        elif kind not in brine.simple_types and not is_netref(value) and inspect.isawaitable(value):
            self._start(id_, self._in_context(value), True)
            return
        codec, link = self._codec, self._link
        if link.full:
            self._start(id_, self._when_drained(value), True)
            return
        if link.calls.known:
            link.calls.forget(id_)
        if self._weights or self._threads_of:
            self._served(id_)
        if codec.native and not self._proxies.released and not self._rewinds:
            frame = codec.native.reply(True, id_, value)
            if frame is not None:
                codec.serving.discard(id_)
                if not link.lost:
                    link.send_frame(frame)
                return
        self._answer(codec.encode_reply(id_, value))

    async def _when_drained(self, value: Any) -> Any:
        """Return an answer when the peer takes it; it is not encoded, but counted until then."""
        size = price(value)
        self._kept.hold(size, "memory for answers that wait")
        try:
            await self._link.drained()
        finally:
            self._kept.release(size)
        return value

    def _answer(self, payload: Any) -> None:
        if not self._link.lost:
            # The answer may name objects of the peer whose proxies have died since: it goes first.
            self._link.send(*self._take_rewinds(), payload, *self._releases())

    def _fail(self, id_: int, error: BaseException) -> None:
        self._served(id_)
        if not self._link.lost:
            self._answer(self._encode_failure(id_, error))
        self._link.calls.forget(id_)

    def _run_soon(self, func: Callable[[], Any]) -> None:
        """Runs callbacks of the program."""
        if self._workers is not None:
            self._workers.beside.run(partial(self._context.run, func), object())
            return
        try:
            self._context.run(func)
        except Exception:
            logger.exception("! a callback failed")

    # -- tasks

    def _start(self, id_: int, work: Coroutine[Any, Any, Any], answers: bool = False) -> None:
        """Begins a task.

        Args:
            id_: of the request that it is for.
            answers: whether what it returns is the answer.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = id_
        task.add_done_callback(partial(self._ended, answers))
        self._hold()
        if self._link.lost:
            self._loop.call_soon(task.cancel)  # when it has begun

    def _ended(self, answers: bool, task: asyncio.Task[Any]) -> None:
        id_ = self._tasks.pop(task, -1)
        if task.cancelled():
            if id_ in self._codec.serving:
                self._finish(id_, None)  # which nobody waits for
        elif answers:
            error = task.exception()
            try:
                if error is not None:
                    raise error
                self._finish(id_, task.result())
            except Exception as error:
                self._fail(id_, error)
        self._hold()

    def _hold(self) -> None:
        """Takes no more requests while so many are being served."""
        busy = len(self._tasks) - len(self._asking) + self._in_threads
        too_early = self._opening and not self._asking
        self._link.hold(too_early or busy >= self._config["concurrent_tasks"], busy)

    def _begin_wait(self) -> int | None:
        """Notes that the current task waits for the peer; returns which request it serves."""
        served = current()
        if self._opening:
            id_ = _OPENING
        elif served is not None and served[0] is self._link:
            id_ = served[1]
        else:
            return None
        if id_ not in self._asking and id_ in self._weights:
            self._asking_size += self._weights[id_]
            self._count(-self._weights[id_])
        self._asking[id_] = self._asking.get(id_, 0) + 1
        self._hold()
        return id_

    def _end_wait(self, id_: int) -> None:
        left = self._asking[id_] - 1
        if left:
            self._asking[id_] = left
        else:
            del self._asking[id_]
            if id_ in self._weights:
                self._asking_size -= self._weights[id_]
                self._count(self._weights[id_])
        self._hold()

    def _told(self, handler: int, number: int, milliseconds: int = 0) -> None:
        super()._told(handler, number, milliseconds)
        if handler == consts.HANDLE_CANCEL:
            for task, id_ in list(self._tasks.items()):
                if id_ == number:
                    task.cancel()

    async def _serve_later(self, id_: int, target: Target, args: Unresolved) -> None:
        try:
            self.serve_request(id_, target, await self.await_steps(args.steps()))
        except Exception as error:
            self._fail(id_, error)

    def _tell_service(self, func: Callable[[Any], Any]) -> None:
        """Tells the service that the connection is gone."""
        if getattr(func, "__func__", None) is Service.on_disconnect or self._refused is not None:
            return
        if self._executor is not None and not is_async(func):
            self._last = partial(func, self)
            return
        value = func(self) if is_async(func) else self._context.run(func, self)
        if inspect.isawaitable(value):
            self._goodbye = asyncio.ensure_future(self._in_context(value))

    def notice(self, payload: Any) -> None:
        """Let go what the peer has given back; the rest was noted in wire order."""
        if self._local_objects.dropped:
            self._let_go()

    def _let_go(self) -> None:
        """Drop what the peer has given back, in the connection's thread if that may run code."""
        assert self._executor is not None
        dropped = self._take_dropped()
        if dropped:
            self._executor.submit(dropped.clear, first=True)

    def _take_dropped(self) -> list[Any]:
        """Return the objects given back that may run code; the others end here."""
        entries, self._local_objects.dropped = self._local_objects.dropped, []
        return [entry for entry in entries or () if may_run_code(entry)]

    def _forget_everything(self) -> None:
        try:
            super()._forget_everything()
        finally:
            if self._executor is not None:
                dropped = self._take_dropped()
                last = self._last
                end = partial(_end, last, dropped) if last is not None or dropped else None
                self._executor.close(end)

    def end_tasks(self) -> None:
        """Cancels what still runs for the peer."""
        for task in list(self._tasks):
            task.cancel()

    # -- chains

    async def _handle_chain(self, steps: Any, wanted: Any) -> tuple[Any, ...]:
        """Does steps that depend on one another; each where it would be done by itself."""
        with self._account(FAIR) as account:
            work = chain_work(self, account, steps, wanted)
            try:
                request = next(work)
                while True:
                    if request[0] == chain_interpreter.PAUSE:
                        await asyncio.sleep(0)
                        request = next(work)
                        continue
                    try:
                        value = await self._done(account, *request)
                    except Exception as error:
                        request = work.throw(error)
                    else:
                        request = work.send(value)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    async def _done(self, account: Account, kind: int, *values: Any) -> Any:
        """Does what a chain asks for next."""
        number = _REQUESTS[kind]
        quick = number in _QUICK or self._is_for_loop(number, values)
        if quick or self._executor is None:
            try:
                if quick:
                    value = do_step(self, account, kind, *values)
                else:
                    served = current()
                    value = self._context.run(
                        call_on_loop, served, do_step, self, account, kind, *values
                    )
            except StopIteration as error:
                raise thrown(error) from None
        else:
            value = await self._in_thread(partial(do_step, self, account, kind, *values))
        kind_ = type(value)
        if kind_ is AsyncGeneratorType:
            return AsyncIteratorExport(value)
        if kind_ not in brine.simple_types and not is_netref(value) and inspect.isawaitable(value):
            return await self._in_context(value)
        return value


_IN_TURNS: Final[dict[Any, Callable[..., handlers.Turns]]] = {
    handlers.buffiter: handlers.taking,
    handlers.snapshot: handlers.dumping,
}
"""What takes long, and what does it piece by piece where there are no threads."""


async def _in_turns(work: handlers.Turns) -> Any:
    try:
        while True:
            next(work)
            await asyncio.sleep(0)
    except StopIteration as end:
        return await end.value if type(end.value) is CoroutineType else end.value
    finally:
        work.close()  # now, whoever still holds the traceback


def _end(last: Callable[[], Any] | None, dropped: list[Any]) -> None:
    """Tell the service that the connection is gone, then drop what the peer had references to."""
    try:
        if last is not None:
            last()
    finally:
        dropped.clear()
