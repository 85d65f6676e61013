"""A stream that does what streams rarely do: little at a time, nothing for once, the end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.streams import NativeStream

__all__ = ["PATTERNS", "Shim", "shimmed"]

PATTERNS: dict[str, Callable[[], Iterator[int]]] = {
    "bytewise": lambda: itertools.repeat(1),
    "stalling": lambda: itertools.cycle([0, 3, 0, 0, 1000, 1]),
    "uneven": lambda: itertools.cycle([7, 64_000, 1, 2]),
}
"""How many bytes go at once, for each operation; 0 means that none do, though some could."""


class Shim(NativeStream):
    """Goes through another stream.

    Args:
        inner: the other stream.
        pattern: one of PATTERNS.
        received, sent: after how many bytes the stream ends in that direction; None for never.
        broken: whether it ends with an error instead of an end.
    """

    def __init__(
        self,
        inner: NativeStream,
        pattern: str = "uneven",
        received: int | None = None,
        sent: int | None = None,
        broken: bool = False,
    ) -> None:
        self.inner = inner
        self._receives, self._sends = PATTERNS[pattern](), PATTERNS[pattern]()
        self._received, self._sent, self._broken = received, sent, broken
        self.received = self.sent = 0

    def _cut(self) -> bytes:
        self.inner.close()
        if self._broken:
            raise ConnectionClosed("cannot read: cut by the test")
        return b""

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        if self._received is not None:
            limit = min(limit, self._received - self.received)
            if limit <= 0:
                return self._cut()
        size = 1 if self.inner.closed else next(self._receives)
        data = self.inner.recv_some(min(limit, size)) if size else None
        self.received += len(data or b"")
        return data

    def send_some(self, data: bytes | memoryview) -> int:
        size = 1 if self.inner.closed else next(self._sends)
        if self._sent is not None:
            if self.sent >= self._sent:
                self.inner.close()
                raise ConnectionClosed("cannot write: cut by the test")
            size = min(size, self._sent - self.sent)
        done = self.inner.send_some(data[:size]) if size else 0
        self.sent += done
        return done

    def wait(self, events: int, timeout: float | None) -> int:
        return self.inner.wait(events, timeout)

    def close(self) -> None:
        self.inner.close()

    @property
    def closed(self) -> bool:
        return self.inner.closed

    def fileno(self) -> int:
        return self.inner.fileno()

    def finish(self) -> None:
        self.inner.finish()


def shimmed(pair: tuple[Any, Any], pattern: str) -> tuple[Shim, Shim]:
    """Returns both ends of a connection behind shims."""
    return Shim(pair[0], pattern), Shim(pair[1], pattern)
