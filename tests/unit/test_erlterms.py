"""Erlang's external term format: what is read, what is written, and what is refused."""

from __future__ import annotations

import copy
import datetime
import enum
import math
import pickle
import zlib
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpyc_like.erlport import erlterms
from rpyc_like.erlport.erlterms import (
    Atom,
    BitBinary,
    Export,
    ImproperList,
    IncompleteData,
    Local,
    MalformedTerm,
    Map,
    MutationError,
    Pid,
    PortId,
    Reference,
    String,
    TermLimitExceeded,
    decode,
    decode_term,
    encode,
    encode_term,
)
from tests.support.etf import corpus

MOMENT = datetime.datetime(2026, 11, 21, 15, 30, 5, 99)
Point = namedtuple("Point", "x y")


class Color(enum.IntEnum):
    RED = 3


WRITTEN: list[tuple[Any, bytes]] = [
    (Atom("ok"), b"d\0\2ok"),
    (Atom(""), b"d\0\0"),
    (Atom("é"), b"d\0\1\xe9"),
    (Atom("Ł"), b"w\2\xc5\x81"),
    (Atom("Ł" * 200), b"v\1\x90" + "Ł".encode() * 200),
    (None, b"d\0\4none"),
    (True, b"d\0\4true"),
    (False, b"d\0\5false"),
    (0, b"a\0"),
    (255, b"a\xff"),
    (256, b"b\0\0\1\0"),
    (-1, b"b\xff\xff\xff\xff"),
    (2**31 - 1, b"b\x7f\xff\xff\xff"),
    (2**31, b"n\4\0\0\0\0\x80"),
    (-(2**31), b"b\x80\0\0\0"),
    (-(2**31) - 1, b"n\4\1\1\0\0\x80"),
    (2 ** (8 * 255) - 1, b"n\xff\0" + b"\xff" * 255),
    (2 ** (8 * 255), b"o\0\0\1\0\0" + b"\0" * 255 + b"\1"),
    (1.5, b"F\x3f\xf8\0\0\0\0\0\0"),
    ((), b"h\0"),
    ((1, 2), b"h\2a\1a\2"),
    ((0,) * 256, b"i\0\0\1\0" + b"a\0" * 256),
    ([], b"j"),
    ([1, 2, 255], b"k\0\3\1\2\xff"),
    ([0] * 65536, b"l\0\1\0\0" + b"a\0" * 65536 + b"j"),
    ([1, 256], b"l\0\0\0\2a\1b\0\0\1\0j"),
    ([True, 1], b"l\0\0\0\2d\0\4truea\1j"),
    ([1, False, 2], b"l\0\0\0\3a\1d\0\5falsea\2j"),
    ([1.5, 2.5], b"l\0\0\0\2F\x3f\xf8\0\0\0\0\0\0F\x40\4\0\0\0\0\0\0j"),
    ([[], [[]]], b"l\0\0\0\2jl\0\0\0\1jjj"),
    ("", b"j"),
    ("abc", b"k\0\3abc"),
    ("é", b"k\0\1\xe9"),
    ("Ł", b"l\0\0\0\1b\0\0\1Aj"),
    (String("abc"), b"k\0\3abc"),
    (b"", b"m\0\0\0\0"),
    (b"abc", b"m\0\0\0\3abc"),
    (bytearray(b"abc"), b"m\0\0\0\3abc"),
    (BitBinary(b"\x80", 4), b"M\0\0\0\1\4\x80"),
    (BitBinary(b"", 0), b"m\0\0\0\0"),
    ({}, b"j"),
    ({Atom("b"): 1, Atom("a"): 2}, b"l\0\0\0\2h\2d\0\1aa\2h\2d\0\1ba\1j"),
    ({Atom("b"): 1, 7: 2}, b"l\0\0\0\2h\2a\7a\2h\2d\0\1ba\1j"),
    (
        datetime.datetime(2026, 11, 21, 15, 30, 5, 99),
        b"h\2h\3b\0\0\7\xeaa\x0ba\x15h\3a\x0fa\x1ea\5",
    ),
    (ImproperList([1], 2), b"l\0\0\0\1a\1a\2"),
    (Map({1: 2}), b"t\0\0\0\1a\1a\2"),
    (Export("m", "f", 2), b"qd\0\1md\0\1fa\2"),
    (Pid("n@h", 1, 2, 3), b"Xd\0\3n@h\0\0\0\1\0\0\0\2\0\0\0\3"),
    (PortId("n@h", 1, 3), b"Yd\0\3n@h\0\0\0\1\0\0\0\3"),
    (PortId("n@h", 1 << 28, 3), b"xd\0\3n@h\0\0\0\0\x10\0\0\0\0\0\0\3"),
    (Reference("n@h", 3, (1, 2)), b"Z\0\2d\0\3n@h\0\0\0\3\0\0\0\1\0\0\0\2"),
    (Point(1, 2), b"h\2a\1a\2"),
    (Color.RED, b"a\3"),
    (OrderedDict(a=1), b"l\0\0\0\1h\2k\0\1aa\1j"),
]


