"""The safe defaults, and the switch that takes them back."""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import rpyc_like as rpyc
from rpyc_like.core.config import CLIENT_ATTRS, DEFAULT_CONFIG
from rpyc_like.errors import AuthenticationError
from rpyc_like.utils.authenticators import SSLAuthenticator
from rpyc_like.utils.server import Server, ThreadedServer


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers."""
    made: list[Server] = []

    def make(service: Any = rpyc.VoidService, **options: Any) -> Server:
        server = ThreadedServer(service, port=0, **options)
        server._start_in_thread()
        made.append(server)
        return server

    yield make
    for server in made:
        server.close()


def test_loopback_by_default() -> None:
    """A server that is told no address can only be reached from its own machine."""
    for ipv6, host in ((False, "127.0.0.1"), (True, "::1")):
        with ThreadedServer(rpyc.ClassicService, port=0, ipv6=ipv6) as server:
            assert server.host == host


def allow_all(sock: socket.socket) -> tuple[socket.socket, str]:
    return sock, "somebody"


@pytest.mark.parametrize("service", [rpyc.ClassicService, rpyc.SlaveService, rpyc.ClassicService()])
@pytest.mark.parametrize(("ipv6", "host"), [(False, "0.0.0.0"), (True, "::")])
def test_full_control_needs_authentication(service: Any, ipv6: bool, host: str) -> None:
    """A classic server on a reachable address is refused, and told the ways out."""
    with pytest.raises(AuthenticationError) as caught:
        ThreadedServer(service, hostname=host, ipv6=ipv6, port=0)
    text = str(caught.value)
    for way in ("ssh -L", "SSLAuthenticator(", "TokenAuthenticator(", "insecure=True"):
        assert way in text
    assert len([line for line in text.splitlines() if line.startswith("  ")]) == 3
    for options in ({"insecure": True}, {"authenticator": allow_all}):
        ThreadedServer(service, hostname=host, ipv6=ipv6, port=0, **options).close()
    ThreadedServer(rpyc.VoidService, hostname=host, ipv6=ipv6, port=0).close()


def test_encryption_is_no_authentication(tmp_path: Path) -> None:
    """TLS that asks nobody for a certificate lets everybody in."""
    pair = trustme.CA().issue_cert("localhost")
    files = [str(tmp_path / name) for name in ("key", "cert")]
    pair.private_key_pem.write_to_path(files[0])
    pair.cert_chain_pems[0].write_to_path(files[1])
    hiding = SSLAuthenticator(*files)
    with pytest.raises(AuthenticationError):
        ThreadedServer(rpyc.ClassicService, hostname="0.0.0.0", port=0, authenticator=hiding)
    asking = SSLAuthenticator(*files, files[1])
    options = {"hostname": "0.0.0.0", "port": 0, "authenticator": asking}
    ThreadedServer(rpyc.ClassicService, **options).close()


def test_the_command_says_so() -> None:
    """rpyc_classic.py refuses in the same words and says which option insists."""
    args = [sys.executable, "-m", "rpyc_like.cli.rpyc_classic", "--host", "0.0.0.0", "-p", "0"]
    done = subprocess.run(args, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2
    assert "--insecure" in done.stderr
    assert "Traceback" not in done.stderr


def test_slow_authentication(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An authenticator that waits for its client is cut off."""

    def slow(sock: socket.socket) -> Any:
        while True:  # a byte from time to time would satisfy each read
            if not sock.recv(1):
                raise AuthenticationError("the client has gone")

    server = serve(authenticator=slow, auth_timeout=0.3)
    with (
        caplog.at_level(logging.CRITICAL),
        socket.create_connection(("127.0.0.1", server.port)) as sock,
    ):
        started = time.monotonic()
        sock.settimeout(60)
        try:
            while True:
                sock.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - started < 30


def test_silent_clients_are_bounded(serve: Any) -> None:
    """Clients that say nothing are bounded in number; those that have spoken do not count."""

    class Talking(rpyc.Service):
        def exposed_hello(self) -> str:
            return "hello"

    server = serve(Talking, max_silent_clients=3)
    talking = [rpyc.connect("127.0.0.1", server.port) for _ in range(3)]
    assert [conn.root.hello() for conn in talking] == ["hello"] * 3
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    refused: set[socket.socket] = set()
    end = time.monotonic() + 60
    while len(refused) + server.admission.silent < len(silent) and time.monotonic() < end:
        refused.update(select.select(silent, [], [], 0.05)[0])
    assert (len(refused), server.admission.silent) == (3, 3)
    assert refused == set(silent[:3])  # the oldest
    assert [sock.recv(1) for sock in refused] == [b""] * 3
    assert [conn.root.hello() for conn in talking] == ["hello"] * 3
    for sock in silent:
        sock.close()
    deadline = time.monotonic() + 60
    while True:
        conn = rpyc.connect("127.0.0.1", server.port)
        try:
            assert conn.root.hello() == "hello"
            break
        except EOFError:
            assert time.monotonic() < deadline
        finally:
            conn.close()
    for conn in talking:
        conn.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    paths = {"ca": str(folder / "ca.pem")}
    authority.cert_pem.write_to_path(paths["ca"])
    for name, host in (("right", "127.0.0.1"), ("wrong", "elsewhere.example")):
        issued = authority.issue_cert(host)
        paths[name + "_key"], paths[name] = str(folder / f"{name}.key"), str(folder / f"{name}.pem")
        issued.private_key_pem.write_to_path(paths[name + "_key"])
        issued.cert_chain_pems[0].write_to_path(paths[name])
    return paths


