"""Connections to classic servers, for asyncio programs.

::

    async with aio.classic.connect("localhost") as conn:
        print(await conn.modules.os.getcwd())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.service import ClassicClient
from ..utils.children import START_TIMEOUT
from . import client
from .client import PendingConnection

__all__ = ["connect", "connect_subproc", "ssh_connect", "ssl_connect", "unix_connect"]

PORT, TLS_PORT = 18812, 18821


def connect(host: str, port: int = PORT, **options: Any) -> PendingConnection:
    """Connects over TCP; ``options`` are those of :func:`rpyc_like.aio.connect`."""
    return client.connect(host, port, ClassicClient, **options)


def unix_connect(path: str, **options: Any) -> PendingConnection:
    """Connects to a unix socket."""
    return client.unix_connect(path, ClassicClient, **options)


def ssl_connect(host: str, port: int = TLS_PORT, **options: Any) -> PendingConnection:
    """Connects over TCP with TLS."""
    return client.ssl_connect(host, port, ClassicClient, **options)


def ssh_connect(
    remote_machine: Any, remote_port: int = PORT, timeout: float | None = START_TIMEOUT
) -> PendingConnection:
    """Connects through ssh to a classic server on another machine.

    Args:
        timeout: seconds in which the server must answer for the first time.
    """
    return client.ssh_connect(remote_machine, remote_port, ClassicClient, timeout=timeout)


def connect_subproc(
    args: Sequence[str], timeout: float | None = START_TIMEOUT
) -> PendingConnection:
    """Starts a classic server and connects to its standard input and output.

    Args:
        timeout: seconds in which the server must answer for the first time.
    """
    return client.connect_subproc(args, ClassicClient, timeout=timeout)
