"""Peers that cheat while somebody logs in: nonces, proofs, sizes and time."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import AuthenticationError
from rpyc_like.link.client_login import TokenLogin, log_in
from rpyc_like.link.streams import SocketStream
from rpyc_like.utils.authenticators import TokenAuthenticator
from rpyc_like.wire import login as wire
from tests.support.joining import join

TOKEN = b"a secret of enough bytes"
LENGTHS = [b"", b"n", b"n" * 31, b"n" * 33, b"n" * 64, bytes(1000)]

Parts = Callable[[bytes], bytes]


def read_message(sock: socket.socket) -> bytes:
    """Read a message of a login, without its length."""
    with contextlib.closing(sock.makefile("rb")) as file:
        (size,) = struct.unpack("!H", file.read(2))
        return bytes(file.read(size))


@pytest.fixture
def door() -> Iterator[tuple[socket.socket, SimpleQueue[Any]]]:
    """A socket to somebody who authenticates its client, and what came of it at the end."""
    here, there = socket.socketpair()
    outcome: SimpleQueue[Any] = SimpleQueue()

    def serve() -> None:
        try:
            outcome.put(TokenAuthenticator(TOKEN)(there)[1])
        except AuthenticationError as error:
            outcome.put(error)
        there.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    here.settimeout(60)
    yield here, outcome
    here.close()
    join(thread)


def say_to(here: socket.socket, client_nonce: Parts) -> tuple[list[bytes], bytes]:
    """Log in with the right proof and another nonce; return the server's verdict."""
    with contextlib.closing(here.makefile("rb")) as file:
        assert file.read(len(wire.MAGIC)) == wire.MAGIC
        (size,) = struct.unpack("!H", file.read(2))
        method, nonce, certificate = wire.unpack(file.read(size), (3,))
        mine = client_nonce(nonce)
        transcript = wire.Transcript(method, nonce, b"", mine, certificate)
        proof = wire.token_proof(TOKEN, wire.CLIENT, transcript)
        here.sendall(wire.pack(b"", mine, proof))
        here.shutdown(socket.SHUT_WR)
        rest = file.read()
    return (wire.unpack(rest[2:], (1, 2)) if rest else []), nonce


def test_a_right_client_is_let_in(door: Any) -> None:
    """A nonce of 32 bytes and the right proof open the door."""
    here, outcome = door
    verdict, _ = say_to(here, lambda nonce: os.urandom(32))
    assert verdict[0] == wire.OK
    assert outcome.get(timeout=60) == ""


@pytest.mark.parametrize("nonce", LENGTHS, ids=range(len(LENGTHS)))
def test_a_server_takes_nonces_of_full_length(door: Any, nonce: bytes) -> None:
    """A client with a nonce of another length is refused, though it knows the token."""
    here, outcome = door
    verdict, _ = say_to(here, lambda theirs: nonce)
    assert wire.OK not in verdict
    assert "a login nonce of 32 bytes" in str(outcome.get(timeout=60))


def test_a_server_does_not_take_its_own_nonce(door: Any) -> None:
    """A client that sends the server's nonce back is refused."""
    here, outcome = door
    verdict, _ = say_to(here, lambda theirs: theirs)
    assert wire.OK not in verdict
    assert "got this side's own" in str(outcome.get(timeout=60))


def against(
    server_nonce: bytes,
    certificate: bytes = b"",
    *,
    method: bytes = wire.TOKEN,
) -> BaseException | None:
    """Log in to a server that knows the token and says these things; return what came of it."""
    here, there = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError, struct.error, AuthenticationError), there:
            there.sendall(wire.MAGIC + wire.pack(method, server_nonce, certificate))
            name, nonce, _ = wire.unpack(read_message(there), (3,))
            transcript = wire.Transcript(method, server_nonce, name, nonce, certificate)
            proof = wire.token_proof(TOKEN, wire.SERVER, transcript)
            there.sendall(wire.pack(wire.OK, proof))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    stream = SocketStream(here)
    try:
        log_in(stream, TokenLogin(TOKEN), timeout=5)
    except AuthenticationError as error:
        return error
    finally:
        stream.close()
        join(thread)
    return None


