"""The registry, its clients, and servers that register."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine
from rpyc_like.errors import DiscoveryError, ForbiddenError
from rpyc_like.utils.registry import (
    MAX_DGRAM_SIZE,
    RegistryServer,
    TCPRegistryClient,
    TCPRegistryServer,
    UDPRegistryClient,
    UDPRegistryServer,
)
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.processes import descriptors, has_proc

ROOT = Path(__file__).resolve().parents[2]


class Calculator(rpyc.Service):
    """Something to be found."""

    ALIASES = ("calculator", "adder")

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Starts registries in threads."""
    made: list[RegistryServer] = []
    threads: list[threading.Thread] = []

    def make(kind: type[Any], **options: Any) -> Any:
        server = kind(host=options.pop("host", "127.0.0.1"), port=0, **options)
        threads.append(threading.Thread(target=server.start))
        threads[-1].start()
        made.append(server)
        return server

    yield make
    for server in made:
        server.close()
    for thread in threads:
        join(thread)


KINDS = {
    "UDP": (UDPRegistryServer, UDPRegistryClient),
    "TCP": (TCPRegistryServer, TCPRegistryClient),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_comes_and_goes(start: Any, kind: str) -> None:
    """Registering, asking, listing and leaving; names are upper case."""
    server_class, client_class = KINDS[kind]
    server = start(server_class, allow_listing=True)
    seen: list[tuple[str, Any]] = []
    server.on_service_added = lambda name, address: seen.append(("added", name))
    server.on_service_removed = lambda name, address: seen.append(("removed", name))
    client = client_class("127.0.0.1", server.port, timeout=60)
    assert client.discover("calculator") == ()
    assert client.register(("Calculator", "adder"), 1234)
    assert client.register(("Calculator", "adder"), 1234)
    assert client.register(["calculator"], 1235)
    assert client.discover("calculator") == (("127.0.0.1", 1234), ("127.0.0.1", 1235))
    assert client.list() == ("CALCULATOR", "ADDER")
    assert client.list("127.0.0.1") == ("CALCULATOR", "ADDER")
    assert client.list("192.0.2.1") == ()
    client.unregister(1234)
    assert client.discover("CALCULATOR") == (("127.0.0.1", 1235),)
    assert client.discover("adder") == ()
    assert seen.count(("added", "CALCULATOR")) == 2
    assert ("removed", "ADDER") in seen


@pytest.mark.skipif(not has_proc(), reason="counts descriptors in /proc")
def test_no_descriptor_is_left() -> None:
    """Closing a registry or a server gives everything back to the system."""
    import gc

    def run() -> None:
        for make in (UDPRegistryServer, TCPRegistryServer):
            server = make(host="127.0.0.1", port=0)
            thread = threading.Thread(target=server.start)
            thread.start()
            server.close()
            join(thread)
        listening = rpyc.ThreadedServer(Calculator, port=0)
        thread = listening._start_in_thread()
        listening.close()
        join(thread)

    run()
    gc.collect()
    before = descriptors()
    for _ in range(5):
        run()
    gc.collect()
    eventually(lambda: descriptors() <= before)


@pytest.mark.parametrize("kind", KINDS)
def test_listing_is_off_by_default(start: Any, kind: str) -> None:
    """A registry tells all it knows only if it was told to."""
    server_class, client_class = KINDS[kind]
    server = start(server_class)
    client = client_class("127.0.0.1", server.port, timeout=60)
    client.register(("x",), 1)
    assert client.list() is None
    with pytest.raises(ForbiddenError):
        rpyc.list_services(client)
    with pytest.raises(DiscoveryError, match="'nobody'"):
        rpyc.discover("nobody", registrar=client)


def test_pruning(start: Any) -> None:
    """Who does not register again is forgotten."""
    server = start(UDPRegistryServer, pruning_timeout=100)
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=60)
    client.register(("old",), 1)
    client.register(("new",), 2)
    server.services["OLD"]["127.0.0.1", 1] -= 101  # was heard of so long ago
    server.services["NEW"]["127.0.0.1", 2] -= 99
    assert client.discover("old") == ()
    assert client.discover("new") == (("127.0.0.1", 2),)


