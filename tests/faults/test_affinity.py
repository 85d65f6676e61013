"""Case 114: a connection's functions run in its context, plain ones in its thread."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import logging
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import LimitExceeded, aio
from rpyc_like.lib import connection_threads
from rpyc_like.lib.contexts import SharedContext
from tests.support.eventually import eventually
from tests.support.joining import join

resource: Any
try:
    import resource
except ImportError:  # Windows, which has no such limits
    resource = None

QUIET = logging.getLogger("tests.affinity")
QUIET.setLevel(logging.CRITICAL)
LIMIT = 30.0
until = eventually

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("VARIABLE", default=None)


class Running:
    """An asyncio server in a thread of its own."""

    def __init__(self, service: Any, **options: Any) -> None:
        self._service, self._options = service, options
        self._listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(), debug=True))

    async def _main(self) -> None:
        self.loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        options = {"port": 0, "grace": 0, "logger": QUIET, **self._options}
        async with aio.Server(self._service, **options) as self.server:
            self._listens.set()
            await self._end.wait()

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._listens.wait(LIMIT)
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        join(self._thread, LIMIT)

    def connect(self, service: Any = rpyc.VoidService, **config: Any) -> Any:
        return rpyc.connect("127.0.0.1", self.server.port, service, config)

    @property
    def threads(self) -> int:
        """How many threads connections have."""
        assert self.server._workers is not None
        return len(self.server._workers.threads)

    def all_idle(self) -> bool:
        """Whether no thread has anything to do."""
        assert self.server._workers is not None
        return all(thread.idle for thread in tuple(self.server._workers.threads))


@contextmanager
def connected(service: Any, **options: Any) -> Iterator[Any]:
    """A client of a server."""
    with Running(service, **options) as running, running.connect() as conn:
        yield conn


class Keeping(rpyc.Service):
    """Keeps things by context and by thread."""

    def __init__(self) -> None:
        self.idents: list[int] = []
        self.local = threading.local()

    def note(self) -> int:
        self.idents.append(threading.get_ident())
        return self.idents[-1]

    def on_connect(self, conn: Any) -> None:
        self.conn = conn
        self.note()
        self.token = VARIABLE.set("connected")
        self.local.calls = 0

    def exposed_ident(self) -> int:
        return self.note()

    def exposed_put(self, value: Any) -> None:
        VARIABLE.set(value)

    def exposed_get(self) -> Any:
        return VARIABLE.get()

    async def exposed_put_async(self, value: Any) -> None:
        VARIABLE.set(value)
        await asyncio.sleep(0)

    async def exposed_get_async(self) -> Any:
        await asyncio.sleep(0)
        return VARIABLE.get()

    def exposed_precision(self, digits: int | None = None) -> str:
        if digits is not None:
            decimal.getcontext().prec = digits
        return str(decimal.Decimal(1) / 7)

    def exposed_count(self) -> int:
        self.local.calls += 1
        return int(self.local.calls)

    def exposed_call(self, func: Any, *args: Any) -> tuple[int, Any]:
        return self.note(), func(*args)

    async def exposed_call_async(self, func: Any, *args: Any) -> Any:
        return await func(*args)

    @property
    def exposed_by_property(self) -> tuple[int, Any]:
        return self.note(), VARIABLE.get()


# -- the context


def test_context_variables_stay() -> None:
    """What a plain method sets is there in the next one, from ``on_connect`` on."""
    with connected(Keeping) as conn:
        assert conn.root.get() == "connected"
        conn.root.put(3)
        assert conn.root.get() == 3
        assert conn.root.by_property[1] == 3


def test_plain_and_async_functions_share_the_context() -> None:
    """What one of them sets is there in the other."""
    with connected(Keeping) as conn:
        assert conn.root.get_async() == "connected"
        conn.root.put_async(1)
        assert (conn.root.get_async(), conn.root.get()) == (1, 1)
        conn.root.put(2)
        assert (conn.root.get_async(), conn.root.get()) == (2, 2)


def test_the_decimal_context_stays() -> None:
    """Its precision is that of the last request."""
    with connected(Keeping) as conn:
        conn.root.precision(3)
        assert conn.root.precision() == "0.143"


def test_connections_share_no_context() -> None:
    """What one client's method sets is not there for another client."""
    with Running(Keeping) as running, running.connect() as first, running.connect() as second:
        first.root.put(1)
        first.root.precision(3)
        assert second.root.get() == "connected"
        assert second.root.precision() != "0.143"


