"""Functions written in C that a restricted peer calls, other than methods of a container."""

from __future__ import annotations

import array
import csv
import functools
import heapq
import itertools
import operator
import os
import queue
import weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.errors import MalformedValue
from rpyc_like.lib.guards import chained
from rpyc_like.lib.guards.access_policy import ladder

PRIME = (1 << 61) - 1
COLLIDING = tuple(number * PRIME for number in range(1, 1000))
"""Integers of hash 0."""

Point = namedtuple("Point", "x y")
MANY = "at most 64 keys of one hash"
FACTORIES: dict[str, Callable[[], Any]] = {
    "set": set,
    "dict": dict,
    "OrderedDict": OrderedDict,
    "defaultdict": lambda: defaultdict(int),
    "Counter": Counter,
    "UserDict": UserDict,
    "ChainMap": ChainMap,
}


class Tools(rpyc.Service):
    """Exports containers, and functions written in C for them."""

    def __init__(self) -> None:
        self._made = {name: make() for name, make in FACTORIES.items()}
        self.exposed_list = [0, 0]
        self.exposed_bytes = bytearray(64)
        self.exposed_deque = deque([0])
        self.exposed_defaultdict = defaultdict(None, {0: 0})  # type: ignore[var-annotated]
        self.exposed_Point = Point
        self.exposed_add = functools.partial(self._made["set"].add)
        self.exposed_update = functools.partial(set.update, self._made["set"])
        self.exposed_hash = hash
        self.exposed_repr = functools.partial(functools.partial(repr))
        self.exposed_cached = functools.lru_cache(lambda value: None)
        self.exposed_method = operator.methodcaller("__hash__")
        self.exposed_eq = operator.eq
        self.exposed_ior = operator.ior
        self.exposed_sum = sum
        self.exposed_join = "".join
        self.exposed_forever = itertools.count(1)
        self.exposed_repeated = itertools.repeat("x")
        self.exposed_kinds = (set, frozenset, dict, deque, defaultdict, list, tuple)
        self.exposed_slice = slice
        self.exposed_islice = itertools.islice
        self.exposed_array = array.array("q", bytes(8 * 1000))
        self.exposed_executor = ThreadPoolExecutor(1)
        self.exposed_sorted = sorted
        self.exposed_min = min
        self.exposed_map = map
        self.exposed_filter = filter
        self.exposed_starmap = itertools.starmap
        self.exposed_accumulate = itertools.accumulate
        self.exposed_groupby = itertools.groupby
        self.exposed_cmp_to_key = functools.cmp_to_key
        self.exposed_nlargest = heapq.nlargest
        self.exposed_partial = functools.partial(self.exposed_array.append)
        self._extend = self.exposed_array.extend
        self.exposed_proxy = weakref.proxy(self._extend)
        self.exposed_wired = type("Wired", (), {"__call__": self._extend})()
        self.exposed_isinstance = isinstance
        self.exposed_is = operator.is_
        self.exposed_queue = queue.SimpleQueue()  # type: ignore[var-annotated]

    def exposed_made(self, name: str) -> Any:
        """Return one of the containers."""
        return self._made[name]

    def exposed_size(self, name: str) -> int:
        """Return how many items it has."""
        return len(self._made[name])


PUBLIC = {"allow_public_attrs": True}


@pytest.fixture
def root(pair: Callable[..., Any]) -> Any:
    """Return the root of a service that lets its clients read public names."""
    client, _ = pair(Tools(), there_config={**PUBLIC, "max_steps": 20_000})
    return client.root


def generated(items: Any) -> Iterator[Any]:
    """Yield items, so that the server sees nothing but an iterator."""
    yield from items


