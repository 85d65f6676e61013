"""Terms over a pair of descriptors, in the shape of erlport 1.x's ``Port``."""

from __future__ import annotations

from typing import Any

from ...lib import primitives
from ...link.channel import Channel
from ...link.streams import PipeStream
from ...wire.framing import MAX_FRAME_SIZE, ErlangFramer
from ..port_streams import stream_over
from . import erlterms

__all__ = ["Port"]


class Port:
    """Reads and writes terms. One for programs of their own: served ones need none.

    Args:
        packet: size of the length before each term, in bytes: 1, 2 or 4.
        use_stdio: whether to use standard input and output, which are moved to other descriptors;
            3 and 4 otherwise.
        compressed: whether terms are compressed when written; a level of zlib's.
        descriptors: numbers to read from and write to.
        buffer_size: is accepted and not used.
        max_frame_size: longest term to accept, in bytes.
    """

    def __init__(
        self,
        packet: int = 4,
        use_stdio: bool = True,
        compressed: Any = False,
        descriptors: tuple[int, int] | None = None,
        buffer_size: int = 65536,
        *,
        max_frame_size: int = MAX_FRAME_SIZE,
    ) -> None:
        if buffer_size < 1:
            raise ValueError(f"invalid buffer size value: {buffer_size}")
        framer = ErlangFramer(packet, max_frame_size)
        if descriptors is None and use_stdio:
            stream = PipeStream.from_std()
        else:
            stream = stream_over(*(descriptors or (3, 4)))
        self.packet = packet
        self.compressed = compressed
        self._channel = Channel(stream, framer=framer)
        self._reading = primitives.Lock()  # guards the order of terms that are read

    def read(self) -> Any:
        """Returns the next term.

        Raises:
            EOFError: the other side has closed.
            ValueError: what came is no term.
        """
        with self._reading:
            payload = self._channel.recv()
        return erlterms.decode(payload)[0]

    def write(self, message: Any) -> int:
        """Writes a term; returns how many bytes went out.

        Raises:
            EOFError: the other side has closed.
            ValueError: it is no term.
        """
        payload = erlterms.encode(message, self.compressed)
        self._channel.send(payload)
        return len(payload) + self.packet

    def close(self) -> None:
        """Closes both descriptors."""
        self._channel.close()
