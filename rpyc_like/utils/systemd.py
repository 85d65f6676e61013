"""Talking with systemd: sockets that it has opened, and notes on how the service is doing.

The protocols are those of ``sd_listen_fds(3)`` and ``sd_notify(3)``. Everywhere else these
functions find nothing and do nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Final

__all__ = ["Manager", "notify", "received_sockets", "watchdog_interval"]

_FIRST_FD: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def received_sockets() -> list[tuple[str, socket.socket]]:
    """Returns the sockets that this process was started with, as pairs of name and socket.

    They can be had once: the variables that tell of them are removed, and children do not inherit
    the sockets.

    Raises:
        ValueError: the variables make no sense.
    """
    pid, count, names = (os.environ.pop(name, "") for name in _VARIABLES)
    if not count or (pid and pid != str(os.getpid())):
        return []
    if not count.isdigit():
        raise ValueError(f"environment variable LISTEN_FDS: expected a number, got {count!r}")
    given = names.split(":") if names else []
    sockets = []
    for position in range(int(count)):
        fd = _FIRST_FD + position
        os.set_inheritable(fd, False)
        try:
            sock = socket.socket(fileno=fd)
        except OSError as error:
            raise ValueError(f"expected a socket as descriptor {fd}: {error}") from None
        sock.setblocking(True)
        sockets.append((given[position] if position < len(given) else "unknown", sock))
    return sockets


def notify(state: str) -> bool:
    r"""Tells the service manager, in the form of ``sd_notify(3)``; returns whether there is one.

    Args:
        state: assignments in lines, for instance ``"READY=1\nSTATUS=serving"``.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval() -> float | None:
    """Returns within how many seconds the manager wants to hear of us, None for not at all."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 1_000_000


class Manager:
    """Keeps the service manager informed about one server."""

    def __init__(self) -> None:
        interval = watchdog_interval()
        self._interval = None if interval is None else interval / 2
        self._next = time.monotonic()

    def ready(self) -> None:
        """Says that clients can come."""
        notify(f"READY=1\nMAINPID={os.getpid()}")

    def stopping(self) -> None:
        """Says that the service ends."""
        notify("STOPPING=1")

    def keep_alive(self) -> list[float]:
        """Says that the server is alive, if it is time; returns in how many seconds it is next."""
        if self._interval is None:
            return []
        now = time.monotonic()
        if now >= self._next:
            notify("WATCHDOG=1")
            self._next = now + self._interval
        return [self._next - now]
