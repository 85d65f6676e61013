"""How much work the interpreter does to show, compare, hash or copy an object with all that it has.

It recurses over members, and meets what is shared once for each way that leads there. So an object
weighs as much as the tree that it would be written out to. Whose members count,
:mod:`.stdlib` decides. What the program's own methods do is its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ...errors import LimitExceeded, MalformedValue
from .stdlib import ALWAYS, COPIED, SIMPLE_IDS, TEXT_IDS, facts_of, members

__all__ = ["check_weight", "has_members"]

_STEP: Final = 16  # items that C code looks at in the time of a step
_TEXT_STEP: Final = 64  # characters or bytes
_REVISITS: Final = 100  # a step of the limit for each; what is met again on a cycle is walked again


def has_members(kind: type, copied: bool = False) -> bool:
    """Return whether showing, comparing or hashing an object of a type recurses over its members.

    Args:
        copied: whether copying it does so is enough.
    """
    return facts_of(kind).recurses >= (COPIED if copied else ALWAYS)


class _Node:
    """An object whose members are being weighed."""

    __slots__ = ("key", "lowest", "rest", "weight")

    def __init__(self, key: int, rest: Iterator[Any], weight: int, depth: int) -> None:
        self.key = key
        self.rest = rest
        self.weight = weight
        self.lowest = depth  # the level of the outermost object that its members lead back to


def check_weight(
    obj: Any,
    limit: int,
    deepest: int,
    is_leaf: Callable[[Any], bool],
    copied: bool = False,
    steps_key: str = "max_steps",
    depth_key: str | None = "max_depth",
) -> None:
    """Raise LimitExceeded if an object is too deep or too large with all that it shares.

    What is met again is not walked again, but for cycles, so this takes much less time than what
    it guards.

    Args:
        limit: steps.
        deepest: levels.
        is_leaf: whether nothing in an object is looked at, in any case.
        copied: whether it is about to be copied.
        steps_key: the key that changes ``limit``, as errors name it.
        depth_key: the key that changes ``deepest``; ``None`` if no key does.
    """
    kinds: dict[int, bool] = {}

    def walked(one: Any) -> bool:
        kind = type(one)
        known = kinds.get(id(kind))
        if known is None:
            known = kinds[id(kind)] = has_members(kind, copied) and not is_leaf(one)
        return known

    if not walked(obj):
        return
    known: dict[int, int] = {}  # weights that do not depend on the way that leads there
    again: set[int] = set()
    steps = revisits = 0
    path: dict[int, int] = {}
    stack = [_Node(0, iter((obj,)), 0, 0)]
    while stack:
        node = stack[-1]
        one = next(node.rest, None)
        if one is None:
            stack.pop()
            path.pop(node.key, None)
            if stack:
                above, depth = stack[-1], len(stack)
                above.weight += node.weight
                _check(above.weight, limit, steps_key)
                if node.lowest >= depth:
                    known[node.key] = node.weight
                else:
                    again.add(node.key)
                    above.lowest = min(above.lowest, node.lowest)
            continue
        key = id(one)
        if key in path:
            node.weight += 1
            node.lowest = min(node.lowest, path[key])
            continue
        if key in known:
            node.weight += known[key]
            _check(node.weight, limit, steps_key)
            continue
        inside = members(one)
        plain = SIMPLE_IDS.issuperset(map(id, map(type, inside)))
        weight = 1 + len(inside) // _STEP + (0 if plain else _texts(inside) // _TEXT_STEP)
        steps += weight
        if key in again:
            revisits += weight
        _check(max(steps, revisits * _REVISITS, node.weight + weight), limit, steps_key)
        nested = () if plain else [one for one in inside if walked(one)]
        if not nested:
            node.weight += weight
            known[key] = weight
            continue
        depth = len(stack)
        if depth > deepest:
            if depth_key is None:
                raise MalformedValue(f"expected at most {deepest} levels of containers, got more")
            raise LimitExceeded("levels of nested containers", depth, deepest, depth_key)
        path[key] = depth
        stack.append(_Node(key, iter(nested), weight, depth))


def _check(weight: int, limit: int, key: str) -> None:
    if weight > limit:
        raise LimitExceeded("items of nested containers", weight, limit, key)


def _texts(items: Sequence[Any]) -> int:
    """Return how long the texts among some objects are, all together."""
    return sum([len(one) for one in items if id(type(one)) in TEXT_IDS])
