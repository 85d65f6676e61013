"""Enters C code of the library again while it asks a peer: run as a child, which must survive.

``python -m tests.attacks.reentered CASE ...`` serves and attacks in one process, blocking and
asyncio, and prints each case before it is tried.
"""

from __future__ import annotations

import bisect
import contextlib
import contextvars
import csv
import functools
import heapq
import itertools
import operator
import pprint
import sys
import types
import weakref
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element, ElementTree

import rpyc_like as rpyc
from tests.attacks.front_ends import FRONT_ENDS, client_of

REFUSED = "no other call uses"
CLASSES: dict[str, Any] = {
    "OrderedDict": OrderedDict,
    "deque": deque,
    "Element": Element,
    "ElementTree": ElementTree,
    "reader": csv.reader,
    "DictReader": csv.DictReader,
    "UserList": UserList,
    "UserDict": UserDict,
    "SimpleNamespace": SimpleNamespace,
    "list": list,
    "dict": dict,
    "set": set,
    "iter": iter,
    "next": next,
    "zip": zip,
    "map": map,
    "filter": filter,
    "enumerate": enumerate,
    "max": max,
    "sorted": sorted,
    "indexOf": operator.indexOf,
    "pformat": pprint.pformat,
    **{
        name: getattr(itertools, name)
        for name in "groupby tee chain accumulate islice cycle takewhile zip_longest".split()
    },
    "heappush": heapq.heappush,
    "heappop": heapq.heappop,
    "insort": bisect.insort,
}


@dataclass
class Held:
    """A class of the program whose methods the library generates."""

    item: Any


@dataclass
class Slotted:
    """Another one, whose instances have no dict."""

    __slots__ = ("item",)
    item: Any


class Own(functools.partial):  # type: ignore[type-arg]
    """A subclass of the program."""


def in_context(item: Any) -> contextvars.Context:
    context = contextvars.Context()
    context.run(VARIABLE.set, item)
    return context


VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("item")
Row = namedtuple("Row", "item")
SHOWING: dict[str, Callable[[Any], Any]] = {
    "partial": lambda item: functools.partial(len, item),
    "partial_keyword": lambda item: functools.partial(len, x=item),
    "own_partial": lambda item: Own(len, item),
    "itemgetter": operator.itemgetter,
    "methodcaller": lambda item: operator.methodcaller("x", item),
    "slice": slice,
    "method": lambda item: types.MethodType(len, item),
    "proxy": weakref.proxy,
    "callable_proxy": lambda item: weakref.proxy(KEPT.setdefault(id(item), Own(len, item))),
    "dataclass": Held,
    "slotted": Slotted,
    "dataclass_in_list": lambda item: [Held(item)],
    "enum": lambda item: [*Enum("Made", {"ITEM": item})],
    "error": ValueError,
    "error_in_list": lambda item: [KeyError(item, 1)],
    "namedtuple": Row,
    "namespace": lambda item: SimpleNamespace(item=item),
    "chain_map": ChainMap,
    "mapping_proxy": types.MappingProxyType,
    "user_list": lambda item: UserList([item]),
    "user_dict": lambda item: UserDict(item=item),
    "view": lambda item: {1: item}.values(),
    "defaultdict": lambda item: defaultdict(None, {1: item}),
    "repeat": itertools.repeat,
}
"""Objects that show what they hold."""
COMPARING: dict[str, Callable[[Any], Any]] = {
    "slice": slice,
    "dataclass": Held,
    "slotted": Slotted,
    "proxy": weakref.proxy,
    "ref": weakref.ref,
    "namedtuple": Row,
    "context": in_context,
    "cell": types.CellType,
    "methodcaller": lambda item: operator.methodcaller("__eq__", item),
    "weak_values": lambda item: weakref.WeakValueDictionary({1: item}),
}
"""Objects that compare what they hold."""
KEPT: dict[int, Any] = {}


class Library(rpyc.Service):
    """Exports functions and classes of the standard library, and makes instances."""

    def exposed_get(self, name: str) -> Any:
        return CLASSES[name]

    def exposed_make(self, name: str, *args: Any) -> Any:
        return CLASSES[name](*args)

    def exposed_shows(self, name: str, item: Any) -> Any:
        return SHOWING[name](item)

    def exposed_compares(self, name: str, item: Any) -> Any:
        return COMPARING[name](item)

    def exposed_cached(self, func: Any) -> Any:
        return functools.lru_cache(func)

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


