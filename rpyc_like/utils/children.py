"""Programs that this process starts: how they are started, read from, waited for and signalled.

* :class:`Child` runs in a session of its own, so that Ctrl-C at the terminal is this program's
  alone, and is signalled only while it has not been reaped.
* :class:`Output` reads a pipe of any program to its end: a pipe that nobody reads stops the program
  that writes to it.
* :func:`start_limit` bounds a start, and names the step that took too long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ..errors import ConnectionClosed
from ..lib.brief import brief
from ..lib.exiting import WRITING
from ..lib.threads import spawn
from ..link.streams import PipeStream
from ..link.streams.base import ExplainedEnd, noting

__all__ = [
    "START_TIMEOUT",
    "Child",
    "ChildStream",
    "Input",
    "Output",
    "Pids",
    "leave_terminal",
    "no_answer",
    "start_child",
    "start_limit",
]

START_TIMEOUT: Final = 30.0
"""Default time in which a child or a far program must answer for the first time, in seconds."""

LINE_LIMIT: Final = 64 << 10
"""Bytes at which a line of a program's output is cut."""

_KEPT: Final = 2000  # characters of the end of an output that errors show
_PATIENCE: Final = 2.0  # seconds in which a program that has closed its pipes ends
_TICK: Final = (
    0.05  # seconds between looks at a child, where the system cannot wait without reaping
)

if os.name == "nt":
    _APART: dict[str, Any] = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
else:
    _APART = {"start_new_session": True}


