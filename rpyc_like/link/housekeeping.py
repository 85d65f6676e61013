"""The housekeeping thread: one per process, for what goes on beside the calls of connections.

* References that finalizers have queued are given back when nothing else is sent.
* Where all threads of a connection serve requests, or the program computes, the watchdog reads:
  that a request is cancelled, that the peer is gone or alive, answers that callbacks wait for.
* Signs of life are sent and expected, where that is asked for.
* The end of a connection from which nobody reads is noticed. Nothing is read for that: the system
  tells that the peer has hung up, and a thread of its own serves what was sent before.

The thread runs no code of the program and never waits for a peer: it sends what goes at once, and
what may take longer gets a thread. It sleeps while there is nothing to look at. Connections on an
asyncio loop do without it.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConnectionClosed
from ..lib import primitives
from ..lib.exiting import WRITING
from ..lib.first_use import FirstUse
from ..lib.subinterpreters import at_end
from ..lib.threads import spawn, start_thread
from ..wire.session import BROKEN, CALL
from . import fork
from .apart import APART
from .call_registry import name_of
from .interrupted import holds_the_role
from .receiving import FrameReceiver, Waiter
from .streams.base import READ, NativeStream, Stream
from .streams.hangups import Hangups, descriptor_stream, make_hangups

if TYPE_CHECKING:
    from .threaded import ThreadedLink

__all__ = ["DELAY", "LOOK", "PATIENCE", "TICK", "HeartbeatMonitor", "Housekeeper", "housekeeper"]

logger = logging.getLogger("rpyc_like.link")

DELAY = 0.05
"""Seconds after which queued releases are sent at the latest."""

TICK = 0.05
"""Seconds between two looks at connections that serve something."""

LOOK = 0.2
"""Seconds between two looks at peers that may have hung up, or have and are still being read."""

PATIENCE = 0.5
"""Seconds in which nobody reads, after which a thread is started that serves what is left.

A program that polls its connection, from a loop of its own, serves the last messages itself.
"""

_IDLE_TICKS = 2  # looks without a call, after which the watchdog sleeps until there is one
_MOST_KEPT = 1000
"""Messages that are read ahead for a connection's own threads."""

_MOST_REPLACED = 16
"""Threads of one connection that serve what the peer has given up, and do not notice it."""

_DEAD, _SILENT = 2.0, 1.5  # intervals without a sign of life; looked at twice in each


class Flushable(Protocol):
    """Something with a queue that finalizers fill."""

    def flush_released(self) -> bool:
        """Send what goes without waiting; return whether more is left for later."""