@pytest.mark.parametrize("threads", [None, 0])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_variable_is_reset_at_the_end(threads: int | None, asynchronous: bool) -> None:
    """A token from ``on_connect`` is good in ``on_disconnect``: it is the same context."""
    ended, found = threading.Event(), []

    def connect(self: Any, conn: Any) -> None:
        self.token = VARIABLE.set(1)

    def disconnect(self: Any, conn: Any) -> None:
        found.append(VARIABLE.get())
        VARIABLE.reset(self.token)
        found.append(VARIABLE.get())
        ended.set()

    async def connect_async(self: Any, conn: Any) -> None:
        connect(self, conn)

    async def disconnect_async(self: Any, conn: Any) -> None:
        disconnect(self, conn)

    class Resetting(rpyc.Service):
        on_connect = connect_async if asynchronous else connect  # type: ignore[assignment]
        on_disconnect = disconnect_async if asynchronous else disconnect  # type: ignore[assignment]

        def exposed_put(self) -> None:
            VARIABLE.set(2)

    with connected(Resetting, max_threads=threads) as conn:
        conn.root.put()
    assert ended.wait(LIMIT)
    assert found == [2, None]


def test_tasks_at_once_have_contexts_of_their_own() -> None:
    """One that is under way does not find what another sets; the connection has it then."""
    other: contextvars.ContextVar[Any] = contextvars.ContextVar("other", default=None)

    class Crossing(rpyc.Service):
        def __init__(self) -> None:
            self.both = asyncio.Event()
            self.inside = 0

        async def exposed_cross(self, value: int) -> Any:
            (VARIABLE if value else other).set(value)
            self.inside += 1
            if self.inside == 2:
                self.both.set()
            await self.both.wait()
            return VARIABLE.get(), other.get()

        def exposed_get(self) -> Any:
            return VARIABLE.get(), other.get()

    with connected(Crossing) as conn:
        cross = rpyc.async_(conn.root.cross)
        results = [cross(0), cross(1)]
        assert results[0].value == (None, 0)
        assert results[1].value[0] == 1
        assert conn.root.get() == (1, 0)


def test_a_plain_call_beside_a_task() -> None:
    """It finds what the connection has set before, and what it sets is there afterwards."""

    class Beside(Keeping):
        def __init__(self) -> None:
            super().__init__()
            self.go_on = asyncio.Event()

        async def exposed_wait(self) -> None:
            await self.go_on.wait()

        async def exposed_release(self) -> None:
            self.go_on.set()

    with connected(Beside) as conn:
        waiting = rpyc.async_(conn.root.wait)()
        assert conn.root.get() == "connected"
        conn.root.put(5)
        conn.root.precision(3)
        assert (conn.root.get(), conn.root.precision()) == (5, "0.143")
        conn.root.release()
        assert waiting.value is None
        assert (conn.root.get(), conn.root.get_async()) == (5, 5)


def test_chains_run_in_the_context() -> None:
    """Steps that are plain and steps that are awaited."""
    with connected(Keeping) as conn:
        root = rpyc.lazy(conn.root)
        assert rpyc.fetch(root.put(7), root.get_async(), root.put_async(8), root.get()) == (
            *(None, 7, None, 8),
        )
        assert conn.root.get() == 8


# -- the thread


def test_one_thread_from_beginning_to_end() -> None:
    """``on_connect``, methods, properties and ``on_disconnect`` run in it."""
    services: list[Keeping] = []
    ended = threading.Event()

    class Ending(Keeping):
        def on_connect(self, conn: Any) -> None:
            super().on_connect(conn)
            services.append(self)

        def on_disconnect(self, conn: Any) -> None:
            self.note()
            assert VARIABLE.get() == "connected"
            ended.set()

    with connected(Ending) as conn:
        for _ in range(5):
            conn.root.ident()
        assert conn.root.by_property[1] == "connected"
        conn.root.call(lambda: None)
    assert ended.wait(LIMIT)
    assert len(services[0].idents) == 9
    assert len(set(services[0].idents)) == 1


def test_threading_local() -> None:
    """What it keeps is there in the next request, also while other connections come and go."""
    with Running(Keeping) as running, running.connect() as conn:
        for expected in range(1, 6):
            assert conn.root.count() == expected
            with running.connect() as other:
                assert other.root.count() == 1


