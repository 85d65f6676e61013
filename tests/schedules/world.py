"""The scheduled primitives, streams and loop, and where they are put in place of the real ones."""

from __future__ import annotations

import asyncio
import concurrent.futures._base
import importlib.util
import itertools
import selectors
import sys
import threading
from collections import deque
from pathlib import Path
from queue import Empty
from types import FrameType, ModuleType
from typing import Any

import rpyc_like
from rpyc_like.errors import ConnectionClosed
from rpyc_like.lib import background_loop, exiting, primitives
from rpyc_like.link import fork
from rpyc_like.link.serve import poller
from rpyc_like.link.streams.base import READ, WRITE, NativeStream

from .scheduler import Dissolved, Scheduler, Task, active

__all__ = ["Loop", "Stream", "Thread", "install", "start_anew", "trace_lines"]


class Lock:
    """A lock."""

    def __init__(self) -> None:
        self._locked = False

    def __repr__(self) -> str:
        return f"<lock {id(self):#x}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        schedule = active()
        if schedule is not None:
            schedule.point()
            if self._locked:
                if not blocking:
                    return False
                self._wait(schedule, None if timeout < 0 else timeout)
        if self._locked:
            return False
        self._locked = True
        return True

    def _wait(self, schedule: Scheduler, timeout: float | None) -> None:
        end = None if timeout is None else schedule.now + timeout
        while self._locked:
            if end is not None and schedule.now >= end:
                return
            schedule.block(self, None if end is None else end - schedule.now)

    def release(self) -> None:
        schedule = active()
        if schedule is not None:
            schedule.point()
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False
        if schedule is not None:
            schedule.wake(self)
            schedule.point()

    def locked(self) -> bool:
        return self._locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


class RLock:
    """A lock that its owner may take again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: int | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = threading.get_ident()
        if self._owner != me:
            if not self._lock.acquire(blocking, timeout):
                return False
            self._owner = me
        self._count += 1
        return True

    def release(self) -> None:
        if self._owner != threading.get_ident():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    def _is_owned(self) -> bool:
        return self._owner == threading.get_ident()

    def give_all_back(self) -> int:
        count, self._count, self._owner = self._count, 0, None
        self._lock.release()
        return count

    def take_all_again(self, count: int) -> None:
        self._lock.acquire()
        self._count, self._owner = count, threading.get_ident()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


class Condition:
    """A condition variable."""

    def __init__(self, lock: Any = None) -> None:
        self._lock = RLock() if lock is None else lock
        self._waiting: deque[Lock] = deque()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def _is_owned(self) -> bool:
        return type(self._lock) is RLock and self._lock._is_owned()

    def __enter__(self) -> bool:
        return bool(self._lock.acquire())

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        signal = Lock()
        signal._locked = True
        self._waiting.append(signal)
        count = self._lock.give_all_back() if type(self._lock) is RLock else 0
        if not count:
            self._lock.release()
        woken = False
        try:
            woken = signal.acquire(True, -1 if timeout is None else max(0.0, timeout))
        finally:
            if not woken and signal in self._waiting:
                self._waiting.remove(signal)
            if count:
                self._lock.take_all_again(count)
            else:
                self._lock.acquire()
        return woken

    def wait_for(self, predicate: Any, timeout: float | None = None) -> Any:
        end = None if timeout is None else monotonic() + timeout
        result = predicate()
        while not result:
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        while n > 0 and self._waiting:
            n -= 1
            self._waiting.popleft().release()

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """A flag to wait for."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        schedule = active()
        if schedule is not None:
            schedule.point()
        self._set = True
        if schedule is not None:
            schedule.wake(self)
            schedule.point()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        schedule = active()
        if schedule is not None:
            schedule.point()
            end = None if timeout is None else schedule.now + timeout
            while not self._set and (end is None or schedule.now < end):
                schedule.block(self, None if end is None else end - schedule.now)
        return self._set


