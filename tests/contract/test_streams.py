"""What every native stream does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.streams import MemoryStream, NativeStream, PipeStream, SocketStream, TlsStream
from rpyc_like.link.streams.base import READ, WRITE, has_own_io
from rpyc_like.link.streams.tls import client_context, server_context
from tests.support.joining import join
from tests.support.shim import PATTERNS, shimmed

Pair = tuple[NativeStream, NativeStream]


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = SocketStream.connect("127.0.0.1", listener.getsockname()[1])
        there, _ = listener.accept()
    return here, SocketStream(there)


def unix_pair() -> Pair:
    here, there = socket.socketpair()
    return SocketStream(here), SocketStream(there)


def tls_over(inner: Pair, folder: Path) -> Pair:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    key, cert, ca = folder / "key", folder / "cert", folder / "ca"
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(cert))
    authority.cert_pem.write_to_path(str(ca))
    made: list[TlsStream] = []

    def accept() -> None:
        made.append(TlsStream(inner[1], server_context(str(key), str(cert)), server_side=True))

    thread = threading.Thread(target=accept)
    thread.start()
    here = TlsStream(inner[0], client_context(ca_certs=str(ca)), server_hostname="localhost")
    thread.join()
    return here, made[0]


KINDS: dict[str, Callable[[Path], Pair]] = {
    "tcp": lambda folder: tcp_pair(),
    "unix": lambda folder: unix_pair(),
    "pipe": lambda folder: PipeStream.create_pair(),
    "memory": lambda folder: MemoryStream.create_pair(),
    "tls-tcp": lambda folder: tls_over(tcp_pair(), folder),
    "tls-memory": lambda folder: tls_over(MemoryStream.create_pair(), folder),
    "tls-pipe": lambda folder: tls_over(PipeStream.create_pair(), folder),
    **{
        f"tcp-{pattern}": lambda folder, pattern=pattern: shimmed(tcp_pair(), pattern)  # type: ignore[misc]
        for pattern in PATTERNS
        if pattern != "bytewise"  # filling a buffer takes half a minute
    },
}


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Two connected streams of each kind."""
    here, there = KINDS[request.param](tmp_path)
    yield here, there
    here.close()
    there.close()


def receive(stream: NativeStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += stream.recv_wait(5) or b""
    return data


def test_bytes_go_both_ways(pair: Pair) -> None:
    """What is written is read, through the blocking face and the other."""
    here, there = pair
    here.write(b"hello")
    assert there.read(5) == b"hello"
    there.write(b"wo")
    there.write(b"rld")
    assert receive(here, 5) == b"world"


def test_reading_never_blocks(pair: Pair) -> None:
    """recv_some gives None when nothing is there, and waiting ends when its time is over."""
    here, there = pair
    assert here.recv_some() is None
    started = time.monotonic()
    assert here.wait(READ, 0.05) == 0
    assert not here.poll(0.05)
    assert here.recv_wait(0.05) is None
    assert 0.1 < time.monotonic() - started < 30
    assert here.wait(WRITE, 1) & WRITE
    there.write(b"x")
    assert here.poll(5)
    assert here.wait(READ, 5) & READ


def test_writing_never_blocks(pair: Pair) -> None:
    """send_some stops when the peer does not read; everything arrives when it does."""
    here, there = pair
    data = os.urandom(1 << 20)
    rest = memoryview(data)
    while rest:
        sent = here.send_some(rest)
        if not sent and not here.wait(WRITE, 0.2):
            break
        rest = rest[sent:]
    got = b""
    while len(got) < len(data):
        got += there.recv_wait(5) or b""
        if rest:
            rest = rest[here.send_some(rest) :]
    assert got == data


def test_much_in_both_directions_at_once(pair: Pair) -> None:
    """Reading and writing at the same time, in two threads each, loses nothing."""
    data = [os.urandom(1 << 20), os.urandom(1 << 20)]
    got: list[bytes] = [b"", b""]

    def read(side: int) -> None:
        got[side] = pair[side].read(1 << 20)

    threads = [threading.Thread(target=read, args=(side,)) for side in (0, 1)]
    threads += [threading.Thread(target=pair[side].write, args=(data[side],)) for side in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert got == data[::-1]


def test_the_end(pair: Pair) -> None:
    """What was written before the end is read, then the end, as often as asked."""
    here, there = pair
    here.write(b"last")
    here.close()
    assert here.closed
    here.close()
    assert there.read(4) == b"last"
    assert there.recv_wait(5) == b""
    assert there.recv_wait(5) == b""
    with pytest.raises(EOFError):
        there.read(1)


def test_a_closed_stream_says_so(pair: Pair) -> None:
    """Every use after closing is the same error."""
    here, _ = pair
    here.close()
    for use in (
        lambda: here.recv_some(),
        lambda: here.send_some(b"x"),
        lambda: here.read(1),
        lambda: here.write(b"x"),
    ):
        with pytest.raises(ConnectionClosed):
            use()


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_closing_ends_a_wait(pair: Pair, timeout: float | None) -> None:
    """A thread that waits for bytes wakes when another closes the stream."""
    here, _ = pair
    ended = threading.Event()

    def wait() -> None:
        try:
            while here.recv_wait(timeout) != b"":
                assert not ended.is_set()
            ended.set()
        except ConnectionClosed:
            ended.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    time.sleep(0.05)
    here.close()
    join(thread)
    assert ended.wait(60)


def test_nodelay_is_on() -> None:
    """TCP_NODELAY is set at both ends."""
    here, there = tcp_pair()
    for stream in (here, there):
        assert isinstance(stream, SocketStream)
        assert stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stream.close()


def test_own_io_is_noticed() -> None:
    """A class that overrides the blocking face is driven through it."""

    class Logged(SocketStream):
        def read(self, count: int) -> bytes:
            return super().read(count)

    here, there = socket.socketpair()
    logged, plain = Logged(here), SocketStream(there)
    assert has_own_io(logged)
    assert not has_own_io(plain)
    logged.close()
    plain.close()
