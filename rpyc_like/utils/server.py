"""Servers: accept clients and give each a service.

The methods with a leading underscore are meant to be overridden; they call each other in this
order: ``accept``, ``_accept_method``, ``_authenticate_and_serve_client``, ``_serve_client``,
``_handle_connection``.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import sys
import threading
import warnings
from typing import Any, NoReturn

from ..core.channel import Channel
from ..core.config import COMPAT_RPYC6
from ..core.protocol import Connection
from ..core.service import Service, Slave
from ..core.stream import SocketStream
from ..errors import AuthenticationError
from ..lib.compat import get_exc_errno as get_exc_errno
from ..lib.compat import poll as poll
from ..lib.modules import safe_import as safe_import
from ..lib.threads import spawn
from ..lib.threads import spawn_waitready as spawn_waitready
from ..link.listener import Authenticator, Listener, cut_after, listen_tcp, listen_unix

__all__ = ["ForkingServer", "OneShotServer", "Server", "ThreadedServer", "gives_full_control"]


_OPEN_DOOR = """\
this service gives full control of this process to whoever connects, and {host} can be reached \
from other machines; expected an authenticator. One line each:
  ssh:            leave hostname= out, and on the client: ssh -L {port}:localhost:{port} THIS_HOST
  TLS:            authenticator=SSLAuthenticator("server.key", "server.pem", "clients.pem")
  authenticator:  authenticator=your_function   # socket -> (socket, credentials), or raises
