"""Proxies of classes: a class of the other side is a class here as well.

Its metaclass is :class:`NetrefType`, which sends to the owner whatever a metaclass is asked.
:class:`rpyc_like.core.proxies.remote_classes.RemoteClasses` makes them.
"""

from __future__ import annotations

from typing import Any, Final

from ...lib.exact import exact_items
from ...lib.object_ids import IdPack
from ...lib.stand_ins import dict_of, is_among, mro_of
from .. import consts
from ..netref import (
    LOCAL_ATTRS,
    LOCAL_REF,
    ClassProxy,
    answered_text,
    is_instance,
    is_netref,
    local_class,
)

__all__ = ["RemoteClassRef", "NetrefExceptionType", "NetrefType", "class_state", "is_subclass"]


class RemoteClassRef:
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


_IS_ABSTRACT: Final = 1 << 20  # of every stand-in here, whatever it is for its owner

_CLASS_LOCAL: Final = (LOCAL_ATTRS - {"__class__", "__doc__", "__exit__"}).union(
    ("____boxed__", "____state__", "__flags__", "__mro__", "__name__"),
    ("__subclasshook__", "__init_subclass__", "__set_name__", "__prepare__", "__subclasscheck__"),
)
"""Names of a remote class that are answered here."""


def class_state(cls: type) -> RemoteClassRef:
    """Returns how a remote class is known to its owner."""
    state: RemoteClassRef = type.__getattribute__(cls, "____state__")
    return state


class NetrefType(ClassProxy):
    """Metaclass of remote classes: each is a class here, and its owner answers for it.

    :class:`rpyc_like.core.proxies.remote_classes.RemoteClasses` makes them.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        """Makes the representative of a remote class.

        Args:
            namespace: holds its state (``____state__``), and in ``____bases__`` the classes that
                come next in its ``__mro__``; of an exception, in ``____program____`` the classes
                of this program among them.
        """
        if "____state__" not in namespace:
            raise TypeError(
                f"cannot derive {name!r} from a remote class: its instances live on the other side"
            )
        return super().__new__(mcs, name, bases, namespace)

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
        if name == "__flags__":
            return type.__getattribute__(cls, name) & ~_IS_ABSTRACT
        if name in _CLASS_LOCAL:
            return type.__getattribute__(cls, name)
        if name == "__class__":
            return type
        return _owner_attr(cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name == "____refcount__":
            type.__setattr__(cls, name, value)
        else:
            _class_request(cls, consts.HANDLE_SETATTR, name, value)

    def __delattr__(cls, name: str) -> None:
        _class_request(cls, consts.HANDLE_DELATTR, name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _class_request(cls, consts.HANDLE_CALL, args, tuple(kwargs.items()))

    def __dir__(cls) -> list[str]:
        return exact_items(_class_request(cls, consts.HANDLE_DIR), str, "a name")

    def __repr__(cls) -> str:
        if class_state(cls).conn is None:
            return type.__repr__(cls)
        return answered_text(_class_request(cls, consts.HANDLE_REPR))

    def __str__(cls) -> str:
        if class_state(cls).conn is None:
            return repr(cls)
        return answered_text(_class_request(cls, consts.HANDLE_STR))

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
            known = _local_class_of(cls)
            return known is not None and issubclass(other, known)
        if state.conn is None or object.__getattribute__(other, "____conn__") is not state.conn:
            return False
        return bool(state.conn.is_subclass(other, cls))


def _local_class_of(cls: type) -> type | None:
    return local_class(f"{cls.__module__}.{cls.__name__}")


def is_subclass(cls: type, other: Any) -> bool:
    """Return whether a class is a subclass of what a proxy stands for, because a peer asks.

    No code of a class of this program runs.
    """
    if is_netref(cls) or not issubclass(type(other), NetrefType):
        return issubclass(cls, other)
    known = _local_class_of(other)
    return any(base is other or (known is not None and base is known) for base in mro_of(cls))


class NetrefExceptionType(NetrefType):
    """Metaclass of remote exception classes, of which there are instances here as well."""

    def __getattribute__(self, name: str) -> Any:
        if name[:6] == "_rpyc_":
            raise AttributeError(name)  # what a class of this side says about access to it
        program = dict_of(self)["____program____"]
        if name in dict_of(type) or not is_among(_home(self, name), program):
            try:
                return type.__getattribute__(self, name)
            except AttributeError:
                pass
        return _owner_attr(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if class_state(self).conn is None or self.__module__ == "builtins":
            return type.__call__(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)


def _home(cls: type, name: str) -> type | None:
    """Returns the class in which an attribute of ``cls`` is found."""
    return next((base for base in mro_of(cls) if name in dict_of(base)), None)


def _owner_attr(cls: type, name: str) -> Any:
    return _class_request(cls, consts.HANDLE_GETATTR, name)


def _class_request(cls: type, handler: int, *args: Any) -> Any:
    conn = class_state(cls).conn
    if conn is None:
        raise AttributeError(f"{cls.__name__!r} is known here by its name alone")
    return conn.sync_request(handler, cls, *args)
