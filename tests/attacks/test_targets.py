"""A request is about an object that was exported to the peer that sends it: case 90."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.core.dispatch import handlers
from rpyc_like.core.encoding import codec
from rpyc_like.core.pipelining import chain_interpreter
from rpyc_like.core.protocol import Connection
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import SocketStream

from .front_ends import FRONT_ENDS, port_of

VALUE, TUPLE, LOCAL, REMOTE = 1, 2, 3, 4

made: list[str] = []


class Vault:
    """Never exported; the peer knows its name."""

    def __init__(self) -> None:
        made.append("vault")

    def exposed_dump(self) -> str:
        return "secret"

    def __len__(self) -> int:
        made.append("len")
        return 1


class VaultError(Exception):
    """An exception of this program that was never sent to the peer."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        made.append("error")


class Sheltered:
    """A context manager that notes what it is left with."""

    left: list[type] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *rest: object) -> None:
        self.left.append(kind)


class Service(rpyc.Service):
    """Has a method, a list and a context manager."""

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_block(self) -> Any:
        return Sheltered()

    def exposed_keep(self, value: Any) -> Any:
        return [value]

    def exposed_same(self, value: Any) -> Any:
        return value


class Attacker:
    """Speaks bytes to a server."""

    def __init__(self, port: int) -> None:
        self.channel = Channel(SocketStream.connect("127.0.0.1", port), compress=False)
        self._numbers = iter(range(1000, 10**9))

    def ask(self, handler: int, *args: Any) -> tuple[str, Any]:
        """Send a request with boxed arguments; return "value" or "error", and what came."""
        number = next(self._numbers)
        boxed = (TUPLE, args) if args else (VALUE, ())
        self.channel.send(b"\x01" + brine.dump((number, (handler, boxed))))
        while True:
            answer = self.channel.recv()
            if answer[0] == 1:  # the server asks: it is told of no class
                asked, _ = brine.load(answer[1:])
                self.channel.send(b"\x02" + brine.dump((asked, (VALUE, ()))))
                continue
            found, value = brine.load(answer[1:])
            if found == number:
                return ("value" if answer[0] == 2 else "error"), value

    def root(self) -> Any:
        """Return the box of the server's root."""
        return (LOCAL, self.ask(consts.HANDLE_GETROOT)[1][1])

    def works(self) -> bool:
        """Return whether the server still answers."""
        args = (self.root(), (VALUE, "add"), (VALUE, (1, 2)), (VALUE, ()))
        return self.ask(consts.HANDLE_CALLATTR, *args) == ("value", (VALUE, 3))


@pytest.fixture(params=FRONT_ENDS)
def attacker(request: pytest.FixtureRequest) -> Iterator[Attacker]:
    """Connect to a server that would let its peers read public names."""
    made.clear()
    with port_of(request.param, Service, allow_public_attrs=True, allow_setattr=True) as port:
        one = Attacker(port)
        yield one
        one.channel.close()


VAULT = f"{Vault.__module__}.Vault"

TARGETS: dict[str, Any] = {
    "a number": (VALUE, 5),
    "a text": (VALUE, "{0.__class__}"),
    "bytes": (VALUE, b"x"),
    "None": (VALUE, None),
    "a tuple": (VALUE, (1, 2)),
    "a frozenset": (VALUE, frozenset((1,))),
    "a slice": (VALUE, slice(1)),
    "an empty tuple": (VALUE, ()),
    "a tuple of boxes": (TUPLE, ((VALUE, 1),)),
    "a proxy": (REMOTE, ("somewhere.Thing", 11, 12)),
    "a proxy of a class": (REMOTE, ("somewhere.Thing", 11, 0)),
    "a proxy that is named after a class": (REMOTE, (VAULT, 21, 22)),
    "a class that is named after one": (REMOTE, (VAULT, 21, 0)),
    "a builtin's name": (REMOTE, ("builtins.str", 31, 32)),
    "the class str": (REMOTE, ("builtins.str", 31, 0)),
    "the class type": (REMOTE, ("builtins.type", 41, 0)),
    "an object that was never exported": (LOCAL, (VAULT, 51, 52)),
}
"""What a peer may name as the object of a request, though it was not exported to it."""

