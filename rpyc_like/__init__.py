"""A symmetric, transparent remote-object system, compatible with RPyC 6 and 5.

::

    import rpyc_like as rpyc

    conn = rpyc.classic.connect("localhost")
    print(conn.modules.os.listdir("."))
"""

from __future__ import annotations

from . import cli
from .core.channel import Channel
from .core.netref import BaseNetref, NetProxy
from .core.pipeline import fetch, lazy
from .core.protocol import Connection
from .core.service import (
    ClassicService,
    MasterService,
    Service,
    SlaveService,
    VoidService,
)
from .core.snapshots import snapshot
from .core.stream import PipeStream, SocketStream, TunneledSocketStream
from .errors import AsyncResultTimeout, RemoteError
from .lib import setup_logger, spawn
from .link.result import AsyncResult
from .utils import classic, exposed, factory, helpers, registry, server, service
from .utils.factory import (
    connect,
    connect_by_service,
    connect_channel,
    connect_pipes,
    connect_stdpipes,
    connect_stream,
    connect_subproc,
    connect_thread,
    discover,
    list_services,
    ssh_connect,
    ssl_connect,
)
from .utils.helpers import Async, BgServingThread, async_, buffiter, restricted, timed
from .utils.server import ForkingServer, OneShotServer, ThreadedServer, ThreadPoolServer
from .version import __version__, version

GenericException = RemoteError
globals()["async"] = async_  # a keyword since Python 3.7; older programs reach it by getattr

__all__ = [
    "Async",
    "AsyncResult",
    "AsyncResultTimeout",
    "BaseNetref",
    "BgServingThread",
    "Channel",
    "ClassicService",
    "Connection",
    "ForkingServer",
    "GenericException",
    "MasterService",
    "NetProxy",
    "OneShotServer",
    "PipeStream",
    "Service",
    "SlaveService",
    "SocketStream",
    "ThreadPoolServer",
    "ThreadedServer",
    "TunneledSocketStream",
    "VoidService",
    "__version__",
    "async_",
    "buffiter",
    "classic",
    "cli",
    "connect",
    "connect_by_service",
    "connect_channel",
    "connect_pipes",
    "connect_stdpipes",
    "connect_stream",
    "connect_subproc",
    "connect_thread",
    "discover",
    "exposed",
    "factory",
    "fetch",
    "helpers",
    "lazy",
    "list_services",
    "registry",
    "restricted",
    "server",
    "service",
    "setup_logger",
    "snapshot",
    "spawn",
    "ssh_connect",
    "ssl_connect",
    "timed",
    "version",
]
