"""What Erlang may reach from an object: public names, as the access policy decides."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ...lib.guards import access_policy

__all__ = ["check_name", "check_special", "public", "warn_of_tools"]

logger = logging.getLogger("rpyc_like.erlport")


def check_name(value: Any, name: str) -> None:
    """Raise AccessDenied if Erlang may not set attribute ``name`` of ``value``."""
    access_policy.check_public(value, name)


def check_special(value: Any, name: str) -> None:
    """Raise AccessDenied if Erlang may not have special method ``name`` of ``value`` called."""
    access_policy.check_special(value, name)


def public(value: Any, path: str) -> Any:
    """Return what a dotted path leads to.

    Raises:
        AccessDenied: through a name that the policy refuses, or to a module.
        AttributeError: nowhere.
    """
    return access_policy.public(value, path.split("."))


def warn_of_tools(modules: Mapping[str, Any]) -> None:
    """Log one warning for registered modules and objects by which Erlang could reach more."""
    found = [name for name, value in modules.items() if access_policy.is_tool(value)]
    if found:
        logger.warning("! Erlang is given %s, of which the policy refuses most", ", ".join(found))
