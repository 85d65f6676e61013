"""Compiled waiting under stress: many threads, time-outs, signals and forks, beside a plain model.

Each test runs with the model first: what holds there is what the compiled code must keep.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rpyc_like.lib import native

pytestmark = pytest.mark.skipif(native.waiting is None, reason="the compiled core is not in use")

PATIENCE = 50.0
"""Seconds in which a test must end; a wake-up that is lost takes for ever."""

WINDOWS = (0, 3, 30, 300, 1000)
"""Microseconds of polling."""


class Model:
    """What a Pace does, without polling."""

    def __init__(self, microseconds: float) -> None:
        pass

    def recv(self, fd: int, limit: int) -> bytes | None:
        with socket.socket(fileno=os.dup(fd)) as sock:
            seconds, micro = struct.unpack("ll", sock.getsockopt(socket.SOL_SOCKET, TIMEO, 16))
            limits = seconds + micro / 1e6
            if not self.wait((fd,), limits or None):
                return None
            try:
                return sock.recv(limit, socket.MSG_DONTWAIT)
            except BlockingIOError:  # another thread was faster
                return None

    def send(self, sock: socket.socket, data: bytes) -> int:
        try:
            return sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def wait(self, fds: tuple[int, ...], timeout: float | None) -> bool:
        watcher = select.poll()
        for fd in fds:
            watcher.register(fd, select.POLLIN)
        return bool(watcher.poll(None if timeout is None else 1000 * timeout))


TIMEO = socket.SO_RCVTIMEO
Kind = Callable[[float], Any]


@pytest.fixture(params=["model", "compiled"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """What makes a Pace, for so many microseconds."""
    return Model if request.param == "model" else native.waiting.Pace


@pytest.fixture
def pairs() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """What makes connected sockets, whose receives last 5 ms at most."""
    with ExitStack() as stack:

        def pair() -> tuple[socket.socket, socket.socket]:
            ends = socket.socketpair()
            for end in ends:
                end.setsockopt(socket.SOL_SOCKET, TIMEO, struct.pack("ll", 0, 5000))
                stack.enter_context(end)
            return ends

        yield pair


def each(*works: Callable[[], object]) -> None:
    """Run functions in threads of their own; raise what one of them raises, or if one hangs."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


def receive(pace: Any, sock: socket.socket, chance: random.Random) -> bytes:
    """Return what comes next: found by one of the ways in which a stream looks for it."""
    fds = (sock.fileno(),)
    while True:
        if chance.random() < 0.5:
            pace.wait(fds, chance.choice([None, 0.0, 0.0001, 0.002]))
        data = pace.recv(sock.fileno(), 4)
        if data is not None:
            return bytes(data)


def send(pace: Any, sock: socket.socket, data: bytes) -> None:
    """Send all of it."""
    while data:
        data = data[pace.send(sock, data) :]


@pytest.mark.parametrize("seed", range(5))
def test_results_are_those_of_the_model(pairs: Callable[[], Any], seed: int) -> None:
    """The same operations give the same results, whatever is sent, read and closed."""
    chance = random.Random(seed)
    sides = [(kind(chance.choice(WINDOWS)), *pairs()) for kind in (Model, native.waiting.Pace)]
    closed = False
    for _ in range(300):
        act, number = chance.random(), chance.randrange(1, 9)
        timeout = chance.choice([0.0, 0.0, 0.0005])
        if act < 0.3 and not closed:
            found = [pace.send(there, bytes(number)) for pace, _, there in sides]
        elif act < 0.31:
            closed = True
            found = [there.close() for _, _, there in sides]
        elif act < 0.7:
            found = [pace.recv(here.fileno(), number) for pace, here, _ in sides]
        else:
            found = [pace.wait((here.fileno(),), timeout) for pace, here, _ in sides]
        assert found[0] == found[1]


def test_no_wake_up_is_lost(kind: Kind, pairs: Callable[[], Any]) -> None:
    """Eight threads exchange messages in pairs: each one comes, and in order."""

    def work(sock: socket.socket, window: float, seed: int, begins: bool) -> None:
        pace, chance = kind(window), random.Random(seed)
        for number in range(300):
            if begins:
                send(pace, sock, b"%04d" % number)
            assert receive(pace, sock, chance) == b"%04d" % number
            if chance.random() < 0.05:
                time.sleep(chance.random() / 1000)  # the peer's polling is in vain
            if not begins:
                send(pace, sock, b"%04d" % number)

    works = []
    for pair in range(4):
        for side, sock in enumerate(pairs()):
            number = 2 * pair + side
            window = WINDOWS[number % len(WINDOWS)]
            works.append(lambda a=sock, b=window, c=number, d=not side: work(a, b, c, d))
    each(*works)


