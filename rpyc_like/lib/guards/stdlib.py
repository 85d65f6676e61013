"""Facts about classes and functions, above all of the standard library: each is decided here.

:func:`facts_of` returns one cached record for a class: what kind it is, whether it is written in C,
what its instances hold. :class:`Call` is what a call runs in the end. The tables at the end say
what functions and methods do with their arguments, by name. The access policy and the guards of
calls ask here, and keep no lists of their own.

No code of a class, its metaclass or an instance runs, and nothing is imported: what may not be
there is known by its name. A record goes by the ``__mro__``, so subclasses inherit; types are
looked up by their ids, because a metaclass of the program may have its own ``__hash__``.
"""

from __future__ import annotations

import array
import contextvars
import functools
import itertools
import operator
import os
import pkgutil
import re
import struct
import sys
import types
import weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, partialmethod
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

from ..introspection import COMPARISONS
from ..referents import referents
from ..stand_ins import dict_of, module_of, mro_of, qualname_of

# -- modules


def _stdlib_names() -> frozenset[str]:
    """Return the names of the standard library's modules; Python 3.9 does not tell them."""
    if hasattr(sys, "stdlib_module_names"):
        return sys.stdlib_module_names
    folder = os.path.dirname(os.__file__)
    found = pkgutil.iter_modules([folder, os.path.join(folder, "lib-dynload")])
    return frozenset((*sys.builtin_module_names, *(name for _, name, _ in found)))


STDLIB: Final = _stdlib_names()
_MORE: Final = STDLIB | {"_hmac", "_sha2", "compression", "numpy"}
_MANY: Final = 10_000  # names of modules that are remembered; a peer makes some up


class _Modules(dict[Any, bool]):
    """Whether a module belongs to the standard library or to what is treated like it, by name."""

    def __missing__(self, module: Any) -> bool:
        found = type(module) is str and module.partition(".")[0] in _MORE
        if len(self) < _MANY:
            self[module] = found
        return found


LIBRARY: Final = _Modules()
"""``LIBRARY[module]``: whether the module's functions may call what they are given. Asked before
each call of a function of the program, hence no Python function."""

LIKE_C: Final = frozenset(("collections", "collections.abc", "_collections_abc", "weakref"))
"""Modules whose functions in Python do no more than those in C."""


# -- attributes, looked at without running anything

MISSING: Final = object()
ABSENT: Final = object()
"""Stands for an object of which only the class is known."""


def full_name(cls: type) -> str:
    """Return the module and the qualified name of a class; runs no code of its metaclass."""
    return f"{module_of(cls)}.{qualname_of(cls)}"


def find(obj: Any, name: str, kind: type | None = None) -> Any:
    """Return what ``obj`` or its class has under ``name``, without running anything.

    Args:
        kind: the class of an object that is not at hand; ``obj`` is ``ABSENT`` then.

    Returns:
        What stands in the class's or the instance's dictionary; MISSING if nothing does.
    """
    if kind is None:
        kind = type(obj)
    for base in mro_of(kind):
        if name in dict_of(base):
            return dict_of(base)[name]
    if issubclass(kind, type) and obj is not ABSENT:
        for base in mro_of(obj):
            if name in dict_of(base):
                return dict_of(base)[name]
        return MISSING
    try:
        # The class has no such name, so that only the instance's dictionary is looked at.
        return object.__getattribute__(obj, name)
    except AttributeError:
        return MISSING


def instance_dict(obj: Any) -> Mapping[str, Any]:
    """Return an instance's own attributes; runs no code of it."""
    for base in mro_of(type(obj)):
        # A class may have a property of this name, or anything else.
        own = dict_of(base).get("__dict__")
        if type(own) is GetSetDescriptorType or type(own) is MemberDescriptorType:
            try:
                attributes = own.__get__(obj)
            except AttributeError:
                return {}
            return attributes if type(attributes) is dict else {}
    return {}


# -- kinds of classes

PLAIN: Final = "plain value"
TEXT: Final = "text"
NAMED: Final = "what is shown by a name and compared by identity"
BUFFER: Final = "buffer"
SEQUENCE: Final = "sequence"
SET: Final = "set"
MAPPING: Final = "mapping"
VIEW: Final = "view of a dict"
HOLDER: Final = "holder of a few objects"
ERROR: Final = "error"
WEAK: Final = "weak reference"
OTHER: Final = "other"

CONTAINERS: Final = frozenset((SEQUENCE, SET, MAPPING))
HASHED: Final = frozenset((SET, MAPPING))
_LEAVES: Final = frozenset((PLAIN, TEXT, NAMED, BUFFER))
_STEADY: Final = frozenset((PLAIN, TEXT, NAMED, VIEW, WEAK))

_EMPTY: Final[dict[Any, Any]] = {}
_QUEUE: Final[deque[Any]] = deque()
_EACH_VIEW: Final[tuple[Any, ...]] = (_EMPTY.keys(), _EMPTY.values(), _EMPTY.items())
_SEVERAL: Final[tuple[Any, ...]] = ([], (), set(), "", b"", bytearray(), range(0), range(1 << 70))
_ITERATORS: Final[tuple[Any, ...]] = (*map(iter, (*_EACH_VIEW, *_SEVERAL, _QUEUE)), reversed([]))
_BACKWARDS: Final[tuple[Any, ...]] = (reversed(_QUEUE), *map(reversed, _EACH_VIEW))
LRU_CACHE: Final = type(functools.lru_cache(abs))


def _ids(*classes: Any) -> frozenset[int]:
    return frozenset(map(id, classes))


