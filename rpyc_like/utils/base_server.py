"""What all servers share: listening, letting clients in, ending in an orderly way.

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
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from inspect import getattr_static
from typing import Any

from ..core.channel import Channel
from ..core.config import COMPAT_RPYC6, KINDS, check_config
from ..core.dispatch.policy import warn_of_ladders
from ..core.protocol import Connection
from ..core.service import Service, Slave
from ..core.stream import SocketStream
from ..errors import AuthenticationError
from ..lib import settings
from ..lib.settings import FLAG, Kind, check_arguments
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
from ..link.listener import Authenticator, Listener, listen_tcp, listen_unix
from . import systemd
from .graceful_shutdown import drain, is_serving_us, terminating

__all__ = ["ARGUMENTS", "GRACE", "Server", "gives_full_control"]

GRACE = 0.0 if COMPAT_RPYC6 else 5.0
"""Default time that running calls are given when a server is closed, in seconds."""

ARGUMENTS: dict[str, Kind] = {
    **admission.ARGUMENTS,
    "port": settings.Kind(
        f"{settings.PORT.expected}, 0 or None for one that is free",
        lambda port: None if port is None else settings.PORT.take(port),
    ),
    "ipv6": FLAG,
    "backlog": settings.count(-1),
    "reuse_addr": FLAG,
    "authenticator": settings.FUNCTION,
    "auto_register": FLAG,
    "listener_timeout": settings.number(optional=True),
    "insecure": FLAG,
    "socket_mode": settings.count(0, 0o7777),
    "grace": settings.number(),
    "idle_timeout": settings.number(optional=True),
    "tell_systemd": FLAG,
}
"""What the arguments of :class:`Server` must be, those that have a kind."""

_OPEN_DOOR = """\
this service gives full control of this process to whoever connects, and {host} can be reached \
from other machines; expected an authenticator. One line each:
  ssh:            leave hostname= out, and on the client: ssh -L {port}:localhost:{port} THIS_HOST
  TLS:            authenticator=SSLAuthenticator("server.key", "server.pem", "clients.pem")
  authenticator:  authenticator=TokenAuthenticator(Path("token")), or a function of your own
