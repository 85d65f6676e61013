"""Proxies of remote objects, and the classes they are made of.

A proxy class is generated from the special methods that the remote class has, because Python looks
special methods up on the class. Explicit attribute access always asks the owner.
"""

from __future__ import annotations

import pickle
import re
import sys
import weakref
from collections.abc import Callable, Iterable
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    TracebackType,
    WrapperDescriptorType,
)
from typing import Any, ClassVar, Final

from ..errors import AccessDenied
from ..lib.compat import maxint
from ..lib.exact import exact, exact_items
from ..lib.introspection import COMPARISONS, clean_name, get_methods, instance_methods
from ..lib.lazy_exports import late_import
from ..lib.object_ids import IdPack, get_id_pack
from ..lib.optional_imports import class_in, imported
from ..lib.stand_ins import StandIn, dict_of, is_among, mro_of
from . import brine, consts
from .iteration.cursors import CONTAINERS
from .iteration.prefetch import MISSING, open_items

__all__ = [
    "DELETED_ATTRS",
    "LOCAL_ATTRS",
    "BaseNetref",
    "ClassProxy",
    "NetProxy",
    "NetrefClass",
    "NetrefMetaclass",
    "answered_text",
    "asyncreq",
    "blocking_method",
    "builtin_classes_cache",
    "builtin_id_pack_cache",
    "builtin_methods",
    "class_factory",
    "is_netref",
    "get_id_pack",
    "get_methods",
    "local_class",
    "maxint",
    "set_stand_in",
    "syncreq",
]

DELETED_ATTRS: Final = frozenset({"__array_struct__", "__array_interface__"})
"""Names that no proxy has, because C code that finds them would read foreign memory."""

LOCAL_ATTRS: Final = DELETED_ATTRS.union(
    COMPARISONS,
    ("____conn__", "____id_pack__", "____refcount__"),
    ("__class__", "__del__", "__delattr__", "__dict__", "__dir__", "__doc__", "__exit__"),
    ("__getattr__", "__getattribute__", "__hash__", "__init__", "__instancecheck__"),
    ("__metaclass__", "__methods__", "__module__", "__new__", "__reduce__", "__reduce_ex__"),
    ("__repr__", "__setattr__", "__slots__", "__str__", "__weakref__"),
)
"""Names that a proxy answers itself, each with its own way of asking the owner or none."""

_OWN_SLOTS: Final = frozenset({"____conn__", "____id_pack__", "____refcount__"})

_local: Callable[[Any, str], Any] = object.__getattribute__


def syncreq(proxy: Any, handler: int, *args: Any) -> Any:
    """Asks the owner of ``proxy`` to do ``handler`` on it; returns the answer."""
    return _local(proxy, "____conn__").sync_request(handler, proxy, *args)


_syncreq = syncreq
"""What :func:`syncreq` is unless a program has replaced it; usual paths then go without it."""


def asyncreq(proxy: Any, handler: int, *args: Any) -> Any:
    """Asks the owner of ``proxy`` to do ``handler`` on it; returns an AsyncResult."""
    return _local(proxy, "____conn__").async_request(handler, proxy, *args)


def is_netref(obj: Any) -> bool:
    """Returns whether ``obj`` is a proxy, whatever class it claims to be."""
    return issubclass(type(obj), _PROXY_TYPES)


