"""Silent clients of a server that serves one client at a time: who speaks first is served first."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ...errors import ProtocolError
from ...lib import primitives
from ..interrupted import holds_the_role
from ..listener import Listener
from ..receiving import AT_ONCE, FrameReceiver
from ..threaded import ThreadedLink

__all__ = ["Lobby"]

T = TypeVar("T")


class Lobby(Generic[T]):
    """Connections that wait for the first whole frame of their peers, in the thread that accepts.

    Args:
        listener: whose :meth:`.Listener.turn` looks at the connections as well.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._waiting: dict[int, tuple[ThreadedLink, T]] = {}  # by their descriptors
        self._deadlines: dict[int, float] = {}  # by when a started frame must be complete
        self._ready: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._ready)

    def add(self, link: ThreadedLink, item: T) -> None:
        """Have :meth:`take` return ``item`` when a frame has come, or the end."""
        if not isinstance(link.receiver, FrameReceiver) or link.lost:
            self.add_ready(item)  # over a stream of a program's own, which can only block
            return
        descriptor = link.channel.fileno()
        self._waiting[descriptor] = link, item
        self._listener.watch(descriptor, lambda: self._look(descriptor))
        self._look(descriptor)  # something may have been read before

    def add_ready(self, item: T) -> None:
        """Have :meth:`take` return ``item``."""
        self._ready.append(item)

    def take(self) -> T | None:
        """Return what is to be served next, if there is something; does not wait."""
        now = primitives.monotonic()
        for descriptor in [one for one, due in self._deadlines.items() if due <= now]:
            self._look(descriptor)
        return self._ready.popleft() if self._ready else None

    def left(self) -> float | None:
        """Return in how many seconds :meth:`take` wants to be called, None for not at all."""
        if not self._deadlines:
            return None
        return max(0.0, min(self._deadlines.values()) - primitives.monotonic())

    def rest(self) -> list[T]:
        """Return all that wait, and forget them."""
        items = [item for _, item in self._waiting.values()] + list(self._ready)
        for descriptor in list(self._waiting):
            self._forget(descriptor)
        self._ready.clear()
        return items

    def _look(self, descriptor: int) -> None:
        link, item = self._waiting[descriptor]
        self._deadlines.pop(descriptor, None)
        if _has_frame(link):
            self._forget(descriptor)
            self._ready.append(item)
        else:
            left = link.receiver.frame_left()  # type: ignore[attr-defined]  # a FrameReceiver
            if left is not None:
                self._deadlines[descriptor] = primitives.monotonic() + left

    def _forget(self, descriptor: int) -> None:
        del self._waiting[descriptor]
        self._deadlines.pop(descriptor, None)
        self._listener.unwatch(descriptor)


@holds_the_role
def _has_frame(link: ThreadedLink) -> bool:
    """Read what has come; return whether a frame is there, or nothing more will come."""
    if link.backlog or link.stash:
        return True
    reading = link.reading
    taken = False
    try:
        (taken,) = map(reading.lock.acquire, AT_ONCE)
        if not taken:
            return True  # of another thread, which takes it in
        payload = link.receiver.receive(0)
        if payload is None:
            return False
        link.receiver.payloads.appendleft(payload)  # type: ignore[attr-defined]  # a deque
    except (EOFError, OSError, ProtocolError):
        pass  # who serves the connection finds out again
    finally:
        if taken:
            reading.lock.release()
            if reading.sleepers:
                reading.offer()
    return True
