"""Small programs to run under many schedules: threads, callbacks, drops, cancelling, ends.

Each is a function of a :class:`World`. It fails if it raises, or if somebody waits in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import rpyc_like
from rpyc_like.aio.connection import Connection as AioConnection
from rpyc_like.core import protocol
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicService, Service, SlaveService
from rpyc_like.lib.connection_threads import ConnectionThreads
from rpyc_like.lib.first_use import FirstUse, kept_first
from rpyc_like.lib.threads import ThreadCache
from rpyc_like.lib.worker_pool import WorkerPool
from rpyc_like.link import fork as forking
from rpyc_like.link.channel import Channel
from rpyc_like.link.serve.leader_follower import LeaderFollower
from rpyc_like.link.serve.poller import Poller
from rpyc_like.utils.helpers import BgServingThread, async_

from . import world as worlds
from .scheduler import Scheduler

__all__ = ["SCENARIOS", "Scenario", "World"]

_ENDED = (EOFError,)  # ConnectionClosed is one


class Scenario(NamedTuple):
    """A program, and how long it may wait."""

    run: Callable[[World], object]
    patience: float
    limit: float


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    func: Callable[[World], object] | None = None, *, patience: float = 0.45, limit: float = 10.0
) -> Any:
    """Add a scenario; see :class:`.scheduler.Scheduler` for the seconds."""
    if func is None:
        return lambda func: scenario(func, patience=patience, limit=limit)
    SCENARIOS[func.__name__] = Scenario(func, patience, limit)
    return func


class Server(Service):
    """What most scenarios call."""

    def __init__(self) -> None:
        self.event = worlds.Event()
        self.kept: list[Any] = []
        self.count = 0

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_twice(self, func: Any, number: int) -> int:
        return int(func(number) + func(number + 1))

    def exposed_down(self, func: Any, depth: int) -> int:
        return 0 if not depth else int(func(depth - 1)) + 1

    def exposed_keep(self, func: Any) -> None:
        self.kept.append(func)

    def exposed_drop(self) -> None:
        self.kept.clear()

    def exposed_kept_value(self) -> Any:
        return self.kept[-1]()

    def exposed_fire_kept(self) -> None:
        for func in self.kept:
            async_(func)()

    def exposed_flood(self, func: Any, seconds: float) -> None:
        """Call a function again and again, without waiting."""
        end = worlds.monotonic() + seconds
        call = async_(func)
        while worlds.monotonic() < end:
            call()
            worlds.sleep(0.01)

    def exposed_call_at_once(self, func: Any, count: int) -> int:
        results = [async_(func)() for _ in range(count)]
        return len([result.value for result in results])

    def exposed_make(self) -> Any:
        return Item()

    def exposed_size(self, data: bytes) -> int:
        return len(data)

    def exposed_data(self, size: int) -> bytes:
        return bytes(size)

    def exposed_wait(self) -> bool:
        return self.event.wait(5)

    def exposed_set(self) -> None:
        self.event.set()

    def exposed_sleep(self, seconds: float) -> str:
        worlds.sleep(seconds)
        return "slept"

    async def exposed_later(self, number: int) -> int:
        await asyncio.sleep(0)
        return number

    def exposed_fire(self, func: Any) -> None:
        async_(func)(1)

    def exposed_fire_twice(self, func: Any) -> None:
        async_(func)(1)
        async_(func)(2)


class Item:
    """Something to lend."""

    def __init__(self) -> None:
        self.value = 5

    def exposed_get(self) -> int:
        return self.value

    exposed_value = 5


class World:
    """What a scenario has: connections and threads of one schedule."""

    def __init__(self, schedule: Scheduler) -> None:
        self.schedule = schedule
        self.threads: list[worlds.Thread] = []
        self.connections: list[Any] = []
        self.errors: list[BaseException] = []

    def streams(self, capacity: int = 1 << 16) -> tuple[Any, Any]:
        """Return two connected streams."""
        return worlds.Stream.pair(capacity)

    def connect(
        self,
        here: Any = Service,
        there: Any = Server,
        config: dict[str, Any] | None = None,
        their_config: dict[str, Any] | None = None,
        capacity: int = 1 << 16,
    ) -> tuple[Connection, Connection]:
        """Return two connections that nobody serves yet."""
        a, b = self.streams(capacity)
        base = {"sync_request_timeout": 30, "allow_all_attrs": True}
        server = there._connect(Channel(b), {**base, **(their_config or {})})
        client = here._connect(Channel(a), {**base, **(config or {})})
        self.connections += [client, server]
        return client, server

    def pair(self, *args: Any, **kwargs: Any) -> tuple[Connection, Connection]:
        """Return two connections, the second of which is served by a thread."""
        client, server = self.connect(*args, **kwargs)
        self.go(server.serve_all, name="server")
        return client, server

    def go(self, func: Callable[..., object], *args: Any, name: str = "client") -> worlds.Thread:
        """Run a function in a thread of the scenario."""

        def run() -> None:
            try:
                func(*args)
            except Exception as error:
                self.errors.append(error)

        thread = worlds.Thread(target=run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def each(self, *works: Callable[[], object]) -> None:
        """Run functions in threads of their own, and wait for all of them."""
        threads = [self.go(work) for work in works]
        for thread in threads:
            thread.join()

    def end(self) -> None:
        """Close all connections, wait for all threads, and raise what one of them has raised."""
        for conn in self.connections:
            conn.close()
        for thread in self.threads:
            thread.join()
        for error in self.errors:
            raise error


def until_end(func: Callable[..., object], *args: Any) -> Callable[[], None]:
    """Return a function that does this, or finds that the connection has ended."""

    def run() -> None:
        try:
            func(*args)
        except _ENDED:
            pass

    return run


def check(value: object, expected: object) -> None:
    """Raise an error if a value is not the expected one."""
    if value != expected:
        raise AssertionError(f"expected {expected!r}, got {value!r}")


# -- calls


@scenario
def calls_of_three_threads(world: World) -> None:
    """Three threads call over one connection."""
    client, _ = world.pair()
    root = client.root

    def work() -> None:
        for number in range(3):
            check(root.add(number, 1), number + 1)

    world.each(work, work, work)


@scenario
def first_calls_together(world: World) -> None:
    """Two threads make the first requests of a connection."""
    client, _ = world.pair()
    world.each(
        lambda: check(client.root.add(1, 2), 3),
        lambda: check(client.root.add(2, 2), 4),
        lambda: client.ping(timeout=30),
    )


@scenario
def classic_names_together(world: World) -> None:
    """Two threads first use the classic names of a connection."""
    client, _ = world.pair(ClassicService, SlaveService)
    world.each(
        lambda: check(client.modules.math.floor(2.5), 2),
        lambda: check(client.builtins.len("abc"), 3),
        lambda: check(client.eval("1 + 1"), 2),
    )


@scenario
def one_object_for_all(world: World) -> None:
    """What is made at its first use, or fetched from the peer, is the same for all threads."""
    client, _ = world.pair(ClassicService, SlaveService)
    found: list[tuple[object, ...]] = []
    values: dict[str, object] = {}
    made: list[object] = []

    def fetch() -> object:
        worlds.sleep(0.001)
        return object()

    def make() -> object:
        made.append(fetch())
        return made[-1]

    once = FirstUse(make)

    def work() -> None:
        kept = once.get(), kept_first(values, "name", fetch)
        found.append((*kept, client.root, client.modules, client.builtins))

    world.each(work, work, work)
    check(len(made), 1)
    for others in found[1:]:
        check([one is other for one, other in zip(found[0], others, strict=True)], [True] * 5)


@scenario
def results_in_another_order(world: World) -> None:
    """Two threads wait for results that were asked for by a third, the last ones first."""
    client, _ = world.pair()
    add = async_(client.root.add)
    results = [add(number, 0) for number in range(6)]

    def work(numbers: range) -> None:
        for number in numbers:
            check(results[number].value, number)

    world.each(lambda: work(range(5, -1, -2)), lambda: work(range(4, -1, -2)))


@scenario
def the_same_result(world: World) -> None:
    """Three threads wait for the same result."""
    client, _ = world.pair()
    result = async_(client.root.add)(1, 1)
    wait = lambda: check(result.value, 2)  # noqa: E731
    world.each(wait, wait, wait)


@scenario
def many_held_requests(world: World) -> None:
    """Requests that nobody waits for yet are held for a moment, and sent before somebody waits."""
    client, _ = world.pair()
    root = client.root
    add = async_(root.add)

    def work() -> None:
        results = [add(number, 0) for number in range(24)]
        check(results[-1].value, 23)

    world.each(work, lambda: check(root.add(1, 1), 2))
    results = [add(number, 0) for number in range(24)]
    worlds.sleep(0.1)
    for result in results:
        result.wait()


@scenario
def futures(world: World) -> None:
    """Futures come although no thread reads, and a cancelled one holds up nobody."""
    client, _ = world.pair()
    add = async_(client.root.add)
    futures = [add(number, 1).as_future() for number in range(4)]
    world.each(
        lambda: check(futures[3].result(), 4),
        lambda: check(futures[1].result(), 2),
        lambda: futures[2].cancel(),
    )
    check(futures[0].result(), 1)


@scenario
def result_callbacks(world: World) -> None:
    """Functions that were added to results run, whichever thread reads the answer."""
    client, _ = world.pair()
    root = client.root
    seen: list[int] = []

    def work(number: int) -> None:
        result = async_(root.add)(number, 0)
        result.add_callback(lambda result: seen.append(result.value))
        result.wait()

    world.each(lambda: work(1), lambda: work(2), lambda: check(root.add(1, 1), 2))
    check(sorted(seen), [1, 2])


@scenario
def full_streams(world: World) -> None:
    """Both sides send more than the streams hold, at once."""
    client, _server = world.pair(capacity=300)
    root = client.root
    world.each(
        lambda: check(root.size(bytes(3000)), 3000),
        lambda: check(len(root.data(3000)), 3000),
        lambda: check(root.call(len, bytes(2000)), 2000),
    )


@scenario
def coroutines(world: World) -> None:
    """Functions that are ``async def`` run on a loop beside the serving thread."""
    client, _ = world.pair()
    root = client.root
    world.each(
        lambda: check(root.later(1), 1),
        lambda: check(root.later(2), 2),
        lambda: check(root.add(1, 1), 2),
    )


# -- callbacks


@scenario
def callbacks_of_two_threads(world: World) -> None:
    """Two threads pass functions that the server calls back."""
    client, _ = world.pair()
    root = client.root

    def work() -> None:
        check(root.twice(lambda number: number + 1, 1), 5)

    world.each(work, work)


@scenario
def callbacks_and_calls(world: World) -> None:
    """One thread waits for a callback's answer while others make plain calls."""
    client, _ = world.pair()
    root = client.root

    def nested(number: int) -> int:
        return int(root.add(number, 1))

    world.each(
        lambda: check(root.twice(nested, 1), 5),
        lambda: check(root.add(1, 2), 3),
        lambda: check(root.call(nested, 3), 4),
    )


