"""The layers: who may import whom, as data."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "rpyc_like"

LAYERS = {
    0: ["lib", "errors", "version", "_native"],
    1: [
        "wire",
        "epc.values",
        "epc.dicts",
        "epc.escapes",
        "epc.reader",
        "epc.writer",
        "epc.codec",
        "epc.errors",
        "erlport.decoder",
        "erlport.encoder",
        "erlport.errors",
        "erlport.modern.erlterms",
        "erlport.erlterms",
        "erlport.maps",
        "erlport.order",
        "erlport.values",
        "core.consts",
        "core.chain_steps",
        "core.snapshot_dump",
        "core._brine_py",
        "core.own_types",
        "core.brine",
        "core.vinegar",
    ],
    2: ["link"],
    3: ["core", "epc", "erlport"],
    4: ["utils", "far", "aio", "tools"],
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
    "core.snapshot_load": {"numpy"},
    "utils.gevent_server": {"gevent"},
    "epc.values": {"sexpdata"},
    "epc.core": {"ipdb"},
}
"""Modules that may import what is not in the standard library."""


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def layer(name: str) -> int:
    best = max(
        (len(prefix), number)
        for number, prefixes in LAYERS.items()
        for prefix in prefixes
        if name == prefix or name.startswith(prefix + ".")
    )
    return best[1]


def imports(name: str, path: Path) -> list[tuple[str, int]]:
    """Returns the modules imported (ours without the package's name, after a dot), and lines."""
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


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_imports_go_down(name: str, path: Path) -> None:
    """A module imports only from its own layer and those below."""
    for target, line in imports(name, path):
        if not target.startswith("."):
            continue
        target = target[1:] or "__init__"
        assert layer(target) <= layer(name), f"{path}:{line} imports {target}"
        ours, theirs = name.split(".")[0], target.split(".")[0]
        if ours != theirs and {ours, theirs} <= SEPARATE:
            assert (ours, theirs) in ALLOWED_ACROSS, f"{path}:{line} imports {target}"


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_pure_stays_pure(name: str, path: Path) -> None:
    """The pure layer moves nothing."""
    if layer(name) == 1:
        for target, line in imports(name, path):
            assert target.split(".")[0] not in PURE, f"{path}:{line} imports {target}"


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_few_dependencies(name: str, path: Path) -> None:
    """Only the named modules import what is not in the standard library."""
    import sys

    for target, line in imports(name, path):
        top = target.split(".")[0]
        if top and top not in {*sys.stdlib_module_names, "rpyc_like"}:
            assert top in THIRD_PARTY.get(name, ()), f"{path}:{line} imports {target}"


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_one_chooser(name: str, path: Path) -> None:
    """The compiled core is reached through lib.impl, and nowhere else."""
    if name != "lib.impl" and not name.startswith("_native"):
        assert "rpyc_like._native" not in path.read_text()
        assert not [target for target, _ in imports(name, path) if "_native" in target]
