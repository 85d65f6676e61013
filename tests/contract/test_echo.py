"""The real driver under each framer, over each kind of stream, with a protocol of our own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rpyc_like.errors import MalformedValue
from rpyc_like.lib.timing import Timeout
from rpyc_like.link.aio import AioLink, AioResult
from rpyc_like.link.channel import Channel
from rpyc_like.link.result import AsyncResult
from rpyc_like.link.streams import MemoryStream, NativeStream, PipeStream, SocketStream, Stream
from rpyc_like.link.threaded import ThreadedLink
from rpyc_like.wire.framing import EpcFramer, ErlangFramer, RpycFramer
from rpyc_like.wire.messages import CAST, FAILURE, REPLY, REQUEST, Message
from rpyc_like.wire.session import Session
from tests.support.joining import join
from tests.support.shim import PATTERNS, shimmed

FRAMERS: dict[str, Callable[[], Any]] = {
    "rpyc": RpycFramer,
    "epc": EpcFramer,
    "erlang-1": lambda: ErlangFramer(1),
    "erlang-2": lambda: ErlangFramer(2),
    "erlang-4": lambda: ErlangFramer(4),
}


class JsonCodec:
    """Messages as JSON lists."""

    KINDS = {"call": REQUEST, "return": REPLY, "error": FAILURE, "cast": CAST}

    def decode(self, payload: bytes) -> Message:
        try:
            kind, *rest = json.loads(payload)
            return (self.KINDS[kind], *rest)
        except (ValueError, KeyError) as error:
            raise MalformedValue(str(error)) from error

    def encode_request(self, id_: Any, target: Any, args: Any) -> bytes:
        return json.dumps(["call", id_, target, args]).encode()

    def encode_reply(self, id_: Any, value: Any) -> bytes:
        return json.dumps(["return", id_, value]).encode()

    def encode_failure(self, id_: Any, error: Any) -> bytes:
        return json.dumps(["error", id_, error]).encode()


class Echo:
    """Answers ``echo`` with its arguments, ``back`` by asking its caller, else with an error."""

    def __init__(self, channel: Any) -> None:
        self.codec = JsonCodec()
        self.link = ThreadedLink(channel, Session(self.codec), self)
        self.ended = threading.Event()

    def ask(self, target: str, args: Any) -> Any:
        result = self.link.request(AsyncResult(self), target, args)
        self.link.wait(result, Timeout(10))
        return result.value

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        if target == "echo":
            payload = self.codec.encode_reply(id_, args)
        elif target == "back":
            payload = self.codec.encode_reply(id_, ["back", self.ask("echo", args)])
        else:
            payload = self.codec.encode_failure(id_, f"no {target}")
        self.link.send(payload)

    def notice(self, payload: Any) -> None: ...

    def route(self, target: Any) -> tuple[int | None, int]:
        return None, 0

    def will_repeat(self) -> bool:
        return False

    def recover(self, error: BaseException) -> BaseException | None:
        return error

    def disconnected(self, error: BaseException | None) -> None:
        self.ended.set()

    def wait_for(self, result: AsyncResult, deadline: Timeout | None) -> None:
        self.link.wait(result, deadline)

    def poll_all(self, timeout: float = 0) -> bool:
        return self.link.serve(Timeout(timeout), False)


def sockets() -> tuple[Stream, Stream]:
    here, there = socket.socketpair()
    return SocketStream(here), SocketStream(there)


class OwnStream(Stream):
    """A program's own stream class: blocking read, write and poll over another stream."""

    def __init__(self, inner: NativeStream) -> None:
        self.inner = inner

    def close(self) -> None:
        self.inner.close()

    @property
    def closed(self) -> bool:
        return self.inner.closed

    def fileno(self) -> int:
        return self.inner.fileno()

    def poll(self, timeout: Any) -> bool:
        return self.inner.poll(timeout)

    def read(self, count: int) -> bytes:
        return bytes(byte ^ 0x55 for byte in self.inner.read(count))

    def write(self, data: bytes) -> None:
        self.inner.write(bytes(byte ^ 0x55 for byte in data))


def own_streams() -> tuple[Stream, Stream]:
    here, there = MemoryStream.create_pair()
    return OwnStream(here), OwnStream(there)


STREAMS: dict[str, Callable[[], tuple[Stream, Stream]]] = {
    "socket": sockets,
    "pipe": PipeStream.create_pair,
    "memory": MemoryStream.create_pair,
    "own": own_streams,
    **{
        pattern: lambda pattern=pattern: shimmed(sockets(), pattern)  # type: ignore[misc]
        for pattern in PATTERNS
    },
}


