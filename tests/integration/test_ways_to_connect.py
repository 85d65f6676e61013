"""Every way to connect, over what it really uses."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import rpyc_like as rpyc
from rpyc_like.core.service import ClassicService
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.streams import SocketStream
from rpyc_like.utils import factory
from rpyc_like.utils.authenticators import SSLAuthenticator
from rpyc_like.utils.server import OneShotServer, Server, ThreadedServer
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.programs import answers
from tests.support.settled import once_settled

ROOT = Path(__file__).resolve().parents[2]


class Adder(rpyc.Service):
    """Adds."""

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts servers in threads and stops them."""
    started: list[tuple[Server, threading.Thread]] = []
    quiet = logging.getLogger("tests.quiet")
    quiet.setLevel(logging.CRITICAL)

    def make(kind: type[Server], *args: Any, **kwargs: Any) -> Server:
        server = kind(*args, logger=quiet, **kwargs)
        started.append((server, server._start_in_thread()))
        return server

    yield make
    for server, thread in started:
        server.close()
        join(thread)


def test_tcp(start: Any) -> None:
    """A threaded server over TCP; it binds to loopback by default."""
    server = start(ThreadedServer, Adder)
    assert server.host == "127.0.0.1"
    with rpyc.connect("localhost", server.port) as conn:
        assert conn.root.add(1, 2) == 3
        assert conn._channel.stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert len(server.clients) == 1
    assert conn.closed


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6(start: Any) -> None:
    """The same over IPv6."""
    try:
        server = start(ThreadedServer, Adder, ipv6=True)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with rpyc.connect("::1", server.port, ipv6=True) as conn:
        assert conn.root.add(1, 2) == 3


def test_unix_socket(start: Any, tmp_path: Path) -> None:
    """The same over a unix socket, which is removed when the server stops."""
    path = str(tmp_path / "socket")
    server = start(ThreadedServer, Adder, socket_path=path)
    with factory.unix_connect(path) as conn:
        assert conn.root.add(1, 2) == 3
    server.close()
    assert not os.path.exists(path)
    with pytest.raises(ValueError, match="exclude"):
        ThreadedServer(Adder, socket_path=path, port=5)


def test_oneshot(start: Any) -> None:
    """A one-shot server serves one client and stops."""
    server = start(OneShotServer, Adder)
    with rpyc.connect("127.0.0.1", server.port) as conn:
        assert conn.root.add(1, 2) == 3
    eventually(lambda: not answers(server.port))
    with pytest.raises(ConnectionRefusedError):
        rpyc.connect("127.0.0.1", server.port)


@pytest.fixture
def tls_files(tmp_path: Path) -> dict[str, str]:
    """Key, certificate and authority, in files."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = {name: str(tmp_path / name) for name in ("key", "cert", "ca")}
    issued.private_key_pem.write_to_path(files["key"])
    issued.cert_chain_pems[0].write_to_path(files["cert"])
    authority.cert_pem.write_to_path(files["ca"])
    return files


def test_tls(start: Any, tls_files: dict[str, str]) -> None:
    """Over TLS; the certificate is verified, and who does not trust it does not connect."""
    authenticator = SSLAuthenticator(tls_files["key"], tls_files["cert"])
    server = start(ThreadedServer, ClassicService, authenticator=authenticator)
    conn = rpyc.classic.ssl_connect("localhost", server.port, ca_certs=tls_files["ca"])
    data = os.urandom(500_000)
    assert conn.builtin.bytes(data) == data
    assert conn._channel.stream.getpeercert()["subject"] is not None
    conn.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        rpyc.classic.ssl_connect("localhost", server.port)
    blind = rpyc.classic.ssl_connect("localhost", server.port, cert_reqs=ssl.CERT_NONE)
    assert blind.eval("1 + 1") == 2
    blind.close()


def test_tls_wants_the_client_too(start: Any, tls_files: dict[str, str]) -> None:
    """With ca_certs the server lets only those clients in, and knows who they are."""
    seen: list[Any] = []

    class Named(rpyc.Service):
        def on_connect(self, conn: Any) -> None:
            seen.append(conn._config["credentials"])

    files = tls_files
    authenticator = SSLAuthenticator(files["key"], files["cert"], files["ca"])
    server = start(ThreadedServer, Named, authenticator=authenticator)
    options = {"ca_certs": files["ca"]}
    with rpyc.ssl_connect("localhost", server.port, files["key"], files["cert"], **options) as conn:
        conn.ping()
    assert "subjectAltName" in seen[0]
    refused = rpyc.ssl_connect("localhost", server.port, **options)
    with pytest.raises(EOFError):
        refused.ping()
    refused.close()
    assert len(seen) == 1


def test_a_wrapped_socket_works_in_a_plain_stream(start: Any, tls_files: dict[str, str]) -> None:
    """``SocketStream.ssl_connect`` gives a stream over an ``ssl.SSLSocket``, as RPyC's does."""
    authenticator = SSLAuthenticator(tls_files["key"], tls_files["cert"])
    server = start(ThreadedServer, Adder, authenticator=authenticator)
    stream = SocketStream.ssl_connect("localhost", server.port, {"ca_certs": tls_files["ca"]})
    assert isinstance(stream.sock, ssl.SSLSocket)
    with rpyc.connect_stream(stream) as conn:
        assert conn.root.add(1, 2) == 3


