"""Getting payloads from a stream or channel, and the role of the one thread that does it."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Collection
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Optional, Protocol

from ..errors import ConnectionClosed, LimitExceeded, MalformedFrame, ProtocolError
from ..lib import primitives
from ..lib.interrupts import raised_by_handler
from ..lib.timing import Timeout
from ..wire.framing import Deflated, Framer, RpycFramer
from .streams.base import NativeStream, Stream

__all__ = [
    "AT_ONCE",
    "FRAME_TIMEOUT",
    "MAX_QUEUED",
    "ChannelReceiver",
    "DispatchLock",
    "FrameClock",
    "FrameReceiver",
    "ReadingRole",
    "Receiver",
    "StreamReceiver",
    "Waiter",
]


MAX_QUEUED = 256 << 20
"""Default limit of bytes that are read ahead while the peer does not read, in whole frames."""

FRAME_TIMEOUT = 30.0
"""Default time for a frame that has been started, in seconds; see :class:`FrameClock`."""

AT_ONCE: Final = (False,)
"""Arguments of a lock's ``acquire``, to take a role without waiting; see :class:`ReadingRole`."""

_ON_ITS_WAY = 0.05  # seconds that a woken thread may take before another takes its role
_OVERHEAD = 64  # what a queued payload costs beside its bytes
_SMALLEST_CHUNK = 1 << 12
_LITTLE = 1 << 14  # bytes that inflate to 16 MiB at most
_LARGEST_CHUNK = 1 << 18
_LARGE = 1 << 16  # bytes still to come, from which they are received into memory of their own
_TRUSTED = 16 << 20  # bytes of memory for a frame of which little has come


Opener = Optional[Callable[[bytes], Any]]  # noqa: UP045 -- evaluated on Python 3.9


class Receiver(Protocol):
    """Where a driver gets payloads. Used by the holder of the reading role only."""

    @property
    def payloads(self) -> Collection[bytes]:
        """What is there without asking the system."""

    def receive(self, timeout: float | None, open: Opener = None) -> Any:
        """Returns the next payload, or None when the time is over.

        Args:
            timeout: seconds, None for ever.
            open: makes a message, a tuple, of bytes that are one whole frame of a usual kind; of
                several a list of messages and of how many bytes these are; None of others. Such
                messages are returned instead of payloads.

        Raises:
            ConnectionClosed: the stream ended or broke.
            ProtocolError: what came is not a frame.
        """

    def pull(self) -> bool:
        """Takes in what has arrived, without waiting, as far as memory limits allow.

        Returns:
            Whether it makes sense to wait for more.
        """