class Items:
    """Something of this side with items, neither container nor iterator."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    exposed___iter__ = __iter__


def deep_point(root: Any, levels: int = 1100) -> Any:
    """Return an exported tuple of many levels."""
    deep = root.Point(0, 0)
    for _ in range(levels):
        deep = root.Point(deep, 0)
    return deep


# -- keys of equal hash


@pytest.mark.parametrize("wrap", [generated, Items], ids=["generator", "iterable"])
@pytest.mark.parametrize("name", FACTORIES)
def test_lazy_items_are_counted_by_hash(root: Any, name: str, wrap: Any) -> None:
    """An iterator of the peer's brings no more keys of one hash than a message."""
    keys: Any = COLLIDING
    if name not in ("set", "Counter"):
        keys = [(key, 1) for key in COLLIDING]
    with pytest.raises(Exception, match=MANY):
        root.made(name).update(wrap(keys))
    assert root.size(name) == 0
    root.made(name).update(wrap(keys[:60]))
    assert root.size(name) == 60


@pytest.mark.parametrize("number", [0, 1, 2])
def test_classes_of_containers_count_hashes(root: Any, number: int) -> None:
    """``set(...)`` of an exported class is a container that is made of a peer's items."""
    keys: Any = COLLIDING if number < 2 else [(key, 1) for key in COLLIDING]
    for one in (generated(keys), tuple(keys), list(keys)):
        with pytest.raises(Exception, match=MANY):
            root.kinds[number](one)
    assert len(root.kinds[number](generated(keys[:64]))) == 64


@pytest.mark.parametrize("name", FACTORIES)
def test_keys_of_one_hash_do_not_add_up(root: Any, name: str) -> None:
    """Many requests together bring hardly more keys of one hash than one."""
    table = root.made(name)
    with pytest.raises(Exception, match=MANY):
        for key in COLLIDING:
            if name == "set":
                table.add(key)
            else:
                table[key] = 1
    assert root.size(name) <= 128
    for other in range(200):
        if name == "set":
            table.add(other)
        else:
            table[other] = 1
    assert root.size(name) >= 200


@pytest.mark.parametrize("method", ["update", "intersection", "issubset"])
def test_keys_are_compared_with_those_of_the_container(root: Any, method: str) -> None:
    """Large ones of its hash cost as much as those that come together."""
    large = [(0,) * 231 + (key,) for key in COLLIDING[:64]]
    table = root.made("set")
    table.update(tuple(large[:60]))
    with pytest.raises(Exception, match="keys of one hash with more than"):
        getattr(table, method)(tuple(large[-1:] * 1000))
    getattr(table, method)(tuple(large[-1:]))
    getattr(table, method)(tuple([(0, 1)] * 1000))


def test_keys_of_several_clients_add_up(pair: Callable[..., Any]) -> None:
    """It is the container that is looked at, not who asks."""
    service = Tools()
    with pytest.raises(Exception, match=MANY):
        for start in range(0, 900, 30):
            client, _ = pair(service, there_config=PUBLIC)
            client.root.made("set").update(COLLIDING[start : start + 30])
    assert len(service._made["set"]) <= 128


def test_reading_a_defaultdict_adds_keys(root: Any) -> None:
    """A key that is missing is added."""
    table = root.made("defaultdict")
    with pytest.raises(Exception, match=MANY):
        for key in COLLIDING:
            assert table[key] == 0
    assert root.size("defaultdict") <= 128


def test_containers_of_this_side_add_up_by_hash(root: Any) -> None:
    """What two exported sets have is too much for one."""
    one, other = root.kinds[0](COLLIDING[:60]), root.kinds[0](COLLIDING[60:120])
    more = root.kinds[0](COLLIDING[120:180])
    with pytest.raises(Exception, match=MANY):
        one |= other
        one |= more
    with pytest.raises(Exception, match=MANY):
        root.ior(one, more)
    assert len(root.kinds[0](COLLIDING[:60]) | root.kinds[0](COLLIDING[:60])) == 60


def test_wrapped_methods_are_looked_at(root: Any) -> None:
    """A partial object leads to the method of a container."""
    with pytest.raises(Exception, match=MANY):
        root.update(generated(COLLIDING))
    with pytest.raises(Exception, match=MANY):
        for key in COLLIDING:
            root.add(key)
    assert root.size("set") <= 128


# -- nesting


