"""What a peer makes and enlarges by calls of the library is counted as long as it lives."""

from __future__ import annotations

import array
import bz2
import collections
import enum
import functools
import io
import itertools
import json
import lzma
import operator
import textwrap
import xml.etree.ElementTree
import zlib
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from tests.support.eventually import eventually

from .served import KINDS, Served

KEPT = 4 << 20
CONFIG = {"max_kept_memory": KEPT, "allow_public_attrs": True, "allow_setattr": True}


class Box:
    """Keeps attributes."""


class Marks(enum.IntFlag):
    A = 1


class Containers(rpyc.Service):
    """Exports containers, new ones and one of its own, and functions that make some."""

    exposed_list_class = list
    exposed_loads = staticmethod(json.loads)
    exposed_repeat = itertools.repeat
    exposed_wrapper = textwrap.TextWrapper
    exposed_flag = Marks
    exposed_deflater = staticmethod(zlib.compressobj)
    exposed_inflater = staticmethod(zlib.decompressobj)
    exposed_compressor = bz2.BZ2Compressor
    exposed_lzma = lzma.LZMACompressor

    def __init__(self) -> None:
        self.exposed_own: list[Any] = []
        self.exposed_queue: collections.deque[Any] = collections.deque()
        self.exposed_values: dict[Any, Any] = {}
        self.exposed_file = io.BytesIO()
        self.exposed_error = ValueError()
        self.exposed_element = xml.etree.ElementTree.Element("a")
        self.exposed_box = Box()
        self.exposed_parent = xml.etree.ElementTree.Element("a")
        self.exposed_parent.append(xml.etree.ElementTree.Element("b"))
        self.exposed_cached = functools.lru_cache(maxsize=None)(str)

    def exposed_list(self) -> list[int]:
        """Return a new list."""
        return [1] * 10_000

    def exposed_bytes(self) -> bytearray:
        """Return new bytes."""
        return bytearray(10_000)

    def exposed_deque(self) -> collections.deque[int]:
        """Return a new deque."""
        return collections.deque([1] * 10_000)

    def exposed_array(self) -> array.array[int]:
        """Return a new array."""
        return array.array("i", [1] * 10_000)

    def exposed_user_list(self) -> collections.UserList[int]:
        """Return a new list that is written in Python."""
        return collections.UserList([1] * 10_000)

    def exposed_take(self) -> int:
        """Take all that is in the queue."""
        taken = len(self.exposed_queue)
        self.exposed_queue.clear()
        return taken

    def exposed_size(self) -> int:
        """Return how long the program's own list is."""
        return len(self.exposed_own)


def doubled(made: Any) -> None:
    """Add a container to itself in place, over and over."""
    for _ in range(20):
        made += made


def added(made: Any) -> None:
    """Make a container twice as long each time, and keep all."""
    kept = [made]
    for _ in range(20):
        kept.append(kept[-1] + kept[-1])


def repeated(made: Any) -> None:
    """Keep many results."""
    kept = []
    for _ in range(400):
        kept.append(made * 2)


def appended(made: Any) -> None:
    """Put a container at its own end."""
    for _ in range(20):
        made[len(made) :] = made


CONTAINERS = ("list", "bytes", "deque", "array", "user_list")
CALLS = {
    **{f"double {name}": (name, doubled) for name in CONTAINERS if name != "bytes"},
    **{f"add {name}": (name, added) for name in CONTAINERS},
    **{f"repeat {name}": (name, repeated) for name in CONTAINERS},
    **{f"append {name}": (name, appended) for name in CONTAINERS if name != "deque"},
}


@pytest.mark.parametrize("case", CALLS)
def test_growth_by_doubling_is_bounded(pair: Callable[..., Any], case: str) -> None:
    """Each step is small, and the sum is counted."""
    client, _ = pair(Containers(), there_config=CONFIG)
    name, grow = CALLS[case]
    with pytest.raises(Exception, match="max_kept_memory"):
        grow(getattr(client.root, name)())


