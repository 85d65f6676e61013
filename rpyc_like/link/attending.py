"""One lazy thread per process that looks after connections whose own threads are occupied.

A thread that serves a request which takes long does not read, and neither does a program that
computes. This thread then takes in what arrives: that a request is cancelled, that the peer is gone
or still there, answers that callbacks wait for. It never runs code of a program and never waits for
a single peer. What needs more than that is kept, in order, for the threads of the connection.

It also sends signs of life and watches for those of the peer, where that is asked for.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ConnectionClosed
from ..lib.interpreter import at_end
from ..wire.session import BROKEN, CALL
from . import forking, primitives
from .apart import APART
from .receiving import FrameReceiver, Waiter
from .streams.base import READ, NativeStream

if TYPE_CHECKING:
    from .connection import MessageConnection

__all__ = ["TICK", "Heart", "attend", "busy", "watch"]

logger = logging.getLogger("rpyc_like.link")

TICK = 0.05
"""Seconds between two looks at what is being served."""

_MOST_KEPT = 1000
"""Messages that are read ahead for a connection's own threads."""

_MOST_REPLACED = 16
"""Threads of one connection that serve what the peer has given up, and do not notice it."""

_DEAD, _SILENT = 2.0, 1.5  # intervals without a sign of life; looked at twice in each


class Heart:
    """Whether a peer gives signs of life.

    Args:
        interval: seconds between two of them.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.silent = False
        self._arrivals = -1
        self._heard = primitives.monotonic()

    def look(self, arrivals: int) -> bool:
        """Returns whether the peer must be taken for dead; notes whether it is silent.

        Args:
            arrivals: how many bytes have arrived.
        """
        now = primitives.monotonic()
        if arrivals != self._arrivals:
            self._arrivals, self._heard = arrivals, now
        silence = now - self._heard
        self.silent = silence > _SILENT * self.interval
        return silence > _DEAD * self.interval

    def error(self) -> ConnectionClosed:
        """Returns the error for a peer that is taken for dead."""
        return ConnectionClosed(
            f"no sign of life from the peer for {_DEAD * self.interval:g} s "
            f"(heartbeats come every {self.interval:g} s)"
        )


busy: set[MessageConnection] = set()
"""Connections that served something when they were last looked at, or have begun to."""

_Watched = tuple["weakref.ref[MessageConnection]", Heart]
_coming: primitives.SimpleQueue[_Watched] = primitives.SimpleQueue()
_me = Waiter(0)
_asleep = True  # whether the thread must be woken
_ending = False  # whether the interpreter ends
_starting = primitives.Lock()  # guards starting the thread
_thread: primitives.Thread | None = None


def attend(link: MessageConnection) -> None:
    """Has a connection looked after as long as it serves something."""
    busy.add(link)
    if _asleep:
        _wake()


def watch(link: MessageConnection, heart: Heart) -> None:
    """Has signs of life sent and watched for, until the connection is gone."""
    link.heart = heart
    _coming.put((weakref.ref(link), heart))
    _wake()


def _wake() -> None:
    global _thread, _asleep
    _asleep = False
    if _thread is None:
        with _starting:
            if _thread is None:
                _thread = primitives.start_thread(_run, "rpyc_like-attendant")
    _me.wake()


def _run() -> None:
    global _asleep
    watched: list[tuple[float, _Watched]] = []  # when to look at it
    quiet = 0  # looks at which nothing was being served
    while not _ending:
        while not _coming.empty():
            watched.append((0.0, _coming.get()))
        wait = _until(watched)
        if quiet < 2:
            wait = TICK if wait is None else min(wait, TICK)
        elif wait is None or wait > TICK:
            _me.arm()
            _asleep = True
            if not busy and _coming.empty():
                _me.sleep(wait)
            _asleep = False
            quiet = 0
            if wait is None:
                continue  # what has woken this thread is looked at a moment later
            wait = 0
        _me.sleep(wait)
        quiet = 0 if busy else quiet + 1
        _look_after_all()
        watched = [(_due(due, one), one) for due, one in watched if _goes_on(one)]


def _look_after_all() -> None:
    for link in list(busy):
        _guarded(_look_after, link)


def _until(watched: list[tuple[float, _Watched]]) -> float | None:
    if not watched:
        return None
    return max(0.001, min(due for due, _ in watched) - primitives.monotonic())


def _goes_on(one: _Watched) -> bool:
    link = one[0]()
    return link is not None and not link.end._ready and link.heart is one[1]


def _due(due: float, one: _Watched) -> float:
    """Looks at a heart, and beats, if it is time; returns when to do it again."""
    now = primitives.monotonic()
    if now < due:
        return due
    link = one[0]()
    if link is not None:
        _guarded(_feel, link)
    return now + one[1].interval / 2


def _guarded(func: Callable[[MessageConnection], None], link: MessageConnection) -> None:
    try:
        func(link)
    except EOFError:
        pass  # it was closed meanwhile
    except Exception:
        logger.exception("! looking after a connection")


def _look_after(link: MessageConnection) -> None:
    """Looks at a connection that serves something."""
    running = set(link.running)
    long, link.attended = running & link.attended, running
    if not running:
        busy.discard(link)
    elif long:
        _read(link)
        if all(map(link.calls.is_cancelled, running)) and len(running) <= _MOST_REPLACED:
            if link.overtake is not None:
                link.overtake()
            elif any(outcome[0] is CALL for outcome in tuple(link.stash)):
                link.serve_instead()


def _read(link: MessageConnection) -> None:
    """Takes in what has arrived, if nobody else does."""
    reading = link.reading
    if (
        link.pooled
        or link.end._ready
        or link.dispatch is not None
        or type(link.receiver) is not FrameReceiver
        or reading.offered is not None
        or not reading.enter()
    ):
        return
    receiver = link.receiver
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
    finally:
        if not handed_on:
            reading.leave()
    if link.end._ready:
        link.have_told()


def _decode_apart(link: MessageConnection, payload: bytes) -> None:
    """Have a message that takes long decoded in a thread of its own."""
    try:
        primitives.spawn(_decode, link, payload)
    except RuntimeError:  # the system has no more threads
        _decode(link, payload)


def _decode(link: MessageConnection, payload: bytes) -> None:
    """Decode a message, with the reading role; leave it then."""
    try:
        outcome = link.understand(payload)
        if len(outcome) > 1 and outcome[0] is not BROKEN:
            link.stash.append(outcome)
    except Exception as error:
        logger.exception("! looking after a connection")
        link.broken(error)
    finally:
        link.reading.leave()
    if link.end._ready:
        link.have_told()


def _feel(link: MessageConnection) -> None:
    """Looks whether a peer gives signs of life."""
    _read(link)
    heart, receiver = link.heart, link.receiver
    if heart is None or not isinstance(receiver, FrameReceiver):
        return
    link.application.beat(heart.interval)  # twice in an interval, so that none is missed
    was_silent = heart.silent
    dead = heart.look(receiver.arrivals)
    if heart.silent != was_silent:
        primitives.spawn(link.application.fell_silent, heart.silent)
    if not dead:
        return
    stream = link.channel.stream
    if isinstance(stream, NativeStream) and stream.wait(READ, 0):
        return  # it is this side that does not read
    link.fail(heart.error())


def _start_anew() -> None:
    global _thread, _asleep, _coming, _me, _starting
    busy.clear()
    _thread = None
    _asleep = True
    _coming = primitives.SimpleQueue()
    _me = Waiter(0)
    _starting = primitives.Lock()


def _end() -> None:
    global _ending
    _ending = True
    _me.wake()


at_end(_end)
forking.after_fork(_start_anew)
