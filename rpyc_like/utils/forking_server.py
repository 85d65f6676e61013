"""A process for each client."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from collections import deque
from functools import partial
from typing import Any, NoReturn

from ..core.protocol import Connection
from ..lib.threads import spawn
from ..lib.timing import Timeout
from ..link.admission import Admission, Client
from .base_server import Server
from .children import Pids, leave_terminal
from .graceful_shutdown import finish, terminating

__all__ = ["ForkingServer"]

_LAST_SECOND = 1.0
_MAX_SILENT_CLIENTS = 50
_MOST_ENDING = 8  # children that may take their time to end because their clients are hung up on
# A process takes some milliseconds to start, and many clients can connect in that time. After so
# many that came without a pause, one is started for the newest of each _CROWD clients, so that
# those who are pushed out meanwhile cost none.
_IN_A_ROW = 50
_CROWD = 16
_REPORT = struct.Struct("=i?")  # the pid of a child, and whether its client has spoken or logged in


class _Reporting(Admission):
    """The admission in a child: its parent is told what is said here.

    Args:
        parent: of the parent, a copy.
        descriptor: of the pipe to the parent.
    """

    def __init__(self, parent: Admission, descriptor: int) -> None:
        super().__init__(max_memory=parent.account.limit, logger=parent.logger)
        self._descriptor = descriptor

    def logged_in(self, client: Client, sock: Any) -> bool:
        self._report(False)
        return super().logged_in(client, sock)

    def forget(self, client: Client) -> None:
        self._report(True)

    def _report(self, spoke: bool) -> None:
        with contextlib.suppress(OSError):  # the parent has ended
            os.write(self._descriptor, _REPORT.pack(os.getpid(), spoke))


class ForkingServer(Server):
    """Serves each client in a process of its own (POSIX only).

    A process begins when its client has connected; where there is no more room for silent clients,
    it begins when the client has sent something. Of many clients that connect at once, those that
    have to make room for others get no process. Because processes cost more than threads, there
    may be 50 silent clients, unless ``max_silent_clients`` says otherwise.

    What is kept for clients is counted in each process: ``max_memory`` bounds one client here, not
    all of them together.

    What a client does to the process ends with it. A service instance is copied, not shared.
    Closing the server ends the processes, after their running calls.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not hasattr(os, "fork"):
            raise OSError("ForkingServer needs os.fork(), which this system does not have")
        kwargs.setdefault("max_silent_clients", _MAX_SILENT_CLIENTS)
        super().__init__(*args, **kwargs)
        self._children: dict[int, threading.Thread] = {}  # by their pids, and what reaps them
        self._pids = Pids()
        self._awaited: dict[int, Client] = {}  # by the pids of the children that serve them
        self._ending: dict[int, float] = {}  # pids of children that were told to end, and when
        self._unserved: deque[socket.socket] = deque()  # accepted, without a process so far
        self._in_a_row = 0  # clients accepted since nobody waited for it
        self._taken = 0  # clients accepted since the last process was started
        # Children write a _REPORT each time something is to be told.
        self._reports: tuple[int, ...] = os.pipe()
        self._accepting.watch(self._reports[0], self._take_reports)

    def _take_in(self, sock: socket.socket) -> None:
        self._in_a_row += 1
        if self._in_a_row <= _IN_A_ROW:
            self._accept_method(sock)
        else:
            self._unserved.append(sock)
            self._taken += 1

    def _chores(self) -> float | None:
        """Start a process for a client that has none, if it is time; see the base class."""
        due = self._kill_late_ones(super()._chores())
        if not self._accepting.crowded:
            self._in_a_row = 0
        while (sock := self._take_unserved(if_cut_off=True)) is not None:
            self._drop(sock)
        if not self._unserved:
            return due
        if not self._accepting.crowded or self._taken >= _CROWD:
            # The newest one has most time left until it is pushed out.
            sock = self._take_unserved(newest=True)
            if sock is None:
                return due
            if self._was_cut_off(sock):
                self._drop(sock)
            else:
                self._taken = 0
                self._accept_method(sock)
        return 0.0

    def _kill_late_ones(self, due: float | None) -> float | None:
        """Kill children that were told to end and have not; return when to look next.

        Python misses a signal that comes between its last look and a wait of the system's.
        """
        now = time.monotonic()
        for pid, told in list(self._ending.items()):
            left = told + self.grace + 2 * _LAST_SECOND - now
            if left > 0:
                due = left if due is None else min(due, left)
            elif not self._pids.signal(pid, signal.SIGKILL):
                self._ending.pop(pid, None)
        return due

    def _take_unserved(
        self, newest: bool = False, if_cut_off: bool = False
    ) -> socket.socket | None:
        """Take a client that has no process, the oldest by default; ``None`` if there is none.

        The thread that accepts and the one that closes the server take them.

        Args:
            if_cut_off: whether to take it only if it has been cut off.
        """
        with self._clients_lock:
            if not self._unserved or (if_cut_off and not self._was_cut_off(self._unserved[0])):
                return None
            return self._unserved.pop() if newest else self._unserved.popleft()

    def _was_cut_off(self, sock: socket.socket) -> bool:
        client = self._admitted.get(sock)
        return client is None or client.cut_off

    def _accept_method(self, sock: socket.socket) -> None:
        self._begin(lambda serve: self._fork(sock), sock)

    def _fork(self, sock: socket.socket) -> None:
        client = self._admitted.get(sock) or self._admit(sock)
        with self._clients_lock:  # what the child reports is looked at when it has been noted
            pid = self._fork_child(sock, client)
            self._pids.add(pid)
            client.hang_up = partial(self._end_child, pid)
            try:
                self._children[pid] = spawn(self._reap, pid)
            except RuntimeError:
                self._pids.signal(pid, signal.SIGKILL)
                self._pids.reap(pid)
                raise
            self._awaited[pid] = client
            self.clients.discard(sock)
            self._admitted.pop(sock)
        sock.close()

    def _fork_child(self, sock: socket.socket, client: Client) -> int:
        """Fork; return the pid of the child, which serves ``client`` and does not return."""
        with warnings.catch_warnings():
            # Python warns of forking with threads; the child runs none of those there are.
            warnings.simplefilter("ignore", DeprecationWarning)
            # The parent's handler must not run in the child.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                pid = os.fork()
                if not pid:
                    self._serve_in_child(sock, client, before)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _take_reports(self) -> None:
        """Notes what children say about their clients."""
        with self._clients_lock:
            data = os.read(self._reports[0], 1000 * _REPORT.size) if self._reports else b""
            reports = [(self._awaited.get(pid), spoke) for pid, spoke in _REPORT.iter_unpack(data)]
        for client, spoke in reports:
            if client is None:
                pass  # its process has ended meanwhile
            elif spoke:
                client.spoke()
            else:
                self.admission.logged_in(client, None)

    def _end_child(self, pid: int) -> None:
        """Has a child end whose client is hung up on; kills the oldest if many do not end."""
        number = signal.SIGTERM
        again = pid in self._ending
        self._ending.setdefault(pid, time.monotonic())
        if len(self._ending) > _MOST_ENDING:
            pid, number = next(iter(self._ending)), signal.SIGKILL
        elif again:
            return  # a second SIGTERM would cut the running calls
        if not self._pids.signal(pid, number):
            self._ending.pop(pid, None)  # it has been reaped meanwhile

    def _serve_in_child(self, sock: socket.socket, client: Client, mask: set[Any]) -> NoReturn:
        status = 1
        try:
            leave_terminal()  # the parent ends on Ctrl-C, and has its children end in order
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._children.clear()
            for other in set(self._admitted) - {sock}:
                other.close()  # that of a client which has no process yet
            self._clients_lock = threading.RLock()  # held: forked under it
            self._manager = None  # the parent talks with it
            self._accepting.let_go()
            descriptor, self._reports = self._reports[1], ()
            self.admission = client.admission = _Reporting(self.admission, descriptor)
            with terminating(self._terminate_child):
                self._authenticate_and_serve_client(sock)
            status = 0
        except KeyboardInterrupt:
            pass  # somebody has sent SIGINT to this process
        except BaseException:
            self.logger.exception("a child process failed")
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _handle_connection(self, conn: Connection) -> None:
        """Serve a connection; its process ends with it, so the threads of its calls go first."""
        try:
            super()._handle_connection(conn)
        finally:
            finish(conn, self.grace)

    def _terminate_child(self) -> None:
        """Ends this child, also if its service or authenticator does not notice."""
        self._terminate()
        time.sleep(_LAST_SECOND)
        os._exit(1)

    def _reap(self, pid: int) -> None:
        """Waits for a child, so that it does not stay a zombie."""
        self._pids.reap(pid)
        with self._clients_lock:  # the child may have ended before it was noted
            self._children.pop(pid, None)
            self._ending.pop(pid, None)
            client = self._awaited.pop(pid, None)
            self._busy_until = time.monotonic()
        if client is not None:
            client.leave()

    def _has_clients(self) -> bool:
        return bool(self._children or self._unserved)

    def _drain(self) -> None:
        """Has the children end when they have answered what they were asked."""
        super()._drain()
        deadline = Timeout(self.grace)
        for pid in list(self._children):
            if pid not in self._ending:  # a second SIGTERM would cut the running calls
                self._pids.signal(pid, signal.SIGTERM)
        while self._children and not deadline.expired() and not self._hurry.wait(0.01):
            pass

    def _cut(self) -> None:
        super()._cut()
        while (sock := self._take_unserved()) is not None:
            self._drop(sock)
        self._signal(signal.SIGKILL)
        deadline = Timeout(_LAST_SECOND)
        for thread in list(self._children.values()):
            thread.join(deadline.timeleft())
        with self._clients_lock:
            reports, self._reports = self._reports, ()
        for descriptor in reports:
            os.close(descriptor)

    def _signal(self, number: int) -> None:
        for pid in list(self._children):
            self._pids.signal(pid, number)

    def _handle_sigchld(self, signum: int, unused: Any) -> None:
        """Has nothing to do: each child is waited for by a thread."""
