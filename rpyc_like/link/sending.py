"""Putting payloads on a stream or channel. Sending is a role, not a lock around a write.

A frame is queued, and whoever finds the role free writes the queue out. Nobody else waits, unless
the queue is long. A full stream makes the writer read meanwhile, so that two sides that both send
much cannot block each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ConnectionClosed, LocalProtocolError
from ..lib import primitives
from ..lib.timing import Timeout
from ..wire.framing import Framer
from . import forking
from .receiving import AT_ONCE
from .streams.base import WRITE, NativeStream, Stream

__all__ = ["SEND_TIMEOUT", "BlockingSender", "FrameSender", "PeerStuck", "Sender"]

_JOIN = 1 << 16
_HIGH_WATER = 1 << 20
_VECTOR = 16  # buffers in one write
_SLICE = 0.05

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
        self.interrupted: Callable[[str], None] | None = None
        """Ends the connection: an exception came while a frame was written, perhaps in half."""
        self._torn = False
        self.orphan()
        forking.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        self._role = primitives.Lock()  # guards the head of queue, and the stream's write side

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to be written."""
        return not self.queue

    def send(self, *payloads: Any) -> None:
        frame: Any
        frame = self._framer.encode(payloads[0]) if len(payloads) == 1 else self._frames(payloads)
        if type(frame) is list:
            self.queue.extend(frame)
            self.flush()
        else:
            self.send_frame(frame)

    def send_frame(self, frame: bytes) -> None:
        """Sends one whole frame."""
        if not self.try_frame(frame):
            self.flush()

    def try_frame(self, frame: bytes) -> bool:
        """Writes what goes of a frame at once and queues the rest; returns whether all went."""
        queue = self.queue
        taken = False  # see ReadingRole
        sent = None
        try:
            (taken,) = map(self._role.acquire, AT_ONCE)
            if not taken or queue:
                queue.append(frame)
            else:
                # Nobody sends: the frame leaves at once, in one write.
                sent = self._stream.send_some(frame)
                if sent < len(frame):
                    queue.appendleft(memoryview(frame)[sent:] if sent else frame)
                    sent = len(frame)
        except BaseException as error:
            if taken and sent != len(frame):
                self._torn = True
                self._check_whole(error)
            raise
        finally:
            if taken:
                self._role.release()
        return not queue

    def encode(self, payload: bytes) -> bytes:
        """Returns the frame of a payload."""
        frame: bytes = self._framer.encode(payload)
        return frame

    def hold(self, frame: bytes) -> None:
        """Queues a frame, which leaves with the next one that is sent, or with :meth:`flush`."""
        self.queue.append(frame)

    @property
    def held(self) -> int:
        """How many frames are queued."""
        return len(self.queue)

    def _frames(self, payloads: tuple[Any, ...]) -> Any:
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

    def _check_whole(self, error: BaseException) -> None:
        """End the connection if an exception may have come in the middle of a frame.

        A signal handler may raise one anywhere. The peer must not wait for the rest.
        """
        if not self._torn or isinstance(error, ConnectionClosed):
            return
        self.queue.append(b"")  # no frame is written at once any more
        interrupted = self.interrupted  # None, as the other, when the connection has ended
        if interrupted is not None:
            interrupted("a write was interrupted in the middle of a frame")

    def _drain(self, wait: bool) -> bool:
        try:
            return self._drain_whole(wait)
        except BaseException as error:
            self._check_whole(error)
            raise

    def _drain_whole(self, wait: bool) -> bool:
        queue = self.queue
        if self._torn:
            raise ConnectionClosed("an earlier write was interrupted in the middle of a frame")
        patience: Timeout | None = None  # runs while nothing goes
        while queue:
            if len(queue) > 1:
                self._join()
            self._torn = True
            try:
                waiting = [queue[0]]
                if len(queue) > 1 and self._stream.gathers:
                    waiting = list(queue)[:_VECTOR]
                sent = self._stream.send_vector(waiting)
                full = sent < sum(map(len, waiting))
                if sent:
                    patience = None
                for part in waiting:
                    if sent < len(part):
                        break
                    sent -= len(part)
                    queue.popleft()
                if sent:
                    queue[0] = memoryview(queue[0])[sent:]
            except ConnectionClosed:
                queue.clear()
                raise
            self._torn = False
            if full:
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

    def _join(self) -> None:
        """Makes one chunk of the small frames at the head of the queue."""
        queue = self.queue
        if len(queue[0]) + len(queue[1]) > _JOIN or type(queue[0]) is memoryview:
            return
        parts: list[bytes | memoryview] = [queue[0]]
        size = len(queue[0])
        for frame in list(queue)[1:]:
            size += len(frame)
            if size > _JOIN:
                break
            parts.append(frame)
        chunk = b"".join(parts)
        self._torn = True  # until the chunk is in the place of its frames
        for _ in range(len(parts) - 1):
            queue.popleft()
        queue[0] = chunk
        self._torn = False

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
        forking.remember(self)

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
