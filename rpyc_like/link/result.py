"""AsyncResult: the answer to a request, now or later."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ..lib.lazy_exports import late_import
from ..lib.timing import Timeout
from .receiving import Waiter

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = [
    "AsyncResult",
    "CallableResultAdapter",
    "ResultOwner",
    "RemoteStopIteration",
    "Unresolved",
    "awaited",
    "raised",
    "thrown",
]


class Unresolved:
    """A received value that needs the peer before it can be given to a program.

    Whoever consumes it runs :meth:`steps`: a generator that yields requests ``(target, args)``,
    is sent their answers and returns the value. Each driver has one loop for that.
    """

    __slots__ = ()

    plain: Any = None
    """The value, if it is a plain one that needs nobody."""

    def weight(self) -> int:
        """Return how many bytes of memory have been received for it."""
        return 0

    def steps(self) -> Any:
        """Returns the generator; running it again gives the same value."""
        raise NotImplementedError


class _Failure(Unresolved):
    """An answer that is raised."""

    __slots__ = ("error",)

    def __init__(self, error: Any) -> None:
        self.error = error


class RemoteStopIteration(Exception):
    """Stands for an answer that is StopIteration where a generator would not let that pass."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error


def raised(error: BaseException) -> BaseException:
    """Returns what to raise in a coroutine, which StopIteration cannot leave."""
    if not isinstance(error, StopIteration):
        return error
    stopped = StopAsyncIteration(*error.args)
    stopped.__cause__ = error
    return stopped


def thrown(error: BaseException) -> BaseException:
    """Returns what to throw into a generator that has yielded a request which failed."""
    return RemoteStopIteration(error) if isinstance(error, StopIteration) else error


class ResultOwner(Protocol):
    """What an AsyncResult asks of its connection."""

    def wait_for(self, result: AsyncResult, deadline: Timeout | None) -> None:
        """Serves the connection until the result has come or the time is over."""

    def poll_all(self, timeout: float = 0) -> bool:
        """Serves what has arrived."""

    def finish(self, value: Unresolved) -> Any:
        """Makes the value that a program gets."""

    def expire(self, result: AsyncResult) -> BaseException:
        """Forgets the request and returns the error that says what was waited for."""

    def give_up(self, result: AsyncResult) -> None:
        """Forgets a request that nobody waits for any more."""

    def read_for(self, result: AsyncResult, ended: Callable[[AsyncResult], None]) -> None:
        """Sees to it that somebody reads until the answer has come, or the time is over.

        Args:
            ended: is called then, if nothing else tells.
        """


