"""Erlang's order of terms: numbers, atoms, references, functions, ports, pids, tuples, maps, lists,
bitstrings.
"""

from __future__ import annotations

from functools import cmp_to_key
from itertools import chain
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
    """Return a negative number, 0 or a positive number; nesting costs no recursion."""
    found = _compare_heads(one, other)
    if type(found) is int:
        return found
    stack = [found]  # what is still to be compared
    while stack:
        for left, right in stack[-1]:
            found = _compare_heads(left, right)
            if type(found) is int:
                if found:
                    return found
                continue
            stack.append(found)
            break
        else:
            stack.pop()
    return 0


def _compare_heads(one: Any, other: Any) -> Any:
    """Return how two terms compare, or an iterator of the pairs that decide, in turn."""
    first, second = _rank(one), _rank(other)
    if first != second:
        return -1 if first < second else 1
    if first == _ATOM:
        one, other = _atom_text(one), _atom_text(other)
    elif first == _TUPLE:
        return (len(one) > len(other)) - (len(one) < len(other)) or zip(one, other)
    elif first == _LIST:
        if isinstance(one, str):
            one = list(map(ord, one))
        if isinstance(other, str):
            other = list(map(ord, other))
        longer = (len(one) > len(other)) - (len(one) < len(other))
        improper = isinstance(one, ImproperList) - isinstance(other, ImproperList)
        return chain(zip(one, other), [(longer, 0), (improper, 0)])
    elif first == _MAP:
        if len(one) != len(other):
            return -1 if len(one) < len(other) else 1
        if isinstance(one, Map) and isinstance(other, Map):
            one, other = one.canonical(one)[0], other.canonical(other)[0]
        else:
            return 0  # dicts, which are no keys: the order of values is never asked for
    elif first not in (_NUMBER, _BINARY):
        one, other = repr(one), repr(other)
    return int(one > other) - int(one < other)


def _atom_text(atom: Any) -> str:
    return str(atom).lower() if atom is None or isinstance(atom, bool) else str(atom)


order_key: Final = cmp_to_key(_compare)
"""A key for :func:`sorted`."""