_KINDS: Final = {
    id(cls): kind
    for kind, classes in {
        PLAIN: (int, float, complex, bool, type(None), type(...), type(NotImplemented), range),
        TEXT: (str, bytes),
        NAMED: (
            *(type, FunctionType, BuiltinFunctionType, ModuleType, types.CodeType),
            *(types.FrameType, types.TracebackType, types.GeneratorType, types.CoroutineType),
            types.AsyncGeneratorType,
        ),
        BUFFER: (bytearray, array.array, memoryview),
        SEQUENCE: (list, tuple, deque, UserList),
        SET: (set, frozenset, weakref.WeakSet),
        MAPPING: (
            *(dict, MappingProxyType, ChainMap, UserDict),
            *(weakref.WeakValueDictionary, weakref.WeakKeyDictionary),
        ),
        VIEW: map(type, _EACH_VIEW),
        HOLDER: (
            *(slice, partial, types.SimpleNamespace),
            *(MethodType, staticmethod, classmethod, property),
        ),
        ERROR: (BaseException,),
        WEAK: (weakref.ReferenceType, weakref.ProxyType, weakref.CallableProxyType),
    }.items()
    for cls in classes
}
_KINDS_BY_NAME: Final = {
    **dict.fromkeys(("datetime.date", "datetime.datetime", "datetime.time"), PLAIN),
    **dict.fromkeys(("datetime.timedelta", "datetime.timezone", "datetime.tzinfo"), PLAIN),
    **dict.fromkeys(("decimal.Decimal",), PLAIN),
    **dict.fromkeys(("mmap.mmap", "_ctypes.Array"), BUFFER),
}
"""Classes written in C that are not imported for this."""

_PASSING: Final = _ids(*map(type, (*_EACH_VIEW, *_ITERATORS, *_BACKWARDS)))
"""Iterators and views of safe containers, and of deques."""
# CPython's own lists, dicts and sets expect to be changed by what they call: they hold the item
# that they work on, and look at their tables anew after each call. So do their views and iterators.
# A deque has a counter of its changes, but is not among them: its C code had faults of this kind up
# to 3.13.
_BEAR_CHANGES: Final = _PASSING | _ids(
    *(list, tuple, dict, defaultdict, set, frozenset, slice),
    # They have their own answer to who enters them twice.
    *(LRU_CACHE, contextvars.Context),
    # They never change.
    *(re.Pattern, re.Match, struct.Struct, partial, property, staticmethod, classmethod),
    *(operator.itemgetter, operator.attrgetter, operator.methodcaller),
    *(MethodType, WrapperDescriptorType, MethodDescriptorType),
)
_ALSO_HOLD: Final = _ids(
    *(operator.itemgetter, operator.methodcaller, contextvars.Context, LRU_CACHE)
)
"""Of them, those that compare, show or call what they hold, but for containers and holders."""
_BEAR_BY_NAME: Final = frozenset(
    "_thread.lock _thread.LockType _thread.RLock _queue.SimpleQueue".split()
)
"""Those that are waited at."""
_BEAR_READERS: Final = _ids(OrderedDict, deque)
_BEAR_READERS_BY_NAME: Final = frozenset({"xml.etree.ElementTree.Element"})
"""Classes whose C code asks, and bears that others read meanwhile."""

# Lists, tuples, dicts, sets and instances of classes written in Python are put aside by CPython's
# deallocators when too many are in one another. These are not (measured on 3.10 to 3.13).
_CHAINED: Final = _ids(
    *map(type, (*_EACH_VIEW, *map(iter, _EACH_VIEW), *_BACKWARDS, iter(_QUEUE))),
    *(deque, defaultdict, slice, itertools.accumulate, itertools.cycle, itertools.islice),
    *(itertools.repeat, itertools.starmap, type(itertools.tee(())[0]), enumerate),
    *(operator.itemgetter, MappingProxyType, MethodType, classmethod, staticmethod, property),
    *(types.CellType, types.GeneratorType),
)
_CHAINED_BY_NAME: Final = frozenset(
    "_asyncio.Future _asyncio.Task _queue.SimpleQueue _csv.reader _csv.writer _csv.Reader "
    "_csv.Writer".split()
)

_ONLY_KINDS: Final = frozenset("abc builtins contextlib typing".split())
"""Packages whose classes name a kind, and hold nothing."""
_BY_STATE: Final = frozenset(
    "_asyncio _io _socket _ssl _thread asyncio concurrent io logging multiprocessing selectors "
    "socket socketserver ssl subprocess threading".split()
)
"""Packages whose objects are shown by their state, and lead to all of the program."""
_SHOWN: Final[dict[str, tuple[str, ...] | None]] = {
    "asyncio.queues.Queue": ("_queue",),
    "logging.LogRecord": ("name", "levelno", "pathname", "lineno", "msg", "args"),
    "multiprocessing.managers.Namespace": None,
    "subprocess.CompletedProcess": ("args", "returncode", "stdout", "stderr"),
    "subprocess.Popen": ("args", "returncode"),
}
"""Attributes that objects of such packages show nevertheless; ``None`` for all of an object's."""
_COPIED_ONLY: Final = frozenset(("xml", "_elementtree"))
"""Packages whose objects are shown without their members."""
_OPERATIONS: Final = frozenset("__repr__ __str__ __format__ __eq__ __lt__ __hash__".split())
_COPIES: Final = frozenset("__deepcopy__ __copy__ __reduce__ __reduce_ex__ __getstate__".split())
_FIELDS: Final = "__dataclass_fields__"
_OF_GENERATORS: Final = frozenset(
    name for name in dict_of(types.GeneratorType) if not name.startswith("__")
)
_TABLES: Final = {
    **dict.fromkeys(_ids(UserDict, UserList, weakref.WeakSet), "data"),
    **dict.fromkeys(_ids(weakref.WeakValueDictionary, weakref.WeakKeyDictionary), "data"),
    id(ChainMap): "maps",
}
"""Containers written in Python: the attribute that has their items."""
_TAKE_ITEMS: Final = _ids(
    *(list, tuple, deque, set, frozenset, dict, OrderedDict, defaultdict, Counter, UserDict),
    *(UserList, weakref.WeakSet, weakref.WeakValueDictionary, weakref.WeakKeyDictionary),
)
"""Containers whose constructors take an iterable of their items."""

