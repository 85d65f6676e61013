"""Settings of RPyC's connections for the attribute access policy.

The policy itself is :mod:`rpyc_like.lib.guards.access_policy`. Here it learns what a proxy is, and
that a class may decide itself about its attributes (``_rpyc_getattr`` and so on).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ...lib.guards import access_policy
from ...lib.guards.access_policy import MAX_NAME, MISSING, PUBLIC, check_value, describe, exact_name
from ...lib.interpreter_attrs import INTERNALS
from ..config import make_config
from ..netref import is_netref

__all__ = [
    "INTERNALS",
    "MAX_NAME",
    "MISSING",
    "access_attr",
    "check_attr",
    "decide",
    "exact_name",
    "reachable",
    "rule_of",
    "visible",
    "warn_of_ladders",
]

logger = logging.getLogger("rpyc_like.core")

decide: Final = partial(access_policy.decide, is_netref)
"""``decide(config, obj, name, perm)``: see :func:`rpyc_like.lib.guards.access_policy.decide`."""

visible: Final = partial(access_policy.visible, is_netref)
"""``visible(config, obj, name)``: see :func:`rpyc_like.lib.guards.access_policy.visible`."""

reachable: Final = partial(access_policy.reachable, is_netref)
"""``reachable(config, obj, name)``: see :func:`rpyc_like.lib.guards.access_policy.reachable`."""

rule_of: Final = partial(access_policy.rule_of, is_netref)
"""``rule_of(config, obj, name)``: see :func:`rpyc_like.lib.guards.access_policy.rule_of`."""


def check_attr(config: dict[str, Any], obj: Any, name: str, perm: str) -> str:
    """Return the name that :func:`decide` finds."""
    return decide(config, obj, name, perm)[0]


def access_attr(
    decision: Callable[[Any, str, str], tuple[str, Any, str]],
    obj: Any,
    name: Any,
    args: tuple[Any, ...],
    overrider: str,
    perm: str,
    default: Callable[..., Any],
) -> Any:
    """Return ``default(obj, name, *args)`` if the policy allows the access.

    Args:
        decision: :func:`decide` for a configuration, or a program's own in its place.
        name: what the peer sent: a str, or bytes of UTF-8.
        overrider: the method by which a class decides itself (``_rpyc_getattr`` and so on).
    """
    if type(name) is not str or len(name) > MAX_NAME:
        name = exact_name(name)
    kind = type(obj)
    own = getattr(kind, overrider, None)
    if own is not None and not is_netref(obj):
        return own(obj, name, *args)
    name, value, rule = decision(obj, name, perm)
    if value is MISSING or args:
        value = default(obj, name, *args)
    if rule is PUBLIC:
        check_value(name, value)
    return value


def warn_of_ladders(service: Any, config: dict[str, Any] | None) -> None:
    """Log one warning if a service exports what leads its peers further than it looks.

    Runs no code of the service.

    Args:
        service: a service class or an instance.
        config: the configuration of its connections.
    """
    found = access_policy.exported_ladders(is_netref, make_config(config), service)
    shown = [f"{path} ({describe(value)})" for path, value, _ in found]
    if shown:
        kind = service if isinstance(service, type) else type(service)
        logger.warning(
            "! service %s exports what leads further than it looks, and is mostly refused: %s "
            "(configuration key 'allow_ladders'; see `python -m rpyc_like exposes`, and the "
            "table in the page on security)",
            kind.__qualname__,
            ", ".join(shown),
        )
