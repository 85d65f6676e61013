"""Names of RPyC's streams over pipes of Windows.

There is no implementation behind them yet, and they say so when they are made; sockets and the
pipes of :mod:`subprocess` are what connections on Windows go over.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ...lib.timing import Timeout
from .base import Stream

__all__ = ["NamedPipeStream", "Win32PipeStream"]


def _refuse() -> NoReturn:
    raise NotImplementedError(
        "streams over handles of Windows pipes are not implemented: expected a socket stream, "
        "for instance SocketStream.connect('localhost', port)"
    )


class Win32PipeStream(Stream):
    """A stream over two handles of Windows; not implemented."""

    __slots__ = ("incoming", "outgoing")

    PIPE_BUFFER_SIZE = 130000
    MAX_IO_CHUNK = 32000

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        _refuse()

    @classmethod
    def from_std(cls) -> NoReturn:
        """Raises NotImplementedError."""
        _refuse()

    @classmethod
    def create_pair(cls) -> NoReturn:
        """Raises NotImplementedError."""
        _refuse()

    def poll(self, timeout: float | Timeout | None, interval: float = 0.1) -> bool:
        _refuse()


class NamedPipeStream(Win32PipeStream):
    """A stream over a named pipe of Windows; not implemented."""

    __slots__ = ()

    NAMED_PIPE_PREFIX = r"\\.\pipe\rpyc_"
    PIPE_IO_TIMEOUT = 3
    CONNECT_TIMEOUT = 3

    def __init__(self, handle: Any, is_server_side: bool) -> None:
        _refuse()

    @classmethod
    def create_server(cls, pipename: str, connect: bool = True) -> NoReturn:
        """Raises NotImplementedError."""
        _refuse()

    @classmethod
    def create_client(cls, pipename: str) -> NoReturn:
        """Raises NotImplementedError."""
        _refuse()

    def connect_server(self) -> NoReturn:
        """Raises NotImplementedError."""
        _refuse()
