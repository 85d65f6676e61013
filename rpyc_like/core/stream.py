"""Streams under their old address."""

from __future__ import annotations

from ..link.streams import PipeStream, SocketStream, Stream, TlsStream
from .consts import STREAM_CHUNK

__all__ = ["STREAM_CHUNK", "PipeStream", "SocketStream", "Stream", "TlsStream"]
