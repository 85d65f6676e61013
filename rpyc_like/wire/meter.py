"""Accounts of what a peer's messages become in memory, and of the work they cause.

A limit on wire bytes does not bound what they become: an empty frozenset is two bytes on the wire
and 216 in memory. So every decoder spends from a :class:`Budget` before it makes an object,
whatever the format. What is kept for a peer after decoding (queued messages, cursors, held answers)
is counted by the connection's :class:`Meter`, and what this side does on a peer's behalf by a
:class:`Work` account.

Nothing here takes a lock. A budget belongs to the thread that decodes, a work account to the one
that works, and whoever changes a meter holds the lock of what it counts. The sum over a listener's
connections is kept by :mod:`rpyc_like.link.admission`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from sys import getrefcount, getsizeof
from typing import Any, Final

from ..errors import LimitExceeded
from ..lib.hashes import MAX_EQUAL_HASHES, check_hashes
from ..lib.native import codec

__all__ = [
    "BASE_MEMORY",
    "LOOK_EVERY",
    "MAX_EQUAL_HASHES",
    "MEMORY_FACTOR",
    "UNMETERED_SIZE",
    "WORST_RATIO",
    "Budget",
    "Contents",
    "Meter",
    "Work",
    "budget_for",
    "check_hashes",
    "measure",
    "memory_of",
    "message_memory",
    "set_memory",
    "text_memory",
    "unmetered_size",
]

BASE_MEMORY: Final = 64 << 20
"""Bytes of memory that any message may become, however small it is."""

MEMORY_FACTOR: Final = 32
"""Bytes of memory that each byte of a message (inflated) may become beyond :data:`BASE_MEMORY`.

The usual value with the largest price is a tuple of one small number: 2 bytes of brine, 56 here.
"""

LOOK_EVERY: Final = 10_000
"""Steps after which work looks whether anybody still waits for it, and lets others run."""

WORST_RATIO: Final = 128
"""No byte of a message becomes more bytes of memory: an empty frozenset takes 224 for two."""

UNMETERED_SIZE: Final = BASE_MEMORY // WORST_RATIO
"""Bytes of a message up to which the default limit cannot be reached, so nothing is counted."""

_LARGE_TEXT: Final = 1 << 20  # bytes from which a text is decoded in pieces, and joined


def message_memory(size: int, max_memory: int | None) -> int:
    """Return how many bytes of memory a message may become.

    Args:
        size: of the message in bytes, inflated.
        max_memory: the configuration key, in bytes; ``None`` for the rule of this module.
    """
    return BASE_MEMORY + MEMORY_FACTOR * size if max_memory is None else max_memory


def unmetered_size(max_memory: int | None) -> int:
    """Return the size in bytes of the largest message that cannot exceed its limit."""
    return UNMETERED_SIZE if max_memory is None else min(UNMETERED_SIZE, max_memory // WORST_RATIO)


def budget_for(size: int, max_memory: int | None) -> Budget | None:
    """Return what a message may still take beside its own bytes; ``None`` if it cannot be too much.

    Args:
        size: of the message in bytes, inflated.
        max_memory: the configuration key, in bytes; ``None`` for the rule of this module.

    Raises:
        LimitExceeded: the message itself is too large.
    """
    if size <= unmetered_size(max_memory):
        return None
    budget = Budget(message_memory(size, max_memory))
    budget.spend(size)
    return budget


def text_memory(size: int, ascii: bool) -> int:
    """Return the price of a text of ``size`` bytes of UTF-8: one wide character widens all."""
    if ascii:
        return 64 + size
    return 80 + (8 if size > _LARGE_TEXT else 4) * size


def set_memory(count: int) -> int:
    """Return the price of a set of ``count`` items, without theirs: as CPython's tables grow."""
    slots, mask = 0, 7
    while True:
        filled = (mask * 3 + 4) // 5
        if filled > count:
            return 224 + 16 * slots
        slots = 8
        while slots <= filled * (2 if filled > 50_000 else 4):
            slots *= 2
        mask = slots - 1


class Budget:
    """Memory that one message may still take; spent before each object is made.

    Args:
        limit: bytes; see :func:`message_memory`.
        key: the configuration key that changes ``limit``.
    """

    __slots__ = ("key", "left", "limit")

    def __init__(self, limit: int, key: str = "max_memory") -> None:
        self.limit = limit
        self.left = limit
        self.key = key

    def spend(self, size: int) -> None:
        """Take ``size`` bytes.

        Raises:
            LimitExceeded: so many are not left.
        """
        self.left -= size
        if self.left < 0:
            got = self.limit - self.left
            raise LimitExceeded("memory for a message in bytes", got, self.limit, self.key)


