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
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link import housekeeping
from rpyc_like.utils.server import Server, ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually

from .serving import Patient

ROOT = Path(__file__).resolve().parents[2]
QUIET = logging.getLogger("tests.waits")
QUIET.setLevel(logging.CRITICAL)

Connect = Callable[..., Any]


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


def output(program: str, *arguments: str) -> tuple[str, str]:
    """Returns what a Python program writes; it may take long where the machine is busy."""
    with in_process(program, *arguments) as child:
        try:
            return child.communicate(timeout=200)
        finally:
            child.kill()


def seconds_to_end(program: str, *arguments: str) -> float:
    """Returns how long a Python program takes to end once it has written "ending", and no more."""
    with in_process(program, *arguments) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ending\n"
            started = time.monotonic()
            written = child.communicate(timeout=200)
            took = time.monotonic() - started
        finally:
            child.kill()
    assert (child.returncode, *written) == (0, "", "")
    return took


# -- cancellation


def give_up(conn: Any) -> None:
    """Has the peer serve what does not notice its end, and gives up."""
    running = served(conn)._link.running
    result = rpyc.async_(conn.root.hold)()
    eventually(lambda: result.id_ in running)  # the call before it may still be there, too
    result.as_future().cancel()


def test_timed_out_calls_are_cancelled(connect: Connect, kind: type[Server]) -> None:
    """A function that asks is told that nobody waits for it any more, in all three ways."""
    conn = connect(kind)
    watch, service = conn.root.watch, served(conn)._local_root
    with pytest.raises(TimeoutError, match=r"no answer to CALL within 0\.1 s"):
        conn.call(watch, 10, timeout=0.1)
    with pytest.raises(TimeoutError):
        rpyc.timed(watch, 0.1)(10).value
    later = rpyc.async_(watch)
    later.timeout = 0.1
    with pytest.raises(TimeoutError):
        later(10).value
    # One that is cancelled before its turn does not begin: a busy machine may be that slow.
    eventually(lambda: conn.root.seen() == ("cancelled",) * service.begun)
    assert rpyc.async_(watch).timeout == 0.1
    later.timeout = None


def test_the_configured_timeout_cancels(connect: Connect) -> None:
    """It is the same with ``sync_request_timeout``, and with a chain."""
    conn = connect()
    service, patience = served(conn)._local_root, conn._config["sync_request_timeout"]
    chain = rpyc.lazy(conn.root).watch(10)
    conn._config["sync_request_timeout"] = 0.2
    with pytest.raises(TimeoutError):
        conn.root.watch(10)
    with pytest.raises(TimeoutError):
        rpyc.fetch(chain)
    conn._config["sync_request_timeout"] = patience
    eventually(lambda: conn.root.seen() == ("cancelled",) * service.begun)


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
    assert service.ended.wait(60)


def test_cancelled_before_it_began(connect: Connect) -> None:
    """What is cancelled while it waits for its turn is never begun."""
    conn = connect()
    watch = rpyc.timed(conn.root.watch, 0.05)
    first = rpyc.async_(conn.root.hold)()
    result = watch(0)
    with pytest.raises(TimeoutError):
        result.value
    other = served(conn)
    service = other._local_root
    eventually(lambda: other._link.calls.is_cancelled(result.id_))
    service.released.set()
    assert first.value is None
    assert conn.root.seen() == ()
    assert service.begun == 0


def test_case_62_65_the_next_call_is_not_delayed(connect: Connect, kind: type[Server]) -> None:
    """A call that does not notice its end delays the next one by a moment only."""
    conn = connect(kind)
    add = conn.root.add
    for _ in range(3):
        give_up(conn)
        assert add(1, 2) == 3  # which would time out, for nobody is released
    other = served(conn)
    eventually(lambda: len(other._link.running) == 3)  # the last answer's request has ended
    other._local_root.released.set()
    eventually(lambda: not other._link.running)
    assert add(1, 2) == 3


