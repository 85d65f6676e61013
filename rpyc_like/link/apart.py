"""Messages that take long to decode, for threads and loops that read for several connections.

A poller, the watchdog and an event loop read for many peers. A message that may have more than a
few ten thousand items is decoded in a thread of its own; what its peer has sent after it is read
when that has been done.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["APART", "LARGE", "takes_long"]

APART: Final = "apart"
"""Read a payload that takes long to decode, ``(APART, payload)``."""

LARGE: Final = 1 << 16
"""Bytes of small values that are decoded at once."""

_START: Final = 1 << 10  # bytes in which a large value is looked for
_QUICK: Final = 16  # bytes of a large value that take as long as one of small ones


def takes_long(payload: Any, receiver: Any) -> bool:
    """Return whether a payload is to be decoded apart; a message that has been decoded is not.

    Args:
        receiver: what it came from, a :class:`~rpyc_like.link.receiving.FrameReceiver`.
    """
    if type(payload) is tuple:
        return False
    size = len(payload)
    if size < LARGE:
        return False
    start = payload[:_START]
    place = receiver.spot(start)
    if place is not None:
        length = min(int.from_bytes(start[place - 4 : place], "big"), size)
        size -= length - length // _QUICK
    return size >= LARGE
