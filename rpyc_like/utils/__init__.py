"""Servers, factories and tools on top of the protocols, and the decorators of services."""

from __future__ import annotations

from ..core.config import DEFAULT_CONFIG
from ..core.service import exposed, service

__all__ = ["DEFAULT_CONFIG", "exposed", "service"]
