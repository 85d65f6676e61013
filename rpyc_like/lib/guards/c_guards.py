"""Guards of functions written in C that a restricted peer calls: those of containers, above all.

The interpreter hashes, compares, shows and frees nested containers by recursion, it takes items of
an iterable without looking up, and some of its buffers trust that nobody changes them while it asks
an argument for its number. So what a peer passes to such a function is looked at before. Functions
of the program are its own business, and so is what it fills its containers with.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from sys import getrefcount
from types import FunctionType, MethodType
from typing import Any, Final, Protocol

from ...errors import LimitExceeded, MalformedValue
from ..brief import brief
from ..hashes import MAX_EQUAL_HASHES, check_hashes
from ..introspection import COMPARISONS
from ..proxies import copy_of, is_container, is_proxy
from . import access_policy, chained, in_flight, stdlib, weights
from .counted_items import CountedItems, source_of
from .growth import Account as StepAccount
from .growth import Growth, Keeper
from .in_flight import ItemWork, Use, count_item
from .result_sizes import OF_ITEMS, check_call_result, check_number
from .stdlib import Call, facts_of, is_library_function, kind_of, members

__all__ = [
    "Guard",
    "check_factory",
    "check_method",
    "check_weight",
    "call",
    "call_for_peer",
    "taken",
    "using",
    "copy_for_peer",
]


class Account(StepAccount, Protocol):
    """Steps that are done for a request, and memory that is held for it, counted."""

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
        keeper: counts the objects that calls make or enlarge; ``None`` if nothing is kept.
    """

    __slots__ = (
        *("config", "depth_key", "keeper", "max_result", "open_account", "refused_links"),
        *("steps_key", "tells_causes"),
    )

    def __init__(
        self,
        config: Mapping[str, Any],
        open_account: Callable[[], AbstractContextManager[Account]],
        max_result: int,
        steps_key: str = "max_steps",
        depth_key: str | None = "max_depth",
        tells_causes: Callable[[], object] = bool,
        keeper: Keeper | None = None,
    ) -> None:
        self.config = config
        self.keeper = keeper
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
        if id(type(item)) not in stdlib.SIMPLE_IDS:
            check_number(item, self.max_result)
            check_weight(self, item)
            if type(item) is tuple:
                for one in (item, *item[:_PARTS]):  # a part of the peer's container, maybe
                    _check_own_keys(one)


_DEEPEST: Final = 1000  # levels; the stack of a thread takes about ten times as many
_PARTS: Final = 8  # of an answer with items of a container, and more about it


