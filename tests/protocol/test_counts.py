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
from rpyc_like.core.iteration import prefetch
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicClient, SlaveService
from rpyc_like.lib import native
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

OPERATIONS: dict[str, tuple[str, Cost, Cost]] = {
    "call a function": ("f(1)", Cost(1, 102, 82, 2_900), Cost(1, 102, 26, 1_010)),
    "call a method": ("item.method(1)", Cost(1, 130, 94, 3_450), Cost(1, 130, 35, 1_275)),
    "read an attribute": ("item.value", Cost(1, 120, 84, 3_050), Cost(1, 120, 28, 1_145)),
    "an instance, and its attribute": (
        "make().value",
        Cost(2, 380, 208, 7_450),
        Cost(2, 380, 110, 3_870),
    ),
    "a function of a module": (
        "modules.os.getpid()",
        Cost(1, 102, 108, 4_250),
        Cost(1, 102, 55, 2_250),
    ),
    "a function of a submodule": (
        "modules.os.path.join('a', 'b')",
        Cost(1, 160, 435, 17_200),
        Cost(1, 160, 305, 9_500),
    ),
    "a list of 1,000": ("list(numbers)", Cost(2, 2000, 4130, 242_000), Cost(2, 2000, 1180, 51_000)),
    "a dict of 100": ("dict(table)", Cost(1, 810, 1470, 57_000), Cost(1, 810, 565, 18_400)),
    "items of a dict of 100": (
        "list(table.items())",
        Cost(1, 910, 1680, 88_000),
        Cost(1, 910, 358, 14_100),
    ),
    "a snapshot": ("snapshot(table)", Cost(1, 630, 640, 29_800), Cost(1, 630, 50, 1_900)),
    "10 callbacks": ("call(local)", Cost(11, 1400, 985, 36_800), Cost(11, 1400, 365, 15_600)),
}
"""What an operation may cost in pure Python, and with the compiled core."""


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


def note_sizes(monkeypatch: pytest.MonkeyPatch, sent: list[int]) -> None:
    """Has the number of bytes noted that streams send."""
    for name in ("send_some", "send_vector"):
        original = getattr(SocketStream, name)

        def send(self: Any, data: Any, original: Any = original) -> int:
            count: int = original(self, data)
            sent.append(count)
            return count

        monkeypatch.setattr(SocketStream, name, send)


@pytest.mark.parametrize("name", OPERATIONS)
def test_cost(
    sides: tuple[Connection, Connection, Counter], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation costs no more than it did."""
    monkeypatch.setattr(prefetch, "_FRESH", 60.0)  # tracing is slow
    client, server, counter = sides
    text, pure, compiled = OPERATIONS[name]
    most = pure if native.codec is None else compiled
    names: dict[str, Any] = {key: client.eval(key) for key in NAMES}
    names |= {"modules": client.modules, "snapshot": rpyc.snapshot, "local": lambda number: number}
    code = compile(text, name, "eval")
    do: Callable[[], Any] = lambda: eval(code, names)  # noqa: E731
    for _ in range(3):
        do()
    sent: list[int] = []
    with monkeypatch.context() as patched:
        note_sizes(patched, sent)
        numbers = [next(conn._seqcounter) for conn in (client, server)]
        do()
        requests = sum(
            next(conn._seqcounter) - number - 1 for conn, number in zip((client, server), numbers)
        )
    size = sum(sent)
    runs: list[tuple[int, int]] = []
    for _ in range(3):  # another thread's turn at the wrong moment only adds
        before = sys.gettrace()
        counter.calls = counter.instructions = 0
        sys.settrace(counter.trace)
        counter.on = True
        try:
            do()
        finally:
            counter.on = False
            sys.settrace(before)
        runs.append((counter.instructions, counter.calls))
    instructions, calls = min(runs)
    cost = Cost(requests, size, calls, instructions)
    print(name, cost)
    slack = 1.0 if sys.version_info[:2] == (3, 11) else 1.4
    for what, got, bound in zip(Cost._fields, cost, most):
        limit = bound if what in ("requests", "bytes") else bound * slack
        assert got <= limit, f"{what}: {cost}"
