"""Classic mode: the whole interpreter of the other side, as if it were local."""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from ..core import consts
from ..core.config import COMPAT_RPYC6
from ..core.consts import STREAM_CHUNK as STREAM_CHUNK
from ..core.netref import is_netref, syncreq
from ..core.protocol import Connection
from ..core.service import ClassicClient, ClassicService, ModuleNamespace, Slave
from ..core.teleport import functions
from ..lib.exact import exact, exact_items
from ..link.client_login import Login
from . import factory
from .children import START_TIMEOUT, start_limit
from .file_transfer import (
    Progress,
    download,
    download_dir,
    download_file,
    upload,
    upload_dir,
    upload_file,
)

__all__ = [
    "DEFAULT_SERVER_PORT",
    "DEFAULT_SERVER_SSL_PORT",
    "MockClassicConnection",
    "SlaveService",
    "connect",
    "connect_channel",
    "connect_multiprocess",
    "connect_pipes",
    "connect_stdpipes",
    "connect_stream",
    "connect_subproc",
    "connect_thread",
    "deliver",
    "download",
    "download_dir",
    "download_file",
    "interact",
    "obtain",
    "pm",
    "redirected_stdio",
    "ssh_connect",
    "ssl_connect",
    "teleport_function",
    "unix_connect",
    "upload",
    "upload_dir",
    "upload_file",
    "upload_module",
    "upload_package",
]

DEFAULT_SERVER_PORT = 18812
DEFAULT_SERVER_SSL_PORT = 18821

SlaveService = ClassicService
_Client = ClassicService if COMPAT_RPYC6 else ClassicClient


def _ready(conn: Connection, timeout: float | None = None) -> Connection:
    """Fetch the peer's root, so that a peer that is none is noticed now.

    Args:
        timeout: seconds that it may take, instead of ``sync_request_timeout``.
    """
    try:
        if timeout is None:
            conn.root  # noqa: B018
        else:
            conn.fetch_root(timeout)
    except BaseException:
        conn.close()
        raise
    return conn


def connect_channel(channel: Any) -> Connection:
    """Makes a classic connection over an open channel."""
    return _ready(factory.connect_channel(channel, _Client))


def connect_stream(stream: Any, timeout: float | None = None) -> Connection:
    """Make a classic connection over an open stream.

    Args:
        timeout: seconds that the first answer may take, instead of ``sync_request_timeout``.
    """
    return _ready(factory.connect_stream(stream, _Client), timeout)


def connect_stdpipes() -> Connection:
    """Makes a classic connection over this process's standard input and output."""
    return _ready(factory.connect_stdpipes(_Client))


def connect_pipes(input: Any, output: Any) -> Connection:
    """Makes a classic connection over two open binary files."""
    return _ready(factory.connect_pipes(input, output, _Client))


def connect(
    host: str,
    port: int = DEFAULT_SERVER_PORT,
    ipv6: bool = False,
    keepalive: bool | int = False,
    timeout: float | None = 3,
    nodelay: bool = True,
    login: Login | None = None,
) -> Connection:
    """Connects to a classic server over TCP; see :func:`factory.connect`."""
    return _ready(factory.connect(host, port, _Client, None, ipv6, keepalive, timeout, login=login))


def unix_connect(
    path: str, timeout: float | None = 3, nodelay: bool = True, login: Login | None = None
) -> Connection:
    """Connects to a classic server over a unix socket; see :func:`factory.unix_connect`."""
    return _ready(factory.unix_connect(path, _Client, None, timeout, login=login))


def ssh_connect(
    remote_machine: Any, remote_port: int, timeout: float | None = None, nodelay: bool = True
) -> Connection:
    """Connects to a classic server on another machine's loopback interface, through ssh.

    Args:
        remote_machine: a plumbum ``SshMachine`` or ``ParamikoMachine``.
        timeout: seconds in which the server must answer for the first time.

    Raises:
        TimeoutError: it has not.
    """
    conn = factory.ssh_connect(remote_machine, remote_port, _Client)
    step = f"connecting to port {remote_port} of {remote_machine} through ssh"
    with start_limit(timeout, step, conn._channel.close) as limit:
        return _ready(conn, limit)


