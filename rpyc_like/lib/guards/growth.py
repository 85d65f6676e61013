"""Memory that a call of the library leaves behind: a new object, larger containers, kept arguments.

How large a result may get is estimated before (:mod:`.result_sizes`); this says what a peer has
afterwards, so that it can be counted as long as it lives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from enum import Enum, Flag
from io import BytesIO, StringIO
from itertools import chain, compress
from sys import getrefcount, getsizeof
from typing import Any, Final, Protocol

from ..proxies import is_proxy
from ..referents import referents
from .stdlib import (
    BUFFER,
    CLASS,
    CONTAINERS,
    FORMATTING,
    FUNCTION,
    LOOKING,
    LRU_CACHE,
    METHOD,
    NAMED,
    PLAIN,
    PROGRAM,
    PYTHON,
    READING,
    SIMPLE_IDS,
    TEXT,
    Call,
    facts_of,
    full_name,
    kind_of,
    table_of,
)

__all__ = ["SMALL", "Growth", "Keeper", "keep", "own_size", "plain_size"]

SMALL: Final = 256
"""Bytes; smaller objects are not counted one by one: an entry for each would take as much."""

_FIXED: Final = (tuple, frozenset, memoryview)
_FILES: Final = (BytesIO, StringIO)
_ELEMENT: Final = "xml.etree.ElementTree.Element"
_PLACE: Final = 8
_AT_ONCE: Final = 64  # parts that are looked at in a step
_COPIES: Final = frozenset("copy __copy__ __add__ __radd__ __mul__ __rmul__ __or__ __ror__".split())
_SHARING: Final = _COPIES | {"__getitem__", "__imul__", "__iadd__", "__ior__"}
"""Methods whose results hold no other objects than their operands do."""
_ENLARGING: Final = frozenset(
    "append appendleft insert add extend extendleft update setdefault put put_nowait union "
    "symmetric_difference_update subtract __setitem__ __iadd__ __ior__ __ixor__ __imul__ write "
    "writelines frombytes fromlist fromunicode heappush insort insort_left insort_right iadd ior "
    "iconcat imul setitem __init__".split()
)
"""Methods and functions that enlarge a container."""
_VALUES: Final = frozenset((PLAIN, TEXT, NAMED))
_FLOAT: Final = getsizeof(0.5)
_TINY: Final = frozenset((bool, type(None), type(...)))
_KEEPING_NOTHING: Final = READING | LOOKING | FORMATTING
_MEMBER: Final = 1000  # bytes of a member that an Enum makes of a number, and keeps
_SMALL_NUMBERS: Final = range(-5, 257)  # each is there once
_MIB: Final = 1 << 20
_HIDDEN: Final = {
    "zlib.Compress": _MIB // 2,
    **dict.fromkeys(("zlib.Decompress", "zlib._ZlibDecompressor"), _MIB // 16),
    "_bz2.BZ2Compressor": 8 * _MIB,
    "_bz2.BZ2Decompressor": 4 * _MIB,
    "_lzma.LZMADecompressor": 16 * _MIB,
    "pyexpat.xmlparser": _MIB // 16,
}
"""Memory of objects of which ``__sizeof__`` does not tell, by the full names of their classes."""
_MAKERS: Final = {
    "zlib.compressobj": "zlib.Compress",
    "zlib.decompressobj": "zlib.Decompress",
    "pyexpat.ParserCreate": "pyexpat.xmlparser",
}
"""Functions that make some of them."""
_LZMA: Final = (3, 9, 17, 32, 48, 94, 94, 186, 370, 400)
"""MiB that a compressor takes, by its preset; more for the last one, which is possible once."""


class Account(Protocol):
    """Steps that are done for a request, counted."""

    def count(self, steps: int = 1) -> object:
        """Count steps; raise if there are too many."""


OpenAccount = Callable[[], AbstractContextManager[Account]]


class Keeper(Protocol):
    """Counts objects of this side that exist for a peer, as long as they live."""

    def check(self, size: int) -> object:
        """Raise LimitExceeded if so many bytes more may not be kept."""

    def add(self, obj: Any, size: int) -> object:
        """Count a new object; raise LimitExceeded if that is too much."""

    def resize(self, obj: Any, size: int) -> object:
        """Count what an object has become larger or, below 0, smaller."""

    def release(self, objects: Iterable[Any]) -> object:
        """Look soon whether some objects still live."""


class Growth:
    """Memory that one call leaves behind.

    Args:
        keeper: counts it.
        call: about to be done.
        pairs: its named arguments.
        before: its arguments as the peer has given them; others are copies that hold the peer's.

    Raises:
        LimitExceeded: the peer of the call may have no more.
    """

    __slots__ = ("_call", "_enlarges", "_given", "_hidden", "_keeper", "_named", "_sizes")

    def __init__(
        self, keeper: Keeper, call: Call, pairs: Iterable[tuple[Any, Any]], before: Iterable[Any]
    ) -> None:
        self._keeper, self._call = keeper, call
        self._given: list[tuple[Any, int]] = []
        pairs = list(pairs)
        self._named = named = [value for _, value in pairs]
        self._hidden = 0
        name = call.name
        self._enlarges = name in _ENLARGING
        if call.sort is PROGRAM:
            self._sizes: list[tuple[Any, int]] = []
            return
        values = [*call.given, *named]
        if call.sort is METHOD and not call.skip:
            values.append(call.owner)
        is_cached = type(call.func) is LRU_CACHE
        if is_cached:
            values.append(call.func)
        reads = name in READING and not issubclass(call.cls, defaultdict)
        self._sizes = [] if reads else [(one, own_size(one)) for one in values if _grows(one)]
        more = _copied(call) + (SMALL if is_cached else 0)
        if call.sort is CLASS or call.sort is FUNCTION:
            self._hidden = _hidden(call, dict(pairs))
            more += self._hidden
        if self._enlarges or _may_keep(call):
            known = set(map(id, before))
            copies = [one for one in values if id(one) not in known and one is not call.owner]
            self._given = _large([*values, *chain.from_iterable(map(_items, copies))])
            more += sum([size + SMALL for _, size in self._given])
        more += _for_member(call, values)
        if self._enlarges:
            first = 1 if call.sort is FUNCTION else call.skip
            more += sum([own_size(one) for one in (*call.given[first:], *named) if _grows(one)])
            more += _PLACE
        if more:
            keeper.check(more)

    def measure(self) -> None:
        """Count what containers have become larger, and what they hold; the call has ended."""
        for one, before in self._sizes:
            size = own_size(one)
            change = size - before
            if change < 0 or (change and size > SMALL):
                self._keeper.resize(one, change)
        if self._given:
            _keep(self._keeper, self._given)

    def measure_member(self, result: Any) -> None:
        """Count what an Enum has made of a number: it keeps it, so that it is not new."""
        if issubclass(type(result), Flag):
            self._keeper.add(result, _MEMBER + getsizeof(result._value_))

    def measure_result(self, result: Any, open_account: OpenAccount) -> None:
        """Count an object that the call has made: nothing else refers to it.

        Args:
            open_account: returns what counts the steps that measuring takes.
        """
        kind = kind_of(result)
        if self._call.sort is PROGRAM or kind is PLAIN or kind is TEXT:
            return
        objects = [result]
        if type(result) is tuple:
            objects = (
                [] if SIMPLE_IDS.issuperset(map(id, map(type, result))) else _new_parts(result)
            )
        deep = self._call.name not in _SHARING
        for one in objects:
            if kind_of(one) is not PLAIN and kind_of(one) is not TEXT:
                size = self._hidden + (_with_parts(one, open_account) if deep else own_size(one))
                if size > SMALL:
                    self._keeper.add(one, size)
        if objects and not self._given and deep:
            # an iterator, maybe, which holds them
            _keep(self._keeper, _large([*self._call.given, *self._named]))


def keep(keeper: Keeper, value: Any) -> None:
    """Count a value that an object of this side is about to keep.

    Raises:
        LimitExceeded: the peer may have no more.
    """
    if id(type(value)) not in SIMPLE_IDS or type(value) is int:
        _keep(keeper, _large((value,)))


def plain_size(value: Any) -> int:
    """Return how many bytes a value of a peer takes; 0 for what is no text and is small."""
    if type(value) is str or type(value) is bytes:
        return getsizeof(value)
    return sum([size for _, size in _large((value,))])


def _keep(keeper: Keeper, given: list[tuple[Any, int]]) -> None:
    for one, size in given:
        keeper.add(one, size)
    if given:
        keeper.release([one for one, _ in given])


def _may_keep(call: Call) -> bool:
    """Return whether a call may keep what it is given where nothing else is measured."""
    if type(call.func) is LRU_CACHE:
        return True
    if call.sort is CLASS:
        return facts_of(call.func).kind not in _VALUES or issubclass(call.func, Enum)
    if call.sort is not METHOD and call.sort is not PYTHON:
        return False
    return kind_of(call.owner) not in _VALUES and call.name not in _KEEPING_NOTHING


def _for_member(call: Call, values: list[Any]) -> int:
    """Return how much an Enum may keep that makes a member of a number."""
    kinds = [call.func] if call.sort is CLASS else map(type, values)
    if not any(issubclass(kind, Flag) for kind in kinds):
        return 0
    numbers = [getattr(one, "_value_", one) for one in values if issubclass(type(one), (int, Flag))]
    return 2 * _MEMBER + 2 * sum([getsizeof(one) for one in numbers if type(one) is int])


def _hidden(call: Call, named: dict[Any, Any]) -> int:
    """Return how many bytes an object takes that a call makes, and does not tell."""
    if call.sort is CLASS:
        name = full_name(call.func)
    elif call.sort is FUNCTION:
        name = _MAKERS.get(f"{call.module}.{call.name}", "")
    else:
        return 0
    if name == "_lzma.LZMACompressor":
        return _of_lzma(call, named)
    return _HIDDEN.get(name, 0)


def _copied(call: Call) -> int:
    """Return how large a copy of a container gets that a call makes."""
    owner, name, key = call.owner, call.name, call.given[call.skip : call.skip + 1]
    if call.sort is FUNCTION and call.given:
        owner, name, key = call.given[0], f"__{name.strip('_')}__", call.given[1:2]
    if not _grows(owner):
        return 0
    if name in _COPIES:
        return own_size(owner)
    if name == "__getitem__" and key and type(key[0]) is slice:
        ends = (key[0].start, key[0].stop, key[0].step)
        if all(type(end) is int or end is None for end in ends) and ends[2] != 0:
            table = table_of(owner)
            size = len(table)
            return own_size(owner) * len(range(size)[key[0]]) // max(1, size)
    return 0


def _grows(obj: Any) -> bool:
    """Return whether an object is a container, buffer or file of this side that can grow."""
    kind = type(obj)
    if issubclass(kind, _FIXED) or is_proxy(obj):
        return False
    found = facts_of(kind).kind
    if found in CONTAINERS or found is BUFFER or issubclass(kind, _FILES) or kind is LRU_CACHE:
        return True
    return full_name(facts_of(kind).in_c) == _ELEMENT


def own_size(obj: Any) -> int:
    """Return how many bytes a container takes without its items; runs no code of its class."""
    if type(obj) is LRU_CACHE:
        return int(obj.cache_info().currsize) * SMALL
    return _size(table_of(obj))


def _size(obj: Any) -> int:
    try:
        size: int = facts_of(type(obj)).in_c.__sizeof__(obj)  # type: ignore[call-arg]
    except (TypeError, ValueError):  # it is closed, perhaps
        return 0
    return size


def _items(copy: Any) -> Iterable[Any]:
    if issubclass(type(copy), dict):
        return chain(dict.keys(copy), dict.values(copy))
    return copy if type(copy) is list else ()


def _large(values: Iterable[Any]) -> list[tuple[Any, int]]:
    """Return the large texts, numbers and tuples among values, and how many bytes each takes.

    What is large in a tuple is counted by itself; the rest with the tuple.
    """
    found: list[tuple[Any, int]] = []
    for one in values:
        kind = type(one)
        if kind is tuple or kind is frozenset:
            _weigh(one, found)
        elif (kind is str or kind is bytes or kind is int) and (size := getsizeof(one)) > SMALL:
            found.append((one, size))
    return found


def _weigh(whole: Any, found: list[tuple[Any, int]]) -> None:
    """Add a tuple to what is large, if it is, and what is large in it."""
    total = 0
    seen = set()
    stack = [whole]
    while stack:
        parts = stack.pop()
        if id(parts) in seen:
            continue
        seen.add(id(parts))
        total += getsizeof(parts)
        if _TINY.issuperset(map(type, parts)):
            continue
        for one in parts:
            kind = type(one)
            if kind is tuple or kind is frozenset:
                stack.append(one)
            elif kind is str or kind is bytes or kind is int:
                if kind is int and one in _SMALL_NUMBERS:
                    continue
                size = getsizeof(one)
                if size > SMALL:
                    found.append((one, size))
                else:
                    total += size
            elif kind is float:
                total += _FLOAT
    if total > SMALL:
        found.append((whole, total))


def _of_lzma(call: Call, named: dict[Any, Any]) -> int:
    """Return how many bytes a compressor takes."""
    given = {
        **dict(zip(("format", "check", "preset", "filters"), call.given[call.skip :])),
        **call.keywords,
        **named,
    }
    filters = given.get("filters")
    if filters is None:
        return _of_preset(given.get("preset"))
    sizes = [_LZMA[6] * _MIB]
    for one in filters if type(filters) is tuple or type(filters) is list else (filters,):
        if type(one) is not dict:
            return _UNKNOWN
        size = one.get("dict_size")
        sizes.append(12 * size if type(size) is int else _of_preset(one.get("preset")))
    return max(sizes)


def _of_preset(preset: Any) -> int:
    """Return how many bytes a compressor takes by its preset, 6 if it has none."""
    if type(preset) is not int:
        return _LZMA[6] * _MIB
    return _LZMA[min(preset & 31, 9)] * _MIB


_UNKNOWN: Final = 1 << 40


# -- new objects


def _with_parts(obj: Any, open_account: OpenAccount) -> int:
    """Return how many bytes a new object takes, with what only it refers to."""
    total = _size(obj)
    stack = _new_parts(obj)
    if not stack:
        return total
    with open_account() as account:
        account.count(1 + len(stack) // _AT_ONCE)
        while stack:
            one = stack.pop()
            if kind_of(one) is PLAIN or kind_of(one) is TEXT:
                total += getsizeof(one)
                continue
            total += _size(one)
            parts = _new_parts(one)
            account.count(1 + len(parts) // _AT_ONCE)
            stack += parts
    return total


def _new_parts(obj: Any) -> list[Any]:
    """Return the objects that nothing but ``obj`` refers to."""
    parts = referents(obj)
    counts = list(map(getrefcount, parts))
    return list(compress(parts, map(_ONE_MORE.__ge__, counts)))


def _references() -> int:
    """Return how many references are counted, with these functions, to a part of one object."""
    whole = [[[]]]  # type: ignore[var-annotated]
    parts = referents(whole)
    return max(map(getrefcount, parts))


_ONE_MORE: Final = _references()
