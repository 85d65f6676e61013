"""Case 93: keys of equal hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.core.config import make_config
from rpyc_like.core.dispatch import handlers
from rpyc_like.core.encoding.boxing import Boxer
from rpyc_like.core.proxies.remote_classes import RemoteClasses
from rpyc_like.core.references.tables import ExportTable, ImportTable
from rpyc_like.core.snapshots import load as snapshot_load
from rpyc_like.errors import MalformedValue, ProtocolError
from rpyc_like.wire import meter

from .served import Served

PRIME = (1 << 61) - 1
COLLIDING = tuple(number * PRIME for number in range(1, 20_000))
"""Integers of hash 0."""

pairs: Callable[[Any], Any] = lambda keys: tuple([item for key in keys for item in (key, 1)])  # noqa: E731

CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "set": lambda keys: ((3, len(keys)), *keys),
    "frozenset": lambda keys: ((4, len(keys)), *keys),
    "dict": lambda keys: ((2, len(keys)), *pairs(keys)),
    "plain dict": lambda keys: ((6, keys, keys),),
    "Counter": lambda keys: ((10, "Counter", 2 * len(keys)), *pairs(keys)),
    "OrderedDict": lambda keys: ((10, "OrderedDict", 2 * len(keys)), *pairs(keys)),
    "defaultdict": lambda keys: ((10, "defaultdict", 2 * len(keys)), *pairs(keys)),
}


@pytest.mark.parametrize(
    "keys",
    [
        COLLIDING,
        tuple([(number,) for number in COLLIDING]),
        tuple([frozenset([number]) for number in COLLIDING[:1000]]),
        tuple([float(number) for number in range(5000)]) + COLLIDING[:70],
    ],
    ids=["ints", "tuples", "frozensets", "among others"],
)
def test_frozensets_of_one_hash_are_refused(keys: Any) -> None:
    """Building one costs the square of its size."""
    data = b"\x1a" + brine.dump(keys)
    with pytest.raises(MalformedValue, match="at most 64 keys of one hash"):
        brine.load(data)


def test_what_has_few_of_one_hash_passes() -> None:
    """64 distinct keys of a hash, any number of equal ones, and any number of others."""
    for keys in (COLLIDING[:64], COLLIDING[:64] * 100, tuple(range(30_000)), (1, 1.0, True) * 99):
        assert brine.load(b"\x1a" + brine.dump(keys)) == frozenset(keys)


LARGE = {
    "long": lambda number: (0,) * 3000 + (number * PRIME,),
    "nested": lambda number: ((0,) * 3000, number * PRIME),
    "frozensets": lambda number: (frozenset(range(3000)), number * PRIME),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("others", [0, 20_000])
def test_large_keys_of_one_hash_are_refused(make: Any, others: int) -> None:
    """Comparing them takes long, so fewer of them are accepted."""
    keys = (*range(1, 1 + others), *[make(number) for number in range(1, 60)])
    with pytest.raises(MalformedValue, match="at most 4 keys of one hash with more than"):
        brine.load(b"\x1a" + brine.dump(keys))
    for allowed in (keys[-4:], tuple([(1, 2, number * PRIME) for number in range(1, 60)])):
        assert brine.load(b"\x1a" + brine.dump(allowed)) == frozenset(allowed)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers_of_snapshots_are_checked(kind: str) -> None:
    """Each container with keys."""
    tokens = CONTAINERS[kind]
    with pytest.raises(MalformedValue, match="at most 64 keys of one hash"):
        snapshot_load.load(((), tokens(COLLIDING)))
    assert len(snapshot_load.load(((), tokens(COLLIDING[:64])))) == 64
    assert len(snapshot_load.load(((), tokens(tuple(range(30_000)))))) == 30_000


class Subject(rpyc.Service):
    def exposed_add(self, a: int = 0, b: int = 0) -> int:
        return a + b


@pytest.mark.parametrize("kind", ["threads", "aio"])
def test_keywords_are_texts(served: Served, kind: str) -> None:
    """Other names of arguments are refused, and no dict is made of them."""

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="keywords must be strings"):
        handlers._keywords(((Unhashable(), 1),))
    conn = served.client(served.server(kind, Subject))
    named = tuple([(key, 1) for key in COLLIDING])
    with pytest.raises(TypeError, match="keywords must be strings"):
        conn.sync_request(consts.HANDLE_CALL, conn.root.add, (), named)
    assert conn.root.add(a=1, b=2) == 3


def test_numbers_of_requests_do_not_collide(served: Served) -> None:
    """They are keys of a table; only those are taken that hash to themselves."""
    conn = served.client(served.server("threads", Subject))
    codec = conn._codec
    for number in (PRIME, 1 << 60, -(1 << 60), 10**40):
        payload = b"\x01\x11" + brine.dump(number) + b"\x11\x51\x11\x51\x02"
        with pytest.raises(ProtocolError, match="expected the number of a request"):
            codec.decode(payload)
    assert codec.decode(b"\x01\x11" + brine.dump((1 << 60) - 1) + b"\x11\x51\x11\x51\x02")


def test_numbers_of_classes_do_not_collide() -> None:
    """A class that the peer has been asked about is a key, too, and so is a described one."""
    boxer = Boxer(
        object(), ExportTable(), ImportTable(lambda: None), RemoteClasses(make_config(None))
    )
    for pack in (("m.X", 8 * PRIME + 8, 0), ("m.X", -(1 << 64), 0), ("m.X", 1, 1 << 64)):
        steps = boxer.unbox((consts.LABEL_REMOTE_REF, pack)).steps()
        assert next(steps)[0] == consts.HANDLE_INSPECT
        with pytest.raises(MalformedValue, match="expected numbers below"):
            steps.send(())
    steps = boxer.unbox((consts.LABEL_REMOTE_REF, ("m.X", (1 << 64) - 1, 0))).steps()
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(())
    assert len(boxer.classes) == 1


def test_the_check_is_no_more_than_linear() -> None:
    """It looks at hashes, whatever it is given."""
    looked = 0

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            nonlocal looked
            looked += 1
            return self.number

    meter.check_hashes([Key(number) for number in range(20_000)])
    assert looked <= 2 * 20_000


SHARING = tuple([(0,) * 230 + (number * PRIME,) for number in range(1, 65)])
"""Keys of one hash: a number in each is another."""


def test_repeated_large_keys_of_one_hash_are_refused() -> None:
    """64 distinct ones pass; each that repeats would be compared with half of them."""
    assert len(brine.load(b"\x1a" + brine.dump(SHARING))) == 64
    keys = tuple([SHARING[number * 37 % 64] for number in range(6000)])
    with pytest.raises(MalformedValue, match="keys of one hash with more than"):
        brine.load(b"\x1a" + brine.dump(keys))
    for kind in ("set", "Counter"):  # of a key each, which is not shared
        tokens = CONTAINERS[kind](keys)
        plain = [((0, 231), *one) if type(one) is tuple else (one,) for one in tokens[1:]]
        with pytest.raises(MalformedValue, match="keys of one hash with more than"):
            snapshot_load.load(((), (tokens[0], *[part for one in plain for part in one])))


@pytest.mark.parametrize("size", [3, 3000])
def test_repeated_equal_keys_pass(size: int) -> None:
    """Comparing a key with an equal one costs no more than reading it, however often it comes."""
    for keys in (((0,) * size,) * 500, ((-1, 0), (-2, 0)) * 30_000, (frozenset(range(9)),) * 3000):
        assert brine.load(b"\x1a" + brine.dump(keys)) == frozenset(keys)


def test_comparisons_of_a_check_are_bounded() -> None:
    """Keys that repeat are compared with a bounded number of items, whatever their number is."""
    compared = 0

    class Item:
        def __hash__(self) -> int:
            return 0

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return True

    keys = [(*[Item() for _ in range(50)], (number % 64 + 1) * PRIME) for number in range(5000)]
    with pytest.raises(MalformedValue, match="keys of one hash with more than"):
        meter.check_hashes(keys)
    assert compared < 2_000_000  # of 8,000,000 that a set would do


def _nested(level: int, kind: int) -> Any:
    """Return the brine of frozensets in each other, four of a hash each; the kinds differ deep."""
    if not level:
        return brine.dump(2.0 ** (61 * (kind - 10)))  # all have the hash 1
    return _head([_nested(level - 1, one) for one in (0, 1, 2, 3 + kind)])


def _head(items: list[bytes]) -> bytes:
    return b"\x1a" + brine.tuple_head(len(items)) + b"".join(items)


def test_nested_frozensets_of_one_hash_are_refused() -> None:
    """Comparing four of them takes exponentially longer than reading them."""
    found = brine.load(_head([_nested(2, kind) for kind in range(4)]))
    assert len(found) == 4
    with pytest.raises(MalformedValue, match="keys of one hash with more than"):
        brine.load(_head([_nested(6, kind) for kind in range(4)]))


def test_frozensets_of_minus_one_and_minus_two_pass() -> None:
    """Those numbers have the same hash, and so have containers of them."""
    keys = [frozenset([(sign, other), frozenset([sign])]) for sign in (-1, -2) for other in (-1, 3)]
    made = frozenset(keys)
    assert brine.load(brine.dump(made)) == made
    assert snapshot_load.load(((), ((4, 4), *_tokens(keys)))) == made


def _tokens(keys: Any) -> list[Any]:
    found: list[Any] = []
    for key in keys:
        found.append((4, len(key)))
        for item in key:
            found += [(0 if type(item) is tuple else 4, len(item)), *item]
    return found