@scenario
def callback_waits_for_the_next(world: World) -> None:
    """Of two callbacks of one call the first waits for the second; another thread serves too."""
    client, server = world.pair()

    def both(first: Any, second: Any) -> tuple[Any, Any]:
        results = async_(first)(), async_(second)()
        return results[0].value, results[1].value

    server._local_root.exposed_both = both
    root, event = client.root, worlds.Event()
    background = BgServingThread(client)
    check(root.both(lambda: event.wait(5), lambda: event.set()), (True, None))
    background.stop()


@scenario
def remote_executor(world: World) -> None:
    """Who waits for a callback leaves the call that waits for it to the thread that serves."""
    client, server = world.pair()
    done = worlds.Event()

    def submit(func: Any) -> None:
        world.go(lambda: (func(), done.set()), name="worker")
        worlds.sleep(0.01)  # the worker reads meanwhile

    server._local_root.exposed_submit = submit
    server._local_root.exposed_result = lambda: done.wait(5)
    root = client.root
    background = BgServingThread(client)
    root.submit(lambda: worlds.sleep(0.05))
    check(root.result(), True)
    background.stop()


@scenario
def deep_recursion(world: World) -> None:
    """Calls go back and forth between the two sides, in two threads."""
    client, _ = world.pair()
    root = client.root

    def down(depth: int) -> int:
        return int(root.down(down, depth))

    world.each(lambda: check(down(4), 4), lambda: check(down(3), 3))