@pytest.mark.parametrize(("value", "expected"), WRITTEN, ids=lambda one: repr(one)[:30])
def test_written(value: Any, expected: bytes) -> None:
    assert encode_term(value) == expected
    assert encode(value) == b"\x83" + expected


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1},
        datetime.date(2026, 1, 1),
        math.nan,
        math.inf,
        [1.0, -math.inf],
        (Local(b"y" + bytes(9)),),
        BitBinary(b"x", 9),
        BitBinary(b"x", 0),
    ],
    ids=lambda one: repr(one).partition(" at 0x")[0],
)
def test_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"unsupported data type|expected"):
        encode(value)


def test_containers_of_themselves_are_refused() -> None:
    loop: list[Any] = [1]
    loop.append((loop,))
    with pytest.raises(ValueError, match="contains itself"):
        encode(loop)
    shared = [1, "x"]
    value, _ = decode(encode([shared] * 3))
    assert value == [[1, [120]]] * 3


def test_none_true_false() -> None:
    for name, value in (("none", None), ("true", True), ("false", False)):
        for tag in (
            b"d\0" + bytes([len(name)]),
            b"s" + bytes([len(name)]),
            b"w" + bytes([len(name)]),
        ):
            assert decode_term(tag + name.encode()) == (value, b"")
    assert type(decode(encode(Atom("undefined")))[0]) is Atom


def test_rest() -> None:
    assert decode(b"\x83a\1rest") == (1, b"rest")
    assert decode(encode([1] * 100, compressed=True) + b"rest") == ([1] * 100, b"rest")
    assert decode(bytearray(b"\x83a\1rest")) == (1, b"rest")


def test_compressed() -> None:
    """Compressed if that is shorter by five bytes, at any level."""
    value = [Atom("abc")] * 100
    plain = encode(value)
    for level in (True, 1, 6, 9, -1):
        packed = encode(value, level)
        assert packed[:2] == b"\x83P"
        assert decode(packed) == (value, b"")
    assert encode(value, True) == encode(value, 6)
    assert packed[6:] == zlib.compress(plain[1:])
    assert encode([1, 2, 3], True) == encode([1, 2, 3])
    with pytest.raises(zlib.error):
        encode(value, 10)


def test_every_prefix_is_incomplete() -> None:
    """Of every term in the corpus, every proper prefix (of long ones a few hundred)."""
    count = 0
    for entry in corpus():
        data = entry.data
        ends: Any = range(len(data))
        if len(data) > 600:
            ends = {*range(200), *range(0, len(data), len(data) // 100), len(data) - 1}
        for end in ends:
            with pytest.raises(IncompleteData):
                decode(data[:end])
            count += 1
    assert count > 30_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x83",
        b"\x83l\xff\xff\xff\xffa\1",
        b"\x83m\xff\xff\xff\xffa",
        b"\x83t\xff\xff\xff\xff",
    ],
    ids=repr,
)
def test_incomplete(data: bytes) -> None:
    """What is announced costs no memory."""
    with pytest.raises(IncompleteData) as caught:
        decode(data)
    assert str(caught.value) == f"incomplete data: {data!r}"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x82a\1", "unknown protocol version: 130"),
        (b"\0", "unknown protocol version: 0"),
        (b"\x83\0", "unsupported data tag: 0"),
        (b"\x83\x83a\1", "version byte"),
        (b"\x83R\0", "unsupported data tag: 82"),
        (b"\x83P\0\0\0\2\x83a", "compressed"),
        (b"\x83w\1\xff", "UTF-8"),
        (b"\x83d\1\0" + b"a" * 256, "255"),
        (b"\x83F\x7f\xf0\0\0\0\0\0\0", "finite"),
        (b"\x83l\0\0\0\4" + b"F\x7f\xf0\0\0\0\0\0\0" * 4 + b"j", "finite"),
        (b"\x83t\0\0\0\2a\1a\1a\1a\2", "duplicate key 1"),
        (b"\x83h\1y" + bytes(30), "unsupported data tag: 121"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(MalformedTerm, match=message) as caught:
        decode(data)
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, IncompleteData)


