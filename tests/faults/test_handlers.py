"""Case 129: what a signal handler raises, of whatever class, while a thread waits or calls."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.channel import Channel
from rpyc_like.errors import ConnectionClosed, LocalProtocolError
from rpyc_like.lib.interrupts import ignoring, raised_by_handler
from rpyc_like.link.streams import MemoryStream, PipeStream

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals")

_KINDS = [
    BlockingIOError,
    ConnectionClosed,
    ConnectionResetError,
    EOFError,
    InterruptedError,
    LocalProtocolError,
    OSError,
    TimeoutError,
    ValueError,
]


class _OwnPipe(PipeStream):
    """A stream class of the program's own."""

    def read(self, count: int) -> bytes:
        return super().read(count)


class _Service(rpyc.Service):
    """Serves in another thread of this process."""

    def __init__(self) -> None:
        self.handled = threading.Event()

    def exposed_add(self, first: int, second: int) -> int:
        return first + second

    def exposed_interrupt(self) -> None:
        self.handled.clear()
        for _ in range(600):  # a signal in front of a system call does not end it
            _interrupt()
            if self.handled.wait(0.05):
                return


def _interrupt() -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGUSR1)


@contextlib.contextmanager
def _handling(handler: Callable[..., Any]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture(params=[None, PipeStream, MemoryStream, _OwnPipe])
def connected(request: pytest.FixtureRequest) -> Iterator[tuple[Any, _Service]]:
    """A connection of the main thread, over TCP, pipes, memory or a program's own stream."""
    service = _Service()
    server = None
    if request.param is None:
        server = rpyc.ThreadedServer(service, port=0)
        server._start_in_thread()
        conn = rpyc.connect("127.0.0.1", server.port)
    else:
        here, there = request.param.create_pair()
        served = service._connect(Channel(there))
        threading.Thread(target=served.serve_all, daemon=True).start()
        conn = rpyc.VoidService()._connect(Channel(here), {})
    try:
        yield conn, service
    finally:
        conn.close()
        if server is not None:
            server.close()


@pytest.mark.parametrize("kind", _KINDS)
def test_what_a_handler_raises_reaches_the_caller_and_the_connection_goes_on(
    connected: tuple[Any, _Service], kind: type[Exception]
) -> None:
    """A call that a handler's exception ends is cancelled, and is no end of the stream."""
    conn, service = connected
    error = kind("mine")

    def handler(number: int, frame: Any) -> None:
        if not service.handled.is_set():
            service.handled.set()
            raise error

    with _handling(handler):
        for way in (
            conn.root.interrupt,
            lambda: rpyc.async_(conn.root.interrupt)().wait(),
            lambda: (rpyc.async_(conn.root.interrupt)(), conn.serve(30)),
        ):
            with pytest.raises(kind) as caught:
                way()
            assert caught.value is error
            assert not conn.closed
            assert conn.root.add(1, 2) == 3


def test_a_handler_may_find_another_connection_closed(connected: tuple[Any, _Service]) -> None:
    """The end of another connection, which a handler has asked, ends that one only."""
    conn, service = connected
    other = rpyc.VoidService()._connect(Channel(MemoryStream.create_pair()[0]), {})
    other.close()

    def handler(*about: Any) -> None:
        if not service.handled.is_set():
            service.handled.set()
            other.ping()

    with _handling(handler):
        with pytest.raises(ConnectionClosed):
            conn.root.interrupt()
        assert not conn.closed
        assert conn.root.add(1, 2) == 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeoutError, EOFError])
def test_interrupts_of_quick_calls_leave_the_connection_usable(kind: type[BaseException]) -> None:
    """A handler raises somewhere in a loop of calls; what has landed by then is not lost."""
    server = rpyc.ThreadedServer(_Service(), port=0)
    server._start_in_thread()
    rounds = 30
    wanted = threading.Semaphore(0)

    def handler(number: int, frame: Any) -> None:
        raise kind("mine")

    def interrupt() -> None:
        for _ in range(rounds):
            wanted.acquire()
            _interrupt()

    thread = threading.Thread(target=interrupt, daemon=True)
    kept = 0
    opened: list[Any] = []
    conn: Any = None
    try:
        with _handling(handler):
            thread.start()
            for _ in range(rounds):
                if conn is None or conn.closed:
                    opened.append(conn := rpyc.connect("127.0.0.1", server.port))
                with pytest.raises(kind, match="mine"):
                    wanted.release()
                    while True:
                        conn.root.add(1, 2)
                with contextlib.suppress(ConnectionClosed):
                    kept += conn.root.add(1, 2) == 3
            thread.join()
    finally:
        for one in opened:
            one.close()
        server.close()
    assert kept > 0.9 * rounds  # a third was lost when what had landed was


def test_a_handlers_exception_is_recognised_in_the_traceback() -> None:
    """A function that was given the frame above it is a signal handler; others are not."""

    def fail(*args: Any) -> None:
        raise OSError("mine")

    def handle(number: int, frame: Any) -> None:
        fail()

    with _handling(handle):
        for func, expected in ((_raise, True), (fail, False)):
            try:
                func(signal.SIGUSR1)
            except OSError as error:
                assert raised_by_handler(error) is expected
        with pytest.raises(OSError, match="mine"), ignoring(OSError):
            _raise(signal.SIGUSR1)
    with ignoring(OSError):
        fail()


def _raise(number: int) -> None:
    signal.raise_signal(number)
