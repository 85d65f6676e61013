"""Servers for EPC clients, in the shape of python-epc's: those of ``socketserver``."""

from __future__ import annotations

import argparse
import importlib
import logging
import socket
import socketserver
import sys
import warnings
from typing import Any, ClassVar

from ..errors import AuthenticationError
from ..lib import primitives, settings
from ..lib.os_errors import address_text, naming
from ..lib.settings import FLAG, Kind, check_arguments, checked
from ..lib.threads import spawn
from ..link import admission
from ..link.admission import (
    AUTH_TIMEOUT,
    MAX_MEMORY,
    MAX_SILENT_CLIENTS,
    PAUSE,
    Admission,
    Client,
)
from ..link.listener import Authenticator, accept_client
from .client_manager import EPCClientManager
from .core import EPCCore
from .emacs_startup import held_output, when_stdin_ends
from .handler import EPCHandler, ThreadingEPCHandler
from .turns import Turns

__all__ = [
    "EPCClientManager",
    "EPCCore",
    "EPCHandler",
    "EPCServer",
    "SocketServer",
    "ThreadingEPCHandler",
    "ThreadingEPCServer",
    "main",
    "setuplogfile",
]

ARGUMENTS: dict[str, Kind] = {
    **admission.ARGUMENTS,
    "bind_and_activate": FLAG,
    "exit_with_last_client": FLAG,
    "exit_with_stdin": FLAG,
    "authenticator": settings.FUNCTION,
}
"""What the arguments of :class:`EPCServer` must be, beside those of :class:`.EPCCore`."""

SocketServer = socketserver
_ForkingMixIn: type = getattr(socketserver, "ForkingMixIn", type(None))  # not on Windows