def test_tls_clients_verify(serve: Any, certificates: dict[str, str]) -> None:
    """Certificate and name are verified; the switches that RPyC drops are honoured."""
    ca = certificates["ca"]

    def server(name: str) -> int:
        key = certificates[name + "_key"]
        port: int = serve(authenticator=SSLAuthenticator(key, certificates[name])).port
        return port

    right, wrong = server("right"), server("wrong")
    rpyc.ssl_connect("127.0.0.1", right, ca_certs=ca).close()
    for port, options in ((right, {}), (wrong, {"ca_certs": ca})):
        with pytest.raises(ssl.SSLError, match="verify failed"):
            rpyc.ssl_connect("127.0.0.1", port, **options)
        rpyc.ssl_connect("127.0.0.1", port, cert_reqs=ssl.CERT_NONE, **options).close()
    with pytest.raises(ssl.SSLError):
        rpyc.ssl_connect("127.0.0.1", right, ca_certs=ca, ciphers="NO-SUCH-CIPHER")
    for version in (ssl.PROTOCOL_TLSv1_2,):
        with pytest.warns(DeprecationWarning), pytest.raises(ssl.SSLError, match="verify failed"):
            rpyc.ssl_connect("127.0.0.1", wrong, ca_certs=ca, ssl_version=version)


def test_client_attributes() -> None:
    """What a classic client lets its server use is operators, conversions and names."""
    assert {
        *("__fspath__", "__reversed__", "__name__", "__qualname__", "__module__", "__matmul__"),
        *("__round__", "__complex__", "__bytes__", "__await__", "__call__"),
    } <= CLIENT_ATTRS
    leads_out = {"__class__", "__dict__", "__globals__", "__init__", "__reduce_ex__", "__self__"}
    assert not CLIENT_ATTRS & leads_out
    assert not DEFAULT_CONFIG["safe_attrs"] & leads_out


PROGRAM = """
import json, socket, threading
import rpyc_like as rpyc
from rpyc_like.core.config import DEFAULT_CONFIG
from rpyc_like.utils import classic
from rpyc_like.utils.server import ThreadedServer

out = {}
server = ThreadedServer(rpyc.ClassicService, port=0)
out["host"] = server.host
threading.Thread(target=server.start, daemon=True).start()

def attempt(name, func):
    try:
        out[name] = func()
    except Exception as error:
        out[name] = type(error).__name__

conn = rpyc.classic.connect("127.0.0.1", server.port)
conn.execute("def pid(conn): return conn.root.getmodule('os').getpid()\\nimport copy")
there = conn.root.getconn()
attempt("full control of the client", lambda: conn.namespace["pid"](there) > 0)
attempt("copy", lambda: len(__import__("copy").copy(conn.eval("[1]"))))
attempt("open door", lambda: ThreadedServer(
    rpyc.ClassicService, hostname="0.0.0.0", port=0).close())
try:
    conn.execute("raise SystemExit(3)")
except BaseException as error:
    out["exit"] = isinstance(error, SystemExit)
conn.close()
service = ThreadedServer(rpyc.VoidService, port=0)
void = rpyc.connect_thread(remote_service=rpyc.SlaveService)
attempt("obtain", lambda: rpyc.classic.obtain(void.root.eval("[1]")))
print(json.dumps(out))
"""


@pytest.mark.parametrize("compatible", [False, True])
def test_the_switch(compatible: bool) -> None:
    """RPYC_LIKE_COMPAT=rpyc6 brings RPyC's defaults back, all of them."""
    env = {**os.environ, "RPYC_LIKE_COMPAT": "rpyc6" if compatible else ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    if compatible:
        expected = {
            "host": "0.0.0.0",
            "full control of the client": True,
            "copy": 1,
            "open door": None,
            "exit": True,
            "obtain": [1],
        }
    else:
        expected = {
            "host": "127.0.0.1",
            "full control of the client": "AttributeError",
            "copy": "ValueError",
            "open door": "AuthenticationError",
            "exit": False,
            "obtain": "ValueError",
        }
    assert found == expected


def test_the_switch_in_tls(serve: Any, certificates: dict[str, str]) -> None:
    """With the switch, a TLS client that names no authorities verifies nothing, as RPyC's."""
    key, cert = certificates["wrong_key"], certificates["wrong"]
    port = serve(authenticator=SSLAuthenticator(key, cert)).port
    program = f"import rpyc_like; rpyc_like.ssl_connect('127.0.0.1', {port}).close()"
    for value, expected in (("", 1), ("rpyc6", 0)):
        env = {**os.environ, "RPYC_LIKE_COMPAT": value}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True)
        assert done.returncode == expected, done.stderr


def test_an_unknown_switch_is_refused() -> None:
    """A typing mistake in the switch does not pass for safety or its absence."""
    env = {**os.environ, "RPYC_LIKE_COMPAT": "rpyc7"}
    done = subprocess.run(
        [sys.executable, "-c", "import rpyc_like; rpyc_like.Connection"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "expected rpyc6, got 'rpyc7'" in done.stderr
    assert threading.active_count() > 0
