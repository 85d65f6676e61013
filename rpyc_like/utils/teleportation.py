"""Functions sent as code, under their old address (peers ask for this module by name)."""

from __future__ import annotations

from ..core.teleporting import CODEOBJ_MAGIC, export_function, import_function

__all__ = ["CODEOBJ_MAGIC", "export_function", "import_function"]
