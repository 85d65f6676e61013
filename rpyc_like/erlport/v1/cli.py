"""The program that Erlang starts: ``python -m rpyc_like.erlport [options]``.

Erlang's side of erlport adds ``-u -m erlport.cli`` and its own options to whatever it is told to
start, which is why ``{python, "python3 -m rpyc_like.erlport"}`` works there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ...link.streams import PipeStream
from ..port_streams import stream_over
from .bridge import Instance
from .stdio import redirect

__all__ = ["ERLANG_SOURCES", "main", "parse"]

ERLANG_SOURCES = Path(__file__).resolve().parent.parent / "priv"
"""Where this package's own Erlang module is."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options in a command line; leaves with status 2 if there is something wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m rpyc_like.erlport",
        description="Serve the Erlang process that has started this program.",
    )
    parser.add_argument("--packet", type=int, default=4, choices=(1, 2, 4))
    parser.add_argument("--use_stdio", dest="stdio", action="store_true", default=True)
    parser.add_argument("--nouse_stdio", dest="stdio", action="store_false")
    parser.add_argument("--compressed", type=int, default=0, choices=range(10))
    parser.add_argument("--buffer_size", type=int, default=65536, help="is not used")
    parser.add_argument("--threads", type=int, help="how many calls are served at once (1)")
    parser.add_argument("--none", default="undefined", help="the atom that is None")
    parser.add_argument("--text", default="list", choices=("list", "binary"))
    parser.add_argument("--binaries", default="bytes", choices=("bytes", "text"))
    parser.add_argument("--pickle", action="store_true", help="load pickles that Erlang sends")
    parser.add_argument("--max-frame-size", type=int, default=1 << 30, metavar="BYTES")
    parser.add_argument("--max-handles", type=int, default=100_000, metavar="NUMBER")
    parser.add_argument("--max-held-memory", type=int, default=256 << 20, metavar="BYTES")
    parser.add_argument("--max-items", type=int, default=1_000_000, metavar="NUMBER")
    parser.add_argument("--max-inflated-size", type=int, default=64 << 20, metavar="BYTES")
    parser.add_argument("--max-memory", type=int, metavar="BYTES")
    parser.add_argument("--cancels", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--path", action="store_true", help="print where rpyc_like.erl is, and leave"
    )
    parser.add_argument("-V", "--version", action="version", version=f"Python {sys.version}")
    parser.add_argument("-u", dest="_unbuffered", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-m", dest="_module", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Serves until Erlang closes the port; returns the status to leave with.

    It is 0 if Erlang closed the port, 1 if something that came was no message.
    """
    options = parse(arguments)
    if options.path:
        print(ERLANG_SOURCES)
        return 0
    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr, level=logging.WARNING)
    instance = Instance(
        PipeStream.from_std() if options.stdio else stream_over(3, 4),
        packet=options.packet,
        compressed=options.compressed,
        threads=options.threads,
        none=options.none,
        text=options.text,
        binaries=options.binaries,
        pickled=options.pickle,
        cancels=options.cancels,
        max_frame_size=options.max_frame_size,
        max_handles=options.max_handles,
        max_held_memory=options.max_held_memory,
        max_items=options.max_items,
        max_inflated_size=options.max_inflated_size,
        max_memory=options.max_memory,
    )
    instance.make_default()
    redirect(instance.write_output)
    try:
        instance.serve()
    finally:
        sys.stdout = sys.__stdout__
    return 1 if instance.failure is not None else 0