class SimpleQueue:
    """A queue whose :meth:`put` may be used in finalizers."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()

    def __class_getitem__(cls, item: object) -> type:
        return cls

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._items.append(item)
        schedule = active()
        if schedule is not None:
            schedule.wake(self)
            schedule.point()

    put_nowait = put

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        schedule = active()
        if schedule is not None and block:
            schedule.point()
            end = None if timeout is None else schedule.now + timeout
            while not self._items and (end is None or schedule.now < end):
                schedule.block(self, None if end is None else end - schedule.now)
        if not self._items:
            raise Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        return self.get(False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class Thread(threading.Thread):
    """A thread that runs when the schedule says so."""

    task: Task | None = None
    schedule: Scheduler

    def begin(self) -> None:
        """Start the thread; its task has been added."""
        found = _scheduler_module._active
        assert found is not None
        self.schedule = found
        super().start()

    def start(self) -> None:
        schedule = active()
        if schedule is None:
            raise RuntimeError("a thread is started outside of the schedule")
        if schedule.dissolving:
            return
        self.task = schedule.add(self.name)
        self.begin()
        schedule.point()

    def run(self) -> None:
        assert self.task is not None
        error: BaseException | None = None
        try:
            self.schedule.enter(self.task)
            super().run()
        except (Dissolved, SystemExit):
            pass
        except BaseException as caught:
            error = caught
        self.schedule.leave(self.task, error)

    def join(self, timeout: float | None = None) -> None:
        schedule = active()
        if schedule is None or self.task is None:
            return
        schedule.point()
        end = None if timeout is None else schedule.now + timeout
        while not self.task.done and (end is None or schedule.now < end):
            schedule.block(self.task, None if end is None else end - schedule.now)

    def is_alive(self) -> bool:
        return self.task is not None and not self.task.done


def monotonic() -> float:
    """Return the time of the schedule."""
    schedule = _scheduler_module._active
    return 0.0 if schedule is None else schedule.now


def sleep(seconds: float) -> None:
    """Wait until so much time of the schedule has passed."""
    schedule = active()
    if schedule is not None:
        schedule.point()
        if seconds > 0:
            schedule.block("a sleep", seconds)


# -- streams

_numbers = itertools.count(1_000_000)
_descriptors: dict[int, Any] = {}  # what fake descriptors stand for
_IO = "bytes"


class _Direction:
    """Bytes on their way."""

    def __init__(self, capacity: int) -> None:
        self.data = bytearray()
        self.capacity = capacity
        self.ended = False


class Stream(NativeStream):
    """One end of a pair in memory, whose reads and writes may be cut anywhere.

    Args:
        capacity: bytes that one direction holds.
    """

    def __init__(self, incoming: _Direction, outgoing: _Direction) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._closed = False
        self._number = next(_numbers)
        _descriptors[self._number] = self

    def __repr__(self) -> str:
        return f"<stream {self._number}>"

    @classmethod
    def pair(cls, capacity: int = 1 << 16) -> tuple[Stream, Stream]:
        """Return two connected ends."""
        there, back = _Direction(capacity), _Direction(capacity)
        return cls(there, back), cls(back, there)

    @property
    def closed(self) -> bool:
        return self._closed

    def fileno(self) -> int:
        return self._number

    def hold(self) -> None:
        """Do nothing: the number of a stream is not used again."""

    let_go = hold

    def close(self) -> None:
        self._closed = self._incoming.ended = self._outgoing.ended = True
        _changed()

    def finish(self) -> None:
        self._outgoing.ended = True
        _changed()

    def hung_up(self) -> bool:
        return self._incoming.ended

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        schedule = active()
        if schedule is not None:
            schedule.point()
        if self._closed:
            raise ConnectionClosed("stream is closed")
        data = self._incoming.data
        if not data:
            return b"" if self._incoming.ended else None
        count = _cut(schedule, min(limit, len(data)))
        chunk = bytes(data[:count])
        del data[:count]
        _changed()
        return chunk

    def send_some(self, data: bytes | memoryview) -> int:
        schedule = active()
        if schedule is not None:
            schedule.point()
        side = self._outgoing
        if side.ended:
            raise ConnectionClosed("stream is closed")
        count = min(len(data), side.capacity - len(side.data))
        if count:
            count = _cut(schedule, count)
            side.data += data[:count]
            _changed()
        return count

    def wait(self, events: int, timeout: float | None) -> int:
        schedule = active()
        if schedule is None:
            return self.possible() & events
        schedule.point()
        end = None if timeout is None else schedule.now + timeout
        while not self.possible() & events and (end is None or schedule.now < end):
            schedule.block(_IO, None if end is None else end - schedule.now)
        if self._closed:
            raise ConnectionClosed("stream is closed")
        return self.possible() & events

    def possible(self) -> int:
        """Return the mask of what can be done without waiting."""
        incoming, outgoing = self._incoming, self._outgoing
        readable = READ if incoming.data or incoming.ended else 0
        writable = len(outgoing.data) < outgoing.capacity or outgoing.ended
        return readable | (WRITE if writable else 0)


def _cut(schedule: Scheduler | None, count: int) -> int:
    """Return how many of so many bytes go at once: usually all of them."""
    if schedule is None or schedule.random.random() < 0.9:
        return count
    return schedule.random.randint(1, count)


def _changed() -> None:
    schedule = active()
    if schedule is not None:
        schedule.wake(_IO)
        schedule.point()


class WakePipe:
    """Ends a wait in another thread."""

    def __init__(self) -> None:
        self._number = next(_numbers)
        self._woken = False
        _descriptors[self._number] = self

    def fileno(self) -> int:
        return self._number

    def wake(self) -> None:
        self._woken = True
        _changed()

    def clear(self) -> None:
        self._woken = False

    def close(self) -> None:
        _descriptors.pop(self._number, None)

    def possible(self) -> int:
        """Return READ while it has been woken."""
        return READ if self._woken else 0


class Selector(selectors._BaseSelectorImpl):
    """Waits for scheduled streams."""

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        schedule = active()
        if schedule is None:
            return self._ready()
        schedule.point()
        end = None if timeout is None else schedule.now + timeout
        found = self._ready()
        while not found and (end is None or schedule.now < end):
            schedule.block(_IO, None if end is None else end - schedule.now)
            found = self._ready()
        return found

    def _ready(self) -> list[tuple[Any, int]]:
        found = []
        for key in list(self.get_map().values()):
            events = _descriptors[key.fd].possible() & key.events
            if events:
                found.append((key, events))
        return found


class Loop(asyncio.SelectorEventLoop):
    """An event loop on the clock and the streams of the schedule."""

    def __init__(self) -> None:
        super().__init__(Selector())

    def time(self) -> float:
        return monotonic()

    def _make_self_pipe(self) -> None:
        self._pipe = WakePipe()
        self._internal_fds = 1
        self._add_reader(self._pipe.fileno(), self._pipe.clear)

    def _close_self_pipe(self) -> None:
        self._remove_reader(self._pipe.fileno())
        self._pipe.close()
        self._internal_fds = 0

    def _write_to_self(self) -> None:
        self._pipe.wake()

    def run(self, work: Any) -> Any:
        """Run a coroutine, and close the loop."""
        try:
            return self.run_until_complete(work)
        finally:
            if not self.is_closed() and not self.is_running():
                self.close()


# -- putting it in place

_PACKAGE = Path(rpyc_like.__file__).parent
_WATCHED = {
    str(path)
    for path in (
        *(_PACKAGE / "link").glob("*.py"),
        *(
            _PACKAGE / "lib" / f"{name}.py"
            for name in ("connection_threads", "contexts", "first_use", "threads", "workers")
        ),
        *(_PACKAGE / "core" / name for name in ("protocol.py", "objects.py", "endpoint.py")),
    )
}


def trace_lines() -> None:
    """Tell the schedule about each line of the watched modules that this thread comes to."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frame.f_trace = _trace(frame, "call", None)
        frame = frame.f_back
    sys.settrace(_trace)