class Peer:
    """What one attack does to a server, and what is refused to it."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.make = root.make
        self.get = root.get
        self.again: Callable[[], Any] = lambda: None
        self.entered = 0
        self.refused = 0

    def enter(self) -> None:
        """Do what is to be done while C code waits."""
        self.entered += 1
        if self.entered > 3:
            return
        try:
            self.again()
        except RuntimeError as error:
            self.refused += REFUSED in str(error)
        except Exception:
            pass

    def key(self, number: int = 1) -> Key:
        return Key(self, number)

    def items(self) -> Items:
        return Items(self)


class Key:
    """A key or an item that enters again when it is compared."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        self.peer.enter()
        return False

    def __lt__(self, other: object) -> bool:
        self.peer.enter()
        return True

    __gt__ = __lt__


class Items:
    """An iterator that enters again when the next item is taken."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.count = 0

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        self.peer.enter()
        self.count += 1
        if self.count > 8:
            raise StopIteration
        return 'a,"b\n' if self.count % 2 else 'x",y\n'


def filled(peer: Peer, name: str, count: int = 20) -> Any:
    """Return a new deque or list of keys."""
    made = peer.make(name)
    for number in range(count):
        made.append(peer.key(number))
    return made


# -- objects that C code trusts not to change


def od_setitem(peer: Peer) -> None:
    made = peer.make("OrderedDict")
    made[peer.key()] = 1
    peer.again = made.clear
    for _ in range(10):
        made[peer.key()] = 1


def od_setitem_default(peer: Peer) -> None:
    made = peer.make("OrderedDict")
    made[peer.key()] = 1
    peer.again = lambda: made.__delitem__(1000)
    for _ in range(10):
        made[peer.key()] = 1


def od_move_to_end(peer: Peer) -> None:
    made = peer.make("OrderedDict")
    for number in range(10):
        made[peer.key(number)] = 1
    peer.again = made.clear
    made.move_to_end(peer.key(3))


def od_pop(peer: Peer) -> None:
    made = peer.make("OrderedDict")
    made[peer.key()] = 1
    peer.again = made.clear
    made.pop(peer.key())


def od_equals(peer: Peer) -> None:
    left, right = peer.make("OrderedDict"), peer.make("OrderedDict")
    for number in range(10):
        left[number], right[number] = peer.key(number), peer.key(number)
    peer.again = lambda: (left.clear(), right.clear())
    left == right  # noqa: B015


def od_within_lists(peer: Peer) -> None:
    """Comparing lists compares what is in them."""
    left, right = peer.make("OrderedDict"), peer.make("OrderedDict")
    for number in range(10):
        left[number], right[number] = peer.key(number), peer.key(number)
    lists = peer.make("list", (left,)), peer.make("list", (right,))
    peer.again = lambda: (left.clear(), right.clear())
    lists[0] == lists[1]  # noqa: B015


def two(peer: Peer) -> tuple[Any, Any]:
    """Return two lists, each with an OrderedDict that is cleared while they are compared."""
    left, right = peer.make("OrderedDict"), peer.make("OrderedDict")
    for number in range(10):
        left[number], right[number] = peer.key(number), peer.key(number)
    peer.again = lambda: (left.clear(), right.clear())
    return peer.make("list", (left,)), peer.make("list", (right,))


def od_within_user_lists(peer: Peer) -> None:
    """What objects of the library's classes in Python hold is in use as well."""
    left, right = two(peer)
    peer.make("UserList", left) == peer.make("UserList", right)  # noqa: B015


def od_within_user_dicts(peer: Peer) -> None:
    dicts = peer.make("UserDict"), peer.make("UserDict")
    for made, items in zip(dicts, two(peer)):
        made[1] = items
    dicts[0] == dicts[1]  # noqa: B015


def od_within_namespaces(peer: Peer) -> None:
    left, right = two(peer)
    make = peer.get("SimpleNamespace")
    make(x=left) == make(x=right)  # noqa: B015


def od_sort(peer: Peer) -> None:
    """The list is empty while it is sorted."""
    peer.make("list", two(peer)).sort()


def od_sort_key(peer: Peer) -> None:
    """What a key function returns is compared."""
    items = peer.make("list", two(peer))
    items.sort(key=lambda item: item)


def od_sort_answers(peer: Peer) -> None:
    """What it returns need not come from the list."""
    items = two(peer)
    peer.make("list", (0, 1)).sort(key=lambda number: items[number])


def od_sort_by_method(peer: Peer) -> None:
    """Neither need what a method returns that is the key function."""
    items = peer.make("list", two(peer))
    peer.make("list", (0, 1)).sort(key=items.__getitem__)


def od_max_key(peer: Peer) -> None:
    peer.get("max")(*two(peer), key=lambda item: item)


def od_max_values(peer: Peer) -> None:
    """Iterators and views are looked through by what takes all their items."""
    left, right = two(peer)
    made = peer.make("dict")
    made[0], made[1] = left, right
    peer.get("max")(made.values())


