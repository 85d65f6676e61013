"""A peer of the RPyC wire that sends whatever it is given, and the programs that it runs.

A value of a program is a tuple: ``("v", plain value)``; ``("t", (values))``; ``("g", step, place)``
for a reference that the victim sent in its answer to a step; ``("o", id pack)`` for an object of
this side, and ``("d", id pack, description)`` for one whose class is described with it.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any, Final

from rpyc_like.core import consts
from rpyc_like.wire.brine import format as brine

__all__ = ["UNANSWERED", "Answer", "Session", "Step", "Value", "Vanished"]

Value = tuple[Any, ...]
Pack = tuple[str, int, int]

UNANSWERED: Final = frozenset(
    {
        *(consts.HANDLE_RELEASE, consts.HANDLE_REWIND, consts.HANDLE_CANCEL),
        *(consts.HANDLE_DEADLINE, consts.HANDLE_HEARTBEAT),
    }
)
PATIENCE: Final = 2.0
MOST_NESTED: Final = 400
"""Requests of the victim that are answered in one program."""


@dataclasses.dataclass
class Answer:
    """What a request of the victim is answered with.

    Args:
        kind: a type of message, 2 or 3; 0 for no answer at all.
        value: a value of the program, or the plain value of an exception.
        before: requests that are sent first.
        asked: what the request was, to be printed.
    """

    kind: int
    value: Any
    before: list[Step] = dataclasses.field(default_factory=list)
    asked: str = ""


@dataclasses.dataclass
class Step:
    """One request of a program.

    Args:
        number: of the step in its program; stays when others are dropped.
        answers: to the requests that the victim makes until it has answered this one.
        raw: a whole payload, sent in place of a request.
    """

    number: int
    handler: int = 0
    args: tuple[Value, ...] = ()
    answers: list[Answer] = dataclasses.field(default_factory=list)
    raw: bytes | None = None

    def __str__(self) -> str:
        name = NAMES.get(self.handler, str(self.handler)) if self.handler else "the client"
        text = (
            f"{self.number}: {name}{shown(('t', self.args))}"
            if self.raw is None
            else (f"{self.number}: payload {self.raw!r:.200}")
        )
        for answer in self.answers:
            for step in answer.before:
                text += f"\n     asks meanwhile {step}"
            what = shown(answer.value) if answer.kind == 2 else f"raises {answer.value!r}"
            text += f"\n     asked {answer.asked} answers {what:.400}"
        return text


NAMES: Final = {
    value: name.removeprefix("HANDLE_")
    for name, value in vars(consts).items()
    if name.startswith("HANDLE_")
}


_NAMED: Final = (consts.HANDLE_GETATTR, consts.HANDLE_CALLATTR)


def shown(value: Value) -> str:
    """Return a value as it is printed."""
    kind, *rest = value
    if kind == "v":
        return f"{rest[0]!r:.300}"
    if kind == "t":
        return f"({', '.join(map(shown, rest[0]))})"
    if kind == "g":
        return f"<from {rest[0]}.{rest[1]}>"
    return f"own{rest[0]!r}" + (f" described {rest[1]!r}" if kind == "d" else "")


class Vanished(Exception):
    """The victim has hung up, or says nothing."""


class Missing(Exception):
    """A value that an earlier step should have given is not there."""


class Session:
    """One connection of a program.

    Args:
        sock: connected.
        answer: returns the answer to a request of the victim's, given handler and arguments.
        token: what must not arrive.
        version: of the dialect, 5 or 6.
    """

    def __init__(
        self,
        sock: socket.socket,
        answer: Callable[[int, Any], Answer],
        token: bytes,
        version: int = 6,
    ) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = answer
        self._token = token
        self._version = version
        self._data = b""
        self.got: dict[tuple[int, int], Pack] = {}
        self.latest: list[tuple[int, int]] = []
        self.outcomes: dict[int, tuple[int, Any]] = {}
        self.current: Step | None = None
        self.sent = self.received = self.nested = 0
        self.leaks: dict[str, bytes] = {}  # what was asked, and some of the answer

    # -- sending

    def box(self, value: Value) -> Any:
        kind, *rest = value
        if kind == "v":
            return (1, rest[0])
        if kind == "t":
            return (2, tuple([self.box(one) for one in rest[0]]))
        if kind == "g":
            try:
                return (3, self.got[(rest[0], rest[1])])
            except KeyError:
                raise Missing from None
        if kind == "o":
            return (4, rest[0])
        return (5, (rest[0], rest[1]))

    def send(self, kind: int, body: tuple[Any, ...]) -> None:
        if self._version == 6:
            payload = bytes((kind,)) + brine.dump(body)
        else:
            payload = brine.dump((kind, *body))
        self.send_payload(payload)

    def send_payload(self, payload: bytes) -> None:
        try:
            self.sock.sendall(struct.pack("!LB", len(payload), 0) + payload + b"\n")
        except OSError:
            raise Vanished from None

    def post(self, step: Step) -> bool:
        """Send a step's request; return whether that was possible."""
        if step.raw is not None:
            self.send_payload(step.raw)
            return True
        try:
            boxed = self.box(("t", step.args))
        except Missing:
            return False
        self.sent += 1
        self.send(1, (step.number, (step.handler, boxed)))
        return True

    # -- receiving

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            try:
                more = self.sock.recv(1 << 16)
            except OSError:
                raise Vanished from None
            if not more:
                raise Vanished
            self._data += more
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def receive(self) -> tuple[int, int, Any]:
        """Return the next message: type, number, content."""
        size, flag = struct.unpack("!LB", self._exactly(5))
        payload = self._exactly(size + 1)[:-1]
        if flag:
            payload = zlib.decompress(payload)
        if self._token in payload:
            place = payload.index(self._token)
            self.leaks[self._asked()] = payload[max(0, place - 60) : place + 20]
        self.received += 1
        if payload[0] in (1, 2, 3):
            return (payload[0], *brine.load(payload[1:]))
        message: tuple[int, int, Any] = brine.load(payload)
        return message

    def _asked(self) -> str:
        """Return the last request in one word: its name, and that of an attribute."""
        step = self.current
        if step is None:
            return "-"
        names = [value[1] for value in step.args if value[0] == "v" and type(value[1]) is str]
        if step.handler not in _NAMED:
            targets = [self.got.get(value[1:]) for value in step.args[:1] if value[0] == "g"]
            names = [pack[0] for pack in targets if pack is not None]
        return ":".join([NAMES.get(step.handler, "-"), *names[:1]])

    def run(self, step: Step) -> tuple[int, Any] | None:
        """Send a step's request and serve the victim until it has answered; return the outcome."""
        self.current = step
        if not self.post(step):
            return None
        if step.raw is not None or step.handler in UNANSWERED:
            return None
        end = time.monotonic() + PATIENCE
        while step.number not in self.outcomes and time.monotonic() < end:
            self.serve_one()
        return self.outcomes.get(step.number)

    def serve_one(self) -> None:
        """Receive one message and act on it."""
        kind, number, content = self.receive()
        if kind == 1:
            self._serve(number, content)
            return
        if kind == 2:
            self._found(number, content, 0)
        self.outcomes[number] = (kind, content)

    def _serve(self, number: int, content: Any) -> None:
        handler, boxed = content[0], content[1]
        if handler in UNANSWERED:
            return
        if handler == consts.HANDLE_CLOSE:
            raise Vanished  # the victim waits for the end
        if handler == consts.HANDLE_DEL:
            self.send(2, (number, (1, None)))
            return
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise Vanished
        before = len(self.latest)
        self._found(-self.nested, boxed, 0)
        answer = self._answer(handler, boxed)
        del before
        for step in answer.before:
            self.post(step)
        try:
            if answer.kind == 2:
                self.send(2, (number, self.box(answer.value)))
            elif answer.kind == 3:
                self.send(3, (number, answer.value))
        except Missing:
            self.send(2, (number, (1, None)))

    def _found(self, step: int, boxed: Any, place: int) -> int:
        """Note the references in a boxed value."""
        if type(boxed) is not tuple or len(boxed) != 2:
            return place
        label, content = boxed
        if label == 2:
            for one in content:
                place = self._found(step, one, place)
        elif label in (4, 5):
            self.got[(step, place)] = content if label == 4 else content[0]
            self.latest.append((step, place))
            place += 1
        return place


def plain(boxed: Any) -> Any:
    """Return what is known of a boxed value without references: these become None."""
    if type(boxed) is not tuple or len(boxed) != 2:
        return None
    if boxed[0] == 1:
        return boxed[1]
    return tuple([plain(one) for one in boxed[1]]) if boxed[0] == 2 else None
