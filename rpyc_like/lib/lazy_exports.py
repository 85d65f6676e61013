"""Imports when something is used, of packages' names and in functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["late_import", "lazily"]


class late_import:  # noqa: N801 (used like a function)
    """A context to import in what only some programs need; finalizers may be the first to do so.

    Raises:
        RuntimeError: the interpreter is shutting down, and imports nothing any more.
    """

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: Any, traceback: Any) -> None:
        if error is not None and issubclass(type(error), ImportError) and not sys.meta_path:
            raise RuntimeError(
                "the interpreter is shutting down, and imports nothing any more (atexit functions "
                "may still use what was not used before)"
            ) from error


def lazily(
    package: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its name.
        homes: modules, by their names inside of the package, and the names that they bring. The
            last part of a module's name, and the first, are names of the package as well. A module
            elsewhere is named with dots in front, as in an import.
    """
    inside = [home for home in homes if not home.startswith(".")]
    modules = {home.rpartition(".")[2]: home for home in inside}
    modules.update({home.partition(".")[0]: home.partition(".")[0] for home in inside})
    names = {name: home for home, brought in homes.items() for name in brought}

    def __getattr__(name: str) -> Any:
        if name in names:
            with late_import():
                value = getattr(import_module(_relative(names[name]), package), name)
        elif name in modules:
            with late_import():
                value = import_module(_relative(modules[name]), package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names, *modules})

    return __getattr__, __dir__


def _relative(home: str) -> str:
    return home if home.startswith(".") else f".{home}"