class HeartbeatMonitor:
    """Whether a peer gives signs of life.

    Args:
        interval: seconds between two of them.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.silent = False
        self._arrivals = -1
        self._last_arrival = primitives.monotonic()

    def look(self, arrivals: int) -> bool:
        """Return whether the peer must be taken for dead; note whether it is silent.

        Args:
            arrivals: how many bytes have arrived.
        """
        now = primitives.monotonic()
        if arrivals != self._arrivals:
            self._arrivals, self._last_arrival = arrivals, now
        silence = now - self._last_arrival
        self.silent = silence > _SILENT * self.interval
        return silence > _DEAD * self.interval

    def error(self) -> ConnectionClosed:
        """Return the error for a peer that is taken for dead."""
        return ConnectionClosed(
            f"no sign of life from the peer for {_DEAD * self.interval:g} s "
            f"(heartbeats come every {self.interval:g} s)"
        )


class Housekeeper:
    """The thread, and what other threads ask of it."""

    def __init__(self) -> None:
        self.links_with_calls: set[ThreadedLink] = set()
        """Connections that served something when they were last looked at, or have begun to."""
        self.turns = 0
        """How often the thread has woken up."""
        self._ended = False
        self._ends: _Ends | None = None
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything, as a forked child does; the thread starts when it is needed."""
        self.links_with_calls.clear()
        if self._ends is not None:
            self._ends.close()
        self._releases = _Releases()
        self._calls = _Calls(self.links_with_calls)
        self._heartbeats = _Heartbeats()
        self._ends = _Ends()
        self._jobs: list[_Job] = [self._releases, self._calls, self._heartbeats, self._ends]
        self._me = Waiter(0)
        self._ident: int | None = None  # of the thread
        self._asleep = True  # whether the thread must be woken for what is added
        self._thread = FirstUse(lambda: start_thread(self._run, "rpyc_like-housekeeper"))

    # -- what other threads call

    @property
    def asleep(self) -> bool:
        """Whether the thread sleeps until it is woken, or for longer than a tick."""
        return self._asleep

    def start(self) -> None:
        """Start the thread if it does not run. Not for finalizers."""
        self._thread.get()

    def schedule_flush(self, reference: weakref.ref[Any]) -> None:
        """Have a :class:`Flushable` flushed soon. Safe in finalizers and signal handlers."""
        self._releases.queue.put(reference)
        if self._asleep:
            self._wake()

    def watch_calls(self, link: ThreadedLink) -> None:
        """Look after a connection as long as it serves something."""
        self.links_with_calls.add(link)
        if self._asleep:
            self.start()
            self._wake()

    def start_heartbeat(self, link: ThreadedLink, monitor: HeartbeatMonitor) -> None:
        """Send and expect signs of life until the connection is gone."""
        link.heart = monitor
        self._heartbeats.coming.put((weakref.ref(link), monitor))
        self.start()
        self._wake()

    def watch_end(self, link: ThreadedLink, by_looking: bool = False) -> None:
        """Notice when the peer of a connection has hung up, also while nobody reads.

        Args:
            by_looking: also where that takes a look now and then, because the system does not tell.
        """
        assert self._ends is not None
        if self._ends.watch(link, by_looking):
            self.start()
            self._wake()

    # -- the thread

    def is_current(self) -> bool:
        """Return whether the current thread is the housekeeping thread."""
        return self._ident == get_ident()

    def _wake(self) -> None:
        # No lock, and in this order: finalizers and signal handlers come here, even in the thread.
        self._asleep = False
        self._me.wake()
        assert self._ends is not None
        self._ends.wake()

    def _run(self) -> None:
        self._ident = get_ident()
        while not self._ended:
            self.turns += 1
            try:
                self._turn()
            except Exception as error:
                _log_apart(error, "! the housekeeping thread failed, and goes on")
                primitives.sleep(TICK)

    def _turn(self) -> None:
        """Sleep until something is due, and do what is due."""
        assert self._ends is not None
        self._me.arm()
        self._asleep = True  # what comes from now on wakes this thread; the rest is seen below
        timeout = self._time_left()
        if timeout is not None and timeout <= TICK:
            self._asleep = False
        if not self._ended:
            self._ends.sleep(timeout, self._me)
        self._asleep = False
        for job in self._jobs:
            job.do_what_is_due()

    def _time_left(self) -> float | None:
        dues = [due for job in self._jobs if (due := job.due()) is not None]
        return max(0.001, min(dues) - primitives.monotonic()) if dues else None

    def end(self) -> None:
        """End the thread."""
        self._ended = True
        self._wake()


class _Job:
    """Something that the thread does. Its methods are for the thread only."""

    def due(self) -> float | None:
        """Return when there is something to do next, on the monotonic clock."""
        raise NotImplementedError

    def do_what_is_due(self) -> None:
        raise NotImplementedError


class _Releases(_Job):
    """Flushes what finalizers have queued, a moment after the first of it."""

    def __init__(self) -> None:
        self.queue: primitives.SimpleQueue[weakref.ref[Flushable]] = primitives.SimpleQueue()
        self._due: float | None = None

    def due(self) -> float | None:
        if self._due is None and not self.queue.empty():
            self._due = primitives.monotonic() + DELAY
        return self._due

    def do_what_is_due(self) -> None:
        if self._due is None or primitives.monotonic() < self._due:
            return
        self._due = None
        for _ in range(self.queue.qsize()):
            reference = self.queue.get()
            flushable = reference()
            if flushable is not None and _guarded(_flush, flushable):
                self.queue.put(reference)


