"""Memory that a call of the library leaves behind: a new object, larger containers, kept arguments.

How large a result may get is estimated before (:mod:`.result_sizes`); this says what a peer has
afterwards, so that it can be counted as long as it lives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from io import BytesIO, StringIO
from itertools import chain, compress
from sys import getrefcount, getsizeof
from typing import Any, Final, Protocol

from .proxies import is_proxy
from .referents import referents
from .stdlib import (
    BUFFER,
    CONTAINERS,
    FUNCTION,
    METHOD,
    PLAIN,
    PROGRAM,
    READING,
    SIMPLE_IDS,
    TEXT,
    Call,
    facts_of,
    kind_of,
    table_of,
)

__all__ = ["SMALL", "Growth", "Keeper", "own_size"]

SMALL: Final = 256
"""Bytes; smaller objects are not counted one by one: an entry for each would take as much."""

_FIXED: Final = (tuple, frozenset, memoryview)
_FILES: Final = (BytesIO, StringIO)
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
        named: its named arguments.
        before: its arguments as the peer has given them; others are copies that hold the peer's.

    Raises:
        LimitExceeded: the peer of the call may have no more.
    """

    __slots__ = ("_call", "_enlarges", "_given", "_keeper", "_sizes")

    def __init__(
        self, keeper: Keeper, call: Call, named: Iterable[Any], before: Iterable[Any]
    ) -> None:
        self._keeper, self._call = keeper, call
        self._given: list[Any] = []
        name = call.name
        self._enlarges = name in _ENLARGING
        if call.sort is PROGRAM:
            self._sizes: list[tuple[Any, int]] = []
            return
        values = [*call.given, *named]
        if call.sort is METHOD and not call.skip:
            values.append(call.owner)
        reads = name in READING and not issubclass(call.cls, defaultdict)
        self._sizes = [] if reads else [(one, own_size(one)) for one in values if _grows(one)]
        more = _copied(call)
        if self._enlarges:
            known = set(map(id, before))
            copies = [one for one in values if id(one) not in known and one is not call.owner]
            self._given = _large([*values, *chain.from_iterable(map(_items, copies))])
            first = 1 if call.sort is FUNCTION else call.skip
            more += sum([own_size(one) for one in (*call.given[first:], *named) if _grows(one)])
            more += sum(map(getsizeof, self._given)) + _PLACE
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
            self._keep(self._given)

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
                size = _with_parts(one, open_account) if deep else own_size(one)
                if size > SMALL:
                    self._keeper.add(one, size)
        if objects and not self._enlarges and deep and (given := _large(self._call.given)):
            self._keep(given)  # an iterator, maybe, which holds them

    def _keep(self, given: list[Any]) -> None:
        for one in given:
            self._keeper.add(one, getsizeof(one))
        self._keeper.release(given)


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
    return found in CONTAINERS or found is BUFFER or issubclass(kind, _FILES)


def own_size(obj: Any) -> int:
    """Return how many bytes a container takes without its items; runs no code of its class."""
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


def _large(values: Iterable[Any]) -> list[Any]:
    """Return the large texts and numbers among values, and in tuples of them."""
    found: list[Any] = []
    stack = [values]
    while stack:
        for one in stack.pop():
            kind = type(one)
            if kind is tuple or kind is frozenset:
                stack.append(one)
            elif (kind is str or kind is bytes or kind is int) and getsizeof(one) > SMALL:
                found.append(one)
    return found


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
