"""What is made on first use is made once, also when several threads come at the same moment."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from rpyc_like import aio
from rpyc_like.core import reactor
from rpyc_like.core.service import ClassicService, SlaveService
from rpyc_like.lib import background_loop, primitives
from rpyc_like.lib.first_use import FirstUse, kept_first, set_first
from rpyc_like.link import write_coalescing
from rpyc_like.link.housekeeping import Housekeeper
from rpyc_like.link.result import AsyncResult
from rpyc_like.utils.server import ThreadedServer
from tests.support.joining import join

QUIET = logging.getLogger("tests.first_use")
QUIET.setLevel(logging.CRITICAL)
ROUNDS = 20
CLASSIC = ("modules", "builtins", "builtin", "namespace", "eval", "execute", "teleport")


class Silent:
    """Stands for a connection that reads for nobody."""

    def read_for(self, result: AsyncResult, ended: object) -> None: ...


def noted(calls: list[None]) -> list[None]:
    """Stand in for what makes something; note that it was called."""
    calls.append(None)
    return calls


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Lets threads change places as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(func: Callable[[], Any], threads: int = 4) -> list[Any]:
    """Return what ``func()`` gives, or raises, in threads that begin at the same moment."""
    begin, results = threading.Barrier(threads), []

    def work() -> None:
        begin.wait(60)
        try:
            results.append(func())
        except Exception as error:
            results.append(error)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        join(worker)
    assert len(results) == threads, "a thread waits in vain"
    return results


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("name", CLASSIC)
def test_classic_names(pair: Callable[..., Any], name: str) -> None:
    """All threads get the same object under a classic name."""
    for _ in range(ROUNDS):
        client, _ = pair(SlaveService, ClassicService)
        results = together(lambda client=client: getattr(client, name))
        assert len({id(one) for one in results}) == 1, results
        assert not isinstance(results[0], Exception), results


@pytest.mark.usefixtures("many_switches")
def test_root(pair: Callable[..., Any]) -> None:
    """All threads get the same root."""
    for _ in range(ROUNDS):
        client, _ = pair(SlaveService)
        results = together(lambda client=client: client.root)
        assert len({id(one) for one in results}) == 1, results


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("name", ["_coroutines", "_reading_along", "_threads"])
def test_parts_of_a_connection(pair: Callable[..., Any], name: str) -> None:
    """The background parts of a connection are made once."""
    for _ in range(ROUNDS):
        client, _ = pair(SlaveService)
        results = together(getattr(client, name).get)
        assert len({id(one) for one in results}) == 1, results


@pytest.mark.usefixtures("many_switches")
def test_the_future_of_a_result() -> None:
    """All threads get the same future of a result, and it comes."""
    for _ in range(10 * ROUNDS):
        result = AsyncResult(Silent())
        results = together(result.as_future, 3)
        assert len({id(one) for one in results}) == 1, results
        result(False, 5)
        assert results[0].result(30) == 5


@pytest.mark.usefixtures("many_switches")
def test_the_root_of_an_asyncio_connection() -> None:
    """All threads get the same root."""
    server = ThreadedServer(SlaveService, logger=QUIET, grace=0)
    server._start_in_thread()

    async def main() -> None:
        for _ in range(ROUNDS):
            async with await aio.connect("127.0.0.1", server.port) as conn:
                results = await asyncio.to_thread(together, lambda: conn.root)
                assert len({id(one) for one in results}) == 1, results

    asyncio.run(main())
    server.close()


@pytest.mark.usefixtures("many_switches")
def test_the_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has one reactor thread."""
    begun: list[None] = []
    monkeypatch.setattr(reactor, "_thread", FirstUse(partial(noted, begun)))
    together(reactor.start_reactor)
    assert len(begun) == 1


@pytest.mark.usefixtures("many_switches")
def test_the_housekeeping_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A housekeeper has one thread."""
    for _ in range(ROUNDS):
        keeper, begun = Housekeeper(), []  # type: ignore[var-annotated]
        monkeypatch.setattr(keeper._thread, "_make", partial(noted, begun))
        together(keeper.start)
        assert len(begun) == 1


@pytest.mark.usefixtures("many_switches")
def test_the_thread_for_held_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks after held writes has one thread."""
    for _ in range(ROUNDS):
        timer, begun = write_coalescing._Timer(), []  # type: ignore[var-annotated]
        monkeypatch.setattr(timer._thread, "_make", partial(noted, begun))
        together(partial(timer.add, Silent()))  # type: ignore[arg-type]
        assert len(begun) == 1


@pytest.mark.usefixtures("many_switches")
def test_background_loop() -> None:
    """The process has one background loop."""
    assert len({id(one) for one in together(background_loop._running)}) == 1


def test_first_use_tries_again_after_an_error() -> None:
    """What could not be made is made at the next use."""
    attempts = iter([OSError("busy"), 7])

    def make() -> Any:
        outcome = next(attempts)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    part = FirstUse(make)
    with pytest.raises(OSError, match="busy"):
        part.get()
    assert (part.get(), part.get(), part.made) == (7, 7, 7)


def test_kept_first_gives_all_the_value_that_was_stored_first() -> None:
    """A thread that fetched a value in vain gets the other thread's."""
    values: dict[str, str] = {}

    def make() -> str:
        values["name"] = "theirs"  # another thread was faster
        return "ours"

    assert kept_first(values, "name", make) == "theirs"


def test_set_first_gives_all_the_value_that_was_set_first() -> None:
    """An attribute that is set already stays, and the caller gets it."""

    class Owner:
        part: str | None = None

    owner = Owner()
    assert set_first(owner, "part", "theirs") == "theirs"
    assert set_first(owner, "part", "ours") == "theirs"
    assert owner.part == "theirs"


def test_a_future_that_nobody_reads_for_fails() -> None:
    """A thread that came at the same moment is told; the next call tries again."""
    result, seen = AsyncResult(Silent()), []  # type: ignore[var-annotated]

    def refuse(result: AsyncResult, ended: object) -> None:
        seen.append(result.as_future())  # as another thread may, here
        raise RuntimeError("can't start new thread")

    result._conn.read_for = refuse  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="new thread"):
        result.as_future()
    with pytest.raises(RuntimeError, match="new thread"):
        seen[0].result(30)
    del result._conn.read_for
    future = result.as_future()
    result(False, 5)
    assert future.result(30) == 5


def test_a_future_that_another_thread_has_made_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that ask for the future of a result at once get the same one."""
    result, theirs = AsyncResult(Silent()), []  # type: ignore[var-annotated]

    def make() -> Any:
        monkeypatch.undo()
        theirs.append(result.as_future())  # as another thread may, here
        return primitives.Future()

    monkeypatch.setattr(primitives, "Future", make)
    assert result.as_future() is theirs[0]
