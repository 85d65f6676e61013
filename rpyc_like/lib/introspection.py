"""Looking at classes without running their code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, Final

from .object_ids import is_class

__all__ = [
    "BINARY",
    "COMPARISONS",
    "IMPLICIT",
    "clean_name",
    "get_methods",
    "hasattr_static",
    "hybridmethod",
    "instance_methods",
]

_MISSING = object()


def clean_name(name: str) -> str:
    """Returns a name that a class can have, for one that somebody else made up."""
    return "".join([c if c.isprintable() else "?" for c in name[:200]]) or "?"


def hasattr_static(obj: Any, attr: str) -> bool:
    """Returns whether ``obj`` or its class defines ``attr``, without running anything."""
    return inspect.getattr_static(obj, attr, _MISSING) is not _MISSING


_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor".split()

COMPARISONS: Final = ("__eq__", "__ne__", "__lt__", "__gt__", "__le__", "__ge__", "__cmp__")

BINARY: Final = frozenset(f"__{kind}{name}__" for name in _OPERATORS for kind in ("", "r", "i"))
"""Special methods of the operators with two operands."""

IMPLICIT: Final = frozenset(
    f"__{name}__"
    for name in (
        *"neg pos abs invert round trunc floor ceil int float complex index".split(),
        *"bool len length_hint contains iter next reversed missing".split(),
        *"getitem setitem delitem call enter bytes format fspath get set delete".split(),
        *"await aiter anext aenter aexit copy deepcopy array".split(),
    )
).union(BINARY)
"""Special methods that Python and its libraries look up on an object's class."""


def get_methods(obj_attrs: Collection[str], obj: Any) -> list[tuple[str, str | None]]:
    """Returns ``(name, docstring)`` of each method of ``obj`` whose name is not in ``obj_attrs``.

    They are those of its class (of a class: its metaclass), as for the operators of Python. A
    class that can be subscripted (``list[int]``) has ``__getitem__`` as well.
    """
    methods = instance_methods(obj_attrs, type(obj))
    if is_class(obj) and hasattr_static(obj, "__class_getitem__"):
        if not hasattr_static(type(obj), "__getitem__"):
            methods.append(("__getitem__", None))
    return methods


def instance_methods(obj_attrs: Collection[str], cls: type) -> list[tuple[str, str | None]]:
    """Returns what :func:`get_methods` returns for instances of ``cls``."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    return [
        (name, inspect.getdoc(value) if inspect.isroutine(value) else None)
        for name, value in found.items()
        if name not in obj_attrs and (name in IMPLICIT or inspect.isroutine(value))
    ]


class hybridmethod:  # noqa: N801
    """A method that gets the class when called on the class, the instance when called on one."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        target = cls if obj is None else obj
        return self.func.__get__(target, cls)

    def __set__(self, obj: Any, value: Any) -> None:
        raise AttributeError("cannot overwrite a method")
