"""The compiled codec beside the pure one: same bytes, same values, same errors."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.core.encoding import codec as dialects
from rpyc_like.core.protocol import Connection
from rpyc_like.lib import native as impl
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from rpyc_like.wire.brine import format as pure
from rpyc_like.wire.framing import RpycFramer
from tests.fuzz import corpus, targets

needs_native = pytest.mark.skipif(impl.codec is None, reason="the compiled core is not in use")

plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(1 << 63), 1 << 63),
        st.integers(-60, 200), st.floats(), st.complex_numbers(), st.text(), st.binary(),
        st.text(min_size=250, max_size=260), st.just(NotImplemented), st.just(...),
        st.text(st.characters(categories=["Cs", "Ll"]), max_size=3),
        st.just(b"x" * 70_000), st.just("y" * 65_536), st.just(10**30),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6).map(tuple),
        st.frozensets(st.integers() | st.text(max_size=3), max_size=5),
        st.builds(slice, inner, inner, inner),
        st.lists(inner, min_size=255, max_size=257).map(tuple),
        st.just([1]), st.just(object), st.just(bytearray(b"x")),
    ),
    max_leaves=8,
)  # fmt: skip


def outcome(func: Callable[..., Any], *args: Any) -> Any:
    """Returns a text that is the same for equal values, or the error."""
    try:
        value = func(*args)
    except Exception as error:
        return type(error), str(error)
    return canonical(value)


def canonical(value: Any) -> Any:
    kind = type(value)
    if kind is tuple:
        return kind, [canonical(item) for item in value]
    if kind is frozenset:
        return kind, sorted((canonical(item) for item in value), key=repr)
    if kind is slice:
        return kind, [canonical(item) for item in (value.start, value.stop, value.step)]
    if kind is float:
        return kind, "nan" if math.isnan(value) else value.hex()
    return kind, repr(value)


@needs_native
@settings(deadline=None)
@given(plain)
def test_dump(value: Any) -> None:
    """Bytes or errors are those of the pure half."""
    assert outcome(brine.dump_small, value) == outcome(pure.dump_small, value)
    assert outcome(brine.dump, value) == outcome(pure.dump, value)
    assert outcome(brine.dump, value, 3, 20) == outcome(pure.dump, value, 3, 20)


@needs_native
@settings(deadline=None)
@given(plain, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3))
def test_load(value: Any, changes: list[tuple[int, int]]) -> None:
    """What is written by one is read by the other; what is malformed is so for both."""
    try:
        data = bytearray(pure.dump_surrogates(value))
    except TypeError:
        return
    for place, byte in changes:
        data[place % len(data)] = byte
    raw = bytes(data)
    for args in ((), (2,), (1000, 5)):
        assert outcome(brine.load, raw, *args) == outcome(pure.load, raw, *args)
        assert outcome(brine.load_at, raw, 0, *args) == outcome(pure.load_at, raw, 0, *args)
    cut = raw[: len(raw) // 2]
    assert outcome(brine.load, cut) == outcome(pure.load, cut)


@needs_native
def test_the_corpus() -> None:
    """What the fuzzer has found means the same to both."""
    inputs = [*corpus.load("brine"), *corpus.load("dispatch"), *corpus.load("snapshot")]
    assert len(inputs) > 1000
    for data in inputs:
        assert outcome(brine.load, data) == outcome(pure.load, data), data.hex()
        for position in range(0, min(len(data), 40), 7):
            args = data, position
            assert outcome(brine.load_at, *args) == outcome(pure.load_at, *args), data.hex()


@needs_native
@pytest.mark.parametrize(
    "args",
    [(), (1,), (b"", 5, 6, 7, 8), (b"x", -1), ("x", 0), (b"\x50", 0.0), (b"\x50", 10**30)],
)
def test_misuse(args: Any) -> None:
    """Wrong arguments are the pure half's business."""
    assert outcome(brine.load_at, *args)[0] == outcome(pure.load_at, *args)[0]


@needs_native
def test_depth() -> None:
    """Nesting does not cost the machine's stack."""
    data = b"\x10" * 1_000_000 + b"\x50"
    assert outcome(brine.load, data) == outcome(pure.load, data)
    value: Any = ()
    for _ in range(500):
        value = (value,)
    assert brine.load(brine.dump(value)) == value
    for _ in range(2000):
        value = (value,)
    assert outcome(brine.dump, value) == outcome(pure.dump, value)


class Item:
    """An object that is lent."""


class Boxes(tuple[Any, ...]):
    """A tuple of boxes."""


def codecs() -> Any:
    """Returns a connection that has been heard, and its codec."""
    conn = rpyc.connect_channel(Channel(MemoryStream.create_pair()[0]))
    codec = conn._codec
    codec._hear(b"\x01")
    return conn, codec


