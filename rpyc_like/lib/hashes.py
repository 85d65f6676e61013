"""Keys of equal hash: building a set or dict of them costs the square of their number."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Final

from ..errors import MalformedValue

__all__ = ["MAX_EQUAL_HASHES", "check_hashes"]

MAX_EQUAL_HASHES: Final = 64
"""Most distinct keys of one hash in a container: building it costs their square."""

_FEW: Final = 10_000
"""Keys that are hashed into a set to see whether many are equal; more take too much memory."""


def check_hashes(keys: Iterable[Hashable], limit: int = MAX_EQUAL_HASHES) -> None:
    """Refuse keys of which more than ``limit`` distinct ones have the same hash.

    Called before a set or dict is made of a peer's values. The caller has bounded their nesting,
    because hashing recurses in C.

    Raises:
        MalformedValue: there are that many.
    """
    if not isinstance(keys, Collection):
        keys = tuple(keys)
    if len(keys) <= limit:
        return
    if len(keys) <= _FEW and len(set(map(hash, keys))) > len(keys) - limit:
        return
    # As many counters as keys: only keys that share a full one can be too many of one hash.
    size = len(keys) | 1
    counters = bytearray(size)
    full = False
    for key in keys:
        place = hash(key) % size
        count = counters[place] = min(counters[place] + 1, limit + 1)
        full = full or count > limit
    if full:
        _check_one_by_one((key for key in keys if counters[hash(key) % size] > limit), limit)


def _check_one_by_one(keys: Iterable[Hashable], limit: int) -> None:
    first: dict[int, Hashable] = {}
    more: dict[int, list[Hashable]] = {}
    for key in keys:
        value = hash(key)
        known = first.setdefault(value, key)
        if known is key or known == key:
            continue
        others = more.setdefault(value, [])
        if key in others:
            continue
        others.append(key)
        if len(others) >= limit:
            raise MalformedValue(f"expected at most {limit} keys of one hash, got more")
