"""A poll object with the modes of RPyC's: ``r``, ``w``, ``e``, ``h``, ``i``, ``n``."""

from __future__ import annotations

import select
import selectors
from typing import Any

__all__ = ["poll"]


class poll:  # noqa: N801
    """Waits for descriptors, on any system.

    Modes are texts: ``r`` readable, ``w`` writable; in answers also ``e`` error, ``h`` hung up and
    ``n`` invalid.
    """

    def __init__(self) -> None:
        self._modes: dict[int, str] = {}

    def register(self, fd: Any, mode: str) -> None:
        """Begins to watch a descriptor."""
        self._modes[_number(fd)] = mode

    modify = register

    def unregister(self, fd: Any) -> None:
        """Ends watching a descriptor."""
        del self._modes[_number(fd)]

    def poll(self, timeout: float | None = None) -> list[tuple[int, str]]:
        """Returns descriptors and what they are ready for.

        Args:
            timeout: seconds, None for ever.
        """
        if hasattr(select, "poll"):
            return self._by_poll(timeout)
        with selectors.DefaultSelector() as selector:
            for fd, mode in self._modes.items():
                events = (selectors.EVENT_READ if "r" in mode else 0) | (
                    selectors.EVENT_WRITE if "w" in mode else 0
                )
                selector.register(fd, events)
            return [
                (key.fd, ("r" if events & 1 else "") + ("w" if events & 2 else ""))
                for key, events in selector.select(timeout)
            ]

    def _by_poll(self, timeout: float | None) -> list[tuple[int, str]]:
        watcher = select.poll()
        for fd, mode in self._modes.items():
            watcher.register(
                fd,
                (select.POLLIN | select.POLLPRI if "r" in mode else 0)
                | (select.POLLOUT if "w" in mode else 0),
            )
        names = {
            select.POLLIN: "r",
            select.POLLPRI: "i",
            select.POLLOUT: "w",
            select.POLLERR: "e",
            select.POLLHUP: "h",
            select.POLLNVAL: "n",
        }
        ready = watcher.poll(None if timeout is None else 1000 * timeout)
        return [
            (fd, "".join(name for bit, name in names.items() if events & bit))
            for fd, events in ready
        ]


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
