"""Case 135: what Python runs by itself, and what is called of a program, may ask the peer.

It is answered, or refused at once; nobody waits in vain for that. The sides are processes, so that
garbage of one never ends in a thread of the other.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine
from rpyc_like.core.channel import Channel
from rpyc_like.errors import ConnectionClosed, LocalProtocolError
from rpyc_like.link.interrupted import look_inside
from rpyc_like.link.streams import MemoryStream, PipeStream, SocketStream, TlsStream
from rpyc_like.link.streams.tls import client_context, server_context
from tests.soak.garbage import make_certificate
from tests.support.settled import wait_until_settled

TIMEOUT = 60.0
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"sync_request_timeout": TIMEOUT, "allow_public_attrs": True}
ANSWERED, REFUSED = "answered", "refused"


class Asking:
    """Asks the peer, which answers 3, and notes what comes of it."""

    def __init__(self) -> None:
        self.ask: Callable[[], Any] | None = None
        self.outcomes: list[str] = []
        self._asks = threading.local()

    def __call__(self, *_: object) -> None:
        ask = self.ask
        if ask is None or getattr(self._asks, "now", False):
            return
        self._asks.now = True  # what is called because of that does not ask
        try:
            value = ask()
            # On a loop nobody can wait.
            good = value == 3 or type(value).__name__ == "Deferred"
            outcome = ANSWERED if good else repr(value)
        except (LocalProtocolError, ConnectionClosed):
            outcome = REFUSED
        except Exception as error:
            outcome = repr(error)
        finally:
            self._asks.now = False
        self.outcomes.append(outcome)

    def check(self) -> None:
        """Look whether it was asked, and nothing was waited for in vain."""
        assert self.outcomes
        assert not {*self.outcomes} - {ANSWERED, REFUSED}, self.outcomes


class Kind(type):
    """A class of classes that compare and are hashed by asking."""

    asking = Asking()

    def __hash__(cls) -> int:
        cls.asking()
        return type.__hash__(cls)

    def __eq__(cls, other: object) -> bool:
        cls.asking()
        return cls is other


class Compared(metaclass=Kind):
    """Is compared, hashed, shown and ended by asking."""

    def __hash__(self) -> int:
        Kind.asking()
        return 1

    def __eq__(self, other: object) -> bool:
        Kind.asking()
        return self is other

    def __repr__(self) -> str:
        Kind.asking()
        return "compared"

    def __del__(self) -> None:
        Kind.asking()


class Handler(logging.Handler):
    """Asks whenever something is logged."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(logging.DEBUG)
        self.asking = asking

    def createLock(self) -> None:
        self.lock = None  # as handlers have it that send their records elsewhere

    def emit(self, record: logging.LogRecord) -> None:
        self.asking()


class Service(rpyc.Service):
    """Calls of the other side, and things that ask it."""

    def __init__(self) -> None:
        self.conn: Any = None

    def on_connect(self, conn: Any) -> None:
        self.conn = conn

    def exposed_ask_with(self, ask: Any) -> None:
        Kind.asking.ask = ask

    def exposed_outcomes(self) -> tuple[str, ...]:
        Kind.asking.ask = None
        return tuple(Kind.asking.outcomes)

    def exposed_log(self) -> None:
        logger = logging.getLogger("rpyc_like")
        logger.addHandler(Handler(Kind.asking))
        logger.setLevel(logging.DEBUG)

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_same(self, value: Any) -> Any:
        return value

    def exposed_make(self) -> Any:
        return Kind("Made", (Compared,), {})()

    def exposed_fail(self) -> None:
        raise ValueError(self.exposed_make())

    def exposed_fail_soon(self) -> None:
        def fail(*_: Any) -> None:
            raise ValueError("a callback that fails")

        self.conn.add_state_callback(fail)