class Storing(Keeping):
    """Has a database, which only the thread that made it may use."""

    def on_connect(self, conn: Any) -> None:
        super().on_connect(conn)
        self.database = sqlite3.connect(":memory:")
        self.database.execute("create table numbers (number int)")

    def on_disconnect(self, conn: Any) -> None:
        self.database.close()

    def exposed_insert(self, number: int, func: Any = None) -> int:
        self.database.execute("insert into numbers values (?)", (number,))
        if func is not None:
            func(number)
        return int(self.database.execute("select sum(number) from numbers").fetchone()[0])


def test_a_database_of_the_connection() -> None:
    """SQLite lets one thread use a connection: that of the client's, however many calls gather."""
    with connected(Storing) as conn:
        insert = rpyc.async_(conn.root.insert)
        results = [insert(1) for _ in range(50)]
        assert [result.value for result in results] == list(range(1, 51))


def test_gathered_calls_that_call_back() -> None:
    """They run in the connection's thread, one after the other."""
    with connected(Storing) as conn:
        insert = rpyc.async_(conn.root.insert)
        results = [insert(1, lambda number: number) for _ in range(20)]
        assert [result.value for result in results] == list(range(1, 21))


def test_nested_calls_run_in_the_thread_that_waits() -> None:
    """What the client asks while it is called back, in turn calling back, and so on."""
    with connected(Keeping) as conn:

        def again(depth: int) -> Any:
            conn.root.put(depth)
            return conn.root.call(again, depth - 1) if depth else conn.root.ident()

        got = conn.root.call(again, 5)
        idents = set()
        while isinstance(got, tuple):
            ident, got = got
            idents.add(ident)
        assert {*idents, got} == {conn.root.ident()}
        assert conn.root.get() == 0


def test_nested_calls_of_a_vanilla_peer() -> None:
    """A peer that does not tell what caused a request is served by the thread that waits."""
    with Running(Keeping) as running, running.connect() as conn:
        conn._features &= ~rpyc.core.consts.FEATURE_CAUSE  # before it says HELLO
        ident = conn.root.ident()
        assert conn.root.call(conn.root.ident) == (ident, ident)
        assert conn.root.call(lambda: conn.root.call(conn.root.ident)) == (ident, (ident, ident))


def test_nested_calls_through_a_task() -> None:
    """A plain method, a callback, an ``async def`` method, a callback, a plain method."""
    with connected(Keeping) as conn:
        ident = conn.root.ident()

        def through() -> Any:
            return conn.root.call_async(lambda: conn.root.ident())

        assert conn.root.call(through) == (ident, ident)


def test_nested_calls_while_no_more_are_taken() -> None:
    """What a waiting method needs is not held up by ``concurrent_tasks``."""
    with connected(Keeping, protocol_config={"concurrent_tasks": 3}) as conn:
        call = rpyc.async_(conn.root.call)
        results = [call(lambda: conn.root.ident()) for _ in range(12)]
        assert len({ident for result in results for ident in result.value}) == 1


def test_a_callback_that_needs_another_thread_of_the_client() -> None:
    """A call that nothing tells to be part of another is done although that one waits."""
    with Running(Keeping) as running, running.connect() as conn:
        served = rpyc.BgServingThread(conn)
        called, done = threading.Event(), threading.Event()
        got: list[Any] = []

        def back() -> bool:
            called.set()
            return done.wait(LIMIT)

        caller = threading.Thread(target=lambda: got.append(conn.root.call(back)[1]))
        caller.start()
        assert called.wait(LIMIT)
        conn.root.put("meanwhile")
        assert conn.root.get() == "meanwhile"
        done.set()
        join(caller, LIMIT)
        assert got == [True]
        assert conn.root.get() == "meanwhile"
        served.stop()


def test_a_lock_of_the_server_over_a_callback() -> None:
    """The next call that wants it does not run inside of the one that has it."""

    class Locking(rpyc.Service):
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def exposed_locked(self, func: Any) -> Any:
            with self.lock:
                return func()

    with connected(Locking) as conn:
        locked = rpyc.async_(conn.root.locked)
        results = [locked(lambda: 1) for _ in range(10)]
        assert [result.value for result in results] == [1] * 10


def test_several_at_once_by_configuration() -> None:
    """``concurrent_calls`` has so many threads for a connection, all with what it has set."""

    class Meeting(Keeping):
        def __init__(self) -> None:
            super().__init__()
            self.all = threading.Barrier(3)

        def exposed_meet(self) -> tuple[int, Any]:
            self.all.wait(LIMIT)
            return self.note(), VARIABLE.get()

    with connected(Meeting, protocol_config={"concurrent_calls": 3}) as conn:
        meet = rpyc.async_(conn.root.meet)
        for _ in range(2):
            got = [result.value for result in [meet(), meet(), meet()]]
            assert len({ident for ident, _ in got}) == 3
            assert {value for _, value in got} == {"connected"}


