"""Byte streams: sockets, pipes, TLS over either, and memory."""

from __future__ import annotations

from .base import NativeStream, Stream, has_own_io
from .memory import MemoryStream
from .pipe import PipeStream
from .socket import SocketStream, TunneledSocketStream
from .tls import TlsStream

__all__ = [
    "MemoryStream",
    "NativeStream",
    "PipeStream",
    "SocketStream",
    "Stream",
    "TlsStream",
    "TunneledSocketStream",
    "has_own_io",
]