def test_inflation_is_limited() -> None:
    bomb = zlib.compress(b"m" + (200 << 20).to_bytes(4, "big") + bytes(200 << 20))
    for size in (5 + (200 << 20), 0xFFFFFFFF):
        with pytest.raises(TermLimitExceeded, match="max_inflated_size"):
            decode(b"\x83P" + size.to_bytes(4, "big") + bomb)
    with pytest.raises(ValueError, match="another number"):  # says less than there is
        decode(b"\x83P" + (1000).to_bytes(4, "big") + bomb)


def test_any_depth() -> None:
    """Nesting is no matter of Python's stack."""
    value: Any = 1
    for _ in range(50_000):
        value = [(value,)]
    data = encode(value)
    again, _ = decode(data)
    assert encode(again) == data
    value = ImproperList([0], Atom("end"))
    data = b"\x83" + b"l\0\0\0\1a\1" * 50_000 + b"j"
    assert decode(data) == ([1] * 50_000, b"")
    data = b"\x83" + b"t\0\0\0\1a\1" * 50_000 + b"j"
    assert encode(decode(data)[0]) == data


def test_lists_as_tails() -> None:
    assert decode_term(b"l\0\0\0\1a\1k\0\2\2\3") == ([1, 2, 3], b"")
    assert decode_term(b"l\0\0\0\1a\1l\0\0\0\1a\2a\3") == (ImproperList([1, 2], 3), b"")
    assert decode_term(b"l\0\0\0\0d\0\1a") == (Atom("a"), b"")
    assert decode_term(b"l\0\0\0\1jt\0\0\0\0")[0] == ImproperList([[]], Map())


def test_improper_list() -> None:
    improper = ImproperList([Atom("alias")], Reference("n@h", 1, (1,)))
    assert decode(encode(improper)) == (improper, b"")
    assert improper != [Atom("alias")]
    assert ImproperList([1], 2) != ImproperList([1], 3)
    assert hash(ImproperList([1], 2)) == hash(ImproperList([1], 2))
    assert pickle.loads(pickle.dumps(improper)) == improper
    assert repr(ImproperList([1], 2)) == "ImproperList([1], 2)"
    with pytest.raises(TypeError, match="no list"):
        ImproperList([1], [2])
    with pytest.raises(ValueError, match="an item"):
        ImproperList([], 2)


class TestAtom:
    def test_text(self) -> None:
        atom = Atom("name")
        assert atom == "name"
        assert hash(atom) == hash("name")
        assert repr(atom) == "atom(name)"
        assert str(atom) == "name"
        assert Atom(b"name") == atom

    def test_limits(self) -> None:
        assert len(Atom("Ł" * 255)) == 255
        with pytest.raises(ValueError, match="invalid atom length"):
            Atom("x" * 256)
        with pytest.raises(TypeError, match="name of an atom"):
            Atom(1)  # type: ignore[arg-type]

    def test_subclasses(self) -> None:
        class Mine(Atom):
            pass

        assert encode(Mine("x")) == encode(Atom("x"))


def test_string() -> None:
    text = String(decode(encode("Łódź"))[0])
    assert text == "Łódź"
    assert isinstance(text, str)
    assert repr(text) == "string('Łódź')"
    for wrong in (1, None, b"x", ["x"]):
        with pytest.raises(TypeError):
            String(wrong)  # type: ignore[arg-type]


def test_bitbinary() -> None:
    bits = BitBinary(b"\x80", 4)
    assert bits == b"\x80"
    assert bits.bits == 4
    assert repr(bits) == "bits(4, b'\\x80')"
    assert pickle.loads(pickle.dumps(bits)).bits == 4
    found, _ = decode(b"\x83M\0\0\0\2\1\xff\xff")
    assert (found, found.bits) == (b"\xff\x80", 1)  # the bits that mean nothing are gone


