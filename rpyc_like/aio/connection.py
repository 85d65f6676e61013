"""The asyncio connection: an endpoint on an event loop.

Tables, boxing, gate, handlers, session and proxy classes are those of the blocking side. What takes
a trip is awaited: unboxing never waits.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

from ..core import consts
from ..core.dialects import DialectMismatch, Target
from ..core.endpoint import Endpoint
from ..core.service import Service, VoidService
from ..link import flushing
from ..link.aio import AioMessageConnection, AioResult
from ..link.result import Unfinished
from ..link.serving import CURRENT
from ..wire.framing import RpycFramer
from .proxies import AsyncNetref, Deferred

__all__ = ["Connection", "connect"]

_CLOSE_LIMIT = 2.0


async def connect(
    host: str,
    port: int,
    service: type[Service] | Service = VoidService,
    config: dict[str, Any] | None = None,
) -> Connection:
    """Connects over TCP.

    Raises:
        OSError: nobody listens there, or the name is unknown.
    """
    root = service() if isinstance(service, type) else service
    conn = Connection(root, config, (host, port))
    await conn._open()
    return conn


class Connection(Endpoint):
    """One side of a conversation about Python objects, on an event loop; see :func:`connect`."""

    _link: AioMessageConnection

    def __init__(self, root: Any, config: dict[str, Any] | None, address: tuple[str, int]) -> None:
        super().__init__(root, config, AsyncNetref)
        # A step of a chain may have to be awaited; nobody sends signs of life.
        self._features &= ~(consts.FEATURE_CHAINS | consts.FEATURE_HEARTBEAT)
        self._address = address
        self._reopened = False
        self._remote_root: Any = None
        self._tasks: dict[asyncio.Task[Any], int] = {}  # and the requests that they serve
        self._link = AioMessageConnection(
            self._session, self, self._make_framer, self._config["frame_timeout"]
        )
        self._codec.link = self._link
        flushing.start()

    def _make_framer(self) -> RpycFramer:
        config = self._config
        sizes = ("max_frame_size", "max_inflated_size", "max_first_frame_size")
        return RpycFramer(True, *[config[key] for key in sizes])

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._link, *self._address)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._link.ended.is_set()

    @property
    def root(self) -> Any:
        """The peer's service: a deferred value until it has been awaited once."""
        if self._remote_root is None:
            self._remote_root = self.sync_request(consts.HANDLE_GETROOT)
        return self._remote_root

    # -- requests

    def sync_request(self, handler: int, *args: Any) -> Deferred:
        """Returns the deferred answer to a request, which is sent when it is awaited.

        The name is the blocking connection's: proxies ask through it on both.
        """
        return Deferred(lambda: self.request(handler, *args))

    async def request(self, handler: int, *args: Any) -> Any:
        """Sends a request, awaits the answer, and returns it or raises it."""
        timeout = self._config["sync_request_timeout"]
        return await asyncio.wait_for(self._exchange(handler, args), timeout)

    async def _exchange(self, handler: int, args: tuple[Any, ...]) -> Any:
        result = AioResult()
        self._link.request(result, handler, args, *self._ahead())
        await self._link.drained()
        try:
            failed, value = await result.outcome()
        except asyncio.CancelledError:
            assert result.id_ is not None
            if self._session.pending.abandon(result.id_):
                payload = self._cancel(result.id_)
                if payload is not None and not self.closed:
                    self._link.send(payload)
            raise
        if issubclass(type(value), Unfinished):
            value = await self._finish(value)
        if failed:
            raise value
        return value

    async def _finish(self, value: Unfinished) -> Any:
        """Makes a program's value of a received one; asks the peer where that is needed."""
        steps = value.steps()
        try:
            request = next(steps)
            while True:
                request = steps.send(await self._exchange(*request))
        except StopIteration as end:
            return end.value

    # -- what the link asks for

    def serve_request(self, id_: int, target: Target, args: Any) -> None:
        """Does what the peer asks; a task does it where something has to be awaited."""
        token = CURRENT.set((self._link, id_, target[2]))
        try:
            if type(args) is tuple:
                value = self._handler(target[0])(self, *args)
                if inspect.iscoroutine(value):
                    self._start(id_, self._answer_later(id_, value))
                else:
                    self._link.send(self._codec.encode_reply(id_, value))
            elif issubclass(type(args), Unfinished):
                self._start(id_, self._serve_later(id_, target, args))
            else:
                raise self._bad_args(args)
        except Exception as error:
            self._fail(id_, error)
        finally:
            CURRENT.reset(token)

    def _start(self, id_: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = id_
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        id_ = self._tasks.pop(task, -1)
        if task.cancelled() and id_ in self._codec.serving and not self.closed:
            self._link.send(self._codec.encode_reply(id_, None))  # which nobody waits for
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
            self.serve_request(id_, target, await self._finish(args))
        except Exception as error:
            self._fail(id_, error)

    async def _answer_later(self, id_: int, work: Coroutine[Any, Any, Any]) -> None:
        try:
            self._link.send(self._codec.encode_reply(id_, await work))
        except Exception as error:
            self._fail(id_, error)

    def _fail(self, id_: int, error: BaseException) -> None:
        if not self.closed:
            self._link.send(self._encode_failure(id_, error))

    def recover(self, error: BaseException) -> BaseException | None:
        """Speaks the peer's dialect over a new connection, if the first guess was wrong."""
        if not isinstance(error, DialectMismatch) or self._reopened:
            return error
        if self._config["dialect"] is not None:
            return error
        self._reopened = True
        self._link.detach()
        self._start(-1, self._reopen(error))
        return None

    async def _reopen(self, mismatch: DialectMismatch) -> None:
        try:
            await self._open()
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
        if self._codec.heard and not self.closed:
            releases = self._releases()
            if releases:
                self._link.send(*releases)

    # -- the end

    async def close(self) -> None:
        """Says goodbye and closes. Takes at most 2 seconds. Idempotent."""
        if not self._session.closing():
            return
        try:
            if not self.closed:
                self._link.send(self._farewell())
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
