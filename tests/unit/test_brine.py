"""Brine: the format's vectors, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rpyc_like.core import brine
from rpyc_like.errors import LimitExceeded, LocalProtocolError, MalformedValue

VECTORS: list[tuple[Any, str]] = [
    (None, "00"),
    (b"", "01"),
    ((), "02"),
    (True, "03"),
    (False, "04"),
    (NotImplemented, "05"),
    (Ellipsis, "06"),
    ("", "0801"),
    ("a", "080a61"),
    ("ü", "080bc3bc"),
    (b"abcd", "0d61626364"),
    (b"abcde", "0e056162636465"),
    (b"x" * 256, "0f00000100" + "78" * 256),
    ((1,), "1051"),
    ((1, 2, 3, 4), "1351525354"),
    ((1, 2, 3, 4, 5), "14055152535455"),
    (-49, "16032d3439"),
    (-48, "20"),
    (0, "50"),
    (159, "ef"),
    (160, "1603313630"),
    (10**300, "170000012d31" + "30" * 300),
    (1.5, "183ff8000000000000"),
    (slice(1, 2, 3), "1912515253"),
    (frozenset([5]), "1a1055"),
    (1 + 2j, "1b3ff00000000000004000000000000000"),
]


@pytest.mark.parametrize(("value", "expected"), VECTORS, ids=[text[:12] for _, text in VECTORS])
def test_vectors(value: Any, expected: str) -> None:
    """Each value has the bytes of the format, and comes back from them equal and of its type."""
    assert brine.dump(value).hex() == expected
    loaded = brine.load(bytes.fromhex(expected))
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, -0.0, 1e-320])
def test_floats(value: float) -> None:
    """Edge values of doubles come back with their sign."""
    loaded = brine.load(brine.dump(value))
    assert loaded == value
    assert math.copysign(1, loaded) == math.copysign(1, value)


def test_nan() -> None:
    """NaN comes back as NaN."""
    assert math.isnan(brine.load(brine.dump(math.nan)))


@pytest.mark.parametrize("value", [[1], {}, set(), bytearray(b"x"), range(3), object(), (1, [2])])
def test_undumpable(value: Any) -> None:
    """What is not of a brine type is refused with its type's name."""
    assert not brine.dumpable(value)
    with pytest.raises(TypeError, match="cannot dump"):
        brine.dump(value)


class Text(str):
    """A subclass is not brine."""


@pytest.mark.parametrize("value", [Text("x"), (1, Text("x")), frozenset([Text("x")])])
def test_subclasses_are_not_brine(value: Any) -> None:
    """Only exact types travel by value."""
    assert not brine.dumpable(value)


@pytest.mark.parametrize("digits", [4299, 4301, 20_000])
def test_long_integers(digits: int) -> None:
    """Integers beyond the interpreter's own limit of decimal conversion travel both ways."""
    value = 10**digits - 7
    assert brine.load(brine.dump(value)) == value
    assert brine.load(brine.dump(-value)) == -value


@pytest.mark.parametrize(
    "data",
    [
        "",
        "07",
        "1c",
        "1f",
        "f0",
        "ff",
        "10",
        "1151",
        "08",
        "0850",
        "080bc328",
        "0e0561",
        "0f000000",
        "18ff",
        "1b00",
        "1603313",
        "16022d2d",
        "1602315f",
        "1602312b",
        "1600",
        "1650",
        "195150",
        "191151",
        "1a50",
        "15ffffffff50",
        "14ff50",
        "5050",
        "0000",
    ],
)
def test_malformed(data: str) -> None:
    """What is not exactly one value ends in the one documented error."""
    with pytest.raises(MalformedValue):
        brine.load(bytes.fromhex(data + "0" * (len(data) % 2)))


def test_deep_nesting_is_limited() -> None:
    """200,000 nested tuples end at the limit, not in the interpreter's stack."""
    with pytest.raises(LimitExceeded, match="max_depth"):
        brine.load(b"\x10" * 200_000 + b"\x00")


def test_nesting_up_to_the_limit_works() -> None:
    """A value as deep as the limit travels."""
    value: Any = ()
    for _ in range(900):
        value = (value,)
    assert brine.load(brine.dump(value)) == value


def test_deep_nesting_is_refused_when_sending() -> None:
    """A value that no receiver of ours would take is refused before it leaves."""
    value: Any = ()
    for _ in range(5000):
        value = (value, 1)
    with pytest.raises(LocalProtocolError, match="nested deeper"):
        brine.dump(value)


def test_digits_are_limited() -> None:
    """An integer of too many digits is refused before it is converted, both ways."""
    data = b"\x17" + (4_000_000).to_bytes(4, "big") + b"9" * 4_000_000
    with pytest.raises(LimitExceeded, match="max_digits"):
        brine.load(data)
    with pytest.raises(LocalProtocolError, match="max_digits"):
        brine.dump(1 << 400_000)


def test_bytes_in_the_middle() -> None:
    """A value can be read out of a longer message."""
    data = b"??" + brine.dump(("x", 5)) + b"!!"
    assert brine.load_at(data, 2) == (("x", 5), len(data) - 2)
