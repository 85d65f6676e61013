"""Finalizers may ask the peer, wherever they run; who cannot wait there is told so at once."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import LocalProtocolError
from tests.support.joining import join

QUIET = logging.getLogger("tests.finalizers")
QUIET.setLevel(logging.CRITICAL)
LIMIT = 60.0
ROOT = Path(__file__).resolve().parents[2]
CALLS = 600


class Ends:
    """An object whose end calls a function."""

    def __init__(self, func: Callable[[], Any]) -> None:
        self.func = func
        self.me = self  # so that it is garbage, which the collector finds

    def __del__(self) -> None:
        self.func()


class Served(rpyc.Service):
    """Makes objects that call back in the end."""

    def exposed_make(self, func: Any) -> Any:
        made = Ends(func)
        del made.me
        return made

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Fails tests in which somebody sat out a time-out."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 4 * LIMIT


PROGRAM = """
import sys
import rpyc_like.utils.server as servers
from tests.faults.test_finalizers import QUIET, Served
server = getattr(servers, sys.argv[1])(Served, port=0, logger=QUIET)
print(server.port, flush=True)
server.start()
"""


@pytest.fixture(params=["ThreadedServer", "ThreadPoolServer"])
def conn(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A connection to a server in a process of its own, whose threads collect other garbage."""
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, request.param],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    try:
        with rpyc.connect("127.0.0.1", port, config={"sync_request_timeout": LIMIT}) as conn:
            yield conn
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def eager() -> Iterator[None]:
    """Collects garbage as often as possible."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


def litter(ask: Callable[[], Any], outcomes: list[Any]) -> None:
    """Leaves garbage whose end asks the peer."""

    def end() -> None:
        try:
            outcomes.append(ask())
        except LocalProtocolError:
            outcomes.append("refused")
        except Exception as error:
            outcomes.append(error)

    Ends(end)


def test_a_released_object_calls_back(conn: Any) -> None:
    """The end of an object that the peer gives back calls the peer, before its next request."""
    log: list[str] = []
    for number in range(50):
        made = conn.root.make(lambda: log.append("ended"))
        del made
        gc.collect()
        assert conn.root.add(number, 1) == number + 1
        assert len(log) == number + 1


def test_a_released_object_calls_back_without_a_request(conn: Any) -> None:
    """It does so as well where the peer asks for nothing more, and serves in the background."""
    ended = threading.Event()
    made = conn.root.make(ended.set)
    background = rpyc.BgServingThread(conn)
    try:
        del made
        gc.collect()
        assert ended.wait(LIMIT)
    finally:
        background.stop()


def test_garbage_that_asks(conn: Any, eager: None) -> None:
    """What is collected in the middle of a call asks, or is refused at once; the call goes on."""
    add, call = conn.root.add, conn.root.call
    outcomes: list[Any] = []
    for number in range(CALLS):
        litter(lambda: add(1, 2), outcomes)
        if number % 10:
            assert add(number, 1) == number + 1
        else:
            assert call(lambda value: value, number) == number
    assert outcomes
    assert set(outcomes) <= {3, "refused"}, set(map(repr, outcomes))


def test_garbage_of_several_threads(conn: Any, eager: None) -> None:
    """It is the same where threads share the connection."""
    add = conn.root.add
    outcomes: list[Any] = []
    wrong: list[Any] = []

    def work(start: int) -> None:
        for number in range(start, start + CALLS // 4):
            litter(lambda: add(1, 2), outcomes)
            try:
                if add(number, 1) != number + 1:
                    wrong.append(number)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread, 3 * LIMIT)
    assert not wrong
    assert set(outcomes) <= {3, "refused"}, set(map(repr, outcomes))
