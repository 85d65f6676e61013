"""A symmetric, transparent remote-object system, compatible with RPyC 6 and 5.

::

    import rpyc_like as rpyc

    conn = rpyc.classic.connect("localhost")
    print(conn.modules.os.listdir("."))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lib.lazy_exports import lazily
from .version import __version__, version

if TYPE_CHECKING:
    from . import cli
    from .core.channel import Channel
    from .core.netref import BaseNetref, NetProxy
    from .core.pipelining.pipeline import fetch, lazy
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
    from .errors import AsyncResultTimeout, LimitExceeded
    from .errors import RemoteError as GenericException
    from .lib import setup_logger, spawn
    from .lib.value_classes import by_value as by_value
    from .link.call_registry import Call, current_call
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

__all__ = [
    "Async",
    "AsyncResult",
    "AsyncResultTimeout",
    "BaseNetref",
    "BgServingThread",
    "Call",
    "Channel",
    "ClassicService",
    "Connection",
    "ForkingServer",
    "GenericException",
    "LimitExceeded",
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
    "current_call",
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

_HOMES = {
    "cli": (),
    "core.channel": ("Channel",),
    "core.netref": ("BaseNetref", "NetProxy"),
    "core.pipelining.pipeline": ("fetch", "lazy"),
    "core.protocol": ("Connection",),
    "core.service": (
        *("ClassicService", "MasterService", "Service", "SlaveService", "VoidService"),
        *("exposed", "service"),
    ),
    "core.snapshots": ("snapshot",),
    "core.stream": ("PipeStream", "SocketStream", "TunneledSocketStream"),
    "core.vinegar": ("GenericException",),
    "errors": ("AsyncResultTimeout", "LimitExceeded"),
    "lib": ("setup_logger", "spawn"),
    "lib.value_classes": ("by_value",),
    "link.call_registry": ("Call", "current_call"),
    "link.result": ("AsyncResult",),
    "utils.classic": (),
    "utils.factory": (
        *("connect", "connect_by_service", "connect_channel", "connect_pipes", "connect_stdpipes"),
        *("connect_stream", "connect_subproc", "connect_thread", "discover", "list_services"),
        *("ssh_connect", "ssl_connect"),
    ),
    "utils.helpers": (
        *("Async", "BgServingThread", "async", "async_", "buffiter", "restricted", "timed"),
    ),
    "utils.registry": (),
    "wire": (),
    "utils.server": ("ForkingServer", "OneShotServer", "ThreadPoolServer", "ThreadedServer"),
}
"""Modules that have a name here, and the names that they bring. Each is imported when it is used:
a program that needs a client only does not wait for what servers need."""

__getattr__, __dir__ = lazily(__name__, _HOMES)