@pytest.mark.parametrize("name", ["hash", "cached", "method", "add", "repr"])
def test_deep_values_do_not_reach_other_functions(root: Any, name: str) -> None:
    """Whatever hashes or shows its argument in C gets none that is too deep."""
    with pytest.raises(Exception, match="max_depth"):
        getattr(root, name)(deep_point(root))


def test_deep_keys_in_lazy_items_are_refused(root: Any) -> None:
    """A generator of the peer's yields an object of this side."""
    deep = deep_point(root)
    with pytest.raises(Exception, match="max_depth"):
        root.made("set").update(generated([deep]))
    with pytest.raises(Exception, match="max_depth"):
        root.made("dict").update(generated([(deep, 1)]))
    with pytest.raises(Exception, match="max_depth"):
        root.kinds[1](generated([deep]))


def test_operators_as_functions_count_what_is_shared(root: Any) -> None:
    """``operator.eq`` compares like ``==``."""
    top = root.list * 1
    for _ in range(40):
        above = root.list * 1
        above[0], above[1] = top, top
        top = above
    with pytest.raises(Exception, match="max_steps"):
        root.eq(top, top)


def test_old_slicing_is_looked_at(root: Any) -> None:
    """A request of Python 2's slices is a call as any other."""

    class Index:
        asked = 0

        def exposed___index__(self) -> int:
            """Count."""
            Index.asked += 1
            return 1

    conn = object.__getattribute__(root, "____conn__")
    for args in ((0, 1, (generated([Index()]),)), (Index(), 2, (b"x",))):
        start, stop, values = args
        with pytest.raises((TypeError, AttributeError)):
            conn.sync_request(
                consts.HANDLE_OLDSLICING,
                *(root.bytes, "__setitem__", "__setslice__", start, stop, values),
            )
    assert Index.asked == 0
    ask = (root.list, "__getitem__", "__getslice__", 0, 1, ())
    assert list(conn.sync_request(consts.HANDLE_OLDSLICING, *ask)) == [0]


# -- iterators without an end


@pytest.mark.parametrize("forever", ["own", "peer's"])
@pytest.mark.parametrize("name", ["list", "set", "deque", "tuple()", "slice", "sum"])
def test_an_iterator_without_an_end_is_given_up(root: Any, name: str, forever: str) -> None:
    """Each item is a step."""
    items = root.forever if forever == "own" else itertools.count(1)
    with pytest.raises(Exception, match="max_steps"):
        {
            "list": lambda: root.list.extend(items),
            "set": lambda: root.update(items),
            "deque": lambda: root.deque.extend(items),
            "tuple()": lambda: root.kinds[6](items),
            "slice": lambda: root.list.__setitem__(slice(0, 1), items),
            "sum": lambda: root.sum(items),
        }[name]()


def test_texts_are_not_joined_for_ever(root: Any) -> None:
    """Nor does C code take a text again and again."""
    with pytest.raises(Exception, match="max_steps"):
        root.join(root.repeated)


# -- freed by recursion


@pytest.mark.parametrize("way", ["from within", "from outside"])
@pytest.mark.parametrize("kind", ["deque", "defaultdict"])
def test_a_chain_is_not_made_level_by_level(root: Any, kind: str, way: str) -> None:
    """Freeing it would end the process; it makes no difference where the next level is put."""
    make: Any = (lambda: root.deque * 1) if kind == "deque" else (lambda: root.defaultdict | {})
    if kind == "defaultdict" and not hasattr(dict, "__or__"):
        pytest.skip("dicts have no such operator")
    top = bottom = make()
    with pytest.raises(Exception, match="directly in one another"):
        for _ in range(300):
            new = make()
            if way == "from within":
                new[0], top = top, new
            else:
                bottom[0], bottom = new, new


