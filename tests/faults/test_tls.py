"""TLS: case 81 of the list of faults."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

import rpyc_like as rpyc
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.client_login import KeyLogin, TokenLogin
from rpyc_like.utils.authenticators import SSLAuthenticator, TokenAuthenticator
from rpyc_like.utils.server import ThreadedServer, ThreadPoolServer
from tests.support.eventually import eventually

from .serving import Patient
from .test_waits import QUIET


class Pair(NamedTuple):
    """Files of a key and its certificate."""

    key: str
    cert: str


class Authority:
    """Makes certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self._count = 0
        self.file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, expired: bool = False) -> Pair:
        """Returns the files of a new certificate."""
        yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        options = {"not_after": yesterday} if expired else {}
        made = self._ca.issue_cert(*names, **options)
        self._count += 1
        pair = Pair(*(str(self._folder / f"{self._count}.{end}") for end in ("key", "pem")))
        made.private_key_pem.write_to_path(pair.key)
        made.cert_chain_pems[0].write_to_path(pair.cert)
        return pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom both sides trust."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=[ThreadedServer, ThreadPoolServer])
def serve(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Starts TLS servers."""
    servers: list[Any] = []

    def make(pair: Pair, ca_certs: str | None = None) -> int:
        authenticator = SSLAuthenticator(pair.key, pair.cert, ca_certs)
        server = request.param(Patient, authenticator=authenticator, logger=QUIET, grace=0)
        server._start_in_thread()
        servers.append(server)
        return int(server.port)

    yield make
    for server in servers:
        server.close()


def works(port: int, **options: Any) -> bool:
    """Returns whether a client can call."""
    with rpyc.ssl_connect("127.0.0.1", port, **options) as conn:
        return bool(conn.root.add(1, 2) == 3)


def test_case_81_what_a_client_refuses(serve: Any, authority: Authority, tmp_path: Path) -> None:
    """Certificates that are expired, of another host, or signed by nobody known are refused."""
    other = Authority(tmp_path)
    fine = serve(authority.issue("127.0.0.1"))
    assert works(fine, ca_certs=authority.file)
    refused = [
        serve(authority.issue("127.0.0.1", expired=True)),
        serve(authority.issue("other.example")),
        serve(other.issue("127.0.0.1")),
    ]
    for port, why in zip(refused, ("expired", "IP address mismatch", "unable to get local issuer")):
        with pytest.raises(ssl.SSLCertVerificationError, match=why):
            works(port, ca_certs=authority.file)
    assert works(fine, ca_certs=authority.file)


def test_case_81_what_a_server_refuses(serve: Any, authority: Authority, tmp_path: Path) -> None:
    """Clients without a certificate, or with one of another authority, are not let in."""
    other = Authority(tmp_path)
    port = serve(authority.issue("127.0.0.1"), authority.file)
    fine, expired = authority.issue("client"), authority.issue("client", expired=True)
    assert works(port, keyfile=fine.key, certfile=fine.cert, ca_certs=authority.file)
    for pair in (None, other.issue("client"), expired):
        options = {} if pair is None else {"keyfile": pair.key, "certfile": pair.cert}
        with pytest.raises((ssl.SSLError, ConnectionClosed, OSError)):
            works(port, ca_certs=authority.file, **options)
    assert works(port, keyfile=fine.key, certfile=fine.cert, ca_certs=authority.file)


def test_case_81_handshakes_do_not_hold_others_up(serve: Any, authority: Authority) -> None:
    """Clients that say nothing, or no TLS, cost others nothing."""
    port = serve(authority.issue("127.0.0.1"))
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    started = time.monotonic()
    assert works(port, ca_certs=authority.file)
    assert time.monotonic() - started < 25
    with pytest.raises(EOFError), rpyc.connect("127.0.0.1", port) as plain:
        plain.root
    assert works(port, ca_certs=authority.file)
    for sock in silent:
        sock.close()


def test_case_81_cut_off_without_goodbye(authority: Authority) -> None:
    """A TLS stream that ends without its goodbye is an end, which waiters are told at once."""
    pair = authority.issue("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        raw, _ = listener.accept()
        wrapped = context.wrap_socket(raw, server_side=True)
        wrapped.recv(1)
        os.close(wrapped.detach())

    thread = threading.Thread(target=serve)
    thread.start()
    conn = rpyc.ssl_connect("127.0.0.1", listener.getsockname()[1], ca_certs=authority.file)
    started = time.monotonic()
    with pytest.raises(ConnectionClosed):
        conn.root
    assert time.monotonic() - started < 25
    eventually(lambda: conn.closed)
    thread.join()
    listener.close()


def test_files_are_checked_before_anything_is_bound(authority: Authority, tmp_path: Path) -> None:
    """Files that are missing, garbage or no pair are refused, by the name of the file."""
    pair, other = authority.issue("localhost"), authority.issue("localhost")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no key")
    half = tmp_path / "half.pem"
    half.write_text(f"{ssl.PEM_HEADER}\nAAAA\n{ssl.PEM_FOOTER}\n")
    missing = str(tmp_path / "missing.pem")
    for bad in (missing, str(garbage), str(half)):
        for files, argument in (
            ((bad, pair.cert, None), "keyfile"),
            ((pair.key, bad, None), "certfile"),
            ((pair.key, pair.cert, bad), "ca_certs"),
        ):
            with pytest.raises(OSError, match=argument) as caught:
                SSLAuthenticator(*files)
            assert Path(bad).name in str(caught.value)
            assert isinstance(caught.value, FileNotFoundError if bad == missing else ssl.SSLError)
            options = dict(zip(("keyfile", "certfile", "ca_certs"), files))
            with pytest.raises(OSError, match=argument):
                rpyc.ssl_connect("127.0.0.1", 1, **options)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH") as caught:
        SSLAuthenticator(other.key, pair.cert)
    assert Path(other.key).name in str(caught.value) and Path(pair.cert).name in str(caught.value)


def test_what_a_login_needs_names_its_file(tmp_path: Path) -> None:
    """A token that is too short, and a key that is none, are refused by the name of the file."""
    file = tmp_path / "secret"
    file.write_text("short")
    for make in (TokenAuthenticator, TokenLogin, KeyLogin):
        with pytest.raises(ValueError, match="secret"):
            make(file)
