"""Modules that may not be there."""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

__all__ = ["MissingModule", "safe_import"]


class MissingModule:
    """Stands for a module that is not installed: false, and an error when it is used."""

    __slots__ = ("__name",)

    def __init__(self, name: str) -> None:
        self.__name = name

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name.endswith("__"):  # introspection looks for these
            raise AttributeError(name)
        raise ImportError(f"module {self.__name!r} not found")

    def __bool__(self) -> bool:
        return False


def safe_import(name: str) -> Any:
    """Returns a module, or a :class:`MissingModule` if it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return MissingModule(name)
