"""Cases 92, 94 and 95: what a message becomes is counted before it is made."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from rpyc_like.core import brine
from rpyc_like.core.brine import tuple_head
from rpyc_like.core.config import make_config
from rpyc_like.core.encoding.boxing import Boxer
from rpyc_like.core.encoding.codec import Dialect, RpycCodec
from rpyc_like.core.proxies.remote_classes import RemoteClasses
from rpyc_like.core.references.tables import ExportTable, ImportTable
from rpyc_like.errors import LimitExceeded, MalformedFrame, MalformedValue, ProtocolError
from rpyc_like.lib import native
from rpyc_like.link.channel import Channel
from rpyc_like.link.receiving import FrameReceiver
from rpyc_like.link.streams import MemoryStream
from rpyc_like.wire import meter
from rpyc_like.wire.brine import format
from rpyc_like.wire.framing import RpycFramer

MEGA = 1 << 20


def repeated(item: bytes, size: int) -> bytes:
    """Return brine of a tuple that repeats an item, of about ``size`` bytes."""
    count = size // len(item)
    return tuple_head(count) + item * count


AMPLIFYING = {
    "empty frozensets": b"\x1a\x02",
    "frozensets of 19": b"\x1a\x14\x13" + bytes(range(0x20, 0x33)),
    "chains of tuples": b"\x10" * 59 + b"\x02",
}
"""Items that take more than 32 bytes of memory for each of theirs."""


@pytest.mark.parametrize("name", AMPLIFYING)
def test_a_small_message_does_not_become_much_memory(name: str) -> None:
    """What would take more than 64 MiB + 32 x its size is refused."""
    data = repeated(AMPLIFYING[name], 5 * MEGA)
    with pytest.raises(LimitExceeded, match="memory for a message") as info:
        brine.load(data)
    assert info.value.key == "max_memory"
    assert info.value.limit == meter.message_memory(len(data), None)


PLAIN = [
    ((), 0),
    ((1,), 48),
    (frozenset(), 224),
    (slice(1, 2, 3), 64 + 64),
    (1.5, 32),
    (10**6, 35),
    (b"", 0),
    (b"12345", 53),
    ("text", 68),
    ("t\u20acxt", 80 + 4 * 6),
    (((),) * 3, 64),
    (frozenset(range(100, 105)), 224 + 16 * 32 + 80),
]


@pytest.mark.parametrize(("value", "price"), PLAIN)
def test_each_object_has_a_price(value: Any, price: int) -> None:
    """Both builds ask the same."""
    data = brine.dump(value)
    assert brine.price_at(data, 0, MEGA) == (price, len(data))
    assert format.price_at(data, 0, MEGA) == (price, len(data))


@pytest.mark.parametrize("count", [0, 4, 5, 19, 20, 77, 1000, 40_000, 100_000])
def test_prices_of_sets_are_those_of_the_interpreter(count: int) -> None:
    """A set's table grows in steps."""
    own = sys.getsizeof(frozenset(range(count))) - sys.getsizeof(frozenset())
    assert meter.set_memory(count) >= 224 + own


def test_prices_stop_where_brine_stops() -> None:
    """Whatever is malformed is left to who makes objects of it."""
    whole = brine.dump((1, 10**6, "text", b"bytes", 1.5, 2j, slice(1), frozenset([7]), "\u20ac"))
    for end in range(len(whole)):
        for data in (whole[:end], whole[:end] + b"\x07" + whole[end + 1 :]):
            assert brine.price_at(data, 0, MEGA) == format.price_at(data, 0, MEGA)


def codec_with(**limits: Any) -> RpycCodec:
    config = make_config(limits)
    exports, proxies = ExportTable(), ImportTable(lambda: None)
    boxer = Boxer(object(), exports, proxies, RemoteClasses(config))
    return RpycCodec(boxer, Dialect(6, False), max_memory=config["max_memory"])


def ping(value: bytes, number: int = 0) -> bytes:
    """Return a request whose argument is brine of the attacker's own making."""
    return b"\x01\x11" + brine.dump(number) + b"\x11\x51\x11\x51\x10" + value


def test_messages_are_counted_in_boxes_too() -> None:
    """A tuple of boxes is counted like one of values; what is small is not counted."""
    codec = codec_with()
    box = b"\x11\x51\x1a\x02"
    count = 2 * MEGA
    with pytest.raises(LimitExceeded, match="'max_memory'"):
        codec.decode(b"\x01\x11\x50\x11\x51\x11\x52" + tuple_head(count) + box * count)
    assert codec.decode(ping(repeated(b"\x1a\x02", 1000)))[0] == 1


