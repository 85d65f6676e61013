"""Terms as erlport 1.x has them: atoms are bytes, lists and maps cannot be changed.

=========================== =============================================================
Erlang                      Python
=========================== =============================================================
atom                        :class:`Atom`; ``true``, ``false`` and ``undefined`` are
                            True, False and None
binary, bitstring           bytes, :class:`.BitBinary`
list, string                :class:`List`; a text becomes a list of its code points
improper list, tuple        :class:`.ImproperList`, tuple
map                         :class:`Map`; a dict becomes a map
pid, reference, port, fun   :class:`.Pid`, :class:`.Reference`, :class:`.PortId`,
                            :class:`.Export`, :class:`.Fun`; :class:`OpaqueObject` where the
                            Erlang side wraps them, as erlport's does
=========================== =============================================================
"""

from __future__ import annotations

import contextlib
from itertools import chain
from typing import Any, ClassVar, Final

from ...wire.etf.decoder import MAX_INFLATED_SIZE, Decoder
from ...wire.etf.encoder import Encoder, PreEncoded
from ...wire.etf.maps import Map as _Map
from ...wire.etf.maps import MutationError, digest_and_level, refuse
from ...wire.etf.values import CONTENTS as VALUES
from ...wire.etf.values import BitBinary, Export, Fun, ImproperList, Local, Pid, PortId, Reference
from ...wire.meter import Contents
from ..errors import IncompleteData, MalformedTerm, TermLimitExceeded

__all__ = [
    "PICKLE_PROTOCOL",
    "Atom",
    "BitBinary",
    "Export",
    "Fun",
    "ImproperList",
    "IncompleteData",
    "List",
    "Local",
    "MalformedTerm",
    "Map",
    "MutationError",
    "OpaqueObject",
    "Pid",
    "PortId",
    "Reference",
    "TermLimitExceeded",
    "Terms",
    "decode",
    "decode_term",
    "encode",
    "encode_term",
]

PICKLE_PROTOCOL = 2

_ATOM_MEMORY: Final = 16 << 20  # bytes, for the whole program: any peer can fill the table


class Atom(bytes):
    """An atom; one object for each name, as long as there are not too many.

    Its bytes are its name in Latin-1; in UTF-8 if Latin-1 will not do.

    Args:
        name: bytes in Latin-1, or a text, of at most 255 characters.

    Raises:
        ValueError: it is longer.
        TypeError: it is something else.
    """

    text: str
    """The name."""
    _known: ClassVar[dict[str, Atom]] = {}
    _known_memory: ClassVar[int] = 0

    def __new__(cls, name: bytes | str) -> Atom:
        if isinstance(name, str):
            text = str(name)
        elif isinstance(name, bytes):
            text = bytes(name).decode("latin-1")
        else:
            raise TypeError(f"expected the name of an atom, got {type(name).__name__}")
        known = cls._known.get(text)
        if known is not None:
            return known
        if len(text) > 255:
            raise ValueError(f"invalid atom length: expected 255 at most, got {len(text)}")
        try:
            made = super().__new__(Atom, text.encode("latin-1"))
        except UnicodeEncodeError:
            made = super().__new__(_WideAtom, text.encode("utf-8"))
        made.text = text
        memory = 300 + 4 * len(made)
        if Atom._known_memory + memory <= _ATOM_MEMORY:
            Atom._known_memory += memory
            cls._known[text] = made
        return made

    def __repr__(self) -> str:
        return f"Atom({bytes(self)!r})"

    def __str__(self) -> str:
        return repr(self)

    def __reduce__(self) -> Any:
        return (Atom, (self.text,))


class _WideAtom(Atom):
    """An atom whose name is not in Latin-1: its bytes might be those of another."""

    def __repr__(self) -> str:
        return f"Atom({self.text!r})"