_text, _none = (VALUE, "__len__"), (VALUE, ())
REQUESTS: dict[int, tuple[Any, ...]] = {
    consts.HANDLE_GETATTR: ((VALUE, "format"),),
    consts.HANDLE_DELATTR: (_text,),
    consts.HANDLE_SETATTR: ((VALUE, "x"), (VALUE, 1)),
    consts.HANDLE_CALL: (_none, _none),
    consts.HANDLE_CALLATTR: (_text, _none, _none),
    consts.HANDLE_REPR: (),
    consts.HANDLE_STR: (),
    consts.HANDLE_CMP: ((VALUE, 1), (VALUE, "__eq__")),
    consts.HANDLE_HASH: (),
    consts.HANDLE_DIR: (),
    consts.HANDLE_PICKLE: ((VALUE, 2),),
    consts.HANDLE_PICKLE_PARTS: (),
    consts.HANDLE_BUFFITER: ((VALUE, 1),),
    consts.HANDLE_OLDSLICING: (
        *((VALUE, "__getitem__"), (VALUE, "__getslice__")),
        *((VALUE, 0), (VALUE, 1), _none),
    ),
    consts.HANDLE_CTXEXIT: ((VALUE, None),),
    consts.HANDLE_INSTANCECHECK: ((VALUE, ("x", 1, 2)),),
    consts.HANDLE_SUBCLASSCHECK: ((VALUE, 1),),
    consts.HANDLE_ITERATE: ((VALUE, 0), (VALUE, 1)),
    consts.HANDLE_CHUNK: ((VALUE, 0), (VALUE, 1), (VALUE, 0)),
    consts.HANDLE_SNAPSHOT: (),
}
"""Requests about an object, and what else they are sent."""

ABOUT_NOTHING = {
    *("PING", "CLOSE", "GETROOT", "DEL", "INSPECT", "HELLO", "CHAIN"),
    *("RELEASE", "REWIND", "CANCEL", "DEADLINE", "HEARTBEAT"),
}
"""Requests that name no object, or name it by its id pack; CHAIN has tests of its own."""


def test_every_request_is_covered() -> None:
    """A new request must get its place in this file, and in the check of the codec."""
    named = {handlers.NAMES[number] for number in REQUESTS}
    assert named | ABOUT_NOTHING == {*handlers.NAMES.values()}
    assert not named & ABOUT_NOTHING
    assert {*REQUESTS} == codec._ON_OBJECTS


@pytest.mark.parametrize("target", TARGETS)
def test_requests_are_about_exported_objects(attacker: Attacker, target: str) -> None:
    """No request takes a value or a proxy of the peer's as its object."""
    label = TARGETS[target][0]
    for number, rest in REQUESTS.items():
        kind, error = attacker.ask(number, TARGETS[target], *rest)
        assert kind == "error", handlers.NAMES[number]
        if label != LOCAL:
            assert "expected a reference to an object" in str(error[1]), handlers.NAMES[number]
    assert not made
    assert attacker.works()


@pytest.mark.parametrize("target", [name for name, box in TARGETS.items() if box[0] == REMOTE])
def test_what_came_back_is_the_peers(attacker: Attacker, target: str) -> None:
    """A proxy that the server returns names the peer's own object: it is not exported."""
    args = (attacker.root(), (VALUE, "same"), (TUPLE, (TARGETS[target],)), _none)
    kind, value = attacker.ask(consts.HANDLE_CALLATTR, *args)
    assert (kind, value[0]) == ("value", LOCAL)
    kind, _ = attacker.ask(consts.HANDLE_GETATTR, (LOCAL, value[1]), (VALUE, "dump"))
    assert kind == "error"
    assert not made


def operand(box: Any) -> Any:
    """Return the box of a step's operand."""
    return (TUPLE, ((VALUE, chain_interpreter.VALUE), box))


def as_steps(target: Any) -> dict[str, Any]:
    """Return the boxes of steps about a target."""
    return {
        "GETATTR": (TUPLE, ((VALUE, chain_interpreter.GETATTR), target, (VALUE, "dump"))),
        "CALL": (TUPLE, ((VALUE, chain_interpreter.CALL), target, _none, _none)),
        "CALLATTR": (TUPLE, ((VALUE, chain_interpreter.CALLATTR), target, _text, _none, _none)),
        "SETATTR": (
            *(TUPLE,),
            ((VALUE, chain_interpreter.SETATTR), target, (VALUE, "x"), operand((VALUE, 1))),
        ),
        "MAP": (
            *(TUPLE,),
            (
                (VALUE, chain_interpreter.MAP),
                target,
                _none,
                (VALUE, (chain_interpreter.STEP, 1, -1)),
            ),
        ),
    }


@pytest.mark.parametrize("target", TARGETS)
def test_steps_are_about_exported_objects(attacker: Attacker, target: str) -> None:
    """No step of a chain takes a value or a proxy of the peer's as its object."""
    for name, step in as_steps(operand(TARGETS[target])).items():
        kind, _ = attacker.ask(consts.HANDLE_CHAIN, (TUPLE, (step,)), (VALUE, (0,)))
        assert kind == "error", name
    assert not made
    assert attacker.works()


