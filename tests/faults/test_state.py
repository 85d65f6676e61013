"""The protocol's state: cases 19 to 35 of the list of faults."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.errors import (
    ConnectionClosed,
    LimitExceeded,
    LocalProtocolError,
    MalformedValue,
    ProtocolError,
)
from rpyc_like.lib import object_ids
from rpyc_like.link.channel import Channel
from rpyc_like.link.housekeeping import housekeeper
from rpyc_like.link.streams import MemoryStream
from tests.support.eventually import eventually
from tests.support.joining import join

from .conftest import Subject, Thing, closed_by
from .test_waits import seconds_to_end


def reply(number: int, boxed: Any) -> bytes:
    return b"\x02" + brine.dump((number, boxed))


class Peer:
    """A connection of ours whose other side is played by the test."""

    def __init__(self, **config: Any) -> None:
        here, there = MemoryStream.create_pair()
        self.conn = rpyc.connect_channel(Channel(here), config=config)
        self.channel = Channel(there, compress=False)

    def sent(self) -> Any:
        """Returns the next message of the connection."""
        return brine.load(self.channel.recv()[1:])

    def ask(self) -> Any:
        """Has the connection send a request; returns its result and its number."""
        result = self.conn.async_request(1, "x")
        number, request = self.sent()
        while request[0] != 1:
            number, request = self.sent()
        return result, number


@pytest.fixture
def peer() -> Any:
    made: list[Peer] = []

    def make(**config: Any) -> Peer:
        made.append(Peer(**config))
        return made[-1]

    yield make
    for one in made:
        one.conn._link.lose(None)


def test_case_19_unknown_and_double_answers(peer: Any) -> None:
    """Answers that nobody waits for are dropped and counted, up to a limit."""
    one = peer(max_unknown_answers=3)
    result, number = one.ask()
    one.channel.send(reply(number, (1, "first")))
    one.channel.send(reply(number, (1, "second")))
    one.channel.send(reply(123456, (1, "never asked")))
    assert result.value == "first"
    one.conn.poll_all(0.05)
    assert one.conn._session.pending.unknown == 2
    result, number = one.ask()
    for _ in range(2):
        one.channel.send(reply(123456, (1, "never asked")))
    with pytest.raises(ConnectionClosed) as caught:
        _ = result.value
    error = closed_by(caught.value)
    assert isinstance(error, LimitExceeded)
    assert error.key == "max_unknown_answers"


def test_case_19_late_answers_are_expected(peer: Any) -> None:
    """An answer to a request that was given up is neither unknown nor counted."""
    one = peer()
    result, number = one.ask()
    result.set_expiry(0)
    with pytest.raises(TimeoutError):
        result.wait()
    one.channel.send(reply(number, (1, "late")))
    one.conn.poll_all(0.05)
    assert one.conn._session.pending.unknown == 0
    assert not one.conn.closed


def test_case_20_reused_number(attack: Any) -> None:
    """A second request under the number of one that is not answered closes."""
    one = attack()
    assert one.works()
    nested = (4, ("m.f", 1, 2))
    call = (2, ((3, one.root()), (1, "call"), (2, (nested,)), (1, ())))
    one.request(8, call, number=77)
    asked = None
    while asked != consts.HANDLE_INSPECT:  # the victim asks what m.f is, and waits
        payload = one.channel.recv()
        asked = brine.load(payload[1:])[1][0] if payload[0] == 1 else None
    one.request(1, (1, ("x",)), number=77)
    error = one.ended()
    assert isinstance(error, MalformedValue)
    assert "77 a second time" in str(error)


def test_case_20_a_number_may_come_again_after_its_answer(attack: Any) -> None:
    """Numbers are free again when they have been answered."""
    one = attack()
    for _ in range(2):
        one.request(1, (1, ("x",)), number=5)
        assert brine.load(one.channel.recv()[1:]) == (5, (1, "x"))


@pytest.mark.parametrize("kind", [0, 4, 9, 255])
def test_case_21_message_type(attack: Any, kind: int) -> None:
    """A message of no known type closes."""
    one = attack()
    assert one.works()
    one.send(bytes((kind,)) + brine.dump((0, (1, (1, ("x",))))))
    assert isinstance(one.ended(), MalformedValue)


@pytest.mark.parametrize("handler", [0, 77, -1, 10**30, "GETATTR", None, slice(1), (1, 2), 1.5])
def test_case_22_unknown_request(attack: Any, handler: Any) -> None:
    """A request that does not exist is answered with an error."""
    one = attack()
    kind, error = one.ask(handler, (1, ()))
    assert kind == "error"
    assert error[0] == ("builtins", "KeyError")
    assert "no request handler" in error[1][0]
    assert one.works()


BAD_ARGUMENTS = [
    (4, (1, ())),
    (4, (2, ())),
    (4, (1, (5, "real"))),
    (4, (2, ((1, 5), (1, "real")))),
    (4, (1, 5)),
    (4, (1, "ab")),
    (8, (2, ((4, ("m.f", 1, 2)), (1, "x"), (1, ()), (1, ())))),
    (7, (1, (1, 2, 3, 4, 5))),
    (16, (1, ("x",))),
    (16, (1, (("x", 1, 2), 3))),
    (17, (1, ())),
    (20, (1, ())),
    (100, (1, ("no features",))),
    (102, (1, (1, 2))),
]


@pytest.mark.parametrize(("handler", "boxed"), BAD_ARGUMENTS)
def test_case_23_bad_arguments(attack: Any, handler: int, boxed: Any) -> None:
    """Arguments of a wrong number or type are an error to who sent them."""
    one = attack()
    assert one.ask(handler, boxed)[0] == "error"
    assert one.works()


@pytest.mark.parametrize("handler", [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 102])
def test_case_23_requests_are_about_lent_objects(attack: Any, handler: int) -> None:
    """What came with the request is nothing to ask about: a peer cannot have it computed with."""
    one = attack()
    started = time.process_time()
    rest = ((1, "__pow__"), (1, (10**7,)), (1, ()))
    kind, error = one.ask(handler, (2, ((1, 10), *rest)))
    assert (kind, error[0]) == ("error", ("builtins", "TypeError"))
    assert "reference to an object of this side" in error[1][0]
    assert time.process_time() - started < 0.5
    assert one.works()


def test_case_24_forged_reference(attack: Any) -> None:
    """An id that was never given out is refused, and nothing is told."""
    one = attack()
    kind, error = one.ask(4, (2, ((3, ("x.Y", 12345, 67890)), (1, "add"))))
    assert kind == "error"
    assert error[:2] == (("builtins", "KeyError"), ("stale or foreign reference",))
    assert "File" not in error[3]
    assert "0x" not in str(error)
    assert one.works()


def test_case_25_object_of_another_connection(attack: Any) -> None:
    """What was lent to another peer is not lent to this one."""
    one, two = attack(), attack()
    stolen = one.make()
    assert one.ask(8, (2, ((3, stolen), (1, "__len__"), (1, ()), (1, ())))) == ("value", (1, 3))
    kind, error = two.ask(8, (2, ((3, stolen), (1, "__len__"), (1, ()), (1, ()))))
    assert (kind, error[1]) == ("error", ("stale or foreign reference",))
    assert two.works()


@pytest.mark.parametrize("count", [0, -1, -(10**6), 2, 10**9])
def test_case_26_wrong_counts(attack: Any, count: int) -> None:
    """Too much given back by an RPyC peer is clamped; nothing is pinned, nothing else is lost."""
    one = attack()
    mine, other = one.make(), one.make()
    one.ask(consts.HANDLE_DEL, (2, ((3, mine), (1, count))))
    one.ask(consts.HANDLE_DEL, (2, ((3, mine), (1, 1))))
    table = one.victim._local_objects
    assert mine not in table
    assert table.count(other) == 1
    assert one.works()


@pytest.mark.parametrize("count", [0, -1, 2, 10**9])
def test_case_26_wrong_counts_of_ours(attack: Any, count: int) -> None:
    """One of ours never gives back too much: whoever does is cut off."""
    one = attack()
    assert one.ask(consts.HANDLE_HELLO, (1, (2,)))[0] == "value"
    mine = one.make()
    one.ask(consts.HANDLE_PING, (1, ("x",)))
    one.request(consts.HANDLE_DEL, (2, ((3, mine), (1, count))))
    error = one.ended()
    assert isinstance(error, ProtocolError)
    assert "does not hold" in str(error)


def test_case_26_references_come_back_before_the_answer_to_hello(attack: Any) -> None:
    """A peer that has read HELLO may use the features in it before another thread answers."""
    one = attack()
    mine = one.make()
    one.victim.async_request(consts.HANDLE_PING, "x")
    greeting = brine.load(one.channel.recv()[1:])
    assert greeting[1][0] == consts.HANDLE_HELLO
    number = one.request(consts.HANDLE_RELEASE, (1, (((mine, 1),),)))
    assert one.works()
    assert mine not in one.victim._local_objects
    assert number not in one.victim._codec.serving


@pytest.mark.parametrize(
    "said",
    [
        *(lambda one, number=number: one.request(111, (1, (number,))) for number in (0, 1 << 62)),
        lambda one: one.request(111, (1, (1 << 4000,))),
        lambda one: one.ask(100, (2, ((1, 1 << 4000),))),
        lambda one: one.ask(100, (2, ((1, 1 << 90),))),
        lambda one: one.ask(100, (2, ((1, -1),))),
    ],
)
def test_signs_of_life_at_any_interval(attack: Any, said: Any) -> None:
    """What a peer says about its signs of life reaches no other connection's."""
    one = attack()
    one.ask(100, (2, ((1, 1024),)))
    try:
        said(one)
        one.works()
    except EOFError:
        assert isinstance(one.ended(), ProtocolError)
    time.sleep(0.2)
    thread = housekeeper._thread.made
    assert thread is None or thread.is_alive()
    heart = one.victim._link.heart
    assert heart is None or 0.05 <= heart.interval <= 3600


