"""Makes calls while garbage that asks the peer is collected all the time, on both sides.

``python -m tests.soak.garbage [--calls 100000] [--transport tcp] [--seed 1]``

Cycles with ``__del__`` methods, callbacks of weak references and ``weakref.finalize``, and objects
that a peer gives back ask the other side when they end. ``gc.set_threshold(1, 1, 1)`` has them end
anywhere. The sides are processes: in one, a finalizer may run in the thread that would answer.

The exit status says whether a time-out, a wrong answer or another error came of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import faulthandler
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.errors import LocalProtocolError
from rpyc_like.lib import native

ROOT = Path(__file__).resolve().parents[2]
TRANSPORTS = ("tcp", "tls", "pool", "aio", "asyncio")
TIMEOUT = 20.0
LOGGER = logging.getLogger("tests.garbage")
LOGGER.setLevel(logging.CRITICAL)
OPTIONS = {"sync_request_timeout": TIMEOUT, "allow_public_attrs": True}
SEVERAL = {**OPTIONS, "concurrent_calls": 4}
"""Where a thread that a finalizer keeps waiting is not the only one that serves."""


class Node:
    """Part of a cycle, which the collector finds."""

    def __init__(self) -> None:
        self.me = self


class Ending(Node):
    """Part of a cycle whose end calls a function."""

    def __init__(self, func: Callable[[], Any]) -> None:
        super().__init__()
        self.func = func

    def __del__(self) -> None:
        self.func()


def collect_always() -> None:
    """Have garbage collected as often as possible, and what is there now not looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1, 1, 1)


class Garbage:
    """Leaves garbage whose end asks the peer, and counts what comes of it.

    Args:
        seed: decides which kind comes when.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._refs: dict[int, Any] = {}
        self.outcomes: Counter[str] = Counter()

    def leave(self, ask: Callable[[], Any]) -> None:
        """Leave one piece; ``ask`` returns 3."""

        def end(*_: object) -> None:
            self._note(ask)

        kind = self._random.randrange(3)
        if kind == 0:
            Ending(end)
        elif kind == 1:
            weakref.finalize(Node(), end).atexit = False
        else:
            node = Node()
            key = id(node)
            self._refs[key] = weakref.ref(node, lambda ref: (self._refs.pop(key, None), end()))

    def _note(self, ask: Callable[[], Any]) -> None:
        try:
            value = ask()
        except LocalProtocolError:
            outcome = "refused"
        except TimeoutError:
            outcome = "timed out"
        except rpyc.errors.ConnectionClosed:
            outcome = "closed"
        except Exception as error:
            outcome = f"failed: {error!r}"[:200]
        else:
            if isinstance(value, aio.Deferred):  # on a loop nobody can wait
                outcome = "deferred"
            else:
                outcome = "answered" if value in (3, None) else f"wrong: {value!r}"
        self.outcomes[outcome] += 1


class Service(rpyc.Service):
    """Leaves garbage that asks the client, and adds."""

    def __init__(self) -> None:
        self._garbage = Garbage(0)
        self._calls = 0
        self._ask: Any = None

    def exposed_ask_with(self, ask: Any) -> None:
        """Keep what garbage is to ask with."""
        self._ask = ask

    def exposed_add(self, a: int, b: int) -> int:
        self._calls += 1
        if self._ask is not None and self._calls % 3 == 0:
            self._garbage.leave(self._ask)
        return a + b

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_make(self) -> Any:
        """Return an object that asks when the client gives it back."""
        made = Ending(lambda: self._garbage._note(self._ask))
        del made.me
        return made

    def exposed_outcomes(self) -> str:
        """Return what has come of the garbage, and how many objects this side exports."""
        self._ask = None
        return repr(dict(self._garbage.outcomes))


def serve(transport: str, folder: str) -> None:
    """Serve clients of one kind of transport, and print the port."""
    options: dict[str, Any] = {"port": 0, "logger": LOGGER, "protocol_config": OPTIONS}
    if transport in ("aio", "asyncio"):
        options["protocol_config"] = SEVERAL
    if transport in ("aio", "asyncio"):

        async def main() -> None:
            async with aio.Server(Service, **options) as server:
                collect_always()
                print(server.port, flush=True)
                await server.serve_forever()

        asyncio.run(main())
        return
    if transport == "tls":
        from rpyc_like.utils.authenticators import SSLAuthenticator

        options["authenticator"] = SSLAuthenticator(f"{folder}/key.pem", f"{folder}/cert.pem")
    kind = rpyc.ThreadPoolServer if transport == "pool" else rpyc.ThreadedServer
    server = kind(Service, **options)
    collect_always()
    print(server.port, flush=True)
    server.start()


def make_certificate(folder: str) -> None:
    """Put a certificate for this machine and whom to trust into a folder."""
    import trustme

    authority = trustme.CA()
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)
    made = authority.issue_cert("127.0.0.1", not_after=end)
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    made.private_key_pem.write_to_path(f"{folder}/key.pem")
    made.cert_chain_pems[0].write_to_path(f"{folder}/cert.pem")


@contextlib.contextmanager
def server(transport: str, folder: str) -> Iterator[int]:
    """Run a server in a process of its own; give its port."""
    command = [sys.executable, "-m", __spec__.name, "--serve", folder, "--transport", transport]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def connected(transport: str) -> Iterator[Any]:
    """Give a blocking connection to a server."""
    with tempfile.TemporaryDirectory() as folder:
        if transport == "tls":
            make_certificate(folder)
        with server(transport, folder) as port:
            if transport == "tls":
                conn = rpyc.ssl_connect(
                    "127.0.0.1", port, ca_certs=f"{folder}/ca.pem", config=OPTIONS
                )
            else:
                conn = rpyc.connect("127.0.0.1", port, config=OPTIONS)
            with conn:
                yield conn


class Report:
    """What a run has come to."""

    def __init__(self) -> None:
        self.calls = 0
        self.wrong: Counter[str] = Counter()
        self.here: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.references = (0, 0)
        """Objects that the peer holds at the end, and proxies of the peer's."""

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        bad = {*self.here, *self.there} - {"answered", "refused", "deferred"}
        return bool(self.wrong or bad)

    def show(self) -> str:
        """Return the report as text."""
        asked = sum(self.here.values()), sum(self.there.values())
        return (
            f"{self.calls} calls, wrong: {dict(self.wrong)}; finalizers here: {asked[0]} "
            f"{dict(self.here)}, there: {asked[1]} {dict(self.there)}; left: {self.references[0]} "
            f"exported objects, {self.references[1]} proxies"
        )


