"""The names of classic connections in asyncio programs: ``await conn.modules.os.getcwd()``."""

from __future__ import annotations

import asyncio
from typing import Any

from ..core.netref import is_netref

__all__ = ["ClassicNames", "Modules"]


class Modules:
    """The peer's modules, deferred: ``modules.os.path``, ``modules["xml.dom.minidom"]``."""

    __slots__ = ("_root",)

    def __init__(self, root: Any) -> None:
        self._root = root

    def __contains__(self, name: str) -> bool:
        if not is_netref(self._root):
            raise TypeError("whether a module is there is known when it is awaited: modules[name]")
        try:
            self[name]
        except ImportError:
            return False
        return True

    def __getitem__(self, name: str) -> Any:
        return self._root.getmodule(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # Python and its tools look for these on any object
        return self[name]


class ClassicNames:
    """What a connection to a classic server has."""

    _is_classic: bool
    root: Any
    waits: bool

    def _install_later(self, installer: Any) -> None:
        """Notes that the peer is to be a classic server; nothing needs to be installed here."""
        self._is_classic = True

    @property
    def _slave(self) -> Any:
        if not self._is_classic:
            raise AttributeError(
                "not a classic connection: use aio.classic.connect for a classic server, "
                "conn.root for any other"
            )
        return self.root

    @property
    def modules(self) -> Modules:
        """The peer's modules."""
        return Modules(self._slave)

    @property
    def builtins(self) -> Any:
        """The peer's module ``builtins``, deferred."""
        return self.modules.builtins

    builtin = builtins

    @property
    def namespace(self) -> Any:
        """The namespace that ``eval`` and ``execute`` use, deferred."""
        return self._slave.namespace

    def teleport(self, func: Any, globals: Any = None, def_: bool = True) -> Any:
        """Returns a copy of a function that lives and runs on the other side, when awaited."""
        from ..core.teleport.functions import teleport

        if self.waits:
            return teleport(self, func, globals, def_)
        return asyncio.to_thread(teleport, self, func, globals, def_)

    def eval(self, text: str) -> Any:
        """Evaluates an expression there, when awaited."""
        return self._slave.eval(text)

    def execute(self, text: str) -> Any:
        """Executes code there, when awaited."""
        return self._slave.execute(text)