@pytest.mark.parametrize("target", [name for name, box in TARGETS.items() if box[0] != LOCAL])
def test_results_of_steps_are_not_the_peers(attacker: Attacker, target: str) -> None:
    """A step about what another one has returned is left to the peer, if that is the peer's."""
    returned = (
        *(TUPLE,),
        (
            *((VALUE, chain_interpreter.CALLATTR), operand(attacker.root()), (VALUE, "same")),
            *((TUPLE, (operand(TARGETS[target]),)), _none),
        ),
    )
    for name, step in as_steps((VALUE, (chain_interpreter.STEP, 0, 0))).items():
        if name == "MAP":
            continue
        kind, value = attacker.ask(consts.HANDLE_CHAIN, (TUPLE, (returned, step)), (VALUE, (1,)))
        assert kind == "value", (name, value)
        outcome = value[1][1]
        outcome = outcome[1] if outcome[0] in (VALUE, TUPLE) and len(outcome) == 2 else outcome
        assert "dump" not in str(outcome), name
        left = (chain_interpreter.LEFT,)
        assert outcome in (left, (VALUE, left), ((VALUE, chain_interpreter.LEFT),)), (name, outcome)
    assert not made


def test_a_label_that_there_is_none_of(attacker: Attacker) -> None:
    """What is no box ends the connection."""
    with pytest.raises(EOFError):
        attacker.ask(consts.HANDLE_GETATTR, (9, 1), (VALUE, "x"))
        attacker.works()


@pytest.mark.parametrize("count", range(3, 9))
def test_the_number_of_arguments_does_not_matter(attacker: Attacker, count: int) -> None:
    """However many arguments a request has, the first one is looked at."""
    extra = [(VALUE, 1)] * count
    for number in REQUESTS:
        kind, error = attacker.ask(number, (VALUE, "x"), *extra)
        assert kind == "error"
        assert "expected a reference to an object" in str(error[1])


@pytest.mark.parametrize("handler", REQUESTS)
def test_arguments_are_a_tuple(attacker: Attacker, handler: int) -> None:
    """Arguments that are one object, or a plain tuple, name no object."""
    for boxed in ((VALUE, ("x", "y")), (REMOTE, (VAULT, 61, 62)), attacker.root(), (VALUE, 5)):
        number = next(attacker._numbers)
        attacker.channel.send(b"\x01" + brine.dump((number, (handler, boxed))))
        answer = attacker.channel.recv()
        while answer[0] == 1:
            asked, _ = brine.load(answer[1:])
            attacker.channel.send(b"\x02" + brine.dump((asked, (VALUE, ()))))
            answer = attacker.channel.recv()
        assert answer[0] == 3
    assert not made


@pytest.mark.parametrize("name", [f"{VaultError.__module__}.VaultError", VAULT, "os.error"])
def test_leaving_a_block_makes_no_exception_of_this_program(attacker: Attacker, name: str) -> None:
    """The class that a peer gives its exception is not looked up and called."""
    Sheltered.left.clear()
    args = (attacker.root(), (VALUE, "block"), _none, _none)
    block = (LOCAL, attacker.ask(consts.HANDLE_CALLATTR, *args)[1][1])
    attacker.ask(consts.HANDLE_CTXEXIT, block, (REMOTE, (name, 71, 72)))
    assert not made
    assert VaultError not in Sheltered.left
    assert Sheltered.left in ([], [RuntimeError])


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize("bound", [False, True])
def test_the_other_dialects(version: int, bound: bool) -> None:
    """In each dialect a request about a value is refused."""
    with port_of("blocking", Service, allow_public_attrs=True) as port:
        channel = Channel(SocketStream.connect("127.0.0.1", port), compress=False)

        def send(number: int, handler: int, boxed: Any) -> Any:
            if version == 6:
                payload = b"\x01" + brine.dump((number, (handler, boxed)))
            else:
                payload = brine.dump((1, number, (handler, boxed)))
            channel.send((struct.pack("!QQ", 77, 0) if bound else b"") + payload)
            answer = channel.recv()
            return answer[16:] if bound else answer

        send(1, consts.HANDLE_GETROOT, (VALUE, ()))
        for handler, rest in REQUESTS.items():
            answer = send(handler + 10, handler, (TUPLE, ((VALUE, "x"), *rest)))
            assert b"expected a reference to an object" in answer
        channel.close()


def test_programs_that_unbox_themselves(pair: Any) -> None:
    """A connection class with its own ``_unbox`` refuses the same."""

    class Own(Connection):
        def _unbox(self, package: Any) -> Any:
            return super()._unbox(package)

    class Owned(Service):
        _protocol = Own

    client, _ = pair(Owned, there_config={"allow_public_attrs": True})
    client.root.add(1, 2)
    for number in (consts.HANDLE_GETATTR, consts.HANDLE_STR, consts.HANDLE_CALL):
        with pytest.raises(TypeError, match="expected a reference to an object"):
            client.sync_request(number, "text", *(("format",) if number == 4 else ()))
    requests: Callable[..., Any] = client.sync_request
    assert requests(consts.HANDLE_CALLATTR, client.root, "add", (1, 2)) == 3
