"""What EPC and Erlang peers name and hold: nothing that was not exported, no import, bounded."""

from __future__ import annotations

import ctypes
import itertools
import sys
import typing
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from rpyc_like.epc.core import EPCDispatcher
from rpyc_like.epc.service import EPCService
from rpyc_like.erlport.service import ErlangService
from rpyc_like.erlport.v1.bridge import only
from rpyc_like.erlport.v1.erlterms import Atom, List
from rpyc_like.erlport.v1.handles import Handle, Handles, Kept
from rpyc_like.errors import LimitExceeded
from rpyc_like.wire.sexp.values import Symbol
from tests.erlport.test_wire import Wire, wired
from tests.faults.adapters import EpcVictim

BUILTIN = b"$rpyc_like"
DENIED = b"rpyc_like.errors.AccessDenied"
UNUSED = "wave"
"""A module of the standard library that no test imports."""


class Counter:
    """An object that a service exports."""

    def __init__(self) -> None:
        self.count = 0
        self.words = "some words"

    def add(self, number: int) -> int:
        self.count += number
        return self.count


class Offered:
    """What a service offers."""

    @staticmethod
    def counter() -> Counter:
        return Counter()

    @staticmethod
    def endless() -> Any:
        return itertools.count()

    @staticmethod
    def words() -> Handle:
        return Handle([1])

    @staticmethod
    def text() -> Handle:
        return Handle("lent")


class Subscripted:
    """Has code that runs when it is subscripted."""

    def __class_getitem__(cls, item: Any) -> Any:
        raise AssertionError("was run")


TEXTS = (ctypes.c_char_p * 2)()


class Odd:
    """What a service should not offer, and may."""

    pointer = staticmethod(lambda: ctypes.pointer(ctypes.c_int(5)))
    texts = staticmethod(lambda: TEXTS)
    proxy = staticmethod(lambda: weakref.proxy(TEXTS))
    alias = staticmethod(lambda: vars(typing)["List"])
    special = staticmethod(lambda: typing.Optional)
    subscripted = staticmethod(lambda: Subscripted)
    numbers = staticmethod(lambda: Handle((ctypes.c_int * 2)(1, 2)))


@pytest.mark.parametrize("name", ["pointer", "texts", "proxy", "alias", "special", "subscripted"])
def test_items_are_the_policys_too(name: str) -> None:
    """No request for items gets round what the policy says of an object."""
    with wired(resolve=only({"odd": Odd})) as wire:
        handle = wire.call(b"odd", name.encode())[2]
        requests = [(b"item", handle, b"x")]
        if name in ("pointer", "texts", "proxy"):
            requests += [(b"item", handle, 0), (b"iterate", handle)]
        for request in requests:
            answer = wire.call(BUILTIN, *request)
            assert answer[0] == b"e"
            assert answer[2][1] == DENIED, request


def test_items_of_numbers_are_given() -> None:
    """An exported array of numbers has items."""
    with wired(resolve=only({"odd": Odd})) as wire:
        handle = wire.call(b"odd", b"numbers")[2]
        assert wire.call(BUILTIN, b"item", handle, 1)[2] == 2
        iterator = wire.call(BUILTIN, b"iterate", handle)[2]
        assert wire.call(BUILTIN, b"next", iterator, 9)[2] == [1, 2]


@pytest.mark.parametrize("name", [b"item", b"text", b"value"])
def test_objects_are_not_named_arguments(wire: Wire, name: bytes) -> None:
    """What a request works on is its first argument, which is looked at."""
    named = (Atom(b"$kwargs"), [(Atom(b"value"), b"x"), (Atom(b"name"), Atom(b"upper"))])
    answer = wire.call(BUILTIN, name, named)
    assert answer[0] == b"e"
    assert b"named arguments" in bytes(answer[2][2])


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired(
        resolve=only({"offered": Offered}), max_held_memory=100_000, max_items=50_000
    ) as made:
        yield made


def test_handles_of_exported_objects_work(wire: Wire) -> None:
    """Their methods are called, their public attributes read."""
    counter = wire.call(b"offered", b"counter")[2]
    assert wire.call(BUILTIN, b"method", counter, Atom(b"add"), [5])[2] == 5
    assert wire.call(BUILTIN, b"getattr", counter, Atom(b"count"))[2] == 5
    text = wire.call(b"offered", b"text")[2]
    assert bytes(wire.call(BUILTIN, b"method", text, Atom(b"upper"), [])[2]) == b"LENT"


