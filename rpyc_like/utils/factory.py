"""Functions that open a connection, one for each way there is."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
from collections.abc import Sequence
from typing import Any, Union

from ..core.channel import Channel
from ..core.protocol import Connection
from ..core.service import MasterService as MasterService
from ..core.service import Service, VoidService
from ..core.service import SlaveService as SlaveService
from ..core.stream import PipeStream, SocketStream, Stream
from ..core.stream import TunneledSocketStream as TunneledSocketStream
from ..errors import ConnectionClosed, DiscoveryError, ForbiddenError
from ..lib.brief import brief
from ..lib.optional_imports import safe_import as safe_import
from ..lib.threads import spawn
from ..lib.timing import Timeout
from ..link.client_login import Login
from .children import START_TIMEOUT, leave_terminal, start_child, start_limit
from .openers import CONNECT_TIMEOUT, ssl_opener, tcp_opener, unix_opener
from .registry import RegistryClient, UDPRegistryClient

__all__ = [
    "connect",
    "connect_by_service",
    "connect_channel",
    "connect_multiprocess",
    "connect_pipes",
    "connect_stdpipes",
    "connect_stream",
    "connect_subproc",
    "connect_thread",
    "discover",
    "list_services",
    "ssh_connect",
    "ssl_connect",
    "unix_connect",
]

_BEGIN_LIMIT, _BEGIN_LOOK = 10.0, 0.01  # seconds; a slower service is not waited for
_PATIENCE = 1.0  # seconds in which a process ends that is gone, or has been killed
Config = dict[str, Any]
ServiceLike = Union[type[Service], Service]  # noqa: UP007 - the far side of a deployment may be Python 3.9


def connect_channel(
    channel: Any, service: ServiceLike = VoidService, config: Config | None = None
) -> Connection:
    """Makes a connection over an open channel.

    Args:
        service: what this side gives the peer: a service class, or an instance.
        config: overrides of the default configuration.
    """
    conn: Connection = service._connect(channel, config)
    return conn


def connect_stream(
    stream: Stream, service: ServiceLike = VoidService, config: Config | None = None
) -> Connection:
    """Makes a connection over an open stream."""
    return connect_channel(Channel(stream), service, config)


def connect_pipes(
    input: Any, output: Any, service: ServiceLike = VoidService, config: Config | None = None
) -> Connection:
    """Makes a connection over two open binary files."""
    return connect_stream(PipeStream(input, output), service, config)


def connect_stdpipes(
    service: ServiceLike = VoidService, config: Config | None = None
) -> Connection:
    """Makes a connection over this process's standard input and output.

    What the program prints afterwards goes to standard error.
    """
    return connect_stream(PipeStream.from_std(), service, config)


def _connect_reopenable(
    open_stream: Any, service: ServiceLike, config: Config | None
) -> Connection:
    """Makes a connection that may be opened again, if the peer speaks another dialect."""

    def reopen() -> Channel:
        return Channel(open_stream())

    channel = reopen()
    kind = service if isinstance(service, type) else type(service)
    if inspect.getattr_static(kind, "_connect") is vars(Service)["_connect"]:
        channel.reopen = reopen  # else the service has talked on this one already
    try:
        return connect_channel(channel, service, config)
    except BaseException:
        channel.close()
        raise


def connect(
    host: str,
    port: int,
    service: ServiceLike = VoidService,
    config: Config | None = None,
    ipv6: bool = False,
    keepalive: bool | int = False,
    timeout: float | None = CONNECT_TIMEOUT,
    nodelay: bool = True,
    login: Login | None = None,
) -> Connection:
    """Connects over TCP.

    Args:
        keepalive: whether the system probes an idle connection; a number is the seconds between.
        timeout: seconds that connecting to one address may take.
        nodelay: accepted for compatibility; small messages are never held back.
        login: what to show a server that asks for a login.

    Raises:
        OSError: nobody listens there, or the name is unknown.
        AuthenticationError: the server did not let this side in.
    """
    opener = tcp_opener(host, port, ipv6, keepalive, timeout, login)
    return _connect_reopenable(opener, service, config)


def unix_connect(
    path: str,
    service: ServiceLike = VoidService,
    config: Config | None = None,
    timeout: float | None = CONNECT_TIMEOUT,
    nodelay: bool = True,
    login: Login | None = None,
) -> Connection:
    """Connects to a unix socket.

    Args:
        login: what to show a server that asks for a login.
    """
    return _connect_reopenable(unix_opener(path, timeout, login), service, config)


def ssl_connect(
    host: str,
    port: int,
    keyfile: str | None = None,
    certfile: str | None = None,
    ca_certs: str | None = None,
    cert_reqs: int | None = None,
    ssl_version: int | None = None,
    ciphers: str | None = None,
    service: ServiceLike = VoidService,
    config: Config | None = None,
    ipv6: bool = False,
    keepalive: bool | int = False,
    verify_mode: int | None = None,
    timeout: float | None = CONNECT_TIMEOUT,
    nodelay: bool = True,
    login: Login | None = None,
) -> Connection:
    """Connects over TCP with TLS. The server's certificate and host name are verified.

    Args:
        keyfile, certfile: this side's key and certificate, if the server asks for one.
        ca_certs: a file of certificates to trust instead of the system's.
        cert_reqs, verify_mode: ``ssl.CERT_NONE`` switches verification off.
        ciphers: an OpenSSL cipher list.
        login: what to show a server that asks for a login as well.

    Raises:
        OSError: nobody listens there; :class:`ssl.SSLError` is one: the handshake failed.
        AuthenticationError: the server did not let this side in.
    """
    tls = {"keyfile": keyfile, "certfile": certfile, "ca_certs": ca_certs, "cert_reqs": cert_reqs}
    tls.update(ssl_version=ssl_version, ciphers=ciphers, verify_mode=verify_mode)
    opener = ssl_opener(host, port, ipv6, keepalive, timeout, login, **tls)
    return _connect_reopenable(opener, service, config)


def connect_subproc(
    args: Sequence[str],
    service: ServiceLike = VoidService,
    config: Config | None = None,
    timeout: float | None = START_TIMEOUT,
) -> Connection:
    """Starts a program and connects to its standard input and output.

    The program runs in a session of its own: Ctrl-C at the terminal does not reach it. What it
    writes to standard error goes to this process's standard error.

    Args:
        timeout: seconds in which the program must answer for the first time, which is waited for.
            With None nothing is waited for: an error comes with the first call.

    Returns:
        The connection; its ``proc`` is the :class:`subprocess.Popen`, which is waited for in the
        background: the child ends when the connection does, and leaves no zombie.

    Raises:
        OSError: the program cannot be started; :class:`TimeoutError` is one: it has not answered
            in time, and has been killed.
        ConnectionClosed: it has ended instead; the error has the end of its standard error.
    """
    stream, child = start_child(args)
    try:
        conn = connect_stream(stream, service, config)
        conn.proc = child
        if timeout is not None:
            step = f"starting {brief(args)}"
            with start_limit(timeout, step, child.kill, child.errors.text) as limit:
                conn.fetch_root(limit)
    except BaseException:
        stream.close()
        child.kill()
        raise
    return conn


def ssh_connect(
    remote_machine: Any,
    remote_port: int,
    service: ServiceLike = VoidService,
    config: Config | None = None,
    timeout: float | None = None,
    nodelay: bool = True,
) -> Connection:
    """Connects to a server on another machine's loopback interface, through ssh.

    Args:
        remote_machine: a plumbum ``SshMachine`` or ``ParamikoMachine``.
        remote_port: what the server listens on there.
        timeout: seconds in which the server must answer for the first time, which is waited for.
            Without it nothing is waited for: an error comes with the first call.
        nodelay: accepted as everywhere; the machine's own settings hold.

    Raises:
        TimeoutError: the server has not answered in time.
    """
    from .tunnels import through_ssh

    conn = connect_stream(through_ssh(remote_machine, remote_port), service, config)
    if timeout is not None:
        step = f"connecting to port {remote_port} of {remote_machine} through ssh"
        try:
            with start_limit(timeout, step, conn._channel.close) as limit:
                conn.fetch_root(limit)
        except BaseException:
            conn.close()
            raise
    return conn


def connect_thread(
    service: ServiceLike = VoidService,
    config: Config | None = None,
    remote_service: ServiceLike = VoidService,
    remote_config: Config | None = None,
) -> Connection:
    """Connects to a service that runs in a thread of this process.

    Raises:
        Exception: the service, which has raised it, could not be started.
    """
    here, there = map(SocketStream, socket.socketpair())
    begun = threading.Event()
    failure: list[BaseException] = []

    def serve() -> None:
        try:
            conn = connect_stream(there, remote_service, remote_config)
        except BaseException as error:
            failure.append(error)
            there.close()
            return
        finally:
            begun.set()
        conn.serve_all()

    spawn(serve)
    try:
        conn = connect_stream(here, service, config)
        limit = Timeout(_BEGIN_LIMIT)
        with contextlib.suppress(EOFError):  # it has not begun, or closes at once
            while not begun.wait(_BEGIN_LOOK) and not limit.expired():
                conn.poll()  # its on_connect may ask this side
        begun.wait(limit.timeleft())
        if failure:
            conn.close()
            raise failure[0]
    except BaseException as error:
        here.close()
        if isinstance(error, EOFError) and begun.wait(_BEGIN_LIMIT) and failure:
            raise failure[0] from error
        raise
    return conn


def discover(
    service_name: str,
    host: str | None = None,
    registrar: RegistryClient | None = None,
    timeout: float = 2,
) -> tuple[tuple[str, int], ...]:
    """Returns where a service runs, as pairs of host and port.

    Args:
        host: only there (a name or an address).
        registrar: whom to ask; a broadcast without it.
        timeout: seconds that the answer may take, without ``registrar``.

    Raises:
        DiscoveryError: nobody knows.
    """
    if registrar is None:
        registrar = UDPRegistryClient(timeout=timeout)
    found = registrar.discover(service_name)
    if not found:
        raise DiscoveryError(f"no servers exposing {service_name!r} were found")
    if host is not None:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
        found = tuple(address for address in found if address[0] in addresses)
        if not found:
            raise DiscoveryError(f"no servers exposing {service_name!r} were found on {host!r}")
    return found


def list_services(
    registrar: RegistryClient | None = None, filter_host: str | None = None, timeout: float = 2
) -> tuple[str, ...]:
    """Returns the names of services that a registry knows.

    Raises:
        ForbiddenError: the registry does not tell.
    """
    if registrar is None:
        registrar = UDPRegistryClient(timeout=timeout)
    names = registrar.list(filter_host)
    if names is None:
        raise ForbiddenError("the registry does not allow listing")
    return names


def connect_by_service(
    service_name: str,
    host: str | None = None,
    registrar: RegistryClient | None = None,
    timeout: float = 2,
    service: ServiceLike = VoidService,
    config: Config | None = None,
    nodelay: bool = True,
) -> Connection:
    """Connects to any server of a service; those that do not answer are passed over.

    Args:
        timeout: seconds that the registry may take, without ``registrar``.

    Raises:
        DiscoveryError: none was found, or none of those found answers.
    """
    failure: Exception | None = None
    for address in discover(service_name, host, registrar, timeout):
        try:
            return connect(*address, service, config)
        except (OSError, UnicodeError) as error:  # the latter for what is no name of a host
            failure = error
    raise DiscoveryError(f"none of the servers exposing {service_name!r} answers") from failure


def _get_free_port() -> int:
    """Returns a TCP port of the loopback address that nobody listens on at this moment."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server(
    listener: socket.socket, remote_service: ServiceLike, remote_config: Config, args: Any = None
) -> None:
    """Serves one client of a listening socket, and then ends. Runs in a process of its own."""
    leave_terminal()
    with contextlib.closing(listener):
        sock, _ = listener.accept()
    sock.setblocking(True)
    conn = connect_stream(SocketStream(sock), remote_service, remote_config)
    if args:
        conn._local_root.namespace.update(args)
    conn.serve_all()


