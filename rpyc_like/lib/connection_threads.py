"""Threads that run the plain functions of connections: one for each, kept while it lasts.

So what a program keeps by thread (``threading.local``, SQLite connections) or by context
(:mod:`contextvars`, decimal contexts) is there in a connection's next request, and nothing of it
reaches another connection. A thread is started for a connection's first function and ends with the
connection. When no more may be started, the connection that has been idle for longest gives its
thread up; it gets another one with its next function. What the system has no thread for is refused
as soon as no thread of another connection could become free for it.

A thread that waits for a peer does not count. Meanwhile it runs what that peer asks because of the
function that waits. What a peer asks because another connection's function waits for it is run at
once: another thread stands in where the connection's waits too.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from ..errors import LimitExceeded, LocalProtocolError
from . import primitives
from .contexts import SharedContext
from .logging_setup import LateLog
from .subinterpreters import at_end
from .threads import spawn
from .worker_pool import WorkerPool, here

__all__ = [
    "TOO_DEEP",
    "ConnectionThread",
    "ConnectionThreads",
    "Executor",
    "Refusable",
    "ThreadExecutor",
    "current_thread",
]

logger = logging.getLogger("rpyc_like.lib")

T = TypeVar("T")
Job = Callable[[], Callable[[], object] | None]
"""Returns what is done when the context is free for others again, if there is such a thing."""

CallLater = Callable[..., object]

_PATIENCE = 1.0
"""Seconds for which a function waits for a thread that waits for the peer: long enough for usual
callbacks, because functions that run in another thread find nothing that is kept by thread."""

_MOST_AT_ONCE = 1000
"""Threads of one connection: a peer decides how deep calls between connections are nested."""

TOO_DEEP = "calls between the two sides are nested too deeply"
"""What a RecursionError says then."""


class Refusable(partial[Any]):
    """A job that can be told that there is no thread for it.

    Its function is called then where it was submitted, with the error as argument ``refused``.
    """

    on_refused: Callable[[Exception], object] | None = None
    """Called with the error before."""

    def refuse(self, error: Exception) -> None:
        """Tell it."""
        if self.on_refused is not None:
            self.on_refused(error)
        self(refused=error)()


class Executor(Protocol):
    """Runs the plain functions of one connection."""

    nests: bool
    """Whether a thread that waits runs anything meanwhile: nothing tells what caused what."""
    name: Callable[[], str]
    """Returns the name of the connection for the log."""

    def submit(
        self, job: Job, thread: Any = None, *, first: bool = False, awaited: bool = False
    ) -> None:
        """Have a function run, after those before it.

        It is refused, now or later, if it is :class:`Refusable` and the system has no more threads.

        Args:
            thread: waits for a peer that has asked for this because of that.
            first: whether it runs before others, also in a thread that waits, and is not refused.
            awaited: whether something else than this connection's threads waits for it, such as
                another connection's function. It runs before others that are not.

        Raises:
            LimitExceeded: there is no thread for it.
            RecursionError: too many of the connection's threads wait.
        """

    def close(self, last: Job | None = None) -> None:
        """End when everything has been done, ``last`` at the end. Idempotent."""


class ConnectionThreads:
    """The threads of a server's connections.

    Args:
        most: how many there may be, those not counted that wait for a peer.
        strict: whether a connection never gives its thread up; what needs one is refused then.
        beside: how many threads there may be for what belongs to no connection's thread.
    """

    def __init__(self, most: int, strict: bool = False, beside: int = 20) -> None:
        if most < 1:
            raise ValueError(f"expected at least 1 thread, got {most} (argument 'max_threads')")
        self.most = most
        self.strict = strict
        self.beside = WorkerPool(beside)
        """Threads for callbacks, which belong to no connection's thread."""
        self.lock = primitives.RLock()  # guards everything below and the state of the executors
        self.log = LateLog(logger, self.lock._is_owned)  # type: ignore[attr-defined]
        self.threads: set[ConnectionThread] = set()
        self._active = 0  # threads that do not wait for a peer
        self._idle: OrderedDict[ConnectionThread, None] = OrderedDict()  # longest idle first
        self._needy: deque[ThreadExecutor] = deque()  # have functions to run and no thread for them
        self._closed = False
        self._warned = False
        self.refusal: Exception | None = None
        """Why the system starts no thread, if none of another connection can become free."""
        at_end(self.close)

    def executor(
        self,
        context: SharedContext,
        call_later: CallLater,
        width: int = 1,
        kept: int | None = None,
    ) -> ThreadExecutor:
        """Return what runs the functions of a new connection.

        Args:
            context: that they run in.
            call_later: has something called after so many seconds, in the thread that submits.
            width: how many may run at once; they begin in order.
            kept: how many of their threads are kept while there is nothing to do; all by default.
        """
        return ThreadExecutor(self, context, call_later, width, width if kept is None else kept)

    def close(self) -> None:
        """Take nothing more; the threads end when they have done what there is."""
        self.beside.close()
        with self.lock:
            self._closed = True
            for thread in list(self._idle):
                thread.end()

    # -- internals; the caller holds the lock

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    @property
    def full(self) -> bool:
        """Whether no more thread may be started."""
        return self._active >= self.most

    @property
    def wanted(self) -> bool:
        """Whether a thread without work is to end."""
        return self._active > self.most or bool(self._needy and not self.strict)

    def give(self, executor: ThreadExecutor) -> None:
        """Start a thread for a connection, now or when there may be one more."""
        if not executor.needy:
            executor.needy = True
            self._needy.append(executor)
        self.share_out()

    def share_out(self) -> None:
        """Start threads for those who need one, as far as that is possible."""
        while self._needy:
            executor = self._needy[0]
            if executor.needs_thread:
                if self.full and not self.strict and self._idle:
                    self.warn()
                    next(iter(self._idle)).end()
                # With strict affinity what ends a connection may have one thread more.
                most = self.most + (self.strict and executor.closed)
                if self._active >= most or not self._start(executor):
                    return
            self._needy.popleft()
            executor.needy = False

    def _start(self, executor: ThreadExecutor) -> bool:
        thread = ConnectionThread(self, executor)
        self._active += 1
        self.threads.add(thread)
        executor.threads.append(thread)
        try:
            spawn(thread.work)
        except RuntimeError as error:  # the system has no more threads
            self.log.add("! cannot start a thread: %s", error)
            self._active -= 1
            self.threads.discard(thread)
            executor.threads.remove(thread)
            if self.strict or not self._active:
                self.refusal = error
            elif self._idle:
                next(iter(self._idle)).end()  # leaves room for the next attempt
            return False
        executor.begin_with(thread)
        return True

    def warn(self) -> None:
        """Log once that connections lose their threads."""
        if not self._warned:
            self._warned = True
            self.log.add(
                "! all %d threads are in use (argument 'max_threads'): connections that have been "
                "idle for longest lose theirs, and what a program keeps in it",
                self.most,
            )

    def begin_wait(self, executor: ThreadExecutor) -> None:
        """Count a thread no more that waits for a peer."""
        self._active -= 1
        if executor.awaited and executor.all_wait:
            self.give(executor)
        elif self._needy:
            self.share_out()

    def end_wait(self) -> None:
        """Count it again; there may be too many then until one is idle."""
        self._active += 1

    def set_idle(self, thread: ConnectionThread, idle: bool) -> None:
        """Note whether a thread has nothing to do."""
        if idle:
            self._idle[thread] = None
        else:
            del self._idle[thread]

    def forget(self, thread: ConnectionThread) -> None:
        """Count a thread no more that ends."""
        self._active -= 1
        self.threads.discard(thread)
        self._idle.pop(thread, None)


