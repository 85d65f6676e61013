"""Hostile registries, hostile clients of registries, and neighbours that take all the room."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.cli import rpyc_registry as cli
from rpyc_like.core import brine
from rpyc_like.utils.registry import (
    RegistryServer,
    TCPRegistryClient,
    TCPRegistryServer,
    UDPRegistryClient,
    UDPRegistryServer,
)
from rpyc_like.utils.registry_protocol import Seal
from tests.support.eventually import eventually
from tests.support.joining import join

SECRET = b"k" * 32
CLIENTS = {"UDP": UDPRegistryClient, "TCP": TCPRegistryClient}
SERVERS = {"UDP": UDPRegistryServer, "TCP": TCPRegistryServer}


class Answering:
    """Something that answers questions as ``reply`` says: a hostile registry.

    Args:
        reply: is given a question, and returns what to send, one message after the other.
    """

    def __init__(self, kind: str, reply: Callable[[bytes], list[bytes]]) -> None:
        self._reply = reply
        self._udp = kind == "UDP"
        if self._udp:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.bind(("127.0.0.1", 0))
        else:
            self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self._udp:
                    data, peer = self.sock.recvfrom(4000)
                    if peer is None:  # the socket was shut down
                        return
                    for answer in self._reply(data):
                        self.sock.sendto(answer, peer)
                else:
                    sock, _ = self.sock.accept()
                    with sock:
                        for answer in self._reply(sock.recv(4000)):
                            sock.sendall(answer)

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Start registries in threads."""
    made: list[tuple[RegistryServer, threading.Thread]] = []

    def make(kind: str, **options: Any) -> Any:
        server = SERVERS[kind](host="0.0.0.0", port=0, **options)
        thread = threading.Thread(target=server.start)
        thread.start()
        made.append((server, thread))
        return server

    yield make
    for server, thread in made:
        server.close()
        join(thread)


def everything(client: Any) -> tuple[Any, ...]:
    """Return what a client makes of the answers to all commands."""
    found = client.discover("x"), client.list(), client.register(["x"], 1)
    client.unregister(1)
    return found


SILENCE = ((), (), False)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "sealed"])
@pytest.mark.parametrize("kind", CLIENTS)
def test_an_echo_is_no_answer(kind: str, secret: bytes | None) -> None:
    """A question that comes back is silence."""
    with Answering(kind, lambda question: [question]) as echo:
        client = CLIENTS[kind]("127.0.0.1", echo.port, timeout=0.2, secret=secret)
        assert everything(client) == SILENCE


WRONG: list[Any] = [
    0,
    "x",
    b"OK",
    True,
    1.5,
    "ok",
    (5,),
    ((),),
    (("h",),),
    (("h", 1, 2),),
    (("h", "1"),),
    (("h", True),),
    (("h", 0),),
    (("h", 65536),),
    (("h", -1),),
    (("h", 10**30),),
    ((5, 1),),
    ((b"h", 1),),
    (("", 1),),
    (("h\n", 1),),
    (("h" * 201, 1),),
    (("h", 1), 5),
    ("x\x1b[2J",),
    ("x", 5),
    ("x", None),
    ("",),
    ("x" * 201,),
    frozenset({("h", 1)}),
    ("RPYC", "QUERY", ("x",)),
    ("RPYC-SEALED", 1.0, b"", b"", b""),
    float("nan"),
]
JUNK = [b"", b"\xff" * 50, b"\x10" * 1400, b"\x14\x40" + b"\x00" * 900]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_answers_of_another_shape_are_silence(wrong: Any) -> None:
    """What does not have the shape that the command's answer has is no answer."""
    with Answering("UDP", lambda question: [brine.dump(wrong)]) as hostile:
        client = UDPRegistryClient("127.0.0.1", hostile.port, timeout=0.05)
        found, names, registered = everything(client)
        assert found == ()
        assert names in ((), ("RPYC-SEALED",)) or wrong is None
        assert not registered


