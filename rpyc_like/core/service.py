"""Services: what a peer is given when a connection is made.

A service is the root object of its side. The classic ("slave") service gives the peer the whole
interpreter; the master side wraps that into ``conn.modules``, ``conn.eval`` and so on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from ..errors import AccessDenied
from ..lib.brief import brief
from ..lib.introspection import hasattr_static, hybridmethod
from ..lib.lazy_exports import late_import
from ..wire.framing import RpycFramer
from .config import client_settings
from .netref import is_netref
from .protocol import Connection

__all__ = [
    "ClassicClient",
    "ClassicService",
    "FakeSlaveService",
    "MasterService",
    "ModuleNamespace",
    "Service",
    "Slave",
    "SlaveService",
    "VoidService",
    "exposed",
    "service",
]

logger = logging.getLogger("rpyc_like.core")

T = TypeVar("T")


class Service:
    """Base of services; subclass it and define ``exposed_`` methods.

    A class is instantiated once for each connection; an instance is shared by all of them.
    """

    ALIASES: ClassVar[tuple[str, ...] | list[str]] = ()
    _protocol: ClassVar[type[Connection]] = Connection
    _make_framer = staticmethod(RpycFramer)
    """Makes what cuts the bytes of a client into frames, for servers."""

    def on_connect(self, conn: Connection) -> None:
        """Called when the connection has been made."""

    def on_disconnect(self, conn: Connection) -> None:
        """Called when the connection is gone; it cannot be used any more.

        Also after an ``on_connect`` that raised, as with RPyC: it may find half of what that makes.
        """

    def _rpyc_delattr(self, name: str) -> None:
        raise AccessDenied("access denied")

    def _rpyc_setattr(self, name: str, value: Any) -> None:
        raise AccessDenied("access denied")

    @classmethod
    def get_service_aliases(cls) -> tuple[str, ...]:
        """Returns the names a registry knows the service under, upper case."""
        if cls.ALIASES:
            return tuple(str(name).upper() for name in cls.ALIASES)
        name = cls.__name__.upper()
        return (name.removesuffix("SERVICE"),)

    @classmethod
    def get_service_name(cls) -> str:
        """Returns the first of the service's names."""
        return cls.get_service_aliases()[0]

    exposed_get_service_aliases = get_service_aliases
    exposed_get_service_name = get_service_name

    @hybridmethod
    def _connect(self, channel: Any, config: dict[str, Any] | None = None) -> Connection:
        """Makes a connection over an open channel; override it to talk before the protocol does."""
        root = self() if isinstance(self, type) else self
        conn = root._protocol(root, channel, config or {})
        try:
            conn.settled(root.on_connect(conn))
        except BaseException:
            try:
                conn.close()
            except Exception:
                logger.exception("! %s: on_disconnect failed, after on_connect", conn)
            raise
        return conn


class VoidService(Service):
    """Gives the peer nothing."""