class FrameReceiver:
    """Receives over a native stream.

    Args:
        stream: where bytes come from.
        framer: cuts them into payloads.
    """

    def __init__(self, stream: NativeStream, framer: Framer) -> None:
        self._stream = stream
        self._framer = framer
        self.payloads: deque[Any] = deque()
        self.max_queued = MAX_QUEUED
        self.frame_timeout: float | None = FRAME_TIMEOUT
        self.arrivals = 0
        """How many bytes have arrived."""
        self._queued_bytes = 0
        self.ended: Exception | None = None
        """Why nothing more will come."""
        self.clock: FrameClock | None = None
        """Runs while a frame is incomplete."""
        self._large: LargeFrame | None = None  # a frame that goes straight into its own memory
        self.spot: Callable[[bytes], int | None] = _nothing_spotted
        """Finds a large value in the beginning of a payload; see :class:`LargeFrame`."""
        self.lift: Callable[[bytes, bytes, bytes], bytes] | None = None
        """Makes a payload of what is before a large value, the value, and what comes after."""
        self._chunk = _SMALLEST_CHUNK  # grows with the traffic: a large buffer costs time to make
        self._little = _SMALLEST_CHUNK  # bytes whose frames may be inflated at once
        self._unread: Any = None  # what has landed before an interrupt, and nobody has looked at

    @property
    def takes_shortcuts(self) -> bool:
        """Whether what is received at once is within the limits of plain frames of RPyC's."""
        framer = self._framer
        return type(framer) is RpycFramer and framer.max_frame_size >= _LARGEST_CHUNK

    @property
    def rests(self) -> bool:
        """Whether a wait for the first bytes of a message may be interrupted by who reads on."""
        return (
            self._stream.rousable
            and self._stream.landed is None
            and self._framer.idle
            and not self.payloads
            and self._large is None
            and self._unread is None
            and self.clock is None
            and self.ended is None
        )

    @property
    def hides(self) -> bool:
        """Whether there may be more of which the system does not tell."""
        return self._stream.hides

    def receive(self, timeout: float | None, open: Opener = None) -> Any:
        self._stream.landed = data = None
        message: Any = open  # nothing has been made yet
        try:
            if self.payloads:
                if not self._queued_bytes:
                    payload = self._ready(self.payloads[0])
                    del self.payloads[0]  # no call since
                    return payload
            elif self.clock is None and self.ended is None and self._unread is None:
                data = self._stream.recv_wait(timeout, self._chunk)
                if data is None:
                    self._unread = self._stream.landed  # nothing, unless the wait was interrupted
                    return None
                self.arrivals += len(data)
                # Most of what arrives is exactly one frame: then there is nothing to note.
                if open is not None:
                    opening = map(open, (data,))
                    self._stream.landed = True
                    (message,) = opening
                    if type(message) is tuple:
                        return message
                    self._take(data, open, message)
                elif 0 < len(data) < self._little:
                    framer = self._framer
                    payloads = framer.feed(data)
                    if len(payloads) == 1 and framer.idle:
                        return payloads[0]
                    self._took(len(data), payloads)
                else:
                    self._take(data)
                data = self._stream.landed = None
            return self._receive(Timeout(timeout), open)
        except BaseException as error:
            self._note_interrupt(error, data, open is not None and message is open, message)
            raise

    def _note_interrupt(
        self,
        error: BaseException,
        data: bytes | None = None,
        opening: bool = False,
        message: Any = None,
    ) -> None:
        """Keep what was read for the next reader; the conversation ends where that cannot be.

        After a signal, in a thread that is ended, or where the stack is full.

        Args:
            data: what :meth:`receive` has got when nothing was queued or begun.
            opening: whether messages were to be made of it.
            message: what was made of it.
        """
        if isinstance(error, (EOFError, OSError, ProtocolError)) and not raised_by_handler(error):
            return
        landed = self._stream.landed
        if landed is None and not self._stream.closed:
            return
        whole = type(landed) in (bytes, int)  # nobody has begun to look at it
        if not self._stream.closed:
            if data is not None and (whole or not opening):
                self._start_over(data, message)
                return
            if data is None and whole:
                self._unread = landed
                return
        if self.ended is None:
            self.ended = ConnectionClosed("a thread was interrupted while it read")

    def _start_over(self, data: bytes, message: Any) -> None:
        """Keep what was read when nothing was queued or begun, as if nobody had looked at it."""
        payloads: list[Any] = []
        if type(message) is tuple:
            payloads, data = [message], b""
        elif type(message) is list:
            *payloads, size = message
            data = data[size:]
        self._framer.forget()
        self.payloads.clear()
        self.payloads.extend(payloads)
        self.clock = self.ended = self._large = None
        self._queued_bytes = 0
        self._unread = data or None

    def _receive(self, deadline: Timeout, open: Opener) -> Any:
        while not self.payloads:
            if self.ended is not None:
                raise self.ended.with_traceback(None)
            left = deadline.timeleft()
            if self.clock is not None:
                left = self.clock.shorten(left)
            data = self._again()
            if data is None and self._large is not None:
                data = self._stream.recv_into_wait(left, self._large.view)
            elif data is None:
                data = self._stream.recv_wait(left, self._chunk)
            if data is not None:
                if self._large is not None:
                    self.payloads.extend(self._fill(self._large, data))
                else:
                    self.arrivals += len(data)
                    self._take(data, open)
                self._stream.landed = None
                if deadline.seconds and not self.payloads and deadline.expired():
                    return None  # a large frame is still coming
            elif self.clock is not None and self.clock.expired():
                self.ended = self.clock.error()
            else:
                self._unread = self._stream.landed  # as in receive
                return None
        payload, queued = self.payloads[0], 0
        if self._queued_bytes and len(self.payloads) > 1:
            queued = max(0, self._queued_bytes - _held_by(payload))
        payload = self._ready(payload)
        del self.payloads[0]  # no call since
        self._queued_bytes = queued
        return payload

    def _again(self) -> Any:
        """Return what landed before an interrupt, once; and begin to note what lands."""
        data = self._stream.landed = self._unread
        if data is None:
            return None
        self._unread = None
        if self._large is not None and type(data) is bytes:  # and there may be more than its rest
            room = len(self._large.view)
            data, self._unread = data[:room], data[room:] or None
        return data

    def _ready(self, payload: Any) -> Any:
        """Returns a queued payload, inflated, or a message."""
        if type(payload) is not Deflated:
            return payload
        try:
            return self._framer.inflate(payload)  # type: ignore[attr-defined]
        except ProtocolError as error:
            if raised_by_handler(error):
                raise
            self.ended = error
            self.payloads.clear()
            raise

    def _take(self, data: bytes, open: Opener = None, messages: Any = None) -> int:
        """Queues what ``data`` completes, and returns how much that is; notes what is begun.

        Args:
            open: see :meth:`receive`.
            messages: what it has made of the data already.
        """
        self._stream.landed = True
        framer, size = self._framer, len(data)
        if open is not None and size and not framer.idle and framer.error is None:
            assert isinstance(framer, RpycFramer)
            start = framer.take_partial(size)
            if start:
                data = start + data
                messages = open(data)
                if type(messages) is tuple:
                    messages = [messages, len(data)]
        if messages is not None:
            data = data[messages[-1] :]
            messages = messages[:-1]
        if isinstance(framer, RpycFramer):
            # Frames are inflated when it is their turn: a few bytes may become much.
            framer.inflates = False
            payloads = framer.feed(data)
            framer.inflates = True
        else:
            payloads = framer.feed(data)
        payloads = (messages or []) + payloads
        self._took(size, payloads)
        return len(payloads)

    def _took(self, size: int, payloads: list[Any]) -> None:
        """Queues payloads, and notes the end and what is begun after ``size`` received bytes."""
        framer = self._framer
        self.payloads.extend(payloads)
        if size >= self._chunk:
            self._chunk = min(2 * self._chunk, _LARGEST_CHUNK)
            self._little = min(self._chunk, _LITTLE)
        elif not size:
            self.ended = _end_of_stream(framer)
            return
        if framer.idle:
            self.clock = None
        elif framer.error is not None:
            self.ended = framer.error
        elif self.clock is None or payloads:
            self.clock = FrameClock(self.frame_timeout)
        else:
            self.clock.received += size
        if self.clock is not None and framer.missing() >= _LARGE and self.ended is None:
            self._begin_large()

    def _begin_large(self) -> None:
        """Has the rest of a large frame received straight into the memory of its value.

        Memory is asked for when it is little, or when a good part of the frame has come.
        """
        framer, missing = self._framer, self._framer.missing()
        assert self.clock is not None
        if isinstance(framer, RpycFramer) and missing <= max(_TRUSTED, 16 * self.clock.received):
            started = framer.take_started()
            if started is not None:
                self._large = LargeFrame(*started, self.spot, self.lift)

    def _fill(self, large: LargeFrame, landed: Any) -> list[bytes]:
        """Returns the payload of a large frame if these bytes, or as many, complete it."""
        if type(landed) is bytes:  # a stream without memory of its own was interrupted
            large.view[: len(landed)] = landed
            landed = len(landed)
        self._stream.landed = True
        count: int = landed
        assert self.clock is not None
        self.arrivals += count
        if not count:
            self.ended = _cut_off()
            return []
        self.clock.received += count
        if not large.took(count):
            return []
        self._large = self.clock = None
        if large.trailer != b"\n":
            self.ended = MalformedFrame(
                f"expected a newline after the payload, got {large.trailer!r}"
            )
            return []
        return [large.payload()]

    def frame_left(self) -> float | None:
        """Returns the seconds in which a started frame must be complete, None if there is none."""
        return None if self.clock is None else self.clock.left()

    def pull(self) -> bool:
        try:
            return self._pull()
        except BaseException as error:
            self._note_interrupt(error)
            raise

    def _pull(self) -> bool:
        before = len(self.payloads)
        while self._queued_bytes < self.max_queued and self.ended is None:
            data = self._again()
            if data is None and self._large is not None:
                data = self._stream.recv_into(self._large.view)
            elif data is None:
                data = self._stream.recv_some()
            if data is None:
                return True
            if self._large is not None:
                payloads = self._fill(self._large, data)
                self.payloads.extend(payloads)
                self._queued_bytes += sum(map(_held_by, payloads))
                self._stream.landed = None
                continue
            self.arrivals += len(data)
            count = self._take(data)
            for place in range(len(self.payloads) - count, len(self.payloads)):
                self._queued_bytes += _held_by(self.payloads[place])
            self._stream.landed = None
        return len(self.payloads) > before


