"""A server of any family: ``python -m tests.attacks.doors FAMILY OPTIONS``; prints its port.

What it reads from standard input it evaluates, one expression a line, and prints the value.
"""

from __future__ import annotations

import sys

FAMILY = sys.argv[1]
if FAMILY == "gevent":
    from gevent import monkey

    monkey.patch_all()

import ast  # noqa: E402
import asyncio  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import rpyc_like as rpyc  # noqa: E402
from rpyc_like import aio  # noqa: E402
from rpyc_like.aio import epc as aio_epc  # noqa: E402
from rpyc_like.aio import erlang as aio_erlang  # noqa: E402
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer  # noqa: E402
from rpyc_like.epc.service import EPCService  # noqa: E402
from rpyc_like.erlport.erlproto import Protocol  # noqa: E402
from rpyc_like.erlport.service import PortService  # noqa: E402
from rpyc_like.utils import server as servers  # noqa: E402
from rpyc_like.utils.authenticators import SSLAuthenticator, TokenAuthenticator  # noqa: E402
from rpyc_like.utils.registry_server import TCPRegistryServer  # noqa: E402


class Adder(rpyc.Service):
    """Adds."""

    connected = 0

    def on_connect(self, conn: Any) -> None:
        Adder.connected += 1

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


class Forks:
    """Processes that this one has started."""

    count = 0

    @classmethod
    def add(cls) -> None:
        """Count one."""
        cls.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=Forks.add)


class Adding(Protocol):
    """Adds, for Erlang."""

    def handle_add(self, a: int, b: int) -> int:
        return a + b


class AioAdding(aio_erlang.Protocol):
    """Adds, for Erlang, on a loop."""

    async def handle_add(self, a: int, b: int) -> int:
        return a + b


def add(a: int, b: int) -> int:
    """Adds, for Emacs."""
    return a + b


def epc_service(kind: Any) -> Any:
    """Returns a service that adds."""
    service = kind()
    service.register_function(add)
    return service


BLOCKING = {
    "threaded": "ThreadedServer",
    "pool": "ThreadPoolServer",
    "forking": "ForkingServer",
    "oneshot": "OneShotServer",
    "gevent": "GeventServer",
}
SERVICES: dict[str, Any] = {
    "erlang": lambda: PortService(Adding),
    "epc-service": lambda: epc_service(EPCService),
    "aio": lambda: Adder,
    "aio-epc": lambda: epc_service(aio_epc.EPCService),
    "aio-erlang": lambda: aio_erlang.PortService(AioAdding),
}


class Lines(logging.Handler):
    """Keeps warnings."""

    kept: list[str]

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


def block(sock: Any) -> Any:
    """Lets clients in after a long time."""
    time.sleep(60)
    return sock, None


def crawl(sock: Any) -> Any:
    """Lets clients in that send a newline."""
    while sock.recv(1) not in (b"\n", b""):
        pass
    return sock, None


def options() -> dict[str, Any]:
    """Returns the arguments of the server."""
    given: dict[str, Any] = ast.literal_eval(sys.argv[2])
    descriptors = given.pop("descriptors", None)
    if descriptors is not None:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    login = given.pop("login", None)
    if login == "token":
        given["authenticator"] = TokenAuthenticator(b"k" * 32)
    elif login == "tls":
        given["authenticator"] = SSLAuthenticator(*given.pop("files"))
    elif login is not None:
        given["authenticator"] = {"block": block, "crawl": crawl}[login]
    return given


def main() -> None:
    """Serves until it is killed."""
    lines, given = Lines(), options()
    logging.getLogger().addHandler(lines)
    server: Any
    names: dict[str, Any] = {"lines": lines.kept, "os": os, "threading": threading}
    names |= {"Adder": Adder, "Forks": Forks}
    if FAMILY in BLOCKING:
        server = getattr(servers, BLOCKING[FAMILY])(Adder, port=0, **given)
        port, serve = server.port, server.start
    elif FAMILY in ("erlang", "epc-service"):
        server = rpyc.ThreadedServer(SERVICES[FAMILY](), port=0, **given)
        port, serve = server.port, server.start
    elif FAMILY.startswith("aio"):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        front = aio.Server(SERVICES[FAMILY](), port=0, **given)
        server, port = front, front.port
        serve = lambda: loop.run_until_complete(front.serve_forever())  # noqa: E731
    elif FAMILY in ("epc", "epc-threads"):
        kind = EPCServer if FAMILY == "epc" else ThreadingEPCServer
        server = kind(("127.0.0.1", 0), **given)
        server.register_function(add)
        port, serve = server.server_address[1], server.serve_forever
    else:
        assert FAMILY == "registry"
        server = TCPRegistryServer("127.0.0.1", 0, **given)
        port, serve = server.port, server.start
    names["server"] = server
    print(port, flush=True)
    if FAMILY != "gevent":
        threading.Thread(target=answer, args=(names,), daemon=True).start()
    serve()


def answer(names: dict[str, Any]) -> None:
    """Answers what is asked on standard input."""
    for line in sys.stdin:
        print(repr(eval(line, names)), flush=True)


if __name__ == "__main__":
    main()
