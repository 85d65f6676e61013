"""A bounded pool of threads in which a thread that waits is replaced.

Work comes in lanes. What is in one lane runs in order, usually one at a time; but while a function
of the lane waits for an answer, the next one may run, because the answer may depend on it.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from threading import current_thread, local
from typing import Any, Protocol

from ..errors import LocalProtocolError
from . import primitives
from .logging_setup import LateLog
from .subinterpreters import MAIN
from .threads import spawn

__all__ = ["WorkerPool", "here", "in_pool", "refusing_to_wait", "waiting"]

logger = logging.getLogger("rpyc_like.lib")


class Replaces(Protocol):
    """Counts the threads that run functions; has others take their place while they wait."""

    def _begin_wait(self, lane: Any) -> None: ...

    def _end_wait(self, lane: Any) -> None: ...


class _CurrentWorker(local):
    """The pool that the current thread works for."""

    pool: Replaces | None = None
    lane: _SerialQueue | None = None
    run: _Run | None = None
    waits = False  # also while it serves something that came in meanwhile


here = _CurrentWorker()
"""What :func:`in_pool` looks at."""


def in_pool() -> bool:
    """Returns whether the current thread is one of a pool's."""
    return here.pool is not None


@contextlib.contextmanager
def waiting(for_room: bool = False) -> Iterator[None]:
    """Says that the current thread waits in the block; a pool's thread is replaced meanwhile.

    Args:
        for_room: whether it waits until a peer reads. That peer's further requests wait too.
    """
    pool, lane = here.pool, here.lane
    if pool is None or here.waits or (here.run is not None and here.run.overtaken):
        yield
        return
    here.waits = True
    pool._begin_wait(None if for_room else lane)
    try:
        yield
    finally:
        pool._end_wait(None if for_room else lane)
        here.waits = False


class _Unable:
    """Stands for the pool of a thread whose function may not wait."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _begin_wait(self, lane: Any) -> None:
        raise LocalProtocolError(self._text)

    def _end_wait(self, lane: Any) -> None:
        """Does nothing: no wait has begun."""


class refusing_to_wait:  # noqa: N801 -- used as a statement
    """Have the current thread get LocalProtocolError in the block where it would wait for a peer.

    Args:
        text: says why.
    """

    def __init__(self, text: str) -> None:
        self._pool = _Unable(text)

    def __enter__(self) -> None:
        self._before = here.pool, here.run, here.waits
        here.pool, here.run, here.waits = self._pool, None, False

    def __exit__(self, *exc: object) -> None:
        here.pool, here.run, here.waits = self._before


class _SerialQueue:
    """Work that is done in order."""

    __slots__ = ("key", "queued", "run", "runners", "width", "work")

    def __init__(self, key: Hashable, width: int) -> None:
        self.key = key
        self.width = width
        self.work: deque[Callable[[], object]] = deque()
        self.runners = 0  # threads that run something of it and do not wait
        self.queued = False
        self.run: _Run | None = None  # of the thread that has begun last


class _Run:
    """A thread's work on a lane."""

    __slots__ = ("overtaken",)

    def __init__(self) -> None:
        self.overtaken = False