@scenario
def background_thread_and_callback(world: World) -> None:
    """A BgServingThread reads while another thread is blocked in a callback's request."""
    client, _ = world.pair()
    root = client.root
    background = BgServingThread(client)

    def nested(number: int) -> int:
        return int(root.add(number, 1))

    world.each(
        lambda: check(root.twice(nested, 1), 5),
        lambda: check(root.call(nested, 1), 2),
    )
    background.stop()


@scenario
def calls_from_the_server(world: World) -> None:
    """The server calls functions that it has kept while the client's threads call it."""
    client, _server = world.pair()
    root = client.root
    background = BgServingThread(client)
    event = worlds.Event()
    root.fire(lambda number: event.set())
    world.each(lambda: check(root.add(1, 2), 3), lambda: check(event.wait(5), True))
    background.stop()


@scenario
def three_parties(world: World) -> None:
    """A call goes through a middle man, who is called back by both ends."""

    class Middle(Server):
        def exposed_pass(self, func: Any, number: int) -> int:
            return int(far.root.call(func, number))

    far, _ = world.pair()
    client, _ = world.pair(there=Middle)
    root = client.root

    def nested(number: int) -> int:
        return int(root.add(number, 1))

    world.each(lambda: check(getattr(root, "pass")(nested, 1), 2), lambda: check(root.add(1, 1), 2))