# -- many connections


class Meeting(rpyc.Service):
    """Has calls of several connections wait for one another."""

    all: threading.Barrier
    local = threading.local()

    def exposed_meet(self) -> int:
        self.all.wait(LIMIT)
        return threading.get_ident()

    def exposed_first(self) -> bool:
        """Returns whether nothing is kept in the thread yet."""
        first = not hasattr(self.local, "used")
        self.local.used = True
        return first

    async def exposed_nothing(self) -> None:
        pass


def test_hundreds_of_busy_connections() -> None:
    """By default each has a thread, and all are in a call at once."""
    count = 200
    Meeting.all = threading.Barrier(count)
    with Running(Meeting) as running:
        conns = [running.connect() for _ in range(count)]
        results = [rpyc.async_(conn.root.meet)() for conn in conns]
        assert len({result.value for result in results}) == count
        assert running.threads == count
        for conn in conns:
            conn.close()
        eventually(lambda: running.threads == 0)


def test_more_connections_than_threads(caplog: pytest.LogCaptureFixture) -> None:
    """The one that has been idle for longest gives its thread up; that is logged once."""
    with Running(Meeting, max_threads=2) as running, caplog.at_level("WARNING", "rpyc_like.lib"):
        conns = [running.connect() for _ in range(3)]

        def is_new(number: int) -> bool:
            """Returns whether a connection gets another thread for a call."""
            got = bool(conns[number].root.first())
            eventually(running.all_idle)
            return got

        assert [is_new(number) for number in (0, 1, 0)] == [True, True, False]
        assert is_new(2)  # in place of the second
        assert [is_new(number) for number in (0, 2)] == [False, False]
        assert is_new(1)  # in place of the first
        assert [is_new(number) for number in (2, 0)] == [False, True]
        assert running.threads == 2
        for conn in conns:
            conn.close()
    warned = [record.getMessage() for record in caplog.records if "threads" in record.getMessage()]
    assert len(warned) == 1
    assert "max_threads" in warned[0]


def test_busy_connections_beyond_the_threads() -> None:
    """They all get their answers, in whichever threads there are."""
    with Running(Meeting, max_threads=3) as running:
        conns = [running.connect() for _ in range(12)]
        results = [rpyc.async_(conn.root.first)() for _ in range(10) for conn in conns]
        assert sum(result.value for result in results) >= 12
        assert running.threads <= 3
        for conn in conns:
            conn.close()


def test_strict_affinity() -> None:
    """A connection keeps its thread; plain calls of one without a thread are refused."""
    with Running(Meeting, max_threads=2, affinity="strict") as running:
        first, second, third = (running.connect() for _ in range(3))
        assert first.root.first()
        assert second.root.first()
        with pytest.raises(Exception, match=r"call again.*max_threads"):
            third.root.first()
        third.root.nothing()
        assert not first.root.first()
        assert not second.root.first()
        second.close()
        eventually(lambda: running.threads == 1)
        assert third.root.first()
        first.close()
        third.close()


def test_strict_affinity_and_on_connect() -> None:
    """A client whose plain ``on_connect`` cannot have a thread is answered with the argument."""
    with (
        Running(Keeping, max_threads=1, affinity="strict") as running,
        running.connect() as conn,
    ):
        assert conn.root.count() == 1
        with running.connect() as refused:
            for _ in range(2):
                with pytest.raises(
                    LimitExceeded, match=r"connect again.*'max_threads' of the server"
                ):
                    refused.root.count()
        assert conn.root.count() == 2


def test_strict_affinity_and_the_end() -> None:
    """``on_disconnect`` is called all the same."""
    ended = threading.Event()

    class Ending(Meeting):
        def on_disconnect(self, conn: Any) -> None:
            ended.set()

    with Running(Ending, max_threads=1, affinity="strict") as running, running.connect() as conn:
        assert conn.root.first()
        with running.connect() as other:
            other.root.nothing()
        assert ended.wait(LIMIT)


