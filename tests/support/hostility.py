"""Runs the hostile scenarios against RPyC and ours; writes the table in the documentation.

``python -m tests.support.hostility`` prints the outcomes, and rewrites the table.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .peers import INTEROP, OURS, environment, package

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "security.md"
START, END = "<!-- table: hostile -->\n", "<!-- end of table -->\n"
SCRIPT = INTEROP / "hostile.py"
VICTIMS = {"RPyC 6.0.2": "rpyc-6.0.2", "rpyc_like": OURS}


def scenarios() -> dict[str, str]:
    """Returns the names of the scenarios and what each does."""
    return {
        node.name: (ast.get_docstring(node) or "").rstrip(".")
        for node in ast.parse(SCRIPT.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(
            isinstance(mark, ast.Name) and mark.id == "scenario" for mark in node.decorator_list
        )
    }


def outcome(victim: str, name: str) -> dict[str, Any]:
    """Runs one scenario in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), package(victim), name],
        env=environment(victim),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if not lines:
        return {"safe": False, "text": f"failed: {done.stderr[-500:]}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def outcomes(victim: str) -> dict[str, dict[str, Any]]:
    """Runs all scenarios against one victim."""
    names = list(scenarios())
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(lambda name: outcome(victim, name), names), strict=True))


def rows(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Returns the table."""
    lines = ["| what the peer does | " + " | ".join(found) + " |\n|---|---|---|\n"]
    for name, what in scenarios().items():
        cells = [
            ("" if column[name]["safe"] else "**")
            + column[name]["text"]
            + ("" if column[name]["safe"] else "**")
            for column in found.values()
        ]
        lines.append(f"| {what[0].lower()}{what[1:]} | " + " | ".join(cells) + " |\n")
    return "".join(lines)


def main() -> None:
    found = {title: outcomes(victim) for title, victim in VICTIMS.items()}
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(before + START + "\n" + rows(found) + "\n" + END + rest.partition(END)[2])
    for title, column in found.items():
        safe = sum(one["safe"] for one in column.values())
        print(f"{title}: came through {safe} of {len(column)}")
        for name, one in column.items():
            print(f"  {'ok  ' if one['safe'] else 'FAIL'} {name}: {one['text']}")


if __name__ == "__main__":
    main()
