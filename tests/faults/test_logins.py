"""Authenticators and logins: nobody gets in, over any server."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import struct
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
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer
from rpyc_like.errors import AuthenticationError, MalformedFrame
from rpyc_like.link.client_login import KeyLogin, TokenLogin, log_in
from rpyc_like.link.streams import SocketStream
from rpyc_like.utils.authenticators import (
    Chain,
    KeyAuthenticator,
    PeerUser,
    SSLAuthenticator,
    TokenAuthenticator,
    UnixAuthenticator,
)
from rpyc_like.utils.server import ForkingServer, ThreadedServer, ThreadPoolServer
from rpyc_like.wire import login as wire
from tests.support.eventually import eventually
from tests.support.joining import join

from .test_waits import QUIET

TOKEN = "a secret of enough bytes"
OTHER = "another secret of that size"

Serve = Callable[..., Any]


class Caller(rpyc.Service):
    """Tells who calls."""

    def on_connect(self, conn: Any) -> None:
        self.conn = conn

    def exposed_who(self) -> Any:
        call = rpyc.current_call()
        assert call is not None
        assert call.credentials == self.conn.credentials
        return repr(call.credentials)


@pytest.fixture(params=[ThreadedServer, ThreadPoolServer, ForkingServer])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Starts servers."""
    servers: list[Any] = []

    def make(authenticator: Any, **options: Any) -> Any:
        server = request.param(
            Caller, authenticator=authenticator, logger=QUIET, grace=0, **options
        )
        server._start_in_thread()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


def who(port: int, login: Any = None) -> str:
    """Returns the credentials that a server has found."""
    with rpyc.connect("127.0.0.1", port, login=login) as conn:
        found: str = conn.root.who()
        return found


def key(folder: Path, name: str) -> tuple[Path, str]:
    """Makes a key with ssh-keygen; returns the file and the public line."""
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name} of test"]
    subprocess.run([*command, "-f", str(path)], check=True)
    return path, path.with_name(f"{name}.pub").read_text()


# -- tokens


def test_token(serve: Serve, tmp_path: Path) -> None:
    """Who knows the token is let in, under its name; nobody else is."""
    one = serve(TokenAuthenticator(TOKEN)).port
    assert who(one, TokenLogin(TOKEN)) == "''"
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert who(one, TokenLogin(file)) == "''"
    many = serve(TokenAuthenticator({"ann": TOKEN, "bob": OTHER})).port
    assert who(many, TokenLogin(TOKEN, "ann")) == "'ann'"
    assert who(many, TokenLogin(OTHER, "bob")) == "'bob'"
    for wrong in (
        *(TokenLogin(OTHER), TokenLogin(TOKEN, "bob"), TokenLogin(OTHER, "ann")),
        *(TokenLogin(TOKEN, "nobody"), TokenLogin(TOKEN)),
    ):
        with pytest.raises(AuthenticationError, match="did not let this side in"):
            who(many, wrong)
    assert who(many, TokenLogin(TOKEN, "ann")) == "'ann'"


def test_clients_without_a_login(serve: Serve) -> None:
    """A client that does not log in is told what the server wants, and gets nothing."""
    port = serve(TokenAuthenticator(TOKEN)).port
    with pytest.raises(EOFError) as caught:
        who(port)
    assert isinstance(caught.value.__cause__, MalformedFrame)
    assert "a server that wants a login" in str(caught.value)


def test_servers_that_want_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login at a server that does not ask for it ends with an error that says so."""
    monkeypatch.setattr("rpyc_like.link.client_login._LIMIT", 0.2)
    with ThreadedServer(Caller, logger=QUIET) as server:
        server._start_in_thread()
        with pytest.raises(AuthenticationError, match="does the server ask for a login"):
            who(server.port, TokenLogin(TOKEN))


def test_short_tokens() -> None:
    """A token that could be guessed is refused."""
    for make in (TokenLogin, TokenAuthenticator):
        with pytest.raises(ValueError, match="at least 16 bytes, got 5"):
            make("short")


def test_a_server_that_does_not_know_the_token() -> None:
    """The client finds out that it talks to somebody else."""

    class Pretender(TokenAuthenticator):
        def check(self, transcript: Any, proof: bytes) -> str:
            return "anybody"

        def prove(self, transcript: Any) -> bytes:
            return bytes(32)

    with ThreadedServer(Caller, authenticator=Pretender(OTHER), logger=QUIET) as server:
        server._start_in_thread()
        with pytest.raises(AuthenticationError, match="does not know the token"):
            who(server.port, TokenLogin(TOKEN))


class Recorder:
    """Stands between a client and a server, and writes down what each says."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.client_said = b""
        self._server = port
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self._server))
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        while data := client.recv(4096):
            self.client_said += data
            server.sendall(data)
        server.close()
        client.close()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                sink.sendall(data)
        except OSError:
            pass