def test_case_27_the_root_stays(attack: Any) -> None:
    """The root cannot be given back."""
    one = attack()
    root = one.root()
    for count in (1, 10, 10**6):
        one.ask(consts.HANDLE_DEL, (2, ((3, root), (1, count))))
    assert one.ask(8, (2, ((3, root), (1, "add"), (1, (1, 2)), (1, ())))) == ("value", (1, 3))


def test_case_28_give_back_crosses_a_second_sending(attack: Any) -> None:
    """What was sent again meanwhile survives the return of the earlier reference."""
    one = attack()
    first = one.call("same")[1][1]
    again = one.call("same")[1][1]  # as if it had been on its way
    assert first == again
    one.ask(consts.HANDLE_DEL, (2, ((3, first), (1, 1))))
    assert one.ask(8, (2, ((3, first), (1, "__len__"), (1, ()), (1, ()))))[1] == (1, 3)
    one.ask(consts.HANDLE_DEL, (2, ((3, first), (1, 1))))
    assert first not in one.victim._local_objects


def test_case_29_ids_are_not_addresses_and_not_reused(attack: Any) -> None:
    """An id is used once, says nothing about memory, and a late request for it finds nothing."""
    one = attack()
    seen = set()
    for _ in range(50):
        pack = one.make()
        assert pack not in seen
        seen.add(pack)
        one.ask(consts.HANDLE_DEL, (2, ((3, pack), (1, 1))))
        assert one.ask(12, (2, ((3, pack),)))[0] == "error"
    _, cls, instance = one.call("same")[1][1]
    assert id(one.victim._local_root.thing) not in (cls, instance)
    assert id(Thing) not in (cls, instance)
    assert object_ids.class_id(Thing) in {cls for _, cls, _ in seen}


