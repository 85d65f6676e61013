"""Chains, copies and files, with real peers of every kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import fetch, lazy, snapshot
from rpyc_like.core.protocol import Connection
from tests.support.peers import PEERS, serving


def requests_of(conn: Connection, do: Callable[[], Any]) -> int:
    """Returns how many requests an operation sends, those that give references back aside."""
    given_back: list[Any] = []
    original = conn._codec.encode_delete

    def encode_delete(*args: Any) -> Any:
        given_back.append(args)
        return original(*args)

    conn._codec.encode_delete = encode_delete  # type: ignore[method-assign]
    before = next(conn._seqcounter)
    try:
        do()
    finally:
        del conn._codec.encode_delete
    return next(conn._seqcounter) - before - 1 - len(given_back)


def connected(peer: str, kind: str) -> Iterator[Connection]:
    config: dict[str, Any] = {"bind_threads": PEERS[peer].get("RPYC_BIND_THREADS") == "true"}
    if peer.startswith("rpyc-5"):
        config["dialect"] = 5
    with serving(peer, kind) as port:
        if kind == "classic":
            stream = rpyc.SocketStream.connect("127.0.0.1", port)
            conn = rpyc.utils.factory.connect_stream(
                stream, rpyc.core.service.ClassicClient, config
            )
        else:
            conn = rpyc.connect("127.0.0.1", port, config=config)
        with conn:
            yield conn


@pytest.fixture(params=PEERS)
def classic(request: pytest.FixtureRequest) -> Iterator[Connection]:
    yield from connected(request.param, "classic")


@pytest.fixture(params=PEERS)
def restricted(request: pytest.FixtureRequest) -> Iterator[Connection]:
    yield from connected(request.param, "service")


def test_a_chain_takes_one_trip(classic: Connection) -> None:
    """A classic peer does a whole chain at once; the second time it needs no helper."""
    root = classic.root
    before = sorted(root.eval("[*globals()]"))

    def chain() -> None:
        with classic.pipeline() as p:
            numbers = p.root.eval("{'x': [1, 2, 3]}")
            last = numbers["x"][2]
            failed = p.root.eval("1 / 0")
            dependent = failed.real
            texts = p.map(lambda one: one.strip(), p.root.eval("[' a ', 'b ']"))
            joined = p.modules.os.path.join("a", "b")
        assert fetch(last, joined, texts) == (3, "a/b", ["a", "b"])
        for one in (failed, dependent):
            with pytest.raises(ZeroDivisionError):
                fetch(one)

    chain()
    assert requests_of(classic, chain) == 1
    assert sorted(root.eval("[*globals()]")) == before
    assert "run" not in classic.namespace


def test_a_chain_with_a_restricted_service(restricted: Connection) -> None:
    """Other peers are asked step by step if need be: the same values, the same errors."""
    with restricted.pipeline() as p:
        item = p.root.item(4)
        double = item.double()
        value = double.value
        failed = p.root.fail("on purpose")
        sizes = p.map(lambda number: number.bit_length(), p.root.numbers(5))
        text = p.root.echo("text").upper()
        third = p.root.numbers(10)[3]
        hidden = item.secret
    assert fetch(value, text, third) == (8, "TEXT", 3)
    assert fetch(sizes) == [0, 1, 2, 2, 3]
    assert fetch(double).value == 8
    with pytest.raises(ValueError, match="on purpose"):
        fetch(failed)
    with pytest.raises(AttributeError, match="secret"):
        fetch(hidden)
    assert fetch(lazy(restricted.root).add(1, b=2)) == 3


def test_snapshots(classic: Connection) -> None:
    """Nested data of a classic peer comes in one trip, once it has the helper."""
    classic.execute(
        "import datetime, decimal\n"
        "data = {'a': [1, (2, {3})], 'when': datetime.date(2020, 1, 2),"
        " 'price': decimal.Decimal('1.5')}\n"
    )
    data = classic.namespace["data"]
    copied = snapshot(data)
    assert copied["a"] == [1, (2, {3})]
    assert str(copied["when"]) == "2020-01-02"
    assert copied["price"] * 2 == 3
    assert requests_of(classic, lambda: snapshot(data)) == 1
    with pytest.raises(TypeError, match="expected data for a snapshot"):
        snapshot(classic.builtins.open)


def test_snapshots_of_a_restricted_service(restricted: Connection) -> None:
    """Lists of plain values can be copied whatever the peer is."""
    assert snapshot(restricted.root.numbers(250)) == [*range(250)]


def test_obtain_and_deliver(classic: Connection) -> None:
    """Two trips at most, both ways."""
    remote = classic.eval("[1, {'x': (2, 3)}]")
    assert rpyc.classic.obtain(remote) == [1, {"x": (2, 3)}]
    assert requests_of(classic, lambda: rpyc.classic.obtain(remote)) == 1
    rpyc.classic.deliver(classic, [0])
    delivered: list[Any] = []
    count = requests_of(
        classic, lambda: delivered.append(rpyc.classic.deliver(classic, {"a": [1]}))
    )
    assert count <= 2
    delivered[0]["a"].append(2)
    assert rpyc.classic.obtain(delivered[0]) == {"a": [1, 2]}


def test_files(classic: Connection, tmp_path: Path) -> None:
    """Files and trees go there and back, in few trips, and progress is told."""
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    (source / "inner").mkdir(parents=True)
    contents = {"large": os.urandom(5_000_000), "empty": b"", "inner/small": b"small\n"}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    told: list[tuple[str, int, int | None]] = []
    progress: Any = lambda *args: told.append(args)  # noqa: E731
    rpyc.classic.upload(classic, str(source), str(there), progress=progress)
    assert (str(source / "large"), 5_000_000, 5_000_000) in told
    assert [done for path, done, _ in told if path.endswith("large")][0] < 5_000_000
    told.clear()
    rpyc.classic.download(classic, str(there), str(back), progress=progress)
    assert (str(back / "large"), 5_000_000, 5_000_000) in told
    for name, content in contents.items():
        assert (there / name).read_bytes() == (back / name).read_bytes() == content
    one = str(tmp_path / "one")
    small = str(source / "inner" / "small")
    assert requests_of(classic, lambda: rpyc.classic.upload(classic, small, one)) <= 2
    assert requests_of(classic, lambda: rpyc.classic.download(classic, one, small)) <= 5
    rpyc.classic.upload_file(classic, str(source / "large"), one, chunk_size=999_999)
    assert Path(one).read_bytes() == contents["large"]
    with pytest.raises(FileNotFoundError):
        rpyc.classic.upload_file(classic, small, str(tmp_path / "no" / "such" / "folder"))
    with pytest.raises(ValueError, match="neither a file nor a directory"):
        rpyc.classic.download(classic, str(tmp_path / "nothing"), one)