def od_max_mapped(peer: Peer) -> None:
    items = peer.make("list", two(peer))
    peer.get("max")(peer.make("map", lambda item: item, items))


def od_grouped(peer: Peer) -> None:
    made = peer.make("groupby", peer.make("list", two(peer)))
    made.__next__()
    made.__next__()


def shown(name: str, peer: Peer) -> None:
    made = ordered(peer)
    str(peer.root.shows(name, made))


def compared(name: str, peer: Peer) -> None:
    left, right = ordered(peer), ordered(peer)
    peer.root.compares(name, left) == peer.root.compares(name, right)  # noqa: B015


def ordered(peer: Peer) -> Any:
    """Return an OrderedDict with keys of one hash; entering clears it."""
    made = peer.make("OrderedDict")
    peer.entered = 4
    for _ in range(5):
        made[peer.key()] = peer.key()
    before = peer.again

    def clear() -> None:
        before()
        made.clear()

    peer.again = clear
    peer.entered = 0
    return made


def od_by_cached_function(peer: Peer) -> None:
    """What a cached function calls is in use."""
    made = ordered(peer)
    peer.root.cached(made.move_to_end)(peer.key())


def od_by_pformat(peer: Peer) -> None:
    """What a function of the library shows of an argument that it could call is in use."""
    peer.get("pformat")(peer.root.shows("partial", ordered(peer)))


def od_by_methodcaller(peer: Peer) -> None:
    """So is what one that calls a method gives it."""
    left, right = ordered(peer), ordered(peer)
    peer.root.compares("methodcaller", left)(right)


def element_tree_find(peer: Peer) -> None:
    made = element(peer)
    peer.again = made.clear
    peer.make("ElementTree", made).find("x")


def csv_dict_reader(peer: Peer) -> None:
    made = peer.make("DictReader", peer.items(), ("a", "b"))
    peer.again = made.__next__
    for _ in range(3):
        made.__next__()


def element_find(peer: Peer) -> None:
    made = element(peer)
    peer.again = made.clear
    made.find("x")


def element_findtext(peer: Peer) -> None:
    made = element(peer)
    peer.again = made.clear
    made.findtext("x")


def element_findall(peer: Peer) -> None:
    made = element(peer)
    peer.again = made.clear
    made.findall("x")


def element(peer: Peer) -> Any:
    made = peer.make("Element", "r")
    for _ in range(50):
        made.append(peer.make("Element", peer.key()))
    return made


def deque_index(peer: Peer) -> None:
    made = filled(peer, "deque")
    peer.again = made.clear
    made.index(5)


def deque_remove(peer: Peer) -> None:
    made = filled(peer, "deque")
    peer.again = made.clear
    made.remove(5)


def deque_equals(peer: Peer) -> None:
    left, right = filled(peer, "deque"), filled(peer, "deque")
    peer.again = lambda: (left.clear(), right.clear())
    left == right  # noqa: B015


def deque_max(peer: Peer) -> None:
    made = filled(peer, "deque")
    peer.again = made.clear
    peer.get("max")(made, key=lambda item: peer.enter())


def deque_index_of(peer: Peer) -> None:
    made = filled(peer, "deque")
    peer.again = made.clear
    peer.get("indexOf")(made, 5)


def csv_reader(peer: Peer) -> None:
    step(peer, "reader", peer.items())


def csv_reader_chunk(peer: Peer) -> None:
    """Many items for one request pass the same guard."""
    made = peer.make("reader", peer.items())
    peer.again = made.__next__
    list(made)


def csv_reader_extend(peer: Peer) -> None:
    """So does a container that takes the items."""
    made = peer.make("reader", peer.items())
    peer.again = made.__next__
    peer.make("deque").extend(made)


def csv_reader_within(peer: Peer) -> None:
    """What an iterator takes from is in use as well."""
    inner = peer.make("reader", peer.items())
    outer = peer.make("enumerate", inner)
    peer.again = inner.__next__
    outer.__next__()


def csv_reader_by_another(peer: Peer) -> None:
    """And it is, when it is entered through another iterator."""
    inner = peer.make("reader", peer.items())
    outer = peer.make("zip", inner)
    peer.again = outer.__next__
    inner.__next__()


def step(peer: Peer, name: str, *args: Any) -> None:
    made = peer.make(name, *args)
    peer.again = made.__next__
    for _ in range(3):
        made.__next__()


def zipped(peer: Peer) -> None:
    step(peer, "zip", peer.items(), peer.items())


def mapped(peer: Peer) -> None:
    step(peer, "map", lambda item: item, peer.items())


def filtered(peer: Peer) -> None:
    step(peer, "filter", None, peer.items())


