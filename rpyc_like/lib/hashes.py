"""Keys of equal hash: building a set or dict of them costs the square of their number."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from sys import getsizeof
from typing import Any, Final

from ..errors import MalformedValue

__all__ = ["MAX_EQUAL_HASHES", "check_hashes", "update_in_slices"]

MAX_EQUAL_HASHES: Final = 64
"""Most distinct keys of one hash in a container: building it costs their square."""

_HARMLESS: Final = 4
"""So many numbers or texts of one hash are let through without a closer look."""

_MOST_COMPARED: Final = 1_000_000
"""Most items that comparisons of unequal keys of one hash may look at, for a container.

Keys that are equal cost no more than their size, since one of them is dropped for it.
"""

_OF_A_KEY: Final = 64  # items that may be compared for each key beyond those
_STEP: Final = 256  # items that are compared in the time of a step of a comparison here
_MOST_LEVELS: Final = 50  # of frozensets that are compared; each takes a few frames here

_FEW: Final = 10_000
"""Keys that are hashed into a set to see whether many are equal; more take too much memory."""

_SLICE: Final = 10_000  # keys that are put into a set before other threads may run
_SPARSE: Final = 16  # counters for each key, so that few share one by chance
_TEXT_STEP: Final = 256  # bytes of a text or number that are compared in the time of an item
_NESTED: Final = frozenset((tuple, frozenset))
_TUPLES: Final = {tuple}
_FROZENSETS: Final = {frozenset}
_LONG: Final = frozenset((str, bytes, int))
_ATOMS: Final = frozenset((str, bytes, int, float, complex, bool, type(None), type(...)))


def check_hashes(keys: Iterable[Hashable], limit: int = MAX_EQUAL_HASHES) -> None:
    """Refuse keys of which more than ``limit`` distinct ones have the same hash.

    Of large tuples and frozensets, whose comparison takes long, fewer are accepted. Called before a
    set or dict is made of a peer's values. The caller has bounded their nesting, because hashing
    recurses in C.

    Raises:
        MalformedValue: there are that many.
    """
    if not isinstance(keys, Collection):
        keys = tuple(keys)
    few = len(keys) <= _FEW
    doubled = len(keys) - len(set(map(hash, keys))) if few else len(keys)
    if not doubled:
        return
    plain = _NESTED.isdisjoint(map(type, keys))
    harmless = _HARMLESS if plain else 1
    if doubled < harmless:
        return
    suspects: Iterable[Hashable] = keys
    if not few:
        # As many counters as keys: only keys that share one can have the same hash.
        size = len(keys) * (1 if plain else _SPARSE) | 1
        counters = bytearray(size)
        for key in keys:
            place = hash(key) % size
            counters[place] = min(counters[place] + 1, harmless + 1)
        suspects = (key for key in keys if counters[hash(key) % size] > harmless)
    groups: dict[int, list[Hashable]] = {}
    for key in suspects:
        groups.setdefault(hash(key), []).append(key)
    for group in groups.values():
        if len(group) > harmless:
            _check_group(group, limit)


def update_in_slices(made: set[Any], keys: Sequence[Any]) -> None:
    """Add keys that have been checked to a set; other threads may run meanwhile."""
    if not _NESTED.isdisjoint(map(type, keys)):
        for key in keys:  # comparing some may take long
            made.add(key)
        return
    for start in range(0, len(keys), _SLICE):
        made.update(keys[start : start + _SLICE])


def _check_group(group: list[Hashable], limit: int) -> None:
    comparison = _Comparison(len(group), limit)
    if _NESTED.isdisjoint(map(type, group)):  # comparing those takes no longer than reading them
        is_equal: Callable[[Any, Any], bool] = operator.eq
    else:
        is_equal = comparison.is_equal
    distinct: list[Hashable] = []
    for key in group:
        if not any(is_equal(one, key) for one in distinct):
            distinct.append(key)
            if len(distinct) > limit:
                raise MalformedValue(f"expected at most {limit} keys of one hash, got more")


class _Comparison:
    """Compares keys of one hash as the interpreter does, and counts the items it looks at.

    Args:
        count: how many keys there are.
        limit: how many distinct ones there may be.
    """

    __slots__ = ("_count", "_done", "_limit", "_most", "_sizes", "_wasted")

    def __init__(self, count: int, limit: int) -> None:
        self._count, self._limit = count, limit
        self._most = _MOST_COMPARED + _OF_A_KEY * count
        self._done = 0  # items that have been compared
        self._wasted = 0  # those of them that belong to comparisons of unequal values
        self._sizes: dict[int, int | None] = {}  # of the keys, by their identity

    def is_equal(self, one: Any, other: Any) -> bool:
        """Return whether two keys are equal.

        Raises:
            MalformedValue: too many items have been compared, or they are nested too deeply.
        """
        size, other_size = self._size(one), self._size(other)
        if size is None or other_size is None:
            return self._is_equal(one, other, 0)
        if one == other:
            return True
        self._waste(min(size, other_size))
        return False

    def _size(self, key: Any) -> int | None:
        known = self._sizes.get(id(key), 0)
        if known == 0:
            known = self._sizes[id(key)] = _items_of(key)
        return known

    def _waste(self, items: int) -> None:
        self._wasted += items
        if self._wasted > self._most:
            most = _MOST_COMPARED // (self._count * min(self._count, self._limit))
            raise MalformedValue(
                f"expected at most {min(_HARMLESS, self._count - 1)} keys of one hash with more "
                f"than {most} items to compare, got more"
            )

    def _is_equal(self, one: Any, other: Any, level: int) -> bool:
        """Return whether two values with frozensets in them are equal.

        Comparing frozensets of frozensets can take exponentially longer than reading them, so this
        does it step by step.

        Args:
            level: of frozensets that they are in.
        """
        done, wasted = self._done, self._wasted
        stack = [(one, other)]
        while stack:
            one, other = stack.pop()
            if one is other:
                continue
            self._done += _STEP
            kinds = {type(one), type(other)}
            if kinds == _TUPLES:
                stack.append((len(one), len(other)))
                stack += reversed([*zip(one, other)])
            elif kinds == _FROZENSETS:
                if not self._are_equal_sets(one, other, level + 1):
                    break
            elif one != other:
                break
        else:
            return True
        self._wasted = wasted
        self._waste(self._done - done)
        return False

    def _are_equal_sets(self, one: frozenset[Any], other: frozenset[Any], level: int) -> bool:
        if level > _MOST_LEVELS:
            raise MalformedValue(
                f"expected at most {_MOST_LEVELS} levels of frozensets in keys of one hash, "
                "got more"
            )
        if len(one) != len(other) or hash(one) != hash(other):
            return False
        if _ATOMS.issuperset(map(type, other)) and len(set(map(hash, other))) == len(other):
            self._done += len(one)
            return one == other
        likes: dict[int, list[Any]] = {}
        for item in other:
            likes.setdefault(hash(item), []).append(item)
        return all(
            any(self._is_equal(item, like, level) for like in likes.get(hash(item), ()))
            for item in one
        )


def _items_of(key: Any) -> int | None:
    """Return how many items comparing a key looks at, ``None`` if there are frozensets in it."""
    count = 1
    parts: list[Any] = [(key,)]
    while parts:
        one = parts.pop()
        count += len(one) + sum(
            [getsizeof(item) // _TEXT_STEP for item in one if type(item) in _LONG]
        )
        if not _ATOMS.issuperset(map(type, one)):
            if frozenset in map(type, one):
                return None
            parts += [item for item in one if type(item) is tuple]
    return count
