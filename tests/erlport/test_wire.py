"""The modern wire without Erlang: bad input, and what is answered to it."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rpyc_like.core.stream import SocketStream
from rpyc_like.erlport.errors import CallError
from rpyc_like.erlport.v1 import erlang
from rpyc_like.erlport.v1.bridge import Instance, only
from rpyc_like.erlport.v1.erlterms import (
    Atom,
    List,
    Map,
    MutationError,
    OpaqueObject,
    decode,
    encode,
)
from rpyc_like.erlport.v1.handles import Handles
from rpyc_like.errors import AccessDenied, LimitExceeded
from tests.support.joining import join
from tests.support.peers import OURS, environment
from tests.support.sockets import receive_exactly

A = Atom


class Wire:
    """An instance over a socket pair; the test is Erlang."""

    def __init__(self, **options: Any) -> None:
        here, there = socket.socketpair()
        here.settimeout(60)
        self.sock = here
        self.instance = Instance(SocketStream(there), **options)
        self.thread = threading.Thread(target=self.instance.serve, daemon=True)
        self.thread.start()

    def raw(self, *payloads: bytes) -> None:
        self.sock.sendall(b"".join(struct.pack(">I", len(one)) + one for one in payloads))

    def send(self, *terms: Any) -> None:
        self.raw(*map(encode, terms))

    def receive(self) -> Any:
        (size,) = struct.unpack(">I", receive_exactly(self.sock, 4))
        return decode(receive_exactly(self.sock, size))[0]

    def call(self, module: bytes, function: bytes, *args: Any) -> Any:
        self.send((A(b"C"), 1, A(module), A(function), list(args)))
        return self.receive()

    def close(self) -> None:
        self.sock.close()
        join(self.thread)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


@contextlib.contextmanager
def wired(**options: Any) -> Iterator[Wire]:
    made = Wire(**options)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x83",
        b"\x82a\1",
        b"\x83\xff",
        b"\x83l\xff\xff\xff\xff",
        b"\x83P\xff\xff\xff\xffxxxx",
        encode(1),
        encode([A(b"C"), 1]),
        encode(()),
        encode((A(b"C"),)),
        encode((A(b"Q"), 1)),
        encode((A(b"r"), 1)),
        encode((A(b"r"), A(b"x"), 1)),
        encode((1, 2, 3)),
        b"\x83t\0\0\0\2a\1a\1a\1a\2",
    ],
    ids=repr,
)
def test_what_is_no_message_ends_the_conversation(payload: bytes) -> None:
    """After what came before was answered; the error says what is wrong."""
    with wired() as wire:
        wire.send((A(b"C"), 1, A(b"math"), A(b"sqrt"), [4.0]))
        assert wire.receive() == (A(b"r"), 1, 2.0)
        wire.raw(payload)
        with pytest.raises(EOFError):
            wire.receive()
        join(wire.thread)
        assert wire.instance.failure is not None


@pytest.mark.parametrize(
    "message",
    [
        (A(b"C"), 1),
        (A(b"C"), 1, 2, 3, 4),
        (A(b"C"), 1, A(b"m"), A(b"f"), A(b"x")),
        (A(b"C"), 1, b"math", A(b"sqrt"), [4.0]),
        (A(b"C"), 1, A(b"math"), A(b"sqrt"), [4.0], A(b"N"), 1),
    ],
    ids=repr,
)
def test_calls_of_the_wrong_shape_are_answered(message: Any, wire: Wire) -> None:
    wire.send(message)
    kind, number, (language, name, _, _) = wire.receive()
    assert (kind, number, language) == (b"e", 1, b"python")
    assert name == b"rpyc_like.erlport.errors.InvalidMessage"
    assert wire.call(b"math", b"sqrt", 4.0) == (b"r", 1, 2.0)


def test_numbers_are_echoed(wire: Wire) -> None:
    """Whatever they are."""
    for number in (2**128, A(b"x"), (1, 2), [1]):
        wire.send((A(b"C"), number, A(b"math"), A(b"sqrt"), [4.0]))
        assert wire.receive() == (b"r", number, 2.0)


def test_answers_that_nobody_asked_for(wire: Wire) -> None:
    wire.send(*[(A(b"r"), number, 1) for number in range(1000)])
    assert wire.call(b"math", b"sqrt", 4.0) == (b"r", 1, 2.0)
    wire.send((A(b"e"), 5, 1))
    with pytest.raises(EOFError):
        wire.receive()


def test_frames_that_are_too_long() -> None:
    with wired(max_frame_size=1000) as wire:
        wire.sock.sendall(struct.pack(">I", 1001))
        with pytest.raises(EOFError):
            wire.receive()
        join(wire.thread)
        assert isinstance(wire.instance.failure, LimitExceeded)


def test_the_end_in_the_middle_of_a_frame(wire: Wire) -> None:
    wire.sock.sendall(b"\0\0\0\x10abc")
    wire.close()
    assert wire.instance.failure is None


def test_errors_of_any_shape(wire: Wire) -> None:
    for error in (A(b"reason"), (1, 2), (A(b"erlang"), A(b"error"), A(b"badarg"), [])):
        result = wire.instance.async_call("m", "f", [])
        _, number, *_ = wire.receive()
        wire.send((A(b"e"), number, error))
        with pytest.raises(CallError) as caught:
            result.value
        assert caught.value.args == (error,)
    assert caught.value.value == b"badarg"


def test_arguments_that_cannot_be_sent(wire: Wire) -> None:
    """Nothing leaves, and nothing waits."""
    for args, error in (([float("nan")], ValueError), ((), TypeError)):
        with pytest.raises(error):
            wire.instance.call("m", "f", args)
    assert len(wire.instance.peer.session.pending) == 0
    assert wire.call(b"math", b"sqrt", 4.0) == (b"r", 1, 2.0)


def test_only_what_is_registered() -> None:
    resolve = only({"list": [], "text": "abc"})
    assert resolve("text", "upper")() == "ABC"
    denied = [("os", "system"), ("text", "__class__"), ("text", "upper.__self__")]
    for module, function in [*denied, ("text", "format"), ("logging", "os.getcwd")]:
        with pytest.raises(AccessDenied):
            only({"list": [], "text": "abc", "logging": logging})(module, function)


def test_services_give_no_more_than_they_offer() -> None:
    """Not by way of the objects that they return."""

    class Offered:
        @staticmethod
        def generate() -> Any:
            yield 1

    with wired(resolve=only({"offered": Offered})) as wire:
        handle = wire.call(b"offered", b"generate")[2]
        for name in (b"gi_frame", b"gi_frame.f_builtins", b"gi_code", b"__class__"):
            answer = wire.call(b"$rpyc_like", b"getattr", handle, A(name))
            assert answer[2][1] == b"rpyc_like.errors.AccessDenied", answer
        answer = wire.call(b"$rpyc_like", b"setattr", handle, A(b"x"), 1)
        assert answer[2][1] == b"rpyc_like.errors.AccessDenied"
        answer = wire.call(b"$rpyc_like", b"keep", A(b"os"), A(b"getcwd"), [])
        assert answer[2][1] == b"rpyc_like.errors.AccessDenied"
        text = wire.call(b"$rpyc_like", b"hold", b"x")[2]
        assert wire.call(b"$rpyc_like", b"value", text)[2] == b"x"
        assert wire.call(b"$rpyc_like", b"next", handle, 5)[2] == [1]


def test_exits_in_other_threads_are_errors() -> None:
    """In the main thread ``sys.exit`` ends the program; elsewhere it is told to the caller."""
    with wired() as wire:
        answer = wire.call(b"sys", b"exit", 3)
        assert answer[2][:2] == (b"python", b"builtins.SystemExit")


def test_functions_outside_of_erlang() -> None:
    with pytest.raises(RuntimeError, match="not started by Erlang"):
        erlang.call("m", "f", [])
    for set_ in (erlang.set_encoder, erlang.set_decoder, erlang.set_message_handler):
        with pytest.raises(ValueError, match="expected a function"):
            set_(1)  # type: ignore[arg-type]


def test_cancelled_calls_are_not_answered() -> None:
    with wired(threads=2) as wire:
        wire.send((A(b"C"), 1, A(b"time"), A(b"sleep"), [0.3]))
        wire.send((A(b"C"), 2, A(b"math"), A(b"sqrt"), [4.0]))
        assert wire.receive() == (b"r", 2, 2.0)
        wire.send((A(b"X"), 1), (A(b"X"), 99))
        wire.send((A(b"C"), 3, A(b"time"), A(b"sleep"), [0.6]))
        assert wire.receive() == (b"r", 3, None)
        assert list(wire.instance._cancelled) == [99]
        wire.send(*[(A(b"X"), number) for number in range(100, 2000)])
        assert wire.call(b"math", b"sqrt", 4.0) == (b"r", 1, 2.0)
        assert len(wire.instance._cancelled) == 1000


class TestProgram:
    """``python -m rpyc_like.erlport``, without Erlang."""

    @staticmethod
    def run(data: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "rpyc_like.erlport", *options]
        return subprocess.run(
            command,
            input=data,
            env=environment(OURS),
            capture_output=True,
            timeout=200,
            check=False,
        )

    @staticmethod
    def frame(term: Any) -> bytes:
        payload = encode(term)
        return struct.pack(">I", len(payload)) + payload

    def test_the_end(self) -> None:
        done = self.run(self.frame((A(b"C"), 1, A(b"math"), A(b"sqrt"), [4.0])))
        assert (done.returncode, done.stderr) == (0, b"")
        assert decode(done.stdout[4:])[0] == (b"r", 1, 2.0)

    def test_what_is_no_message(self) -> None:
        done = self.run(b"GET / HTTP/1.1\r\n\r\n")
        assert done.returncode == 1
        assert done.stdout == b""
        assert b"looks like HTTP" in done.stderr
        done = self.run(self.frame((A(b"C"), 1, A(b"math"), A(b"sqrt"), [4.0])) + self.frame(5))
        assert done.returncode == 1
        assert decode(done.stdout[4:])[0] == (b"r", 1, 2.0)
        assert b"expected a tuple, got 5" in done.stderr

    def test_options(self) -> None:
        assert self.run(b"", "-V").stdout.startswith(b"Python 3.")
        assert self.run(b"", "--packet=3").returncode == 2
        folder = self.run(b"", "--path").stdout.decode().strip()
        assert (Path(folder) / "rpyc_like.erl").is_file()


class TestHandles:
    def test_counts(self) -> None:
        handles, thing = Handles(), object()
        name = handles.export(thing)
        assert handles.export(thing) == name
        assert handles.find(name) is thing
        assert handles.release(thing) == 1
        assert handles.release(thing) == 0
        with pytest.raises(LookupError):
            handles.find(name)
        assert handles.release(thing) == 0

    def test_are_gone_with_the_connection(self) -> None:
        with wired() as wire:
            kind, _, value = wire.call(b"builtins", b"object")
            assert kind == b"r"
            assert type(value) is OpaqueObject
            assert value.language == b"python"
            assert len(wire.instance.handles) == 1
        assert len(wire.instance.handles) == 0

    def test_are_limited(self) -> None:
        handles = Handles(limit=2)
        things = [object() for _ in range(3)]
        handles.export(things[0])
        handles.export(things[1])
        with pytest.raises(LimitExceeded, match="max_handles"):
            handles.export(things[2])

    def test_cannot_be_guessed(self) -> None:
        one, other = Handles(), Handles()
        with pytest.raises(LookupError):
            other.find(one.export(object()))

    def test_pickles_only_if_asked_for(self) -> None:
        pickle = b"cos\ngetcwd\n(tR."
        with pytest.raises(LookupError):
            Handles().find(pickle)
        with wired(pickled=True) as wire:
            value = wire.call(b"builtins", b"set", [1])[2]
            assert wire.call(b"builtins", b"len", value) == (b"r", 1, 1)
            broken = OpaqueObject(b"no pickle", A(b"python"))
            assert wire.call(b"builtins", b"str", broken)[0] == b"r"


class TestTerms:
    def test_atoms(self) -> None:
        assert Atom(b"x") is Atom("x")
        assert Atom(b"x") == b"x"
        assert {b"x": 1}[Atom(b"x")] == 1
        assert repr(Atom(b"x")) == "Atom(b'x')"
        assert Atom(b"\xe9") is Atom("é")
        assert Atom(b"\xe9").text == "é"
        wide, narrow = Atom("Ł"), Atom(b"\xc5\x81")
        assert encode(wide) != encode(narrow)
        assert decode(encode([wide, narrow]))[0] == [wide, narrow]
        for wrong, error in ((b"x" * 256, ValueError), (1, TypeError)):
            with pytest.raises(error):
                Atom(wrong)  # type: ignore[arg-type]

    def test_lists(self) -> None:
        found, _ = decode(encode([1, [2]]))
        assert type(found) is List
        assert type(found[1]) is List
        assert {found: 1}[List([1, List([2])])] == 1
        assert List(b"abc").to_string() == "abc"
        with pytest.raises(TypeError):
            List([b"x"]).to_string()
        for change in ("append", "extend", "remove", "insert", "sort", "clear", "reverse", "pop"):
            with pytest.raises(MutationError):
                getattr(found, change)()
        with pytest.raises(MutationError):
            found[0] = 1

    def test_maps(self) -> None:
        table, _ = decode(encode(Map([(A(b"x"), 1), (b"x", 2), (1, 3), (True, 4), ([], 5)])))
        assert [table[key] for key in (A(b"x"), b"x", 1, True, [])] == [1, 2, 3, 4, 5]
        only_atom, _ = decode(encode({A(b"x"): 1}))
        assert only_atom[b"x"] == 1
        assert only_atom == {A(b"x"): 1}
        with pytest.raises(ValueError, match="the same key"):
            encode({None: 1, A(b"undefined"): 2})

    def test_opaque(self) -> None:
        wrapped = (A(b"$erlport.opaque"), A(b"erlang"), b"a\5")
        found, _ = decode(encode(wrapped))
        assert found == OpaqueObject(b"a\5", A(b"erlang"))
        assert encode([found]) == encode([5]).replace(b"k\0\1\5", b"l\0\0\0\1a\5j")
        assert hash(found) == hash(OpaqueObject(b"a\5", A(b"erlang")))
        with pytest.raises(TypeError):
            OpaqueObject("a", A(b"erlang"))  # type: ignore[arg-type]
