"""Modules that may not be there, and what is in those that are."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final, NoReturn

__all__ = ["MissingModule", "class_in", "imported", "needed", "safe_import"]


_names_of: Final[Any] = vars(ModuleType)["__dict__"].__get__


def class_in(module: str, name: str) -> type | None:
    """Return the class of that name in an imported module, ``None`` if there is none.

    The names are somebody else's. Nothing is imported for them, no code of the module runs, and
    what stands in for a module (or will load one when it is used) is not asked.
    """
    found = sys.modules.get(module)
    if not issubclass(type(found), ModuleType):
        return None
    value = _names_of(found).get(name)
    return value if issubclass(type(value), type) else None


def imported(name: str) -> ModuleType:
    """Return a module that this program has imported: what a peer sends has none imported.

    Raises:
        ImportError: it has not.
    """
    found = sys.modules.get(name)
    if found is None:
        raise ImportError(f"module {name!r} is not imported here: import it first")
    return found


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