class WorkerPool:
    """Threads that run functions.

    Args:
        size: how many threads may run at once, not counting those that wait.
        batch: how many functions of a lane a thread runs before it looks at other lanes.
        idle: seconds after which a thread without work ends.
    """

    def __init__(self, size: int, batch: int = 10, idle: float = 10.0) -> None:
        if size < 1:
            raise ValueError(f"expected a pool of at least 1 thread, got {size}")
        self._size = size
        self._batch = max(1, batch)
        self._idle_limit = idle if MAIN else 0.0  # no thread may be left in the others
        self._lock = primitives.RLock()  # guards everything below
        self._changed = primitives.Condition(self._lock)
        self._log = LateLog(logger, self._lock._is_owned)  # type: ignore[attr-defined]
        self._lanes: dict[Hashable, _SerialQueue] = {}
        self._ready: deque[_SerialQueue] = deque()
        self._active = 0  # threads that do not wait for anything but work
        self._idle = 0  # of those, who wait for work
        self._closed = False
        self.threads: set[primitives.Thread] = set()
        self.lacks_threads = False
        """Whether the system has refused a thread; :meth:`start_again` tries once more."""

    @property
    def entered(self) -> bool:
        """Whether the current thread changes the tables at this moment."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def run(self, func: Callable[[], object], lane: Hashable, width: int = 1) -> None:
        """Has a function run, after those that were given for the same lane before.

        After :meth:`close` it does nothing.

        Args:
            width: how many functions of the lane may run at once; they begin in order.
        """
        with self._lock:
            if self._closed:
                return
            found = self._lanes.get(lane)
            if found is None:
                found = self._lanes[lane] = _SerialQueue(lane, width)
            found.work.append(func)
            self._offer(found)
            if self.lacks_threads:
                self.start_again()
        self._log.flush()

    def start_again(self) -> None:
        """Try once more to start a thread, which the system has refused, if work waits for one."""
        with self._lock:
            self.lacks_threads = bool(self._ready)
            if self.lacks_threads:
                self._call()
        self._log.flush()

    def overtake(self, lane: Hashable) -> None:
        """Has the next function of a lane run, though the last one has not ended; it is given up.

        The thread that runs that one does not count until it comes back.
        """
        with self._lock:
            found = self._lanes.get(lane)
            if found is None or not found.work or found.runners != 1 or found.run is None:
                return
            found.run.overtaken = True
            found.run = None
            found.runners -= 1
            self._active -= 1
            self._offer(found)
        self._log.flush()

    def close(self) -> None:
        """Takes nothing more; the threads end when they have done what there is."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    # The caller of what follows holds the lock.

    def _offer(self, lane: _SerialQueue) -> None:
        """Puts a lane up for the next free thread, if there is something to be done in it."""
        if lane.work and lane.runners < lane.width and not lane.queued:
            lane.queued = True
            self._ready.append(lane)
            self._call()

    def _call(self) -> None:
        """Sees to it that a thread looks for work."""
        if self._idle:
            self._changed.notify()
        elif self._active < self._size:
            self._active += 1
            try:
                self.threads.add(spawn(self._work))
            except RuntimeError as error:  # the system has no more threads
                self._active -= 1
                if not self.lacks_threads:
                    self.lacks_threads = True
                    self._log.add("! cannot start a thread: %s", error)
            except BaseException:
                self._active -= 1
                raise
            else:
                self.lacks_threads = False

    def _next(self) -> _SerialQueue | None:
        """Waits for a lane to work on; None means that the thread is not needed any more."""
        while not self._ready:
            if self._closed or self._active > self._size:
                return None
            self._idle += 1
            told = self._changed.wait(self._idle_limit)
            self._idle -= 1
            if not told and not self._ready:
                return None
        if self._active > self._size:
            return None
        lane = self._ready.popleft()
        lane.queued = False
        lane.runners += 1
        if len(lane.work) > 1:
            self._offer(lane)
        if self._ready:
            self._call()  # several may have been offered before this thread woke up
        return lane

    # A worker.

    def _work(self) -> None:
        here.pool = self
        try:
            while self._work_on_lane():
                pass
        finally:  # also of SystemExit and the like, which end the thread: another one goes on
            with self._lock:
                self._leave()
            self._log.flush()

    def _work_on_lane(self) -> bool:
        """Run what waits in one lane; return whether the thread is needed still."""
        with self._lock:
            lane = self._next()
        self._log.flush()
        if lane is None:
            return False
        run = here.run = _Run()
        here.lane = lane
        try:
            self._run_lane(lane, run)
        finally:
            here.lane = here.run = None
            with self._lock:
                self._end_run(lane, run)
            self._log.flush()
        return True

    def _run_lane(self, lane: _SerialQueue, run: _Run) -> None:
        for _ in range(self._batch):
            with self._lock:
                if run.overtaken or not lane.work or lane.runners > lane.width:
                    break
                func = lane.work.popleft()
                lane.run = run
            try:
                func()
            except Exception:
                logger.exception(
                    "! %s: a function failed (lane %r)", current_thread().name, lane.key
                )

    def _end_run(self, lane: _SerialQueue, run: _Run) -> None:
        if run.overtaken:
            self._active += 1
        else:
            lane.runners -= 1
            if lane.run is run:
                lane.run = None
        if lane.work:
            self._offer(lane)
        elif not lane.runners and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def _leave(self) -> None:
        self._active -= 1
        self.threads.discard(current_thread())
        if self._ready:
            self._call()

    def _begin_wait(self, lane: _SerialQueue | None) -> None:
        with self._lock:
            self._active -= 1
            if lane is not None:
                lane.runners -= 1
                self._offer(lane)
            if self._ready:
                self._call()
        self._log.flush()

    def _end_wait(self, lane: _SerialQueue | None) -> None:
        with self._lock:
            self._active += 1
            if lane is not None:
                lane.runners += 1
