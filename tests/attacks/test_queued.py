"""Case 96: what waits for one connection is counted by the memory that it takes."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.core.encoding.boxing import UnresolvedValue
from rpyc_like.link.backlog import Backlog, Stash, weight_of
from rpyc_like.link.channel import Channel
from rpyc_like.link.receiving import Waiter
from rpyc_like.link.streams import SocketStream
from rpyc_like.wire.session import CALL
from tests.support.eventually import eventually
from tests.support.joining import join

from .served import Served

LIMIT = 8 << 20
SIZE = 2 << 20
MANY = 40


class Slow(rpyc.Service):
    """Keeps its thread or task until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = threading.Event()
        self.taken = 0

    def exposed_hold(self) -> None:
        self.entered.set()
        self.released.wait(60)

    def exposed_take(self, data: Any) -> int:
        self.taken += 1
        return len(data)

    async def exposed_take_long(self, data: Any) -> int:
        """Waits as a task does."""
        import asyncio

        self.entered.set()
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        return len(data)


class Asking(rpyc.Service):
    """Calls back."""

    def exposed_ask(self, data: bytes, func: Any) -> Any:
        return len(data), func()

    async def exposed_ask_long(self, data: bytes, func: Any) -> Any:
        return len(data), await rpyc.async_(func)()


class Raw:
    """A client whose requests are deflated, in a thread of its own; reads nothing."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.channel = Channel(SocketStream(self.sock), compress=False)
        self.number = 0

    def request(self, handler: int, boxed: Any, deflated: bool = False) -> None:
        self.number += 1
        payload = b"\x01" + brine.dump((self.number, (handler, boxed)))
        if not deflated:
            self.channel.send(payload)
            return
        packed = zlib.compress(payload, 9)
        self.sock.sendall(len(packed).to_bytes(4, "big") + b"\x01" + packed + b"\n")

    def root(self) -> Any:
        """Return the box of the server's root."""
        self.request(consts.HANDLE_GETROOT, (1, ()))
        _, (label, pack) = brine.load(self.channel.recv()[1:])
        assert label == consts.LABEL_REMOTE_REF
        return (consts.LABEL_LOCAL_REF, pack)

    def call(self, root: Any, name: str, *args: Any, deflated: bool = False) -> None:
        boxed = (2, (root, (1, name), (1, args), (1, ())))
        self.request(consts.HANDLE_CALLATTR, boxed, deflated)


@contextlib.contextmanager
def flooded(
    served: Served, kind: str, method: str, hold: bool = True, **config: Any
) -> Iterator[tuple[Any, Slow]]:
    """Serve a client that sends what inflates a thousand times, behind a call that takes long."""
    service = Slow()
    server = served.server(kind, service, max_queued_bytes=LIMIT, **config)
    raw = Raw(server.port)
    root = raw.root()
    (there,) = server.connections

    def send() -> None:
        with contextlib.suppress(OSError):
            if hold:
                raw.call(root, "hold")
            for _ in range(MANY):
                raw.call(root, method, bytes(SIZE), deflated=True)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert service.entered.wait(60)
        join(sender)
        yield there, service
    finally:
        service.released.set()
        raw.sock.close()
        join(sender)


KINDS = [
    ("threads", {}),
    ("threads", {"concurrent_calls": 2}),
    ("pool", {}),
    ("aio", {}),
]


@pytest.mark.parametrize(("kind", "config"), KINDS, ids=lambda value: str(value))
def test_what_waits_stays_near_the_limit(served: Served, kind: str, config: dict[str, Any]) -> None:
    """Reading stops when what has been read takes that much memory, and goes on later."""
    with flooded(served, kind, "take", **config) as (there, service):
        queued = there._link.queued
        if config:  # another call is served beside the one that is held
            eventually(lambda: service.taken == MANY)
        else:
            eventually(lambda: queued.full)
        assert queued.size <= LIMIT + 2 * SIZE
        service.released.set()
        eventually(lambda: service.taken == MANY)
        eventually(lambda: queued.size < SIZE)


