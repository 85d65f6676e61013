"""EPC behind other servers and streams, and the options of its own."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from rpyc_like.core.channel import Channel
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.handler import EPCClosed, EPCError, ReturnError
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer
from rpyc_like.epc.service import EPCConnection, EPCService
from rpyc_like.link.streams import PipeStream, SocketStream, TlsStream
from rpyc_like.link.streams.tls import client_context
from rpyc_like.utils.authenticators import SSLAuthenticator
from rpyc_like.utils.server import ForkingServer, Server, ThreadedServer, ThreadPoolServer
from rpyc_like.wire.sexp.reader import Reader
from rpyc_like.wire.sexp.values import Dotted, Symbol
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.peers import OURS, environment

QUIET = logging.getLogger("tests.epc")
QUIET.setLevel(logging.CRITICAL)
logging.getLogger("epc").setLevel(logging.CRITICAL)


def service(**options: Any) -> EPCService:
    made = EPCService(**options)
    made.register_function(lambda *args: list(args), "echo")
    made.register_function(lambda name, n: made.clients[-1].call_sync(name, [n], 10), "back")
    return made


def use(sock_or_stream: Any) -> None:
    """Calls, and is called back."""
    client = EPCService()
    client.register_function(lambda n: 2 * n, "double")
    conn = EPCConnection(sock_or_stream, client)
    threading.Thread(target=conn.serve_all, daemon=True).start()
    assert conn.call_sync("echo", [1, "two"], 10) == [1, "two"]
    assert conn.call_sync("back", ["double", 21], 10) == 42
    with pytest.raises(EPCError):
        conn.call_sync("nothing", [], 10)
    conn.close()


@contextlib.contextmanager
def running(kind: type[Server], **options: Any) -> Iterator[Any]:
    served = service()
    server = kind(served, logger=QUIET, **options)  # type: ignore[arg-type]
    server._start_in_thread()
    try:
        yield server
    finally:
        server.close()
    if kind is not ForkingServer:
        eventually(lambda: not served.clients)


@pytest.mark.parametrize("kind", [ThreadedServer, ThreadPoolServer, ForkingServer])
def test_tcp_and_unix(kind: type[Server], tmp_path: Path) -> None:
    """The servers of the package serve it over TCP and unix sockets."""
    with running(kind, port=0) as server:
        use(SocketStream.connect(server.host, server.port))
    with running(kind, socket_path=str(tmp_path / "s")) as server:
        use(SocketStream.unix_connect(server.port))


def test_tls(tmp_path: Path) -> None:
    """So they do with TLS."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    key, cert, ca = (str(tmp_path / name) for name in ("key", "cert", "ca"))
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(cert)
    authority.cert_pem.write_to_path(ca)
    with running(ThreadedServer, port=0, authenticator=SSLAuthenticator(key, cert)) as server:
        stream = SocketStream.connect("localhost", server.port)
        use(TlsStream(stream, client_context(None, None, ca), server_hostname="localhost"))


def test_stdio() -> None:
    """A child serves it over its standard input and output."""
    code = (
        "from rpyc_like.epc.service import EPCService\n"
        "from rpyc_like.core.channel import Channel\nfrom rpyc_like.core.stream import PipeStream\n"
        "s = EPCService(); s.register_function(lambda *a: list(a), 'echo')\n"
        "s.register_function(lambda name, n: s.clients[-1].call_sync(name, [n], 10), 'back')\n"
        "conn = s._connect(Channel(PipeStream.from_std())); print('noise'); conn.serve_all()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(OURS),
    ) as child:
        use(PipeStream(child.stdout, child.stdin))
        assert child.wait(60) == 0


def test_pairs_of_streams() -> None:
    """Two ends of a pair of pipes talk."""
    here, there = PipeStream.create_pair()
    conn = service()._connect(Channel(there))
    thread = threading.Thread(target=conn.serve_all)
    thread.start()
    use(here)
    join(thread)