@scenario
def threads_are_bound(world: World) -> None:
    """Both sides bind threads, as RPyC does, and call back."""
    config = {"bind_threads": True}
    client, server = world.connect(config=config, their_config=config)
    world.go(server.serve_all, name="server")
    root = client.root

    def nested(number: int) -> int:
        return int(root.add(number, 1))

    world.each(lambda: check(root.call(nested, 1), 2), lambda: check(root.call(nested, 2), 3))


# -- ways of serving


@scenario
def three_serving_threads(world: World) -> None:
    """Three threads serve a connection; one waits for what another one is asked for."""
    client, server = world.connect()
    world.go(server.serve_threaded, 3, name="server")
    root = client.root
    world.each(
        lambda: check(root.wait(), True),
        lambda: root.set(),
        lambda: check(root.twice(lambda number: number, 1), 3),
    )


@scenario
def three_serving_threads_close(world: World) -> None:
    """Three threads serve a connection that ends while they do."""
    client, server = world.connect()
    world.go(server.serve_threaded, 3, name="server")
    root = client.root
    world.each(until_end(root.add, 1, 2), until_end(root.call, len, "abc"), client.close)


@scenario
def leader_and_follower(world: World) -> None:
    """A relay serves a connection, with a slow request and a callback."""
    client, server = world.connect()
    server._link.workers = ThreadCache().run
    world.go(LeaderFollower(server._link).serve, name="relay")
    root = client.root
    world.each(
        lambda: check(root.wait(), True),
        lambda: (worlds.sleep(0.01), root.set()),
        lambda: check(root.call(lambda number: root.add(number, 1), 1), 2),
    )


@scenario
def pool_of_one(world: World) -> None:
    """A poller and a pool of one thread serve two connections that call back."""
    pool = WorkerPool(1)
    poller = Poller(pool)
    roots = []
    for _ in range(2):
        client, server = world.connect()
        poller.add(server._link, server.close)
        roots.append(client.root)

    def work(root: Any) -> None:
        check(root.call(lambda number: root.add(number, 1), 1), 2)
        check(root.add(1, 1), 2)

    world.each(lambda: work(roots[0]), lambda: work(roots[1]))
    for conn in world.connections:
        conn.close()
    poller.close()
    pool.close()


@scenario
def pool_closes(world: World) -> None:
    """A poller is closed while its connections are in use."""
    pool = WorkerPool(2)
    poller = Poller(pool)
    client, server = world.connect()
    poller.add(server._link, server.close)
    root = client.root
    world.each(until_end(root.add, 1, 1), until_end(root.call, len, "abc"), poller.close)
    pool.close()


@scenario
def own_dispatch(world: World) -> None:
    """A connection whose class overrides ``_dispatch`` is used by two threads."""

    class Own(Connection):
        def _dispatch(self, data: bytes) -> None:
            super()._dispatch(data)

    class Client(Service):
        _protocol = Own

    client, _ = world.pair(here=Client)
    root = client.root
    world.each(
        lambda: check(root.add(1, 2), 3),
        lambda: check(root.add(2, 2), 4),
        lambda: check(root.call(lambda number: number, 1), 1),
    )


