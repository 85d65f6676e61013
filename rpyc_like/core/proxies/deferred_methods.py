"""Attributes that need not be fetched to be called.

Where the owner has said that a name is a plain function of a class or module, reading it from a
proxy makes no request: it gives a deferred value, which knows the object and the name. Calling it
is one request (CALLATTR), in which the owner looks the name up. Anything else that is done with it
fetches what the name stands for first, once, and goes on with that; so does a call from then on.
A submodule is deferred as well. What is read from it is one request that names the whole path.

So a function is bound late: a name that has been rebound meanwhile means the new function, and one
that is gone raises AttributeError when it is called. The configuration key ``defer_methods`` turns
this off.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from ...lib.introspection import instance_methods
from .. import consts, netref
from ..iteration.prefetch import ITEMS, KEYS_AND_VALUES, VALUES, open_items
from ..netref import BaseNetref, NetrefMetaclass, builtin_classes_cache, class_factory
from .class_descriptions import Functions, Submodule, functions_of_class

__all__ = ["DeferredMetaclass", "function_table", "resolved"]

_UNKNOWN: Final = object()

Maker = Callable[[Any, str], Any]


class DeferredMetaclass(NetrefMetaclass):
    """The metaclass of deferred values, which are proxies without an id pack of their own."""

    __slots__ = ()


class _Deferred(BaseNetref, metaclass=DeferredMetaclass):
    """What ``name`` of the remote object ``owner`` stands for."""

    __slots__ = ("____name__", "____owner__", "____real__")

    ____name__: str
    ____owner__: Any
    ____real__: Any

    def ____fetch__(self) -> Any:
        return _get_conn(self)._follow(*_path(self))

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name in _LOCAL:
            return _local(self, name)
        return getattr(resolved(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(resolved(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(resolved(self), name)

    # Whoever looks past __getattribute__ finds these.
    ____id_pack__ = property(lambda self: resolved(self).____id_pack__)  # type: ignore[assignment]
    ____boxed__ = property(lambda self: resolved(self).____boxed__)  # type: ignore[assignment]
    ____refcount__ = property(lambda self: resolved(self).____refcount__)  # type: ignore[assignment]


class _DeferredFunction(_Deferred):
    """A function or method that has not been fetched."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _get_real(self) is not _UNKNOWN:
            return _get_real(self)(*args, **kwargs)
        owner = _get_owner(self)
        pairs = tuple(kwargs.items()) if kwargs else ()
        conn = _get_conn(self)
        if type(type(owner)) is DeferredMetaclass:
            root, path = _path(self)
            return conn._follow(root, path, args, pairs)
        return conn.sync_request(consts.HANDLE_CALLATTR, owner, _get_name(self), args, pairs)


_local: Final = object.__getattribute__
_OWN: Final = frozenset({"____conn__", "__call__"})
_LOCAL: Final = frozenset({"__class__", "__del__", "__dict__", "__slots__", "__weakref__"})
_get_conn = BaseNetref.__dict__["____conn__"].__get__
_set_conn = BaseNetref.__dict__["____conn__"].__set__
_get_owner = _Deferred.__dict__["____owner__"].__get__
_set_owner = _Deferred.__dict__["____owner__"].__set__
_get_name = _Deferred.__dict__["____name__"].__get__
_set_name = _Deferred.__dict__["____name__"].__set__
_get_real = _Deferred.__dict__["____real__"].__get__
_set_real = _Deferred.__dict__["____real__"].__set__


def resolved(deferred: Any) -> Any:
    """Returns what a deferred value stands for; asks the owner, once."""
    real = _get_real(deferred)
    if real is _UNKNOWN:
        real = type(deferred).____fetch__(deferred)
        _set_real(deferred, real)
    return real


def _path(deferred: Any) -> tuple[Any, list[str]]:
    """Returns a proxy that is known to its owner, and the names that lead from it to a value."""
    path = [_get_name(deferred)]
    owner = _get_owner(deferred)
    while type(type(owner)) is DeferredMetaclass:
        if _get_real(owner) is not _UNKNOWN:
            return _get_real(owner), path
        path.insert(0, _get_name(owner))
        owner = _get_owner(owner)
    return owner, path


def _delegate(name: str, do: Callable[..., Any]) -> None:
    def method(self: Any, *args: Any) -> Any:
        return do(resolved(self), *args)

    method.__name__ = method.__qualname__ = name
    setattr(_Deferred, name, method)


for _name in ("__eq__", "__ne__", "__lt__", "__gt__", "__le__", "__ge__"):
    _delegate(_name, getattr(operator, _name))
_DELEGATED: Final[dict[str, Callable[..., Any]]] = {
    "__hash__": hash,
    "__repr__": repr,
    "__str__": str,
    "__dir__": dir,
    "__format__": format,
    "__reduce_ex__": lambda real, protocol: real.__reduce_ex__(protocol),
    "__instancecheck__": lambda real, other: isinstance(other, real),
}
for _name, _do in _DELEGATED.items():
    _delegate(_name, _do)


