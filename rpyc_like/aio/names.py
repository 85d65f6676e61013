"""The names of classic connections in asyncio programs: ``await conn.modules.os.getcwd()``."""

from __future__ import annotations

from typing import Any

__all__ = ["ClassicNames", "Modules"]


class Modules:
    """The peer's modules, deferred: ``modules.os.path``, ``modules["xml.dom.minidom"]``."""

    __slots__ = ("_root",)

    def __init__(self, root: Any) -> None:
        self._root = root

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

    def _install_later(self, installer: Any) -> None:
        """Notes that the peer is to be a classic server; nothing needs to be installed here."""
        self._is_classic = True

    @property
    def _slave(self) -> Any:
        if not self._is_classic:
            raise AttributeError("not a classic connection: use aio.classic.connect")
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

    def eval(self, text: str) -> Any:
        """Evaluates an expression there, when awaited."""
        return self._slave.eval(text)

    def execute(self, text: str) -> Any:
        """Executes code there, when awaited."""
        return self._slave.execute(text)