@contextmanager
def own_results(delivering: Callable[[], object]) -> Iterator[None]:
    """Put a class of the program in place of AsyncResult, which does more when an answer comes."""

    class Own(rpyc_like.AsyncResult):
        def __call__(self, is_exc: bool, obj: Any) -> None:
            delivering()
            super().__call__(is_exc, obj)

    usual, protocol.AsyncResult = protocol.AsyncResult, Own
    try:
        yield
    finally:
        protocol.AsyncResult = usual


@scenario(limit=0.6)  # readers look again now and then, which must not be what helps
def own_result_class(world: World) -> None:
    """A program has put its own class in place of AsyncResult; two threads call."""
    client, _ = world.pair()
    root = client.root
    with own_results(lambda: worlds.sleep(0.001)):
        world.each(lambda: check(root.add(1, 2), 3), lambda: check(root.add(2, 2), 4))


@scenario(limit=1.0)  # readers look again now and then, which must not be what helps
def own_result_class_in_the_background(world: World) -> None:
    """A BgServingThread delivers to results of a program's own class; no other answer comes."""
    client, _ = world.pair()
    root = client.root
    background = BgServingThread(client)
    with own_results(lambda: worlds.sleep(0.001)):
        for number in range(3):
            check(root.add(number, 1), number + 1)
    background.stop()


@scenario
def own_result_class_and_the_end(world: World) -> None:
    """The peer hangs up while an answer is delivered to a result of a program's own class."""
    client, server = world.pair()
    root = client.root
    background = BgServingThread(client)

    def hang_up() -> None:
        server._channel.stream.finish()
        worlds.sleep(0.1)

    add, event = async_(root.add), worlds.Event()
    with own_results(hang_up):
        result = add(1, 1)
        result.add_callback(lambda result: event.set())
    world.each(
        lambda: check(result.value, 2),
        lambda: check(event.wait(5), True),
        until_end(root.wait),
    )
    background.stop()
    server._local_root.event.set()


@scenario
def one_waits_for_the_other(world: World) -> None:
    """A thread waits, as the reader, for what another one causes only after its first answer."""
    client, server = world.connect()
    world.go(server.serve_threaded, 2, name="server")
    root = client.root

    def other() -> None:
        check(root.add(1, 1), 2)
        root.set()

    world.each(lambda: check(root.wait(), True), other)


@scenario
def idle_thread_serves_beside_a_waiting_one(world: World) -> None:
    """A serving thread that waits for a callback leaves other calls to one that has none."""
    client, server = world.connect()
    world.go(server.serve_threaded, 2, name="server")
    root = client.root

    def slow(number: int) -> int:
        worlds.sleep(0.05)
        return number

    def first() -> None:
        check(root.call(slow, 1), 1)
        root.set()

    def other() -> None:
        check(root.sleep(0.01), "slept")
        worlds.sleep(0.01)
        check(root.wait(), True)

    world.each(first, other)


@scenario
def small_backlog(world: World) -> None:
    """More arrives than may wait to be served, while the pool's thread is busy."""
    pool = WorkerPool(1)
    poller = Poller(pool)
    config = {"max_queued_bytes": 2000}
    client, server = world.connect(their_config=config)
    poller.add(server._link, server.close)
    root = client.root
    size = async_(root.size)

    def work() -> None:
        results = [size(bytes(900)) for _ in range(4)]
        for result in results:
            check(result.value, 900)

    world.each(work, work)
    for conn in world.connections:
        conn.close()
    poller.close()
    pool.close()


@scenario
def callbacks_ask_over_another_connection(world: World) -> None:
    """Callbacks of plain calls ask over the other of two connections that threads serve."""
    conns = [world.pair()[0] for _ in range(2)]
    roots = [conn.root for conn in conns]
    served: list[tuple[object, object]] = []

    def callback(own: Any, root: Any) -> None:
        call = rpyc_like.current_call()
        served.append((call and call.connection, own))
        check(root.add(1, 1), 2)

    for conn, root, other in zip(conns, roots, reversed(roots)):
        for _ in range(2):
            root.keep(lambda conn=conn, other=other: callback(conn, other))
        world.go(until_end(conn.serve_all), name="reader")
    worlds.sleep(0.01)  # both are read by then
    world.each(roots[0].fire_kept, roots[1].fire_kept)
    worlds.sleep(0.1)
    check(len(served), 4)
    check([one for one in served if one[0] is not one[1]], [])


