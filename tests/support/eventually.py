"""Waiting in tests for what other threads and processes do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

__all__ = ["PATIENCE", "eventually", "eventually_here"]

PATIENCE = 60.0
"""Seconds that a test waits for what must happen; a loaded machine may be very slow."""


def eventually(condition: Callable[[], Any], what: object = "it", seconds: float = PATIENCE) -> Any:
    """Wait until ``condition()`` is true, and return what it returned.

    Args:
        what: named in the failure; a callable is called then, to show the state.
    """
    end = time.monotonic() + seconds
    while True:
        # A look that begins in time counts, however long the machine then takes for it.
        late = time.monotonic() > end
        if outcome := condition():
            return outcome
        assert not late, f"{what() if callable(what) else what} did not happen in time"
        time.sleep(0.005)


async def eventually_here(
    condition: Callable[[], Any], what: object = "it", seconds: float = PATIENCE
) -> Any:
    """Do the same as `eventually()`, while the event loop of the caller runs on."""
    end = time.monotonic() + seconds
    while True:
        late = time.monotonic() > end
        if outcome := condition():
            return outcome
        assert not late, f"{what() if callable(what) else what} did not happen in time"
        await asyncio.sleep(0.005)
