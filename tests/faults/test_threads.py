"""Threads, garbage collection, signals, fork: cases 58 to 72 of the list of faults."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.errors import ConnectionClosed
from rpyc_like.utils.server import ThreadedServer
from tests.support.eventually import eventually, eventually_here
from tests.support.joining import join

from .serving import Patient
from .test_waits import QUIET, program, seconds_to_end, served

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
quiet_fork = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    """A running server."""
    server = ThreadedServer(Patient, logger=QUIET, grace=0)
    server._start_in_thread()
    yield server
    server.close()


@pytest.fixture
def conn(server: ThreadedServer) -> Iterator[Any]:
    """A connection to it."""
    with rpyc.connect("127.0.0.1", server.port) as conn:
        yield conn


def in_threads(count: int, work: Any) -> None:
    """Runs ``work(number)`` in threads, waits for them, and raises what one of them raised."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 50
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "a thread is stuck"
    if failures:
        raise failures[0]


def test_case_58_recursion_between_the_sides(conn: Any) -> None:
    """Each calling the other without end is a RecursionError; the connection goes on."""
    call = conn.root.call

    def back() -> Any:
        return call(back)

    def padded(frames: int) -> Any:
        return padded(frames - 1) if frames else call(back)

    for frames in range(0, 40, 3):  # so that the end of the stack is met in different places
        with pytest.raises(RecursionError, match="between the two sides are nested too deeply"):
            padded(frames)
        assert conn.root.add(1, 2) == 3
    deep = conn.root.nest

    def down(depth: int) -> int:
        return deep(depth, down)  # type: ignore[no-any-return]

    assert deep(20, down) == 20


def test_case_60_many_threads(conn: Any) -> None:
    """Each of many threads gets its own answers, though some wait long and others do not."""
    add, call = conn.root.add, conn.root.call

    def work(number: int) -> None:
        for step in range(100):
            assert add(number, step) == number + step
            if step % 25 == number:
                assert call(lambda: number * step) == number * step  # noqa: B023

    in_threads(12, work)
    assert len(conn._session.pending) == 0
    assert not conn._link.waiters


def test_case_60_the_role_is_passed_on() -> None:
    """Who has its answer and goes leaves the reading to one of those who still wait."""
    server = ThreadedServer(Patient, logger=QUIET, grace=0, protocol_config={"concurrent_calls": 8})
    server._start_in_thread()
    with server, rpyc.connect("127.0.0.1", server.port, config={"heartbeat": None}) as conn:
        sleep = conn.root.sleep
        sleep(0)
        started = time.monotonic()
        in_threads(6, lambda number: sleep(0.1 + 0.1 * number))
        assert time.monotonic() - started < 25


def test_case_61_two_connections_cannot_block_each_other(server: ThreadedServer) -> None:
    """Calls that go round over two connections, both ways round at once, all end."""
    with rpyc.connect("127.0.0.1", server.port) as one:
        with rpyc.connect("127.0.0.1", server.port) as other:
            conns = [one, other]
            for each in conns:
                each.root.add

            def work(number: int) -> None:
                here, there = conns[number % 2], conns[1 - number % 2]
                for step in range(10):
                    got = here.root.call(
                        lambda: there.root.call(lambda: here.root.add(number, step))  # noqa: B023
                    )
                    assert got == number + step

            in_threads(8, work)


def test_case_63_garbage_is_collected_in_the_middle_of_everything(conn: Any) -> None:
    """Proxies that die at any moment, in any thread, block nothing and are all given back."""

    class Cycle:
        def __init__(self, held: Any) -> None:
            self.held, self.me = held, self

    call = conn.root.call
    other = served(conn)
    before = len(other._local_objects)
    threshold = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:

        def work(number: int) -> None:
            for _ in range(60):
                Cycle(conn.root.add)
                Cycle(call(lambda: Cycle(number)))
                conn.root.take(bytes(100_000))

        in_threads(4, work)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    eventually(lambda: conn.root.add(1, 2) == 3 and len(other._local_objects) <= before)


AT_EXIT = """
import os, signal, sys
import rpyc_like as rpyc
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]))
kept = [conn.root.add, conn.root]
pending = rpyc.async_(conn.root.sleep)(30)
os.kill(int(sys.argv[2]), signal.SIGSTOP)
print("ending", flush=True)
"""


def test_case_64_at_exit_with_a_hung_peer() -> None:
    """The proxies of a program that ends say nothing and wait for nobody."""
    with program() as (port, process):
        assert seconds_to_end(AT_EXIT, str(port), str(process.pid)) < 25


class Killed(BaseException):
    """What is raised in a thread from outside."""


def test_case_68_a_thread_that_dies_while_it_reads(conn: Any) -> None:
    """When the thread that reads is ended from outside, nobody waits for what it has read.

    The role passes on; if something may have been lost with the thread, the connection ends.
    """
    died = threading.Event()
    sleep, add = conn.root.sleep, rpyc.async_(conn.root.add)

    def reader() -> None:
        try:
            sleep(1)
        except Killed:
            died.set()

    thread = threading.Thread(target=reader)
    thread.start()
    eventually(lambda: conn._link.channel.stream._receiving)
    killed = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Killed)
    )
    assert killed == 1
    others = [add(1, 2) for _ in range(3)]  # the first answer ends the thread

    def wait(number: int) -> None:
        try:
            assert others[number].value == 3
        except ConnectionClosed as error:
            assert "interrupted while it read" in str(error)

    in_threads(3, wait)
    join(thread)
    assert died.is_set()
    assert not conn._link.reading.lock.locked()


