"""The table of requests that wait for an answer.

The table decides what an answer means; it completes nothing itself. Entries are returned to the
caller, who acts on them after they have left the table: waking a waiter may call back into the
connection.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Generic, TypeVar

__all__ = ["ABANDONED", "UNKNOWN", "PendingTable", "NoEntry"]

E = TypeVar("E")


class NoEntry:
    """What is found in place of an entry."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ABANDONED = NoEntry("ABANDONED")
"""The answer was expected, but nobody waits for it any more."""

UNKNOWN = NoEntry("UNKNOWN")
"""No request of this id was made, or it has been answered already."""


class PendingTable(Generic[E]):
    """Requests by id, from the moment of sending to the answer.

    Ids count from 0, per table. A table that lives on an unchanged connection never reuses one.

    Threads may use it at once without a lock: each entry is taken out in one step, by whoever
    settles, abandons or fails it.
    """

    def __init__(self) -> None:
        self.numbers = count()
        self._entries: dict[Any, E] = {}
        self._abandoned: set[Any] = set()
        self.unknown = 0

    def __len__(self) -> int:
        return len(self._entries) + len(self._abandoned)

    def __contains__(self, id_: object) -> bool:
        """Returns whether an answer to ``id_`` is due, though perhaps nobody waits for it."""
        return id_ in self._entries or id_ in self._abandoned

    def open(self, entry: E) -> int:
        """Files ``entry`` and returns its new id."""
        id_ = next(self.numbers)
        self._entries[id_] = entry
        return id_

    def file(self, id_: int, entry: E | NoEntry) -> None:
        """Files ``entry`` under a number that was taken from ``numbers``."""
        if isinstance(entry, NoEntry):
            self._abandoned.add(id_)
        else:
            self._entries[id_] = entry

    def pop(self, id_: int) -> E | None:
        """Removes and returns the live entry under ``id_``."""
        return self._entries.pop(id_, None)

    def get(self, id_: Any) -> E | None:
        """Returns the live entry under ``id_``, or None."""
        return self._entries.get(id_)

    def waiting(self) -> dict[Any, E]:
        """Returns a copy of the live entries, by id."""
        return self._entries.copy()

    def settle(self, id_: Any) -> E | NoEntry:
        """Removes and returns the entry that an answer to ``id_`` belongs to.

        Returns:
            The entry; ABANDONED if nobody waits for this answer any more; UNKNOWN (counted in
            ``unknown``) if no answer to ``id_`` was due.
        """
        entry = self._entries.pop(id_, None)
        if entry is not None:
            return entry
        if id_ in self._abandoned:
            self._abandoned.discard(id_)
            return ABANDONED
        self.unknown += 1
        return UNKNOWN

    def abandon(self, id_: int) -> bool:
        """Keeps the id, so that a late answer is recognised, and forgets who waited.

        Returns:
            Whether somebody did.
        """
        if id_ not in self._entries:
            return False
        self._abandoned.add(id_)  # before the entry leaves: its answer is due all the time
        if self._entries.pop(id_, None) is None:
            self._abandoned.discard(id_)  # it has been answered meanwhile
            return False
        return True

    def discard(self, id_: int) -> None:
        """Forgets a request that was never sent."""
        self._entries.pop(id_, None)
        self._abandoned.discard(id_)

    def fail_all(self) -> list[E]:
        """Empties the table and returns the entries that waited, oldest first.

        What is filed meanwhile stays, or is returned as well.
        """
        self._abandoned.clear()
        entries = [self._entries.pop(id_, None) for id_ in list(self._entries)]
        return [entry for entry in entries if entry is not None]
