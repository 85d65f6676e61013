"""Ports without Erlang: what goes over the descriptors."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rpyc_like.erlport import Atom, IncompleteData, Port, Protocol, decode, encode
from rpyc_like.erlport.v1 import erlproto
from rpyc_like.errors import LimitExceeded, LocalProtocolError
from tests.support.joining import join


class Pipes:
    """Two pipes: a port's, and what a test has in hand.

    Args:
        packet: size of the length before each term.
    """

    def __init__(self, packet: int = 4) -> None:
        self.packet = packet
        self.inner_in, self.outer_out = os.pipe()
        self.outer_in, self.inner_out = os.pipe()
        self.port: Any = None

    def open(self, kind: Any = Port, **options: Any) -> Any:
        descriptors = (self.inner_in, self.inner_out)
        self.port = kind(packet=self.packet, descriptors=descriptors, **options)
        return self.port

    def send(self, *terms: Any) -> None:
        self.raw(*map(encode, terms))

    def raw(self, *payloads: bytes) -> None:
        frames = [len(one).to_bytes(self.packet, "big") + one for one in payloads]
        os.write(self.outer_out, b"".join(frames))

    def receive(self) -> Any:
        head = os.read(self.outer_in, self.packet)
        size, payload = int.from_bytes(head, "big"), b""
        while len(payload) < size:
            payload += os.read(self.outer_in, size - len(payload))
        return decode(payload)[0]

    def hang_up(self) -> None:
        if self.outer_out >= 0:
            os.close(self.outer_out)
            self.outer_out = -1

    def close(self) -> None:
        self.hang_up()
        os.close(self.outer_in)
        if self.port is not None:
            self.port.close()


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


def test_read_and_write(pipes: Pipes) -> None:
    port = pipes.open()
    pipes.send(Atom("one"), [2, Atom("x")], None)
    assert [port.read() for _ in range(3)] == ["one", [2, "x"], None]
    assert port.write((1, 2)) is None
    assert pipes.receive() == (1, 2)
    assert (port.packet, port.compressed) == (4, False)
    assert (port.in_d, port.out_d) == (pipes.inner_in, pipes.inner_out)


def test_read_keeps_what_follows(pipes: Pipes) -> None:
    """A frame that comes in pieces, the next one right behind it."""
    port = pipes.open()
    payload = encode(b"x" * 50_000)
    frames = (struct.pack(">I", len(payload)) + payload) * 3

    def send() -> None:
        for start in range(0, len(frames), 7_777):
            os.write(pipes.outer_out, frames[start : start + 7_777])
            time.sleep(0.001)

    thread = threading.Thread(target=send)
    thread.start()
    assert [port.read() for _ in range(3)] == [b"x" * 50_000] * 3
    thread.join()


@pytest.mark.parametrize("kind", [Port, erlproto.Port])
def test_the_end(kind: Any, pipes: Pipes) -> None:
    port = pipes.open(kind)
    pipes.send(1)
    assert port.read() == 1
    os.write(pipes.outer_out, b"\0\0\0\5\x83")  # the other side goes in the middle of a frame
    pipes.hang_up()
    with pytest.raises(EOFError):
        port.read()


@pytest.mark.parametrize("kind", [Port, erlproto.Port])
def test_what_is_no_term(kind: Any, pipes: Pipes) -> None:
    port = pipes.open(kind)
    pipes.raw(b"", b"\x83l\0\0\0\1", b"\x83\xff", encode(1) + b"junk")
    for _ in range(2):
        with pytest.raises(IncompleteData):
            port.read()
    with pytest.raises(ValueError, match="unsupported data tag: 255"):
        port.read()
    assert port.read() == 1


@pytest.mark.parametrize("kind", [Port, erlproto.Port])
def test_too_long(kind: Any) -> None:
    pipes = Pipes(packet=2)
    port = pipes.open(kind, max_frame_size=1000)
    with pytest.raises(LocalProtocolError, match="packet 2 carries 65535"):
        port.write(b"x" * 65536)
    port.write(1)
    assert pipes.receive() == 1
    pipes.raw(b"\x83m" + struct.pack(">I", 2000) + b"x" * 2000)
    with pytest.raises(LimitExceeded, match="max_frame_size"):
        port.read()
    pipes.close()


def test_wrong_arguments() -> None:
    for kind in (Port, erlproto.Port):
        with pytest.raises(ValueError, match="invalid packet size value: 3"):
            kind(packet=3, descriptors=(0, 1))
    with pytest.raises(ValueError, match="invalid buffer size value: 0"):
        erlproto.Port(buffer_size=0)


def test_compressed(pipes: Pipes) -> None:
    port = pipes.open(compressed=True)
    port.write(b"x" * 1000)
    os.read(pipes.outer_in, 4)
    assert os.read(pipes.outer_in, 1000)[:2] == b"\x83P"


def test_written_length(pipes: Pipes) -> None:
    assert pipes.open(erlproto.Port).write(1) == 7


def test_handle_may_be_overridden(pipes: Pipes) -> None:
    """A protocol of a program's own: no reply, or many."""

    class Collector(Protocol):
        def __init__(self) -> None:
            self.found: list[Any] = []

        def handle(self, port: Port, message: Any) -> None:
            if message == "done":
                for one in self.found:
                    port.write(one)
            else:
                self.found.append(message)

    collector = Collector()
    thread = threading.Thread(target=collector.run, args=[pipes.open()])
    thread.start()
    pipes.send(1, 2, 3, Atom("done"))
    assert [pipes.receive() for _ in range(3)] == [1, 2, 3]
    pipes.hang_up()
    join(thread)


