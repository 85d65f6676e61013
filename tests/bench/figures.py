"""What was asked for, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .contestants import OTHERS
from .rounds import Results

__all__ = ["RESOURCES", "figures"]

IDLE = 60.0  # microseconds of a blocking ping-pong, from which the machine counts as idle
RESOURCES = {
    "exports": ("ours",),
    "netrefs": ("ours", "nodelay"),
    "idle": ("ours", "nodelay"),
    "peak": ("ours", "nodelay"),
    "starting": ("ours", "nodelay"),
    "crowd": ("aio",),
}
"""Tasks of :mod:`.resources`, and who does them."""


class Row:
    """One row of results."""

    def __init__(self, by_name: dict[str, Any]) -> None:
        self._by_name = by_name

    def us(self, name: str) -> float:
        """Returns microseconds; raises KeyError if it was not measured."""
        return float(self._by_name[name]["us"])

    def least(self, names: Iterable[str]) -> float:
        """Returns the microseconds of the fastest of those that were measured."""
        measured = [self.us(name) for name in names if name in self._by_name]
        if not measured:
            raise KeyError("none of them")
        return min(measured)

    def cpu(self, name: str) -> float:
        """Returns CPU microseconds of both processes."""
        return float(self._by_name[name]["client"] + self._by_name[name]["server"])

    def requests(self) -> float:
        """Returns requests of one operation of ours."""
        return float(self._by_name["ours"]["requests"])


Figure = tuple[str, Callable[[], Any]]


def figures(results: Results, resources: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yields a line for each figure: what was asked, what was measured, whether it is reached."""
    rows = {name: Row(by_name) for name, by_name in results.items()}
    for text, least, most, find in [*_speeds(rows), *_counts(rows), *_resources(resources)]:
        try:
            found = find()
        except KeyError:
            continue
        reached = (least is None or found >= least) and (most is None or found <= most)
        asked = f">= {least:g}" if least is not None else f"<= {most:g}"
        yield f"{'  ' if reached else '! '}{text:<72}{asked:>10}{found:>12,.2f}"


Asked = tuple[str, Any, Any, Callable[[], float]]


def _times(rows: dict[str, Row], row: str, other: str, least: float) -> Asked:
    what = {"rpyc": "rpyc", "nodelay": "rpyc with TCP_NODELAY", "pingpong": "a bare copy"}[other]
    return (
        f"{row}: times as fast as {what}",
        least,
        None,
        lambda: rows[row].us(other) / rows[row].us("ours"),
    )


