"""What Erlang may reach from an object: public names, and no modules."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ...errors import AccessDenied
from ...lib.internals import INTERNALS

__all__ = ["check_name", "public"]


def check_name(name: str) -> None:
    """Raises AccessDenied for the names that lead to everything else in the process."""
    if name.startswith("_") or name in INTERNALS:
        raise AccessDenied(f"cannot access {name!r}")


def public(value: Any, path: str) -> Any:
    """Returns what a dotted path leads to.

    Raises:
        AccessDenied: through a private name, to a module, or to formatting by a text of the peer's.
        AttributeError: nowhere.
    """
    for name in path.split("."):
        check_name(name)
        if isinstance(value, (str, type)) and name in ("format", "format_map", "mro"):
            raise AccessDenied(f"cannot access {name!r}")
        value = getattr(value, name)
        if isinstance(value, ModuleType):
            raise AccessDenied(f"cannot access {name!r}: it is a module")
    return value
