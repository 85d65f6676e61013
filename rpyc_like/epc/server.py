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
from ..lib.threads import spawn
from ..link.listener import Authenticator, cut_after
from .core import EPCCore
from .handler import EPCHandler, ThreadingEPCHandler
from .manager import EPCClientManager
from .starting import held_output, when_stdin_ends

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

SocketServer = socketserver
_LOGIN_LIMIT = 30.0


class EPCServer(socketserver.TCPServer, EPCClientManager, EPCCore):
    """Serves one client after the other, in the thread of :meth:`serve_forever`.

    A method may call back its caller: what that asks meanwhile is served by the waiting thread.

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
        **options: Any,
    ) -> None:
        if ":" in server_address[0]:
            self.address_family = socket.AF_INET6
        socketserver.TCPServer.__init__(
            self, server_address, RequestHandlerClass, bind_and_activate
        )
        EPCClientManager.__init__(self)
        EPCCore.__init__(self, debugger, log_traceback, **options)
        self._exits = exit_with_last_client
        self.authenticator = authenticator
        self._credentials: dict[Any, Any] = {}  # of clients that are let in and not served yet
        if exit_with_stdin:
            when_stdin_ends(self.shutdown)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Lets a client in and serves it."""
        if self.authenticator is not None:
            try:
                with cut_after(request, _LOGIN_LIMIT):
                    request, credentials = self.authenticator(request)
            except AuthenticationError as error:
                self.logger.warning("refused %s: %s", client_address, error)
                return
            self._credentials[request] = credentials
        super().finish_request(request, client_address)

    def take_credentials(self, request: Any) -> Any:
        """Returns what the authenticator has found out about a client, once."""
        return self._credentials.pop(request, None)

    def remove_client(self, handler: Any) -> None:
        """Forgets a connection; see :class:`.EPCClientManager`."""
        super().remove_client(handler)
        if self._exits and not self.clients:
            spawn(self.shutdown)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what ended a connection."""
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
        self._BaseServer__shutdown_request = True
        self._hang_up()
        super().shutdown()

    def server_close(self) -> None:
        """Stops listening, and ends the connections."""
        self.socket.close()
        self._hang_up()
        super().server_close()

    def _hang_up(self) -> None:
        for handler in list(self.clients):
            handler.close()


class ThreadingEPCServer(socketserver.ThreadingMixIn, EPCServer):
    """Serves all clients at the same time, and each of their requests in a thread of its own."""

    daemon_threads: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(self, *args: Any, **kwds: Any) -> None:
        if len(args) > 1:
            raise TypeError("expected the class of handlers by keyword at most")
        kwds.update(RequestHandlerClass=ThreadingEPCHandler)
        super().__init__(*args, **kwds)


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
