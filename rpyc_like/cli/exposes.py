"""``exposes``: what a peer could reach from a service, with the rules that let it."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from ..core.config import OF_SERVERS, client_settings, make_config, meant_by
from ..tools.exposes import MAX_DEPTH, MAX_NODES, Node, Tree, denied, exposes

__all__ = ["add_to", "run"]

_EPILOG = """\
exit status: 0 if all is well; 1 if a name of --deny is reachable, or names are denied and the peer
may do everything or the tree was cut, or with --strict if results are unknown; 2 if the arguments
are wrong or the service cannot be loaded"""


def add_to(commands: Any) -> None:
    """Add the subcommand to a parser."""
    parser = commands.add_parser(
        "exposes",
        help="show what a peer could reach from a service",
        description="Show what a peer could reach from a service, as a tree, with the rule that "
        "lets each attribute through, and the ladders found. The module is imported; no code of "
        "the service runs. What is not known without running it is shown as ?.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("service", metavar="MODULE:NAME", help="a service class, or any object")
    parser.add_argument(
        "--classic",
        action="store_true",
        help="with the settings of a classic client, for an object that it passes to its server",
    )
    parser.add_argument(
        "--config",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_setting,
        help="a key of the server's configuration; the value is a Python literal (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a tree")
    parser.add_argument(
        "--deny",
        metavar="NAME",
        action="append",
        default=[],
        help="exit with 1 if this name, dotted path, or function, class or module of this full "
        "name is reachable; * and ? match as in file names (repeatable)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 also if a result or attribute is unknown (?)",
    )
    parser.add_argument(
        "--max-nodes",
        metavar="N",
        type=_bound,
        default=MAX_NODES,
        help="most attributes in the tree (%(default)s)",
    )
    parser.add_argument(
        "--max-depth",
        metavar="N",
        type=_bound,
        default=MAX_DEPTH,
        help="most names of a path (%(default)s)",
    )
    parser.set_defaults(run=run)


def _setting(text: str) -> tuple[str, Any]:
    """Return a key and its value."""
    key, equals, value = text.partition("=")
    known = make_config(None)
    if not equals:
        raise argparse.ArgumentTypeError(f"expected a configuration key and =, got {text!r:.100}")
    if key not in known:
        meant = meant_by(key)
        near = f"; did you mean {meant!r}?" if meant else ""
        if key in OF_SERVERS:
            near = "; it is an argument of the server"
        raise argparse.ArgumentTypeError(f"unknown configuration key {key!r:.100}{near}")
    try:
        setting = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        message = f"expected a Python literal as the value of {key!r}, got {value!r}"
        raise argparse.ArgumentTypeError(message) from None
    try:
        make_config({key: setting})
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return key, setting


def _bound(text: str) -> int:
    """Return a positive number."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return int(text)


def run(options: Any) -> int:
    """Print the tree; return the exit status."""
    try:
        root = _load(options.service)
    except (Exception, SystemExit) as error:
        print(f"cannot load {options.service!r}: {error!r:.500}", file=sys.stderr)
        return 2
    config = make_config(None)
    if options.classic:
        config.update(client_settings(config))
    config.update(options.config)
    tree = exposes(root, config, options.max_nodes, options.max_depth)
    text = "\n".join(_lines(tree))
    if options.json:
        text = json.dumps(_as_json(tree, options.deny), indent=2)
    _print(text)
    status = 0
    for pattern, node in denied(tree, options.deny):
        status = 1
        where = node.path or "the root"
        print(f"denied name {pattern!r} is reachable: {where} ({node.what})", file=sys.stderr)
    if tree.full_control and options.deny:
        status = 1
        print("denied names are reachable: the peer may do everything", file=sys.stderr)
    elif tree.is_cut and options.deny:
        status = 1
        print(
            "denied names may be reachable: the tree was cut (expected more of --max-nodes, got "
            f"{options.max_nodes}, or of --max-depth, got {options.max_depth})",
            file=sys.stderr,
        )
    elif tree.unknown and (options.deny or options.strict):
        status = 1 if options.strict else status
        print(
            f"not looked at: what is behind unknown results (?), {len(tree.unknown)} in all, the "
            f"first at {tree.unknown[0].path}; expected return annotations that name one class",
            file=sys.stderr,
        )
    return status


def _print(text: str) -> None:
    """Print the result; who reads it may want its beginning only, as ``head`` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # else the interpreter complains at its end
        os.close(nowhere)


def _load(text: str) -> Any:
    """Return the object that ``module:name`` names; the name may be dotted."""
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise ValueError("expected MODULE:NAME")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _lines(tree: Tree) -> Iterator[str]:
    """Yield the lines of a tree."""
    yield f"{tree.root.name}: {tree.root.what}"
    if tree.full_control:
        yield "full control: the peer may do everything in this process"
        return
    yield from _below(tree.root, "")
    for change in tree.changes:
        yield f"names that may be read {change}, but for those of the service itself"
    ladders = tree.ladders
    if tree.is_cut:
        yield "the tree is cut (--max-nodes, --max-depth): there is more"
    yield f"{len(ladders)} ladder{'' if len(ladders) == 1 else 's'} found"
    for node in ladders:
        yield f"  {node.path}: {node.what}: {node.ladder}"


def _below(node: Node, indent: str) -> Iterator[str]:
    """Yield the lines of what is below a node."""
    if node.safe and not node.what.startswith(("function", "class ")):
        yield f"{indent}{'├── ' if node.children else '└── '}safe attributes: {' '.join(node.safe)}"
    for child in node.children:
        is_last = child is node.children[-1]
        notes = [f"[{child.rule}]"]
        if child.ladder:
            notes.append("! LADDER")
        if child.note:
            notes.append(f"({child.note})")
        text = f"{child.name}: {child.what}"
        yield f"{indent}{'└── ' if is_last else '├── '}{text}  {' '.join(notes)}"
        yield from _below(child, indent + ("    " if is_last else "│   "))


def _node_as_json(node: Node) -> dict[str, Any]:
    shown = {key.name: getattr(node, key.name) for key in dataclasses.fields(node)}
    del shown["same"]
    return {**shown, "children": [_node_as_json(child) for child in node.children]}


def _as_json(tree: Tree, patterns: list[str]) -> dict[str, Any]:
    found = [{"name": name, "path": node.path} for name, node in denied(tree, patterns)]
    if tree.full_control:
        found = [{"name": name, "path": "*"} for name in patterns]
    return {
        "root": _node_as_json(tree.root),
        "full_control": tree.full_control,
        "is_cut": tree.is_cut,
        "changes": tree.changes,
        "ladders": [node.path for node in tree.ladders],
        "denied": found,
    }