def test_a_right_server_is_believed() -> None:
    """A nonce of 32 bytes and the right proof are a server."""
    assert against(os.urandom(32)) is None


@pytest.mark.parametrize("nonce", LENGTHS, ids=range(len(LENGTHS)))
def test_a_client_takes_nonces_of_full_length(nonce: bytes) -> None:
    """A server with a nonce of another length is refused, before anything is proved to it."""
    assert "a login nonce of 32 bytes" in str(against(nonce))


def test_a_client_does_not_take_its_own_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose nonce is the client's is refused."""
    monkeypatch.setattr(wire, "new_nonce", lambda: b"n" * 32)
    assert "got this side's own" in str(against(b"n" * 32))


@pytest.mark.parametrize("certificate", [b"x", bytes(31), bytes(33), bytes(64)], ids=range(4))
def test_hashes_of_certificates_have_their_length(certificate: bytes) -> None:
    """A hash of another length than SHA-256 is no hash of a certificate."""
    assert "the hash of a certificate" in str(against(os.urandom(32), certificate))


def test_a_certificate_that_was_not_shown() -> None:
    """The hash of another certificate than the connection has shown is refused."""
    assert "stands between" in str(against(os.urandom(32), bytes(32)))


def test_the_name_of_a_method_is_shown_bounded() -> None:
    """What the server calls its way to log in is shown without control characters."""
    text = str(against(os.urandom(32), method=b"\x1b[2J" * 400))
    assert "\x1b" not in text
    assert len(text) < 300


def test_proofs_of_another_direction_or_size(door: Any) -> None:
    """The server's kind of proof, and proofs of other sizes, do not let a client in."""
    for make in (
        lambda transcript: wire.token_proof(TOKEN, wire.SERVER, transcript),
        lambda transcript: b"",
        lambda transcript: wire.token_proof(TOKEN, wire.CLIENT, transcript)[:16],
        lambda transcript: wire.token_proof(TOKEN, wire.CLIENT, transcript) + b"x",
        lambda transcript: wire.token_proof(b"", wire.CLIENT, transcript),
    ):
        transcript = wire.Transcript(wire.TOKEN, b"s" * 32, b"", b"c" * 32, b"")
        with pytest.raises(AuthenticationError):
            TokenAuthenticator(TOKEN).check(transcript, make(transcript))
    here, outcome = door
    here.sendall(b"\xff\xff" + bytes(3000))
    here.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
        while here.recv(4096):
            pass
    assert "at most 2048 bytes, got one of 65535" in str(outcome.get(timeout=60))


def test_a_login_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then does not make a login longer than its limit."""
    monkeypatch.setattr("rpyc_like.utils.authenticators._HANDSHAKE_LIMIT", 0.3)
    here, there = socket.socketpair()
    ended = threading.Event()

    def trickle() -> None:
        with contextlib.suppress(OSError):
            here.sendall(b"\x07\xff")
            while not ended.wait(0.1):
                here.sendall(b"x")

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    try:
        with there, pytest.raises(AuthenticationError, match=r"login failed"):
            TokenAuthenticator(TOKEN)(there)
    finally:
        ended.set()
        join(thread)
        here.close()


def test_over_a_server_and_asyncio() -> None:
    """A client with a short nonce is hung up on; a right one is served."""

    class Service(rpyc.Service):
        def exposed_add(self, a: int, b: int) -> int:
            return a + b

    config: dict[str, Any] = {"protocol_config": {"logger": None}}
    with rpyc.ThreadedServer(
        Service, port=0, authenticator=TokenAuthenticator(TOKEN), **config
    ) as server:
        server._start_in_thread()
        for nonce in (b"", b"n" * 16):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.settimeout(60)
                verdict, _ = say_to(sock, lambda theirs, nonce=nonce: nonce)  # type: ignore[misc]
                assert wire.OK not in verdict
        with rpyc.connect("127.0.0.1", server.port, login=TokenLogin(TOKEN)) as conn:
            assert conn.root.add(1, 2) == 3