@pytest.mark.parametrize("kind", CLIENTS)
def test_junk_is_silence(kind: str) -> None:
    """Bytes that are no answer raise nothing."""
    for junk in JUNK:
        for secret in (None, SECRET):
            with Answering(kind, lambda question, junk=junk: [junk]) as hostile:  # type: ignore[misc]
                client = CLIENTS[kind]("127.0.0.1", hostile.port, timeout=0.05, secret=secret)
                assert everything(client) == SILENCE


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "sealed"])
def test_the_client_goes_on_waiting_for_the_right_answer(secret: bytes | None) -> None:
    """An answer that comes after wrong ones is taken."""

    def reply(question: bytes) -> list[bytes]:
        answer = brine.dump((("192.0.2.1", 80),))
        if secret is None:
            return [b"junk", question, brine.dump(5), brine.dump((("h", 0),)), answer]
        seal = Seal(secret)
        _, nonce = seal.open(question)
        other, _ = seal.close(answer, b"n" * len(nonce))
        question_like, _ = Seal(secret).close(answer)
        foreign, _ = Seal(b"f" * 32).close(answer, nonce)
        wrong, _ = seal.close(b"junk", nonce)
        return [
            b"junk",
            question,
            other,
            question_like,
            foreign,
            wrong,
            seal.close(answer, nonce)[0],
        ]

    with Answering("UDP", reply) as hostile:
        client = UDPRegistryClient("127.0.0.1", hostile.port, timeout=60, secret=secret)
        assert client.discover("x") == (("192.0.2.1", 80),)


def test_an_answer_in_pieces() -> None:
    """An answer over TCP may come in pieces, and from a registry that does not hang up."""
    answer = brine.dump((("192.0.2.1", 80),))
    held = threading.Event()

    def reply(question: bytes) -> Iterator[bytes]:
        for position in range(len(answer)):
            yield answer[position : position + 1]
        held.wait(60)

    with Answering("TCP", reply) as slow:  # type: ignore[arg-type]
        client = TCPRegistryClient("127.0.0.1", slow.port, timeout=60)
        started = time.monotonic()
        assert client.discover("x") == (("192.0.2.1", 80),)
        assert time.monotonic() - started < 50
        held.set()


def test_broadcasts_take_a_bounded_number_of_answers() -> None:
    """A flood of answers to a broadcast ends the question."""
    flood = [brine.dump(("X",))] * 500
    with Answering("UDP", lambda question: flood) as hostile:
        client = UDPRegistryClient("127.0.0.1", hostile.port, timeout=1, bcast=True)
        assert client.list() == ("X",)


def test_seals_cover_direction_time_and_nonce() -> None:
    """A seal opens for the direction and the question that it was made for."""
    ours, theirs = Seal(SECRET), Seal(SECRET)
    question, nonce = ours.close(b"q")
    for other in (nonce, b"n" * len(nonce)):
        with pytest.raises(ValueError, match="direction"):
            ours.open(question, other)  # a question, where an answer is expected
    assert theirs.open(question) == (b"q", nonce)
    answer, _ = theirs.close(b"a", nonce)
    with pytest.raises(ValueError, match="direction"):
        Seal(SECRET).open(answer)  # an answer, where a question is expected
    with pytest.raises(ValueError, match="another question"):
        ours.open(answer, ours.close(b"q")[1])
    assert ours.open(answer, nonce) == (b"a", nonce)
    magic, when, _, content, code = brine.load(answer)
    for changed in (
        (magic, when + 1, nonce, content, code),
        (magic, when, ours.close(b"q")[1], content, code),
        (magic, when, nonce, b"b", code),
        ("RPYC", when, nonce, content, code),
    ):
        with pytest.raises(ValueError, match="another secret"):
            ours.open(brine.dump(changed), changed[2])


def test_nonces_have_their_full_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question whose nonce is short could be used again."""
    monkeypatch.setattr("rpyc_like.utils.registry_protocol._RANDOM", 4)
    short, _ = Seal(SECRET).close(b"q")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="a nonce of 24 bytes, got 12"):
        Seal(SECRET).open(short)


def test_hosts_that_are_none() -> None:
    """A registry that names hosts which cannot be looked up gives a DiscoveryError."""
    hosts = ("x" * 150, "..", "a..b", "no such host", "\u2024" * 70)
    answer = brine.dump(tuple((host, 1) for host in hosts))
    with Answering("UDP", lambda question: [answer]) as hostile:
        registrar = UDPRegistryClient("127.0.0.1", hostile.port, timeout=60)
        with pytest.raises(rpyc.errors.DiscoveryError):
            rpyc.connect_by_service("x", registrar=registrar)


# -- room for everybody


def send(server: RegistryServer, source: str, data: bytes, timeout: float = 2) -> Any:
    """Send a question from an address; return the answer, or ``None``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.sendto(data, ("127.0.0.1", server.port))
        try:
            return brine.load(sock.recv(2000))
        except TimeoutError:
            return None


