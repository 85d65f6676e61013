"""Containers that Erlang holds: what its calls would make of them is bounded as for RPyC peers."""

from __future__ import annotations

import itertools
import socket
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from typing import Any

import pytest

from rpyc_like.erlport.service import ErlangService
from rpyc_like.erlport.v1.erlterms import Atom, OpaqueObject, decode
from rpyc_like.erlport.v1.handles import Handle
from tests.attacks.front_ends import port_of
from tests.attacks.test_listener_sum import Erlport
from tests.support.sockets import receive_exactly

PRIME = (1 << 61) - 1
DEEP = 1_200
BUILTIN = "$rpyc_like"
MALFORMED = "rpyc_like.errors.MalformedValue"
EXCEEDED = "rpyc_like.errors.LimitExceeded"


class Containers:
    """Makes one container of each kind, for Erlang to hold."""

    make_deque = staticmethod(lambda: Handle(deque()))
    make_list = staticmethod(lambda *items: Handle(list(items)))
    make_set = staticmethod(lambda: Handle(set()))
    make_dict = staticmethod(lambda: Handle(defaultdict(list)))
    make_ordered = staticmethod(lambda: Handle(OrderedDict()))
    make_bytes = staticmethod(lambda: Handle(bytearray(64)))
    endless = staticmethod(lambda: Handle(itertools.count()))
    total = staticmethod(lambda: Handle(sum))
    add = staticmethod(lambda a, b: a + b)


class Client(Erlport):
    """Calls, and waits for the answer."""

    def ask(self, name: str, *args: Any, module: str = "m") -> tuple[str, Any]:
        """Return ``""`` and the value, or the name of the error and its text."""
        self.call(name, *args, module=module)
        kind, _, value = self.term()
        return ("", value) if kind == b"r" else (value[1].text, value[2])

    def term(self) -> Any:
        """Return an answer."""
        size = int.from_bytes(receive_exactly(self.sock, 4), "big")
        return decode(receive_exactly(self.sock, size))[0]

    def make(self, name: str, *args: Any) -> OpaqueObject:
        """Return a handle of a new container."""
        problem, value = self.ask(name, *args)
        assert not problem
        assert type(value) is OpaqueObject
        return value

    def method(self, handle: Any, name: str, *args: Any) -> tuple[str, Any]:
        """Call a method of a container."""
        return self.ask("method", handle, Atom(name.encode()), list(args), module=BUILTIN)


@pytest.fixture(params=[None, 4], ids=["one thread", "threads"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Return a client; asyncio servers have no handles of Erlang's."""
    service = ErlangService({"m": Containers()}, max_items=50_000, threads=request.param)
    with port_of("blocking", service) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            made = Client(sock)
            yield made
            assert made.ask("add", 1, 2) == ("", 3)


def test_case_119_deques_are_not_nested_level_by_level(client: Client) -> None:
    """What the interpreter frees by recursion is refused at the level that is one too many."""
    outer, problems = client.make("make_deque"), set()
    for _ in range(220):
        inner, outer = outer, client.make("make_deque")
        problems.add(client.method(outer, "append", inner)[0])
    assert problems == {"", MALFORMED}


def test_case_119_keys_of_one_hash_do_not_add_up(client: Client) -> None:
    """Neither in one call nor in several does a set get too many of them."""
    made = client.make("make_set")
    keys = [number * PRIME for number in range(1, 200)]
    assert client.method(made, "update", keys)[0] == MALFORMED
    problems = [client.method(made, "add", key)[0] for key in keys[:80]]
    assert problems[:60] == [""] * 60
    assert problems[-1] == MALFORMED


def test_case_119_shared_parts_count_each_time(client: Client) -> None:
    """Lists that share their items are not compared for ever."""
    left, right = client.make("make_list"), client.make("make_list")
    for _ in range(40):
        left, right = client.make("make_list", left, left), client.make("make_list", right, right)
    outer = client.make("make_list", left)
    problem, text = client.method(outer, "count", right)
    assert problem == EXCEEDED
    assert "'max_items'" in text.to_string()


def test_case_119_texts_of_deep_lists_are_refused(client: Client) -> None:
    """``text`` looks at the nesting before the interpreter does."""
    outer = client.make("make_list")
    for _ in range(DEEP):
        outer = client.make("make_list", outer)
    assert client.ask("text", outer, module=BUILTIN)[0] == MALFORMED


def test_case_119_items_of_dicts_with_factories_are_keys(client: Client) -> None:
    """``item`` adds keys to a defaultdict: not too many of one hash."""
    made = client.make("make_dict")
    problems = [
        client.ask("item", made, number * PRIME, module=BUILTIN)[0] for number in range(1, 80)
    ]
    assert problems[-1] == MALFORMED


def test_case_119_endless_iterators_are_given_up(client: Client) -> None:
    """Containers and functions in C take no more items of an iterator than ``max_items``."""
    endless = client.make("endless")
    made = client.make("make_deque")
    assert client.method(made, "extend", endless)[0] == EXCEEDED
    total = client.make("total")
    assert client.ask("call", total, [endless], module=BUILTIN)[0] == EXCEEDED


def test_case_119_what_erlang_usually_does_works(client: Client) -> None:
    """Containers of plain values are filled, read and shown."""
    made = client.make("make_list")
    assert client.method(made, "extend", [3, 1, 2]) == ("", None)
    client.method(made, "sort")
    assert client.ask("value", made, module=BUILTIN) == ("", [1, 2, 3])
    assert client.ask("item", made, 1, module=BUILTIN) == ("", 2)
    assert client.ask("length", made, module=BUILTIN) == ("", 3)
    problem, shown = client.ask("text", made, module=BUILTIN)
    assert not problem
    assert shown.to_string() == "[1, 2, 3]"
    queue = client.make("make_deque")
    assert client.method(queue, "extend", made)[0] == ""
    assert client.method(queue, "popleft") == ("", 1)
