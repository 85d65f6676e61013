"""Proxies of classes: a class of the other side is a class here as well.

Its metaclass is :class:`NetrefType`, which sends to the owner whatever a metaclass is asked.
:class:`rpyc_like.core.classes.RemoteClasses` makes them.
"""

from __future__ import annotations

from typing import Any, Final

from ..lib.identity import IdPack
from . import consts
from .netref import LOCAL_ATTRS, LOCAL_REF, ClassProxy, is_instance, is_netref, local_class

__all__ = ["ClassState", "NetrefExceptionType", "NetrefType", "class_state"]


class ClassState:
    """How a remote class is known to its owner. Gives the reference back when the class dies."""

    __slots__ = ("boxed", "conn", "pack", "refcount")

    def __init__(self) -> None:
        self.conn: Any = None
        self.pack: IdPack | None = None
        self.boxed = b""
        self.refcount = 0

    def bind(self, conn: Any, pack: IdPack, raw: bytes) -> None:
        """Notes a reference that was received."""
        self.conn, self.pack, self.boxed = conn, pack, LOCAL_REF + raw
        self.refcount = 1

    def __del__(self) -> None:
        try:
            if self.refcount:
                self.conn._proxies.release_later(self.boxed[2:], self.refcount)
        except Exception:
            pass  # the interpreter is shutting down


_CLASS_LOCAL: Final = (LOCAL_ATTRS - {"__class__", "__doc__", "__exit__"}).union(
    ("____boxed__", "____state__", "__abstractmethods__", "__flags__", "__mro__", "__name__"),
    ("__subclasshook__", "__init_subclass__", "__set_name__", "__prepare__", "__subclasscheck__"),
)
"""Names of a remote class that are answered here."""


def class_state(cls: type) -> ClassState:
    """Returns how a remote class is known to its owner."""
    state: ClassState = type.__getattribute__(cls, "____state__")
    return state


class NetrefType(ClassProxy):
    """Metaclass of remote classes: each is a class here, and its owner answers for it.

    :class:`rpyc_like.core.classes.RemoteClasses` makes them.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        """Makes the representative of a remote class.

        Args:
            namespace: holds its state (``____state__``), and in ``____bases__`` the classes that
                come next in its ``__mro__``.
        """
        if "____state__" not in namespace:
            raise TypeError(
                f"cannot derive {name!r} from a remote class: its instances live on the other side"
            )
        return super().__new__(mcs, name, bases, namespace)

    def mro(cls) -> list[type]:
        own = super().mro()
        first = type.__getattribute__(cls, "__dict__")["____bases__"]
        return [cls, *first, *(base for base in own[1:] if base not in first)]

    @property
    def ____conn__(cls) -> Any:
        return class_state(cls).conn

    @property
    def ____id_pack__(cls) -> Any:
        return class_state(cls).pack

    @property
    def ____boxed__(cls) -> bytes:
        return class_state(cls).boxed

    @property
    def ____refcount__(cls) -> int:
        return class_state(cls).refcount

    @____refcount__.setter
    def ____refcount__(cls, count: int) -> None:
        class_state(cls).refcount = count

    def __getattribute__(cls, name: str) -> Any:
        if name in _CLASS_LOCAL:
            return type.__getattribute__(cls, name)
        if name == "__class__":
            return type
        return _owner_attr(cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name in _CLASS_LOCAL:
            type.__setattr__(cls, name, value)
        else:
            _class_request(cls, consts.HANDLE_SETATTR, name, value)

    def __delattr__(cls, name: str) -> None:
        _class_request(cls, consts.HANDLE_DELATTR, name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _class_request(cls, consts.HANDLE_CALL, args, tuple(kwargs.items()))

    def __dir__(cls) -> list[str]:
        return list(_class_request(cls, consts.HANDLE_DIR))

    def __repr__(cls) -> str:
        if class_state(cls).conn is None:
            return type.__repr__(cls)
        return str(_class_request(cls, consts.HANDLE_REPR))

    def __str__(cls) -> str:
        if class_state(cls).conn is None:
            return repr(cls)
        return str(_class_request(cls, consts.HANDLE_STR))

    def __lt__(cls, other: Any) -> Any:
        return _class_request(cls, consts.HANDLE_CMP, other, "__lt__")

    def __gt__(cls, other: Any) -> Any:
        return _class_request(cls, consts.HANDLE_CMP, other, "__gt__")

    def __le__(cls, other: Any) -> Any:
        return _class_request(cls, consts.HANDLE_CMP, other, "__le__")

    def __ge__(cls, other: Any) -> Any:
        return _class_request(cls, consts.HANDLE_CMP, other, "__ge__")

    def __instancecheck__(cls, other: Any) -> bool:
        if type.__instancecheck__(cls, other):
            return True
        return class_state(cls).conn is not None and is_instance(cls, other)

    def __subclasscheck__(cls, other: Any) -> bool:
        if type.__subclasscheck__(cls, other):
            return True
        state = class_state(cls)
        if not is_netref(other):
            known = local_class(f"{cls.__module__}.{cls.__name__}")
            return known is not None and issubclass(other, known)
        if state.conn is None or object.__getattribute__(other, "____conn__") is not state.conn:
            return False
        return bool(state.conn.is_subclass(other, cls))


class NetrefExceptionType(NetrefType):
    """Metaclass of remote exception classes, of which there are instances here as well."""

    def __getattribute__(self, name: str) -> Any:
        try:
            return type.__getattribute__(self, name)
        except AttributeError:
            return _owner_attr(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if class_state(self).conn is None or self.__module__ == "builtins":
            return type.__call__(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)


def _owner_attr(cls: type, name: str) -> Any:
    return _class_request(cls, consts.HANDLE_GETATTR, name)


def _class_request(cls: type, handler: int, *args: Any) -> Any:
    conn = class_state(cls).conn
    if conn is None:
        raise AttributeError(f"{cls.__name__!r} is known here by its name alone")
    return conn.sync_request(handler, cls, *args)