TEXT_IDS: Final = _ids(str, bytes, bytearray, array.array)
SIMPLE_IDS: Final = frozenset(one for one, kind in _KINDS.items() if kind is PLAIN or kind is NAMED)
"""Types, by id, of what can be weighed without a look at its members."""

NEVER, COPIED, ALWAYS = range(3)
"""When C code recurses over the members of an object: never, when it is copied, always."""


class Facts:
    """What is known of a class.

    Attributes:
        kind: one of the kinds above, by the nearest base that has one.
        in_c: the nearest base that is written in C; ``object`` if there is none.
        is_called_in_c: whether C code runs when an instance is called.
        calls: what the class has for ``__call__`` if that is neither a function of the program nor
            the class's own code in C: :func:`step_into` goes on with it. Else ``None``.
        is_function: whether instances are functions or bound methods written in C.
        is_bound: whether instances have a ``__self__`` that C code works on.
        is_guarded: whether instances are made by code of the library.
        bears_changes: whether C code works safely on instances that change meanwhile.
        bears_readers: whether others may read while C code works on an instance.
        holds: whether C code works on what an instance holds as well.
        passes: whether it is an iterator or view that only passes on what a container holds.
        recurses: when C code recurses over members: ``NEVER``, ``COPIED`` or ``ALWAYS``.
        is_chained: whether instances are freed by recursion.
        is_iterator: whether all that instances are for is giving their items.
        is_native: whether it is a container or view of C, whose items are taken as they are.
        refers: whether a container only refers to another, whose items it takes when it is used.
        keeps: whether instances keep what they are made of as it is.
        takes_pairs: whether the items of a container are keys with their values.
        items_at: which argument of the class has the items of a container; ``None`` if none has.
        table: the attribute of a container written in Python that has its items.
        members: returns what methods of an instance recurse over; runs none of them.
    """

    __slots__ = (
        *("bears_changes", "bears_readers", "calls", "holds", "in_c", "is_bound", "is_called_in_c"),
        *("is_chained", "is_function", "is_guarded", "is_iterator", "is_native"),
        *(
            "items_at",
            "keeps",
            "kind",
            "members",
            "passes",
            "recurses",
            "refers",
            "table",
            "takes_pairs",
        ),
    )

    def __init__(self, cls: type) -> None:
        mro = mro_of(cls)
        ids = frozenset(map(id, mro))
        self.in_c = next((base for base in mro if _is_written_in_c(base)), object)
        c_name = full_name(self.in_c)
        kind_base = next((base for base in mro if id(base) in _KINDS), object)
        self.kind = kind = _KINDS_BY_NAME.get(c_name) or _KINDS.get(id(kind_base), OTHER)
        # calls
        called = next(
            (dict_of(base)["__call__"] for base in mro if "__call__" in dict_of(base)), None
        )
        self.calls = None if id(type) in ids or _is_last(called) else called
        self.is_called_in_c = _runs_c_code(called)
        self.is_function = id(BuiltinFunctionType) in ids
        self.is_bound = self.is_function or cls is MethodWrapperType
        self.is_guarded = kind is not ERROR and any(map(_makes_instances, mro))
        self.refers = kind_base is ChainMap or kind_base is MappingProxyType
        unpacks = self.refers or id(SyntaxError) in ids
        self.keeps = not unpacks and (kind in _KEEPS or id(type) in ids)
        # what instances hold
        own = _KINDS.get(id(self.in_c), _KINDS_BY_NAME.get(c_name, OTHER))
        safe = own in _STEADY or id(self.in_c) in _BEAR_CHANGES or c_name in _BEAR_BY_NAME
        self.bears_changes = safe or self.in_c is object or kind is ERROR
        self.bears_readers = not ids.isdisjoint(_BEAR_READERS) or c_name in _BEAR_READERS_BY_NAME
        self.holds = kind in _HOLD or id(self.in_c) in _ALSO_HOLD
        self.holds |= not safe and "__len__" in dict_of(self.in_c)
        if self.in_c is object:
            self.holds = _is_holder(cls, mro)
        self.passes = id(cls) in _PASSING
        self.is_chained = id(cls) in _CHAINED or "n_sequence_fields" in dict_of(cls)
        self.is_chained |= self.in_c is cls and c_name in _CHAINED_BY_NAME
        self.is_iterator = _is_only_iterator(mro)
        self.members = _reaching(cls, mro, kind, kind_base)
        self.recurses = _recursion(cls, mro, kind)
        # items
        self.is_native = kind is VIEW or kind_base in _NATIVE
        self.takes_pairs = kind is MAPPING and id(Counter) not in ids
        self.table = _TABLES.get(id(kind_base), "")
        self.items_at = _place_of_items(mro)


_KEEPS: Final = CONTAINERS | {BUFFER, HOLDER, ERROR, WEAK}
_HOLD: Final = CONTAINERS | {HOLDER, ERROR, WEAK}
_NATIVE: Final = (list, tuple, deque, set, frozenset, dict)
_known: Final[dict[int, tuple[Any, Facts]]] = {}