def connect_multiprocess(
    service: ServiceLike = VoidService,
    config: Config | None = None,
    remote_service: ServiceLike = VoidService,
    remote_config: Config | None = None,
    args: dict[str, Any] | None = None,
    timeout: float | None = START_TIMEOUT,
) -> Connection:
    """Connects to a service that runs in another process, started for it.

    Args:
        args: what the namespace of a classic service holds from the beginning.
        timeout: seconds in which the process must answer for the first time, which is waited for.
            With None nothing is waited for: an error comes with the first call.

    Returns:
        The connection; its ``proc`` is the :class:`multiprocessing.Process`.

    Raises:
        TimeoutError: the process has not answered in time, and has been killed.
        ConnectionClosed: it has ended instead.
    """
    from multiprocessing import Process

    listener = socket.create_server(("127.0.0.1", 0))
    with contextlib.closing(listener):
        proc = Process(
            target=_server,
            args=(listener, remote_service, remote_config or {}, args),
            daemon=True,
        )
        proc.start()
        try:
            conn = connect("127.0.0.1", listener.getsockname()[1], service, config)
        except BaseException:
            _end_process(proc)
            raise
    conn.proc = proc
    if timeout is not None:
        try:
            with start_limit(timeout, "starting a process", proc.kill) as limit:
                conn.fetch_root(limit)
        except EOFError as error:
            _end_process(proc, _PATIENCE)
            raise ConnectionClosed(
                f"the process did not answer: {error} (exit status {proc.exitcode})"
            ) from error
        except BaseException:
            conn.close()
            _end_process(proc)
            raise
    return conn


def _end_process(proc: Any, patience: float = 0) -> None:
    """Wait for a process, kill it if it goes on, and reap it."""
    proc.join(patience)
    proc.kill()
    proc.join(_PATIENCE)
