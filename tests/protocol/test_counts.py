"""What operations cost, counted: requests, bytes, Python calls, bytecode instructions.

These numbers do not depend on the machine, so a change that makes an operation dearer is noticed
here. Times are measured by ``python -m tests.bench``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import pytest

import rpyc_like as rpyc
from rpyc_like.core import read_ahead
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicClient, SlaveService
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import SocketStream


class Cost(NamedTuple):
    """What one operation may cost at most; calls and instructions of both sides together."""

    requests: int
    bytes: int
    calls: int
    instructions: int


class Item:
    """An instance of a class of the program's own."""

    def __init__(self) -> None:
        self.value = 5

    def method(self, number: int) -> int:
        return number


NAMES: dict[str, Any] = {
    "f": lambda value: value,
    "item": Item(),
    "make": Item,
    "numbers": [*range(1000)],
    "table": {number: str(number) for number in range(100)},
    "items": [Item() for _ in range(100)],
    "call": lambda func: [func(number) for number in range(10)][-1],
}

OPERATIONS: dict[str, tuple[str, Cost]] = {
    "call a function": ("f(1)", Cost(1, 102, 72, 2_700)),
    "call a method": ("item.method(1)", Cost(1, 130, 86, 3_200)),
    "read an attribute": ("item.value", Cost(1, 120, 75, 2_800)),
    "an instance, and its attribute": ("make().value", Cost(2, 380, 200, 7_200)),
    "a function of a module": ("modules.os.getpid()", Cost(1, 102, 104, 4_100)),
    "a function of a submodule": ("modules.os.path.join('a', 'b')", Cost(1, 160, 430, 17_000)),
    "a list of 1,000": ("list(numbers)", Cost(2, 2000, 4300, 250_000)),
    "a dict of 100": ("dict(table)", Cost(1, 810, 1500, 59_000)),
    "items of a dict of 100": ("list(table.items())", Cost(1, 910, 1800, 91_000)),
    "a snapshot": ("snapshot(table)", Cost(1, 630, 650, 31_000)),
    "10 callbacks": ("call(local)", Cost(11, 1400, 950, 35_000)),
}


class Counter:
    """Counts calls and instructions of two threads."""

    def __init__(self) -> None:
        self.calls = self.instructions = 0
        self.on = False

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if self.on:
            if event == "call":
                self.calls += 1
            elif event == "opcode":
                self.instructions += 1
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.trace


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Connection, Connection, Counter]]:
    counter = Counter()
    import socket

    a, b = socket.socketpair()
    server = SlaveService()._connect(Channel(SocketStream(b)))

    def serve() -> None:
        sys.settrace(counter.trace)
        try:
            server.serve_all()
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = ClassicClient()._connect(Channel(SocketStream(a)))
    client.root
    server._local_root.namespace.update(NAMES)
    yield client, server, counter
    client.close()
    thread.join()


def frames_of(conn: Connection, sent: list[int]) -> None:
    """Notes the sizes of the frames that a connection sends."""
    framer = conn._channel.framer
    original = framer.encode

    def encode(payload: Any) -> Any:
        frame = original(payload)
        sent.append(len(frame))
        return frame

    framer.encode = encode


@pytest.mark.parametrize("name", OPERATIONS)
def test_cost(
    sides: tuple[Connection, Connection, Counter], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation costs no more than it did."""
    monkeypatch.setattr(read_ahead, "_FRESH", 60.0)  # tracing is slow
    client, server, counter = sides
    text, most = OPERATIONS[name]
    names: dict[str, Any] = {key: client.eval(key) for key in NAMES}
    names |= {"modules": client.modules, "snapshot": rpyc.snapshot, "local": lambda number: number}
    code = compile(text, name, "eval")
    do: Callable[[], Any] = lambda: eval(code, names)  # noqa: E731
    for _ in range(3):
        do()
    sent: list[int] = []
    frames_of(client, sent)
    frames_of(server, sent)
    try:
        numbers = [next(conn._seqcounter) for conn in (client, server)]
        do()
        requests = sum(
            next(conn._seqcounter) - number - 1 for conn, number in zip((client, server), numbers)
        )
        size = sum(sent)
    finally:
        for conn in (client, server):
            del conn._channel.framer.encode
    before = sys.gettrace()
    counter.calls = counter.instructions = 0
    sys.settrace(counter.trace)
    counter.on = True
    try:
        do()
    finally:
        counter.on = False
        sys.settrace(before)
    cost = Cost(requests, size, counter.calls, counter.instructions)
    print(name, cost)
    slack = 1.0 if sys.version_info[:2] == (3, 11) else 1.4
    for what, got, bound in zip(Cost._fields, cost, most):
        limit = bound if what in ("requests", "bytes") else bound * slack
        assert got <= limit, f"{what}: {cost}"
