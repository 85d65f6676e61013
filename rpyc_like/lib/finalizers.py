"""Objects whose end may run code: ``__del__`` methods, callbacks of weak references."""

from __future__ import annotations

import sys
import weakref
from types import AsyncGeneratorType, FunctionType, ModuleType
from typing import Any, Final

from .referents import referents

__all__ = ["may_run_code"]

_MOST: Final = 50  # objects that are looked at: it is done for each object that a peer gives back

_HARMLESS: Final = (str, bytes, int, float, type, ModuleType, AsyncGeneratorType)
"""An asynchronous generator is ended by its loop."""

_ALONE: Final = 4
"""References to an object that only its container refers to, while it is looked at below."""


def may_run_code(obj: Any) -> bool:
    """Return whether dropping the last reference to an object may run code of the program.

    What it refers to is looked at too, unless something else refers to that as well. Objects that
    refer to very many others are taken to be such.
    """
    left, looked = [obj], 0
    while left:
        item = left.pop()
        kind = type(item)
        if issubclass(kind, _HARMLESS) and kind.__module__ == "builtins":
            continue
        looked += 1
        if looked > _MOST:
            return True
        if any("__del__" in vars(cls) for cls in kind.__mro__):
            return True
        if any(ref.__callback__ is not None for ref in weakref.getweakrefs(item)):
            return True
        if kind is FunctionType:  # not its globals
            found = [item.__closure__, item.__defaults__, item.__kwdefaults__]
        else:
            found = referents(item)
        for value in found:
            if sys.getrefcount(value) <= _ALONE:
                left.append(value)
    return False