class EPCServer(socketserver.TCPServer, EPCClientManager, EPCCore):
    """Serves one client after the other, in the thread of :meth:`serve_forever`.

    A method may call back its caller: what that asks meanwhile is served by the waiting thread.
    Clients that have sent nothing yet do not hold up others: who speaks first is served first.

    Args:
        server_address: host and port; port 0 for one that is free.
        RequestHandlerClass: what handles a connection.
        bind_and_activate: whether to listen at once.
        debugger, log_traceback, options: see :class:`.EPCCore`; ``max_threads`` and ``ordered`` are
            for :class:`ThreadingEPCServer`.
        exit_with_last_client: whether to end when the last client has gone.
        exit_with_stdin: whether to end when standard input does: when whoever started the program
            has gone.
        authenticator: lets clients in or refuses them. Emacs cannot log in, but is a process of the
            same user, or has a key and a certificate.
        auth_timeout, max_silent_clients, max_silent_per_address, max_memory: as for
            :class:`rpyc_like.utils.server.Server`.
    """

    logger = EPCCore.logger

    def __init__(
        self,
        server_address: tuple[str, int],
        RequestHandlerClass: type[EPCHandler] = EPCHandler,  # noqa: N803
        bind_and_activate: bool = True,
        debugger: Any = None,
        log_traceback: bool = False,
        *,
        exit_with_last_client: bool = False,
        exit_with_stdin: bool = False,
        authenticator: Authenticator | None = None,
        auth_timeout: float | None = AUTH_TIMEOUT,
        max_silent_clients: int = MAX_SILENT_CLIENTS,
        max_silent_per_address: int | None = None,
        max_memory: int | None = MAX_MEMORY,
        **options: Any,
    ) -> None:
        check_arguments(ARGUMENTS, locals())
        checked("the port in 'server_address'", settings.PORT, server_address[1])
        if ":" in server_address[0]:
            self.address_family = socket.AF_INET6
        self.admission = Admission(
            max_silent_clients, max_silent_per_address, auth_timeout, max_memory, self.logger
        )
        """Which clients that have shown nothing yet may stay; its attributes may be changed."""
        self.stopping = False
        """Whether :meth:`shutdown` has been called."""
        self._serves_all = False  # whether serve_forever runs
        self._admitted: dict[Any, Client] = {}  # by their sockets
        self._turns: Turns | None = None  # where one client is served at a time
        EPCClientManager.__init__(self)
        EPCCore.__init__(self, debugger, log_traceback, **options)
        self._exits = exit_with_last_client
        self.authenticator = authenticator
        self._credentials: dict[Any, Any] = {}  # of clients that are let in and not served yet
        # The last one: it binds the address, and closes the socket if that fails.
        with naming(address_text(*server_address[:2])):
            socketserver.TCPServer.__init__(
                self, server_address, RequestHandlerClass, bind_and_activate
            )
        if exit_with_stdin:
            when_stdin_ends(self.shutdown)

    # -- clients

    def server_activate(self) -> None:
        """Begins to listen; with as long a queue as the system allows, if no other is wanted."""
        super().server_activate()
        if self.request_queue_size == socketserver.TCPServer.request_queue_size:
            self.socket.listen(socket.SOMAXCONN)
        if not isinstance(self, (socketserver.ThreadingMixIn, _ForkingMixIn)):
            self._turns = Turns(self, one_by_one=True)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until :meth:`shutdown` is called, in another thread."""
        self._serves_all = True
        try:
            super().serve_forever(poll_interval)
        finally:
            self._serves_all = self.stopping = False

    def get_request(self) -> tuple[Any, Any]:
        """Returns the next client's socket and address.

        Where one client is served at a time, it is the next one that has spoken. This waits for it
        while there are clients that have not.

        Raises:
            OSError: there is none.
        """
        if self._turns is not None:
            return self._turns.next()
        accepted = accept_client(self.socket, self.admission)
        if accepted is None:
            raise BlockingIOError("no client waits")
        self.admit(accepted[0])
        return accepted

    def admit(self, request: Any) -> Client:
        """Notes a client that shows nothing yet; another one may have to make room for it."""
        client = self.admission.admit(request, self.authenticator is not None)
        self._admitted[request] = client
        return client

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a client, and then others that have not had their turn."""
        self._begin_request(request, client_address)
        while self._serves_all and self._turns and not self.stopping:
            try:
                turn = self._turns.next()
            except OSError:
                break
            try:
                self._begin_request(*turn)
            except Exception:
                self.handle_error(*turn)
                self.shutdown_request(turn[0])

    def _begin_request(self, request: Any, client_address: Any) -> None:
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Lets a client in and serves it."""
        if self._turns is not None and self._turns.one_by_one:
            self._handle(request, client_address)
            return
        client, given = self._admitted.get(request), request
        if self.authenticator is not None and client is not None:
            try:
                request, credentials = client.log_in(self.authenticator)
            except AuthenticationError as error:
                self.admission.reject(client, error)
                return
            self.let_in(given, client, request, credentials)
        try:
            super().finish_request(request, client_address)
        finally:
            if request is not given:
                self.close_request(request)

    def _handle(self, request: Any, client_address: Any) -> None:
        """Serves a client that has its turn."""
        assert self._turns is not None
        handler = self._turns.take_handler(request)
        if handler is None:
            super().finish_request(request, client_address)
            return
        try:
            handler.handle()
        finally:
            handler.finish()

    def let_in(self, given: Any, client: Client, request: Any, credentials: Any) -> None:
        """Notes that a client has logged in, and what is talked over from now on."""
        self._admitted[request] = client
        self._credentials[request] = credentials

    def close_request(self, request: Any) -> None:
        """Closes the socket of a client and forgets the client."""
        super().close_request(request)
        client = self._admitted.pop(request, None)
        if client is not None:
            client.leave()

    def take_client(self, request: Any) -> Client | None:
        """Returns what has admitted a client."""
        return self._admitted.get(request)

    def take_credentials(self, request: Any) -> Any:
        """Returns what the authenticator has found out about a client, once."""
        return self._credentials.pop(request, None)

    def remove_client(self, handler: Any) -> None:
        """Forgets a connection; see :class:`.EPCClientManager`."""
        super().remove_client(handler)
        if self._exits and not self.clients:
            spawn(self.shutdown)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what ended a connection, unless the client had to make room."""
        client = self._admitted.get(request)
        if client is not None and client.cut_off:
            return
        self.logger.error("exception in the connection of %s", client_address, exc_info=True)

    def print_port(self, stream: Any = None) -> None:
        """Tells the port, which is how Emacs learns it: alone in a line, in one write.

        Args:
            stream: where to; standard output without it.
        """
        stream = sys.stdout if stream is None else stream
        stream.write(f"{self.server_address[1]}\n")
        stream.flush()

    def shutdown(self) -> None:
        """Ends :meth:`serve_forever`, and the connections. For another thread than that one's."""
        self._BaseServer__shutdown_request = self.stopping = True
        self._hang_up()
        if self._turns is not None:
            self._turns.wake()
        super().shutdown()

    def server_close(self) -> None:
        """Stops listening, and ends the connections."""
        self.socket.close()
        self._hang_up()
        if self._turns is not None:
            self._turns.close()
        self.admission.close()
        super().server_close()

    def _hang_up(self) -> None:
        for handler in list(self.clients):
            handler.close()
        for client in list(self._admitted.values()):
            client.end()


