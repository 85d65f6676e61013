"""Those who say nothing do not keep out those who speak, whatever the server."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core import brine
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer
from rpyc_like.epc.service import EPCService
from rpyc_like.erlport import erlterms
from rpyc_like.erlport.service import ErlangService
from rpyc_like.errors import LimitExceeded
from rpyc_like.lib import primitives
from rpyc_like.link.admission import Admission, ListenerAccount, address_key
from rpyc_like.link.client_login import TokenLogin
from rpyc_like.utils.registry import TCPRegistryClient
from rpyc_like.utils.registry_server import TCPRegistryServer, UDPRegistryServer
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.peers import OURS, environment
from tests.support.processes import children, has_proc
from tests.support.sockets import receive_exactly

RPYC = ["threaded", "pool", "forking", "oneshot", "gevent", "aio"]
EPC = ["epc", "epc-threads", "epc-service", "aio-epc"]
ERLANG = ["erlang", "aio-erlang"]
LASTING = [*RPYC, *EPC, *ERLANG]
"""Families of servers; a registry hangs up after its answer."""
ONE_BY_ONE = ["oneshot", "epc"]

LIMIT = 25.0
"""Seconds that nothing here takes, unless it waits for a silent client: a login has 30."""

Door = Callable[..., "Process"]


class Process:
    """A server in a process of its own."""

    def __init__(self, family: str, options: dict[str, Any]) -> None:
        args = [sys.executable, "-u", "-m", "tests.attacks.doors", family, repr(options)]
        self.family = family
        self.process = subprocess.Popen(
            args,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(OURS),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.address = ("127.0.0.1", int(line))
        self.socks: list[socket.socket] = []

    def ask(self, expression: str) -> Any:
        """Returns the value of an expression there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return ast.literal_eval(self.process.stdout.readline())

    def silent(self, count: int, data: bytes = b"") -> list[socket.socket]:
        """Returns sockets that are connected and say nothing, or only ``data``."""
        socks = []
        for _ in range(count):
            sock = socket.create_connection(self.address, 10)
            if data:
                with contextlib.suppress(OSError):
                    sock.sendall(data)
            socks.append(sock)
        self.socks += socks
        return socks

    def add(self, **options: Any) -> Any:
        """Returns 1 + 2, which an honest client asks for."""
        with self.client(**options) as ask:
            return ask()

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[Callable[[], Any]]:
        """Gives what asks for 1 + 2, over one connection; it has not said anything yet."""
        if self.family in RPYC:
            with rpyc.connect(*self.address, **options) as conn:
                yield lambda: conn.root.add(1, 2)
        elif self.family in EPC:
            client = EPCClient(self.address, **options)
            yield lambda: client.call_sync("add", [1, 2], timeout=10)
            client.close()
        elif self.family in ERLANG:
            with socket.create_connection(self.address, 10) as sock:
                yield lambda: over_port(sock)
        else:
            yield lambda: look_up(self.address)

    def close(self) -> None:
        for sock in self.socks:
            sock.close()
        self.process.kill()
        self.process.communicate()


def over_port(sock: socket.socket) -> Any:
    """Asks as Erlang does."""
    term = erlterms.encode((erlterms.Atom("add"), 1, 2))
    sock.sendall(struct.pack(">I", len(term)) + term)
    (size,) = struct.unpack(">I", receive_exactly(sock, 4))
    return erlterms.decode(receive_exactly(sock, size))[0]


def look_up(address: tuple[str, int]) -> int:
    """Registers a service and finds it."""
    client = TCPRegistryClient(*address)
    assert client.register(("ADD",), 7)
    return 3 if client.discover("ADD") == (("127.0.0.1", 7),) else 0


