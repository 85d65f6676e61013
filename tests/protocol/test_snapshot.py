"""Copies by value, without pickle."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rpyc_like as rpyc
from rpyc_like import by_value, snapshot
from rpyc_like.core import consts
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicClient, SlaveService
from rpyc_like.core.snapshots import dump as snapshot_dump
from rpyc_like.core.snapshots import load as snapshot_load
from rpyc_like.errors import MalformedValue
from tests.support.asked import Asked

try:
    import numpy  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    numpy = None  # type: ignore[assignment]
needs_numpy = pytest.mark.skipif(numpy is None, reason="there is no NumPy")

Pair = tuple[Connection, Connection]


@by_value
@dataclasses.dataclass
class Point:
    """A dataclass of both sides."""

    x: int
    y: Any = None


@by_value
@dataclasses.dataclass(frozen=True)
class Frozen:
    """One with slots that cannot be set."""

    __slots__ = ("name",)
    name: str


@by_value
class Pair_(NamedTuple):  # noqa: N801
    """A named tuple."""

    left: int
    right: str


@by_value
class Color(enum.Enum):
    """An enumeration."""

    RED = 1
    BLUE = "b"


@by_value
class Access(enum.Flag):
    """Flags."""

    READ = 1
    WRITE = 2


DATA: dict[str, Any] = {
    "plain": [None, True, 5, -(10**40), 1.5, 2 + 1j, "text \ud800", b"bytes", ..., NotImplemented],
    "nested": [1, [2, (3, {"x": {4, 5}}, frozenset([6]))], bytearray(b"7")],
    "keys": {(1, 2): "tuple", frozenset([3]): "set", "x": {1: {}}, None: []},
    "dataclasses": [Point(1, Point(2, [3])), Frozen("f")],
    "named tuples": [Pair_(1, "x"), {Pair_(2, "y"): 3}],
    "enumerations": [Color.RED, Color.BLUE, Access.READ | Access.WRITE, Access(0)],
    "times": [
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        datetime.datetime(2020, 1, 2, fold=1, tzinfo=datetime.timezone.utc),
        datetime.datetime(2020, 7, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime.time(1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "two")),
        datetime.date(2020, 2, 29),
        datetime.timedelta(-3, 4, 5),
        datetime.timezone(datetime.timedelta(minutes=-90)),
    ],
    "numbers": [decimal.Decimal("1.50"), decimal.Decimal("NaN").is_nan(), fractions.Fraction(1, 3)],
    "names": [uuid.UUID(int=5), pathlib.Path("/a/b"), pathlib.PurePosixPath("x"),
              pathlib.PureWindowsPath("c:/x")],
    "ranges": [range(1, 10, 2), slice(1, None, -1)],
    "collections": [
        collections.deque([1, [2]]),
        collections.OrderedDict([("b", 1), ("a", [2])]),
        collections.Counter("abca"),
        array.array("d", [1.5, 2.5]),
    ],
    "empty": [[], (), {}, set(), frozenset(), collections.deque(), "", b""],
}  # fmt: skip


@pytest.fixture
def classic(pair: Callable[..., Pair]) -> tuple[Connection, Connection]:
    client, server = pair(SlaveService, ClassicClient)
    client.root
    return client, server


def lend(classic: Pair, obj: Any) -> Any:
    """Returns a proxy of something that lives on the server's side."""
    client, server = classic
    server._local_root.namespace["obj"] = [obj]
    return client.eval("obj")


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("name", DATA)
def test_data_comes_whole_in_one_trip(classic: Pair, name: str) -> None:
    """Each kind of data arrives equal and of the same type."""
    remote = lend(classic, DATA[name])
    asked = Asked(classic[1])
    copied: list[Any] = []
    assert asked(lambda: copied.append(snapshot(remote))) == [consts.HANDLE_SNAPSHOT]
    assert same(copied[0], [DATA[name]])
    for one, other in zip(copied[0][0], DATA[name]):
        assert same(one, other)
    assert same(snapshot(DATA[name]), DATA[name])


def test_cycles_and_shared_parts(classic: Pair) -> None:
    """What is one object there is one here."""
    shared = [1]
    looped: dict[str, Any] = {"one": shared, "two": shared, "tuple": (shared,)}
    looped["self"] = looped
    point = Point(1)
    point.y = [point]
    copied, copied_point = snapshot(lend(classic, (looped, point)))[0]
    assert copied["one"] is copied["two"] is copied["tuple"][0]
    assert copied["self"] is copied
    assert copied_point.y[0] is copied_point
    inner: list[Any] = []
    around = (inner,)
    inner.append(around)
    with pytest.raises(MalformedValue, match="contains itself"):
        snapshot(lend(classic, around))


def test_depth_and_length(classic: Pair) -> None:
    """Neither depth nor length costs the interpreter's stack."""
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    copied = snapshot(lend(classic, deep))[0]
    depth = 0
    while copied:
        copied = copied[0]
        depth += 1
    assert depth == 50_000
    while deep:  # or the interpreter takes it apart by recursion
        deep = deep[0]
    numbers = [*range(200_000)]
    assert snapshot(lend(classic, numbers)) == [numbers]