class _Calls(_Job):
    """The watchdog of connections that serve requests."""

    def __init__(self, links: set[ThreadedLink]) -> None:
        self._links = links
        self._due: float | None = None
        self._idle = 0  # looks in a row at which nothing was being served

    def due(self) -> float | None:
        if self._due is None and self._links:
            self._due, self._idle = primitives.monotonic() + TICK, 0
        return self._due

    def do_what_is_due(self) -> None:
        if self._due is None or primitives.monotonic() < self._due:
            return
        self._idle = 0 if self._links else self._idle + 1
        self.look()
        # A call that follows soon, as calls do, need not wake the thread.
        self._due = primitives.monotonic() + TICK if self._idle < _IDLE_TICKS else None

    def look(self) -> None:
        """Look at all connections that serve something."""
        for link in list(self._links):
            _guarded(self._check_calls, link)

    def _check_calls(self, link: ThreadedLink) -> None:
        running = set(link.running)
        long, link.attended = running & link.attended, running
        lost = link.lost_requests is not None and link.lost_requests.look(link)
        if not running and not lost:
            self._links.discard(link)
            if link.running:  # what has begun since the look has found it still watched
                self._links.add(link)
        elif long:
            _read(link)
            if all(map(link.calls.is_cancelled, running)) and len(running) <= _MOST_REPLACED:
                if link.overtake is not None:
                    link.overtake()
                elif any(outcome[0] is CALL for outcome in list(link.stash)):
                    with contextlib.suppress(RuntimeError):  # no more threads: at the next look
                        link.serve_instead()


_Watched = tuple["weakref.ref[ThreadedLink]", HeartbeatMonitor]


class _Heartbeats(_Job):
    """Sends signs of life and looks for those of peers."""

    def __init__(self) -> None:
        self.coming: primitives.SimpleQueue[_Watched] = primitives.SimpleQueue()
        self._watched: list[tuple[float, _Watched]] = []  # when to look at it

    def due(self) -> float | None:
        while not self.coming.empty():
            self._watched.append((0.0, self.coming.get()))
        return min((due for due, _ in self._watched), default=None)

    def do_what_is_due(self) -> None:
        now = primitives.monotonic()
        self._watched = [(self._check(due, now, one), one) for due, one in self._remaining()]

    def _remaining(self) -> Iterator[tuple[float, _Watched]]:
        for due, one in self._watched:
            link = one[0]()
            if link is not None and not link.end._ready and link.heart is one[1]:
                yield due, one

    def _check(self, due: float, now: float, one: _Watched) -> float:
        """Look at a peer if it is time; return when to do it again."""
        if now < due:
            return due
        link = one[0]()
        if link is not None:
            _guarded(_check_heartbeat, link)
        return now + one[1].interval / 2


class _HungUp:
    """A connection whose peer has hung up, and may be read to its end by a thread of its own."""

    def __init__(self, link: ThreadedLink) -> None:
        self._link = weakref.ref(link)
        self._arrivals = getattr(link.receiver, "arrivals", 0)
        self._since = primitives.monotonic()  # nobody has been seen reading

    def goes_on(self, now: float) -> bool:
        """Have what is left served, if nobody else does; return whether to look again."""
        link = self._link()
        if link is None or link.end._ready or link.pooled:
            return False
        arrivals = getattr(link.receiver, "arrivals", 0)
        if arrivals != self._arrivals or link.reading.lock.locked() or link.running:
            self._arrivals, self._since = arrivals, now
        if now - self._since < PATIENCE:
            return True
        try:
            spawn(link.serve_what_is_left)
        except RuntimeError:  # the system has no more threads
            return True
        return False


