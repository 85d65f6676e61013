"""Requests that were read and that no thread will serve.

The exception of a signal handler, Ctrl-C for example, may take a thread away after it has read a
request and before it serves it. The peer would wait for the answer until its time is over, and
serve everything else inside that wait. Whether a request was lost is not known at once, as other
threads may have it in hand; so the housekeeping thread looks again a moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..lib import primitives
from ..lib.threads import spawn
from ..wire.session import CALL

if TYPE_CHECKING:
    from .connection import MessageConnection

__all__ = ["LostRequests"]

_PATIENCE: Final = 0.5  # seconds, far longer than a thread has a request in hand


class LostRequests:
    """Those of one connection.

    Args:
        unanswered: returns the numbers of the peer's requests that have no answer yet.
    """

    def __init__(self, unanswered: Callable[[], set[Any] | None]) -> None:
        self._unanswered = unanswered
        self._suspects: set[Any] = set()
        self._due = 0.0

    def suspect(self, link: MessageConnection) -> bool:
        """Note what may have been lost when a thread was interrupted; return whether it is any."""
        self._suspects |= self._unserved(link)
        self._due = primitives.monotonic() + _PATIENCE
        return bool(self._suspects)

    def look(self, link: MessageConnection) -> bool:
        """Answer what was lost, in another thread; return whether to look again later."""
        if self._suspects and primitives.monotonic() >= self._due:
            lost, self._suspects = self._suspects & self._unserved(link), set()
            if lost and not link.end._ready:
                with suppress(RuntimeError):  # no more threads
                    spawn(_refuse, link, lost)
        return bool(self._suspects)

    def _unserved(self, link: MessageConnection) -> set[Any]:
        """Return the unanswered requests that are neither served nor kept for a thread."""
        payloads: Iterable[Any] = getattr(link.receiver, "payloads", ())
        kept = [
            one for one in (*list(link.stash), *payloads) if type(one) is tuple and one[0] is CALL
        ]
        served = {*link.running, *link.unbegun, *(one[1] for one in kept)}
        return (self._unanswered() or set()) - served  # None when the connection is gone


def _refuse(link: MessageConnection, lost: set[Any]) -> None:
    for id_ in lost:
        error = RuntimeError("the thread that was to serve the request has been interrupted")
        link.application.refuse(id_, error)
