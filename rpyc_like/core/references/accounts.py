"""What is done and kept for the peer of a connection, counted.

:mod:`rpyc_like.wire.meter` has the accounts themselves; here they are tied to a connection. A
:class:`.Kept` is the connection's, and counts what outlives a request. An :class:`Account` belongs
to one request: the steps that are done for it, and the memory that its unfinished answer takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from ...errors import LimitExceeded, RpycLikeError
from ...link.call_registry import current_call
from ...link.kept import ENTRY, Kept
from ...wire.meter import LOOK_EVERY, Work, measure
from .. import brine

__all__ = [
    "CALL",
    "ENTRY",
    "FAIR",
    "MAX_KEPT",
    "MAX_STEPS",
    "MAX_TAKEN",
    "Account",
    "Kept",
    "price",
]

MAX_STEPS: Final = 1_000_000
"""Default limit of steps that are done for one request."""

MAX_KEPT: Final = 512 << 20
"""Default limit of bytes that are kept for the peer of a connection.

``max_objects`` exported objects are worth less.
"""

FAIR: Final = 1000
"""Steps on a loop after which others have their turn."""

MAX_TAKEN: Final = 16 << 20
"""Bytes of the items of an iterator that one request takes, and whatever the last one has."""

CALL: Final = 4096
"""Bytes that an ``async def`` call under way costs: a coroutine, a task, and its context."""

_OUTCOME: Final = 120  # bytes of the outcome of a step: a tuple, and a place in a list
_PIECE: Final = 1 << 16  # bytes that are counted on the connection's meter at once
_SLACK: Final = 1 << 20  # bytes that may stay counted although they are held no more


class Account:
    """Steps that are done for one request of the peer, and memory that is held for its answer.

    Args:
        kept: the account of the connection.
        max_steps: the configuration key.
        every: steps after which others have their turn.
    """

    __slots__ = ("_call", "_counted", "_kept", "_looked", "_work", "held")

    def __init__(self, kept: Kept, max_steps: int, every: int = LOOK_EVERY) -> None:
        self.held = 0
        """Bytes that are held."""
        self._kept = kept
        self._counted = 0  # on the connection's account, in pieces
        self._call = current_call()
        self._looked = False
        self._work = Work(max_steps, "max_steps", self._look, every)

    def __enter__(self) -> Account:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- steps

    @property
    def steps(self) -> int:
        """How many steps have been counted."""
        return self._work.steps

    def count(self, steps: int = 1) -> bool:
        """Count steps that are about to be done; return whether others are to have their turn.

        Raises:
            LimitExceeded: it would be more than ``max_steps``. Each later call raises as well.
            RpycLikeError: nobody waits for the answer any more.
        """
        self._work.do(steps)
        if self._looked:
            self._looked = False
            return True
        return False

    @property
    def left(self) -> int:
        """How many steps may still be done."""
        return max(self._work.limit - self._work.steps, 0)

    def check(self) -> None:
        """Raise an error if the request is not to be worked on any more.

        Raises:
            LimitExceeded: more than ``max_steps`` steps have been counted.
            RpycLikeError: nobody waits for the answer any more.
        """
        self._work.do(0)
        self._check_wanted()

    def _look(self) -> None:
        self._looked = True
        self._check_wanted()

    def _check_wanted(self) -> None:
        if self._call is not None and self._call.cancelled:
            raise RpycLikeError("nobody waits for the answer to this request any more")

    # -- memory

    def hold(self, value: Any) -> None:
        """Count a value that becomes part of the answer.

        Raises:
            LimitExceeded: more than the connection may keep would be held.
        """
        self.take(_OUTCOME + price(value, self._work.do))

    def hold_item(self, value: Any, first: bool) -> bool:
        """Count the memory of an item of an answer, which its iterator will not give again.

        So the last one may need as many steps as an answer of its own.

        Returns:
            Whether the answer may have another item.

        Raises:
            LimitExceeded: the item needs too much by itself.
        """
        try:
            self.hold(value)
        except LimitExceeded:
            if first or self.left:
                raise
            self._work.renew()
            self.hold(value)
            return False
        return self.left > 0

    def take(self, size: int) -> None:
        """Count so many bytes.

        Raises:
            LimitExceeded: more than the connection may keep would be held.
        """
        more = self.held + size - self._counted
        if more > 0:
            more = max(more, _PIECE)
            self._kept.hold(more, "memory for an answer")
            self._counted += more
        self.held += size

    def drop(self, size: int) -> None:
        """Count so many bytes less."""
        self.held -= size
        spare = self._counted - self.held
        if spare > _SLACK:
            self._kept.release(spare)
            self._counted = self.held

    def close(self) -> None:
        """Count nothing any more: the request has been answered."""
        if self._counted:
            self._kept.release(self._counted)
        self._counted = self.held = 0


def price(value: Any, count: Callable[[int], object] | None = None) -> int:
    """Return how many bytes a value takes, with what is in it; each container counts once.

    Args:
        count: is told of the work that finding out takes, in steps.
    """
    if type(value) in brine.simple_types:  # a program may have registered more
        return sys.getsizeof(value)
    return measure(value, count, ENTRY)[0]