class AsyncResult:
    """The answer to a request that has been sent.

    Args:
        conn: the connection the request was made on.
    """

    # Most results are waited for once and forgotten: what they do not need is not made.
    _ready = False
    _deadline: Timeout | None = None
    id_: int | None = None
    target: Any = None
    delivered_by: int | None = None
    """The thread that calls a program's own ``__call__`` with the answer; 0 before it does."""

    _future: Future[Any] | None = None
    _ended: Callable[[AsyncResult], None] | None = None  # completes the future

    _cancelled_with_wait = False
    """Whether a wait that ends without the answer, as by Ctrl-C, cancels the request."""

    # No __getattr__ here: it would make each attribute of the class slow. And no self.__dict__:
    # Python 3.11 makes it at the first look, and a second one if a finalizer looks while the first
    # one is being allocated. Then it frees what is in them twice.

    def __init__(self, conn: Any) -> None:
        self._conn: ResultOwner = conn
        self._waiters: list[Waiter] = []
        # The first one counts: a thread may cancel the request while another one has its answer.
        self._answers: list[Any] = []
        self._callbacks: list[Callable[[AsyncResult], Any]] = []

    def __repr__(self) -> str:
        state = "ready" if self._ready else "expired" if self.expired else "pending"
        return f"<AsyncResult object ({state}) at {id(self):#x}>"

    @property
    def _failed(self) -> bool:
        return bool(self._answers) and type(self._answers[0]) is _Failure

    @property
    def _value(self) -> Any:
        value = self._answers[0] if self._answers else None
        return value.error if type(value) is _Failure else value

    # -- delivery (by the connection)

    def settle(self, failed: bool, value: Any) -> bool:
        """Store the answer, unless there is one, and wake who waits. Runs no code of the program.

        Returns:
            Whether :meth:`run_callbacks` has something to do.
        """
        if self._deadline is not None and self._deadline.expired():
            self._wake_waiters()
            return False
        self._answers.append(_Failure(value) if failed else value)
        self._ready = True
        if self._waiters:
            for waiter in self.waiters():
                waiter.wake()
        return True if self._callbacks else False  # noqa: SIM210 -- bool() is a call

    def add_waiter(self, waiter: Waiter) -> list[Waiter]:
        """Notes a thread to wake; returns the list to remove it from."""
        self._waiters.append(waiter)
        return self._waiters

    def remove_waiter(self, waiter: Waiter) -> None:
        """Ends what :meth:`add_waiter` began."""
        with suppress(ValueError):  # a signal handler's exception came when it had been removed
            self._waiters.remove(waiter)

    def waiters(self) -> list[Waiter]:
        """Return the threads that wait for the answer."""
        # Not tuple(): before Python 3.12 that copies freed memory if a finalizer adds to the list.
        return list(self._waiters)

    def run_callbacks(self) -> None:
        """Calls the callbacks that were added before the answer came, once."""
        while self._ready and self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            try:
                callback(self)
            except BaseException:
                self.run_callbacks()  # the others, futures among them, are not to blame
                raise

    def __call__(self, is_exc: bool, obj: Any) -> None:
        """Delivers an answer: what :meth:`settle` and :meth:`run_callbacks` do."""
        self.settle(is_exc, obj)
        self.run_callbacks()

    # -- use

    def wait(self) -> None:
        """Waits until the answer is there, serving the connection meanwhile.

        Raises:
            TimeoutError: it did not come before the result expired.
            ConnectionClosed: it will never come.
        """
        while not self._ready:
            deadline = self._deadline
            try:
                self._conn.wait_for(self, deadline)
            except BaseException:
                if self._cancelled_with_wait:
                    self.cancel()
                raise
            if not self._ready and self._deadline is deadline:
                raise self._conn.expire(self)

    def add_callback(self, func: Callable[[AsyncResult], Any]) -> None:
        """Has ``func(result)`` called when the answer is there, at once if it is.

        A later call happens in the thread that has read the answer; on the loop for a connection of
        an asyncio client, and in a thread of its own for one of :class:`rpyc_like.aio.Server`.

        As in RPyC, an exception of the function comes out of what that thread is doing: it ends the
        thread that serves a client, or a :class:`.BgServingThread`, and comes out of an unrelated
        call of a thread that waits. Threads of pools, and loops, log it and go on. Other functions
        that were added are called in any case.
        """
        self._callbacks.append(func)
        if self._ready:
            self.run_callbacks()

    def set_expiry(self, timeout: float | None) -> None:
        """Sets how many seconds from now the answer may take (None: for ever)."""
        known, self._deadline = self._deadline, None if timeout is None else Timeout(timeout)
        if self._ready:
            return
        self._wake_waiters()
        due, before = (None if one is None else one.tmax for one in (self._deadline, known))
        if self._ended is not None and due is not None and (before is None or due < before):
            self._conn.read_for(self, self._ended)  # nobody looks at the time so early

    def _wake_waiters(self) -> None:
        for waiter in self.waiters():
            waiter.wake()

    @property
    def ready(self) -> bool:
        """Whether the answer is there; serves what has arrived before it says no."""
        if self._ready:
            return True
        if self.expired:
            return False
        self._conn.poll_all()
        return self._ready

    @property
    def error(self) -> bool:
        """Whether the answer is there and is an exception."""
        return self.ready and self._failed

    @property
    def expired(self) -> bool:
        """Whether the time was over before the answer came."""
        return not self._ready and self._deadline is not None and self._deadline.expired()

    @property
    def value(self) -> Any:
        """The answer: returned, or raised if it is an exception. Waits for it."""
        if not self._ready:
            self.wait()
        try:
            return self.take()
        finally:
            del self  # an exception's traceback would keep it, and it keeps the exception

    def take(self) -> Any:
        """Returns or raises an answer that is there."""
        value = self._answers[0]
        if issubclass(type(value), Unresolved):  # isinstance would ask a proxy
            try:
                return self._finish()
            finally:
                del self, value
        return value

    def _finish(self) -> Any:
        failed, value = self._failed, self._value
        if issubclass(type(value), Unresolved):
            value = self._conn.finish(value)
            self._answers = [_Failure(value) if failed else value]
        if failed:
            try:
                raise value
            finally:
                del self, value  # which the exception's traceback would keep, in a cycle
        return value

    def as_future(self) -> Future[Any]:
        """Returns a :class:`concurrent.futures.Future` for the answer.

        The connection is read in the background meanwhile. Cancelling the future gives the request
        up. StopIteration, which no future can hold, becomes StopAsyncIteration.
        """
        found = self._future
        if found is None:
            with late_import():
                from .futures import future_of

            found = future_of(self, self._conn)
        return found

    def __await__(self) -> Generator[Any, None, Any]:
        with late_import():
            import asyncio

        return asyncio.wrap_future(self.as_future()).__await__()

    def cancel(self) -> bool:
        """Give the request up: nobody waits for its answer any more.

        A peer of this package is told. Whoever takes the value gets
        :class:`concurrent.futures.CancelledError`.

        Returns:
            Whether the answer had not come before.
        """
        if self._ready:
            return False
        from concurrent.futures import CancelledError

        error = CancelledError("the request was cancelled by this side")
        self.settle(True, error)
        if self._answers and self._value is not error:
            return False  # it has come at this moment
        self._conn.give_up(self)
        self.run_callbacks()
        return True

    # Names of older releases.
    is_ready = ready
    result = value
    on_ready = add_callback


