"""Erlang: ports and the external term format, over the same connection layer as everything else.

The names here are those of erlport 0.6, so that a program changes its imports from ``erlport`` to
``rpyc_like.erlport`` and nothing else. What works with erlport 1.x is in
:mod:`rpyc_like.erlport.v1`; ``python -m rpyc_like.erlport`` is its program.
"""

from __future__ import annotations

from ..version import __version__
from .erlproto import NO_REPLY, Port, Protocol
from .erlterms import Atom, BitBinary, IncompleteData, String, decode, encode

__all__ = [
    "NO_REPLY",
    "Atom",
    "BitBinary",
    "IncompleteData",
    "Port",
    "Protocol",
    "String",
    "__version__",
    "decode",
    "encode",
]
