"""The attribute gate: which names of which objects a peer may use.

One function decides (:func:`check_attr`), without running code of the object where the object's
class can be looked at statically. One function acts (:func:`access_attr`). Every handler that takes
a name goes through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import AccessDenied
from .netref import BaseNetref

__all__ = ["access_attr", "check_attr"]


def check_attr(config: dict[str, Any], obj: Any, name: str, perm: str) -> str:
    """Returns the name under which ``obj`` may be accessed when a peer asks for ``name``.

    Args:
        config: the connection's configuration.
        perm: the key of the master switch: ``allow_getattr``, ``allow_setattr``, ``allow_delattr``.

    Raises:
        AccessDenied: it may not be.
    """
    if not config[perm]:
        raise AccessDenied(f"cannot access {name!r}")
    prefix = config["exposed_prefix"] if config["allow_exposed_attrs"] else ""
    plain = (
        config["allow_all_attrs"]
        or (prefix and name.startswith(prefix))
        or (config["allow_safe_attrs"] and name in config["safe_attrs"])
        or (config["allow_public_attrs"] and not name.startswith("_"))
    )
    if prefix and _has(obj, prefix + name) and not (plain and _has(obj, name)):
        return str(prefix + name)
    if plain:
        return name
    raise AccessDenied(f"cannot access {name!r}")


def _has(obj: Any, name: str) -> bool:
    kind = type(obj)
    if issubclass(kind, BaseNetref):
        return hasattr(obj, name)
    for base in kind.__mro__:
        if name in base.__dict__:
            return True
    if isinstance(obj, type):
        for base in obj.__mro__:
            if name in base.__dict__:
                return True
    else:
        try:
            attributes = object.__getattribute__(obj, "__dict__")
        except AttributeError:
            pass
        else:
            if type(attributes) is dict and name in attributes:
                return True
    # Nothing static: what is made on demand can only be found by asking for it.
    if any("__getattr__" in base.__dict__ for base in kind.__mro__):
        return hasattr(obj, name)
    return False


def access_attr(
    check: Callable[[Any, str, str], str],
    obj: Any,
    name: Any,
    args: tuple[Any, ...],
    overrider: str,
    perm: str,
    default: Callable[..., Any],
) -> Any:
    """Does ``default(obj, name, *args)``, if the gate lets it through.

    Args:
        check: :func:`check_attr` for a configuration, or a program's own in its place.
        name: what the peer sent: a str, or bytes of UTF-8.
        overrider: the method by which a class decides itself (``_rpyc_getattr`` and so on).
    """
    if type(name) is bytes:
        name = str(name, "utf-8")
    elif type(name) is not str:
        raise TypeError(f"attribute name must be a string, got {type(name).__name__}")
    own = getattr(type(obj), overrider, None)
    if own is not None:
        return own(obj, name, *args)
    return default(obj, check(obj, name, perm), *args)
