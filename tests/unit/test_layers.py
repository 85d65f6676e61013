"""The layers: who may import whom, as data."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "rpyc_like"

LAYERS = {
    0: ["lib", "errors", "version", "_native"],
    1: [
        "wire",
        "epc.codec",
        "epc.errors",
        "erlport.errors",
        "erlport.v1.erlterms",
        "erlport.erlterms",
        "core.consts",
        "core.pipelining.chain_interpreter",
        "core.snapshots.dump",
        "core.brine",
        "core.encoding.exception_classes",
        "core.vinegar",
    ],
    2: ["link"],
    3: ["core", "epc", "erlport"],
    4: ["utils", "remote_scripts", "aio", "tools"],
    5: ["erlport.__main__", "cli", "alias", "pytest_plugin", "__main__", "__init__"],
}
"""Each may import from its own layer and those below; the longest matching name counts."""

PURE = {"socket", "select", "selectors", "ssl", "threading", "asyncio", "subprocess"}
"""What the pure layer never imports."""

SEPARATE = {"core", "epc", "erlport"}
"""Packages of layer 3 do not import one another, but for these."""
ALLOWED_ACROSS: set[tuple[str, str]] = set()

THIRD_PARTY = {
    "cli.rpyc_certificates": {"plumbum"},
    "cli.rpyc_classic": {"plumbum"},
    "cli.rpyc_copy": {"plumbum"},
    "cli.rpyc_registry": {"plumbum"},
    "link.ed25519": {"cryptography"},
    "utils.certificates": {"cryptography"},
    "core.netref": {"numpy"},
    "core.snapshots.load": {"numpy"},
    "utils.gevent_server": {"gevent"},
    "wire.sexp.values": {"sexpdata"},
    "epc.core": {"ipdb"},
}
"""Modules that may import what is not in the standard library."""


@cache
def modules() -> dict[str, Path]:
    """Return the path of each module, by its name without the package's."""
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def layer(name: str) -> int:
    """Return the number of a module's layer."""
    best = max(
        (len(prefix), number)
        for number, prefixes in LAYERS.items()
        for prefix in prefixes
        if name == prefix or name.startswith(prefix + ".")
    )
    return best[1]


@cache
def imports(name: str, path: Path) -> list[tuple[str, int]]:
    """Return the modules imported (ours without the package's name, after a dot), and lines."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    if name == "__init__":
        package = []
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                found.append((node.module or "", node.lineno))
                continue
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = [part for part in base if part]
            for alias in node.names:
                longer = ".".join([*base, alias.name])
                found.append(
                    ("." + (longer if longer in modules() else ".".join(base)), node.lineno)
                )
    return found


def all_imports() -> Iterator[tuple[str, str, str]]:
    """Yield each importing module, what it imports, and the place in words."""
    for name, path in sorted(modules().items()):
        for target, line in imports(name, path):
            yield name, target, f"{path}:{line} imports {target}"


def test_imports_go_down() -> None:
    """A module imports only from its own layer and those below, not from a protocol beside it."""
    offenders = []
    for name, target, place in all_imports():
        if target.startswith("."):
            target = target[1:] or "__init__"
            ours, theirs = name.split(".")[0], target.split(".")[0]
            beside = ours != theirs and {ours, theirs} <= SEPARATE
            if layer(target) > layer(name) or (beside and (ours, theirs) not in ALLOWED_ACROSS):
                offenders.append(place)
    assert offenders == []


def test_pure_stays_pure() -> None:
    """The pure layer imports nothing that moves bytes."""
    pure = [(target, place) for name, target, place in all_imports() if layer(name) == 1]
    assert [place for target, place in pure if target.split(".")[0] in PURE] == []


def test_few_dependencies() -> None:
    """Only the named modules import what is not in the standard library."""
    known = {"", "rpyc_like", *sys.stdlib_module_names}
    offenders = []
    for name, target, place in all_imports():
        top = target.split(".")[0]
        if top not in known and top not in THIRD_PARTY.get(name, ()):
            offenders.append(place)
    assert offenders == []


def test_one_chooser() -> None:
    """The compiled core is reached through lib.native, and nowhere else."""
    others = {
        name: path
        for name, path in modules().items()
        if name != "lib.native" and not name.startswith("_native")
    }
    assert [name for name, path in others.items() if "rpyc_like._native" in path.read_text()] == []
    assert [place for name, to, place in all_imports() if name in others and "_native" in to] == []
