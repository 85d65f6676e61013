"""Bytes and frames: cases 1 to 17 of the list of faults."""

from __future__ import annotations

import math
import os
import time
import zlib
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine
from rpyc_like.errors import (
    ConnectionClosed,
    LimitExceeded,
    LocalProtocolError,
    MalformedFrame,
    MalformedValue,
)
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from rpyc_like.wire.framing import RpycFramer

from .conftest import frame


@pytest.mark.parametrize("cut", [1, 4, 5, 8, 20])
def test_case_1_truncated(attack: Any, cut: int) -> None:
    """A frame that ends in the middle closes, and whoever waits learns it at once."""
    one = attack()
    one.stream.write(frame(b"\x01" + brine.dump((0, (1, (1, ("x" * 30,))))))[:cut])
    one.stream.close()
    error = one.ended()
    assert isinstance(error, ConnectionClosed)
    assert isinstance(error.__cause__, MalformedFrame)


def test_case_2_huge_length(attack: Any) -> None:
    """A header that announces more than is allowed is refused before anything is read."""
    one = attack()
    one.stream.write(b"\xff\xff\xff\xff\x00")
    error = one.ended()
    assert isinstance(error, LimitExceeded)
    assert error.key == "max_first_frame_size"
    assert error.limit == 1 << 20
    two = attack(max_frame_size=5000)
    assert two.works()
    two.stream.write(b"\xff\xff\xff\xff\x00")
    error = two.ended()
    assert isinstance(error, LimitExceeded)
    assert (error.key, error.got) == ("max_frame_size", 0xFFFFFFFF)


def test_case_2_the_first_frame_is_bounded_more(attack: Any) -> None:
    """Who has not shown that it speaks the protocol gets 1 MiB; afterwards more is welcome."""
    one = attack()
    one.stream.write((2 << 20).to_bytes(4, "big") + b"\x00")
    assert "max_first_frame_size" in str(one.ended())
    two = attack()
    assert two.works()
    assert two.ask(1, (1, (os.urandom(2 << 20),)))[0] == "value"


FOREIGN = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "SSH": b"SSH-2.0-OpenSSH_9\r\n",
    "EPC": b"00001a(call 1 echo (1))",
}


@pytest.mark.parametrize("protocol", FOREIGN)
def test_case_3_other_protocols(attack: Any, protocol: str) -> None:
    """What speaks another protocol is told apart, and the error says what it looks like."""
    one = attack()
    one.stream.write(FOREIGN[protocol])
    error = one.ended()
    assert isinstance(error, MalformedFrame)
    assert f"looks like {protocol}" in str(error)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(b""), "length 0"),
        (frame(b"\x01\x11\x50", end=b"X"), "newline"),
        (frame(b"\x01\x11\x50", flag=2), "flag 0 or 1, got 2"),
        (frame(b"no zlib data", flag=1), "zlib"),
        (frame(zlib.compress(b"x" * 9)[:-2], flag=1), "whole zlib stream"),
        (frame(zlib.compress(b"x" * 9) + b"more", flag=1), "whole zlib stream"),
        (frame(zlib.compress(b""), flag=1), "0 inflated bytes"),
    ],
    ids=["4 empty", "5 trailer", "6 flag", "8 broken", "8 early end", "8 late end", "4 inflated"],
)
def test_cases_4_5_6_8_malformed_frames(attack: Any, data: bytes, said: str) -> None:
    """What is not exactly a frame closes the connection."""
    one = attack()
    one.stream.write(data)
    error = one.ended()
    assert isinstance(error, MalformedFrame)
    assert said in str(error)


def test_case_7_bomb(attack: Any) -> None:
    """A frame is not inflated further than the limit."""
    one = attack(max_inflated_size=100_000)
    one.stream.write(frame(zlib.compress(bytes(50_000_000), 9), flag=1))
    error = one.ended()
    assert isinstance(error, LimitExceeded)
    assert error.key == "max_inflated_size"
    assert error.got == error.limit + 1  # no more was made of it


def test_case_7_the_sender_keeps_to_the_rule() -> None:
    """A payload that the rule would refuse is sent as it is."""
    payload = bytes(65 << 20)
    sent = RpycFramer().encode(payload)
    assert sent[4] == 0
    receiver = RpycFramer()
    receiver.feed(RpycFramer().encode(b"x"))
    assert receiver.feed(sent) == [payload]


def message(value: bytes) -> bytes:
    """Returns a PING whose argument is brine of the attacker's own making."""
    return b"\x01\x11\x50\x11\x51\x11\x51\x10" + value


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (b"\x51junk", MalformedValue, "end of the message"),
        (b"\x07", MalformedValue, "unknown brine tag 0x07"),
        (b"\xff", MalformedValue, "unknown brine tag 0xff"),
        (b"\x10" * 200_000 + b"\x00", LimitExceeded, "max_depth"),
        (b"\x1a" * 200_000 + b"\x00", LimitExceeded, "max_depth"),
        (b"\x15\xff\xff\xff\xff\x00", MalformedValue, "tuple of 4294967295 items"),
        (b"\x0f\xff\xff\xff\xff\x00", MalformedValue, "bytes of length 4294967295"),
        (b"\x17\x00\x3d\x09\x00" + b"9" * 4_000_000, LimitExceeded, "max_digits"),
        (b"\x16\x02+5", MalformedValue, "decimal digits"),
        (b"\x16\x00", MalformedValue, "decimal digits"),
        (b"\x08\x0a\xff", MalformedValue, "UTF-8"),
        (b"\x08\x50", MalformedValue, "bytes tag"),
        (b"\x19\x50", MalformedValue, "tuple inside a slice"),
        (b"\x19\x11\x50\x50", MalformedValue, "3 items in a slice"),
        (b"\x18\x00", MalformedValue, "ends early"),
    ],
    ids=[
        *("9 bytes after", "10 tag 07", "10 tag ff", "11 tuples", "11 frozensets", "12 tuple"),
        *("12 bytes", "13 digits", "13 plus", "13 none", "14 UTF-8", "14 text", "14 slice"),
        *("14 short slice", "14 float"),
    ],
)
def test_cases_9_to_14_malformed_values(attack: Any, value: bytes, kind: type, said: str) -> None:
    """What is not a value of the codec closes the connection, in no time."""
    one = attack(max_first_frame_size=1 << 23)
    started = time.process_time()
    one.send(message(value))
    error = one.ended()
    assert type(error) is kind
    assert said in str(error)
    assert time.process_time() - started < 1