def main() -> None:
    """Serve in a way that the first argument names, and print the port."""
    options: dict[str, Any] = {
        "port": 0,
        "logger": logging.getLogger("tests.asking"),
        "protocol_config": OPTIONS,
    }
    kind = sys.argv[1]
    if kind != "asyncio":
        server = {"threads": rpyc.ThreadedServer, "pool": rpyc.ThreadPoolServer}[kind](
            Service, **options
        )
        print(server.port, flush=True)
        server.start()
        return
    import asyncio

    from rpyc_like import aio

    async def serve() -> None:
        async with aio.Server(Service, **options) as server:
            print(server.port, flush=True)
            await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def served(kind: str) -> Iterator[tuple[int, Any]]:
    """Run a server in a process of its own; give its port and the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.faults.test_asking import main; main()", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=["threads", "pool", "asyncio"])
def conn(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A connection to a server of each kind."""
    with served(request.param) as (port, _):
        with rpyc.connect("127.0.0.1", port, config=OPTIONS) as conn:
            yield conn


@pytest.fixture
def asking() -> Iterator[Asking]:
    """What asks on this side."""
    before = Kind.asking
    Kind.asking = made = Asking()
    yield made
    made.ask = None
    Kind.asking = before


def three() -> int:
    return 3


# -- what Python runs by itself


class Interrupting(rpyc.Service):
    """Sends a signal to the main thread while that waits. Runs in another thread."""

    def __init__(self) -> None:
        self.handled = threading.Event()

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_interrupt(self) -> int:
        wait_until_settled(threading.main_thread(), ("recv", "wait", "_peek"))
        interrupt()
        assert self.handled.wait(TIMEOUT)
        self.handled.clear()
        return 7


def interrupt() -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGUSR1)


@contextlib.contextmanager
def handling(handler: Callable[..., Any]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def tls_pair(folder: Path) -> tuple[TlsStream, TlsStream]:
    """Return two connected ends."""
    make_certificate(str(folder))
    here, there = map(SocketStream, socket.socketpair())
    made: list[TlsStream] = []
    context = server_context(str(folder / "key.pem"), str(folder / "cert.pem"))
    thread = threading.Thread(target=lambda: made.append(TlsStream(there, context, True)))
    thread.start()
    client = client_context(ca_certs=str(folder / "ca.pem"))
    end = TlsStream(here, client, server_hostname="127.0.0.1")
    thread.join()
    return end, made[0]


@pytest.fixture(params=["tcp", "pipes", "memory", "tls"])
def near(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Interrupting]]:
    """A connection of the main thread to another thread, and the service there."""
    service = Interrupting()
    if request.param == "tcp":
        here, there = map(SocketStream, socket.socketpair())
    elif request.param == "tls":
        here, there = tls_pair(tmp_path)
    else:
        kind = {"pipes": PipeStream, "memory": MemoryStream}[request.param]
        here, there = kind.create_pair()
    served = service._connect(Channel(there), OPTIONS)
    thread = threading.Thread(target=served.serve_all, daemon=True)
    thread.start()
    conn = rpyc.VoidService()._connect(Channel(here), OPTIONS)
    try:
        yield conn, service
    finally:
        conn.close()
        thread.join(TIMEOUT)


signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals")


@signals
@pytest.mark.parametrize("timeout", [TIMEOUT, None, 0.9])
def test_a_signal_handler_asks_while_its_thread_waits(
    near: tuple[Any, Interrupting], timeout: float | None, asking: Asking
) -> None:
    """It is answered, and so is the call that it has interrupted, whichever comes first."""
    conn, service = near
    conn._config["sync_request_timeout"] = timeout
    asking.ask = lambda: conn.root.add(1, 2)

    def handle(*_: object) -> None:
        service.handled.set()
        asking()

    with handling(handle):
        assert conn.root.interrupt() == 7
        assert conn.root.call(lambda: conn.root.interrupt() + 1) == 8
        assert rpyc.async_(conn.root.interrupt)().value == 7
        later = rpyc.async_(conn.root.interrupt)()
        assert conn.serve(timeout)
        assert later.value == 7
    assert asking.outcomes == [ANSWERED] * 4
    assert not conn._session.pending.waiting()
    assert conn.root.add(1, 2) == 3


