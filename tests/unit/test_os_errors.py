"""Errors of connecting and listening name the address, the path or the file."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import EPCServer
from rpyc_like.utils.registry import TCPRegistryServer


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody has bound and nobody listens on."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


async def _aio_connect(host: str, port: int) -> None:
    await aio.connect(host, port)


@pytest.mark.parametrize(
    "connect",
    [
        rpyc.connect,
        rpyc.ssl_connect,
        rpyc.classic.connect,
        lambda *address: asyncio.run(_aio_connect(*address)),
        lambda *address: EPCClient(address),
    ],
)
def test_a_refused_connection_names_the_address(connect: Callable[..., Any], taken: int) -> None:
    """The error has its class and number, and says host and port."""
    with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1 port {taken}$") as caught:
        connect("127.0.0.1", taken)
    assert caught.value.errno is not None


def test_an_unknown_host_is_named() -> None:
    """A name that cannot be looked up is in the error."""
    with pytest.raises(socket.gaierror, match=r"nowhere\.invalid port 1$") as caught:
        rpyc.connect("nowhere.invalid", 1)
    assert caught.value.errno is not None


def test_unix_sockets_are_named(tmp_path: Path) -> None:
    """The path is in the errors of connecting and listening."""
    with pytest.raises(FileNotFoundError, match=r"no\.sock"):
        rpyc.utils.factory.unix_connect(str(tmp_path / "no.sock"))
    with pytest.raises(OSError, match=r"no/no\.sock"):
        rpyc.ThreadedServer(rpyc.VoidService, socket_path=str(tmp_path / "no" / "no.sock"))


@pytest.mark.parametrize(
    "listen",
    [
        lambda port: rpyc.ThreadedServer(rpyc.VoidService, port=port),
        lambda port: EPCServer(("127.0.0.1", port)),
        lambda port: TCPRegistryServer(host="127.0.0.1", port=port),
    ],
)
def test_an_address_in_use_is_named(listen: Callable[[int], Any]) -> None:
    """The error of a server whose port is taken says host and port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1 port {port}$") as caught:
            listen(port)
    assert caught.value.errno is not None