class TestMap:
    def test_keys_are_terms(self) -> None:
        pairs = [(1, "a"), (1.0, "b"), (True, "c"), ((1,), "d"), ((True,), "e"), ([1], "f")]
        pairs += [(Map([([], 1)]), "g"), (None, "h"), (b"x", "i"), (Pid("n", 1, 2, 3), "j")]
        table, _ = decode(encode(Map([(key, value.encode()) for key, value in pairs])))
        assert len(table) == len(pairs)
        for key, value in pairs:
            assert table[key] == value.encode()
        assert table == Map([(key, value.encode()) for key, value in reversed(pairs)])
        assert hash(table) == hash(Map([(key, value.encode()) for key, value in reversed(pairs)]))
        assert list(table) == [key for key, _ in pairs]
        assert [1.0] not in table
        assert (1.0,) not in table
        assert 2 not in table
        assert {1} not in table

    def test_is_a_dict(self) -> None:
        table = Map({Atom("a"): 1, b"b": [2], 3: 4.0})
        plain = {"a": 1, b"b": [2], 3: 4.0}
        assert isinstance(table, dict)
        assert table == plain
        assert {**table} == dict(table) == dict(table.items()) == plain
        assert list(table.keys()) == list(plain)
        assert "a" in table.keys()  # noqa: SIM118
        assert list(table.values()) == list(plain.values())
        assert table.get("a") == 1
        assert table.get("none", 7) == 7
        assert list(reversed(table)) == list(reversed(plain))
        assert table | {3: 5} == plain | {3: 5}
        assert copy.copy(table) == pickle.loads(pickle.dumps(table)) == table
        assert repr(Map({1: 2})) == "Map({1: 2})"
        with pytest.raises(KeyError):
            table["b"]

    def test_odd_keys_show_in_copies(self) -> None:
        assert dict(Map([(1.5, 1), ((2,), 2)])) == {1.5: 1, (2,): 2}
        assert Map([(True, 1)]) == {True: 1}
        assert Map([(True, 1)]) != {1: 1}

    def test_cannot_be_changed(self) -> None:
        table: Any = Map({1: 2})
        for change in (
            lambda: table.update({1: 3}),
            lambda: table.__setitem__(1, 3),
            lambda: table.pop(1),
            lambda: table.clear(),
            lambda: table.setdefault(2, 3),
            lambda: table.__ior__({2: 3}),
        ):
            with pytest.raises(MutationError):
                change()
        assert table == {1: 2}

    def test_levels_are_limited(self) -> None:
        table = Map()
        for _ in range(99):
            table = Map([(table, 1)])
        assert decode(encode(table))[0] == table
        with pytest.raises(TermLimitExceeded):
            Map([(table, 1)])
        with pytest.raises(TermLimitExceeded):
            decode_term(b"t\0\0\0\1" + encode_term(table) + b"a\1")


def test_order_of_mixed_keys() -> None:
    """As Erlang orders terms: numbers, atoms, tuples, lists, binaries."""
    mixed = {b"x": 1, (1, 2): 2, (3,): 3, Atom("b"): 4, True: 5, 2.5: 6, 2: 7, "text": 8, None: 9}
    order = [key for key, _ in decode(encode(mixed))[0]]
    text = list(b"text")
    assert order == [2, 2.5, "b", None, True, (3,), (1, 2), text, b"x"]


def test_atoms_are_not_kept_for_ever() -> None:
    """A peer that makes up names costs no memory in the end."""
    for number in range(60_000):
        decode(b"\x83w\x08" + b"%08x" % number)
        encode(Atom(f"n{number}"))
    assert len(erlterms._decoder._atoms) <= 50_000
    assert len(erlterms._encoder._atoms) <= 50_000


plain = st.recursive(
    st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(max_size=30),
        st.booleans(),
        st.none(),
        # not true, false, none: those are no atoms in Python
        st.text(max_size=20, alphabet=st.characters(exclude_categories=["Cs"])).map(
            lambda name: Atom(f"_{name}")
        ),
        st.builds(Pid, st.just("n@h"), *[st.integers(0, 2**32 - 1)] * 3),
        st.builds(BitBinary, st.binary(min_size=1, max_size=4), st.just(8)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=8),
        st.lists(inner, max_size=8).map(tuple),
        st.lists(st.tuples(st.integers(), inner), max_size=5).map(lambda pairs: Map(dict(pairs))),
        st.builds(ImproperList, st.lists(inner, min_size=1, max_size=3), st.integers()),
    ),
    max_leaves=30,
)


@given(plain, st.sampled_from([False, True, 9]), st.binary(max_size=5))
def test_round_trip(value: Any, level: Any, rest: bytes) -> None:
    assert decode(encode(value, level) + rest) == (value, rest)


@given(st.binary(max_size=60), st.integers(0, 255))
def test_junk_raises_value_errors_only(junk: bytes, tag: int) -> None:
    for data in (b"\x83" + junk, b"\x83" + bytes([tag]) + junk, junk):
        try:
            decode(data)
        except ValueError:
            pass


@given(plain, st.data())
def test_damage_raises_value_errors_only(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(encoded))
    except ValueError:
        pass
