"""Clients of EPC servers, in the shape of python-epc's."""

from __future__ import annotations

import socket
import weakref
from threading import current_thread
from typing import Any, ClassVar

from ..lib import primitives
from ..lib.settings import PORT, checked
from ..link.client_login import Login, log_in
from ..link.result import AsyncResult
from ..link.streams.happy_eyeballs import connect_socket
from ..link.streams.socket import SocketStream
from .core import EPCCore
from .handler import ThreadingEPCHandler
from .utils import ThreadedIterator, newthread

__all__ = ["EPCClient", "EPCClientHandler", "EPCCore", "ThreadedIterator", "ThreadingEPCHandler"]

_ATTEMPTS = 6  # of 3 seconds for each address of the host, as for connections of RPyC


class EPCClientHandler(ThreadingEPCHandler):
    """The connection of a client; served by a thread that calls :meth:`start`."""

    def __init__(self, *args: Any) -> None:
        self.request, self.client_address, self.server = args
        self._ready = primitives.Event()
        self.setup()
        self._ready.set()

    def start(self) -> None:
        """Serves until the connection ends."""
        try:
            self.handle()
        finally:
            self.finish()

    def wait_until_ready(self) -> None:
        """Waits until calls can be made."""
        self._ready.wait()


class EPCClient(EPCCore):
    """A connection to an EPC server, which may call methods of this side too.

    Args:
        socket_or_address: a connected socket, or host and port; without it :meth:`connect` follows.
        debugger, log_traceback, options: see :class:`.EPCCore`.
        login: what to show a server that asks for a login.
    """

    thread_daemon: ClassVar[bool] = True
    """Whether the thread that reads ends with the program."""

    socket: socket.socket
    handler: EPCClientHandler
    handler_thread: primitives.Thread

    def __init__(
        self,
        socket_or_address: Any = None,
        debugger: Any = None,
        log_traceback: bool = False,
        *,
        login: Login | None = None,
        **options: Any,
    ) -> None:
        self._login = login
        super().__init__(debugger, log_traceback, **options)
        if socket_or_address is not None:
            self.connect(socket_or_address)

    def connect(self, socket_or_address: Any) -> None:
        """Connects, or begins on a connected socket.

        Raises:
            OSError: nobody listens there, or no address of the host has answered in time.
        """
        if isinstance(socket_or_address, socket.socket):
            sock = socket_or_address
        else:
            host, port = socket_or_address
            checked("the port to connect to", PORT, port)
            sock = connect_socket(host, port, attempts=_ATTEMPTS)
        if self._login is not None:
            try:
                log_in(SocketStream(sock), self._login)
            except BaseException:
                sock.close()
                raise
        self.socket = sock
        self.handler = handler = EPCClientHandler(sock, None, self)
        self.call = handler.call
        self.call_sync = handler.call_sync
        self.methods = handler.methods
        self.methods_sync = handler.methods_sync
        self.handler_thread = newthread("EPCClientHandler-{0}", target=handler.start)
        self.handler_thread.daemon = self.thread_daemon
        self.handler_thread.start()

    def async_call(self, name: str, *args: Any) -> AsyncResult:
        """Calls a method of the server and returns the :class:`AsyncResult` of the answer."""
        return self.handler.async_call(name, *args)

    def close(self) -> None:
        """Hangs up, and waits until the thread that reads has ended. Idempotent."""
        self.handler.close()
        if self.handler_thread is not current_thread():
            self.handler_thread.join(5)
            if not self.handler_thread.is_alive():
                self.handler.server = weakref.proxy(self)  # both are freed when this is dropped
        self.socket.close()

    def __enter__(self) -> EPCClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def add_client(self, *_: Any) -> None:
        """Has nothing to do: a client has one connection."""

    def remove_client(self, *_: Any) -> None:
        """Has nothing to do."""