def _speeds(rows: dict[str, Row]) -> list[Asked]:
    def above_idle() -> float:
        bound = rows["bound"]
        bare = bound.us("pingpong")
        return bound.us("ours") - (bare if bare < IDLE else bare - 15)

    def overhead() -> float:
        bound = rows["bound"]
        bare = bound.us("pingpong")
        return (bound.us("blocking") - bare) / (bound.us("rpyc") - bare)

    def slowest(ours: str, theirs: str) -> Callable[[], float]:
        def find() -> float:
            ratios = []
            for row in rows.values():
                try:
                    ratios.append(row.us(theirs) / row.us(ours))
                except KeyError:
                    pass
            if not ratios:
                raise KeyError(ours)
            return min(ratios)

        return find

    return [
        ("bound: microseconds above the bare ping-pong", None, 15, above_idle),
        (
            "bound: times a polling ping-pong",
            None,
            3,
            lambda: rows["bound"].us("ours") / rows["bound"].us("polling"),
        ),
        _times(rows, "bound", "rpyc", 5),
        (
            "bound: CPU of rpyc's",
            None,
            1 / 3,
            lambda: rows["bound"].cpu("ours") / rows["bound"].cpu("rpyc"),
        ),
        (
            "a call every 200 microseconds: CPU of that without polling",
            None,
            1.1,
            lambda: rows["paced"].cpu("ours") / rows["paced"].cpu("blocking"),
        ),
        ("bound, polling off: overhead by rpyc's", None, 1 / 4, overhead),
        _times(rows, "root", "rpyc", 12),
        (
            "root: CPU of rpyc's",
            None,
            1 / 6,
            lambda: rows["root"].cpu("ours") / rows["root"].cpu("rpyc"),
        ),
        _times(rows, "instance", "nodelay", 8),
        _times(rows, "iterate", "rpyc", 100),
        _times(rows, "list", "rpyc", 100),
        _times(rows, "items", "rpyc", 50),
        _times(rows, "dict", "rpyc", 50),
        _times(rows, "async", "nodelay", 5),
        (
            "4 threads: times as fast as one",
            1.5,
            None,
            lambda: rows["1 thread"].us("ours") / rows["4 threads"].us("ours"),
        ),
        _times(rows, "callbacks", "rpyc", 5),
        (
            "bound: times as fast as the fastest other library",
            1,
            None,
            lambda: rows["bound"].least(OTHERS) / rows["bound"].us("ours"),
        ),
        (
            "awaited: by an exchange over asyncio streams",
            None,
            1.5,
            lambda: rows["bound"].us("aio") / rows["bound"].us("streams"),
        ),
        (
            "gathered: times the rate of blocking calls, one by one",
            2,
            None,
            lambda: rows["bound"].us("ours") / rows["gathered"].us("aio"),
        ),
        (
            "gathered: times the rate of blocking calls that do not poll",
            2,
            None,
            lambda: rows["bound"].us("blocking") / rows["gathered"].us("aio"),
        ),
        _times(rows, "big", "pingpong", 0.6),
        _times(rows, "array", "pingpong", 0.5),
        ("pure Python: times as fast as rpyc, the slowest row", 1, None, slowest("pure", "rpyc")),
        (
            "a vanilla server: times as fast as rpyc with it, the slowest row",
            1,
            None,
            slowest("ours, rpyc serves", "rpyc"),
        ),
    ]


def _counts(rows: dict[str, Row]) -> list[Asked]:
    most = {
        "root": 1,
        "instance": 2,
        "iterate": 4,
        "list": 2,
        "items": 2,
        "dict": 2,
        "objects": 1010,
        "map": 1,
        "join first": 2,
        "join": 1,
        "connect": 2,  # which leave together
    }
    return [
        (f"{row}: requests", None, count, lambda row=row: rows[row].requests())  # type: ignore[misc]
        for row, count in most.items()
    ]


def _resources(found: dict[str, dict[str, Any]]) -> list[Asked]:
    def both(name: str) -> float:
        sides = found["netrefs"][name]
        return float(sides["client"] + sides["server"])

    return [
        (
            "1,000,000 exported objects: a call, by one with an empty table",
            None,
            1.1,
            lambda: found["exports"]["ours"]["full"] / found["exports"]["ours"]["empty"],
        ),
        (
            "netrefs: memory of both sides, by rpyc's",
            None,
            0.5,
            lambda: both("ours") / both("nodelay"),
        ),
        (
            "among 1,000 idle connections: a call, by one alone",
            None,
            1.1,
            lambda: found["idle"]["ours"]["among"] / found["idle"]["ours"]["alone"],
        ),
        (
            "among 5,000 idle connections of an asyncio server: a call, by one alone",
            None,
            1.3,
            lambda: found["crowd"]["aio"]["among"] / found["crowd"]["aio"]["alone"],
        ),
        (
            "threads that these add",
            None,
            0,
            lambda: found["crowd"]["aio"]["threads"],
        ),
        (
            "64 MiB: most memory of the client, by the payload",
            None,
            2.5,
            lambda: found["peak"]["ours"]["client"],
        ),
        (
            "64 MiB: most memory of the server, by the payload",
            None,
            2.5,
            lambda: found["peak"]["ours"]["server"],
        ),
        (
            "import: time, by rpyc's",
            None,
            0.5,
            lambda: found["starting"]["ours"]["ms"] / found["starting"]["nodelay"]["ms"],
        ),
    ]
