"""``python -m tests.bench aio``: awaited calls beside bare asyncio streams and blocking calls.

Client and server are processes of their own. In each round every row is measured once, in turn; the
medians of the rounds and their ratios are what counts. The last rows open many idle connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.peers import ROOT

REQUEST, ANSWER = 76, 12  # bytes of a bound call's frames, as in the other rows
GATHERED = 1000
IDLE = 5000
_SECONDS = 0.3


# -- servers


async def serve_streams() -> None:
    """Answers frames with frames, over asyncio's own streams."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readexactly(REQUEST)
                writer.write(b"a" * ANSWER)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def bench_service() -> Any:
    import rpyc_like as rpyc

    class Bench(rpyc.Service):
        async def exposed_f(self, value: int) -> int:
            return value

        def exposed_plain(self, value: int) -> int:
            return value

        def exposed_usage(self) -> Any:
            import threading

            with open("/proc/self/status", encoding="ascii") as file:
                kilobytes = next(int(one.split()[1]) for one in file if one.startswith("VmRSS"))
            return kilobytes, threading.active_count()

    return Bench


async def serve_aio(threads: int) -> None:
    from rpyc_like import aio

    server = aio.Server(bench_service(), max_silent_clients=10**6, threads=threads)
    async with server:
        print(server.port, flush=True)
        await server.serve_forever()


def serve_blocking() -> None:
    import rpyc_like as rpyc

    server = rpyc.ThreadedServer(bench_service())
    print(server.port, flush=True)
    server.start()


