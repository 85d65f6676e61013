"""Scenarios of those who serve: pools, helpers, threads of connections, housekeeping."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import Service
from rpyc_like.errors import LimitExceeded, LocalProtocolError
from rpyc_like.lib.connection_threads import ConnectionThreads
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link.channel import Channel
from rpyc_like.link.serve.poller import Poller
from rpyc_like.utils.helpers import BgServingThread, async_

from . import world as worlds
from .scenarios import (
    SCENARIOS,
    Server,
    World,
    aio_connect,
    check,
    own_results,
    scenario,
    until_end,
)

__all__ = ["SCENARIOS"]

TOO_LARGE = 10 ** (1 << 20)
"""A number that no message can have."""


def pooled(world: World, size: int, **config: Any) -> tuple[WorkerPool, Poller, Connection, Any]:
    """Return a pool, its poller, and the two sides of a connection that they serve."""
    pool = WorkerPool(size)
    poller = Poller(pool)
    client, server = world.connect(their_config=config)
    poller.add(server._link, server.close)
    return pool, poller, client, server


def hang_up(conn: Connection) -> None:
    """End a side's stream when everything has been written."""
    while conn._link.sender.held:
        conn._link.sender.flush()
        worlds.sleep(0.001)
    conn._channel.stream.finish()


def all_ended(world: World, pool: WorkerPool, poller: Poller) -> None:
    """Close everything."""
    for conn in world.connections:
        conn.close()
    poller.close()
    pool.close()


# -- pools


@scenario
def pool_serves_before_the_end(world: World) -> None:
    """What was asked before the end of the stream is served, though nobody waits for answers."""
    pool, poller, client, server = pooled(world, 2)
    served: list[int] = []
    came = worlds.Event()

    def note(number: int) -> None:
        served.append(number)
        if len(served) == 3:
            came.set()

    server._local_root.exposed_note = note
    ask = async_(client.root.note)
    results = [ask(number) for number in range(3)]
    hang_up(client)
    check(came.wait(5), True)
    check(sorted(served), [0, 1, 2])
    del results
    all_ended(world, pool, poller)


@scenario(patience=3.0)
def pool_is_busy_at_the_end(world: World) -> None:
    """Who waits with a result of the program's own class learns of the end before queued calls."""
    pool, poller, client, server = pooled(world, 1)
    client.root.keep(lambda: 1)
    (kept,) = server._local_root.kept
    sleep, add = async_(client.root.sleep), async_(client.root.add)

    def ask() -> None:
        began = worlds.monotonic()
        until_end(kept)()  # nobody serves the client
        check(worlds.monotonic() - began < 1, True)

    with own_results(lambda: None):
        results = sleep(2), add(1, 1)
        world.each(ask, lambda: (worlds.sleep(0.1), hang_up(client)))
    del results
    all_ended(world, pool, poller)


@scenario
def pool_of_waiting_threads(world: World) -> None:
    """All of a pool's threads wait in callbacks whose answers need the pool."""
    pool, poller, client, _ = pooled(world, 1)
    root = client.root

    def down(depth: int) -> int:
        return int(root.down(down, depth))

    world.each(lambda: check(down(3), 3), lambda: check(down(2), 2))
    all_ended(world, pool, poller)


@scenario
def pool_loses_a_peer(world: World) -> None:
    """A stream breaks while the pool's thread waits in a callback; another peer is served on."""
    pool, poller, client, _ = pooled(world, 1)
    other, server = world.connect()
    poller.add(server._link, server.close)
    lost, root = client.root, other.root

    def cut(number: int) -> int:
        client._channel.stream.close()
        return number

    world.each(
        until_end(lost.call, cut, 1),
        until_end(lost.add, 1, 1),
        lambda: check(root.call(lambda number: root.add(number, 1), 1), 2),
    )
    all_ended(world, pool, poller)


@scenario
def pool_takes_connections(world: World) -> None:
    """Connections are added to a poller at the moment at which it looks at others."""
    pool = WorkerPool(2)
    poller = Poller(pool)
    pairs = [world.connect() for _ in range(3)]

    def join(number: int) -> None:
        client, server = pairs[number]
        poller.add(server._link, server.close)
        check(client.root.add(number, 1), number + 1)

    world.each(*(partial(join, number) for number in range(3)))
    all_ended(world, pool, poller)