def test_handle_may_be_called(pipes: Pipes) -> None:
    class Echo(Protocol):
        def handle_echo(self, value: Any) -> Any:
            return value

    Echo().handle(pipes.open(), (Atom("echo"), 1))
    assert pipes.receive() == 1


def test_what_handle_raises_ends_the_program(pipes: Pipes) -> None:
    class Broken(Protocol):
        def handle(self, port: Port, message: Any) -> None:
            raise ZeroDivisionError

    pipes.send(1)
    with pytest.raises(ZeroDivisionError):
        Broken().run(pipes.open())


def test_none_by_choice(pipes: Pipes) -> None:
    class Silent(Protocol):
        none_is_reply = False

        def handle_nothing(self) -> None:
            return None

        def handle_echo(self, value: Any) -> Any:
            return value

    port = pipes.open()
    for message in ((Atom("nothing"),), (Atom("echo"), 1)):
        Silent().handle(port, message)
    assert pipes.receive() == 1


def test_answers_go_out_while_a_slow_request_is_served(pipes: Pipes) -> None:
    started, gate = threading.Event(), threading.Event()

    class Slow(Protocol):
        def handle_quick(self) -> Any:
            return Atom("quick")

        def handle_slow(self) -> Any:
            started.set()
            gate.wait(60)
            return Atom("slow")

    thread = threading.Thread(target=Slow().run, args=[pipes.open()])
    pipes.send(Atom("quick"), Atom("quick"), Atom("slow"), Atom("quick"))
    thread.start()
    assert started.wait(60)
    assert [pipes.receive() for _ in range(2)] == ["quick", "quick"]
    gate.set()
    assert [pipes.receive() for _ in range(2)] == ["slow", "quick"]
    pipes.hang_up()
    join(thread)


def test_requests_from_other_threads(pipes: Pipes) -> None:
    """While one thread serves, others ask; requests stay in the serving thread."""
    port = pipes.open()
    threads: set[int] = set()

    class Echo(Protocol):
        def handle_echo(self, value: Any) -> Any:
            threads.add(threading.get_ident())
            return value

    serving = threading.Thread(target=Echo().run, args=[port])
    serving.start()
    answers: list[Any] = []
    asking = [
        threading.Thread(target=lambda: answers.append(port.call("m", "f", [], timeout=5)))
        for _ in range(5)
    ]
    for thread in asking:
        thread.start()
    pipes.send(*[(Atom("echo"), number) for number in range(5)])
    got = [pipes.receive() for _ in range(10)]
    assert [one for one in got if type(one) is int] == [0, 1, 2, 3, 4]
    ids = [one[1] for one in got if type(one) is tuple]
    pipes.send(*[(Atom("r"), id_, id_ * 10) for id_ in reversed(ids)])
    for thread in asking:
        join(thread)
    assert sorted(answers) == [id_ * 10 for id_ in sorted(ids)]
    assert threads == {serving.ident}
    pipes.hang_up()
    join(serving)


def test_late_answers_are_no_requests(pipes: Pipes) -> None:
    class Recorder(Protocol):
        def handle(self, port: Port, message: Any) -> None:
            port.write((Atom("got"), message))

    port = pipes.open()
    serving = threading.Thread(target=Recorder().run, args=[port])
    serving.start()
    with pytest.raises(TimeoutError):
        port.call("m", "f", [], timeout=0.05)
    assert pipes.receive()[0] == "C"
    pipes.send((Atom("r"), 0, Atom("late")), (Atom("r"), 0, Atom("again")))
    assert pipes.receive() == ("got", ("r", 0, "again"))
    pipes.hang_up()
    join(serving)


def test_the_end_fails_what_waits(pipes: Pipes) -> None:
    port = pipes.open()
    result = port.async_call("m", "f", [])
    pipes.hang_up()
    with pytest.raises(EOFError):
        result.value
