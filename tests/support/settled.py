"""Signals to a thread at a known point: while it waits, not some time after it was started."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

__all__ = ["once_settled", "wait_until_settled"]

LOOKS, PAUSE = 6, 0.02


def _names(thread: threading.Thread) -> list[str]:
    """Return the names of the functions that a thread executes, the innermost first."""
    names, frame = [], sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def wait_until_settled(thread: threading.Thread, inside: tuple[str, ...] = ()) -> None:
    """Return when a thread has been in the same functions for a while, which is where it waits.

    Args:
        inside: beginnings of names of functions, one of which it must be in; without any, it must
            not be sending or serving.
    """
    seen: list[object] = []
    while len(seen) < LOOKS:
        names = _names(thread)
        if inside:
            good = any(name.startswith(inside) for name in names)
        else:
            good = not any(name.startswith(("send", "serve_request")) for name in names)
        point = None if inside else names
        seen = [*seen, point] if good and names and seen[-1:] in ([], [point]) else []
        time.sleep(PAUSE)


def once_settled(
    action: Callable[[], object],
    ready: Callable[[], object] = lambda: True,
    inside: tuple[str, ...] = (),
) -> None:
    """Run ``action`` in another thread once ``ready()`` is true and the main thread waits."""

    def run() -> None:
        while not ready():
            time.sleep(PAUSE)
        wait_until_settled(threading.main_thread(), inside)
        action()

    threading.Thread(target=run, daemon=True).start()