def leave_terminal() -> None:
    """Give this process a session of its own: Ctrl-C at the terminal no longer reaches it."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):  # it is the leader of one already
            os.setsid()


# -- output of programs


class Output:
    """Read a pipe that a program writes to, in a thread of its own, to its end.

    The thread reads the descriptor, not the file: when the interpreter ends, Python aborts if a
    daemon thread holds the lock of a buffered file.

    Args:
        file: the pipe, just opened; it is closed, and its descriptor kept until the end comes.
        on_line: called in the thread with each line, without its end and cut at 64 KiB; not any
            more when the interpreter ends.
        on_end: called in the thread when the pipe has ended.
        echo: a descriptor that gets everything as well; -1 for none.
    """

    def __init__(
        self,
        file: Any,
        on_line: Callable[[str], Any] | None = None,
        on_end: Callable[[], Any] | None = None,
        echo: int = -1,
    ) -> None:
        self._read_some, self._close = _reader(file)
        self._on_line = on_line
        self._on_end = on_end
        self._echo = echo
        self._kept = b""
        try:
            self._thread = spawn(self._read)
        except BaseException:
            self._close()
            raise

    def text(self, limit: float = _PATIENCE) -> str:
        """Return the end of what was written.

        Args:
            limit: seconds to wait for the end of the pipe.
        """
        self._thread.join(limit)
        return self._kept.decode("utf-8", "replace")[-_KEPT:].strip()

    def _read(self) -> None:
        line = bytearray()
        try:
            while data := self._read_some():
                self._kept = (self._kept + data)[-4 * _KEPT :]
                if self._echo >= 0:
                    self._copy(data)
                if self._on_line is not None:
                    *ended, rest = data.split(b"\n")
                    for end in ended:
                        line += end[: LINE_LIMIT - len(line)]
                        self._pass_on(line)
                        line.clear()
                    line += rest[: LINE_LIMIT - len(line)]
            if line:
                self._pass_on(line)
        finally:
            self._close()
            if self._on_end is not None:
                self._on_end()

    def _pass_on(self, line: bytearray) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        assert self._on_line is not None
        with WRITING as allowed:
            if allowed:
                self._on_line(text)

    def _copy(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._echo, view) :]
        except OSError:
            self._echo = -1  # nobody can see it


def _reader(file: Any) -> tuple[Callable[[], bytes], Callable[[], Any]]:
    """Return a function that reads some bytes, and one that closes what they come from."""
    try:
        fd = os.dup(file.fileno())
    except (AttributeError, OSError):  # of a program that is reached in another way, as paramiko's
        return lambda: bytes(_encoded(file.readline(LINE_LIMIT))), file.close
    file.close()

    def read_some() -> bytes:
        try:
            return os.read(fd, LINE_LIMIT)
        except OSError:
            return b""

    return read_some, lambda: os.close(fd)


class Input:
    """Write to a pipe that a program reads from, without Python's buffers and their locks.

    Args:
        file: the pipe, just opened; it is closed, and its descriptor kept until :meth:`close`.
    """

    def __init__(self, file: Any) -> None:
        self._lock = threading.Lock()  # guards what follows, but for writing
        self._closed = False
        self._sending = False
        try:
            fd = os.dup(file.fileno())
        except (AttributeError, OSError):
            self._write, self._release = file.write, file.close
        else:
            file.close()
            self._write, self._release = lambda data: os.write(fd, data), lambda: os.close(fd)

    def send(self, data: bytes) -> None:
        """Write in a thread of its own, as fast as the program reads. Called once."""
        self._sending = True
        try:
            spawn(self._send, data)
        except BaseException:
            self._sending = False  # nobody else would close the pipe
            raise

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError, ValueError):  # the program has ended
            while view and not self._closed:
                view = view[self._write(view[:LINE_LIMIT]) or LINE_LIMIT :]
        with self._lock:
            self._sending = False
            release = self._closed
        if release:
            self._release()

    def close(self) -> None:
        """Close the pipe: at once, or when what is being written has been taken or refused."""
        with self._lock:
            release = not (self._closed or self._sending)
            self._closed = True
        if release:
            with contextlib.suppress(OSError):
                self._release()


def _encoded(data: Any) -> Any:
    return data.encode("utf-8", "replace") if isinstance(data, str) else data


# -- children


class Pids:
    """Children by their process ids, which are signalled only while they have not been reaped.

    Once a child has been reaped, its number may belong to a stranger.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while a child is reaped, and while one is signalled
        self._alive: set[int] = set()

    def add(self, pid: int) -> None:
        """Note a child; before :meth:`reap` is called for it."""
        with self._lock:
            self._alive.add(pid)

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to a child; return whether there was one to send it to."""
        with self._lock:
            if pid not in self._alive:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            return True

    def reap(self, pid: int) -> None:
        """Wait for a child to end, and reap it."""
        _wait_unreaped(pid, lambda: self._try_reap(pid))
        self._try_reap(pid)

    def _try_reap(self, pid: int) -> bool:
        with self._lock:
            try:
                gone = os.waitpid(pid, os.WNOHANG)[0] == pid
            except OSError:  # the program has reaped it
                gone = True
            if gone:
                self._alive.discard(pid)
        return gone


def _wait_unreaped(pid: int, reaped: Callable[[], bool]) -> None:
    """Wait until a child has ended, without reaping it where the system can do that.

    Args:
        reaped: reaps the child if it has ended, and returns whether it has.
    """
    if hasattr(os, "waitid") and hasattr(os, "WNOWAIT"):
        with contextlib.suppress(OSError):  # somebody else has reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    else:
        while not reaped():
            time.sleep(_TICK)


class Child(subprocess.Popen):  # type: ignore[type-arg]
    """A program that serves this process over pipes, in a session of its own.

    It is reaped in the background, so that it leaves no zombie. What it writes to standard error is
    read to its end, passed on to this process's standard error, and its end is kept for errors.
    """

    def __init__(self, args: Sequence[str], **pipes: Any) -> None:
        self._reaping = threading.RLock()  # held while it is reaped, and while it is signalled
        self._ended = threading.Event()
        self._parent = os.getpid()
        super().__init__(args, bufsize=0, stderr=subprocess.PIPE, **_APART, **pipes)
        try:
            self.errors = Output(self.stderr, echo=2)
            self.stderr = None
            spawn(self._reap)
        except BaseException:
            self.kill()
            super().wait()
            raise

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the child has been reaped."""
        with self._reaping:
            super().send_signal(sig)

    def poll(self) -> int | None:
        """Return the exit status; ``None`` while the child runs."""
        with self._reaping:
            return super().poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status."""
        if os.name == "nt" or os.getpid() != self._parent:
            return super().wait(timeout)
        if not self._ended.wait(timeout):
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return int(self.returncode)

    def _reap(self) -> None:
        if os.name == "nt":
            super().wait()  # by a handle, which is nobody else's
        else:
            _wait_unreaped(self.pid, lambda: self.poll() is not None)
            self.poll()
        self._ended.set()

    def epitaph(self) -> str:
        """Return how the child ended, with the end of its standard error; may wait a moment."""
        said = self.errors.text()
        try:
            status = self.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            how = "has closed its output"
        else:
            how = f"ended with {_status(status)}"
        return f"the child process {brief(self.args)} {how}" + (f":\n{said}" if said else "")


def _status(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


class ChildStream(PipeStream):
    """A stream to a child. If the child ends before it has sent anything, the error tells why.

    Args:
        child: started with pipes as its standard input and output.
    """

    __slots__ = ("_child", "_process")

    def __init__(self, child: Child) -> None:
        super().__init__(child.stdout, child.stdin)
        self._child: Child | None = child  # until it has answered
        self._process = child

    def close(self) -> None:
        """Close the pipes; a child that has been stopped goes on, and finds that."""
        super().close()
        if hasattr(signal, "SIGCONT"):
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGCONT)

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        if self._child is None:
            return super().recv_some(limit)
        try:
            data = super().recv_some(limit)
        except ConnectionClosed as error:
            raise self._explained(error) from None
        if data == b"":
            raise self._explained(ConnectionClosed("connection closed by peer"))
        if data:
            self._child = None
        return data

    @noting
    def send_some(self, data: bytes | memoryview) -> int:
        try:
            return super().send_some(data)
        except ConnectionClosed as error:
            raise self._explained(error) from None

    def _explained(self, error: ConnectionClosed) -> ConnectionClosed:
        if self._child is None or self.closed:
            return error
        return ExplainedEnd(self._child.epitaph())


def start_child(args: Sequence[str]) -> tuple[ChildStream, Child]:
    """Start a program; return a stream over its standard input and output, and the program.

    Raises:
        OSError: the program cannot be started.
    """
    child = Child(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        return ChildStream(child), child
    except BaseException:
        child.kill()
        raise


@contextlib.contextmanager
def start_limit(
    seconds: float | None, step: str, give_up: Callable[[], Any], said: Callable[[], str] = str
) -> Iterator[float | None]:
    """Bound the time that the block, a step of a start, may take.

    The value of the ``with`` statement is a time-out, in seconds, for what the block waits for: a
    little more than the limit, so that the error is always the one that names the step.

    Args:
        seconds: the limit; ``None`` for none but those of what the block waits for.
        step: what it does, for the error.
        give_up: called in another thread when the time is over; has the block's waits fail.
        said: returns what the program that is waited for has written to standard error.

    Raises:
        TimeoutError: it took longer, also if the block has succeeded after all, or something in it
            timed out.
    """
    lock = threading.Lock()  # guards who comes first, the end of the block or that of the time
    done, over = False, threading.Event()

    def expire() -> None:
        with lock:
            if done:
                return
            over.set()
        give_up()

    timer = threading.Timer(threading.TIMEOUT_MAX if seconds is None else seconds, expire)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    failure: Exception | None = None
    try:
        yield None if seconds is None else seconds + _PATIENCE
    except (EOFError, OSError) as error:  # a TimeoutError is an OSError
        failure = error
    finally:
        with lock:
            done = True
        timer.cancel()
    if over.is_set():
        raise TimeoutError(no_answer(step, seconds, said())) from failure
    if isinstance(failure, TimeoutError):
        raise TimeoutError(f"{step}: {failure}") from failure
    if failure is not None:
        raise failure


def no_answer(step: str, seconds: float | None, said: str) -> str:
    """Return the text of the error about a step that took longer than its limit."""
    text = f"{step}: no answer within {seconds:g} s (argument 'timeout')"
    return f"{text}:\n{said}" if said else text
