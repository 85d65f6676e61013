"""The command ``python -m rpyc_like`` and its subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..version import __version__
from . import exposes

__all__ = ["COMMANDS", "main"]

COMMANDS: Final[dict[str, Callable[[Any], None]]] = {"exposes": exposes.add_to}
"""What adds each subcommand to the parser: its arguments, and ``run``, which is given their values
and returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status.

    Args:
        arguments: those of the program without it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m rpyc_like", description="Tools of rpyc_like.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"rpyc_like {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add_to in COMMANDS.values():
        add_to(commands)
    options = parser.parse_args(arguments)
    return int(options.run(options))
