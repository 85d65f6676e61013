"""AsyncResult under its old address."""

from __future__ import annotations

from ..errors import AsyncResultTimeout
from ..lib.timing import Timeout
from ..link.result import AsyncResult

__all__ = ["AsyncResult", "AsyncResultTimeout", "Timeout"]