@contextlib.contextmanager
def epc_server(kind: Any = ThreadingEPCServer, **options: Any) -> Iterator[Any]:
    server = kind(("127.0.0.1", 0), **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    server.register_function(lambda *args: list(args), "echo")
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        join(thread)


def test_ordered() -> None:
    """With ``ordered`` a client's calls are served one after the other, in order."""
    seen: list[int] = []

    def note(number: int) -> None:
        time.sleep(0.002 * (5 - number % 5))
        seen.append(number)

    with epc_server(ordered=True) as server, EPCClient(server.server_address) as client:
        server.register_function(note)
        results = [client.async_call("note", number) for number in range(30)]
        for result in results:
            result.wait()
    assert seen == list(range(30))


def test_bounded() -> None:
    """With ``max_threads`` no more calls are served at once; waiting ones do not count."""
    running_now: list[int] = []
    most: list[int] = []

    def work() -> None:
        running_now.append(1)
        most.append(len(running_now))
        time.sleep(0.03)
        running_now.pop()

    with epc_server(max_threads=2) as server, EPCClient(server.server_address) as client:
        server.register_function(work)
        results = [client.async_call("work") for _ in range(12)]
        for result in results:
            result.wait()
        assert max(most) == 2

        def down(number: int) -> Any:
            return number and server.clients[0].call_sync("down", [number - 1], 10)

        server.register_function(down)
        client.register_function(lambda n: client.call_sync("down", [n], 10), "down")
        assert client.call_sync("down", [8], 20) == 0


def test_structured_errors() -> None:
    """With ``structured_errors`` an error is told as a list."""
    with (
        epc_server(structured_errors=True) as server,
        EPCClient(server.server_address) as client,
    ):
        server.register_function(lambda: 1 / 0, "divide")
        with pytest.raises(ReturnError) as caught:
            client.call_sync("divide", [], 10)
        name, text, about = caught.value.args[0]
        assert (name.value(), text) == ("ZeroDivisionError", "division by zero")
        assert about[0].value() == ":module"
        assert "Traceback" in about[3]


@pytest.mark.parametrize("kind", [EPCServer, ThreadingEPCServer])
def test_another_reader(kind: Any) -> None:
    """A reader of one's own makes other values, of arguments and of answers."""
    reader = Reader(nil=lambda: None, tables=True, plists=True, alists=True)
    seen: list[Any] = []
    with epc_server(kind, reader=reader) as server:
        server.register_function(lambda *args: seen.append(args), "see")
        server.register_function(lambda: {"a": [], "b": {"c": 1}}, "plist")
        server.register_function(lambda: [Dotted([Symbol("k"), Symbol("."), 1])], "alist")
        with EPCClient(server.server_address, reader=reader) as client:
            client.call_sync("see", [None, [], {"x": {"y": ()}}, "text"], 10)
            client.call_sync("see", None, 10)
            client.call_sync("see", {"a": 1}, 10)
            assert seen[0] == (None, None, {"x": {"y": None}}, "text")
            assert seen[1] == ()
            assert seen[2] == (Symbol(":a"), 1)
            assert client.call_sync("plist", (), 10) == {"a": None, "b": {"c": 1}}
            assert client.call_sync("alist", [], 10) == {"k": 1}
            assert client.methods_sync(10)[0][1:] == [None, ""]


@pytest.mark.parametrize("kind", [EPCServer, ThreadingEPCServer])
def test_exit_with_the_last_client(kind: Any) -> None:
    """A server may end when its last client has gone."""
    server = kind(("127.0.0.1", 0), exit_with_last_client=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    client = EPCClient(server.server_address)
    client.methods_sync(10)
    assert thread.is_alive()
    client.close()
    join(thread)
    server.server_close()


MODULE = """
import sys, os
print("noise on standard output")
print("noise on standard error", file=sys.stderr)
os.system("echo noise of a child")

def double(n):
    "Doubles."
    return 2 * n

class inner:
    method = staticmethod(lambda: "dotted")
"""


def test_the_command(tmp_path: Path) -> None:
    """``python -m rpyc_like.epc.server MODULE`` prints the port before anything else."""
    (tmp_path / "noisy.py").write_text(MODULE)
    args = [sys.executable, "-m", "rpyc_like.epc.server", "--allow-dotted-names"]
    with subprocess.Popen(
        [*args, "--exit-with-stdin", "noisy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(OURS),
        cwd=tmp_path,
        text=True,
    ) as proc:
        assert proc.stdout is not None
        assert proc.stdin is not None
        port = int(proc.stdout.readline())
        with EPCClient(("localhost", port)) as client:
            assert client.call_sync("double", [21], 10) == 42
            assert client.call_sync("inner.method", [], 10) == "dotted"
        proc.stdin.close()
        assert proc.wait(60) == 0
        rest = proc.stdout.read()
    assert sorted(line for line in rest.splitlines() if line.startswith("noise")) == [
        *("noise of a child", "noise on standard error", "noise on standard output")
    ]


def test_alias(tmp_path: Path) -> None:
    """A program of python-epc's runs as it is under the alias."""
    program = tmp_path / "program.py"
    program.write_text(
        "import threading\nfrom epc.server import EPCServer\nfrom epc.client import EPCClient\n"
        "import epc, epc.handler, rpyc_like.epc.handler\n"
        "assert epc.handler is rpyc_like.epc.handler\n"
        "server = EPCServer(('localhost', 0))\nserver.register_function(lambda x: x, 'echo')\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "client = EPCClient(server.server_address)\nprint(client.call_sync('echo', [5]))\n"
    )
    args = [sys.executable, "-m", "rpyc_like.alias", "--epc"]
    for command in ([*args, str(program)],):
        done = subprocess.run(
            command, env=environment(OURS), capture_output=True, text=True, timeout=200, check=False
        )
        assert done.stdout == "5\n", done.stderr
    folder = subprocess.run(
        [*args, "--path"], env=environment(OURS), capture_output=True, text=True, check=True
    ).stdout.strip()
    env = environment(OURS)
    env["PYTHONPATH"] = f"{folder}:{env['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, str(program)], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "5\n", done.stderr


def test_a_client_over_an_open_socket() -> None:
    """EPCClient takes a connected socket, and says when it is closed."""
    with epc_server() as server:
        client = EPCClient(socket.create_connection(server.server_address))
        assert client.call_sync("echo", [1], 10) == [1]
        client.close()
        with pytest.raises(EPCClosed):
            client.call("echo", [1])