@pytest.mark.parametrize("how", ["append", "extend", "class", "factory", "slice", "islice", "copy"])
def test_each_way_to_nest_counts(pair: Callable[..., Any], how: str) -> None:
    """Whatever puts one into the other."""
    config = {**PUBLIC, "allow_setattr": True}
    client, _ = pair(Tools(), there_config=config)
    root = client.root
    make = root.kinds[3]

    def nested(inner: Any) -> Any:
        if how == "class":
            return make((inner,))
        if how == "slice":
            return root.slice(inner)
        if how == "islice":
            return root.islice(inner, 1)
        if how == "factory":
            outer = root.kinds[4]()
            outer.default_factory = inner
            return outer
        outer = make()
        if how == "append":
            outer.append(inner)
        elif how == "extend":
            outer.extend((inner,))
        else:
            outer.append(inner)
            outer = outer * 1
        return outer

    top = root.repeated if how == "islice" else make()
    if how == "factory":
        top = root.kinds[4]()
    with pytest.raises(Exception, match="directly in one another"):
        for _ in range(300):
            top = nested(top)


def test_some_levels_are_usual(root: Any) -> None:
    """Deques in deques, lists in them, and thousands side by side."""
    outer = root.deque * 1
    for _ in range(1000):
        outer.append(root.deque * 1)
    inner = outer[5]
    for _ in range(1000):
        between = [inner]
        inner = root.list * 1
        inner[0] = between[0]
    outer.append(inner)
    level = outer
    for _ in range(3):
        above = root.deque * 1
        above[0] = level
        level = above
    assert level[0][0][0][1][0] == 0


def test_levels_are_forgotten_with_their_objects() -> None:
    """What has the place of an object that is gone is not refused for it."""
    for _ in range(3 * chained.DEEPEST):
        outer, inner = deque([0]), deque([0])
        chained.check_link(outer, [inner], 1000)
        outer[0] = inner
        del outer
        outer, inner = inner, deque([0])  # one level deeper, where nothing is above any more
        chained.check_link(outer, [inner], 1000)


def test_who_was_never_refused_has_the_levels_looked_at_anew(monkeypatch: Any) -> None:
    """An object in the place of one that was deep is not refused, whatever others have done."""
    monkeypatch.setattr(chained._levels, "_due", 10**9)
    top, inner = deque([0]), deque([0])
    chained._levels._above[id(top)] = chained.DEEPEST
    with pytest.raises(MalformedValue):
        chained.check_link(top, [inner], 1000, refused=3)
    chained.check_link(top, [inner], 1000)


def test_weak_mappings_are_looked_into(pair: Callable[..., Any]) -> None:
    """They are written in Python, with a dict inside."""

    class Weak(rpyc.Service):
        def __init__(self) -> None:
            self.exposed_values = weakref.WeakValueDictionary()  # type: ignore[var-annotated]

    client, _ = pair(Weak(), there_config=PUBLIC)
    with pytest.raises(Exception, match=MANY):
        for key in COLLIDING:
            client.root.values[key] = client.root


# -- methods of other types, and functions that call what they are given


class Index:
    """A number of this side that a buffer would ask for."""

    def __init__(self) -> None:
        self.asked = 0

    def exposed___index__(self) -> int:
        """Count."""
        self.asked += 1
        return 1

    __index__ = exposed___index__


NO_PROXY = "expected plain values for a buffer"


@pytest.mark.parametrize("how", ["list", "deque", "values", "iterator"])
def test_methods_that_know_their_class_are_looked_at(root: Any, how: str) -> None:
    """``array.extend`` is of a type of its own, but a method as any other."""
    index = Index()
    root.list[0] = root.deque[0] = root.defaultdict[0] = index
    items = {
        "list": lambda: root.list,
        "deque": lambda: root.deque,
        "values": lambda: root.defaultdict.values(),
        "iterator": lambda: iter(root.list),
    }[how]()
    with pytest.raises(Exception, match=NO_PROXY):
        root.array.extend(items)
    assert index.asked == 0


@pytest.mark.parametrize("name", ["proxy", "wired"])
def test_what_stands_for_a_function_in_c_is_guarded(root: Any, name: str) -> None:
    """A weak proxy, and an object whose class calls a function in C, are that function."""
    index = Index()
    root.list[0] = index
    func = getattr(root, name)
    with pytest.raises(Exception, match=NO_PROXY):
        func(root.list)
    with pytest.raises(Exception, match=NO_PROXY):
        list(root.starmap(func, [(root.list,)]))
    assert index.asked == 0


