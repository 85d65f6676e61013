"""Case 135: what Python runs by itself, and what is called of a program, may ask the peer.

It is answered, or refused at once; nobody waits in vain for that. The sides are processes, so that
garbage of one never ends in a thread of the other.
"""

from __future__ import annotations

import contextlib
import gc
import linecache
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
from rpyc_like.core import brine, consts
from rpyc_like.core.channel import Channel
from rpyc_like.errors import ConnectionClosed, LocalProtocolError
from rpyc_like.link import interrupted
from rpyc_like.link.interrupted import Inside
from rpyc_like.link.receiving import FrameReceiver
from rpyc_like.link.streams import MemoryStream, PipeStream, SocketStream, TlsStream
from rpyc_like.link.streams.tls import client_context, server_context
from rpyc_like.wire.framing import RpycFramer
from tests.soak.garbage import make_certificate
from tests.support.eventually import eventually
from tests.support.joining import join
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

    def handle(self, record: logging.LogRecord) -> bool:
        self.asking()  # without the handler's lock, as those that send their records elsewhere
        return True


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


def register(asking: Asking) -> None:
    """Register a type with brine, whose functions ask."""

    @brine.register(brine._dump_registry, Decimal)
    def dump_decimal(obj: Decimal, stream: list[bytes]) -> None:
        asking()
        stream.append(b"\x1c")
        brine._dump(str(obj), stream)

    @brine.register(brine._load_registry, b"\x1c")
    def load_decimal(stream: Any) -> Decimal:
        asking()
        return Decimal(brine._load(stream))

    brine.simple_types = brine.simple_types | {Decimal}  # type: ignore[misc]


def main() -> None:
    """Serve in a way that the first argument names, and print the port."""
    options: dict[str, Any] = {
        "port": 0,
        "logger": logging.getLogger("tests.asking"),
        "protocol_config": OPTIONS,
    }
    register(Kind.asking)
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
        join(thread, TIMEOUT)


signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no such signals")


@signals
@pytest.mark.parametrize("timeout", [TIMEOUT, None])
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
def test_a_signal_handler_asks_another_peer_that_calls_back(near: tuple[Any, Interrupting]) -> None:
    """What that peer calls may ask over the connection on which the thread waits."""
    conn, service = near
    here, there = MemoryStream.create_pair()
    served = Interrupting()._connect(Channel(there), OPTIONS)
    threading.Thread(target=served.serve_all, daemon=True).start()
    other = rpyc.VoidService()._connect(Channel(here), OPTIONS)
    answers: list[int] = []

    def handle(*_: object) -> None:
        service.handled.set()
        answers.append(other.root.call(lambda value: conn.root.add(value, 1), 4))

    with handling(handle):
        assert conn.root.interrupt() == 7
    assert answers == [5]
    other.close()


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
    assert not len(conn._session.pending)
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
        join(thread, TIMEOUT)
    assert answers == [3] * 5