def facts_of(cls: type) -> Facts:
    """Return what is known of a class; decided once for each."""
    found = _known.get(id(cls))
    if found is not None and found[0]() is cls:
        return found[1]
    facts = Facts(cls)
    key = id(cls)
    _known[key] = (weakref.ref(cls, lambda ref: _forget(key, ref)), facts)
    return facts


def _forget(key: int, ref: Any) -> None:
    found = _known.get(key)
    if found is not None and found[0] is ref:
        del _known[key]


def kind_of(obj: Any) -> str:
    """Return the kind of an object's class."""
    return facts_of(type(obj)).kind


def is_of_library(cls: type) -> bool:
    """Return whether a class is defined in the standard library."""
    module = module_of(cls)
    return type(module) is str and module.partition(".")[0] in STDLIB


_NUMBERS: Final = frozenset("cubBhHiIlLqQfdgvP?CDEFG")
"""Codes (``_type_``) of the simple types of ctypes that are numbers or single characters."""


def leads_to_memory(cls: Any) -> bool:
    """Return whether a type of ctypes holds addresses that are followed, at any depth.

    Those are all but numbers, arrays of them, and structures and unions of both. Not remembered:
    a structure may get its fields after its class was made.
    """
    seen: set[int] = set()
    left = [cls]
    while left:
        cls = left.pop()
        if id(cls) in seen:
            continue
        seen.add(id(cls))
        base = _ctypes_base(cls)
        if base == "_ctypes._SimpleCData":
            if _first(cls, "_type_") not in _NUMBERS:
                return True
        elif base == "_ctypes.Array" and _first(cls, "_type_") is not None:
            left.append(_first(cls, "_type_"))
        elif base in _FIELDED:
            left += [field[1] for field in _fields_of(cls)]
        elif base:
            return True
    return False


def field_leads_to_memory(cls: Any, name: str) -> bool:
    """Return whether a field of a type of ctypes does, which is not one of the program's methods.

    The fields of a union share their memory: one such field makes all of them so.
    """
    if not leads_to_memory(cls):
        return False
    owner = next((base for base in mro_of(cls) if name in dict_of(base)), None)
    if owner is None:
        return True
    if module_of(type(dict_of(owner)[name])) != "_ctypes":  # no field
        return is_of_library(owner)
    types_ = [field[1] for field in _fields_of(cls) if field[0] == name]
    is_union = _ctypes_base(cls) != "_ctypes.Structure"
    return is_union or not types_ or any(map(leads_to_memory, types_))


_FIELDED: Final = frozenset(("_ctypes.Structure", "_ctypes.Union"))


def _ctypes_base(cls: Any) -> str:
    """Return the full name of the base of a class in ctypes; "" if it has none."""
    return next((full_name(base) for base in mro_of(cls) if module_of(base) == "_ctypes"), "")


def _fields_of(cls: Any) -> list[Any]:
    """Return the fields of a structure or union of ctypes, with its bases': names and types."""
    return [field for base in mro_of(cls) for field in dict_of(base).get("_fields_", ())]


def _first(cls: Any, name: str) -> Any:
    """Return what the nearest class has under a name; None if none has it."""
    return next((dict_of(base)[name] for base in mro_of(cls) if name in dict_of(base)), None)


def _in_library(cls: type) -> bool:
    module = module_of(cls)
    return type(module) is str and LIBRARY[module]


def _is_written_in_c(cls: Any) -> bool:
    """Return whether a class other than ``object`` is written in C."""
    if cls is object:
        return False
    own: tuple[Any, ...] = tuple(dict_of(cls).values())
    return any(
        (type(one) is WrapperDescriptorType or type(one) is MethodDescriptorType)
        and one.__objclass__ is cls
        for one in own
    )


def _is_last(called: Any) -> bool:
    """Return whether ``__call__`` of a class is no more than what it does itself."""
    if type(called) is FunctionType:
        return not LIBRARY[called.__module__]
    return called is None or (id(type(called)) in UNBOUND and called.__name__ == "__call__")


def _runs_c_code(called: Any) -> bool:
    """Return whether what a class has for ``__call__`` leads to code that is not Python."""
    for _ in range(MAX_WRAPPED):
        kind = type(called)
        if kind is FunctionType or called is MISSING or called is None:
            return False
        if id(kind) in UNBOUND or issubclass(kind, (type, BuiltinFunctionType)):
            return True
        inner = through_proxy(unwrapped(called))
        called = find(ABSENT, "__call__", kind) if inner is called else inner
    return True


def _makes_instances(base: type) -> bool:
    return (
        base is not object
        and _in_library(base)
        and ("__new__" in dict_of(base) or "__init__" in dict_of(base))
    )


def _is_holder(cls: type, mro: tuple[type, ...]) -> bool:
    """Return whether methods of the library work on what instances of a class in Python hold.

    They do for the library's classes, and for those that it generates methods for. Those of
    threads and queues are left alone: they have locks, and are waited at.
    """
    modules = [module_of(base) for base in mro if _in_library(base)]
    if "threading" in modules or ("queue" in modules and cls.__name__ != "PriorityQueue"):
        return False
    return any(_FIELDS in dict_of(base) for base in mro) or any(
        module != "collections.abc" and module.partition(".")[0] not in _ONLY_KINDS
        for module in modules
    )


def _is_only_iterator(mro: tuple[type, ...]) -> bool:
    """Return whether objects only give their items; a file has items, but is read."""
    dicts = [dict_of(base) for base in mro if base is not object]
    if not any("__next__" in names for names in dicts):
        return False
    # Class methods make objects, and are not what one is for.
    names: set[Any] = {
        name
        for own in dicts
        for name, value in own.items()
        if type(value) is not ClassMethodDescriptorType
    }
    return all(type(name) is str and (name[:1] == "_" or name in _OF_GENERATORS) for name in names)


