"""Streams under their old address, with the names that programs of RPyC's import from here."""

from __future__ import annotations

import errno
from typing import Any, Final, NoReturn

from ..errors import ConnectionClosed
from ..lib.compat import BYTES_LITERAL, get_exc_errno, maxint, poll
from ..lib.connect_retry import socket_backoff_connect
from ..lib.optional_imports import safe_import
from ..lib.timing import Timeout
from ..link.streams import PipeStream, SocketStream, Stream, TlsStream, TunneledSocketStream
from ..link.streams.windows import NamedPipeStream, Win32PipeStream
from .consts import STREAM_CHUNK

__all__ = [
    "BYTES_LITERAL",
    "STREAM_CHUNK",
    "ClosedFile",
    "NamedPipeStream",
    "PipeStream",
    "SocketStream",
    "Stream",
    "Timeout",
    "TlsStream",
    "TunneledSocketStream",
    "Win32PipeStream",
    "get_exc_errno",
    "maxint",
    "poll",
    "retry_errnos",
    "safe_import",
    "socket_backoff_connect",
    "win32event",
    "win32file",
    "win32pipe",
]

win32file = safe_import("win32file")
win32pipe = safe_import("win32pipe")
win32event = safe_import("win32event")
retry_errnos = (errno.EAGAIN, errno.EWOULDBLOCK)


class _ClosedFile:
    """Stands for a file that has been closed: whatever is asked of it is an EOFError."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python and its tools look for these on any object
            raise AttributeError(name)
        raise ConnectionClosed("stream has been closed")

    def close(self) -> None:
        """Has nothing to do."""

    @property
    def closed(self) -> bool:
        """True."""
        return True

    def fileno(self) -> NoReturn:
        """Raises EOFError."""
        raise ConnectionClosed("stream has been closed")


ClosedFile: Final[Any] = _ClosedFile()