def test_replacements_are_bounded(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer cannot have any number of threads started by cancelling what it asked for."""
    monkeypatch.setattr(housekeeping, "_MOST_REPLACED", 2)
    conn = connect()
    add = rpyc.async_(conn.root.add)
    for _ in range(3):
        give_up(conn)
    later = add(1, 2)
    time.sleep(6 * housekeeping.TICK)
    assert not later.ready
    served(conn)._local_root.released.set()
    assert later.value == 3


INTERRUPTED = """
import os, signal, sys, threading, time
import rpyc_like as rpyc
from tests.support.settled import once_settled, wait_until_settled
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
conn.root.add(1, 2)
if sys.argv[2] == "beside":
    thread = threading.Thread(target=conn.root.watch, args=(60,), daemon=True)
    thread.start()
    wait_until_settled(thread, ("recv",))
begun = threading.Event()
once_settled(lambda: os.kill(os.getpid(), signal.SIGINT), begun.is_set)
try:
    conn.root.watch(60, begun.set)
except KeyboardInterrupt:
    if sys.argv[2] != "beside":
        assert conn.root.add(1, 2) == 3
        while conn.root.seen() != ("cancelled",):
            time.sleep(0.01)
    print("interrupted", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["alone", "beside"])
def test_case_65_ctrl_c(connect: Connect, how: str) -> None:
    """Ctrl-C ends a wait, the call is cancelled, and the next one is answered at once."""
    options = {"concurrent_calls": 4} if how == "beside" else {}
    conn = connect(served=options)
    port = conn._channel.stream.sock.getpeername()[1]
    done = output(INTERRUPTED, str(port), how)
    assert done == ("interrupted\n", "")


INTERRUPTED_WAIT = """
import os, signal, sys, threading
from concurrent.futures import CancelledError
import rpyc_like as rpyc
from tests.support.eventually import eventually
from tests.support.settled import once_settled
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
watch = conn.root.watch
kept = None
def keep(conn, *args):
    global kept
    kept = rpyc.async_(watch)(*args)
    kept.wait()
class Other(rpyc.AsyncResult):
    pass
def other(conn, *args):
    rpyc.core.protocol.AsyncResult = Other
    watch(*args)
wait = {
    "call": lambda conn, *args: conn.call(watch, *args, timeout=60),
    "timed": lambda conn, *args: rpyc.timed(watch, 60)(*args).value,
    "timed wait": lambda conn, *args: rpyc.timed(watch, 60)(*args).wait(),
    "replaced": other,
    "kept": keep,
}[sys.argv[2]]
begun = threading.Event()
once_settled(lambda: os.kill(os.getpid(), signal.SIGINT), begun.is_set)
try:
    wait(conn, 60, begun.set)
except KeyboardInterrupt:
    if kept is not None:
        assert conn.root.seen() == () and not kept.ready
        assert kept.cancel() and not kept.cancel()
        try:
            kept.value
        except CancelledError:
            pass
    assert conn.root.add(1, 2) == 3
    eventually(lambda: conn.root.seen() == ("cancelled",))
    print("interrupted", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["call", "timed", "timed wait", "replaced", "kept"])
def test_ctrl_c_in_each_wait(connect: Connect, how: str) -> None:
    """Ctrl-C cancels what the package waits for; a held result is cancelled by its method only."""
    conn = connect(served={"concurrent_calls": 4})
    port = conn._channel.stream.sock.getpeername()[1]
    assert output(INTERRUPTED_WAIT, str(port), how) == ("interrupted\n", "")


def test_case_65_a_peer_of_rpycs_is_left_alone(connect: Connect) -> None:
    """A peer that does not know the extension is not told, and its late answer is dropped."""
    conn = connect()
    conn._codec.features = 0
    conn._defers = False
    with pytest.raises(TimeoutError):
        conn.call(conn.root.hold, timeout=0.05)
    served(conn)._local_root.released.set()
    conn.root.add(1, 2)
    assert conn._session.pending.unknown == 0
    assert len(conn._session.pending) == 0


IN_MID_SEND = """
import os, signal, sys, time
import rpyc_like as rpyc
from tests.support.settled import once_settled
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
conn.root.add(1, 2)
os.kill(int(sys.argv[2]), signal.SIGSTOP)
signal.signal(signal.SIGINT, signal.default_int_handler)
once_settled(lambda: os.kill(os.getpid(), signal.SIGINT), inside=("send",))
try:
    conn.root.take(bytes(64 << 20))
except KeyboardInterrupt:
    os.kill(int(sys.argv[2]), signal.SIGCONT)
    print(conn.root.add(1, 2), flush=True)
"""


def test_case_66_interrupted_in_mid_send() -> None:
    """A frame of which a part has gone is completed, by whoever sends next."""
    with program() as (port, server):
        done = output(IN_MID_SEND, str(port), str(server.pid))
        assert done == ("3\n", "")


IN_A_HANDLER = """
import os, signal, sys, threading
import rpyc_like as rpyc
from tests.support.settled import once_settled, wait_until_settled
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
if sys.argv[2] != "alone":
    thread = threading.Thread(target=conn.root.sleep, args=(2,))
    thread.start()
    wait_until_settled(thread, ("recv",))
once_settled(lambda: os.kill(os.getpid(), signal.SIGALRM))
outcome = conn.root.sleep(2) if sys.argv[2] != "serving" else (conn.serve(2), "served")[1]
print(outcome, seen, flush=True)
conn.close()
"""


def test_case_67_a_signal_handler_that_asks(connect: Connect) -> None:
    """A signal handler that asks over the connection being read is answered."""
    conn = connect()
    port = conn._channel.stream.sock.getpeername()[1]
    out, err = output(IN_A_HANDLER, str(port), "alone")
    assert (out, err) == ("slept ['went on']\n", "")


@pytest.mark.parametrize(("what", "outcome"), [("beside", "slept"), ("serving", "served")])
def test_case_67_a_signal_handler_beside_a_reader(
    connect: Connect, what: str, outcome: str
) -> None:
    """While another thread reads, a signal handler may ask."""
    conn = connect(served={"concurrent_calls": 4})
    port = conn._channel.stream.sock.getpeername()[1]
    out, err = output(IN_A_HANDLER, str(port), what)
    assert (out, err) == (f"{outcome} ['went on']\n", "")


def test_case_59_a_peer_that_does_not_serve(connect: Connect) -> None:
    """A server that calls a client which does not serve is told so when the time is over."""
    conn = connect()
    kept: list[Any] = []
    conn.root.call(lambda: kept.append(1))
    assert kept == [1]
    other = served(conn)
    other._config["sync_request_timeout"] = 0.3
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
    assert conn.call(conn.root.add, 1, 2, timeout=30) == 3
    assert not slow.ready
    served(conn)._local_root.released.set()
    assert slow.value is None


def test_case_62_the_limit(connect: Connect) -> None:
    """No more calls run at once than the limit says; the others begin in their order."""
    order: list[int] = []
    running: set[int] = set()
    most = [0]
    ends = [threading.Event() for _ in range(12)]

    class Counting(rpyc.Service):
        def exposed_work(self, number: int) -> None:
            running.add(number)
            most[0] = max(most[0], len(running))
            order.append(number)
            assert ends[number].wait(60)
            running.remove(number)

    with rpyc.connect_thread(
        remote_service=Counting, remote_config={"concurrent_calls": 2}
    ) as other:
        work = rpyc.async_(other.root.work)
        results = [work(number) for number in range(12)]
        eventually(lambda: len(order) == 2)
        assert sorted(order) == [0, 1]  # which thread notes its number first is open
        for count in range(3, 13):
            ends[order[count - 3]].set()
            eventually(lambda count=count: len(order) == count)
            assert order[-1] == count - 1
        for end in ends:
            end.set()
        for result in results:
            result.wait()
    assert most[0] <= 2


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
    config = {"heartbeat": 2.0}  # less is too little where the machine is busy
    states: list[str] = []
    with program(config if who == "server" else None) as (port, process):
        conn = rpyc.connect("127.0.0.1", port, config=config if who == "client" else {})
        conn.add_state_callback(lambda conn, state: states.append(state))
        assert conn.root.add(1, 2) == 3
        time.sleep(7)
        assert conn.state == "open"
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: conn.closed)
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
        pending.set_expiry(None)
        with pytest.raises(ConnectionClosed, match="no sign of life"):
            pending.value


STOPS = """
import os, signal, sys, time
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]), config={"heartbeat": 1.0})
conn.root.add(1, 2)
time.sleep(0.1)
end = time.monotonic() + 3.5
while time.monotonic() < end:
    pass
