"""Locks, waits, clock, threads and polling: all that a connection waits with.

The other modules of ``lib``, ``link``, the protocols above it and ``aio`` take these names from
here and look them up when they use them (``primitives.Lock()``). So the scheduler of
``tests/schedules`` can put its own in their place, and decide which thread runs next.

Left out: what never waits (``get_ident``, ``local``), and asyncio, whose loop decides that already.
"""

from __future__ import annotations

import select as _select
from concurrent.futures import Future
from queue import Empty, Queue, SimpleQueue
from selectors import DefaultSelector
from threading import Condition, Event, Lock, RLock, Thread
from time import monotonic, sleep
from typing import Any

__all__ = [
    "Condition",
    "DefaultSelector",
    "Empty",
    "Event",
    "Future",
    "Lock",
    "Queue",
    "RLock",
    "SimpleQueue",
    "Thread",
    "epoll",
    "kevent",
    "kqueue",
    "monotonic",
    "poll",
    "select",
    "sleep",
]

poll: Any = getattr(_select, "poll", None)
"""What makes a poll object; ``None`` on Windows."""
select = _select.select
epoll: Any = getattr(_select, "epoll", None)
"""What makes an epoll object; ``None`` but on Linux, and where gevent has taken it away."""
kqueue: Any = getattr(_select, "kqueue", None)
"""What makes a kqueue object; ``None`` but on BSD and macOS."""
kevent: Any = getattr(_select, "kevent", None)
"""What makes a change for one."""
