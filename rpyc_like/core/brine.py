"""Brine: the serialisation of plain immutable values on the RPyC wire.

``dump`` and ``load`` are the fastest implementation this process has; the format is described in
:mod:`rpyc_like.core._brine_py`.
"""

from __future__ import annotations

from ._brine_py import (
    MAX_DEPTH,
    MAX_DIGITS,
    dump,
    dump_surrogates,
    dumpable,
    int_atom,
    load,
    load_at,
    tuple_head,
    tuple_size_at,
)
from ._brine_py import PLAIN_TYPES as container_types
from ._brine_py import SIMPLE_TYPES as simple_types

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "container_types",
    "dump",
    "dump_surrogates",
    "dumpable",
    "int_atom",
    "load",
    "load_at",
    "simple_types",
    "tuple_head",
    "tuple_size_at",
]
