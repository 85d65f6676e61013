"""Settings of Erlang's connections for the attribute access policy: public names only."""

from __future__ import annotations

from typing import Any, Final

from ...lib import access_policy
from ...lib.access_policy import MISSING, check_call, check_value

__all__ = ["SETTINGS", "check_call", "check_name", "public"]

SETTINGS: Final[dict[str, Any]] = {
    "allow_getattr": True,
    "allow_setattr": True,
    "allow_delattr": False,
    "allow_all_attrs": False,
    "allow_exposed_attrs": False,
    "allow_public_attrs": True,
    "allow_safe_attrs": False,
    "exposed_prefix": "",
    "safe_attrs": frozenset(),
}
"""What Erlang may reach of an object, as configuration of the policy."""


def _is_proxy(value: Any) -> bool:
    return False


def check_name(value: Any, name: str) -> None:
    """Raise AccessDenied if Erlang may not set attribute ``name`` of ``value``."""
    access_policy.decide(_is_proxy, SETTINGS, value, name, "allow_setattr")


def public(value: Any, path: str) -> Any:
    """Return what a dotted path leads to.

    Raises:
        AccessDenied: through a name that the policy refuses, or to a module.
        AttributeError: nowhere.
    """
    for name in path.split("."):
        name, found, _ = access_policy.decide(_is_proxy, SETTINGS, value, name, "allow_getattr")
        value = getattr(value, name) if found is MISSING else found
        check_value(name, value)
    return value