class Meter:
    """Memory that is kept for the peer of one connection beyond the message being handled.

    Args:
        limit: bytes, ``None`` for no limit of its own.
        key: the configuration key that changes ``limit``.
        total: also told of each change; the account of the listener, which may raise.
    """

    __slots__ = ("held", "key", "limit", "total")

    def __init__(
        self,
        limit: int | None,
        key: str = "max_memory",
        total: Callable[[int], object] | None = None,
    ) -> None:
        self.limit = limit
        self.key = key
        self.held = 0
        self.total = total
        """May be set while nothing is held."""

    def hold(self, size: int, what: str) -> None:
        """Count ``size`` bytes more.

        Args:
            what: for which they are kept, in words.

        Raises:
            LimitExceeded: that would be more than the limit; nothing has been counted.
        """
        if self.limit is not None and self.held + size > self.limit:
            raise LimitExceeded(f"{what}, in bytes", self.held + size, self.limit, self.key)
        if self.total is not None:
            self.total(size)
        self.held += size

    def release(self, size: int) -> None:
        """Count ``size`` bytes less."""
        self.held -= size
        if self.total is not None:
            self.total(-size)


class Work:
    """Steps that are done for one request of a peer.

    Args:
        limit: most steps.
        key: the configuration key that changes ``limit``.
        look: called after each ``every`` steps; raises if nobody waits any more, and is called
            again by each later step then.
        every: at most :data:`LOOK_EVERY`.
    """

    __slots__ = ("_every", "_look", "_next", "key", "limit", "steps")

    def __init__(
        self, limit: int, key: str, look: Callable[[], object], every: int = LOOK_EVERY
    ) -> None:
        self.limit = limit
        self.key = key
        self.steps = 0
        self._look = look
        self._every = every
        self._next = every

    def do(self, count: int = 1) -> None:
        """Count steps that are about to be done.

        Raises:
            LimitExceeded: it would be more than ``limit``.
        """
        self.steps += count
        if self.steps > self.limit:
            raise LimitExceeded("steps for a request", self.steps, self.limit, self.key)
        if self.steps >= self._next:
            self._look()
            self._next = self.steps + self._every

    def renew(self) -> None:
        """Begin to count anew."""
        self.steps, self._next = 0, self._every


Contents = Mapping[type, Callable[[Any], Iterable[Any]]]
"""For each type whose values hold others, what returns these."""


def memory_of(value: Any, contents: Contents) -> int:
    """Return how many bytes of memory a value takes, with what is in it.

    A container that occurs several times counts once, other objects each time.

    Args:
        contents: says what is in values of the peer's own. Of other objects nothing is looked at
            but their own size: a program may hold anything in them, and in itself.
    """
    total = 0
    seen: set[int] = set()
    stack: list[Iterable[Any]] = [(value,)]
    while stack:
        for item in stack.pop():
            inside = contents.get(type(item))
            if inside is not None:
                if getrefcount(item) > _REFERENCES:  # others are met once: most are
                    if id(item) in seen:
                        continue
                    seen.add(id(item))
                stack.append(inside(item))
            total += getsizeof(item)
    return total


def _references() -> int:
    """Return how many references to an item are counted that is in one container only."""
    alone: list[list[Any]] = [[]]
    return next(getrefcount(item) for item in alone)


_REFERENCES: Final = _references()
_REFERENCE: Final = 512  # an object that is no plain value: a proxy, or one of this side's
_ITEMS_PER_STEP: Final = 64


def _measure(
    value: Any, count: Callable[[int], object] | None = None, reference: int = _REFERENCE
) -> tuple[int, int]:
    memory = wire = 0
    seen: set[int] = set()
    stack: list[Iterable[Any]] = [(value,)]
    while stack:
        for item in stack.pop():
            kind = type(item)
            if kind is tuple or kind is frozenset or kind is slice:
                items = (item.start, item.stop, item.step) if kind is slice else item
                if items:
                    if id(item) in seen:
                        wire += 1
                        continue
                    seen.add(id(item))
                    stack.append(items)
                    if count is not None:
                        count(1 + len(items) // _ITEMS_PER_STEP)
                if kind is tuple:
                    memory += 40 + 8 * len(item)
                    wire += 1 if len(item) < 5 else 2 if len(item) < 256 else 5
                else:
                    memory += 64 if kind is slice else set_memory(len(item))
                    wire += 2
            elif kind is int:
                memory += max(32, getsizeof(item))
                if -49 < item < 160:
                    wire += 1
                else:
                    wire += 2 + int(item.bit_length() * 0.30103)
            elif kind is str or kind is bytes:
                memory += 16 + getsizeof(item)
                wire += 2 + len(item)
            elif kind is float or kind is complex:
                memory += 32
                wire += 9 if kind is float else 17
            else:
                wire += 1
                if kind not in _SHARED:
                    memory += reference
    return memory, wire


_SHARED: Final = frozenset({bool, type(None), type(Ellipsis), type(NotImplemented)})

measure: Callable[..., tuple[int, int]] = _measure if codec is None else codec.measure
"""Return how many bytes of memory a value takes, and about how much brine it is.

``measure(value, count=None, reference=512)``. A container that is met again takes nothing more.

Args:
    count: called with the steps that each container takes to look at.
    reference: bytes for each object that is no plain value.
"""