def test_broadcast(start: Any) -> None:
    """A client that knows no address asks everybody, and takes what it is told."""
    server = start(UDPRegistryServer, host="0.0.0.0", allow_listing=True)
    client = UDPRegistryClient("127.255.255.255", server.port, timeout=5, bcast=True)
    try:
        assert client.register(("everywhere",), 7)
    except PermissionError:
        pytest.skip("this machine allows no broadcast")
    assert client.discover("everywhere") == (("127.0.0.1", 7),)
    assert UDPRegistryClient().bcast
    assert not UDPRegistryClient("192.0.2.1").bcast


@pytest.mark.parametrize("kind", KINDS)
def test_ipv6(start: Any, kind: str) -> None:
    """Registries and services on IPv6; what comes over it from IPv4 is known as that."""
    server_class, client_class = KINDS[kind]
    try:
        server = start(server_class, host="::")
    except OSError:
        pytest.skip("this machine has no IPv6")
    options = {"ipv6": True} if kind == "UDP" else {}
    client = client_class("::1", server.port, timeout=60, **options)
    assert client.register(("six",), 6)
    assert client.discover("six") == (("::1", 6),)
    mapped = client_class("127.0.0.1", server.port, timeout=60)
    assert mapped.register(("four",), 4)
    assert mapped.discover("four") == (("127.0.0.1", 4),)


def ask(server: RegistryServer, data: bytes, timeout: float = 0.3) -> bytes | None:
    """Sends a datagram and returns what comes back, if anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.sendto(data, ("127.0.0.1", server.port))
        try:
            return sock.recv(65536)
        except TimeoutError:
            return None


BAD = [
    b"",
    b"junk",
    b"\x10" * 1000,
    brine.dump(("HTTP", "QUERY", ("x",))),
    brine.dump(("RPYC", "NOPE", ())),
    brine.dump(("RPYC", "__init__", ())),
    brine.dump(("RPYC", "register", (("x",), 99999))),
    brine.dump(("RPYC", "REGISTER", ("x", 1))),
    brine.dump(("RPYC", "REGISTER", (("x" * 300,), 1))),
    brine.dump(("RPYC", "REGISTER", ((5,), 1))),
    brine.dump(("RPYC", "REGISTER", (tuple(map(str, range(51))), 1))),
    brine.dump(("RPYC", "REGISTER", ())),
    brine.dump(("RPYC", "UNREGISTER", ("1",))),
    brine.dump(("RPYC", "QUERY", (None,))),
    brine.dump(("RPYC", "QUERY", "x")),
    os.urandom(1400),
    os.urandom(5000),
]


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_what_is_no_message_is_not_answered(start: Any, data: bytes) -> None:
    """Case 36: nothing is entered, nobody is answered, and the registry goes on."""
    server = start(UDPRegistryServer)
    assert ask(server, data) is None
    assert server.services == {}
    assert UDPRegistryClient("127.0.0.1", server.port, timeout=60).register(("fine",), 1)


def test_only_ones_own_address_is_entered_and_removed(start: Any) -> None:
    """Case 36: a message enters or removes where it comes from, and nobody else."""
    server = start(UDPRegistryServer)
    server.cmd_register("192.0.2.7", ("victim",), 80)
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=60)
    client.unregister(80)
    assert client.discover("victim") == (("192.0.2.7", 80),)
    message = brine.dump(("RPYC", "REGISTER", (("spoofed",), 80, "192.0.2.9")))
    assert ask(server, message) is None
    assert client.discover("spoofed") == ()


def test_answers_are_small_and_few(start: Any) -> None:
    """Case 36: an answer fits into a datagram, and an address gets a bounded number of them."""
    server = start(UDPRegistryServer)
    for number in range(1, 300):
        server.cmd_register(f"192.0.2.{number % 250}", ("many",), number)
    answer = ask(server, brine.dump(("RPYC", "QUERY", ("many",))))
    assert answer is not None
    assert len(answer) <= MAX_DGRAM_SIZE
    assert len(brine.load(answer)) > 10
    question = brine.dump(("RPYC", "QUERY", ("none",)))
    answers, started = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(60):  # slowly enough that the system loses none
            for _ in range(10):
                sock.sendto(question, ("127.0.0.1", server.port))
            sock.settimeout(0.01)
            try:
                while True:
                    sock.recv(2000)
                    answers += 1
            except TimeoutError:
                pass
    # A hundred at once, and fifty more each second.
    assert 50 < answers < 110 + 50 * (time.monotonic() - started)


def test_the_registry_does_not_fill_the_memory(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 36: entries are bounded in number."""
    monkeypatch.setattr(UDPRegistryServer, "MAX_ENTRIES", 5)
    server = start(UDPRegistryServer)
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=60)
    assert [client.register((f"s{n}",), n) for n in range(1, 6)] == [True] * 5
    client.timeout = 0.2
    assert [client.register((f"s{n}",), n) for n in range(6, 8)] == [False] * 2


