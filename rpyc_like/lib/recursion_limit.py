"""How much of the interpreter's stack is left."""

from __future__ import annotations

import sys
from types import FrameType

__all__ = ["has_room"]

_ROOM = 250
"""Calls that something may need which must not fail half-way."""


def has_room() -> bool:
    """Returns whether the current thread may nest calls much deeper before a RecursionError."""
    left = max(sys.getrecursionlimit() - _ROOM, _ROOM)
    frame: FrameType | None = sys._getframe()
    while frame is not None and left:
        frame = frame.f_back
        left -= 1
    return frame is None
