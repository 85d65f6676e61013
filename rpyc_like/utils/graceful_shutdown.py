"""How a server ends in an orderly way: what it was asked before is answered first."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ..core.protocol import Connection
from ..errors import ConnectionClosed
from ..lib.timing import Timeout
from ..link.call_context import current

__all__ = ["drain", "finish", "is_serving_us", "leave_when_given_up", "terminating"]

_STEP = 0.01
_TOLD = 10.0  # seconds that on_disconnect gets in another thread


def is_serving_us(connections: Collection[Connection]) -> bool:
    """Returns whether the current thread serves a request of one of the connections."""
    served = current()
    return served is not None and any(conn._link is served[0] for conn in connections)


def drain(connections: Collection[Connection], limit: float, hurry: threading.Event) -> int:
    """Waits until what the peers have asked so far has been answered.

    The request that the current thread itself serves is not waited for.

    Args:
        limit: seconds that it may take.
        hurry: ends the wait when it is set.

    Returns:
        How many requests have not been answered.
    """
    served = current()
    asked = {
        conn: {
            id_ for id_ in conn._unanswered() if served is None or served[:2] != (conn._link, id_)
        }
        for conn in connections
    }
    deadline = Timeout(limit)
    while True:
        for conn, ids in asked.items():
            ids &= set() if conn.closed else conn._unanswered()
        left = sum(map(len, asked.values()))
        if not left or deadline.expired() or hurry.wait(_STEP):
            break
    for conn in connections:
        with contextlib.suppress(ConnectionClosed):
            conn._link.try_send()  # answers that are held
    return left


def finish(conn: Connection, grace: float) -> None:
    """Wait until what a peer that has hung up had asked before has been done.

    The service is told of the end by whichever thread begins the last request: that comes after.

    Args:
        grace: seconds that calls get which the peer had cancelled.
    """
    link, deadline = conn._link, Timeout(grace)
    while left := {*link.unbegun.copy(), *conn._unanswered()}:
        if deadline.expired() and all(map(link.calls.is_cancelled, left)):
            break
        time.sleep(_STEP)
    deadline = Timeout(_TOLD)
    while not conn._told_service and not deadline.expired():
        time.sleep(_STEP)


def leave_when_given_up(conn: Connection, grace: float) -> None:
    """Leave the process when its only client is gone and had given up what is still being done.

    A call that the client has cancelled (by Ctrl-C, say) may never end. Others are finished.

    Args:
        conn: the connection to the client.
        grace: seconds that such calls get.
    """

    def look(conn: Connection, state: str) -> None:
        running = set(conn._unanswered()) if state == "closed" else set()
        if running and all(conn._link.calls.is_cancelled(id_) for id_ in running):
            deadline = Timeout(grace)
            while running & set(conn._unanswered()):
                if deadline.expired():
                    os._exit(1)
                time.sleep(_STEP)

    conn.add_state_callback(look)


@contextlib.contextmanager
def terminating(terminate: Callable[[], Any]) -> Iterator[None]:
    """Has SIGTERM call ``terminate`` in a thread of its own, each time it comes.

    Does nothing outside of the main thread, or where the program handles the signal itself.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        _thread.start_new_thread(terminate, ())  # which, unlike Thread.start, waits for nothing

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
