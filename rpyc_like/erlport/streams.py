"""Streams over the descriptors that Erlang opens for a program."""

from __future__ import annotations

import os

from ..link.streams import PipeStream

__all__ = ["stream_over"]


def stream_over(incoming: int, outgoing: int) -> PipeStream:
    """Returns a stream over two descriptors, or one that is both."""
    opened = os.fdopen(incoming, "rb", buffering=0)
    if incoming == outgoing:
        return PipeStream(opened, opened)
    return PipeStream(opened, os.fdopen(outgoing, "wb", buffering=0))
