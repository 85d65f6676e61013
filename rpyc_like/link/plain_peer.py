"""What applications share whose values are plain and whose protocol has one dialect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..lib.timing import Timeout
from ..wire.session import Session
from .result import AsyncResult, Unresolved
from .threaded import ThreadedLink

if TYPE_CHECKING:
    from .admission import Client

__all__ = ["PlainPeer", "ServerConnection"]


class PlainPeer:
    """The other side of a connection, as far as its link and its results ask."""

    link: ThreadedLink
    session: Session
    timeout_class: ClassVar[type[TimeoutError]] = TimeoutError
    credentials: Any = None
    """What the server's authenticator has found out about the peer; None without one."""
    endpoints: Any = None
    """The addresses of this side and of the peer, where a server has let it in."""

    note_malformed: Any = None
    """Counts for the log that the peer has broken the protocol, where a server has let it in."""

    def count_for(self, client: Client, messages: Any = None) -> None:
        """Have what is held for the peer counted as that of a server's client.

        Args:
            messages: tells of the first message that is understood, if that is not the session.
        """
        self.link.queued.total = client.account.add
        self.note_malformed = client.admission.note_malformed
        client.watch(self.session if messages is None else messages)

    def call_sync(self, target: Any, args: Any, timeout: float | None) -> Any:
        """Sends a request and returns the answer, serving what comes in meanwhile.

        Raises:
            TimeoutError: no answer came within ``timeout`` seconds.
            ConnectionClosed: the connection was lost.
        """
        result = self.link.exchange(target, args, timeout)
        if not result._ready:
            raise self.expire(result)
        try:
            return result.value
        finally:
            del result  # an exception's traceback would keep it, and it keeps the exception

    def wait_for(self, result: AsyncResult, deadline: Timeout | None) -> None:
        """Serves the connection until the result has come or the time is over."""
        self.link.wait(result, deadline)

    def poll_all(self, timeout: float = 0) -> bool:
        """Serves what has arrived."""
        return self.link.poll_all(lambda limit: self.link.serve(limit, False), timeout)

    def finish(self, value: Unresolved) -> Any:
        """Has nothing to do: values are plain."""
        return value

    def expire(self, result: AsyncResult) -> BaseException:
        """Forgets a call that was not answered in time."""
        self.link.give_up(result)
        seconds = None if result._deadline is None else result._deadline.seconds
        asked = self.describe(result.target)
        return self.timeout_class(f"no answer to {asked} within {seconds} s")

    def describe(self, target: Any) -> str:
        """Returns what a request was for, in words."""
        return str(target)

    def will_repeat(self) -> bool:
        """Returns False: there is one dialect."""
        return False

    def refuse(self, id_: Any, error: Exception) -> None:
        """Raises the error in the thread that would have served the request."""
        raise error

    def serve_at_once(self, id_: Any, target: Any, args: Any) -> bool:
        """Returns False: each request runs code of the program."""
        return False

    def gave_up(self, id_: Any) -> None:
        """Has nothing to do: the protocol has no words for it."""

    def beat(self, interval: float) -> None:
        """Has nothing to do: the protocol has no words for it."""

    def fell_silent(self, silent: bool) -> None:
        """Has nothing to do."""

    def went_down(self) -> None:
        """Has nothing to do."""

    def recover(self, error: BaseException) -> BaseException | None:
        """Returns the error: there is no other way to go on."""
        return error


class ServerConnection:
    """What servers ask of a connection."""

    _told_service = True
    """Nobody waits for the hooks of the end: the thread that closes calls them."""

    def introduce(self, config: dict[str, Any] | None, client: Client | None) -> None:
        """Note what the server knows about the peer.

        Args:
            client: what the server counts the peer as.
        """
        known = config or {}
        self.peer.credentials = known.get("credentials")
        self.peer.endpoints = known.get("endpoints")
        if client is not None:
            self._count_for(client)

    def _count_for(self, client: Client) -> None:
        """Have what is held for the peer counted as the client's."""
        self.peer.count_for(client)

    peer: Any
    close: Callable[[], None]
    serve: Callable[[], None]

    @property
    def _link(self) -> Any:
        return self.peer.link

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return bool(self.peer.link.closed)

    def _unanswered(self) -> set[Any]:
        return {*tuple(self.peer.link.running)}

    def serve_all(self) -> None:
        """Serves until the connection ends, and closes it."""
        try:
            self.serve()
        finally:
            self.close()