class ModuleNamespace:
    """Modules by name: ``modules.os.path``, ``modules["xml.dom.minidom"]``, ``"os" in modules``.

    Args:
        getmodule: imports a module by its dotted name and returns it.
    """

    __slots__ = ("__cache", "__getmodule", "__weakref__")

    def __init__(self, getmodule: Callable[[str], Any]) -> None:
        self.__getmodule = getmodule
        self.__cache: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        try:
            self[name]
        except ImportError:
            return False
        return True

    def __getitem__(self, name: str | tuple[str, ...]) -> Any:
        if type(name) is tuple:
            name = ".".join(name)
        assert isinstance(name, str)
        if name not in self.__cache:
            self.__cache[name] = self.__getmodule(name)
        return self.__cache[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # Python and its tools look for these on any object
        try:
            return self[name]
        except ImportError as error:
            raise AttributeError(str(error)) from error


class Slave:
    """The whole interpreter, for a peer that may do everything."""

    __slots__ = ("_conn", "namespace")

    def __init__(self) -> None:
        self._conn: Any = None
        self.namespace: dict[str, Any] = {}

    def execute(self, text: str) -> None:
        """Executes code in the namespace of the connection."""
        exec(text, self.namespace)

    def eval(self, text: str) -> Any:
        """Evaluates an expression in the namespace of the connection."""
        return eval(text, self.namespace)

    def getmodule(self, name: str) -> Any:
        """Imports a module; names of RPyC's own modules mean those of this package."""
        return __import__(_own_module(name), None, None, "*")

    def getconn(self) -> Any:
        """Returns the connection that this service serves."""
        return self._conn


def _own_module(name: str) -> str:
    """Returns the module for a name that a peer asks for.

    RPyC's clients look for helpers in their own package on the other side (``rpyc.lib.compat``).
    """
    package, dot, rest = name.partition(".")
    ours = __name__.partition(".")[0]
    if package not in ("rpyc", ours):
        return name
    if package == "rpyc" and "rpyc" in sys.modules:
        return name  # this program uses the real one as well
    return ours + dot + rest


class SlaveService(Slave, Service):
    """Gives the peer the whole interpreter: every attribute, every module, pickling."""

    def on_connect(self, conn: Connection) -> None:
        self._conn = conn
        conn._config.update(
            allow_all_attrs=True,
            allow_pickle=True,
            allow_obtain=True,
            allow_getattr=True,
            allow_setattr=True,
            allow_delattr=True,
            allow_exposed_attrs=False,
            import_custom_exceptions=True,
            instantiate_custom_exceptions=True,
            instantiate_oldstyle_exceptions=True,
        )
        super().on_connect(conn)


class FakeSlaveService(VoidService):
    """Answers the questions that a master asks while it connects, and gives nothing."""

    exposed_namespace = None

    def exposed_execute(self, text: str) -> None:
        """Does nothing."""

    def exposed_eval(self, text: str) -> None:
        """Returns nothing."""

    def exposed_getmodule(self, name: str) -> None:
        """Returns nothing."""

    def exposed_getconn(self) -> None:
        """Returns nothing."""


class MasterService(Service):
    """Gives this side ``conn.modules``, ``eval``, ``execute``, ``namespace``, ``builtins`` ...

    They are fetched from the peer's slave service when first used, so that a server need not speak
    before it has heard which dialect its client speaks.
    """

    def on_connect(self, conn: Connection) -> None:
        super().on_connect(conn)
        conn._install_later(self._install)

    @staticmethod
    def _install(conn: Connection, slave: Any) -> None:
        """Sets the classic names on ``conn``.

        Args:
            slave: the peer's root.
        """
        try:
            getmodule = slave.getmodule
        except AttributeError as error:
            kind = slave.____id_pack__[0] if is_netref(slave) else type(slave).__name__
            raise AttributeError(
                f"expected a classic server, got one of {brief(kind)} "
                "(use rpyc_like.connect, and conn.root for what it exposes)"
            ) from error
        modules = ModuleNamespace(getmodule)
        conn._fetch_later("modules", lambda: modules)
        conn._fetch_later("eval", lambda: slave.eval)
        conn._fetch_later("execute", lambda: slave.execute)
        conn._fetch_later("namespace", lambda: slave.namespace)
        for name in ("builtin", "builtins"):
            conn._fetch_later(name, lambda: modules.builtins)

        def teleport(func: Any, globals: Any = None, def_: bool = True) -> Any:
            """Returns a copy of ``func`` that lives and runs on the other side."""
            with late_import():
                from .teleport import functions
            return functions.teleport(conn, func, globals, def_)

        conn._fetch_later("teleport", lambda: teleport)


class ClassicService(MasterService, SlaveService):
    """Master and slave: both sides give each other everything."""


class ClassicClient(MasterService, FakeSlaveService):
    """A master that gives the other side nothing but the objects it passes.

    Of those the other side may call, read public names and use safe special methods.
    """

    def on_connect(self, conn: Connection) -> None:
        conn._config.update(client_settings(conn._config))
        super().on_connect(conn)

    def _rpyc_getattr(self, name: str) -> Any:
        """Gives the peer what is exposed, and none of the methods that this side needs."""
        exposed = name if name.startswith("exposed_") else f"exposed_{name}"
        if hasattr_static(self, exposed):
            return getattr(self, exposed)
        raise AccessDenied(f"cannot access {name!r}")


def exposed(arg: Any) -> Any:
    """Marks a member of a service as visible to peers.

    Used bare (``@exposed``), with a prefix (``@exposed("prefix_")``), or on a class or descriptor.
    The class that has such members is decorated with :func:`service`.
    """
    if isinstance(arg, str):
        return lambda member: _mark(member, arg)
    if hasattr(arg, "__call__") or hasattr(arg, "__get__"):  # noqa: B004
        return _mark(arg, "exposed_")
    raise TypeError(f"expected a function, class, descriptor or prefix, got {type(arg).__name__}")


def _mark(member: T, prefix: str) -> T:
    member.__exposed__ = prefix  # type: ignore[attr-defined]
    return member


def service(cls: type[T]) -> type[T]:
    """Gives each member that :func:`exposed` marked its prefixed name, in nested classes too."""
    for name, member in list(vars(cls).items()):
        prefix = getattr(member, "__exposed__", None)
        if not isinstance(prefix, str):
            continue
        if isinstance(member, type):
            service(member)
        setattr(cls, prefix + name, member)
    return cls