def _held_by(payload: Any) -> int:
    """Returns how many bytes a queued payload takes; a message that has been opened is not counted.

    One out of which a large value has been lifted has it as an attribute.
    """
    if not isinstance(payload, bytes):
        return 0
    value = b"" if type(payload) is bytes else getattr(payload, "value", b"")
    return len(payload) + len(value) + _OVERHEAD


class LargeFrame:
    """A large frame whose rest is received into the memory that its payload is made of.

    Where a codec spots a large value in the beginning, that is received into memory of its own, so
    that it is never copied.

    Args:
        size: of the payload.
        start: what has come of it.
        spot: returns where in ``start`` the content of a large value begins, or None; the value's
            size is in the four bytes before.
        lift: makes a payload of what is before and after it and the value.
    """

    def __init__(
        self,
        size: int,
        start: bytes,
        spot: Callable[[bytes], int | None],
        lift: Callable[[bytes, bytes, bytes], bytes] | None,
    ) -> None:
        self.view = memoryview(b"")  # until there is memory, which may be short
        self._views: list[memoryview] = []
        place = spot(start) if lift is not None else None
        length = 0
        if place is not None:
            length = int.from_bytes(start[place - 4 : place], "big")
            if place + length > size or length < size // 2:
                place = None
        if place is None:
            place, length, lift = 0, size, None
        self._lift = lift
        self._before, start = start[:place], start[place:]
        # A BytesIO hands its memory over as bytes, without a copy.
        self._memory = io.BytesIO(bytes(length))
        self._rest = bytearray(size - place - length + 1)
        self._views += [self._memory.getbuffer(), memoryview(self._rest)]
        self.view = self._views.pop(0)
        while start:
            room = min(len(start), len(self.view))
            self.view[:room] = start[:room]
            self.took(room)
            start = start[room:]

    def __del__(self) -> None:
        # A BytesIO cannot be closed while its memory is in use: in a frame that has been cut off.
        # An interrupt may have come before there was any.
        for view in (*self.__dict__.get("_views", ()), self.__dict__.get("view")):
            if view is not None:
                view.release()

    def took(self, count: int) -> bool:
        """Notes that so many bytes have been put into ``view``; returns whether that was all."""
        view, self.view = self.view, self.view[count:]
        view.release()
        if not self.view and self._views:
            self.view.release()
            self.view = self._views.pop(0)
        return not self.view

    @property
    def trailer(self) -> bytes:
        """What stands after the payload."""
        return bytes(self._rest[-1:])

    def payload(self) -> bytes:
        """Returns the payload."""
        self.view.release()
        value = self._memory.getvalue()
        if self._lift is None:
            return value
        return self._lift(self._before, value, bytes(self._rest[:-1]))