@pytest.fixture
def door() -> Iterator[Door]:
    """Starts servers."""
    made: list[Process] = []

    def make(family: str, **options: Any) -> Process:
        if family == "gevent":
            pytest.importorskip("gevent")
        if family == "forking" and not hasattr(os, "fork"):
            pytest.skip("needs fork")
        made.append(Process(family, options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def cut(socks: list[socket.socket]) -> list[bool]:
    """Returns of which the other side has hung up."""
    ready = select.select(socks, [], [], 0)[0]
    return [sock in ready for sock in socks]


def ended(socks: list[socket.socket]) -> int:
    """Return on how many clients the other side has hung up, whatever it has said before."""
    count = 0
    for sock in socks:
        sock.settimeout(0)
        try:
            while sock.recv(1000):
                pass
            count += 1
        except BlockingIOError:
            pass
        except OSError:
            count += 1
    return count


@pytest.mark.parametrize("family", LASTING)
def test_case_100_silent_clients_keep_nobody_out(door: Door, family: str) -> None:
    """An honest client is served beside more silent ones than there may be; these are cut off."""
    there = door(family, max_silent_clients=10)
    socks = there.silent(30)
    started = time.monotonic()
    with there.client() as ask:  # while one is served, a server of one client goes on
        assert ask() == 3
        assert time.monotonic() - started < LIMIT
        eventually(lambda: ended(socks) >= 20)


def test_case_100_silent_clients_of_a_registry(door: Door) -> None:
    """A registry, whose limit is fixed, cuts off as many as there are too many."""
    there = door("registry")
    there.silent(130)
    assert there.add() == 3
    eventually(lambda: any("(limit is 100, MAX_CLIENTS" in line for line in there.ask("lines")))


@pytest.mark.parametrize("family", LASTING)
def test_case_100_the_oldest_makes_room(door: Door, family: str) -> None:
    """Below the limit nobody is cut off; above it the oldest are, and no others."""
    there = door(family, max_silent_clients=10)
    socks = there.silent(10)
    with there.client() as ask:
        if family not in ONE_BY_ONE:
            assert ask() == 3
        eventually(lambda: cut(socks)[0])
        assert cut(socks) == [True] + [False] * 9
        more = there.silent(4)
        gone = 5 if family in ONE_BY_ONE else 4
        eventually(lambda: sum(cut(socks)) == gone)
        assert cut(socks) == [True] * gone + [False] * (10 - gone)
        assert not any(cut(more))
        assert ask() == 3


@pytest.mark.parametrize("family", [one for one in LASTING if one not in ONE_BY_ONE])
def test_case_100_those_who_have_spoken_stay(door: Door, family: str) -> None:
    """No number of silent clients makes one that has sent a message lose its connection."""
    there = door(family, max_silent_clients=5)
    with there.client() as first, there.client() as second:
        assert (first(), second()) == (3, 3)
        socks = there.silent(30)
        eventually(lambda: sum(cut(socks)) == 25)
        assert (first(), second()) == (3, 3)


@pytest.mark.parametrize(
    "family", ["threaded", "pool", "forking", "oneshot", "aio", "epc", "epc-threads", "erlang"]
)
def test_case_100_half_a_frame_is_silence(door: Door, family: str) -> None:
    """Clients that begin a frame and stop make room like those that say nothing."""
    there = door(family, max_silent_clients=10)
    socks = there.silent(30, b"\0\0\0" if family in ERLANG else b"0000")
    started = time.monotonic()
    with there.client() as ask:
        assert ask() == 3
        assert time.monotonic() - started < LIMIT
        eventually(lambda: ended(socks) >= 20)


@pytest.mark.parametrize("family", ["threaded", "pool", "aio", "epc-threads", "forking"])
def test_case_100_a_flood_from_many_threads(door: Door, family: str) -> None:
    """Honest clients are served while others connect all the time and say nothing."""
    there = door(family, max_silent_clients=50)
    over = threading.Event()
    connected: list[int] = []

    def flood() -> None:
        held: list[socket.socket] = []
        while not over.is_set():
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(there.address, 10))
                connected.append(1)
            if len(held) > 100:
                held.pop(0).close()
        for sock in held:
            sock.close()

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            started = time.monotonic()
            assert there.add() == 3
            assert time.monotonic() - started < LIMIT
        eventually(lambda: len(connected) > 300)
        eventually(lambda: there.ask("server.admission.silent") >= 50)
        assert there.ask("server.admission.silent") < 60  # some threads may take in one each
    finally:
        over.set()
        for thread in threads:
            join(thread)


@pytest.mark.parametrize("family", ["threaded", "pool", "aio", "epc", "epc-threads", "erlang"])
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits")
def test_case_100_descriptors_are_taken_from_the_silent(door: Door, family: str) -> None:
    """Where descriptors run out, silent clients lose theirs, and an honest client gets in."""
    there = door(family, descriptors=64)
    with there.client() as first:
        if family != "epc":
            assert first() == 3
        there.silent(60)
        started = time.monotonic()
        assert there.add() == 3
        assert time.monotonic() - started < LIMIT
        if family != "epc":
            assert first() == 3


@pytest.mark.skipif(not has_proc(), reason="needs /proc")
def test_case_100_silent_clients_are_few_processes(door: Door) -> None:
    """A forking server has no more children than there may be silent clients."""
    there = door("forking", max_silent_clients=10)
    there.silent(60)
    assert there.add() == 3
    eventually(lambda: there.ask("len(server._children)") <= 11)
    eventually(lambda: len(children(there.process.pid)) <= 12)


@pytest.mark.parametrize("family", ["threaded", "pool", "aio", "oneshot"])
def test_case_100_services_are_told_of_silent_clients(door: Door, family: str) -> None:
    """`on_connect` runs when a client has connected, before it says anything."""
    there = door(family)
    there.silent(1)
    eventually(lambda: there.ask("Adder.connected") == 1)


def test_case_100_cuts_are_counted_in_the_log(door: Door) -> None:
    """The first client that is cut off is logged, and the others as a number."""
    there = door("threaded", max_silent_clients=5)
    socks = there.silent(40)
    eventually(lambda: sum(cut(socks)) == 35)
    lines = [line for line in there.ask("lines") if "no room" in line]
    assert len(lines) == 1
    there.ask("server.admission.close()")
    lines = [line for line in there.ask("lines") if "no room" in line]
    assert len(lines) == 2
    assert "(and 33 more since)" in lines[1]


# -- shares of addresses


class FakeSocket:
    """A socket of an address."""

    family = socket.AF_INET6

    def __init__(self, host: str) -> None:
        self.host = host

    def fileno(self) -> int:
        return -1

    def getpeername(self) -> tuple[Any, ...]:
        return (self.host, 1, 0, 0)


def admitted(admission: Admission, host: str, gone: list[str]) -> Any:
    """Takes in a client of an address; notes it in ``gone`` when it is hung up on."""
    sock: Any = FakeSocket(host)
    client = admission.admit(sock, False)
    client.hang_up = lambda: gone.append(host)
    return client


@pytest.mark.parametrize(
    "flood",
    [
        lambda number: "203.0.113.9",
        lambda number: "::ffff:203.0.113.9" if number % 2 else "203.0.113.9",
        lambda number: f"2001:db8::{number:x}",
    ],
)
def test_case_100_one_address_pushes_out_its_own(flood: Callable[[int], str]) -> None:
    """However many an address has, the silent clients of others stay; a /64 is one address."""
    admission, gone = Admission(20), []
    others = ["198.51.100.1", "2001:db8:0:1::1", "127.0.0.1", "::1"]
    for host in others:
        admitted(admission, host, gone)
    for number in range(100):
        admitted(admission, flood(number), gone)
    assert admission.silent == 20
    assert len(gone) == 84
    assert not set(gone) & set(others)
    admitted(admission, "192.0.2.7", gone)  # more room for others is its as well
    assert not set(gone) & set(others)


def test_case_100_an_address_may_fill_what_is_free() -> None:
    """Nobody is cut off before there is no room, whatever the shares."""
    admission, gone = Admission(20), []
    for _ in range(20):
        admitted(admission, "203.0.113.9", gone)
    assert not gone


@pytest.mark.parametrize(
    ("hosts", "arguments", "expected"),
    [
        (["198.51.100.{}"], {}, "(limit is 8, argument 'max_silent_clients' of the server)"),
        (["203.0.113.9"], {}, "; for one address it is 2, a quarter of it)"),
        (
            ["203.0.113.9"],
            {"max_silent_per_address": 3},
            "; for one address it is 3, argument 'max_silent_per_address')",
        ),
        (
            ["203.0.113.9"] * 8 + ["198.51.100.{}"],
            {"max_silent_per_address": 3},
            "; for one address it is 3, argument 'max_silent_per_address')",
        ),
    ],
    ids=["of all", "a quarter", "of an address", "of another address"],
)
def test_case_100_the_log_names_the_limit(
    hosts: list[str],
    arguments: dict[str, int],
    expected: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The line about a client that is cut off says which argument bounds it, and its value."""
    admission = Admission(8, **arguments)
    gone: list[str] = []
    for number in range(9):
        host = hosts[min(number, len(hosts) - 1)]
        admitted(admission, host.format(number), gone)
    (line,) = [one.getMessage() for one in caplog.records if "cut off" in one.getMessage()]
    assert expected in line


def test_case_100_the_log_names_the_errors_of_the_system(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the system has nothing left, no argument is blamed for who is cut off."""
    admission, gone = Admission(8), []
    admitted(admission, "203.0.113.9", gone)
    assert admission.make_room(OSError(errno.EMFILE, "too many open files")) == 1
    (line,) = [one.getMessage() for one in caplog.records if "cut off" in one.getMessage()]
    assert "too many open files" in line
    assert "max_silent" not in line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", ""])
def test_case_100_this_machine_has_no_share(host: str) -> None:
    """Clients of this machine are not told from one another."""
    assert address_key(host) is None


def test_case_100_a_flood_is_accepted_as_fast_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses in which clients may be read are few in a second, not in each accept."""
    paused: list[float] = []
    monkeypatch.setattr(primitives, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(primitives, "sleep", paused.append)
    admission = Admission(3)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            here, there = socket.socketpair()
            stack.enter_context(here)
            stack.enter_context(there)
            there.sendall(b"hello")  # and nobody reads it
            admission.admit(here, False)
        assert admission.silent == 3
        assert 0 < len(paused) <= 10
        monkeypatch.setattr(primitives, "monotonic", lambda: 1001.5)
        paused.clear()
        here, there = socket.socketpair()
        stack.enter_context(here)
        stack.enter_context(there)
        admission.admit(here, False)
        assert len(paused) == 10
    admission.close()


def test_case_100_who_has_logged_in_goes_last() -> None:
    """Silent clients that have logged in are cut off after those that have not."""
    admission, gone = Admission(3), []
    first = admitted(admission, "198.51.100.1", gone)
    assert admission.logged_in(first, None)
    for number in range(2, 9):
        admitted(admission, f"198.51.100.{number}", gone)
    assert gone == [f"198.51.100.{number}" for number in range(2, 7)]


# -- logins


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key")
    issued.cert_chain_pems[0].write_to_path(folder / "cert")
    return str(folder / "key"), str(folder / "cert")


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
"""The beginning of what a TLS client says."""


@pytest.mark.parametrize(
    ("family", "login"),
    [
        *(("threaded", login) for login in ("token", "tls", "block", "crawl")),
        *((family, "tls") for family in ("forking", "oneshot", "epc", "epc-threads", "aio")),
        *((family, "block") for family in ("pool", "forking", "epc", "aio", "erlang")),
        *((family, "crawl") for family in ("oneshot", "gevent", "epc-service", "aio-epc")),
        *((family, "token") for family in ("pool", "forking", "oneshot", "aio")),
        *((family, "tls") for family in ("pool", "erlang", "aio-erlang", "aio-epc")),
        *((family, "crawl") for family in ("pool", "forking", "aio", "erlang", "aio-erlang")),
    ],
)
def test_case_101_a_login_has_a_deadline(
    door: Door, family: str, login: str, files: tuple[str, str]
) -> None:
    """Who has not logged in in time is cut off, also if it sends a byte now and then."""
    given = {"files": files} if login == "tls" else {}
    there = door(family, login=login, auth_timeout=0.5, **given)
    started = time.monotonic()
    (silent,) = there.silent(1)
    (crawling,) = there.silent(1)
    silent.settimeout(LIMIT)
    crawled, sent = {"tls": HELLO, "token": b"\3" + bytes(700)}.get(login, bytes(700)), 0
    with contextlib.suppress(OSError):
        while not cut([crawling])[0] or crawling.recv(100):
            crawling.sendall(crawled[sent : sent + 1])
            sent += 1
            assert time.monotonic() - started < LIMIT
            time.sleep(0.1)  # so that it has not said all when the time is over
    assert time.monotonic() - started > 0.4
    with contextlib.suppress(ConnectionResetError):
        while silent.recv(100):
            pass
    assert time.monotonic() - started < LIMIT


def test_case_101_a_question_to_a_registry_has_a_deadline(door: Door) -> None:
    """A client of a registry that sends a byte now and then is cut off as well."""
    there = door("registry")
    (crawling,) = there.silent(1)
    end, sent = time.monotonic() + 30, 0
    question = brine.dump(("RPYC", "REGISTER", (("A" * 1000,), 1)))
    crawling.settimeout(0.1)
    with contextlib.suppress(ConnectionError):
        while True:
            assert time.monotonic() < end, "was not cut off"
            with contextlib.suppress(TimeoutError):
                if not crawling.recv(100):
                    break
            crawling.sendall(question[sent : sent + 1])
            sent += 1
    assert there.add() == 3


@pytest.mark.parametrize("family", ["threaded", "pool", "forking", "oneshot", "gevent", "aio"])
def test_case_101_logins_hold_up_no_login(door: Door, family: str) -> None:
    """Silent clients in front of a login make room as well; who logs in gets in."""
    there = door(family, login="token", max_silent_clients=10)
    socks = there.silent(30)
    started = time.monotonic()
    with rpyc.connect(*there.address, login=TokenLogin(b"k" * 32)) as conn:
        assert conn.root.add(1, 2) == 3
        assert time.monotonic() - started < LIMIT
        if family != "forking":  # whose processes may begin after their clients were pushed out
            eventually(lambda: sum(bool(sock.recv(1000)) for sock in socks[:10]) == 10)
        eventually(lambda: ended(socks) >= 20)


def test_case_101_a_process_for_few_of_a_crowd(door: Door) -> None:
    """Clients that are pushed out while many others wait at the door cost no process."""
    there = door("forking", login="token", max_silent_clients=10)
    os.kill(there.process.pid, signal.SIGSTOP)  # all of them are there when it looks
    there.silent(200)
    os.kill(there.process.pid, signal.SIGCONT)
    with rpyc.connect(*there.address, login=TokenLogin(b"k" * 32)) as conn:
        assert conn.root.add(1, 2) == 3
    assert there.ask("Forks.count") < 110


@pytest.mark.parametrize("login", ["token", None])
def test_case_101_a_thousand_silent_clients_of_a_forking_server(
    door: Door, login: str | None
) -> None:
    """An honest client is served beside a thousand that say nothing and may take processes."""
    there = door("forking", login=login)
    socks = there.silent(1000)
    options = {} if login is None else {"login": TokenLogin(b"k" * 32)}
    assert there.add(**options) == 3
    eventually(lambda: ended(socks) >= 900)
    assert there.ask("server.admission.silent") <= 50


@pytest.mark.parametrize("family", ["epc", "epc-threads", "epc-service", "aio-epc"])
def test_case_101_logins_of_emacs(door: Door, family: str) -> None:
    """The same for EPC."""
    there = door(family, login="token", max_silent_clients=10)
    socks = there.silent(30)
    started = time.monotonic()
    assert there.add(login=TokenLogin(b"k" * 32)) == 3
    assert time.monotonic() - started < LIMIT
    eventually(lambda: ended(socks) >= 20)


def test_case_101_no_thread_for_each_login(door: Door) -> None:
    """One thread watches over all deadlines."""
    there = door("threaded", login="token")
    there.silent(20)
    eventually(lambda: there.ask("server.admission.silent") == 20)
    names = there.ask("[thread.name for thread in threading.enumerate()]")
    assert len([name for name in names if "Timer" in name]) == 0
    assert len([name for name in names if "admission" in name]) == 1


@pytest.mark.parametrize("timeouts", [(3600.0, 0.05), (0.05, 3600.0), (3600.0, 600.0, 0.05)])
def test_case_101_the_next_deadline_is_the_earliest(timeouts: tuple[float, ...]) -> None:
    """A client has the time that was set when it came, whoever came before it."""
    admission = Admission(auth_timeout=None)
    with contextlib.ExitStack() as stack:
        stack.callback(admission.close)
        clients = {}
        for timeout in timeouts:
            here, there = socket.socketpair()
            stack.enter_context(here)
            stack.enter_context(there)
            admission.auth_timeout = timeout
            clients[timeout] = admission.admit(here, True), there
        late, other_side = clients[0.05]
        other_side.settimeout(60)
        assert other_side.recv(1) == b""
        assert late.cut_off
        assert not any(client.cut_off for client, _ in clients.values() if client is not late)
        for client, _ in clients.values():
            client.leave()
        assert not admission._deadlines


def test_case_101_who_comes_late_is_not_served() -> None:
    """An authenticator that lets a client in after the deadline has not let it in."""
    release, told = threading.Event(), []

    def slow(sock: socket.socket) -> Any:
        release.wait(60)
        return sock, None

    class Told(rpyc.Service):
        def on_connect(self, conn: Any) -> None:
            told.append(conn)

    server = rpyc.ThreadedServer(Told, port=0, authenticator=slow, auth_timeout=0.1)
    server._start_in_thread()
    with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        assert sock.recv(1) == b""
        release.set()
        eventually(lambda: not server.clients)
    server.close()
    assert not told


# -- what is kept for all


def test_account_of_a_listener() -> None:
    """What would be more than the listener may keep is refused, and names the argument."""
    account = ListenerAccount(100)
    account.add(60)
    with pytest.raises(LimitExceeded, match=r"\(argument 'max_memory' of the server\)") as caught:
        account.add(41)
    assert caught.value.key is None
    assert caught.value.argument == "max_memory"
    account.add(40)
    account.add(-100)
    assert account.held == 0


# -- constructors


def _bad(kind: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: kind(*args, **options)


WRONG: dict[str, Callable[[], Any]] = {
    **{
        f"{kind.__name__}-{name}": _bad(kind, rpyc.Service, port=0, **options)
        for kind in (
            rpyc.ThreadedServer,
            rpyc.ThreadPoolServer,
            rpyc.OneShotServer,
            rpyc.ForkingServer,
            aio.Server,
        )
        for name, options in (
            ("settings", {"protocol_config": ()}),
            ("timeout", {"listener_timeout": "soon"}),
        )
    },
    "epc-service": _bad(rpyc.ThreadedServer, EPCService(), port=0, listener_timeout="soon"),
    "erlang-service": _bad(rpyc.ThreadedServer, ErlangService(), port=0, listener_timeout="soon"),
    "EPCServer": _bad(EPCServer, ("127.0.0.1", 0), unknown=1),
    "ThreadingEPCServer": _bad(ThreadingEPCServer, ("127.0.0.1", 0), debugger="pdb", unknown=1),
    "UDPRegistryServer": _bad(UDPRegistryServer, "127.0.0.1", 0, secret="a text"),
    "TCPRegistryServer": _bad(TCPRegistryServer, "127.0.0.1", 0, secret="a text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_case_100_a_constructor_that_raises_leaves_no_socket(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose arguments are wrong has closed what it has bound."""
    made: list[Any] = []

    class Noted(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        WRONG[name]()
    assert [sock for sock in made if sock.fileno() != -1] == []
