"""Guards of functions written in C that a restricted peer calls: those of containers, above all.

The interpreter hashes, compares, shows and frees nested containers by recursion, it takes items of
an iterable without looking up, and some of its buffers trust that nobody changes them while it asks
an argument for its number. So what a peer passes to such a function is looked at before. Functions
of the program are its own business, and so is what it fills its containers with.
"""

from __future__ import annotations

import array
import itertools
import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from operator import methodcaller
from types import (
    ClassMethodDescriptorType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
    WrapperDescriptorType,
)
from typing import Any, Final, Protocol
from weakref import ReferenceType, WeakValueDictionary

from ..errors import LimitExceeded, MalformedValue
from . import access_policy, chained, in_flight, weights
from .brief import brief
from .c_callables import is_bound, is_c_callable, is_called_in_c, is_function
from .code import COMPARISONS
from .counted_items import CountedItems, is_only_iterator, source_of
from .hashes import MAX_EQUAL_HASHES, check_hashes
from .in_flight import ItemWork, Use, count_item
from .proxies import copy_of, is_container, is_proxy
from .referents import referents
from .result_sizes import check_result
from .stand_ins import dict_of, module_of, mro_of

__all__ = [
    "Guard",
    "check_call",
    "check_factory",
    "check_method",
    "check_weight",
    "call",
    "taken",
    "using",
    "copy_for_peer",
]


class Account(Protocol):
    """Steps that are done for a request, and memory that is held for it, counted."""

    def count(self) -> object:
        """Count a step; raise if there are too many."""

    def check(self) -> object:
        """Raise if nobody waits for the answer any more."""

    def hold(self, item: Any) -> object:
        """Count the memory of an item; raise if it is too much."""


class Guard:
    """Limits and accounts of one connection, for calls of functions in C by its peer.

    Args:
        config: limits by the keys ``max_steps``, ``max_depth`` and ``allow_ladders``.
        open_account: returns an account of the request that is being served.
        max_result: bytes of memory that a result may take; the key is ``max_memory``.
        steps_key: the key that changes ``max_steps``, as errors name it.
        depth_key: the key that changes ``max_depth``; ``None`` if no key does.
        tells_causes: returns whether the peer says what it asks in order to answer something.
    """

    __slots__ = (
        *("config", "depth_key", "max_result", "open_account", "refused_links", "steps_key"),
        "tells_causes",
    )

    def __init__(
        self,
        config: Mapping[str, Any],
        open_account: Callable[[], AbstractContextManager[Account]],
        max_result: int,
        steps_key: str = "max_steps",
        depth_key: str | None = "max_depth",
        tells_causes: Callable[[], object] = bool,
    ) -> None:
        self.config = config
        self.steps_key = steps_key
        self.depth_key = depth_key
        self.open_account = open_account
        self.max_result = max_result
        self.tells_causes = tells_causes
        self.refused_links = 0
        """How many links between containers would have been too deep."""

    def make_work(self, kept: bool = False) -> ItemWork:
        """Return what counts and weighs the items that a call takes.

        Args:
            kept: whether several calls use it.
        """
        return ItemWork(self.open_account, self._weigh, kept)

    def make_light_work(self) -> ItemWork:
        """Return what counts the items that a call only stores."""
        return ItemWork(self.open_account, id)

    def _weigh(self, item: Any) -> None:
        if id(type(item)) not in _PLAIN:
            check_weight(self, item)
            if type(item) is tuple:
                for one in (item, *item[:_PARTS]):  # a part of the peer's container, maybe
                    _check_own_keys(one)


_LRU_CACHE: Final = type(lru_cache(abs))
_UNBOUND: Final = (MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType)

_LIKE_C: Final = frozenset(("collections", "collections.abc", "_collections_abc", "weakref"))
"""Modules whose functions in Python do no more than those in C."""

