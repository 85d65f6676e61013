"""Terms as erlport 0.6 has them: atoms are texts, None is the atom ``none``, dicts are lists.

What that library has no type for (maps, improper lists, pids, references, ports, functions) has one
here; see :mod:`.values` and :mod:`.maps`. Terms as erlport 1.x has them are in
:mod:`rpyc_like.erlport.v1`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from itertools import chain
from typing import Any, ClassVar, Final

from ..wire.etf.decoder import MAX_INFLATED_SIZE, Decoder
from ..wire.etf.encoder import Encoder
from ..wire.etf.maps import Map as _Map
from ..wire.etf.maps import MutationError, digest_and_level
from ..wire.etf.ordering import order_key
from ..wire.etf.values import CONTENTS as VALUES
from ..wire.etf.values import BitBinary, Export, Fun, ImproperList, Local, Pid, PortId, Reference
from ..wire.meter import Contents
from .errors import IncompleteData, MalformedTerm, TermLimitExceeded

__all__ = [
    "Atom",
    "BitBinary",
    "Export",
    "Fun",
    "ImproperList",
    "IncompleteData",
    "Local",
    "MalformedTerm",
    "Map",
    "MutationError",
    "Pid",
    "PortId",
    "Reference",
    "String",
    "TermLimitExceeded",
    "decode",
    "decode_term",
    "encode",
    "encode_term",
]


class Atom(str):
    """An atom; equal to the text of its name.

    Args:
        name: at most 255 characters.

    Raises:
        ValueError: it is longer.
    """

    __slots__ = ()

    def __new__(cls, name: str | bytes = "") -> Atom:
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        elif not isinstance(name, str):
            raise TypeError(f"expected the name of an atom, got {type(name).__name__}")
        if len(name) > 255:
            raise ValueError("invalid atom length")
        return super().__new__(cls, name)

    def __repr__(self) -> str:
        return f"atom({self!s})"


class String(str):
    """A text, of a list of characters that :func:`decode` has returned.

    Args:
        value: a text, or a list of code points.

    Raises:
        TypeError: it is something else.
    """

    __slots__ = ()

    def __new__(cls, value: str | Iterable[int]) -> String:
        if isinstance(value, list):
            try:
                value = "".join(map(chr, value))
            except TypeError:
                raise TypeError("expected a list of code points") from None
        elif not isinstance(value, str):
            raise TypeError(f"expected a text or a list of code points, got {type(value).__name__}")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"string({str(self)!r})"


class Map(_Map):
    """A map; see :class:`rpyc_like.wire.etf.maps.Map`."""

    __slots__ = ()

    plain_keys: ClassVar[frozenset[type]] = _Map.plain_keys | {Atom}

    @classmethod
    def canonical(cls, term: Any) -> tuple[bytes, int]:
        return digest_and_level(_canonical.encode_term(term), term)


def _fallback(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return (
            (value.year, value.month, value.day),
            (value.hour, value.minute, value.second),
        )
    raise ValueError(f"unsupported data type: {type(value)}")


def _sorted_pairs(value: dict[Any, Any]) -> list[Any]:
    pairs = list(value.items())
    try:
        return sorted(pairs)
    except TypeError:
        return sorted(pairs, key=order_key)


_CONSTANTS = {"true": True, "false": False, "none": None}

CONTENTS: Final[Contents] = {
    **VALUES,
    list: iter,
    Map: lambda value: chain.from_iterable(value.items()),
}
"""What is in the terms that a peer sends."""

_decoder = Decoder(atom=Atom, constants=_CONSTANTS, map_type=Map)
_encoder = Encoder(atom_type=Atom, none="none", fallback=_fallback, dictionary=_sorted_pairs)
_canonical = Encoder(atom_type=Atom, none="none", canonical=True)


def limited_decoder(
    max_inflated_size: int = MAX_INFLATED_SIZE, max_memory: int | None = None
) -> Decoder:
    """Return a decoder with limits of its own; the one of :func:`decode` for the usual ones."""
    if max_inflated_size == MAX_INFLATED_SIZE and max_memory is None:
        return _decoder
    return Decoder(
        atom=Atom,
        constants=_CONSTANTS,
        map_type=Map,
        max_inflated_size=max_inflated_size,
        max_memory=max_memory,
    )


def decode(
    data: bytes, *, max_inflated_size: int = MAX_INFLATED_SIZE, max_memory: int | None = None
) -> tuple[Any, bytes]:
    """Returns the term that ``data`` begins with, and the bytes after it.

    Args:
        data: the external format, from the version byte 131 on.
        max_inflated_size, max_memory: see :class:`.Decoder`.

    Raises:
        IncompleteData: the bytes end too early.
        ValueError: they are not a term (:class:`.MalformedTerm`), or too large a one when it is
            inflated, or in memory (:class:`.TermLimitExceeded`).
    """
    return limited_decoder(max_inflated_size, max_memory).decode(data)


def decode_term(data: bytes) -> tuple[Any, bytes]:
    """Returns what :func:`decode` does, of bytes that begin with the tag."""
    value, end = _decoder.decode_from(bytes(data), 0)
    return value, bytes(data[end:])


def encode(term: Any, compressed: Any = False) -> bytes:
    """Returns a value in the external format.

    Args:
        compressed: False or 0, True (which is 6), or a level of zlib's. The term is compressed if
            that makes it shorter.

    Raises:
        ValueError: the value is no term: of another type, nan, inf, or it contains itself.
    """
    return _encoder.encode(term, compressed)


def encode_term(term: Any) -> bytes:
    """Returns what :func:`encode` does without the version byte."""
    return _encoder.encode_term(term)
