"""Classes of this program that copies of a peer's data may be made of.

A peer names the classes of its data. Only those that this program has registered with
:func:`by_value`, or passed to one call, are used for it; for others a stand-in is made.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from .optional_imports import class_in
from .stand_ins import dict_of, is_among, mro_of, name_pair, qualname_of

__all__ = ["FindClass", "allowed_classes", "by_value", "imported_class", "registered_class"]

T = TypeVar("T", bound=type)

FindClass = Callable[[str, str], "type | None"]
"""Returns this program's class for a module and a qualified name, ``None`` if none may be used."""

_registered: Final[dict[tuple[str, str], type]] = {}


def by_value(cls: T) -> T:
    """Let copies of a peer's data be instances of a class of this program.

    Usable as a decorator. :func:`rpyc_like.snapshot` then makes instances of it for data of a class
    with the same module and name and the same fields: without its ``__init__``, ``__new__`` or
    ``__post_init__``, so that its fields may hold anything.

    Args:
        cls: a dataclass, a named tuple or an enumeration.

    Raises:
        TypeError: it is none of these.
    """
    _registered[_key(cls)] = cls
    return cls


def registered_class(module: str, name: str) -> type | None:
    """Return a class that is registered."""
    return _registered.get((module, name))


def allowed_classes(more: Iterable[type]) -> FindClass:
    """Return what finds the classes of ``more``, and those that are registered.

    Raises:
        TypeError: one of ``more`` is no dataclass, named tuple or enumeration.
    """
    passed = {_key(cls): cls for cls in more}
    if not passed:
        return registered_class

    def find(module: str, name: str) -> type | None:
        found = passed.get((module, name))
        return registered_class(module, name) if found is None else found

    return find


def imported_class(module: str, name: str) -> type | None:
    """Return any class that is imported here: for data of this program's own."""
    return class_in(module, name)


def _key(cls: Any) -> tuple[str, str]:
    if not issubclass(type(cls), type) or not _is_of_values(cls):
        raise TypeError(f"expected a dataclass, named tuple or enumeration, got {cls!r:.80}")
    return name_pair(cls)[0], qualname_of(cls)


def _is_of_values(cls: type) -> bool:
    if issubclass(type(cls), enum.EnumMeta):
        return True
    if is_among(tuple, mro_of(cls)):
        return type(getattr(cls, "_fields", None)) is tuple
    return type(dict_of(cls).get("__dataclass_fields__")) is dict