class _DeferredClass:
    """What ``__class__`` of a deferred value is: what it was said to be, until it was fetched."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, deferred: Any, kind: Any) -> Any:
        if deferred is None:
            return self
        real = _get_real(deferred)
        return self._cls if real is _UNKNOWN else real.__class__


def _make_class(name: str, cls: type, base: type, module: str = "builtins") -> Any:
    """Returns the class of deferred values that are said to be of class ``cls``."""
    namespace = {
        "__slots__": (),
        "__class__": _DeferredClass(cls),
        "__module__": module,
        "____functions__": {},
    }
    return DeferredMetaclass(name, (base,), namespace)


def _maker(cls: type) -> Maker:
    make: Any = cls.__new__

    def deferred(owner: Any, name: str) -> Any:
        value = make(cls)
        _set_conn(value, _get_conn(owner))
        _set_owner(value, owner)
        _set_name(value, name)
        _set_real(value, _UNKNOWN)
        return value

    return deferred


_METHOD, _FUNCTION, _BUILTIN = (
    _maker(_make_class(str(_kind.__name__), _kind, _DeferredFunction))
    for _kind in (MethodType, FunctionType, BuiltinFunctionType)
)


class _DeferredModule(_Deferred):
    """A submodule that has not been fetched."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN or name in _LOCAL:
            return _local(self, name)
        if _get_real(self) is _UNKNOWN:
            make = type(self).____functions__.get(name)
            if make is not None:
                return make(self, name)
            if name not in netref.LOCAL_ATTRS:
                root, path = _path(self)
                return _get_conn(self)._follow(root, [*path, name])
        return getattr(resolved(self), name)


def _submodule(module: Submodule) -> Maker:
    made = _make_class(module.name.rpartition(".")[2], ModuleType, _DeferredModule, module.name)
    made.____functions__ = {
        **dict.fromkeys(module.functions, _FUNCTION),
        **dict.fromkeys(module.builtins, _BUILTIN),
    }
    return _maker(made)


def function_table(functions: Functions) -> dict[str, Maker]:
    """Returns what makes a deferred value for each name that can be deferred."""
    return {
        **{module.attribute: _submodule(module) for module in functions.submodules},
        **dict.fromkeys(functions.methods, _METHOD),
        **dict.fromkeys(functions.functions, _FUNCTION),
        **dict.fromkeys(functions.builtins, _BUILTIN),
    }


def _of_builtin(owner: Any, name: str) -> Any:
    """Reads a function of an instance of a built-in type, which nobody has described."""
    conn = _get_conn(owner)
    if conn._peer_is_open:
        return _BUILTIN(owner, name)
    return conn.sync_request(consts.HANDLE_GETATTR, owner, name)


class _DeferredView(_Deferred):
    """What ``keys()``, ``values()`` or ``items()`` of a dict has given, and nobody has used yet."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if _get_real(self) is _UNKNOWN and not hasattr(_VIEWS[_get_name(self)][0], name):
            if name not in netref.LOCAL_ATTRS:
                raise AttributeError(name)  # as the class is built in, this is known
        return super().__getattribute__(name)

    def ____fetch__(self) -> Any:
        conn = _get_conn(self)
        return conn.sync_request(consts.HANDLE_CALLATTR, _get_owner(self), _get_name(self), (), ())

    def __iter__(self) -> Any:
        items = None
        if _get_real(self) is _UNKNOWN:
            items = open_items(_get_conn(self), _get_owner(self), _VIEWS[_get_name(self)][1])
        return iter(resolved(self)) if items is None else items

    def __len__(self) -> int:
        glimpse = _get_conn(self)._reads.get(None)
        length = None if glimpse is None else glimpse.length(_get_owner(self))
        return len(resolved(self)) if length is None else length


_EMPTY: Final[dict[Any, Any]] = {}
_VIEWS: Final[dict[str, tuple[type, int]]] = {
    "keys": (type(_EMPTY.keys()), KEYS_AND_VALUES),
    "values": (type(_EMPTY.values()), VALUES),
    "items": (type(_EMPTY.items()), ITEMS),
}
"""The methods of a dict that give views: the class of the view, and what is read of the dict."""


def _view_class(cls: type) -> Any:
    name = cls.__name__
    methods = instance_methods(netref.LOCAL_ATTRS, cls)
    base = class_factory((f"builtins.{name}", 0, 1), methods)
    namespace = {"__slots__": (), "__class__": _DeferredClass(cls), "__module__": "builtins"}
    return DeferredMetaclass(name, (_DeferredView, base), namespace)


_view_makers: Final = {_name: _maker(_view_class(_cls)) for _name, (_cls, _) in _VIEWS.items()}


class _DeferredViewMethod(_DeferredFunction):
    """``keys``, ``values`` or ``items`` of a dict."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or _get_real(self) is not _UNKNOWN or not _get_conn(self)._reads_ahead:
            return super().__call__(*args, **kwargs)
        name = _get_name(self)
        return _view_makers[name](_get_owner(self), name)


_view_method = _maker(
    _make_class("builtin_function_or_method", BuiltinFunctionType, _DeferredViewMethod)
)


def _view_of_builtin(owner: Any, name: str) -> Any:
    conn = _get_conn(owner)
    if conn._peer_is_open:
        return _view_method(owner, name)
    return conn.sync_request(consts.HANDLE_GETATTR, owner, name)


for _name, _proxy in builtin_classes_cache.items():
    _builtin: Any = netref.local_class(_name)
    if _builtin not in (type, object):
        _names = functions_of_class(_builtin)
        _makers = dict.fromkeys(sum(_names[:3], ()), _of_builtin)
        if _builtin is dict:
            _makers.update(dict.fromkeys(_VIEWS, _view_of_builtin))
        _proxy.____functions__ = _makers  # type: ignore[attr-defined]
