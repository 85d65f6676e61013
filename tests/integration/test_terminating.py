"""Servers in processes of their own: SIGTERM, Ctrl-C, and gevent."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.peers import OURS, environment
from tests.support.programs import answers

SERVED = Path(__file__).with_name("served.py")
KINDS = ["ThreadedServer", "ThreadPoolServer", "ForkingServer", "OneShotServer", "GeventServer"]

Program = tuple["subprocess.Popen[str]", int]


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    """Starts servers in processes."""
    made: list[subprocess.Popen[str]] = []

    def make(kind: str) -> Program:
        if kind == "GeventServer":
            pytest.importorskip("gevent")
        proc = subprocess.Popen(
            [sys.executable, "-u", str(SERVED), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(OURS),
        )
        made.append(proc)
        assert proc.stdout is not None
        return proc, int(proc.stdout.readline())

    yield make
    for proc in made:
        proc.kill()
        proc.communicate()


def ends(proc: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = proc.communicate(timeout=200)
    return out, err


def begun(proc: subprocess.Popen[str], conn: Any, seconds: float | None) -> Any:
    """Returns the result of a call that takes so long, or until the input ends; it runs by now."""
    if seconds is None:
        result = rpyc.async_(conn.root.hold)()
    else:
        result = rpyc.async_(conn.root.sleep)(seconds, True)
    assert proc.stdout is not None
    assert proc.stdout.readline() == "begun\n"
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_drains(program: Callable[[str], Program], kind: str) -> None:
    """SIGTERM lets a running call finish; start() returns."""
    proc, port = program(kind)
    with rpyc.connect("127.0.0.1", port) as conn:
        conn.root.echo(1)
        result = begun(proc, conn, 2)
        proc.send_signal(signal.SIGTERM)
        assert result.value == "slept"
        out, err = ends(proc)
    assert (proc.returncode, out, err) == (0, "ended\n", "")


@pytest.mark.parametrize("kind", KINDS)
def test_second_sigterm_cuts(program: Callable[[str], Program], kind: str) -> None:
    """A second SIGTERM does not wait for running calls."""
    proc, port = program(kind)
    with rpyc.connect("127.0.0.1", port) as conn:
        result = begun(proc, conn, None)
        proc.send_signal(signal.SIGTERM)
        eventually(lambda: not answers(port))
        assert proc.poll() is None
        proc.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            result.value
    if kind != "OneShotServer":  # its call runs in the main thread, and nothing ends that
        proc.wait(100)
    ends(proc)


def test_ctrl_c_drains(program: Callable[[str], Program]) -> None:
    """Ctrl-C lets a running call finish too."""
    proc, port = program("ThreadedServer")
    with rpyc.connect("127.0.0.1", port) as conn:
        result = begun(proc, conn, 1)
        proc.send_signal(signal.SIGINT)
        assert result.value == "slept"
    out, err = ends(proc)
    assert out == "ended\n"
    assert "Traceback" not in err


def test_gevent_serves_many(program: Callable[[str], Program]) -> None:
    """A gevent program serves clients at the same time in one thread: no wait blocks the hub."""
    _, port = program("GeventServer")
    conns = [rpyc.connect("127.0.0.1", port) for _ in range(10)]
    started = time.monotonic()
    results = [rpyc.async_(conn.root.sleep)(3) for conn in conns]
    assert [result.value for result in results] == ["slept"] * 10
    assert time.monotonic() - started < 25
    assert len({conn.root.where()[0] for conn in conns}) == 1
    assert len({conn.root.where()[1] for conn in conns}) == 10
    for conn in conns:
        conn.close()


def test_gevent_calls_back(program: Callable[[str], Program]) -> None:
    """Callbacks, nested calls and large values work in a gevent program, from many threads."""
    _, port = program("GeventServer")
    outcomes: list[Any] = []

    def play() -> None:
        with rpyc.connect("127.0.0.1", port) as conn:
            nest = conn.root.nest

            def back(left: int) -> int:
                return int(nest(left, back))

            size = len(conn.root.echo(b"x" * 10**7))
            outcomes.append((conn.root.call(lambda x: x + 1, 4), nest(6, back), size))

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert outcomes == [(5, 6, 10**7)] * 4


CLIENT = """
from gevent import monkey; monkey.patch_all()
import gevent, time
import rpyc_like as rpyc
port = int(input())
ticks = []
def tick():
    while True:
        gevent.sleep(0.02)
        ticks.append(time.monotonic())
gevent.spawn(tick)
conn = rpyc.connect("127.0.0.1", port, config={"sync_request_timeout": 30})
sleep = conn.root.sleep
jobs = [gevent.spawn(sleep, 0.3) for _ in range(3)]
begun = len(ticks)
print([job.get() for job in jobs])
slept = len(ticks)
conn._config["sync_request_timeout"] = 1.2
try:
    sleep(4)
except TimeoutError:
    print("timed out")
print("hub free:", slept - begun > 2, len(ticks) - slept > 5)
"""


def test_gevent_client(program: Callable[[str], Program]) -> None:
    """A gevent client's waits, bounded or not, leave the hub free."""
    pytest.importorskip("gevent")
    _, port = program("ThreadedServer")
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        input=f"{port}\n",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.stdout == "['slept', 'slept', 'slept']\ntimed out\nhub free: True True\n", done


def test_gevent_must_come_first() -> None:
    """A GeventServer in a program that is not patched, or too late, says so."""
    pytest.importorskip("gevent")
    for code in (
        "import rpyc_like as r; from rpyc_like.utils.server import GeventServer as G",
        "import rpyc_like as r; from rpyc_like.utils.server import GeventServer as G\n"
        "from gevent import monkey; monkey.patch_all()",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code + "\nG(r.VoidService)"],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 1
        assert "patch_all() before the first import" in done.stderr
