"""Finalizers run anywhere, also where tables change under a lock: nobody waits in vain for that."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.references.tables import ExportTable, ImportTable, identify
from rpyc_like.errors import LocalProtocolError
from rpyc_like.lib.connection_threads import ConnectionThread, ConnectionThreads, current_thread
from rpyc_like.lib.contexts import SharedContext
from rpyc_like.lib.first_use import FirstUse
from rpyc_like.link import housekeeping
from rpyc_like.link.backlog import Backlog
from rpyc_like.link.receiving import Waiter
from rpyc_like.link.result import AsyncResult
from rpyc_like.link.serve import lobby
from rpyc_like.link.serve.helpers import Helpers
from rpyc_like.link.streams import SocketStream
from rpyc_like.wire.session import CALL
from tests.soak.garbage import TRANSPORTS, run
from tests.support.joining import join

LIMIT = 30.0
CALLS = 100


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_garbage_that_asks_on_both_sides(transport: str) -> None:
    """Garbage that is collected all the time, and asks, makes no call of either side fail."""
    before = gc.get_threshold()
    try:
        report = run(transport, CALLS, 1)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    assert not report.failed, report.show()
    assert report.here["answered"]
    assert report.references[0] <= 1


def within(modules: set[str], inside: Callable[[], bool], work: Callable[[], Any]) -> Callable:
    """Return a trace function that does ``work`` at each line of modules while ``inside()``."""
    busy: list[bool] = []

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_globals.get("__name__") not in modules:
            return None
        if event == "line" and not busy and inside():
            busy.append(True)
            try:
                work()
            finally:
                busy.clear()
        return trace

    return trace


def in_time(func: Callable[[], Any]) -> None:
    """Call a function in a thread, which must end."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            func()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    join(thread, LIMIT)
    if errors:
        raise errors[0]


def test_the_export_table_is_interrupted() -> None:
    """What a finalizer exports and gives back in the middle of the same is counted right."""
    table = ExportTable()
    objects = [[number] for number in range(3)]
    raws = [table.lend(obj, identify) for obj in objects]

    def interrupt() -> None:
        for obj in objects[:2]:
            table.lend(obj, identify)
        for raw in raws[:2]:
            table.give_back(raw, 1)

    def work() -> None:
        sys.settrace(within({ExportTable.__module__}, lambda: table.entered, interrupt))
        try:
            for _ in range(5):
                assert table.lend(objects[0], identify) == raws[0]
                assert table.give_back(raws[0], 1)
                assert table.give_back(raws[2], 1)
                raws[2] = table.lend(objects[2], identify)
        finally:
            sys.settrace(None)

    in_time(work)
    assert [table.count(pack) for pack in table] == [1, 1, 1]
    for raw in raws:
        assert table.give_back(raw, 1)
    assert not len(table)


def test_the_proxy_table_is_interrupted() -> None:
    """Releases that a finalizer sends in the middle of taking releases are all sent, once."""

    class Proxy:
        pass

    table = ImportTable(lambda: None)
    taken: list[tuple[bytes, int]] = []

    def work() -> None:
        interrupt = lambda: taken.extend(table.take_released())  # noqa: E731
        sys.settrace(within({ImportTable.__module__}, lambda: table.entered, interrupt))
        try:
            for number in range(20):
                for name in (b"a", b"b"):
                    with table.lock:
                        table.put(name + bytes([number]), Proxy())
                taken.extend(table.take_released())
        finally:
            sys.settrace(None)

    in_time(work)
    taken.extend(table.take_released())
    assert sorted(taken) == sorted(
        (name + bytes([n]), 1) for n in range(20) for name in (b"a", b"b")
    )
    assert not table.by_raw


def test_the_backlog_is_interrupted() -> None:
    """Messages that a finalizer counts while others are counted are all counted."""
    backlog = Backlog()

    def interrupt() -> None:
        backlog.add(5)
        backlog.remove(5)

    def work() -> None:
        sys.settrace(within({Backlog.__module__}, lambda: backlog.entered, interrupt))
        try:
            backlog.add(3)
            backlog.remove(2)
        finally:
            sys.settrace(None)

    in_time(work)
    assert backlog.size == 1


def test_a_stream_is_interrupted() -> None:
    """A finalizer may use and close a stream that its thread is in the middle of closing."""
    import socket

    here, there = map(SocketStream, socket.socketpair())

    def work() -> None:
        module = SocketStream.close.__module__
        sys.settrace(within({module}, lambda: here.entered, here.close))
        try:
            here.close()
        finally:
            sys.settrace(None)

    in_time(work)
    assert here.closed
    there.close()


LOOKED_AT = """
import gc
from rpyc_like.link.result import AsyncResult

class Ending:
    def __init__(self, result):
        self.me, self.result = self, result
    def __del__(self):
        assert self.result.waiters() == []

for _ in range(20):
    gc.disable()
    result, waiter = AsyncResult(None), object()
    Ending(result)
    taken = [{} for _ in range(100)]  # the interpreter has no dict left that it could use again
    gc.set_threshold(1, 1, 1)
    gc.enable()
    result.add_waiter(waiter)
    gc.collect()
    assert result.waiters() == [waiter]
    result.remove_waiter(waiter)
    del taken, result
"""


