"""The attribute gate: which names of which objects a peer may use.

One function decides (:func:`decide`), and every handler goes through it. It looks at classes and
instance dictionaries without running their code. Only where that finds nothing and the type has a
``__getattr__``, or for a proxy of another connection's object, it asks the object itself, once, and
what it gets is the answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, Final

from ..errors import AccessDenied
from ..lib.internals import INTERNALS
from .exception_classes import made_from_peer, peers_data
from .netref import is_netref

__all__ = ["INTERNALS", "MAX_NAME", "access_attr", "check_attr", "decide", "exact_name", "visible"]

MAX_NAME: Final = 1000
"""Longest name, in characters, that is looked up for a peer."""

MISSING: Final = object()


def decide(config: dict[str, Any], obj: Any, name: str, perm: str) -> tuple[str, Any]:
    """Returns the name under which ``obj`` may be accessed when a peer asks for ``name``.

    Args:
        config: the connection's configuration.
        perm: the key of the master switch: ``allow_getattr``, ``allow_setattr``, ``allow_delattr``.

    Returns:
        The name, and the attribute's value if it had to be asked for; else ``MISSING``.

    Raises:
        AccessDenied: it may not be.
    """
    if not config[perm] or not (name.isascii() or _means_itself(config, name)):
        raise _denied(name)
    plain = config["allow_all_attrs"] or _is_plain(config, name)
    if issubclass(type(obj), BaseException) and made_from_peer(obj):
        if config["allow_all_attrs"]:
            return name, MISSING
        if plain and perm == "allow_getattr":
            try:
                return name, peers_data(obj, name, MISSING)
            except AttributeError:
                pass
        raise _denied(name)
    prefix = config["exposed_prefix"] if config["allow_exposed_attrs"] else ""
    if not prefix or name.startswith(prefix):
        if plain:
            return name, MISSING
        raise _denied(name)
    exposed = prefix + name
    found = False
    if not is_netref(obj):
        if plain and _has(obj, name):
            return name, MISSING
        found = _has(obj, exposed)
        if found and not plain:
            return exposed, MISSING
        if not any("__getattr__" in base.__dict__ for base in type(obj).__mro__):
            if found or plain:
                return exposed if found else name, MISSING
            raise _denied(name)
    if perm == "allow_getattr":
        return _ask(obj, name, exposed, plain, found)
    if plain or hasattr(obj, exposed):
        return name if plain else exposed, MISSING
    raise _denied(name)


def _ask(obj: Any, name: str, exposed: str, plain: bool, found: bool) -> tuple[str, Any]:
    """Asks an object that alone knows what attributes it has.

    Args:
        plain: whether ``name`` may be read as it is.
        found: whether ``exposed`` is known to be there.
    """
    missing: AttributeError = _denied(name)
    if plain:
        try:
            return name, getattr(obj, name)
        except AttributeError as error:
            missing = error
    if found:
        return exposed, MISSING
    try:
        return exposed, getattr(obj, exposed)
    except AttributeError:
        raise missing from None


def check_attr(config: dict[str, Any], obj: Any, name: str, perm: str) -> str:
    """Returns the name that :func:`decide` finds."""
    return decide(config, obj, name, perm)[0]


def visible(config: dict[str, Any], obj: Any, name: str) -> bool:
    """Returns whether a peer may read ``name``, a name that ``obj`` has; runs no code of it."""
    if not config["allow_getattr"] or len(name) > MAX_NAME:
        return False
    if issubclass(type(obj), BaseException) and made_from_peer(obj):
        try:
            peers_data(obj, name, MISSING)
        except AttributeError:
            return config["allow_all_attrs"]  # type: ignore[no-any-return]
        return _is_plain(config, name)
    if _is_plain(config, name):
        return True
    prefix = config["exposed_prefix"] if config["allow_exposed_attrs"] else ""
    return bool(prefix) and not is_netref(obj) and _has(obj, prefix + name)


def _means_itself(config: dict[str, Any], name: str) -> bool:
    """Returns whether a name cannot be read as another one that looks alike."""
    return config["allow_all_attrs"] or unicodedata.normalize("NFKC", name) == name


def _denied(name: str) -> AccessDenied:
    return AccessDenied(f"cannot access {name[:MAX_NAME]!r}")


def _is_plain(config: dict[str, Any], name: str) -> bool:
    """Returns whether the configuration allows reading ``name`` of any object."""
    if config["allow_all_attrs"]:
        return True
    if config["allow_exposed_attrs"]:
        prefix = config["exposed_prefix"]
        if prefix and name.startswith(prefix):
            return True
    if config["allow_safe_attrs"] and name in config["safe_attrs"]:
        return True
    return config["allow_public_attrs"] and name[:1] != "_" and name not in INTERNALS


def _has(obj: Any, name: str) -> bool:
    """Returns whether ``obj`` or its class defines ``name``, without running anything."""
    kind = type(obj)
    for base in kind.__mro__:
        if name in base.__dict__:
            return True
    if issubclass(kind, type):
        return any(name in base.__dict__ for base in type.__dict__["__mro__"].__get__(obj))
    try:
        attributes = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return False
    return type(attributes) is dict and name in attributes


def exact_name(name: Any) -> str:
    """Returns the name that a peer sent as a str, or as bytes of UTF-8."""
    if type(name) is bytes:
        try:
            name = str(name, "utf-8")
        except UnicodeDecodeError as error:
            raise AccessDenied(f"expected an attribute name in UTF-8, got {error}") from None
    elif type(name) is not str:
        raise TypeError(f"attribute name must be a string, got {type(name).__name__}")
    if len(name) > MAX_NAME:
        raise AccessDenied(
            f"expected an attribute name of at most {MAX_NAME} characters, got {len(name)}"
        )
    return str(name)


def access_attr(
    decision: Callable[[Any, str, str], tuple[str, Any]],
    obj: Any,
    name: Any,
    args: tuple[Any, ...],
    overrider: str,
    perm: str,
    default: Callable[..., Any],
) -> Any:
    """Does ``default(obj, name, *args)``, if the gate lets it through.

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
    name, value = decision(obj, name, perm)
    return default(obj, name, *args) if value is MISSING or args else value