def ssl_connect(
    host: str,
    port: int = DEFAULT_SERVER_SSL_PORT,
    keyfile: str | None = None,
    certfile: str | None = None,
    ca_certs: str | None = None,
    cert_reqs: int | None = None,
    ssl_version: int | None = None,
    ciphers: str | None = None,
    ipv6: bool = False,
    timeout: float | None = 3,
    nodelay: bool = True,
    login: Login | None = None,
) -> Connection:
    """Connects to a classic server over TCP with TLS; see :func:`factory.ssl_connect`."""
    return _ready(
        factory.ssl_connect(
            host,
            port,
            keyfile=keyfile,
            certfile=certfile,
            ca_certs=ca_certs,
            cert_reqs=cert_reqs,
            ssl_version=ssl_version,
            ciphers=ciphers,
            service=_Client,
            ipv6=ipv6,
            timeout=timeout,
            login=login,
        )
    )


def connect_subproc(
    server_file: str | None = None, timeout: float | None = START_TIMEOUT
) -> Connection:
    """Starts a classic server as a child process and connects to its standard input and output.

    Args:
        server_file: a Python script with the options of ``rpyc_classic.py``; this package's own
            server without it.
        timeout: seconds in which it must answer for the first time.

    Raises:
        TimeoutError, ConnectionClosed: see :func:`factory.connect_subproc`.
    """
    start = ["-m", "rpyc_like.cli.rpyc_classic"] if server_file is None else [server_file]
    args = [sys.executable, "-u", *start, "-q", "-m", "stdio"]
    return _ready(factory.connect_subproc(args, _Client, timeout=timeout))


def connect_thread() -> Connection:
    """Connects to a classic server that runs in a thread of this process."""
    return _ready(factory.connect_thread(_Client, remote_service=ClassicService))


def connect_multiprocess(
    args: dict[str, Any] | None = None, timeout: float | None = START_TIMEOUT
) -> Connection:
    """Connects to a classic server that runs in another process, started for it.

    Args:
        args: what its namespace holds from the beginning.
        timeout: seconds in which it must answer for the first time.

    Raises:
        TimeoutError, ConnectionClosed: see :func:`factory.connect_multiprocess`.
    """
    return _ready(
        factory.connect_multiprocess(
            _Client, remote_service=ClassicService, args=args or {}, timeout=timeout
        )
    )


# -- by value


def obtain(proxy: Any) -> Any:
    """Returns a local copy of a remote object, made by pickling it there.

    The bytes are the peer's and unpickling runs them: for peers that are trusted. Classic
    connections allow it; others need the configuration key ``allow_obtain`` or ``allow_pickle``.

    Raises:
        ValueError: this side's configuration does not allow it, or the peer's does not.
    """
    if not is_netref(proxy):
        return pickle.loads(pickle.dumps(proxy))
    conn = object.__getattribute__(proxy, "____conn__")
    _check_obtain(conn)
    if conn._codec.features & consts.FEATURE_SNAPSHOTS:
        answer = exact(syncreq(proxy, consts.HANDLE_PICKLE_PARTS), tuple, "a pickle")
        if len(answer) != 2:
            raise ValueError(f"expected a pickle and its buffers, got {len(answer)} items")
        data = exact(answer[0], bytes, "a pickle")
        buffers = exact_items(answer[1], bytes, "a buffer of a pickle")
        return pickle.loads(data, buffers=[bytearray(buffer) for buffer in buffers])
    data = syncreq(proxy, consts.HANDLE_PICKLE, pickle.HIGHEST_PROTOCOL)
    return pickle.loads(exact(data, bytes, "a pickle"))


def _check_obtain(conn: Connection) -> None:
    config = conn._config
    allowed = config["allow_pickle"] if config["allow_obtain"] is None else config["allow_obtain"]
    if not allowed and not COMPAT_RPYC6:
        raise ValueError(
            "copying by pickle is not allowed on this side of the connection "
            "(configuration key 'allow_obtain' or 'allow_pickle')"
        )


