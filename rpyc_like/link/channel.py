"""A stream with a framer: sends and receives whole payloads.

Programs may subclass :class:`Channel` and override ``send``, ``recv`` and ``poll``; the driver
then goes through those. Otherwise it uses the channel's receiver and sender directly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..lib.timing import Timeout
from ..wire.framing import Framer, RpycFramer
from .receiving import ChannelReceiver, FrameReceiver, Receiver, StreamReceiver
from .sending import BlockingSender, FrameSender, Sender
from .streams.base import NativeStream, Stream, has_own_io

if TYPE_CHECKING:
    from .admission import Client

__all__ = ["Channel", "client_of", "endpoints"]


class Channel:
    """Payloads over a stream, which belongs to the channel from then on.

    Args:
        stream: any stream.
        compress: whether payloads above 3,000 bytes are deflated when sending (RPyC's framer).
        framer: what delimits payloads; RPyC's frames without it.
    """

    COMPRESSION_THRESHOLD = RpycFramer.COMPRESSION_THRESHOLD
    COMPRESSION_LEVEL = RpycFramer.COMPRESSION_LEVEL
    FRAME_HEADER = RpycFramer.FRAME_HEADER
    FLUSHER = RpycFramer.FLUSHER

    __slots__ = (
        "__weakref__",
        "_compress",
        "admitted",
        "framer",
        "receiver",
        "reopen",
        "sender",
        "stream",
    )

    def __init__(self, stream: Stream, compress: bool = True, framer: Framer | None = None) -> None:
        self.stream = stream
        self._compress = compress
        self.admitted: Client | None = None
        """The client of a server that this channel leads to, and that the server counts."""
        self.reopen: Callable[[], Channel] | None = None
        """Opens another channel to the same place, where that is possible."""
        self.framer: Framer = RpycFramer(compress) if framer is None else framer
        self.receiver: Receiver
        self.sender: Sender
        if has_own_io(stream):
            self.receiver = StreamReceiver(stream, self.framer)
            self.sender = BlockingSender.over_stream(stream, self.framer)
        else:
            assert isinstance(stream, NativeStream)
            self.receiver = FrameReceiver(stream, self.framer)
            self.sender = FrameSender(stream, self.framer)

    @property
    def compress(self) -> bool:
        """Whether long payloads are deflated when sending."""
        return self._compress

    @compress.setter
    def compress(self, compress: bool) -> None:
        self._compress = compress
        if isinstance(self.framer, RpycFramer):
            self.framer.compress = compress

    def close(self) -> None:
        """Closes the stream."""
        self.stream.close()

    @property
    def closed(self) -> bool:
        """Whether the stream has been closed on this side."""
        return self.stream.closed

    def fileno(self) -> int:
        """Returns a descriptor to wait on for incoming bytes."""
        return self.stream.fileno()

    def poll(self, timeout: float | Timeout | None) -> bool:
        """Waits up to ``timeout`` seconds (None: for ever) until something can be received."""
        return bool(self.receiver.payloads) or self.stream.poll(timeout)

    def recv(self) -> bytes:
        """Returns the next payload.

        Raises:
            EOFError: the stream ended or broke.
            ProtocolError: what came is not a frame.
        """
        payload: bytes = self.receiver.receive(None)
        assert payload is not None
        return payload

    def send(self, data: bytes) -> None:
        """Sends one payload.

        Raises:
            EOFError: the stream broke.
        """
        self.sender.send(data)


def client_of(channel: Any) -> Client | None:
    """Return the client of a server that a channel leads to, where a server has made it."""
    client: Client | None = getattr(channel, "admitted", None)
    return client


def endpoints(channel: Any) -> tuple[Receiver, Sender]:
    """Returns what a driver uses to receive and send over ``channel``."""
    kind = type(channel)
    plain = isinstance(channel, Channel) and all(
        getattr(kind, name) is getattr(Channel, name) for name in ("poll", "recv", "send")
    )
    if plain:
        return channel.receiver, channel.sender
    return ChannelReceiver(channel), BlockingSender.over_channel(channel)
