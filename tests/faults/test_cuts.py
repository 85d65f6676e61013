"""A connection that ends after any number of bytes, either way: nobody waits, nothing is wrong."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.streams import SocketStream
from tests.support.joining import join
from tests.support.shim import Shim

from .serving import Patient


class Conversation:
    """A client behind a shim, and a server."""

    def __init__(self, **cut: Any) -> None:
        here, there = socket.socketpair()
        self.shim = Shim(SocketStream(here), "uneven", **cut)
        self.server = Patient._connect(rpyc.Channel(SocketStream(there)), {})
        self.thread = threading.Thread(target=self.server.serve_all, daemon=True)
        self.thread.start()
        self.client = rpyc.connect_stream(self.shim, config={"sync_request_timeout": 20})
        self.done: list[str] = []

    def run(self) -> BaseException | None:
        """Talks; returns what ended it before its time."""
        client = self.client
        try:
            root = client.root
            for step in range(3):
                assert root.add(step, 1) == step + 1
                self.done.append("add")
            pending = [rpyc.async_(root.add)(number, 1) for number in range(5)]
            assert root.call(lambda a, b: a * b, 6, 7) == 42
            assert [result.value for result in pending] == [1, 2, 3, 4, 5]
            self.done.append("pending")
            assert root.take(bytes(5000)) == 5000
            assert len(root.give(5000)) == 5000
            self.done.append("large")
        except EOFError as error:
            return error
        return None

    def end(self) -> None:
        self.client.close()
        join(self.thread, 60, "the server is still waiting")
        assert self.server.closed
        assert len(self.server._local_objects) == 0


def totals() -> dict[str, int]:
    """Returns how many bytes go each way when nothing is cut."""
    whole = Conversation()
    assert whole.run() is None
    found = {"received": whole.shim.received, "sent": whole.shim.sent}
    whole.end()
    return found


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("direction", ["received", "sent"])
def test_cut_after_any_number_of_bytes(direction: str, broken: bool) -> None:
    """What was answered before the cut is right; what was not ends with ConnectionClosed, soon."""
    total = totals()[direction]
    places = [*range(0, min(total, 900), 3), *range(900, total, 211)]
    for place in places:
        one = Conversation(broken=broken, **{direction: place})
        started = time.monotonic()
        error = one.run()
        assert isinstance(error, ConnectionClosed), (place, one.done)
        assert one.client.closed
        with pytest.raises(EOFError):
            one.client.ping()
        one.end()
        assert time.monotonic() - started < 20, place
