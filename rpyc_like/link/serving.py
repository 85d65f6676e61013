"""Which request a thread or task serves."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["CURRENT"]

CURRENT: ContextVar[tuple[Any, Any, int] | None] = ContextVar(
    "rpyc_like_current_request", default=None
)
"""The request being served in this thread or task: its connection, its id, and the mark that the
application's ``route`` gave it."""
