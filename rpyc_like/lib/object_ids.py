"""Names and numbers under which objects are known to a peer.

An object's id pack is ``(name, class id, instance id)``. The third field is 0 for a class, and
only for a class; an instance's class id is the class id of its class. Numbers come from one
counter per process that starts at a random 56-bit value: they are never reused and say nothing
about memory addresses.
"""

from __future__ import annotations

import os
import sys
import weakref
from itertools import count
from types import GenericAlias, ModuleType
from typing import Any

from .stand_ins import dict_of

__all__ = [
    "IdPack",
    "class_id",
    "class_pack",
    "fresh_id",
    "get_id_pack",
    "is_class",
    "known_class",
    "name_pack",
]

IdPack = tuple[str, int, int]

_HEAP_TYPE = 1 << 9


def is_class(obj: Any) -> bool:
    """Return whether an object is a class, or says so.

    An alias such as ``list[int]`` says so up to Python 3.10, but has no ``__mro__``.
    """
    return isinstance(obj, type) and not issubclass(type(obj), GenericAlias)


class _IdAllocator:
    """The process's counter, and the class ids given out."""

    def __init__(self) -> None:
        start = int.from_bytes(os.urandom(7), "big") | (1 << 55)
        self.next = count(start).__next__
        self.classes: dict[int, tuple[Any, Any, int, str]] = {}


_numbers = _IdAllocator()


def _start_anew() -> None:
    global _numbers
    _numbers = _IdAllocator()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def fresh_id() -> int:
    """Returns a number this process has not given out before (never 0)."""
    return _numbers.next()


def class_id(cls: type) -> int:
    """Returns the number of a class.

    It stays the same as long as the class keeps its shape (which attributes the classes of its
    MRO define): a peer may cache a class's description under it.
    """
    return known_class(cls)[2]


def class_pack(cls: type) -> tuple[str, int]:
    """Returns the name and the number of a class."""
    known = known_class(cls)
    return known[3], known[2]


def known_class(cls: type) -> tuple[Any, Any, int, str]:
    """Return what is known of a class; its number and its name come last."""
    known = _numbers.classes.get(id(cls))
    if known is not None and known[0]() is cls:
        if known[1] is None or known[1] == [*map(len, map(dict_of, cls.__mro__))]:
            return known
    return _number_class(cls)


def _shape(cls: type) -> list[int] | None:
    if not cls.__flags__ & _HEAP_TYPE:
        return None
    return [*map(len, map(dict_of, cls.__mro__))]


def _number_class(cls: type) -> tuple[Any, Any, int, str]:
    key, classes = id(cls), _numbers.classes

    def forget(dead: Any) -> None:
        entry = classes.get(key)
        if entry is not None and entry[0] is dead:
            del classes[key]

    known = (weakref.ref(cls, forget), _shape(cls), fresh_id(), _class_name(cls))
    classes[key] = known
    return known


def _class_name(cls: type) -> str:
    module = getattr(cls, "__module__", None)
    return f"{module if isinstance(module, str) else 'builtins'}.{cls.__name__}"


def name_pack(obj: Any) -> str:
    """Returns the name under which ``obj``'s class (or the class or module itself) is known."""
    if isinstance(obj, ModuleType):
        name = str(obj.__name__)
        return name if name in sys.modules else f"builtins.{name}"
    if issubclass(type(obj), GenericAlias):
        return _class_name(type(obj))
    cls = obj if isinstance(obj, type) else getattr(obj, "__class__", type(obj))
    return _class_name(cls if isinstance(cls, type) else type(obj))


def get_id_pack(obj: Any) -> IdPack:
    """Returns the id pack that RPyC would give ``obj``, made of memory addresses.

    Kept for programs that call it. Boxing does not use it.
    """
    known = getattr(obj, "____id_pack__", None)
    if known is not None:
        return known  # type: ignore[no-any-return]
    if is_class(obj):
        return (name_pack(obj), id(obj), 0)
    return (name_pack(obj), id(type(obj)), id(obj))
