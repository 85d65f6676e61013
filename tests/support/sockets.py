"""What tests do with bare sockets."""

from __future__ import annotations

import socket

__all__ = ["receive_exactly"]


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """Receives so many bytes.

    Raises:
        EOFError: the other side has hung up before.
    """
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data