def _nothing_spotted(start: bytes) -> int | None:
    return None


class FrameClock:
    """Watches over a frame that has been started.

    It must be complete ``timeout`` seconds after its start, and 1 second later for each 4 KiB of it
    that have come.

    Args:
        timeout: None to wait for ever.
    """

    SLOWEST = 4096

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._start = primitives.monotonic()
        self.received = 0

    def left(self) -> float | None:
        """Returns the seconds that are left, None for ever."""
        if self._timeout is None:
            return None
        end = self._start + self._timeout + self.received / self.SLOWEST
        return max(0.0, end - primitives.monotonic())

    def shorten(self, timeout: float | None) -> float | None:
        """Returns the shorter one of ``timeout`` and what is left."""
        left = self.left()
        return timeout if left is None or (timeout is not None and timeout < left) else left

    def expired(self) -> bool:
        """Returns whether the frame should have come."""
        return self.left() == 0

    def error(self) -> LimitExceeded:
        """Returns the error for a frame that takes too long."""
        assert self._timeout is not None
        return LimitExceeded(
            "seconds for a frame that has been started",
            round(primitives.monotonic() - self._start, 1),
            self._timeout,
            "frame_timeout",
        )


def _end_of_stream(framer: Framer) -> Exception:
    return ConnectionClosed("connection closed by peer") if framer.idle else _cut_off()


