"""Case 128: what case 114 says of RPyC connections holds for EPC and Erlang ones on asyncio too."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import pytest

from rpyc_like.aio import epc, erlang
from rpyc_like.core.stream import SocketStream
from rpyc_like.epc.client import EPCClient
from rpyc_like.erlport import Atom, Port
from tests.support.eventually import eventually

from .test_affinity import LIMIT, Running

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("VARIABLE", default=0)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


@pytest.fixture(autouse=True)
def databases_are_dropped() -> Iterator[None]:
    """Databases end with their connections, not in a later test, where that is a warning."""
    yield
    gc.collect()


class Kept:
    """What a program keeps by context and by thread; methods for both adapters."""

    def __init__(self) -> None:
        self.database: Any = None
        self.token: Any = None

    def thread(self) -> int:
        return threading.get_ident()

    def put(self, value: Any) -> bool:
        VARIABLE.set(value)
        return True

    def get(self) -> Any:
        return VARIABLE.get()

    async def put_async(self, value: Any) -> bool:
        await asyncio.sleep(0)
        VARIABLE.set(value)
        return True

    async def get_async(self) -> Any:
        await asyncio.sleep(0)
        return VARIABLE.get()

    def precise(self, digits: int) -> bool:
        decimal.getcontext().prec = digits
        return True

    def seventh(self) -> str:
        return str(decimal.Decimal(1) / 7)

    def open(self) -> bool:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("create table numbers (number)")
        return True

    def insert(self, number: int) -> int:
        self.database.execute("insert into numbers values (?)", (number,))
        return int(self.database.execute("select sum(number) from numbers").fetchone()[0])

    def set_for_now(self) -> bool:
        self.token = VARIABLE.set("for now")
        return True

    def reset(self) -> Any:
        VARIABLE.reset(self.token)
        return VARIABLE.get()


class _Handlers(erlang.Protocol):
    """The methods, as handlers. It is made without code of the program, and needs no thread."""

    @cached_property
    def kept(self) -> Kept:
        return Kept()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("handle_"):
            raise AttributeError(name)
        return getattr(self.kept, name[len("handle_") :])


class Epc:
    """An EPC server and its clients."""

    @staticmethod
    def service(**options: Any) -> Any:
        service: Any = epc.EPCService(**options)
        service.register_instance(Kept())
        return service

    @staticmethod
    @contextmanager
    def client(running: Running) -> Iterator[Callable[..., Any]]:
        client = EPCClient(("127.0.0.1", running.server.port))
        try:
            yield lambda name, *args: client.call_sync(name, list(args), LIMIT)
        finally:
            client.close()


class Erlang:
    """An asyncio port behind a server, and what Erlang would be."""

    @staticmethod
    def service() -> Any:
        return erlang.PortService(_Handlers)

    @staticmethod
    @contextmanager
    def client(running: Running) -> Iterator[Callable[..., Any]]:
        stream = SocketStream.connect("127.0.0.1", running.server.port)
        port = Port(4, stream=stream)

        def call(name: str, *args: Any) -> Any:
            port.write((Atom(name), *args))
            answer = port.read()
            if type(answer) is tuple and answer and answer[0] == "error":
                raise RuntimeError(bytes(answer[1][1][1]).decode())
            return answer

        try:
            yield call
        finally:
            port.close()


@pytest.fixture(params=[Epc, Erlang])
def adapter(request: pytest.FixtureRequest) -> Any:
    """One of the adapters."""
    return request.param


@contextmanager
def called(adapter: Any, **options: Any) -> Iterator[Callable[..., Any]]:
    """A client of a server."""
    with Running(adapter.service(), **options) as running, adapter.client(running) as call:
        yield call


def test_plain_functions_run_in_one_thread(adapter: Any) -> None:
    """All calls of a connection run in the same thread, which another connection has not."""
    with Running(adapter.service()) as running:
        with adapter.client(running) as call, adapter.client(running) as other:
            assert len({call("thread") for _ in range(50)}) == 1
            assert call("thread") != other("thread")
            assert running.threads == 2
        eventually(lambda: running.threads == 0)


@pytest.mark.parametrize("threads", [None, 0])
def test_the_context_stays(adapter: Any, threads: int | None) -> None:
    """What a plain or an ``async def`` function sets is there in the next one of either kind."""
    with Running(adapter.service(), max_threads=threads) as running:
        with adapter.client(running) as call, adapter.client(running) as other:
            call("put", 1)
            assert (call("get"), call("get_async")) == (1, 1)
            call("put_async", 2)
            assert (call("get"), call("get_async")) == (2, 2)
            call("precise", 5)
            assert len(call("seventh")) == len("0.14286")
            assert len(other("seventh")) > 20
            assert other("get") == 0


def test_a_variable_is_reset_in_a_later_call(adapter: Any) -> None:
    """Calls of a connection have one context, not copies of it."""
    with called(adapter) as call:
        call("put", 1)
        call("set_for_now")
        assert call("reset") == 1


def test_a_database_of_the_connection(adapter: Any) -> None:
    """SQLite lets one thread use a connection."""
    with called(adapter) as call:
        call("open")
        assert [call("insert", number) for number in range(1, 5)] == [1, 3, 6, 10]


def test_asynchronous_connections_have_no_thread(adapter: Any) -> None:
    """Calls of ``async def`` functions start no thread."""
    with Running(adapter.service()) as running, adapter.client(running) as call:
        call("put_async", 3)
        assert call("get_async") == 3
        assert running.threads == 0


def test_strict_affinity(adapter: Any) -> None:
    """Beyond ``max_threads`` plain calls are refused, and the error names the argument."""
    with Running(adapter.service(), max_threads=1, affinity="strict") as running:
        with adapter.client(running) as call, adapter.client(running) as other:
            thread = call("thread")
            with pytest.raises(Exception, match="max_threads"):
                other("thread")
            other("put_async", 4)
            assert call("thread") == thread
        eventually(lambda: running.threads == 0)
        with adapter.client(running) as call:
            assert call("thread")


def test_the_longest_idle_connection_gives_its_thread_up(adapter: Any) -> None:
    """With preferred affinity a connection beyond ``max_threads`` gets another one's thread."""
    with Running(adapter.service(), max_threads=1) as running:
        with adapter.client(running) as call, adapter.client(running) as other:
            call("put", 5)
            eventually(running.all_idle)
            assert other("thread")
            assert running.threads == 1
            eventually(running.all_idle)
            assert call("get") == 5