@pytest.fixture(params=STREAMS)
def streams(request: pytest.FixtureRequest) -> Iterator[tuple[Stream, Stream]]:
    """Two connected streams of each kind."""
    pair = STREAMS[request.param]()
    yield pair
    for stream in pair:
        stream.close()


@pytest.fixture(params=FRAMERS)
def echoes(
    request: pytest.FixtureRequest, streams: tuple[Stream, Stream]
) -> Iterator[tuple[Echo, Echo]]:
    """Two echoing connections; the second one is served by a thread."""
    make = FRAMERS[request.param]
    here, there = (Echo(Channel(stream, framer=make())) for stream in streams)
    thread = threading.Thread(target=there.link.serve_forever, daemon=True)
    thread.start()
    yield here, there
    here.link.lose(None)
    join(thread)
    assert there.ended.wait(60)


def test_echo(echoes: tuple[Echo, Echo]) -> None:
    """Requests, errors and requests within requests."""
    here, _ = echoes
    assert here.ask("echo", [1, "two"]) == [1, "two"]
    assert here.ask("back", ["x"]) == ["back", ["x"]]
    result = here.link.request(AsyncResult(here), "nothing", [])
    here.link.wait(result, Timeout(10))
    assert result._failed
    assert result._value == "no nothing"


def test_many_at_once(echoes: tuple[Echo, Echo]) -> None:
    """Pipelined requests from several threads each get their own answer."""
    here, _ = echoes
    wrong: list[Any] = []

    def work(base: int) -> None:
        results = [(n, here.link.request(AsyncResult(here), "echo", [base, n])) for n in range(20)]
        for n, result in results:
            here.link.wait(result, Timeout(20))
            if result._value != [base, n]:
                wrong.append((base, n))

    threads = [threading.Thread(target=work, args=(base,)) for base in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert not wrong


class Shouting(Channel):
    """A program's own channel class."""

    def send(self, data: bytes) -> None:
        super().send(data.swapcase())

    def recv(self) -> bytes:
        return super().recv().swapcase()


def test_own_channels() -> None:
    """A channel class that overrides send and recv is used through them."""
    here, there = (Echo(Shouting(stream)) for stream in MemoryStream.create_pair())
    raw: list[bytes] = []
    original = there.link.channel.receiver.receive
    there.link.channel.receiver.receive = lambda timeout: raw.append(original(timeout)) or raw[-1]
    thread = threading.Thread(target=there.link.serve_forever, daemon=True)
    thread.start()
    assert here.ask("echo", ["Text"]) == ["Text"]
    assert b'"tEXT"' in raw[0]
    here.link.lose(None)
    join(thread)


def test_a_small_frame_leaves_in_one_write() -> None:
    """Header, payload and trailer are one write; so are several small frames sent together."""
    here, there = MemoryStream.create_pair()
    written: list[bytes] = []
    original = here.send_some
    counted = Channel(here)

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(here, name)

        def send_some(self, data: Any) -> int:
            written.append(bytes(data))
            return original(data)

    counted.sender._stream = Counting()  # type: ignore[attr-defined]
    counted.send(b"hello")
    counted.sender.send(b"a", b"b")
    assert [len(data) for data in written] == [11, 14]
    here.close()
    there.close()


class AioEcho:
    """The same application on an event loop."""

    def __init__(self, channel: Channel) -> None:
        self.codec = JsonCodec()
        self.link = AioLink(channel, Session(self.codec), self)

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        self.link.send(self.codec.encode_reply(id_, args))

    def beat(self, interval: float) -> None: ...

    def fell_silent(self, silent: bool) -> None: ...

    def disconnected(self, error: BaseException | None) -> None: ...

    def recover(self, error: BaseException) -> BaseException | None:
        return error

    def expire(self, result: AioResult) -> BaseException:
        return TimeoutError("too late")


@pytest.mark.parametrize("framer", FRAMERS)
def test_asyncio_driver(framer: str) -> None:
    """The asyncio driver speaks with the blocking one, both ways, under each framer."""
    here, there = socket.socketpair()
    blocking = Echo(Channel(SocketStream(there), framer=FRAMERS[framer]()))
    thread = threading.Thread(target=blocking.link.serve_forever, daemon=True)
    thread.start()

    async def main() -> None:
        echo = AioEcho(Channel(SocketStream(here), framer=FRAMERS[framer]()))
        results = []
        for target in ("echo", "back", "nothing"):
            result = AioResult(echo.link.loop)
            echo.link.request(result, target, [target], [], 5)
            results.append(result)
        outcomes = [await result.future for result in results]
        assert outcomes == [
            (False, ["echo"]),
            (False, ["back", ["back"]]),
            (True, "no nothing"),
        ]
        echo.link.lose(None)
        await asyncio.sleep(0)

    asyncio.run(main(), debug=True)
    join(thread)