def question(command: str, *args: Any) -> bytes:
    """Return a question of RPyC's."""
    return brine.dump(("RPYC", command, args))


def test_one_address_does_not_take_all_the_room(start: Callable[..., Any]) -> None:
    """A host that registers all it can leaves room for a service of another one."""
    server = start("UDP", allow_listing=True)
    names = tuple(f"N{number}" for number in range(50))
    for port in range(1, 210):
        server.cmd_register("192.0.2.1", names, port) if port <= 20 else None
    with pytest.raises(ValueError, match="at most 1000 entries of"):
        server.cmd_register("192.0.2.1", names, 21)
    assert send(server, "127.0.0.2", question("REGISTER", ("honest",), 80)) == "OK"
    assert send(server, "127.0.0.3", question("QUERY", "honest")) == (("127.0.0.2", 80),)
    assert "HONEST" in send(server, "127.0.0.3", question("LIST", (None,)))


@pytest.mark.parametrize("kind", SERVERS)
def test_when_all_is_full_the_greediest_makes_room(
    start: Callable[..., Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many hosts can fill the registry; one with fewer entries than another still gets in."""
    monkeypatch.setattr(SERVERS[kind], "MAX_ENTRIES", 20)
    server = start(kind)
    removed: list[Any] = []
    server.on_service_removed = lambda *entry: removed.append(entry)
    for host in ("192.0.2.1", "192.0.2.2"):
        for port in range(1, 11):
            server.cmd_register(host, ("taken",), port)
    client = CLIENTS[kind]("127.0.0.1", server.port, timeout=60)
    for port in range(1, 4):
        assert client.register(["honest"], port)
    assert len(client.discover("honest")) == 3
    assert sum(map(len, server.services.values())) == 20
    assert len(removed) == 3
    assert {name for name, _ in removed} == {"TAKEN"}
    with pytest.raises(ValueError, match="in all"):
        server.cmd_register("192.0.2.1", ("more",), 99)
    for one in ("192.0.2.1", "192.0.2.2", "127.0.0.1"):
        for port in range(1, 11):
            server.cmd_unregister(one, port)
    assert server.services == {}
    assert server._held == {}
    assert server._total == 0


def test_one_network_of_ipv6_is_one_host(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses of one IPv6 network share one share."""
    monkeypatch.setattr(UDPRegistryServer, "MAX_ENTRIES_PER_HOST", 3)
    server = start("UDP")
    for number in range(1, 4):
        server.cmd_register(f"2001:db8::{number}", ("x",), 1)
    with pytest.raises(ValueError, match="at most 3 entries of 2001:db8::/64"):
        server.cmd_register("2001:db8::9", ("x",), 1)
    assert server.cmd_register("2001:db8:0:1::1", ("x",), 1) == "OK"
    assert server.cmd_register("2001:db8::1", ("x",), 1) == "OK"  # it is known


def test_all_names_of_a_message_are_registered_or_none(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not all names of one message fit, none is entered or announced."""
    monkeypatch.setattr(UDPRegistryServer, "MAX_ENTRIES_PER_HOST", 3)
    monkeypatch.setattr(UDPRegistryServer, "MAX_ENTRIES", 5)
    told: list[str] = []
    monkeypatch.setattr(
        UDPRegistryServer, "on_service_added", lambda self, name, address: told.append(name)
    )
    server = start("UDP")
    assert server.cmd_register("192.0.2.1", ("a", "b"), 1) == "OK"
    with pytest.raises(ValueError, match=r"at most 3 entries of 192\.0\.2\.1, got 4"):
        server.cmd_register("192.0.2.1", ("a", "c", "d"), 1)
    assert server.cmd_register("192.0.2.1", ("b", "c", "C"), 1) == "OK"
    assert server.cmd_register("192.0.2.2", ("a",), 1) == "OK"
    with pytest.raises(ValueError, match="at most 5 entries in all, got 6"):
        server.cmd_register("192.0.2.2", ("b", "c"), 2)
    with pytest.raises(ValueError, match="in all"):
        server.cmd_register("192.0.2.3", ("a", "b", "c"), 1)
    assert told == ["A", "B", "C", "A"]
    assert server._total == 4
    assert server.cmd_register("192.0.2.3", ("a", "b"), 1) == "OK"
    assert sorted(server.services) == ["A", "B", "C"]
    assert server._total == 5


def test_answers_have_something_of_everybody(start: Callable[..., Any]) -> None:
    """An answer that does not hold all leaves out what the greediest has more than others."""
    server = start("UDP", allow_listing=True)
    for port in range(1, 301):
        server.cmd_register("192.0.2.1", ("calc",), port)
    for port in range(1, 16):
        server.cmd_register("192.0.2.1", tuple(f"LONG{'X' * 100}{port}{n}" for n in range(40)), 1)
    server.cmd_register("127.0.0.2", ("calc", "honest"), 80)
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=60)
    assert ("127.0.0.2", 80) in client.discover("calc")
    listed = client.list()
    assert listed is not None
    assert "HONEST" in listed


# -- answers for everybody


@pytest.mark.parametrize("kind", SERVERS)
def test_one_network_has_one_rate(kind: str) -> None:
    """The addresses of one IPv6 network get the answers of one host, others get theirs."""
    with contextlib.closing(SERVERS[kind](host="127.0.0.1", port=0)) as server:
        query = question("QUERY", "x")
        asked = time.monotonic()
        answers = [server._answer(query, f"2001:db8::{number:x}") for number in range(1000)]
        most = 100 + 50 * (time.monotonic() - asked)
        assert 100 <= sum(answer is not None for answer in answers) <= most + 1
        assert server._answer(query, "2001:db8:0:1::1") is not None
        assert server._answer(query, "192.0.2.1") is not None


def test_clients_of_tcp_have_a_rate(start: Callable[..., Any]) -> None:
    """A registry that is asked over TCP hangs up on who asks too often, without an answer."""
    server = start("TCP")
    query, answers, asked = question("QUERY", "x"), 0, time.monotonic()
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", server.port), 60) as sock:
            sock.sendall(query)
            with contextlib.suppress(ConnectionError):
                answers += bool(sock.recv(2000))
    assert 100 <= answers <= 101 + 50 * (time.monotonic() - asked)


def test_a_host_goes_without_a_look_at_others(start: Callable[..., Any]) -> None:
    """What a host has unregistered is found among its own entries."""
    server = start("UDP")
    looked: list[str] = []
    for number in range(20):
        server.cmd_register(f"192.0.2.{number}", ("a", f"own-{number}"), 1)
        server.cmd_register(f"192.0.2.{number}", ("b",), 2)
    forget = server._forget
    server._forget = lambda name, address: (looked.append(name), forget(name, address))[1]
    assert server.cmd_unregister("192.0.2.99", 1) == "OK"
    assert looked == []
    assert server.cmd_unregister("192.0.2.7", 1) == "OK"
    assert sorted(looked) == ["A", "OWN-7"]
    assert ("192.0.2.7", 2) in server.services["B"]
    assert ("192.0.2.8", 1) in server.services["A"]


# -- what is entered


@pytest.mark.parametrize("kind", SERVERS)
def test_names_are_printable_and_ports_are_ports(start: Callable[..., Any], kind: str) -> None:
    """Nothing else is entered, and the registry goes on serving."""
    server = start(kind)
    client = CLIENTS[kind]("127.0.0.1", server.port, timeout=0.1)
    for name in ("", "a\nb", "\x1b[2J", "\0", "\u202e", "x" * 201, 5, None, b"x", ("x",)):
        assert not client.register(["fine", name], 1)
    for port in (0, -1, 65536, "80", True, 1.0, None, (80,)):
        assert not client.register(["fine"], port)
    client = CLIENTS[kind]("127.0.0.1", server.port, timeout=60)
    assert "FINE" not in server.services
    assert client.register(["Fine name-1"], 1)
    assert client.discover("fine NAME-1") == (("127.0.0.1", 1),)


LONGER = ["\ufb03" * 200, "\u00df" * 101, "x" * 150 + "\u0390" * 17]
"""Names that are longer in capitals than a name may be."""


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("name", LONGER, ids=range(len(LONGER)))
def test_a_name_is_as_long_as_it_is_kept(start: Callable[..., Any], kind: str, name: str) -> None:
    """A name that gets too long in capitals is refused, and lists reach everybody."""
    server = start(kind, allow_listing=True)
    client = CLIENTS[kind]("127.0.0.1", server.port, timeout=60)
    assert client.register(["honest"], 1)
    assert not CLIENTS[kind]("127.0.0.1", server.port, timeout=0.1).register([name], 2)
    assert client.list() == ("HONEST",)
    assert client.register(["\ufb03" * 60], 3)
    assert client.list() == ("HONEST", "FFI" * 60)


@pytest.mark.parametrize("bad", ["x" * 201, "", "x\x1b[2J", "\ufb03" * 201])
def test_a_bad_name_in_a_list_hides_no_other(bad: str) -> None:
    """What another registry has let in is left out by the client, and nothing else."""
    with Answering("UDP", lambda question: [brine.dump(("A", bad, "B"))]) as careless:
        client = UDPRegistryClient("127.0.0.1", careless.port, timeout=20)
        assert client.list() == ("A", "B")


@pytest.mark.parametrize("count", [2, 19])
def test_few_long_names_hide_nobody(start: Callable[..., Any], count: int) -> None:
    """A list that is too long has something of everybody, however few names it has."""
    server = start("UDP", allow_listing=True)
    server.cmd_register("192.0.2.1", tuple("\u20ac" * 190 + str(n) for n in range(count)), 1)
    server.cmd_register("192.0.2.2", ("\u20ac" * 200,), 1)
    server.cmd_register("192.0.2.3", ("honest",), 1)
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=60)
    listed = client.list()
    assert listed is not None
    assert "HONEST" in listed


def test_a_hook_that_fails_ends_nothing(start: Callable[..., Any]) -> None:
    """The program's own error is logged, and the registry goes on."""
    server = start("UDP")
    server.on_service_added = lambda *entry: {}["missing"]
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=0.2)
    assert not client.register(["x"], 1)
    del server.on_service_added
    assert client.register(["y"], 1)


def test_bad_messages_are_counted_in_the_log(
    start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A flood of bad messages is a few lines."""
    server = start("UDP")
    for _ in range(50):
        send(server, "127.0.0.1", b"junk", timeout=0.001)
    client = UDPRegistryClient("127.0.0.1", server.port, timeout=60)
    assert client.discover("nobody") == ()
    assert sum("a message from" in line for line in caplog.messages) <= 2


def test_long_lists_are_cut_with_few_steps(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits into an answer is found by halving, not by one item less each time."""
    server = start("UDP", allow_listing=True)
    for number in range(9):
        names = [f"{number}-{n}" for n in range(1000)]
        for first in range(0, 1000, 50):
            server.cmd_register(f"192.0.2.{number}", tuple(names[first : first + 50]), 1)
    dumps: list[int] = []
    dump = brine.dump

    def counted(value: Any) -> bytes:
        dumps.append(len(value) if type(value) is tuple else 1)
        return dump(value)

    monkeypatch.setattr("rpyc_like.utils.registry_server.brine.dump", counted)
    answer = server._answer(dump(("RPYC", "LIST", ((None,),))), "127.0.0.1")
    assert 1000 < len(answer) <= 1500
    assert len(dumps) < 20
    assert sum(dumps) < 20_000


def test_the_command_sets_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """rpyc_registry takes both limits from its options."""
    seen: list[Any] = []
    monkeypatch.setattr(UDPRegistryServer, "start", lambda self: (seen.append(self), self.close()))
    options = ["--host", "127.0.0.1", "-p", "0", "-q"]
    limits = ["--max-entries", "7", "--max-entries-per-host", "3"]
    cli.RegistryServer.run(["rpyc_registry", *options, *limits], exit=False)
    cli.RegistryServer.run(["rpyc_registry", *options], exit=False)
    assert [(one.MAX_ENTRIES, one.MAX_ENTRIES_PER_HOST) for one in seen] == [(7, 3), (10_000, 1000)]


def test_a_service_is_found_through_a_sealed_registry(start: Callable[..., Any]) -> None:
    """With a secret on both sides all works as without."""
    server = start("UDP", secret=SECRET)
    registrar = UDPRegistryClient("127.0.0.1", server.port, timeout=60, secret=SECRET)
    assert registrar.register(["calc"], 80)
    assert rpyc.discover("calc", registrar=registrar) == (("127.0.0.1", 80),)


@pytest.mark.parametrize("secret", ["a secret of sixteen", 16, ["x"] * 16])
def test_a_secret_is_bytes(secret: Any) -> None:
    """A secret that is no bytes is refused when a client is made."""
    for make in (UDPRegistryClient, TCPRegistryClient):
        with pytest.raises(TypeError, match="expected a secret of bytes, got"):
            make("127.0.0.1", secret=secret)


def test_closing_hangs_up_on_clients_that_have_asked_nothing() -> None:
    """A TCP registry that ends leaves no connection open."""
    server = TCPRegistryServer(host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.start)
    thread.start()
    clients = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(5)]
    eventually(lambda: len(server._silent) == 5)
    server.close()
    join(thread)
    for client in clients:
        with client:
            assert client.recv(1) == b""
