"""Scenarios of EPC and Erlang: calls both ways, callbacks, cancelling, ends, lost peers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from rpyc_like.aio import epc as aio_epc
from rpyc_like.aio import erlang as aio_erlang
from rpyc_like.epc.service import EPCConnection, EPCService
from rpyc_like.erlport.erlproto import Port
from rpyc_like.erlport.errors import CallError
from rpyc_like.erlport.v1.bridge import Instance
from rpyc_like.erlport.v1.codec import ErlportCodec
from rpyc_like.lib.connection_threads import ConnectionThreads

from . import world as worlds
from .scenarios import World, check, scenario, until_end
from .serving import SCENARIOS

__all__ = ["SCENARIOS"]


# -- EPC


def epc_service(**options: Any) -> EPCService:
    """Return what one side offers; ``peer`` is to be set to its connection."""
    service = EPCService(**options)
    event = worlds.Event()

    def back(number: int) -> int:
        return int(service.peer.call_sync("add", [number, 1], 30))  # type: ignore[attr-defined]

    def down(depth: int) -> int:
        if not depth:
            return 0
        return int(service.peer.call_sync("down", [depth - 1], 30)) + 1  # type: ignore[attr-defined]

    def sleep(seconds: float) -> str:
        worlds.sleep(seconds)
        return "slept"

    service.register_function(lambda a, b: a + b, "add")
    service.register_function(back, "back")
    service.register_function(down, "down")
    service.register_function(sleep, "sleep")
    service.register_function(lambda: event.wait(5), "wait")
    service.register_function(lambda: event.set(), "set")
    return service


def epc_pair(world: World, **options: Any) -> tuple[EPCConnection, EPCConnection]:
    """Return two sides, each of which a thread serves."""
    sides = []
    for stream in world.streams():
        service = epc_service(**options)
        conn = EPCConnection(stream, service)
        service.peer = conn  # type: ignore[attr-defined]
        sides.append(conn)
        world.connections.append(conn)
    for conn in sides:
        world.go(conn.serve, name="server")
    return sides[0], sides[1]


@scenario
def epc_calls_both_ways(world: World) -> None:
    """Two threads of one side call, and one of the other."""
    here, there = epc_pair(world)

    def work(conn: EPCConnection) -> None:
        for number in range(2):
            check(conn.call_sync("add", [number, 1], 30), number + 1)

    world.each(partial(work, here), partial(work, here), partial(work, there))


@scenario
def epc_callbacks(world: World) -> None:
    """Methods call methods of their callers; a result is given to a function as well."""
    here, there = epc_pair(world)
    event = worlds.Event()
    here.call("add", [1, 1], lambda value: event.set())
    world.each(
        lambda: check(here.call_sync("back", [1], 30), 2),
        lambda: check(there.call_sync("down", [3], 30), 3),
        lambda: check(event.wait(5), True),
    )


@scenario
def epc_callbacks_in_a_pool(world: World) -> None:
    """The same where one thread serves, and one call after the other."""
    here, there = epc_pair(world, max_threads=1, ordered=True)
    world.each(
        lambda: check(here.call_sync("back", [1], 30), 2),
        lambda: check(here.call_sync("down", [2], 30), 2),
        lambda: check(there.call_sync("back", [2], 30), 3),
    )
    for conn in (here, there):
        conn.close()
        conn.server.pool.close()


@scenario
def epc_one_waits_for_another(world: World) -> None:
    """A method waits for what another call does."""
    here, _ = epc_pair(world)
    world.each(
        lambda: here.call_sync("wait", [], 30),
        lambda: here.call_sync("set", [], 30),
        lambda: check(here.call_sync("add", [1, 1], 30), 2),
    )


@scenario(patience=3.0)
def epc_call_given_up(world: World) -> None:
    """A call is not answered in time and is given up; others go on."""
    here, _ = epc_pair(world)

    def impatient() -> None:
        try:
            here.call_sync("sleep", [2], 1)
        except TimeoutError:
            return
        raise AssertionError("expected a TimeoutError")

    world.each(impatient, lambda: check(here.call_sync("back", [1], 30), 2))


@scenario
def epc_close_during_calls(world: World) -> None:
    """Both sides close while calls and callbacks are under way."""
    here, there = epc_pair(world)
    world.each(
        until_end(here.call_sync, "down", [2], 30),
        until_end(there.call_sync, "add", [1, 1], 30),
        here.close,
        there.close,
    )


@scenario
def epc_lost_peer(world: World) -> None:
    """The stream breaks while threads wait for answers."""
    here, there = epc_pair(world)
    world.each(
        until_end(here.call_sync, "wait", [], 30),
        until_end(here.call_sync, "back", [1], 30),
        until_end(there.call_sync, "add", [1, 1], 30),
        there.request.close,
    )
    there.server.funcs["set"]()


def on_a_loop(world: World, work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function on a scheduled loop."""
    worlds.Loop().run(work())