class ThreadExecutor:
    """Runs the plain functions of one connection, in its thread and context."""

    def __init__(
        self,
        threads: ConnectionThreads,
        context: SharedContext,
        call_later: CallLater,
        width: int,
        kept: int,
    ) -> None:
        self._all = threads
        self._call_later = call_later
        self._watched = False  # whether somebody looks whether the functions that wait are stuck
        self._lock = threads.lock
        self._context = context
        self._width = width
        self._kept = kept
        self.nests = True  # until the peer is known to tell what has caused its requests
        self.name: Callable[[], str] = str  # returns the name of the connection for the log
        self.threads: list[ConnectionThread] = []  # as many as may run at once are kept
        self.jobs: deque[Job] = deque()
        self.awaited: deque[Job] = deque()  # run before those
        self.last: Job | None = None
        self.closed = False
        self.needy = False  # whether it is to get a thread
        self._begun = 0  # functions, those not counted that ran while a thread waited
        self._overdue = False  # whether jobs run though the threads that are kept wait

    def submit(
        self, job: Job, thread: Any = None, *, first: bool = False, awaited: bool = False
    ) -> None:
        """Have a function run; see :class:`Executor`."""
        try:
            refused = self._submit(job, thread, first, awaited)
        finally:
            self._all.log.flush()
        for other in refused:
            self._refuse(other)

    def _submit(self, job: Job, thread: Any, first: bool, awaited: bool) -> list[Refusable]:
        with self._lock:
            if self._all.closed:
                return []
            if first and self.threads:
                self.threads[0].give(job)
                return []
            if thread is not None and thread in self.threads:
                if thread.serves or not thread.waits:
                    thread.give_nested(job)
                    return []
                awaited = True  # that thread waits for something else
            if awaited and len(self.threads) >= _MOST_AT_ONCE:
                raise RecursionError(TOO_DEEP)
            if not first and self._all.strict and not self.threads and self._all.full:
                threads, most = len(self._all.threads) + 1, self._all.most
                what = "threads of connections (call again when another one has ended)"
                raise LimitExceeded(what, threads, most, argument="max_threads")
            (self.awaited if awaited else self.jobs).append(job)
            self._all.refusal = None  # of an earlier attempt
            if self._offered(awaited):
                return []
            refused = self._take_refused()
            if self._watched or not (self.jobs or self.awaited):
                return refused
            self._watched = True
            begun = self._begun
        self._call_later(_PATIENCE, self._look, begun)
        return refused

    def _take_refused(self) -> list[Refusable]:
        """Return the jobs for which there is no thread, and will be none; forget them."""
        refused: list[Refusable] = []
        if self.needy and self._all.refusal is not None and self.all_wait:
            for jobs in [self.awaited] if self.threads else [self.awaited, self.jobs]:
                refused += [job for job in jobs if isinstance(job, Refusable)]
                kept = [job for job in jobs if not isinstance(job, Refusable)]
                jobs.clear()
                jobs.extend(kept)
        return refused

    def _refuse(self, job: Refusable) -> None:
        error = RuntimeError(
            "expected a thread for this call, got none: the server's system starts no more (call "
            "again later, or raise its limit of threads, as with 'ulimit -u')"
        )
        self.attempt(partial(job.refuse, error))

    def _offered(self, awaited: bool) -> bool:
        """Return whether a thread will look for something to do.

        Args:
            awaited: whether it is something that must not wait for a thread that waits itself.
        """
        for thread in self.threads:
            # One that has just done something looks again before it sleeps. Where calls may run at
            # once, one that comes after another is served in the same thread so.
            looks = not thread.busy and (thread.serves or not thread.waits)
            if thread.idle or (looks and len(self.jobs) + len(self.awaited) == 1):
                thread.rouse()
                return True
            if self.nests and thread.serves:
                thread.rouse()
                return False  # it may stop waiting at this moment, and be busy for long
        if len(self.threads) < self._width or (awaited and self.all_wait):
            self._all.give(self)
            return not self.needy  # else looked at again: the system may be out of threads
        return False

    @property
    def all_wait(self) -> bool:
        """Whether each thread waits for a peer."""
        return all(thread.waits for thread in self.threads)

    @property
    def needs_thread(self) -> bool:
        """Whether there is something to run, and no thread that will."""
        if self.jobs and (self._overdue or len(self.threads) < self._width):
            return True
        return bool(self.awaited) or (self.last is not None and not self.threads)

    def begin_with(self, thread: ConnectionThread) -> None:
        """Have a new thread do first what others wait for, whatever the other threads do by now."""
        if self.awaited:
            self._begun += 1
            thread.give(self.awaited.popleft())

    def _look(self, begun: int) -> None:
        """Run the next function in another thread, if the connection's waits for a peer for long.

        What it waits for may depend on that function, in ways that this side cannot see: a client
        may have several threads. Or it waits in this process, for a lock that another connection's
        function holds while it waits for this peer.

        Args:
            begun: how many functions had been begun at the last look.
        """
        with self._lock:
            self._all.refusal = None  # of an earlier attempt
            if self._begun == begun and (self.awaited or self.all_wait):
                self._overdue = self.all_wait
                self._all.give(self)
            refused = self._take_refused()
            self._watched = bool(self.jobs or self.awaited) or self.needy
            begun = self._begun
        self._all.log.flush()
        for job in refused:
            self._refuse(job)
        if self._watched:
            self._call_later(_PATIENCE, self._look, begun)

    def close(self, last: Job | None = None) -> None:
        """End when everything has been done; see :class:`Executor`."""
        try:
            self._close(last)
        finally:
            self._all.log.flush()

    def _close(self, last: Job | None) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self.last = last
            if self.threads:
                for thread in list(self.threads):
                    if thread.idle:
                        thread.rouse()
            elif self.needs_thread:
                self._all.give(self)
            if not self.needy or self._watched:
                return
            self._watched = True
            begun = self._begun
        with suppress(RuntimeError):  # the loop is closed: nobody looks again
            self._call_later(_PATIENCE, self._look, begun)

    def take(self, thread: ConnectionThread) -> Job | None:
        """Return what a thread does next that waits for nothing. The caller holds the lock."""
        first = self.threads[0] is thread
        if not first and sum(not other.waits for other in self.threads) > self._width:
            return None  # the thread that it stood in for has come back
        if first:
            self._overdue = False
        stands_in = self.threads.index(thread) >= self._width
        jobs = self.jobs if not self.awaited else self.awaited
        if jobs and (jobs is self.awaited or self._overdue or not stands_in):
            self._begun += 1
            job = jobs.popleft()
            if self.jobs and len(self.threads) < self._width:
                self._all.give(self)
            return job
        if first and self.last is not None:
            last, self.last = self.last, None
            return last
        return None

    def keeps(self, thread: ConnectionThread) -> bool:
        """Return whether a thread without work stays with the connection."""
        return (
            not self.closed and thread in self.threads and self.threads.index(thread) < self._kept
        )

    def run(self, job: Job, thread: ConnectionThread) -> None:
        """Run a function in the connection's context, in a thread that is not in it yet."""
        after = self._context.run(self.attempt, job)
        thread.busy = False
        self.attempt(after)

    def attempt(self, func: Callable[[], T] | None) -> T | None:
        """Run a function, and log what it raises."""
        try:
            return None if func is None else func()
        except BaseException:
            logger.exception("! %s: a function of the connection failed", self.name())
            return None