@scenario
def pool_takes_connections_while_it_closes(world: World) -> None:
    """Connections are added to a poller that is closed at the same moment."""
    pool = WorkerPool(2)
    poller = Poller(pool)
    pairs = [world.connect() for _ in range(3)]

    def add() -> None:
        for _, server in pairs:
            poller.add(server._link, server.close)

    world.each(add, poller.close, *(until_end(client.ping) for client, _ in pairs))
    pool.close()


@scenario
def calls_at_the_same_time(world: World) -> None:
    """A connection serves several calls at once; one waits for what another one does."""
    client, server = world.connect(their_config={"concurrent_calls": 2})
    world.go(server.serve_all, name="server")
    root = client.root
    world.each(
        lambda: check(root.wait(), True),
        lambda: root.set(),
        lambda: check(root.call(lambda number: root.add(number, 1), 1), 2),
    )


# -- helpers


@scenario(patience=2.0)
def busy_thread_is_helped(world: World) -> None:
    """What a serving thread waits for is read by one that waits for an answer: a helper acts."""
    client, server = world.pair()
    root = client.root
    background = BgServingThread(client)
    begun, event, done = worlds.Event(), worlds.Event(), worlds.Event()

    def wait() -> None:
        begun.set()
        check(event.wait(5), True)
        done.set()

    root.keep(wait)
    root.keep(lambda: event.set())
    wait_here, set_here = server._local_root.kept
    world.go(async_(wait_here))  # not caused by a call of the client's
    check(begun.wait(5), True)
    world.go(async_(set_here))
    check(root.sleep(1), "slept")
    check(done.wait(5), True)
    background.stop()


@scenario
def callback_waits_for_another(world: World) -> None:
    """A thread that serves a callback waits for another one that comes to the same thread."""
    client, _ = world.pair()
    root = client.root
    event = worlds.Event()

    def first(number: int) -> int:
        root.fire(lambda number: event.set())
        check(event.wait(5), True)
        return number

    world.each(
        lambda: check(root.call(first, 1), 1),
        lambda: check(root.add(1, 1), 2),
    )


@scenario
def callback_is_read_by_another(world: World) -> None:
    """The same while another thread reads, which hands the second callback to the first thread."""
    client, server = world.connect()
    world.go(server.serve_threaded, 2, name="server")
    root = client.root
    while not client._codec.features:  # the peer's may be the second of its answers
        worlds.sleep(0.01)
        root.add(1, 1)
    event = worlds.Event()

    def first(number: int) -> int:
        root.fire(lambda number: event.set())
        check(event.wait(5), True)
        root.set()
        return number

    world.each(
        lambda: check(root.call(first, 1), 1),
        lambda: check(root.wait(), True),
    )


@scenario
def callbacks_come_before_an_answer(world: World) -> None:
    """A thread serves what was sent before its answer, though its first callback takes long."""
    client, _ = world.pair()
    root = client.root
    served: list[int] = []

    def slow(number: int) -> None:
        worlds.sleep(0.3)
        served.append(number)

    root.fire_twice(slow)
    check(served, [1, 2])
    root.call(lambda number: root.fire_twice(slow), 1)
    check(served, [1, 2, 1, 2])


# -- housekeeping


@scenario
def idle_side_notices_the_end(world: World) -> None:
    """A client that makes no call is told that its peer has gone."""
    client, server = world.pair()
    ended = worlds.Event()
    client.root.add(1, 1)
    client.add_state_callback(lambda conn, state: ended.set() if state == "closed" else None)
    world.each(server._channel.stream.close, lambda: check(ended.wait(5), True))


@scenario
def unread_messages_before_the_end(world: World) -> None:
    """What a peer sent before it went is served, though nobody reads."""
    client, server = world.pair()
    ended, called = worlds.Event(), worlds.Event()
    client.root.keep(lambda: called.set())
    client.add_state_callback(lambda conn, state: ended.set() if state == "closed" else None)

    def leave() -> None:
        async_(server._local_root.kept[0])()
        hang_up(server)

    world.each(leave, lambda: check(ended.wait(5), True))
    check(called.wait(5), True)