def epc_on_a_loop(world: World) -> tuple[Any, EPCConnection]:
    """Return a stream for a loop, and the side with threads at its other end."""
    a, b = world.streams()
    service = epc_service()
    conn = EPCConnection(b, service)
    service.peer = conn  # type: ignore[attr-defined]
    world.connections.append(conn)
    world.go(conn.serve, name="server")
    return a, conn


@scenario
def epc_asyncio(world: World) -> None:
    """Tasks and threads call each other; plain functions of the loop's side run in a worker."""
    a, there = epc_on_a_loop(world)
    pool = ConnectionThreads(1)

    async def main() -> None:
        service = aio_epc.EPCService()
        conn = aio_epc.EPCConnection(a, service, pool)

        async def later(number: int) -> int:
            return int(await conn.call("add", [number, 1], 30))

        service.register_function(lambda a, b: a + b, "add")
        service.register_function(later, "later")
        await conn.open()
        threads = [
            world.go(lambda: check(there.call_sync("later", [1], 30), 2)),
            world.go(lambda: check(there.call_sync("add", [1, 1], 30), 2)),
        ]
        found = await asyncio.gather(
            conn.call("back", [1], 30), conn.call("add", [2, 2], 30), conn.call("back", [3], 30)
        )
        check(found, [2, 4, 4])
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.01)
        await conn.close()

    on_a_loop(world, main)
    pool.close()