class ConnectionThread:
    """A thread of a connection.

    :meth:`give`, :meth:`give_nested`, :meth:`rouse` and :meth:`end` are called with the lock of
    :class:`ConnectionThreads` held. :meth:`work` and :meth:`wait` take that lock themselves.
    :meth:`wake` needs none.
    """

    def __init__(self, threads: ConnectionThreads, executor: ThreadExecutor) -> None:
        self._all = threads
        self._lock = threads.lock
        self._signal = primitives.Lock()  # released to wake the thread
        self._signal.acquire()
        self._inbox: deque[Job] = deque()  # run before all else, also while it waits
        self._nested: deque[Job] = deque()  # what its own requests have caused
        self._ended = False
        self.executor = executor
        self.idle = False
        self.busy = False
        """Whether it runs a function of the program."""
        self.waits = False
        """Whether it waits for a peer, and does nothing meanwhile."""
        self.serves = False
        """Whether it does what that peer asks while it waits: it waits on its own connection."""

    # -- from other threads

    def give(self, job: Job) -> None:
        """Have it run a function before others, also while it waits."""
        self._inbox.append(job)
        self.rouse()

    def give_nested(self, job: Job) -> None:
        """Have it run what one of its own requests has caused, before others."""
        self._nested.append(job)
        self.rouse()

    def rouse(self) -> None:
        """Have it look for work."""
        if self.idle:
            self.idle = False
            self._all.set_idle(self, False)
        self.wake()

    def end(self) -> None:
        """Have an idle thread end."""
        self._leave()
        self.wake()

    def wake(self) -> None:
        """End its sleep, or the next one. Needs no lock."""
        try:
            self._signal.release()
        except RuntimeError:
            pass  # awake already

    # -- in the thread itself

    def work(self) -> None:
        """Run functions until the connection has ended."""
        here.pool = self
        while True:
            with self._lock:
                job = None if self._ended else self._next()
                ended = self._ended
                self.busy = job is not None
            self._all.log.flush()
            if ended:
                return
            if job is None:
                self._signal.acquire()
            else:
                self.executor.run(job, self)

    def _next(self) -> Job | None:
        """Return what to do next; None if the thread is to sleep, or has ended."""
        if self._inbox or self._nested:
            return (self._inbox or self._nested).popleft()
        job = self.executor.take(self)
        if job is None and not self.idle:
            executor = self.executor
            threads = self._all
            kept = executor.keeps(self) and not threads.closed
            if kept and not threads.wanted:
                self.idle = True
                threads.set_idle(self, True)
            else:
                if kept:
                    threads.warn()
                self._leave()
                threads.share_out()
        return job

    def _leave(self) -> None:
        self._ended = True
        self.executor.threads.remove(self)
        self._all.forget(self)

    def wait(self, ready: Callable[[], bool], look: Callable[[], object], seconds: float) -> None:
        """Wait for a peer, and run what must not wait for that.

        Args:
            ready: whether the wait is over; :meth:`wake` is called then.
            look: called every so many seconds; may raise something.
        """
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise LocalProtocolError(
                "a finalizer asks the peer while its thread is being given work, and other "
                "connections could not go on; expected async_(...) without waiting"
            )
        before = self._set_waiting(True, True)
        try:
            while not ready():
                with self._lock:
                    within = self.busy
                    job = self._next_nested()
                    self.busy = within or job is not None
                if job is not None:
                    self._set_waiting(False, False)
                    if within:
                        attempt = self.executor.attempt
                        attempt(attempt(job))  # in the context of what waits
                    else:
                        self.executor.run(job, self)
                    self._set_waiting(True, True)
                elif not self._signal.acquire(True, seconds):
                    look()
        finally:
            self._set_waiting(*before)

    def _next_nested(self) -> Job | None:
        if self._inbox or self._nested:
            return (self._inbox or self._nested).popleft()
        executor = self.executor
        if executor.nests or not self.busy:
            # A finalizer that waits between two functions must not hold up the next one.
            jobs = executor.awaited or executor.jobs
            return jobs.popleft() if jobs else None
        return None

    def _set_waiting(self, waits: bool, serves: bool) -> tuple[bool, bool]:
        """Note whether it waits for a peer, and serves that meanwhile; return what was noted."""
        with self._lock:
            before = self.waits, self.serves
            self.waits, self.serves = waits, serves
            if waits and not serves:
                # On another connection it serves nothing, and may wait for just that.
                self.executor.awaited.extend(self._nested)
                self._nested.clear()
            if waits and not before[0]:
                self._all.begin_wait(self.executor)
            elif before[0] and not waits:
                self._all.end_wait()
        self._all.log.flush()
        return before

    # What lib.workers.waiting() calls, when the thread waits on another connection.

    def _begin_wait(self, lane: object) -> None:
        self._set_waiting(True, False)

    def _end_wait(self, lane: object) -> None:
        self._set_waiting(False, False)


def current_thread(executor: Executor | None) -> ConnectionThread | None:
    """Return the current thread if it is one of a connection's."""
    thread: Any = here.pool
    if type(thread) is ConnectionThread and thread.executor is executor:
        return thread
    return None
