"""Case 92: what a snapshot has made."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from rpyc_like.core.snapshots import checks
from rpyc_like.core.snapshots import load as snapshot_load
from rpyc_like.errors import LimitExceeded, MalformedValue
from rpyc_like.lib import native
from rpyc_like.lib.brief import brief
from rpyc_like.wire import meter

DEEP = 300_000


def chained(code: tuple[Any, ...], count: int, inner: Any = 1) -> Any:
    """Return tokens of containers in one another."""
    return (code,) * count + (inner,)


def again(code: tuple[Any, ...], count: int, *, start: int = 0) -> list[Any]:
    """Return tokens of containers each of which refers to the one before; its own place too."""
    tokens: list[Any] = []
    for number in range(count):
        tokens += [code, (7, start + number - 1) if number else 1]
    return tokens


KEYS = {
    "a set of a deep tuple": ((3, 1), *chained((0, 1), DEEP)),
    "frozensets in one another": chained((4, 1), DEEP),
    "a key of a dict": ((2, 1), *chained((0, 1), DEEP), 1),
    "a key of a Counter": ((10, "Counter", 2), *chained((0, 1), DEEP), 1),
    "references": ((1, 3001), *again((0, 1), 3000, start=1), (3, 1), (7, 3000)),
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_not_nested_deeply(name: str) -> None:
    """Hashing and comparing recurse in C."""
    with pytest.raises(MalformedValue, match="at most 1000 levels"):
        snapshot_load.load(((), KEYS[name]))


def doubled(levels: int, start: int) -> list[Any]:
    """Return tokens of tuples each of which has the one before twice."""
    tokens: list[Any] = []
    for number in range(levels):
        part: Any = (7, start + number - 1) if number else 5
        tokens += [(0, 2), part, part]
    return tokens


def test_shared_parts_of_keys_count_each_time() -> None:
    """Hashing and comparing go over a shared part as often as it occurs."""
    with pytest.raises(MalformedValue, match="fewer parts"):
        snapshot_load.load(((), ((1, 41), *doubled(40, 1), (3, 1), (7, 40))))
    equal = ((1, 61), *doubled(30, 1), *doubled(30, 31), (3, 2), (7, 30), (7, 60))
    with pytest.raises(MalformedValue, match="fewer parts"):
        snapshot_load.load(((), equal))
    assert snapshot_load.load(((), ((1, 6), *doubled(5, 1), (3, 1), (7, 5))))


def test_what_the_interpreter_frees_by_recursion_is_not_nested_deeply() -> None:
    """A deque of a deque, by nesting or by references."""
    with pytest.raises((MalformedValue, LimitExceeded)):
        snapshot_load.load(((), chained((10, "deque", 1), DEEP)))
    tokens = ((1, 3000), *again((10, "deque", 1), 3000, start=1))
    with pytest.raises(MalformedValue, match="levels of deque"):
        snapshot_load.load(((), tokens))
    looped = ((10, "deque", 1), (10, "deque", 1), (7, 0))
    with pytest.raises(MalformedValue, match="in one that it contains"):
        snapshot_load.load(((), looped))
    itself = snapshot_load.load(((), ((10, "deque", 1), (7, 0))))
    assert itself[0] is itself


@pytest.mark.parametrize(
    "token",
    [
        (11, "bytearray", 1 << 40),
        (11, "bytearray", (1,) * 10),
        (11, "range", 0, 5),
        (11, "range", 0, 5, True),
        (11, "slice", (1,), 2, 3),
        (11, "Decimal", "1" * 100_001),
        (11, "Decimal", 5),
        (11, "Fraction", 10**90_000 + 1, 10**90_000),
        (11, "Fraction", 1, 0),
        (11, "Fraction", "1/3", 1),
        (11, "timedelta", 10**400, 0, 0),
        (11, "timedelta", 1.5, 0, 0),
        (11, "datetime", "2020-01-01", 2, None),
        (11, "datetime", "2020-01-01" + " " * 10_000, 0, None),
        (11, "datetime", "2020-01-01", 0, (1e300, "x")),
        (11, "timezone", 60, "x" * 1000),
        (11, "UUID", b"x" * 17),
        (11, "array", "x", "little", b""),
        (11, "array", "d", "little", 1 << 30),
        (11, "PosixPath", b"/"),
        (11, "ellipsis", 1),
        (12, "<i8", (-1,), "C", b"x" * 8),
        (12, "<i8", (0, 1 << 60), "C", b""),
        (12, "<i8", (0,) * 100, "C", b""),
        (12, "<i8", 1 << 40, "C", b""),
        (12, "<i8", (1,), "K", b"x" * 8),
        (12, "<U999999999", (1 << 50,), "C", b""),
        (5, 1 << 40),
        (5, ((1,),)),
        (6, ((1,),), (1,)),
        (7, -1),
        (0, -1),
        (0, True),
        (0, 1 << 70),
        (10, "deque", -1),
    ],
    ids=lambda token: brief(token[1]),
)
def test_constructors_get_checked_values_only(token: Any) -> None:
    """Exact types, within bounds; the error comes before anything is made."""
    with pytest.raises(MalformedValue):
        snapshot_load.load(((), (token, 1)))
    with pytest.raises(MalformedValue):
        snapshot_load.load(((), (token,)))


@pytest.mark.parametrize(
    "token",
    [(3, 0), (10, "deque", 0), (2, 0), (10, "defaultdict", 0), (4, 0)],
    ids=str,
)
def test_containers_are_counted(token: Any) -> None:
    """Empty ones have a price too, and what they are in has not been made yet."""
    count = 150_000
    tokens = ((1, count),) + (token,) * count
    with pytest.raises(LimitExceeded, match="memory for a message") as info:
        snapshot_load.load(((), tokens), max_memory=20 << 20)
    assert info.value.key == "max_memory"
    assert len(snapshot_load.load(((), tokens), max_memory=1 << 40)) == count


def test_measuring_is_the_same_in_both_builds() -> None:
    """Memory and wire of a value."""
    if native.codec is None:
        pytest.skip("there is one build")
    value = (
        (),
        (1, -50, 10**6),
        "text",
        "\u20ac",
        b"xy",
        1.5,
        None,
        frozenset([1, 2]),
        slice(1, 2),
    )
    memory, wire = meter._measure(value)
    there, wire_there = native.codec.measure(value)
    assert abs(memory - there) < 100
    assert abs(wire - wire_there) < 10


CRASH = """
from rpyc_like.core.snapshots import load as snapshot_load
for code in ((0, 1), (1, 1), (8, 0, 1)):
    tokens = [(0, 2), (1, 200_000)]
    for number in range(200_000):
        tokens += [code, (7, number + 1) if number else 1]
    tokens.append((7, 200_001))
    classes = (("dataclass", "m", "C", ("a",)),)
    made = snapshot_load.load((classes, tuple(tokens)), max_memory=1 << 40)
    del made
print("alive")
"""


def test_freeing_what_is_nested_by_references_does_not_crash() -> None:
    """Where the interpreter does not recurse, depth is not limited."""
    done = subprocess.run(
        [sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout == "alive\n", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("<U1", b"\xff" * 4),
        ("<U1", b"\0\0\x11\0"),
        (">U1", b"\0\x11\0\0"),
        ("|b1", b"\2"),
        ("|b1", b"\xff"),
    ],
)
def test_an_array_holds_what_numpy_would_make(kind: str, raw: bytes) -> None:
    """It trusts its items: a code point that is none makes it fail when it is shown."""
    numpy = pytest.importorskip("numpy")
    with pytest.raises(MalformedValue, match=r"expected (code points|booleans) of at most"):
        checks.check_items(numpy.frombuffer(raw, numpy.dtype(kind)))
    for fine in (numpy.array(["a\U0010ffff"]), numpy.array([True, False]), numpy.array([1.5])):
        checks.check_items(fine)
        checks.check_items(fine[:0])
