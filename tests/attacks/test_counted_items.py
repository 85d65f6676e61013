"""Iterators that a restricted peer passes to functions of the library: each item is counted."""

from __future__ import annotations

import collections
import contextlib
import copy
import csv
import decimal
import io
import itertools
import json
import math
import operator
import queue
import statistics
import sys
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any
from xml.etree import ElementTree

import pytest

import rpyc_like as rpyc
from rpyc_like.lib.guards.counted_items import CountedItems
from rpyc_like.lib.guards.in_flight import count_item
from rpyc_like.lib.guards.stdlib import facts_of

STEPS = 20_000
LIMIT = {"max_steps": STEPS, "allow_public_attrs": True}
M = (1 << 61) - 1


class Library(rpyc.Service):
    """Exports functions of the library, and iterators without end."""

    exposed_repeat = itertools.repeat
    exposed_islice = itertools.islice
    exposed_compress = itertools.compress
    exposed_chain = staticmethod(itertools.chain.from_iterable)
    exposed_starmap = itertools.starmap
    exposed_product = itertools.product
    exposed_groupby = itertools.groupby
    exposed_filter = filter
    exposed_map = map
    exposed_zip = zip
    exposed_bytes = bytes
    exposed_dict = dict
    exposed_list = list
    exposed_deepcopy = staticmethod(copy.deepcopy)
    exposed_from_bytes = staticmethod(int.from_bytes)
    exposed_dist = staticmethod(math.dist)
    exposed_prod = staticmethod(math.prod)
    exposed_mean = staticmethod(statistics.mean)
    exposed_multimode = staticmethod(statistics.multimode)
    exposed_sum = staticmethod(sum)
    exposed_any = staticmethod(any)
    exposed_join = staticmethod(str.join)
    exposed_contains = staticmethod(operator.contains)
    exposed_decimal = decimal.Decimal
    exposed_sorted = staticmethod(sorted)
    exposed_max = staticmethod(max)
    exposed_dumps = staticmethod(json.dumps)
    exposed_closing = contextlib.closing

    def __init__(self) -> None:
        self.exposed_writer = csv.writer(io.StringIO())
        self.exposed_element = ElementTree.Element("a")
        self.exposed_keys = {1: 2}.keys()
        self.exposed_queue: queue.Queue[Any] = queue.Queue()
        self.exposed_range = range(10**9)

    def exposed_count(self) -> Any:
        """Return an iterator without end."""
        return itertools.count()

    def exposed_elements(self) -> Any:
        """Return elements of which there are very many."""
        return collections.Counter({"": 10**12}).elements()

    def exposed_numbers(self) -> Iterator[int]:
        """Yield a few numbers."""
        yield from range(3)

    def exposed_kept(self) -> Any:
        """Return counted items, as an object of the library may keep them."""
        zeros = CountedItems(itertools.repeat(0), count_item, False)
        return CountedItems(filter(None, zeros), count_item, False)

    def exposed_own(self, items: Any) -> int:
        """Return how many items the program takes of an iterator."""
        return len(list(items))

    def exposed_shared(self) -> Any:
        """Return lists that share the one below them, many levels."""
        one: list[Any] = [1]
        for _ in range(60):
            one = [one, one]
        return one


@pytest.fixture
def root(pair: Callable[..., Any]) -> Any:
    """Return the root of a service with few steps."""
    client, _ = pair(Library(), there_config=LIMIT)
    return client.root