@needs_numpy
@pytest.mark.parametrize(
    "make",
    [
        lambda: numpy.arange(12).reshape(3, 4),
        lambda: numpy.asfortranarray(numpy.arange(12.0).reshape(3, 4)),
        lambda: numpy.arange(12)[::2],
        lambda: numpy.array(["a", "bc"]),
        lambda: numpy.array(["2020-01-01"], dtype="M8[D]"),
        lambda: numpy.array(5),
        lambda: numpy.zeros((0, 3), dtype=">i2"),
        lambda: numpy.array([True, False]),
    ],
)
def test_numpy(classic: Pair, make: Callable[[], Any]) -> None:
    """Arrays come with dtype, shape and order, and can be written to."""
    original = make()
    copied = snapshot(lend(classic, original))[0]
    assert copied.dtype == original.dtype
    assert copied.shape == original.shape
    assert copied.flags.f_contiguous == original.flags.f_contiguous or original.ndim < 2
    assert (copied == original).all()
    assert copied.flags.writeable
    scalar = snapshot(lend(classic, numpy.float32(1.5)))[0]
    assert type(scalar) is numpy.float32 and scalar == 1.5
    with pytest.raises(TypeError, match=r"ndarray at \[0\]"):
        snapshot(lend(classic, numpy.array([object()])))


class Unknown:
    """Is no data."""


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (Unknown(), r"\[0\]$"),
        ([1, {"x": (2, Unknown())}], r"\[0\]\[1\]\['x'\]\[1\]$"),
        ({Unknown(): 1}, "a key"),
        (Point(1, Unknown()), r"\.y$"),
        ([len], "builtin_function"),
    ],
)
def test_what_is_no_data(classic: Pair, data: Any, place: str) -> None:
    """The error says what it is and where it stands."""
    with pytest.raises(TypeError, match="expected data for a snapshot, got a") as info:
        snapshot(lend(classic, data))
    assert __import__("re").search(place, str(info.value).split("\n")[0])


def test_classes_that_this_side_does_not_have(classic: Pair) -> None:
    """Stand-ins have the same names and fields."""
    client, _ = classic
    client.execute(
        "import dataclasses, enum, collections\n"
        "@dataclasses.dataclass\nclass There:\n    a: int\n    b: object\n"
        "Shade = enum.IntEnum('Shade', 'DARK LIGHT')\n"
        "Two = collections.namedtuple('Two', 'x y')\n"
        "made = [There(1, There(2, 3)), Shade.LIGHT, Two(1, 2)]\n"
    )
    there, shade, two = snapshot(client.eval("made"))
    assert type(there).__name__ == "There"
    assert (there.a, there.b.b) == (1, 3)
    assert dataclasses.asdict(there) == {"a": 1, "b": {"a": 2, "b": 3}}
    assert (shade.name, shade.value, shade + 1) == ("LIGHT", 2, 3)
    assert (two.x, two.y, tuple(two)) == (1, 2, (1, 2))
    assert type(snapshot(client.eval("made"))[0]) is type(there)


@by_value
@dataclasses.dataclass
class Dangerous:
    """Would do something when it is made, filled, or forgotten."""

    path: str
    done = []  # type: ignore[var-annotated]

    def __post_init__(self) -> None:
        self.done.append("post_init")

    def __del__(self) -> None:
        self.done.append("del")


@by_value
@dataclasses.dataclass
class Careful:
    """Has code of its own that runs when a field is set."""

    done = []  # type: ignore[var-annotated]
    value: int

    def __post_init__(self) -> None:
        self.done.append("post_init")


def test_the_peer_runs_no_code() -> None:
    """A snapshot names classes of this program, and none of their methods runs."""
    module = __name__
    made = snapshot_load.load(
        ((("dataclass", module, "Dangerous", ("path",)),), ((8, 0, 1), "/etc"))
    )
    assert type(made) is not Dangerous and made.path == "/etc"
    made = snapshot_load.load(((("dataclass", module, "Careful", ("value",)),), ((8, 0, 1), 5)))
    assert type(made) is Careful and made.value == 5
    del made
    for cls in ("pathlib.Path", "subprocess.Popen"):
        name, _, short = cls.rpartition(".")
        made = snapshot_load.load(((("dataclass", name, short, ("args",)),), ((8, 0, 1), "x")))
        assert type(made).__name__ == short and dataclasses.is_dataclass(made)
        assert type(made) is not getattr(sys.modules[name], short, None)
    assert Dangerous.done == [] and Careful.done == []


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        5,
        ((), ()),
        ((), ((1, 2), 1)),
        ((), (1, 2)),
        ((), ((1, 10**12),)),
        ((), ((7, 0),)),
        ((), ((99, 0),)),
        ((), ((8, 0, 1), 1)),
        ((("dataclass", "m", "C", ("a", "a b")),), ((8, 0, 2), 1, 2)),
        ((("dataclass", "m", "C", ("a",)),), ((8, 0, 2), 1, 2)),
        ((("nothing", "m", "C", ()),), (1,)),
        ((), ((11, "system", "x"),)),
        ((), ((12, "|O", (1,), "C", b"x" * 8),)),
        ((), ((12, "<i8", (5,), "C", b"x" * 8),)),
        ((), ((9, 0, "x", 1),)),
        ((), ((3, 1), (1, 0))),
    ],
)
def test_malformed_snapshots(malformed: Any) -> None:
    """A peer that answers something else is told so."""
    with pytest.raises(MalformedValue):
        snapshot_load.load(malformed)