def _recursion(cls: type, mro: tuple[type, ...], kind: str) -> int:
    """Return when C code recurses over members.

    Whose members count is decided by who wrote the methods: those of the library recurse, whatever
    the type, and so do those that :mod:`dataclasses` generates.
    """
    if kind in CONTAINERS or kind is WEAK or any(full_name(base) in _SHOWN for base in mro):
        return ALWAYS
    for base in mro:
        names = dict_of(base)
        if base is object or _KINDS.get(id(base)) in _LEAVES:
            has_more = base is not object and base is not cls and kind is not NAMED
            return COPIED if has_more else NEVER
        if _FIELDS in names:
            return ALWAYS
        module = module_of(base)
        if not _in_library(base) or names.get("__abstractmethods__"):
            continue
        package = module.partition(".")[0]
        if package in _BY_STATE:
            return NEVER
        if package in _COPIED_ONLY:
            if not _COPIES.isdisjoint(names):
                return COPIED
        elif not _OPERATIONS.isdisjoint(names):
            return ALWAYS
    return NEVER


def _place_of_items(mro: tuple[type, ...]) -> int | None:
    """Return which argument has the items, unless another class takes part in making instances."""
    makers = [next(one for one in mro if name in dict_of(one)) for name in ("__new__", "__init__")]
    if makers == [object, object] or not _TAKE_ITEMS.issuperset(_ids(*makers) - _ids(object)):
        return None
    return 1 if defaultdict in makers else 0


# -- what instances hold


def _reaching(
    cls: type, mro: tuple[type, ...], kind: str, base: Any
) -> Callable[[Any], Sequence[Any]]:
    """Return what reaches the members of a class's instances."""
    if cls is tuple or cls is list:
        return _itself
    if base is dict:
        return _of_defaultdict if id(defaultdict) in _ids(*mro) else _of_dict
    if base in _NATIVE:
        return lambda obj: list(base.__iter__(obj))
    if kind is WEAK:
        return lambda obj: [target_of(obj)]
    if kind is ERROR:
        return _of_error
    for one in mro:
        if full_name(one) in _SHOWN:
            names = _SHOWN[full_name(one)]
            return partial(_of_attributes, names)
        if _FIELDS in dict_of(one):
            return partial(_of_fields, dict_of(one)[_FIELDS])
    return referents


def _itself(obj: Any) -> Any:
    return obj


def _of_dict(obj: Any) -> list[Any]:
    return [*dict.keys(obj), *dict.values(obj)]


def _of_defaultdict(obj: Any) -> list[Any]:
    return [*_of_dict(obj), factory_of(obj)]


def _of_error(obj: Any) -> list[Any]:
    left = {id(_ERROR[name].__get__(obj)) for name in _NO_PARTS}
    args = _ERROR["args"].__get__(obj)
    return [*args, *(one for one in referents(obj) if id(one) not in left)]


def _of_attributes(names: tuple[str, ...] | None, obj: Any) -> list[Any]:
    own = instance_dict(obj)
    return [*own.values()] if names is None else [own.get(name) for name in names]


def _of_fields(fields: Any, obj: Any) -> list[Any]:
    return [_field(obj, one.name) for one in fields.values() if one.repr or one.compare]


def _field(obj: Any, name: str) -> Any:
    own = instance_dict(obj)
    if name in own:
        return own[name]
    found = find(obj, name)
    try:
        return found.__get__(obj) if type(found) is MemberDescriptorType else found
    except AttributeError:
        return None


class _Unwrapping:
    """Adds nothing to an object: an operator of a weak proxy is called with its target."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return NotImplemented if issubclass(type(other), _PROXIES) else (other,)


_PROXIES: Final = (weakref.ProxyType, weakref.CallableProxyType)
WEAK_PROXIES: Final = _ids(*_PROXIES)
_UNWRAPPING: Final = _Unwrapping()


def through_proxy(obj: Any) -> Any:
    """Return what a weak proxy stands for, anything else as it is; ``None`` if that is gone."""
    return target_of(obj) if id(type(obj)) in WEAK_PROXIES else obj


def target_of(obj: Any) -> Any:
    """Return what a weak reference or a weak proxy leads to; runs no code of that."""
    if issubclass(type(obj), weakref.ReferenceType):
        return weakref.ReferenceType.__call__(obj)
    try:
        # The left operand is asked first, and is given the proxy; then it is given the target.
        return (_UNWRAPPING + obj)[0]
    except ReferenceError:
        return None


factory_of: Final[Any] = dict_of(defaultdict)["default_factory"].__get__
_ERROR: Final = dict_of(BaseException)
_NO_PARTS: Final = ("__traceback__", "__context__", "__cause__", "args")


def members(obj: Any) -> Sequence[Any]:
    """Return what an object's methods recurse over; runs none of them."""
    return facts_of(type(obj)).members(obj)


def held_by(obj: Any) -> Sequence[Any]:
    """Return what methods of an object may work on besides itself; runs none of them."""
    facts = facts_of(type(obj))
    if facts.kind is WEAK or facts.kind is ERROR or facts.in_c is object:
        return facts.members(obj)
    if type(obj) is contextvars.Context:
        return [*obj.values()]
    return [obj.__wrapped__] if type(obj) is LRU_CACHE else referents(obj)


def table_of(obj: Any) -> Any:
    """Return the container in one that is written in Python, anything else as it is."""
    name = facts_of(type(obj)).table
    if not name:
        return obj
    found = instance_dict(obj).get(name)
    if name != "maps":
        return found
    return table_of(found[0]) if type(found) is list and found else None


