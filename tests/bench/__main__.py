"""``python -m tests.bench``: ours, rpyc and a bare socket side by side, in one run.

Each contestant has a server process and a client process of its own. Rounds alternate between them,
so that noise hits all alike; medians and ratios are what counts. Requests are those of one
operation, and CPU times those of both processes together. In the columns of the slow link there is
a delay of 25 ms each way; what would take more than two seconds there is told by its requests (~).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

from tests.support.peers import ROOT, environment

from . import picture
from .figures import RESOURCES, figures
from .rounds import Contestant

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
    "callbacks": "100 callbacks",
    "big": "64 MiB of random bytes, there and back",
    "array": "64 MiB NumPy array, one way",
}
CONTESTANTS = {
    "pingpong": ("pingpong", "ours", "pingpong", "ours"),
    "polling": ("polling", "ours", "polling", "ours"),
    "rpyc": ("rpyc", "rpyc-6.0.2", "rpyc", "rpyc-6.0.2"),
    "nodelay": ("nodelay", "rpyc-6.0.2", "nodelay", "rpyc-6.0.2"),
    "ours": ("ours", "ours", "ours", "ours"),
    "blocking": ("blocking", "ours", "blocking", "ours"),
    "pure": ("ours", "ours", "ours", "ours"),
    "ours, rpyc serves": ("ours", "ours", "rpyc", "rpyc-6.0.2"),
}
"""What client and server are, and the implementation whose environment each runs in."""

PURE = {"pure"}
"""Contestants without the compiled core."""

SCRIPT = str(ROOT / "tests" / "bench" / "worker.py")
LINK = str(ROOT / "tests" / "bench" / "slow_link.py")
DELAY = 0.05
_SECONDS = 0.15
_PATIENCE = 2.0
_ONCE = 2e6  # microseconds of an operation, from which it is not repeated

Results = dict[str, dict[str, Any]]


def make(name: str, slow: bool = False) -> Contestant:
    """Starts a contestant."""
    client, client_env, server, server_env = CONTESTANTS[name]
    link = (LINK, str(DELAY)) if slow else ()
    extra = {"RPYC_LIKE_IMPL": "python"} if name in PURE else {}
    envs = [{**environment(one), **extra} for one in (client_env, server_env)]
    return Contestant(SCRIPT, client, envs[0], (server, envs[1]), link, True)


def rounds_of(rounds: int, rows: list[str]) -> Results:
    """Returns the medians of each contestant on each row."""
    contestants = {name: make(name) for name in CONTESTANTS}
    found: dict[str, dict[str, list[Any]]] = {row: {} for row in rows}
    try:
        for _ in range(rounds):
            for row in rows:
                for name, contestant in contestants.items():
                    answers = found[row].setdefault(name, [])
                    if not answers or (answers[-1] and answers[-1]["us"] < _ONCE):
                        answers.append(contestant.ask(f"{row} {_SECONDS}"))
    finally:
        for contestant in contestants.values():
            contestant.stop()
    return {
        row: {
            name: {
                key: statistics.median([answer[key] for answer in answers])
                for key in ("us", "client", "server", "requests")
                if answers[0][key] is not None
            }
            for name, answers in by_name.items()
            if answers[0] is not None
        }
        for row, by_name in found.items()
    }


def over_the_slow_link(results: Results) -> None:
    """Adds what each row takes over a link with a delay, in milliseconds."""
    for name in ("nodelay", "ours"):
        contestant = make(name, slow=True)
        try:
            for row, by_name in results.items():
                requests = by_name.get(name, {}).get("requests")
                if requests is None or row in ("big", "array", "1 thread", "4 threads", "async"):
                    continue
                if requests * DELAY > _PATIENCE:
                    by_name[name]["slow"], by_name[name]["guessed"] = requests * DELAY * 1e3, True
                else:
                    contestant.ask(f"{row} once")
                    by_name[name]["slow"] = contestant.ask(f"{row} once")["us"] / 1e3
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


def resources() -> dict[str, dict[str, Any]]:
    """Returns what memory and crowds cost ours and rpyc."""
    found: dict[str, dict[str, Any]] = {}
    script = str(ROOT / "tests" / "bench" / "resources.py")
    for task, names in RESOURCES.items():
        for name in names:
            env = environment("ours" if name == "ours" else "rpyc-6.0.2")
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
        "exports: microseconds; netrefs: bytes each; idle: bytes each, microseconds; "
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
    options = parser.parse_args()
    results = rounds_of(options.rounds, options.rows)
    over_the_slow_link(results)
    print(table(results))
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
    elif sys.argv[1:2] == ["aio"]:
        from . import aio_bench

        aio_bench.main(sys.argv[2:])
    elif sys.argv[1:2] == ["erlang"]:
        from . import erlang_bench

        erlang_bench.main(sys.argv[2:])
    elif sys.argv[1:2] == ["others"]:
        from . import others_bench

        others_bench.main(sys.argv[2:])
    else:
        main()
