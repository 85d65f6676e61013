"""A signal handler runs in the middle of whatever the main thread does, perhaps of reading.

A thread that was interrupted while it reads from a connection cannot wait for an answer over the
same connection: it would wait for itself. This is found out instead.
"""

from __future__ import annotations

import sys
from threading import get_ident, main_thread
from types import CodeType
from typing import TYPE_CHECKING

from ..errors import LocalProtocolError
from .receiving import FrameReceiver

if TYPE_CHECKING:
    from .connection import MessageConnection

__all__ = ["check_not_reading"]

_READING = {FrameReceiver.receive.__code__, FrameReceiver._receive.__code__}


def check_not_reading(link: MessageConnection, serving: CodeType) -> None:
    """Sees to it that the current thread has not been interrupted while it reads from ``link``.

    Args:
        serving: the code in which the thread serves requests. It does not read then.

    Raises:
        LocalProtocolError: it has: this is a signal handler.
    """
    if get_ident() != main_thread().ident:
        return  # signal handlers run in the main thread only
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code is serving:
            return
        if code in _READING and frame.f_locals.get("self") is link.receiver:
            raise LocalProtocolError(
                "a signal handler asks over the connection that the main thread waits on, and the "
                "answer cannot be read before the handler has returned; expected another "
                "connection, async_(...) without waiting, or another thread"
            )
        frame = frame.f_back  # type: ignore[assignment]
