"""Answers that leave together, when the requests have come together.

One write for each answer costs more than most answers. So an answer is held while further requests
have arrived already, and leaves with the last one. A thread looks once in a while: what is held
while a slow request is being served leaves after two looks at most.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Final

from ..errors import ConnectionClosed
from ..lib.threads import spawn
from .receiving import Waiter
from .sending import FrameSender

if TYPE_CHECKING:
    from .connection import MessageConnection

__all__ = ["Batch"]

_TICK: Final = 0.001
_PATIENCE: Final = 20
"""Looks without anything being held, after which the thread sleeps until it is woken."""

_LARGEST: Final = 1 << 16


class Batch:
    """Sends answers over a connection.

    Args:
        link: the connection.
    """

    def __init__(self, link: MessageConnection) -> None:
        self._link = link
        self._receiver = link.receiver
        self._sender = link.sender
        self._can_hold = isinstance(self._sender, FrameSender)
        self.held = 0
        """Bytes that are held."""
        self._number = 0  # of the batch
        self._waiter: Waiter | None = None
        self._asleep = False

    def send(self, payload: bytes) -> None:
        """Sends an answer, or holds it while there are requests to serve."""
        if not (self._can_hold and self._receiver.payloads):
            if self.held:
                self._done()
            self._link.send(payload)
            return
        self._sender.hold(payload)  # type: ignore[attr-defined]
        self.held += len(payload) + 1
        if self.held > _LARGEST:
            self.flush()
        elif self._waiter is None:
            self._waiter = Waiter(get_ident())
            spawn(self._watch, self._waiter)
        elif self._asleep:
            self._asleep = False
            self._waiter.wake()

    def flush(self) -> None:
        """Sends what is held."""
        if self.held:
            self._done()
            self._sender.flush()  # type: ignore[attr-defined]

    def _done(self) -> None:
        self.held = 0
        self._number += 1

    def _watch(self, waiter: Waiter) -> None:
        link = self._link
        waiter.arm()
        link.end.add_waiter(waiter)
        seen, quiet = self._number, 0
        while not link.end._ready:
            waiter.sleep(_TICK)
            if not self.held:
                quiet += 1
                if quiet > _PATIENCE:
                    waiter.arm()
                    self._asleep = True
                    if not self.held and not link.end._ready:
                        waiter.sleep(None)
                    self._asleep = False
                    quiet = 0
            else:
                quiet = 0
                if self._number == seen:
                    try:
                        self.flush()
                    except ConnectionClosed as error:
                        link.lose(error)
                        return
            seen = self._number