print(conn.root.add(1, 2), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_case_75_a_client_that_computes_and_one_that_stops(connect: Connect) -> None:
    """A single-threaded client that computes is alive; a stopped one is found by the server."""
    conn = connect()
    port = conn._channel.stream.sock.getpeername()[1]
    before = heartbeat_links()
    child = in_process(STOPS, str(port))
    try:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "3\n", child.stderr.read()
        (other,) = (one for one in heartbeat_links() if one.heart is not None and one not in before)
        eventually(lambda: other.lost)
    finally:
        child.kill()
        child.communicate()
    assert conn.root.add(1, 2) == 3


def heartbeat_links() -> list[Any]:
    """Returns all links of this process."""
    from rpyc_like.link import fork

    return [one for one in list(fork._alive) if hasattr(one, "heart")]


def test_case_75_busy_on_both_sides(connect: Connect, kind: type[Server]) -> None:
    """Heartbeats go on while a side serves something that takes long, and callbacks do."""
    conn = connect(kind, config={"heartbeat": 1.0})
    assert conn.root.sleep(3.3) == "slept"
    assert conn.root.call(time.sleep, 3.3) is None
    assert conn.state == "open"


def test_a_ping_is_answered_while_a_call_runs(connect: Connect) -> None:
    """Who serves something that takes long answers pings meanwhile."""
    conn = connect()
    slow = rpyc.async_(conn.root.hold)()
    other = served(conn)
    eventually(lambda: other._link.running)
    conn.ping("x", timeout=30)
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

    eventually(still)  # other tests may have left something running


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
    assert entered.wait(60)
    client._channel.stream.close()
    eventually(lambda: states == ["closed"])
    assert not gone.is_set()
    go_on.set()
    assert gone.wait(60)
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
    eventually(lambda: seen[-1][0] == "closed")  # perhaps in another thread
    assert other.state == "closed"
    assert isinstance(other.reason, EOFError)