def test_case_68_a_callback_that_fails(conn: Any) -> None:
    """What a callback raises ends neither the reading nor another thread's wait."""
    add, sleep = rpyc.async_(conn.root.add), conn.root.sleep

    def fail(result: Any) -> None:
        raise Killed

    for _ in range(2):
        add(1, 2).add_callback(fail)
    outcomes: list[Any] = []

    def work(number: int) -> None:
        try:
            outcomes.append(sleep(0.05))
        except Killed:
            outcomes.append("killed")

    in_threads(3, work)
    assert len(outcomes) == 3
    for _ in range(outcomes.count("killed"), 2):
        with pytest.raises(Killed):
            sleep(0)
    assert conn.root.add(1, 2) == 3


@needs_fork
@quiet_fork
def test_case_69_fork(conn: Any) -> None:
    """A child's copy of a connection is dead, and its garbage deletes nothing of the parent's."""
    held = conn.root.call
    kept = [conn.root.add for _ in range(10)]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            del held, kept
            gc.collect()
            time.sleep(0.2)
            conn.root.add(1, 2)
        except ConnectionClosed:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert kept[0](1, 2) == 3
    assert held(len, "abc") == 3


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_case_70_children_inherit_no_descriptor(conn: Any, tmp_path: Path) -> None:
    """No descriptor of a connection or server reaches a child, even one that closes none."""
    code = "import os; print(sorted(os.readlink(f'/proc/self/fd/{fd}') for fd in range(3, 200) "
    code += "if os.path.islink(f'/proc/self/fd/{fd}')))"
    command = [sys.executable, "-c", code]
    conn.root.add(1, 2)
    with rpyc.classic.connect_subproc() as child:
        assert child.modules.os.getpid()
        with ThreadedServer(Patient, logger=QUIET, socket_path=str(tmp_path / "s")):
            found = subprocess.run(command, capture_output=True, close_fds=False, check=True)
    assert b"socket:" not in found.stdout
    assert b"pipe:" not in found.stdout


def test_case_71_cancelled_tasks_and_several_loops(server: ThreadedServer) -> None:
    """A cancelled task cancels the remote call and nothing else; each loop has its connection."""

    async def session() -> None:
        async with await aio.connect("127.0.0.1", server.port) as conn:
            root = await conn.root
            for _ in range(50):  # until one has begun before it was cancelled
                task = asyncio.create_task(_await(root.watch(60)))
                await asyncio.sleep(0.2)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.sleep(0.2)
                if await root.seen():
                    break
            assert {*await root.seen()} == {"cancelled"}
            assert await root.add(1, 2) == 3
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_await(root.watch(10)), 0.1)
            assert await root.add(1, 2) == 3

    asyncio.run(session(), debug=True)
    asyncio.run(session(), debug=True)


def test_case_72_tables_under_many_threads() -> None:
    """Counts are exact however threads take turns: nothing is freed early, nothing stays."""
    shared: list[list[int]] = [[number] for number in range(3)]

    conns: list[Any] = []

    class Lending(rpyc.Service):
        def on_connect(self, conn: Any) -> None:
            conns.append(conn)

        def exposed_lend(self, number: int) -> Any:
            return shared[number]

        def exposed_same(self, number: int, thing: Any) -> bool:
            return thing is shared[number]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with rpyc.connect_thread(
            remote_service=Lending, remote_config={"concurrent_calls": 4}
        ) as conn:

            def work(thread: int) -> None:
                for step in range(150):
                    number = (thread + step) % 3
                    thing = conn.root.lend(number)
                    assert thing[0] == number
                    assert conn.root.same(number, thing)
                    del thing

            in_threads(6, work)
            (other,) = conns
            eventually(lambda: len(other._local_objects) == 1)  # the root
    finally:
        sys.setswitchinterval(before)


def test_an_asyncio_client_of_a_server_with_heartbeats() -> None:
    """It gives signs of life too, and is not taken for dead."""
    server = ThreadedServer(Patient, logger=QUIET, grace=0, protocol_config={"heartbeat": 1.0})
    server._start_in_thread()

    async def session() -> None:
        async with await aio.connect("127.0.0.1", server.port) as conn:
            root = await conn.root
            assert await root.add(1, 2) == 3
            await asyncio.sleep(3.5)
            assert await root.add(1, 2) == 3

    with server:
        asyncio.run(session())


async def _await(value: Any) -> Any:
    return await value


def test_case_71_served_tasks_are_cancelled(server: ThreadedServer) -> None:
    """A coroutine that an asyncio side runs for its peer is cancelled when the peer gives up."""
    seen: list[str] = []
    begun: list[int] = []

    async def slow() -> None:
        begun.append(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def session() -> None:
        async with await aio.connect("127.0.0.1", server.port) as conn:
            root = await conn.root
            for seconds in (0.1, 1, 5, 20):  # until it has begun by then
                with pytest.raises(TimeoutError):
                    await root.timed_call(slow, seconds)
                if begun:
                    break
            await eventually_here(lambda: seen == ["cancelled"] * len(begun))
            assert await root.add(1, 2) == 3

    def timed_call(self: Patient, func: Any, timeout: float) -> Any:
        return rpyc.timed(func, timeout)().value

    Patient.exposed_timed_call = timed_call  # type: ignore[attr-defined]
    try:
        asyncio.run(session())
    finally:
        del Patient.exposed_timed_call  # type: ignore[attr-defined]