@scenario
def epc_asyncio_cancel_and_lost_peer(world: World) -> None:
    """A task is cancelled, then the stream breaks while others wait."""
    a, there = epc_on_a_loop(world)

    async def wait(conn: aio_epc.EPCConnection) -> None:
        try:
            await conn.call("wait", [], 30)
        except EOFError:
            pass

    async def main() -> None:
        conn = aio_epc.EPCConnection(a, epc_service())
        await conn.open()
        tasks = [asyncio.ensure_future(wait(conn)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        check(await conn.call("add", [1, 1], 30), 2)
        world.go(there.request.close, name="breaker")
        await asyncio.wait(tasks)
        await conn.close()

    on_a_loop(world, main)
    there.server.funcs["set"]()


# -- Erlang, in the manner of erlport 1.x


class ErlangCodec(ErlportCodec):
    """What Erlang sends and takes: its calls have no context, those of Python do."""

    def encode_request(self, id_: Any, target: Any, args: Any) -> bytes:
        call = super().encode_request(id_, target, args)
        message = self.terms.decode(call)[0]
        return self.terms.encode(message[:5], self.compressed)

    def _request(self, message: Any) -> Any:
        return super()._request(message[:5])


def erlang_pair(world: World, threads: int | None = None) -> tuple[Instance, Instance]:
    """Return Python and what stands for Erlang, each of which a thread serves."""
    a, b = world.streams()
    python = instance(a, threads)
    erlang = instance(b, 4)
    erlang.codec.__class__ = ErlangCodec
    world.connections += [python, erlang]
    for one in (python, erlang):
        world.go(one.serve, name="server")
    return python, erlang


def instance(stream: Any, threads: int | None) -> Instance:
    """Return one side, with functions that call the other one."""
    event = worlds.Event()

    def back(number: int) -> int:
        return int(made.call(b"m", b"add", [number, 1], 30))

    def down(depth: int) -> int:
        return int(made.call(b"m", b"down", [depth - 1], 30)) + 1 if depth else 0

    def sleep(seconds: float) -> int:
        worlds.sleep(seconds)
        return 0

    def add(a: int, b: int) -> int:
        return a + b

    def wait() -> bool:
        return event.wait(5)

    def set_() -> None:
        event.set()

    functions = {"back": back, "down": down, "sleep": sleep, "add": add, "wait": wait}
    functions["set"] = set_
    made = Instance(
        stream, threads=threads, resolve=lambda module, name: functions[name], cancels=True
    )
    return made


def ended(world: World, *sides: Instance) -> None:
    """Close both sides, and the threads that served."""
    for side in sides:
        side.close()
        if side._pool is not None:
            side._pool.close()


@scenario
def erlang_calls_both_ways(world: World) -> None:
    """Erlang's processes call Python, whose threads call Erlang."""
    python, erlang = erlang_pair(world)

    def work(side: Instance) -> None:
        for number in range(2):
            check(side.call(b"m", b"add", [number, 1], 30), number + 1)

    world.each(partial(work, erlang), partial(work, erlang), partial(work, python))
    ended(world, python, erlang)


@scenario
def erlang_callbacks(world: World) -> None:
    """Functions call functions of the other side, in the one thread that serves."""
    python, erlang = erlang_pair(world)
    world.each(
        lambda: check(erlang.call(b"m", b"back", [1], 30), 2),
        lambda: check(erlang.call(b"m", b"down", [3], 30), 3),
        lambda: check(python.call(b"m", b"add", [1, 1], 30), 2),
    )
    ended(world, python, erlang)


@scenario
def erlang_threads(world: World) -> None:
    """Two threads serve; one call waits for another one, and others call back."""
    python, erlang = erlang_pair(world, 2)
    world.each(
        lambda: erlang.call(b"m", b"wait", [], 30),
        lambda: erlang.call(b"m", b"set", [], 30),
        lambda: check(erlang.call(b"m", b"down", [2], 30), 2),
    )
    ended(world, python, erlang)


@scenario(patience=3.0)
def erlang_calls_given_up(world: World) -> None:
    """Calls are cancelled, and given up when their time is over; others go on."""
    python, erlang = erlang_pair(world)

    def impatient() -> None:
        try:
            python.call(b"m", b"sleep", [2], 1)
        except TimeoutError:
            return
        raise AssertionError("expected a TimeoutError")

    def cancel() -> None:
        result = python.async_call(b"m", b"add", [1, 1])
        if python.cancel(result):
            try:
                result.value
            except CallError:
                return
            raise AssertionError("expected a CallError")
        check(result.value, 2)

    world.each(impatient, cancel, lambda: check(erlang.call(b"m", b"back", [1], 30), 2))
    ended(world, python, erlang)


@scenario
def erlang_close_during_calls(world: World) -> None:
    """Both sides close while calls and callbacks are under way."""
    python, erlang = erlang_pair(world)
    world.each(
        until_end(erlang.call, b"m", b"down", [2], 30),
        until_end(python.call, b"m", b"add", [1, 1], 30),
        erlang.close,
        python.close,
    )
    ended(world, python, erlang)


@scenario
def erlang_lost_peer(world: World) -> None:
    """The stream breaks while both sides wait for answers."""
    python, erlang = erlang_pair(world)
    world.each(
        until_end(erlang.call, b"m", b"back", [1], 30),
        until_end(python.call, b"m", b"down", [2], 30),
        until_end(python.call, b"m", b"add", [1, 1], 30),
        erlang.peer.link.channel.stream.close,
    )
    ended(world, python, erlang)


# -- Erlang ports, in the manner of erlport 0.6


@scenario
def ports_asyncio(world: World) -> None:
    """A port on a loop and one with a thread exchange terms, until one is closed."""
    a, b = world.streams()
    there = Port(4, stream=b)
    seen: list[Any] = []

    def serve() -> None:
        while True:
            try:
                term = there.read()
            except EOFError:
                return
            there.write(term)

    world.go(serve, name="server")

    async def main() -> None:
        port = aio_erlang.Port(4, stream=a)
        await port.open()

        async def write() -> None:
            for number in range(3):
                port.write(number)
                await asyncio.sleep(0)

        async def read() -> None:
            for _ in range(3):
                seen.append(await port.read())

        await asyncio.gather(write(), read())
        await port.close()

    on_a_loop(world, main)
    check(seen, [0, 1, 2])
    there.close()