def test_concurrent_methods_leave_the_thread_with_the_connection() -> None:
    """EPC methods run at the same time; one that comes alone runs where earlier ones did."""
    together = threading.Barrier(3)
    service = Epc.service()
    service.register_function(lambda: bool(together.wait(LIMIT)) or True, "meet")
    with Running(service) as running, Epc.client(running) as call:
        thread = call("thread")
        client = EPCClient(("127.0.0.1", running.server.port))
        try:
            results = [client.async_call("meet") for _ in range(3)]
            assert [result.value for result in results] == [True] * 3
        finally:
            client.close()
        assert call("thread") == thread


def test_hooks_of_an_epc_server_run_in_the_thread() -> None:
    """Plain hooks for the beginning and the end are the first and the last in the thread."""
    ended = threading.Event()
    found: list[Any] = []

    class Service(epc.EPCService):
        def handle_client_connect(self, handler: Any) -> None:
            found.append(threading.get_ident())
            VARIABLE.set("connected")

        def handle_client_disconnect(self, handler: Any) -> None:
            found.append(threading.get_ident())
            found.append(VARIABLE.get())
            ended.set()

    service = Service()
    service.register_instance(Kept())
    with Running(service) as running:
        with Epc.client(running) as call:
            assert call("get") == "connected"
            thread = call("thread")
        assert ended.wait(LIMIT)
        assert found == [thread, thread, "connected"]
        assert service.clients == []


def test_failures_of_an_epc_method_are_told_in_the_thread() -> None:
    """A debugger is called in the thread in which the method has failed, before the answer."""
    found: list[int] = []

    class Debugger:
        def post_mortem(self, traceback: Any) -> None:
            found.append(threading.get_ident())

    service = Epc.service(debugger=Debugger())
    service.register_function(lambda: 1 // 0, "fail")
    with Running(service) as running, Epc.client(running) as call:
        with pytest.raises(Exception, match="ZeroDivisionError"):
            call("fail")
        assert found == [call("thread")]


class _Protocol(erlang.Protocol):
    """Makes something in the beginning, yields it, and does something at the end."""

    def __init__(self, ended: list[int], event: threading.Event) -> None:
        self.ended, self.event = ended, event
        self.database = sqlite3.connect(":memory:")
        VARIABLE.set("made")

    def handle_numbers(self, count: int) -> Any:
        for number in range(count):
            yield self.database.execute("select ?", (number,)).fetchone()[0]

    def handle_found(self) -> Any:
        return VARIABLE.get() == "made"

    def handle_thread(self) -> Any:
        return threading.get_ident()

    def __del__(self) -> None:
        self.ended.append(threading.get_ident())
        self.event.set()


def test_a_protocol_lives_in_the_thread() -> None:
    """It is made there, its generators run there, and it is dropped there."""
    ended: list[int] = []
    event = threading.Event()
    service = erlang.PortService(lambda: _Protocol(ended, event))
    with Running(service) as running:
        with Erlang.client(running) as call:
            assert call("found") is True
            assert call("numbers", 1) == 0
            thread = call("thread")
        assert event.wait(LIMIT)
        assert ended == [thread]


def test_an_overridden_handle_term_has_the_context() -> None:
    """What one that is the program's sets is there in the next one."""

    class Counting(erlang.Protocol):
        async def handle_term(self, port: Any, message: Any) -> None:
            VARIABLE.set(VARIABLE.get() + 1)
            await super().handle_term(port, message)

        def handle_count(self) -> Any:
            return VARIABLE.get()

    with Running(erlang.PortService(Counting)) as running, Erlang.client(running) as call:
        assert [call("count") for _ in range(3)] == [1, 2, 3]
