"""Threads and tasks know which request they serve; threads keep their contexts unchanged for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.utils.server import Server, ThreadedServer, ThreadPoolServer

from .test_affinity import Running

QUIET = logging.getLogger("tests.current_call")
QUIET.setLevel(logging.CRITICAL)
KINDS = {
    "threads": (ThreadedServer, {}),
    "pool": (ThreadPoolServer, {}),
    "concurrent calls": (ThreadedServer, {"concurrent_calls": 4}),
    "asyncio": (None, {}),
}


def variables() -> list[str]:
    """Return the names of the context variables that have been set."""
    return [variable.name for variable in contextvars.copy_context()]


def number() -> Any:
    """Return the number of the request being served."""
    call = rpyc.current_call()
    return None if call is None else (call.connection, call.id)


class Service(rpyc.Service):
    """Looks which request is being served."""

    def exposed_variables(self) -> str:
        return repr(variables())

    def exposed_call(self, func: Any) -> Any:
        return func()

    def exposed_serves(self) -> bool:
        return number() is not None

    def exposed_loop(self, port: int) -> str:
        """Run a loop, on which another connection serves something."""
        mine, seen = number(), []

        async def child() -> Any:
            await asyncio.sleep(0)
            return number()

        async def called() -> None:  # on the loop; a plain function would run in another thread
            seen.append(number())

        async def look() -> None:
            assert await asyncio.gather(child(), child()) == [mine, mine]
            async with aio.connect("127.0.0.1", port) as conn:
                await conn.root.call(called)
                assert seen[0] is not None and seen[0][0] is conn
            assert number() == mine

        asyncio.run(look())
        assert number() == mine
        return "looked"

    async def exposed_tasks(self) -> str:
        mine = number()

        async def child() -> Any:
            await asyncio.sleep(0)
            return number()

        assert mine is not None
        assert await asyncio.gather(child(), child()) == [mine, mine]
        assert await asyncio.to_thread(number) == mine
        assert number() == mine
        return "looked"

    async def exposed_wait(self, port: int) -> str:
        """Wait in a task for a connection that has this thread serve something."""
        mine, seen = number(), []
        with rpyc.connect("127.0.0.1", port) as conn:
            conn.root.call(lambda: seen.append(number()))
            assert seen[0] is not None and seen[0][0] is conn
        assert mine is not None and number() == mine
        return "looked"


@contextlib.contextmanager
def serving(kind: type[Server] | None, **config: Any) -> Iterator[int]:
    """Run a server in this process, an asyncio one without a kind; give its port."""
    if kind is None:
        with Running(Service, protocol_config=config) as running:
            yield running.server.port
        return
    server = kind(Service, port=0, logger=QUIET, grace=0, protocol_config=config)
    server._start_in_thread()
    try:
        yield server.port
    finally:
        server.close()


@pytest.fixture(params=KINDS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server of each kind."""
    kind, config = KINDS[request.param]
    with serving(kind, **config) as port:
        yield port


def test_a_served_call_sets_no_variable(port: int) -> None:
    """A thread that serves a request has the context that it had before.

    Python before 3.12 may collect garbage in the middle of setting a variable, and crashes if a
    finalizer that serves a request there sets it too.
    """
    seen: list[Any] = []

    def called() -> str:
        seen.append((number(), variables()))
        return str(conn.root.variables())

    with rpyc.connect("127.0.0.1", port) as conn:
        assert conn.root.variables() == "[]"
        assert conn.root.call(called) == "[]"
        assert conn.root.serves()
    (inner, names), here = seen[0], variables()
    assert inner is not None
    assert names == here
    assert number() is None


def test_a_loop_in_a_served_function(port: int) -> None:
    """Tasks of a loop that a served function runs serve that request, others their own."""
    with serving(ThreadedServer) as other, rpyc.connect("127.0.0.1", port) as conn:
        assert conn.root.loop(other) == "looked"


def test_tasks_of_a_coroutine(port: int) -> None:
    """What an ``async def`` function starts serves the same request."""
    with rpyc.connect("127.0.0.1", port) as conn:
        assert conn.root.tasks() == "looked"


def test_a_task_that_waits_serves(port: int) -> None:
    """A task that waits for a blocking connection serves what that one is asked meanwhile."""
    with serving(ThreadedServer) as other, rpyc.connect("127.0.0.1", port) as conn:
        assert conn.root.wait(other) == "looked"
