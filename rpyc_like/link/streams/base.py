"""What a byte stream offers.

:class:`Stream` is the face that programs subclass: blocking ``read``, ``write`` and ``poll``.
:class:`NativeStream` adds what the driver uses: operations that never block, and a wait. A native
stream's blocking face is written in terms of those, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, TracebackType
from typing import Any, TypeVar

from ...errors import ConnectionClosed
from ...lib import native as impl
from ...lib import primitives
from ...lib.cpu_quota import processors
from ...lib.interrupts import ignoring, raised_by_handler
from ...lib.timing import Timeout

__all__ = [
    "READ",
    "WRITE",
    "BUSY_POLL",
    "DescriptorStream",
    "ExplainedEnd",
    "NativeStream",
    "Stream",
    "WakePipe",
    "fd_hung_up",
    "has_own_io",
    "polls_natively",
    "rests",
    "wait_for_fds",
    "waits",
]

READ, WRITE = 1, 2

BUSY_POLL = 40.0
"""Default of :meth:`NativeStream.busy_poll`, in microseconds."""


class Stream:
    """A byte stream. Subclasses override everything but the context manager.

    All failures of reading, writing and polling are :class:`EOFError`.
    """

    __slots__ = ()

    def close(self) -> None:
        """Closes the stream. Closing twice is allowed."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether the stream has been closed on this side."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Returns a descriptor to wait on for incoming bytes."""
        raise NotImplementedError

    def poll(self, timeout: float | Timeout | None) -> bool:
        """Waits until a read would give something (bytes or the end).

        Args:
            timeout: seconds, None for ever.
        """
        limit = Timeout(timeout)
        return wait_for_fds([(self.fileno(), READ)], limit.timeleft()) != 0

    def read(self, count: int) -> bytes:
        """Returns exactly ``count`` bytes.

        Raises:
            EOFError: the stream ended before.
        """
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Writes all of ``data``."""
        raise NotImplementedError

    def hung_up(self) -> bool:
        """Return whether the peer has ended its side, as far as that can be known unread.

        Bytes that it sent before may still be there to be read.
        """
        try:
            return fd_hung_up(self.fileno())
        except (EOFError, NotImplementedError, OSError, ValueError) as error:
            if raised_by_handler(error):
                raise
            return False  # whoever reads finds out

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_Func = TypeVar("_Func", bound=Callable[..., Any])


class ExplainedEnd(ConnectionClosed):
    """Raised where a child process ends before it has sent anything.

    The text has how it ended and the end of its standard error.
    """


def noting(func: _Func) -> _Func:
    """Mark a method of a stream that writes, and keeps :attr:`NativeStream.went` up to date.

    Nothing has gone if that is 0 after an exception, whatever has raised it.
    """
    func.notes = True  # type: ignore[attr-defined]
    return func


_WAITS: set[CodeType] = set()


def waits(func: _Func) -> _Func:
    """Mark a method of a stream that waits for bytes, or is called by one, and reads none before.

    Another function may read meanwhile; see :meth:`NativeStream.interrupting`.
    """
    _WAITS.add(func.__code__)  # type: ignore[attr-defined]
    return func


def rests(code: CodeType) -> bool:
    """Return whether a function is one that was marked with :func:`waits`."""
    return code in _WAITS