@scenario(patience=4.0, limit=20.0)
def time_ends_in_a_flood(world: World) -> None:
    """A call's time ends while the peer goes on sending, with and without a serving thread."""
    for served in (False, True):
        client, _ = world.pair(config={"sync_request_timeout": 0.5})
        if served:
            world.go(until_end(client.serve_all), name="reader")
        flood = client.root.flood
        start = worlds.monotonic()
        try:
            flood(lambda: worlds.sleep(0.02), 3.0)
        except TimeoutError:
            pass
        check(worlds.monotonic() - start < 1.0, True)


@scenario
def callbacks_that_wait_for_one_another(world: World) -> None:
    """So many callbacks block as there are helpers, and the last one ends that."""
    client, _ = world.pair(config={"max_helpers": 3})
    root = client.root
    world.go(until_end(client.serve_all), name="reader")
    begun: list[int] = []
    all_there = worlds.Event()

    def callback() -> None:
        begun.append(1)
        if len(begun) == 4:
            all_there.set()
        check(all_there.wait(5), True)

    check(root.call_at_once(callback, 4), 4)


# -- references


@scenario
def dropped_proxies(world: World) -> None:
    """Threads get proxies and drop them, while others call."""
    client, _server = world.pair()
    root = client.root

    def work() -> None:
        for _ in range(3):
            check(root.make().get(), 5)

    world.each(work, work, lambda: check(root.add(1, 1), 2))
    worlds.sleep(0.2)  # releases are sent a moment later


@scenario
def lent_functions_given_back(world: World) -> None:
    """The server drops what the client has lent it, while the client calls."""
    client, _ = world.pair()
    root = client.root

    def work() -> None:
        root.keep(lambda: None)
        root.drop()

    world.each(work, work, lambda: check(root.add(1, 1), 2))
    worlds.sleep(0.2)


# -- cancelling


@scenario(patience=3.0)
def call_given_up(world: World) -> None:
    """A call is not answered in time and is given up; others go on."""
    client, _ = world.pair()
    root = client.root

    def impatient() -> None:
        try:
            client.call(root.sleep, 2, timeout=1)
        except TimeoutError:
            return
        raise AssertionError("expected a TimeoutError")

    world.each(impatient, lambda: check(root.add(1, 1), 2))
    check(root.add(1, 1), 2)


@scenario(patience=3.0)
def callback_given_up(world: World) -> None:
    """A call that waits in a callback is given up while another thread calls."""
    client, _server = world.pair()
    root = client.root

    def slow(number: int) -> int:
        worlds.sleep(2)
        return number

    def impatient() -> None:
        try:
            client.call(root.call, slow, 1, timeout=1)
        except TimeoutError:
            pass

    world.each(impatient, lambda: check(root.add(1, 1), 2))


# -- ends


@scenario
def close_during_calls(world: World) -> None:
    """A thread closes the connection while others call and are called back."""
    client, _ = world.pair()
    root = client.root
    world.each(
        until_end(root.add, 1, 1),
        until_end(root.call, lambda: 1),
        client.close,
    )


@scenario
def both_sides_close(world: World) -> None:
    """Both sides close at once, while a call is under way."""
    client, server = world.pair()
    root = client.root
    world.each(until_end(root.add, 1, 1), client.close, server.close)


@scenario
def close_in_a_callback(world: World) -> None:
    """The client closes the connection in a callback."""
    client, _ = world.pair()
    root = client.root
    world.each(until_end(root.call, client.close), until_end(root.add, 1, 1))


@scenario
def lost_peer(world: World) -> None:
    """The stream breaks while three threads call."""
    client, server = world.pair()
    root = client.root
    world.each(
        until_end(root.add, 1, 1),
        until_end(root.call, lambda: 1),
        until_end(root.wait),
        lambda: server._channel.stream.close(),
    )


@scenario
def lost_peer_of_idle_threads(world: World) -> None:
    """The stream breaks while a BgServingThread reads and a future is waited for."""
    client, _server = world.pair()
    ended = worlds.Event()
    result = async_(client.root.wait)()
    background = BgServingThread(client, callback=ended.set)
    world.each(
        until_end(lambda: result.as_future().result()),
        until_end(lambda: result.value),
        lambda: client._channel.stream.close(),
        lambda: check(ended.wait(5), True),
    )
    background.stop()


