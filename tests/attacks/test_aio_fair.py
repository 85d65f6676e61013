"""On a loop, one peer's large messages and slow reading do not hold up the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.core.encoding.codec import RpycCodec
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import SocketStream
from tests.support.eventually import eventually

from .served import Served

MANY = (1,) * 1_200_000  # 1.2 MB of brine, decoded item by item


class Answers(rpyc.Service):
    """Gives and takes."""

    def __init__(self) -> None:
        self.watching, self.cancelled = threading.Event(), threading.Event()
        self.released = threading.Event()

    def exposed_watch(self) -> None:
        call = rpyc.current_call()
        assert call is not None
        self.watching.set()
        while not self.released.wait(0.01):
            if call.cancelled:
                self.cancelled.set()
                break

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_size(self, data: Any) -> int:
        return len(data)

    async def exposed_data(self, size: int) -> bytes:
        return os.urandom(size)


class Raw:
    """A client that sends requests and reads nothing."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.channel = Channel(SocketStream(self.sock), compress=False)
        self.number = 0

    def request(self, handler: int, boxed: Any) -> None:
        self.number += 1
        self.channel.send(b"\x01" + brine.dump((self.number, (handler, boxed))))

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hold up the decoding of large messages; return two events: that it has begun, and may end."""
    begun, released = threading.Event(), threading.Event()
    decode = RpycCodec.decode

    def slow(codec: RpycCodec, payload: bytes) -> Any:
        if len(payload) > 1_000_000:
            begun.set()
            assert released.wait(60)
        return decode(codec, payload)

    monkeypatch.setattr(RpycCodec, "decode", slow)
    yield begun, released
    released.set()


@pytest.mark.parametrize("kind", ["pool", "aio", "aio on the loop"])
def test_large_messages_are_decoded_apart(served: Served, decoding: Any, kind: str) -> None:
    """Others are served while one message is being decoded; its connection keeps the order."""
    begun, released = decoding
    server = served.server(kind, Answers)
    sender, other = served.client(server), served.client(server)
    size = sender.async_request(consts.HANDLE_CALLATTR, sender.root, "size", (MANY,), ())
    after = sender.async_request(consts.HANDLE_CALLATTR, sender.root, "add", (1, 2), ())
    assert begun.wait(60)
    for number in range(10):
        assert other.root.add(number, 1) == number + 1
    assert not after.ready
    released.set()
    assert size.value == len(MANY)
    assert after.value == 3


def test_the_watchdog_decodes_no_large_message(served: Served, decoding: Any) -> None:
    """While one is being decoded, the calls of other connections can still be cancelled."""
    begun, released = decoding
    service = Answers()
    server = served.server("threads", service)
    sender, other = served.client(server), served.client(server)
    sender.async_request(consts.HANDLE_CALLATTR, sender.root, "watch", (), ())
    assert service.watching.wait(60)
    size = sender.async_request(consts.HANDLE_CALLATTR, sender.root, "size", (MANY,), ())
    assert begun.wait(60)
    service.watching.clear()
    watch = other.async_request(consts.HANDLE_CALLATTR, other.root, "watch", (), ())
    assert service.watching.wait(60)
    other.give_up(watch)
    assert service.cancelled.wait(60)
    service.released.set()
    released.set()
    assert size.value == len(MANY)


def test_closing_while_a_message_is_decoded(served: Served, decoding: Any) -> None:
    """What has been decoded for a peer that is gone is dropped."""
    begun, released = decoding
    server = served.server("aio", Answers)
    sender, other = served.client(server), served.client(server)
    sender.async_request(consts.HANDLE_CALLATTR, sender.root, "size", (MANY,), ())
    assert begun.wait(60)
    there = next(conn for conn in server.connections if not conn._link.lost)
    for conn in server.connections:
        if conn._link._decoding:
            there = conn
    server.loop.call_soon_threadsafe(there._link.lose, None)
    eventually(lambda: there._link.lost)
    released.set()
    assert other.root.add(1, 2) == 3
    eventually(lambda: len(server.connections) == 1)


def test_a_large_malformed_message_ends_its_connection_only(served: Served) -> None:
    """An error found in a thread is what one found on the loop is."""
    server = served.server("aio", Answers)
    other, raw = served.client(server), Raw(server.port)
    raw.request(consts.HANDLE_PING, (1, ("x",)))
    raw.channel.recv()
    raw.channel.send(b"\x01" + brine.dump((9, (1, (2, (1,) * 1_200_000)))) + b"x")
    with pytest.raises(EOFError):
        raw.channel.recv()
    raw.close()
    assert other.root.add(1, 2) == 3


def test_answers_wait_while_the_peer_does_not_read(served: Served) -> None:
    """Requests of a peer that takes no answers are not served."""
    server = served.server("aio", Answers, max_queued_bytes=1 << 20)
    raw = Raw(server.port)
    raw.request(consts.HANDLE_PING, (1, ("x",)))
    raw.channel.recv()
    (there,) = server.connections
    raw.channel.sender.timeout = 1
    data = os.urandom(200_000)
    with contextlib.suppress(EOFError):  # nothing more is read
        for _ in range(300):
            raw.request(consts.HANDLE_PING, (1, (data,)))
    eventually(lambda: there._link._paused)
    link = there._link
    held = sum(map(len, tuple(link.sender.queue))) + link._waiting_size
    assert held < 8 << 20
    raw.close()


class AnswersTogether(Answers):
    """Gives its answers when a hundred have been asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0
        self._all_asked = asyncio.Event()

    async def exposed_data(self, size: int) -> bytes:
        self._asked += 1
        if self._asked == 100:
            self._all_asked.set()
        await self._all_asked.wait()
        return await super().exposed_data(size)


def test_answers_of_tasks_are_not_made_before_they_can_go(served: Served) -> None:
    """What async functions have given waits as it is, and is counted."""
    server = served.server("aio", AnswersTogether)
    conn = served.client(server)
    root = conn.root
    (there,) = server.connections
    with conn._recvlock:
        for _ in range(100):
            conn.async_request(consts.HANDLE_CALLATTR, root, "data", (1_000_000,), ())
        eventually(lambda: there._link.full and there._kept.held > 50 << 20)
        assert sum(map(len, tuple(there._link.sender.queue))) < 50 << 20
    result = conn.async_request(consts.HANDLE_CALLATTR, root, "data", (3,), ())
    assert len(result.value) == 3
    eventually(lambda: there._kept.held == 0)


def test_answers_that_wait_are_limited(served: Served) -> None:
    """More than may be kept is an error to whoever asked, and nothing else."""
    server = served.server("aio", Answers, max_kept_memory=20 << 20)
    conn = served.client(server)
    root = conn.root
    (there,) = server.connections
    with conn._recvlock:
        results = [
            conn.async_request(consts.HANDLE_CALLATTR, root, "data", (1_000_000,), ())
            for _ in range(100)
        ]
        eventually(lambda: there._link.full and len(there._codec.serving) < 100)
    outcomes = []
    for result in results:
        try:
            outcomes.append(len(result.value))
        except Exception as error:
            outcomes.append(error.key)  # type: ignore[attr-defined]
    assert set(outcomes) == {1_000_000, "max_kept_memory"}
    assert root.add(1, 2) == 3
