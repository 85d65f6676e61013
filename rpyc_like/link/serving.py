"""Which request a thread or task serves."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["CURRENT", "call_serving"]

T = TypeVar("T")

CURRENT: ContextVar[tuple[Any, Any, int] | None] = ContextVar(
    "rpyc_like_current_request", default=None
)
"""The request being served in this thread or task: its connection, its id, and the mark that the
application's ``route`` gave it."""


def call_serving(served: Any, func: Callable[..., T], *args: Any) -> T:
    """Call a function that serves a request; ``served`` is what :data:`CURRENT` is meanwhile."""
    token = CURRENT.set(served)
    try:
        return func(*args)
    finally:
        CURRENT.reset(token)