def test_a_result_is_looked_at_when_a_wait_begins() -> None:
    """A finalizer may ask who waits for an answer while its thread begins to wait for it.

    Python 3.11 frees the attributes of an object twice if its ``__dict__`` is made by both.
    """
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_AT],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_a_first_use_in_a_first_use() -> None:
    """A finalizer may need what its thread makes at this moment."""
    made: list[Any] = []

    def make() -> object:
        if not made:
            made.append(None)
            made.append(first.get())
        return object()

    first = FirstUse(make)
    in_time(first.get)
    assert first.get() is made[1]


def test_a_helper_is_interrupted() -> None:
    """A finalizer that asks where a helper looks for requests does not hold up other threads."""
    lock, served, taken = threading.RLock(), threading.Event(), threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    def route(target: object) -> tuple[int | None, int]:
        threading.Thread(target=take, daemon=True).start()  # as a finalizer that waits for it
        taken.wait(LIMIT)
        return None, 0

    busy = Waiter(0)
    busy.inbox.append((CALL, 1, None, ()))
    link = SimpleNamespace(
        max_helpers=16,
        inbox_lock=lock,
        end=AsyncResult(None),
        unserved=[],
        waiters={0: busy},
        application=SimpleNamespace(max_helpers=16, route=route),
        take_handed=lambda waiter: waiter.inbox.popleft(),
        serving=contextlib.nullcontext,
        act_here=lambda outcome: served.set(),
        has_work=True,
    )
    Helpers(link.inbox_lock).call(link)  # type: ignore[arg-type]
    in_time(served.wait)
    assert taken.is_set()
    link.has_work = False


def test_who_hands_requests_on_is_interrupted() -> None:
    """A finalizer that would wait with the lock that others hand requests on with is refused."""
    with rpyc.connect_thread() as conn:
        link = conn._link
        link.check_not_reading()
        with link.inbox_lock, pytest.raises(LocalProtocolError):
            link.check_not_reading()


@pytest.mark.parametrize("apart", [False, True])
def test_the_housekeeping_thread_is_interrupted(
    apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer that would wait where that thread reads for a busy connection is refused."""
    seen: list[None] = []
    with rpyc.connect_thread() as conn:
        link = conn._link

        def interrupt(*_: object) -> Any:
            with pytest.raises(LocalProtocolError):
                link.check_not_reading()
            seen.append(None)
            return ("nothing",) if apart else None

        with monkeypatch.context() as patched:
            patched.setattr(link, "understand" if apart else "read_quickly", interrupt)
            if apart:
                assert link.reading.enter()
                housekeeping._decode(link, b"")
            else:
                housekeeping._read_now(link)
        assert seen
        link.check_not_reading()


def test_who_looks_for_a_first_frame_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer that would wait where a server reads a silent client's first frame is refused."""
    seen: list[None] = []
    with rpyc.connect_thread() as conn:
        link = conn._link

        def interrupt(*_: object) -> None:
            with pytest.raises(LocalProtocolError):
                link.check_not_reading()
            seen.append(None)

        with monkeypatch.context() as patched:
            patched.setattr(link.receiver, "receive", interrupt)
            assert not lobby._has_frame(link)
        assert seen
        link.check_not_reading()


@pytest.mark.parametrize("width", [1, 4])
def test_a_finalizer_waits_between_two_functions(width: int) -> None:
    """A connection's thread that a finalizer has wait goes on with the connection's functions."""
    threads = ConnectionThreads(8)
    executor = threads.executor(SharedContext(), lambda *_: None, width)
    executor.nests = False
    idents: list[int] = []
    looks: list[None] = []
    waited: list[list[int]] = []
    done = threading.Event()

    def look() -> None:
        looks.append(None)
        assert len(looks) < 50

    def first() -> Callable[[], None]:
        idents.append(threading.get_ident())
        return finalize

    def finalize() -> None:
        thread = current_thread(executor)
        assert thread is not None
        executor.submit(second)
        try:
            thread.wait(lambda: len(idents) == 2, look, 0.1)
            waited.append(list(idents))
        finally:
            done.set()

    def second() -> None:
        idents.append(threading.get_ident())

    executor.submit(first)
    assert done.wait(LIMIT)
    assert waited == [[idents[0]] * 2]
    executor.close()
    threads.close()


def test_the_threads_of_asyncio_connections_are_interrupted() -> None:
    """A finalizer that would wait with the lock of all connections' threads is refused."""
    threads = ConnectionThreads(2)
    executor = threads.executor(SharedContext(), lambda *_: None)
    thread = ConnectionThread(threads, executor)

    def work() -> None:
        with threads.lock, pytest.raises(LocalProtocolError):
            thread.wait(lambda: False, lambda: None, 1.0)

    in_time(work)
    threads.close()
