"""What cursors and iterators keep is counted, and given back."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.core.iteration import cursors
from tests.support.eventually import eventually

from .served import Served

SIZE = 200_000


class Containers(rpyc.Service):
    """Has a large dict, and iterators."""

    table = dict.fromkeys(range(SIZE))

    def exposed_table(self) -> dict[int, None]:
        return self.table

    def exposed_small(self, size: int) -> dict[int, None]:
        return dict.fromkeys(range(size))

    def exposed_texts(self, size: int) -> Iterator[str]:
        while True:
            yield "x" * size

    async def exposed_later(self, size: int) -> Any:
        while True:
            yield "x" * size

    def exposed_refuse(self) -> None:
        raise ValueError


def rewind(conn: Any, cursor: Any, used: int) -> None:
    """Say how many of the last items were used."""
    conn._link.send(conn._codec.encode_rewind(cursor, used))


def chunk(conn: Any, cursor: Any, used: int, count: int) -> tuple[Any, bool]:
    """Return the next items, and whether they are the last."""
    items, _, last = conn.sync_request(consts.HANDLE_CHUNK, cursor, used, count, cursors.KEYS)
    return items, last


def test_cursors_that_have_gone_back_keep_little(served: Served) -> None:
    """Sixty cursors over one large dict keep a window each, not a copy of the rest."""
    server = served.server("threads", Containers)
    conn = served.client(server)
    table = conn.root.table()
    kept = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(60):
            *_, cursor = conn.sync_request(consts.HANDLE_ITERATE, table, cursors.KEYS, 10)
            rewind(conn, cursor, 3)
            assert chunk(conn, cursor, 0, 2) == ((3, 4), False)
            kept.append(cursor)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 16 << 20
    (there,) = server.connections
    assert 60 * 8 * cursors.WINDOW <= there._kept.held <= 60 * (8 * cursors.WINDOW + 2000)


def test_a_cursor_goes_on_behind_its_window(served: Served) -> None:
    """What is given after going back is all the rest, once, in order."""
    conn = served.client(served.server("threads", Containers))
    size = 3 * cursors.WINDOW + 5
    items, _, last, length, cursor = conn.sync_request(
        consts.HANDLE_ITERATE, conn.root.small(size), cursors.KEYS, 10
    )
    assert length == size
    assert items == tuple(range(10))
    rewind(conn, cursor, 7)
    found, used = list(range(7)), 0
    while not last:
        items, last = chunk(conn, cursor, used, 7_000)
        found += items
        used = len(items)
    assert found == list(range(size))


def test_cursors_are_counted_and_given_back(served: Served) -> None:
    """More cursors than the connection may keep are refused, until some are let go."""
    server = served.server("threads", Containers, max_kept_memory=50_000)
    conn = served.client(server)
    table = conn.root.table()
    kept = []
    with pytest.raises(Exception, match="max_kept_memory") as caught:
        for _ in range(100):
            kept.append(conn.sync_request(consts.HANDLE_ITERATE, table, cursors.ITEMS, 1)[-1])
    assert caught.value.limit == 50_000  # type: ignore[attr-defined]
    assert len(kept) > 10
    kept.clear()
    conn.flush_released()

    def again() -> bool:
        try:
            conn.sync_request(consts.HANDLE_ITERATE, table, cursors.ITEMS, 1)
        except Exception:
            return False
        return True

    eventually(again)


def test_a_window_that_is_too_large_is_refused(served: Served) -> None:
    """Going on after going back needs memory as well; the connection goes on without."""
    conn = served.client(served.server("threads", Containers, max_kept_memory=50_000))
    *_, cursor = conn.sync_request(consts.HANDLE_ITERATE, conn.root.table(), cursors.KEYS, 10)
    rewind(conn, cursor, 3)
    with pytest.raises(Exception, match="max_kept_memory"):
        chunk(conn, cursor, 0, 2)
    assert chunk(conn, cursor, 0, 1) == ((3,), False)


@pytest.mark.parametrize("name", ["texts", "later"])
@pytest.mark.parametrize("kind", ["threads", "aio"])
def test_items_of_an_iterator_are_weighed(served: Served, kind: str, name: str) -> None:
    """One request gives as many items as are good for one message, and the next one goes on."""
    conn = served.client(served.server(kind, Containers))
    items = getattr(conn.root, name)(1 << 20)
    for _ in range(2):
        got = conn.sync_request(consts.HANDLE_BUFFITER, items, 100_000)
        assert 8 <= len(got) <= 32
        assert set(map(len, got)) == {1 << 20}


@pytest.mark.parametrize("name", ["texts", "later"])
@pytest.mark.parametrize("kind", ["threads", "aio", "aio on the loop"])
def test_items_of_an_iterator_are_steps(served: Served, kind: str, name: str) -> None:
    """An answer has no more items than there may be steps, whatever the peer asks for."""
    conn = served.client(served.server(kind, Containers, max_steps=100))
    items = getattr(conn.root, name)(1)
    for _ in range(2):
        assert 90 <= len(conn.sync_request(consts.HANDLE_BUFFITER, items, 1000)) <= 100


def test_items_of_a_container_are_steps(served: Served) -> None:
    """So are those of a chunk."""
    conn = served.client(served.server("threads", Containers, max_steps=1000))
    items, *_ = conn.sync_request(consts.HANDLE_ITERATE, conn.root.table(), cursors.KEYS, 100_000)
    assert 900 <= len(items) <= 1000


def test_tuples_of_nested_tuples_are_weighed(served: Served) -> None:
    """A list of large tuples is given in small pieces, however they are nested."""

    class Rows(rpyc.Service):
        def exposed_rows(self) -> list[Any]:
            return [((tuple(range(10_000)),),)] * 10_000

    conn = served.client(served.server("threads", Rows))
    items, *_ = conn.sync_request(consts.HANDLE_ITERATE, conn.root.rows(), cursors.KEYS, 100_000)
    assert 10 <= len(items) <= 200


@pytest.mark.parametrize("kind", ["threads", "aio"])
def test_what_an_idle_client_has_dropped_is_free_for_others(served: Served, kind: str) -> None:
    """Cursors that are given back leave the server's sum although their client asks no more."""
    server = served.server(kind, Containers)
    account = server.admission.account
    idle, other = served.client(server), served.client(server)
    table, others = idle.root.table(), other.root.table()
    before = account.held
    dropped = [idle.sync_request(consts.HANDLE_ITERATE, table, cursors.ITEMS, 1) for _ in range(50)]
    assert account.held > before
    account.limit = account.held
    with pytest.raises(Exception, match="argument 'max_memory' of the server"):
        other.sync_request(consts.HANDLE_ITERATE, others, cursors.ITEMS, 1)
    dropped.clear()
    idle.flush_released()
    eventually(lambda: account.held == before)
    other.sync_request(consts.HANDLE_ITERATE, others, cursors.ITEMS, 1)