def _cut_off() -> Exception:
    closed = ConnectionClosed("connection closed by peer in the middle of a frame")
    closed.__cause__ = MalformedFrame("frame ends early")
    return closed


class StreamReceiver:
    """Receives over a program's own stream class, through its ``poll`` and ``read``."""

    payloads: Collection[bytes] = ()

    def __init__(self, stream: Stream, framer: Framer) -> None:
        self._stream = stream
        self._framer = framer

    def pull(self) -> bool:
        """Does nothing: such a stream cannot be read without waiting."""
        return False

    def receive(self, timeout: float | None, open: Opener = None) -> bytes | None:
        if not self._stream.poll(timeout):
            return None
        while True:
            for payload in self._framer.feed(self._stream.read(self._framer.missing())):
                return payload
            if self._framer.error is not None:
                raise self._framer.error


class ChannelReceiver:
    """Receives over a program's own channel class, through its ``poll`` and ``recv``."""

    payloads: Collection[bytes] = ()

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def pull(self) -> bool:
        """Does nothing: such a channel cannot be read without waiting."""
        return False

    def receive(self, timeout: float | None, open: Opener = None) -> bytes | None:
        if not self._channel.poll(timeout):
            return None
        payload = self._channel.recv()
        if type(payload) is not bytes:
            raise ProtocolError(f"expected bytes from recv(), got {type(payload).__name__}")
        return payload


class Waiter:
    """A thread that waits on a connection, and what other threads hand to it."""

    __slots__ = ("_signal", "awaited", "dormant", "ident", "inbox", "roused", "since")

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.awaited: Any = None
        """The result that it waits for; of several, the innermost."""
        self.dormant = False
        """Whether it sleeps, or looks around before: then it acts on what is filed, once woken."""
        self.roused = False
        """Whether it has been woken for a request that is left to serving threads."""
        self.inbox: deque[Any] = deque()
        self.since = 0.0
        """When its thread last took something out of the inbox, or the inbox was empty."""
        self._signal = primitives.Lock()

    @property
    def asleep(self) -> bool:
        """Whether nobody has woken the thread since :meth:`arm`."""
        return self._signal.locked()

    def arm(self) -> None:
        """Forgets earlier wake-ups; a :meth:`wake` from now on ends the next :meth:`sleep`."""
        self._signal.acquire(False)

    def wake(self) -> None:
        """Ends the thread's sleep, or the next one."""
        try:
            self._signal.release()
        except RuntimeError:
            pass  # awake already

    def sleep(self, timeout: float | None) -> None:
        """Sleeps until woken or until ``timeout`` seconds have passed."""
        self._signal.acquire(True, -1 if timeout is None else timeout)


