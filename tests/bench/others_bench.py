"""``python -m tests.bench others``: calls of ours beside those of other libraries, in one run."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys

from tests.support.peers import ROOT, environment, peers_folder

from .rounds import Contestant, measure

SCRIPT = str(ROOT / "tests" / "bench" / "others_worker.py")
ROWS = {"call": "a call of a function that returns its argument", "bytes": "64 KiB there and back"}
MODULES = {
    "Pyro5": "Pyro5",
    "managers": "multiprocessing.managers",
    "execnet": "execnet",
    "zerorpc": "zerorpc",
    "grpcio": "grpc",
    "dask": "distributed",
}
"""What each needs to be imported."""

INSTALLED = ("Pyro5", "execnet", "zerorpc", "grpcio", "distributed")


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--install", action="store_true", help="install the others first")
    options = parser.parse_args(arguments)
    folder = peers_folder() / "others"
    if options.install:
        for name in INSTALLED:
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), name]
            subprocess.run(command, check=False)
    sys.path.append(str(folder))
    there = []
    for name, module in MODULES.items():
        with contextlib.suppress(ImportError):
            if importlib.util.find_spec(module) is not None:
                there.append(name)
    contestants = {}
    for name in ("ours", "rpyc", *there):
        env = environment("rpyc-6.0.2" if name == "rpyc" else "ours")
        env["PYTHONPATH"] += os.pathsep + str(folder)
        contestants[name] = Contestant(SCRIPT, name, env)
    medians = measure(options.rounds, ROWS, contestants)
    print(f"{'microseconds, medians':<50}" + "".join(f"{name:>11}" for name in contestants))
    for row, title in ROWS.items():
        times = medians[row]
        print(f"{title:<50}" + "".join(f"{times[name]:>11.1f}" for name in contestants))
        ratios = [times[name] / times["ours"] for name in contestants]
        print(f"{'  times as long as ours':<50}" + "".join(f"{ratio:>11.1f}" for ratio in ratios))
    print("grpcio carries bytes only; rpyc has TCP_NODELAY on the client's side")
    missing = [name for name in MODULES if name not in there]
    if missing:
        print(f"not installed: {', '.join(missing)} (--install)")
