"""``python -m tests.bench epc``: ours, python-epc and a bare socket side by side, in one run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.support.peers import epc_environment

from .rounds import Contestant, Side, measure

ROWS = {
    "int": "call_sync of an int",
    "burst": "burst of five small calls",
    "nested": "98 KB nested value echoed",
    "text": "1 MB text echoed",
}
CONTESTANTS = ("pingpong", "theirs", "ours")


def best(func: Callable[[], Any], rounds: int = 5) -> float:
    """Returns the milliseconds of the fastest of some runs."""
    fastest = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        func()
        fastest = min(fastest, time.perf_counter() - begun)
    return 1000 * fastest


def codecs() -> None:
    """Prints reader and writer beside sexpdata's."""
    sys.path.insert(0, epc_environment()["PYTHONPATH"].split(":")[0])
    import sexpdata

    from rpyc_like.wire.sexp.reader import Reader
    from rpyc_like.wire.sexp.writer import write

    from .epc_values import NESTED

    reader = Reader()
    subjects: dict[str, Any] = {
        "98 KB nested value": NESTED,
        "20,000 ints": list(range(20_000)),
        "heavily escaped text": 'a"b\\c\nd' * 12_000,
        "plain text of 100 KB": "x" * 100_000,
    }
    print(f"\n{'milliseconds':<24}{'sexpdata':>20}{'ours':>20}{'times as fast':>20}")
    for name, value in subjects.items():
        text = write(value)
        theirs = best(partial(sexpdata.dumps, value)), best(partial(sexpdata.loads, text))
        ours = best(partial(write, value)), best(partial(reader.read, text))
        times = f"{theirs[0]:>10.2f}{theirs[1]:>10.2f}{ours[0]:>10.2f}{ours[1]:>10.2f}"
        print(f"{name:<24}{times}{theirs[0] / ours[0]:>10.1f}{theirs[1] / ours[1]:>10.1f}")
    print("write and read, each; the fastest of five runs")
    for size in (1, 4, 16):
        linear(["x" * 100, 1, ["a", 2.5]] * (size * 8_700), reader)


def linear(large: list[Any], reader: Any) -> None:
    """Prints how long a large value takes."""
    from rpyc_like.wire.sexp.writer import write

    text = write(large)
    writing, reading = best(lambda: write(large), 1), best(lambda: reader.read(text), 1)
    print(f"{len(text) / 1e6:.1f} MB: write {writing:.0f} ms, read {reading:.0f} ms")


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    sides = {name: Side("epc_worker.py", name, epc_environment()) for name in CONTESTANTS}
    contestants = {name: Contestant(side, side) for name, side in sides.items()}
    medians = measure(options.rounds, ROWS, contestants)
    print(f"{'row':<30}{'ping-pong':>12}{'python-epc':>12}{'ours':>10}{'times':>8}{'above':>9}")
    for row, text in ROWS.items():
        floor, theirs, ours = (medians[row][name]["us"] for name in CONTESTANTS)
        above = (ours - floor) / (theirs - floor)
        times = f"{floor:>12.0f}{theirs:>12.0f}{ours:>10.0f}{theirs / ours:>8.1f}"
        print(f"{text:<30}{times}{above:>9.3f}")
    print("microseconds, medians; above: ours above the ping-pong by python-epc above it")
    codecs()
