"""Memory, start-up and crowds: one side of a contestant in a process of its own.

``resources.py TASK NAME``: does one task with ours or rpyc, both ends in two processes of the same
implementation, and prints a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
BIG = 64 << 20
MANY = {"ours": 100_000, "nodelay": 20_000}
"""Netrefs that are made; each takes rpyc a request of its own."""


def connected(name: str) -> Any:
    """Returns a connection to a server in another process, and that process."""
    command = [sys.executable, os.path.join(HERE, "worker.py"), "serve", name]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    return connect(name, port), server, port


def connect(name: str, port: int) -> Any:
    if name == "ours":
        import rpyc_like as rpyc

        return rpyc.classic.connect("127.0.0.1", port)
    import rpyc  # type: ignore[no-redef]

    stream = rpyc.SocketStream.connect("127.0.0.1", port, nodelay=True)
    return rpyc.classic.connect_stream(stream)


def own_memory(key: str) -> int:
    """Returns kilobytes of this process: VmRSS now, VmHWM at most."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))


def latency(func: Any, count: int = 2000) -> float:
    """Returns microseconds of one call: the median of some runs."""
    times = []
    for _ in range(9):
        begun = time.perf_counter()
        for _ in range(count):
            func(1)
        times.append((time.perf_counter() - begun) / count * 1e6)
    return sorted(times)[len(times) // 2]


def exports(name: str) -> Any:
    """A call with an empty table, and with a million objects in it, by turns."""
    sides = [connected(name) for _ in range(2)]
    funcs = [conn.root.f for conn, _, _ in sides]
    for func in funcs:
        func.__name__
    sides[1][0].root.lend(1_000_000)
    rounds = [[latency(func, 500) for func in funcs] for _ in range(9)]
    for _, server, _ in sides:
        server.kill()
    empty, full = (min(column) for column in zip(*rounds))
    return {"empty": empty, "full": full}


def netrefs(name: str) -> Any:
    """Bytes for each netref that is held, on both sides."""
    conn, server, _ = connected(name)
    root = conn.root
    count = MANY[name]
    held: Any = [root.items(10)]
    before = own_memory("VmRSS"), root.memory("VmRSS")
    for _ in range(count // 1000):
        held.append(root.items(1000))
        if not isinstance(held[-1], tuple):
            held[-1] = list(held[-1])
    if name == "ours":
        held = [list(some) for some in held]
    after = own_memory("VmRSS"), root.memory("VmRSS")
    client, served = ((one - other) * 1024 / count for one, other in zip(after, before))
    server.kill()
    return {"client": client, "server": served}


def idle(name: str) -> Any:
    """Bytes for each idle connection, and a call alone and among a thousand of them."""
    import resource

    soft = min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
    conn, server, port = connected(name)
    f = conn.root.f
    f.__name__
    alone = latency(f)
    before = own_memory("VmRSS"), conn.root.memory("VmRSS")
    crowd = []
    for _ in range(1000):
        other = connect(name, port)
        other.root.f(1)
        crowd.append(other)
    after = own_memory("VmRSS"), conn.root.memory("VmRSS")
    among = latency(f)
    server.kill()
    client, served = ((one - other) * 1024 / len(crowd) for one, other in zip(after, before))
    return {"client": client, "server": served, "alone": alone, "among": among}


def peak(name: str) -> Any:
    """The most memory that an echo of 64 MiB takes beside what was there, as multiples of it."""
    conn, server, _ = connected(name)
    root = conn.root
    root.f(b"x")
    data = os.urandom(BIG)
    before = own_memory("VmRSS") - BIG // 1024, root.memory("VmRSS")
    echoed = root.f(data)
    assert echoed == data
    after = own_memory("VmHWM"), root.memory("VmHWM")
    server.kill()
    client, served = ((one - other) * 1024 / BIG for one, other in zip(after, before))
    return {"client": client, "server": served}


def starting(name: str) -> Any:
    """Milliseconds of ``import rpyc_like``, beside those of rpyc: the best of some."""
    package = "rpyc_like" if name == "ours" else "rpyc"
    times = []
    for _ in range(9):
        clock = "time.perf_counter()"
        code = f"import time; t = {clock}; import {package}; print({clock} - t)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        times.append(float(done.stdout) * 1e3)
    return {"ms": min(times)}


def crowd(name: str) -> Any:
    """Bytes for each idle connection of an asyncio server, and a call alone and among 5,000."""
    from aio_worker import more_descriptors  # type: ignore[import-not-found,unused-ignore]

    more_descriptors()
    command = [sys.executable, os.path.join(HERE, "aio_worker.py"), "serve", "tasks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            return asyncio.run(_crowd(int(server.stdout.readline())))
        finally:
            server.kill()


async def _crowd(port: int) -> Any:
    from rpyc_like import aio

    async def call(conn: Any) -> None:
        await conn.root.f(1)

    async def connect() -> Any:
        return await aio.connect("127.0.0.1", port)

    async def latency() -> float:
        times = []
        for _ in range(30):
            begun = time.perf_counter()
            for _ in range(100):
                await f(1)
            times.append((time.perf_counter() - begun) * 1e4)
        return sorted(times)[15]

    async with aio.connect("127.0.0.1", port) as conn:
        f, usage = await conn.root.f, await conn.root.usage
        await latency()
        alone = min([await latency() for _ in range(3)])
        before = await usage()
        others: list[Any] = []
        while len(others) < 5000:
            some = await asyncio.gather(*[connect() for _ in range(50)])
            await asyncio.gather(*map(call, some))
            others += some
        after = await usage()
        among = min([await latency() for _ in range(3)])
        for one in others:
            await one.close()
    memory = (after[0] - before[0]) * 1024 / len(others)
    return {"server": memory, "threads": after[1] - before[1], "alone": alone, "among": among}


TASKS = {one.__name__: one for one in (exports, netrefs, idle, crowd, peak, starting)}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](sys.argv[2])))
