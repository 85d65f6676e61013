"""How often another thread runs while one works."""

from __future__ import annotations

import threading
from collections.abc import Callable


def turns_during(work: Callable[[], object]) -> int:
    """Return how often a thread that sleeps for moments woke up while ``work`` ran."""
    turns = 0
    ended = threading.Event()

    def count() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            ended.wait(0.0001)

    thread = threading.Thread(target=count)
    thread.start()
    work()
    seen = turns
    ended.set()
    thread.join()
    return seen
