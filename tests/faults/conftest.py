"""A victim, an attacker that speaks bytes, and a bystander that must notice nothing."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine
from rpyc_like.core.protocol import Connection
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from tests.support.joining import join


class Thing:
    """An object that is lent to the peer."""

    def __len__(self) -> int:
        return 3


class Subject(rpyc.Service):
    """What the attacker asks for things."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.thing = Thing()

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_make(self) -> Thing:
        return Thing()

    def exposed_same(self) -> Thing:
        return self.thing

    def exposed_keep(self, *things: Any) -> None:
        self.kept += things

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_raise(self, error: BaseException) -> None:
        raise error


class Attack:
    """One victim, served by a thread, at the other end of a memory stream."""

    def __init__(self, config: dict[str, Any] | None) -> None:
        here, there = MemoryStream.create_pair()
        self.stream = here
        self.channel = Channel(here, compress=False)
        self.victim: Connection = Subject._connect(Channel(there), config)
        self.thread = threading.Thread(target=self.victim.serve_all, daemon=True)
        self.thread.start()
        self._numbers = iter(range(1000, 10**9))

    def send(self, payload: bytes) -> None:
        """Sends a payload in a frame."""
        self.channel.send(payload)

    def request(self, handler: Any, boxed: Any, number: int | None = None) -> int:
        """Sends a request and returns its number."""
        number = next(self._numbers) if number is None else number
        self.send(b"\x01" + brine.dump((number, (handler, boxed))))
        return number

    def ask(self, handler: Any, boxed: Any) -> tuple[str, Any]:
        """Sends a request and returns ("value", boxed) or ("error", exception as plain value)."""
        number = self.request(handler, boxed)
        while True:
            answer = self.channel.recv()
            found, value = brine.load(answer[1:])
            if found == number and answer[0] in (2, 3):
                return ("value" if answer[0] == 2 else "error"), value

    def root(self) -> Any:
        """Returns the id pack of the victim's root."""
        return self.ask(3, (1, ()))[1][1]

    def call(self, name: str, *boxed_args: Any) -> tuple[str, Any]:
        """Calls a method of the root with boxed arguments."""
        return self.ask(8, (2, ((3, self.root()), (1, name), (2, boxed_args), (1, ()))))

    def make(self) -> Any:
        """Has a thing made and returns its id pack."""
        return self.call("make")[1][1]

    def ended(self, timeout: float = 5) -> BaseException:
        """Waits until the victim has hung up and returns why it did."""
        join(self.thread, timeout, "the victim is still waiting")
        error = self.victim._link.error
        assert error is not None
        return error

    def works(self) -> bool:
        """Returns whether the victim still answers."""
        return self.call("add", (1, 1), (1, 2)) == ("value", (1, 3))


@pytest.fixture
def attack(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Attack]]:
    """Makes victims. Afterwards a connection that has nothing to do with them still works."""
    made: list[Attack] = []
    bystander = Attack(None)
    assert bystander.works()

    def make(**config: Any) -> Attack:
        made.append(Attack(config))
        return made[-1]

    with caplog.at_level(logging.DEBUG, "rpyc_like"):
        yield make
    assert bystander.works(), "another connection was touched"
    for one in [*made, bystander]:
        one.victim._link.lose(None)
        one.stream.close()
        join(one.thread)


def frame(payload: bytes, flag: int = 0, length: int | None = None, end: bytes = b"\n") -> bytes:
    """Returns a frame, or something like one."""
    size = len(payload) if length is None else length
    return struct.pack("!LB", size, flag) + payload + end


def closed_by(error: BaseException) -> BaseException:
    """Returns the reason behind an error of a waiter."""
    assert isinstance(error, ConnectionClosed)
    assert isinstance(error, EOFError)
    assert error.__cause__ is not None
    return error.__cause__
