"""Items of an iterator that a restricted peer passed to a library function, counted one by one.

C code takes items in a loop that nothing interrupts: ``next(filter(None, repeat(0)))`` has no end
and lets no other thread run. So an iterator among a peer's arguments is replaced by one of these.
An iterator that is made of it counts as well whenever it is used by a peer, in whichever call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

__all__ = ["CountedItems", "source_of"]


class CountedItems:
    """An iterator that reports each item to a function before it is handed out.

    Args:
        source: the iterator.
        report: called with each item and ``held``; may raise, and may return what replaces it.
        held: whether the call that takes the items is likely to keep them.
    """

    __slots__ = ("held", "report", "source")

    def __init__(self, source: Any, report: Callable[[Any, bool], Any], held: bool) -> None:
        self.source = source
        self.report = report
        self.held = held

    def __iter__(self) -> CountedItems:
        return self

    def __next__(self) -> Any:
        return self.report(next(self.source), self.held)

    # Policy and guards look at calls of library functions: a peer's call of this is one.
    __next__.__module__ = "itertools"

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.source, name)  # such as send() of a generator

    def __deepcopy__(self, memo: Any) -> CountedItems:
        return CountedItems(copy.deepcopy(self.source, memo), self.report, self.held)

    def __reduce__(self) -> Any:
        raise TypeError("expected an iterator that can be pickled, got one of a peer's arguments")

    def __repr__(self) -> str:
        return repr(self.source)


def source_of(obj: Any) -> Any:
    """Return the iterator whose items are counted, any other object as it is."""
    while type(obj) is CountedItems:
        obj = obj.source
    return obj
