"""A function ends its thread (SystemExit, KeyboardInterrupt): nobody else is served less for it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import RemoteError
from rpyc_like.lib.worker_pool import WorkerPool, waiting
from rpyc_like.utils.server import ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually
from tests.support.joining import join

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

QUIET = logging.getLogger("tests.ended_workers")
QUIET.setLevel(logging.CRITICAL)
CLIENT = {"sync_request_timeout": 30}


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    """Ends when the threads have ended, whose errors would be taken for another test's."""
    before = set(threading.enumerate())
    yield
    eventually(
        lambda: (
            not [
                thread
                for thread in set(threading.enumerate()) - before
                if "WorkerPool" in thread.name
            ]
        )
    )


def leave() -> None:
    raise SystemExit


def leave_after_a_wait() -> None:
    with waiting():
        pass
    raise KeyboardInterrupt


class Service(rpyc.Service):
    """Ends the threads that serve it."""

    def exposed_leave(self) -> None:
        raise KeyboardInterrupt

    def exposed_later(self, callback: Any) -> None:
        self._result = rpyc.async_(callback)()
        with contextlib.suppress(SystemExit):  # the answer has come already
            self._result.add_callback(lambda result: leave())

    def exposed_echo(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize("func", [leave, leave_after_a_wait])
@pytest.mark.parametrize("lane", ["same", "other"])
def test_a_pool_replaces_a_worker_that_has_ended(func: Any, lane: str) -> None:
    """What was given to the pool meanwhile, and later, is done, in the same lane too."""
    pool = WorkerPool(1)
    begin, done, again = threading.Event(), threading.Event(), threading.Event()
    pool.run(lambda: (begin.wait(60), func()), "same")
    pool.run(done.set, lane)
    begin.set()
    assert done.wait(30)
    pool.run(func, "same")
    pool.run(again.set, lane)
    assert again.wait(30)
    pool.close()


def test_a_worker_that_was_given_up_may_end() -> None:
    """A pool whose worker ends after another one has taken its place has no thread too many."""
    pool = WorkerPool(1)
    begun, end, done = threading.Event(), threading.Event(), threading.Event()
    workers: list[threading.Thread] = []

    def work() -> None:
        workers.append(threading.current_thread())
        begun.set()
        end.wait(60)
        leave()

    pool.run(work, "lane")
    assert begun.wait(30)
    pool.run(done.set, "lane")
    pool.overtake("lane")
    assert done.wait(30)
    end.set()
    join(workers[0], 30)
    with pool._lock:
        assert pool._active == len(pool.threads)
    last = threading.Event()
    pool.run(last.set, "lane")
    assert last.wait(30)
    pool.close()


@pytest.mark.parametrize("times", [1, 3])
def test_a_pool_server_outlives_its_workers(times: int) -> None:
    """More requests that raise KeyboardInterrupt than there are threads leave the server whole."""
    server = ThreadPoolServer(Service(), nbThreads=1, logger=QUIET, grace=0)
    server._start_in_thread()
    with rpyc.connect("127.0.0.1", server.port, config=CLIENT) as conn:
        for _ in range(times):
            with pytest.raises(RemoteError, match="KeyboardInterrupt"):
                conn.root.leave()
        with rpyc.connect("127.0.0.1", server.port, config=CLIENT) as other:
            assert other.root.echo(1) == 1
        assert conn.root.echo(2) == 2
    server.close()


def test_a_pool_server_outlives_callbacks_of_results() -> None:
    """So do callbacks of results that raise SystemExit."""
    server = ThreadPoolServer(Service(), nbThreads=1, logger=QUIET, grace=0)
    server._start_in_thread()
    with rpyc.connect("127.0.0.1", server.port, config=CLIENT) as conn:
        for _ in range(3):
            conn.root.later(lambda: 1)
            assert conn.root.echo(1) == 1
        with rpyc.connect("127.0.0.1", server.port, config=CLIENT) as other:
            assert other.root.echo(2) == 2
    server.close()


def test_calls_served_at_the_same_time_outlive_their_threads() -> None:
    """A connection with ``concurrent_calls`` serves on after more of them than it may have."""
    config = {"concurrent_calls": 2}
    server = ThreadedServer(Service(), protocol_config=config, logger=QUIET, grace=0)
    server._start_in_thread()
    with rpyc.connect("127.0.0.1", server.port, config=CLIENT) as conn:
        for _ in range(4):
            with pytest.raises(RemoteError, match="KeyboardInterrupt"):
                conn.root.leave()
        assert conn.root.echo(1) == 1
    server.close()
