"""A process for each client."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import warnings
from typing import Any, NoReturn

from ..lib.threads import spawn
from ..lib.timing import Timeout
from .base_server import Server
from .draining import terminating

__all__ = ["ForkingServer"]

_LAST_SECOND = 1.0


class ForkingServer(Server):
    """Serves each client in a process of its own (POSIX only).

    What a client does to the process ends with it. A service instance is copied, not shared.
    Closing the server ends the processes, after their running calls.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not hasattr(os, "fork"):
            raise OSError("ForkingServer needs os.fork(), which this system does not have")
        super().__init__(*args, **kwargs)
        self._children: dict[int, threading.Thread] = {}

    def _accept_method(self, sock: socket.socket) -> None:
        with warnings.catch_warnings():
            # Python warns of forking with threads; the child runs none of those there are.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            self._serve_in_child(sock)
        self._children[pid] = spawn(self._reap, pid)
        with self._clients_lock:
            self.clients.discard(sock)
            self._silent.pop(sock, None)
        sock.close()

    def _serve_in_child(self, sock: socket.socket) -> NoReturn:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._children.clear()
            self._clients_lock = threading.Lock()  # another thread may have held it
            self._manager = None  # the parent talks with it
            self._accepting.let_go()
            with terminating(self._terminate):
                self._authenticate_and_serve_client(sock)
            status = 0
        except KeyboardInterrupt:
            pass  # Ctrl-C reaches all processes of a terminal
        except BaseException:
            self.logger.exception("a child process failed")
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self, pid: int) -> None:
        """Waits for a child, so that it does not stay a zombie."""
        with contextlib.suppress(OSError):
            os.waitpid(pid, 0)
        self._children.pop(pid, None)

    def _has_clients(self) -> bool:
        return bool(self._children)

    def _drain(self) -> None:
        """Has the children end when they have answered what they were asked."""
        super()._drain()
        deadline = Timeout(self.grace)
        self._signal(signal.SIGTERM)
        while self._children and not deadline.expired() and not self._hurry.wait(0.01):
            pass

    def _cut(self) -> None:
        super()._cut()
        self._signal(signal.SIGKILL)
        deadline = Timeout(_LAST_SECOND)
        for thread in list(self._children.values()):
            thread.join(deadline.timeleft())

    def _signal(self, number: int) -> None:
        for pid in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _handle_sigchld(self, signum: int, unused: Any) -> None:
        """Has nothing to do: each child is waited for by a thread."""
