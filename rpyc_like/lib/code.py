"""Looking at classes without running their code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

__all__ = ["get_methods", "hasattr_static", "hybridmethod"]

_MISSING = object()


def hasattr_static(obj: Any, attr: str) -> bool:
    """Returns whether ``obj`` or its class defines ``attr``, without running anything."""
    return inspect.getattr_static(obj, attr, _MISSING) is not _MISSING


def get_methods(obj_attrs: Collection[str], obj: Any) -> list[tuple[str, str | None]]:
    """Returns ``(name, docstring)`` of each method of ``obj`` whose name is not in ``obj_attrs``.

    For a class, its metaclass's methods come first and its own on top of them.
    """
    methods: dict[str, Any] = {}
    mros: list[type] = list(reversed(type(obj).__mro__))
    if isinstance(obj, type):
        mros += reversed(obj.__mro__)
    for cls in mros:
        methods.update(vars(cls))
    return [
        (name, inspect.getdoc(value))
        for name, value in methods.items()
        if name not in obj_attrs and inspect.isroutine(value)
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