def call_for_peer(guard: Guard, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call what a restricted peer names, and return the result.

    Whatever asks for the call: what is code of the program is called, a ladder is refused, and
    everything else is called under the guards of this module.

    Raises:
        AccessDenied: the access policy refuses the call.
        RuntimeError, TypeError, LimitExceeded, MalformedValue: as :func:`call`.
    """
    if _is_programs(func):
        return func(*args, **named)
    if not guard.config["allow_ladders"]:
        access_policy.check_call(func, args, named.items())
    return call(guard, func, args, named)


def _is_programs(func: Any) -> bool:
    """Return whether calling an object runs a function that the program has written in Python."""
    plain = func.__func__ if type(func) is MethodType else func
    if type(plain) is FunctionType:
        return not stdlib.LIBRARY[plain.__module__]
    facts = facts_of(type(plain))
    return not facts.is_called_in_c and facts.calls is None and not issubclass(type(plain), type)


def call(guard: Guard, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call a function in C, or one of the library, that a restricted peer may call.

    Raises:
        RuntimeError: another call works on the same objects, and waits for a peer.
        TypeError: a buffer would ask the peer.
        LimitExceeded: something is nested too deeply, or too large with all that it shares, or an
            iterator has no end.
        MalformedValue: a container would get too many keys of one hash.
    """
    called = Call(func, args)
    if called.name in stdlib.TAKES_ITEMS and (single := stdlib.single_of(called)) is not None:
        given = called.given[called.skip :]
        if len(given) == 1 and called.before <= called.skip and not named and _is_live(given[0]):
            return _one_by_one(guard, single, called.owner, given[0])
    values = [*called.given, *named.values()]
    if called.sort is stdlib.METHOD:
        values[: called.skip] = []
    if called.calls_arguments:  # what those work on they say themselves
        values = [value for value in values if not stdlib.is_wrapper(type(value))]
    if called.sort is stdlib.METHOD:
        values.append(called.owner)
    elif called.sort is stdlib.CALLABLE and facts_of(type(called.func)).holds:
        values.append(called.func)
    name = called.name or type(called.func).__name__
    make_work = guard.make_light_work if called.stores else guard.make_work
    with Use(name, values, guard.config["max_steps"], guard.steps_key, guard, make_work) as use:
        args, pairs = _checked(guard, called, named)
        if name not in stdlib.KEEPS_NONE:
            use.bound_answers(guard.max_result)
        if guard.keeper is None:
            return source_of(func(*args, **dict(pairs)))
        growth = Growth(guard.keeper, called, pairs, values)
        try:
            result = source_of(func(*args, **dict(pairs)))
        finally:
            growth.measure()
        if getrefcount(result) <= _NEW:
            growth.measure_result(result, guard.open_account)
        else:
            growth.measure_member(result)
        return result


_NEW: Final = 2  # references to what nothing else refers to, with the one that counts them


def _is_live(items: Any) -> bool:
    """Return whether a peer is asked for the next item of an iterable, or the program."""
    if is_proxy(items):
        return not is_container(items)
    facts = facts_of(type(items))
    return facts.is_iterator and (facts.kind is stdlib.NAMED or any(map(is_proxy, members(items))))


def _one_by_one(guard: Guard, single: Any, owner: Any, items: Any) -> None:
    """Do for each item what C code would do for all, and let others work on the object between."""
    with guard.open_account() as account:
        for item in _counted(account, items if is_proxy(items) else taken(guard, items)):
            call(guard, single, (owner, item), {})


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


def _checked(guard: Guard, call: Call, named: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the arguments to call a function with; a peer's iterables are lists then.

    Args:
        named: pairs of a name and a value, or a dict of them.
    """
    if call.takes_iterators:
        named = _with_counted(guard, call, named)
    named = _with_items(guard, call, named)
    named = check_call_result(call, _pairs_of(named), guard.max_result)
    if call.sort is stdlib.CLASS:
        named = _check_class(guard, call, named)
    elif call.hashes:
        _check_weights(guard, call.given)
    elif call.sort is stdlib.METHOD:
        _check_method(guard, call.owner, call.name, call.given, call.first, named, call.skip)
    elif call.sort is stdlib.FUNCTION:
        _check_function(guard, call, named)
    elif call.sort is stdlib.PYTHON:
        for value in [*call.given, *_values_of(named)]:
            check_weight(guard, value, True)
            _check_own_keys(value)
    args = call.given[call.before :]
    if call.calls_arguments:
        return _guarded_calls(guard, args, named, is_library_function(call.func))
    return tuple(args), named


def _check_class(guard: Guard, call: Call, named: Any) -> Any:
    """Look at the arguments of a class; those of a container's constructor are made lists.

    Returns:
        The named arguments.
    """
    facts, given, before = facts_of(call.func), call.given, call.before
    if not facts.keeps:
        _check_weights(guard, [*given[before:], *_values_of(named)])
    if facts.kind is stdlib.BUFFER:
        _make_plain(guard, given, before, named)
    elif facts.items_at is not None:
        place, pairs = facts.items_at, facts.takes_pairs
        _make_list(guard, given, place, before, pairs)
        if facts.kind is not stdlib.MAPPING:
            named = _with_list(guard, named)
        if facts.kind in stdlib.HASHED and len(given) > place:
            _check_weights(guard, given[before:], dicts=False)
            _check_keys((), given[place], pairs)
    elif facts.kind in stdlib.HASHED:
        _check_weights(guard, given[before:], dicts=False)
    if facts.is_chained:
        values = [*given[before:], *_values_of(named)]
        _check_link(guard, None, [*values, *(item for one in values for item in _own_items(one))])
    return named


def _with_items(guard: Guard, call: Call, named: Any) -> Any:
    """Take the items of arguments whose size decides how large the result gets.

    Returns:
        The named arguments.
    """
    given, first, module = call.given, call.first, call.module
    named = [
        (name, _copied(guard, value) if name == "separators" else value)
        for name, value in _pairs_of(named)
    ]
    if call.name == "join" and (call.sort is stdlib.METHOD or module == "collections"):
        _make_list(guard, given, first, first, False)
        return _with_list(guard, named)
    if call.name not in stdlib.TAKES_TABLES and not (type(module) is str and module in OF_ITEMS):
        return named

    def taken(value: Any) -> Any:
        return [*value] if type(value) is CountedItems else _copied(guard, value)

    given[first:] = map(taken, given[first:])
    return [(name, taken(value)) for name, value in named]


def _copied(guard: Guard, value: Any) -> Any:
    """Return a copy of a container of the peer's, anything else as it is."""
    return copy_for_peer(guard, value) if is_proxy(value) and is_container(value) else value


def _with_list(guard: Guard, named: Any) -> Any:
    """Return the named arguments of a container, with a list for a lazy iterable."""
    pairs = []
    for name, value in _pairs_of(named):
        if type(name) is str and name in ("iterable", "initlist", "data", "seq"):
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


def check_method(guard: Guard, owner: Any, name: str, *args: Any) -> None:
    """Look at an operation that calls a method of an object, such as ``owner[key]``.

    Raises:
        TypeError, LimitExceeded, MalformedValue: as :func:`call`.
    """
    _check_method(guard, owner, name, list(args), 0, (), 0)


def _check_method(
    guard: Guard, owner: Any, name: str, given: list[Any], first: int, named: Any, skip: int
) -> None:
    """Look at the arguments of a method.

    Args:
        first: how many of the arguments are not the peer's, or the container itself.
        skip: how many of them come before the method's own.
    """
    cls: Any = owner if issubclass(type(owner), type) else type(owner)
    facts = facts_of(cls)
    if facts.kind is stdlib.BUFFER:
        if name not in COMPARISONS:
            _make_plain(guard, given, first, named)
        return
    if name in stdlib.SEARCHING and issubclass(cls, range):
        _check_search(guard, owner, given[skip:])
    elif facts.kind in stdlib.CONTAINERS:
        _check_container(guard, owner, cls, name, given, first, skip)
    elif name in stdlib.LOOKING or name in stdlib.COPYING or name in stdlib.FORMATTING:
        for value in (owner, *given[first:], *_values_of(named)):
            check_weight(guard, value, name in stdlib.COPYING)
    elif name not in stdlib.KEEPING:
        _check_weights(guard, [*given[first:], *_values_of(named)])
    if facts.kind is stdlib.VIEW:
        for place in range(first, len(given)):
            _check_keys((), given[place])
    if owner is not cls and name not in stdlib.LOOKING and facts.is_chained:
        values = [*given[first:], *_values_of(named)]
        if name in stdlib.TAKES_ITEMS or name == "__setitem__":
            values += [item for one in values for item in _own_items(one)]
        _check_link(guard, owner, values)


def _check_search(guard: Guard, numbers: Any, given: list[Any]) -> None:
    """Raise LimitExceeded if a long range would be gone through for what is no whole number."""
    limit = guard.config["max_steps"]
    if given and type(given[0]) not in (int, bool) and numbers[limit:]:
        raise LimitExceeded("numbers that are searched", limit + 1, limit, guard.steps_key)


def _check_container(
    guard: Guard, owner: Any, cls: type, name: str, given: list[Any], first: int, skip: int
) -> None:
    facts = facts_of(cls)
    pairs = facts.takes_pairs and name not in ("fromkeys", "_make")
    if name in stdlib.LOOKING:
        check_weight(guard, owner)
    if stdlib.takes_items(cls, name):
        for place in range(skip, 1 + skip if name == "fromkeys" else len(given)):
            _make_list(guard, given, place, first, pairs)
    elif name == "__setitem__" and len(given) > 1 + skip and type(given[skip]) is slice:
        _make_list(guard, given, 1 + skip, first, False)
    if name in stdlib.LOOKING or facts.kind in stdlib.HASHED:
        rest = given[first : skip + 1 if name in stdlib.FIRST_IS_KEY else None]
        _check_weights(guard, rest, dicts=False)
    if facts.kind in stdlib.HASHED and len(given) > skip:
        table = () if owner is cls else owner
        if name in stdlib.ADDS_A_KEY or (name == "__getitem__" and issubclass(cls, defaultdict)):
            _check_keys(table, given[skip : skip + 1])
        elif name in stdlib.ADDS_KEYS:
            for one in given[skip : skip + 1 if name == "fromkeys" else None]:
                _check_keys(table, one, pairs)
        elif name in stdlib.TAKES_ITEMS:
            for one in given[skip:]:
                _check_keys(table, one, kept=False)


def _check_function(guard: Guard, call: Call, named: Any) -> None:
    """Look at the arguments of a function of a module."""
    name, given = call.name, call.given
    if name in stdlib.HARMLESS:
        return
    if call.module == "_operator" or (call.module == "builtins" and name in stdlib.METHODS):
        method = stdlib.METHODS.get(name) or f"__{name.strip('_')}__"
        if given:
            _check_method(guard, given[0], method, given, max(call.before, 1), (), 1)
        return
    _check_weights(guard, [*given, *_values_of(named)])
    _check_link(guard, None, given[call.before :])  # csv.reader makes an iterator


# -- functions that call what they are given


class _GuardedCall:
    """Stands for a callable among arguments that C code or the standard library may call."""

    __slots__ = ("__weakref__", "_func", "_guard")

    def __init__(self, guard: Guard, func: Any) -> None:
        self._guard, self._func = guard, func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args = tuple([_original(arg) for arg in args])
        kwargs = {name: _original(value) for name, value in kwargs.items()}
        result = call_for_peer(self._guard, self._func, args, kwargs)
        return result if _is_programs(self._func) else in_flight.take(result)

    def __repr__(self) -> str:
        with using(self._guard, "repr", self._func):
            return repr(self._func)


def _original(arg: Any) -> Any:
    return arg._func if type(arg) is _GuardedCall else source_of(arg)


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


def _needs_guard(arg: Any) -> bool:
    """Return whether it matters that a peer's arguments reach this object unseen."""
    if issubclass(type(arg), type):
        return facts_of(type(arg)).is_called_in_c and facts_of(arg).is_guarded
    return callable(arg) and not _is_programs(arg)


# -- what a peer passes

_AT_HAND: Final = stdlib.CONTAINERS | {stdlib.VIEW, stdlib.TEXT, stdlib.BUFFER, stdlib.HOLDER}


def _is_lazy(value: Any) -> bool:
    """Return whether the items of an iterable are made while they are taken."""
    return is_proxy(value) or kind_of(value) not in _AT_HAND


def _make_list(guard: Guard, given: list[Any], place: int, before: int, pairs: bool) -> None:
    """Take the items of a lazy argument of the peer's, counting them."""
    if not before <= place < len(given):
        return
    source = given[place]
    lazy = _is_lazy(source)
    if not lazy and not (pairs and _is_sequence(source) and any(map(_is_lazy, source))):
        return
    if is_proxy(source) and is_container(source):
        given[place] = copy_for_peer(guard, source)
        return
    with guard.open_account() as account:
        if not pairs:
            given[place] = [*_counted(account, source)]
        elif hasattr(source, "keys"):
            given[place] = [(key, source[key]) for key in _counted(account, source.keys())]
        else:
            given[place] = [
                (*_counted(account, pair),) if _is_lazy(pair) else pair
                for pair in _counted(account, source)
            ]


def _counted(account: Account, items: Any) -> Iterator[Any]:
    for item in items:
        account.count()
        account.check()
        account.hold(item)
        yield item


def copy_for_peer(guard: Guard, proxy: Any) -> Any:
    """Return a copy of the container behind a proxy, counted: the peer says when it ends."""
    with guard.open_account() as account:
        return copy_of(proxy, account.hold)


def _with_counted(guard: Guard, call: Call, named: Any) -> Any:
    """Replace iterators and long ranges of the peer's by counted items.

    Returns:
        The named arguments.
    """
    func, given, name, module = call.func, call.given, call.name, call.module
    held = id(func) not in stdlib.STREAMS and name not in stdlib.KEEPS_NONE
    rows = func is itertools.starmap or name in stdlib.TAKES_ROWS
    compares = func is itertools.groupby
    # Others, such as numpy.array, make something of the range itself.
    by_place = type(module) is str and (
        module in stdlib.BY_PLACE or module.partition(".")[0] not in stdlib.STDLIB
    )
    limit = guard.config["max_steps"]

    def counted(value: Any) -> Any:
        kind = type(value)
        if kind is CountedItems:
            return value
        if kind is range:
            return value if by_place or not value[limit:] else listed(value)
        if rows and _is_sequence(value):
            return [counted_row(one) for one in value]
        if compares and facts_of(kind).is_native:
            return listed(value)
        if not _is_iterator(value):
            return value
        return CountedItems(map(counted_row, value) if rows else value, count_item, held)

    def listed(value: Any) -> CountedItems:
        return CountedItems(iter(value), count_item, held)

    def counted_row(row: Any) -> Any:
        if not _is_iterator(row):
            return row
        return CountedItems(row, count_item, True)

    first = call.first
    given[first:] = map(counted, given[first:])
    if name in stdlib.TAKES_AT_ONCE and len(given) > first and type(given[first]) is CountedItems:
        given[first] = list(given[first])
    return [(name, counted(value)) for name, value in _pairs_of(named)] if named else named


def _is_iterator(value: Any) -> bool:
    """Return whether a value, or what it is a weak proxy of, is only there to give its items."""
    return facts_of(type(stdlib.through_proxy(value))).is_iterator


def _check_own_keys(value: Any) -> None:
    """Raise MalformedValue if a function would hash too many items of one hash."""
    if _is_sequence(value) and len(value) > MAX_EQUAL_HASHES:
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
    facts = facts_of(type(value))
    return [*members(value)] if facts.is_native and facts.kind is not stdlib.VIEW else []


def _is_sequence(value: Any) -> bool:
    facts = facts_of(type(value))
    return facts.is_native and facts.kind is stdlib.SEQUENCE


# -- keys


class _Probe:
    """A key that equals none, and meets those that it is compared with: all of one hash."""

    __slots__ = ("_hash", "met")

    def __init__(self, key: Hashable) -> None:
        self._hash = hash(key)
        self.met: list[Any] = []

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if len(self.met) < 2 * MAX_EQUAL_HASHES:  # the program may have put in any number
            self.met.append(other)
        return False


_SPREAD: Final = (str, bytes, bool, type(None))
_OWN_HASH: Final = 1 << 60  # whole numbers below hash to themselves


def _check_keys(table: Any, added: Any, pairs: bool = False, kept: bool = True) -> None:
    """Raise MalformedValue if too many keys of one hash would be in a set or dict.

    Args:
        table: the set or dict, anything else for an empty one.
        added: the keys, in a container.
        pairs: whether they come with their values, if that is no dict.
        kept: whether they are put into the table, not only looked up there.
    """
    table, added = stdlib.table_of(table), stdlib.table_of(added)
    if not facts_of(type(added)).is_native:
        return
    if pairs and kind_of(added) is not stdlib.MAPPING:
        added = [one[0] for one in added if _is_sequence(one) and one]
    keys = [key for key in added if not _is_spread(key)]
    if not keys:
        return
    check_hashes(keys)
    kind = next((base for base in (dict, set, frozenset) if issubclass(type(table), base)), None)
    if kind is None or (len(table) < MAX_EQUAL_HASHES and len(keys) <= MAX_EQUAL_HASHES):
        return
    probes = {hash(key): _Probe(key) for key in keys}
    met: list[Any] = []
    for probe in probes.values():
        kind.__contains__(table, probe)
        met += probe.met
    if met and len(keys) > 1:  # each key is compared with those
        check_hashes([*met, *keys], len(met) + MAX_EQUAL_HASHES)
    for key in keys if kept else ():
        if len(probes[hash(key)].met) >= MAX_EQUAL_HASHES and not kind.__contains__(table, key):
            raise MalformedValue(f"expected at most {MAX_EQUAL_HASHES} keys of one hash, got more")


def _is_spread(key: Any) -> bool:
    """Return whether nobody finds many keys like this one with its hash, or it is not ours."""
    kind = type(key)
    if kind is int:
        return bool(-_OWN_HASH < key < _OWN_HASH)
    return kind in _SPREAD or is_proxy(key)


# -- nesting


def _check_weights(guard: Guard, values: Iterable[Any], dicts: bool = True) -> None:
    for value in values:
        if dicts or not issubclass(type(value), dict):
            check_weight(guard, value)


def check_weight(guard: Guard, obj: Any, copied: bool = False) -> None:
    """Raise LimitExceeded if an object is too deep or too large with all that it shares.

    Args:
        copied: whether it is about to be copied, not only shown, compared or hashed.
    """
    deepest = min(guard.config["max_depth"], _DEEPEST)
    limit = guard.config["max_steps"]
    weights.check_weight(obj, limit, deepest, is_proxy, copied, guard.steps_key, guard.depth_key)


def _plain(guard: Guard, arg: Any) -> Any:
    """Return an argument for a buffer, with a copy of what others could change meanwhile."""
    if is_proxy(arg) and is_container(arg):
        arg = copy_for_peer(guard, arg)
    plain: Any
    if hasattr(type(arg), "__next__") and not is_proxy(arg):
        with guard.open_account() as account:
            arg = plain = [*_counted(account, arg)]
    elif issubclass(type(arg), (tuple, slice)):
        plain = members(arg)
    elif facts_of(type(arg)).is_native:
        arg = plain = list(arg)
    else:
        plain = (arg,)
    for item in plain:
        if is_proxy(item):
            raise TypeError(
                f"expected plain values for a buffer of this side, got a proxy {brief(item)}"
            )
    return arg


def check_factory(guard: Guard, holder: Any, value: Any) -> None:
    """Raise MalformedValue if a defaultdict would be nested too deeply by its factory."""
    _check_link(guard, holder, [value])