_DEEPEST: Final = 1000  # levels; the stack of a thread takes about ten times as many
_MAX_WRAPPED: Final = 20
_BUFFERS: Final = (bytearray, array.array, memoryview)
_LIBRARY_BUFFERS: Final = (("mmap", "mmap"), ("_ctypes", "Array"))  # not imported for this
_NESTED: Final = (list, tuple, dict, set, frozenset, deque, slice, MappingProxyType)
_MAPPINGS: Final = (UserDict, WeakValueDictionary)  # written in Python, with a dict in them
_HASHED: Final = (set, frozenset, dict, ChainMap, *_MAPPINGS)
_CONTAINERS: Final = (*_NESTED, UserList, ChainMap, *_MAPPINGS)
_EMPTY: Final[dict[Any, Any]] = {}
_EACH_VIEW: Final[tuple[Any, ...]] = (_EMPTY.keys(), _EMPTY.values(), _EMPTY.items())
_VIEWS: Final[tuple[type, ...]] = tuple(map(type, _EACH_VIEW))
_PARTS: Final = 8  # of an answer with items of a container, and more about it
_PLAIN: Final = frozenset(map(id, (int, float, complex, bool, str, bytes, type(None))))
_HOLDERS: Final = (list, deque, set, frozenset, dict)
_ITERABLES: Final = (*_HOLDERS, *_VIEWS)
_LOOKING: Final = frozenset(
    (
        *COMPARISONS,
        "__contains__",
        "index",
        "count",
        "remove",
        "sort",
        "__hash__",
        "__repr__",
        "__str__",
        "__format__",
    )
)
_COPYING: Final = frozenset(("__deepcopy__", "__reduce__", "__reduce_ex__"))
_FORMATTING: Final = frozenset(("format", "format_map", "__mod__"))
_SEARCHING: Final = frozenset(("__contains__", "index", "count"))
_NEW: Final = "__init__"
_TAKES_ITEMS: Final = frozenset(
    "extend extendleft update union intersection difference symmetric_difference "
    "intersection_update difference_update symmetric_difference_update issubset issuperset "
    "isdisjoint subtract fromkeys __iadd__ __ior__ __or__ __ror__ __xor__ __ixor__".split()
)
"""Methods of containers whose arguments are iterables."""
_TAKES_ITS_KIND: Final = frozenset("__or__ __ror__ __xor__ __ixor__ __ior__".split())
"""Methods of sets that take sets only."""
_ADDS_KEYS: Final = frozenset(
    "update union symmetric_difference symmetric_difference_update subtract fromkeys "
    "__ior__ __or__ __ror__ __xor__ __ixor__".split()
)
_ADDS_A_KEY: Final = frozenset("add __setitem__ setdefault __missing__".split())
_FIRST_IS_KEY: Final = frozenset("__setitem__ setdefault".split())
_FACTORIES: Final[tuple[tuple[Any, int], ...]] = (
    (defaultdict, 1),
    *((kind, 0) for kind in (OrderedDict, Counter, dict, list, tuple, set, frozenset, deque)),
)
"""Containers, and which argument of their classes has the items."""
_CONSUMERS: Final = frozenset(
    "sum min max sorted any all join fsum prod countOf indexOf contains writelines heapify "
    "_count_elements".split()
)
"""Functions and methods written in C that take all items of an iterator."""
_HARMLESS: Final = frozenset("len iter next isinstance issubclass callable id reversed".split())
"""Functions that look at no item of a container."""
_METHODS: Final = {
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


def call(guard: Guard, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call a function in C, or one of the library, as a restricted peer wants it.

    Raises:
        RuntimeError: another call works on the same objects, and waits for a peer.
        TypeError, LimitExceeded, MalformedValue: as :func:`check_call`.
    """
    called, given, _ = _resolve(func, args)
    kind = type(called)
    values = [*given, *named.values()]
    if is_bound(kind) and not _is_of_module(called):
        values.append(called.__self__)
    named_kind = is_bound(kind) or kind in _UNBOUND or kind is FunctionType
    name = called.__name__ if named_kind else kind.__name__
    keeps = name in _STORING or (_is_class(called) and _is_kept_by(called))
    make_work = guard.make_light_work if keeps else guard.make_work
    limit = guard.config["max_steps"]
    with Use(name, values, limit, guard.steps_key, guard, make_work):
        args, pairs = check_call(guard, func, args, named)
        return source_of(func(*args, **dict(pairs)))


def using(guard: Guard, name: str, *values: Any) -> Use:
    """Return what goes around work in C on some values, in a ``with`` block.

    Args:
        name: of what is done.
    """
    return Use(name, values, guard.config["max_steps"], guard.steps_key, guard, guard.make_work)


def taken(guard: Guard, iterator: Any) -> Iterator[Any]:
    """Yield the items of an iterator that a peer takes them of; see :func:`.in_flight.taken`."""
    iterator = source_of(iterator)
    work = guard.make_work(kept=True)
    try:
        yield from in_flight.taken(
            iterator, guard.config["max_steps"], guard.steps_key, guard, lambda: work
        )
    finally:
        work.end(at_last=True)


def check_call(
    guard: Guard, func: Any, args: tuple[Any, ...], named: Any
) -> tuple[tuple[Any, ...], Any]:
    """Return the arguments to call a function with; a peer's iterables are lists then.

    Args:
        named: pairs of a name and a value.

    Raises:
        TypeError: a buffer would ask the peer.
        LimitExceeded: something is nested too deeply, or too large with all that it shares, or an
            iterator has no end.
        MalformedValue: a container would get too many keys of one hash.
    """
    func, given, before = _resolve(func, args)
    kind = type(func)
    if _takes_iterators(func, given):
        given, named = _with_counted(guard, func, given, before, named)
    check_result(func, given, _pairs_of(named), guard.max_result)
    if _is_class(func):
        named = _check_class(guard, func, given, before, named)
    elif kind is _LRU_CACHE or kind is methodcaller:
        _check_weights(guard, given)  # the first hashes them
    elif is_bound(kind) and not _is_of_module(func):
        _check_method(guard, func.__self__, func.__name__, given, before, named)
    elif kind in _UNBOUND or (kind is FunctionType and func.__module__ in _LIKE_C):
        if given:
            _check_method(guard, given[0], func.__name__, given, max(before, 1), named, 1)
    elif is_function(kind):
        _check_function(guard, func, given, before, named)
    elif _is_of_library(func):
        for value in [*given, *_values_of(named)]:
            check_weight(guard, value, True)
            _check_own_keys(value)
    if _calls_arguments(func, given):
        return _guarded_calls(guard, given[before:], named, _is_of_library(func))
    return tuple(given[before:]), named


def _is_of_module(func: Any) -> bool:
    return func.__self__ is None or issubclass(type(func.__self__), ModuleType)


def _resolve(func: Any, args: Iterable[Any]) -> tuple[Any, list[Any], int]:
    """Return what is called in the end, its arguments, and how many of them are not the peer's."""
    given = list(args)
    before = 0
    for _ in range(_MAX_WRAPPED):
        kind = type(func)
        more: tuple[Any, ...] = ()
        if issubclass(kind, partial):
            func, more = _func_of(func), _args_of(func)
        elif kind is MethodType:
            func, more = func.__func__, (func.__self__,)
        elif kind is staticmethod:
            func = func.__func__
        elif kind is MethodWrapperType and func.__name__ == "__call__":
            func = func.__self__
        else:
            break
        given[:0] = more
        before += len(more)
    return func, given, before


_func_of: Final[Any] = partial.__dict__["func"].__get__
_args_of: Final[Any] = partial.__dict__["args"].__get__


def _check_class(guard: Guard, cls: type, given: list[Any], before: int, named: Any) -> Any:
    """Look at the arguments of a class; those of a container's constructor are made lists.

    Returns:
        The named arguments.
    """
    if not _is_kept_by(cls):
        _check_weights(guard, [*given[before:], *_values_of(named)])
    if _is_buffer(cls):
        _make_plain(guard, given, before, named)
    elif issubclass(cls, _NESTED):
        place = next((place for base, place in _FACTORIES if _is_made_as(cls, base)), None)
        if place is not None:
            pairs = _takes_pairs(cls, _NEW)
            _make_list(guard, given, place, before, pairs)
            if issubclass(cls, deque):
                named = _with_list(guard, named)
        if issubclass(cls, _HASHED):
            _check_weights(guard, given[before:], dicts=False)
            if place is not None and len(given) > place:
                _check_keys((), given[place], pairs)
    if chained.is_chained(cls):
        values = [*given[before:], *_values_of(named)]
        _check_link(guard, None, [*values, *(item for one in values for item in _own_items(one))])
    return named


def _with_list(guard: Guard, named: Any) -> Any:
    """Return the named arguments of a deque, with a list for a lazy iterable."""
    pairs = []
    for name, value in _pairs_of(named):
        if type(name) is str and name == "iterable":
            items = [value]
            _make_list(guard, items, 0, 0, False)
            (value,) = items
        pairs.append((name, value))
    return pairs


def _pairs_of(named: Any) -> Any:
    return named.items() if type(named) is dict else named


def _values_of(named: Any) -> list[Any]:
    return [value for _, value in _pairs_of(named)]


def _check_link(guard: Guard, owner: Any, values: list[Any]) -> None:
    try:
        chained.check_link(
            owner, values, guard.config["max_steps"], guard.refused_links, guard.steps_key
        )
    except MalformedValue:
        guard.refused_links += 1
        raise


def _is_made_as(cls: Any, base: Any) -> bool:
    """Return whether a container's class leaves it to ``base`` to make instances."""
    return issubclass(cls, base) and cls.__new__ is base.__new__ and cls.__init__ is base.__init__


def check_method(guard: Guard, owner: Any, name: str, *args: Any) -> None:
    """Look at an operation that calls a method of an object, such as ``owner[key]``.

    Raises:
        TypeError, LimitExceeded, MalformedValue: as :func:`check_call`.
    """
    _check_method(guard, owner, name, list(args), 0, ())


def _check_method(
    guard: Guard,
    owner: Any,
    name: str,
    given: list[Any],
    before: int,
    named: Any,
    skip: int = 0,
) -> None:
    """Look at the arguments of a method.

    Args:
        before: how many of the arguments are not the peer's, or the container itself.
        skip: how many of them come before the method's own.
    """
    cls: Any = owner if issubclass(type(owner), type) else type(owner)
    if _is_buffer(cls):
        if name not in COMPARISONS:
            _make_plain(guard, given, before, named)
        return
    if issubclass(cls, range) and name in _SEARCHING:
        _check_search(guard, owner, given[skip:])
    elif name == "join" and issubclass(cls, (str, bytes, bytearray)):
        _make_list(guard, given, skip, before, False)
    elif issubclass(cls, _CONTAINERS):
        _check_container(guard, owner, name, given, before, skip)
    elif name in _LOOKING or name in _COPYING or name in _FORMATTING:
        for value in (owner, *given[max(skip, before) :], *_values_of(named)):
            check_weight(guard, value, name in _COPYING)
    elif name not in _KEEPING:
        _check_weights(guard, [*given[max(skip, before) :], *_values_of(named)])
    if issubclass(cls, _VIEWS):
        for place in range(max(skip, before), len(given)):
            _check_keys((), given[place])
    if owner is not cls and name not in _LOOKING and chained.is_chained(cls):
        values = [*given[max(skip, before) :], *_values_of(named)]
        if name in _TAKES_ITEMS or name == "__setitem__":
            values += [item for one in values for item in _own_items(one)]
        _check_link(guard, owner, values)


def _check_search(guard: Guard, numbers: Any, given: list[Any]) -> None:
    """Raise LimitExceeded if a long range would be gone through for what is no whole number."""
    limit = guard.config["max_steps"]
    if given and type(given[0]) not in (int, bool) and numbers[limit:]:
        raise LimitExceeded("numbers that are searched", limit + 1, limit, guard.steps_key)


def _check_container(
    guard: Guard, owner: Any, name: str, given: list[Any], before: int, skip: int
) -> None:
    cls: Any = owner if issubclass(type(owner), type) else type(owner)
    keyed = issubclass(cls, _HASHED)
    if name in _LOOKING:
        check_weight(guard, owner)
    if name in _TAKES_ITEMS and not (name in _TAKES_ITS_KIND and not issubclass(cls, dict)):
        pairs = _takes_pairs(cls, name)
        for place in range(skip, 1 + skip if name == "fromkeys" else len(given)):
            _make_list(guard, given, place, before, pairs)
    elif name == "__setitem__" and len(given) > 1 + skip and isinstance_of(given[skip], slice):
        _make_list(guard, given, 1 + skip, before, False)
    rest = given[max(skip, before) : skip + 1 if name in _FIRST_IS_KEY else None]
    if name in _LOOKING or keyed:
        _check_weights(guard, rest, dicts=False)
    if keyed:
        _check_new_keys(owner, cls, name, given[skip:])


def _check_new_keys(owner: Any, cls: type, name: str, given: list[Any]) -> None:
    """Look at the keys that a method adds to a set or dict."""
    if not given:
        return
    table = () if owner is cls else owner
    if name in _ADDS_A_KEY or (name == "__getitem__" and issubclass(cls, defaultdict)):
        _check_keys(table, given[:1])
    elif name in _ADDS_KEYS:
        for one in given[: 1 if name == "fromkeys" else None]:
            _check_keys(table, one, _takes_pairs(cls, name))


def _takes_pairs(cls: type, name: str) -> bool:
    """Return whether the items that a method takes are keys with their values."""
    kinds = (dict, ChainMap, *_MAPPINGS)
    return name != "fromkeys" and issubclass(cls, kinds) and not issubclass(cls, Counter)


def _check_function(guard: Guard, func: Any, given: list[Any], before: int, named: Any) -> None:
    """Look at the arguments of a function of a module."""
    name, module = func.__name__, func.__module__
    if name in _HARMLESS:
        return
    if module == "_operator" or (module == "builtins" and name in _METHODS):
        method = _METHODS.get(name) or f"__{name.strip('_')}__"
        if given:
            _check_method(guard, given[0], method, given, max(before, 1), (), 1)
        return
    _check_weights(guard, [*given, *_values_of(named)])
    _check_link(guard, None, given[before:])  # csv.reader makes an iterator


# -- functions that call what they are given


class _GuardedCall:
    """Stands for a callable among arguments that C code or the standard library may call."""

    __slots__ = ("__weakref__", "_func", "_guard")

    def __init__(self, guard: Guard, func: Any) -> None:
        self._guard, self._func = guard, func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = tuple([_original(arg) for arg in args])
        kwargs = {name: _original(value) for name, value in kwargs.items()}
        func = self._func
        if not is_c_callable(func) and not _is_of_library(func):
            return func(*args, **kwargs)
        if not self._guard.config["allow_ladders"]:
            access_policy.check_call(func, args, kwargs.items())
        return in_flight.take(call(self._guard, func, args, kwargs))

    def __repr__(self) -> str:
        return repr(self._func)


def _original(arg: Any) -> Any:
    return arg._func if type(arg) is _GuardedCall else source_of(arg)


def _is_of_library(func: Any) -> bool:
    """Return whether a function or method is written in Python, in the standard library."""
    func = func.__func__ if type(func) is MethodType else func
    return type(func) is FunctionType and func.__module__ in access_policy.LIBRARY


def _guarded_calls(
    guard: Guard, args: list[Any], named: Any, passes: bool
) -> tuple[tuple[Any, ...], Any]:
    """Return the arguments, with each call of a function in C guarded as if the peer made it.

    If there is one, the other callables get the originals: what they are called with may be it.

    Args:
        passes: whether the function may pass its arguments on, such as an executor's ``submit``.
    """
    pairs = [*_pairs_of(named)]
    values = [*args, *(value for _, value in pairs)]
    counted = passes and any(type(value) is CountedItems for value in values)
    if not counted and not any(map(_needs_guard, values)):
        return tuple(args), named
    kept = [_GuardedCall(guard, arg) if _is_wrapped(arg) else arg for arg in args]
    return tuple(kept), [
        (name, _GuardedCall(guard, value) if _is_wrapped(value) else value) for name, value in pairs
    ]


def _is_wrapped(arg: Any) -> bool:
    return _needs_guard(arg) or (not issubclass(type(arg), type) and callable(arg))


def _is_class(obj: Any) -> bool:
    """Return whether an object is a class that C code makes the instances of."""
    return issubclass(type(obj), type) and is_called_in_c(type(obj))


def _needs_guard(arg: Any) -> bool:
    """Return whether it matters that a peer's arguments reach this object unseen."""
    if _is_class(arg):
        return any(map(_is_guarded_class, mro_of(arg)))
    return is_c_callable(arg) or _is_of_library(arg)


def _is_guarded_class(cls: type) -> bool:
    """Return whether it is a class of the library, other than those that only name a kind."""
    module = module_of(cls)
    return (
        type(module) is str
        and module in access_policy.LIBRARY
        and cls is not object
        and not issubclass(cls, BaseException)
        and any(name in dict_of(cls) for name in ("__new__", "__init__"))
    )


def _calls_arguments(func: Any, given: list[Any]) -> bool:
    """Return whether a function of C or of the library may call its arguments.

    Containers keep them as they are.
    """
    kind = type(func)
    if _is_class(func):
        kept = (*_CONTAINERS, *_BUFFERS, BaseException, str, ReferenceType)
        return not issubclass(func, kept) and any(map(_is_guarded_class, mro_of(func)))
    owner: Any = None
    name = ""
    if kind is FunctionType:
        if func.__module__ not in access_policy.LIBRARY:
            return False
        owner, name = given[0] if given and "." in func.__qualname__ else None, func.__name__
    elif kind in _UNBOUND:
        owner, name = given[0] if given else None, func.__name__
    elif is_bound(kind):
        name = func.__name__
        if not _is_of_module(func):
            owner = func.__self__
        elif func.__module__ == "_operator" or name in _ONLY_LOOK:
            return False
    elif not is_called_in_c(kind) or module_of(kind) == "operator":
        return False
    cls: Any = owner if issubclass(type(owner), type) else type(owner)
    if issubclass(cls, (*_CONTAINERS, *_BUFFERS, str)):
        return bool(name == "sort")
    return name[:2] != "__" and name not in _KEEPING


_ONLY_LOOK: Final = frozenset(
    "len next isinstance issubclass callable id reversed hash repr ascii format print".split()
)
_KEEPING: Final = frozenset(
    "append appendleft insert add extend extendleft update setdefault put put_nowait set get pop "
    "remove discard index count set_result heappush heappushpop heapreplace suppress".split()
)
"""Methods and functions that store their arguments, or look for them."""
_STORING: Final = _KEEPING | (_TAKES_ITEMS - _TAKES_ITS_KIND) | {"__setitem__", "__init__"}


# -- what a peer passes


def _is_lazy(value: Any) -> bool:
    """Return whether the items of an iterable are made while they are taken."""
    return is_proxy(value) or not isinstance_of(value, (*_CONTAINERS, *_VIEWS, str, bytes))


def _make_list(guard: Guard, given: list[Any], place: int, before: int, pairs: bool) -> None:
    """Take the items of a lazy argument of the peer's, counting them."""
    if not before <= place < len(given):
        return
    source = given[place]
    lazy = _is_lazy(source)
    if not lazy and not (
        pairs and isinstance_of(source, (list, tuple, deque)) and any(map(_is_lazy, source))
    ):
        return
    if is_proxy(source) and is_container(source):
        given[place] = copy_for_peer(guard, source)
        return
    if type(source) in _BUFFERS:
        return
    with guard.open_account() as account:

        def taken(items: Any) -> Iterator[Any]:
            for item in items:
                account.count()
                account.check()
                account.hold(item)
                yield item

        if not pairs:
            given[place] = list(taken(source))
        elif hasattr(source, "keys"):
            given[place] = [(key, source[key]) for key in taken(source.keys())]
        else:
            items = taken(source)
            given[place] = [tuple(taken(pair)) if _is_lazy(pair) else pair for pair in items]


def copy_for_peer(guard: Guard, proxy: Any) -> Any:
    """Return a copy of the container behind a proxy, counted: the peer says when it ends."""
    with guard.open_account() as account:
        return copy_of(proxy, account.hold)


def _takes_iterators(func: Any, given: list[Any]) -> bool:
    """Return whether a function of C or of the library may take the items of its arguments.

    The others keep an argument as it is, or look at what it is.
    """
    kind = type(func)
    if _is_class(func):
        return not _is_kept_by(func) and func not in (str, bool)
    owner: Any = None
    name = ""
    if is_bound(kind):
        name = func.__name__
        if not _is_of_module(func):
            owner = func.__self__
        elif func.__module__ == "_operator":
            kept = bool(given) and isinstance_of(given[0], (*_CONTAINERS, *_BUFFERS))
            return name not in _OPERATOR_LOOKS and not kept
        elif name in _NO_ITEMS:
            return False
    elif kind in _UNBOUND or kind is FunctionType:
        name = func.__name__
        if kind in _UNBOUND or func.__module__ in _LIKE_C:
            owner = given[0] if given else None
    elif kind is _LRU_CACHE or not is_called_in_c(kind):
        return False
    cls: Any = owner if issubclass(type(owner), type) else type(owner)
    if issubclass(cls, (*_CONTAINERS, *_BUFFERS)) and cls is not MappingProxyType:
        return False  # made lists
    if name[:2] == "__":
        return name not in COMPARISONS and name not in _DUNDERS_LOOK
    return name not in _KEEPING or name in _TAKES_ITEMS


_NO_ITEMS: Final = frozenset(
    "len iter next isinstance issubclass callable id hash repr ascii format setattr getattr "
    "hasattr type vars print bisect bisect_left bisect_right insort".split()
)
_OPERATOR_LOOKS: Final = frozenset(
    "is_ is_not eq ne lt le gt ge not_ truth index getitem delitem length_hint".split()
)
_DUNDERS_LOOK: Final = frozenset(
    "__new__ __init__ __call__ __hash__ __repr__ __str__ __format__ __getitem__ __setattr__ "
    "__getattribute__ __next__ __iter__ __reduce__ __reduce_ex__ __set__ __get__".split()
)


def _is_kept_by(cls: type) -> bool:
    """Return whether objects of a class keep what they are made of as it is."""
    kept = (*_CONTAINERS, *_BUFFERS, BaseException, ReferenceType, partial, SimpleNamespace)
    return issubclass(cls, (*kept, MethodType, type, staticmethod, classmethod, property))


def _with_counted(
    guard: Guard, func: Any, given: list[Any], before: int, named: Any
) -> tuple[list[Any], Any]:
    """Return the arguments with counted items for iterators and long ranges of the peer's."""
    streams = _is_class(func) and issubclass(func, _STREAMS)
    kind = type(func)
    named_kind = is_bound(kind) or kind in _UNBOUND or kind is FunctionType
    name = func.__name__ if named_kind else ""
    held = not streams and name not in _KEEPS_NONE
    rows = func is itertools.starmap or name in _TAKE_ROWS
    compares = func is itertools.groupby
    module = module_of(func) if _is_class(func) else getattr(func, "__module__", None)
    # Others, such as numpy.array, make something of the range itself.
    by_place = type(module) is str and (
        module in _BY_PLACE or module.partition(".")[0] not in access_policy.STDLIB
    )
    limit = guard.config["max_steps"]

    def counted(value: Any) -> Any:
        kind = type(value)
        if id(kind) in _PLAIN or kind is CountedItems:
            return value
        if kind is range:
            return (
                CountedItems(iter(value), count_item, held)
                if value[limit:] and not by_place
                else value
            )
        if rows and kind in (list, tuple, deque):
            return [counted_row(one) for one in value]
        if compares and isinstance_of(value, _ITERABLES):
            return CountedItems(iter(value), count_item, held)
        if not is_only_iterator(kind):
            return value
        return CountedItems(map(counted_row, value) if rows else value, count_item, held)

    def counted_row(row: Any) -> Any:
        if id(type(row)) in _PLAIN or not is_only_iterator(type(row)):
            return row
        return CountedItems(row, count_item, True)

    given = [*given[:before], *map(counted, given[before:])]
    if name == "prod" and len(given) > before and type(given[before]) is CountedItems:
        given[before] = list(given[before])  # how long the product takes depends on all of them
    if named:
        named = [(name, counted(value)) for name, value in _pairs_of(named)]
    return given, named


_STREAMS: Final = (
    *(map, filter, zip, enumerate, itertools.islice, itertools.filterfalse, itertools.takewhile),
    *(itertools.dropwhile, itertools.starmap, itertools.compress, itertools.chain),
    *(itertools.accumulate, itertools.groupby, itertools.zip_longest, itertools.repeat),
)
"""Iterators that keep none of the items that they take."""
_KEEPS_NONE: Final = frozenset("sum min max any all fsum prod countOf indexOf contains".split())
_BY_PLACE: Final = frozenset(("random", "bisect", "secrets"))
"""Modules whose functions look at some items of a long range."""
_TAKE_ROWS: Final = frozenset(("writerows", "executemany"))
"""Methods that take the items of each item."""


def _counted(guard: Guard, items: Any) -> Iterator[Any]:
    with guard.open_account() as account:
        for item in items:
            account.count()
            account.check()
            yield item


def _check_own_keys(value: Any) -> None:
    """Raise MalformedValue if a function would hash too many items of one hash."""
    if isinstance_of(value, (list, tuple, deque)) and len(value) > MAX_EQUAL_HASHES:
        try:
            _check_keys((), value)
        except TypeError:
            return  # not hashable, so no keys


def _make_plain(guard: Guard, given: list[Any], before: int, named: Any) -> None:
    given[before:] = [_plain(guard, arg) for arg in given[before:]]
    for value in _values_of(named):
        _plain(guard, value)


def _own_items(value: Any) -> list[Any]:
    """Return the items of a container of this side."""
    if isinstance_of(value, _HOLDERS) or isinstance_of(value, tuple):
        return _items(value)
    return []


# -- keys


class _Probe:
    """A key that equals none, and counts those that it is compared with: all of one hash."""

    __slots__ = ("_hash", "_met")

    def __init__(self, key: Hashable) -> None:
        self._hash = hash(key)
        self._met = 0

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        self._met += 1
        if self._met >= MAX_EQUAL_HASHES:
            raise MalformedValue(f"expected at most {MAX_EQUAL_HASHES} keys of one hash, got more")
        return False


_SPREAD: Final = (str, bytes, bool, type(None))
_OWN_HASH: Final = 1 << 60  # whole numbers below hash to themselves


def _check_keys(table: Any, added: Any, pairs: bool = False) -> None:
    """Raise MalformedValue if too many keys of one hash would be in a set or dict.

    Args:
        table: the set or dict, anything else for an empty one.
        added: the keys, in a container.
        pairs: whether they come with their values, if that is no dict.
    """
    table, added = _table_of(table), _table_of(added)
    if not isinstance_of(added, (*_ITERABLES, tuple)):
        return
    if pairs and not isinstance_of(added, dict):
        added = [one[0] for one in added if isinstance_of(one, (tuple, list)) and one]
    keys = [key for key in added if not _is_spread(key)]
    if not keys:
        return
    check_hashes(keys)
    kind = next((base for base in (dict, set, frozenset) if isinstance_of(table, base)), None)
    if kind is None or len(table) < MAX_EQUAL_HASHES:
        return
    for key in keys:
        if not kind.__contains__(table, key):
            kind.__contains__(table, _Probe(key))


def _table_of(obj: Any) -> Any:
    """Return the dict in a mapping that is written in Python, anything else as it is."""
    if isinstance_of(obj, ChainMap):
        maps = vars(obj).get("maps")
        return _table_of(maps[0]) if type(maps) is list and maps else None
    return vars(obj).get("data") if isinstance_of(obj, _MAPPINGS) else obj


def _is_spread(key: Any) -> bool:
    """Return whether nobody finds many keys like this one with its hash, or it is not ours."""
    kind = type(key)
    if kind is int:
        return bool(-_OWN_HASH < key < _OWN_HASH)
    return kind in _SPREAD or is_proxy(key)


# -- nesting


def _check_weights(guard: Guard, values: Iterable[Any], dicts: bool = True) -> None:
    for value in values:
        if dicts or not isinstance_of(value, dict):
            check_weight(guard, value)


def _is_buffer(cls: type) -> bool:
    if issubclass(cls, _BUFFERS):
        return True
    known = (getattr(sys.modules.get(module), name, None) for module, name in _LIBRARY_BUFFERS)
    return any(isinstance(one, type) and issubclass(cls, one) for one in known)


def isinstance_of(obj: Any, kinds: Any) -> bool:
    """Return whether an object is an instance, without asking it."""
    return issubclass(type(obj), kinds)


def check_weight(guard: Guard, obj: Any, copied: bool = False) -> None:
    """Raise LimitExceeded if an object is too deep or too large with all that it shares.

    Args:
        copied: whether it is about to be copied, not only shown, compared or hashed.
    """
    deepest = min(guard.config["max_depth"], _DEEPEST)
    limit = guard.config["max_steps"]
    weights.check_weight(obj, limit, deepest, is_proxy, copied, guard.steps_key, guard.depth_key)


def _items(obj: Any) -> list[Any]:
    if issubclass(type(obj), slice):
        return [obj.start, obj.stop, obj.step]
    if issubclass(type(obj), dict):
        return [*dict.keys(obj), *dict.values(obj)]
    for kind in (list, tuple, set, frozenset, deque):
        if issubclass(type(obj), kind):
            return list(kind.__iter__(obj))
    return referents(obj)  # a mapping proxy


def _plain(guard: Guard, arg: Any) -> Any:
    """Return an argument for a buffer, with a copy of what others could change meanwhile."""
    if is_proxy(arg) and is_container(arg):
        arg = copy_for_peer(guard, arg)
    if is_proxy(arg):
        raise TypeError(
            f"expected plain values for a buffer of this side, got a proxy {brief(arg)}"
        )
    if hasattr(type(arg), "__next__"):
        arg = _counted(guard, arg)
    elif isinstance_of(arg, (tuple, slice)):
        _check_plain(_items(arg))
        return arg
    elif not isinstance_of(arg, _ITERABLES):
        return arg
    arg = list(arg)
    _check_plain(arg)
    return arg


def _check_plain(items: Iterable[Any]) -> None:
    for item in items:
        if is_proxy(item):
            raise TypeError(
                f"expected plain values for a buffer of this side, got a proxy {brief(item)}"
            )


def check_factory(guard: Guard, holder: Any, value: Any) -> None:
    """Raise MalformedValue if a defaultdict would be nested too deeply by its factory."""
    _check_link(guard, holder, [value])
