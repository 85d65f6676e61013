"""Streams over the descriptors that Erlang opens for a program."""

from __future__ import annotations

import os

from ..link.streams import PipeStream

__all__ = ["stream_of_port", "stream_over"]


def stream_of_port(use_stdio: bool, descriptors: tuple[int, int] | None) -> PipeStream:
    """Returns a stream over what ``open_port`` has given this program.

    Args:
        use_stdio: whether to use standard input and output, which are moved to other descriptors.
        descriptors: numbers to read from and write to; without them and without ``use_stdio`` these
            are 3 and 4.
    """
    if descriptors is not None:
        return stream_over(*descriptors)
    return PipeStream.from_std() if use_stdio else stream_over(3, 4)


def stream_over(incoming: int, outgoing: int) -> PipeStream:
    """Returns a stream over two descriptors, or one that is both."""
    opened = os.fdopen(incoming, "rb", buffering=0)
    if incoming == outgoing:
        return PipeStream(opened, opened)
    return PipeStream(opened, os.fdopen(outgoing, "wb", buffering=0))
