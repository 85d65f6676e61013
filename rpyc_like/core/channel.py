"""Channels under their old address."""

from __future__ import annotations

from ..link.channel import Channel

__all__ = ["Channel"]