@pytest.mark.parametrize(
    ("value", "name", "args"),
    [
        (b"x", b"ljust", [1 << 40]),
        (1, b"to_bytes", [1 << 40, b"big"]),
        ([1, 2], b"to_string", []),
        (Atom(b"a"), b"text", []),
    ],
)
def test_values_of_the_peer_have_no_methods(wire: Wire, value: Any, name: bytes, args: Any) -> None:
    """Neither as they come nor when the peer has them kept: nobody has exported them."""
    kept = wire.call(BUILTIN, b"hold", value)[2]
    for what in (value, kept):
        for request in (
            (b"method", what, Atom(name), args),
            (b"getattr", what, Atom(name)),
            (b"call", what, args),
        ):
            answer = wire.call(BUILTIN, *request)
            assert answer[0] == b"e"
            assert answer[2][1] == DENIED
    assert wire.call(BUILTIN, b"value", kept)[2] == value


def test_iterators_of_the_peers_values_are_its_own(wire: Wire) -> None:
    """They give items and have no methods; those of exported objects are exported."""
    kept = wire.call(BUILTIN, b"iterate", [1, 2, 3])[2]
    assert wire.call(BUILTIN, b"method", kept, Atom(b"index"), [])[2][1] == DENIED
    assert wire.call(BUILTIN, b"next", kept, 5)[2] == [1, 2, 3]


def test_values_that_are_kept_are_counted(wire: Wire) -> None:
    """Up to ``max_held_memory`` bytes; what is released makes room."""
    handles = [wire.call(BUILTIN, b"hold", bytes([n]) * 40_000)[2] for n in range(2)]
    answer = wire.call(BUILTIN, b"hold", bytes(40_000))
    assert answer[0] == b"e"
    assert b"max_held_memory" in bytes(answer[2][2])
    assert wire.call(BUILTIN, b"iterate", list(range(1000, 30_000)))[0] == b"e"
    wire.call(BUILTIN, b"release", handles[0])
    assert wire.call(BUILTIN, b"hold", bytes(40_000))[0] == b"r"


def test_growth_of_exported_objects_is_counted(wire: Wire) -> None:
    """What a peer puts into a list counts as long as the list lives."""
    words = wire.call(b"offered", b"words")[2]
    put = (BUILTIN, b"method", words, Atom(b"append"))
    answers = [wire.call(*put, [bytes([n]) * 20_000]) for n in range(10)]
    assert answers[0][0] == b"r"
    assert answers[-1][0] == b"e"
    assert b"max_held_memory" in bytes(answers[-1][2][2])
    wire.call(BUILTIN, b"release", words)
    others = wire.call(b"offered", b"words")[2]
    put = (BUILTIN, b"method", others, Atom(b"append"))
    assert all(wire.call(*put, [bytes([n]) * 20_000])[0] == b"r" for n in range(3))


@pytest.mark.parametrize("count", [-5, 0, 1.5, b"x", 1 << 70])
def test_counts_are_positive_integers(wire: Wire, count: Any) -> None:
    """A count of references does not grow by being given back."""
    counter = wire.call(b"offered", b"counter")[2]
    answer = wire.call(BUILTIN, b"release", counter, count)
    if count == 1 << 70:
        assert answer[2] == 0
    else:
        assert answer[2][1] == b"builtins.ValueError"
        assert wire.call(BUILTIN, b"held")[2] == 1


def test_items_for_one_request_are_bounded(wire: Wire) -> None:
    """An endless iterator gives as many as ``max_items`` at once."""
    endless = wire.call(b"offered", b"endless")[2]
    answer = wire.call(BUILTIN, b"next", endless, 1 << 62)
    assert answer[2][1].endswith(b"LimitExceeded")
    assert b"max_items" in bytes(answer[2][2])
    assert len(wire.call(BUILTIN, b"next", endless, 50_000)[2]) == 50_000
    assert wire.call(BUILTIN, b"next", endless, -1)[0] == b"e"


