"""The owner's side of iterating over a container in chunks.

A cursor gives the next items of an exact built-in container, and more than the peer needs at once.
When the peer does something that may change the container it says how many it has used, and the
cursor goes back there: what it gives from then on is what an iterator that had read no further
would give. A list's iterator is a position; a dict's or set's is a real one, which stays behind at
what has been used while another one reads ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from ..errors import AccessDenied
from . import brine

__all__ = [
    "ALL",
    "CONTAINERS",
    "ITEMS",
    "KEYS",
    "KEYS_AND_VALUES",
    "SEQUENCES",
    "VALUES",
    "Cursor",
    "cursor_of",
    "plain_values",
    "take_from",
]

KEYS, ITEMS, VALUES, KEYS_AND_VALUES = range(4)
"""What of a dict is read; of anything else, KEYS are its items."""

MAX_WEIGHT: Final = 1 << 20
"""Characters and bytes after which a chunk ends."""

MAX_REFERENCES: Final = 256
"""Items that do not travel by value after which a chunk ends, unless all are wanted."""

ALL: Final = 100_000
"""The largest number of items that can be asked for, which means that all are wanted."""

_SIZED: Final = frozenset({str, bytes})
_EMPTY: Final[dict[Any, Any]] = {}
_VIEWS: Final = (type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items()))
SEQUENCES: Final[frozenset[type]] = frozenset({list, bytearray, range})
CONTAINERS: Final[frozenset[type]] = SEQUENCES.union((dict, set, frozenset), _VIEWS)
"""The types that are read in chunks; no subclasses."""


class Cursor:
    """Where a peer is in a dict or set. Peers can do nothing with it but read on.

    Args:
        container: an exact one.
    """

    def __init__(self, container: Any) -> None:
        self._at_peer: Any = iter(container)
        self._ahead: Iterator[Any] | None = iter(container)
        self._given = 0
        self.mapping: Any = None
        """The dict whose values are told with its keys."""

    def _rpyc_getattr(self, name: str) -> Any:
        raise AccessDenied(f"cannot access {name[:100]!r}")

    def rewind(self, used: int) -> None:
        """Goes back to where the peer is, which forgets what it has not used."""
        self._ahead = None
        self.settle(used)

    def settle(self, used: int) -> None:
        """Takes note that the peer has used so many of the items of the last chunk."""
        used, self._given = min(used, self._given), 0
        for _ in islice(self._at_peer, used):
            pass

    def _rest(self) -> list[Any] | None:
        """Returns what the peer has not seen, without going on; None if that cannot be told."""
        try:
            rest: list[Any] = self._at_peer.__reduce__()[1][0]
            return rest
        except (ValueError, RuntimeError):
            return None  # items were exchanged for others: the iterator has lost count

    def take(self, count: int) -> tuple[list[Any], bool]:
        """Returns the next items and whether they are the last, as far as one can tell now.

        Raises:
            RuntimeError: the container has changed in a way that its iterators do not survive.
        """
        if self._ahead is None:
            rest = None if count == 1 else self._rest()
            if rest is None:
                items = list(islice(self._at_peer, 1))
                return items, not items
            self._ahead = iter(rest)
        items = _weighed(islice(self._ahead, count), count)
        self._given = len(items)
        hint: Any = self._ahead
        return items, not hint.__length_hint__()


def take_from(sequence: Any, start: int, count: int) -> tuple[list[Any], bool]:
    """Returns items of a sequence and whether they are the last."""
    items = _weighed(sequence[start : start + count], count)
    return items, start + len(items) >= len(sequence)


def _weighed(items: Any, count: int) -> list[Any]:
    """Returns the first items, and no more than are good for one message."""
    taken: list[Any] = []
    weight, references = 0, 0 if count >= ALL else MAX_REFERENCES
    for item in items:
        taken.append(item)
        kind = type(item)
        if kind is str or kind is bytes:
            weight += len(item)
        elif kind is tuple and brine.dumpable(item):
            weight += sum([len(part) for part in item if type(part) in _SIZED])
        elif kind not in brine.simple_types and references:
            references -= 1
            if not references:
                break
        if weight > MAX_WEIGHT:
            break
    return taken


def cursor_of(container: Any, what: int) -> Cursor:
    """Returns a cursor at the beginning of a dict or set."""
    if type(container) is dict and what in (ITEMS, VALUES):
        return Cursor(container.items() if what == ITEMS else container.values())
    return Cursor(container)


def plain_values(mapping: Any, keys: list[Any]) -> tuple[Any, ...] | None:
    """Returns the values of a dict's keys if all of them travel by value."""
    values = []
    for key in keys:
        value = mapping.get(key)
        if type(value) not in brine.simple_types:
            return None
        values.append(value)
    return tuple(values) if len(values) == len(keys) else None