MANY: dict[str, Callable[[Any], Any]] = {
    "an element with itself": lambda root: [root.parent.extend(root.parent) for _ in range(25)],
    "slices of an element": lambda root: [
        operator.setitem(root.parent, slice(0, 0), root.parent) for _ in range(25)
    ],
    "keys of a cache": lambda root: [root.cached(f"{n}" * 50_000) for n in range(100)],
    "many keys of a cache": lambda root: [root.cached(n) for n in range(KEPT // 256 + 10)],
    "copies": lambda root: [root.own[:] for _ in range(100)],
    "large values of a list": lambda root: [root.own.append("x" * 100_000) for _ in range(100)],
    "values of one key each": lambda root: [
        root.values.update({key: "x" * 100_000}) for key in map(str, range(100))
    ],
    "instances of a class": lambda root: [root.list_class("x" * 20_000) for _ in range(100)],
    "parsed texts": lambda root: [root.loads("[" + "[]," * 1000 + "1]") for _ in range(100)],
    "arguments of an iterator": lambda root: [root.repeat("x" * 100_000) for _ in range(100)],
    "tuples of small values": lambda root: [
        operator.setitem(root.values, n, (n, *(None,) * 20_000)) for n in range(100)
    ],
    "tuples of short texts": lambda root: [
        operator.setitem(root.values, n, tuple(f"{n}{i:030}" for i in range(1000)))
        for n in range(100)
    ],
    "sets of small values": lambda root: [
        operator.setitem(root.values, n, frozenset(range(2000))) for n in range(50)
    ],
    "notes of an error": lambda root: [root.error.add_note("x" * 100_000) for _ in range(100)],
    "attributes of an element": lambda root: [
        root.element.set(str(n), "x" * 100_000) for n in range(100)
    ],
    "named arguments that objects keep": lambda root: [
        root.wrapper(initial_indent="x" * 100_000) for _ in range(100)
    ],
    "attributes": lambda root: [setattr(root.box, f"a{n}", "x" * 100_000) for n in range(100)],
    "members of an enum": lambda root: [root.flag((1 << 20) + n) for n in range(10_000)],
    "objects that deflate": lambda root: [root.deflater() for _ in range(100)],
    "objects that inflate": lambda root: [root.inflater() for _ in range(1000)],
    "compressors": lambda root: [root.compressor(9) for _ in range(3)],
    "compressors by name": lambda root: [root.lzma(preset=9) for _ in range(3)],
    "a file": lambda root: [root.file.write(b"x" * 100_000) for _ in range(100)],
}


@pytest.mark.parametrize("case", MANY)
def test_what_a_peer_keeps_is_counted(pair: Callable[..., Any], case: str) -> None:
    """Results of the library, and what a container of this side is given, have their price."""
    service = Containers()
    service.exposed_own = [1] * 20_000
    client, _ = pair(service, there_config=CONFIG)
    with pytest.raises(Exception, match="max_kept_memory"):
        MANY[case](client.root)


def test_results_that_have_been_given_back_are_free(pair: Callable[..., Any]) -> None:
    """Any number of results may be made one after the other."""
    client, server = pair(Containers(), there_config=CONFIG)
    made = client.root.list()
    for _ in range(200):
        assert len(made * 2) == 20_000
    del made
    client.flush_released()
    eventually(lambda: client.root.size() == 0 and server._kept.held < 100_000)


def test_what_a_program_takes_is_free(pair: Callable[..., Any]) -> None:
    """A queue of the program's goes on as long as the program takes what the peer adds."""
    client, _ = pair(Containers(), there_config=CONFIG)
    queue = client.root.queue
    for _ in range(20):
        for _ in range(10):
            queue.append("x" * 100_000)
        queue.extend((1,) * 100_000)
        assert client.root.take() == 100_010


def test_a_peer_removes_what_is_too_much(pair: Callable[..., Any]) -> None:
    """After a refusal the peer makes room itself, and goes on."""
    client, _ = pair(Containers(), there_config=CONFIG)
    own = client.root.own
    own.extend((1,) * 100_000)
    with pytest.raises(Exception, match="max_kept_memory"):
        doubled(own)
    own.clear()
    own.extend((1,) * 100_000)
    assert client.root.size() == 100_000


def test_a_list_of_the_program_is_appended_to(pair: Callable[..., Any]) -> None:
    """Small values are stored as ever."""
    client, server = pair(Containers(), there_config=CONFIG)
    for number in range(500):
        client.root.own.append(number)
    assert client.root.size() == 500
    assert len(server._made.records) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_all_servers_count_what_is_made(served: Served, kind: str) -> None:
    """The sum is counted by blocking and asyncio servers, and ends with the connection."""
    server = served.server(kind, Containers, max_kept_memory=KEPT)
    client = served.client(server)
    with pytest.raises(Exception, match="max_kept_memory"):
        added(client.root.list())
    client.close()
    other = served.client(server)
    assert len(other.root.list() * 2) == 20_000