def test_nothing_is_imported_by_name(wire: Wire) -> None:
    """A module that is not offered is refused, whether it is imported already or not."""
    for module in (UNUSED, f"offered.{UNUSED}", "os", "rpyc_like.erlport"):
        name = Atom(module.encode())
        for answer in (
            wire.call(module.encode(), b"open", b"x"),
            wire.call(BUILTIN, b"keep", name, Atom(b"open"), []),
        ):
            assert answer[2][1] == DENIED
    assert UNUSED not in sys.modules


def test_exceptions_that_name_classes_make_none(wire: Wire) -> None:
    """An error of the peer's is a CallError, whatever class it names."""
    result = wire.instance.async_call("m", "f", [])
    _, id_, *_ = wire.receive()
    wire.send((Atom(b"e"), id_, (Atom(b"python"), Atom(b"wave.Error"), b"x", [])))
    with pytest.raises(Exception) as caught:
        result.value
    assert type(caught.value).__name__ == "CallError"
    assert UNUSED not in sys.modules


def test_arguments_are_a_list_of_the_peers(wire: Wire) -> None:
    """An exported object that can be iterated over is no list of arguments."""
    counter = wire.call(b"offered", b"counter")[2]
    endless = wire.call(b"offered", b"endless")[2]
    for request in (
        (b"method", counter, Atom(b"add"), endless),
        (b"keep", Atom(b"offered"), Atom(b"counter"), endless),
        (b"keep", b"offered", b"counter", []),
    ):
        answer = wire.call(BUILTIN, *request)
        assert answer[2][1] == b"builtins.TypeError"


def test_numbers_of_cancelled_calls_are_bounded(wire: Wire) -> None:
    """In how many there are, and in their digits."""
    wire.send(*[(Atom(b"X"), n << 100_000) for n in range(1, 5)], (Atom(b"X"), 7))
    assert wire.call(b"offered", b"text")[0] == b"r"
    assert list(wire.instance._cancelled) == [7]


def test_pickles_are_full_control() -> None:
    """A service that loads pickles is one that servers want an authenticator for."""
    assert ErlangService({}, pickled=True).full_control
    assert not ErlangService({}).full_control


def test_what_the_program_exports_is_not_the_peers() -> None:
    """A value that a peer has kept and a program sends as a handle counts as exported."""
    handles = Handles(max_memory=1000)
    value = List([1])
    handles.export(Kept(value, value))
    assert not handles.is_exported(value)
    handles.export(Handle(value))
    assert handles.is_exported(value)
    with pytest.raises(LimitExceeded, match="max_held_memory"):
        handles.export(Kept(bytes(2000), bytes(2000)))
    handles.clear()
    assert len(handles) == 0


def test_an_exported_list_that_contains_itself_is_priced() -> None:
    """A value that holds such a list, which the program has exported, is kept as it is."""
    loop: list[Any] = []
    loop += [loop, loop]
    handles = Handles(max_memory=1000)
    handles.export(Kept(value := List([loop, (loop, loop)]), value))
    assert len(handles) == 1


# -- EPC


@pytest.mark.parametrize("dotted", [False, True])
def test_epc_names_lead_to_offered_methods_only(dotted: bool) -> None:
    """Not to private names, to modules, to what makes instances, or to formatting."""
    dispatcher = EPCDispatcher()
    dispatcher.register_instance(Counter(), dotted)
    assert dispatcher.get_method("add")(1) == 1
    for name in (
        *("__class__", "_x", "add.__func__", "add.__globals__", "words.format", "words.format_map"),
        *(UNUSED, f"{UNUSED}.open", "", ".", "add.", "x" * 100_000),
    ):
        with pytest.raises(AttributeError):
            dispatcher.get_method(name)
    assert UNUSED not in sys.modules


@pytest.mark.parametrize("name", ["(echo)", "[echo]", "5", "'echo", "(" * 3000 + ")" * 3000])
def test_epc_methods_are_named_by_symbols_and_texts(name: str) -> None:
    """Anything else names none, and is answered shortly."""
    victim = EpcVictim()
    victim.send(f"(call 1 {name} (5))\n".encode())
    answer = victim.receive()
    assert answer.startswith(b"(epc-error 1 ")
    assert len(answer) < 300
    victim.send(b'(call 2 "echo" (5))\n')
    assert victim.receive() == b"(return 2 5)\n"
    victim.close()
    assert EPCService().funcs == {}
    assert Symbol("a").value() == "a"
