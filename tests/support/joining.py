"""Waiting in tests for the end of a thread."""

from __future__ import annotations

from typing import Protocol

from .eventually import PATIENCE

__all__ = ["join"]


class Joinable(Protocol):
    """A thread, or a process of multiprocessing."""

    def join(self, timeout: float | None = None) -> object: ...

    def is_alive(self) -> bool: ...


def join(thread: Joinable, seconds: float = PATIENCE, what: object = None) -> None:
    """Wait until a thread ends; fail if it does not.

    Args:
        what: named in the failure.
    """
    thread.join(seconds)
    assert not thread.is_alive(), what or f"{thread} did not end within {seconds:g} s"
