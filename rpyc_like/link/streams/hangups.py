"""Waiting for peers to hang up, without reading and without being woken by what they send.

Linux has epoll for that, BSD and macOS have kqueue. Elsewhere :func:`make_hangups` returns
``None``, and streams are asked one by one (:meth:`~.base.NativeStream.hung_up`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

from ...lib import primitives
from .base import DescriptorStream, WakePipe

with suppress(ImportError):
    from select import EPOLLIN, EPOLLRDHUP

__all__ = ["Hangups", "descriptor_stream", "make_hangups"]


# Of <sys/event.h>, the same on macOS, FreeBSD and OpenBSD.
_EVFILT_READ: Final = -1
_EV_ADD: Final = 0x01
_EV_DELETE: Final = 0x02
_EV_CLEAR: Final = 0x20
_EV_EOF: Final = 0x8000
_NOTE_LOWAT: Final = 0x01
_NEVER: Final = 0x7FFFFFFF  # bytes: more than a socket ever holds


class Hangups(Protocol):
    """Descriptors whose peers may hang up; one thread waits, any thread adds and removes."""

    def add(self, fd: int) -> bool:
        """Watch a descriptor; return whether the system can."""

    def remove(self, fd: int) -> bool:
        """Stop watching a descriptor, before it is closed; return whether it was watched."""

    def wait(self, timeout: float | None) -> list[int]:
        """Return the descriptors whose peers have hung up; none after ``timeout`` or :meth:`wake`.

        A descriptor is returned again and again until it is removed.
        """

    def renew(self, fds: Iterable[int]) -> None:
        """Forget all descriptors but these; for the thread that waits."""

    def wake(self) -> None:
        """End the wait of the other thread, or its next one. Safe in finalizers."""

    def close(self) -> None:
        """Give the descriptors of the system's object back."""


def make_hangups() -> Hangups | None:
    """Return what this system has; ``None`` if streams must be asked one by one."""
    if primitives.epoll is not None:
        return _EpollHangups()
    if primitives.kqueue is not None:
        return _KqueueHangups()
    return None


def descriptor_stream(stream: Any) -> DescriptorStream | None:
    """Return the stream with a descriptor that a stream consists of, or lies on."""
    while not isinstance(stream, DescriptorStream):
        stream = getattr(stream, "inner", None)
        if stream is None:
            return None
    return stream


class _EpollHangups:
    """EPOLLRDHUP; the system adds EPOLLHUP and EPOLLERR by itself."""

    def __init__(self) -> None:
        self._waker = WakePipe()
        self.wake = self._waker.wake
        self._epoll = self._made()

    def _made(self) -> Any:
        epoll = primitives.epoll()
        epoll.register(self._waker.fileno(), EPOLLIN)
        return epoll

    def add(self, fd: int) -> bool:
        epoll = self._epoll
        try:
            epoll.register(fd, EPOLLRDHUP)
        except FileExistsError:
            return True
        except (OSError, ValueError):  # a regular file; or renewed in this very moment
            return epoll is not self._epoll and self.add(fd)
        return True

    def remove(self, fd: int) -> bool:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            return False
        return True

    def renew(self, fds: Iterable[int]) -> None:
        old, self._epoll = self._epoll, self._made()
        for fd in list(fds):  # after that: who adds one now has noted it before
            self.add(fd)
        old.close()

    def wait(self, timeout: float | None) -> list[int]:
        found = [fd for fd, _ in self._epoll.poll(timeout)]
        if self._waker.fileno() in found:
            found.remove(self._waker.fileno())
            self._waker.clear()
        return found

    def close(self) -> None:
        self._epoll.close()
        self._waker.close()


class _KqueueHangups:
    """EV_EOF of EVFILT_READ, whose low-water mark is never reached by what arrives."""

    def __init__(self) -> None:
        self._waker = WakePipe()
        self.wake = self._waker.wake
        self._kqueue = primitives.kqueue()
        self._change(self._waker.fileno(), _EV_ADD, 0)

    def _change(self, fd: int, flags: int, low_water: int) -> bool:
        notes = _NOTE_LOWAT if low_water else 0
        event = primitives.kevent(fd, _EVFILT_READ, flags, notes, low_water)
        try:
            self._kqueue.control([event], 0)
        except (OSError, ValueError):
            return False
        return True

    def add(self, fd: int) -> bool:
        return self._change(fd, _EV_ADD | _EV_CLEAR, _NEVER)

    def remove(self, fd: int) -> bool:
        return self._change(fd, _EV_DELETE, 0)

    def renew(self, fds: Iterable[int]) -> None:
        pass  # events of descriptors that this process has closed are gone

    def wait(self, timeout: float | None) -> list[int]:
        found = []
        for event in self._kqueue.control(None, 64, timeout):
            if event.ident == self._waker.fileno():
                self._waker.clear()
            elif event.flags & _EV_EOF:
                found.append(event.ident)
        return found

    def close(self) -> None:
        self._kqueue.close()
        self._waker.close()