class DispatchLock:
    """The lock of a reading role whose payloads go to a method of the program.

    It stays locked after :meth:`release` until what was read has been passed on. Its thread can
    lock it again meanwhile, which is how such a method asks the peer.
    """

    __slots__ = ("_holds", "_kept", "_lock", "_owner")

    def __init__(self) -> None:
        self._lock = primitives.Lock()
        self._owner: int | None = None
        self._holds = 0  # acquisitions that have not been released
        self._kept = 0  # payloads that have not been passed on

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Lock it, as :meth:`threading.Lock.acquire`."""
        if self._owner == get_ident() and self._kept and not self._holds:
            self._holds = 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner, self._holds = get_ident(), 1
        return True

    def release(self) -> None:
        """Unlock it, unless something that was read has to be passed on."""
        self._holds = 0
        self._unlock()

    def _unlock(self) -> None:
        if not self._holds and not self._kept:
            self._owner = None
            self._lock.release()

    def locked(self) -> bool:
        """Return whether it is locked, for other threads."""
        return self._lock.locked()

    def keep(self) -> None:
        """Keep it locked until what was read is passed on. For the thread that has it."""
        self._kept += 1

    @property
    def kept(self) -> int:
        """How many payloads the current thread has to pass on."""
        return self._kept if self._owner == get_ident() else 0

    def passed(self) -> bool:
        """Note that one of those has been passed on; return whether there was one."""
        if not self.kept:
            return False
        self._kept -= 1
        self._unlock()
        return True


class ReadingRole:
    """Who reads from the stream: one thread at a time, the others sleep or work.

    The lock inside guards the receiver. It is held while waiting for bytes and never while user
    code runs. Leaving wakes exactly one sleeping thread, and no other takes the role meanwhile.

    A signal handler may raise an exception anywhere. So the role is taken inside of ``try``, and
    one step takes the lock and notes that: ``(taken,) = map(lock.acquire, AT_ONCE)``. Python calls
    ``acquire`` while it unpacks, and runs no handler before it has stored the result. The first
    thing that ``finally`` calls gives the lock back, ``if taken``: before that, none is run either.
    """

    __slots__ = ("inside", "insides", "kept_by", "lock", "offered", "sleepers")

    def __init__(self) -> None:
        self.inside: int | None = None
        """The thread that has the role, and reads on in what has interrupted its own reading."""
        self.insides = 0
        """How often a thread has done so."""
        self.offered: Waiter | None = None
        """Who has been woken to take the role and is on its way: a hint, not a promise."""
        self.kept_by: int | None = None
        """The thread that has the role for good, and never waits for a single peer."""
        # The driver's usual paths use these two directly, as enter() and leave() do.
        self.lock: primitives.Lock | DispatchLock = primitives.Lock()
        self.sleepers: deque[Waiter] = deque()

    def enter(self) -> bool:
        """Takes the role if it is free."""
        return self.lock.acquire(False)

    def leave(self) -> None:
        """Gives the role back and offers it to a sleeping thread."""
        self.lock.release()
        if self.sleepers:
            self.offer()

    def offer(self) -> None:
        """Wakes one sleeping thread if the role is free."""
        while not self.lock.locked() and self.offered is None:
            try:
                waiter = self.offered = self.sleepers[0]
            except IndexError:
                self.offered = None
                return
            try:
                self.sleepers.remove(waiter)
            except ValueError:  # it does not sleep any more
                self.offered = None
            else:
                if waiter.asleep:
                    waiter.wake()
                else:  # woken for something else; it offers the role on when it goes
                    self.offered = None

    def sleep(self, waiter: Waiter, stop: Any, timeout: float | None) -> None:
        """Sleeps until the role may be free, the waiter is woken, or the time is over.

        Args:
            stop: asked once more before sleeping; a true answer means not to sleep.
        """
        waiter.arm()
        waiter.dormant = True
        self.sleepers.append(waiter)
        try:
            if self.lock.locked():
                if not stop():
                    waiter.sleep(timeout)
            elif self.offered is not None and not stop():
                waiter.sleep(_ON_ITS_WAY if timeout is None else min(timeout, _ON_ITS_WAY))
                if not self.lock.locked():
                    self.offered = None
        finally:
            self.wake_up(waiter)

    def wake_up(self, waiter: Waiter) -> None:
        """Notes that a thread does not sleep any more, whatever has woken it."""
        waiter.dormant = False
        try:
            self.sleepers.remove(waiter)
        except ValueError:
            pass  # the role was offered; whoever does not take it must offer it on
        if self.offered is waiter:
            self.offered = None

    # The face of a lock, for programs that hold others back from receiving.

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the role, waiting for it if ``blocking``."""
        return self.lock.acquire(blocking, timeout)

    release = leave

    def __enter__(self) -> ReadingRole:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()
