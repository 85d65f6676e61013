"""Servers, factories and tools on top of the protocols, and the decorators of services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lib.lazy_exports import lazily

if TYPE_CHECKING:
    from ..core.config import DEFAULT_CONFIG
    from ..core.service import exposed, service

__all__ = ["DEFAULT_CONFIG", "exposed", "service"]

_HOMES = {
    "..core.config": ("DEFAULT_CONFIG",),
    "..core.service": ("exposed", "service"),
    **dict.fromkeys(
        "authenticators classic factory helpers registry server teleportation zerodeploy".split(),
        (),
    ),
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
