"""``python -m tests.bench``: ours, rpyc and a bare socket side by side, in one run.

Each contestant has a server process and a client process of its own. Rounds alternate between them,
so that noise hits all alike; medians and ratios are what counts. "above" is the time above the bare
ping-pong of equally large frames in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.support.peers import ROOT, environment

from .rounds import Contestant, measure

ROWS = {
    "bound": "bound call f(1)",
    "root": "conn.root.f(1)",
    "instance": "call returning a user-class instance",
    "async": "1,000 pipelined async calls (each)",
}
CONTESTANTS = {
    "pingpong": "ours",
    "rpyc": "rpyc-6.0.2",
    "ours": "ours",
}
"""Names, and the implementation whose environment each runs in."""


SCRIPT = str(ROOT / "tests" / "bench" / "worker.py")


def table(medians: dict[str, dict[str, float]]) -> str:
    """Returns the medians as text, with the ratio that counts."""
    head = f"{'row':<38}{'ping-pong':>10}{'rpyc':>9}{'ours':>9}{'rpyc/ours':>11}{'above/above':>13}"
    lines = [head, "-" * len(head)]
    for row, text in ROWS.items():
        floor, rpyc, ours = (medians[row][name] for name in CONTESTANTS)
        above = (ours - floor) / (rpyc - floor)
        lines.append(
            f"{text:<38}{floor:>10.1f}{rpyc:>9.1f}{ours:>9.1f}{rpyc / ours:>11.2f}{above:>13.2f}"
        )
    lines.append("microseconds, medians; above/above: ours above the ping-pong by rpyc above it")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="a file to write the medians to")
    options = parser.parse_args()
    contestants = {
        name: Contestant(SCRIPT, name, environment(kind)) for name, kind in CONTESTANTS.items()
    }
    medians = measure(options.rounds, ROWS, contestants)
    print(table(medians))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(medians, file, indent=2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["epc"]:
        from . import epc_bench

        epc_bench.main(sys.argv[2:])
    elif sys.argv[1:2] == ["erlang"]:
        from . import erlang_bench

        erlang_bench.main(sys.argv[2:])
    else:
        main()