BAD_PACKS = [(), ("x",), ("x", 1), ("x", 1, 2, 3), (5, 1, 2), ("x", "1", 2), ("x", 1, None), "x", 5]


@pytest.mark.parametrize("label", [3, 4])
@pytest.mark.parametrize("pack", BAD_PACKS)
def test_case_30_malformed_id_pack(attack: Any, label: int, pack: Any) -> None:
    """An id that is no triple of a name and two numbers closes."""
    one = attack()
    one.request(4, (2, ((label, pack), (1, "x"))))
    error = one.ended()
    assert isinstance(error, MalformedValue)


def test_case_31_answer_with_a_foreign_reference(peer: Any) -> None:
    """An answer that names an object of this side's that was never sent fails its request alone."""
    one = peer()
    result, number = one.ask()
    one.channel.send(reply(number, (3, ("x.Y", 1, 2))))
    with pytest.raises(ProtocolError, match="never sent"):
        _ = result.value
    result, number = one.ask()
    one.channel.send(reply(number, (1, "x")))
    assert result.value == "x"


class NoModule:
    """A class without a module."""


NoModule.__module__ = None  # type: ignore[assignment]


class RaisingClass:
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise SystemError("no class")


class RaisingHash:
    def __hash__(self) -> int:
        raise SystemError("no hash")

    def __eq__(self, other: object) -> bool:
        raise SystemError("no equality")


@pytest.mark.parametrize("make", [NoModule, RaisingClass, RaisingHash, lambda: "\ud800"])
def test_case_32_results_that_cannot_be_sent(attack: Any, make: Any) -> None:
    """A result that fails to be boxed is an error to its caller, or is simply lent."""
    one = attack()
    one.victim._local_root.exposed_evil = make
    kind, _ = one.call("evil")
    assert kind in ("value", "error")
    assert one.works()