Or, where everybody on the network may do everything: insecure=True"""


def gives_full_control(service: Any) -> bool:
    """Returns whether a service (a class or an instance) lets its peers do everything."""
    return issubclass(service if isinstance(service, type) else type(service), Slave)


class Server:
    """Base of servers.

    Args:
        service: a service class (one instance for each client) or an instance (shared).
        hostname: an address or name to bind to; the loopback address without it.
        ipv6: whether to listen on IPv6.
        port: 0 for one that is free.
        backlog: how many clients may wait to be accepted.
        reuse_addr: whether the port may be taken again at once after a stop.
        authenticator: lets clients in or refuses them.
        registrar, auto_register: a registry client to register the service with.
        protocol_config: configuration of the connections.
        logger: where to log; a logger named after the service and port without it.
        listener_timeout: of the listening socket, in seconds; for a program's own ``accept``. The
            server's does not poll.
        socket_path: a unix socket to listen on instead of TCP.
        insecure: whether a service that gives full control may be reached from other machines
            without an authenticator.
        auth_timeout: seconds that the authenticator may take for a client.
        max_silent_clients: clients that are not let in yet, or have not said anything yet; more
            are refused.

    Raises:
        AuthenticationError: the service gives full control to whoever connects, and ``insecure``
            is not set.
    """

    def __init__(
        self,
        service: type[Service] | Service,
        hostname: str | None = None,
        ipv6: bool = False,
        port: int = 0,
        backlog: int = socket.SOMAXCONN,
        reuse_addr: bool = True,
        authenticator: Authenticator | None = None,
        registrar: Any = None,
        auto_register: bool | None = None,
        protocol_config: dict[str, Any] | None = None,
        logger: logging.Logger | None = None,
        listener_timeout: float | None = 0.5,
        socket_path: str | None = None,
        *,
        insecure: bool = COMPAT_RPYC6,
        auth_timeout: float = 30.0,
        max_silent_clients: int = 1000,
    ) -> None:
        self.active = False
        self._closed = False
        self._stopped = threading.Event()
        self.service = service
        self.authenticator = authenticator
        self.backlog = backlog
        self.auto_register = bool(registrar) if auto_register is None else auto_register
        self.registrar = registrar
        self.protocol_config: dict[str, Any] = {} if protocol_config is None else protocol_config
        self.hostname = hostname
        self.auth_timeout = auth_timeout
        self.max_silent_clients = max_silent_clients
        self._silent: dict[socket.socket, Connection | None] = {}  # who has not said anything yet
        self.clients: set[socket.socket] = set()
        self._clients_lock = threading.Lock()  # guards clients
        if socket_path is not None:
            if hostname is not None or port != 0 or ipv6:
                raise ValueError("socket_path excludes hostname, port and ipv6")
            self.listener = listen_unix(socket_path, backlog)
            self.host, self.port = "", socket_path
        else:
            if hostname is None and COMPAT_RPYC6:
                hostname = "::" if ipv6 else "0.0.0.0"
            self.listener = listen_tcp(hostname, port, ipv6, backlog, reuse_addr)
            self.host, self.port = self.listener.getsockname()[:2]
            authenticates = getattr(authenticator, "authenticates", authenticator is not None)
            if gives_full_control(service) and not (insecure or authenticates):
                if not ipaddress.ip_address(self.host.partition("%")[0]).is_loopback:
                    self.listener.close()
                    raise AuthenticationError(_OPEN_DOOR.format(host=self.host, port=self.port))
        self._accepting = Listener(self.listener, socket_path, listener_timeout)
        self.logger = logger or logging.getLogger(f"{self._service_name()}/{self.port}")
        self.protocol_config.setdefault("logger", self.logger)

    def _service_name(self) -> str:
        return self.service.get_service_name()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Returns the listening socket's descriptor."""
        return self.listener.fileno()

    # -- the life of a server

    def start(self) -> None:
        """Serves until :meth:`close` is called, or Ctrl-C."""
        self._listen()
        self._register()
        try:
            while self.active:
                self.accept()
        except EOFError:
            pass  # closed by another thread
        except KeyboardInterrupt:
            self.logger.warning("keyboard interrupt!")
        finally:
            self.close()

    def _start_in_thread(self) -> threading.Thread:
        """Starts the server in a thread and returns that."""
        self._listen()
        return spawn(self.start)

    def _listen(self) -> None:
        if not self.active and not self._closed:
            self.active = True
            self.logger.info("server started on [%s]:%s", self.host, self.port)

    def _register(self) -> None:
        if self.auto_register and self.registrar is not None:
            spawn(self._bg_register)

    def _bg_register(self) -> None:
        """Registers the service, and again from time to time while the server is active."""
        aliases = self.service.get_service_aliases()
        while self.active and not self._closed:
            try:
                self.registrar.register(aliases, self.port, interface=self._interface())
            except Exception:
                self.logger.exception("error registering services")
            self._stopped.wait(self.registrar.REREGISTER_INTERVAL)
        with contextlib.suppress(Exception):
            self.registrar.unregister(self.port)

    def _interface(self) -> str:
        """Returns the address that the service can be reached at, if it is bound to one."""
        try:
            bound = ipaddress.ip_address(str(self.host).partition("%")[0])
        except ValueError:
            return ""
        return "" if bound.is_unspecified else str(bound)

    def close(self) -> None:
        """Stops listening and hangs up on the clients. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.active = False
        self._stopped.set()
        self._accepting.close()
        self.logger.info("listener closed")
        with self._clients_lock:
            clients, self.clients = list(self.clients), set()
        for client in clients:
            with contextlib.suppress(OSError):
                # The socket class's own: TLS sockets must not say goodbye from a foreign thread.
                socket.socket.shutdown(client, socket.SHUT_RDWR)

    # -- one client

    def accept(self) -> None:
        """Waits for a client and passes its socket to :meth:`_accept_method`."""
        sock = self._accepting.accept()
        self.logger.info("accepted %s with fd %s", _peer(sock), sock.fileno())
        with self._clients_lock:
            refused = self._too_many_silent()
            if not refused:
                self.clients.add(sock)
                self._silent[sock] = None
        if refused:
            self.logger.warning("refused %s: %d clients are silent", _peer(sock), len(self._silent))
            sock.close()
        else:
            self._accept_method(sock)

    def _too_many_silent(self) -> bool:
        """Forgets who has spoken, and returns whether one more would be too many."""
        if len(self._silent) >= self.max_silent_clients:
            for sock, conn in list(self._silent.items()):
                gone = sock.fileno() < 0 if conn is None else conn.heard or conn.closed
                if gone:
                    del self._silent[sock]
        return len(self._silent) >= self.max_silent_clients

    def _accept_method(self, sock: socket.socket) -> None:
        """Decides who serves the client: this thread, another, a pool."""
        raise NotImplementedError

    def _authenticate_and_serve_client(self, sock: socket.socket) -> None:
        """Lets the client in and serves it until it is gone."""
        wrapped: Any = sock
        try:
            credentials = None
            if self.authenticator is not None:
                try:
                    with cut_after(sock, self.auth_timeout):
                        wrapped, credentials = self.authenticator(sock)
                except AuthenticationError:
                    self.logger.info("%s failed to authenticate, rejecting connection", _peer(sock))
                    return
                self.logger.info("%s authenticated successfully", _peer(sock))
                with self._clients_lock:
                    if sock in self.clients:
                        self.clients.add(wrapped)
            with self._clients_lock:
                self._silent.pop(sock, None)
                if type(self)._serve_client is Server._serve_client:
                    self._silent[wrapped] = None  # else nobody would tell when it has spoken
            self._serve_client(wrapped, credentials)
        except Exception:
            self.logger.exception("client connection terminated abruptly")
        finally:
            for client in (wrapped, sock):
                with contextlib.suppress(OSError):
                    client.close()
            with self._clients_lock:
                self.clients -= {sock, wrapped}
                for client in (sock, wrapped):
                    self._silent.pop(client, None)

    def _serve_client(self, sock: Any, credentials: Any) -> None:
        """Makes the connection and passes it to :meth:`_handle_connection`."""
        address = _peer(sock)
        self.logger.info("welcome %s", address)
        try:
            endpoints = (sock.getsockname(), sock.getpeername())
            config = dict(self.protocol_config, credentials=credentials, endpoints=endpoints)
            conn = self.service._connect(Channel(SocketStream(sock)), config)
            with self._clients_lock:
                self._silent[sock] = conn
            self._handle_connection(conn)
        except EOFError:
            pass
        finally:
            self.logger.info("goodbye %s", address)

    def _handle_connection(self, conn: Connection) -> None:
        """Serves a connection until it is closed."""
        conn.serve_all()


def _peer(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername())
    except OSError:
        return "a client that is gone"


class ThreadedServer(Server):
    """Serves each client in a thread of its own."""

    def _accept_method(self, sock: socket.socket) -> None:
        spawn(self._authenticate_and_serve_client, sock)


class OneShotServer(Server):
    """Serves one client, in the thread of :meth:`start`, and then stops."""

    def _accept_method(self, sock: socket.socket) -> None:
        try:
            self._authenticate_and_serve_client(sock)
        finally:
            self.close()


class ForkingServer(Server):
    """Serves each client in a process of its own (POSIX only).

    What a client does to the process ends with it. A service instance is copied, not shared.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not hasattr(os, "fork"):
            raise OSError("ForkingServer needs os.fork(), which this system does not have")
        super().__init__(*args, **kwargs)
        self._children: set[int] = set()

    def _accept_method(self, sock: socket.socket) -> None:
        with warnings.catch_warnings():
            # Python warns of forking with threads; the child runs none of those there are.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            self._children.add(pid)
            spawn(self._reap, pid)
            with self._clients_lock:
                self.clients.discard(sock)
                self._silent.pop(sock, None)
            sock.close()
        else:
            self._serve_in_child(sock)

    def _serve_in_child(self, sock: socket.socket) -> NoReturn:
        status = 1
        try:
            self._closed = True  # of the listener the child has a copy that it does not need
            self.listener.close()
            self._clients_lock = threading.Lock()  # another thread may have held it
            self._authenticate_and_serve_client(sock)
            status = 0
        except KeyboardInterrupt:
            pass  # Ctrl-C reaches all processes of a terminal
        except BaseException:
            self.logger.exception("a child process failed")
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self, pid: int) -> None:
        """Waits for a child, so that it does not stay a zombie."""
        with contextlib.suppress(OSError):
            os.waitpid(pid, 0)
        self._children.discard(pid)

    def _handle_sigchld(self, signum: int, unused: Any) -> None:
        """Has nothing to do: each child is waited for by a thread."""