ENDLESS: dict[str, Callable[[Any], Any]] = {
    "next of islice": lambda root: next(root.islice(root.count(), 10**9, None)),
    "next of filter": lambda root: next(root.filter(None, root.repeat(0))),
    "next of compress": lambda root: next(root.compress(root.repeat(1), root.repeat(0))),
    "next of chain": lambda root: next(root.chain(root.repeat(()))),
    "chain": lambda root: root.any(root.chain(root.repeat(()))),
    "chain of long ones": lambda root: root.any(root.chain(root.map(root.repeat, (0,), (10**12,)))),
    "join of a chain": lambda root: root.join("", root.chain(root.repeat(["", ""]))),
    "search in a chain": lambda root: root.contains(root.chain(root.repeat([1])), 2),
    "elements": lambda root: root.any(root.elements()),
    "next of a copy": lambda root: next(root.deepcopy(root.filter(None, root.repeat(0)))),
    "next of a map in a filter": lambda root: next(
        root.filter(None, root.map(root.sum, root.repeat(())))
    ),
    "group that is left out": lambda root: [
        next(groups) for groups in [root.groupby(root.repeat(1))] * 2
    ],
    "bytes": lambda root: root.bytes(root.repeat(1)),
    "integer": lambda root: root.from_bytes(root.repeat(1), "big"),
    "named": lambda root: root.from_bytes(bytes=root.repeat(1), byteorder="big"),
    "distance": lambda root: root.dist(root.repeat(1.0), root.repeat(1.0)),
    "product": lambda root: root.product(root.repeat(1)),
    "product of numbers": lambda root: root.prod(root.repeat(1)),
    "row": lambda root: root.writer.writerow(root.repeat(1)),
    "rows": lambda root: root.writer.writerows(root.repeat([1])),
    "row of rows": lambda root: root.writer.writerows(root.list([root.repeat(1)])),
    "pair": lambda root: root.dict(root.list([root.repeat(1)])),
    "arguments": lambda root: next(root.starmap(root.sum, root.list([root.repeat(1)]))),
    "view": lambda root: root.keys | root.repeat(1),
    "XML elements": lambda root: root.element.extend(root.repeat(root.element)),
    "function in Python": lambda root: root.mean(root.repeat(1)),
    "long range": lambda root: root.dist(root.range, root.range),
    "sorted": lambda root: root.sorted(root.repeat(1)),
}


if sys.version_info >= (3, 12):
    del ENDLESS["next of a copy"]  # copying iterators is deprecated


@pytest.mark.parametrize("case", ENDLESS)
def test_a_peer_passes_no_iterator_without_end(root: Any, case: str) -> None:
    """Whatever takes the items, they are counted, wherever C code has the iterator from."""
    with pytest.raises(Exception, match=r"max_steps|max_memory|max_kept_memory|expected sequence"):
        ENDLESS[case](root)
    assert root.sum([1, 2]) == 3


HONEST: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "next of islice": (lambda root: next(root.islice(root.count(), 1000, None)), 1000),
    "chain": (lambda root: list(root.chain([[1, 2], [3]])), [1, 2, 3]),
    "any of a chain": (lambda root: root.any(root.chain(root.list([[0], [0, 1]]))), True),
    "mean of decimals": (
        lambda root: (
            root.mean(iter([root.decimal("1.5e10"), root.decimal("1.5e10")])) == 15 * 10**9
        ),
        True,
    ),
    "filter": (lambda root: list(root.filter(None, root.numbers())), [1, 2]),
    "zip": (lambda root: list(root.zip(root.count(), ["a", "b"])), [(0, "a"), (1, "b")]),
    "map": (lambda root: list(root.map(root.sum, [[1], [2, 3]])), [1, 5]),
    "many of one iterator": (
        lambda root: [next(one) for one in [root.islice(root.count(), 9_000, None)] * 3],
        [9000, 9001, 9002],
    ),
    "product": (lambda root: len(list(root.product(range(30), range(30)))), 900),
    "sum of a long range": (lambda root: root.sum(range(STEPS)), sum(range(STEPS))),
    "bytes": (lambda root: root.bytes(root.islice(root.repeat(65), 3)), b"AAA"),
    "row": (lambda root: root.writer.writerow(root.numbers()), 7),
    "rows": (lambda root: root.writer.writerows([[1, 2], [3, 4]]), None),
    "mean": (lambda root: root.mean([1, 2, 3]), 2),
    "json": (lambda root: root.dumps(obj=root.list([1, None])), "[1, null]"),
    "key": (lambda root: root.sorted([3, 1, 2], key=lambda one: -one), [3, 2, 1]),
    "program": (lambda root: root.own(root.islice(root.count(), STEPS * 2)), STEPS * 2),
    "equal floats": (lambda root: root.multimode([0.5] * 1000 + [1.5] * 2), [0.5]),
}


@pytest.mark.parametrize("case", HONEST)
def test_usual_iterators_work(root: Any, case: str) -> None:
    """Below the limit nothing changes, and what the program takes is not counted."""
    work, expected = HONEST[case]
    result = work(root)
    assert (list(result) if isinstance(expected, list) else result) == expected