Or, where everybody on the network may do everything: insecure=True"""


def gives_full_control(service: Any) -> bool:
    """Returns whether a service (a class or an instance) lets its peers do everything."""
    kind = service if isinstance(service, type) else type(service)
    return issubclass(kind, Slave) or getattr(service, "full_control", False) is True


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
        auth_timeout: seconds from being accepted until a client must have been let in by the
            authenticator; ``None`` for any time.
        max_silent_clients: clients that are not let in yet, or have not sent a message yet. For one
            more, the oldest of them is hung up on, and the new one is served when it sends one.
        max_silent_per_address: how many of these one address may have when there is no room for
            others; a quarter of ``max_silent_clients`` without it. Addresses of this machine have
            no limit of their own.
        max_memory: bytes that may be kept for all clients together; ``None`` for any number.
        sockets: to listen on instead, already listening: those that systemd gives, for instance.
            One that is connected already is the first client.
        socket_mode: who may connect to ``socket_path``: this user, unless it says otherwise.
        grace: seconds that running calls are given when the server is closed.
        idle_timeout: seconds without any client after which the server closes itself.
        tell_systemd: whether to say READY, STOPPING and WATCHDOG to the service manager, if this
            process was started by one.

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
        auth_timeout: float | None = AUTH_TIMEOUT,
        max_silent_clients: int = MAX_SILENT_CLIENTS,
        max_silent_per_address: int | None = None,
        max_memory: int | None = MAX_MEMORY,
        sockets: Sequence[socket.socket] = (),
        socket_mode: int = 0o600,
        grace: float = GRACE,
        idle_timeout: float | None = None,
        tell_systemd: bool = False,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            where = "; it is a key of protocol_config" if name in KINDS else ""
            raise TypeError(f"unexpected argument {name!r} of the server{where}")
        check_arguments(ARGUMENTS, locals())
        check_config(protocol_config, "protocol_config")
        self.active = False
        self._closed = False
        self._stopped = threading.Event()
        self._finished = threading.Event()
        self._hurry = threading.Event()
        self.grace = grace
        self.idle_timeout = idle_timeout
        self._busy_until = time.monotonic()
        self._manager = systemd.Manager() if tell_systemd else None
        self.service = service
        self.authenticator = authenticator
        self.backlog = backlog
        self.auto_register = bool(registrar) if auto_register is None else auto_register
        self.registrar = registrar
        self.protocol_config: dict[str, Any] = {} if protocol_config is None else protocol_config
        self.hostname = hostname
        self.clients: set[socket.socket] = set()
        self._connections: dict[Any, Connection] = {}  # of the clients that have been let in
        self._admitted: dict[Any, Client] = {}  # by their sockets
        self._clients_lock = threading.RLock()  # guards clients, _connections and _admitted
        if (socket_path is not None or sockets) and (hostname is not None or port or ipv6):
            raise ValueError("socket_path and sockets exclude hostname, port and ipv6")
        listeners = list(sockets)
        if socket_path is not None:
            listeners.append(listen_unix(socket_path, backlog, socket_mode))
        elif not listeners:
            if hostname is None and COMPAT_RPYC6:
                hostname = "::" if ipv6 else "0.0.0.0"
            listeners.append(listen_tcp(hostname, port, ipv6, backlog, reuse_addr))
        try:
            self.listener = listeners[0]
            self.host, self.port = _address(self.listener)
            authenticates = getattr(authenticator, "authenticates", authenticator is not None)
            if gives_full_control(service) and not (insecure or authenticates):
                _refuse_if_reachable(listeners)
            self.logger = logger or logging.getLogger(f"{self._service_name()}/{self.port}")
            self.admission = Admission(
                max_silent_clients, max_silent_per_address, auth_timeout, max_memory, self.logger
            )
            """Which clients that have shown nothing yet may stay; its attributes may be changed."""
            self._accepting = Listener(
                listeners, self.admission, socket_path, listener_timeout, self._chores
            )
            warn_of_ladders(service, self.protocol_config)
        except BaseException:
            for listener in set(listeners).difference(sockets):  # nobody else knows of these
                listener.close()
            if socket_path is not None:
                with contextlib.suppress(OSError):
                    os.unlink(socket_path)
            raise

    def _service_name(self) -> str:
        return self.service.get_service_name()

    @property
    def auth_timeout(self) -> float | None:
        """Seconds from being accepted in which a client must have been let in."""
        return self.admission.auth_timeout

    @auth_timeout.setter
    def auth_timeout(self, seconds: float | None) -> None:
        self.admission.auth_timeout = seconds

    @property
    def max_silent_clients(self) -> int:
        """Most clients that have not sent a message yet."""
        return self.admission.max_silent_clients

    @max_silent_clients.setter
    def max_silent_clients(self, count: int) -> None:
        self.admission.max_silent_clients = count

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Returns the listening socket's descriptor."""
        return self.listener.fileno()

    # -- the life of a server

    def start(self) -> None:
        """Serves until :meth:`close` is called, Ctrl-C, or SIGTERM.

        SIGTERM is handled in the main thread, unless the program handles it: the first one closes
        the server and lets running calls finish, a second one cuts them.
        """
        with terminating(self._terminate):
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
                self._accepting.drop_held()
                self.close()

    def _start_in_thread(self) -> threading.Thread:
        """Starts the server in a thread and returns that."""
        self._listen()
        return spawn(self.start)

    def _listen(self) -> None:
        if not self.active and not self._closed:
            self.active = True
            self._busy_until = time.monotonic()
            self.logger.info("server started on [%s]:%s", self.host, self.port)
            if self._manager is not None:
                self._manager.ready()

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

    def _chores(self) -> float | None:
        """Does what is due from time to time; returns in how many seconds it wants to be asked."""
        due = [] if self._manager is None else self._manager.keep_alive()
        if self.idle_timeout is not None:
            if self._has_clients():
                self._busy_until = time.monotonic()
            left = self._busy_until + self.idle_timeout - time.monotonic()
            if left <= 0:
                self.logger.info("no clients for %s seconds, closing", self.idle_timeout)
                self.active = False
                self._accepting.close()
            due.append(max(0.05, left))
        return min(due, default=None)

    def _has_clients(self) -> bool:
        return bool(self.clients)

    def _interface(self) -> str:
        """Returns the address that the service can be reached at, if it is bound to one."""
        try:
            bound = ipaddress.ip_address(str(self.host).partition("%")[0])
        except ValueError:
            return ""
        return "" if bound.is_unspecified else str(bound)

    def close(self) -> None:
        """Stops listening, lets running calls finish, and hangs up on the clients.

        Calls are given ``grace`` seconds. Calling it again waits for the end of the first call.
        """
        with self._clients_lock:
            first, self._closed = not self._closed, True
            connections = list(self._connections.values())
        if not first:
            if not is_serving_us(connections):
                self._finished.wait(self.grace + 1)
            return
        self.active = False
        self._stopped.set()
        if self._manager is not None:
            self._manager.stopping()
        self._accepting.close()
        self.admission.close()
        self.logger.info("listener closed")
        try:
            self._drain()
        finally:
            self._cut()
            self._finished.set()

    def _terminate(self) -> None:
        """Closes the server; if that is under way already, does not wait for running calls."""
        if self._closed:
            self._hurry.set()
        else:
            self.close()

    def _drain(self) -> None:
        """Waits until what clients have asked for has been answered."""
        with self._clients_lock:
            connections = list(self._connections.values())
        left = drain(connections, self.grace, self._hurry)
        if left:
            self.logger.warning("%d calls did not finish within %s seconds", left, self.grace)

    def _cut(self) -> None:
        """Hangs up on the clients."""
        with self._clients_lock:
            clients, self.clients = list(self.clients), set()
            admitted = list(self._admitted.values())
        for one in admitted:
            one.end()
        for client in clients:
            with contextlib.suppress(OSError):
                # The socket class's own: TLS sockets must not say goodbye from a foreign thread.
                socket.socket.shutdown(client, socket.SHUT_RDWR)

    # -- one client

    def accept(self) -> None:
        """Waits for a client and passes its socket to :meth:`_accept_method`."""
        sock = self._accepting.accept()
        self.logger.info("accepted %s with fd %s", peer_name(sock), sock.fileno())
        self._busy_until = time.monotonic()
        client = self._admit(sock)
        if client.pushed and self.authenticator is None and not self._talks_first():
            # It costs no thread or process before it has sent something.
            serve, drop = partial(self._accept_method, sock), partial(self._drop, sock)
            self._accepting.hold(sock, client, self.service._make_framer, serve, drop)
        else:
            self._take_in(sock)

    def _take_in(self, sock: socket.socket) -> None:
        """Start to serve an accepted client, now or when no others wait to be accepted."""
        self._accept_method(sock)

    def _talks_first(self) -> bool:
        """Returns whether the service may talk on the socket before the protocol does."""
        kind: Any = self.service if isinstance(self.service, type) else type(self.service)
        return not hasattr(kind, "_make_framer") or (
            issubclass(kind, Service)
            and getattr_static(kind, "_connect") is not vars(Service)["_connect"]
        )

    def _admit(self, sock: socket.socket) -> Client:
        """Notes a client that shows nothing yet; another one may have to make room for it."""
        client = self.admission.admit(sock, self.authenticator is not None)
        with self._clients_lock:
            self.clients.add(sock)
            self._admitted[sock] = client
        return client

    def _begin(self, begin: Callable[[Callable[[], Any]], Any], sock: socket.socket) -> None:
        """Has a client served. Where the system has nothing left, silent clients make room.

        Args:
            begin: has a function run, by another thread for instance.
        """
        serve = partial(self._authenticate_and_serve_client, sock)
        try:
            try:
                begin(serve)
            except (RuntimeError, OSError) as error:
                if not self.admission.make_room(error, self._admitted.get(sock)):
                    raise
                time.sleep(PAUSE)
                begin(serve)
        except (RuntimeError, OSError) as error:
            self.admission.refuse(peer_name(sock), error)
            self._drop(sock)

    def _accept_method(self, sock: socket.socket) -> None:
        """Decides who serves the client: this thread, another, a pool."""
        raise NotImplementedError

    def _authenticate_and_serve_client(self, sock: socket.socket) -> None:
        """Lets the client in and serves it until it is gone."""
        wrapped: Any = sock
        kept: Any = False
        client = self._admitted.get(sock) or self._admit(sock)
        try:
            wrapped, credentials = self._let_in(sock)
            kept = self._serve_client(wrapped, credentials)
        except AuthenticationError as error:
            self.admission.reject(client, error)
            if not client.cut_off:
                self._refused()
        except Exception as error:
            self._failed(client, error)
        finally:
            if not kept:
                self._drop(sock, wrapped)

    def _let_in(self, sock: socket.socket) -> tuple[Any, Any]:
        """Asks the authenticator; returns what to talk over, and credentials."""
        wrapped, credentials = sock, None
        client = self._admitted[sock]
        if self.authenticator is not None:
            wrapped, credentials = client.log_in(self.authenticator)
            self.logger.info("%s authenticated successfully", client.name)
        with self._clients_lock:
            if sock in self.clients:
                self.clients.add(wrapped)
            self._admitted[wrapped] = client
        if not self._makes_connections():
            client.spoke()  # else it would be taken for silent for ever
        return wrapped, credentials

    def _makes_connections(self) -> bool:
        """Returns whether :meth:`_serve_client` is not a program's own."""
        return type(self)._serve_client is Server._serve_client

    def _refused(self) -> None:
        """No-op: the server goes on; called when a client has failed to log in."""

    def _failed(self, client: Client, error: Exception) -> None:
        """Logs what has ended a connection, unless the client had to make room."""
        if not client.cut_off:
            self.logger.error("client connection terminated abruptly", exc_info=error)

    def _drop(self, *socks: Any) -> None:
        """Closes and forgets the sockets of a client."""
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.close()
        with self._clients_lock:
            self._busy_until = time.monotonic()
            self.clients.difference_update(socks)
            left = [self._admitted.pop(sock, None) for sock in socks]
            for sock in socks:
                self._connections.pop(sock, None)
        for client in left:
            if client is not None:
                client.leave()

    def _serve_client(self, sock: Any, credentials: Any) -> Any:
        """Makes the connection and passes it to :meth:`_handle_connection`.

        Returns:
            A true value if somebody else goes on with the client, and drops it.
        """
        address = peer_name(sock)
        self.logger.info("welcome %s", address)
        try:
            self._handle_connection(self._make_connection(sock, credentials))
        except EOFError:
            pass
        finally:
            self.logger.info("goodbye %s", address)

    def _make_connection(self, sock: Any, credentials: Any) -> Connection:
        endpoints = (sock.getsockname(), sock.getpeername())
        config = {"logger": self.logger, **self.protocol_config}
        config.update(credentials=credentials, endpoints=endpoints)
        channel = Channel(SocketStream(sock))
        channel.admitted = client = self._admitted.get(sock)
        conn = self._connect(channel, config)
        if client is not None and not client.reports:
            client.spoke()  # the service talks over a channel of its own
        with self._clients_lock:
            self._connections[sock] = conn
            late = self._closed
        if late:
            self._hang_up(conn)
        return conn

    def _connect(self, channel: Channel, config: dict[str, Any]) -> Connection:
        conn: Connection = self.service._connect(channel, config)
        return conn

    def _hang_up(self, conn: Connection) -> None:
        conn.close()

    def _handle_connection(self, conn: Connection) -> None:
        """Serves a connection until it is closed."""
        conn.serve_all()


def _address(listener: socket.socket) -> tuple[str, Any]:
    """Returns host and port of a listening socket; of a unix socket an empty text and its path."""
    name = listener.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else ("", name)


def _refuse_if_reachable(listeners: Sequence[socket.socket]) -> None:
    """Raises AuthenticationError if one can be reached from other machines, and closes all."""
    for host, port in map(_address, listeners):
        if host and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            for listener in listeners:
                listener.close()
            raise AuthenticationError(_OPEN_DOOR.format(host=host, port=port))


def peer_name(sock: socket.socket) -> str:
    """Return a client's address, for the log."""
    try:
        return str(sock.getpeername())
    except OSError:
        return "a client that is gone"
