"""What an object refers to, as the garbage collector sees it; none of the object's code runs."""

from __future__ import annotations

import gc
from typing import Any

__all__ = ["referents"]


def referents(obj: Any) -> list[Any]:
    """Return the objects that the collector reaches from ``obj`` in one step."""
    return gc.get_referents(obj)
