"""Clients of an EPC server that have not had their turn: those that have sent nothing yet."""

from __future__ import annotations

import socketserver
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import AuthenticationError
from ..lib.threads import spawn
from ..link.admission import Client
from ..link.listener import Listener
from ..link.serve.lobby import Lobby
from ..wire.framing import EpcFramer

if TYPE_CHECKING:
    from .server import EPCServer

__all__ = ["Turns"]


class Turns:
    """Accepts clients, and says whose turn it is.

    Where one client is served at a time, it is the turn of the one that speaks first: until then
    its handler is made, and not run. Else it is a client's turn when it comes; but where there is
    no more room for silent ones, when it has sent something. All of it happens in the thread that
    accepts, but for logins.

    Args:
        server: whose clients they are; it listens already.
        one_by_one: whether one client is served at a time.
    """

    def __init__(self, server: EPCServer, one_by_one: bool) -> None:
        self._server = server
        self.one_by_one = one_by_one
        self._held: set[Any] = set()  # sockets of those that must send something first
        timeout = server.socket.gettimeout()
        self._listener = Listener([server.socket], server.admission, None, timeout, self._due)
        self._lobby: Lobby[tuple[Any, Any]] = Lobby(self._listener)
        self._logins = 0  # that have not ended
        self._handlers: dict[Any, Any] = {}  # of silent clients, by their sockets

    def __bool__(self) -> bool:
        """Return whether there are clients that have not had their turn."""
        return bool(self._lobby) or bool(self._held) or self._logins > 0

    def next(self) -> tuple[Any, Any]:
        """Return socket and address of the client that is served next; waits for it.

        Raises:
            OSError: there are no clients, or the server ends.
        """
        while not self._server.stopping:
            turn = self._lobby.take()
            if turn is not None:
                return turn
            try:
                request = self._listener.turn()
            except EOFError as error:
                raise OSError("the server has been closed") from error
            if request is not None:
                self._begin(request)
            elif not self and not self._listener.ready:
                break
        raise BlockingIOError("no client waits")

    def take_handler(self, request: Any) -> Any:
        """Return the handler of a client that has its turn, None if there is none yet."""
        return self._handlers.pop(request, None)

    def wake(self) -> None:
        """End :meth:`next` if the server ends. May be called from any thread."""
        self._listener.call_soon(int)

    def close(self) -> None:
        """Stop listening, and end the handlers of those that have not had their turn."""
        self._listener.close()
        for request, _ in self._lobby.rest():
            handler = self.take_handler(request)
            if handler is not None:
                handler.finish()
            self._server.shutdown_request(request)
        for request in self._held:
            self._server.shutdown_request(request)

    def _due(self) -> float | None:
        return self._lobby.left()

    def _begin(self, request: Any) -> None:
        client, server = self._server.admit(request), self._server
        if not self.one_by_one:
            if client.pushed and server.authenticator is None:
                self._held.add(request)
                ready = partial(self._release, request, client)
                gone = partial(self._forget, request)
                self._listener.hold(request, client, EpcFramer, ready, gone)
            else:
                self._lobby.add_ready((request, client.address))
            return
        if server.authenticator is None:
            self._set_up(request, client)
            return
        self._logins += 1
        try:
            spawn(self._log_in, request, client)
        except RuntimeError as error:
            self._logins -= 1
            server.admission.refuse(client.name, error)
            server.shutdown_request(request)

    def _release(self, request: Any, client: Client) -> None:
        """Give a held client its turn."""
        self._held.discard(request)
        self._lobby.add_ready((request, client.address))

    def _forget(self, request: Any) -> None:
        """Close the socket of a held client that has gone."""
        self._held.discard(request)
        self._server.shutdown_request(request)

    def _log_in(self, request: Any, client: Client) -> None:
        """Lets a client in, which takes as long as it likes, in a thread of its own."""
        authenticator = self._server.authenticator
        assert authenticator is not None
        try:
            wrapped, credentials = client.log_in(authenticator)
        except Exception as error:
            self._listener.call_soon(partial(self._refuse, request, client, error))
        else:
            self._listener.call_soon(partial(self._let_in, request, client, wrapped, credentials))

    def _refuse(self, request: Any, client: Client, error: Exception) -> None:
        self._logins -= 1
        if isinstance(error, AuthenticationError):
            self._server.admission.reject(client, error)
        else:
            self._server.logger.error("a login of %s failed", client.name, exc_info=error)
        self._server.shutdown_request(request)

    def _let_in(self, request: Any, client: Client, wrapped: Any, credentials: Any) -> None:
        self._logins -= 1
        self._server.let_in(request, client, wrapped, credentials)
        self._set_up(wrapped, client)

    def _set_up(self, request: Any, client: Client) -> None:
        """Makes the handler of a client, as far as that is done before its turn."""
        server = self._server
        kind: Any = server.RequestHandlerClass
        turn = (request, client.address)
        if kind.__init__ is not socketserver.BaseRequestHandler.__init__:
            self._lobby.add_ready(turn)  # it may do everything at once
            return
        handler: Any = kind.__new__(kind)
        handler.request, handler.client_address, handler.server = request, client.address, server
        try:
            handler.setup()
        except Exception:
            server.handle_error(*turn)
            server.shutdown_request(request)
        else:
            self._handlers[request] = handler
            self._lobby.add(handler.peer.link, turn)
