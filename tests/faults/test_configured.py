"""Case 132: whoever a configured limit or a failed hook concerns gets to know."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import LimitExceeded, aio

from ..support.both_servers import LIMIT, asyncio_server, blocking_server
from ..support.eventually import eventually

FEW = 10
KINDS = ("list", "dict", "set", "items", "generator", "pairs")


class Giving(rpyc.Service):
    """Gives containers and iterators."""

    exposed_many = 3 * FEW

    def exposed_get(self, kind: str) -> Any:
        numbers = range(3 * FEW)
        if kind == "dict":
            return dict.fromkeys(numbers, "value")
        if kind == "items":
            return dict.fromkeys(numbers, "value").items()
        if kind == "set":
            return set(numbers)
        if kind == "generator":
            return (number for number in numbers)
        if kind == "pairs":
            return iter([(number, (number,) * 5) for number in numbers])
        return list(numbers)


def numbers_of(items: Any) -> list[int]:
    """Return the first part of items that are pairs, and other items as they are."""
    return [item[0] if isinstance(item, tuple) else item for item in items]


SERVERS = pytest.mark.parametrize("serving", [blocking_server, asyncio_server])


# -- few steps


@SERVERS
@pytest.mark.parametrize("kind", KINDS)
def test_iterating_with_few_steps(serving: Any, kind: str) -> None:
    """A loop over more items than one request may take gets all of them."""
    with serving(Giving, max_steps=FEW) as port, rpyc.connect("127.0.0.1", port) as conn:
        assert numbers_of(conn.root.get(kind)) == list(range(3 * FEW))


@SERVERS
@pytest.mark.parametrize("kind", KINDS)
def test_iterating_on_a_loop_with_few_steps(serving: Any, kind: str) -> None:
    """An asyncio client gets all of them as well."""

    async def main(port: int) -> list[int]:
        async with aio.connect("127.0.0.1", port) as conn:
            return numbers_of([item async for item in await conn.root.get(kind)])

    with serving(Giving, max_steps=FEW) as port:
        assert asyncio.run(main(port)) == list(range(3 * FEW))


@SERVERS
@pytest.mark.parametrize("kind", ("list", "generator", "pairs"))
def test_reading_in_pieces_with_few_steps(serving: Any, kind: str) -> None:
    """``buffiter``, which RPyC has too, asks again where it was given fewer items."""
    with (
        serving(Giving, max_steps=FEW) as port,
        rpyc.connect("127.0.0.1", port, config={"dialect": 6}) as conn,
    ):
        items = rpyc.buffiter(conn.root.get(kind), 1000)
        assert numbers_of(items) == list(range(3 * FEW))


@SERVERS
def test_an_item_that_needs_too_much(serving: Any) -> None:
    """One item that takes more steps than a request may do is still refused."""

    class Wide(rpyc.Service):
        def exposed_get(self) -> Any:
            return iter([((1,) * 2,), tuple((number,) for number in range(100 * FEW))])

    with serving(Wide, max_steps=FEW) as port, rpyc.connect("127.0.0.1", port) as conn:
        with pytest.raises(LimitExceeded, match="max_steps"):
            list(rpyc.buffiter(conn.root.get(), 1000))
        conn.ping()


# -- hooks that fail


class Failing(rpyc.Service):
    """Both hooks fail."""

    ended: threading.Event

    def on_connect(self, conn: Any) -> None:
        raise ValueError("on_connect")

    def on_disconnect(self, conn: Any) -> None:
        self.ended.set()
        raise KeyError("on_disconnect")


class FailingAsync(Failing):
    """The same on a loop."""

    async def on_connect(self, conn: Any) -> None:  # type: ignore[override]
        raise ValueError("on_connect")


@SERVERS
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_hooks_of_a_server(serving: Any) -> None:
    """``on_disconnect`` is called after an ``on_connect`` that raised; the client sees the end."""
    root = Failing()
    root.ended = threading.Event()
    with serving(root) as port:
        with pytest.raises(EOFError):
            rpyc.connect("127.0.0.1", port).root.get_service_name()
        assert root.ended.wait(LIMIT)
    # The error may come out of a thread that has served what was left; it ends in this test.
    eventually(lambda: not any("serve_what" in one.name for one in threading.enumerate()))


def test_hooks_of_a_client() -> None:
    """The error of ``on_connect`` is raised, whatever ``on_disconnect`` raises then."""
    root = Failing()
    root.ended = threading.Event()
    with blocking_server(Giving) as port:
        with pytest.raises(ValueError, match="on_connect"):
            rpyc.connect("127.0.0.1", port, service=root)
    assert root.ended.is_set()


@pytest.mark.parametrize("kind", [Failing, FailingAsync])
def test_hooks_of_a_client_on_a_loop(kind: Any) -> None:
    """The same holds on a loop."""
    root = kind()
    root.ended = threading.Event()

    async def main(port: int) -> None:
        with pytest.raises(ValueError, match="on_connect"):
            await aio.connect("127.0.0.1", port, service=root)

    with blocking_server(Giving) as port:
        asyncio.run(main(port))
    assert root.ended.is_set()


# -- classic names


@SERVERS
@pytest.mark.parametrize("name", ("modules", "builtins", "eval", "execute", "namespace"))
def test_classic_names_of_another_service(serving: Any, name: str) -> None:
    """A server that is not classic is named, with what to use."""
    with serving(Giving) as port, rpyc.classic.connect("127.0.0.1", port) as conn:
        for _ in range(2):
            with pytest.raises(AttributeError, match=r"classic server.*Giving.*conn\.root"):
                getattr(conn, name)
        assert conn.root.many == 3 * FEW


def test_classic_names_of_another_connection() -> None:
    """A connection that is not classic says which function makes one that is."""
    with blocking_server(Giving) as port, rpyc.connect("127.0.0.1", port) as conn:
        with pytest.raises(AttributeError, match=r"rpyc_like\.classic\.connect"):
            conn.modules