def test_subprocess() -> None:
    """A child process over its standard input and output."""
    conn = rpyc.classic.connect_subproc()
    assert conn.modules.os.getpid() == conn.proc.pid
    conn.execute("print('printed by the child')")
    assert conn.eval("6 * 7") == 42
    conn.modules.os.write(1, b"written to descriptor 1\n")
    assert conn.eval("1 + 1") == 2
    conn.close()
    assert conn.proc.wait(60) == 0


def test_a_child_that_dies_at_once() -> None:
    """A program that is no server is an error at once, and leaves nothing behind."""
    started = time.monotonic()
    with pytest.raises(EOFError):
        rpyc.classic.connect_pipes(
            *(lambda p: (p.stdout, p.stdin))(_child("import sys; sys.exit(3)"))
        )
    assert time.monotonic() - started < 25


CHILDREN: list[subprocess.Popen[bytes]] = []


def _child(code: str) -> subprocess.Popen[bytes]:
    CHILDREN.append(
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    )
    return CHILDREN[-1]


@pytest.fixture(autouse=True)
def reap() -> Iterator[None]:
    """Waits for children that a test has started."""
    yield
    while CHILDREN:
        CHILDREN.pop().wait(60)


def test_thread() -> None:
    """A server in a thread of this process."""
    conn = rpyc.classic.connect_thread()
    assert conn.modules.os.getpid() == os.getpid()
    conn.close()
    with rpyc.connect_thread(remote_service=Adder) as plain:
        assert plain.root.add(2, 2) == 4


def test_connect_refused() -> None:
    """What never opened raises the original error."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        rpyc.connect("127.0.0.1", port)
    with pytest.raises(FileNotFoundError):
        factory.unix_connect("/no/such/socket")


def test_a_killed_server_fails_the_call() -> None:
    """Kill -9 in mid-call: the caller knows at once."""
    conn = rpyc.classic.connect_subproc()
    sleep = rpyc.async_(conn.modules.time.sleep)
    result = sleep(60)
    time.sleep(0.1)
    started = time.monotonic()
    conn.proc.kill()
    with pytest.raises(ConnectionClosed):
        _ = result.value
    assert time.monotonic() - started < 50
    conn.close()
    conn.proc.wait(60)


def test_keyboard_interrupt_leaves_the_connection_usable() -> None:
    """Ctrl-C in a call ends the wait; the next call works."""
    conn = rpyc.classic.connect_subproc()
    conn.ping()
    sleep = conn.modules.time.sleep
    sleep(0)
    begun, sent = threading.Event(), threading.Event()

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        sent.set()

    once_settled(interrupt, begun.is_set)
    with pytest.raises(KeyboardInterrupt):
        begun.set()
        sleep(2)
        sent.wait(60)
    assert conn.eval("1 + 1") == 2
    conn.close()
    conn.proc.wait(60)
