"""Deadlines on the monotonic clock."""

from __future__ import annotations

import random
from typing import Any

from . import primitives

__all__ = ["Timeout", "exp_backoff"]


class Timeout:
    """A point in time to wait until.

    Args:
        timeout: seconds from now; None for never; another Timeout to share its point in time.
    """

    __slots__ = ("finite", "seconds", "tmax")

    def __init__(self, timeout: float | Timeout | None) -> None:
        if isinstance(timeout, Timeout):
            self.finite: bool = timeout.finite
            self.tmax: float | None = timeout.tmax
            self.seconds: float | None = timeout.seconds
        else:
            self.finite = timeout is not None and timeout >= 0
            self.tmax = primitives.monotonic() + (timeout or 0.0) if self.finite else None
            self.seconds = timeout

    def expired(self) -> bool:
        """Returns whether the point in time has passed."""
        return self.tmax is not None and primitives.monotonic() >= self.tmax

    def timeleft(self) -> float | None:
        """Returns the seconds that are left, at least 0; None for never."""
        return None if self.tmax is None else max(0.0, self.tmax - primitives.monotonic())

    def sleep(self, interval: float) -> None:
        """Sleeps for ``interval`` seconds, but not beyond the point in time."""
        left = self.timeleft()
        primitives.sleep(interval if left is None else min(interval, left))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Timeout) and self.tmax == other.tmax

    def __hash__(self) -> int:
        return hash(self.tmax)


def exp_backoff(collision: int) -> float:
    """Returns for how many seconds to pause after so many failures in a row, by chance."""
    return random.uniform(0, 0.05 * 2 ** min(max(0, collision), 10))
