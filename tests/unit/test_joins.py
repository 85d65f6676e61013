"""Tests that wait for a thread fail if it goes on."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
HELPER = "support/joining.py"

PROGRAMS = ("attacks/audit/", "bench/", "interop/", "schedules/", "soak/")
"""What is run by itself, also by other Pythons, and judges what it finds in other ways."""

EXCEPTIONS = {
    "attacks/test_c_callables.py": 1,  # of strings
    "faults/test_children.py": 1,  # waits for a moment, and for the thread later
    "faults/test_threads.py": 1,  # looks at all of them after that
    "property/test_two_peers.py": 2,  # the same
    "protocol/test_face.py": 1,  # waits for a moment, and for the thread later
    "unit/test_waiting_stress.py": 1,  # looks at all of them after that
}
"""Files with such statements, how many, and why."""


def _joins(tree: ast.Module) -> int:
    """Count the statements that wait for something, at most so long, whatever comes of it."""
    calls = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    return sum(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "join"
        and bool(call.args or call.keywords)
        for call in calls
    )


def test_joins_are_checked() -> None:
    """Threads are waited for with the function that fails if they do not end."""
    found: Counter[str] = Counter()
    for path in sorted(TESTS.rglob("*.py")):
        name = path.relative_to(TESTS).as_posix()
        if name != HELPER and not name.startswith(PROGRAMS):
            found[name] = _joins(ast.parse(path.read_text()))
    assert +found == EXCEPTIONS