def test_max_memory_holds_for_small_messages() -> None:
    """A lower limit is kept, and a higher one allows more than the rule does."""
    codec = codec_with(max_memory=100_000)
    codec.decode(ping(b"\x51"))
    codec.decode(ping(repeated(b"\x1a\x02", 400), 1))
    with pytest.raises(LimitExceeded, match="limit is 100000"):
        codec.decode(ping(repeated(b"\x1a\x02", 2000), 2))
    assert codec_with(max_memory=1 << 40).decode(ping(repeated(b"\x1a\x02", 2 * MEGA)))[0] == 1


@pytest.mark.skipif(native.codec is None, reason="pure Python looks up by itself")
@pytest.mark.parametrize(
    ("data", "items"),
    [
        (repeated(b"\x10\x20", 400_000), 400_000),
        (brine.dump(frozenset(range(100_000, 300_000))), 400_000),
        (repeated(brine.dump("text"), 300_000), 50_000),
    ],
)
def test_others_run_while_a_message_is_decoded(data: bytes, items: int) -> None:
    """The interpreter is free after every 10,000 items."""
    before = native.codec.looks()
    brine.load(data)
    assert native.codec.looks() - before >= items // 10_000 - 1


@pytest.mark.skipif(native.codec is None, reason="pure Python looks up by itself")
@pytest.mark.parametrize("value", [bytes(8 * MEGA), "x" * (8 * MEGA)])
def test_others_run_while_a_large_value_is_made(value: Any) -> None:
    """The interpreter is free after every MiB."""
    data = brine.dump(value)
    before = native.codec.looks()
    assert brine.load(data) == value
    assert native.codec.looks() - before >= 8


def test_large_texts_are_cut_between_characters() -> None:
    """Pieces of a large text end where a character does, and lone surrogates stay."""
    for start in range(4):
        text = "a" * (MEGA - start) + "\ud800\u20ac\U0001f600" * 1000 + "\xe9" * MEGA
        assert brine.load(brine.dump_surrogates(text)) == text
    with pytest.raises(MalformedValue, match="UTF-8"):
        brine.load(b"\x08\x0f" + (3 * MEGA).to_bytes(4, "big") + b"\x80" * (3 * MEGA))


def test_nesting_inside_of_a_set_is_bounded_whatever_max_depth_is() -> None:
    """Hashing recurses in C; so does freeing a slice."""
    for head in (b"\x1a", b"\x19"):
        inner = b"\x10" if head == b"\x1a" else b"\x12\x50\x50\x19"
        data = head + (b"\x10" if head == b"\x1a" else b"\x12\x50\x50") + inner * 5_000 + b"\x50"
        with pytest.raises(MalformedValue, match="at most 1000 levels"):
            brine.load(data, 10**7)
    assert brine.load(b"\x10" * 5000 + b"\x50", 10**7)


