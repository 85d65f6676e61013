"""Calls by the peer of one EPC connection, with the guards and accounts of what they leave behind.

Functions that the program has written are called as they are. Everything else that it has offered
(methods of lists and sets, builtin functions) is called as for the other protocols' restricted
peers, by :func:`rpyc_like.lib.guards.c_guards.call_for_peer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..lib.guards.c_guards import Guard, call_for_peer
from ..link.kept import Kept, RequestAccount
from ..link.made_objects import MadeObjects
from ..wire.meter import Meter, Work, message_memory
from ..wire.sexp.values import CONTENTS

__all__ = ["MAX_KEPT_MEMORY", "PeerCalls"]

MAX_KEPT_MEMORY: Final = 512 << 20
"""Default number of bytes of memory that calls of one peer may leave behind."""

_STEP: Final = 64  # bytes of values for each step: a million steps where values may take 64 MiB
_DEEPEST: Final = 1000  # levels; a reader allows fewer by default


class PeerCalls:
    """Calls by the peer of one connection.

    Args:
        max_memory: bytes of memory that a result may take: the reader's argument.
        max_kept_memory: bytes that calls may leave behind; ``None`` for any number.
        look: called now and then during long work; raises if nobody waits for the answer.
    """

    def __init__(
        self, max_memory: int | None, max_kept_memory: int | None, look: Callable[[], object]
    ) -> None:
        self._kept = kept = Kept(Meter(max_kept_memory, "max_kept_memory"))
        self._made = MadeObjects(self._kept)
        most = message_memory(0, max_memory)
        steps = max(most // _STEP, 1)
        # Ladders have been refused where the method was looked up; arguments are plain data.
        limits = {"max_steps": steps, "max_depth": _DEEPEST, "allow_ladders": True}

        def open_account() -> RequestAccount:
            return RequestAccount(kept, Work(steps, "max_memory", look), CONTENTS)

        self._guard = Guard(limits, open_account, most, "max_memory", None, keeper=self._made)

    def count_for(self, total: Callable[[int], object]) -> None:
        """Have ``total`` told as well of what is kept; before anything is."""
        self._kept.meter.total = total

    def call(self, func: Any, args: tuple[Any, ...]) -> Any:
        """Call a function that the program offers and return the result.

        Raises:
            LimitExceeded, MalformedValue, TypeError: see :func:`.policy.c_guards.call`.
        """
        return call_for_peer(self._guard, func, args, {})

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not self._made.records

    def close(self) -> None:
        """Count nothing any more: the connection has ended. May run finalizers of the program."""
        self._kept.close()
        self._made.clear()
