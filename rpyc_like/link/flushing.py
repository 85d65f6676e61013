"""One lazy thread per process that sends what finalizers have queued.

Finalizers may run anywhere, even in the middle of a send, so they only queue. What they queued goes
out ahead of the next message of their side; if there is none, this thread sends it a moment later.
"""

from __future__ import annotations

import weakref
from typing import Protocol

from ..lib.interpreter import at_end
from . import forking, primitives

__all__ = ["DELAY", "Flushable", "arm", "start"]

DELAY = 0.05
"""Seconds after which queued releases are sent at the latest."""


class Flushable(Protocol):
    """Something with a queue that finalizers fill."""

    def flush_released(self) -> bool:
        """Sends what goes without waiting; returns whether more is left for later."""


# None: the end
_due: primitives.SimpleQueue[weakref.ref[Flushable] | None] = primitives.SimpleQueue()
_thread: primitives.Thread | None = None
_starting = primitives.Lock()  # guards _thread


def arm(reference: weakref.ref[Flushable]) -> None:
    """Has an object flushed soon. Safe in finalizers and signal handlers."""
    _due.put(reference)


def start() -> None:
    """Starts the thread if it is not running. Not for finalizers."""
    global _thread
    if _thread is None:
        with _starting:
            if _thread is None:
                _thread = primitives.start_thread(_run, "rpyc_like-flusher")


def _run() -> None:
    while True:
        pending = [_due.get()]
        primitives.sleep(DELAY)
        while not _due.empty():
            pending.append(_due.get())
        for reference in pending:
            if reference is None:
                return
            flushable = reference()
            if flushable is not None and flushable.flush_released():
                _due.put(reference)
            del flushable


def _start_anew() -> None:
    global _thread, _due, _starting
    _thread = None
    _due = primitives.SimpleQueue()
    _starting = primitives.Lock()


at_end(lambda: _due.put(None))
forking.after_fork(_start_anew)
