"""Case 132: what a peer had sent before it hung up is served, to the last request."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.lib.threads import spawn
from tests.support.eventually import eventually
from tests.support.joining import join

from ..support.both_servers import LIMIT, QUIET
from .adapters import KINDS

MANY = 20
TEXT = "a" * 1000
"""So that some requests are read when an answer has failed already."""


class Noting(rpyc.Service):
    """Notes in a folder what it has been asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def exposed_wait(self, name: str) -> None:
        """Go on when there is such a file."""
        eventually((self._folder / name).exists, LIMIT)

    def exposed_note(self, number: int, text: str = "") -> None:
        (self._folder / f"noted{number}").touch()

    def exposed_ask(self, func: Any) -> None:
        """Ask the caller, who has hung up, without and with waiting; the system takes the first."""
        (self._folder / "begun").touch()
        self.exposed_wait("go")
        for ask in (rpyc.async_(func), func, rpyc.async_(func)):
            with suppress(EOFError):
                ask()
                continue
            (self._folder / f"refused{len(list(self._folder.glob('refused*')))}").touch()

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
        join(thread, LIMIT)


def of_kind(kind: Any) -> Callable[[Any], AbstractContextManager[int]]:
    """Return what runs a blocking server of one kind."""

    @contextmanager
    def run(service: Any) -> Iterator[int]:
        server = kind(service, hostname="127.0.0.1", port=0, logger=QUIET)
        thread = spawn(server.start)
        try:
            yield server.port
        finally:
            server.close()
            join(thread, LIMIT)

    return run


def has_arrived(conn: Any) -> bool:
    """Return whether the peer's system has got all that was sent: else an answer discards it."""
    if not conn._link.sender.idle:
        return False
    unread = fcntl.ioctl(conn.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(unread, sys.byteorder) == 0


SERVERS = {
    name: of_kind(getattr(rpyc.utils.server, name)) for name in ("ThreadedServer", "OneShotServer")
}
if hasattr(os, "fork") and sys.platform != "darwin":
    SERVERS["ForkingServer"] = of_kind(rpyc.utils.server.ForkingServer)


@pytest.mark.parametrize("name", SERVERS)
def test_what_cannot_be_answered_is_served(name: str, tmp_path: Path) -> None:
    """Requests come before their peer has hung up: all of them are served, answers get lost."""
    with SERVERS[name](Noting(tmp_path)) as port:
        conn = rpyc.connect("127.0.0.1", port)
        wait, note = rpyc.async_(conn.root.wait), rpyc.async_(conn.root.note)
        results = [wait("go"), *(note(number, TEXT) for number in range(MANY))]
        eventually(partial(has_arrived, conn))
        conn._channel.close()  # without a goodbye
        (tmp_path / "go").touch()
        eventually(lambda: len(list(tmp_path.glob("noted*"))) == MANY)
        eventually((tmp_path / "ended").exists)
        assert len(results) == MANY + 1
        conn.close()


@pytest.mark.parametrize("name", SERVERS)
def test_who_asks_its_caller_in_vain_ends_nothing(name: str, tmp_path: Path) -> None:
    """A function's request to a peer that has hung up fails; what else was sent is served."""
    with SERVERS[name](Noting(tmp_path)) as port:
        conn = rpyc.connect("127.0.0.1", port)
        ask, note = rpyc.async_(conn.root.ask), rpyc.async_(conn.root.note)
        results = [ask(lambda: None)]
        eventually((tmp_path / "begun").exists)  # nothing else has been read then
        results += [note(number, TEXT) for number in range(MANY)]
        eventually(partial(has_arrived, conn))
        conn._channel.close()
        (tmp_path / "go").touch()
        eventually(lambda: len(list(tmp_path.glob("noted*"))) == MANY)
        eventually((tmp_path / "ended").exists)
        assert list(tmp_path.glob("refused*"))
        assert len(results) == MANY + 1
        conn.close()


@pytest.mark.parametrize("kind", KINDS)
def test_others_serve_what_they_cannot_answer(kind: str) -> None:
    """Peers that speak EPC or Erlang hang up as well: what they sent is served."""
    victim = KINDS[kind]()
    calls = [victim.call(2 + number, "note", number, f'"{TEXT}"') for number in range(MANY)]
    victim.send(victim.call(1, "slow"), *calls)
    assert victim.functions.entered.wait(LIMIT)
    victim.sock.close()
    victim.functions.go_on.set()
    eventually(lambda: len(victim.functions.noted) == MANY)
    victim.close()
