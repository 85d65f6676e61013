"""Case 65 with RPyC's servers: a call whose time is over is dropped; nobody there is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

import rpyc_like as rpyc
from tests.support.peers import serving

PEERS = ["ours", "rpyc-6.0.2", "rpyc-5.3.1"]


@pytest.mark.parametrize("server", PEERS)
def test_calls_that_time_out(server: str) -> None:
    """The time is kept, the late answer goes nowhere, and the connection goes on."""
    with serving(server, "classic") as port:
        conn: Any = rpyc.classic.connect("127.0.0.1", port, keepalive=True)
        with conn:
            sleep = conn.modules.time.sleep
            long = 20 if server == "ours" else 1  # which RPyC's server sits out
            began = time.monotonic()
            with pytest.raises(TimeoutError, match=r"0\.3 s"):
                conn.call(sleep, long, timeout=0.3)
            with pytest.raises(TimeoutError):
                rpyc.timed(sleep, 0.1)(0.5).value
            later = rpyc.async_(sleep)
            later.timeout = 0.1
            with pytest.raises(TimeoutError):
                later(0.3).value
            # An RPyC server does the calls all the same, one after the other, and answers them.
            assert conn.eval("1 + 1") == 2
            taken = time.monotonic() - began
            assert taken < 15 if server == "ours" else taken > 1.7
            assert not conn._session.pending.waiting()
            assert conn.eval("6 * 7") == 42
