"""A peer that goes on sending keeps nobody waiting longer than the program wants to."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.link.receiving import FrameReceiver
from rpyc_like.utils.server import ThreadedServer
from rpyc_like.wire.framing import RpycFramer
from tests.support.eventually import eventually

QUIET = logging.getLogger("tests.floods")
QUIET.setLevel(logging.CRITICAL)
LONG = 20.0
"""Seconds for which a peer sends if nobody stops it."""


class Flooding(rpyc.Service):
    """Calls back without end."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.ran_out = False

    def exposed_call_both(self, first: Any, second: Any) -> None:
        """Calls two functions, the second without waiting for the first."""
        results = [rpyc.async_(first)(), rpyc.async_(second)()]
        for result in results:
            result.wait()

    def exposed_flood(self, callback: Any) -> None:
        callback = rpyc.async_(callback)
        end = time.monotonic() + LONG
        while not self.stopped.wait(0.0005):
            callback()
            if time.monotonic() > end:
                self.ran_out = True
                return


@pytest.fixture
def service() -> Flooding:
    """What is served."""
    return Flooding()


@pytest.fixture
def conn(service: Flooding) -> Iterator[Any]:
    """A connection to it."""
    server = ThreadedServer(service, logger=QUIET, grace=0)
    server._start_in_thread()
    made = rpyc.connect("127.0.0.1", server.port, config={"sync_request_timeout": 0.3})
    yield made
    service.stopped.set()
    made.close()
    server.close()


def busy() -> None:
    """Takes longer than the peer takes to ask for it again."""
    time.sleep(0.002)


def call(conn: Any) -> None:
    with pytest.raises(TimeoutError):
        conn.root.flood(busy)


def begin(conn: Any) -> Any:
    """Begins a flood; returns the result that does not come."""
    called = threading.Event()
    result = rpyc.async_(conn.root.flood)(lambda: (called.set(), busy()))
    eventually(lambda: conn.poll(0.01) or called.is_set())
    return result


def wait(conn: Any) -> None:
    result = begin(conn)
    result.set_expiry(0.3)
    with pytest.raises(TimeoutError):
        result.wait()


def look(conn: Any) -> None:
    assert not begin(conn).ready


def poll(conn: Any) -> None:
    result = begin(conn)
    assert conn.poll_all(0.1)
    assert not result._ready


def close(conn: Any) -> None:
    begin(conn)
    conn.close()


@pytest.mark.parametrize("use", [call, wait, look, poll, close])
def test_the_time_ends_while_the_peer_sends(
    conn: Any, service: Flooding, use: Callable[[Any], None]
) -> None:
    """Waiting, polling and closing end when their time is over, though requests go on coming."""
    use(conn)
    assert not service.ran_out


@pytest.mark.parametrize("use", [call, wait, close])
def test_it_is_the_same_beside_a_serving_thread(
    conn: Any, service: Flooding, use: Callable[[Any], None]
) -> None:
    """The same holds where another thread reads and serves."""
    threading.Thread(target=conn.serve_all, daemon=True).start()
    use(conn)
    assert not service.ran_out


def test_what_was_handed_over_is_left_to_others(conn: Any) -> None:
    """A thread whose time is over serves nothing more of what was meant for it."""
    served: list[int] = []
    me = threading.get_ident()

    def first() -> None:
        waiter = conn._link.waiters[me]
        eventually(lambda: waiter.inbox or served, "the second request")
        eventually(waiter.awaited._deadline.expired, "the end of the time")

    both = conn.root.call_both
    threading.Thread(target=conn.serve_all, daemon=True).start()
    eventually(conn._link.reading.lock.locked, "reading in the background")
    conn._config["sync_request_timeout"] = 0.1  # a helper would take it soon
    with pytest.raises(TimeoutError):
        both(first, lambda: served.append(threading.get_ident()))
    eventually(lambda: served, "the second call")
    assert served != [me]


def test_the_time_ends_while_a_large_frame_comes() -> None:
    """Who waits for a message gives up while the rest of a large one is still coming in."""
    header = struct.pack("!LB", 1 << 20, 0)
    pieces = iter([header])
    stream: Any = SimpleNamespace(
        landed=None,
        closed=False,
        recv_wait=lambda timeout, size: next(pieces, bytes(10)),
        recv_into_wait=lambda timeout, view: 10,
    )
    receiver = FrameReceiver(stream, RpycFramer())
    assert receiver.receive(0.000001) is None
    assert receiver.clock is not None