def test_tasks_are_counted(served: Served) -> None:
    """What the tasks of a connection hold counts as well."""
    with flooded(served, "aio", "take_long", hold=False) as (there, service):
        queued = there._link.queued
        eventually(lambda: queued.full)
        assert queued.size <= LIMIT + 2 * SIZE
        assert len(there._tasks) <= LIMIT // SIZE + 1
        service.released.set()
        eventually(lambda: queued.size == 0)


def test_coroutines_are_counted(served: Served) -> None:
    """So does what async functions hold that a threaded server has running."""
    with flooded(served, "threads", "take_long", hold=False) as (there, service):
        queued = there._link.queued
        eventually(lambda: queued.full)
        assert queued.size <= LIMIT + 2 * SIZE
        service.released.set()
        eventually(lambda: queued.size == 0)


@pytest.mark.parametrize(("kind", "config"), KINDS, ids=lambda value: str(value))
@pytest.mark.parametrize("name", ["ask_long", "ask"])
def test_what_waits_for_an_answer_gets_it(
    served: Served, name: str, kind: str, config: dict[str, Any]
) -> None:
    """Reading goes on for a request that asks the peer, though its arguments are at the limit."""
    server = served.server(kind, Asking(), max_queued_bytes=SIZE, **config)
    conn = served.client(server)
    assert getattr(conn.root, name)(bytes(2 * SIZE), lambda: 7) == (2 * SIZE, 7)


def test_a_message_is_weighed_with_all_that_is_in_it() -> None:
    """Containers, texts, numbers; also where proxies are missing."""
    call = lambda args: weight_of((CALL, 1, None, args))  # noqa: E731
    empty = call(())
    assert call((bytes(1000),)) - empty > 1000
    assert call(((frozenset(),) * 100,)) - empty > 22_400
    assert call((("\U0001f600" * 100,),)) - empty > 400

    class Branch:
        items = (bytes(5000), object())

    incomplete = UnresolvedValue(None, None, [], [Branch()])  # type: ignore[arg-type,list-item]
    assert call(incomplete) > 5000


def test_a_backlog_is_not_full_any_more_when_there_is_room() -> None:
    """Whoever reads is told once; a wait ends."""
    backlog, told = Backlog(), list[int]()
    backlog.limit = 100
    stash = Stash(backlog)
    backlog.on_room = lambda: told.append(1)
    for _ in range(3):
        stash.append((CALL, 1, None, ()))
    assert backlog.full and not backlog.wait(0, lambda: False)
    assert backlog.wait(None, lambda: True)
    for _ in range(3):
        stash.popleft()
    assert (backlog.size, backlog.full, told) == (0, False, [1])
    assert backlog.wait(0, lambda: False)


def test_the_sum_of_a_listener_counts() -> None:
    """When all connections of a server hold much, none of them reads on before it has less."""
    from rpyc_like.link.admission import ListenerAccount

    account = ListenerAccount(1000)
    one, two = Backlog(), Backlog()
    one.total = two.total = account.add
    one.add(900)
    two.add(200)
    assert two.full and not one.full
    one.remove(900)
    two.remove(200)
    assert not two.full
    assert account.held == 0
    two.add(500)
    two.close()
    assert account.held == 0


def test_a_message_is_weighed_once() -> None:
    """What was counted for a message is what is given back, though its weight has changed."""
    with rpyc.connect_thread() as conn:
        link: Any = conn._link
        weights = itertools.count(1000, 1000)
        link.queued.weigh = lambda outcome: next(weights)
        waiter = link.server_thread = link.waiters[-1] = Waiter(-1)
        for number in range(3):
            assert link._hand((CALL, -number, None, ()), -1)
            assert link.hand_over(b"a message")
        link._leave_unserved((CALL, -10, None, ()))
        assert link.queued.size == sum(range(1000, 8000, 1000))
        while link.take_handed(waiter) is not None:
            pass
        assert link.take_unserved() is not None
        assert link.queued.size == 0
        assert next(weights) == 8000
        del link.waiters[-1]
        link.server_thread = None
        link.unbegun.clear()
