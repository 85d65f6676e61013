"""The three framers: any arrival gives the same payloads, and nonsense is named."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from rpyc_like.errors import LimitExceeded, LocalProtocolError, MalformedFrame
from rpyc_like.wire.framing import EpcFramer, ErlangFramer, RpycFramer

FRAMERS: dict[str, Callable[[], Any]] = {
    "rpyc": RpycFramer,
    "rpyc-plain": lambda: RpycFramer(compress=False),
    "epc": EpcFramer,
    "erlang-1": lambda: ErlangFramer(1),
    "erlang-2": lambda: ErlangFramer(2),
    "erlang-4": lambda: ErlangFramer(4),
}


@pytest.fixture(params=FRAMERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes framers of each kind."""
    return FRAMERS[request.param]


def test_every_split(make: Callable[[], Any]) -> None:
    """Frames cut in two at any byte give the same payloads."""
    payloads = [b"x", b"hello", b"\n\n", b"y" * 200]
    data = b"".join(make().encode(payload) for payload in payloads)
    for cut in range(len(data) + 1):
        framer = make()
        assert framer.feed(data[:cut]) + framer.feed(data[cut:]) == payloads
        assert framer.idle


def test_byte_by_byte(make: Callable[[], Any]) -> None:
    """Frames that arrive byte by byte are whole, and the framer never asks for nothing."""
    framer = make()
    got = []
    for byte in make().encode(b"abc") + make().encode(b"de"):
        assert framer.missing() > 0
        got += framer.feed(bytes([byte]))
    assert got == [b"abc", b"de"]


def test_missing_is_exact(make: Callable[[], Any]) -> None:
    """Reading just what is missing gives exactly one frame."""
    data = make().encode(b"first") + make().encode(b"second")
    framer = make()
    position = 0
    got: list[bytes] = []
    while not got:
        step = framer.missing()
        got = framer.feed(data[position : position + step])
        position += step
    assert got == [b"first"]
    assert position == len(make().encode(b"first"))


def test_started_frame_is_not_idle(make: Callable[[], Any]) -> None:
    """A stream that ends inside a frame is told from one that ends between two."""
    framer = make()
    framer.feed(make().encode(b"abc")[:-1])
    assert not framer.idle


def test_compression() -> None:
    """Payloads above the threshold are deflated, and come back."""
    payload = b"z" * 3001
    frame = RpycFramer().encode(payload)
    assert len(frame) < 100
    assert frame[4] == 1
    assert RpycFramer().feed(frame) == [payload]
    assert RpycFramer().encode(b"z" * 3000)[4] == 0
    assert RpycFramer(compress=False).encode(payload)[4] == 0


def rpyc_frame(body: bytes, flag: int = 0, end: bytes = b"\n", size: int | None = None) -> bytes:
    return (len(body) if size is None else size).to_bytes(4, "big") + bytes([flag]) + body + end


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rpyc_frame(b""), "length 0"),
        (rpyc_frame(b"x", end=b"?"), "newline"),
        (rpyc_frame(b"x", flag=2), "flag"),
        (rpyc_frame(b"not zlib", flag=1), "zlib"),
        (rpyc_frame(zlib.compress(b"x") + b"more", flag=1), "zlib"),
        (rpyc_frame(zlib.compress(b"x" * 50)[:-3], flag=1), "zlib"),
        (rpyc_frame(zlib.compress(b""), flag=1), "0 inflated"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9", "SSH"),
        (b"00000a(call 1 f ())", "EPC"),
    ],
)
def test_malformed_rpyc(data: bytes, text: str) -> None:
    """Each way of not being a frame is named, after the frames before it were delivered."""
    framer = RpycFramer()
    assert framer.feed(rpyc_frame(b"good") + data) == [b"good"]
    assert isinstance(framer.error, MalformedFrame)
    assert text in str(framer.error)
    assert framer.feed(rpyc_frame(b"late")) == []


def test_a_beginning_that_is_no_frame_is_shown() -> None:
    """The error about a peer that speaks something else shows how it began, and not too much."""
    framer = RpycFramer()
    assert framer.feed(b"220 mail.example ESMTP\r\n") == []
    assert "220 mail.example ESMTP" in str(framer.error)
    framer = RpycFramer()
    framer.feed(b"220 " + b"x" * 10_000)
    assert len(str(framer.error)) < 300
    framer = RpycFramer()
    framer.feed(rpyc_frame(b"good") + b"220 secret")
    assert "secret" not in str(framer.error)


def test_tls_is_recognised() -> None:
    """A TLS client on a plain port is told from a large frame by being the first thing said."""
    framer = RpycFramer()
    assert framer.feed(b"\x16\x03\x01\x02\x00\x01\x00") == []
    assert "TLS" in str(framer.error)
    framer = RpycFramer()
    framer.feed(rpyc_frame(b"good"))
    framer.feed(b"\x16\x03\x01\x02\x00")
    assert framer.error is None


def test_frame_limit_is_checked_at_the_header() -> None:
    """A length above the limit is refused before its bytes arrive."""
    framer = RpycFramer(max_frame_size=1000)
    assert framer.feed(rpyc_frame(b"", size=1001, end=b"")) == []
    assert isinstance(framer.error, LimitExceeded)
    assert framer.error.key == "max_frame_size"


def test_bomb_is_not_inflated() -> None:
    """A frame that inflates beyond the limit is refused, and memory stays bounded."""
    bomb = zlib.compress(b"\0" * (1 << 24), 9)
    framer = RpycFramer(max_inflated_size=1 << 20)
    assert framer.feed(rpyc_frame(bomb, flag=1)) == []
    assert isinstance(framer.error, LimitExceeded)
    assert framer.error.key == "max_inflated_size"


def test_our_sender_makes_no_bombs() -> None:
    """A payload that a receiver with our limits would refuse deflated is sent as it is."""
    payload = b"\0" * ((64 << 20) + 1)
    frame = RpycFramer().encode(payload)
    assert frame[4] == 0


def test_epc_digits() -> None:
    """Six hexadecimal digits are expected, in either case."""
    assert EpcFramer().feed(b"00000Aabcdefghij") == [b"abcdefghij"]
    framer = EpcFramer()
    framer.feed(b"0x0003abc")
    assert isinstance(framer.error, MalformedFrame)


@pytest.mark.parametrize(
    ("framer", "size"), [(EpcFramer(), 0x1000000), (ErlangFramer(1), 256), (ErlangFramer(2), 65536)]
)
def test_too_large_to_send(framer: Any, size: int) -> None:
    """A payload that the length field cannot say is refused before it leaves."""
    with pytest.raises(LocalProtocolError):
        framer.encode(b"x" * size)


def test_erlang_packet_sizes() -> None:
    """Only 1, 2 and 4 exist."""
    with pytest.raises(ValueError, match="packet size"):
        ErlangFramer(3)