# -- calls

MAX_WRAPPED: Final = 20

UNBOUND: Final = _ids(MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType)
_UNWRAPPED: Final[dict[int, Callable[[Any], Any]]] = {
    id(MethodType): lambda method: method.__func__,
    id(GenericAlias): lambda alias: alias.__origin__,
    id(staticmethod): dict_of(staticmethod)["__func__"].__get__,
    id(classmethod): dict_of(classmethod)["__func__"].__get__,
    id(partial): dict_of(partial)["func"].__get__,
    id(partialmethod): lambda method: instance_dict(method).get("func"),
    id(LRU_CACHE): lambda cached: cached.__wrapped__,
}
"""Types of what calls another object: how to find that."""
_func_of: Final[Any] = _UNWRAPPED[id(partial)]
_args_of: Final[Any] = dict_of(partial)["args"].__get__
_keywords_of: Final[Any] = dict_of(partial)["keywords"].__get__


def is_wrapper(kind: type) -> bool:
    """Return whether objects of a type call another one, which :func:`unwrapped` returns."""
    return id(kind) in _UNWRAPPED or issubclass(kind, partial)


def unwrapped(obj: Any) -> Any:
    """Return what a method, partial object, static method or the like calls, else ``obj``."""
    unwrap = _UNWRAPPED.get(id(type(obj)))
    if unwrap is None:
        return _func_of(obj) if issubclass(type(obj), partial) else obj
    return unwrap(obj)


def step_into(func: Any) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]] | None:
    """Return what calling an object calls, with the arguments that this puts before the caller's.

    Runs no code of it.

    Returns:
        The next callable, positional and named arguments; ``None`` if the object is what runs.
    """
    kind = type(func)
    if kind is FunctionType:
        return None
    if id(kind) in WEAK_PROXIES:
        return target_of(func), (), _EMPTY
    if issubclass(kind, partial):
        return _func_of(func), _args_of(func), _keywords_of(func)
    if kind is MethodType:
        return func.__func__, (func.__self__,), _EMPTY
    if kind is staticmethod:
        return func.__func__, (), _EMPTY
    if kind is MethodWrapperType and func.__name__ == "__call__":
        return func.__self__, (), _EMPTY
    if kind is GenericAlias or module_of(kind) == "typing":
        return find(func, "__origin__"), (), _EMPTY
    called = facts_of(kind).calls
    return None if called is None else _bound(called, func)


def _bound(called: Any, obj: Any) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]]:
    """Return what ``__call__`` of an object's class calls, and with what, when ``obj`` is called.

    Args:
        called: what the class has under that name.
    """
    kind = type(called)
    if kind is staticmethod:
        return unwrapped(called), (), _EMPTY
    if kind is classmethod:
        return unwrapped(called), (type(obj),), _EMPTY
    if kind is partialmethod:
        own = instance_dict(called)
        return own["func"], (obj, *own["args"]), own["keywords"]
    binds = kind is not MethodType and find(ABSENT, "__get__", kind) is not MISSING
    if issubclass(kind, partial):  # on 3.13 it only warns of what it does later
        binds = sys.version_info >= (3, 14)
    return called, ((obj,) if binds else ()), _EMPTY


def is_c_callable(obj: Any) -> bool:
    """Return whether calling an object runs something other than a function written in Python.

    Classes count as well: C code makes their instances.
    """
    func = obj.__func__ if type(obj) is MethodType else obj
    return type(func) is not FunctionType and facts_of(type(func)).is_called_in_c


def is_of_module(func: Any) -> bool:
    """Return whether a function written in C is one of a module, not a bound method."""
    return func.__self__ is None or issubclass(type(func.__self__), ModuleType)


def is_library_function(func: Any) -> bool:
    """Return whether a function or method is written in Python, in the standard library."""
    func = func.__func__ if type(func) is MethodType else func
    return type(func) is FunctionType and LIBRARY[func.__module__]


CLASS: Final = "class"
METHOD: Final = "method"
FUNCTION: Final = "function"
PYTHON: Final = "function in Python"
CALLABLE: Final = "object that is called in C"
PROGRAM: Final = "what the program has written"


