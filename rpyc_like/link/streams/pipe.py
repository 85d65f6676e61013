"""Streams over a pair of descriptors: pipes, or standard input and output."""

from __future__ import annotations

import os
import socket
import stat
import sys
from typing import Any, TypeVar

from ...errors import ConnectionClosed
from ...lib.interrupts import ignoring, raised_by_handler
from .base import READ, WRITE, DescriptorStream, WakePipe, noting

__all__ = ["PipeStream", "standard_socket", "take_standard_descriptors"]

_SAFE_WRITE = 4096  # what POSIX promises not to block after the system called a pipe writable

P = TypeVar("P", bound="PipeStream")


def take_standard_descriptors() -> tuple[int, int]:
    """Moves standard input and output to other descriptors, and returns those.

    Afterwards reading descriptor 0 gives nothing, and what the program prints (Python or not) goes
    to standard error; where that is the same connection, as under inetd, both go nowhere.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if _same_connection(2, outgoing):
        os.dup2(null, 2)
    os.dup2(2, 1)
    os.close(null)
    return incoming, outgoing


def standard_socket() -> socket.socket | None:
    """Returns what a super-server started this process with: a socket as its input and output.

    The descriptors are moved away. None if standard input is something else.
    """
    if not (stat.S_ISSOCK(os.fstat(0).st_mode) and _same_connection(0, 1)):
        return None
    incoming, outgoing = take_standard_descriptors()
    os.close(outgoing)
    return socket.socket(fileno=incoming)


def _same_connection(one: int, other: int) -> bool:
    """Returns whether two descriptors are the same socket or pipe."""
    try:
        first, second = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return stat.S_IFMT(first.st_mode) in (stat.S_IFSOCK, stat.S_IFIFO) and (
        first.st_dev,
        first.st_ino,
    ) == (second.st_dev, second.st_ino)


class PipeStream(DescriptorStream):
    """A stream that reads from one file and writes to another.

    Args:
        incoming, outgoing: open binary files, or objects with ``fileno`` and ``close``. They
            belong to the stream from then on.
    """

    __slots__ = (
        "_in",
        "_in_blocks",
        "_out",
        "_out_blocks",
        "_wake",
        "incoming",
        "outgoing",
    )

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        super().__init__()
        outgoing.flush()
        self.incoming = incoming
        self.outgoing = outgoing
        self._in = incoming.fileno()
        self._out = outgoing.fileno()
        self._wake = WakePipe()
        for fd in {self._in, self._out}:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.set_blocking(fd, False)
        self._in_blocks = os.get_blocking(self._in)
        self._out_blocks = os.get_blocking(self._out)

    @classmethod
    def from_std(cls: type[P]) -> P:
        """Returns a stream over this process's standard input and output.

        The descriptors are moved away first; see :func:`take_standard_descriptors`.
        """
        incoming, outgoing = take_standard_descriptors()
        return cls(os.fdopen(incoming, "rb", buffering=0), os.fdopen(outgoing, "wb", buffering=0))

    @classmethod
    def create_pair(cls: type[P]) -> tuple[P, P]:
        """Returns two connected streams."""
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        return (
            cls(os.fdopen(here_in, "rb", buffering=0), os.fdopen(here_out, "wb", buffering=0)),
            cls(os.fdopen(there_in, "rb", buffering=0), os.fdopen(there_out, "wb", buffering=0)),
        )

    def fileno(self) -> int:
        self._check_open()
        return int(self._in)

    def fileno_out(self) -> int:
        self._check_open()
        return int(self._out)

    def _interrupt(self) -> None:
        self._wake.wake()

    def _release(self) -> None:
        self._wake.close()
        for file in (self.incoming, self.outgoing):
            with ignoring(OSError):
                file.close()

    def finish(self) -> None:
        if self._out != self._in:
            with ignoring(OSError):
                self.outgoing.close()

    @property
    def rousable(self) -> bool:
        return True

    def rouse(self) -> None:
        super().rouse()
        if self._pace is None:
            self._wake.wake()

    def calm(self) -> None:
        super().calm()
        with self._lock:
            if self._pace is None and not self._closed:  # else waits are to end for good
                self._wake.clear()

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        if self.roused:
            self.calm()
        self._check_open()
        try:
            if self._in_blocks and not self.wait(READ, 0):
                return None
            (self.landed,) = map(os.read, (self._in,), (limit,))
        except BlockingIOError as error:
            if raised_by_handler(error):
                raise
            return None
        except OSError as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot read: {error}") from error
        return self.landed  # type: ignore[no-any-return]

    @noting
    def send_some(self, data: bytes | memoryview) -> int:
        self._check_open()
        try:
            if self._out_blocks:
                if not self.wait(WRITE, 0):
                    return 0
                data = data[:_SAFE_WRITE]
            (self.went,) = map(os.write, (self._out,), (data,))
            return self.went  # type: ignore[no-any-return]
        except BlockingIOError as error:
            if raised_by_handler(error):
                raise
            return 0
        except OSError as error:
            if raised_by_handler(error):
                raise
            raise ConnectionClosed(f"cannot write: {error}") from error

    def _fds(self, events: int) -> list[tuple[int, int]]:
        fds = [(self._wake.fileno(), READ)]
        if self._in == self._out:
            return [*fds, (self._in, events)]
        if events & READ:
            fds.append((self._in, READ))
        if events & WRITE:
            fds.append((self._out, WRITE))
        return fds
