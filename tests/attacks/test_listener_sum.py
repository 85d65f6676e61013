"""What is held for EPC's and Erlang's connections counts in the sum of their listener."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.aio import epc as aio_epc
from rpyc_like.aio import erlang as aio_erlang
from rpyc_like.epc.handler import encode_message
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer
from rpyc_like.epc.service import EPCService
from rpyc_like.erlport import erlterms
from rpyc_like.erlport.erlproto import Protocol
from rpyc_like.erlport.service import ErlangService, PortService
from rpyc_like.erlport.v1 import erlterms as modern
from rpyc_like.wire.etf.values import ImproperList
from rpyc_like.wire.meter import memory_of
from rpyc_like.wire.sexp.values import (
    CONTENTS,
    BoolVector,
    Brackets,
    Dotted,
    HashTable,
    PropertizedString,
    Quoted,
    Symbol,
)
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.sockets import receive_exactly

from .served import KINDS, QUIET

SIZE = 1 << 20


class Work:
    """What a server offers; each function waits until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = threading.Event()

    def hold(self, data: Any) -> int:
        """Keeps its argument for a while."""
        self.entered.set()
        self.released.wait(60)
        return 1

    async def hold_on_the_loop(self, data: Any) -> int:
        """The same, as a task."""
        import asyncio

        self.entered.set()
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        return 1

    def make(self) -> bytes:
        """Returns much."""
        return b"x" * SIZE


class Epc:
    """A client that speaks EPC."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.number = 0

    def call(self, name: str, *args: Any) -> None:
        """Ask, and wait for nothing."""
        self.number += 1
        self.sock.sendall(encode_message("call", self.number, Symbol(name), list(args)))

    def answer(self) -> Any:
        """Return an answer as text."""
        size = int(receive_exactly(self.sock, 6), 16)
        return receive_exactly(self.sock, size).decode()


class Erlang:
    """A client that speaks as a port of erlport 0.6 does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def call(self, name: str, *args: Any) -> None:
        """Ask, and wait for nothing."""
        self._send(erlterms.encode((erlterms.Atom(name), *args)))

    def _send(self, term: bytes) -> None:
        self.sock.sendall(struct.pack(">I", len(term)) + term)

    def answer(self) -> Any:
        """Return an answer as text."""
        (size,) = struct.unpack(">I", receive_exactly(self.sock, 4))
        return repr(erlterms.decode(receive_exactly(self.sock, size))[0])


class Erlport(Erlang):
    """A client that speaks as erlport 1.x does."""

    def call(self, name: str, *args: Any, module: str = "work") -> None:
        atom = modern.Atom
        call = (atom(b"C"), 1, atom(module.encode()), atom(name.encode()), list(args))
        self._send(modern.encode(call))


class Handling(Protocol):
    """Work, for a port."""

    def __init__(self, work: Work, aio: bool = False) -> None:
        self.handle_make = work.make
        self.handle_hold = work.hold_on_the_loop if aio else work.hold


class AioHandling(Handling, aio_erlang.Protocol):
    """The same, on a loop."""


class _EpcServer:
    """An EPC server on a socketserver."""

    def __init__(self, kind: Any, service: Any, **options: Any) -> None:
        self._server = kind(("127.0.0.1", 0), **options)
        self._server.funcs.update(service.funcs)
        self.port = self._server.server_address[1]
        self.admission = self._server.admission
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        join(self._thread)


def epc_methods(kind: Any, work: Work, aio: bool) -> Any:
    """Return a service for Emacs."""
    service = kind()
    service.register_function(work.hold_on_the_loop if aio else work.hold, "hold")
    service.register_function(work.make)
    return service


