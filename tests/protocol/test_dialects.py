"""The bytes of each dialect, and what happens when a first guess was wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.encoding.codec import Dialect, recognise
from rpyc_like.core.protocol import Connection
from rpyc_like.errors import LimitExceeded, MalformedFrame, MalformedValue, ProtocolError
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from tests.support.joining import join

GETROOT_6 = bytes.fromhex("0111501153115102")
GETROOT_5 = bytes.fromhex("1251501153115102")


class Adder(rpyc.Service):
    """Adds."""

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


@pytest.mark.parametrize(
    ("payload", "dialect"),
    [
        (GETROOT_6, Dialect(6, False)),
        (GETROOT_5, Dialect(5, False)),
        (bytes(16) + GETROOT_6, Dialect(6, True)),
        (bytes(16) + GETROOT_5, Dialect(5, True)),
    ],
)
def test_recognise(payload: bytes, dialect: Dialect) -> None:
    """A first payload tells its dialect."""
    assert recognise(payload) == dialect


@pytest.mark.parametrize("payload", [b"\x04", b"\x00" * 40, b"hello", b"\x00\x01"])
def test_not_recognised(payload: bytes) -> None:
    """What is of no dialect is named."""
    with pytest.raises(MalformedValue, match=r"RPyC 5\.x or 6\.x"):
        recognise(payload)


@pytest.fixture
def raw_server() -> Iterator[Callable[..., Channel]]:
    """Serves a connection of ours; gives the bare channel of a client."""
    threads = []
    channels = []

    def make(config: dict[str, Any] | None = None) -> Channel:
        a, b = MemoryStream.create_pair()
        conn = Adder._connect(Channel(b), config)
        thread = threading.Thread(target=conn.serve_all, daemon=True)
        thread.start()
        threads.append(thread)
        channels.append(Channel(a))
        return channels[-1]

    yield make
    for channel in channels:
        channel.close()
    for thread in threads:
        join(thread)


@pytest.mark.parametrize(
    ("request_", "start"),
    [
        (GETROOT_6, bytes.fromhex("0211501154 12")),
        (GETROOT_5, bytes.fromhex("1252501154 12")),
    ],
)
def test_server_answers_in_the_dialect_it_hears(
    raw_server: Callable[..., Channel], request_: bytes, start: bytes
) -> None:
    """The first frame decides."""
    channel = raw_server()
    channel.send(request_)
    assert channel.recv().startswith(start)


def test_bound_server_addresses_the_asking_thread(raw_server: Callable[..., Channel]) -> None:
    """With a thread prefix the answer goes to the thread that asked."""
    channel = raw_server()
    channel.send((77).to_bytes(8, "big") + bytes(8) + GETROOT_6)
    answer = channel.recv()
    assert int.from_bytes(answer[8:16], "big") == 77
    assert int.from_bytes(answer[:8], "big") != 0
    assert answer[16:18] == b"\x02\x11"


def test_ping_bytes(raw_server: Callable[..., Channel]) -> None:
    """The measured bytes of a ping."""
    channel = raw_server()
    channel.send(bytes.fromhex("0111541151115110080b6869"))
    assert channel.recv().hex() == "021154115108 0b6869".replace(" ", "")


@pytest.mark.parametrize(
    "count", ["", "51", "16022d35", "160a31303030303030303030"], ids=["none", "1", "-5", "10**9"]
)
def test_vanilla_releases_are_clamped(raw_server: Callable[..., Channel], count: str) -> None:
    """A DEL is answered whatever its count says, and the root stays."""
    channel = raw_server()
    channel.send(GETROOT_6)
    root = channel.recv()[5:]
    boxed = "1153" + root.hex() + ("1151" + count if count else "")
    size = "11" if count else "10"
    channel.send(bytes.fromhex("011151115f1152" + size + boxed))
    assert channel.recv().hex() == "021151115100"
    channel.send(GETROOT_6)
    assert channel.recv()[5:] == root


class Goodbye:
    """Openers of channels whose peer says goodbye in another dialect, then serves in it."""

    def __init__(self, goodbye: bytes) -> None:
        self.goodbye = goodbye
        self.opened = 0

    def __call__(self) -> Channel:
        a, b = MemoryStream.create_pair()
        self.opened += 1
        if self.opened == 1:
            Channel(b).send(self.goodbye)
        else:
            conn = Adder._connect(Channel(b), None)
            threading.Thread(target=conn.serve_all, daemon=True).start()
        return Channel(a)


CLOSE = {
    Dialect(5, False): bytes.fromhex("1251501152115102"),
    Dialect(6, True): bytes(16) + bytes.fromhex("0111501152115102"),
    Dialect(5, True): bytes(16) + bytes.fromhex("1251501152115102"),
}


def connect(opener: Goodbye, config: dict[str, Any] | None = None) -> Connection:
    channel = opener()
    channel.reopen = opener
    return rpyc.connect_channel(channel, config=config)


@pytest.mark.parametrize("dialect", CLOSE, ids=str)
def test_wrong_guess_is_mended_once(dialect: Dialect) -> None:
    """A client learns the dialect from the goodbye, reconnects and asks again."""
    opener = Goodbye(CLOSE[dialect])
    with connect(opener) as conn:
        assert conn.root.add(2, 3) == 5
        assert conn._codec.dialect == dialect
    assert opener.opened == 2


def test_wrong_guess_without_a_way_back() -> None:
    """Where nothing can be reconnected the error names both versions and the key."""
    opener = Goodbye(CLOSE[Dialect(5, False)])
    conn = rpyc.connect_channel(opener())
    with pytest.raises(EOFError, match=r"spoke RPyC 6\.x .* in RPyC 5\.x.*'dialect': 5"):
        conn.ping()
    assert isinstance(conn._link.error, ProtocolError)
    conn.close()


def test_configured_dialect_is_spoken(raw_server: Callable[..., Channel]) -> None:
    """``dialect=`` decides what is said first."""
    channel = raw_server()
    conn = rpyc.connect_channel(channel, config={"dialect": 5})
    assert conn.root.add(1, 1) == 2
    assert conn._codec.dialect == Dialect(5, False)
    with pytest.raises(ValueError, match="expected None, 5 or 6; got 7"):
        rpyc.connect_channel(raw_server(), config={"dialect": 7})
    conn.close()


def test_silent_peer_is_told_by_the_timeout() -> None:
    """A peer that never says anything: the error mentions the dialect."""
    here, _there = MemoryStream.create_pair()
    conn = rpyc.connect_channel(Channel(here), config={"sync_request_timeout": 0.05})
    with pytest.raises(TimeoutError, match=r"never answered .*dialect"):
        conn.ping(timeout=0.05)
    conn.close()


def test_heard_while_a_large_request_is_encoded(pair: Any) -> None:
    """What would have to be repeated is forgotten by the thread that reads."""

    class Forgotten(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            found = super().__getitem__(index)
            self.clear()
            return found

    client, _ = pair(rpyc.VoidService, rpyc.VoidService)
    codec = client._codec
    codec._unheard = Forgotten()
    payload = codec.encode_request(1, 1, (b"x" * 1_000_000,))
    assert sum(map(len, payload)) > 1_000_000
    assert not codec._unheard


def test_first_frame_is_short() -> None:
    """A bound server answers only a first frame of less than 16 bytes."""
    here, there = MemoryStream.create_pair()
    conn = rpyc.connect_channel(Channel(here))
    conn.async_request(1, "x" * 100)
    assert len(Channel(there).recv()) < 16
    there.close()
    conn.close()


MALFORMED = [
    ("07", MalformedValue),
    ("04115011", MalformedValue),
    ("0112", MalformedValue),
    ("01115011531151", MalformedValue),
    ("0111501153115102ff", MalformedValue),
    ("01115011531199", MalformedValue),
    ("0111501154115512", MalformedValue),
    ("0111501154115215ffffffff", MalformedValue),
    ("01115011541152101153125050", MalformedValue),
    ("0111501154115410", MalformedValue),
    ("011150115f11521011545150", MalformedValue),
    ("01115011541151" + "10" * 3000 + "00", LimitExceeded),
    ("01115011541152" + "101152" * 1100 + "02", LimitExceeded),
    ("02115011535050", MalformedValue),
]


@pytest.mark.parametrize(("payload", "error"), MALFORMED, ids=[text[:16] for text, _ in MALFORMED])
@pytest.mark.filterwarnings("ignore")
def test_malformed_messages_close(payload: str, error: type, pair: Any) -> None:
    """A malformed message closes this connection with a named error, and no other."""
    bystander, _ = pair(Adder)
    a, b = MemoryStream.create_pair()
    conn = Adder._connect(Channel(b), None)
    thread = threading.Thread(target=conn.serve_all, daemon=True)
    thread.start()
    Channel(a).send(bytes.fromhex(payload))
    join(thread)
    assert isinstance(conn._link.error, error)
    assert bystander.root.add(1, 1) == 2


@pytest.mark.filterwarnings("ignore")
def test_malformed_frame_closes() -> None:
    """Bytes that are no frame close the connection."""
    a, b = MemoryStream.create_pair()
    conn = Adder._connect(Channel(b), None)
    a.write(b"GET / HTTP/1.1\r\n\r\n")
    conn.serve_all()
    assert isinstance(conn._link.error, MalformedFrame)
    assert "HTTP" in str(conn._link.error)