def _trace(frame: FrameType, event: str, arg: object) -> Any:
    code = frame.f_code
    if code.co_filename in _WATCHED and code.co_name != "<module>":
        return _trace_line
    return None


def _trace_line(frame: FrameType, event: str, arg: object) -> Any:
    if event == "line":
        schedule = active()
        if schedule is not None:
            schedule.line()
    return _trace_line


class _Threading(ModuleType):
    """Stands for :mod:`threading`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


def install() -> None:
    """Put the scheduled primitives in place, for the rest of the process."""
    for kind in (Lock, RLock, Condition, Event, Thread, SimpleQueue):
        setattr(primitives, kind.__name__, kind)
    fake = _Threading("threading")
    for kind in (Lock, RLock, Condition, Event, Thread):
        setattr(fake, kind.__name__, kind)
    spec = importlib.util.find_spec("queue")
    assert spec is not None and spec.loader is not None
    queues = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(queues)
    queues.__dict__.update(threading=fake, time=monotonic, SimpleQueue=SimpleQueue, Empty=Empty)
    primitives.Queue = queues.Queue  # type: ignore[misc]
    concurrent.futures._base.threading = fake  # type: ignore[attr-defined]
    primitives.monotonic, primitives.sleep = monotonic, sleep
    primitives.DefaultSelector = Selector  # type: ignore[misc,assignment]
    primitives.poll = None
    poller.WakePipe = WakePipe  # type: ignore[misc,assignment]
    asyncio.new_event_loop = Loop  # of lib.background_loop


def start_anew() -> None:
    """Make what the process has once, with the scheduled primitives, for the next schedule."""
    _descriptors.clear()
    for reset in fork._resets:
        reset()
    background_loop._begin_anew()
    exiting.WRITING.start_anew()


from . import scheduler as _scheduler_module  # noqa: E402
