"""Waiting that polls for a short time before it blocks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rpyc_like.lib import cpu_quota, native
from rpyc_like.link.streams import PipeStream, SocketStream
from rpyc_like.link.streams import base as streams

pytestmark = pytest.mark.skipif(native.waiting is None, reason="the compiled core is not in use")

LONG = 1000.0
"""Microseconds for which a test polls: what arrives at once is always found."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def polls(waits: Callable[[], Any]) -> tuple[int, int]:
    """Returns how often polling found something, and how often not, in a function."""
    before = native.waiting.counts()
    waits()
    after = native.waiting.counts()
    return after[0] - before[0], after[1] - before[1]


def test_it_polls_while_messages_come_quickly(ends: tuple[socket.socket, socket.socket]) -> None:
    """The first wait sleeps; while messages come in time the next ones need not."""
    here, there = ends
    pace = native.waiting.Pace(LONG)
    command = [sys.executable, "-c", ECHO, str(there.fileno())]
    with subprocess.Popen(command, pass_fds=[there.fileno()]) as echo:
        found, deadline = 0, time.monotonic() + 10
        while not found and time.monotonic() < deadline:
            found, _ = polls(lambda: answers(pace, here))
        assert found > 0
        here.shutdown(socket.SHUT_WR)
    assert echo.returncode == 0


ECHO = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
while data := sock.recv(10):
    sock.send(data)
"""


def answers(pace: Any, sock: socket.socket) -> None:
    """Exchanges a few messages."""
    for _ in range(50):
        sock.send(b"x")
        assert pace.recv(sock.fileno(), 100) == b"x"


@contextlib.contextmanager
def answering_late(window: float) -> Iterator[Callable[[float], None]]:
    """Gives what waits for an answer that comes so many seconds later, with a pace's window.

    Each side has a processor of its own: one that polls could keep the other from running.
    """
    own = os.sched_getaffinity(0)
    if len(own) < 2:
        pytest.skip("needs two processors")
    mine, others, *_ = sorted(own)
    here, there = socket.socketpair()
    pace = native.waiting.Pace(window)

    def wait(seconds: float) -> None:
        here.send(b"%.6f" % seconds)
        assert pace.recv(here.fileno(), 100)

    command = [sys.executable, "-c", LATE, str(there.fileno()), str(others)]
    with here, there, subprocess.Popen(command, pass_fds=[there.fileno()]) as echo:
        os.sched_setaffinity(0, {mine})
        try:
            yield wait
        finally:
            os.sched_setaffinity(0, own)
        here.shutdown(socket.SHUT_WR)
    assert echo.returncode == 0


LATE = """
import os, socket, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
sock = socket.socket(fileno=int(sys.argv[1]))
while data := sock.recv(100):
    end = time.perf_counter() + float(data)
    while time.perf_counter() < end:
        pass
    sock.send(data)