class ThreadingEPCServer(socketserver.ThreadingMixIn, EPCServer):
    """Serves all clients at the same time, and each of their requests in a thread of its own."""

    daemon_threads: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(self, *args: Any, **kwds: Any) -> None:
        if len(args) > 1:
            raise TypeError("expected the class of handlers by keyword at most")
        kwds.update(RequestHandlerClass=ThreadingEPCHandler)
        super().__init__(*args, **kwds)

    def server_activate(self) -> None:
        """Begins to listen."""
        super().server_activate()
        self._turns = Turns(self, one_by_one=False)

    process_request = EPCServer.process_request

    def _begin_request(self, request: Any, client_address: Any) -> None:
        """Begins a thread for a client; silent ones make room if the system has no more."""
        begin = socketserver.ThreadingMixIn.process_request
        try:
            begin(self, request, client_address)
        except RuntimeError as error:
            if not self.admission.make_room(error, self._admitted.get(request)):
                raise
            primitives.sleep(PAUSE)
            begin(self, request, client_address)


def setuplogfile(logger: logging.Logger | None = None, filename: str = "python-epc.log") -> None:
    """Has a logger write to a file. Use :mod:`logging` itself instead."""
    warnings.warn("setuplogfile is deprecated: use logging", DeprecationWarning, stacklevel=2)
    (logger or EPCCore.logger).addHandler(logging.FileHandler(filename))


def main(args: list[str] | None = None) -> None:
    """Serves the functions of a module: ``python -m rpyc_like.epc.server MODULE``.

    What the module prints while it is imported is held back until the port has been printed.
    """
    parser = argparse.ArgumentParser(description="Serve the functions of a Python module to Emacs.")
    parser.add_argument("module", help="name of the module")
    parser.add_argument("--address", default="localhost", help="address to listen on")
    parser.add_argument("--port", default=0, type=int, help="port, 0 for one that is free")
    parser.add_argument("--allow-dotted-names", action="store_true", help="serve a.b as well")
    parser.add_argument("--pdb", dest="debugger", const="pdb", action="store_const")
    parser.add_argument("--ipdb", dest="debugger", const="ipdb", action="store_const")
    parser.add_argument("--log-traceback", action="store_true", help="log tracebacks of failures")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when the input does")
    options = parser.parse_args(args)
    with held_output() as stdout:
        sys.path.insert(0, "")
        module = importlib.import_module(options.module)
        server = ThreadingEPCServer(
            (options.address, options.port),
            debugger=options.debugger,
            log_traceback=options.log_traceback,
            exit_with_stdin=options.exit_with_stdin,
        )
        server.register_instance(module, options.allow_dotted_names)
        server.print_port(stdout)
    with server:
        server.serve_forever()


if __name__ == "__main__":
    main()
