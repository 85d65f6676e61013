"""Keys of equal hash: building a set or dict of them costs the square of their number."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Any, Final

from ..errors import MalformedValue

__all__ = ["MAX_EQUAL_HASHES", "check_hashes"]

MAX_EQUAL_HASHES: Final = 64
"""Most distinct keys of one hash in a container: building it costs their square."""

_HARMLESS: Final = 4
"""So many keys of one hash are let through, however large they are."""

_MOST_COMPARED: Final = 1_000_000
"""Most items of keys of one hash that building a container may compare."""

_FEW: Final = 10_000
"""Keys that are hashed into a set to see whether many are equal; more take too much memory."""


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
    if len(keys) <= _HARMLESS:
        return
    suspects: Iterable[Hashable] = keys
    if len(keys) <= _FEW:
        if len(set(map(hash, keys))) > len(keys) - _HARMLESS:
            return
    else:
        # As many counters as keys: only keys that share one can have the same hash.
        size = len(keys) | 1
        counters = bytearray(size)
        for key in keys:
            place = hash(key) % size
            counters[place] = min(counters[place] + 1, _HARMLESS + 1)
        suspects = (key for key in keys if counters[hash(key) % size] > _HARMLESS)
    groups: dict[int, list[Hashable]] = {}
    for key in suspects:
        groups.setdefault(hash(key), []).append(key)
    for group in groups.values():
        if len(group) > _HARMLESS:
            _check_group(group, limit)


def _check_group(group: list[Hashable], limit: int) -> None:
    most = _MOST_COMPARED // min(len(group), limit) ** 2
    if any(_is_larger(key, most) for key in group):
        raise MalformedValue(
            f"expected at most {_HARMLESS} keys of one hash with more than {most} items, got more"
        )
    distinct: list[Hashable] = []
    for key in group:
        if key not in distinct:
            distinct.append(key)
            if len(distinct) > limit:
                raise MalformedValue(f"expected at most {limit} keys of one hash, got more")


def _is_larger(key: Hashable, most: int) -> bool:
    """Return whether a key has more items than that, those of its items included."""
    count = 0
    containers: list[Any] = [key] if type(key) in (tuple, frozenset) else []
    while containers:
        one = containers.pop()
        count += len(one)
        if count > most:
            return True
        containers += [item for item in one if type(item) in (tuple, frozenset)]
    return False
