"""Sending as a role: frames stay whole, whoever comes when."""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any

import pytest

from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.sending import FrameSender
from rpyc_like.link.streams import MemoryStream, PipeStream, SocketStream
from rpyc_like.link.streams.base import NativeStream, noting
from rpyc_like.wire.framing import ErlangFramer


class Recorder(NativeStream):
    """Takes at most ``room`` bytes at once, then is full for one attempt."""

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.data = b""
        self.full = False

    def send_some(self, data: bytes | memoryview) -> int:
        if self.full:
            self.full = False
            return 0
        taken = bytes(data[: self.room])
        self.full = len(taken) < len(data)
        self.data += taken
        return len(taken)

    def wait(self, events: int, timeout: float | None) -> int:
        return events


class RoleTakenLate:
    """The role's lock, where something happens in the moment before it is taken first."""

    def __init__(self, lock: Any, before: Any) -> None:
        self.lock = lock
        self.before = before

    def acquire(self, *args: Any) -> bool:
        before, self.before = self.before, None
        if before is not None:
            before()
        return bool(self.lock.acquire(*args))

    def release(self) -> None:
        self.lock.release()


def test_a_frame_never_lands_inside_another() -> None:
    """A thread that found the queue empty, and gets the role when another has left half a frame."""
    stream = Recorder()
    sender = FrameSender(stream, ErlangFramer(1))
    frame = ErlangFramer(1).encode(b"first")
    stream.data = frame[:3]  # another thread has written so much, queued the rest, left the role

    def leave_half() -> None:
        sender.queue.appendleft(memoryview(frame)[3:])

    sender._role = RoleTakenLate(threading.Lock(), leave_half)  # type: ignore[assignment]
    sender.send(b"second")
    assert ErlangFramer(1).feed(stream.data) == [b"first", b"second"]


def test_no_frame_is_lost_that_another_thread_queues() -> None:
    """A frame that is queued before any line of a write leaves, and so does the one written."""
    lines: list[int] = []

    def write(line: int | None) -> bytes:
        """Write a frame, with another one queued before a line; return what has gone."""
        stream = Recorder()
        sender = FrameSender(stream, ErlangFramer(1))

        def trace(frame: Any, event: str, _: Any) -> Any:
            if frame.f_code is not FrameSender.try_frame.__code__:
                return None
            if event == "line":
                lines.append(frame.f_lineno)
                if line is not None and frame.f_lineno == line:
                    sender.hold(b"other")
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            sender.try_frame(b"mine")
        finally:
            sys.settrace(before)
        sender.flush()
        return stream.data

    assert write(None) == b"mine"
    for line in sorted({*lines}):
        assert sorted(write(line)) == sorted(b"mine" + b"other"), line


@pytest.mark.parametrize("room", [1, 3, 7, 1000])
def test_partial_writes(room: int) -> None:
    """Frames that leave in pieces arrive whole and in order."""
    stream = Recorder(room)
    sender = FrameSender(stream, ErlangFramer(2))
    payloads = [b"x" * size for size in (1, 50, 2, 300)]
    for payload in payloads:
        sender.send(payload)
    sender.send(b"a", b"b")
    assert ErlangFramer(2).feed(stream.data) == [*payloads, b"a", b"b"]


def test_try_send_leaves_the_rest_for_later() -> None:
    """What does not go without waiting goes ahead of the next frame."""
    stream = Recorder(3)
    sender = FrameSender(stream, ErlangFramer(1))
    assert not sender.try_send(b"hello")
    stream.room = 100
    sender.send(b"after")
    assert ErlangFramer(1).feed(stream.data) == [b"hello", b"after"]
    assert sender.try_send(b"fits")


class Noting(Recorder):
    """Says how much has gone, and is interrupted right after."""

    interrupted = 0

    @noting
    def send_some(self, data: bytes | memoryview) -> int:
        self.went = super().send_some(data)
        if self.interrupted:
            self.interrupted -= 1
            raise KeyboardInterrupt
        return self.went

    @noting
    def send_vector(self, buffers: Any) -> int:
        return self.send_some(buffers[0])


@pytest.mark.parametrize("room", [3, 1000])
def test_a_frame_that_was_interrupted_is_completed(room: int) -> None:
    """What has gone of a frame is not sent again, and the rest goes ahead of the next one."""
    stream = Noting(room)
    sender = FrameSender(stream, ErlangFramer(1))
    seen: list[str] = []
    sender.interrupted = seen.append
    stream.interrupted = 1
    with pytest.raises(KeyboardInterrupt):
        sender.send(b"hello")
    sender.send(b"after")
    assert ErlangFramer(1).feed(stream.data) == [b"hello", b"after"]
    assert seen == [""]


def test_an_interrupted_write_poisons() -> None:
    """After a write that was interrupted nothing is sent, because the stream may be torn."""
    stream = Recorder()
    sender = FrameSender(stream, ErlangFramer(1))

    def interrupted(data: Any) -> int:
        raise KeyboardInterrupt

    stream.send_some = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        sender.send(b"x")
    del stream.send_some
    with pytest.raises(ConnectionClosed, match="interrupted"):
        sender.send(b"y")
    assert stream.data == b""


def _sockets() -> Any:
    return map(SocketStream, socket.socketpair())


@pytest.mark.parametrize("pair", [_sockets, PipeStream.create_pair, MemoryStream.create_pair])
def test_what_a_login_has_written_is_no_part_of_a_frame(pair: Any) -> None:
    """Bytes that went by another way, before the sender began, are not taken off its queue."""
    here, there = pair()
    try:
        here.write(b"login")
        sender = FrameSender(here, ErlangFramer(1))
        sender.hold(sender.encode(b"first"))
        assert sender.try_send()
        assert there.read(11) == b"login\x05first"
    finally:
        here.close()
        there.close()
