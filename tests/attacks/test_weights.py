"""Objects of the standard library that share members: recursion over them is bounded, all kinds."""

from __future__ import annotations

import argparse
import asyncio
import collections
import copy
import dataclasses
import email.message
import functools
import inspect
import logging
import operator
import subprocess
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts, netref
from rpyc_like.errors import LimitExceeded
from rpyc_like.lib.guards import weights

LEVELS = 40
LIMIT = 1_000_000
KINDS: dict[str, Callable[[Any], Any]] = {
    "SimpleNamespace": lambda one: types.SimpleNamespace(a=one, b=one),
    "argparse.Namespace": lambda one: argparse.Namespace(a=one, b=one),
    "UserList": lambda one: collections.UserList([one, one]),
    "UserDict": lambda one: collections.UserDict({1: one, 2: one}),
    "ChainMap": lambda one: collections.ChainMap({1: one, 2: one}),
    "OrderedDict": lambda one: collections.OrderedDict({1: one, 2: one}),
    "defaultdict": lambda one: collections.defaultdict(functools.partial(int, one, one)),
    "partial": lambda one: functools.partial(int, one, one),
    "partialmethod": lambda one: functools.partialmethod(int, one, one),
    "itemgetter": lambda one: operator.itemgetter(one, one),
    "dict values": lambda one: {1: one, 2: one}.values(),
    "ValuesView": lambda one: collections.abc.ValuesView({1: one, 2: one}),
    "GenericAlias": lambda one: types.GenericAlias(dict, (one, one)),
    "cells": lambda one: (types.CellType(one), types.CellType(one)),
    "methods": lambda one: [types.MethodType(len, one), types.MethodType(len, one)],
    "error": lambda one: KeyError(one, one),
    "Parameter": lambda one: inspect.Parameter("a", 1, default=one, annotation=one),
    "message": lambda one: _message(one),
    "LogRecord": lambda one: logging.LogRecord("a", 1, one, 1, one, None, None),
    "asyncio queue": lambda one: _queue(one),
    "CompletedProcess": lambda one: subprocess.CompletedProcess(one, 0, one),
    "data class": lambda one: Pair(one, one),
    "data class with slots": lambda one: SlottedPair(one, one),
}


def _message(part: Any) -> email.message.Message:
    message = email.message.Message()
    message.set_payload([part, part])
    return message


def _queue(one: Any) -> asyncio.LifoQueue[Any]:
    queue: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
    queue.put_nowait(one)
    queue.put_nowait(one)
    return queue


@dataclasses.dataclass
class Pair:
    """Two values; the second has a default, which is an attribute of the class."""

    first: Any
    second: Any = None


@dataclasses.dataclass
class SlottedPair:
    """Two values."""

    __slots__ = ("first", "second")
    first: Any
    second: Any


class Containers(rpyc.Service):
    """Exports classes and functions of the standard library."""

    exposed_namespace = types.SimpleNamespace
    exposed_sequence = collections.UserList
    exposed_deepcopy = staticmethod(copy.deepcopy)

    @staticmethod
    def exposed_tuple(one: Any) -> Any:
        """Return an exported tuple of the same object twice."""
        return Twice((one, one))


class Twice(tuple[Any, ...]):
    """A tuple that goes by reference."""


def never(obj: Any) -> bool:
    """No object is a proxy."""
    return False


def check(obj: Any, copied: bool = False) -> None:
    """Weigh with the default limits."""
    weights.check_weight(obj, LIMIT, 1000, never, copied)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shared_weighs_what_it_is_written_out_to(kind: str) -> None:
    """Forty levels of two members each are refused, whatever they are made of."""
    one: Any = []
    for _ in range(LEVELS):
        one = KINDS[kind](one)
    with pytest.raises(LimitExceeded, match="max_steps"):
        check(one)


@pytest.mark.parametrize("reference", [weakref.ref, weakref.proxy])
def test_weak_references_are_followed(reference: Any) -> None:
    """They are compared by what they refer to."""
    kept = [collections.UserList([0])]
    for _ in range(LEVELS):
        kept.append(collections.UserList([reference(kept[-1]), reference(kept[-1])]))
    with pytest.raises(LimitExceeded, match="max_steps"):
        check(kept[-1])


def test_elements_are_weighed_before_they_are_copied() -> None:
    """Copying recurses over them without looking what it has copied; showing does not."""
    from xml.etree.ElementTree import Element

    one = Element("leaf")
    for _ in range(LEVELS):
        above = Element("branch")
        above.extend([one, one])
        one = above
    check(one)
    with pytest.raises(LimitExceeded, match="max_steps"):
        check(one, copied=True)


def test_cycles_are_walked_as_they_are_shown() -> None:
    """A dozen lists that hold each other would be shown in every order."""
    lists: list[Any] = [[] for _ in range(12)]
    for one in lists:
        one.extend(other for other in lists if other is not one)
    with pytest.raises(LimitExceeded, match="max_steps"):
        check(lists[0])


def test_a_tree_whose_nodes_know_their_parents_is_allowed() -> None:
    """Each node is shown once."""

    def grow(parent: Any, levels: int) -> Any:
        node = types.SimpleNamespace(parent=parent)
        node.children = [grow(node, levels - 1) for _ in range(2)] if levels else []
        return node

    check(grow(None, 10))


def test_texts_weigh_what_they_are_long() -> None:
    """A text that occurs a thousand times is written a thousand times."""
    with pytest.raises(LimitExceeded, match="max_steps"):
        check(["x" * (1 << 20)] * 1000)


def test_objects_that_are_shown_by_their_state_lead_nowhere() -> None:
    """A logger refers to all loggers; its text has a name only."""
    assert not weights.has_members(logging.Logger)
    error = KeyError(1)
    for number in range(2000):
        following = KeyError(number)
        following.__context__ = error
        error = following
    check(error)


def test_a_field_with_a_default_is_looked_at_in_the_instance() -> None:
    """The default is an attribute of the class."""
    assert list(weights.members(Pair(1, 2))) == [1, 2]
    assert list(weights.members(SlottedPair(1, 2))) == [1, 2]


@pytest.mark.parametrize("operation", ["repr", "str", "__eq__", "deepcopy"])
@pytest.mark.parametrize("kind", ["SimpleNamespace", "UserList"])
def test_a_peer_cannot_share_without_end(
    pair: Callable[..., Any], kind: str, operation: str
) -> None:
    """What a restricted peer has built with exported classes is weighed before each operation."""
    client, _ = pair(Containers())
    root = client.root
    make = {
        "SimpleNamespace": lambda one: root.namespace(a=one, b=one),
        "UserList": lambda one: root.sequence([one, one]),
    }[kind]
    one = make(0)
    for _ in range(LEVELS):
        one = make(one)
    operations: dict[str, Callable[[], Any]] = {
        "repr": lambda: repr(one),
        "str": lambda: str(one),
        "__eq__": lambda: one == make(one),
        "deepcopy": lambda: root.deepcopy(one),
    }
    with pytest.raises(Exception, match="max_steps"):
        operations[operation]()
    assert root.sequence([1, 2]) == [1, 2]


def test_a_hash_is_not_computed_for_ever(pair: Callable[..., Any]) -> None:
    """Tuples hash their items each time."""
    client, _ = pair(Containers())
    one = client.root.tuple(0)
    for _ in range(LEVELS):
        one = client.root.tuple(one)
    assert netref.is_netref(one)
    with pytest.raises(Exception, match="max_steps"):
        client.sync_request(consts.HANDLE_HASH, one)
