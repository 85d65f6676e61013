"""Erlang's order of terms: numbers, atoms, references, functions, ports, pids, tuples, maps, lists,
bitstrings.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any, Final

from .maps import Map
from .values import Export, Fun, ImproperList, Pid, PortId, Reference

__all__ = ["order_key"]

_NUMBER, _ATOM, _REFERENCE, _FUN, _PORT, _PID, _TUPLE, _MAP, _LIST, _BINARY = range(10)
_RANKS: Final = (
    (bool, _ATOM),
    ((int, float), _NUMBER),
    (Reference, _REFERENCE),
    ((Export, Fun), _FUN),
    (PortId, _PORT),
    (Pid, _PID),
    (tuple, _TUPLE),
    ((Map, dict), _MAP),
    (list, _LIST),
    (bytes, _BINARY),
)


def _rank(term: Any) -> int:
    if term is None:
        return _ATOM
    if isinstance(term, str):
        return _LIST if type(term) is str else _ATOM
    for kinds, rank in _RANKS:
        if isinstance(term, kinds):  # type: ignore[arg-type]
            return rank
    raise ValueError(f"unsupported data type: {type(term)}")


def _compare(one: Any, other: Any) -> int:
    first, second = _rank(one), _rank(other)
    if first != second:
        return -1 if first < second else 1
    if first == _ATOM:
        one, other = _atom_text(one), _atom_text(other)
    elif first == _TUPLE:
        return (len(one) > len(other)) - (len(one) < len(other)) or _compare_items(one, other)
    elif first == _LIST:
        if isinstance(one, str):
            one = list(map(ord, one))
        if isinstance(other, str):
            other = list(map(ord, other))
        return (
            _compare_items(one, other)
            or (len(one) > len(other)) - (len(one) < len(other))
            or isinstance(one, ImproperList) - isinstance(other, ImproperList)
        )
    elif first not in (_NUMBER, _BINARY):
        one, other = repr(one), repr(other)
    return int(one > other) - int(one < other)


def _compare_items(one: Any, other: Any) -> int:
    for left, right in zip(one, other, strict=False):
        found = _compare(left, right)
        if found:
            return found
    return 0


def _atom_text(atom: Any) -> str:
    return str(atom).lower() if atom is None or isinstance(atom, bool) else str(atom)


order_key: Final = cmp_to_key(_compare)
"""A key for :func:`sorted`."""