def noting(report: Report, call: Callable[[], Any], expected: Any) -> None:
    """Make a call and note a wrong answer."""
    report.calls += 1
    try:
        value = call()
    except Exception as error:
        report.wrong[repr(error)[:300]] += 1
    else:
        if value != expected:
            report.wrong[f"{value!r} instead of {expected!r}"] += 1


def settle(conn: Any, report: Report) -> None:
    """Wait until what was released has been given back."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        gc.collect()
        report.references = len(conn._local_objects), len(conn._proxies)
        if max(report.references) <= 2:
            return
        conn.root.add(1, 2)
        time.sleep(0.05)


def run_blocking(conn: Any, calls: int, seed: int) -> Report:
    """Make calls over a blocking connection."""
    report, garbage = Report(), Garbage(seed)
    add, call, make = conn.root.add, conn.root.call, conn.root.make
    back = lambda: 3  # noqa: E731
    conn.root.ask_with(back)
    before = gc.get_threshold()
    collect_always()
    try:
        for number in range(calls):
            garbage.leave(partial(add, 1, 2))
            if number % 10 == 0:
                noting(report, partial(call, lambda value: value, number), number)
            elif number % 10 == 5:
                make()
                report.calls += 1
            else:
                noting(report, partial(add, number, 1), number + 1)
        gc.collect()
    finally:
        gc.set_threshold(*before)
    report.there = Counter(eval(conn.root.outcomes()))
    report.here = garbage.outcomes
    add = call = make = back = None
    settle(conn, report)
    return report


async def run_asyncio(port: int, calls: int, seed: int) -> Report:
    """Make calls over an asyncio connection."""
    report, garbage = Report(), Garbage(seed)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[Any]] = set()
    async with aio.connect("127.0.0.1", port, config=OPTIONS) as conn:
        add, call = await conn.root.add, await conn.root.call

        async def ask_soon() -> None:
            if await add(1, 2) != 3:
                report.wrong["asked by a finalizer"] += 1

        def ask() -> Any:
            if threading.get_ident() != main:
                return add(1, 2)
            task = loop.create_task(ask_soon())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return 3

        def plain(value: int) -> int:  # runs in a thread, and its garbage may ask and wait
            garbage.leave(ask)
            return value

        async def noting_soon(answer: Awaitable[Any], expected: Any) -> None:
            report.calls += 1
            try:
                value = await answer
            except Exception as error:
                report.wrong[repr(error)[:300]] += 1
            else:
                if value != expected:
                    report.wrong[f"{value!r} instead of {expected!r}"] += 1

        main = threading.get_ident()
        await conn.root.ask_with(lambda: 3)
        before = gc.get_threshold()
        collect_always()
        try:
            for number in range(calls):
                garbage.leave(ask)
                if number % 10 == 0:
                    await noting_soon(call(plain, number), number)
                else:
                    await noting_soon(add(number, 1), number + 1)
            gc.collect()
            while tasks:
                await asyncio.wait(tasks, timeout=TIMEOUT)
        finally:
            gc.set_threshold(*before)
        report.there = Counter(eval(await conn.root.outcomes()))
        report.here = garbage.outcomes
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            gc.collect()
            report.references = len(conn._local_objects), len(conn._proxies)
            if max(report.references) <= 8:
                break
            await asyncio.sleep(0.05)
    return report


def run(transport: str, calls: int, seed: int) -> Report:
    """Make calls over one kind of transport."""
    if transport == "asyncio":
        with server(transport, "") as port:
            return asyncio.run(run_asyncio(port, calls, seed))
    with connected(transport) as conn:
        return run_blocking(conn, calls, seed)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transport", choices=TRANSPORTS, action="append")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    if options.serve is not None:
        serve(options.transport[0], options.serve)
        return
    build = "pure" if native.waiting is None else "compiled"
    failed = False
    for transport in options.transport or TRANSPORTS:
        started = time.monotonic()
        report = run(transport, options.calls, options.seed)
        failed = failed or report.failed
        seconds = time.monotonic() - started
        print(
            f"{build} {transport} seed {options.seed}: {report.show()}; {seconds:.0f} s", flush=True
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