def awaited(result: AsyncResult) -> Any:
    """Return the answer to a request; cancel the request if the wait for it is interrupted.

    For requests that the package makes and waits for itself: the program does not hold ``result``,
    and cannot wait for it again.
    """
    result._cancelled_with_wait = True
    try:
        return result.value
    finally:
        del result  # an exception's traceback would keep it, and it keeps the exception


class CallableResultAdapter:
    """Stands in for a result whose class has a ``__call__`` of its own, which gets the answer.

    It is called with a finished value, outside of the reading role.

    Args:
        result: what the answer is for.
    """

    def __init__(self, result: AsyncResult) -> None:
        self._result = result
        self._answer: tuple[bool, Any] | None = None

    @property
    def id_(self) -> int | None:
        """The number of the request."""
        return self._result.id_

    @id_.setter
    def id_(self, number: int | None) -> None:
        self._result.id_ = number

    @property
    def target(self) -> Any:
        """What the request is for."""
        return self._result.target

    @target.setter
    def target(self, target: Any) -> None:
        self._result.target = target

    def settle(self, failed: bool, value: Any) -> bool:
        """Keeps the answer for :meth:`run_callbacks`; whoever waits need not read for it."""
        self._answer = failed, value
        self._result.delivered_by = 0
        return True

    def run_callbacks(self) -> None:
        """Delivers the answer, once."""
        answer, self._answer = self._answer, None
        if answer is not None:
            failed, value = answer
            self._result.delivered_by = get_ident()
            try:
                if issubclass(type(value), Unresolved):
                    value = self._result._conn.finish(value)
                self._result(failed, value)
            finally:
                self._result.delivered_by = None
                for waiter in self.waiters():
                    waiter.wake()

    def waiters(self) -> list[Waiter]:
        """Return the threads that wait for the answer."""
        return self._result.waiters()