@signals
def test_signal_handlers_ask_in_one_another(near: tuple[Any, Interrupting]) -> None:
    """A handler that is interrupted while it waits for an answer is no other case."""
    conn, service = near
    seen: list[int] = []

    def handle(*_: object) -> None:
        service.handled.set()
        if len(seen) < 3:
            seen.append(0)
            seen[len(seen) - 1] = conn.root.interrupt()

    with handling(handle):
        assert conn.root.interrupt() == 7
    assert len(seen) == 3
    assert conn.root.add(1, 2) == 3


@signals
def test_a_signal_handler_serves_what_its_request_causes(near: tuple[Any, Interrupting]) -> None:
    """The peer may call back, and what it calls may ask; the interrupted call goes on."""
    conn, service = near
    answers: list[int] = []

    def handle(*_: object) -> None:
        service.handled.set()
        answers.append(conn.root.call(lambda value: conn.root.add(value, 1), 4))

    with handling(handle):
        assert conn.root.interrupt() == 7
    assert answers == [5]


@signals
def test_an_error_of_a_signal_handler_that_has_asked(near: tuple[Any, Interrupting]) -> None:
    """It reaches the caller, whose request is forgotten; the connection goes on."""
    conn, service = near

    def handle(*_: object) -> None:
        service.handled.set()
        assert conn.root.add(1, 2) == 3
        raise KeyError("mine")

    with handling(handle):
        for way in (conn.root.interrupt, lambda: rpyc.async_(conn.root.interrupt)().wait()):
            with pytest.raises(KeyError, match="mine"):
                way()
            assert conn.root.add(1, 2) == 3
    assert not conn._session.pending.waiting()
    assert not conn._link._early


@signals
def test_a_signal_handler_loses_the_connection(near: tuple[Any, Interrupting]) -> None:
    """A handler may close the connection, on which its thread waits: that ends the wait."""
    conn, service = near

    def handle(*_: object) -> None:
        service.handled.set()
        assert conn.root.add(1, 2) == 3
        conn._channel.close()

    with handling(handle):
        with contextlib.suppress(ConnectionClosed):  # the answer may have come before
            assert conn.root.interrupt() == 7
        with pytest.raises(ConnectionClosed):
            conn.root.add(1, 2)


@signals
def test_a_signal_handler_asks_for_others_too(near: tuple[Any, Interrupting]) -> None:
    """What is read in a handler and meant for another thread is there for that thread."""
    conn, service = near
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(conn.root.add(1, 2))) for _ in range(4)
    ]

    def handle(*_: object) -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            wait_until_settled(thread, ("sleep", "_sleep"))
        service.handled.set()
        answers.append(conn.root.add(1, 2))

    with handling(handle):
        assert conn.root.interrupt() == 7
    for thread in threads:
        thread.join(TIMEOUT)
    assert answers == [3] * 5


def test_a_thread_that_is_elsewhere_is_refused() -> None:
    """Where a message is half read, who asks over the connection is refused at once."""
    here, there = map(SocketStream, socket.socketpair())
    conn = rpyc.VoidService()._connect(Channel(here), OPTIONS)
    refused: list[str] = []

    def understand(payload: Any) -> Any:
        with pytest.raises(LocalProtocolError, match="reads"):
            look_inside(conn._link)
        refused.append("refused")
        return understood(payload)

    understood, conn._link.understand = conn._link.understand, understand  # type: ignore[method-assign]
    other = rpyc.VoidService()._connect(Channel(there), OPTIONS)
    later = rpyc.async_(lambda: None)
    assert later is not None
    other.async_request(rpyc.core.consts.HANDLE_PING, b"x")
    assert conn.serve(TIMEOUT)
    assert refused
    conn.close()
    other.close()


