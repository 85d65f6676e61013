"""What waits or measures time comes from one module, which tests can replace."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from rpyc_like.lib import primitives

ROOT = Path(__file__).resolve().parents[2] / "rpyc_like"
PACKAGES = ("lib", "link", "core", "epc", "erlport", "aio")
MODULE = "lib/primitives.py"

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
    "TimeoutError",
    "current_thread",
    "get_ident",
    "local",
    "main_thread",
}
"""Names of these modules that never wait: constants, errors, and which thread this is."""

EXCEPTIONS = {
    "aio/server.py": {"threading"},  # whether this is the main thread
    "core/dispatch/coroutines.py": {"Future"},  # only named: lib.background_loop makes it
    "epc/errors.py": {"queue"},  # the base class of an error
    "epc/py3compat.py": {"queue"},  # a name of python-epc's, for its users
    "lib/compat.py": {"select"},  # a name of RPyC's, for its users
    "lib/subinterpreters.py": {"threading"},  # the end of an interpreter: private functions
    "lib/poll_compat.py": {"select", "selectors"},  # a class of RPyC's, for its users
}
"""Modules that import more than is harmless, and why."""


def _modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def _waiting_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module imports and that may wait, unless it is for types only."""
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


def test_waits_come_from_one_module() -> None:
    """No module but one imports anything that waits, or a clock, but for the named exceptions."""
    found = {path: set(_waiting_names(tree)) for path, tree in _modules(*PACKAGES)}
    del found[MODULE]
    assert {path: names for path, names in found.items() if names} == EXCEPTIONS


def test_exceptions_call_nothing_that_waits() -> None:
    """Those exceptions that are no names for users of other packages make no lock or thread."""
    for path in ("aio/server.py", "epc/errors.py", "lib/subinterpreters.py"):
        tree = ast.parse((ROOT / path).read_text())
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if node.value.id in WAITING
        }
        assert not used & set(primitives.__all__) - {"Empty"}, path


def test_primitives_are_looked_up_at_the_time_of_use() -> None:
    """No module keeps a primitive under a name of its own, where a test could not replace it."""
    offenders = [
        f"{path}:{node.lineno}"
        for path, tree in _modules(*PACKAGES, "utils")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("primitives")
        if not (node.module or "").startswith("cryptography")
    ]
    assert offenders == []


def test_all_primitives_exist() -> None:
    """Each name that the module promises is there."""
    assert [name for name in primitives.__all__ if not hasattr(primitives, name)] == []
