"""The owner's side of iterating over a container in chunks.

A cursor gives the next items of an exact built-in container, and more than the peer needs at once.
When the peer does something that may change the container it says how many it has used, and the
cursor goes back there: what it gives from then on is what an iterator that had read no further
would give. A list's iterator is a position; a dict's or set's is a real one, which stays behind at
what has been used while another one reads ahead. A cursor that has gone back keeps a copy of a few
of the items to come. What it keeps is counted for the peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ...errors import AccessDenied
from .. import brine

if TYPE_CHECKING:
    from ..references.accounts import Account, Kept

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

WINDOW: Final = 10_000
"""Items to come that a cursor which has gone back keeps a copy of."""

_MOST_COPIED: Final = 2_000_000  # items to come of which a copy is made to look at the first ones
_SIZE: Final = 1000  # bytes of a cursor and its iterators
_PLACE: Final = 8  # bytes for an item in a list
_COUNTED: Final = 1024  # items that are counted at once

_SIMPLE: Final = brine.simple_types
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
        kept: counts what is kept for the peer.

    Raises:
        LimitExceeded: too much is kept already.
    """

    _held = 0

    def __init__(self, container: Any, kept: Kept) -> None:
        self._kept = kept
        self._at_peer: Any = iter(container)
        self._ahead: Iterator[Any] | None = iter(container)
        self._more = False  # whether there is more than what is read ahead from
        self._given = 0
        self.mapping: Any = None
        """The dict whose values are told with its keys."""
        self._hold(_SIZE)

    def __del__(self) -> None:
        if self._held:
            self._kept.release_later(self._held)

    def _hold(self, size: int) -> None:
        self._kept.hold(size, "memory for cursors")
        self._held += size

    def _release(self) -> None:
        """Counts the window as gone."""
        spare, self._held = self._held - _SIZE, _SIZE
        if spare:
            self._kept.release_later(spare)

    def _rpyc_getattr(self, name: str) -> Any:
        raise AccessDenied(f"cannot access {name[:100]!r}")

    def rewind(self, used: int) -> None:
        """Goes back to where the peer is, which forgets what it has not used."""
        self._ahead = None
        self._release()
        self.settle(used)

    def settle(self, used: int) -> None:
        """Takes note that the peer has used so many of the items of the last chunk."""
        used, self._given = min(used, self._given), 0
        for _ in islice(self._at_peer, used):
            pass

    def _look_ahead(self) -> Iterator[Any] | None:
        """Returns an iterator over what the peer has not seen, without going on.

        It ends early if there is much: then ``_more`` is set. None if it cannot be told.
        """
        try:
            if self._at_peer.__length_hint__() > _MOST_COPIED:
                return None
            rest: list[Any] = self._at_peer.__reduce__()[1][0]
        except (ValueError, RuntimeError):
            return None  # items were exchanged for others: the iterator has lost count
        self._more = len(rest) > WINDOW
        del rest[WINDOW:]
        self._hold(_PLACE * len(rest))
        return iter(rest)

    def take(self, count: int, account: Account) -> tuple[list[Any], bool]:
        """Returns the next items and whether they are the last, as far as one can tell now.

        Raises:
            RuntimeError: the container has changed in a way that its iterators do not survive.
            LimitExceeded: too many steps are done for the request, or too much is kept.
        """
        if self._ahead is None:
            ahead = None if count == 1 else self._look_ahead()
            if ahead is None:
                items = list(islice(self._at_peer, 1))
                return items, not items
            self._ahead = ahead
        items = _weighed(islice(self._ahead, count), count, account)
        self._given = len(items)
        hint: Any = self._ahead
        last = not hint.__length_hint__()
        if last and self._more:
            self._ahead, self._more = None, False
            self._release()
            last = False
        return items, last


def take_from(sequence: Any, start: int, count: int, account: Account) -> tuple[list[Any], bool]:
    """Returns items of a sequence and whether they are the last."""
    items = _weighed(sequence[start : start + count], count, account)
    return items, start + len(items) >= len(sequence)


def _weighed(items: Any, count: int, account: Account) -> list[Any]:
    """Returns the first items, and no more than are good for one message."""
    taken: list[Any] = []
    weight, references = 0, 0 if count >= ALL else MAX_REFERENCES
    rest = iter(items)
    full = True
    while full:
        before = len(taken)
        full = False
        most = min(account.left, _COUNTED) or 1  # one too many is refused
        for item in islice(rest, most):
            taken.append(item)
            kind = type(item)
            if kind is tuple and _SIMPLE.issuperset(map(type, item)):
                weight += sum([len(part) for part in item if type(part) in _SIZED], len(item))
            elif kind in _SIZED:
                weight += len(item)
            elif kind in _SIMPLE:
                continue
            elif kind in brine.container_types and brine.dumpable(item):
                weight += _weight(item)
            elif references:
                references -= 1
                if not references:
                    break
            if weight > MAX_WEIGHT:
                break
        else:
            full = len(taken) - before == most
        account.count(len(taken) - before)
        full = full and account.left > 0  # the peer asks for the others
    return taken


def _weight(item: Any) -> int:
    """Returns about how many bytes a tuple of plain values is on the wire."""
    weight, stack = 0, [item]
    while stack:
        parts = stack.pop()
        for part in parts if type(parts) is not slice else ():
            kind = type(part)
            if kind in brine.container_types:
                stack.append(part)
            elif kind in _SIZED:
                weight += len(part)
        weight += len(parts) if type(parts) is not slice else 0
    return weight


def cursor_of(container: Any, what: int, kept: Kept) -> Cursor:
    """Returns a cursor at the beginning of a dict or set."""
    if type(container) is dict and what in (ITEMS, VALUES):
        return Cursor(container.items() if what == ITEMS else container.values(), kept)
    return Cursor(container, kept)


def plain_values(mapping: Any, keys: list[Any]) -> tuple[Any, ...] | None:
    """Returns the values of a dict's keys if all of them travel by value."""
    values = []
    for key in keys:
        value = mapping.get(key)
        if type(value) not in brine.simple_types:
            return None
        values.append(value)
    return tuple(values) if len(values) == len(keys) else None