def test_arguments_of_the_server() -> None:
    """A wrong one is named."""

    async def main() -> None:
        with pytest.raises(ValueError, match=r"'affinity'.*'tight'"):
            aio.Server(Meeting, affinity="tight")
        with pytest.raises(ValueError, match="max_threads"):
            aio.Server(Meeting, max_threads=-1)
        with pytest.raises(TypeError, match="max_threads"):
            aio.Server(Meeting, max_threads=1, threads=1)

    asyncio.run(main())


def test_slow_calls_hold_up_nobody_else() -> None:
    """While a thread is free, a call does not wait for that of another connection."""
    release = threading.Event()

    class Slow(Meeting):
        def exposed_slow(self) -> bool:
            return release.wait(LIMIT)

    with Running(Slow, max_threads=3) as running:
        slow = [running.connect() for _ in range(2)]
        waiting = [rpyc.async_(conn.root.slow)() for conn in slow]
        others = [running.connect() for _ in range(5)]
        for _ in range(3):
            for conn in others:
                conn.root.first()
        assert not any(result.ready for result in waiting)
        release.set()
        assert all(result.value for result in waiting)
        for conn in slow + others:
            conn.close()


def test_threads_that_wait_for_clients_are_no_fewer() -> None:
    """Clients that do not answer take nobody's thread."""
    asked, release = threading.Semaphore(0), threading.Event()

    def silent() -> bool:
        asked.release()
        return release.wait(LIMIT)

    with Running(Keeping, max_threads=1) as running:
        silents = [running.connect() for _ in range(3)]
        served = [rpyc.BgServingThread(conn) for conn in silents]
        waiting = []
        for conn in silents:
            waiting.append(rpyc.async_(conn.root.call)(silent))
            assert asked.acquire(timeout=LIMIT)
        with running.connect() as conn:
            assert conn.root.count() == 1
        release.set()
        assert all(result.value[1] for result in waiting)
        for thread in served:
            thread.stop()
        for conn in silents:
            conn.close()


def descriptors(wanted: int) -> int:
    """Return how many descriptors this process may have, if possible as many as are wanted."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    most = wanted if hard == unlimited else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def test_idle_asynchronous_connections_have_no_thread() -> None:
    """Two thousand of them, or what the system allows, each of which has been used, cost none."""
    count = min(2000, descriptors(5000) // 2 - 100)
    with Running(Meeting) as running:

        async def main() -> None:
            conns = []
            for _ in range(count):
                conns.append(await aio.connect("127.0.0.1", running.server.port))
                await conns[-1].root.nothing()
            assert len(running.server.connections) == count
            assert running.threads == 0
            await asyncio.gather(*[conn.close() for conn in conns])

        asyncio.run(main())
        assert running.threads == 0


def test_threads_end_with_their_connections() -> None:
    """And so do the references to what ran in them."""
    kept: list[Any] = []

    class Referred(Keeping):
        def on_connect(self, conn: Any) -> None:
            super().on_connect(conn)
            kept.append(weakref.ref(self))

    with Running(Referred) as running:
        for _ in range(10):
            with running.connect() as conn:
                conn.root.count()
        eventually(lambda: running.threads == 0)
        assert len(kept) == 10
        eventually(lambda: gc.collect() >= 0 and not any(one() for one in kept))


# -- finalizers


class Asking:
    """Asks the client when it is dropped."""

    def __init__(self, service: Finalizing, func: Any) -> None:
        self._service, self._func = service, func

    def exposed_itself(self) -> Any:
        return self

    def __del__(self) -> None:
        asked = None if self._func is None else self._func()
        self._service.ended.append((threading.get_ident(), VARIABLE.get(), asked))


class Finalizing(Keeping):
    """Gives objects whose finalizers ask."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Any] = []

    def exposed_asking(self, func: Any) -> Any:
        return Asking(self, func)

    def exposed_holding(self, func: Any) -> Any:
        """Returns an object that has one."""

        class Holder:
            asking = None

        holder = Holder()
        holder.asking = Asking(self, func)  # type: ignore[assignment]
        return holder

    def exposed_observed(self, func: Any) -> Any:
        """Returns an object whose end is told to the client."""
        found = Keeping()
        note = lambda: self.ended.append((threading.get_ident(), VARIABLE.get(), func()))  # noqa: E731
        weakref.finalize(found, note)
        return found

    def exposed_ended(self) -> Any:
        return tuple(self.ended)


