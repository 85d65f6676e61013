"""What waits or measures time in ``link`` comes from one module, which tests can replace."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from rpyc_like.link import primitives

ROOT = Path(__file__).resolve().parents[2] / "rpyc_like"

WAITING = {"_thread", "concurrent.futures", "queue", "select", "selectors", "threading", "time"}
"""Modules with something that waits, or a clock."""

HARMLESS = {
    "CancelledError",
    "EPOLLIN",
    "EPOLLRDHUP",
    "EVENT_READ",
    "EVENT_WRITE",
    "POLLERR",
    "POLLHUP",
    "POLLIN",
    "POLLOUT",
    "POLLRDHUP",
    "current_thread",
    "get_ident",
    "local",
    "main_thread",
}
"""Names of these modules that never wait: constants, errors, and which thread this is."""

ABOVE = {
    "core/coroutines.py": {"Future"},  # only named: lib.background_loop makes it
    "epc/errors.py": {"queue"},  # the base class of an error
    "epc/py3compat.py": {"queue"},  # a name of python-epc's, for its users
    "epc/utils.py": {"queue", "threading"},  # functions of python-epc's, for its users
}
"""Modules of the protocols that import more than is harmless, and why."""

IN_LIB = {
    "background_loop": {"Future", "threading"},
    "backoff": {"time"},
    "colls": {"threading"},
    "compat": {"select"},
    "connection_threads": {"threading"},
    "contexts": {"Lock"},
    "exiting": {"threading"},
    "first_use": {"threading"},
    "interpreter": {"threading"},
    "logs": {"monotonic", "threading"},
    "polling": {"select", "selectors"},
    "threads": {"queue", "threading"},
    "timing": {"time"},
    "workers": {"threading"},
}
"""Modules below ``link`` that wait: what tests/schedules replaces there is in its world.py."""


def _waiting_names(path: Path) -> Iterator[str]:
    """Yield the names that a module imports and that may wait, unless it is for types only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in WAITING)
        elif isinstance(node, ast.ImportFrom) and node.module in WAITING:
            yield from (one.name for one in node.names if one.name not in HARMLESS)


def _found(package: str) -> dict[str, set[str]]:
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        names = set(_waiting_names(path))
        if names:
            found[path.relative_to(ROOT).as_posix()] = names
    return found


def test_link_waits_with_its_primitives_only() -> None:
    """No module of link but one imports anything that waits, or a clock."""
    assert list(_found("link")) == ["link/primitives.py"]


def test_protocols_wait_with_the_primitives_of_link() -> None:
    """The protocols import nothing that waits, but for the named exceptions."""
    found = {**_found("core"), **_found("epc"), **_found("erlport")}
    assert found == ABOVE


def test_modules_of_lib_that_wait_are_known() -> None:
    """What waits below link is on a list, from which the scheduler takes what it replaces."""
    assert _found("lib") == {f"lib/{name}.py": names for name, names in IN_LIB.items()}


def test_primitives_are_looked_up_at_the_time_of_use() -> None:
    """No module keeps a primitive under a name of its own, where a test could not replace it."""
    offenders = [
        f"{path}:{node.lineno}"
        for package in ("link", "core", "epc", "erlport")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("primitives")
        if not (node.module or "").startswith("cryptography")
    ]
    assert offenders == []


def test_all_primitives_exist() -> None:
    """Each name that the module promises is there."""
    assert [name for name in primitives.__all__ if not hasattr(primitives, name)] == []