def test_nothing_can_be_replayed(serve: Serve) -> None:
    """What a client said once lets nobody in a second time, and the token is not in it."""
    port = serve(TokenAuthenticator(TOKEN)).port
    recorder = Recorder(port)
    assert who(recorder.port, TokenLogin(TOKEN)) == "''"
    recorder.listener.close()
    said = recorder.client_said
    assert TOKEN.encode() not in said
    (size,) = struct.unpack("!H", said[:2])
    for again in (said, said[: 2 + size]):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(again)
            got = b""
            try:
                while data := sock.recv(4096):
                    got += data
            except ConnectionError:
                pass
        assert wire.pack(wire.NO) in got or wire.OK not in got
        assert b"ok" not in got[len(wire.MAGIC) + 50 :]


def test_a_proof_cannot_be_sent_back(serve: Serve) -> None:
    """A side is not given its own proof: the words in front differ, and the nonces do."""
    transcript = wire.Transcript(b"token", b"s" * 32, b"", b"c" * 32, b"")
    proofs = {
        wire.token_proof(b"k" * 16, wire.CLIENT, transcript),
        wire.token_proof(b"k" * 16, wire.SERVER, transcript),
        wire.token_proof(b"k" * 16, wire.CLIENT, transcript._replace(server_nonce=b"t" * 32)),
        wire.token_proof(b"k" * 16, wire.CLIENT, transcript._replace(certificate=b"x")),
        wire.token_proof(b"k" * 16, wire.CLIENT, transcript._replace(name=b"x")),
    }
    assert len(proofs) == 5


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0\0",
        b"\xff\xff" + bytes(100),
        b"\0\x04\0\x09ab",
        wire.pack(b"", bytes(32)),
        wire.pack(b"", bytes(32), b"", b""),
        wire.pack(b"\xff" * 1000, b"", b""),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x05\x00hello\n",
    ],
)
def test_malformed_logins(said: bytes) -> None:
    """Whatever else a client says, it is hung up on, soon, and the server goes on."""
    authenticator = TokenAuthenticator(TOKEN)
    with ThreadedServer(
        Caller, authenticator=authenticator, auth_timeout=60, logger=QUIET
    ) as server:
        server._start_in_thread()
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.settimeout(60)
            sock.sendall(said)
            with contextlib.suppress(OSError):  # it may have hung up already
                sock.shutdown(socket.SHUT_WR)
            started = time.monotonic()
            try:
                while sock.recv(4096):
                    pass
            except ConnectionError:
                pass
            assert time.monotonic() - started < 50
        assert who(server.port, TokenLogin(TOKEN)) == "''"


def test_malformed_servers() -> None:
    """Whatever else a server says, the client gets an AuthenticationError."""
    greeting = wire.MAGIC + wire.pack(wire.TOKEN, bytes(32), b"")
    for said in (
        *(b"", wire.MAGIC[:5], b"HTTP/1.1 400 Bad Request\r\n\r\n", wire.MAGIC),
        *(wire.MAGIC + b"\xff\xff", wire.MAGIC + wire.pack(b"token"), greeting),
        *(greeting + wire.pack(b"ok"), greeting + wire.pack(b"ok", b""), greeting + b"\0\0"),
        wire.MAGIC + wire.pack(wire.KEY, bytes(32), b""),
        wire.MAGIC + wire.pack(wire.TOKEN, bytes(32), bytes(32)),
    ):
        here, there = socket.socketpair()
        there.sendall(said)
        there.shutdown(socket.SHUT_WR)
        stream = SocketStream(here)
        with pytest.raises(AuthenticationError):
            log_in(stream, TokenLogin(TOKEN), timeout=30)
        stream.close()
        there.close()


