"""Standard output that Erlang prints, and standard input that nobody can read."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["RedirectedStdin", "RedirectedStdout", "redirect"]


class RedirectedStdout(io.TextIOBase):
    """Hands what is written to a function.

    Args:
        write: is given each text that is written.
    """

    encoding = "utf-8"
    errors = "strict"

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"expected a text, got {type(text).__name__}")
        if text:
            self._write(text)
        return len(text)


class RedirectedStdin(io.TextIOBase):
    """Raises :class:`io.UnsupportedOperation` whenever it is read."""

    def _refuse(self, *args: Any) -> Any:
        raise io.UnsupportedOperation("standard input belongs to Erlang")

    read = readline = readlines = __next__ = _refuse  # type: ignore[assignment]


def redirect(write: Callable[[str], Any]) -> None:
    """Replaces ``sys.stdout`` and ``sys.stdin``; descriptors must have been moved before."""
    sys.stdout = RedirectedStdout(write)
    sys.stdin = RedirectedStdin()