FAMILIES: dict[str, tuple[Any, Callable[[Work], Any], Callable[..., Any]]] = {
    "epc": (Epc, lambda work: epc_methods(EPCService, work, False), KINDS["threads"]),
    "epc-pool": (Epc, lambda work: epc_methods(EPCService, work, False), KINDS["pool"]),
    "epc-server": (
        Epc,
        lambda work: epc_methods(EPCService, work, False),
        lambda service, **options: _EpcServer(EPCServer, service, **options),
    ),
    "epc-threading-server": (
        Epc,
        lambda work: epc_methods(EPCService, work, False),
        lambda service, **options: _EpcServer(ThreadingEPCServer, service, **options),
    ),
    "aio-epc": (Epc, lambda work: epc_methods(aio_epc.EPCService, work, True), KINDS["aio"]),
    "aio-epc-threads": (
        Epc,
        lambda work: epc_methods(aio_epc.EPCService, work, False),
        KINDS["aio"],
    ),
    "port": (Erlang, lambda work: PortService(lambda: Handling(work)), KINDS["threads"]),
    "aio-port": (
        Erlang,
        lambda work: aio_erlang.PortService(lambda: AioHandling(work, True)),
        KINDS["aio"],
    ),
    "erlport": (Erlport, lambda work: ErlangService({"work": work}), KINDS["threads"]),
    "erlport-threads": (
        Erlport,
        lambda work: ErlangService({"work": work}, threads=4),
        KINDS["threads"],
    ),
}


class There:
    """A server and its clients."""

    def __init__(self, family: str, max_memory: int) -> None:
        client, service, serve = FAMILIES[family]
        self.work = Work()
        self._client = client
        self._server = serve(service(self.work), max_memory=max_memory)
        self._socks: list[socket.socket] = []

    @property
    def held(self) -> int:
        """The sum of the listener."""
        held: int = self._server.admission.account.held
        return held

    def client(self) -> Any:
        """Return another client."""
        sock = socket.create_connection(("127.0.0.1", self._server.port), 20)
        self._socks.append(sock)
        return self._client(sock)

    def close(self) -> None:
        self.work.released.set()
        for sock in self._socks:
            sock.close()
        self._server.close()


