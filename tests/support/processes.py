"""What /proc says of processes, threads and descriptors, any of which may end meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["children", "descriptors", "has_proc", "is_alive", "started_with"]


def has_proc() -> bool:
    """Return whether the system has a /proc like that of Linux."""
    return os.path.isdir("/proc/self/fd")


def _read(path: Path) -> bytes:
    """Return what a file of a process contains; nothing if it has ended or is another user's."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _entries(path: Path) -> list[Path]:
    """Return what is in a folder of a process; nothing if the process has ended."""
    try:
        return list(path.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(pid: int) -> set[int]:
    """Return the processes that any thread of a process has started and not waited for."""
    tasks = _entries(Path(f"/proc/{pid}/task"))
    return {int(child) for task in tasks for child in _read(task / "children").split()}


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not has_proc():
        return True
    state = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return bool(state) and state[0] not in (b"Z", b"X")


def descriptors() -> int:
    """Return the number of descriptors that this process has open."""
    return len(os.listdir("/proc/self/fd"))


def started_with(variable: str, value: str) -> list[int]:
    """Return the processes that have a variable in their environment, orphans too."""
    entry = f"{variable}={value}".encode()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if entry in _read(Path(f"/proc/{pid}/environ")).split(b"\0")]