@scenario(patience=3.0)
def lost_peer_with_heartbeats(world: World) -> None:
    """A peer falls silent; heartbeats find it out while two threads wait."""
    config = {"heartbeat": 0.5}
    client, server = world.pair(config=config, their_config=config)
    world.schedule.limit = 15.0  # the server may serve both calls, for 5 s each
    root = client.root
    root.add(1, 1)

    def silence() -> None:
        server._channel.stream._outgoing = worlds._Direction(1 << 20)  # into the void

    world.each(until_end(root.wait), until_end(root.wait), silence)


@scenario
def fork(world: World) -> None:
    """A process forks while its threads call: in the child nobody waits for those."""
    client, _server = world.pair()
    root = client.root
    for _ in range(2):
        world.go(until_end(lambda: [root.call(lambda: root.make()) for _ in range(3)]))
    world.go(until_end(client.close))
    worlds.sleep(0)
    world.schedule.leave_others_behind()
    forking.in_child()
    before = world.connections[:]
    world.threads.clear()
    world.connections.clear()
    for conn in before:
        until_end(conn.ping)()
    again, _ = world.pair()
    add = async_(again.root.add)
    world.each(lambda: check(again.root.add(1, 1), 2), lambda: check(add(1, 2).value, 3))
    for conn in before:
        conn.close()


# -- asyncio


def aio_connect(world: World, server: Any, workers: Any = None) -> Any:
    """Return a function that opens an asyncio connection to a blocking one, on the running loop."""

    def make(stream: Any, root: Any = None) -> AioConnection:
        config = {"sync_request_timeout": 30, "allow_all_attrs": True}
        return AioConnection(root or Service(), Channel(stream), config, None, workers)

    return make


@scenario
def asyncio_client(world: World) -> None:
    """Tasks on a loop call a blocking server, which calls one of them back."""
    a, b = world.streams()
    server = Server._connect(Channel(b), {"allow_all_attrs": True})
    world.go(server.serve_all, name="server")

    async def work(root: Any, number: int) -> None:
        check(await root.add(number, 1), number + 1)
        check(await root.call(lambda number: number + 1, number), number + 1)

    async def main() -> None:
        conn = aio_connect(world, server)(a)
        await conn.open()
        root = await conn.root
        await asyncio.gather(work(root, 1), work(root, 2), work(root, 3))
        await conn.close()

    worlds.Loop().run(main())


@scenario
def asyncio_server(world: World) -> None:
    """Threads call a connection on a loop, whose plain functions run in workers."""
    a, b = world.streams()
    pool = ConnectionThreads(2)
    ready = worlds.Event()

    async def main() -> None:
        conn = aio_connect(world, None, pool)(b, Server())
        await conn.open()
        ready.set()
        await conn._link.ended.wait()
        await conn.close()

    world.go(lambda: worlds.Loop().run(main()), name="loop")
    ready.wait()
    client = Service._connect(Channel(a), {"sync_request_timeout": 30, "allow_all_attrs": True})
    world.connections.append(client)
    root = client.root

    def work() -> None:
        check(root.add(1, 1), 2)
        check(root.call(lambda number: root.add(number, 1), 1), 2)
        check(root.later(3), 3)

    world.each(work, work)
    client.close()
    for thread in world.threads:
        thread.join()
    pool.close()


@scenario
def asyncio_lost_peer(world: World) -> None:
    """The stream of a connection on a loop breaks while tasks wait for answers."""
    a, b = world.streams()
    server = Server._connect(Channel(b), {"allow_all_attrs": True})
    world.go(until_end(server.serve_all), name="server")

    async def work(root: Any) -> None:
        try:
            await root.wait()
        except EOFError:
            pass

    async def main() -> None:
        conn = aio_connect(world, server)(a)
        await conn.open()
        root = await conn.root
        tasks = [asyncio.ensure_future(work(root)) for _ in range(2)]
        world.go(b.close, name="breaker")
        await asyncio.gather(*tasks)
        await conn.close()

    worlds.Loop().run(main())
    server._local_root.event.set()  # what was asked before the end is served
