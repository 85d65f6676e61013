"""Erlang reaches Python in other ways: as erlport 0.11 does it, and over sockets."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from rpyc_like import aio
from rpyc_like.aio import erlang as aio_erlang
from rpyc_like.erlport import Protocol
from rpyc_like.erlport.service import ErlangService, PortService
from rpyc_like.erlport.v1 import erlang
from rpyc_like.errors import AuthenticationError
from rpyc_like.utils.authenticators import SSLAuthenticator
from rpyc_like.utils.server import ThreadedServer, ThreadPoolServer
from tests.support.erlang import SOURCES, VMS, compiled, run_erlang
from tests.support.peers import ROOT

PRIV = ROOT / "rpyc_like" / "erlport" / "priv"


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [SOURCES / "stock.erl", SOURCES / "sockets.erl", PRIV / "rpyc_like.erl"]
    return compiled(tmp_path_factory.mktemp("beams"), *sources)


@pytest.mark.parametrize("vm", VMS)
def test_wire_of_erlport(vm: str, beams: Path) -> None:
    """All that erlport's own Erlang side sends is served, under its way of starting Python."""
    done = run_erlang(vm, beams, "stock", sys.executable, SOURCES)
    said = "version call opaque opaque_object exception messages calls cast stdout call_error"
    assert done.stdout.split() == [
        *said.split(),
        *("passes_on", "no_cancelling", "python_objects"),
    ], done.stdout + done.stderr


class Counter:
    def __init__(self) -> None:
        self.number = 0

    def add(self) -> int:
        self.number += 1
        return self.number


class Tools:
    """What the servers offer beside :mod:`math`."""

    _secret = staticmethod(lambda value: value)
    counter = Counter

    @staticmethod
    def back(module: Any, function: Any, args: Any) -> Any:
        return erlang.call(module, function, args)


def service() -> ErlangService:
    return ErlangService({"math": math, "tools": Tools()})


@pytest.fixture(params=[ThreadedServer, ThreadPoolServer])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Any] = []

    def start(kind: Any, served: Any = None, **options: Any) -> Any:
        server = kind(served or service(), auto_register=False, **options)
        servers.append(server)
        server._start_in_thread()
        return server

    yield start
    for server in servers:
        server.close()


def assert_served(beams: Path, *arguments: object) -> None:
    done = run_erlang("25", beams, "sockets", *arguments)
    assert done.stdout == "ok\n", done.stdout + done.stderr


def test_tcp(kind: Any, serve: Any, beams: Path) -> None:
    server = serve(kind, port=0)
    assert_served(beams, "tcp", server.port)


class Echo(Protocol):
    def handle_echo(self, value: Any) -> Any:
        return value


def test_protocol_over_tcp(kind: Any, serve: Any, beams: Path) -> None:
    """A protocol of erlport 0.6's kind, behind a server."""
    server = serve(kind, PortService(Echo), port=0)
    assert_served(beams, "port", server.port)


def test_protocol_in_asyncio(beams: Path) -> None:
    """The same behind the asyncio server."""

    class AioEcho(aio_erlang.Protocol):
        async def handle_echo(self, value: Any) -> Any:
            return value

    async def main() -> None:
        async with aio.Server(aio_erlang.PortService(AioEcho)) as server:
            await asyncio.to_thread(assert_served, beams, "port", server.port)

    asyncio.run(main(), debug=True)


def test_full_control_asks_for_an_authenticator() -> None:
    """Who may call everything must show who it is, unless only this machine can connect."""
    with pytest.raises(AuthenticationError, match="full control"):
        ThreadedServer(ErlangService(all_modules=True), hostname="0.0.0.0", port=0)
    ThreadedServer(ErlangService(all_modules=True), port=0).close()


def test_unix_socket(serve: Any, beams: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    serve(ThreadedServer, socket_path=str(path))
    assert_served(beams, "unix", path)


def test_tls(serve: Any, beams: Path, tmp_path: Path) -> None:
    """With certificates on both sides, verified on both."""
    authority = trustme.CA()
    ours, theirs = authority.issue_cert("localhost"), authority.issue_cert("client@example.org")
    files = {}
    for name, blob in (
        ("ca", authority.cert_pem),
        ("cert", ours.cert_chain_pems[0]),
        ("key", ours.private_key_pem),
        ("client_cert", theirs.cert_chain_pems[0]),
        ("client_key", theirs.private_key_pem),
    ):
        files[name] = tmp_path / f"{name}.pem"
        blob.write_to_path(str(files[name]))
    authenticator = SSLAuthenticator(str(files["key"]), str(files["cert"]), str(files["ca"]))
    server = serve(ThreadedServer, port=0, authenticator=authenticator)
    assert_served(beams, "tls", server.port, files["ca"], files["client_cert"], files["client_key"])