# -- users of this machine


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="needs SO_PEERCRED")
def test_unix_users(serve: Serve, tmp_path: Path) -> None:
    """The system says who is at the other end of a unix socket."""
    mine, others = str(tmp_path / "mine"), str(tmp_path / "others")
    serve(UnixAuthenticator(), socket_path=mine)
    with rpyc.factory.unix_connect(mine) as conn:
        expected = PeerUser(os.getpid(), os.getuid(), os.getgid())
        assert conn.root.who() == repr(expected)
    serve(UnixAuthenticator({os.getuid() + 1}), socket_path=others)
    with pytest.raises(EOFError), rpyc.factory.unix_connect(others) as conn:
        conn.root.who()
    tcp = serve(UnixAuthenticator()).port
    with pytest.raises(EOFError):
        who(tcp)


# -- keys


def test_keys(serve: Serve, tmp_path: Path) -> None:
    """Keys of OpenSSH let clients in; the file may change; the server can show a key too."""
    pytest.importorskip("cryptography")
    ann, ann_line = key(tmp_path, "ann")
    bob, bob_line = key(tmp_path, "bob")
    host, host_line = key(tmp_path, "host")
    authorized = tmp_path / "authorized_keys"
    authorized.write_text(f"# who may\n\n{ann_line}")
    port = serve(KeyAuthenticator(authorized, host)).port
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(ann)], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert who(port, KeyLogin(ann)) == repr({"comment": "ann of test", "fingerprint": printed})
    assert "ann of test" in who(port, KeyLogin(ann, server=host_line))
    with pytest.raises(AuthenticationError, match="does not have the expected key"):
        who(port, KeyLogin(ann, server=bob_line))
    with pytest.raises(AuthenticationError, match="did not let this side in"):
        who(port, KeyLogin(bob))
    with pytest.raises(AuthenticationError, match="asks for a login by ed25519, got one by token"):
        who(port, TokenLogin(TOKEN))
    authorized.write_text(ann_line + bob_line)
    assert "bob of test" in who(port, KeyLogin(bob))
    authorized.write_text("nonsense\n")
    with pytest.raises(AuthenticationError):
        who(port, KeyLogin(ann))
    with pytest.raises(ValueError, match="line 1: expected a line 'ssh-ed25519"):
        KeyAuthenticator(authorized)


def test_keys_of_other_kinds(tmp_path: Path) -> None:
    """A key of another kind, or none, is refused with a word about what is expected."""
    pytest.importorskip("cryptography")
    other = tmp_path / "ecdsa"
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(other)]
    subprocess.run(command, check=True)
    with pytest.raises(ValueError, match="expected an Ed25519 key"):
        KeyLogin(other)
    with pytest.raises(ValueError, match="expected a line"):
        KeyLogin(key(tmp_path, "fine")[0], server=other.with_suffix(".pub").read_text())


def test_without_cryptography() -> None:
    """Where the package is missing, the error says what to install; tokens need nothing."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from rpyc_like.link.client_login import KeyLogin, TokenLogin\n"
        "TokenLogin('x' * 16)\n"
        "try: KeyLogin('x')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs the package 'cryptography'" in done.stdout, done.stderr


# -- TLS and more


class Files:
    """A server's certificate, in files that can be written anew."""

    def __init__(self, folder: Path) -> None:
        self.key, self.cert, self.ca = (str(folder / name) for name in ("key", "cert", "ca"))
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.ca)
        self.renew()

    def renew(self, *names: str) -> int:
        """Writes a new certificate; returns its serial number."""
        from cryptography import x509

        issued = self._authority.issue_cert(*(names or ("127.0.0.1",)))
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.cert)
        found = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        return int(found.serial_number)


def test_a_token_within_tls(serve: Serve, tmp_path: Path) -> None:
    """Two authenticators in a row; what is proved is bound to the server's certificate."""
    files = Files(tmp_path)
    tls = SSLAuthenticator(files.key, files.cert)
    chain = Chain(tls, TokenAuthenticator({"ann": TOKEN}))
    assert chain.authenticates
    assert not Chain(tls).authenticates
    port = serve(chain).port
    options = {"ca_certs": files.ca}
    with rpyc.ssl_connect("127.0.0.1", port, login=TokenLogin(TOKEN, "ann"), **options) as conn:
        assert conn.root.who() == "(None, 'ann')"
    with pytest.raises(AuthenticationError, match="did not let"):
        rpyc.ssl_connect("127.0.0.1", port, login=TokenLogin(OTHER, "ann"), **options)
    with pytest.raises(EOFError), rpyc.ssl_connect("127.0.0.1", port, **options) as conn:
        conn.root.who()


