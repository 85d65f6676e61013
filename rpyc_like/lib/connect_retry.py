"""Connecting a socket, again if nobody answers in time."""

from __future__ import annotations

import socket
from typing import Any

from . import primitives
from .timing import exp_backoff

__all__ = ["socket_backoff_connect"]


def socket_backoff_connect(
    family: int, socktype: int, proto: int, addr: Any, timeout: float | None, attempts: int
) -> socket.socket:
    """Returns a socket connected to ``addr``, with no timeout set.

    Args:
        timeout: seconds for one attempt.
        attempts: how many are made where nobody answers in time, with a growing pause between.

    Raises:
        OSError: of the last attempt; :class:`TimeoutError` if nobody answered.
    """
    for attempt in range(1, max(1, attempts) + 1):
        sock = socket.socket(family, socktype, proto)
        try:
            sock.settimeout(timeout)
            sock.connect(addr)
            sock.settimeout(None)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, TimeoutError) or attempt >= attempts:
                raise
        primitives.sleep(exp_backoff(attempt))
    raise AssertionError("unreachable")
