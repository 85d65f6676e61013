"""A message that cannot be encoded leaves the counts of references as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rpyc_like.core import consts
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import Service
from rpyc_like.errors import LocalProtocolError

TOO_LARGE = 10 ** (1 << 20)
LARGE = bytes(1 << 17)
"""Large enough for values to be sent in parts, which is another path of the encoder."""


class Holder(Service):
    """Keeps what its peer passes."""

    def __init__(self) -> None:
        self.held: Any = None

    def exposed_hold(self, obj: Any) -> None:
        """Keep a proxy."""
        self.held = obj

    def exposed_name_of_held(self) -> str:
        """Use the proxy."""
        return str(self.held.name())


class Boxing(Connection):
    """Encodes through an override of ``_box``."""

    def _box(self, obj: Any) -> Any:
        return super()._box(obj)


class Thing:
    """An object that is passed by reference."""

    def exposed_name(self) -> str:
        """Return a name."""
        return "thing"


SHAPES: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "argument": lambda obj: (obj, TOO_LARGE),
    "tuple": lambda obj: ((obj, TOO_LARGE),),
    "inner tuple": lambda obj: ((1, (obj, (obj, TOO_LARGE))),),
    "twice": lambda obj: (obj, obj, TOO_LARGE),
    "large": lambda obj: (LARGE, obj, (obj, TOO_LARGE)),
    "class": lambda obj: (obj, type(obj), TOO_LARGE),
    "text": lambda obj: (obj, "\ud800"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("boxing", [False, True], ids=["plain", "own _box"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "held"])
def test_a_request_that_cannot_be_encoded(
    pair: Callable[..., Any], shape: str, boxing: bool, known: bool
) -> None:
    """References are rolled back once, so what the peer holds stays usable."""
    factory = type("Made", (Service,), {"_protocol": Boxing})() if boxing else Service()
    client, _ = pair(Holder(), factory)
    things = [Thing(), Thing()]
    hold = client.root.hold
    hold(things[0])
    before = counts(client)
    thing = things[0] if known else things[1]
    for _ in range(3):
        try:
            client.async_request(consts.HANDLE_CALL, hold, SHAPES[shape](thing), ())
        except (LocalProtocolError, UnicodeEncodeError):
            continue
        assert shape == "text", "it was encoded"  # our peers can read it
        client.ping()
        return
    assert counts(client) == before
    assert client.root.name_of_held() == "thing"


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_that_cannot_be_encoded(pair: Callable[..., Any], shape: str) -> None:
    """The same holds for answers, which become errors."""
    things = [Thing(), Thing()]

    class Giver(Service):
        def exposed_first(self) -> Thing:
            return things[0]

        def exposed_both(self) -> Any:
            return SHAPES[shape](things[1])

    client, server = pair(Giver())
    first = client.root.first()
    give = client.root.both
    before = counts(server)
    for _ in range(3):
        try:
            give()
        except Exception:
            continue
        assert shape == "text"
        return
    assert counts(server) == before
    assert first.name() == "thing"


def counts(conn: Any) -> dict[bytes, int]:
    """Return how many references the peer holds to each object."""
    return {raw: entry.count for raw, entry in list(conn._local_objects.by_raw.items())}
