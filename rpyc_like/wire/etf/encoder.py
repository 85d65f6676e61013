"""From Python to Erlang's external term format, without recursion.

Source: the chapter "External Term Format" of Erlang's runtime system guide. Atoms are written in
Latin-1 where that will do, which every release reads.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import chain
from math import isfinite
from operator import itemgetter
from typing import Any, Final

from ...lib.native import etf
from ..meter import LOOK_EVERY
from .maps import Map, digest
from .values import BitBinary, Export, Fun, ImproperList, Local, Pid, PortId, Reference

__all__ = ["Encoder", "PreEncoded", "atom_bytes"]

_INTEGER = struct.Struct(">Bi").pack
_COUNTED = struct.Struct(">BI").pack
_SHORT = struct.Struct(">BH").pack
_FLOAT = struct.Struct(">Bd").pack
_SMALL: Final = [bytes((97, number)) for number in range(256)]
_TUPLE: Final = [bytes((104, size)) for size in range(256)]
_NIL: Final = b"j"
_END: Final[tuple[list[Any]]] = ([],)  # what ends a proper list
_LOW, _HIGH = -(1 << 31), (1 << 31) - 1
_ZERO_OR_ONE: Final = re.compile(b"[\0\1]").finditer
_BASES: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (tuple, tuple),
    (list, list),
    (str, str.__str__),
    ((bytes, bytearray, memoryview), bytes),
    (int, int.__int__),
    (float, float.__float__),
)
"""What subclasses are written as."""
_DEEP: Final = 10_000
_TABLE_MEMORY: Final = 4 << 20  # bytes for a table of atoms

Fallback = Callable[[Any], Any]


def atom_bytes(name: str) -> bytes:
    """Returns an atom in the external format.

    Raises:
        ValueError: it has more than 255 characters.
    """
    if len(name) > 255:
        raise ValueError(f"invalid atom length: expected 255 characters at most, got {len(name)}")
    try:
        text = name.encode("latin-1")
        return _SHORT(100, len(text)) + text
    except UnicodeEncodeError:
        text = name.encode("utf-8")
        if len(text) < 256:
            return bytes((119, len(text))) + text
        return _SHORT(118, len(text)) + text


def _atom(atom: Any) -> bytes:
    return atom_bytes(atom if isinstance(atom, str) else atom.text)


class AtomTable(dict[Any, bytes]):
    """The external format of atoms that were written before."""

    _room = _TABLE_MEMORY

    def __missing__(self, atom: Any) -> bytes:
        encoded = _atom(atom)
        self._room -= 300 + 4 * len(encoded)  # a peer may have made up the name
        if self._room < 0:
            self.clear()
            self._room = _TABLE_MEMORY
        self[atom] = encoded
        return encoded


class Encoder:
    """Values to bytes.

    Args:
        atom_type: the type of atoms.
        none: the name of the atom for None.
        list_type: the type of lists beside ``list``.
        text: how a text is written: ``"list"``, as Erlang's strings are, or ``"binary"``, in UTF-8.
        fallback: is given a value of any other type and returns one to write instead, or raises
            ValueError. Subclasses of the basic types need none.
        dictionary: makes something to write of a dict; without it a map is written.
        canonical: whether equal terms give equal bytes: maps are sorted, and their keys are short
            (:func:`.digest`), so that such bytes cannot be decoded.
    """

    def __init__(
        self,
        *,
        atom_type: type,
        none: str,
        list_type: type = list,
        text: str = "list",
        fallback: Fallback | None = None,
        dictionary: Fallback | None = None,
        canonical: bool = False,
    ) -> None:
        if text not in ("list", "binary"):
            raise ValueError(f'expected text to be "list" or "binary", got {text!r}')
        self._atom_type = atom_type
        self._list_type = list_type
        self._none = atom_bytes(none)
        self._as_binary = text == "binary"
        self._fallback = fallback
        self._dictionary = dictionary
        self._canonical = canonical
        self._atoms = AtomTable()
        self._settings = (
            *(atom_type, list_type, self._none, self._as_binary, self._atoms),
            self.encode_term,
        )

    def encode(self, term: Any, compressed: Any = False) -> bytes:
        """Returns a term with the version byte 131.

        Args:
            compressed: False or 0, True (which is 6), or a level of zlib's; the term is compressed
                if that makes it shorter.

        Raises:
            ValueError: the value is no term: of another type, nan, inf, or a container of itself.
        """
        if etf is not None and not compressed:
            made: bytes | None = etf.encode(term, self._settings, True)
            if made is not None:
                return made
        if type(term) is Local:
            return b"\x83" + term.raw
        plain = self.encode_term(term)
        if compressed:
            packed = zlib.compress(plain, 6 if compressed is True else compressed)
            if len(packed) + 5 <= len(plain):
                return b"\x83" + _COUNTED(80, len(plain)) + packed
        return b"\x83" + plain

    def encode_term(self, term: Any) -> bytes:
        """Returns a term without the version byte."""
        if etf is not None:
            made: bytes | None = etf.encode(term, self._settings, False)
            if made is not None:
                return made
        written = BytesIO()  # bytes.join takes 80 bytes for each part
        write = written.write
        atoms, atom_type, list_type = self._atoms, self._atom_type, self._list_type
        outer: list[Iterator[Any]] = []
        deep = _DEEP
        items: Iterator[Any] = iter((term,))
        while True:
            for item in items:
                kind = type(item)
                if kind is int:
                    if 0 <= item <= 255:
                        write(_SMALL[item])
                    elif _LOW <= item <= _HIGH:
                        write(_INTEGER(98, item))
                    else:
                        write(_big(item))
                elif kind is atom_type:
                    write(atoms[item])
                elif kind is bytes:
                    write(_COUNTED(109, len(item)) + item)
                elif kind is tuple:
                    size = len(item)
                    write(_TUPLE[size] if size < 256 else _COUNTED(105, size))
                    if size:
                        outer.append(items)
                        items = iter(item)
                        if len(outer) > deep:
                            _check_cycles(term)
                            deep *= 4
                        break
                elif kind is list or kind is list_type:
                    if not item:
                        write(_NIL)
                        continue
                    whole = _bulk(item)
                    if whole is not None:
                        write(whole)
                        continue
                    write(_COUNTED(108, len(item)))
                    outer.append(items)
                    items = chain(item, _END)
                    if len(outer) > deep:
                        _check_cycles(term)
                        deep *= 4
                    break
                elif kind is str:
                    write(self._text(item))
                elif kind is float:
                    write(_float(item))
                elif item is True:
                    write(b"d\0\4true")
                elif item is False:
                    write(b"d\0\5false")
                elif item is None:
                    write(self._none)
                else:
                    head, rest = self._rare(item)
                    write(head)
                    if rest is not None:
                        outer.append(items)
                        items = rest
                        if len(outer) > deep:
                            _check_cycles(term)
                            deep *= 4
                        break
            else:
                if not outer:
                    return written.getvalue()
                items = outer.pop()

    def _text(self, text: str) -> bytes:
        if self._as_binary:
            encoded = text.encode("utf-8")
            return _COUNTED(109, len(encoded)) + encoded
        if not text:
            return _NIL
        try:
            encoded = text.encode("latin-1")
        except UnicodeEncodeError:
            pass
        else:
            if len(encoded) <= 0xFFFF:
                return _SHORT(107, len(encoded)) + encoded
        pieces = range(0, len(text), LOOK_EVERY)
        elements = (_elements(list(map(ord, text[at : at + LOOK_EVERY]))) for at in pieces)
        return _COUNTED(108, len(text)) + b"".join(elements) + _NIL

    def _rare(self, item: Any) -> tuple[bytes, Iterator[Any] | None]:
        """Returns what to write first, and what is to be written then, if anything."""
        write = _WRITERS.get(type(item))
        if write is not None:
            return write(item), None
        if isinstance(item, dict):
            return self._dict(item)
        if isinstance(item, ImproperList):
            return _COUNTED(108, len(item)), chain(item, (item.tail,))
        return b"", iter((self._plain(item),))

    def _dict(self, item: dict[Any, Any]) -> tuple[bytes, Iterator[Any]]:
        pairs: Any
        if isinstance(item, Map):
            pairs = self._sorted(item) if self._canonical else item.items()
        elif self._dictionary is not None:
            return b"", iter((self._dictionary(item),))
        else:
            kinds = set(map(type, item))
            if len(kinds) > 1 or not kinds <= {str, bytes, int, self._atom_type}:
                self._check_keys(item)
            pairs = item.items()
        return _COUNTED(116, len(item)), chain.from_iterable(pairs)

    def _check_keys(self, item: dict[Any, Any]) -> None:
        """Raises ValueError if two keys are the same to Erlang, which would refuse the term."""
        seen: dict[bytes, Any] = {}
        for key in item:
            other = seen.setdefault(self.encode_term(key), key)
            if other is not key:
                raise ValueError(f"{other!r:.100} and {key!r:.100} are the same key to Erlang")

    def _sorted(self, item: Map) -> Any:
        # What stands for a key is written: it is not encoded again, however deep it is nested.
        pairs = [
            (PreEncoded(digest(self.encode_term(key)) if known is None else known), value)
            for known, key, value in item.tokens()
        ]
        pairs.sort(key=itemgetter(0))
        return pairs

    def _plain(self, item: Any) -> Any:
        """Returns a value to write in the place of one whose type is not known."""
        if isinstance(item, self._atom_type):
            return PreEncoded(_atom(item))
        if isinstance(item, BitBinary):
            return BitBinary(item, item.bits)
        for base, made in _BASES:
            if isinstance(item, base):
                return made(item)
        if self._fallback is None:
            raise ValueError(f"unsupported data type: {type(item)}")
        other = self._fallback(item)
        if type(other) is type(item):
            raise ValueError(f"expected another type instead of {type(item)}, got the same")
        return other


class PreEncoded(bytes):
    """Something in the external format already."""


def _bulk(items: list[Any]) -> bytes | None:
    """Returns a list of integers only, or of floats only; None for other lists."""
    first = type(items[0])
    if first is int:
        if type(items[-1]) is int:
            size = len(items)
            if size <= 0xFFFF:
                try:
                    text = bytes(items)
                except (TypeError, ValueError, OverflowError):
                    pass
                else:
                    return None if _has_bools(items, text) else _SHORT(107, size) + text
            if set(map(type, items)) == {int}:
                return _integers(items)
    elif first is float and set(map(type, items)) == {float}:
        if not all(map(isfinite, items)):
            raise ValueError("expected finite floats, got nan or inf: Erlang has none")
        return _COUNTED(108, len(items)) + _packed("d", b"F", items) + _NIL
    return None


def _packed(code: str, tag: bytes, items: list[Any]) -> bytearray:
    """Return numbers as big-endian ones, each behind a tag."""
    values = array(code, items)  # struct would keep a format for each number of items
    if sys.byteorder == "little":
        values.byteswap()
    numbers, step = values.tobytes(), 1 + values.itemsize
    packed = bytearray(step * len(items))
    packed[::step] = tag * len(items)
    for place in range(1, step):
        packed[place::step] = numbers[place - 1 :: step - 1]
    return packed


def _has_bools(items: list[Any], text: bytes) -> bool:
    """Returns whether there are bools among items whose bytes are ``text``."""
    suspects = text.count(0) + text.count(1)
    if 16 * suspects > len(text):
        return bool in set(map(type, items))
    return suspects > 0 and any(type(items[at.start()]) is bool for at in _ZERO_OR_ONE(text))


def _integers(items: list[int]) -> bytes:
    size = len(items)
    low, high = min(items), max(items)
    if low >= 0 and high <= 255 and size <= 0xFFFF:
        return _SHORT(107, size) + bytes(items)
    pieces = range(0, size, LOOK_EVERY)
    elements = b"".join(_elements(items[at : at + LOOK_EVERY]) for at in pieces)
    return _COUNTED(108, size) + elements + _NIL


def _elements(items: list[int]) -> bytes | bytearray:
    """Return integers one after the other."""
    low, high = min(items), max(items)
    small, pack = _SMALL, _INTEGER
    if low < _LOW or high > _HIGH:
        return b"".join(
            small[item]
            if 0 <= item < 256
            else (pack(98, item) if _LOW <= item <= _HIGH else _big(item))
            for item in items
        )
    if low > 255:
        return _packed("i", b"b", items)
    return b"".join(small[item] if 0 <= item < 256 else pack(98, item) for item in items)


def _big(number: int) -> bytes:
    sign = 0
    if number < 0:
        sign, number = 1, -number
    size = (number.bit_length() + 7) // 8
    digits = number.to_bytes(size, "little")
    if size < 256:
        return bytes((110, size, sign)) + digits
    return _COUNTED(111, size) + bytes((sign,)) + digits


def _float(number: float) -> bytes:
    if not isfinite(number):
        raise ValueError(f"expected a finite float, got {number}: Erlang has no such number")
    return _FLOAT(70, number)


def _bits(item: BitBinary) -> bytes:
    if not item:
        return _COUNTED(109, 0)  # a bitstring of no bytes aborts some releases of Erlang
    if not 1 <= item.bits <= 8:
        raise ValueError(f"expected 1 to 8 bits, got {item.bits}")
    return _COUNTED(77, len(item)) + bytes((item.bits,)) + item


def _pid(item: Pid) -> bytes:
    numbers = struct.pack(">III", item.id, item.serial, item.creation)
    return b"X" + atom_bytes(item.node) + numbers


def _port(item: PortId) -> bytes:
    if item.id < 1 << 28:
        return b"Y" + atom_bytes(item.node) + struct.pack(">II", item.id, item.creation)
    return b"x" + atom_bytes(item.node) + struct.pack(">QI", item.id, item.creation)


def _reference(item: Reference) -> bytes:
    size = len(item.ids)
    head = _SHORT(90, size) + atom_bytes(item.node)
    return head + struct.pack(f">{size + 1}I", item.creation, *item.ids)


def _export(item: Export) -> bytes:
    arity = _SMALL[item.arity] if 0 <= item.arity < 256 else _INTEGER(98, item.arity)
    return b"q" + atom_bytes(item.module) + atom_bytes(item.function) + arity


def _local(item: Local) -> bytes:
    raise ValueError("expected a local term to stand alone: it cannot be part of another")


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    BitBinary: _bits,
    Pid: _pid,
    PortId: _port,
    Reference: _reference,
    Export: _export,
    Fun: lambda item: item.raw,
    Local: _local,
    PreEncoded: bytes,
}


def _check_cycles(term: Any) -> None:
    """Raises ValueError if a container contains itself: it would never end.

    Called when containers are nested very deep.
    """
    containers = (tuple, list, dict)
    path: list[tuple[int, Iterator[Any]]] = [(id(term), _contents(term))]
    above = {id(term)}
    done: set[int] = set()
    while path:
        own, rest = path[-1]
        for item in rest:
            if isinstance(item, containers) and id(item) not in done:
                if id(item) in above:
                    raise ValueError(
                        f"a {type(item).__name__} contains itself: Erlang has no such term"
                    )
                above.add(id(item))
                path.append((id(item), _contents(item)))
                break
        else:
            path.pop()
            above.discard(own)
            done.add(own)


def _contents(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        return chain.from_iterable(item.items())
    if isinstance(item, ImproperList):
        return chain(item, (item.tail,))
    return iter(item)