def test_somebody_in_the_middle(tmp_path: Path) -> None:
    """A login that is passed on through another TLS server is refused on both sides."""
    (tmp_path / "real").mkdir()
    (tmp_path / "false").mkdir()
    real, false = Files(tmp_path / "real"), Files(tmp_path / "false")
    chain = Chain(SSLAuthenticator(real.key, real.cert), TokenAuthenticator(TOKEN))
    with ThreadedServer(Caller, authenticator=chain, logger=QUIET) as server:
        server._start_in_thread()
        listener = socket.create_server(("127.0.0.1", 0))

        def relay() -> None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(false.cert, false.key)
            plain = ssl.create_default_context(cafile=real.ca)
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True) as victim:
                sock = socket.create_connection(("127.0.0.1", server.port))
                with plain.wrap_socket(sock, server_hostname="127.0.0.1") as there:
                    greeting = there.recv(4096)
                    if len(greeting) == len(wire.MAGIC):
                        greeting += there.recv(4096)
                    victim.sendall(greeting)
                    victim.recv(4096)

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        with pytest.raises(AuthenticationError, match="stands between"):
            rpyc.ssl_connect(
                *("127.0.0.1", listener.getsockname()[1]),
                ca_certs=false.ca,
                login=TokenLogin(TOKEN),
            )
        join(thread)
        listener.close()


def test_certificates_are_read_again(tmp_path: Path) -> None:
    """A renewed certificate is used without a restart; unusable files change nothing."""
    files = Files(tmp_path)
    with ThreadedServer(
        Caller, authenticator=SSLAuthenticator(files.key, files.cert), logger=QUIET
    ) as server:
        server._start_in_thread()

        def serial() -> int:
            with rpyc.ssl_connect("127.0.0.1", server.port, ca_certs=files.ca) as conn:
                conn.root.who()
                return int(conn._channel.stream.getpeercert()["serialNumber"], 16)

        first = serial()
        second = files.renew()
        assert first != second == serial()
        Path(files.cert).write_text("half a certi")
        assert serial() == second
        third = files.renew()
        assert serial() == third


# -- EPC


@pytest.mark.parametrize("kind", [EPCServer, ThreadingEPCServer])
def test_epc_servers(kind: Any) -> None:
    """EPC servers take the same authenticators; methods learn who calls."""
    server = kind(("127.0.0.1", 0), authenticator=TokenAuthenticator({"ann": TOKEN}))

    def caller() -> str:
        call = rpyc.current_call()
        assert call is not None
        return str(call.credentials)

    server.register_function(caller)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(AuthenticationError):
            EPCClient(server.server_address, login=TokenLogin(OTHER, "ann"))
        with EPCClient(server.server_address, login=TokenLogin(TOKEN, "ann")) as client:
            assert client.call_sync("caller", [], timeout=60) == "ann"
    finally:
        server.shutdown()
        server.server_close()
        join(thread)


def test_epc_and_erlang_behind_other_servers() -> None:
    """The servers of this package let clients of all protocols in by the same authenticators."""
    from rpyc_like.epc.service import EPCService
    from rpyc_like.erlport.service import ErlangService
    from rpyc_like.erlport.v1.erlterms import Atom, decode, encode

    class Here:
        @staticmethod
        def caller() -> str:
            call = rpyc.current_call()
            assert call is not None
            return f"{call.credentials} {len(call.endpoints)}"

    emacs = EPCService()
    emacs.register_function(Here.caller)
    authenticator = TokenAuthenticator({"ann": TOKEN})
    with ThreadedServer(emacs, authenticator=authenticator, logger=QUIET) as server:  # type: ignore[arg-type]
        server._start_in_thread()
        with EPCClient(("127.0.0.1", server.port), login=TokenLogin(TOKEN, "ann")) as client:
            assert client.call_sync("caller", [], timeout=60) == "ann 2"
    service: Any = ErlangService({"here": Here})
    with ThreadedServer(service, authenticator=authenticator, logger=QUIET) as server:
        server._start_in_thread()
        stream = SocketStream.connect("127.0.0.1", server.port)
        log_in(stream, TokenLogin(TOKEN, "ann"))
        asked = encode((Atom(b"C"), 1, Atom(b"here"), Atom(b"caller"), []))
        stream.write(struct.pack("!L", len(asked)) + asked)
        (size,) = struct.unpack("!L", stream.read(4))
        kind, number, answer = decode(stream.read(size))[0]
        assert (kind, number) == (b"r", 1)
        assert b"ann 2" in bytes(answer if isinstance(answer, bytes) else bytes(answer))
        stream.close()