@scenario
def idle_threads_and_the_end(world: World) -> None:
    """The end comes while a state callback is added and calls are made."""
    client, server = world.pair()
    root = client.root
    ended = worlds.Event()
    client.add_state_callback(lambda conn, state: ended.set())
    world.each(
        lambda: client.add_state_callback(lambda conn, state: None),
        until_end(root.add, 1, 1),
        until_end(root.call, lambda number: number, 1),
        server._channel.stream.close,
    )
    check(ended.wait(5), True)


@scenario
def cancelled_while_busy(world: World) -> None:
    """Calls are given up whose threads compute; the watchdog finds out, and others go on."""
    client, server = world.connect()
    world.go(server.serve_threaded, 2, name="server")
    root = client.root

    def impatient() -> None:
        result = async_(root.sleep)(1)
        result.set_expiry(0.1)
        try:
            check(result.value, "slept")
        except TimeoutError:
            pass

    world.each(impatient, impatient, lambda: check(root.add(1, 1), 2))


# -- references


class Asks:
    """Asks the peer when it is dropped."""

    def __init__(self, ask: Any, done: list[int]) -> None:
        self.ask, self.done = ask, done

    def __del__(self) -> None:
        self.done.append(self.ask(1, 1))


@scenario
def finalizers_ask(world: World) -> None:
    """The last references to objects with finalizers that ask are given back during calls."""
    client, _ = world.pair()
    root = client.root
    done: list[int] = []

    def work() -> None:
        root.keep(Asks(root.add, done))
        root.drop()
        check(root.add(1, 2), 3)

    world.each(work, work)
    root.drop()
    worlds.sleep(0.3)  # releases are sent a moment later
    root.add(1, 1)
    check(done, [2, 2])


@scenario
def finalizers_ask_in_a_pool(world: World) -> None:
    """The same on the side of a server with a pool of one thread."""
    pool, poller, client, server = pooled(world, 1)
    done: list[int] = []
    root = client.root
    callback = lambda a, b: a + b  # noqa: E731
    root.keep(callback)
    server._local_root.exposed_asks = lambda: Asks(server._local_root.kept[0], done)

    def work() -> None:
        asks = root.asks()
        check(root.add(1, 2), 3)
        del asks
        check(root.add(1, 2), 3)

    world.each(work, work)
    background = BgServingThread(client)
    worlds.sleep(0.3)
    root.add(1, 1)
    worlds.sleep(0.3)
    check(done, [2, 2])
    background.stop()
    root.drop()
    all_ended(world, pool, poller)


@scenario
def requests_that_cannot_be_sent(world: World) -> None:
    """What fails to be encoded gives references back once: the peer's proxy lives on."""
    client, _ = world.pair()
    root = client.root
    function = lambda *args: 7  # noqa: E731
    root.keep(function)

    def fails() -> None:
        try:
            root.call(function, TOO_LARGE)
        except LocalProtocolError:
            return
        raise AssertionError("expected a LocalProtocolError")

    world.each(fails, fails, lambda: root.keep(function))
    check(root.kept_value(), 7)
    root.drop()


# -- threads of connections


def bound_to_threads(world: World, threads: ConnectionThreads, count: int) -> list[Any]:
    """Return clients of a server on a loop whose connections share some threads."""
    ready = worlds.Event()
    sides = [world.streams() for _ in range(count)]

    async def main() -> None:
        conns = [aio_connect(world, None, threads)(there, Server()) for _, there in sides]
        for conn in conns:
            await conn.open()
        ready.set()
        for conn in conns:
            await conn._link.ended.wait()
            await conn.close()

    world.go(lambda: worlds.Loop().run(main()), name="loop")
    ready.wait()
    config = {"sync_request_timeout": 30, "allow_all_attrs": True}
    clients = [Service._connect(Channel(here), config) for here, _ in sides]
    world.connections += clients
    return clients


def threads_ended(world: World, threads: ConnectionThreads) -> None:
    """Close the clients and wait for the loop."""
    for conn in world.connections:
        conn.close()
    for thread in world.threads:
        thread.join()
    threads.close()


