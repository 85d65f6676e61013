"""Waits end and say what they waited for; what nobody waits for any more is cancelled."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import ConnectionClosed, LocalProtocolError
from rpyc_like.link import housekeeping
from rpyc_like.utils.server import Server, ThreadedServer, ThreadPoolServer

from .serving import Patient

ROOT = Path(__file__).resolve().parents[2]
QUIET = logging.getLogger("tests.waits")
QUIET.setLevel(logging.CRITICAL)

Connect = Callable[..., Any]


def eventually(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


@pytest.fixture(params=[ThreadedServer, ThreadPoolServer])
def kind(request: pytest.FixtureRequest) -> type[Server]:
    """A kind of server."""
    made: type[Server] = request.param
    return made


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Starts a server in this process and connects to it."""
    servers: list[Server] = []
    conns: list[Any] = []

    def make(
        kind: type[Server] = ThreadedServer,
        config: dict[str, Any] | None = None,
        served: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        server = kind(Patient, logger=QUIET, protocol_config=served or {}, grace=0, **options)
        server._start_in_thread()
        servers.append(server)
        conns.append(rpyc.connect("127.0.0.1", server.port, config=config or {}))
        conns[-1].ping()
        return conns[-1]

    yield make
    for conn in conns:
        conn.close()
    for server in servers:
        server.close()


def served(conn: Any) -> Any:
    """Returns the other side of a connection to a server of this process."""
    import gc

    port = conn._channel.stream.sock.getsockname()[1]
    for other in gc.get_objects():
        if type(other) is rpyc.Connection and (other.endpoints or "  ")[1][1:2] == (port,):
            return other
    raise AssertionError("no such connection")


def in_process(program: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a Python program."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


# -- cancellation


def give_up(conn: Any, count: int) -> None:
    """Has the peer serve what does not notice its end, as one of so many, and gives up."""
    running = served(conn)._link.running
    future = rpyc.async_(conn.root.hold)().as_future()
    eventually(lambda: len(running) == count)
    future.cancel()


def test_timed_out_calls_are_cancelled(connect: Connect, kind: type[Server]) -> None:
    """A function that asks is told that nobody waits for it any more, in all three ways."""
    conn = connect(kind)
    watch = conn.root.watch
    with pytest.raises(TimeoutError, match=r"no answer to CALL within 0\.1 s"):
        conn.call(watch, 10, timeout=0.1)
    with pytest.raises(TimeoutError):
        rpyc.timed(watch, 0.1)(10).value
    later = rpyc.async_(watch)
    later.timeout = 0.1
    with pytest.raises(TimeoutError):
        later(10).value
    eventually(lambda: conn.root.seen() == ("cancelled",) * 3)
    assert rpyc.async_(watch).timeout == 0.1
    later.timeout = None


def test_the_configured_timeout_cancels(connect: Connect) -> None:
    """It is the same with ``sync_request_timeout``, and with a chain."""
    conn = connect(config={"sync_request_timeout": 0.2})
    with pytest.raises(TimeoutError):
        conn.root.watch(10)
    with pytest.raises(TimeoutError):
        rpyc.fetch(rpyc.lazy(conn.root).watch(10))
    eventually(lambda: conn.root.seen() == ("cancelled",) * 2)


def test_what_a_call_knows(connect: Connect, kind: type[Server]) -> None:
    """A function can ask for its deadline and for whom it works; outside there is no call."""
    conn = connect(kind)
    about = conn.root.about
    left, deadline, credentials, port = conn.call(about, timeout=90)
    assert 60 < left <= 90
    assert abs(deadline - time.monotonic() - 90) < 30
    assert credentials is None
    assert port == conn._channel.stream.sock.getsockname()[1]
    assert about()[:2] == (None, None)
    assert rpyc.current_call() is None
    assert not served(conn)._link.calls.known


def test_call_needs_a_proxy_of_its_own(connect: Connect) -> None:
    """``conn.call`` is for proxies of the connection."""
    conn, other = connect(), connect()
    assert conn.call(conn.root.add, 1, b=2) == 3
    for func in (len, other.root.add):
        with pytest.raises(TypeError, match="expected a proxy of this connection"):
            conn.call(func, 1, timeout=1)


def test_a_lost_peer_cancels(connect: Connect, kind: type[Server]) -> None:
    """A function that asks is also told that its caller is gone."""
    conn = connect(kind)
    conn.root.seen()
    other = served(conn)
    service = other._local_root
    rpyc.async_(conn.root.watch)(10)
    eventually(lambda: other._link.running)
    conn._link.lose(None)
    eventually(lambda: service.seen == ["cancelled"])
    assert service.ended.wait(5)


def test_cancelled_before_it_began(connect: Connect) -> None:
    """What is cancelled while it waits for its turn is never begun."""
    conn = connect()
    watch = conn.root.watch
    first = rpyc.async_(watch)(0.4)
    with pytest.raises(TimeoutError):
        conn.call(watch, 0, timeout=0.05)
    assert first.value == "slept"
    assert conn.root.seen() == ("slept",)


def test_case_62_65_the_next_call_is_not_delayed(connect: Connect, kind: type[Server]) -> None:
    """A call that does not notice its end delays the next one by a moment only."""
    conn = connect(kind)
    add = conn.root.add
    for count in (1, 2, 3):
        give_up(conn, count)
        started = time.monotonic()
        assert add(1, 2) == 3
        assert time.monotonic() - started < 10
    other = served(conn)
    assert len(other._link.running) == 3
    other._local_root.released.set()
    eventually(lambda: not other._link.running)
    assert add(1, 2) == 3


def test_replacements_are_bounded(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer cannot have any number of threads started by cancelling what it asked for."""
    monkeypatch.setattr(housekeeping, "_MOST_REPLACED", 2)
    conn = connect()
    add = rpyc.async_(conn.root.add)
    for count in (1, 2, 3):
        give_up(conn, count)
    later = add(1, 2)
    time.sleep(6 * housekeeping.TICK)
    assert not later.ready
    served(conn)._local_root.released.set()
    assert later.value == 3


INTERRUPTED = """
import os, signal, sys, threading, time
import rpyc_like as rpyc
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
conn.root.add(1, 2)
if sys.argv[2] == "beside":
    threading.Thread(target=conn.root.watch, args=(30,), daemon=True).start()
    time.sleep(0.2)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    conn.root.watch(10)
except KeyboardInterrupt:
    started = time.monotonic()
    if sys.argv[2] != "beside":
        assert conn.root.add(1, 2) == 3
        while conn.root.seen() != ("cancelled",):
            time.sleep(0.01)
    print("interrupted", time.monotonic() - started < 8, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["alone", "beside"])
def test_case_65_ctrl_c(connect: Connect, how: str) -> None:
    """Ctrl-C ends a wait, the call is cancelled, and the next one is answered at once."""
    options = {"concurrent_calls": 4} if how == "beside" else {}
    conn = connect(served=options)
    port = conn._channel.stream.sock.getpeername()[1]
    done = in_process(INTERRUPTED, str(port), how).communicate(timeout=30)
    assert done == ("interrupted True\n", "")


def test_case_65_a_peer_of_rpycs_is_left_alone(connect: Connect) -> None:
    """A peer that does not know the extension is not told, and its late answer is dropped."""
    conn = connect()
    conn._codec.features = 0
    conn._defers = False
    sleep = conn.root.sleep
    with pytest.raises(TimeoutError):
        conn.call(sleep, 0.3, timeout=0.05)
    conn.root.add(1, 2)
    assert conn._session.pending.unknown == 0
    assert len(conn._session.pending) == 0


IN_MID_SEND = """
import os, signal, sys, time
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
conn.root.add(1, 2)
os.kill(int(sys.argv[2]), signal.SIGSTOP)
signal.setitimer(signal.ITIMER_REAL, 0.3)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    conn.root.take(bytes(64 << 20))
except KeyboardInterrupt:
    os.kill(int(sys.argv[2]), signal.SIGCONT)
    print(conn.root.add(1, 2), flush=True)
"""


def test_case_66_interrupted_in_mid_send() -> None:
    """A frame of which a part has gone is completed, by whoever sends next."""
    with program() as (port, server):
        done = in_process(IN_MID_SEND, str(port), str(server.pid)).communicate(timeout=30)
        assert done == ("3\n", "")


IN_A_HANDLER = """
import signal, sys, time
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
conn.root.add(1, 2)
seen = []
def handle(*_):
    try:
        conn.root.add(3, 4)
    except Exception as error:
        seen.append(type(error).__name__)
    seen.append("went on")
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.2)
started = time.monotonic()
if sys.argv[2] != "alone":
    import threading
    threading.Thread(target=conn.root.sleep, args=(0.5,)).start()
    time.sleep(0.05)
outcome = conn.root.sleep(0.5) if sys.argv[2] != "serving" else (conn.serve(0.5), "served")[1]
print(outcome, seen, time.monotonic() - started < 5, flush=True)
conn.close()
"""


def test_case_67_a_signal_handler_that_asks(connect: Connect) -> None:
    """A signal handler that asks over the connection being read is refused; nothing hangs."""
    conn = connect()
    port = conn._channel.stream.sock.getpeername()[1]
    out, err = in_process(IN_A_HANDLER, str(port), "alone").communicate(timeout=30)
    assert (out, err) == ("slept ['LocalProtocolError', 'went on'] True\n", "")
    assert LocalProtocolError.__mro__[1].__name__ == "ProtocolError"


@pytest.mark.parametrize(("what", "outcome"), [("beside", "slept"), ("serving", "served")])
def test_case_67_a_signal_handler_beside_a_reader(
    connect: Connect, what: str, outcome: str
) -> None:
    """While another thread reads, a signal handler may ask."""
    conn = connect(served={"concurrent_calls": 4})
    port = conn._channel.stream.sock.getpeername()[1]
    out, err = in_process(IN_A_HANDLER, str(port), what).communicate(timeout=30)
    assert (out, err) == (f"{outcome} ['went on'] True\n", "")


def test_case_59_a_peer_that_does_not_serve(connect: Connect) -> None:
    """A server that calls a client which does not serve is told so when the time is over."""
    conn = connect(served={"sync_request_timeout": 0.3})
    kept: list[Any] = []
    conn.root.call(lambda: kept.append(1))
    assert kept == [1]
    other = served(conn)
    with pytest.raises(TimeoutError, match="the peer may not be serving"):
        other.root  # the client's service; the client does nothing at all
    assert conn.root.add(1, 2) == 3


class Callback:
    """Something that a program has called when an answer is there."""

    def __call__(self, result: Any) -> None:
        assert result.value == 3


def test_case_85_a_storm_of_timeouts() -> None:
    """What has expired is forgotten, its callbacks too, though no answer comes."""
    with program() as (port, process):
        conn = rpyc.connect("127.0.0.1", port)
        add = rpyc.async_(conn.root.add)
        os.kill(process.pid, signal.SIGSTOP)
        callbacks = []
        for number in range(5000):
            callback = Callback()
            callbacks.append(weakref.ref(callback))
            add.timeout = 0.001 if number % 2 else 30
            add(1, 2).add_callback(callback)
        add.timeout = 0.001
        for _ in range(5000):
            add(1, 2)
        del callback
        assert sum(ref() is not None for ref in callbacks[1::2]) == 0
        assert all(ref() is not None for ref in callbacks[::2])
        os.kill(process.pid, signal.SIGCONT)
        add.timeout = 30
        assert add(1, 2).value == 3
        assert conn._session.pending.unknown == 0
        conn.close()


# -- several calls at once


def test_case_62_slow_and_fast(connect: Connect, kind: type[Server]) -> None:
    """With ``concurrent_calls`` a slow call does not block a fast one on the same connection."""
    conn = connect(kind, served={"concurrent_calls": 4})
    slow = rpyc.async_(conn.root.hold)()
    assert conn.call(conn.root.add, 1, 2, timeout=5) == 3
    assert not slow.ready
    served(conn)._local_root.released.set()
    assert slow.value is None


def test_case_62_the_limit(connect: Connect) -> None:
    """No more calls run at once than the limit says; the others begin in their order."""
    conn = connect(served={"concurrent_calls": 2})
    order: list[int] = []
    running = [0]
    most = [0]

    def note(number: int) -> None:
        order.append(number)

    class Counting(rpyc.Service):
        def exposed_work(self, number: int) -> None:
            order.append(number)
            running[0] += 1
            most[0] = max(most[0], running[0])
            time.sleep(0.02)
            running[0] -= 1

    with rpyc.connect_thread(
        remote_service=Counting, remote_config={"concurrent_calls": 2}
    ) as other:
        results = [rpyc.async_(other.root.work)(number) for number in range(20)]
        for result in results:
            result.wait()
    assert most[0] <= 2
    # Two that begin at the same moment may note it the other way round.
    assert all(abs(place - number) <= 1 for place, number in enumerate(order)), order
    assert conn.root.add(1, 2) == 3


def test_case_62_nested_calls_need_no_free_worker(connect: Connect) -> None:
    """Calls that wait for calls of the other side leave their place to those."""
    conn = connect(served={"concurrent_calls": 2})
    nest = conn.root.nest

    def back(depth: int) -> int:
        return nest(depth, back)  # type: ignore[no-any-return]

    assert nest(20, back) == 20


def test_without_it_calls_come_one_after_the_other(connect: Connect, kind: type[Server]) -> None:
    """Unless it is asked for, requests of one connection are served in order."""
    conn = connect(kind)
    slow = rpyc.async_(conn.root.sleep)(0.3)
    assert conn.root.add(1, 2) == 3
    assert slow._ready


# -- signs of life


def program(config: dict[str, Any] | None = None) -> Any:
    """Runs the server of these tests as a program."""
    import contextlib

    @contextlib.contextmanager
    def run() -> Iterator[tuple[int, subprocess.Popen[str]]]:
        command = [sys.executable, "-m", "tests.faults.serving", repr(config or {})]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            try:
                yield int(process.stdout.readline()), process
            finally:
                process.kill()
                process.stdout.close()

    return run()


@pytest.mark.parametrize("who", ["client", "server"])
def test_case_75_a_stopped_server(who: str) -> None:
    """Whichever side asks for heartbeats, the client finds a stopped server in three intervals."""
    config = {"heartbeat": 1.0}  # less is too little where the machine is busy
    states: list[str] = []
    with program(config if who == "server" else None) as (port, process):
        conn = rpyc.connect("127.0.0.1", port, config=config if who == "client" else {})
        conn.add_state_callback(lambda conn, state: states.append(state))
        assert conn.root.add(1, 2) == 3
        time.sleep(3.5)
        assert conn.state == "open"
        os.kill(process.pid, signal.SIGSTOP)
        started = time.monotonic()
        eventually(lambda: conn.closed)
        assert time.monotonic() - started < 10
        assert "no sign of life" in str(conn.reason)
        eventually(lambda: states == ["silent", "closed"])
        with pytest.raises(ConnectionClosed, match="no sign of life"):
            conn.root.add(1, 2)


def test_case_75_a_call_in_progress_fails() -> None:
    """A thread that waits for a stopped server is told after three intervals."""
    with program() as (port, process):
        conn = rpyc.connect("127.0.0.1", port, config={"heartbeat": 0.3})
        pending = rpyc.async_(conn.root.sleep)(60)
        threading.Timer(0.2, os.kill, (process.pid, signal.SIGSTOP)).start()
        started = time.monotonic()
        with pytest.raises(ConnectionClosed, match="no sign of life"):
            pending.wait()
            pending.value
        assert time.monotonic() - started < 15


STOPS = """
import os, signal, sys, time
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]), config={"heartbeat": 0.4})
conn.root.add(1, 2)
time.sleep(0.1)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    pass
print(conn.root.add(1, 2), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_case_75_a_client_that_computes_and_one_that_stops(connect: Connect) -> None:
    """A single-threaded client that computes is alive; a stopped one is found by the server."""
    conn = connect()
    port = conn._channel.stream.sock.getpeername()[1]
    child = in_process(STOPS, str(port))
    try:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "3\n", child.stderr.read()
        other = next(
            one for one in tuple(heartbeat_links()) if one.heart is not None and not one.lost
        )
        started = time.monotonic()
        eventually(lambda: other.lost)
        assert time.monotonic() - started < 10
    finally:
        child.kill()
        child.communicate()
    assert conn.root.add(1, 2) == 3


def heartbeat_links() -> list[Any]:
    """Returns all links of this process."""
    from rpyc_like.link import forking

    return [one for one in list(forking._alive) if hasattr(one, "heart")]


def test_case_75_busy_on_both_sides(connect: Connect, kind: type[Server]) -> None:
    """Heartbeats go on while a side serves something that takes long, and callbacks do."""
    conn = connect(kind, config={"heartbeat": 0.5})
    assert conn.root.sleep(1.8) == "slept"
    assert conn.root.call(time.sleep, 1.8) is None
    assert conn.state == "open"


def test_a_ping_is_answered_while_a_call_runs(connect: Connect) -> None:
    """Who serves something that takes long answers pings meanwhile."""
    conn = connect()
    slow = rpyc.async_(conn.root.hold)()
    other = served(conn)
    eventually(lambda: other._link.running)
    conn.ping("x", timeout=5)
    assert not slow._ready
    other._local_root.released.set()
    assert slow.value is None


def test_quick_calls_wake_nobody_else(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that looks after busy connections looks now and then, not after each call."""
    conn = connect()
    looks: list[int] = []
    calls = housekeeping.housekeeper._calls
    look = calls.look
    monkeypatch.setattr(calls, "look", lambda: (looks.append(1), look()))
    add = conn.root.add
    for pause in (0, 0.002):
        del looks[:]
        started = time.monotonic()
        for step in range(200):
            assert add(step, 1) == step + 1
            time.sleep(pause)
        assert len(looks) <= 2 * (time.monotonic() - started) / housekeeping.TICK + 4

    def still() -> bool:
        del looks[:]
        time.sleep(5 * housekeeping.TICK)
        return housekeeping.housekeeper.asleep and len(looks) <= 1

    eventually(still, 30)  # other tests may have left something running


def test_pings_are_not_answered_into_a_full_stream(pair: Any) -> None:
    """What is answered beside a busy thread leaves at once and whole, or that thread answers."""
    client, server = pair(rpyc.VoidService)
    client.ping()
    ping = (1, None, 0, 0)
    server._codec.serving.update((901, 902, 903))
    assert server.serve_at_once(901, ping, ("x",))
    assert not server.serve_at_once(902, ping, ("x" * 5000,))
    server._link.sender.hold(b"")  # something is waiting to be written
    assert not server.serve_at_once(903, ping, ("x",))
    server._link.sender.flush()


def test_the_end_is_told_while_a_call_is_served(pair: Any) -> None:
    """The state changes at once; the service is told when its calls have ended."""
    entered, go_on = threading.Event(), threading.Event()
    gone = threading.Event()

    class Busy(rpyc.Service):
        def exposed_work(self) -> None:
            entered.set()
            assert go_on.wait(60)

        def on_disconnect(self, conn: Any) -> None:
            gone.set()

    client, server = pair(Busy)
    states: list[str] = []
    server.add_state_callback(lambda conn, state: states.append(state))
    client.async_request(8, client.root, "work", (), ())
    assert entered.wait(5)
    client._channel.stream.close()
    eventually(lambda: states == ["closed"], 20)
    assert not gone.is_set()
    go_on.set()
    assert gone.wait(15)
    time.sleep(0.05)
    assert states == ["closed"]


def test_states(connect: Connect) -> None:
    """A program can follow the state of a connection."""
    conn = connect()
    seen: list[str] = []
    conn.add_state_callback(lambda conn, state: seen.append(state))
    conn.add_state_callback(lambda conn, state: seen.append(1 / 0))  # type: ignore[arg-type]
    assert (conn.state, conn.reason) == ("open", None)
    conn.close()
    assert (conn.state, conn.reason) == ("closed", None)
    assert seen == ["closing", "closed"]
    other = connect()
    other.add_state_callback(lambda conn, state: seen.append((state, str(conn.reason))))
    there = served(other)
    there.close()
    with pytest.raises(ConnectionClosed):
        other.root.add(1, 2)
    eventually(lambda: seen[-1][0] == "closed", 20)  # perhaps in another thread
    assert other.state == "closed"
    assert isinstance(other.reason, EOFError)