class Shouting:
    """Stands for a proxy: its ``repr`` would ask the peer."""

    asked = 0

    def __repr__(self) -> str:
        Shouting.asked += 1
        return "shouting"


@pytest.mark.parametrize(
    "classes",
    [
        ("dataclass", "m", Shouting(), ()),
        ("dataclass", "m", "C", Shouting()),
        ("dataclass", "m", "C", (Shouting(),)),
        ("Enum", "m", "C", ((Shouting(), 1),)),
        ("dataclass", "m", "C", ("x" * 2000,) * 2000),
    ],
)
def test_what_is_malformed_is_not_asked_for_its_text(classes: Any) -> None:
    """The error tells of the type of what is no plain value, and of a part of what is large."""
    Shouting.asked = 0
    with pytest.raises(MalformedValue) as caught:
        snapshot_load.load(((classes,), ((8, 0),)))
    assert len(str(caught.value)) < 300
    assert not Shouting.asked


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.decimals(allow_nan=False), st.datetimes(), st.uuids(), st.sampled_from(Color),
)  # fmt: skip
hashable = st.one_of(leaves, st.tuples(leaves, leaves), st.frozensets(leaves, max_size=3))
data = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(leaves, inner, max_size=5),
        st.sets(hashable, max_size=5),
        st.builds(Point, st.integers(), inner),
        st.tuples(inner, inner),
    ),
)


@settings(max_examples=150, deadline=None)
@given(value=data)
def test_any_data(value: Any) -> None:
    """Whatever is nested in whatever."""
    from rpyc_like.core import brine

    dumped = snapshot_dump.dump(value, lambda container: None, getattr)
    travelled = brine.load(brine.dump_surrogates(dumped))
    assert same(snapshot_load.load(travelled), value)


def test_the_gate(pair: Callable[..., Pair]) -> None:
    """A restricted peer copies what it may read, and no more."""

    class Service(rpyc.Service):
        def exposed_numbers(self) -> list[Any]:
            return [1, {"x": [2]}]

        def exposed_point(self) -> Point:
            return Point(1)

    client, _ = pair(Service)
    assert snapshot(client.root.numbers()) == [1, {"x": [2]}]
    with pytest.raises(AttributeError, match="cannot access 'x'"):
        snapshot(client.root.point())
    client, _ = pair(Service, there_config={"allow_safe_attrs": False})
    with pytest.raises(AttributeError, match="__iter__"):
        snapshot(client.root.numbers())


def test_proxies_are_no_data(classic: Pair) -> None:
    """What belongs to this side is not copied back and forth."""
    client, _ = classic
    with pytest.raises(TypeError, match="got a proxy"):
        snapshot(client.builtins.list([len, object()]))


# -- obtain and deliver


@needs_numpy
def test_obtain_takes_one_request_with_buffers_beside(classic: Pair) -> None:
    """An array's memory is not copied into the pickle, and the copy can be written to."""
    original = numpy.arange(100_000)
    remote = lend(classic, {"a": original, "b": Point(1)})
    asked = Asked(classic[1])
    copied: list[Any] = []
    assert asked(lambda: copied.append(rpyc.classic.obtain(remote))) == [consts.HANDLE_PICKLE_PARTS]
    (whole,) = copied[0]
    assert (whole["a"] == original).all() and whole["b"] == Point(1)
    whole["a"][0] = 7


@needs_numpy
def test_deliver_takes_one_request(classic: Pair) -> None:
    """What is delivered lives there, and can be changed there."""
    client, server = classic
    asked = Asked(server)
    delivered: list[Any] = []
    local = {"a": numpy.zeros(50_000), "b": [1, 2]}
    assert asked(lambda: delivered.append(rpyc.classic.deliver(client, local))) == [
        consts.HANDLE_CHAIN
    ]
    there = delivered[0]
    there["a"].fill(3)
    there["b"].append(3)
    assert float(there["a"].sum()) == 150_000
    assert list(there["b"]) == [1, 2, 3]
    assert local["b"] == [1, 2]


def test_obtain_needs_leave(pair: Callable[..., Pair]) -> None:
    """A service that does not allow pickling says so."""

    class Service(rpyc.Service):
        def exposed_numbers(self) -> list[int]:
            return [1]

    client, _ = pair(Service, here_config={"allow_obtain": True})
    with pytest.raises(ValueError, match="allow_pickle"):
        rpyc.classic.obtain(client.root.numbers())
