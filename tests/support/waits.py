"""Runs programs that wait for each other on RPyC and ours; writes the table in the documentation.

``python -m tests.support.waits`` prints the outcomes, and rewrites the table.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import Any

from .peers import INTEROP, OURS, ROOT, environment, package

PAGE = ROOT / "docs" / "howto" / "migrate-from-rpyc.md"
START, END = "<!-- table: waits -->\n", "<!-- end of table -->\n"
SCRIPT = INTEROP / "waits.py"
SIDES = {"RPyC 6.0.2": "rpyc-6.0.2", "rpyc_like": OURS}
BY_LUCK = {"dispatch", "first_use", "executor"}
"""What goes wrong with RPyC depends on which thread is quicker."""


def programs() -> dict[str, str]:
    """Returns the names of the programs and what each does."""
    return {
        node.name: (ast.get_docstring(node) or "").rstrip(".")
        for node in ast.parse(SCRIPT.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(mark, ast.Name) and mark.id == "program" for mark in node.decorator_list)
    }


def outcome(side: str, name: str) -> dict[str, Any]:
    """Runs one program in a process of its own."""
    command = [sys.executable, str(SCRIPT), package(side), name]
    try:
        done = subprocess.run(
            command,
            env=environment(side),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"right": False, "text": "hangs"}
    lines = done.stdout.strip().splitlines()
    if not lines:
        return {"right": False, "text": f"failed: {done.stderr[-500:]}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def rows(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Returns the table."""
    lines = ["| program | " + " | ".join(found) + " |\n|---|---|---|\n"]
    for name, what in programs().items():
        marks = ["" if column[name]["right"] else "**" for column in found.values()]
        texts = [column[name]["text"] for column in found.values()]
        cells = [mark + text + mark for mark, text in zip(marks, texts, strict=True)]
        lines.append(f"| {what[0].lower()}{what[1:]} | " + " | ".join(cells) + " |\n")
    return "".join(lines)


def main() -> None:
    found = {
        title: {name: outcome(side, name) for name in programs()} for title, side in SIDES.items()
    }
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(before + START + "\n" + rows(found) + "\n" + END + rest.partition(END)[2])
    print(rows(found))


if __name__ == "__main__":
    main()
