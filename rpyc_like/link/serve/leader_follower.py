"""Threads that serve a connection: quick requests without a change of threads, slow ones at once.

Handing each request to another thread costs more than most requests. Here one thread leads: it
reads and runs what it has read. Another stands by and looks once in a while: if the leader has been
running the same request all the time, it becomes the leader, and for some time requests are handed
to workers at once. So a slow request holds up others for two ticks at most.

A thread that waits for the answer to a request of its own can read itself, which saves a change of
threads too. So after such a request the leader leaves reading to those for as long as they go on.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Final

from ...lib import primitives
from ...lib.threads import spawn
from ...wire.session import ANSWER, CALL, NOTHING, Outcome
from ..receiving import Waiter

if TYPE_CHECKING:
    from ..threaded import ThreadedLink

__all__ = ["RUSH", "TICK", "LeaderFollower"]

TICK: Final = 0.001
"""Seconds between two looks of the thread that stands by."""

RUSH: Final = 0.1
"""Seconds for which requests are handed to workers after a slow one."""

_PATIENCE: Final = 20
"""Looks without anything happening, after which the thread sleeps until it is woken."""


class LeaderFollower:
    """Serves a connection whose ``workers`` are set; see the module.

    Args:
        link: the connection.
    """

    def __init__(self, link: ThreadedLink) -> None:
        self._link = link
        self._lock = primitives.RLock()  # guards _leader and _steps
        self._leader: int | None = None
        self._steps = 0  # odd while the leader runs something
        self._rush_until = 0.0
        self._helper: primitives.Thread | None = None
        self._standby: Waiter | None = None  # the thread that stands by
        self._asleep = False

    def serve(self) -> None:
        """Serves until the connection is gone, in this thread and another one."""
        me = get_ident()
        link = self._link
        while not link.end._ready:
            with self._lock:
                if self._leader is None:
                    self._leader = me
            if self._leader == me:
                link.serve_forever(self._run)
            else:
                self._stand_by(me)

    def _help(self) -> None:
        try:
            self.serve()
        except BaseException as error:
            self._link.lose(error)  # nobody would read any more
            raise

    def _run(self, outcome: Outcome) -> bool:
        """Does what a message asks for; returns whether another thread leads now."""
        if outcome[0] is NOTHING:
            self._let_others_read()
            return False
        if outcome[0] is not CALL and outcome[0] is not ANSWER:
            self._link.act(outcome)
            return False
        if self._helper is None:
            self._helper = spawn(self._help)
        standby = self._standby
        if standby is None or primitives.monotonic() < self._rush_until:
            self._link.act(outcome)
            return False
        me = get_ident()
        with self._lock:
            self._steps += 1
        if self._asleep:
            standby.wake()
        try:
            self._link.act_here(outcome)
        finally:
            with self._lock:
                self._steps += 1
        return self._leader != me

    def _stand_by(self, me: int) -> None:
        """Looks after the leader; returns when this thread leads or the end has come."""
        end = self._link.end
        self._standby = waiter = Waiter(me)
        waiter.arm()
        waiters = end.add_waiter(waiter)
        seen, quiet = self._steps, 0
        try:
            while not end._ready:
                waiter.sleep(TICK)
                if self._steps != seen:
                    seen, quiet = self._steps, 0
                elif seen % 2:
                    with self._lock:
                        if self._steps == seen:
                            self._leader = me
                            self._rush_until = primitives.monotonic() + RUSH
                            return
                else:
                    quiet += 1
                    if quiet > _PATIENCE:
                        self._sleep(waiter, seen)
                        quiet = 0
        finally:
            self._standby = None
            waiters.remove(waiter)

    def _sleep(self, waiter: Waiter, seen: int) -> None:
        """Sleeps until the leader runs something."""
        waiter.arm()
        self._asleep = True
        if self._steps == seen and not self._link.end._ready:
            waiter.sleep(None)
        self._asleep = False

    def _let_others_read(self) -> None:
        """Waits while threads make requests and read the answers themselves."""
        link = self._link
        seen = link.exchanges
        if not seen:
            return
        waiter = Waiter(get_ident())
        waiter.arm()
        link.bystander = waiter
        waiters = link.end.add_waiter(waiter)
        try:
            while not link.end._ready:
                waiter.sleep(TICK)
                if link.exchanges == seen or link.bystander is None:
                    return
                seen = link.exchanges
        finally:
            link.bystander = None
            waiters.remove(waiter)
