"""A LimitExceeded names the key that changes that very limit."""

from __future__ import annotations

import logging
import socket
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from rpyc_like.core import brine, consts
from rpyc_like.core.config import DEFAULT_CONFIG
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import VoidService
from rpyc_like.errors import LimitExceeded
from rpyc_like.link.channel import Channel
from rpyc_like.link.receiving import FrameClock
from rpyc_like.link.streams import MemoryStream
from rpyc_like.wire.session import BROKEN
from tests.support.eventually import eventually

from .front_ends import FRONT_ENDS, port_of


class Side:
    """A connection that is given messages."""

    def __init__(self, config: dict[str, Any]) -> None:
        here, self.there = MemoryStream.create_pair()
        self.conn = Connection(VoidService(), Channel(here, compress=False), config)

    def frame(self, payload: bytes, flag: int = 0) -> None:
        """Send a frame and have it read."""
        self.there.write(len(payload).to_bytes(4, "big") + bytes((flag,)) + payload + b"\n")
        self.look(self.conn._link._read(5))

    def message(self, kind: int, number: int, content: bytes) -> None:
        self.frame(bytes((kind, 0x11)) + brine.dump(number) + content)

    @staticmethod
    def look(outcome: Any) -> None:
        assert outcome is not None
        if outcome[0] is BROKEN:
            raise outcome[1]

    def features(self) -> None:
        self.conn._learn_features(consts.FEATURE_CALLS)


def ping(value: bytes) -> bytes:
    return b"\x11\x51\x11\x51\x10" + value


def first_frame(side: Side) -> None:
    side.message(1, 1, ping(brine.dump(bytes(2000))))


def later_frame(side: Side) -> None:
    side.message(1, 1, ping(b"\x51"))
    first = brine.dump(bytes(2000))
    side.message(1, 2, ping(first))


def inflated(side: Side) -> None:
    payload = b"\x01\x11\x51" + ping(brine.dump(bytes(5000)))
    side.frame(zlib.compress(payload), 1)


def memory(side: Side) -> None:
    side.message(1, 1, ping(b"\x15\0\0\x01\0" + b"\x1a\x02" * 256))


def nesting(side: Side) -> None:
    side.message(1, 1, ping(b"\x10" * 100 + b"\x50"))


def boxes(side: Side) -> None:
    side.message(1, 1, b"\x11\x51\x11\x52\x10" + b"\x11\x52\x10" * 100 + b"\x11\x51\x50")


def digits(side: Side) -> None:
    side.message(1, 1, ping(brine.dump(10**100)))


def objects(side: Side) -> None:
    for _ in range(20):
        side.conn._local_objects.lend(object(), lambda obj: ("m.C", id(obj), id(obj)))


def kept(side: Side) -> None:
    for _ in range(20):
        side.conn._kept.hold(1000, "memory for cursors")


def requests(side: Side) -> None:
    for number in range(20):
        side.message(1, number, ping(b"\x51"))


def deadlines(side: Side) -> None:
    side.features()
    for number in range(20):
        said = brine.dump((number, 1000))
        side.message(1, 0, b"\x11" + brine.dump(consts.HANDLE_DEADLINE) + b"\x11\x51" + said)


def answers(side: Side) -> None:
    for number in range(20):
        side.message(2, 1000 + number, b"\x11\x51\x50")


def clock(side: Side) -> None:
    watch = FrameClock(side.conn._link.receiver.frame_timeout)  # type: ignore[union-attr]
    watch._start -= 5
    if watch.expired():
        raise watch.error()


CASES: list[tuple[str, Callable[[Side], None], dict[str, Any], Any]] = [
    ("max_first_frame_size", first_frame, {"max_first_frame_size": 1000}, 3000),
    ("max_frame_size", later_frame, {"max_frame_size": 1000}, 3000),
    ("max_inflated_size", inflated, {"max_inflated_size": 1000}, 10_000),
    ("max_memory", memory, {"max_memory": 10_000}, 1 << 20),
    ("max_kept_memory", kept, {"max_kept_memory": 10_000}, 1 << 20),
    ("max_depth", nesting, {"max_depth": 50}, 200),
    ("max_depth", boxes, {"max_depth": 50}, 200),
    ("max_digits", digits, {"max_digits": 50}, 200),
    ("max_objects", objects, {"max_objects": 10}, 100),
    ("max_requests", requests, {"max_requests": 10}, 100),
    ("max_requests", deadlines, {"max_requests": 10}, 100),
    ("max_unknown_answers", answers, {"max_unknown_answers": 10}, 100),
    ("frame_timeout", clock, {"frame_timeout": 1}, 60),
]


def name_of(value: Any) -> str:
    """Name a part of a case, the same in each process."""
    return str(getattr(value, "__name__", value))[:40]


@pytest.mark.parametrize(("key", "exceed", "low", "high"), CASES, ids=name_of)
def test_the_key_of_the_error_changes_the_limit(
    key: str, exceed: Callable[[Side], None], low: dict[str, Any], high: Any
) -> None:
    """With a higher value of that key alone the same passes."""
    with pytest.raises(LimitExceeded) as info:
        exceed(Side(low))
    assert info.value.key == key
    assert f"{info.value.limit:g}" == f"{next(iter(low.values())):g}"
    assert repr(key) in str(info.value)
    exceed(Side({**low, info.value.key: high}))


def test_all_limits_are_tried() -> None:
    """Each key of the configuration that limits what a peer sends has been tried here.

    What is read ahead ends by itself (``test_queued``); steps are in ``test_work``; what finds no
    helper waits (``test_many_at_once``).
    """
    limits = {key for key in DEFAULT_CONFIG if key.startswith("max_")} | {"frame_timeout"}
    assert limits - {key for key, *_ in CASES} == {
        *("max_helpers", "max_queued_bytes", "max_steps")
    }


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_log_names_the_client(front_end: str, caplog: pytest.LogCaptureFixture) -> None:
    """The line about a client that is cut off has its connection and its address."""
    caplog.set_level(logging.WARNING, "rpyc_like.link")
    with port_of(front_end, VoidService, max_frame_size=1000) as port:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall((2000).to_bytes(4, "big") + b"\0")
            address = repr(sock.getsockname())
            assert sock.recv(1) == b""
        eventually(lambda: "max_frame_size" in caplog.text)
    (record,) = [one for one in caplog.records if one.name == "rpyc_like.link"]
    assert address in record.getMessage()
    assert "Connection" in record.getMessage()