@needs_native
@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([1, 3, 4, 5, 7, 8, 11, 16, 17, 20, 100, 101, 103, 104, 106, 107, 130, 200]),
    st.lists(
        plain
        | st.recursive(
            st.sampled_from(["LENT", "OTHER", 5]),
            lambda inner: st.builds(Boxes, st.lists(inner, max_size=3)),
            max_leaves=25,
        ),
        max_size=6,
    ),
    st.sampled_from([None, 5, 10**20, "x"]),
    st.integers(0, 10**7),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=2),
)
def test_messages(
    handler: int, args: list[Any], cause: Any, id_: int, boxed: bool, changes: Any
) -> None:
    """A payload means the same to both, or fails in the same way."""
    conn, codec = codecs()
    lent = conn._local_objects.lend(Item(), rpyc.core.references.tables.identify)

    def box(arg: Any) -> bytes:
        if type(arg) is Boxes:
            return b"\x11\x52" + pure.tuple_head(len(arg)) + b"".join(map(box, arg))
        if arg == "LENT":
            return b"\x11\x53" + lent
        if arg == "OTHER":
            return b"\x11\x53" + lent[:-1] + b"7"
        return b"\x11\x51" + pure.dump_surrogates(arg)

    try:
        parts = [box(arg) for arg in args]
        body = box(Boxes(args))
    except TypeError:
        return
    if not boxed:
        body = parts[0] if parts else b"\x11\x51\x02"
    head = b"\x11" + pure.dump(id_)
    tail = b"" if cause is None else pure.dump(cause)
    shape = b"\x11" if cause is None else b"\x12"
    payloads = [b"\x01" + head + shape + pure.dump(handler) + body + tail, b"\x02" + head + body]
    for whole in payloads:
        data = bytearray(whole)
        for place, byte in changes:
            data[place % len(data)] = byte
        seen = []
        for native in (codec._compiled, None):
            codec.native = native
            codec.serving.clear()
            seen.append(described(codec.decode, bytes(data)))
        assert seen[0] == seen[1], bytes(data).hex()
        codec.native = codec._compiled
        codec.serving.clear()
        frame = RpycFramer(compress=False).encode(bytes(data))
        if codec.open_frames(frame) is not None:
            codec.serving.clear()
            assert described(codec.open_frames, frame) == seen[0]
    conn._link.lose(None)


def described(decode: Callable[[bytes], Any], payload: bytes) -> Any:
    try:
        message = decode(payload)
    except Exception as error:
        return type(error), str(error)
    *start, last = message
    if type(last) is tuple:
        last = [
            value if type(value) is Item else outcome(lambda value=value: value) for value in last
        ]
    elif type(last) is not Item:
        last = type(last), str(last)[:200]
    return start, last


@needs_native
@settings(deadline=None)
@given(plain, st.lists(plain, max_size=4), st.integers(-5, 10**12))
def test_encoding_messages(value: Any, args: list[Any], id_: int) -> None:
    """Requests and replies of plain values, and of proxies that go home, are the same bytes."""
    if not all(map(pure.dumpable, (value, *args))):
        return  # a reference gets another number each time
    conn, codec = codecs()
    pack = b"\x12\x08\x0e\x0dbuiltins.list\x16\x03123\x16\x03456"
    proxy = conn._boxer.decode(b"\x11\x54" + pack, 0)[0]
    sent: list[Any] = []
    chain = (((0, (0, proxy), "path"), (1, (1, 0, 0), (((0, value),),), ())), (1,))
    deep: Any = proxy
    for _ in range(12):
        deep = (deep, value, ())
    requests = (
        (consts.HANDLE_CALL, (proxy, tuple(args), ())),
        (consts.HANDLE_CHAIN, chain),
        (200, (value, *args)),
        (201, (deep, *args)),
    )
    for target, boxed in requests:
        whole = codec.frame_request(id_, target, boxed)
        if whole is not None:
            assert whole == RpycFramer().encode(codec.encode_request(id_, target, boxed))
    whole = codec.native.reply(True, id_, value)
    if whole is not None:
        assert whole == RpycFramer().encode(codec.encode_reply(id_, value))
    for native in (codec._compiled, None):
        codec.native = native
        sent.append(
            [
                outcome(codec.encode_reply, id_, value),
                outcome(codec.encode_request, id_, consts.HANDLE_CALL, (proxy, tuple(args), ())),
                outcome(codec.encode_request, id_, 200, (value, *args)),
                outcome(codec.encode_request, id_, consts.HANDLE_CALL, (proxy, (), value)),
                outcome(codec.encode_request, id_, consts.HANDLE_CHAIN, chain),
                outcome(codec.encode_request, id_, 201, (deep, *args)),
                outcome(codec.encode_request, id_, 201, ((deep, deep, deep), *args)),
            ]
        )
    assert sent[0] == sent[1]
    conn._link.lose(None)


def test_the_choice() -> None:
    """RPYC_LIKE_IMPL chooses; anything else is an error that says what was expected."""

    def run(wanted: str) -> subprocess.CompletedProcess[str]:
        code = "import rpyc_like.lib.native as impl; print(impl.IMPLEMENTATION)"
        env = {**os.environ, "RPYC_LIKE_IMPL": wanted}
        return subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )

    assert run("python").stdout == "python\n"
    if impl.codec is not None:
        assert run("native").stdout == run("").stdout == "native\n"
    assert "expected native or python, got 'fast'" in run("fast").stderr
    code = "import sys; sys.modules['rpyc_like._native.codec'] = None\nimport rpyc_like.lib.native"
    env = {**os.environ, "RPYC_LIKE_IMPL": "native"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert "the compiled core was not built" in done.stderr


def test_unusual_limits_are_the_pure_half_s(pair: Any) -> None:
    """A connection with narrow limits, or a program's own boxing, does without the compiled."""
    client, _ = pair(rpyc.Service, here_config={"max_depth": 3})
    assert client._codec.native is None

    class Own(Connection):
        def _box(self, obj: Any) -> Any:
            return super()._box(obj)

    service = type("S", (rpyc.VoidService,), {"_protocol": Own})
    client, _ = pair(rpyc.Service, service)
    assert client._codec.native is None
    assert dialects._DIGITS == 18 and targets.LIMIT
