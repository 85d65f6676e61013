"""Daemon threads that log or print, and the end of the interpreter.

Python stops daemon threads wherever they are when it ends. One that is stopped while it writes to a
buffered file keeps the lock of that file, and Python aborts when it flushes the file afterwards. So
such threads enter :data:`WRITING` before they log; the end waits a moment for those that are in,
and tells those that come later that they may not.
"""

from __future__ import annotations

import atexit
import os
from typing import Final

from . import primitives

__all__ = ["WRITING", "Writing"]

_PATIENCE: Final = 2.0  # seconds that the end of the interpreter waits for threads that write


class Writing:
    """A context for daemon threads: what runs in it is not cut off by the interpreter's end.

    Entering returns whether the thread may write.
    """

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Forget who is in: the threads stayed with the parent of a forked child."""
        self._changed = primitives.Condition()  # guards what follows
        self._count = 0
        self._ended = False

    def __enter__(self) -> bool:
        with self._changed:
            self._count += 1
            return not self._ended

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody write any more, and wait a moment until nobody does."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._count, _PATIENCE)


WRITING: Final = Writing()
atexit.register(WRITING.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITING.start_anew)