def test_threads_share_a_pace(kind: Kind, pairs: Callable[[], Any]) -> None:
    """Five threads read the same socket, one Pace for all: each message is read by one of them."""
    here, there = pairs()
    pace, taken = kind(50), []

    def take(seed: int) -> None:
        chance = random.Random(seed)
        while data := receive(pace, here, chance):
            taken.append(data)

    def give() -> None:
        chance = random.Random(0)
        for number in range(1000):
            send(pace, there, b"%04d" % number)
            if chance.random() < 0.1:
                time.sleep(chance.random() / 2000)
        there.shutdown(socket.SHUT_WR)

    each(give, *(lambda seed=seed: take(seed) for seed in range(5)))
    assert sorted(taken) == [b"%04d" % number for number in range(1000)]


def test_waits_end_with_their_time(kind: Kind, pairs: Callable[[], Any]) -> None:
    """Eight threads wait in vain at once: none returns early, and none stays."""

    def work(window: float, seed: int) -> None:
        pace, chance = kind(window), random.Random(seed)
        fds = tuple(end.fileno() for end in pairs()[: chance.randint(1, 2)])
        for _ in range(100):
            seconds = chance.choice([0.0, 0.0001, 0.001, 0.003])
            begun = time.monotonic()
            assert not pace.wait(fds, seconds)
            assert time.monotonic() - begun >= seconds

    each(*(lambda n=n: work(WINDOWS[n % len(WINDOWS)], n) for n in range(8)))


def test_ends_of_the_peer_wake(kind: Kind, pairs: Callable[[], Any]) -> None:
    """Who waits without a limit is woken when the other end is shut down."""
    sides = [pairs() for _ in range(40)]

    def wait(number: int) -> None:
        pace = kind(WINDOWS[number % len(WINDOWS)])
        for here, _ in sides[number::4]:
            assert pace.wait((here.fileno(),), None)
            assert pace.recv(here.fileno(), 1) == b""

    def shut() -> None:
        for _, there in sides:
            time.sleep(0.0003)
            there.shutdown(socket.SHUT_WR)

    each(shut, *(lambda n=n: wait(n) for n in range(4)))


class Interrupt(Exception):
    """What the handler of a signal raises."""


def test_signals_lose_nothing(kind: Kind, pairs: Callable[[], Any]) -> None:
    """Handlers that return, and ones that end a wait, cost no byte; other threads go on."""
    here, there = pairs()
    raising = False
    came = 0

    def handle(*_: object) -> None:
        nonlocal came, raising
        came += 1
        if raising:
            raising = False  # the next signal may come before the exception is caught
            raise Interrupt

    def give() -> None:
        pace, chance = kind(100), random.Random(1)
        for number in range(500):
            send(pace, there, b"%04d" % number)
            time.sleep(chance.random() / 1000)
        there.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=give)
    pace, taken = kind(300), []
    before = signal.signal(signal.SIGALRM, handle)
    try:
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0007)
        while not taken or taken[-1]:
            try:
                raising = True
                pace.wait((here.fileno(),), 0.05)
                raising = False
            except Interrupt:
                raising = False
            data = pace.recv(here.fileno(), 4)
            if data is not None:
                taken.append(data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if not (taken and taken[-1] == b""):
            here.close()  # nobody reads any more: the other thread must not wait for room
        thread.join()
    assert taken == [*(b"%04d" % number for number in range(500)), b""]
    assert came


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns of a fork beside threads")
def test_children_poll_for_themselves(pairs: Callable[[], Any]) -> None:
    """A process that forks while its threads poll has children that poll as well."""
    stop = threading.Event()

    def exchange(sock: socket.socket, echoes: bool) -> None:
        pace = native.waiting.Pace(1000)
        while not stop.is_set():
            if not echoes:
                pace.send(sock, b"x")
            pace.wait((sock.fileno(),), 0.002)
            if pace.recv(sock.fileno(), 1) and echoes:
                pace.send(sock, b"x")

    def fork() -> None:
        try:
            for _ in range(20):
                child = os.fork()
                if not child:
                    status = 2
                    try:
                        status = polls_alone()
                    finally:
                        os._exit(status)
                assert os.waitpid(child, 0)[1] == 0, "a child does not poll"
        finally:
            stop.set()

    here, there = pairs()
    each(fork, lambda: exchange(here, False), lambda: exchange(there, True))


def polls_alone() -> int:
    """Return 0 if a new Pace polls in this process, which has no other thread that does."""
    here, there = socket.socketpair()
    pace = native.waiting.Pace(1000)
    before = native.waiting.counts()
    end = time.monotonic() + PATIENCE
    while native.waiting.counts() == before and time.monotonic() < end:
        soon = threading.Timer(0.0002, there.send, [b"x"])  # what comes quickly lets it poll
        soon.start()
        pace.wait((here.fileno(),), None)
        here.recv(1)
        soon.join()
        pace.wait((here.fileno(),), 0.00001)
    return int(native.waiting.counts() == before)
