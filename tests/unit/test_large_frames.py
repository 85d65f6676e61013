"""Large values are sent and received without being copied, whatever way they arrive in."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine
from rpyc_like.core.protocol import Connection
from rpyc_like.errors import ConnectionClosed, MalformedFrame
from rpyc_like.link.channel import Channel
from rpyc_like.link.receiving import FrameReceiver, LargeFrame
from rpyc_like.link.streams import MemoryStream
from rpyc_like.wire.framing import RpycFramer

MIB = 1 << 20


class Scripted:
    """A stream that gives scripted bytes, at most ``most`` at once."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data = memoryview(data)
        self.most = most

    def recv_wait(self, timeout: float | None, limit: int = 1 << 16) -> bytes | None:
        return self.recv_some(limit)

    def recv_some(self, limit: int = 1 << 16) -> bytes:
        taken = bytes(self.data[: min(limit, self.most)])
        self.data = self.data[len(taken) :]
        return taken

    def recv_into(self, view: memoryview) -> int:
        taken = self.recv_some(len(view))
        view[: len(taken)] = taken
        return len(taken)

    def recv_into_wait(self, timeout: float | None, view: memoryview) -> int:
        return self.recv_into(view)


def receiver_of(data: bytes, most: int = 50_000) -> FrameReceiver:
    framer = RpycFramer(compress=False)
    framer.feed(framer.encode(b"first"))  # the first frame may be of 1 MiB at most
    stream: Any = Scripted(data, most)
    receiver = FrameReceiver(stream, framer)
    receiver.spot = lambda start: brine.find_large(start, 0)
    receiver.lift = brine.lift
    return receiver


VALUES: dict[str, Any] = {
    "bytes": os.urandom(3 * MIB),
    "bytes among others": ("name", 5, (1.5, os.urandom(2 * MIB)), None, b"after"),
    "two": (os.urandom(MIB), os.urandom(MIB)),
    "text": "\u20ac" * MIB,
    "many small": tuple(range(300_000)),
    "large int": 7 ** (10**5),
    "slice and set": (slice(1, None), frozenset([b"x" * 100_000]), 2j, os.urandom(2 * MIB)),
}


@pytest.mark.parametrize(
    ("name", "most"),
    [("bytes among others", 997), *((name, most) for name in VALUES for most in (4096, 1 << 18))],
)
def test_frames_of_every_kind(name: str, most: int) -> None:
    """Large frames between small ones, in pieces of any size, decode to what was sent."""
    framer = RpycFramer(compress=False)
    value = VALUES[name]
    large = brine.dump(value, max_digits=10**6)
    frames = [b"small", large, b"x", large, b"y" * 70_000, b"end"]
    receiver = receiver_of(b"".join(map(framer.encode, frames)), most)
    got = [receiver.receive(1) for _ in frames]
    assert brine.load(got[1], max_digits=10**6) == value  # type: ignore[arg-type]
    assert brine.load(got[3], max_digits=10**6) == value  # type: ignore[arg-type]
    assert [got[0], got[2], got[4], got[5]] == [b"small", b"x", b"y" * 70_000, b"end"]


def test_parts_are_the_same_bytes() -> None:
    """A value in parts is the brine of the value; large ones are the very objects."""
    for value in VALUES.values():
        parts = brine.dump_parts(value, max_digits=10**6)
        assert b"".join(parts) == brine.dump(value, max_digits=10**6)
    data = VALUES["bytes"]
    assert any(part is data for part in brine.dump_parts((1, data)))
    framer = RpycFramer(compress=False)
    assert any(part is data for part in framer.encode_parts([b"head", data, b"tail"]))


def test_the_newline_is_checked() -> None:
    """A large frame without its end is refused."""
    frame = RpycFramer(compress=False).encode(brine.dump(b"x" * MIB))[:-1] + b"!"
    with pytest.raises(MalformedFrame, match="newline"):
        receiver_of(frame).receive(1)


def test_the_end_in_a_large_frame() -> None:
    """A stream that ends inside of one says so."""
    frame = RpycFramer(compress=False).encode(brine.dump(b"x" * MIB))[:-1000]
    receiver = receiver_of(frame)
    with pytest.raises(ConnectionClosed, match="in the middle of a frame"):
        receiver.receive(1)
    assert receiver._large is not None
    del receiver
    gc.collect()  # what was begun is given up without a word


