"""In which threads calls run: quick ones do not change threads, slow ones hold up none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import ThreadingEPCServer
from rpyc_like.link.serve.leader_follower import RUSH
from tests.support.joining import join


class Served:
    """A server whose methods tell about threads."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.release = threading.Event()
        self.server = ThreadingEPCServer(("127.0.0.1", 0))
        self.server.logger.setLevel(100)
        for function in (self.quick, self.slow, self.held, self.push):
            self.server.register_function(function)

    def quick(self) -> None:
        self.threads.append(threading.current_thread().name)

    def slow(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def held(self) -> bool:
        return self.release.wait(60)

    def push(self, delay: float) -> bool:
        """Calls the client a little later, when that does not ask for anything."""
        threading.Timer(delay, lambda: self.server.clients[0].call("pushed", [])).start()
        return True


@contextmanager
def connected(**functions: Any) -> Iterator[tuple[Served, EPCClient]]:
    served = Served()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.02,))
    thread.start()
    client = EPCClient()
    for name, function in functions.items():
        client.register_function(function, name)
    client.connect(served.server.server_address)
    try:
        yield served, client
    finally:
        served.release.set()
        client.close()
        served.server.shutdown()
        served.server.server_close()
        join(thread)


def test_quick_calls_stay_in_one_thread() -> None:
    """As long as calls are quick, whoever reads them runs them: no worker does."""
    with connected() as (served, client):
        for _ in range(30):  # on a busy machine a call may look slow: then workers run some
            served.threads.clear()
            for _ in range(50):
                client.call_sync("quick", [], 60)
            if not any("_work" in name for name in served.threads):
                return
            time.sleep(RUSH + 0.01)
        raise AssertionError(served.threads)


def test_a_slow_call_holds_up_none() -> None:
    """Others are served while a call runs, right away or after a while of silence."""
    with connected() as (served, client):
        for pause in (0, 0.1, RUSH + 0.1):
            time.sleep(pause)
            slow = client.async_call("held")
            for _ in range(5):
                client.call_sync("quick", [], 60)
            assert not slow.ready
            served.release.set()
            assert slow.value is True
            served.release.clear()


def test_slow_calls_run_at_the_same_time() -> None:
    """Twenty calls that sleep take about as long as one."""
    with connected() as (_, client):
        client.call_sync("quick", [], 60)
        begun = time.monotonic()
        results = [client.async_call("slow", 2) for _ in range(20)]
        assert [result.value for result in results] == [2] * 20
        assert time.monotonic() - begun < 35


def test_a_slow_callback_holds_up_none() -> None:
    """The callback of an answer may take its time: others are called, and calls are answered."""
    release, done = threading.Event(), threading.Event()
    with connected() as (_, client):
        client.call("quick", [], lambda value: release.wait(60))
        client.call("quick", [], lambda value: done.set())
        assert done.wait(60)
        assert client.call_sync("slow", [0], 60) == 0
        release.set()


def test_what_comes_after_a_call_is_read() -> None:
    """Answers and calls that arrive when nobody waits any more are read by the client's thread."""
    pushed, answered = threading.Event(), threading.Event()
    with connected(pushed=pushed.set) as (_, client):
        for delay in (0, 0.0005, 0.002, 0.05):
            pushed.clear()
            answered.clear()
            client.call_sync("push", [delay], 60)
            client.call("quick", [], lambda value: answered.set())
            assert answered.wait(60)
            assert pushed.wait(60)


def test_several_threads_call() -> None:
    """Calls from many threads, quick and slow, all come back."""
    with connected(double=lambda n: 2 * n) as (served, client):
        served.server.register_function(
            lambda n: served.server.clients[0].call_sync("double", [n], 10), "back"
        )
        got: list[int] = []

        def use(number: int) -> None:
            for turn in range(30):
                if turn % 10 == number % 10:
                    client.call_sync("slow", [0.003], 10)
                got.append(client.call_sync("back", [turn], 10) - 2 * turn)

        users = [threading.Thread(target=use, args=(number,)) for number in range(6)]
        for user in users:
            user.start()
        for user in users:
            join(user, 30)
        assert got == [0] * 180


def test_threads_end_with_the_connection() -> None:
    """No thread of a connection outlives it."""
    before = set(threading.enumerate())
    with connected() as (_, client):
        client.call_sync("slow", [0.01], 10)
        time.sleep(0.05)
    end = time.monotonic() + 20
    while [one for one in threading.enumerate() if one not in before and "_work" not in one.name]:
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.01)
