"""Streams that go through another program: a tunnel of ssh, or a relay on another machine."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ..errors import ConnectionClosed
from ..lib.settings import PORT, checked
from ..lib.timing import Timeout
from ..link.streams import Stream, TunneledSocketStream
from .children import Output

__all__ = ["StderrTail", "ParamikoStream", "Tunnel", "open_tunnel", "through_ssh"]

logger = logging.getLogger("rpyc_like.tunnels")

_PATIENCE: Final = 2.0


class StderrTail:
    """Read what a process writes to standard error, log it, and keep the end.

    Args:
        file: the process's standard error; it is closed.
    """

    def __init__(self, file: Any) -> None:
        self._output = Output(file, lambda line: logger.debug("! %s", line))

    def get(self) -> str:
        """Return the end of what was written; wait a moment for the process to finish."""
        return self._output.text()


class Tunnel:
    """A process that carries the bytes of one connection.

    Args:
        proc: the process, with its standard error as a pipe.
    """

    def __init__(self, proc: Any) -> None:
        self.proc = proc
        self._words = StderrTail(proc.stderr)

    def failure(self) -> str:
        """Returns what the process said before it ended, or an empty text."""
        return self._words.get()

    def close(self) -> None:
        """Ends the process. It has nothing left to do: its input has ended."""
        try:
            self.proc.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()


def open_tunnel(start: Callable[..., Any], **options: Any) -> TunneledSocketStream:
    """Returns a stream over a process's standard input and output.

    Args:
        start: starts the process; called with ``stdin``, ``stdout``, ``stderr`` and ``options``.
    """
    here, there = socket.socketpair()
    with contextlib.closing(there):
        try:
            proc = start(stdin=there, stdout=there, stderr=subprocess.PIPE, **options)
        except BaseException:
            here.close()
            raise
    stream = TunneledSocketStream(here)
    stream.tun = Tunnel(proc)
    return stream


class ParamikoStream(Stream):
    """A stream over a channel of paramiko's.

    Args:
        channel: an open channel, which belongs to the stream from then on.
    """

    def __init__(self, channel: Any) -> None:
        self.sock = channel

    def close(self) -> None:
        self.sock.close()

    @property
    def closed(self) -> bool:
        return bool(self.sock.closed)

    def hung_up(self) -> bool:
        return bool(self.sock.closed or self.sock.eof_received)

    def fileno(self) -> int:
        if self.sock.closed:
            raise ConnectionClosed("stream is closed")
        return int(self.sock.fileno())

    def poll(self, timeout: float | Timeout | None) -> bool:
        return bool(self.sock.recv_ready()) or super().poll(timeout)

    def read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            try:
                data = self.sock.recv(min(count, 1 << 16))
            except OSError as error:
                raise ConnectionClosed(f"cannot read: {error}") from error
            if not data:
                raise ConnectionClosed("connection closed by peer")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise ConnectionClosed(f"cannot write: {error}") from error


def through_ssh(machine: Any, port: int) -> Stream:
    """Returns a stream to a port of a machine's loopback interface, over a connection of ssh's.

    Args:
        machine: a plumbum ``SshMachine`` or ``ParamikoMachine``.
    """
    checked("argument 'remote_port'", PORT, port)
    if hasattr(machine, "connect_sock"):
        return ParamikoStream(machine.connect_sock(port))
    options: Sequence[str] = ("-W", f"localhost:{port}")
    return open_tunnel(partial(machine.popen, (), ssh_opts=options), new_session=True)
