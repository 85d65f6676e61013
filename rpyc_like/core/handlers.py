"""What a peer may ask for: one function for each request of the wire.

Each takes the connection it came over, then the request's arguments, and returns the answer. A
function that uses a name goes through the connection's attribute gate.
"""

from __future__ import annotations

import pickle
from itertools import islice
from typing import Any

from ..lib.code import get_methods
from ..lib.identity import IdPack
from . import consts
from .netref import LOCAL_ATTRS, is_netref

__all__ = ["NAMES"]

NAMES = {
    getattr(consts, name): name[len("HANDLE_") :]
    for name in vars(consts)
    if name.startswith("HANDLE_")
}
"""Handler numbers to their names, for error texts and logs."""


def ping(conn: Any, data: Any) -> Any:
    """Returns what it is given."""
    return data


def close(conn: Any) -> None:
    """Ends the connection; no answer arrives."""
    conn._cleanup()


def getroot(conn: Any) -> Any:
    """Returns the local service."""
    return conn._local_root


def getattr_(conn: Any, obj: Any, name: Any) -> Any:
    """Returns an attribute."""
    return conn._access_attr(obj, name, (), "_rpyc_getattr", "allow_getattr", getattr)


def delattr_(conn: Any, obj: Any, name: Any) -> None:
    """Deletes an attribute."""
    return conn._access_attr(obj, name, (), "_rpyc_delattr", "allow_delattr", delattr)  # type: ignore[no-any-return]


def setattr_(conn: Any, obj: Any, name: Any, value: Any) -> None:
    """Sets an attribute."""
    return conn._access_attr(obj, name, (value,), "_rpyc_setattr", "allow_setattr", setattr)  # type: ignore[no-any-return]


def call(conn: Any, obj: Any, args: Any, kwargs: Any = ()) -> Any:
    """Calls an object.

    Args:
        kwargs: pairs of a name and a value.
    """
    return obj(*args, **dict(kwargs)) if kwargs else obj(*args)


def callattr(conn: Any, obj: Any, name: Any, args: Any, kwargs: Any = ()) -> Any:
    """Calls an attribute."""
    return conn._handle_call(conn._handle_getattr(obj, name), args, kwargs)


def repr_(conn: Any, obj: Any) -> str:
    """Returns ``repr(obj)``."""
    return repr(obj)


def str_(conn: Any, obj: Any) -> str:
    """Returns ``str(obj)``."""
    return str(obj)


def cmp(conn: Any, obj: Any, other: Any, op: Any = "__cmp__") -> Any:
    """Compares two objects with the operator that ``type(obj)`` has."""
    compare = conn._access_attr(type(obj), op, (), "_rpyc_getattr", "allow_getattr", getattr)
    return compare(obj, other)


def hash_(conn: Any, obj: Any) -> int:
    """Returns ``hash(obj)``."""
    return hash(obj)


def dir_(conn: Any, obj: Any) -> tuple[str, ...]:
    """Returns the names of an object's attributes."""
    return tuple(dir(obj))


def pickle_(conn: Any, obj: Any, proto: Any) -> bytes:
    """Returns the pickle of an object.

    Raises:
        ValueError: this side's configuration does not allow it.
    """
    if not conn._config["allow_pickle"]:
        raise ValueError("pickling is disabled (configuration key 'allow_pickle')")
    return pickle.dumps(obj, proto)


def del_(conn: Any, obj: Any, count: Any = 1) -> None:
    """Gives references back; the connection has done that in wire order already."""


def inspect_(conn: Any, id_pack: IdPack) -> Any:
    """Returns ``(name, docstring)`` of an object's methods."""
    obj = conn._local_objects[id_pack]
    if is_netref(obj):
        # The owner knows; this side has no more than the proxy.
        owner = object.__getattribute__(obj, "____conn__")
        pack = object.__getattribute__(obj, "____id_pack__")
        return owner.sync_request(consts.HANDLE_INSPECT, pack)
    return tuple(get_methods(LOCAL_ATTRS, obj))


def buffiter(conn: Any, obj: Any, count: Any) -> tuple[Any, ...]:
    """Returns the next ``count`` items of an iterator."""
    return tuple(islice(obj, count))


def oldslicing(
    conn: Any, obj: Any, attempt: Any, fallback: Any, start: Any, stop: Any, args: Any
) -> Any:
    """Slices for peers on Python 2: ``attempt`` with a slice, else ``fallback`` with numbers."""
    try:
        method = conn._handle_getattr(obj, attempt)
        return method(slice(start, stop), *args)
    except Exception:
        if stop is None:
            stop = (1 << 31) - 1
        return conn._handle_getattr(obj, fallback)(start, stop, *args)


def ctxexit(conn: Any, obj: Any, exc: Any) -> Any:
    """Leaves a ``with`` block: calls ``__exit__`` with an exception, or with none."""
    leave = conn._handle_getattr(obj, "__exit__")
    if not exc:
        return leave(None, None, None)
    if not isinstance(exc, BaseException) or is_netref(exc):
        exc = _stand_in(exc)
    try:
        raise exc
    except BaseException as error:
        return leave(type(error), error, error.__traceback__)


def _stand_in(exc: Any) -> BaseException:
    """Returns a local exception for a peer's: a proxy cannot be raised."""
    cls = getattr(exc, "__class__", None)
    if not (isinstance(cls, type) and issubclass(cls, Exception)) or is_netref(cls):
        cls = RuntimeError
    try:
        return cls(str(exc))
    except Exception:
        return RuntimeError(str(exc))


def instancecheck(conn: Any, obj: Any, other_id_pack: Any) -> bool:
    """Returns whether the object that the peer names is an instance of class ``obj``."""
    other = _lent(conn, other_id_pack)
    if other is None:
        return False
    return isinstance(other, obj)


def _lent(conn: Any, id_pack: Any) -> Any:
    try:
        return conn._local_objects[id_pack]
    except KeyError:
        return None


def hello(conn: Any, features: Any) -> int:
    """Notes which extensions the peer understands and returns those of this side."""
    if type(features) is not int:
        raise TypeError(f"features must be an int, got {type(features).__name__}")
    return conn._hello(features)  # type: ignore[no-any-return]
