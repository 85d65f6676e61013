"""What a function that serves a request may ask about it: for whom, until when, whether still."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

from ..errors import ConnectionClosed, LimitExceeded, ProtocolError
from ..lib import primitives
from .call_context import current

__all__ = ["Call", "CallRegistry", "closed_error", "current_call", "name_of", "weak_name_of"]


class _CallInfo:
    """What the peer has said about one of its requests."""

    __slots__ = ("cancelled", "deadline")

    def __init__(self) -> None:
        self.cancelled = False
        self.deadline: float | None = None


class CallRegistry:
    """What the peer has said about its requests, until they are answered."""

    __slots__ = ("known", "most")

    def __init__(self) -> None:
        self.most = 100_000
        """Requests about which something may be known at once; the key is ``max_requests``."""
        self.known: dict[Any, _CallInfo] = {}

    def _about(self, id_: Any) -> _CallInfo:
        if id_ not in self.known and len(self.known) >= self.most:
            what, key = "requests with a deadline", "max_requests"
            raise LimitExceeded(what, len(self.known) + 1, self.most, key)
        return self.known.setdefault(id_, _CallInfo())

    def cancel(self, id_: Any) -> None:
        """Notes that nobody waits for the answer any more."""
        self._about(id_).cancelled = True

    def limit(self, id_: Any, seconds: float) -> None:
        """Notes that the answer is wanted within so many seconds."""
        self._about(id_).deadline = primitives.monotonic() + seconds

    def forget(self, id_: Any) -> None:
        """Notes that a request has been answered."""
        self.known.pop(id_, None)

    def is_cancelled(self, id_: Any) -> bool:
        """Returns whether the peer has said that it does not wait any more."""
        known = self.known.get(id_)
        return known is not None and known.cancelled

    def deadline(self, id_: Any) -> float | None:
        """Returns by when the answer is wanted, on the monotonic clock."""
        known = self.known.get(id_)
        return None if known is None else known.deadline


def name_of(application: Any) -> str:
    """Return the name of a connection for the log, with the peer's address where it is known."""
    endpoints = getattr(application, "endpoints", None)
    return f"{application!r} from {endpoints[1]}" if endpoints else repr(application)


def closed_error(
    kind: type[ConnectionClosed], error: BaseException | None, closed_here: bool
) -> ConnectionClosed:
    """Return the error for whoever wants something of a connection that has ended.

    Args:
        kind: its class.
        error: why the connection has ended, None if this side has ended it.
        closed_here: whether the program closed it; the peer hangs up then.
    """
    if error is None or (closed_here and isinstance(error, (EOFError, OSError))):
        return kind("connection closed by this side")
    closed = kind(str(error))
    closed.__cause__ = error
    return closed


def weak_name_of(application: Any) -> Callable[[], str]:
    """Return a function that returns :func:`name_of` a connection, which it does not keep alive."""
    reference = weakref.ref(application)

    def name() -> str:
        found = reference()
        return "a connection that is gone" if found is None else name_of(found)

    return name


logger = logging.getLogger("rpyc_like.link")

MALFORMED: Final = "! %s: %r"
"""The warning about a peer that has broken the protocol: its connection, and the error."""


def warn_malformed(application: Any, error: ProtocolError) -> None:
    """Log that the peer has broken the protocol: once for many clients of a listener."""
    note = getattr(application, "note_malformed", None)  # of the listener
    if note is None:
        logger.warning(MALFORMED, name_of(application), error)
    else:
        note(name_of(application), error)


class Call:
    """A request of the peer's that is being served; see :func:`current_call`.

    It may be passed to other threads, and asked as long as the request is being served.
    """

    __slots__ = ("_link", "id")

    def __init__(self, link: Any, id_: Any) -> None:
        self._link = link
        self.id = id_
        """The number of the request. The peer chooses it."""

    def __repr__(self) -> str:
        return f"<Call {self.id!r} over {self.connection!r}>"

    @property
    def connection(self) -> Any:
        """The connection that the request came over."""
        return self._link.application

    @property
    def credentials(self) -> Any:
        """What the server's authenticator has found out about the peer; None without one."""
        return getattr(self.connection, "credentials", None)

    @property
    def endpoints(self) -> Any:
        """The addresses of this side and of the peer, where a server has let it in."""
        return getattr(self.connection, "endpoints", None)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more: the peer gave up, or it is gone.

        It is found out within a tenth of a second, also while nothing else is read.
        """
        return bool(self._link.lost or self._link.calls.is_cancelled(self.id))

    @property
    def deadline(self) -> float | None:
        """By when the peer wants the answer, on the clock of :func:`time.monotonic`.

        None where it has not said so: only calls with a timeout of their own do.
        """
        found: float | None = self._link.calls.deadline(self.id)
        return found

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        deadline = self.deadline
        return None if deadline is None else max(0.0, deadline - primitives.monotonic())


def current_call() -> Call | None:
    """Returns the request that this thread or task serves, None if it serves none.

    Tasks that a served function starts serve the request as well; threads do not.

    A function that takes long asks it from time to time whether to go on::

        for block in blocks:
            if rpyc_like.current_call().cancelled:
                return
            work_on(block)
    """
    served = current()
    return None if served is None else Call(served[0], served[1])
