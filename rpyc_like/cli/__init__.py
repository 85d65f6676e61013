"""The command line tools."""

from __future__ import annotations