class _Ends(_Job):
    """Notices that peers have hung up on connections that nobody reads from.

    Descriptors are watched by whichever thread makes a connection. They leave before they are
    closed, in the thread that closes them.
    """

    def __init__(self) -> None:
        self._hangups: FirstUse[Hangups | None] = FirstUse(make_hangups)
        self._watched: dict[int, weakref.ref[ThreadedLink]] = {}  # by descriptor
        self._coming: primitives.SimpleQueue[weakref.ref[ThreadedLink]]
        self._coming = primitives.SimpleQueue()
        self._looked_at: list[weakref.ref[ThreadedLink]] = []
        self._hung_up: list[_HungUp] = []
        self._due: float | None = None
        # Whether the thread waits for what is watched, each time that it sleeps. It does not yet
        # if nothing could be watched when it fell asleep.
        self._waits = False

    def watch(self, link: ThreadedLink, by_looking: bool) -> bool:
        """Watch a connection; return whether the thread must be woken for it."""
        stream = getattr(link.channel, "stream", None)
        below = descriptor_stream(stream)
        hangups = None
        if below is not None:
            with contextlib.suppress(OSError):  # no descriptors are left
                hangups = self._hangups.get()
        if below is not None and hangups is not None:
            try:
                fd = below.fileno()
                below.before_close(self._leave)
            except ConnectionClosed:
                return False
            self._watched[fd] = weakref.ref(link)  # before: the other thread may renew them
            if hangups.add(fd):
                return not self._waits
            self._watched.pop(fd, None)
        if by_looking and isinstance(stream, Stream):
            self._coming.put(weakref.ref(link))
            return True
        return False

    def _leave(self, fd: int) -> None:
        """Stop watching a descriptor that is about to be closed."""
        if self._watched.pop(fd, None) is not None and self._hangups.made is not None:
            self._hangups.made.remove(fd)

    def wake(self) -> None:
        """End :meth:`sleep` in the other thread."""
        if self._hangups.made is not None:
            self._hangups.made.wake()

    def close(self) -> None:
        """Give descriptors back; the thread is another process's."""
        if self._hangups.made is not None:
            self._hangups.made.close()

    # -- the thread

    def sleep(self, timeout: float | None, me: Waiter) -> None:
        """Sleep until somebody hangs up, the time is over, or the thread is woken."""
        hangups = self._hangups.made
        if hangups is None:
            me.sleep(timeout)
            return
        self._waits = True
        for fd in hangups.wait(timeout):
            link = self._link_of(fd, hangups)
            if link is not None:
                self._hung_up.append(_HungUp(link))

    def _link_of(self, fd: int, hangups: Hangups) -> ThreadedLink | None:
        """Return the connection whose peer has hung up, and stop watching it."""
        reference = self._watched.pop(fd, None)
        removed = hangups.remove(fd)
        link = None if reference is None else reference()
        if reference is not None and link is not None and self._is_of(fd, link):
            if link.channel.stream.hung_up():
                return link
            self._watched[fd] = reference
            removed = False
        if not removed:
            # The number has come to mean another file, while a child of this process, say, has
            # the one that was registered still open. Only a new object forgets that.
            try:
                hangups.renew(self._watched)
            except OSError:  # no descriptors are left; the number comes again until there are some
                primitives.sleep(TICK)
        return None

    @staticmethod
    def _is_of(fd: int, link: ThreadedLink) -> bool:
        """Return whether a descriptor is a connection's, which may have moved to another one."""
        stream = descriptor_stream(link.channel.stream)
        try:
            return stream is not None and stream.fileno() == fd
        except ConnectionClosed:
            return False

    def due(self) -> float | None:
        while not self._coming.empty():
            coming = self._coming.get()
            if coming not in self._looked_at:
                self._looked_at.append(coming)
        if self._due is None and (self._hung_up or self._looked_at):
            self._due = primitives.monotonic() + LOOK
        return self._due

    def do_what_is_due(self) -> None:
        now = primitives.monotonic()
        if self._due is None or now < self._due:
            return
        self._due = None
        self._looked_at = [one for one in self._looked_at if self._is_there(one)]
        self._hung_up = [one for one in self._hung_up if one.goes_on(now)]

    def _is_there(self, reference: weakref.ref[ThreadedLink]) -> bool:
        """Return whether to look at a connection again, whose peer has not hung up."""
        link = reference()
        if link is None or link.end._ready:
            return False
        if link.channel.stream.hung_up():
            self._hung_up.append(_HungUp(link))
            return False
        return True


def _log_apart(error: BaseException, text: str, *args: object) -> None:
    """Log an error, which the thread of the housekeeper leaves to another one.

    A log handler may ask a peer, and wait for it.
    """

    def log() -> None:
        with WRITING as allowed:
            if allowed:
                logger.error(text, *args, exc_info=error)

    if housekeeper.is_current():
        with contextlib.suppress(RuntimeError):  # the system has no more threads
            spawn(log)
            return
    log()