def enumerated(peer: Peer) -> None:
    step(peer, "enumerate", peer.items())


def chained(peer: Peer) -> None:
    step(peer, "chain", peer.items())


def accumulated(peer: Peer) -> None:
    step(peer, "accumulate", peer.items())


def sliced(peer: Peer) -> None:
    step(peer, "islice", peer.items(), 5)


def cycled(peer: Peer) -> None:
    step(peer, "cycle", peer.items())


def taken_while(peer: Peer) -> None:
    step(peer, "takewhile", lambda item: True, peer.items())


def zipped_longest(peer: Peer) -> None:
    step(peer, "zip_longest", peer.items(), peer.items())


def grouped(peer: Peer) -> None:
    made = peer.make("groupby", filled(peer, "list"))
    peer.again = made.__next__
    made.__next__()
    made.__next__()


def teed(peer: Peer) -> None:
    first, second = peer.make("tee", peer.items())
    peer.again = second.__next__
    first.__next__()


# -- those that C code expects to change


def list_count(peer: Peer) -> None:
    made = filled(peer, "list")
    peer.again = made.clear
    made.count(5)


def list_equals(peer: Peer) -> None:
    left, right = filled(peer, "list"), filled(peer, "list")
    peer.again = lambda: (left.clear(), right.clear())
    left == right  # noqa: B015


def list_sort(peer: Peer) -> None:
    made = filled(peer, "list")
    peer.again = made.clear
    made.sort()


def dict_setitem(peer: Peer) -> None:
    made = peer.make("dict")
    made[peer.key()] = 1
    peer.again = made.clear
    made[peer.key()] = 1


def set_add(peer: Peer) -> None:
    made = peer.make("set")
    made.add(peer.key())
    peer.again = made.clear
    made.add(peer.key())


def heap(peer: Peer) -> None:
    made = filled(peer, "list")
    peer.again = made.clear
    peer.get("heappop")(made)


def sorted_in(peer: Peer) -> None:
    made = filled(peer, "list")
    peer.again = made.clear
    peer.get("insort")(made, peer.key())


UNSAFE: dict[str, Callable[[Peer], None]] = {
    one.__name__: one
    for one in (
        *(od_setitem, od_setitem_default, od_move_to_end, od_pop, od_equals, od_within_lists),
        *(od_within_user_lists, od_within_user_dicts, od_within_namespaces),
        *(od_sort, od_sort_key, od_sort_answers, od_sort_by_method, od_max_key, od_max_values),
        *(od_max_mapped, od_grouped, element_tree_find, csv_dict_reader),
        *(element_find, element_findtext, element_findall),
        *(deque_index, deque_remove, deque_equals, deque_max, deque_index_of),
        *(csv_reader, csv_reader_chunk, csv_reader_extend, csv_reader_within),
        csv_reader_by_another,
        *(zipped, mapped, filtered, enumerated, chained, accumulated, sliced, cycled),
        *(taken_while, zipped_longest, grouped, teed),
        *(od_by_cached_function, od_by_methodcaller, od_by_pformat),
    )
}
UNSAFE.update({f"shown_{name}": functools.partial(shown, name) for name in SHOWING})
UNSAFE.update(
    {
        f"compared_{name}": functools.partial(compared, name)
        for name in COMPARING
        if name != "methodcaller"
    }
)
SAFE: dict[str, Callable[[Peer], None]] = {
    one.__name__: one
    for one in (list_count, list_equals, list_sort, dict_setitem, set_add, heap, sorted_in)
}
DEFAULT = ("od_setitem_default", "csv_reader")
"""Those that the default configuration is attacked with; the others use public names."""


@contextlib.contextmanager
def peer_of(front_end: str, name: str) -> Iterator[Peer]:
    """Serve, and yield the peer; the server answers another client at the end."""
    config = {} if name in DEFAULT else {"allow_public_attrs": True}
    with client_of(front_end, Library, **config) as conn:
        peer = Peer(conn.root)
        yield peer
        assert conn.root.add(1, 2) == 3


def main(name: str) -> None:
    print(name, flush=True)
    for front_end in FRONT_ENDS:
        with peer_of(front_end, name) as peer:
            with contextlib.suppress(Exception):
                (UNSAFE.get(name) or SAFE[name])(peer)
            # on asyncio keys are compared by their identity, nobody is asked
            assert peer.entered or front_end == "asyncio", f"{name}: nothing was asked"
            expected = min(peer.entered, 1) if name in UNSAFE else 0
            assert min(peer.refused, 1) == expected, f"{name}, {front_end}: {peer.refused} refused"


if __name__ == "__main__":
    for each in sys.argv[1:]:
        main(each)