def nest(depth: int, inner: Any = ()) -> Any:
    for _ in range(depth):
        inner = (inner, 1)
    return inner


def test_case_33_deep_values_to_send(pair: Any) -> None:
    """What is nested too deeply is refused before it is sent, with or without references."""
    client, _ = pair(Subject)
    keep, held = client.root.keep, len(client._local_objects)
    shallow_first: Any = ()
    for _ in range(3000):
        shallow_first = ([], shallow_first)
    for deep in (nest(3000), nest(3000, []), shallow_first):
        with pytest.raises(LocalProtocolError, match="max_depth"):
            keep(deep)
    assert len(client._local_objects) == held
    keep(nest(500), nest(500, []))
    assert client.root.add(1, 2) == 3


def test_case_34_closing(pair: Any) -> None:
    """Closing works from anywhere, any number of times, and is told once."""
    told: list[int] = []

    class Watched(Subject):
        def on_disconnect(self, conn: Any) -> None:
            told.append(1)

    client, server = pair(Watched)
    with pytest.raises(EOFError):
        client.root.call(client.close)
    threads = [threading.Thread(target=conn.close) for conn in (client, server) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    eventually(lambda: told)
    assert told == [1]


@pytest.mark.parametrize("bound", [False, True])
def test_case_34_closing_serves_nothing(pair: Any, bound: bool) -> None:
    """The thread that closes a connection serves no request of the peer, which may take long."""
    threads: list[int] = []
    sent, released = threading.Event(), threading.Event()

    class Calling(Subject):
        def exposed_call_soon(self, func: Any) -> None:
            rpyc.async_(func)()
            sent.set()

    def callback() -> None:
        threads.append(threading.get_ident())
        released.wait(20)

    config = {"bind_threads": bound}
    client, _ = pair(Calling, there_config=config, here_config=config)
    client.ping()
    result = rpyc.async_(client.root.call_soon)(callback)
    assert sent.wait(20)
    client.close()
    released.set()
    assert result is not None
    assert threading.get_ident() not in threads


def test_case_34_closing_on_a_hung_peer(peer: Any) -> None:
    """A peer that does nothing holds close() up for two seconds at most, whatever the time-out."""
    one = peer(sync_request_timeout=30)
    started = time.monotonic()
    one.conn.close()
    assert 1 < time.monotonic() - started < 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_case_34_at_exit() -> None:
    """A program with a connection to a hung peer ends in two seconds and says nothing."""
    program = (
        "import socket, rpyc_like\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "conn = rpyc_like.connect('127.0.0.1', listener.getsockname()[1])\n"
        "conn.async_request(3)\n"
        "print('ending', flush=True)\n"
    )
    assert seconds_to_end(program) < 25


def test_case_35_objects(attack: Any) -> None:
    """A peer that gives nothing back gets an error at the limit, and what it holds still works."""
    one = attack(max_objects=10)
    outcomes = [one.call("make") for _ in range(20)]
    kinds = [kind for kind, _ in outcomes]
    assert kinds == ["value"] * 9 + ["error"] * 11  # the root counts
    assert "configuration key 'max_objects'" in str(outcomes[-1])
    assert len(one.victim._local_objects) == 10
    assert one.works()
    one.ask(consts.HANDLE_DEL, (2, ((3, outcomes[0][1][1]), (1, 1))))
    assert one.call("make")[0] == "value"


def test_case_35_requests(attack: Any) -> None:
    """Requests that wait for their answers are bounded in number."""
    one = attack(max_requests=20)
    root = one.root()
    call = (2, ((3, root), (1, "call"), (2, ((4, ("m.f", 1, 2)),)), (1, ())))
    with pytest.raises(EOFError):
        for _ in itertools.repeat(None):
            one.request(8, call)  # each makes the victim ask back, and it is never answered
    error = one.ended()
    assert isinstance(error, LimitExceeded)
    assert error.key == "max_requests"


def test_case_35_queued_bytes() -> None:
    """What is read ahead because the peer does not read is bounded."""
    here, there = MemoryStream.create_pair()
    receiver = Channel(here).receiver
    receiver.max_queued = 10_000  # type: ignore[attr-defined]
    sender = Channel(there, compress=False)
    for _ in range(100):
        sender.sender.try_send(bytes(1000))
    while receiver.pull() and len(receiver.payloads) < 100:
        pass
    assert len(receiver.payloads) < 100
    for _ in range(100):
        assert receiver.receive(1) == bytes(1000)
        sender.sender.try_send()