class List(list[Any]):
    """A list that cannot be changed, and is hashable if its elements are."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))

    def to_string(self) -> str:
        """Returns the text of a list of code points.

        Raises:
            TypeError: something in the list is no code point.
        """
        try:
            return "".join(map(chr, self))
        except (TypeError, ValueError, OverflowError):
            raise TypeError("expected a list of code points") from None

    def __reduce__(self) -> Any:
        return (List, (list(self),))

    __setitem__ = __delitem__ = __iadd__ = __imul__ = refuse  # type: ignore[assignment]
    append = extend = insert = remove = pop = clear = refuse  # type: ignore[assignment]
    sort = reverse = refuse  # type: ignore[assignment]


class Map(_Map):
    """A map; see :class:`rpyc_like.wire.etf.maps.Map`."""

    __slots__ = ()

    plain_keys: ClassVar[frozenset[type]] = _Map.plain_keys | {Atom}

    @classmethod
    def canonical(cls, term: Any) -> tuple[bytes, int]:
        return digest_and_level(_canonical.encode_term(term), term)


class OpaqueObject:
    """A term of another language, which comes back to it as it was.

    Args:
        data: its external format (of Erlang's, without the version byte).
        language: the atom ``erlang`` or ``python``.
    """

    __slots__ = ("data", "language")

    def __init__(self, data: bytes, language: Atom) -> None:
        if type(data) is not bytes or not isinstance(language, Atom):
            raise TypeError("expected bytes and an atom")
        self.data = data
        self.language = language

    def __repr__(self) -> str:
        return f"OpaqueObject({self.data!r}, {self.language!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpaqueObject):
            return NotImplemented
        return self.data == other.data and self.language == other.language

    def __hash__(self) -> int:
        return hash((self.data, self.language))


CONTENTS: Final[Contents] = {
    **VALUES,
    List: iter,
    Map: lambda value: chain.from_iterable(value.items()),
    OpaqueObject: lambda value: (value.data,),
}
"""What is in the terms that a peer sends. Objects that it has handles of are the program's own."""

OPAQUE: Final = Atom(b"$erlport.opaque")
ERLANG: Final = Atom(b"erlang")
PYTHON: Final = Atom(b"python")


class Objects:
    """How objects that are no terms are sent, and what stands for them is received."""

    def export(self, value: Any) -> bytes:
        """Returns what stands for an object.

        Raises:
            ValueError: it cannot be sent.
        """
        raise ValueError(f"unsupported data type: {type(value)}")

    def find(self, data: bytes) -> Any:
        """Returns the object that ``data`` stands for.

        Raises:
            LookupError: there is none.
        """
        raise LookupError(data)


class Terms:
    """Values to bytes and back, in a program's own way.

    Args:
        none: the name of the atom that is None: ``"undefined"``, or ``"nil"`` for Elixir.
        text: how a text is written: ``"list"`` of code points, or ``"binary"`` in UTF-8.
        binaries: what a binary is read as: ``"bytes"``, or ``"text"`` where it is UTF-8.
        objects: does what can be done with objects that are no terms.
        max_inflated_size, max_memory: see :class:`.Decoder`.
    """

    def __init__(
        self,
        none: str = "undefined",
        text: str = "list",
        binaries: str = "bytes",
        objects: Objects | None = None,
        max_inflated_size: int = MAX_INFLATED_SIZE,
        max_memory: int | None = None,
    ) -> None:
        if binaries not in ("bytes", "text"):
            raise ValueError(f'expected binaries to be "bytes" or "text", got {binaries!r}')
        self._objects = Objects() if objects is None else objects
        self.decoder = Decoder(
            atom=Atom,
            constants={"true": True, "false": False, none: None},
            list_type=List,
            special=(OPAQUE, self._special),
            map_type=Map,
            binary=_text_or_bytes if binaries == "text" else None,
            max_inflated_size=max_inflated_size,
            max_memory=max_memory,
        )
        self.encoder = Encoder(
            atom_type=Atom, none=none, list_type=List, text=text, fallback=self._opaque
        )
        self.decode = self.decoder.decode
        self.encode = self.encoder.encode

    def _special(self, items: tuple[Any, ...]) -> Any:
        _, language, data = items
        if type(language) is not Atom:
            return items
        if type(data) is str:
            data = data.encode()
        if type(data) is not bytes:
            return items
        if language is PYTHON:
            with contextlib.suppress(LookupError):
                return self._objects.find(data)
        return OpaqueObject(data, language)

    def _opaque(self, value: Any) -> Any:
        if isinstance(value, OpaqueObject):
            return _opaque_term(value)
        return (OPAQUE, PYTHON, self._objects.export(value))


def _opaque_term(value: Any) -> Any:
    if not isinstance(value, OpaqueObject):
        raise ValueError(f"unsupported data type: {type(value)}")
    if value.language is ERLANG:
        # It goes into a message for a peer that may not be the one it came from.
        try:
            _, end = _checker.decode_from(value.data, 0)
        except MalformedTerm as error:
            raise ValueError(f"expected one whole term in an opaque object: {error}") from None
        if end != len(value.data):
            raise ValueError("expected one whole term in an opaque object, got more")
        return PreEncoded(value.data)
    return (OPAQUE, value.language, value.data)


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


_checker = Decoder(atom=str, constants={}, map_type=Map)
_canonical = Encoder(
    atom_type=Atom, none="undefined", list_type=List, fallback=_opaque_term, canonical=True
)
_terms = Terms()


def decode(data: bytes, **limits: Any) -> tuple[Any, bytes]:
    """Returns the term that ``data`` begins with, and the bytes after it.

    Args:
        data: the external format, from the version byte 131 on.
        limits: ``max_inflated_size``, ``max_memory``; see :class:`.Decoder`.

    Raises:
        IncompleteData: the bytes end too early.
        ValueError: they are not a term, or too large a one when it is inflated, or in memory.
    """
    return (Terms(**limits) if limits else _terms).decode(data)


def decode_term(data: bytes) -> tuple[Any, bytes]:
    """Returns what :func:`decode` does, of bytes that begin with the tag."""
    value, end = _terms.decoder.decode_from(bytes(data), 0)
    return value, bytes(data[end:])


def encode(term: Any, compressed: Any = False) -> bytes:
    """Returns a value in the external format.

    Args:
        compressed: False or 0, True (which is 6), or a level of zlib's.

    Raises:
        ValueError: the value is no term: of another type, nan, inf, or it contains itself.
    """
    return _terms.encode(term, compressed)


def encode_term(term: Any) -> bytes:
    """Returns what :func:`encode` does without the version byte."""
    return _terms.encoder.encode_term(term)