def test_decimal_numbers_that_an_iterator_gives_are_looked_at(root: Any) -> None:
    """The mean of one item is a fraction with as many digits as its exponent says."""
    with pytest.raises(Exception, match="max_memory"):
        root.mean(iter([root.decimal("1e99999999")]))
    with pytest.raises(Exception, match="max_memory"):
        root.mean(root.map(root.decimal, ["1e99999999"]))


def test_what_is_stored_stays_what_it_is(pair: Callable[..., Any]) -> None:
    """A queue gives back the very iterator."""
    service = Library()
    client, _ = pair(service, there_config=LIMIT)
    client.root.queue.put(client.root.numbers())
    assert isinstance(service.exposed_queue.get(), GeneratorType)


def test_a_generator_can_be_closed(root: Any) -> None:
    """Counting leaves the other methods of a generator where they were."""
    numbers = root.numbers()
    with root.closing(numbers) as same:
        assert next(same) == 0
    assert list(numbers) == []


def test_counted_items_that_a_peer_gets_are_counted(root: Any) -> None:
    """An object that keeps its argument may show it."""
    kept = root.kept()
    with pytest.raises(Exception, match="max_steps"):
        next(kept)
    with pytest.raises(Exception, match="max_steps"):
        list(kept)


def test_numpy_takes_a_long_range(pair: Callable[..., Any]) -> None:
    """Functions outside the library get the range itself."""
    numpy = pytest.importorskip("numpy")

    class Arrays(rpyc.Service):
        exposed_array = staticmethod(numpy.array)
        exposed_range = range(STEPS * 2)

    client, _ = pair(Arrays(), there_config=LIMIT)
    assert len(client.root.array(client.root.range)) == STEPS * 2


def test_files_and_readers_are_no_mere_iterators() -> None:
    """Functions that take a file read it."""
    assert facts_of(itertools.count).is_iterator
    assert facts_of(itertools.chain).is_iterator
    assert facts_of(type(iter([]))).is_iterator
    assert facts_of(type(_ for _ in ())).is_iterator
    assert not facts_of(io.StringIO).is_iterator
    assert not facts_of(list).is_iterator
    assert not facts_of(type(csv.reader([]))).is_iterator


def test_counted_items_are_copied_with_their_count() -> None:
    """A deep copy is counted as well, and none is pickled."""
    seen: list[Any] = []

    def report(item: Any, held: bool) -> Any:
        seen.append((item, held))
        return item

    items = CountedItems(iter([1, 2]), report, False)
    assert list(copy.deepcopy(items)) == [1, 2]
    assert seen == [(1, False), (2, False)]
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(items)


COMPARED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "key of sorted": lambda root, one, other: root.sorted(
        [1, 2], key=lambda number: one if number == 1 else other
    ),
    "key of max": lambda root, one, other: root.max(
        [1, 2], key=lambda number: one if number == 1 else other
    ),
    "key of a list": lambda root, one, other: root.list([1, 2]).sort(
        key=lambda number: one if number == 1 else other
    ),
    "max of an iterator": lambda root, one, other: root.max(iter([one, other])),
    "max of their iterator": lambda root, one, other: root.max(
        root.islice(root.list([one, other]), 2)
    ),
    "groups": lambda root, one, other: [
        next(groups) for groups in [root.groupby(root.list([one, other]))] * 2
    ],
    "row": lambda root, one, other: root.writer.writerow([one]),
    "named": lambda root, one, other: root.dumps(obj=one),
    "named, for a function in C": lambda root, one, other: root.sum([], start=one),
    "default of json": lambda root, one, other: root.dumps(root.element, default=lambda obj: one),
}


@pytest.mark.parametrize("case", COMPARED)
def test_what_is_compared_or_shown_is_weighed(root: Any, case: str) -> None:
    """Answers of the peer's, named arguments and items of iterators are weighed as well."""
    one, other = root.shared(), root.shared()
    with pytest.raises(Exception, match="max_steps"):
        COMPARED[case](root, one, other)
    assert root.max([1, 2]) == 2


@pytest.mark.parametrize("owner", ["server", "client"])
@pytest.mark.parametrize("case", ["view", "multimode"])
def test_keys_of_one_hash_are_refused_for_all_functions(root: Any, case: str, owner: str) -> None:
    """Views and functions in Python make sets and dicts of what they are given."""
    make = root.list if owner == "server" else list
    keys = [number * M for number in range(1, 300)]
    with pytest.raises(Exception, match="keys of one hash"):
        if case == "view":
            _ = root.keys | make(keys)
        else:
            root.multimode(make(keys))
