"""Putting payloads on a stream or channel. Sending is a role, not a lock around a write.

A frame is queued, and whoever finds the role free writes the queue out. Nobody else waits, unless
the queue is long. A full stream makes the writer read meanwhile, so that two sides that both send
much cannot block each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol, TypeVar

from ..errors import ConnectionClosed, LocalProtocolError
from ..lib import primitives
from ..lib.interrupts import raised_by_handler
from ..lib.timing import Timeout
from ..wire.framing import Framer
from . import fork
from .receiving import AT_ONCE
from .streams.base import WRITE, NativeStream, Stream

__all__ = ["SEND_TIMEOUT", "BlockingSender", "FrameSender", "PeerStuck", "Sender"]

_JOIN = 1 << 16
_HIGH_WATER = 1 << 20
_VECTOR = 16  # buffers in one write
_SLICE = 0.05
_TORN = "a write was interrupted in the middle of a frame"

SEND_TIMEOUT = 300.0
"""Default time for which a peer may take nothing in while something is sent to it, in seconds."""


class PeerStuck(ConnectionClosed):
    """The peer has taken nothing in for too long. Whoever ends the connection logs that."""


class Sender(Protocol):
    """Where a driver puts payloads. Any thread may call, finalizers and signal handlers may not."""

    def send(self, *payloads: Any) -> None:
        """Sends payloads, in one write if they are small.

        Raises:
            ConnectionClosed: the stream broke.
        """

    def try_send(self, *payloads: Any) -> bool:
        """Queues payloads and writes what goes without waiting; returns whether all has gone."""


_ENTRANCES: set[CodeType] = set()


_Func = TypeVar("_Func", bound=Callable[..., Any])


def takes_over(func: _Func) -> _Func:
    """Mark a method that sends or queues a frame, or is called before by one that does.

    Once its first statement has begun, a signal handler that raises an exception stops nothing.
    """
    _ENTRANCES.add(func.__code__)  # type: ignore[attr-defined]
    return func


def _at_entrance(error: BaseException) -> bool:
    """Return whether an exception came when a method that is to take a frame over was called.

    Python runs signal handlers there, and after calls of C functions. This is found out by a look
    at the traceback, so that the usual way costs nothing.
    """
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if code in _ENTRANCES and step.tb_lineno == code.co_firstlineno:
            return True
        step = step.tb_next
    return False


class FrameSender:
    """Sends over a native stream.

    Args:
        blocked: called by the writer when the stream is full; it takes in what the peer sends and
            returns when more might fit. Without it the writer just waits.
    """

    def __init__(
        self,
        stream: NativeStream,
        framer: Framer,
        blocked: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self._framer = framer
        self.blocked = blocked
        self.timeout: float | None = SEND_TIMEOUT
        """Seconds without any progress after which the peer is given up; None for never."""
        self.queue: deque[bytes | memoryview] = deque()
        self.broken = False
        """Whether a write has failed."""
        self.interrupted: Callable[[str], None] | None = None
        """Called after an exception that is none of the stream's, a signal handler's for example.

        Is given what was interrupted where nobody knows how much has gone, so that the connection
        must end; otherwise nothing, and has what is queued sent soon. None when the connection has
        ended, as ``blocked`` is then.
        """
        self._torn = False  # whether nobody knows how much has gone of what is queued
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        self._role = primitives.Lock()  # guards the head of queue, and the stream's write side

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to be written."""
        return not self.queue

    def send(self, *payloads: Any) -> None:
        frame: Any = None
        try:
            if len(payloads) == 1:
                frame = self._framer.encode(payloads[0])
            else:
                frame = self._frames(payloads)
            if type(frame) is not list:
                if not self.try_frame(frame):
                    self.flush()
            else:
                queue = self.queue
                queue += frame
                frame = ()  # no call since
                self.flush()
        except BaseException as error:
            own = isinstance(error, (ConnectionClosed, LocalProtocolError))
            if own and not raised_by_handler(error):
                raise
            # The references in it have been counted: it leaves all the same.
            if frame is None or type(frame) is list:
                frame = self._frames(payloads)
                self.queue.extend(frame if type(frame) is list else [frame])
                frame = ()
            self.resume(error, frame)
            raise

    @takes_over
    def send_frame(self, frame: bytes) -> None:
        """Sends one whole frame."""
        if not self.try_frame(frame):
            self.flush()

    def resume(self, error: BaseException, frame: Any) -> None:
        """Has what is queued sent soon, after an exception of a signal handler.

        Args:
            error: may have come anywhere.
            frame: was about to leave; it is queued if the methods for that have not begun.
        """
        if type(frame) is bytes and _at_entrance(error):
            self.hold(frame)
        interrupted = self.interrupted
        if interrupted is not None:
            interrupted(_TORN if self._torn else "")

    def _note_interrupt(self) -> None:
        """Note that a write was interrupted, which a stream that takes notes survives."""
        stream = self._stream
        if not all(hasattr(one, "notes") for one in (stream.send_some, stream.send_vector)):
            self._torn = True

    @takes_over
    def try_frame(self, frame: bytes) -> bool:
        """Writes what goes of a frame at once and queues the rest; returns whether all went."""
        queue = self.queue
        taken = False  # see ReadingRole
        sent: Any = True
        try:
            (taken,) = map(self._role.acquire, AT_ONCE)
            # No call, while which a signal handler might run, before what is done is noted.
            queue += (frame,)
            if not taken or queue[0] is not frame:
                sent = None
            else:
                # Nobody sends: the frame leaves at once, in one write.
                stream = self._stream
                sent = stream.send_some(frame)
                if sent == len(frame):
                    del queue[0]
                    stream.went = 0
                else:
                    stream.went = sent
                    self._settle()
        except BaseException as error:
            if isinstance(error, ConnectionClosed) and not raised_by_handler(error):
                if taken:
                    self._drop()
                raise
            if sent is True and not any(one is frame for one in queue.copy()):
                self.hold(frame)  # it had not begun
            if taken:
                self._note_interrupt()
            raise
        finally:
            if taken:
                self._role.release()
        return not queue

    def _drop(self) -> None:
        """Forget what is queued: the stream has broken."""
        self.broken = True
        self.queue.clear()
        self._stream.went = 0

    def encode(self, payload: bytes) -> bytes:
        """Returns the frame of a payload."""
        frame: bytes = self._framer.encode(payload)
        return frame

    @takes_over
    def hold(self, frame: bytes) -> None:
        """Queues a frame, which leaves with the next one that is sent, or with :meth:`flush`."""
        self.queue.append(frame)

    @property
    def held(self) -> int:
        """How many frames are queued."""
        return len(self.queue)

    def _frames(self, payloads: tuple[Any, ...]) -> Any:
        """Returns the frames of payloads as one, or a list of parts where one of them is large."""
        encode = self._framer.encode
        frames = [encode(payload) for payload in payloads]
        if not any(type(frame) is list for frame in frames):
            return b"".join(frames)
        parts: list[bytes] = []
        for frame in frames:
            parts += frame if type(frame) is list else [frame]
        return parts

    def flush(self) -> None:
        """Writes out what is queued."""
        while self.queue:
            role = self._role
            taken = False  # see ReadingRole
            try:
                (taken,) = map(role.acquire, AT_ONCE)
                if not taken and sum(map(len, self.queue.copy())) >= _HIGH_WATER:
                    (taken,) = map(role.acquire, (True,), (_SLICE,))
                if taken:
                    self._drain(wait=True)
            finally:
                if taken:
                    role.release()
            # The holder looks at the queue again before and after it leaves the role.
            if not taken and sum(map(len, self.queue.copy())) < _HIGH_WATER:
                return

    def try_send(self, *payloads: Any) -> bool:
        if payloads:
            frames = self._frames(payloads)
            self.queue.extend(frames if type(frames) is list else [frames])
        while self.queue:
            role = self._role
            taken = False  # see ReadingRole
            try:
                (taken,) = map(role.acquire, AT_ONCE)
                done = taken and self._drain(wait=False)
            finally:
                if taken:
                    role.release()
            if not done:
                break
        return not self.queue

    def _settle(self) -> None:
        """Take what has gone off the queue, in steps of which each is whole or has not begun.

        A signal handler may raise an exception in the middle; then the next writer goes on.
        """
        queue, stream = self.queue, self._stream
        while stream.went or (queue and not queue[0]):
            head = queue[0]
            size = len(head)
            if stream.went < size:
                rest = memoryview(head)[stream.went :]
                queue[0] = rest
                stream.went = 0
            else:  # no call in between
                del queue[0]
                stream.went -= size

    def _drain(self, wait: bool) -> bool:
        try:
            return self._write_out(wait)
        except BaseException as error:
            if not isinstance(error, ConnectionClosed) or raised_by_handler(error):
                self._note_interrupt()
            raise

    def _write_out(self, wait: bool) -> bool:
        queue, stream = self.queue, self._stream
        if self._torn:
            raise ConnectionClosed(_TORN)
        self._settle()  # after an earlier writer that was interrupted
        patience: Timeout | None = None  # runs while nothing goes
        while queue:
            waiting = self._batch()
            size = sum(map(len, waiting))
            try:
                sent = stream.went = stream.send_vector(waiting)
                self._settle()
            except ConnectionClosed as error:
                if not raised_by_handler(error):
                    self._drop()
                raise
            if sent:
                patience = None
            if sent < size:
                if not wait:
                    return False
                if patience is None:
                    patience = Timeout(self.timeout)
                elif patience.expired():
                    size = sum(map(len, queue.copy()))
                    queue.clear()
                    raise PeerStuck(
                        f"the peer has taken nothing in for {self.timeout:g} s, with {size} bytes "
                        "to be sent (configuration key 'send_timeout')"
                    )
                self._wait_for_room()
        return True

    def _batch(self) -> list[bytes | memoryview]:
        """Returns what is to be written next; the small frames at the head of the queue as one."""
        queue = self.queue
        if len(queue) == 1:
            return [queue[0]]
        frames = list(queue)
        count = size = 0
        if type(frames[0]) is not memoryview:
            for frame in frames:
                size += len(frame)
                if size > _JOIN:
                    break
                count += 1
        more = _VECTOR - 1 if self._stream.gathers else 0
        if count < 2:
            return frames[: 1 + more]
        return [b"".join(frames[:count]), *frames[count : count + more]]

    def _wait_for_room(self) -> None:
        blocked = self.blocked
        if blocked is None:
            self._stream.wait(WRITE, _SLICE)
        else:
            blocked()


class BlockingSender:
    """Sends through a blocking ``write`` or ``send`` of the program's own.

    Args:
        write: writes one whole item.
        encode: makes an item of a payload.
    """

    def __init__(self, write: Callable[[bytes], Any], encode: Callable[[bytes], bytes]) -> None:
        self._write = write
        self._encode = encode
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        self._lock = primitives.RLock()  # guards the order of whole items on the program's stream

    @classmethod
    def over_stream(cls, stream: Stream, framer: Framer) -> BlockingSender:
        """Returns a sender for a program's own stream class."""
        return cls(stream.write, framer.encode)

    @classmethod
    def over_channel(cls, channel: Any) -> BlockingSender:
        """Returns a sender for a program's own channel class."""
        return cls(channel.send, lambda payload: payload)

    def send(self, *payloads: Any) -> None:
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise LocalProtocolError(
                "a signal handler or finalizer sends over the connection that its thread writes "
                "to at this moment; expected another connection, or another thread"
            )
        with self._lock:
            for payload in payloads:
                whole = b"".join(payload) if type(payload) is list else payload
                self._write(self._encode(whole))

    def try_send(self, *payloads: Any) -> bool:
        self.send(*payloads)
        return True
