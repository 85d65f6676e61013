"""Errors for names that a restricted peer may not read say what would let them through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.protocol import Connection

MakePair = Callable[..., tuple[Connection, Connection]]


@dataclass
class Record:
    """A dataclass."""

    name: str = "x"


class Plain:
    """A plain class."""

    name = "x"


class Subject(rpyc.Service):
    """Returns objects of the program."""

    def exposed_get(self, kind: str) -> Any:
        return {"data": Record, "plain": Plain}[kind]()


@pytest.mark.parametrize("kind", ["data", "plain"])
def test_a_refused_name_says_the_key(pair: MakePair, kind: str) -> None:
    """The text begins as RPyC's does, and names the prefix and the key."""
    client, _ = pair(Subject)
    found = client.root.get(kind)
    with pytest.raises(AttributeError, match=r"^cannot access 'name': .*'exposed_name'.*public"):
        found.name


@pytest.mark.parametrize("name", ["_name", "__class_getitem__"])
def test_a_private_name_is_given_no_way(pair: MakePair, name: str) -> None:
    """Private names are refused as ever."""
    client, _ = pair(Subject)
    with pytest.raises(AttributeError) as caught:
        getattr(client.root.get("plain"), name)
    assert "allow_public_attrs" not in str(caught.value)
