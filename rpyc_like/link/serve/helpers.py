"""Threads that serve requests of a connection whose own threads are busy.

A request may be meant for a thread that is busy with another one, or be left to serving threads
that are all busy. Usually they are free again at once. If not, a helper serves it: what the busy
thread does may wait for just that.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Final

from ...lib import primitives
from ...lib.exiting import WRITING
from ...lib.interrupts import raised_by_handler
from ...lib.threads import spawn
from ...wire.session import CALL, Outcome
from ..call_registry import name_of
from ..receiving import Waiter

if TYPE_CHECKING:
    from ..threaded import ThreadedLink

__all__ = ["MAX_HELPERS", "Helpers"]

logger = logging.getLogger("rpyc_like.link")

MAX_HELPERS: Final = 16
"""Helpers of one connection."""

_PATIENCE: Final = 0.05
"""Seconds for which a request waits for a serving thread; most are free again before."""

_AFFINITY: Final = 0.25
"""Seconds for which one waits for the thread it is meant for. Longer: it finds its locks there."""

_LINGER: Final = 1.0
"""Seconds after which a helper without work ends, and for which it then serves at once."""


class Helpers:
    """The helpers of one connection; at most one of them looks for work.

    Args:
        lock: of the connection, guards handing work to threads. The connection itself is given to
            each method, so that it is in no reference cycle.
    """

    def __init__(self, lock: primitives.RLock) -> None:
        self._lock = lock
        self._count = 0
        self._short_at: float | None = None  # when more were last wanted than there may be
        self._looking: Waiter | None = None
        self._at_once_until = 0.0

    @property
    def entered(self) -> bool:
        """Whether the current thread holds the lock that others need to hand requests on."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def call(self, link: ThreadedLink) -> None:
        """Have a helper look after the requests that wait. Safe in the reading role."""
        with self._lock:
            helper = self._looking
            if helper is not None:
                helper.wake()
                return
            if not link.has_work:
                return
            if self._count < link.max_helpers:
                self._count += 1
                helper = self._looking = Waiter(0)
            else:
                known, self._short_at = self._short_at, primitives.monotonic()
        if helper is None:
            if known is not None:
                return
            with suppress(RuntimeError):  # the system has no more threads
                spawn(self._warn, link)
            return
        try:
            spawn(self._run, link, helper)
        except BaseException as error:
            with self._lock:
                if not helper.ident and self._looking is helper:  # it has not begun
                    self._count -= 1
                    self._looking = None
            if not isinstance(error, RuntimeError) or raised_by_handler(error):
                raise
            # The system has no more threads.

    def fell_short_since(self, start: float) -> bool:
        """Return whether a request has found all helpers busy, since a time of the clock."""
        return self._short_at is not None and self._short_at >= start

    @staticmethod
    def _warn(link: ThreadedLink) -> None:
        """Log that requests wait for a helper. A log handler may ask a peer."""
        with WRITING as allowed:
            if allowed:
                logger.warning(
                    "! %s: the threads that serve it are all busy, with %d helpers (configuration "
                    "key 'max_helpers'); what the peer asks for waits",
                    name_of(link.application),
                    link.max_helpers,
                )

    def _run(self, link: ThreadedLink, me: Waiter) -> None:
        me.ident = get_ident()
        waiters = link.end.add_waiter(me)
        try:
            while True:
                outcome = self._next(link, me)
                if outcome is None:
                    return
                self._at_once_until = primitives.monotonic() + _LINGER
                with link.serving(me):
                    link.act_here(outcome)
                with self._lock:
                    if self._looking is not None:
                        return
                    self._looking = me
        except BaseException as error:  # meant for a thread that serves
            link.lose(error)
            raise
        finally:
            waiters.remove(me)
            with self._lock:
                self._count -= 1
                if self._looking is me:
                    self._looking = None

    def _next(self, link: ThreadedLink, me: Waiter) -> Outcome | None:
        """Wait for a request that is overdue; None means that the helper is not needed any more.

        After that another helper looks.
        """
        end = primitives.monotonic() + _LINGER
        while link.has_work:
            me.arm()
            now = primitives.monotonic()
            # Without the lock: a finalizer may wait in there.
            outcome, due = self._overdue(link, now)
            if outcome is not None or (due is None and now >= end):
                with self._lock:
                    self._looking = None
                if due is not None or not me.asleep:  # the latter: called since then
                    self.call(link)
                return outcome
            me.sleep((end if due is None else due) - now)
        return None

    def _overdue(self, link: ThreadedLink, now: float) -> tuple[Outcome | None, float | None]:
        """Return a request that is overdue, and when the next one will be."""
        found: Outcome | None = None
        due: list[float] = []
        at_once = now < self._at_once_until
        if link.unserved:
            try:
                end = link.unserved[0][0] + (0.0 if at_once else _PATIENCE)
                if end <= now:
                    found = link.take_unserved()
                else:
                    due.append(end)
            except IndexError:
                pass  # a serving thread was faster
        for waiter in list(link.waiters.values()):
            try:
                if not _may_take(link, waiter.inbox[0]):
                    continue
            except IndexError:
                continue
            end = waiter.since + _AFFINITY
            if found is None and end <= now:
                found = link.take_handed(waiter)
                end = waiter.since + _AFFINITY
            if waiter.inbox:
                due.append(end)
        if link.unserved and not due:
            due.append(now)
        return found, min(due, default=None)


def _may_take(link: ThreadedLink, outcome: Outcome) -> bool:
    """Return whether any thread may serve a request; its peer has not bound it to one."""
    return outcome[0] is CALL and not link.application.route(outcome[2])[1]