class Call:
    """What a call runs in the end, and with what.

    Attributes:
        func: the function, seen through partial objects, methods and static methods.
        given: its arguments.
        keywords: named arguments of partial objects among what is called.
        before: how many of them are not the caller's.
        first: likewise, with the object that a method works on.
        sort: ``CLASS`` (C code makes instances), ``METHOD`` (written in C, or in Python but like
            C), ``FUNCTION`` (of a module in C), ``PYTHON`` (function or method of the library),
            ``CALLABLE`` or ``PROGRAM``.
        name: of the function; "" if it has none.
        module: of the function or class; may be anything.
        owner: what a method works on; ``None`` for others.
        cls: ``owner`` if that is a class, else its class.
        skip: how many arguments come before a method's own.
    """

    __slots__ = (
        *("before", "cls", "first", "func", "given", "keywords", "module", "name", "owner"),
        *("skip", "sort"),
    )

    def __init__(self, func: Any, args: Iterable[Any]) -> None:
        given = list(args)
        before = 0
        self.keywords: dict[str, Any] = {}
        for _ in range(MAX_WRAPPED):
            step = step_into(func)
            if step is None:
                break
            func, more, keywords = step
            if keywords:
                self.keywords = {**keywords, **self.keywords}
            given[:0] = more
            before += len(more)
        self.func, self.given, self.before = func, given, before
        self.name, self.owner, self.skip = "", None, 0
        self.module: Any = None
        self.sort = PROGRAM
        self._sort(type(func))
        owner = self.owner
        self.first = max(before, self.skip)
        self.cls: Any = owner if issubclass(type(owner), type) else type(owner)

    def _sort(self, kind: type) -> None:
        func: Any = self.func
        facts = facts_of(kind)
        if issubclass(kind, type):
            self.module = module_of(func)
            self.sort = CLASS if facts.is_called_in_c else PROGRAM
        elif facts.is_bound:
            self.name = func.__name__
            self.sort, self.owner = METHOD, func.__self__
            if facts.is_function:
                self.module = func.__module__
                if is_of_module(func):
                    self.sort, self.owner = FUNCTION, None
        elif kind is FunctionType or id(kind) in UNBOUND:
            self.name = func.__name__
            like_c = True
            if kind is FunctionType:
                self.module = func.__module__
                like_c = self.module in LIKE_C
                if not LIBRARY[self.module]:
                    return
            self.sort = METHOD if like_c else PYTHON
            if self.given and (like_c or "." in func.__qualname__):
                self.owner, self.skip = self.given[0], 1
        else:
            self.module = module_of(kind)
            self.sort = CALLABLE if facts.is_called_in_c else PROGRAM

    def bind(self, named: dict[str, Any]) -> list[Any]:
        """Return the arguments in the order of the parameters of what is called.

        Args:
            named: the named ones; those that have a place are taken out.
        """
        given = self.given[self.skip :]
        if named:
            for name in parameters_of(self.func)[len(given) :]:
                if name not in named:
                    break
                given.append(named.pop(name))
        return given

    @property
    def stores(self) -> bool:
        """Whether the call only stores its arguments, or looks for them."""
        if self.sort is CLASS:
            return facts_of(self.func).keeps
        return self.name in STORING

    @property
    def calls_arguments(self) -> bool:
        """Whether the call may call its arguments; containers keep them as they are."""
        name, sort = self.name, self.sort
        if sort is CLASS:
            facts = facts_of(self.func)
            return facts.is_guarded and facts.kind not in _STORE_CALLABLES
        if sort is PROGRAM or (sort is CALLABLE and self.module == "operator"):
            return False
        if sort is FUNCTION and (self.module == "_operator" or name in _ONLY_LOOK):
            return False
        if facts_of(self.cls).kind in _STORE_CALLABLES:
            return name == "sort"
        return name[:2] != "__" and name not in KEEPING

    @property
    def takes_iterators(self) -> bool:
        """Whether the call may take the items of its arguments.

        The others keep an argument as it is, or look at what it is.
        """
        name, sort = self.name, self.sort
        if sort is CLASS:
            return not facts_of(self.func).keeps and self.func is not str and self.func is not bool
        if sort is PROGRAM or type(self.func) is LRU_CACHE:
            return False
        if sort is FUNCTION:
            if self.module == "_operator":
                cls = type(self.given[0]) if self.given else object
                return name not in _OPERATOR_LOOKS and not _is_filled(cls)
            if name in _NO_ITEMS:
                return False
        elif sort is METHOD and _is_filled(self.cls):
            return False  # made lists
        if name[:2] == "__":
            return name not in COMPARISONS and name not in _DUNDERS_LOOK
        return name not in KEEPING or name in TAKES_ITEMS

    @property
    def hashes(self) -> bool:
        """Whether the call hashes its arguments before it looks who is called."""
        return type(self.func) is LRU_CACHE or type(self.func) is operator.methodcaller


def parameters_of(func: Any) -> tuple[str, ...]:
    """Return the names of the parameters of a function, method or class in C that have a place.

    The object that a method works on is not among them. Some do not tell them.
    """
    if issubclass(type(func), type):
        known = _PARAMETERS.get(full_name(func))
        if known is not None:
            return known
        text = type.__dict__["__text_signature__"].__get__(func)
    elif type(func) is BuiltinFunctionType or id(type(func)) in UNBOUND:
        text = func.__text_signature__
    else:
        return ()
    if type(text) is not str:
        return ()
    names = [one.partition("=")[0].strip() for one in text.strip("()").split(",")]
    placed = itertools.takewhile(lambda name: not name.startswith("*"), names)
    return tuple([name for name in placed if name.isidentifier() and name != "self"])


_PARAMETERS: Final = {
    "fractions.Fraction": ("numerator", "denominator"),
    "builtins.bytes": ("source", "encoding", "errors"),
    "builtins.bytearray": ("source", "encoding", "errors"),
}
"""Parameters of classes that do not tell them."""


def _is_filled(cls: type) -> bool:
    facts = facts_of(cls)
    return facts.kind is BUFFER or (facts.kind in CONTAINERS and not facts.refers)


