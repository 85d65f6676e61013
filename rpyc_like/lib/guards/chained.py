"""Objects that the interpreter frees by recursion, and how deeply a peer may nest them.

Lists, tuples, dicts, sets and instances of classes written in Python are put aside by CPython's
deallocators when too many are in one another. Deques, defaultdicts, slices, most iterators and some
more are not (measured on 3.10 to 3.13), so freeing a long chain of them ends the process. Links
that a restricted peer makes between them are checked here; those that the program makes are not.

A link puts what is stored one level below the object that it is stored in, and all that hangs on it
as well. What is above an object cannot be seen from it, so that is noted, by its ``id``: an object
that has the place of one that is gone inherits its level, which can only be too high. A survey of
all objects corrects that before anything is refused, and now and then.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ...errors import LimitExceeded, MalformedValue
from ..referents import referents
from .counted_items import source_of
from .stdlib import facts_of

__all__ = ["DEEPEST", "check_link"]

# Where lists are between the links, deallocators of 3.13 put aside after 10,000 lists, those before
# it after 50: a list after each 16 deques ended 3.13 in a thread with a stack of 8 MiB.
DEEPEST: Final = 8 if sys.version_info >= (3, 13) else 200
"""Most levels of such objects directly in one another."""

_LOOKED_AT: Final = 10_000  # objects that a survey may look at for each link since the last one
_MANY: Final = 10_000  # objects that levels are noted of
_REFUSED: Final = 3  # links of a connection, after which it waits until a survey is due


def _chained(values: Iterable[Any]) -> list[Any]:
    """Return the objects that are freed by recursion; counted items stand for their iterator."""
    return [one for one in map(source_of, values) if facts_of(type(one)).is_chained]


class _Levels:
    """The levels of all objects of this process that are freed by recursion."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}  # levels above an object, where there are any
        self._links = 0  # since the last survey
        self._due = 0  # links, after which there may be another

    def check(
        self, owner: Any, values: Iterable[Any], max_steps: int, refused: int, key: str
    ) -> None:
        """Note a link; see :func:`check_link`."""
        values = _chained(values)
        if not values:
            return
        # Threads that are here at once may each miss the other's link: some levels more, no crash.
        self._links += 1
        try:
            found = self._levels_of(owner, values, max_steps, key)
        except MalformedValue:
            if not self._survey(refused < _REFUSED):
                raise
            found = self._levels_of(owner, values, max_steps, key)
        for one, level in found.items():
            self._above[one] = max(level, self._above.get(one, 0))
        if len(self._above) >= _MANY and self._links >= _MANY:
            self._survey()

    def _levels_of(self, owner: Any, values: list[Any], max_steps: int, key: str) -> dict[int, int]:
        """Return the levels above each object that is linked, by id."""
        level = 1 if owner is None else 1 + self._above.get(id(owner), 0)
        found: dict[int, int] = {}
        path = [id(owner)]
        stack = [iter(values)]
        steps = 0
        while stack:
            one = next(stack[-1], None)
            if one is None:
                stack.pop()
                path.pop()
                continue
            depth = level + len(stack) - 1
            if id(one) in path or found.get(id(one), 0) >= depth:
                continue
            if depth >= DEEPEST:
                raise MalformedValue(
                    f"expected at most {DEEPEST} levels of deques, defaultdicts, slices, iterators "
                    "or the like directly in one another, got more"
                )
            held = referents(one)
            steps += 1 + len(held) // 16
            if steps > max_steps:
                raise LimitExceeded("objects in one another", steps, max_steps, key)
            found[id(one)] = depth
            path.append(id(one))
            stack.append(iter(_chained(held)))
        return found

    def _survey(self, at_once: bool = False) -> bool:
        """Note anew what is above each object; return whether that was due, or is asked for."""
        if self._links < self._due and not at_once:
            return False
        objects = gc.get_objects()
        self._links, self._due = 0, max(DEEPEST, len(objects) // _LOOKED_AT)
        above: dict[int, int] = {}
        queue = deque((one, 0) for one in objects if facts_of(type(one)).is_chained)
        while queue:
            one, level = queue.popleft()
            if level < above.get(id(one), 0):
                continue
            for other in _chained(referents(one)):
                if above.get(id(other), 0) <= level < DEEPEST:
                    above[id(other)] = level + 1
                    queue.append((other, level + 1))
        self._above = above
        return True


_levels: Final = _Levels()


def check_link(
    owner: Any,
    values: Iterable[Any],
    max_steps: int,
    refused: int = 0,
    key: str = "max_steps",
) -> None:
    """Note that an object of such a class will hold some values.

    Args:
        owner: the object, ``None`` if it is about to be made.
        refused: how many links the connection was refused before. An object may have the place of
            one that is gone, and its level; who was hardly refused so far has that looked into.
        key: the configuration key that changes ``max_steps``.

    Raises:
        MalformedValue: the values would be too deep then.
        LimitExceeded: too many objects hang on them.
    """
    _levels.check(owner, values, max_steps, refused, key)
