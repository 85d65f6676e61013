"""From Erlang's external term format to Python, in one pass and without recursion.

Source: the chapter "External Term Format" of Erlang's runtime system guide. All integers are
big-endian unless a comment says otherwise.

What a term may take in memory is limited (:func:`rpyc_like.wire.meter.message_memory`). Each tag
has a price, which is spent before the value is made; the compiled half has the same prices.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from array import array
from collections.abc import Callable
from io import BytesIO
from math import isfinite
from typing import Any, Final

from ...erlport.errors import IncompleteData, MalformedTerm, TermLimitExceeded
from ...errors import MalformedValue
from ...lib.native import etf
from ..meter import LOOK_EVERY, message_memory
from .maps import Map
from .values import BitBinary, Export, Fun, ImproperList, Local, Pid, PortId, Reference

__all__ = ["MAX_INFLATED_SIZE", "VERSION", "Decoder"]

VERSION: Final = 131

MAX_INFLATED_SIZE: Final = 64 << 20
"""Default limit of an inflated term, in bytes."""

_TABLE_MEMORY: Final = 4 << 20  # bytes for a table of atoms
_PIECE: Final = 1 << 16  # bytes of compressed data that are inflated at once
_SMALLEST_LOCAL: Final = 7  # version, tag, a hash of four bytes, and a tag
_BULK: Final = 4  # elements from which reading them in one go pays

_TUPLE, _LIST, _MAP, _FUN = range(4)

# Prices in bytes of memory, the place in the container included: as CPython 3.11 allocates, rounded
# up to 16. Atoms that are known cost their place only.
_PLACE: Final = 9  # a list grows by an eighth
_CONTAINER: Final = 64 + _PLACE
_OPEN: Final = 176  # what an incomplete container takes beside; given back when it is complete
_PAIR: Final = 112  # of a map, in its table
_PLAIN_KEYS: Final = frozenset((int, bytes, str))
_OPEN_PAIR: Final = 72  # what it takes beside while the map is made
_KEY: Final = 160  # a key that is wrapped, with its canonical bytes
_NEW_ATOM: Final = 512
_RARE: Final = 320
_PRICES: Final = [_RARE] * 256
for _tag, _price in (
    *((99, 32 + _PLACE), (110, 48 + _PLACE), (111, 48 + _PLACE)),
    *((97, _PLACE), (98, 32 + _PLACE), (70, 32 + _PLACE), (106, _CONTAINER), (107, _CONTAINER)),
    *((100, _PLACE), (115, _PLACE), (118, _PLACE), (119, _PLACE), (109, 80 + _PLACE)),
    *((104, _CONTAINER), (105, _CONTAINER), (108, _CONTAINER), (116, 144 + _PLACE)),
):
    _PRICES[_tag] = _price

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_I32 = struct.Struct(">i").unpack_from
_F64 = struct.Struct(">d").unpack_from
_FLOAT_TEXT = re.compile(rb"[-+]?\d+\.\d+([eE][-+]?\d+)?\0").match
_NODE_IDS = {
    88: struct.Struct(">III"),
    103: struct.Struct(">IIB"),
    89: struct.Struct(">II"),
    102: struct.Struct(">IB"),
    120: struct.Struct(">QI"),
    101: struct.Struct(">IB"),
}


class Decoder:
    """Bytes to values.

    Args:
        atom: makes an atom of its name.
        constants: what atoms of these names mean, instead of an atom.
        list_type: makes a list of a list; None if a plain list will do. Its lists cannot be
            changed: there is one empty list.
        special: an atom and a function: a tuple of three whose first element is the atom becomes
            what the function makes of it.
        map_type: makes a map of pairs.
        binary: makes a value of the bytes of a binary; None for bytes.
        max_inflated_size: largest inflated term to accept, in bytes.
        max_memory: how many bytes of memory a term may become; without it 64 MiB, and 32 for each
            byte of the term (inflated).
    """

    def __init__(
        self,
        *,
        atom: Callable[[str], Any],
        constants: dict[str, Any],
        list_type: Callable[[list[Any]], Any] | None = None,
        special: tuple[Any, Callable[[tuple[Any, ...]], Any]] | None = None,
        map_type: Callable[[list[tuple[Any, Any]]], Any] = Map,
        binary: Callable[[bytes], Any] | None = None,
        max_inflated_size: int = MAX_INFLATED_SIZE,
        max_memory: int | None = None,
    ) -> None:
        self._atom = atom
        self._constants = constants
        self._list = list_type
        self._special: Any
        self._make_special: Callable[[tuple[Any, ...]], Any]
        self._special, self._make_special = special or (self, tuple)
        self._map = map_type
        self._binary = binary
        self.max_inflated_size = max_inflated_size
        self.max_memory = max_memory
        self._atoms: dict[bytes, Any] = {}
        self._room = _TABLE_MEMORY
        self._empty = None if list_type is None else list_type([])
        self._prices = list(_PRICES)
        if list_type is not None:
            self._prices[106] = _PLACE
        self._makers = (
            *(self._atoms, self._new_atom, list_type, self._empty, map_type, binary),
            *(self._special, self._make_special),
        )

    def decode(self, data: bytes) -> tuple[Any, bytes]:
        """Returns a term and the bytes after it.

        Args:
            data: begins with the version byte 131; may be compressed.

        Raises:
            IncompleteData: the bytes end too early.
            MalformedTerm: they are not a term.
            TermLimitExceeded: it is inflated to more than is allowed, or takes too much memory.
        """
        if type(data) is not bytes:
            data = bytes(data)
        if len(data) < 2:
            if data and data[0] != VERSION:
                raise MalformedTerm(f"unknown protocol version: {data[0]}")
            raise IncompleteData(data)
        if data[0] != VERSION:
            raise MalformedTerm(f"unknown protocol version: {data[0]}")
        if data[1] == 80:
            return self._compressed(data)
        if data[1] == 121:
            if len(data) < _SMALLEST_LOCAL:
                raise IncompleteData(data)
            return Local(data[1:]), b""
        try:
            value, end = self._decode(data, 1)
        except (IndexError, struct.error):
            raise IncompleteData(data) from None
        if end >= len(data):
            if end > len(data):
                raise IncompleteData(data)
            return value, b""
        return value, data[end:]

    def _compressed(self, data: bytes) -> tuple[Any, bytes]:
        if len(data) < 6:
            raise IncompleteData(data)
        (size,) = _U32(data, 2)
        if size > self.max_inflated_size:
            what = "inflated term size in bytes"
            raise TermLimitExceeded(what, size, self.max_inflated_size, "max_inflated_size")
        term, rest = _inflated(data, 6, size)
        try:
            value, _ = self.decode_from(term, 0)
        except IncompleteData:
            raise MalformedTerm("expected a whole term in the compressed data") from None
        return value, rest

    def decode_from(self, data: bytes, start: int) -> tuple[Any, int]:
        """Returns the term that begins at ``start`` with its tag, and where it ends."""
        try:
            value, end = self._decode(data, start)
        except (IndexError, struct.error):
            raise IncompleteData(data) from None
        if end > len(data):
            raise IncompleteData(data)
        return value, end

    def _decode(self, data: bytes, position: int) -> tuple[Any, int]:
        limit = message_memory(len(data), self.max_memory)
        if etf is not None:
            found: Any = etf.decode(data, position, self._makers, limit)
            if type(found) is int:
                raise _too_much(limit, found)
            if found is False:
                raise IncompleteData(data)
            if found is not None:
                return found  # type: ignore[no-any-return]
        size, left, prices = len(data), limit, self._prices
        atoms, list_type, binary = self._atoms, self._list, self._binary
        wide = 4 if binary is not None else 1  # bytes of memory for a byte of a binary
        funs = 0  # how many of the incomplete containers are funs
        # The innermost container that is not complete: its kind, its elements, how many it needs.
        kind, items, needed = -1, [], 0  # type: tuple[int, list[Any], int]
        about: Any = None
        outer: list[tuple[int, list[Any], int, Any]] = []
        value: Any
        while True:
            tag = data[position]
            left -= prices[tag]
            if left < 0:
                raise _too_much(limit, left)
            if tag == 97:
                value = data[position + 1]
                position += 2
            elif tag == 100 or tag == 119 or tag == 115 or tag == 118:
                if tag == 100 or tag == 118:
                    end = position + 3 + (data[position + 1] << 8 | data[position + 2])
                else:
                    end = position + 2 + data[position + 1]
                name = data[position:end]
                try:
                    value = atoms[name]
                except KeyError:
                    left -= _NEW_ATOM + 4 * len(name)
                    value = self._new_atom(name, end - position)
                position = end
            elif tag == 98:
                value = _I32(data, position + 1)[0]
                position += 5
            elif tag == 109:
                end = position + 5 + _U32(data, position + 1)[0]
                if end > size:
                    raise IncompleteData(data)
                left -= wide * (end - position)
                if left < 0:
                    raise _too_much(limit, left)
                value = data[position + 5 : end]
                if binary is not None:
                    value = binary(value)
                position = end
            elif tag == 104 or tag == 105:
                if tag == 104:
                    count = data[position + 1]
                    position += 2
                else:
                    count = _U32(data, position + 1)[0]
                    position += 5
                if count:
                    if count > size - position:
                        raise IncompleteData(data)
                    left -= _OPEN
                    outer.append((kind, items, needed, about))
                    kind, items, needed = _TUPLE, [], count
                    continue
                value = ()
            elif tag == 106:
                value = [] if list_type is None else self._empty
                position += 1
            elif tag == 107:
                end = position + 3 + (data[position + 1] << 8 | data[position + 2])
                if end > size:
                    raise IncompleteData(data)
                left -= _PLACE * (end - position)
                if left < 0:
                    raise _too_much(limit, left)
                value = list(data[position + 3 : end])
                if list_type is not None:
                    value = list_type(value)
                position = end
            elif tag == 108:
                count = _U32(data, position + 1)[0]
                position += 5
                if count >= size - position:
                    raise IncompleteData(data)
                if kind == _LIST and len(items) == needed - 1:
                    needed += count  # a list as the tail of a list goes on with it
                else:
                    left -= _OPEN
                    outer.append((kind, items, needed, about))
                    kind, items, needed = _LIST, [], count + 1
                if count >= _BULK:
                    position, done = _bulk(data, position, min(count, left // 41), items)
                    left -= 41 * done
                continue
            elif tag == 70:
                value = _F64(data, position + 1)[0]
                if not isfinite(value):
                    raise MalformedTerm(f"expected a finite float, got {value}")
                position += 9
            elif tag == 116:
                count = _U32(data, position + 1)[0]
                position += 5
                if 2 * count > size - position:
                    raise IncompleteData(data)
                if count:
                    left -= _OPEN + (_PAIR + _OPEN_PAIR) * count
                    outer.append((kind, items, needed, about))
                    kind, items, needed = _MAP, [], 2 * count
                    continue
                value = self._map([])
            elif tag == 112:
                end, count = _fun_head(data, position)
                left -= _OPEN + (0 if funs else end - position)
                outer.append((kind, items, needed, about))
                kind, items, needed, about = _FUN, [], 4 + count, (position, end)
                funs += 1
                position += 30
                continue
            else:
                value, end = self._rare(tag, data, position)
                left -= 4 * (end - position)
                position = end

            while kind >= 0:
                items.append(value)
                if len(items) < needed:
                    if kind == _MAP and len(items) & 1 and type(value) not in _PLAIN_KEYS:
                        left -= _KEY
                    break
                left += _OPEN
                if kind == _TUPLE:
                    value = tuple(items)
                    if needed == 3 and value[0] is self._special:
                        value = self._make_special(value)
                elif kind == _LIST:
                    value = self._finished_list(items)
                elif kind == _MAP:
                    left += _OPEN_PAIR * (needed // 2)
                    try:
                        value = self._map(_pairs(items))
                    except TermLimitExceeded:
                        raise
                    except (ValueError, MalformedValue) as error:
                        raise MalformedTerm(f"expected a map: {error}") from None
                else:
                    funs -= 1
                    value = _fun(data, items, about, position, not funs)
                kind, items, needed, about = outer.pop()
            else:
                return value, position

    def _finished_list(self, items: list[Any]) -> Any:
        tail = items.pop()
        if type(tail) is list or (isinstance(tail, list) and type(tail) is not ImproperList):
            items.extend(tail)
        elif not items:
            return tail
        else:
            return ImproperList(items, tail)
        return items if self._list is None else self._list(items)

    def _new_atom(self, raw: bytes, size: int) -> Any:
        """Returns what an atom means.

        Args:
            raw: the atom in the external format.
            size: how many bytes that should be.
        """
        if len(raw) < size:
            raise IncompleteData(raw)
        name = _atom_name(raw)
        value = self._constants.get(name, self)
        if value is self:
            value = self._atom(name)
        self._room -= _NEW_ATOM + 4 * len(raw)
        if self._room < 0:
            self._atoms.clear()
            self._room = _TABLE_MEMORY
        self._atoms[raw] = value
        return value

    def _rare(self, tag: int, data: bytes, position: int) -> tuple[Any, int]:
        """Returns the value of a tag that is not often seen, and where it ends."""
        value: Any
        if tag == 110 or tag == 111:
            if tag == 110:
                start, count = position + 3, data[position + 1]
            else:
                start, count = position + 6, _U32(data, position + 1)[0]
            negative = data[start - 1]
            if start + count > len(data):
                raise IncompleteData(data)
            value = int.from_bytes(data[start : start + count], "little")
            return (-value if negative else value), start + count
        if tag == 77:
            return _bits(data, position)
        if tag == 99:
            text = data[position + 1 : position + 32]
            if len(text) < 31:
                raise IncompleteData(data)
            match = _FLOAT_TEXT(text)
            value = float(match[0][:-1]) if match else None
            if value is None or not isfinite(value):
                raise MalformedTerm(f"expected a float as text, got {text!r}")
            return value, position + 32
        if tag == 113:
            module, end = _atom_at(data, position + 1)
            function, end = _atom_at(data, end)
            if data[end] == 97:
                return Export(module, function, data[end + 1]), end + 2
            if data[end] == 98:
                arity = _I32(data, end + 1)[0]
                if arity >= 0:
                    return Export(module, function, arity), end + 5
            raise MalformedTerm("expected the arity of a function")
        if tag in _NODE_IDS or tag == 90 or tag == 114:
            return _node_identifier(tag, data, position)
        if tag == VERSION:
            raise MalformedTerm("expected a tag, got the version byte 131 again")
        raise MalformedTerm(f"unsupported data tag: {tag}")


def _too_much(limit: int, left: int) -> TermLimitExceeded:
    """Return the error for a term of which ``left`` bytes of its memory are left, below zero."""
    return TermLimitExceeded("memory for a term in bytes", limit - left, limit, "max_memory")


def _inflated(data: bytes, start: int, size: int) -> tuple[bytes, bytes]:
    """Return compressed data that begins at ``start``, inflated, and the bytes after it.

    Args:
        size: how many bytes it must become.
    """
    inflater = zlib.decompressobj()
    term = BytesIO()  # grows in place and gives its bytes away without a copy
    missing, end = size, start
    view = memoryview(data)
    try:
        while not inflater.eof and end < len(data):
            piece: Any = view[end : end + _PIECE]
            end += len(piece)
            while len(piece) and not inflater.eof:
                # One byte too many is enough to see that there are too many.
                missing -= term.write(inflater.decompress(piece, min(missing + 1, _PIECE * 16)))
                if missing < 0:
                    raise MalformedTerm(f"expected {size} compressed bytes, got another number")
                piece = inflater.unconsumed_tail
    except zlib.error as error:
        raise MalformedTerm(f"expected compressed data: {error}") from error
    if not inflater.eof:
        raise IncompleteData(data)
    if missing:
        raise MalformedTerm(f"expected {size} compressed bytes, got another number")
    return term.getvalue(), inflater.unused_data + data[end:]


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    """Return keys and values, which alternate, in pairs; other threads run meanwhile."""
    pairs: list[tuple[Any, Any]] = []
    for start in range(0, len(items), 2 * LOOK_EVERY):
        some = items[start : start + 2 * LOOK_EVERY]
        pairs.extend(zip(some[::2], some[1::2]))
    return pairs


def _bulk(data: bytes, position: int, count: int, items: list[Any]) -> tuple[int, int]:
    """Reads elements that are all floats, or all integers of four bytes, in one go.

    Returns:
        Where the next element begins, and how many were read: none if they are something else.
    """
    tag = data[position]
    if tag == 70:
        code, step = "d", 9
    elif tag == 98:
        code, step = "i", 5
    else:
        return position, 0
    end = position + step * count
    if end > len(data) or data[position:end:step].count(tag) != count:
        return position, 0
    # The first tag is where it should be, so the second is, and so on.
    for start in range(position, end, step * LOOK_EVERY):
        packed = bytearray(data[start : min(end, start + step * LOOK_EVERY)])
        del packed[::step]
        values = array(code, packed)  # struct would keep a format for each number of elements
        if sys.byteorder == "little":
            values.byteswap()
        if tag == 70 and not all(map(isfinite, values)):
            raise MalformedTerm("expected finite floats, got nan or inf")
        items.extend(values)
    return end, count


def _atom_name(raw: bytes) -> str:
    tag = raw[0]
    text = raw[3:] if tag == 100 or tag == 118 else raw[2:]
    if tag == 100 or tag == 115:
        name = text.decode("latin-1")
    else:
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedTerm(f"expected an atom in UTF-8, got {text!r:.300}") from None
    if len(name) > 255:
        raise MalformedTerm(f"expected an atom of 255 characters at most, got {len(name)}")
    return name


def _atom_at(data: bytes, position: int) -> tuple[str, int]:
    """Returns the name of the atom at a position, and where it ends."""
    tag = data[position]
    if tag == 100 or tag == 118:
        end = position + 3 + _U16(data, position + 1)[0]
    elif tag == 115 or tag == 119:
        end = position + 2 + data[position + 1]
    else:
        raise MalformedTerm(f"expected an atom, got data tag {tag}")
    if end > len(data):
        raise IncompleteData(data)
    return _atom_name(data[position:end]), end


def _bits(data: bytes, position: int) -> tuple[Any, int]:
    (count,) = _U32(data, position + 1)
    bits = data[position + 5]
    end = position + 6 + count
    if end > len(data):
        raise IncompleteData(data)
    if not count and not bits:
        return b"", end
    if not count or not 1 <= bits <= 8:
        raise MalformedTerm(f"expected 1 to 8 bits in the last of {count} bytes, got {bits}")
    last = data[end - 1] & (0xFF00 >> bits)  # the other bits mean nothing
    return BitBinary(data[position + 6 : end - 1] + bytes((last,)), bits), end


def _node_identifier(tag: int, data: bytes, position: int) -> tuple[Any, int]:
    """Returns a pid, port or reference, in the layouts of all releases."""
    if tag == 90 or tag == 114:
        (count,) = _U16(data, position + 1)
        node, position = _atom_at(data, position + 3)
        if tag == 90:
            (creation,) = _U32(data, position)
            position += 4
        else:
            creation = data[position]
            position += 1
        if count > 5:
            raise MalformedTerm(f"expected a reference of 5 numbers at most, got {count}")
        ids = struct.unpack_from(f">{count}I", data, position)
        return Reference(node, creation, ids), position + 4 * count
    node, position = _atom_at(data, position + 1)
    layout = _NODE_IDS[tag]
    numbers = layout.unpack_from(data, position)
    position += layout.size
    if tag == 101:
        return Reference(node, numbers[1], numbers[:1]), position
    if tag in (89, 102, 120):
        return PortId(node, *numbers), position
    if tag == 103 and numbers[2] > 3:
        raise MalformedTerm(f"expected a creation of 3 at most in an old pid, got {numbers[2]}")
    return Pid(node, *numbers), position


def _fun_head(data: bytes, position: int) -> tuple[int, int]:
    """Returns where a fun ends, and how many terms it has closed over."""
    (size,) = _U32(data, position + 1)
    (count,) = _U32(data, position + 26)
    end = position + 1 + size
    if end > len(data):
        raise IncompleteData(data)
    if count > size:
        raise MalformedTerm(f"expected at most {size} terms in a fun of {size} bytes, got {count}")
    return end, count


def _fun(
    data: bytes, items: list[Any], about: tuple[int, int], position: int, outermost: bool
) -> Fun | None:
    """Returns a fun whose parts have been read; None for one inside another, which has its bytes.

    Args:
        about: where it starts, and where it says that it ends.
        position: where it ends.
    """
    start, stop = about
    if position != stop:
        raise MalformedTerm(f"expected a fun of {stop - start} bytes, got {position - start}")
    index, uniq, pid = items[1:4]
    if type(index) is not int or type(uniq) is not int or type(pid) is not Pid:
        raise MalformedTerm("expected module, index, number and pid in a fun")
    module, _ = _atom_at(data, start + 30)
    if not outermost:
        return None
    return Fun(data[start:stop], module, data[start + 5])
