"""Runs the behaviours on all kinds of peers; writes the table in the documentation.

``python -m tests.support.transparency`` prints how many are as local, and rewrites the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .peers import INTEROP, OURS, THERE, environment, package, serving

TABLE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "transparency.md"
VANILLA = "rpyc-6.0.2"
COLUMNS = {
    "local": ("local", None),
    "RPyC": (VANILLA, VANILLA),
    "ours": (OURS, OURS),
    "ours, RPyC owns": (OURS, VANILLA),
}
"""Client and server of each column."""

KNOWN = {
    "iteration: generator value": "a return value that is not plain arrives as its repr",
    "iteration: throw a local exception": "an exception of this side is a proxy there",
}
"""What is not as local between two of ours, and why."""

INTRO = """\
# Transparency

What remote objects do, beside what the same objects do locally. Each row is a behaviour that
`tests/interop/transparency.py` tries on the objects of `tests/interop/there/subjects.py`: on
themselves, from a client of RPyC 6.0.2 whose server is RPyC's, from ours with a server of ours, and
from ours with a server of RPyC. The client does not have the module `subjects`. "as local" means
the same outcome as in the first column. The table is written by
`python -m tests.support.transparency`, and a test compares it with what happens.

"""


def outcomes(client: str, server: str | None) -> dict[str, str]:
    """Returns what came out, for each behaviour."""
    script = str(INTEROP / "transparency.py")
    if server is None:
        args, env = [script, "local", "0"], environment(OURS)
        env["PYTHONPATH"] += os.pathsep + str(THERE)
        done = subprocess.run([sys.executable, *args], env=env, capture_output=True, check=True)
    else:
        with serving(server, "classic") as port:
            done = subprocess.run(
                [sys.executable, script, package(client), str(port)],
                env=environment(client),
                capture_output=True,
                check=True,
                timeout=200,
            )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def all_outcomes() -> dict[str, dict[str, str]]:
    """Returns the outcomes of each column."""
    return {name: outcomes(*sides) for name, sides in COLUMNS.items()}


def marks(columns: dict[str, dict[str, str]]) -> dict[str, list[bool]]:
    """Returns for each behaviour which columns are as local."""
    local = columns["local"]
    return {name: [column[name] == local[name] for column in columns.values()] for name in local}


def _cell(text: str) -> str:
    text = text if len(text) < 70 else text[:66] + " ..."
    return f"`{text}`".replace("|", "\\|")


def table(columns: dict[str, dict[str, str]]) -> str:
    """Returns the page of the documentation."""
    found = marks(columns)
    totals = [sum(column) for column in zip(*found.values(), strict=True)]
    lines = [INTRO]
    lines.append(
        "| behaviour | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1) + "\n"
    )
    counts = [f"{total} of {totals[0]}" for total in totals]
    lines.append("| **as local** | " + " | ".join(counts) + " |\n")
    for name, same in found.items():
        cells = [_cell(columns["local"][name])]
        for column, is_same in list(zip(columns, same, strict=True))[1:]:
            cells.append("as local" if is_same else _cell(columns[column][name]))
        lines.append(f"| {name} | " + " | ".join(cells) + " |\n")
    lines.append("\n## What is different, and why\n\n")
    lines += [f"* {name}: {reason}.\n" for name, reason in KNOWN.items()]
    return "".join(lines)


def main() -> None:
    columns = all_outcomes()
    TABLE.write_text(table(columns))
    for name, column in zip(columns, zip(*marks(columns).values(), strict=True), strict=True):
        print(f"{name:18} {sum(column)} of {len(column)} as local")


if __name__ == "__main__":
    main()
