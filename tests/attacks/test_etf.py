"""External terms that become much, cost much, or nest deep."""

from __future__ import annotations

import random
import struct
import sys
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from rpyc_like.erlport import erlterms
from rpyc_like.erlport.erlproto import Port
from rpyc_like.erlport.errors import TermLimitExceeded
from rpyc_like.erlport.v1 import erlterms as modern
from rpyc_like.erlport.v1.erlterms import Terms
from rpyc_like.errors import LimitExceeded, RpycLikeError
from rpyc_like.lib import native
from rpyc_like.wire.etf.maps import Map
from rpyc_like.wire.etf.ordering import order_key
from tests.attacks import amplify_adapters as amplify

SIZE = 40_000
LIMIT = 600_000
INPUTS = dict(amplify.terms(SIZE))
DEEP = [name for name, _ in amplify.terms(1000, False) if "nested" in name or "key" in name]


@pytest.fixture(autouse=True)
def atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test a table of atoms of its own: it is the program's, and gets full here."""
    monkeypatch.setattr(modern.Atom, "_known", dict(modern.Atom._known))
    monkeypatch.setattr(modern.Atom, "_known_memory", modern.Atom._known_memory)


def term(name: str, size: int = SIZE) -> bytes:
    """Return one of the generator's terms."""
    return next(data for found, data in amplify.terms(size, False) if found == name)


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_a_term_takes_no_more_memory_than_is_allowed(name: str) -> None:
    """Its prices cover what it takes, whether it is read or refused."""
    data = INPUTS[name]
    for decode in (
        erlterms.limited_decoder(16 << 20, LIMIT).decode,
        Terms(binaries="text", max_inflated_size=16 << 20, max_memory=LIMIT).decode,
    ):
        decode(b"\x83j")
        tracemalloc.start(1)
        try:
            kept = decode(data)
        except RpycLikeError as error:
            kept = None  # type: ignore[assignment]
            if isinstance(error, LimitExceeded):
                assert error.key in ("max_memory", "max_inflated_size")
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        del kept
        assert peak < LIMIT + 12 * max(SIZE, amplify.inflated(data))


def test_a_limit_is_named_and_changes() -> None:
    """The default allows 64 MiB and 32 bytes for each; ``max_memory`` changes it."""
    nils = term("nils", 2_000_000)
    with pytest.raises(TermLimitExceeded, match="max_memory"):
        erlterms.decode(nils)
    assert len(erlterms.decode(nils, max_memory=1 << 30)[0]) == 2_000_000
    assert len(modern.decode(nils)[0]) == 2_000_000  # one empty list for all
    with pytest.raises(TermLimitExceeded, match="max_memory"):
        modern.decode(b"\x83" + b"h\1j" * 2, max_memory=10)


def test_usual_terms_are_below_the_limit() -> None:
    """Lists of small values of small prices are read."""
    for item in (
        b"a\1",
        b"b\1\2\3\4",
        b"n\5\0\1\2\3\4\5",
        b"m\0\0\0\3abc",
        b"h\2a\1a\2",
        b"k\0\2ab",
    ):
        count = 1_000_000 // len(item)
        data = b"\x83l" + struct.pack(">I", count) + item * count + b"j"
        assert len(erlterms.decode(data)[0]) == count
        assert len(modern.decode(data)[0]) == count


