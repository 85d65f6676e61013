"""What is fuzzed: frames, values of each format, logins, and whole conversations.

Each target takes any bytes. The oracle is the same for all: a value or a documented error comes
out, in bounded time; the runner bounds the memory.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import rpyc_like as rpyc
from rpyc_like.core import brine
from rpyc_like.core.protocol import Connection
from rpyc_like.core.snapshots import dump as snapshot_dump
from rpyc_like.core.snapshots import load as snapshot_load
from rpyc_like.epc.codec import EpcCodec
from rpyc_like.erlport import erlterms
from rpyc_like.erlport.v1 import erlterms as modern
from rpyc_like.errors import AuthenticationError, ConnectionClosed, ProtocolError
from rpyc_like.lib import object_ids
from rpyc_like.wire import login
from rpyc_like.wire.framing import EpcFramer, ErlangFramer, RpycFramer
from rpyc_like.wire.sexp import writer
from rpyc_like.wire.sexp.reader import Reader

LIMIT = 5.0
"""Seconds of computing that any input may take."""


class TooSlow(Exception):
    """An input took longer than the limit."""


def fuzz_frame(data: bytes) -> None:
    """Any bytes, in any pieces, give the same payloads or the same documented error."""
    cut, stream = data[:1], data[1:]
    for make in (RpycFramer, EpcFramer, lambda: ErlangFramer(2), lambda: ErlangFramer(4)):
        whole, pieces = make(), make()
        payloads = whole.feed(stream)
        step = 1 + (cut[0] if cut else 0)
        same: list[bytes] = []
        for start in range(0, len(stream), step):
            same += pieces.feed(stream[start : start + step])
        assert payloads == same
        assert (whole.error is None) == (pieces.error is None)
        assert whole.error is None or isinstance(whole.error, ProtocolError)
        assert whole.missing() > 0


def fuzz_brine(data: bytes) -> None:
    """Any bytes are a value, whose own bytes give the same value again, or a documented error."""
    try:
        value = brine.load(data)
    except ProtocolError:
        return
    again = brine.load(brine.dump_surrogates(value))
    try:
        assert _canonical(again) == _canonical(value)
    except RecursionError:
        pass  # of the comparison; the codec has none


def _canonical(value: Any) -> str:
    """Returns a text that is the same for equal values: the order in a frozenset is none."""
    if type(value) is tuple:
        return f"({', '.join(map(_canonical, value))})"
    if type(value) is frozenset:
        return f"{{{', '.join(sorted(map(_canonical, value)))}}}"
    if type(value) is slice:
        return f"slice{_canonical((value.start, value.stop, value.step))}"
    return value.__class__.__name__ + brine.dump_surrogates(value).hex()


class Item:
    """An object that the peer gets hold of."""

    exposed_value = 5

    def exposed_double(self) -> Item:
        return Item()

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        return iter((1, 2, 3))

    def __enter__(self) -> int:
        return 1

    def __exit__(self, *exc: object) -> bool:
        return False


class Service(rpyc.Service):
    """What the fuzzed conversation is about: everything it does is harmless."""

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_item(self) -> Item:
        return Item()

    def exposed_fail(self) -> None:
        raise KeyError("expected")

    def exposed_count(self) -> Any:
        yield from range(5)

    def exposed_call(self, func: Any) -> Any:
        return func(1)


class FakeChannel:
    """Gives a connection the fuzzed payloads, one after the other, and then the end."""

    def __init__(self, payloads: list[bytes]) -> None:
        self.payloads = payloads
        self.closed = False
        self.sent = 0

    def poll(self, timeout: Any) -> bool:
        return True

    def recv(self) -> bytes:
        if not self.payloads:
            raise ConnectionClosed("the end of the input")
        return self.payloads.pop(0)

    def send(self, data: bytes) -> None:
        if self.closed:
            raise ConnectionClosed("closed")
        self.sent += len(data)

    def close(self) -> None:
        self.closed = True


def split(data: bytes) -> list[bytes]:
    """Returns the payloads in an input: each starts with its length in two bytes."""
    payloads = []
    while len(data) > 2:
        size = 1 + int.from_bytes(data[:2], "big")
        payloads.append(data[2 : 2 + size])
        data = data[2 + size :]
    return [payload for payload in payloads if payload][:200]


def join(payloads: list[bytes]) -> bytes:
    """Returns the input that :func:`split` takes apart again."""
    return b"".join((len(part) - 1).to_bytes(2, "big") + part for part in payloads)


def _start_numbers_anew() -> None:
    """Lets equal inputs meet equal ids."""
    object_ids._numbers.next = itertools.count(1 << 55).__next__  # type: ignore[method-assign]
    object_ids._numbers.classes.clear()


def converse(payloads: list[bytes], client: bool) -> Connection:
    """Serves payloads until they or the connection end."""
    _start_numbers_anew()
    channel = FakeChannel(payloads)
    config = {"sync_request_timeout": 1, "max_requests": 50, "max_objects": 50}
    conn: Connection = Service._connect(channel, config)
    try:
        if client:
            pending = [conn.async_request(3), conn.async_request(1, b"x")]
        while not conn.closed:
            conn.serve(0)
        if client:
            for result in pending:
                try:
                    _ = result.value
                except Exception:
                    pass  # whatever the peer says, or that it has gone
    except EOFError:
        pass
    finally:
        error = conn._link.error
        assert error is None or isinstance(error, ProtocolError | EOFError), repr(error)
        assert len(conn._local_objects) <= 50
        conn._link.lose(None)
    return conn


def fuzz_dispatch(data: bytes) -> None:
    """Any payloads are served or end the conversation with a documented error."""
    converse(split(data[1:]), bool(data[:1] and data[0] & 1))


def fuzz_snapshot(data: bytes) -> None:
    """Any brine is a snapshot, which can be made again of what it gives, or a documented error."""
    try:
        made = snapshot_load.load(brine.load(data))
    except ProtocolError:
        return
    try:
        again = snapshot_dump.dump(made, lambda container: None, getattr)
        snapshot_load.load(again)
    except (RecursionError, TypeError):
        pass  # of a hash; or a value for which there is a token, but nobody dumps it so


def fuzz_sexp(data: bytes) -> None:
    """Any text is values, which can be written and read again, or a documented error.

    The same bytes as a message are one, or a problem to answer with.
    """
    assert len(EpcCodec().decode(data)) > 1
    try:
        values = Reader().read_all(data.decode("utf-8"))
    except (ProtocolError, ValueError, OverflowError):
        return
    for value in values:
        try:
            text = writer.write(value)
        except (ProtocolError, TypeError, ValueError):
            continue  # what can be read and not be written: objects of a program's own
        Reader().read_all(text)


def fuzz_etf(data: bytes) -> None:
    """Any bytes are a term, which can be encoded and decoded again, or a documented error."""
    codec: Any
    for codec in (erlterms, modern):
        try:
            term, rest = codec.decode(data)
        except ValueError:
            continue
        assert len(rest) < len(data)
        try:
            again = codec.encode(term)
        except (ValueError, TypeError):
            continue  # what the VM alone can write
        codec.decode(again)


def fuzz_login(data: bytes) -> None:
    """Any bytes are a message of a login, which is packed to the same bytes, or refused."""
    for counts in ((2, 3), (1, 2), (3,)):
        try:
            parts = login.unpack(data, counts)
        except AuthenticationError:
            continue
        assert login.pack(*parts)[2:] == data


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frame": fuzz_frame,
    "brine": fuzz_brine,
    "dispatch": fuzz_dispatch,
    "snapshot": fuzz_snapshot,
    "sexp": fuzz_sexp,
    "etf": fuzz_etf,
    "login": fuzz_login,
}


def check(name: str, data: bytes) -> None:
    """Runs one input through a target.

    Raises:
        TooSlow: it took too long.
    """
    started = time.process_time()
    TARGETS[name](data)
    taken = time.process_time() - started
    if taken > LIMIT:
        raise TooSlow(f"{len(data)} bytes took {taken:.1f} s, limit is {LIMIT} s")