@pytest.mark.parametrize("kind", ["asking", "holding", "observed"])
def test_finalizers_run_in_the_thread(kind: str) -> None:
    """Before the next request, in the connection's context, and they ask the client."""
    with connected(Finalizing) as conn:
        ident = conn.root.ident()
        dropped = getattr(conn.root, kind)(lambda: "asked")
        del dropped
        assert conn.root.ended() == ((ident, "connected", "asked"),)


def test_finalizers_that_call_back() -> None:
    """What the client asks because of one runs in the same thread, while that waits."""
    with connected(Finalizing) as conn:
        ident = conn.root.ident()
        dropped = conn.root.asking(lambda: conn.root.ident())
        del dropped
        assert conn.root.ended() == ((ident, "connected", ident),)


def test_finalizers_during_a_call() -> None:
    """That of what is dropped while the thread waits begins before what is asked then."""
    with connected(Finalizing) as conn:
        ident = conn.root.ident()
        kept = [conn.root.asking(None)]

        def back() -> Any:
            kept.clear()
            return conn.root.ended()

        got = conn.root.call(back)
        assert got == (ident, ((ident, "connected", None),))


def test_finalizers_at_the_end() -> None:
    """What the client has never given back ends in the thread, after ``on_disconnect``."""
    order: list[tuple[str, int]] = []
    ended = threading.Event()

    class Last:
        def __del__(self) -> None:
            order.append(("dropped", threading.get_ident()))
            ended.set()

    class Ending(Keeping):
        def exposed_last(self) -> Any:
            return Last()

        def on_disconnect(self, conn: Any) -> None:
            order.append(("told", threading.get_ident()))

    with connected(Ending) as conn:
        ident = conn.root.ident()
        last = conn.root.last()
    assert ended.wait(LIMIT)
    assert order == [("told", ident), ("dropped", ident)]
    del last


def test_what_has_no_finalizer_takes_no_thread() -> None:
    """Objects, bound methods and generators of an asynchronous service are dropped on the loop."""

    class Thing:
        def __init__(self) -> None:
            self.parts = [{}, {"name": object()}]

        async def exposed_nothing(self) -> None:
            pass

    class Giving(rpyc.Service):
        async def exposed_thing(self) -> Any:
            return Thing()

        async def exposed_items(self) -> Any:
            yield 1
            yield 2

    with Running(Giving) as running, running.connect() as conn:
        for _ in range(3):
            thing = conn.root.thing()
            method = thing.nothing
            method()
            assert list(conn.root.items()) == [1, 2]
            del thing, method
            conn.ping()
        assert running.threads == 0


# -- connections whose calls run at once


def test_the_next_function_needs_no_other_thread() -> None:
    """A thread that has just done something is given what comes next, before it sleeps."""
    threads = connection_threads.ConnectionThreads(2)
    executor = threads.executor(SharedContext(), lambda *_: None, 2)
    counts: list[int] = []
    ran = threading.Event()

    def go_on() -> None:
        executor.submit(ran.set)
        counts.append(len(threads.threads))

    executor.submit(lambda: go_on)  # which is called when the thread is free again
    assert ran.wait(LIMIT)
    threads.close()
    assert counts == [1]


# -- a system without threads


@pytest.fixture
def threadless(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any, Any]]:
    """An executor, what it has called later, and what ends that no thread can be started."""
    spawn, later = connection_threads.spawn, []

    def refuse(func: Any, *args: Any) -> Any:
        raise RuntimeError("can't start new thread")

    def allow() -> None:
        monkeypatch.setattr(connection_threads, "spawn", spawn)

    monkeypatch.setattr(connection_threads, "spawn", refuse)
    threads = connection_threads.ConnectionThreads(2)
    yield threads.executor(SharedContext(), lambda _, *call: later.append(call)), later, allow
    threads.close()


def test_a_function_waits_for_a_thread_that_can_be_started(threadless: Any) -> None:
    """One that cannot be refused, as a finalizer, is run when the system has threads again."""
    executor, later, allow = threadless
    ran = threading.Event()
    executor.submit(ran.set, first=True)
    func, *args = later.pop()
    func(*args)  # there is still none
    allow()
    func, *args = later.pop()
    func(*args)
    assert ran.wait(LIMIT)


def test_an_end_waits_for_a_thread_that_can_be_started(threadless: Any) -> None:
    """What ends a connection is run later if the system has no more threads."""
    executor, later, allow = threadless
    ended = threading.Event()
    executor.close(ended.set)
    func, *args = later.pop()
    func(*args)  # there is still none
    allow()
    func, *args = later.pop()
    func(*args)
    assert ended.wait(LIMIT)
    assert not later