def test_a_slow_client_holds_nobody_up(start: Any) -> None:
    """A TCP client that says nothing does not delay the others."""
    server = start(TCPRegistryServer)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    assert TCPRegistryClient("127.0.0.1", server.port, timeout=60).register(("quick",), 1)
    for sock in silent:
        sock.close()


def test_no_registry() -> None:
    """Without a registry nothing is found, and registering says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        client = UDPRegistryClient("127.0.0.1", sock.getsockname()[1], timeout=0.1)
        assert not client.register(("x",), 1)
        assert client.discover("x") == ()
        client.unregister(1)
    tcp = TCPRegistryClient("127.0.0.1", 1, timeout=0.1)
    assert not tcp.register(("x",), 1)
    tcp.unregister(1)
    with pytest.raises(OSError, match="refused"):
        tcp.discover("x")


@pytest.mark.parametrize("kind", KINDS)
def test_servers_register(start: Any, kind: str) -> None:
    """A server is found and connected to by the name of its service, and leaves when it closes."""
    server_class, client_class = KINDS[kind]
    registry = start(server_class, allow_listing=True)
    registrar = client_class("127.0.0.1", registry.port, timeout=60)
    server = rpyc.ThreadedServer(Calculator, port=0, registrar=registrar)
    thread = server._start_in_thread()
    eventually(lambda: registrar.discover("adder"))
    assert rpyc.discover("calculator", registrar=registrar) == (("127.0.0.1", server.port),)
    assert rpyc.discover("calculator", "localhost", registrar) == (("127.0.0.1", server.port),)
    with pytest.raises(DiscoveryError, match=r"on '192\.0\.2\.1'"):
        rpyc.discover("calculator", "192.0.2.1", registrar)
    assert rpyc.list_services(registrar) == ("CALCULATOR", "ADDER")
    registry.cmd_register("127.0.0.1", ("calculator",), 1)  # one that does not answer
    with rpyc.connect_by_service("calculator", registrar=registrar) as conn:
        assert conn.root.add(1, 2) == 3
    server.close()
    join(thread)
    eventually(lambda: ("127.0.0.1", server.port) not in registrar.discover("adder"))
    registry.services.clear()
    registry.cmd_register("127.0.0.1", ("calculator",), 1)
    with pytest.raises(DiscoveryError, match="answers") as caught:
        rpyc.connect_by_service("calculator", registrar=registrar)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_a_service_on_loopback_is_not_offered_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    """Case 36: a server bound to the loopback address cannot register far away, and is told."""
    client = UDPRegistryClient("192.0.2.1", timeout=0.2)
    with caplog.at_level(logging.WARNING):
        assert not client.register(("here",), 1, interface="127.0.0.1")
    assert "only be reached from this machine" in caplog.text or "acknowledged" in caplog.text


def port_in(log: Path) -> int:
    """Waits until a registry has told its port to its log."""
    return int(eventually(lambda: re.search(r"REGSRV/\w+/(\d+)\D", log.read_text()))[1])


def found(client: Any, name: str) -> Any:
    """Waits until a service is known."""
    return eventually(lambda: client.discover(name))


def test_the_command(tmp_path: Path) -> None:
    """rpyc_registry.py serves with its options, and ends at Ctrl-C."""
    script = str(ROOT / "bin" / "rpyc_registry.py")
    log = tmp_path / "log"
    for mode, client_class in (("UDP", UDPRegistryClient), ("TCP", TCPRegistryClient)):
        options = ["-m", mode, "--host", "127.0.0.1", "-p", "0", "-l", "true", "-t", "60"]
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        log.write_text("")
        args = [sys.executable, script, *options, "--logfile", str(log)]
        with subprocess.Popen(args, env=env, stderr=subprocess.PIPE) as process:
            try:
                port = port_in(log)
                client = client_class("127.0.0.1", port, timeout=60)
                assert client.register(("x",), 5)
                assert client.list() == ("X",)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)
    done = subprocess.run([sys.executable, script, "-l", "maybe"], capture_output=True, check=False)
    assert done.returncode
    assert b"expected true or false" in done.stdout + done.stderr


def test_the_classic_command_registers(start: Any) -> None:
    """rpyc_classic.py --register enters itself."""
    for kind, (server_class, client_class) in KINDS.items():
        registry = start(server_class)
        where = ["--registry-type", kind, "--registry-host", "127.0.0.1"]
        options = ["-q", "-p", "0", "--register", *where, "--registry-port", str(registry.port)]
        args = [sys.executable, "-m", "rpyc_like.cli.rpyc_classic", *options]
        with subprocess.Popen(args) as process:
            try:
                client = client_class("127.0.0.1", registry.port, timeout=60)
                ((host, port),) = found(client, "classic")
                with rpyc.classic.connect(host, port) as conn:
                    assert conn.eval("1 + 1") == 2
            finally:
                process.kill()


# -- sealed with a secret

SECRET = b"sixteen bytes at least"


@pytest.fixture(params=["UDP", "TCP"])
def sealed(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """A registry with a secret, and what makes clients of it."""
    udp = request.param == "UDP"
    kind = UDPRegistryServer if udp else TCPRegistryServer
    server = kind(host="127.0.0.1", port=0, allow_listing=True, secret=SECRET)
    thread = threading.Thread(target=server.start)
    thread.start()

    def client(**options: Any) -> Any:
        make = UDPRegistryClient if udp else TCPRegistryClient
        return make("127.0.0.1", port=server.port, **{"timeout": 60, **options})

    yield server, client
    server.close()
    join(thread)


def test_sealed_registry(sealed: tuple[Any, Callable[..., Any]]) -> None:
    """Those who know the secret register, look for services and list them."""
    _, client = sealed
    knowing = client(secret=SECRET)
    assert knowing.register(["CALC"], 1234)
    assert knowing.discover("calc") == (("127.0.0.1", 1234),)
    assert knowing.list() == ("CALC",)
    knowing.unregister(1234)
    assert knowing.discover("calc") == ()


def test_nobody_else_is_answered(sealed: tuple[Any, Callable[..., Any]]) -> None:
    """Without the secret, or with another, nothing is entered, removed or told."""
    server, client = sealed
    client(secret=SECRET).register(["CALC"], 1234)
    other = b"another secret, long enough"
    for stranger in (client(timeout=0.5), client(timeout=0.5, secret=other)):
        assert not stranger.register(["EVIL"], 1)
        assert stranger.discover("calc") == ()
        stranger.unregister(1234)
    assert set(server.services) == {"CALC"}


def test_a_client_trusts_its_registry_only(sealed: tuple[Any, Callable[..., Any]]) -> None:
    """A client with a secret takes no answer that was not sealed with it."""
    with UDPRegistryServer(host="127.0.0.1", port=0) as open_one:
        thread = threading.Thread(target=open_one.start)
        thread.start()
        asking = UDPRegistryClient("127.0.0.1", open_one.port, timeout=0.3, secret=SECRET)
        assert asking.discover("calc") == ()
    join(thread)


def test_seals() -> None:
    """A sealed message opens once, for a minute, unchanged."""
    from rpyc_like.utils.registry_protocol import Seal

    ours, theirs = Seal(SECRET), Seal(SECRET)
    data, nonce = ours.close(b"content")
    assert theirs.open(data) == (b"content", nonce)
    with pytest.raises(ValueError, match="seen before"):
        theirs.open(data)
    answer, _ = theirs.close(b"answer", nonce)
    assert ours.open(answer, nonce) == (b"answer", nonce)
    with pytest.raises(ValueError, match="seen before"):
        ours.open(answer, b"x" * 16)
    with pytest.raises(ValueError, match="another secret"):
        Seal(b"some other secret, long").open(data)
    with pytest.raises(ValueError, match="another secret"):
        Seal(SECRET).open(data.replace(b"content", b"Content"))
    with pytest.raises(ValueError, match="expected a sealed message"):
        Seal(SECRET).open(brine.dump(("RPYC", "QUERY", ("X",))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_000_000.0)
        old, _ = ours.close(b"old")
    with pytest.raises(ValueError, match="too old"):
        theirs.open(old)
    with pytest.raises(ValueError, match="at least 16"):
        Seal(b"short")


def test_secret_on_the_command_line(tmp_path: Path) -> None:
    """Both commands take the secret from a file; one that is too short is refused."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"short\n")
    command = [sys.executable, "-m", "rpyc_like.cli.rpyc_registry", "--secret-file", str(secret)]
    done = subprocess.run([*command, "-p", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "at least 16 bytes, got 5" in done.stderr