@scenario
def more_connections_than_threads(world: World) -> None:
    """Three connections share one thread: the one that has been idle for longest gives it up."""
    threads = ConnectionThreads(1)
    roots = [client.root for client in bound_to_threads(world, threads, 3)]

    def work(root: Any) -> None:
        check(root.add(1, 1), 2)
        check(root.call(lambda number: root.add(number, 1), 1), 2)

    world.each(*(partial(work, root) for root in roots))
    threads_ended(world, threads)


@scenario
def more_connections_than_strict_threads(world: World) -> None:
    """With strict affinity a connection that finds no thread is refused, and the others work."""
    threads = ConnectionThreads(2, strict=True)
    roots = [client.root for client in bound_to_threads(world, threads, 3)]
    served: list[int] = []

    def work(root: Any) -> None:
        try:
            check(root.add(1, 1), 2)
            check(root.call(lambda number: root.add(number, 1), 1), 2)
        except LimitExceeded:
            return
        served.append(1)

    world.each(*(partial(work, root) for root in roots))
    check(len(served) >= 2, True)
    threads_ended(world, threads)


@scenario(patience=2.5)
def thread_of_a_connection_waits(world: World) -> None:
    """A connection's thread waits in a callback for what another call of the peer's does."""
    threads = ConnectionThreads(2)
    (client,) = bound_to_threads(world, threads, 1)
    root = client.root

    def nested(number: int) -> int:
        done: list[int] = []
        worker = world.go(lambda: done.append(root.add(number, 1)))  # not caused, to the server
        worker.join()
        return done[0]

    world.each(
        lambda: check(root.call(nested, 1), 2),
        lambda: check(root.add(1, 1), 2),
        lambda: check(root.later(1), 1),
    )
    threads_ended(world, threads)


@scenario
def connection_with_a_thread_is_lost(world: World) -> None:
    """Streams break while their connections' threads wait in callbacks, and one more is served."""
    threads = ConnectionThreads(1)
    clients = bound_to_threads(world, threads, 3)
    roots = [client.root for client in clients]
    world.each(
        until_end(roots[0].call, clients[0]._channel.stream.close),
        until_end(roots[1].call, lambda: 1),
        clients[1]._channel.stream.close,
        lambda: check(roots[2].add(1, 1), 2),
    )
    threads_ended(world, threads)


# -- asyncio


@scenario
def tasks_are_cancelled(world: World) -> None:
    """Tasks that wait for answers and in callbacks are cancelled; others go on."""
    a, b = world.streams()
    server = Server._connect(Channel(b), {"allow_all_attrs": True})
    world.go(server.serve_threaded, 2, name="server")

    async def main() -> None:
        conn = aio_connect(world, server)(a)
        await conn.open()
        root = await conn.root
        waits = asyncio.ensure_future(_of(root.wait()))
        calls = asyncio.ensure_future(_of(root.call(lambda number: number, 1)))
        other = asyncio.ensure_future(_of(root.add(1, 1)))
        await asyncio.sleep(0)
        calls.cancel()
        waits.cancel()
        check(await other, 2)
        await asyncio.wait([calls, waits])
        await root.set()
        check(await root.add(1, 2), 3)
        await conn.close()

    worlds.Loop().run(main())


async def _of(work: Any) -> Any:
    return await work


@scenario
def threads_use_a_loop(world: World) -> None:
    """Threads make calls of an asyncio connection by its loop, while a task does as well."""
    a, b = world.streams()
    server = Server._connect(Channel(b), {"allow_all_attrs": True})
    world.go(server.serve_all, name="server")
    results: list[int] = []

    async def main() -> None:
        conn = aio_connect(world, server)(a)
        await conn.open()
        root = await conn.root
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        async def add(number: int) -> int:
            return int(await root.add(number, 1))

        def work(number: int) -> None:
            future = asyncio.run_coroutine_threadsafe(add(number), loop)
            results.append(future.result())
            if len(results) == 2:
                loop.call_soon_threadsafe(ended.set)

        world.go(work, 1)
        world.go(work, 2)
        check(await root.add(5, 5), 10)
        await ended.wait()
        await conn.close()

    worlds.Loop().run(main())
    check(sorted(results), [2, 3])
