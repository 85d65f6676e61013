"""Brine: the serialisation of plain immutable values on the RPyC wire.

``dump`` and ``load`` are the fastest implementation this process has; the format is described in
:mod:`rpyc_like.wire.brine.format`, types of a program's own in :mod:`.brine.registered_types`.
"""

from __future__ import annotations

from typing import Any

from ..lib.joining import join
from ..lib.native import codec
from ..wire.brine import format
from ..wire.brine.format import (
    LARGE,
    LIFTED,
    MAX_DEPTH,
    MAX_DIGITS,
    LargeValue,
    SplicedPayload,
    dump_parts,
    dump_surrogates,
    find_large,
    int_atom,
    lift,
    tuple_head,
    tuple_size_at,
)
from ..wire.brine.format import PLAIN_TYPES as container_types
from ..wire.brine.format import SIMPLE_TYPES as simple_types
from ..wire.brine.registered_types import (
    BYTES_LITERAL,
    C16,
    F8,
    I1,
    I4,
    I8I8,
    IMM_INTS,
    IMM_INTS_LOADER,
    TAG_COMPLEX,
    TAG_ELLIPSIS,
    TAG_EMPTY_STR,
    TAG_EMPTY_TUPLE,
    TAG_FALSE,
    TAG_FLOAT,
    TAG_FSET,
    TAG_INT_L1,
    TAG_INT_L4,
    TAG_NONE,
    TAG_NOT_IMPLEMENTED,
    TAG_SLICE,
    TAG_STR1,
    TAG_STR2,
    TAG_STR3,
    TAG_STR4,
    TAG_STR_L1,
    TAG_STR_L4,
    TAG_TRUE,
    TAG_TUP1,
    TAG_TUP2,
    TAG_TUP3,
    TAG_TUP4,
    TAG_TUP_L1,
    TAG_TUP_L4,
    TAG_UNICODE,
    register,
)
from ..wire.brine.registered_types import _dump as _dump
from ..wire.brine.registered_types import _dump_registry as _dump_registry
from ..wire.brine.registered_types import _load as _load
from ..wire.brine.registered_types import _load_registry as _load_registry
from ..wire.meter import Budget, budget_for

__all__ = [
    "BYTES_LITERAL",
    "C16",
    "F8",
    "I1",
    "I4",
    "I8I8",
    "IMM_INTS",
    "IMM_INTS_LOADER",
    "TAG_COMPLEX",
    "TAG_ELLIPSIS",
    "TAG_EMPTY_STR",
    "TAG_EMPTY_TUPLE",
    "TAG_FALSE",
    "TAG_FLOAT",
    "TAG_FSET",
    "TAG_INT_L1",
    "TAG_INT_L4",
    "TAG_NONE",
    "TAG_NOT_IMPLEMENTED",
    "TAG_SLICE",
    "TAG_STR1",
    "TAG_STR2",
    "TAG_STR3",
    "TAG_STR4",
    "TAG_STR_L1",
    "TAG_STR_L4",
    "TAG_TRUE",
    "TAG_TUP1",
    "TAG_TUP2",
    "TAG_TUP3",
    "TAG_TUP4",
    "TAG_TUP_L1",
    "TAG_TUP_L4",
    "TAG_UNICODE",
    "register",
    "LARGE",
    "LIFTED",
    "LargeValue",
    "SplicedPayload",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "container_types",
    "dump",
    "dump_parts",
    "dump_small",
    "dump_surrogates",
    "dumpable",
    "find_large",
    "int_atom",
    "lift",
    "load",
    "load_at",
    "price_at",
    "simple_types",
    "spend_at",
    "tuple_head",
    "tuple_size_at",
]


if codec is None:
    dump, dump_small = format.dump, format.dump_small
    load, load_at = format.load, format.load_at
    dumpable, price_at = format.dumpable, format.price_at
else:
    codec.configure_brine(
        format.dump_small,
        format.load_at,
        format.load,
        format.dumpable,
        format.own_dumps,
        lambda data: spend_at(data, 0, budget_for(len(data), None)),
    )
    format.plain_tuple = codec.plain_tuple
    dump_small, load, load_at = codec.dump_small, codec.load, codec.load_at
    dumpable, price_at = codec.dumpable, codec.price_at

    def dump(obj: Any, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS) -> bytes:
        """Returns the brine bytes of ``obj``; see :func:`rpyc_like.wire.brine.format.dump`."""
        try:
            return dump_small(obj, max_depth, max_digits)
        except LargeValue:
            return join(dump_parts(obj, max_depth, max_digits))


def spend_at(data: bytes, position: int, budget: Budget | None) -> None:
    """Takes the price of what ``data`` holds out of a budget, before anything is made of it."""
    format.spend_at(data, position, budget, price_at)
