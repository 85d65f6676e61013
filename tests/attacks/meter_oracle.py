"""Measures what small inputs become: ``python -m tests.attacks.meter_oracle``.

For each input, in a process of its own: memory grows by at most 64 MiB + 32 times its size after
inflation, and decoding takes at most 50 ms + 1 microsecond for each byte of that (ten times as long
in pure Python). Inputs are those of the generators in ``amplify_rpyc`` and ``amplify_adapters`` and
of the fuzz corpus. Then a server is fed with frames, and the calls of another client are timed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import pickle
import random
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import rpyc_like as rpyc
from rpyc_like.errors import RpycLikeError
from rpyc_like.lib.native import IMPLEMENTATION
from rpyc_like.wire.framing import MAX_INFLATED_SIZE
from tests.attacks import amplify_rpyc
from tests.fuzz import corpus

BASE, FACTOR = 64 << 20, 32
SECONDS, SECONDS_PER_BYTE = 0.05, 1e-6 * (1 if IMPLEMENTATION == "native" else 10)
SLACK = 4 << 20  # bytes: arenas, pages that the measuring itself takes
P99 = 0.05
SIZES = (2_000, 100_000, 1 << 20, 4 << 20, 16 << 20)
CORPUS = {"brine": "brine", "frame": "frames", "snapshot": "snapshots"}


class Outcome(NamedTuple):
    """What an input has cost."""

    growth: int
    seconds: float
    result: str


def targets() -> dict[str, tuple[Any, Callable[[bytes], object]]]:
    """Return a generator ``(size, chance)`` and a decoder for each kind of input, by name."""
    found: dict[str, Any] = dict(amplify_rpyc.TARGETS)
    with contextlib.suppress(ImportError):  # it need not be there
        others = importlib.import_module("tests.attacks.amplify_adapters").TARGETS
        for name, (make, decode) in others.items():
            found[name] = (lambda size, chance, make=make: make(size)), decode
    return found


def inflated(data: bytes) -> int:
    """Return how many bytes an input is after inflation, as far as that may go."""
    if data[:2] == b"\x83P":
        return max(len(data), min(int.from_bytes(data[2:6], "big"), MAX_INFLATED_SIZE))
    if len(data) > 6 and data[4] == 1 and data[-1:] == b"\n":
        with contextlib.suppress(zlib.error):
            made = zlib.decompressobj().decompress(data[5:-1], MAX_INFLATED_SIZE)
            return max(len(made), len(data))
    return len(data)


def memory(name: str) -> int:
    """Return a number of this process, in bytes."""
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(name)).split()[1]) << 10


def measure(decode: Callable[[bytes], object], data: bytes) -> Outcome:
    """Decode an input in a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            before, start = memory("VmRSS"), time.process_time()
            try:
                decode(data)
                result = "a value"
            except RpycLikeError as error:
                result = type(error).__name__
            except BaseException as error:
                result = f"NOT DOCUMENTED: {error!r:.200}"
            took = time.process_time() - start
            outcome = Outcome(memory("VmHWM") - before, took, result)
            os.write(writing, pickle.dumps(outcome))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        raw = pipe.read()
    status = os.waitpid(child, 0)[1]
    if not raw:
        return Outcome(0, 0.0, f"CRASHED: status {status}")
    found: Outcome = pickle.loads(raw)
    return found


def wrong(data: bytes, outcome: Outcome) -> str | None:
    """Return what an outcome breaks, or None."""
    size = inflated(data)
    if outcome.result.isupper() or outcome.result.startswith(("NOT", "CRASHED")):
        return outcome.result
    if outcome.growth > BASE + FACTOR * size + SLACK:
        return f"grew by {outcome.growth >> 20} MiB, allowed {(BASE + FACTOR * size) >> 20}"
    if outcome.seconds > SECONDS + SECONDS_PER_BYTE * size:
        allowed = SECONDS + SECONDS_PER_BYTE * size
        return f"took {outcome.seconds:.2f} s, allowed {allowed:.2f}"
    return None


def inputs(seed: int) -> Iterator[tuple[str, str, Callable[[bytes], object], bytes]]:
    """Give inputs without an end: the corpus, then what generators make, with sizes by chance."""
    found = targets()
    for name, target in CORPUS.items():
        for number, data in enumerate(corpus.load(name)):
            yield target, f"corpus {number}", found[target][1], data
    chance = random.Random(seed)
    while True:
        for target, (make, decode) in found.items():
            size = int(chance.choice(SIZES) * chance.uniform(0.5, 1.5))
            for name, data in make(size, chance):
                yield target, f"{name} ({size})", decode, data


def sweep(seconds: float, seed: int, only: str | None) -> tuple[int, list[str]]:
    """Measure inputs until the time is over; return how many, and what was wrong."""
    end, count, faults = time.monotonic() + seconds, 0, []
    most = (0.0, "")
    for target, name, decode, data in inputs(seed):
        if time.monotonic() > end:
            break
        if only is not None and only not in target:
            continue
        outcome = measure(decode, data)
        fault = wrong(data, outcome)
        if fault is not None:  # once more: another program may have been in the way
            outcome = measure(decode, data)
            fault = wrong(data, outcome)
        most = max(most, (outcome.growth / (BASE + FACTOR * inflated(data)), f"{target}: {name}"))
        count += 1
        if fault is not None:
            faults.append(f"{target}: {name}: {fault}")
            print("WRONG", faults[-1], flush=True)
    print(f"most memory, of what is allowed: {most[0]:.2f} ({most[1]})")
    return count, faults


def others(seconds: float, seed: int) -> tuple[float, float]:
    """Return how many seconds 99 % of a client's calls take while a server is fed, and all."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.serving"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    ending = threading.Event()

    def feed() -> None:
        chance = random.Random(seed)
        while not ending.is_set():
            for _, data in amplify_rpyc.frames(int(chance.choice(SIZES[:3])), chance):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", port)) as sock,
                ):
                    sock.settimeout(60)
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(1 << 16):
                        pass
                if ending.is_set():
                    return

    feeder = threading.Thread(target=feed)
    took: list[float] = []
    try:
        conn = rpyc.connect("127.0.0.1", port)
        root = conn.root
        feeder.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.monotonic()
            root.add(1, 2)
            took.append(time.monotonic() - start)
            time.sleep(0.002)
        conn.close()
    finally:
        ending.set()
        feeder.join()
        server.kill()
        server.wait()
    took.sort()
    return took[int(len(took) * 0.99)], took[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of measuring inputs")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", help="targets whose name has this in it")
    parser.add_argument("--served", type=float, default=10, help="seconds of feeding a server")
    args = parser.parse_args()
    seed = random.randrange(1 << 32) if args.seed is None else args.seed
    print(f"seed {seed}, {IMPLEMENTATION}", flush=True)
    count, faults = sweep(args.seconds, seed, args.only)
    if args.served:
        p99, longest = others(args.served, seed)
        print(f"calls of another client: p99 {p99 * 1000:.1f} ms, longest {longest * 1000:.1f} ms")
        if p99 > P99:
            faults.append(f"p99 of {p99 * 1000:.0f} ms, allowed {P99 * 1000:.0f}")
    print(f"{count} inputs, {len(faults)} wrong (seed {seed}, {IMPLEMENTATION})")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
