"""How many processors this process may use: by its affinity, and by its control group's quota."""

from __future__ import annotations

import os
from functools import lru_cache

__all__ = ["processors"]

_ROOT = "/sys/fs/cgroup"


def processors() -> float:
    """Returns how many processors this process may use at once; the quota may be a fraction."""
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        count = os.cpu_count() or 1
    return min(count, _quota())


@lru_cache(maxsize=1)
def _quota() -> float:
    """Returns the processors that the control groups allow, at most; version 2 and version 1."""
    smallest = float("inf")
    for line in _lines("/proc/self/cgroup"):
        number, kinds, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            base, found = _ROOT, _limit_2
        elif "cpu" in kinds.split(","):
            base, found = f"{_ROOT}/cpu", _limit_1
        else:
            continue
        while True:
            smallest = min(smallest, found(base + path.rstrip("/")))
            if path in ("", "/"):
                break
            path = os.path.dirname(path)
    return smallest


def _limit_2(group: str) -> float:
    quota, period = [*"".join(_lines(f"{group}/cpu.max")).split(), "max", "1"][:2]
    return _ratio(quota, period)


def _limit_1(group: str) -> float:
    return _ratio(
        "".join(_lines(f"{group}/cpu.cfs_quota_us")), "".join(_lines(f"{group}/cpu.cfs_period_us"))
    )


def _ratio(quota: str, period: str) -> float:
    try:
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    except (ValueError, ZeroDivisionError):
        return float("inf")


def _lines(path: str) -> list[str]:
    try:
        # Another encoding is imported, and a child that is forked meanwhile waits for it for ever.
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