def test_case_13_sending_large_integers(pair: Any) -> None:
    """Integers beyond the interpreter's text limit travel; beyond ours the sender is told."""

    class Echo(rpyc.Service):
        def exposed_echo(self, value: Any) -> Any:
            return value

    client, _ = pair(Echo)
    echo = client.root.echo
    assert echo(10**5000) == 10**5000
    assert echo(-(7**20_000)) == -(7**20_000)
    with pytest.raises(LocalProtocolError, match="max_digits"):
        echo(10**200_000)
    assert echo(1) == 1


EDGES: list[Any] = [
    *(math.inf, -math.inf, -0.0, 5e-324, complex(-0.0, math.inf)),
    *("", "a", "\ud800", "x\udcff", "\U0010ffff", "\x00", "a" * 4, "a" * 5, "a" * 255, "a" * 256),
    *(b"", b"a", b"a" * 4, b"a" * 5, b"a" * 255, b"a" * 256, (), (1,) * 4, (1,) * 5, (1,) * 255),
    *((1,) * 256, frozenset(), frozenset([()]), slice(None), slice(1, 2, 3), NotImplemented, ...),
    *(-49, -48, 159, 160, 2**63, -(2**63), 10**255, 10**256, True, False, None),
]


@pytest.mark.parametrize("value", EDGES, ids=[f"{i} {v!a:.12}" for i, v in enumerate(EDGES)])
def test_case_14_edges(pair: Any, value: Any) -> None:
    """Every kind of value comes back equal, at its edges too."""

    class Echo(rpyc.Service):
        def exposed_echo(self, value: Any) -> Any:
            return value

    client, _ = pair(Echo)
    back = client.root.echo(value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)  # the sign of a zero
    nan = client.root.echo(math.nan)
    assert nan != nan


def test_case_14_surrogates_are_kept_from_other_peers() -> None:
    """A text that RPyC could not read is refused here, and the connection works."""
    here, there = MemoryStream.create_pair()
    conn = rpyc.connect_channel(Channel(here))
    with pytest.raises(UnicodeEncodeError):
        conn.async_request(1, "\ud800")
    conn.async_request(1, "fine")
    assert Channel(there).recv()
    conn._link.lose(None)


def test_case_15_slow_frame(attack: Any) -> None:
    """A frame that has been started must come to its end."""
    one = attack(frame_timeout=0.2)
    one.stream.write(frame(b"x" * 100)[:20])
    error = one.ended(60)
    assert isinstance(error, LimitExceeded)
    assert error.key == "frame_timeout"


def test_case_15_drops(attack: Any) -> None:
    """A byte from time to time does not help."""
    one = attack(frame_timeout=0.3)
    started = time.monotonic()
    for byte in frame(b"x" * 1000):
        try:
            one.stream.write(bytes((byte,)))
        except EOFError:
            break
        time.sleep(0.02)
    assert isinstance(one.ended(60), LimitExceeded)
    assert time.monotonic() - started < 18


def test_case_15_silence_between_frames(attack: Any) -> None:
    """A silent client that has not started anything may stay."""
    one = attack(frame_timeout=0.05)
    time.sleep(0.3)
    assert one.works()
    time.sleep(0.2)
    assert one.works()


def test_case_16_any_split() -> None:
    """Wherever the stream is cut, the same payloads come out."""
    payloads = [b"a", b"b" * 300, os.urandom(1500), b"c"]
    stream = b"".join(RpycFramer().encode(payload) for payload in payloads)
    for cut in range(len(stream) + 1):
        framer = RpycFramer()
        assert framer.feed(stream[:cut]) + framer.feed(stream[cut:]) == payloads
    framer = RpycFramer()
    assert [one for byte in stream for one in framer.feed(bytes((byte,)))] == payloads


def test_case_17_unknown_dialect(attack: Any) -> None:
    """What is of no known dialect closes, and the error names those that are."""
    one = attack()
    one.send(b"\x13\x51\x50\x50\x50")
    error = one.ended()
    assert isinstance(error, MalformedValue)
    assert "RPyC 5.x or 6.x" in str(error)


def test_case_17_the_wrong_guess_is_named() -> None:
    """Where nothing can be connected again, the error says what to configure."""
    here, there = MemoryStream.create_pair()
    conn = rpyc.connect_channel(Channel(here))
    result = conn.async_request(1, "x")
    Channel(there).send(brine.dump((2, 0, (1, "x"))))
    with pytest.raises(EOFError, match="'dialect': 5"):
        _ = result.value
