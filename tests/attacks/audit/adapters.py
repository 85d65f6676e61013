"""Hostile programs for EPC servers and Erlang services: walks over names, handles and values."""

from __future__ import annotations

import itertools
import random
import re
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from .programs import _CODES, _LADDERS, _PATHS, _PICKLES, ABSENT, NAMES, Knowledge

__all__ = ["Replay", "Step", "Walk", "run"]

STEPS: Final = (10, 60)
PATIENCE: Final = 0.04
_HANDLE: Final = re.compile(rb"handle:[0-9a-f]{16}:\d+")
_BUILTINS: Final = (
    *("getattr", "setattr", "method", "call", "hold", "value", "iterate", "next", "item", "length"),
    *("text", "type", "keep", "release", "held", "eval"),
)

Value = tuple[Any, ...]
"""``("raw", text)`` of EPC's; of Erlang's ``(kind, content)``, where ``("h", step, place)`` is a
handle that the victim sent in its answer to a step."""


class Step(NamedTuple):
    """One message of a program."""

    number: int
    value: Value

    def __str__(self) -> str:
        return f"{self.number}: {self.value!r:.600}"


class Session:
    """One connection of a program.

    Args:
        kind: of the protocol: ``"epc"`` or ``"erlang"``.
        port: of the victim.
        token: what must not arrive.
    """

    def __init__(self, kind: str, port: int, token: bytes) -> None:
        self.kind = kind
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.sock.settimeout(PATIENCE)
        self._token = token
        self._data = b""
        self.sent = self.nested = 0
        self.handles: dict[tuple[int, int], bytes] = {}
        self.leaks: dict[str, bytes] = {}

    def run(self, step: Step) -> None:
        """Send a message and read what is answered.

        Raises:
            OSError: the victim has hung up.
        """
        if self.kind == "epc":
            payload = step.value[1].encode("utf-8", "surrogatepass")
            frame = b"%06x" % len(payload) + payload
        else:
            payload = b"\x83" + self._term(step.value)
            frame = struct.pack("!L", len(payload)) + payload
        self.sock.sendall(frame)
        self.sent += 1
        answer = self._receive()
        if self._token in answer:
            place = answer.index(self._token)
            self.leaks[_asked(step.value)] = answer[max(0, place - 60) : place + 20]
        for place, handle in enumerate(_HANDLE.findall(answer)):
            self.handles[step.number, place] = handle

    def _receive(self) -> bytes:
        head = self._exactly(6 if self.kind == "epc" else 4)
        size = int(head, 16) if self.kind == "epc" else struct.unpack("!L", head)[0]
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            more = self.sock.recv(1 << 16)
            if not more:
                raise ConnectionError("the victim has hung up")
            self._data += more
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _term(self, value: Value) -> bytes:
        kind, content = value[0], value[1]
        if kind == "i":
            return b"b" + struct.pack("!i", content)
        if kind == "f":
            return b"F" + struct.pack("!d", content)
        if kind == "a":
            name = content.encode()[:255]
            return b"w" + bytes((len(name),)) + name
        if kind == "b":
            return b"m" + struct.pack("!L", len(content)) + content
        if kind == "l":
            items = b"".join(map(self._term, content))
            return b"l" + struct.pack("!L", len(content)) + items + b"j" if content else b"j"
        if kind == "t":
            return b"h" + bytes((len(content),)) + b"".join(map(self._term, content))
        if kind == "m":
            pairs = b"".join(self._term(one) for pair in content for one in pair)
            return b"t" + struct.pack("!L", len(content)) + pairs
        data = self.handles.get((value[1], value[2]), b"handle:0000000000000000:1")
        return self._term(("t", [("a", "$erlport.opaque"), ("a", "python"), ("b", data)]))


def _asked(value: Value) -> str:
    """Return a message in one word: the function that it names."""
    if value[0] == "raw":
        return " ".join(value[1].split()[2:3])
    return ":".join(str(part[1]) for part in value[1][2:4] if part[0] == "a")


