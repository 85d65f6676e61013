"""The table of requests that wait for an answer.

The table decides what an answer means; it completes nothing itself. Entries are returned to the
caller, who acts on them after they have left the table: waking a waiter may call back into the
connection.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Generic, TypeVar

__all__ = ["ABANDONED", "UNKNOWN", "PendingTable", "Verdict"]

E = TypeVar("E")


class Verdict:
    """What is found in place of an entry."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ABANDONED = Verdict("ABANDONED")
"""The answer was expected, but nobody waits for it any more."""

UNKNOWN = Verdict("UNKNOWN")
"""No request of this id was made, or it has been answered already."""


class PendingTable(Generic[E]):
    """Requests by id, from the moment of sending to the answer.

    Ids count from 0, per table. A table that lives on an unchanged connection never reuses one.
    """

    def __init__(self) -> None:
        self.numbers = count()
        self._entries: dict[Any, E | Verdict] = {}
        self.unknown = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id_: object) -> bool:
        """Returns whether an answer to ``id_`` is due, though perhaps nobody waits for it."""
        return id_ in self._entries

    def open(self, entry: E) -> int:
        """Files ``entry`` and returns its new id."""
        id_ = next(self.numbers)
        self._entries[id_] = entry
        return id_

    def file(self, id_: int, entry: E | Verdict) -> None:
        """Files ``entry`` under a number that was taken from ``numbers``."""
        self._entries[id_] = entry

    def pop(self, id_: int) -> E | Verdict | None:
        """Removes and returns what is filed under ``id_``."""
        return self._entries.pop(id_, None)

    def get(self, id_: Any) -> E | None:
        """Returns the live entry under ``id_``, or None."""
        entry = self._entries.get(id_)
        return None if isinstance(entry, Verdict) else entry

    def waiting(self) -> dict[Any, E]:
        """Returns a copy of the live entries, by id."""
        entries = list(self._entries.items())
        return {id_: entry for id_, entry in entries if not isinstance(entry, Verdict)}

    def settle(self, id_: Any) -> E | Verdict:
        """Removes and returns the entry that an answer to ``id_`` belongs to.

        Returns:
            The entry; ABANDONED if nobody waits for this answer any more; UNKNOWN (counted in
            ``unknown``) if no answer to ``id_`` was due.
        """
        entry = self._entries.pop(id_, UNKNOWN)
        if entry is UNKNOWN:
            self.unknown += 1
        return entry

    def abandon(self, id_: int) -> bool:
        """Keeps the id, so that a late answer is recognised, and forgets who waited.

        Returns:
            Whether somebody did.
        """
        if self.get(id_) is None:
            return False
        self._entries[id_] = ABANDONED
        return True

    def discard(self, id_: int) -> None:
        """Forgets a request that was never sent."""
        self._entries.pop(id_, None)

    def fail_all(self) -> list[E]:
        """Empties the table and returns the entries that waited, oldest first."""
        entries = list(self._entries.values())
        self._entries.clear()
        return [entry for entry in entries if not isinstance(entry, Verdict)]