def more_descriptors() -> None:
    """Takes as many descriptors as the system gives."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def serve(kind: str) -> None:
    more_descriptors()
    if kind == "streams":
        asyncio.run(serve_streams())
    elif kind == "blocking":
        serve_blocking()
    else:
        asyncio.run(serve_aio(0 if kind == "inline" else 20))


def started(kind: str) -> tuple[subprocess.Popen[str], int]:
    """Starts a server; returns its process and port."""
    command = [sys.executable, "-m", "tests.bench.aio_bench", "serve", kind]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
    assert server.stdout is not None
    return server, int(server.stdout.readline())


# -- clients


async def timed(ask: Any, seconds: float = _SECONDS) -> float:
    """Returns microseconds that awaiting ``ask()`` takes, of several runs the median."""
    count, times = 50, []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in range(count):
            await ask()
        times.append((time.perf_counter() - begun) / count * 1e6)
    return statistics.median(times)


async def round_of(ports: dict[str, int]) -> dict[str, float]:
    """Measures each row once."""
    import rpyc_like as rpyc
    from rpyc_like import aio

    found = {}
    reader, writer = await asyncio.open_connection("127.0.0.1", ports["streams"])

    async def exchange() -> None:
        writer.write(b"q" * REQUEST)
        await writer.drain()
        await reader.readexactly(ANSWER)

    found["streams"] = await timed(exchange)
    writer.close()
    for kind in ("aio", "inline"):
        async with aio.connect("127.0.0.1", ports[kind]) as conn:
            f, plain = await conn.root.f, await conn.root.plain
            await asyncio.gather(*[f(n) for n in range(100)])
            if kind == "aio":
                found["awaited"] = await timed(lambda: f(1))  # noqa: B023
                found["in a thread"] = await timed(lambda: plain(1))  # noqa: B023
                begun = time.perf_counter()
                await asyncio.gather(*[f(n) for n in range(GATHERED)])
                found["gathered"] = (time.perf_counter() - begun) / GATHERED * 1e6
            else:
                found["inline"] = await timed(lambda: plain(1))  # noqa: B023
    with rpyc.connect("127.0.0.1", ports["blocking"]) as blocking:
        g = blocking.root.plain
        times = []
        for _ in range(20):
            begun = time.perf_counter()
            for n in range(100):
                g(n)
            times.append((time.perf_counter() - begun) / 100 * 1e6)
        found["blocking"] = statistics.median(times)
    async with aio.connect("127.0.0.1", ports["blocking"]) as conn:
        plain = await conn.root.plain
        await asyncio.gather(*[plain(n) for n in range(100)])
        begun = time.perf_counter()
        await asyncio.gather(*[plain(n) for n in range(GATHERED)])
        found["gathered, blocking server"] = (time.perf_counter() - begun) / GATHERED * 1e6
    return found


async def idle(count: int) -> dict[str, float]:
    """Opens idle connections; returns what each takes, and calls alone and among them."""
    from rpyc_like import aio

    more_descriptors()
    server, port = started("aio")
    try:
        async with aio.connect("127.0.0.1", port) as conn:
            f, usage = await conn.root.f, await conn.root.usage
            await timed(lambda: f(1))
            alone = [await timed(lambda: f(1)) for _ in range(3)]
            before = await usage()
            crowd: list[Any] = []
            while len(crowd) < count:
                some = [aio.connect("127.0.0.1", port) for _ in range(50)]
                made = await asyncio.gather(*[_opened(one) for one in some])
                await asyncio.gather(*[_await(one.root.f(1)) for one in made])
                crowd += made
            after = await usage()
            among = [await timed(lambda: f(1)) for _ in range(3)]
            for one in crowd:
                await one.close()
            return {
                "alone": min(alone),
                "among": min(among),
                "KB each": (after[0] - before[0]) / count,
                "threads before": before[1],
                "threads after": after[1],
            }
    finally:
        server.kill()
        server.wait()


async def _opened(opening: Any) -> Any:
    return await opening


async def _await(value: Any) -> Any:
    return await value


def lines_of(*names: str) -> int:
    """Returns the lines of modules and folders of the package."""
    paths = [ROOT / "rpyc_like" / name for name in names]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def share() -> tuple[int, int]:
    """Returns lines only for asyncio, and those that it shares with the blocking side."""
    inside = ("link/aio.py", "link/aio_peer.py", "lib/in_worker.py")
    blocking = ("core/protocol.py", "core/coroutines.py", "link/connection.py", "link/express.py")
    shared = lines_of("core", "link", "wire", "lib", "utils") - lines_of(*inside, *blocking)
    return lines_of("aio", *inside), shared


def bench(rounds: int, crowd: int) -> dict[str, Any]:
    servers = {kind: started(kind) for kind in ("streams", "aio", "inline", "blocking")}
    ports = {kind: port for kind, (_, port) in servers.items()}
    try:
        done = [asyncio.run(round_of(ports)) for _ in range(rounds)]
    finally:
        for server, _ in servers.values():
            server.kill()
            server.wait()
    rows = {row: statistics.median([one[row] for one in done]) for row in done[0]}
    return {"rows": rows, "idle": asyncio.run(idle(crowd))}


def show(results: dict[str, Any]) -> None:
    rows, crowd = results["rows"], results["idle"]
    for row, microseconds in rows.items():
        print(f"{row:<28}{microseconds:>10.1f}")
    print("microseconds, medians; aio server with threads, or inline; gathered: each\n")
    for name, value in crowd.items():
        print(f"{name:<28}{value:>10.1f}")
    own, shared = share()
    print(f"lines for asyncio alone: {own}; shared with blocking programs: {shared}\n")
    figures = (
        ("awaited bound call: by an exchange over asyncio streams", "<=", 1.5,
         rows["awaited"] / rows["streams"]),
        ("1,000 gathered: times the rate of blocking ones, one by one", ">=", 2.0,
         rows["blocking"] / rows["gathered"]),
        ("a call among idle connections: by one alone", "<=", 1.3,
         crowd["among"] / crowd["alone"]),
        ("threads that idle connections add", "<=", 0.0,
         crowd["threads after"] - crowd["threads before"]),
    )  # fmt: skip
    for what, relation, asked, got in figures:
        reached = got <= asked if relation == "<=" else got >= asked
        print(f"{' ' if reached else '!'} {what:<64}{relation} {asked:<6}{got:>8.2f}")


def main(argv: list[str]) -> None:
    if argv[:1] == ["serve"]:
        serve(argv[1])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    results = bench(options.rounds, options.idle)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
