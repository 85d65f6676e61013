"""Tools for developers of services."""

from __future__ import annotations
