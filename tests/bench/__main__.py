"""``python -m tests.bench``: ours, rpyc and a bare socket side by side, in one run.

Each contestant has a server process and a client process of its own. Rounds alternate between them,
so that noise hits all alike; medians and ratios are what counts. Requests are those of one
operation, and CPU times those of both processes together. In the columns of the slow link there is
a delay of 25 ms each way; what would take more than two seconds there is told by its requests (~).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.support.peers import ROOT, environment

from . import contestants, picture
from .contestants import DELAY
from .figures import RESOURCES, figures
from .rounds import Results, measure

ROWS = {
    "bound": "bound call f(1)",
    "root": "conn.root.f(1)",
    "attribute": "an attribute",
    "instance": "a call that returns an instance, and its attribute",
    "iterate": "iterate over a list of 1,000 ints",
    "list": "list() of it",
    "items": "items() of a dict of 100",
    "dict": "dict() of it",
    "objects": "[o.x for o in 1,000 objects]",
    "map": "the same, with map",
    "join first": "os.path.join of a new connection",
    "join": "os.path.join again",
    "connect": "classic.connect",
    "async": "10,000 async calls in flight, each",
    "1 thread": "a call, of one thread",
    "4 threads": "a call, of four threads",
    "paced": "a call every 200 microseconds",
    "callbacks": "100 callbacks",
    "bytes": "64 KiB of random bytes, there and back",
    "big": "64 MiB of random bytes, there and back",
    "array": "64 MiB NumPy array, one way",
    "gathered": "1,000 calls awaited together, each",
}
_FAST_ONLY = ("bytes", "big", "array", "1 thread", "4 threads", "async")
"""Rows that the slow link is not tried with."""

_PATIENCE = 2.0


def over_the_slow_link(results: Results) -> None:
    """Adds what each row takes over a link with a delay, in milliseconds."""
    for name in ("nodelay", "ours"):
        contestant = contestants.make(name, slow=True)
        try:
            for row, by_name in results.items():
                requests = by_name.get(name, {}).get("requests")
                if requests is None or row in _FAST_ONLY:
                    continue
                if requests * DELAY > _PATIENCE:
                    by_name[name]["slow"], by_name[name]["guessed"] = requests * DELAY * 1e3, True
                else:
                    contestant.ask(row, None)
                    found = contestant.ask(row, None)
                    assert found is not None
                    by_name[name]["slow"] = found["us"] / 1e3
        finally:
            contestant.stop()


def _cell(found: dict[str, Any] | None, key: str, digits: int = 1) -> str:
    if not found or key not in found:
        return "-"
    digits = 0 if found[key] >= 1e5 else digits
    mark = "~" if key == "slow" and found.get("guessed") else ""
    return f"{mark}{found[key]:,.{digits}f}"


def _ratio(one: Any, other: Any, key: str = "us") -> str:
    if not one or not other or not other.get(key):
        return "-"
    return f"{one[key] / other[key]:.2f}"


def table(results: Results) -> str:
    """Returns the medians as text, with the ratios that count."""
    times = ("pingpong", "polling", "rpyc", "nodelay", "ours", "blocking", "pure")
    heads = ("bare", "bare poll", "rpyc", "nodelay", "ours", "no poll", "pure")
    head = f"{'row':<50}" + "".join(f"{one:>10}" for one in heads)
    head += f" |{'rpyc/':>7}{'nodel/':>8}{'CPU/':>7}{'pure':>7}{'serves':>8}"
    head += f" |{'requests':>15} |{'50 ms link, ms':>16}"
    under = f"{'':<50}{'':>70} |{'ours':>7}{'ours':>8}{'ours':>7}{'':>15}"
    under += f" |{'nodel':>8}{'ours':>7} |{'nodelay':>9}{'ours':>7}"
    lines = [head, under, "-" * len(head)]
    for row, by_name in results.items():
        if "ours" not in by_name:
            continue
        rpyc, nodelay, ours = (by_name.get(name) for name in ("rpyc", "nodelay", "ours"))
        cpu: Any = [{"cpu": one["client"] + one["server"]} if one else None for one in (rpyc, ours)]
        lines.append(
            f"{ROWS[row]:<50}"
            + "".join(f"{_cell(by_name.get(name), 'us'):>10}" for name in times)
            + f" |{_ratio(rpyc, ours):>7}{_ratio(nodelay, ours):>8}{_ratio(*cpu, 'cpu'):>7}"
            + f"{_ratio(rpyc, by_name.get('pure')):>7}"
            + f"{_ratio(rpyc, by_name.get('ours, rpyc serves')):>8}"
            + f" |{_cell(nodelay, 'requests', 0):>8}{_cell(ours, 'requests', 0):>7}"
            + f" |{_cell(nodelay, 'slow', 0):>9}{_cell(ours, 'slow', 0):>7}"
        )
    lines.append(
        "microseconds, medians; ratios above 1 are in favour of ours; CPU: of both processes; "
        "pure: rpyc by ours in pure Python; serves: rpyc by ours with a server of rpyc's"
    )
    return "\n".join(lines)


def calls(results: Results) -> str:
    """Returns a table of a call by all ways there are: awaited, and of other libraries."""
    rows = ("bound", "root", "gathered", "bytes")
    names = ("pingpong", "polling", "ours", "blocking", *contestants.AWAITED, *contestants.OTHERS)
    heads = ("f(1)", "conn.root.f(1)", "gathered", "64 KiB", "f(1), by ours", "by ours awaited")
    lines = [f"{'microseconds, medians':<30}" + "".join(f"{head:>16}" for head in heads)]
    bound = results["bound"]
    for name in names:
        if name in bound:
            cells = [_cell(results.get(row, {}).get(name), "us") for row in rows]
            cells += [_ratio(bound[name], bound[one]) for one in ("ours", "aio")]
            lines.append(f"{name:<30}" + "".join(f"{cell:>16}" for cell in cells))
    missing = [name for name in contestants.OTHERS if name not in bound]
    if missing:
        lines.append(f"not installed: {', '.join(missing)} (--install)")
    lines.append("grpcio and grpc.aio carry bytes only; Pyro5 and zerorpc have no asyncio client")
    return "\n".join(lines)


def resources() -> dict[str, dict[str, Any]]:
    """Returns what memory and crowds cost ours and rpyc."""
    found: dict[str, dict[str, Any]] = {}
    script = str(ROOT / "tests" / "bench" / "resources.py")
    for task, names in RESOURCES.items():
        for name in names:
            env = environment("rpyc-6.0.2" if name == "nodelay" else "ours")
            env.pop("PYTHONDONTWRITEBYTECODE", None)  # an import is one of compiled modules
            command = [sys.executable, script, task, name]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            found.setdefault(task, {})[name] = json.loads(done.stdout)
    return found


def _told(found: dict[str, dict[str, Any]]) -> str:
    lines = []
    for task, by_name in found.items():
        for name, values in by_name.items():
            told = ", ".join(f"{key} {value:,.2f}" for key, value in values.items())
            lines.append(f"{task:<10}{name:<10}{told}")
    units = (
        "exports: microseconds; netrefs: bytes each; idle, crowd: bytes each, microseconds; "
        "peak: multiples of the payload; starting: milliseconds"
    )
    return "\n".join((*lines, units))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--json", help="a file to write the results to")
    parser.add_argument("--picture", help="a file to draw the results in (SVG or PNG)")
    parser.add_argument("--no-resources", action="store_true", help="leave memory and crowds out")
    parser.add_argument("--install", action="store_true", help="install other libraries first")
    options = parser.parse_args()
    if options.install:
        contestants.install()
    names = (*contestants.CORE, *contestants.AWAITED, *contestants.there())
    made = {name: contestants.make(name) for name in names}
    results = measure(options.rounds, options.rows, made)
    over_the_slow_link(results)
    print(table(results), end="\n\n")
    if "bound" in results:
        print(calls(results), end="\n\n")
    costs = {} if options.no_resources else resources()
    print(_told(costs), end="\n\n")
    print("asked for, and measured; what is not reached is marked !")
    print("\n".join(figures(results, costs)))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rows": results, "resources": costs}, file, indent=2)
    if options.picture:
        picture.draw(results, ROWS, options.picture)


if __name__ == "__main__":
    if sys.argv[1:2] == ["epc"]:
        from . import epc_bench

        epc_bench.main(sys.argv[2:])
    elif sys.argv[1:2] == ["erlang"]:
        from . import erlang_bench

        erlang_bench.main(sys.argv[2:])
    else:
        main()