# -- what functions and methods do with their arguments, by their names


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOOKING: Final = _names(
    "__contains__ index count remove sort __hash__ __repr__ __str__ __format__"
).union(COMPARISONS)
"""Methods that compare, hash or show the items of a container."""
COPYING: Final = _names("__deepcopy__ __reduce__ __reduce_ex__")
FORMATTING: Final = _names("format format_map __mod__")
SEARCHING: Final = _names("__contains__ index count")
READING: Final = _names(
    "__getitem__ __contains__ __len__ get keys values items count index find findtext findall"
)
"""Methods that only read objects which bear that."""
_PLACING: Final = _names(
    "__len__ __iter__ __reversed__ append appendleft extend extendleft insert popleft clear "
    "reverse rotate keys values items len iter id isinstance reversed"
)
"""Methods of containers, and functions, that look at no item."""
_SEEKING: Final = _names(
    "__getitem__ __setitem__ __delitem__ __contains__ get setdefault pop add discard remove index "
    "count"
)
"""Methods of containers that compare items with their first argument, if they do."""
_LOOKUPS: Final = _names("__getitem__ __contains__ __len__ get keys values items")
_PLACES: Final = _names("__getitem__ __len__")
_MERGING: Final = _names("__or__ __ror__ __ior__")
_OPERATORS: Final = _MERGING | _names(
    "__xor__ __rxor__ __ixor__ __and__ __rand__ __iand__ __sub__ __rsub__ __isub__ __add__ __radd__"
)
ADDS_KEYS: Final = _MERGING | _names(
    "update union symmetric_difference symmetric_difference_update subtract fromkeys "
    "__xor__ __rxor__ __ixor__"
)
TAKES_ITEMS: Final = ADDS_KEYS | _names(
    "extend extendleft intersection difference intersection_update difference_update issubset "
    "issuperset isdisjoint __iadd__ _make"
)
"""Methods of containers whose arguments are iterables."""


def looks_within(name: str, values: Sequence[Any]) -> bool:
    """Return whether a method of a container of C looks at what its items hold.

    Args:
        values: the arguments, and the container last.
    """
    if name in _SEEKING:
        return len(values) > 1 and not _is_simple(values[0])
    return name not in _PLACING


def _is_simple(key: Any) -> bool:
    """Return whether comparing an object with another one enters neither of them."""
    parts = key if type(key) is tuple else (key,)
    return len(parts) < 10 and all(_KINDS.get(id(type(one))) in (PLAIN, TEXT) for one in parts)


def is_lookup(name: str, kind: type) -> bool:
    """Return whether a method only looks something up, in an object that bears that.

    An OrderedDict looks keys up as a dict does, which begins anew after a change.
    """
    in_c = facts_of(kind).in_c
    return (in_c is OrderedDict and name in _LOOKUPS) or (in_c is deque and name in _PLACES)


_SINGLE: Final[dict[tuple[str, int], Any]] = {
    ("extend", id(list)): list.append,
    ("extend", id(deque)): deque.append,
    ("extendleft", id(deque)): deque.appendleft,
}


def single_of(call: Call) -> Any:
    """Return the method that a call does over and over, for each item of an iterable; else None."""
    if call.sort is not METHOD or type(call.func) is FunctionType:
        return None
    return _SINGLE.get((call.name, id(facts_of(call.cls).in_c)))


def takes_items(cls: type, name: str) -> bool:
    """Return whether a method of a container takes the items of an iterable of any kind.

    Operators of those written in C want containers like themselves.
    """
    if name not in _OPERATORS:
        return name in TAKES_ITEMS
    facts = facts_of(cls)
    if facts.table:
        return facts.kind is not MAPPING or name == "__ior__"
    return name in _MERGING and issubclass(cls, dict)


ADDS_A_KEY: Final = _names("add __setitem__ setdefault __missing__")
FIRST_IS_KEY: Final = _names("__setitem__ setdefault")
KEEPING: Final = _names(
    "append appendleft insert add extend extendleft update setdefault put put_nowait set get pop "
    "remove discard index count set_result heappush heappushpop heapreplace suppress"
)
"""Methods and functions that store their arguments, or look for them."""
STORING: Final = KEEPING | (TAKES_ITEMS - _OPERATORS) | {"__setitem__", "__init__"}
_STORE_CALLABLES: Final = CONTAINERS | {BUFFER, ERROR, WEAK, TEXT}

HARMLESS: Final = _names("len iter next isinstance issubclass callable id reversed")
"""Functions that look at no item of a container."""
_ONLY_LOOK: Final = HARMLESS | _names("hash repr ascii format print")
_NO_ITEMS: Final = _ONLY_LOOK | _names(
    "setattr getattr hasattr type vars bisect bisect_left bisect_right insort"
)
_OPERATOR_LOOKS: Final = _names(
    "is_ is_not eq ne lt le gt ge not_ truth index getitem delitem length_hint"
)
_DUNDERS_LOOK: Final = _names(
    "__new__ __init__ __call__ __hash__ __repr__ __str__ __format__ __getitem__ __setattr__ "
    "__getattribute__ __next__ __iter__ __reduce__ __reduce_ex__ __set__ __get__"
)
METHODS: Final = {
    "hash": "__hash__",
    "repr": "__repr__",
    "ascii": "__repr__",
    "format": "__format__",
    "contains": "__contains__",
    "countOf": "count",
    "indexOf": "index",
    "concat": "__add__",
    "iconcat": "__iadd__",
}
"""Functions that call a method of their first argument, if their name does not tell which."""

STREAMS: Final = _ids(
    *(map, filter, zip, enumerate, itertools.islice, itertools.filterfalse, itertools.takewhile),
    *(itertools.dropwhile, itertools.starmap, itertools.compress, itertools.chain),
    *(itertools.accumulate, itertools.groupby, itertools.zip_longest, itertools.repeat),
)
"""Iterators that keep none of the items that they take."""
KEEPS_NONE: Final = _names(
    "sum min max any all fsum prod countOf indexOf contains copyfileobj file_digest"
)
"""Functions that keep nothing of what they are given or answered."""
BY_PLACE: Final = _names("random bisect secrets")
"""Modules whose functions look at some items of a long range."""
TAKES_ROWS: Final = _names("writerows executemany")
"""Methods that take the items of each item."""
TAKES_TABLES: Final = _names("translate format_map mod __mod__ substitute safe_substitute")
"""Functions that put the values of a container into a text, each as often as it is named."""
TAKES_AT_ONCE: Final = _names("prod extend")
"""Functions that need all items before they begin, or hide what an iterator raises."""
