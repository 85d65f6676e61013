"""Channels under their old address."""

from __future__ import annotations

from ..lib.compat import BYTES_LITERAL
from ..lib.optional_imports import safe_import
from ..link.channel import Channel

__all__ = ["BYTES_LITERAL", "Channel", "safe_import"]