@contextlib.contextmanager
def there(family: str, max_memory: int = 1 << 30) -> Iterator[There]:
    """Serve."""
    QUIET.setLevel("CRITICAL")
    made = There(family, max_memory)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_in_flight_count(family: str) -> None:
    """The arguments of a call under way are in the sum of all clients, and leave it afterwards."""
    with there(family) as server:
        client = server.client()
        client.call("hold", "x" * SIZE if client.__class__ is Epc else b"x" * SIZE)
        eventually(lambda: server.held >= SIZE)
        server.work.released.set()
        assert client.answer()
        eventually(lambda: server.held == 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_lists_count_with_their_items(family: str) -> None:
    """A list of many small items counts by what it takes, not as one object."""
    with there(family) as server:
        client = server.client()
        client.call("hold", [[n, n] for n in range(20_000)])
        eventually(lambda: server.held >= 20_000 * 70)
        server.work.released.set()
        assert client.answer()
        eventually(lambda: server.held == 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lost_connection_holds_nothing(family: str) -> None:
    """What was held for a client that has gone leaves the sum when its calls have ended."""
    with there(family) as server:
        client = server.client()
        client.call("hold", b"x" * SIZE if client.__class__ is not Epc else "x" * SIZE)
        eventually(lambda: server.held >= SIZE)
        assert server.work.entered.wait(60)
        client.sock.close()
        server.work.released.set()
        eventually(lambda: server.held == 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_too_much_is_an_error_that_names_the_argument(family: str) -> None:
    """A call that would take the server's clients over their limit is answered with an error."""
    with there(family, SIZE) as server:
        client = server.client()
        client.call("hold", b"x" * 2 * SIZE if client.__class__ is not Epc else "x" * 2 * SIZE)
        assert "LimitExceeded" in client.answer()
        server.work.released.set()
        client.call("hold", 1)
        assert "LimitExceeded" not in client.answer()
        eventually(lambda: server.held == 0)


# A port on a loop handles nothing more until its last answer has been taken.
@pytest.mark.parametrize("family", [one for one in FAMILIES if one != "aio-port"])
def test_held_answers_count(family: str) -> None:
    """Answers that a client does not take are in the sum of all clients."""
    with there(family) as server:
        client = server.client()
        for _ in range(20):
            client.call("make")
        eventually(lambda: server.held >= SIZE)
        for _ in range(20):
            assert len(client.answer()) > SIZE
        eventually(lambda: server.held == 0)


@pytest.mark.parametrize("family", ["epc-pool", "aio-port"])
def test_queued_requests_count(family: str) -> None:
    """What waits behind a call that takes long counts, with what is in its lists."""
    with there(family) as server:
        client = server.client()
        for _ in range(30):
            client.call(
                "hold", [bytes(100)] * 1000 if client.__class__ is not Epc else [0.5] * 9000
            )
        eventually(lambda: server.held >= 2 * SIZE)
        server.work.released.set()
        for _ in range(30):
            assert client.answer()
        eventually(lambda: server.held == 0)


def test_values_that_erlang_keeps_count() -> None:
    """A value of Erlang's own that it has kept here counts until it is released."""
    with there("erlport") as server:
        client = server.client()
        client.call("hold", b"x" * SIZE, module="$rpyc_like")
        assert client.answer()
        assert server.held >= SIZE
        client.sock.close()
        eventually(lambda: server.held == 0)


@pytest.mark.parametrize(
    "value",
    [
        [b"x" * SIZE],
        (b"x" * SIZE,),
        Dotted([1, Symbol("."), b"x" * SIZE]),
        {"a": b"x" * SIZE},
        HashTable([(1, b"x" * SIZE)]),
        Quoted(b"x" * SIZE),
        Brackets([b"x" * SIZE]),
        PropertizedString("a", [(0, 1, [b"x" * SIZE])]),
    ],
)
def test_all_values_of_emacs_are_looked_into(value: Any) -> None:
    """Whatever holds another value, the memory of that one counts."""
    assert memory_of([value], CONTENTS) >= SIZE
    assert memory_of(BoolVector([True] * 1000), CONTENTS) >= 8000


@pytest.mark.parametrize("terms", [erlterms, modern])
def test_all_terms_are_looked_into(terms: Any) -> None:
    """So it is with terms of Erlang's, and what cannot be looked into counts with its bytes."""
    large = b"x" * SIZE
    for value in ((large,), terms.Map({large: 1}), terms.Map({1: large}), ImproperList([1], large)):
        assert memory_of((value,), terms.CONTENTS) >= SIZE
    opaque = modern.OpaqueObject(large, modern.Atom(b"erlang"))
    assert memory_of((opaque,), modern.CONTENTS) >= SIZE


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_clients_are_counted_in_the_log(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Many clients that break the protocol are few lines, with their number."""
    clients = 12
    server = KINDS[kind](rpyc.VoidService)
    malformed = struct.pack(">LB", 4, 0) + b"\xff" * 4 + b"\n"
    try:
        for _ in range(clients):
            with socket.create_connection(("127.0.0.1", server.port), 60) as sock:
                sock.sendall(malformed)
                with contextlib.suppress(ConnectionError):
                    while sock.recv(1 << 16):
                        pass
    finally:
        server.close()
    lines = [one.getMessage() for one in caplog.records if one.name == "rpyc_like.link"]
    assert 0 < len(lines) < clients


def logged(caplog: pytest.LogCaptureFixture, word: str) -> bool:
    """Return whether a line of the link has a word."""
    lines = [one.getMessage() for one in list(caplog.records) if one.name == "rpyc_like.link"]
    return any(word in line for line in lines)


@pytest.mark.parametrize("kind", KINDS)
def test_each_limit_has_lines_of_its_own(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Clients that exceed one limit, or speak no RPyC, do not hide those that exceed another."""
    config = {"max_digits": 100, "max_depth": 50, "max_frame_size": 10_000}
    deep: Any = 1
    for _ in range(60):
        deep = (deep,)
    server = KINDS[kind](rpyc.VoidService, protocol_config=config)
    try:
        for value in (10**300, deep, os.urandom(20_000)) * 2:
            with rpyc.connect("127.0.0.1", server.port) as conn, pytest.raises(EOFError):
                conn.ping(value)
        with socket.create_connection(("127.0.0.1", server.port), 60) as sock:
            sock.sendall(b"\0\0\0\0\7\0\0\0\0\0")
            with contextlib.suppress(ConnectionError):
                while sock.recv(1 << 16):
                    pass
        for word in ("max_digits", "max_depth", "max_frame_size", "MalformedFrame"):
            eventually(partial(logged, caplog, word), word)
    finally:
        server.close()