def _guarded(func: Callable[[Any], Any], subject: Any) -> Any:
    """Return ``func(subject)``, ``None`` if it fails, which is logged with the connection."""
    try:
        return func(subject)
    except EOFError:
        pass  # it was closed meanwhile
    except Exception as error:
        connection = name_of(getattr(subject, "application", subject))
        _log_apart(error, "! %s: %s failed", connection, func.__name__.lstrip("_"))


def _flush(flushable: Flushable) -> bool:
    return flushable.flush_released()


def _read(link: ThreadedLink) -> None:
    """Take in what has arrived, if nobody else does. Here, unless that may take long."""
    if not _may_read(link):
        return
    if link.channel.stream.hung_up():  # which may have a reason that a process must be asked for
        with contextlib.suppress(RuntimeError):  # the system has no more threads: later, then
            spawn(_read_now, link)
    else:
        _read_now(link)


def _may_read(link: ThreadedLink) -> bool:
    return not (
        link.pooled
        or link.end._ready
        or link.dispatch is not None
        or type(link.receiver) is not FrameReceiver
        or link.reading.offered is not None
        or link.reading.lock.locked()
    )


@holds_the_role
def _read_now(link: ThreadedLink) -> None:
    if not _may_read(link) or not link.reading.enter():
        return
    receiver = link.receiver
    assert isinstance(receiver, FrameReceiver)
    if not link.stash:
        link.kept_from = receiver.arrivals
    handed_on = False  # whether another thread has the role, and leaves it
    try:
        while (
            len(link.stash) < _MOST_KEPT
            and not link.queued.full
            and receiver.arrivals - link.kept_from <= receiver.max_queued
        ):
            outcome = link.read_quickly()
            if outcome is None or outcome[0] is BROKEN:
                break
            if outcome[0] is APART:
                handed_on = True
                _decode_apart(link, outcome[1])
                return
            if len(outcome) > 1 and not (
                outcome[0] is CALL and link.application.serve_at_once(*outcome[1:])
            ):
                link.stash.append(outcome)
        link.leave_kept_requests()
    finally:
        if not handed_on:
            link.reading.leave()
    if link.end._ready:
        link.have_told()


def _decode_apart(link: ThreadedLink, payload: bytes) -> None:
    """Have a message that takes long decoded in a thread of its own."""
    try:
        spawn(_decode, link, payload)
    except RuntimeError:  # the system has no more threads
        _decode(link, payload)


@holds_the_role
def _decode(link: ThreadedLink, payload: bytes) -> None:
    """Decode a message, with the reading role; leave it then."""
    failure = None
    try:
        outcome = link.understand(payload, bool(link.stash))
        if len(outcome) > 1 and outcome[0] is not BROKEN:
            link.stash.append(outcome)
    except Exception as error:
        failure = error
        link.broken(error)
    finally:
        link.reading.leave()
    if failure is not None:
        _log_apart(failure, "! %s: cannot decode a message", name_of(link.application))
    if link.end._ready:
        link.have_told()


def _check_heartbeat(link: ThreadedLink) -> None:
    """Look whether a peer gives signs of life, and give one."""
    heart, receiver = link.heart, link.receiver
    if heart is None or not isinstance(receiver, FrameReceiver):
        return
    if link.running or not link.channel.stream.hung_up():  # else another one reads what is left
        _read(link)
    link.application.beat(heart.interval)  # twice in an interval, so that none is missed
    was_silent = heart.silent
    dead = heart.look(receiver.arrivals)
    if heart.silent != was_silent:
        try:
            spawn(link.application.fell_silent, heart.silent)
        except RuntimeError:  # the system has no more threads
            heart.silent = was_silent  # until the next look
    if not dead:
        return
    stream = link.channel.stream
    if isinstance(stream, NativeStream) and stream.wait(READ, 0):
        return  # it is this side that does not read
    spawn(link.fail, heart.error())


housekeeper = Housekeeper()
at_end(housekeeper.end)
fork.after_fork(housekeeper.start_anew)