LOG = logging.getLogger("tests.logins")


def _lines_for(
    caplog: pytest.LogCaptureFixture, authenticator: Any, act: Callable[[int], None], **options: Any
) -> list[str]:
    """Return the warnings of a server after a client has done something."""
    caplog.clear()
    with ThreadedServer(Caller, authenticator=authenticator, logger=LOG, **options) as server:
        server._start_in_thread()
        act(server.port)
        eventually(lambda: any(one.name == LOG.name for one in caplog.records))
    found = [one for one in caplog.records if one.name == LOG.name]
    assert all(one.levelno == logging.WARNING for one in found)
    return [one.getMessage() for one in found]


def _say(port: int, data: bytes = b"") -> None:
    """Send something and wait for the end of the connection."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(60)
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
            while sock.recv(4096):
                pass


def _try(connect: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Connect and ask, in vain."""
    with pytest.raises((OSError, EOFError, AuthenticationError)):
        connect(*args, **options).root


def test_the_log_says_why_a_login_failed(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A failed login is a warning that says why: the token, the certificate, TLS, the time."""
    files = Files(tmp_path)
    token, tls = TokenAuthenticator(TOKEN), SSLAuthenticator(files.key, files.cert)
    asking = SSLAuthenticator(files.key, files.cert, files.cert)
    wrong = TokenLogin("y" * 24)
    secure = {"ca_certs": files.ca}
    for authenticator, act, why in (
        (token, lambda port: _try(rpyc.connect, "localhost", port, login=wrong), "the token"),
        (tls, lambda port: _say(port, b"\0\0\0\5\0hello\n" * 9), "does not speak TLS"),
        (tls, lambda port: _say(port, b"GET / HTTP/1.1\r\n\r\n"), "does not speak TLS"),
        (
            asking,
            lambda port: _try(rpyc.ssl_connect, "127.0.0.1", port, **secure),
            "has shown no certificate",
        ),
        (TokenAuthenticator(TOKEN, timeout=0.1), _say, "0.1 s (argument 'timeout' of the auth"),
        (
            SSLAuthenticator(files.key, files.cert, timeout=0.1),
            _say,
            "0.1 s (argument 'timeout' of the authenticator)",
        ),
    ):
        lines = _lines_for(caplog, authenticator, act)
        assert len(lines) == 1 and why in lines[0], lines
        assert "failed to authenticate, rejecting connection" in lines[0]
        assert lines[0].isprintable()
    lines = _lines_for(caplog, token, _say, auth_timeout=0.1)
    assert len(lines) == 1 and "auth_timeout" in lines[0], lines


def test_failed_logins_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Many failed logins of one kind are few lines."""
    wrong = TokenLogin("y" * 24)

    def attempts(port: int) -> None:
        for _ in range(5):
            _try(rpyc.connect, "127.0.0.1", port, login=wrong)

    lines = _lines_for(caplog, TokenAuthenticator(TOKEN), attempts)
    assert 0 < len(lines) < 5


def test_the_servers_time_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A login may take as long as ``auth_timeout`` says, whatever the default elsewhere is."""
    monkeypatch.setattr("rpyc_like.utils.authenticators._HANDSHAKE_LIMIT", 0.05)
    files = Files(tmp_path)
    for authenticator in (TokenAuthenticator(TOKEN), SSLAuthenticator(files.key, files.cert)):
        with ThreadedServer(
            Caller, authenticator=authenticator, auth_timeout=60, logger=QUIET
        ) as server:
            server._start_in_thread()
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    while True:
                        assert sock.recv(4096), "hung up"
