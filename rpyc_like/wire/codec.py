"""The seam between a session and the protocol it speaks.

A codec turns a payload into a message and back. It raises :class:`~rpyc_like.errors.ProtocolError`
and nothing else on what the peer sent, and it never waits.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import MalformedValue
from .messages import Message

__all__ = ["Codec", "MalformedAnswer"]


class MalformedAnswer(MalformedValue):
    """An answer is broken in itself: whoever waits for it gets this, and the conversation ends.

    Args:
        id_: of the request that was answered.
    """

    def __init__(self, id_: Any, reason: str) -> None:
        super().__init__(reason)
        self.id_ = id_


class Codec(Protocol):
    """Payload bytes to message tuples and back."""

    def decode(self, payload: bytes) -> Message:
        """Returns the message in ``payload``.

        Called in wire order by one thread at a time. What must happen in wire order (counting
        received references, pinning local ones) happens here.

        Raises:
            ProtocolError: the payload is not a message.
        """

    def encode_request(self, id_: Any, target: Any, args: Any) -> bytes:
        """Returns the payload of a request."""

    def encode_reply(self, id_: Any, value: Any) -> bytes:
        """Returns the payload of a successful answer."""

    def encode_failure(self, id_: Any, error: Any) -> bytes:
        """Returns the payload of a failed answer."""
