"""Answers ``import rpyc`` with this package, for a program that cannot be changed.

Nothing does so by itself. A program is run under the alias by ::

    python -m rpyc_like.alias program.py arguments      (or: -m module, -c code)
    PYTHONPATH=$(python -m rpyc_like.alias --path) program

and a program that can be changed a little calls :func:`install` before it imports ``rpyc``. Modules
are the same objects under both names: ``rpyc.core.protocol is rpyc_like.core.protocol``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

__all__ = ["PATH", "install"]

PATH: Final = str(Path(__file__).with_name("path"))
"""A folder to put on the path of a program: its ``rpyc`` installs the alias."""

_ALIAS = "rpyc"
_PACKAGE = __name__.partition(".")[0]


class _Finder(MetaPathFinder, Loader):
    """Finds this package's modules under the names of RPyC's."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns a spec for ``rpyc`` and what is below it."""
        package, dot, rest = fullname.partition(".")
        if package != _ALIAS:
            return None
        try:
            module = importlib.import_module(_PACKAGE + dot + rest)
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.startswith(_PACKAGE):
                return None
            raise
        is_package = hasattr(module, "__path__")
        return ModuleSpec(fullname, self, origin=module.__file__, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the module that stands behind an alias."""
        rest = spec.name.partition(".")[2]
        module = importlib.import_module(f"{_PACKAGE}.{rest}" if rest else _PACKAGE)
        spec.loader_state = module.__spec__
        return module

    def get_code(self, fullname: str) -> CodeType | None:
        """Returns the code of a module, for ``python -m``."""
        spec = importlib.util.find_spec(_PACKAGE + fullname[len(_ALIAS) :])
        code: CodeType | None = spec.loader.get_code(spec.name)  # type: ignore[union-attr]
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module back its own spec; it has been executed under its own name."""
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state


def install() -> None:
    """Has ``import rpyc`` give this package, in this process.

    Raises:
        ImportError: the program has imported another ``rpyc`` already.
    """
    known = sys.modules.get(_ALIAS)
    ours = importlib.import_module(_PACKAGE)
    if known is not None and known is not ours:
        raise ImportError(f"expected no rpyc yet, got {known!r}", name=_ALIAS)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