@pytest.mark.parametrize("what", ["understand", "read_on"])
def test_a_thread_that_is_elsewhere_is_refused(
    near: tuple[Any, Interrupting], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a message is half read or filed, who asks over the connection is refused at once."""
    conn, _ = near
    link, refused = conn._link, []
    original = getattr(link, what)

    def interrupted(*args: Any) -> Any:
        with pytest.raises(LocalProtocolError, match="that its thread reads"):
            conn.root.add(1, 2)
        refused.append(None)
        return original(*args)

    later = rpyc.async_(conn.root.add)(1, 2)
    monkeypatch.setattr(link, what, interrupted)
    later.wait()
    monkeypatch.undo()
    assert refused
    assert later.value == conn.root.add(1, 2) == 3


def test_who_sends_much_in_a_handler_reads_meanwhile(near: tuple[Any, Interrupting]) -> None:
    """A peer that sends much itself, before it reads, holds up no handler that sends much."""
    conn, _ = near
    link, frames = conn._link, []
    with Inside(link).reading():
        link.reading.acquire()
        conn.async_request(consts.HANDLE_PING, b"x")
        while not link.receiver.payloads:
            link._read_while_full()
        frames.extend(link.receiver.payloads)
        link.reading.release()
    assert frames
    assert conn.root.add(1, 2) == 3


def test_the_end_of_a_full_stream_is_no_interrupt(
    near: tuple[Any, Interrupting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends much gets the error of the stream; what had arrived before is still acted on."""
    conn, _ = near
    link = conn._link
    later = rpyc.async_(conn.root.add)(1, 2)
    eventually(lambda: link.channel.stream.poll(0))
    pull = link.receiver.pull

    def end() -> bool:
        pull()
        link.receiver.ended = ConnectionClosed("connection closed by peer")
        raise OSError("reset")

    monkeypatch.setattr(link.receiver, "pull", end)
    with pytest.raises(OSError, match="reset"):
        link._read_while_full()
    assert not link.lost
    assert later.value == 3
    with pytest.raises(ConnectionClosed, match="closed by peer"):
        conn.ping()


def frame_of(payload: bytes) -> bytes:
    frame = RpycFramer(1 << 30).encode(payload)
    return b"".join(frame) if isinstance(frame, list) else frame


@pytest.mark.parametrize("begun", [False, True])
def test_what_an_interrupted_wait_gets_is_kept(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after what was begun meanwhile, which may be a large message."""
    here, there = map(SocketStream, socket.socketpair())
    receiver = FrameReceiver(here, RpycFramer(1 << 30))
    large = bytes(range(256)) * 1024
    data = frame_of(large)[1000 if begun else 0 :] + frame_of(b"next")

    def recv_wait(timeout: float | None, limit: int) -> None:
        monkeypatch.undo()
        if begun:  # by the code that has interrupted this wait
            there.send_some(frame_of(large)[:1000])
            assert receiver.receive(0.1) is None
        here.landed = data

    monkeypatch.setattr(SocketStream, "recv_wait", lambda self, *args: recv_wait(*args))
    assert receiver.receive(TIMEOUT) is None
    assert receiver.receive(TIMEOUT) == large
    assert receiver.receive(TIMEOUT) == b"next"
    here.close()
    there.close()


class Ending:
    """Garbage whose end asks."""

    def __init__(self, asking: Asking) -> None:
        self.me, self.asking = self, asking

    def __del__(self) -> None:
        self.asking()


@pytest.fixture
def eager() -> Iterator[None]:
    """Collects garbage as often as possible."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize("kind", ["cycle", "weak reference", "finalize"])
def test_garbage_asks(conn: Any, asking: Asking, eager: None, kind: str) -> None:
    """What the collector ends, anywhere in a call, asks; the call goes on."""
    add, call = conn.root.add, conn.root.call
    asking.ask = lambda: add(1, 2)
    refs: list[Any] = []
    for number in range(100):
        if kind == "cycle":
            Ending(asking)
        else:
            node = Ending(Asking())
            if kind == "finalize":
                weakref.finalize(node, asking).atexit = False
            else:
                refs.append(weakref.ref(node, asking))
            del node
        assert add(number, 1) == number + 1
        assert call(lambda value: value, number) == number
    gc.collect()
    asking.check()


# -- what is called of the program


def test_objects_of_the_peer_ask(conn: Any) -> None:
    """Objects and classes there whose ``__eq__``, ``__hash__``, ``__repr__``, ``__del__`` ask."""
    add = conn.root.add
    conn.root.ask_with(three)
    for _ in range(3):
        made = conn.root.make()
        assert conn.root.same(made) is made
        assert made == made
        hash(made), repr(made), str(made)
        assert conn.root.call(lambda value: value, made) is made
        with pytest.raises(ValueError):
            conn.root.fail()
        del made
        gc.collect()
        assert add(1, 2) == 3
    outcomes = conn.root.outcomes()
    assert outcomes
    assert not {*outcomes} - {ANSWERED, REFUSED}


def test_objects_of_this_side_ask(conn: Any, asking: Asking) -> None:
    """The same where the peer is what is asked."""
    add, same, call = conn.root.add, conn.root.same, conn.root.call
    asking.ask = lambda: add(1, 2)
    for _ in range(3):
        kind = Kind("Made", (Compared,), {})
        made = kind()
        assert same(made) is made
        assert call(lambda value: value, made) is made
        assert same(kind) is kind
        with pytest.raises(TypeError):
            call(made)
        del made, kind
        gc.collect()
        assert add(1, 2) == 3
    asking.check()


def test_log_handlers_ask(conn: Any, asking: Asking) -> None:
    """A handler of the log asks, on both sides, for what a connection logs."""
    logger, handler = logging.getLogger("rpyc_like"), Handler(asking)
    before = logger.level
    add = conn.root.add
    asking.ask = lambda: add(1, 2)

    def fail(*_: Any) -> None:
        raise ValueError("a callback that fails")

    conn.root.log()
    conn.root.ask_with(three)
    conn.root.fail_soon()
    conn.add_state_callback(fail)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises(ValueError):
            conn.root.fail()
        outcomes = conn.root.outcomes()
        conn.close()
        logger.debug("something")
        asking.check()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert not {*outcomes} - {ANSWERED, REFUSED}


class Asks(rpyc.Service):
    """Asks where it is told that a connection begins or ends."""

    def __init__(self, begins: Asking, ends: Asking) -> None:
        self.begins, self.ends, self.ended = begins, ends, threading.Event()

    def on_connect(self, conn: Any) -> None:
        self.begins.ask = lambda: conn.root.add(1, 2)
        self.begins()
        self.ends.ask = self.begins.ask

    def on_disconnect(self, conn: Any) -> None:
        self.ends()
        self.ended.set()


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_hooks_ask(kind: str, lost: bool) -> None:
    """Hooks and state callbacks ask, and are answered while there is a peer."""
    begins, ends, told = Asking(), Asking(), Asking()
    over = threading.Event()
    service = Asks(begins, ends)
    with served(kind) as (port, process):
        conn = rpyc.connect("127.0.0.1", port, service=service, config=OPTIONS)
        told.ask = begins.ask
        conn.add_state_callback(told)
        conn.add_state_callback(lambda *_: over.set())
        assert conn.root.add(1, 2) == 3
        if lost:
            process.kill()
            with pytest.raises(ConnectionClosed):
                conn.root.add(1, 2)
        conn.close()
        assert service.ended.wait(TIMEOUT)
        assert over.wait(TIMEOUT)
    assert begins.outcomes == [ANSWERED]
    assert ends.outcomes == [REFUSED]
    told.check()


def test_callbacks_of_results_ask(conn: Any, asking: Asking) -> None:
    """A callback of an asynchronous result asks."""
    add, later = conn.root.add, rpyc.async_(conn.root.call)
    asking.ask = lambda: add(1, 2)
    results = [later(lambda value: value, number) for number in range(20)]
    for result in results:
        result.add_callback(asking)
    assert [result.value for result in results] == [*range(20)]
    asking.check()


class Failing:
    """Garbage whose end fails."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        raise ValueError("a finalizer that fails")


def test_hooks_for_lost_exceptions_ask(
    conn: Any, asking: Asking, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``sys.unraisablehook`` and ``threading.excepthook`` ask, wherever they are called."""
    add, call = conn.root.add, conn.root.call
    asking.ask = lambda: add(1, 2)
    monkeypatch.setattr(sys, "unraisablehook", asking)
    monkeypatch.setattr(threading, "excepthook", asking)

    def fail() -> None:
        raise ValueError("a thread that fails")

    for number in range(50):
        Failing()
        assert add(number, 1) == number + 1
        assert call(lambda value: value, number) == number
        if number % 10 == 0:
            thread = threading.Thread(target=fail)
            thread.start()
            join(thread, TIMEOUT)
    asking.check()


UNCAUGHT = """
import sys
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]), config={"sync_request_timeout": 60})
sys.excepthook = lambda *_: print(conn.root.add(1, 2), flush=True)
conn.root.call(lambda: 1 / 0)
"""


def test_the_hook_for_uncaught_exceptions_asks() -> None:
    """``sys.excepthook`` asks, before the interpreter ends."""
    with served("threads") as (port, _):
        done = subprocess.run(
            [sys.executable, "-c", UNCAUGHT, str(port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT,
        )
    assert done.stdout == "3\n", done.stderr


@pytest.fixture
def decimals(asking: Asking) -> Iterator[None]:
    """Registers a type whose functions ask."""
    simple = brine.simple_types
    register(asking)
    yield
    brine.simple_types = simple  # type: ignore[misc]
    del brine._dump_registry[Decimal], brine._load_registry[b"\x1c"]


def test_functions_of_brine_ask(conn: Any, asking: Asking, decimals: None) -> None:
    """They run while messages are encoded and decoded, and are refused at once."""
    same, add = conn.root.same, conn.root.add
    asking.ask = lambda: add(1, 2)
    values = tuple(Decimal(number) for number in range(3))
    assert same(values[0]) == values[0]
    assert same(values) == values
    assert rpyc.async_(same)(values).value == values
    assert conn.root.call(lambda value: value, values) == values
    assert {*asking.outcomes} == {REFUSED}
    asking.ask = None
    conn.root.ask_with(three)
    assert same(values) == values
    assert {*conn.root.outcomes()} <= {REFUSED, ANSWERED}


def test_the_role_ends_where_it_is_given_up() -> None:
    """What is noted of a function with the reading role ends at the line that gives it up."""
    for code, (first, last) in interrupted._REGIONS.items():
        assert first <= last, code
        line = linecache.getline(code.co_filename, last).strip()
        assert line in ("lock.release()", "reading.lock.release()", "link.reading.leave()"), code


def test_a_function_of_brine_fails_because_it_asks(conn: Any, asking: Asking) -> None:
    """The request that cannot be encoded fails, and the connection goes on."""
    simple = brine.simple_types

    @brine.register(brine._dump_registry, Decimal)
    def dump_decimal(obj: Decimal, stream: list[bytes]) -> None:
        conn.root.add(1, 2)

    brine.simple_types = simple | {Decimal}  # type: ignore[misc]
    try:
        same, add = conn.root.same, conn.root.add
        for way in (same, rpyc.async_(same)):
            with pytest.raises(LocalProtocolError):
                way(Decimal(1))
        assert add(1, 2) == 3
    finally:
        brine.simple_types = simple  # type: ignore[misc]
        del brine._dump_registry[Decimal]
