"""Requests that were read and that no thread will serve.

The exception of a signal handler, Ctrl-C for example, may take a thread away after it has read a
request and before it serves it. The peer would wait for the answer until its time is over, and
serve everything else inside that wait. Whether a request was lost is not known at once, as other
threads may have it in hand; so the housekeeping thread looks again a moment later.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..lib import primitives
from ..lib.threads import spawn
from ..wire.session import CALL

if TYPE_CHECKING:
    from .threaded import ThreadedLink

__all__ = ["LostRequests"]

_PATIENCE: Final = 0.5  # seconds, far longer than a thread has a request in hand


class LostRequests:
    """Those of one connection.

    Args:
        unanswered: returns the numbers of the peer's requests that have no answer yet.
    """

    def __init__(self, unanswered: Callable[[], set[Any] | None]) -> None:
        self._unanswered = unanswered
        self._suspects: dict[Any, float] = {}  # when they were noted

    def suspect(self, link: ThreadedLink) -> bool:
        """Note what may have been lost when a thread was interrupted; return whether it is any."""
        now = primitives.monotonic()
        for id_ in self._unserved(link):
            self._suspects.setdefault(id_, now)
        return bool(self._suspects)

    def look(self, link: ThreadedLink) -> bool:
        """Answer what was lost, in another thread; return whether to look again later."""
        if not self._suspects:
            return False
        unserved, old = self._unserved(link), primitives.monotonic() - _PATIENCE
        lost = []
        for id_, since in list(self._suspects.items()):
            if since <= old or id_ not in unserved:
                del self._suspects[id_]
                if id_ in unserved:
                    lost.append(id_)
        if lost and not link.end._ready:
            with suppress(RuntimeError):  # no more threads
                spawn(_refuse, link, lost)
        return bool(self._suspects)

    def _unserved(self, link: ThreadedLink) -> set[Any]:
        """Return the unanswered requests that are neither served nor kept for a thread."""
        kept = [*list(link.stash), *getattr(link.receiver, "payloads", ())]
        kept += [outcome for _, outcome in list(link.unserved)]
        for waiter in (*list(link.waiters.values()), *list(link.servers.values())):
            kept += list(waiter.inbox)
        served = {*link.running, *(one[1] for one in kept if type(one) is tuple and one[0] is CALL)}
        if link.workers is not None:
            served |= link.unbegun  # workers keep them
        return (self._unanswered() or set()) - served  # None when the connection is gone


def _refuse(link: ThreadedLink, lost: list[Any]) -> None:
    for id_ in lost:
        error = RuntimeError("the thread that was to serve the request has been interrupted")
        link.refuse(id_, error)
