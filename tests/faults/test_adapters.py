"""Bad input and faults where the peer is Emacs or Erlang; cases of the list, by number."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rpyc_like.errors import ConnectionClosed, ProtocolError
from rpyc_like.lib.timing import Timeout
from tests.support.joining import join

from .adapters import KINDS, Victim

Make = Callable[[], Victim]


@pytest.fixture(params=sorted(KINDS))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes victims. One that has nothing to do with them still works afterwards."""
    kind = KINDS[request.param]
    bystander = kind()
    made: list[Victim] = []

    def another() -> Victim:
        made.append(kind())
        return made[-1]

    yield another
    assert bystander.works()
    for victim in [*made, bystander]:
        victim.close()


@pytest.fixture
def victim(make: Make) -> Victim:
    return make()


@pytest.mark.parametrize("cut", range(1, 9))
def test_case_1_truncated(victim: Victim, cut: int) -> None:
    """Whoever waits is told at once, and the error says that a message ended early."""
    assert victim.works()
    waiting = victim.request()
    victim.receive()
    payload = victim.call(1, "echo", 5)
    victim.raw((victim.head(len(payload)) + payload)[:cut])
    victim.sock.shutdown(socket.SHUT_WR)
    error = victim.ended()
    assert "in the middle" in str(error) or "early" in str(error)
    with pytest.raises(ConnectionClosed):
        waiting.value


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-x\r\n"],
    ids=["http", "tls", "ssh"],
)
def test_case_3_other_protocols(victim: Victim, data: bytes) -> None:
    """They end the conversation at once; nothing waits for a gigabyte."""
    victim.raw(data)
    assert isinstance(victim.ended(), ProtocolError)


def test_case_15_slow_frame(victim: Victim) -> None:
    """A message that has been begun has a deadline."""
    victim.link.receiver.frame_timeout = 0.3
    assert victim.works()
    victim.raw(victim.head(100) + b"(")
    assert "limit is 0.3 (configuration key" in str(victim.ended())


def test_case_16_any_split(victim: Victim) -> None:
    """Bytes that come one by one mean the same."""
    payload = victim.call(3, "echo", 5)
    for byte in victim.head(len(payload)) + payload:
        victim.raw(bytes([byte]))
    assert victim.number_of(victim.receive()) == 3
    payload = victim.call(4, "echo", 6)
    victim.raw((victim.head(len(payload)) + payload) * 50)
    assert [victim.number_of(victim.receive()) for _ in range(50)] == [4] * 50


def test_case_19_answers_that_nobody_waits_for(victim: Victim) -> None:
    """Unknown ones and doubled ones are dropped; the conversation goes on."""
    waiting = victim.request()
    number = victim.number_of(victim.receive())
    victim.send(victim.answer(12345, 1), victim.answer(number, 2), victim.answer(number, 3))
    assert victim.works()
    assert waiting.value == 2


def test_case_20_a_number_twice(victim: Victim) -> None:
    """Numbers belong to the peer: each request gets its own answer, whatever the number."""
    victim.send(victim.call(5, "slow"), victim.call(5, "echo", 8))
    first = victim.receive()
    assert victim.functions.entered.wait(60)
    victim.functions.go_on.set()
    second = victim.receive()
    assert victim.number_of(first) == victim.number_of(second) == 5
    assert first != second


@pytest.mark.parametrize("name", ["unsendable", "evil", "stop", "leave", "nobody"])
def test_cases_22_32_49_51_56_errors_are_answers(victim: Victim, name: str) -> None:
    """Whatever a function does, its caller gets an error, and the conversation goes on."""
    answer = victim.ask(name, number=9)
    lent = name == "unsendable" and "handles" in victim.tells
    assert victim.failed(answer) is not lent
    assert victim.number_of(answer) == 9
    assert victim.works()


def test_case_34_closing(victim: Victim) -> None:
    """Once or twice, from other threads, during a call: it takes no time, and calls fail."""
    waiting = victim.request()
    victim.send(victim.call(1, "slow"))
    assert victim.functions.entered.wait(60)
    began = time.monotonic()
    closers = [threading.Thread(target=victim.peer.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        join(closer)
    with pytest.raises(ConnectionClosed):
        waiting.value
    assert time.monotonic() - began < 25
    victim.functions.go_on.set()
    victim.ended()
    with pytest.raises(ConnectionClosed):
        victim.request()


def test_case_60_many_threads(victim: Victim) -> None:
    """Each gets its own answer, in whatever order they come."""
    got: dict[Any, Any] = {}

    def ask() -> None:
        result = victim.request()
        got[result.id_] = result.value

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    numbers = [victim.number_of(victim.receive()) for _ in threads]
    for place, number in enumerate(reversed(numbers)):
        victim.send(victim.answer(number, place))
    for thread in threads:
        join(thread)
    assert sorted(got.values()) == list(range(20))
    assert set(got) == set(numbers)


def test_cases_65_85_calls_that_time_out(victim: Victim) -> None:
    """They leave nothing behind; late answers are dropped, the next call is answered."""
    for _ in range(200):
        result = victim.request()
        number = victim.number_of(victim.receive())
        victim.link.wait(result, Timeout(0))
        assert "no answer" in str(victim.peer.expire(result))
        victim.send(victim.answer(number, 1))
    assert victim.works()
    assert len(victim.link.session.pending) == 0
    result = victim.request()
    victim.send(victim.answer(victim.number_of(victim.receive()), 4))
    assert result.value == 4


def test_case_69_fork(victim: Victim) -> None:
    """The child's copy is dead and silent."""
    child = os.fork()
    if not child:
        status = 1
        try:
            victim.request()
        except ConnectionClosed:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert victim.works()


def test_case_74_a_peer_that_is_killed(victim: Victim) -> None:
    """Whoever waits is told at once."""
    waiting = victim.request()
    victim.sock.close()
    began = time.monotonic()
    with pytest.raises(ConnectionClosed):
        waiting.value
    assert time.monotonic() - began < 25


def test_case_76_a_peer_that_does_not_read(victim: Victim) -> None:
    """It is given up after a time."""
    victim.link.sender.timeout = 0.5
    numbers = range(200_000, 260_000)
    sender = threading.Thread(
        target=lambda: _until_closed(victim, [victim.call(n, "echo", 5) for n in numbers])
    )
    sender.start()
    assert "taken nothing in" in str(victim.ended(20))
    join(sender)


def _until_closed(victim: Victim, payloads: list[bytes]) -> None:
    try:
        for payload in payloads:
            victim.send(payload)
    except OSError:
        pass
