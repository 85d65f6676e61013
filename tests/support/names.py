"""The peers' public names beside ours: ``python -m tests.support.names`` prints what is missing.

``tests/data/*-names.json`` were made by introspection of the installed rpyc 6.0.2 and epc 0.0.5:
modules, their names, signatures as ``[name, kind, has a default]``, and members of classes.
"""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data"
PEERS = {
    "rpyc": ("rpyc-6.0.2-names.json", "rpyc_like"),
    "epc": ("epc-0.0.5-names.json", "rpyc_like.epc"),
}
_POSITIONAL = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")


def signature(obj: Any) -> list[list[Any]] | None:
    """Returns parameters as ``[name, kind, has a default]``, or None if there is no telling."""
    try:
        parameters = inspect.signature(obj).parameters.values()
    except (TypeError, ValueError):
        return None
    return [[p.name, p.kind.name, p.default is not inspect.Parameter.empty] for p in parameters]


def misfit(theirs: list[list[Any]] | None, ours: list[list[Any]] | None) -> str | None:
    """Returns why calls that fit the one signature do not fit the other, or None."""
    if theirs is None or ours is None:
        return None
    names = {name for name, _, _ in ours}
    open_args = any(kind == "VAR_POSITIONAL" for _, kind, _ in ours)
    open_kwargs = any(kind == "VAR_KEYWORD" for _, kind, _ in ours)
    own = [parameter for parameter in ours if parameter[1] in _POSITIONAL]
    for position, (name, kind, optional) in enumerate(theirs):
        if kind in ("VAR_POSITIONAL", "VAR_KEYWORD"):
            continue
        if name not in names and not open_kwargs and not (open_args and not optional):
            return f"parameter {name!r} is missing"
        if kind in _POSITIONAL and not open_args:
            if position >= len(own) or own[position][0] != name:
                return f"parameter {name!r} is not at position {position}"
        if optional and any(p[0] == name and not p[2] for p in own) and name in names:
            return f"parameter {name!r} has no default"
    wanted = {name for name, _, _ in theirs}
    for name, kind, optional in ours:
        if name not in wanted and not optional and kind in (*_POSITIONAL, "KEYWORD_ONLY"):
            return f"parameter {name!r} has no default"
    return None


def problems(peer: str) -> list[str]:
    """Returns what of a peer's is missing or does not fit, as ``module.name: why``."""
    found = []
    data, package = PEERS[peer]
    for module_name, names in json.loads((DATA / data).read_text()).items():
        own_name = module_name.replace(peer, package, 1)
        try:
            module = importlib.import_module(own_name)
        except ImportError:
            found.append(f"{module_name}: no such module")
            continue
        for name, about in names.items():
            where = f"{module_name}.{name}"
            if not hasattr(module, name):
                found.append(f"{where}: not there")
                continue
            obj = getattr(module, name)
            if about["kind"] in ("function", "class"):
                why = misfit(about["signature"], signature(obj))
                if why:
                    found.append(f"{where}: {why}")
            for member, what in about.get("members", {}).items():
                if not hasattr(obj, member):
                    found.append(f"{where}.{member}: not there")
                elif what["kind"] == "method":
                    static = inspect.getattr_static(obj, member)
                    func = getattr(static, "__func__", getattr(static, "func", static))
                    theirs, mine = what["signature"], signature(func)
                    why = misfit(theirs and theirs[1:], mine and mine[1:])  # self by any name
                    if why:
                        found.append(f"{where}.{member}: {why}")
    return found


def main() -> None:
    found = [problem for peer in PEERS for problem in problems(peer)]
    print(*found, f"{len(found)} differences", sep="\n")


if __name__ == "__main__":
    main()