def test_an_error_does_not_show_all_of_a_value() -> None:
    """The text of an error is short, however large or deep the value is."""
    codec = codec_with()
    codec.decode(ping(b"\x51"))
    for value in (
        b"\x10" * 999 + b"\x50",
        repeated(b"\x10\x20", 100_000),
        b"\x0f\0\x01\0\0" + b"x" * 65536,
    ):
        with pytest.raises(ProtocolError) as info:
            codec.decode(b"\x01\x11" + value + b"\x11\x51\x11\x51\x02")
        assert len(str(info.value)) < 300


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(MEGA)) for _ in range(size // MEGA)]
    return b"".join([*parts, packer.flush()])


def test_nothing_is_inflated_beyond_the_limit() -> None:
    """A frame that inflates to exactly the limit passes, and one byte more does not."""
    for limit in (1000, 1 << 18, MEGA, 3 * MEGA + 5):
        framer = RpycFramer(max_inflated_size=limit)
        assert framer.inflate(zlib.compress(bytes(limit))) == bytes(limit)
        with pytest.raises(LimitExceeded) as info:
            framer.inflate(zlib.compress(bytes(4 * limit)))
        assert (info.value.got, info.value.key) == (limit + 1, "max_inflated_size")


def test_what_inflates_little_is_limited_too() -> None:
    """There is no exception for what is large on the wire."""
    text = b"".join([number.to_bytes(3, "big") for number in range(200_000)])
    with pytest.raises(LimitExceeded, match="max_inflated_size"):
        RpycFramer(max_inflated_size=500_000).inflate(zlib.compress(text))


@pytest.mark.parametrize("size", [9, 1 << 18, (1 << 18) + 1, 3 * MEGA])
def test_streams_in_frames_are_whole(size: int) -> None:
    """What ends early or has something behind it is refused, in pieces as at once."""
    packed = zlib.compress(bytes(range(256)) * (size // 256 + 1), 1)
    for wrong in (packed[:-1], packed + b"x", packed + bytes(MEGA)):
        with pytest.raises(MalformedFrame, match="one whole zlib stream"):
            RpycFramer().inflate(wrong)


PEAK = """
import sys, zlib
from rpyc_like.wire.framing import RpycFramer
import tests.attacks.test_memory as attacks
data = attacks.bomb(64 << 20)
def peak():
    return int(next(line for line in open("/proc/self/status") if "VmHWM" in line).split()[1])
open("/proc/self/clear_refs", "w").write("5")
before = peak()
assert len(RpycFramer().inflate(data)) == 64 << 20
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory held")
def test_a_bomb_takes_no_more_than_its_limit_at_its_peak() -> None:
    """Inflating does not join pieces, which takes twice the memory."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=200
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the system does not tell: {error.stderr[-80:]}")
    assert int(done.stdout) < 90 << 10  # KiB


def received(make: Callable[[FrameReceiver, Any], None]) -> tuple[FrameReceiver, Any]:
    here, there = MemoryStream.create_pair()
    framer = RpycFramer(max_first_frame_size=1 << 30)
    receiver = FrameReceiver(here, framer)
    make(receiver, there)
    return receiver, framer


def test_frames_are_inflated_when_it_is_their_turn() -> None:
    """What waits in the queue of a connection is as small as it came."""
    packed = bomb(8 * MEGA)
    frame = len(packed).to_bytes(4, "big") + b"\x01" + packed + b"\n"
    receiver, _ = received(lambda _, there: there.write(frame * 6))
    sender = threading.Thread(target=lambda: None)
    sender.start()
    sender.join()
    assert receiver.pull()
    assert len(receiver.payloads) == 6
    assert sum(map(len, receiver.payloads)) == 6 * len(packed)
    assert receiver.receive(0) == bytes(8 * MEGA)


def test_a_broken_frame_in_the_queue_ends_the_stream() -> None:
    """What came before is delivered, and nothing after it."""
    good, bad = zlib.compress(b"x" * 5000), b"no zlib data"
    frames = b"".join(
        [len(one).to_bytes(4, "big") + b"\x01" + one + b"\n" for one in (good, bad, good)]
    )
    receiver, _ = received(lambda _, there: there.write(frames))
    assert receiver.pull()
    assert receiver.receive(0) == b"x" * 5000
    for _ in range(2):
        with pytest.raises(MalformedFrame, match="zlib"):
            receiver.receive(0)


def test_a_channel_has_frames_inflated() -> None:
    """A channel of a program's own gets payloads as ever."""
    here, there = MemoryStream.create_pair()
    Channel(there).send(b"x" * 100_000)
    assert Channel(here).recv() == b"x" * 100_000


@pytest.mark.parametrize("make", [list, dict, lambda: [[]]])
def test_pricing_takes_no_memory_for_what_is_met_once(make: Callable[[], Any]) -> None:
    """A message of many empty lists is not made twice as large by counting it."""
    value = [make() for _ in range(100_000)]
    inside: Any = dict.fromkeys((list, tuple, dict), lambda one: one)
    tracemalloc.start()
    try:
        meter.memory_of(value, inside)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_what_is_shared_is_priced_once() -> None:
    """However many ways lead to it."""
    value: Any = []
    for _ in range(200):
        value = [value, value]
    assert meter.memory_of(value, {list: list.copy}) < 200 * 100


@pytest.mark.parametrize("odd", [1 << 70, b"x" * 100_000], ids=["a large number", "large bytes"])
def test_one_odd_item_makes_an_answer_no_more_expensive(odd: Any) -> None:
    """Items that go a long way in pure Python take no much more memory than others."""
    value = (0,) * 300_000 + (odd,)
    tracemalloc.start()
    try:
        size = len(brine.dump(value))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * size
