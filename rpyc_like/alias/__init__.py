"""Answers ``import rpyc``, ``epc`` or ``erlport`` with this package, for a program as it is.

Nothing does so by itself. A program is run under the alias by ::

    python -m rpyc_like.alias program.py arguments      (or: -m module, -c code)
    python -m rpyc_like.alias --epc program.py arguments        (or: --erlport)
    PYTHONPATH=$(python -m rpyc_like.alias --path) program      (or: --epc --path)

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

__all__ = ["NAMES", "install", "path"]


def path(name: str = "rpyc") -> str:
    """Returns a folder to put on the path of a program: what is in it installs the alias."""
    return str(Path(__file__).with_name("path" if name == "rpyc" else f"path_{name}"))


_PACKAGE = __name__.partition(".")[0]
NAMES: Final = {
    "rpyc": _PACKAGE,
    "epc": f"{_PACKAGE}.epc",
    "erlport": f"{_PACKAGE}.erlport.v1",
}
"""What can be answered, and with what."""


class _Finder(MetaPathFinder, Loader):
    """Finds this package's modules under the names of another's.

    Args:
        alias: the other package.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def _real(self, name: str) -> str:
        return NAMES[self.alias] + name[len(self.alias) :]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns a spec for ``rpyc`` and what is below it."""
        if fullname.partition(".")[0] != self.alias:
            return None
        try:
            module = importlib.import_module(self._real(fullname))
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.startswith(_PACKAGE):
                return None
            raise
        is_package = hasattr(module, "__path__")
        return ModuleSpec(fullname, self, origin=module.__file__, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the module that stands behind an alias."""
        module = importlib.import_module(self._real(spec.name))
        spec.loader_state = module.__spec__
        return module

    def get_code(self, fullname: str) -> CodeType | None:
        """Returns the code of a module, for ``python -m``."""
        spec = importlib.util.find_spec(self._real(fullname))
        code: CodeType | None = spec.loader.get_code(spec.name)  # type: ignore[union-attr]
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module back its own spec; it has been executed under its own name."""
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state


def install(name: str = "rpyc") -> None:
    """Has ``import rpyc`` (or ``epc``, ``erlport``) give this package, in this process.

    Args:
        name: ``"rpyc"``, ``"epc"`` or ``"erlport"``.

    Raises:
        ImportError: the program has imported another package of that name already.
    """
    known = sys.modules.get(name)
    ours = importlib.import_module(NAMES[name])
    if known is not None and known is not ours:
        raise ImportError(f"expected no {name} yet, got {known!r}", name=name)
    if not any(isinstance(one, _Finder) and one.alias == name for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name))
