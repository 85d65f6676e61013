"""Case 132: what a peer had sent before it hung up is served, to the last request."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.lib.threads import spawn
from tests.support.eventually import eventually

from ..support.both_servers import LIMIT, QUIET

MANY = 20


class Noting(rpyc.Service):
    """Notes in a folder what it has been asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def exposed_wait(self, name: str) -> None:
        """Go on when there is such a file."""
        eventually((self._folder / name).exists, LIMIT)

    def exposed_note(self, number: int) -> None:
        (self._folder / f"noted{number}").touch()

    def on_disconnect(self, conn: Any) -> None:
        eventually((self._folder / "noted0").exists)
        (self._folder / "ended").touch()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(sys.platform == "darwin", reason="forks with threads")
def test_a_forking_server_serves_what_was_sent(tmp_path: Path) -> None:
    """The child of a client that has hung up goes on until its pool has done everything."""
    server = rpyc.utils.server.ForkingServer(
        Noting(tmp_path),
        hostname="127.0.0.1",
        port=0,
        protocol_config={"concurrent_calls": 2},
        logger=QUIET,
    )
    thread = spawn(server.start)
    try:
        conn = rpyc.connect("127.0.0.1", server.port)
        wait, note = rpyc.async_(conn.root.wait), rpyc.async_(conn.root.note)
        results = [wait("go"), wait("go"), *(note(number) for number in range(MANY))]
        conn.close()
        (tmp_path / "go").touch()
        eventually(lambda: len(list(tmp_path.glob("noted*"))) == MANY)
        eventually((tmp_path / "ended").exists)
        assert len(results) == MANY + 2
    finally:
        server.close()
        thread.join(LIMIT)
