"""Log handlers are code of the program: they may take long, and ask peers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.lib import connection_threads, worker_pool
from rpyc_like.lib.connection_threads import ConnectionThreads
from rpyc_like.lib.contexts import SharedContext
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link import housekeeping
from rpyc_like.link.serve.poller import Poller
from tests.support.eventually import eventually
from tests.support.joining import join

LIMIT = 30.0


class Handler(logging.Handler):
    """Calls a function, and notes what it returns, for each record of the package."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.func: Callable[[], Any] = lambda: None
        self.got: list[tuple[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.got.append((record.getMessage(), self.func()))

    def has(self, text: str, value: Any) -> bool:
        """Return whether there was a record with this text, and what was returned."""
        return any(text in message and got == value for message, got in self.got)


@pytest.fixture
def handler() -> Iterator[Handler]:
    made, logger = Handler(), logging.getLogger("rpyc_like")
    level = logger.level
    logger.addHandler(made)
    logger.setLevel(logging.DEBUG)
    yield made
    logger.removeHandler(made)
    logger.setLevel(level)


def no_threads(*_: Any) -> None:
    raise RuntimeError("no more threads")


def test_connections_lose_their_threads(handler: Handler) -> None:
    """That is logged without the lock that other connections need."""
    threads = ConnectionThreads(1)
    handler.func = threads.lock._is_owned  # type: ignore[attr-defined]
    ran = [threading.Event(), threading.Event()]
    executors = [threads.executor(SharedContext(), lambda *_: None) for _ in ran]
    for executor, event in zip(executors, ran, strict=True):
        executor.submit(event.set)  # type: ignore[arg-type]
        assert event.wait(LIMIT)
        assert eventually(lambda: not handler.got or len(handler.got) == 1)
    assert eventually(lambda: handler.has("max_threads", False))
    for executor in executors:
        executor.close()
    assert eventually(lambda: not threads.threads)


def test_a_connections_thread_cannot_start(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is logged without the lock."""
    threads = ConnectionThreads(8)
    handler.func = threads.lock._is_owned  # type: ignore[attr-defined]
    executor = threads.executor(SharedContext(), lambda *_: None)
    monkeypatch.setattr(connection_threads, "spawn", no_threads)
    executor.submit(lambda: None)
    assert handler.has("cannot start a thread", False)


def test_a_worker_cannot_start(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is logged without the lock of the pool."""
    pool = WorkerPool(2)
    handler.func = lambda: pool.entered
    monkeypatch.setattr(worker_pool, "spawn", no_threads)
    pool.run(lambda: None, "lane")
    assert handler.has("cannot start a thread", False)
    pool.close()


def test_references_that_a_peer_does_not_hold(handler: Handler, attack: Any) -> None:
    """What is logged of a peer of another package is logged outside of the reading role."""
    one = attack()
    handler.func = one.victim._link.check_not_reading
    mine = one.make()
    one.ask(consts.HANDLE_DEL, (2, ((3, mine), (1, 5))))
    assert one.works()
    assert handler.has("does not hold", None)


def test_a_peer_that_breaks_the_protocol(handler: Handler, attack: Any) -> None:
    """That is logged outside of the reading role, when the connection has ended."""
    one = attack()
    assert one.works()
    link = one.victim._link
    handler.func = lambda: (link.check_not_reading(), link.lost)
    one.channel.send(b"\xff\xff")
    one.ended()
    assert eventually(lambda: handler.has("", (None, True)))


def test_the_housekeeping_thread_cannot_decode(
    handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is logged outside of the reading role."""
    with rpyc.connect_thread() as conn:
        link = conn._link
        handler.func = link.check_not_reading
        monkeypatch.setattr(link, "understand", failing)
        assert link.reading.enter()
        housekeeping._decode(link, b"")
        assert handler.has("cannot decode", None)


def test_the_housekeeping_thread_fails(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is logged by another thread: it waits for no peer that a log handler asks."""
    other = housekeeping.Housekeeper()
    monkeypatch.setattr(housekeeping, "housekeeper", other)
    goes_on, turns = threading.Event(), [failing, failing]
    handler.func = lambda: (other.is_current(), goes_on.wait(LIMIT))

    def turn() -> None:
        if turns:
            turns.pop()()
        goes_on.set()
        other._ended = True

    monkeypatch.setattr(other, "_turn", turn)
    join(other._thread.get(), LIMIT)
    assert eventually(lambda: len(handler.got) == 2)
    assert {value for _, value in handler.got} == {(False, True)}


def failing(*_: object) -> Any:
    raise ValueError("it is the package's own")


def test_a_pool_cannot_decode(handler: Handler) -> None:
    """That is logged when the pool may go on reading."""
    link = SimpleNamespace(application="it", understand=failing, broken=lambda error: error)
    decoded: list[Any] = []
    poller: Any = SimpleNamespace(_decoded=decoded, _wake=SimpleNamespace(wake=lambda: None))
    member: Any = SimpleNamespace(link=link)
    handler.func = lambda: len(decoded)
    Poller._decode(poller, member, b"")
    assert handler.has("cannot decode", 1)


def test_a_pool_cannot_read(handler: Handler) -> None:
    """That is logged by a worker, and not by the thread that reads for all connections."""
    given: list[Any] = []
    pool = SimpleNamespace(run=lambda func, lane: given.append(func))
    forgotten: list[Any] = []
    poller: Any = SimpleNamespace(_read=failing, _workers=pool, _forget=forgotten.append)
    lost: list[Any] = []
    member: Any = SimpleNamespace(link=SimpleNamespace(application="it", lose=lost.append))
    handler.func = lambda: len(given)
    members: Any = [member]
    Poller._handle(poller, members)
    assert (forgotten, handler.got) == ([member], [])
    given.pop()()
    assert handler.has("reading failed", 0)
    assert len(lost) == 1
