"""Time limits of starts, and the end of a background thread."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.service import Service
from rpyc_like.epc.client import EPCClient


class HungMachine:
    """Stands for a machine whose ssh says nothing."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def __str__(self) -> str:
        return "hung"

    def popen(self, args: Any, ssh_opts: Any = (), new_session: bool = False, **pipes: Any) -> Any:
        code = "import time; time.sleep(600)"
        self.started.append(subprocess.Popen([sys.executable, "-c", code], **pipes))
        return self.started[0]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_ssh_connect_has_its_time_out() -> None:
    """A server that does not answer in time is given up, and ssh is ended."""
    machine = HungMachine()
    step = r"connecting to port 18812 of hung through ssh: .*'timeout'"
    with pytest.raises(TimeoutError, match=step):
        rpyc.ssh_connect(machine, 18812, timeout=0.5)
    assert machine.started[0].wait(30)


def test_an_epc_client_gives_up_an_address_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting has the limit that other connections have, and as many attempts."""
    seen: list[Any] = []

    def connect(host: str, port: int, *args: Any, **options: Any) -> socket.socket:
        seen.append((host, port, options))
        raise TimeoutError("silent")

    monkeypatch.setattr("rpyc_like.epc.client.connect_socket", connect)
    with pytest.raises(TimeoutError, match="silent"):
        EPCClient(("127.0.0.1", 9))
    assert seen == [("127.0.0.1", 9, {"attempts": 6})]


class Echo(Service):
    """Answers."""

    def exposed_echo(self, value: Any) -> Any:
        return value


def test_a_background_thread_tells_that_a_callback_has_ended_it(
    pair: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The error of a result's callback is logged, and the thread's own callback is called."""
    conn, _ = pair(Echo)
    conn.ping()
    ended = threading.Event()
    result = rpyc.async_(conn.root.echo)(1)
    result.add_callback(lambda result: 1 / 0)
    thread = rpyc.BgServingThread(conn, ended.set)
    assert ended.wait(30)
    thread.stop()
    assert "ZeroDivisionError" in caplog.text
