"""The version of this package.

The major number follows the RPyC release whose API and wire are spoken by default, because
programs and peers compare it.
"""

from __future__ import annotations

__all__ = ["__version__", "release_date", "version"]

version: tuple[str, str, str] = ("6", "1", "0")
__version__: str = ".".join(version)
release_date: str = "2026-11-21"
