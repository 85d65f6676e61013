"""A thread that calls back when files become readable; kept for programs that import it.

Connections do not use it: see :class:`rpyc_like.utils.helpers.BgServingThread`.
"""

from __future__ import annotations

import contextlib
from selectors import EVENT_READ
from typing import Any

from ..lib import primitives
from ..lib.first_use import FirstUse
from ..lib.threads import spawn
from ..link import fork

__all__ = ["SelectReactor", "start_reactor"]


class SelectReactor:
    """Calls ``fileobj.on_readable()``, if there is such a method, when a file can be read.

    A file is registered with its ``fileno()``; one that is closed is forgotten.
    """

    TIMEOUT = 0.5
    """Seconds after which newly registered files are noticed at the latest."""

    def __init__(self) -> None:
        self._files: set[Any] = set()
        self._lock = primitives.RLock()  # guards _files

    def register_read(self, fileobj: Any) -> None:
        """Watches a file from now on."""
        with self._lock:
            self._files.add(fileobj)

    def run(self) -> None:
        """Watches until the process ends."""
        while True:
            self._run_once()

    def _run_once(self) -> None:
        with primitives.DefaultSelector() as selector:
            with self._lock:
                files = list(self._files)
            for fileobj in files:
                try:
                    selector.register(fileobj, EVENT_READ)
                except (ValueError, KeyError, OSError, EOFError):
                    with self._lock:
                        self._files.discard(fileobj)
            for key, _ in selector.select(self.TIMEOUT):
                on_readable = getattr(key.fileobj, "on_readable", None)
                if on_readable is not None:
                    with contextlib.suppress(EOFError):
                        on_readable()


_reactor = SelectReactor()
_thread = FirstUse(lambda: spawn(_reactor.run))


def start_reactor() -> None:
    """Runs the process's reactor in a thread, once."""
    _thread.get()


def _begin_anew() -> None:
    """Forget the thread, which has stayed with the parent of a forked child."""
    global _thread
    _reactor._lock = primitives.RLock()
    _thread = FirstUse(lambda: spawn(_reactor.run))


fork.after_fork(_begin_anew)