class NetrefMetaclass(type):
    """Gives proxy classes a telling repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<netref class '{self.__module__}.{self.__name__}'>"


class NetrefClass:
    """What ``proxy.__class__`` is: the local class of the same name, if there is one."""

    def __init__(self, class_obj: Any) -> None:
        self._class_obj = class_obj

    @property
    def instance(self) -> Any:
        """The class of instances."""
        return self._class_obj

    @property
    def owner(self) -> Any:
        """The class of the class."""
        return type(self._class_obj)  # a metaclass may have code that answers for __class__

    def __get__(self, netref_instance: Any, netref_owner: Any) -> Any:
        if netref_instance is None:
            return self
        is_class = _local(netref_instance, "____id_pack__")[2] == 0
        return self.owner if is_class else self.instance


class BaseNetref(metaclass=NetrefMetaclass):
    """Base of all proxies.

    Args:
        conn: the connection to the owner.
        id_pack: ``(name, class id, instance id)`` under which the owner knows the object.
        raw: the brine of the id pack, if it is known already.
    """

    __slots__ = ("____boxed__", "____conn__", "____id_pack__", "__weakref__")

    ____boxed__: bytes  # how the reference is sent back to the owner: a label and the id pack
    ____conn__: Any
    ____id_pack__: IdPack
    ____functions__: ClassVar[dict[str, Callable[[Any, str], Any]]] = {}  # see core.deferred
    ____special__: ClassVar[dict[str, Callable[..., Any]]] = {}
    """Special methods that all classes with this base have instead of those of the owner."""

    def __init__(self, conn: Any, id_pack: IdPack, raw: bytes | None = None) -> None:
        _set_conn(self, conn)
        _set_id_pack(self, id_pack)
        _set_boxed(self, LOCAL_REF + (brine.dump(id_pack) if raw is None else raw))

    @property
    def ____refcount__(self) -> int:
        """How many references of the peer's table the proxy stands for; 0 if it is not in use."""
        held = _get_conn(self)._proxies.by_raw.get(_get_boxed(self)[2:])
        return int(held.count) if held is not None and held() is self else 0

    def __getattribute__(self, name: str) -> Any:
        if name not in LOCAL_ATTRS:
            if name == "__call__" or name == "__array__":
                return _local(self, name)
            if syncreq is not _syncreq:
                return syncreq(self, consts.HANDLE_GETATTR, name)
            conn = _get_conn(self)
            if conn._defers:
                deferred = type(self).____functions__.get(name)
                if deferred is not None:
                    return deferred(self, name)
            return conn.sync_request(consts.HANDLE_GETATTR, self, name)
        if name in DELETED_ATTRS:
            raise AttributeError(name)
        if name != "__doc__":
            try:
                value = _local(self, name)
            except AttributeError:
                value = None
            if value is not None or name in _OWN_SLOTS:
                return value
        return syncreq(self, consts.HANDLE_GETATTR, name)

    # There is no __getattr__: Python would call it after each failure, and ask the owner twice.

    def __delattr__(self, name: str) -> None:
        if name in LOCAL_ATTRS:
            object.__delattr__(self, name)
        else:
            syncreq(self, consts.HANDLE_DELATTR, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in LOCAL_ATTRS:
            object.__setattr__(self, name, value)
        else:
            syncreq(self, consts.HANDLE_SETATTR, name, value)

    def __dir__(self) -> Iterable[str]:
        return exact_items(syncreq(self, consts.HANDLE_DIR), str, "a name")

    def __hash__(self) -> int:
        return exact(syncreq(self, consts.HANDLE_HASH), int, "a hash")

    def __cmp__(self, other: Any) -> Any:
        return syncreq(self, consts.HANDLE_CMP, other, "__cmp__")

    def __eq__(self, other: Any) -> Any:
        return _compare(self, other, "__eq__")

    def __ne__(self, other: Any) -> Any:
        return _compare(self, other, "__ne__")

    def __lt__(self, other: Any) -> Any:
        return _compare(self, other, "__lt__")

    def __gt__(self, other: Any) -> Any:
        return _compare(self, other, "__gt__")

    def __le__(self, other: Any) -> Any:
        return _compare(self, other, "__le__")

    def __ge__(self, other: Any) -> Any:
        return _compare(self, other, "__ge__")

    def __repr__(self) -> str:
        try:
            return answered_text(syncreq(self, consts.HANDLE_REPR))
        except EOFError:
            if not _local(self, "____conn__").closed:
                raise  # by the object's own method
            # Debuggers, logs and tracebacks show what is there, whether it can be used or not.
            return f"<proxy of a {_local(self, '____id_pack__')[0]!s:.200}, connection closed>"

    def __str__(self) -> str:
        return answered_text(syncreq(self, consts.HANDLE_STR))

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> Any:
        conn = _local(self, "____conn__")
        if value is not None and conn._codec.features & consts.FEATURE_TYPES:
            value = conn._box_own_exc(value)
        return syncreq(self, consts.HANDLE_CTXEXIT, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not _local(self, "____conn__")._config["allow_implicit_pickle"]:
            # The bytes would be the peer's, and unpickling runs them.
            raise ValueError(
                "a proxy is not pickled or copied implicitly: use obtain() "
                "(configuration key 'allow_implicit_pickle')"
            )
        return pickle.loads, (syncreq(self, consts.HANDLE_PICKLE, protocol),)

    def __instancecheck__(self, other: Any) -> bool:
        if _local(self, "____id_pack__")[2] != 0:
            raise TypeError(
                "isinstance() arg 2 must be a class, type, or tuple of classes and types"
            )
        return is_instance(self, other)


NetProxy = BaseNetref


def answered_text(answer: Any) -> str:
    """Return the text that the owner of an object has answered.

    One of a subclass of `str` comes by reference, and is asked for once more.
    """
    if is_netref(answer):
        answer = syncreq(answer, consts.HANDLE_STR)
    return exact(answer, str, "a text")


def _compare(proxy: Any, other: Any, op: str) -> Any:
    if type(other) in CONTAINERS and op in ("__eq__", "__ne__") and type(proxy) in _COMPARED:
        conn = _get_conn(proxy)
        if conn._reads_ahead and syncreq is _syncreq:
            with late_import():
                from .proxies.container_copies import equals_local

            return equals_local(proxy, other) is (op == "__eq__")
    outcome = syncreq(proxy, consts.HANDLE_CMP, other, op)
    if outcome is NotImplemented and type(other) not in brine.simple_types:
        with late_import():
            from .proxies.container_copies import retried_comparison

        return retried_comparison(proxy, other, op)
    return outcome


def is_instance(cls: Any, other: Any, quiet: bool = False) -> bool:
    """Returns whether ``other`` is an instance of the remote class behind the proxy ``cls``.

    Args:
        quiet: whether a peer wants to know: then no code of a class of this program runs.
    """
    name, class_number, _ = _local(cls, "____id_pack__")
    if not is_netref(other):
        known = local_class(name)
        if quiet:
            return known is not None and is_among(known, mro_of(type(other)))
        return known is not None and isinstance(other, known)
    other_pack = _local(other, "____id_pack__")
    same = bool(class_number == other_pack[1] and other_pack[2] != 0)
    if same or _local(other, "____conn__") is not _local(cls, "____conn__"):
        return same
    return exact(syncreq(cls, consts.HANDLE_INSTANCECHECK, other_pack), bool, "a truth value")


class ClassProxy(StandIn):
    """Metaclass of proxies of classes; :mod:`.proxies.class_proxies` says what they do."""


_PROXY_TYPES: Final = (BaseNetref, ClassProxy)

_set_conn = BaseNetref.__dict__["____conn__"].__set__
_set_id_pack = BaseNetref.__dict__["____id_pack__"].__set__
_set_boxed = BaseNetref.__dict__["____boxed__"].__set__
_get_conn = BaseNetref.__dict__["____conn__"].__get__
_get_boxed = BaseNetref.__dict__["____boxed__"].__get__
LOCAL_REF: Final = brine.dump((consts.LABEL_LOCAL_REF, None))[:2]

SLICERS: Final = {
    "__getslice__": "__getitem__",
    "__setslice__": "__setitem__",
    "__delslice__": "__delitem__",
}


def _make_method(name: str, doc: str | None) -> Callable[..., Any]:
    """Returns a function that asks the owner to do what its name says."""
    make = _MAKERS.get(name)
    method = _callattr_method(name) if make is None else make(name)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = doc
    return method


def blocking_method(name: str) -> Callable[..., Any]:
    """Returns a special method of blocking programs' proxies, for those of another base."""
    usual = _make_method(name, None)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        in_chunks = _IN_CHUNKS.get(_local(self, "____id_pack__")[0], {})
        return in_chunks.get(name, usual)(self, *args, **kwargs)

    return method


def _callattr_method(name: str) -> Callable[..., Any]:
    def method(_self: Any, *args: Any, **kwargs: Any) -> Any:
        return syncreq(_self, consts.HANDLE_CALLATTR, name, args, tuple(kwargs.items()))

    return method


def _call_method(name: str) -> Callable[..., Any]:
    def __call__(_self: Any, *args: Any, **kwargs: Any) -> Any:
        pairs = tuple(kwargs.items()) if kwargs else ()
        if syncreq is not _syncreq:
            return syncreq(_self, consts.HANDLE_CALL, args, pairs)
        return _get_conn(_self).sync_request(consts.HANDLE_CALL, _self, args, pairs)

    return __call__


def _radd_method(name: str) -> Callable[..., Any]:
    def __radd__(self: Any, other: Any) -> Any:
        with late_import():
            from .proxies.container_copies import copy_of, is_container

        if is_netref(other) or not is_container(self):
            return NotImplemented
        return other + copy_of(self)

    return __radd__


def _slice_method(name: str) -> Callable[..., Any]:
    attempt = SLICERS[name]

    def method(self: Any, start: Any, stop: Any, *args: Any) -> Any:
        if stop == sys.maxsize:
            stop = None
        return syncreq(self, consts.HANDLE_OLDSLICING, attempt, name, start, stop, args)

    return method


def _array_method(name: str) -> Callable[..., Any]:
    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return a local NumPy array: shape, type and bytes travel, no pickle."""
        numpy: Any = imported("numpy")
        try:
            local = _array_by_attributes(numpy, self, name)
        except AttributeError as error:
            local = _array_by_snapshot(numpy, self, error)
        return local if dtype is None else local.astype(dtype)

    return __array__


def _array_by_attributes(numpy: Any, proxy: Any, name: str) -> Any:
    array = syncreq(proxy, consts.HANDLE_CALLATTR, name, (), ())
    kind = exact(array.dtype.str, str, "a dtype")
    if not _PLAIN_DTYPE.fullmatch(kind):
        raise ValueError(f"expected an array of numbers, times or text, got dtype {kind!r:.80}")
    shape = exact_items(array.shape, int, "a size")
    data = exact(array.tobytes(), bytes, "the content of an array")
    with late_import():
        from .snapshots.checks import check_items

    flat = numpy.frombuffer(data, numpy.dtype(kind))
    check_items(flat)
    return flat.reshape(shape).copy()


def _array_by_snapshot(numpy: Any, proxy: Any, refusal: AttributeError) -> Any:
    """Return an array whose owner does not let this side read its attributes.

    Raises:
        AccessDenied: it cannot be had as a snapshot, either. NumPy would make an array of objects
            without an error.
    """
    with late_import():
        from .snapshots import snapshot  # needs this module

    try:
        copied = snapshot(proxy)
    except (AttributeError, TypeError):
        copied = None
    if not isinstance(copied, (numpy.ndarray, numpy.generic)):
        name = _local(proxy, "____id_pack__")[0]
        raise AccessDenied(
            f"cannot make a local array of a remote {name!s:.80}: its owner refuses '__array__' or "
            "the attributes that it needs (there, '__array__' in the configuration key "
            "'safe_attrs', and 'allow_public_attrs'), and gives no snapshot"
        ) from refusal
    return numpy.asarray(copied)


def is_array_class(names: Iterable[str]) -> bool:
    """Return whether objects of a remote class are arrays, as its names and its bases' tell."""
    classes = [local_class(name) for name in names]
    return any("__array__" in dict_of(base) for cls in classes if cls for base in mro_of(cls))


_PLAIN_DTYPE: Final = re.compile(r"[<>|=][biufcSUmM?]\d{1,9}(\[[\w/]{1,20}\])?")

_MAKERS: Final[dict[str, Callable[[str], Callable[..., Any]]]] = {
    "__call__": _call_method,
    "__array__": _array_method,
    **dict.fromkeys(SLICERS, _slice_method),
}


def _iter_in_chunks(self: Any) -> Any:
    conn = _get_conn(self)
    if conn._reads_ahead and syncreq is _syncreq:
        items = open_items(conn, self)
        if items is not None:
            return items
    return syncreq(self, consts.HANDLE_CALLATTR, "__iter__", (), ())


def _seen_length(self: Any) -> Any:
    glimpse = _get_conn(self)._reads.get(None)
    length = None if glimpse is None else glimpse.length(self)
    if length is None:
        length = syncreq(self, consts.HANDLE_CALLATTR, "__len__", (), ())
    return length


def _seen_item(self: Any, key: Any) -> Any:
    glimpse = _get_conn(self)._reads.get(None)
    value = MISSING if glimpse is None else glimpse.value(self, key)
    if value is MISSING:
        value = syncreq(self, consts.HANDLE_CALLATTR, "__getitem__", (key,), ())
    return value


_IN_CHUNKS: Final[dict[str, dict[str, Callable[..., Any]]]] = {
    f"builtins.{kind.__name__}": {"__iter__": _iter_in_chunks, "__len__": _seen_length}
    for kind in CONTAINERS
}
_IN_CHUNKS["builtins.dict"]["__getitem__"] = _seen_item

_CONCATENATED: Final = ("builtins.list", "builtins.bytearray")

_MAKES_CLASSES: Final = frozenset(
    "____boxed__ ____functions__ ____remote__ ____special__ __classcell__ __class_getitem__ "
    "__init_subclass__ __mro_entries__ __prepare__ __qualname__ __set_name__ __subclasshook__ "
    "mro".split()
)
"""Names that mean something to Python when it makes a class, and are no methods of instances."""


def class_factory(
    id_pack: IdPack,
    methods: Iterable[tuple[str, str | None]],
    base: type = BaseNetref,
) -> type:
    """Returns a new proxy class.

    Args:
        id_pack: of an instance of the remote class, or of the class itself (third field 0).
        methods: ``(name, docstring)`` of the remote object's methods.
        base: what the class derives from.
    """
    name = str(id_pack[0])
    known: Any = local_class(name)
    if known is not None:
        known = NetrefClass(known)
    elif id_pack[2] and base is BaseNetref:
        known = _ClassAttribute()
    namespace: dict[str, Any] = {"__slots__": (), "__class__": known}
    special = base.____special__  # type: ignore[attr-defined]
    if special:
        namespace["____remote__"] = frozenset([name for name, _ in methods])
    for method, doc in methods:
        if method not in LOCAL_ATTRS and method not in _MAKES_CLASSES:
            namespace[method] = special.get(method) or _make_method(method, doc)
    if name in _IN_CHUNKS and base is BaseNetref:
        namespace.update(_IN_CHUNKS[name])
    if name in _CONCATENATED and id_pack[2]:
        # Concatenation has no reflected operator: the local operand would never ask.
        namespace["__radd__"] = _radd_method("__radd__")
    module, _, short = name.rpartition(".")
    namespace["__module__"] = clean_name(module) if module else "builtins"
    return type(base)(clean_name(short or name), (base,), namespace)


class _ClassAttribute:
    """What ``proxy.__class__`` is where this program does not have the class.

    The remote class, if its owner gives it; else a stand-in, or the class of the proxy. It is a
    class in any case, because ``isinstance`` takes nothing else.
    """

    def __init__(self) -> None:
        self.stand_in: Callable[[], type] | None = None
        self._known: Callable[[], Any] = lambda: None
        self._denied = False

    def __get__(self, proxy: Any, kind: Any) -> Any:
        if proxy is None:
            return self
        found = self._known()
        if found is not None:
            return found
        if not self._denied:
            try:
                found = syncreq(proxy, consts.HANDLE_GETATTR, "__class__")
            except AttributeError:
                self._denied = True
            else:
                if is_netref(found):
                    self._known = weakref.ref(found)
                return found
        return kind if self.stand_in is None else self.stand_in()


def set_stand_in(cls: Any, stand_in: Callable[[], type]) -> None:
    """Says what ``__class__`` of a proxy is where neither side gives the class of its object."""
    remote_class = vars(cls).get("__class__")
    if isinstance(remote_class, _ClassAttribute):
        remote_class.stand_in = stand_in


def local_class(name: str) -> type | None:
    """Returns this program's class for what the other side calls ``name``, if it has one.

    Only modules that this program has imported are looked at.
    """
    known = _normalized_builtin_types.get(name)
    if known is not None:
        return known
    module_name = name
    while module_name:
        module = sys.modules.get(module_name)
        if module is not None:
            rest = name[len(module_name) + 1 :]
            if not rest:
                return type(module)
            found = class_in(module_name, rest)
            return None if issubclass(type(found), ClassProxy) else found
        module_name = module_name.rpartition(".")[0]
    return None


_builtin_types: Final[list[type]] = [
    *(type, object, bool, complex, dict, float, int, list, slice, str, tuple, set, frozenset),
    *(BaseException, Exception, type(None), BuiltinFunctionType, GeneratorType, MethodType),
    *(CodeType, FrameType, TracebackType, ModuleType, FunctionType, MappingProxyType),
    *(WrapperDescriptorType, MethodWrapperType, type(iter([])), type(iter(())), type(iter(set()))),
    *(bytes, bytearray, type(iter(range(0))), memoryview),
]

_normalized_builtin_types: Final[dict[str, type]] = {
    f"{cls.__module__}.{cls.__name__}": cls for cls in _builtin_types
}

builtin_classes_cache: Final[dict[str, type]] = {}
"""Proxy classes for instances of built-in types, shared by all connections."""

builtin_id_pack_cache: Final[dict[str, IdPack]] = {}
"""Empty, as in RPyC: kept for programs that import it."""


def builtin_methods(name: str) -> list[tuple[str, str | None]]:
    """Returns the methods of instances of a built-in type."""
    return instance_methods(LOCAL_ATTRS, _normalized_builtin_types[name])


for _name in _normalized_builtin_types:
    builtin_classes_cache[_name] = class_factory((_name, 0, 1), builtin_methods(_name))
_COMPARED: Final = {
    builtin_classes_cache[f"builtins.{kind.__name__}"]: kind
    for kind in (list, dict, set, frozenset, bytearray)
}
"""Proxy classes of containers that are compared with one of this side by their content."""