def test_ladders_are_methods_that_know_their_class_too() -> None:
    """``array.__reduce_ex__`` is refused as that of a list is."""
    for one in (array.array("q").__reduce_ex__, [].__reduce_ex__):
        assert ladder(one) is not None
    assert ladder(array.array("q").extend) is None


@pytest.mark.parametrize("name", ["append", "partial"])
@pytest.mark.parametrize(
    "how",
    "sort sorted min map filter starmap accumulate groupby cmp_to_key nlargest submit "
    "executor.map".split(),
)
def test_functions_in_c_are_guarded_wherever_they_are_called(
    root: Any, how: str, name: str
) -> None:
    """A method that a peer passes on is called with what the peer has put elsewhere."""
    index = Index()
    root.list.clear()
    root.list.extend([index, index])
    func = root.array.append if name == "append" else root.partial
    ways: dict[str, Callable[[], Any]] = {
        "sort": lambda: root.list.sort(key=func),
        "sorted": lambda: root.sorted(root.list, key=func),
        "min": lambda: root.min(root.list, key=func),
        "map": lambda: list(root.map(func, root.list)),
        "filter": lambda: list(root.filter(func, root.list)),
        "starmap": lambda: list(root.starmap(func, [(index,)])),
        "accumulate": lambda: list(root.accumulate(root.list, root.array.insert)),
        "groupby": lambda: list(root.groupby(root.list, func)),
        "cmp_to_key": lambda: root.sorted(root.list, key=root.cmp_to_key(root.array.insert)),
        "nlargest": lambda: root.nlargest(1, root.list, func),
        "submit": lambda: root.executor.submit(func, index).result(),
        "executor.map": lambda: list(root.executor.map(func, root.list)),
    }
    with pytest.raises(Exception, match=NO_PROXY):
        ways[how]()
    assert index.asked == 0


def test_keys_do_not_add_up_through_other_functions(root: Any) -> None:
    """``sort(key=table.__getitem__)`` adds keys as ``table[key]`` does."""
    table = root.made("defaultdict")
    root.list.clear()
    for start in range(0, 900, 60):
        root.list.extend(COLLIDING[start : start + 60])
    with pytest.raises(Exception, match=MANY):
        root.list.sort(key=table.__getitem__)
    with pytest.raises(Exception, match=MANY):
        list(root.map(root.made("set").add, root.list))
    with pytest.raises(Exception, match=MANY):
        list(root.map(root.kinds[0], [root.list]))
    with pytest.raises(Exception, match=MANY):
        root.executor.submit(root.kinds[0], root.list).result()
    assert root.size("defaultdict") <= 128
    assert root.size("set") <= 128


def test_what_keeps_a_function_keeps_the_very_one(root: Any) -> None:
    """Containers and queues store callables as they are, and functions get them as arguments."""
    func = root.array.append
    root.list.append(func)
    root.queue.put(func)
    assert root.list[-1] == func
    assert root.queue.get() == func
    assert root.list.index(func) == 2
    assert root.isinstance([], root.kinds[5])
    assert root.executor.submit(root.isinstance, root.list, root.kinds[5]).result()
    assert root.executor.submit(getattr(root, "is"), func, func).result()
    assert root.executor.submit(lambda one: one == func, func).result()
    assert root.sorted(["b", "A"], key=root.join) == ["A", "b"]


def test_readers_and_named_results_are_not_nested(pair: Callable[..., Any]) -> None:
    """Freeing a chain of them would end the process."""

    class Reader(rpyc.Service):
        exposed_reader = staticmethod(csv.reader)
        exposed_terminal_size = os.terminal_size

    client, _ = pair(Reader(), there_config=PUBLIC)
    top: Any = ["a"]
    with pytest.raises(Exception, match="directly in one another"):
        for _ in range(300):
            top = client.root.reader(top)
    top = 1
    with pytest.raises(Exception, match="directly in one another"):
        for _ in range(300):
            top = client.root.terminal_size((top, 1))