def deliver(conn: Connection, localobj: Any) -> Any:
    """Returns a proxy of a remote copy of a local object, made by pickling it here."""
    _check_obtain(conn)
    buffers: list[pickle.PickleBuffer] = []
    ours = conn._codec.features & consts.FEATURE_CHAINS
    data = (
        pickle.dumps(localobj, 5, buffer_callback=buffers.append)
        if ours
        else pickle.dumps(localobj)
    )
    with conn.pipeline() as there:
        # They are copied there into memory that can be written to.
        copies = [there.modules.builtins.bytearray(one.raw().tobytes()) for one in buffers]
        named = {"buffers": tuple(copies)} if copies else {}
        loaded = there.modules.pickle.loads(data, **named)
        del copies, named
    return there.fetch(loaded)


def teleport_function(
    conn: Connection, func: FunctionType, globals: Any = None, def_: bool = True
) -> Any:
    """Returns a proxy of a copy of ``func`` that lives and runs on the other side.

    Args:
        globals: the copy's global names; the connection's namespace without it.
        def_: whether to define its name there.
    """
    return functions.teleport(conn, func, globals, def_)


# -- files


def upload_package(
    conn: Connection,
    module: ModuleType,
    remotepath: str | None = None,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a local package or module to where the other side can import it.

    Args:
        remotepath: where to; a folder of its name in the other side's site-packages without it.
    """
    source = os.path.abspath(inspect.getsourcefile(module) or "")
    is_package = hasattr(module, "__path__")
    if remotepath is None:
        folder = exact(conn.modules.sysconfig.get_path("purelib"), str, "a path")
        parts = module.__name__.split(".")
        if not is_package:
            parts[-1] += ".py"
        remotepath = exact(conn.modules.os.path.join(folder, *parts), str, "a path")
        conn.modules.os.makedirs(conn.modules.os.path.dirname(remotepath), exist_ok=True)
    localpath = os.path.dirname(source) if is_package else source
    upload(conn, localpath, remotepath, _is_source, False, chunk_size, progress)
    conn.modules.importlib.invalidate_caches()


upload_module = upload_package


def _is_source(name: str) -> bool:
    return name != "__pycache__"


# -- at the keyboard


@contextlib.contextmanager
def redirected_stdio(conn: Connection) -> Iterator[None]:
    """Has the other side read from this side's standard input and write to its output and error."""
    remote = conn.modules.sys
    names = ("stdin", "stdout", "stderr")
    before = [getattr(remote, name) for name in names]
    try:
        for name in names:
            setattr(remote, name, getattr(sys, name))
        yield
    finally:
        for name, stream in zip(names, before):
            setattr(remote, name, stream)


def pm(conn: Connection) -> None:
    """Starts the debugger on the other side, on the last exception that was sent from there."""
    with redirected_stdio(conn):
        conn.modules.pdb.post_mortem(conn.root.getconn()._last_traceback)


_INTERACT = """\
def _rpyc_interact(namespace):
    import code

    code.interact(local=dict(namespace))
"""


def interact(conn: Connection, namespace: dict[str, Any] | None = None) -> None:
    """Starts an interactive interpreter on the other side.

    Args:
        namespace: names it begins with; the connection's namespace without it.
    """
    conn.execute(_INTERACT)
    start = conn.namespace["_rpyc_interact"]
    with redirected_stdio(conn):
        start(conn.namespace if namespace is None else namespace)


class MockClassicConnection:
    """Looks like a classic connection and does everything in this process."""

    def __init__(self) -> None:
        self.root = Slave()
        self.modules = ModuleNamespace(self.root.getmodule)
        self.eval = self.root.eval
        self.execute = self.root.execute
        self.namespace = self.root.namespace
        self.builtin = self.builtins = self.modules.builtins

    def teleport(self, func: Any, globals: Any = None, def_: bool = True) -> Any:
        """Returns the function itself."""
        return func