class NativeStream(Stream):
    """A stream whose elementary operations never block.

    Reading and writing may happen at the same time in two threads, each direction in one.
    """

    __slots__ = ()

    MAX_IO_CHUNK = 64000

    landed: Any = None
    """What the last read has got, until the reader clears it, or sets something else.

    It is set in the step that reads: ``(self.landed,) = map(read, ...)``. Python calls ``read``
    while it unpacks, and runs no signal handler, which may raise, before it has stored the result.
    """

    went: Any = 0
    """How much the last write has passed on, until the writer sets it to 0 again.

    It is set in the step that writes, as :attr:`landed`, by methods that are :func:`noting`.
    """

    roused: Any = False
    """Whether a wait for bytes was interrupted and is to get nothing; see :meth:`interrupting`."""

    @property
    def rousable(self) -> bool:
        """Whether :meth:`interrupting` can be used."""
        return False

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Have code read that has interrupted a :meth:`recv_wait` of its own thread.

        Afterwards that gets nothing, although its time is not over, so that its caller looks at
        what was read meanwhile. If it has got bytes all the same, :attr:`landed` has them.
        """
        if self.roused:
            self.calm()  # for now: this wait is to get something
        try:
            yield
        finally:
            self.landed = None
            self.rouse()

    def rouse(self) -> None:
        """Set :attr:`roused`, and end the wait."""
        self.roused = True

    def calm(self) -> None:
        """Unset :attr:`roused`, when it has been noticed."""
        self.roused = False

    @property
    def gathers(self) -> bool:
        """Whether :meth:`send_vector` writes more than the first buffer."""
        return False

    @property
    def hides(self) -> bool:
        """Whether there may be bytes to read of which the system knows nothing any more."""
        return False

    @property
    def entered(self) -> bool:
        """Whether the current thread has a lock of the stream, and other threads may need it."""
        return False

    def fileno_out(self) -> int:
        """Returns a descriptor to wait on until more can be written."""
        return self.fileno()

    def recv_some(self, limit: int = 1 << 16) -> bytes | None:
        """Returns up to ``limit`` bytes that are there, ``b""`` at the end, None if none are there.

        Raises:
            ConnectionClosed: the stream broke.
        """
        raise NotImplementedError

    @waits
    def recv_wait(self, timeout: float | None, limit: int = 1 << 16) -> bytes | None:
        """Waits for bytes and returns them, ``b""`` at the end, None when the time is over.

        Used by one thread at a time.
        """
        if timeout == 0:
            return self.recv_some(limit)
        deadline = Timeout(timeout)
        while self.wait(READ, deadline.timeleft()):
            if self.roused:
                break
            data = self.recv_some(limit)
            if data is not None:
                return data
            if deadline.expired():
                break
        if self.roused:
            self.calm()
        return None

    def send_some(self, data: bytes | memoryview) -> int:
        """Writes what fits now and returns how many bytes that was (0 if none).

        After 0 the next call must start with the same bytes: some of them may be under way.

        Raises:
            ConnectionClosed: the stream broke.
        """
        raise NotImplementedError

    def recv_into(self, view: memoryview) -> int | None:
        """Puts bytes that are there into ``view``; returns how many, 0 at the end, None if none.

        Raises:
            ConnectionClosed: the stream broke.
        """
        data = self.recv_some(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

    def recv_into_wait(self, timeout: float | None, view: memoryview) -> int | None:
        """Waits for bytes and puts them into ``view``; None when the time is over."""
        count = self.recv_into(view)
        if count is None and self.wait(READ, timeout):
            count = self.recv_into(view)
        return count

    @noting
    def send_vector(self, buffers: Sequence[bytes | memoryview]) -> int:
        """Writes what fits now of several buffers; otherwise as :meth:`send_some`."""
        return self.send_some(buffers[0])

    def wait(self, events: int, timeout: float | None) -> int:
        """Waits for READ, WRITE or both.

        Args:
            events: a mask of READ and WRITE.
            timeout: seconds, None for ever.

        Returns:
            The mask of what is possible now; 0 if the time is over. Closing the stream in another
            thread ends the wait.
        """
        raise NotImplementedError

    def ack_at_once(self, wanted: bool) -> None:
        """Says whether the peer holds small messages back until it has seen an acknowledgement."""

    def busy_poll(self, microseconds: float) -> None:
        """Sets for how long a wait for bytes may look again and again before it sleeps.

        It does so with the compiled core only, where this process may use two processors or more,
        and only while bytes have lately come within that time. 0 turns it off.
        """

    def finish(self) -> None:
        """Says that nothing more will be written; reading goes on."""

    def poll(self, timeout: float | Timeout | None) -> bool:
        return self.wait(READ, Timeout(timeout).timeleft()) != 0

    def read(self, count: int) -> bytes:
        chunks: list[bytes] = []
        while count > 0:
            chunk = self.recv_some(min(count, 1 << 20))
            if chunk is None:
                self.wait(READ, None)
            elif not chunk:
                self.close()
                raise ConnectionClosed("stream ended before the bytes that were expected")
            else:
                chunks.append(chunk)
                count -= len(chunk)
        return b"".join(chunks)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            sent = self.send_some(rest)
            self.went = 0  # which is for a sender with a queue
            if sent:
                rest = rest[sent:]
            else:
                self.wait(WRITE, None)


def has_own_io(stream: Any) -> bool:
    """Returns whether a stream's class brings its own ``read``, ``write`` or ``poll``.

    Such a stream is driven through those three, as its author expects.
    """
    if not isinstance(stream, NativeStream):
        return True
    kind = type(stream)
    return not all(
        getattr(kind, name) is getattr(NativeStream, name) for name in ("read", "write", "poll")
    )


if primitives.poll is not None:
    from select import POLLERR, POLLHUP, POLLIN, POLLOUT

    try:
        from select import POLLRDHUP
    except ImportError:  # POLLHUP says the same there
        POLLRDHUP = 0  # type: ignore[misc]

    _ANY = POLLIN | POLLOUT
    _GONE = POLLRDHUP | POLLHUP | POLLERR
    _POLL_BITS = {READ: POLLIN, WRITE: POLLOUT, READ | WRITE: _ANY}

    class _Poller:
        """Waits for a fixed set of descriptors; one thread at a time."""

        __slots__ = ("_poll", "_wanted")

        def __init__(self, fds: list[tuple[int, int]]) -> None:
            self._poll = primitives.poll()
            self._wanted = dict(fds)
            for fd, events in self._wanted.items():
                self._poll.register(fd, _POLL_BITS[events])

        @waits
        def wait(self, timeout: float | None) -> int:
            seen = 0
            # Rounded up: a poll that returns too early would only be made again.
            limit = None if timeout is None else int(timeout * 1000 + 0.999)
            for fd, bits in self._poll.poll(limit):
                if bits & ~_ANY:
                    seen |= self._wanted[fd]
                if bits & POLLIN:
                    seen |= READ
                if bits & POLLOUT:
                    seen |= WRITE
            return seen

else:  # Windows

    class _Poller:  # type: ignore[no-redef]
        """Waits for a fixed set of sockets; see the other definition."""

        __slots__ = ("_readers", "_writers")

        def __init__(self, fds: list[tuple[int, int]]) -> None:
            self._readers = [fd for fd, events in fds if events & READ]
            self._writers = [fd for fd, events in fds if events & WRITE]

        def wait(self, timeout: float | None) -> int:
            readable, writable, _ = primitives.select(self._readers, self._writers, [], timeout)
            return (READ if readable else 0) | (WRITE if writable else 0)


def polls_natively() -> bool:
    """Return whether polling is the system's, and not gevent's, where a wait belongs to others."""
    return isinstance(primitives.poll, BuiltinFunctionType)


def fd_hung_up(fd: int) -> bool:
    """Return whether the peer of a descriptor has hung up, as far as the system's poll knows."""
    if not polls_natively():
        return False
    poll = primitives.poll()
    poll.register(fd, POLLRDHUP)
    return any(bits & _GONE for _, bits in poll.poll(0))