def test_inflation_holds_no_more_than_its_limit() -> None:
    """Neither 16 times the wire size nor twice the limit."""
    term = b"m" + struct.pack(">I", 8 << 20) + bytes(8 << 20)
    bomb = b"\x83P" + struct.pack(">I", len(term)) + zlib.compress(term, 9)
    with pytest.raises(TermLimitExceeded, match="max_inflated_size"):
        erlterms.decode(bomb, max_inflated_size=len(term) - 1)
    noise = b"m" + struct.pack(">I", 100_000) + random.Random(1).randbytes(100_000)
    packed = b"\x83P" + struct.pack(">I", len(noise)) + zlib.compress(noise)
    with pytest.raises(TermLimitExceeded, match="max_inflated_size"):
        erlterms.decode(packed, max_inflated_size=50_000)
    tracemalloc.start(1)
    try:
        value = erlterms.decode(bomb, max_inflated_size=len(term))[0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(value) == 8 << 20
    assert peak < 2.5 * len(term)  # the inflated bytes, and the value


def test_keys_of_one_hash_are_refused() -> None:
    """More than 64 of them; others are taken, and so are tuples and lists as keys."""
    many = term("keys of one hash")
    few = b"\x83" + amplify.map_of([(amplify.big(n << 61), b"j") for n in range(1, 60)])
    for decode in (erlterms.decode, modern.decode):
        with pytest.raises(ValueError, match="64 keys of one hash"):
            decode(many)
        assert len(decode(few)[0]) == 59
    pairs = [((n * ((1 << 61) - 1),), n) for n in range(500)]
    assert len(Map.__subclasses__()) >= 2
    assert modern.Map(pairs)[(0,)] == 0


@pytest.mark.parametrize("name", ["twins", "nested funs", "a key at all levels"])
def test_time_is_linear(name: str) -> None:
    """Equal keys of two types, funs in funs, maps as keys of maps: no square of the size."""
    data = term(name, 5_000_000 if name == "nested funs" else 500_000)
    start = time.process_time()
    modern.decode(data)
    assert time.process_time() - start < 4


@pytest.mark.parametrize(
    ("key", "compiled", "pure"),
    [(b"a\1", 5, 19), (b"j", 15, 32), (b"h\1j", 15, 42), (b"l\0\0\0\1jj", 15, 51)],
    ids=["number", "empty list", "tuple", "list"],
)
@pytest.mark.parametrize("terms", [erlterms, modern], ids=["0.6", "1.x"])
def test_a_small_map_takes_few_calls(terms: Any, key: bytes, compiled: int, pure: int) -> None:
    """A map is made of seven bytes, so its key is encoded, hashed and walked at most once."""
    count, calls = 500, 0
    data = b"\x83" + amplify.list_of(count * (6 + len(key)), amplify.map_of([(key, b"j")]))

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        terms.decode(data)
    finally:
        sys.setprofile(before)
    assert calls / count < (pure if native.etf is None else compiled)


@pytest.mark.parametrize("name", DEEP)
def test_depth_ends_no_process(name: str) -> None:
    """Reading, hashing, comparing, showing and dropping deep terms does not recurse in C."""
    try:
        value = modern.decode(term(name, 300_000))[0]
    except ValueError:
        return
    for use in (hash, repr, order_key, lambda term: modern.Map([(term, 1)])):
        if use is hash and isinstance(value, tuple):
            continue  # Python's own
        try:
            use(value)  # type: ignore[operator]
        except (RecursionError, TypeError, ValueError):
            pass
    del value


def test_the_order_of_terms_needs_no_recursion() -> None:
    """Deep keys are compared, and what decides is what Erlang compares."""
    one: Any = 1
    other: Any = 2
    for _ in range(50_000):
        one, other = (one,), (other,)
    assert order_key(one) < order_key(other)
    assert order_key([1, [2, 3]]) < order_key([1, [2, 4]])
    assert order_key((9,)) < order_key((1, 2))
    assert order_key([1]) < order_key([1, 0])
    assert order_key(erlterms.Map([(1, 1)])) < order_key(erlterms.Map([(1, 1), (2, 1)]))


def test_names_that_a_peer_makes_up_are_not_kept() -> None:
    """Tables of atoms are bounded in bytes, for a connection and for the program."""
    terms = Terms()
    for name in ("short new atoms", "long new atoms"):
        terms.decode(term(name, 1_000_000))
    assert sum(512 + len(raw) for raw in terms.decoder._atoms) < 5 << 20
    assert modern.Atom._known_memory <= 16 << 20
    for number in range(20_000):
        terms.encode(modern.Atom(f"{number:0>200}"))
    assert sum(map(len, terms.encoder._atoms.values())) < 5 << 20


@pytest.mark.skipif(native.etf is None, reason="the interpreter looks up by itself")
def test_others_run_while_a_term_is_decoded() -> None:
    """The compiled decoder lets others run after every 10,000 items."""
    before = native.etf.looks()
    modern.decode(b"\x83" + amplify.list_of(600_000, b"h\2a\1a\2"))
    assert native.etf.looks() - before >= 30


def test_terms_that_nobody_reads_are_bounded(pipe_port: Any) -> None:
    """While a program waits for an answer, what else comes is counted by its bytes."""
    port, send = pipe_port
    for _ in range(3):
        send(erlterms.encode(bytes(400)))
    with pytest.raises(EOFError) as caught:
        port.call("m", "f", [], timeout=10)
    assert isinstance(caught.value.__cause__, LimitExceeded)
    assert caught.value.__cause__.key == "max_queued_bytes"


@pytest.fixture
def pipe_port() -> Any:
    """Make a port with a small queue, and what sends it frames."""
    import socket

    from rpyc_like.core.stream import SocketStream

    here, there = socket.socketpair()
    port = Port(4, stream=SocketStream(there), max_queued_bytes=1000)
    yield port, lambda data: here.sendall(struct.pack(">I", len(data)) + data)
    port.close()
    here.close()


def test_an_opaque_term_is_one_whole_term() -> None:
    """What one peer sends cannot break the message of another."""
    for data in (b"", b"j", b"jj", b"h\2j", b"\xff"):
        opaque = modern.OpaqueObject(data, modern.Atom(b"erlang"))
        if data == b"j":
            assert modern.encode((1, opaque)) == b"\x83h\2a\1j"
        else:
            with pytest.raises(ValueError, match="one whole term"):
                modern.encode((1, opaque))
