"""Containers written in C that a restricted peer uses: recursion, sharing, buffers that change."""

from __future__ import annotations

import array
from collections import deque, namedtuple
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts

Point = namedtuple("Point", "x y")


class Containers(rpyc.Service):
    """Exports one container of each kind."""

    def __init__(self) -> None:
        self.exposed_list = [0, 0]
        self.exposed_array = array.array("i", range(8))
        self.exposed_bytes = bytearray(64)
        self.exposed_dict = {"k": [1, 2]}
        self.exposed_deque = deque([1])
        self.exposed_Point = Point


class Index:
    """Empties a buffer while C code asks for a number."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        self.asked = 0

    def exposed___index__(self) -> int:
        """Count, and shrink the buffer."""
        self.asked += 1
        self.buffer *= 0
        return 1

    __index__ = exposed___index__


@pytest.fixture
def root(pair: Callable[..., Any]) -> Any:
    """Return the root of a service with the default configuration."""
    client, _ = pair(Containers())
    return client.root


@pytest.mark.parametrize("operation", ["__setitem__", "__getitem__"])
@pytest.mark.parametrize("name", ["array", "bytes"])
def test_buffers_ask_no_peer(root: Any, name: str, operation: str) -> None:
    """A proxy is no number for a buffer of this side, which could be emptied meanwhile."""
    buffer = getattr(root, name)
    index = Index(buffer)
    args = (0, index) if operation == "__setitem__" else (index,)
    with pytest.raises(TypeError, match="plain values for a buffer"):
        getattr(buffer, operation)(*args)
    assert index.asked == 0
    assert len(buffer) in (8, 64)


def test_buffers_are_searched_for_plain_values_only(root: Any) -> None:
    """``in`` asks no peer either."""
    index = Index(root.bytes)
    with pytest.raises(TypeError, match="plain values for a buffer"):
        _ = index in root.bytes
    assert index.asked == 0
    assert 0 in root.bytes


def tower(root: Any, levels: int) -> Any:
    """Return a list whose items are the same list, many times over."""
    top = root.list * 1
    for _ in range(levels):
        above = root.list * 1
        above[0], above[1] = top, top
        top = above
    return top


@pytest.mark.parametrize("operation", ["__eq__", "__lt__", "repr", "str"])
def test_what_is_shared_counts_each_time(root: Any, operation: str) -> None:
    """Comparing or showing 40 shared levels would never end, with everybody waiting."""
    one, other = tower(root, 40), tower(root, 40)
    with pytest.raises(Exception, match="max_steps"):
        {
            "__eq__": lambda: one == other,
            "__lt__": lambda: one < other,
            "repr": lambda: repr(one),
            "str": lambda: str(one),
        }[operation]()


@pytest.mark.parametrize("handler", [consts.HANDLE_HASH, consts.HANDLE_REPR])
def test_deep_tuples_are_not_walked_in_c(root: Any, handler: int) -> None:
    """A named tuple class makes as many levels as it is called."""
    conn = object.__getattribute__(root, "____conn__")
    deep = root.Point(0, 0)
    for _ in range(1100):
        deep = root.Point(deep, 0)
    with pytest.raises(Exception, match="max_depth"):
        conn.sync_request(handler, deep)


def test_usual_containers_work(root: Any) -> None:
    """A few levels, cycles and plain values are as they were."""
    numbers = root.list
    numbers[0] = numbers
    assert repr(numbers) == "[[...], 0]"
    numbers[0] = root.dict
    assert str(numbers) == "[{'k': [1, 2]}, 0]"
    assert numbers == [{"k": [1, 2]}, 0]
    root.array[0] = 7
    assert root.array[0] == 7
    assert hash(root.Point(1, (2, 3))) == hash((1, (2, 3)))
    assert (1, 2) not in root.dict
