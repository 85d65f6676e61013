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


ACTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "allow_getattr": ("", lambda obj: obj.name),
    "allow_setattr": (" to set it", lambda obj: setattr(obj, "name", 3)),
    "allow_delattr": (" to delete it", lambda obj: delattr(obj, "name")),
}


@pytest.mark.parametrize("key", ACTS)
def test_what_is_switched_off_says_the_key(pair: MakePair, key: str) -> None:
    """A refused access says whether it was to read, set or delete, and the key that allows it."""
    aim, act = ACTS[key]
    client, server = pair(Subject, there_config={"allow_public_attrs": True})
    found = client.root.get("plain")
    server._config[key] = False
    with pytest.raises(AttributeError, match=f"^cannot access 'name'{aim}: .*'{key}'"):
        act(found)


@pytest.mark.parametrize("key", ["allow_setattr", "allow_delattr"])
def test_what_is_not_exposed_says_what_was_wanted(pair: MakePair, key: str) -> None:
    """A name that only the rule for public names would let through is refused for the act."""
    aim, act = ACTS[key]
    client, _ = pair(Subject, there_config={key: True})
    with pytest.raises(AttributeError, match=f"^cannot access 'name'{aim}: .*allow_public_attrs"):
        act(client.root.get("plain"))


def test_exposed_names_that_are_switched_off_say_their_key(pair: MakePair) -> None:
    """Without ``allow_exposed_attrs`` the error names that key for the exposed name."""
    client, server = pair(Subject)
    found = client.root.get("plain")
    server._config["allow_exposed_attrs"] = False
    with pytest.raises(AttributeError, match="'allow_exposed_attrs' for 'exposed_name'"):
        found.name