def test_memory_comes_with_the_bytes() -> None:
    """A header that promises much is not believed before a good part has come."""
    header = RpycFramer.FRAME_HEADER.pack(1 << 30, 0)
    receiver = receiver_of(header + b"x" * 200_000)
    tracemalloc.start()
    with pytest.raises(ConnectionClosed):
        receiver.receive(1)
    assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    tracemalloc.stop()


def test_a_large_value_is_received_into_its_own_memory() -> None:
    """Nothing is made of the size of the value but the value."""
    data = os.urandom(8 * MIB)
    frame = RpycFramer(compress=False).encode(brine.dump(("x", data, None)))
    receiver = receiver_of(frame, 1 << 18)
    tracemalloc.start()
    payload = receiver.receive(1)
    value = brine.load(payload)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert value == ("x", data, None)
    assert peak < 1.3 * len(data)


def test_what_is_spotted_must_fit() -> None:
    """A length that leads out of the frame, or a small one, is no large value."""
    start = b"\x0f" + (1 << 20).to_bytes(4, "big") + b"x" * 100
    frame = LargeFrame(1000, start, lambda start: 5, brine.lift)
    while frame.view:
        frame.view[:] = b"\n" * len(frame.view)
        if frame.took(len(frame.view)):
            break
    assert len(frame.payload()) == 1000


@pytest.mark.parametrize("bad", [b"", b"\x1c", b"\x08\x0f", b"\x1f", b"\x0e"])
def test_nothing_is_found_in_anything_else(bad: bytes) -> None:
    """What is no brine has no large value in it."""
    assert brine.find_large(bad + b"\x00" * 10, 0) is None


def test_both_ways_at_once(pair: Callable[..., tuple[Connection, Connection]]) -> None:
    """Two sides that send much to each other do not block each other, and lose nothing."""

    class Service(rpyc.Service):
        def exposed_echo(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

        def exposed_call(self, func: Any, data: Any) -> Any:
            return func(data)

    client, _ = pair(Service)
    data, text = os.urandom(3 * MIB), "t" * (2 * MIB)
    args, kwargs = client.root.echo(data, [1], text, key=(data, 1))
    assert (args[0], list(args[1]), args[2], kwargs["key"]) == (data, [1], text, (data, 1))
    assert client.root.call(lambda got: got + b"!", data) == data + b"!"
    threads = [
        threading.Thread(target=lambda: results.append(client.root.echo(data)[0][0]))
        for _ in range(4)
    ]
    results: list[bytes] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [data] * 4


def test_compression_where_it_pays() -> None:
    """A sample decides: random bytes are sent as they are, zeros are not."""
    framer = RpycFramer()
    noise, zeros = os.urandom(MIB), bytes(MIB)
    assert framer.encode(noise)[4] == 0
    assert len(framer.encode(zeros)) < 10_000
    assert len(framer.encode_parts([b"x", noise])) == 4
    assert len(b"".join(framer.encode_parts([b"x", zeros]))) < 10_000
    for payload in (noise, zeros):
        assert RpycFramer(max_first_frame_size=1 << 24).feed(framer.encode(payload)) == [payload]


def test_over_a_channel_of_a_programs_own() -> None:
    """A stream that the program brings itself gets whole frames."""

    class Own(MemoryStream):
        def write(self, data: bytes) -> None:
            super().write(data)

    here, there = Own.create_pair()
    server = rpyc.Service()._connect(Channel(there))
    thread = threading.Thread(target=server.serve_all, daemon=True)
    thread.start()
    with rpyc.connect_channel(Channel(here)) as client:
        data = os.urandom(MIB)
        client.ping(data)
    thread.join()


def test_a_deflated_frame_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where usual messages are looked for, what has come of a large frame is not copied again."""
    copied = 0
    take = RpycFramer.take_partial

    def take_partial(self: RpycFramer, arrived: int) -> bytes:
        nonlocal copied
        start = take(self, arrived)
        copied += len(start)
        return start

    monkeypatch.setattr(RpycFramer, "take_partial", take_partial)
    payload = os.urandom(MIB // 4) + bytes(4 * MIB)
    small = RpycFramer().encode(b"small")
    whole = RpycFramer().encode(payload)
    assert whole[4] == 1  # deflated
    receiver = receiver_of(small * 5 + whole + small * 5, 5_000)
    seen = [receiver.receive(1, lambda data: None) for _ in range(11)]
    assert seen == [b"small"] * 5 + [payload] + [b"small"] * 5
    assert copied < 20_000
