"""Modules that may not be there, and what is in those that are."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

__all__ = ["MissingModule", "class_in", "needed", "safe_import"]


def class_in(module: str, name: str) -> type | None:
    """Returns a class of a module that has been imported, if there is one of that name.

    The names are somebody else's: nothing is imported for them, and a module that makes its names
    on demand is not asked.
    """
    found = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    return found if isinstance(found, type) else None


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


def needed(module: str, package: str) -> Any:
    """Returns a module of this package that needs one which is not always installed.

    Raises:
        ImportError: it is not there; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {package!r}, which is not installed (pip install {package})"
        ) from error