def wait_for_fds(fds: list[tuple[int, int]], timeout: float | None) -> int:
    """Waits for descriptors.

    Args:
        fds: pairs of a descriptor and a mask of READ and WRITE.
        timeout: seconds, None for ever.

    Returns:
        The mask of the events seen on any of them; an error counts as every event asked for.
    """
    return _Poller(fds).wait(timeout)


class DescriptorStream(NativeStream):
    """What streams over descriptors share: waiting, and closing while another thread waits.

    Descriptors are given back when the last wait has ended, so that no thread ever waits on a
    number that has come to mean another file.
    """

    __slots__ = (
        "__weakref__",
        "_before_close",
        "_closed",
        "_lock",
        "_pace",
        "_read_fds",
        "_reader",
        "_users",
        "landed",
        "roused",
        "went",
    )

    _blocks = False
    """Whether :meth:`_peek` can be used where the compiled core is missing."""

    def __init__(self) -> None:
        self._closed = False
        self.landed = None
        self.roused = False
        self.went = 0
        self._lock = primitives.RLock()  # guards _users, _reader and the decision to release
        self._users = 0
        self._reader: _Poller | None = None
        self._read_fds: tuple[int, ...] = ()
        self._pace: Any = None  # waits for bytes, with the compiled core
        self._before_close: list[Callable[[int], object]] = []
        self.busy_poll(BUSY_POLL)

    def busy_poll(self, microseconds: float) -> None:
        native = impl.waiting is not None and polls_natively()
        polls = microseconds if processors() >= 2 else 0
        self._pace = impl.waiting.Pace(polls) if native else None

    def _fds(self, events: int) -> list[tuple[int, int]]:
        """Returns what to wait on for ``events``."""
        raise NotImplementedError

    def _interrupt(self) -> None:
        """Ends the waits of other threads, for good."""
        raise NotImplementedError

    def _release(self) -> None:
        """Gives the descriptors back."""
        raise NotImplementedError

    def _peek(self, timeout: float | None) -> int:
        """Waits for bytes, as :meth:`wait`, in a way that :meth:`rouse` can end."""
        raise NotImplementedError

    @property
    def rousable(self) -> bool:
        return self._pace is not None or self._blocks

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        self.hold()  # the interrupted wait goes on with the descriptor
        try:
            with super().interrupting():
                yield
        finally:
            self.let_go()

    def rouse(self) -> None:
        self.roused = True
        if self._pace is not None:
            self._pace.rouse(True)

    def calm(self) -> None:
        self.roused = False
        if self._pace is not None:
            self._pace.rouse(False)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def entered(self) -> bool:
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def before_close(self, func: Callable[[int], object]) -> None:
        """Call ``func`` with the descriptor when the stream is closed and its descriptor is not.

        Args:
            func: must not wait; called once, however often it is given.

        Raises:
            ConnectionClosed: the stream is closed.
        """
        with self._lock:
            self._check_open()
            if func not in self._before_close:
                self._before_close.append(func)

    def hung_up(self) -> bool:
        with self._lock:  # so that the descriptor is not closed meanwhile
            return self._closed or self._peer_ended()

    def _peer_ended(self) -> bool:
        """Return what the system knows; while the descriptor is open."""
        return fd_hung_up(self.fileno())

    def hold(self) -> None:
        """Keeps the descriptor from being given back; for who waits for it elsewhere."""
        with self._lock:
            self._check_open()
            self._users += 1

    def let_go(self) -> None:
        """Ends what :meth:`hold` began."""
        with self._lock:
            self._users -= 1
            last = self._closed and not self._users
        if last:
            self._release()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            fd = self.fileno() if self._before_close else -1
            self._closed = True
            waiting = self._users > 0
            for func in self._before_close:
                func(fd)
            self._before_close.clear()
            self._interrupt()
        if not waiting:
            self._release()

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosed("stream is closed")

    @waits
    def wait(self, events: int, timeout: float | None) -> int:
        poller: _Poller | None = None
        counted = False
        try:
            with self._lock:
                self._check_open()
                counted, self._users = True, self._users + 1
                if self._pace is not None and events == READ:
                    self._read_fds = self._read_fds or tuple(fd for fd, _ in self._fds(READ))
                elif events == READ:
                    poller, self._reader = self._reader, None
            if self._pace is not None and events == READ:
                seen = READ if self._pace.wait(self._read_fds, timeout) else 0
            elif self._blocks and events == READ:
                seen = self._peek(timeout)
            else:
                if poller is None:
                    poller = _Poller(self._fds(events))
                seen = poller.wait(timeout)
        finally:
            if counted:
                with self._lock:
                    self._users -= 1
                    if events == READ:
                        self._reader = poller
                    last = self._closed and not self._users
                if last:
                    self._release()
        self._check_open()
        return seen


class WakePipe:
    """Ends a wait in another thread."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = os.pipe()
        if os.name == "posix":
            for fd in self._ends:
                os.set_blocking(fd, False)  # a pipe that is full has woken often enough

    def fileno(self) -> int:
        """Returns the descriptor that becomes readable when :meth:`wake` is called."""
        if self._ends is None:
            raise ConnectionClosed("stream is closed")
        return self._ends[0]

    def wake(self) -> None:
        """Ends every wait on :meth:`fileno`, now and later, until :meth:`clear`."""
        if self._ends is not None:
            with ignoring(OSError):
                os.write(self._ends[1], b"x")

    def clear(self) -> None:
        """Makes :meth:`fileno` unreadable again."""
        with ignoring(OSError):
            os.read(self.fileno(), 4096)

    def close(self) -> None:
        """Gives the descriptors back; nobody may be waiting."""
        ends, self._ends = self._ends, None
        for fd in ends or ():
            with ignoring(OSError):
                os.close(fd)

    def __del__(self) -> None:
        if os is not None:  # the interpreter may be shutting down
            self.close()