class Walk:
    """A random program.

    Args:
        seed: of this program.
        knowledge: of the victim's program.
    """

    version = 0

    def __init__(self, seed: str, knowledge: Knowledge) -> None:
        self.random = random.Random(seed)
        self.knowledge = knowledge
        self.session: Session | None = None
        self.steps: list[Step] = []
        self._numbers = itertools.count(1)

    def program(self) -> Iterator[Step]:
        """Yield the steps."""
        assert self.session is not None
        make = self._message if self.session.kind == "epc" else self._call
        for _ in range(self.random.randrange(*STEPS)):
            number = next(self._numbers)
            self.steps.append(Step(number, make(number)))
            yield self.steps[-1]

    def _name(self, start: tuple[str, ...]) -> str:
        chance = self.random
        parts = [chance.choice(start)] if chance.random() < 0.6 else []
        for _ in range(chance.randrange(1, 4) if not parts else chance.randrange(3)):
            parts.append(chance.choice((chance.choice(NAMES), chance.choice(self.knowledge.names))))
        return ".".join(parts)

    # -- EPC

    def _message(self, number: int) -> Value:
        chance = self.random
        if chance.random() < 0.1:
            kind = chance.choice(("return", "return-error", "epc-error", "methods", "other"))
            return ("raw", f"({kind} {number} {self._text()})\n")
        uid = number if chance.random() < 0.9 else self._text()
        name = self._name(("add", "echo", "text", "each", "fail", "thing", "limit", "give_class"))
        args = " ".join(self._text() for _ in range(chance.randrange(4)))
        if chance.random() < 0.1:
            return ("raw", f"(call {uid} {self._text()} {self._text()})\n")
        return ("raw", f"(call {uid} {name} ({args}))\n")

    def _text(self, depth: int = 0) -> str:
        chance = self.random
        pick = chance.randrange(12)
        if pick > 8 and depth < 3:
            items = " ".join(self._text(depth + 1) for _ in range(chance.randrange(4)))
            head = chance.choice(("(", "[", "#s(", "#s(hash-table data (", "#(", "(quote "))
            return head + items + {"[": "]", "#s(hash-table data (": "))"}.get(head, ")")
        if pick < 2:
            return chance.choice(("1", "-5", "1.5e3", "nil", "t", "0.0e+NaN", "?a", "1e999"))
        if pick < 5:
            texts = (*_LADDERS, *_CODES, *_PATHS, chance.choice(NAMES))
            text = chance.choice(texts).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
        if pick < 7:
            return self._name(("thing", "add", *ABSENT))
        return chance.choice(
            ("'a", "`a", ",a", "#'add", "#[1 2]", "#1=(a #1#)", '#("a" 0 1 (x y))', "(a . b)", ":k")
        )

    # -- Erlang

    def _handle(self) -> Value:
        assert self.session is not None
        known = list(self.session.handles)
        if not known:
            return self._atom()
        return ("h", *self.random.choice(known[-8:]))

    def _atom(self) -> Value:
        names = ("one", "things", "true", "undefined", "python", *_BUILTINS, *ABSENT)
        return ("a", self._name(names))

    def _value(self, depth: int = 0) -> Value:
        chance = self.random
        pick = chance.randrange(12)
        if pick < 4:
            return self._handle()
        if pick > 8 and depth < 3:
            count = chance.randrange(4)
            items = [self._value(depth + 1) for _ in range(count)]
            if pick == 9:
                return ("l", items)
            if pick == 10:
                return ("t", items)
            return ("m", [(("i", key), one) for key, one in enumerate(items)])
        if pick < 6:
            texts = (*_LADDERS, *_CODES, *_PATHS, chance.choice(NAMES))
            return ("b", chance.choice((*[text.encode() for text in texts], *_PICKLES)))
        if pick == 6:
            data = chance.choice(_PICKLES)
            return ("t", [("a", "$erlport.opaque"), ("a", "python"), ("b", data)])
        if pick == 7:
            return ("f", chance.choice((0.5, -1.0)))
        return chance.choice((("i", chance.choice((0, 1, -1, 3))), self._atom()))

    def _call(self, number: int) -> Value:
        chance = self.random
        if chance.random() < 0.08:
            kind = chance.choice(("r", "e", "M", "X", "P", "other"))
            return ("t", [("a", kind), *[self._value() for _ in range(chance.randrange(4))]])
        args = [self._value() for _ in range(chance.randrange(4))]
        pick = chance.random()
        if pick < 0.4:
            module, function = chance.choice(("one", "things")), self._name(_EXPOSED)
        elif pick < 0.9:
            module, function = "$rpyc_like", chance.choice(_BUILTINS)
            if function in ("getattr", "setattr", "method"):
                name = ("a", self._name(("shared", "name", "exposed_make", "func")))
                args = [self._handle(), name, *args]
                if function == "method":
                    args[2:] = [("l", args[2:])]
            elif function == "call":
                args = [self._handle(), ("l", args)]
            elif function == "keep":
                args = [("a", "one"), ("a", self._name(_EXPOSED)), ("l", args)]
            elif chance.random() < 0.8:
                args = [self._handle(), ("i", 1)][: chance.choice((1, 2))]
        else:
            module = chance.choice((*ABSENT, "os", "builtins", *self._module()))
            function = self._name(("system", "eval", "main"))
        if chance.random() < 0.1:
            name = ("a", chance.choice(("value", "exposed", chance.choice(NAMES))))
            args.append(("t", [("a", "$kwargs"), ("l", [("t", [name, self._value()])])]))
        parts = [("a", "C"), ("i", number), ("a", module), ("a", function), ("l", args)]
        return ("t", parts)

    def _module(self) -> tuple[str, ...]:
        return (self.random.choice(self.knowledge.classes)[0],)


_EXPOSED: Final = (
    *("add", "echo", "text", "each", "fail", "give", "give_class", "give_function", "numbers"),
    *("table", "thing", "limit", "exposed_static", "exposed_make", "exposed_name", "thing.name"),
)


class Replay:
    """A recorded program, some steps of which may have been dropped."""

    version = 0

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.session: Session | None = None

    def program(self) -> Iterator[Step]:
        """Yield the steps."""
        yield from self.steps


def run(kind: str, port: int, attacker: Any, token: bytes) -> Session:
    """Run a program; return its session."""
    session = attacker.session = Session(kind, port, token)
    end = time.monotonic() + 10
    with session.sock:
        for step in attacker.program():
            try:
                session.run(step)
            except TimeoutError:
                continue  # a message that needs no answer
            except OSError:
                break
            if time.monotonic() > end:
                break
    return session