"""


def test_a_trial_lasts_as_long_as_it_must() -> None:
    """Two that both sleep find each other: a trial may take as long as waking up takes."""
    found, deadline = 0, time.monotonic() + 60
    with answering_late(500) as wait:
        while not found and time.monotonic() < deadline:
            found, _ = polls(lambda: [wait(0.0006) for _ in range(100)])
    assert found > 0


def test_a_peer_that_polls_is_noticed() -> None:
    """When waits become shorter than usual the next one is tried, however often it was in vain."""
    noticed, deadline = 0, time.monotonic() + 60
    with answering_late(150) as wait:
        while not noticed and time.monotonic() < deadline:
            polls(lambda: [wait(0.0006) for _ in range(200)])
            missed = 0
            while not missed:
                _, missed = polls(lambda: wait(0.0006))
            noticed = sum(polls(lambda: [wait(0) for _ in range(4)]))
    assert noticed > 0


def test_zero_never_polls(ends: tuple[socket.socket, socket.socket]) -> None:
    """With 0 microseconds each wait sleeps at once."""
    here, there = ends
    pace = native.waiting.Pace(0)
    timers = []

    def wait() -> None:
        for _ in range(5):
            timers.append(threading.Timer(0.002, there.send, [b"x"]))
            timers[-1].start()
            assert pace.wait((here.fileno(),), 5)
            assert pace.recv(here.fileno(), 1) == b"x"

    assert polls(wait) == (0, 0)
    for timer in timers:
        timer.join()


def test_polling_in_vain_becomes_rare(ends: tuple[socket.socket, socket.socket]) -> None:
    """A thread whose messages come late does not poll each time, and sleeps in between."""
    here, _ = ends
    pace = native.waiting.Pace(20)
    begun = time.thread_time()
    _, missed = polls(lambda: [pace.wait((here.fileno(),), 0.0001) for _ in range(300)])
    assert missed < 60
    assert time.thread_time() - begun < 0.1


def test_one_thread_polls_at_a_time() -> None:
    """The others sleep while one polls: together they do not take two processors."""
    here, there = socket.socketpair()
    with here, there:
        ready = [[ready_to_poll(here, there) for _ in range(50)] for _ in range(4)]
        spent: list[float] = []

        def wait(paces: list[Any]) -> None:
            for pace in paces:
                assert not pace.wait((here.fileno(),), LONG / 1e6 + 0.0002)
            spent.append(time.thread_time())

        threads = [threading.Thread(target=wait, args=(paces,)) for paces in ready]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
    assert len(spent) == 4
    assert sum(spent) < took + 0.03


def ready_to_poll(here: socket.socket, there: socket.socket) -> Any:
    """Returns a pace whose last message came quickly, so that it polls next time."""
    pace = native.waiting.Pace(LONG)
    timer = threading.Timer(0.0003, there.send, [b"x"])
    timer.start()
    assert pace.wait((here.fileno(),), 5)
    assert here.recv(1) == b"x"
    timer.join()
    return pace


def test_the_end_of_the_time(ends: tuple[socket.socket, socket.socket]) -> None:
    """A wait returns when its time is over, and not before."""
    here, _ = ends
    pace = native.waiting.Pace(LONG)
    for seconds in (0, 0.0002, 0.02):
        begun = time.monotonic()
        assert not pace.wait((here.fileno(),), seconds)
        assert seconds <= time.monotonic() - begun < seconds + 10


def test_errors(ends: tuple[socket.socket, socket.socket]) -> None:
    """Errors of the system are OSErrors; wrong arguments are told."""
    here, there = ends
    pace = native.waiting.Pace(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        pace.recv(-1, 10)
    there.close()
    assert pace.recv(here.fileno(), 10) == b""
    with pytest.raises(BrokenPipeError):
        pace.send(here, b"x")
    here.close()
    with pytest.raises(ValueError, match="file descriptor"):
        pace.send(here, b"x")
    for wrong in ((1,), (1, 2, 3), ("x", 5)):
        with pytest.raises(TypeError):
            pace.recv(*wrong)
    with pytest.raises(TypeError):
        pace.wait([1], None)
    with pytest.raises(TypeError):
        pace.wait((1, 2, 3, 4, 5), None)
    for microseconds in (-1, 1001, float("nan")):
        with pytest.raises(ValueError, match="0 to 1000 microseconds"):
            native.waiting.Pace(microseconds)


def test_signals_are_handled(ends: tuple[socket.socket, socket.socket]) -> None:
    """A signal's handler runs while a thread waits, and may end the wait."""
    here, _ = ends
    pace = native.waiting.Pace(LONG)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for wait in (
            lambda: pace.wait((here.fileno(),), 10),
            lambda: pace.recv(here.fileno(), 10),
        ):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(KeyboardInterrupt):
                wait()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_signals_in_between(ends: tuple[socket.socket, socket.socket]) -> None:
    """Signals whose handlers return end no wait, while it polls or while it sleeps."""
    here, _ = ends
    pace = native.waiting.Pace(LONG)
    came = []
    before = signal.signal(signal.SIGALRM, lambda *_: came.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        stop = time.monotonic() + 0.5
        while time.monotonic() < stop:
            assert not pace.wait((here.fileno(),), 0.002)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(came) > 100


def test_where_it_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams poll with two processors at least; sockets, pipes, and 0 turns it off."""
    made: list[float] = []
    pace = native.waiting.Pace

    class Waiting:
        @staticmethod
        def Pace(microseconds: float) -> Any:
            made.append(microseconds)
            return pace(microseconds)

    monkeypatch.setattr(streams.impl, "waiting", Waiting)
    monkeypatch.setattr(streams, "processors", lambda: 2)
    here, there = socket.socketpair()
    stream = SocketStream(here)
    stream.busy_poll(0)
    incoming, outgoing = os.pipe()
    pipe = PipeStream(os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb"))
    monkeypatch.setattr(streams, "processors", lambda: 1.5)
    other = SocketStream(there)
    assert made == [streams.BUSY_POLL, 0, streams.BUSY_POLL, 0]
    for one in (stream, pipe, other):
        one.close()


def test_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The smaller one of affinity and quota counts, in both versions of control groups."""
    own = len(os.sched_getaffinity(0))
    files = {
        "/proc/self/cgroup": ["0::/a/b"],
        "/sys/fs/cgroup/a/b/cpu.max": ["max 100000"],
        "/sys/fs/cgroup/a/cpu.max": ["50000 100000"],
    }
    monkeypatch.setattr(cpu_quota, "_lines", lambda path: files.get(path, []))
    for expected, changed in (
        (0.5, {}),
        (own, {"/sys/fs/cgroup/a/cpu.max": ["nonsense"]}),
        (
            0.25,
            {
                "/proc/self/cgroup": ["4:cpu,cpuacct:/x", "0::/"],
                "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": ["25000"],
                "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us": ["100000"],
            },
        ),
    ):
        files.update(changed)
        cpu_quota._quota.cache_clear()
        assert cpu_quota.processors() == expected
    cpu_quota._quota.cache_clear()
