"""Two ends of a stream inside one process, without the operating system."""

from __future__ import annotations

from collections import deque
from typing import Any

from ...errors import ConnectionClosed
from ...lib import primitives
from .base import READ, WRITE, NativeStream, noting, waits

__all__ = ["MemoryStream"]


class _MemoryPipe:
    """Bytes on their way from one end to the other. Guarded by the pair's condition."""

    __slots__ = ("capacity", "chunks", "ended", "size")

    def __init__(self, capacity: int) -> None:
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.capacity = capacity
        self.ended = False


class MemoryStream(NativeStream):
    """One end of a pair; make pairs with :meth:`create_pair`."""

    __slots__ = (
        *("_changed", "_closed", "_incoming", "_lock", "_outgoing", "landed", "roused", "went"),
    )

    def __init__(
        self, changed: primitives.Condition, incoming: _MemoryPipe, outgoing: _MemoryPipe
    ) -> None:
        self._changed = changed
        self._lock = changed._lock  # type: ignore[attr-defined]
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self.landed: Any = None
        self.roused = False
        self.went = 0

    @classmethod
    def create_pair(cls, capacity: int = 1 << 16) -> tuple[MemoryStream, MemoryStream]:
        """Returns two connected ends.

        Args:
            capacity: bytes that one direction holds before writing has to wait.
        """
        changed = primitives.Condition()
        there, back = _MemoryPipe(capacity), _MemoryPipe(capacity)
        return cls(changed, there, back), cls(changed, back, there)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def entered(self) -> bool:
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    @property
    def rousable(self) -> bool:
        return True

    def rouse(self) -> None:
        with self._lock:
            self.roused = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._incoming.ended = self._outgoing.ended = True
            self._changed.notify_all()

    def hung_up(self) -> bool:
        return self._incoming.ended

    def finish(self) -> None:
        with self._lock:
            self._outgoing.ended = True
            self._changed.notify_all()

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        with self._lock:
            if self._closed:
                raise ConnectionClosed("stream is closed")
            side = self._incoming
            if not side.chunks:
                return b"" if side.ended else None
            self.landed = True
            chunk = side.chunks.popleft()
            if len(chunk) > limit:
                side.chunks.appendleft(chunk[limit:])
                chunk = chunk[:limit]
            side.size -= len(chunk)
            self._changed.notify_all()
            return chunk

    @noting
    def send_some(self, data: bytes | memoryview) -> int:
        with self._lock:
            side = self._outgoing
            if side.ended:
                raise ConnectionClosed("stream is closed")
            chunk = bytes(data[: side.capacity - side.size])
            size = len(chunk)
            if chunk:
                # No call from here on, so that no signal handler finds half of it.
                side.chunks += (chunk,)
                side.size += size
                self.went = size
            self._changed.notify_all()  # also if a handler has kept an earlier write from it
            return size

    @waits
    def wait(self, events: int, timeout: float | None) -> int:
        with self._lock:
            self._changed.wait_for(lambda: self._possible() & events or self.roused, timeout)
            return self._possible() & events

    def _possible(self) -> int:
        readable = READ if self._incoming.chunks or self._incoming.ended else 0
        outgoing = self._outgoing
        return readable | (WRITE if outgoing.size < outgoing.capacity or outgoing.ended else 0)
