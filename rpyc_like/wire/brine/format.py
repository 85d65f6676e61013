"""Brine in pure Python: the specification of the format, and the fallback of the compiled codec.

The format is RPyC's (its release 6.0.2): a tag byte, then a body. Only exact types travel; a
subclass is not brine. Both directions are iterative, so nesting is bounded by a limit and not by
the interpreter's stack.

=============  ==============================================================================
tag            value
=============  ==============================================================================
00             None
01, 02         ``b""``, ``()``
03, 04         True, False
05, 06         NotImplemented, Ellipsis
08             str: a brine bytes value that holds UTF-8
0a 0b 0c 0d    bytes of length 1, 2, 3, 4
0e, 0f         bytes: length in 1 byte, in 4 bytes (big-endian)
10 11 12 13    tuple of 1, 2, 3, 4 items
14, 15         tuple: count in 1 byte, in 4 bytes
16, 17         int: length in 1 byte, in 4 bytes, then ASCII decimal digits
18             float: IEEE double, big-endian
19             slice: a tuple value ``(start, stop, step)``
1a             frozenset: a tuple value
1b             complex: two doubles
20 to ef       int, value is the tag minus 0x50 (-48 to 159)
=============  ==============================================================================
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from ...errors import LimitExceeded, LocalProtocolError, MalformedValue
from ...lib.big_ints import from_decimal, to_decimal
from ...lib.brief import brief
from ...lib.hashes import update_in_slices
from ...lib.joining import join
from ..meter import (
    MAX_EQUAL_HASHES,
    UNMETERED_SIZE,
    Budget,
    budget_for,
    check_hashes,
    set_memory,
    text_memory,
)

__all__ = [
    "LARGE",
    "LIFTED",
    "LargeValue",
    "SplicedPayload",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "SIMPLE_TYPES",
    "dump",
    "dump_parts",
    "dump_small",
    "dump_surrogates",
    "dumpable",
    "find_large",
    "lift",
    "load",
    "load_at",
    "price_at",
    "spend_at",
    "tuple_head",
    "tuple_size_at",
]

MAX_DEPTH: Final = 1000
"""Default limit of nesting, in containers."""

MAX_DIGITS: Final = 100_000
"""Default limit of an integer, in decimal digits."""

PLAIN_TYPES: Final = frozenset({tuple, frozenset, slice})
"""Types that are brine if all their items are."""

SIMPLE_TYPES: Final[frozenset[type]] = frozenset(
    {
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        type(NotImplemented),
        type(Ellipsis),
    }
)

_F8 = struct.Struct("!d")
_C16 = struct.Struct("!dd")
_U4 = struct.Struct("!L")
_IMMEDIATE: Final = {value: bytes((value + 0x50,)) for value in range(-48, 160)}
_CONSTANTS: Final[dict[Any, bytes]] = {
    None: b"\x00",
    True: b"\x03",
    False: b"\x04",
    NotImplemented: b"\x05",
    Ellipsis: b"\x06",
}
own_dumps: Final[dict[type, Callable[[Any], bytes]]] = {}
"""A program's own types, and what makes their brine; see :mod:`.brine.registered_types`."""

own_loads: Final[dict[int, Callable[[bytes, int], tuple[Any, int]]]] = {}
"""A program's own tags, and what reads the value behind one."""

plain_tuple: Callable[[list[Any]], tuple[Any, ...]] = tuple
"""Makes a tuple of plain values; the compiled core keeps it from the garbage collector."""

_TUPLE_HEADS: Final = (b"\x02", b"\x10", b"\x11", b"\x12", b"\x13")
_BYTES_HEADS: Final = (b"\x01", b"\x0a", b"\x0b", b"\x0c", b"\x0d")


LARGE: Final = 1 << 16
"""Bytes from which a text or a bytes value is not copied when it is sent."""


class LargeValue(Exception):
    """A value holds large bytes or texts: it is better dumped in parts."""


class SplicedPayload(bytes):
    """A received payload out of which one large bytes value has been lifted.

    In its place stands :data:`LIFTED`, a tag that means that only there.
    """

    value: bytes
    place: int


def lift(before: bytes, value: bytes, after: bytes) -> SplicedPayload:
    """Returns a payload without its large value.

    Args:
        before: ends with the value's head, five bytes.
    """
    payload = SplicedPayload(before[:-5] + LIFTED + after)
    payload.value = value
    payload.place = len(before) - 5
    return payload


LIFTED: Final = b"\x1f"


def find_large(data: bytes, position: int) -> int | None:
    """Returns where the content of the first large bytes value starts, if ``data`` gets that far.

    Args:
        data: the beginning of what is brine from ``position`` on; not checked here.
    """
    end = len(data)
    while position + 5 <= end:
        tag = data[position]
        position += 1
        if tag == 0x08:
            if data[position] == 0x0F:
                return None  # a text has to be decoded anyway
        elif 0x0A <= tag <= 0x0D:
            position += tag - 0x09
        elif tag in (0x0E, 0x16):
            position += 1 + data[position]
        elif tag in (0x0F, 0x17):
            size = _U4.unpack_from(data, position)[0]
            position += 4
            if tag == 0x0F and size >= LARGE:
                return position
            position += size
        elif tag in (0x14, 0x15):
            position += 1 if tag == 0x14 else 4
        elif tag in (0x18, 0x1B):
            position += 8 if tag == 0x18 else 16
        elif not (tag < 0x07 or 0x10 <= tag <= 0x13 or tag in (0x19, 0x1A) or 0x20 <= tag <= 0xEF):
            return None
    return None


def dumpable(obj: Any) -> bool:
    """Returns whether :func:`dump` accepts ``obj``, its depth and digits aside."""
    kind = type(obj)
    if kind in SIMPLE_TYPES or kind in own_dumps:
        return True
    if kind is not tuple and kind is not frozenset and kind is not slice:
        return False
    stack = [obj]
    while stack:
        container = stack.pop()
        if type(container) is slice:
            container = (container.start, container.stop, container.step)
        for item in container:
            kind = type(item)
            if kind in SIMPLE_TYPES or kind in own_dumps:
                continue
            if kind is not tuple and kind is not frozenset and kind is not slice:
                return False
            stack.append(item)
    return True


def dump(obj: Any, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS) -> bytes:
    """Returns the brine bytes of ``obj``.

    Raises:
        TypeError: a part of ``obj`` is not of a brine type.
        UnicodeEncodeError: a text holds a lone surrogate.
        LocalProtocolError: nested deeper than ``max_depth``, or an int above ``max_digits``.
    """
    try:
        return dump_small(obj, max_depth, max_digits)
    except LargeValue:
        return join(dump_parts(obj, max_depth, max_digits))


def dump_small(obj: Any, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS) -> bytes:
    """Returns the same for a value without large bytes or texts in it.

    Raises:
        LargeValue: there are some.
    """
    atom = _ATOMS.get(type(obj))
    if atom is not None:
        return atom(obj, max_digits)
    if type(obj) is tuple and len(obj) < 5:
        # By far the most usual value: the few plain arguments of a call.
        parts = [_TUPLE_HEADS[len(obj)]]
        for item in obj:
            atom = _ATOMS.get(type(item))
            if atom is None:
                break
            parts.append(atom(item, max_digits))
        else:
            return b"".join(parts)
    return join(_dump_nested(obj, max_depth, max_digits))


def dump_parts(obj: Any, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS) -> list[bytes]:
    """Returns the brine of ``obj`` in parts: large bytes are parts, which are not copied."""
    parts: list[bytes] = []
    small: list[bytes] = []
    for part in _dump_nested(obj, max_depth, max_digits, _PART_ATOMS):
        if type(part) is not tuple:
            small.append(part)
        elif len(part[1]) < LARGE:
            small += part
        else:
            small.append(part[0])
            parts += (join(small), part[1])
            small = []
    if small:
        parts.append(join(small))
    return parts


def dump_surrogates(obj: Any, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS) -> bytes:
    """Returns the same for a value whose texts hold lone surrogates, as file names may.

    Peers of other kinds cannot read that.
    """
    return join(_dump_nested(obj, max_depth, max_digits, _SURROGATE_ATOMS))


def _dump_nested(
    obj: Any,
    max_depth: int,
    max_digits: int,
    atoms: dict[type, Callable[[Any, int], Any]] | None = None,
) -> list[Any]:
    atoms = _ATOMS if atoms is None else atoms
    parts: list[Any] = []
    append = parts.append
    stack: list[Iterator[Any]] = []
    items: Iterator[Any] = iter((obj,))
    while True:
        for item in items:
            kind = type(item)
            atom = atoms.get(kind)
            if atom is not None:
                append(atom(item, max_digits))
            elif kind is tuple:
                size = len(item)
                append(tuple_head(size))
                if size:
                    stack.append(items)
                    items = iter(item)
                    break
            elif kind is frozenset:
                append(b"\x1a")
                stack.append(items)
                items = iter((tuple(item),))
                break
            elif kind is slice:
                append(b"\x19")
                stack.append(items)
                items = iter(((item.start, item.stop, item.step),))
                break
            elif kind in own_dumps:
                append(own_dumps[kind](item))
            else:
                raise TypeError(f"cannot dump {kind!r}")
        else:
            if not stack:
                return parts
            items = stack.pop()
        if len(stack) > max_depth:
            raise LocalProtocolError(
                f"value nested deeper than {max_depth} (configuration key 'max_depth')"
            )


def _bytes_head(size: int) -> bytes:
    if size < 5:
        return _BYTES_HEADS[size]
    return bytes((0x0E, size)) if size < 256 else b"\x0f" + _size(size)


def _str_atom(value: str, max_digits: int) -> bytes:
    raw = value.encode("utf-8")
    size = len(raw)
    if size >= LARGE:
        raise LargeValue
    return b"\x08" + _bytes_head(size) + raw


def _str_part(value: str, max_digits: int) -> Any:
    raw = value.encode("utf-8")
    return b"\x08" + _bytes_head(len(raw)), raw


def _surrogate_atom(value: str, max_digits: int) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"\x08" + _bytes_head(len(raw)) + raw


def _bytes_atom(value: bytes, max_digits: int) -> bytes:
    size = len(value)
    if size >= LARGE:
        raise LargeValue
    return _bytes_head(size) + value


def _bytes_part(value: bytes, max_digits: int) -> Any:
    return _bytes_head(len(value)), value


def _plain_bytes_atom(value: bytes, max_digits: int) -> bytes:
    return _bytes_head(len(value)) + value


def _constant_atom(value: Any, max_digits: int) -> bytes:
    return _CONSTANTS[value]


def _float_atom(value: float, max_digits: int) -> bytes:
    return b"\x18" + _F8.pack(value)


def _complex_atom(value: complex, max_digits: int) -> bytes:
    return b"\x1b" + _C16.pack(value.real, value.imag)


def tuple_head(size: int) -> bytes:
    """Returns the brine of a tuple up to its first item."""
    if size < 5:
        return _TUPLE_HEADS[size]
    return bytes((0x14, size)) if size < 256 else b"\x15" + _size(size)


def tuple_size_at(data: bytes, position: int) -> tuple[int, int]:
    """Returns the size of the tuple whose brine starts at ``position``, and where its items start.

    Raises:
        IndexError: ``data`` ends before.
        MalformedValue: there is no tuple, or it cannot be that large.
    """
    tag = data[position]
    position += 1
    if 0x10 <= tag <= 0x13:
        return tag - 0x0F, position
    if tag == 0x02:
        return 0, position
    if tag == 0x14:
        size = data[position]
        position += 1
    elif tag == 0x15:
        size, position = _size_at(data, position, len(data))
    else:
        raise MalformedValue(f"expected a tuple, got tag {tag:#04x}")
    if size > len(data) - position:
        raise MalformedValue(f"tuple of {size} items in {len(data) - position} bytes")
    return size, position


def _size(size: int) -> bytes:
    if size > 0xFFFFFFFF:
        raise LocalProtocolError(f"value of length {size}, brine carries 4294967295")
    return _U4.pack(size)


def int_atom(value: int, max_digits: int) -> bytes:
    """Returns the brine of an int; ``max_digits`` does not bind those below 63 bits."""
    if -49 < value < 160:
        return _IMMEDIATE[value]
    if -(1 << 62) < value < (1 << 62):
        digits = b"%d" % value
        return _INT_HEADS[len(digits)] + digits
    if value.bit_length() > max_digits * 3.33:
        raise LocalProtocolError(
            f"integer of more than {max_digits} digits (configuration key 'max_digits')"
        )
    digits = to_decimal(value).encode("ascii")
    size = len(digits)
    return (bytes((0x16, size)) if size < 256 else b"\x17" + _size(size)) + digits


_INT_HEADS: Final = [bytes((0x16, size)) for size in range(21)]

_ATOMS: Final[dict[type, Callable[[Any, int], bytes]]] = {
    int: int_atom,
    str: _str_atom,
    bytes: _bytes_atom,
    float: _float_atom,
    complex: _complex_atom,
    **dict.fromkeys((type(None), bool, type(NotImplemented), type(Ellipsis)), _constant_atom),
}
_PART_ATOMS: Final[dict[type, Callable[[Any, int], Any]]] = {
    **_ATOMS,
    str: _str_part,
    bytes: _bytes_part,
}
_SURROGATE_ATOMS: Final[dict[type, Callable[[Any, int], Any]]] = {
    **_ATOMS,
    str: _surrogate_atom,
    bytes: _plain_bytes_atom,
}


_TUPLE, _SLICE, _FROZENSET = 0, 1, 2
_SMALL_INTS: Final = tuple(range(-0x50, 0xF0 - 0x50))  # CPython shares those from -5 only
_NOWHERE: Final = 1 << 62


def load(data: bytes, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS) -> Any:
    """Returns the one value in ``data``.

    Raises:
        MalformedValue: ``data`` is not exactly one brine value.
        LimitExceeded: nested deeper than ``max_depth``, an int above ``max_digits``, or a value
            that takes too much memory; see :mod:`rpyc_like.wire.meter`.
    """
    if len(data) > UNMETERED_SIZE:
        spend_at(data, 0, budget_for(len(data), None), price_at)
    try:
        value, end = load_at(data, 0, max_depth, max_digits)
    except IndexError:
        raise MalformedValue("brine value ends early") from None
    if end != len(data):
        raise MalformedValue(f"expected one brine value, got {len(data) - end} bytes after it")
    return value


def load_at(
    data: bytes, position: int, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS
) -> tuple[Any, int]:
    """Returns the value that starts at ``position``, and where it ends.

    Raises:
        IndexError: ``data`` ends inside the value.
        MalformedValue, LimitExceeded: as :func:`load`; memory is the caller's to count.
    """
    tag = data[position]
    if 0x20 <= tag <= 0xEF:
        return _SMALL_INTS[tag], position + 1
    end = len(data)
    if tag == 0x08 and 0x0A <= data[position + 1] <= 0x0D:
        # A short str: most attribute names are.
        stop = position + data[position + 1] - 7
        if stop <= end and data[position + 2 : stop].isascii():
            return str(data[position + 2 : stop], "ascii"), stop
    stack: list[tuple[int, int, list[Any]]] = []
    items: list[Any] = []
    need, shape = 1, _TUPLE
    frail = _NOWHERE  # the outermost open slice or frozenset: hashing and freeing recurse there
    value: Any
    while True:
        tag = data[position]
        position += 1
        if 0x20 <= tag <= 0xEF:
            value = _SMALL_INTS[tag]
        elif tag == 0x08:
            if data[position] == 0x0E:
                start = position + 2
                position = start + data[position + 1]
                if position > end:
                    raise MalformedValue("brine value ends early")
            else:
                start, position = _bytes_span(data, position, end)
            value = _text(data, start, position)
        elif 0x10 <= tag <= 0x15:
            if tag < 0x14:
                size = tag - 0x0F
            elif tag == 0x14:
                size = data[position]
                position += 1
            else:
                size, position = _size_at(data, position, end)
            if size > end - position:
                raise MalformedValue(f"tuple of {size} items in {end - position} bytes")
            if size:
                if len(stack) >= max_depth or len(stack) - frail > MAX_DEPTH:
                    raise _too_deep(len(stack), max_depth)
                stack.append((shape, need, items))
                shape, need, items = _TUPLE, size, []
                continue
            value = ()
        elif tag == 0x19 or tag == 0x1A:
            if len(stack) >= max_depth or len(stack) - frail > MAX_DEPTH:
                raise _too_deep(len(stack), max_depth)
            frail = min(frail, len(stack))
            stack.append((shape, need, items))
            shape, need, items = (_SLICE if tag == 0x19 else _FROZENSET), 1, []
            continue
        elif tag == 0x00:
            value = None
        elif tag == 0x02:
            value = ()
        elif tag == 0x16 or tag == 0x17:
            if tag == 0x16:
                size = data[position]
                position += 1
            else:
                size, position = _size_at(data, position, end)
            value = _int_at(data, position, size, end, max_digits)
            position += size
        elif tag == 0x03:
            value = True
        elif tag == 0x04:
            value = False
        elif tag == 0x01 or 0x0A <= tag <= 0x0F:
            start, position = _bytes_span(data, position - 1, end)
            value = data[start:position]
        else:
            value, position = _rare(data, tag, position, end)
        items.append(value)
        while len(items) == need:
            if not stack:
                return items[0], position
            if shape == _TUPLE:
                value = tuple(items) if own_loads else plain_tuple(items)
            else:
                value = _finish(shape, items)
                if len(stack) == frail + 1:
                    frail = _NOWHERE
            shape, need, items = stack.pop()
            items.append(value)


def _bytes_span(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Returns start and stop of the bytes value whose tag is at ``position``."""
    tag = data[position]
    position += 1
    if 0x0A <= tag <= 0x0D:
        size = tag - 0x09
    elif tag == 0x0E:
        size = data[position]
        position += 1
    elif tag == 0x0F:
        size, position = _size_at(data, position, end)
    elif tag == 0x01:
        size = 0
    else:
        raise MalformedValue(f"expected a bytes tag, got {tag:#04x}")
    if size > end - position:
        raise MalformedValue(f"bytes of length {size} in {end - position} bytes")
    return position, position + size


def _text(data: bytes, start: int, stop: int) -> str:
    try:
        return str(data[start:stop], "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise MalformedValue(f"expected UTF-8 in a str: {error}") from None


def _size_at(data: bytes, position: int, end: int) -> tuple[int, int]:
    if end - position < 4:
        raise MalformedValue("brine value ends early")
    return _U4.unpack_from(data, position)[0], position + 4


def _int_at(data: bytes, position: int, size: int, end: int, max_digits: int) -> int:
    if size > end - position:
        raise MalformedValue(f"integer of {size} digits in {end - position} bytes")
    if size > max_digits + 1:
        raise LimitExceeded("integer digits", size, max_digits, "max_digits")
    digits = data[position : position + size]
    if not (digits.isdigit() or (digits[:1] == b"-" and digits[1:].isdigit())):
        raise MalformedValue(f"expected decimal digits in an int, got {digits[:40]!r}")
    return from_decimal(digits.decode("ascii"))


def _rare(data: bytes, tag: int, position: int, end: int) -> tuple[Any, int]:
    if tag == 0x05:
        return NotImplemented, position
    if tag == 0x06:
        return Ellipsis, position
    if tag == 0x18:
        if end - position < 8:
            raise MalformedValue("brine value ends early")
        return _F8.unpack_from(data, position)[0], position + 8
    if tag == 0x1B:
        if end - position < 16:
            raise MalformedValue("brine value ends early")
        return complex(*_C16.unpack_from(data, position)), position + 16
    if tag == LIFTED[0] and type(data) is SplicedPayload and position == data.place + 1:
        return data.value, position
    if tag in own_loads:
        return own_loads[tag](data, position)
    raise MalformedValue(f"unknown brine tag {tag:#04x}")


def _too_deep(depth: int, max_depth: int) -> Exception:
    if depth >= max_depth:
        return LimitExceeded("nesting", depth + 1, max_depth, "max_depth")
    return MalformedValue(f"expected at most {MAX_DEPTH} levels in a slice or frozenset, got more")


def _finish(shape: int, items: list[Any]) -> Any:
    inner = items[0]
    if type(inner) is not tuple:
        raise MalformedValue(f"expected a tuple inside a slice or frozenset, got {brief(inner)}")
    if shape == _SLICE:
        if len(inner) != 3:
            raise MalformedValue(f"expected 3 items in a slice, got {len(inner)}")
        return slice(*inner)
    try:
        check_hashes(inner)
        if len(inner) <= MAX_EQUAL_HASHES:
            return frozenset(inner)
        made: set[Any] = set()
        update_in_slices(made, inner)
        return frozenset(made)
    except (TypeError, RecursionError) as error:
        raise MalformedValue(f"expected hashable items in a frozenset: {error}") from None


# -- memory

_SMALL_ATOMS: Final = re.compile(rb"[\x00\x02-\x06\x20-\xef]+")


def price_at(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Returns what the objects cost that are made of the rest of ``data``, in bytes of memory.

    Nothing is made. An open container is no matter here, so the rest may be several values.

    Args:
        limit: from which it does not matter.

    Returns:
        The price, and where the rest stops to be brine.
    """
    price, end = 0, len(data)
    try:
        while position < end and price <= limit:
            start, before = position, price
            tag = data[position]
            position += 1
            if 0x20 <= tag <= 0xEF or (tag < 0x07 and tag != 0x01):
                run = _SMALL_ATOMS.match(data, position)
                if run is not None:
                    position = run.end()
            elif 0x10 <= tag <= 0x15:
                size, position = _count_at(data, tag, position)
                if size > end - position:
                    return price, start
                price += 40 + 8 * size if size else 0
            elif tag == 0x08:
                first, position = _bytes_span(data, position, end)
                price += text_memory(position - first, data[first:position].isascii())
            elif tag == 0x01 or 0x0A <= tag <= 0x0F:
                first, position = _bytes_span(data, start, end)
                price += 48 + position - first if position > first else 0
            elif tag == 0x16 or tag == 0x17:
                size = data[position] if tag == 0x16 else _U4.unpack_from(data, position)[0]
                position += size + (1 if tag == 0x16 else 4)
                price += 32 + size // 2
            elif tag == 0x18 or tag == 0x1B:
                position += 8 if tag == 0x18 else 16
                price += 32
            elif tag == 0x19:
                price += 64
            elif tag == 0x1A:
                size = _tuple_size(data, position)
                price += set_memory(size)
            else:
                return price, start
            if position > end:
                return before, start
    except (IndexError, struct.error, MalformedValue):
        return price, start
    return price, position


def _tuple_size(data: bytes, position: int) -> int:
    """Returns the size of the tuple at ``position``; 0 of what is none or cannot be so large."""
    try:
        if 0x10 <= data[position] <= 0x15:
            size, after = _count_at(data, data[position], position + 1)
            return size if size <= len(data) - after else 0
    except (IndexError, struct.error):
        pass
    return 0


def _count_at(data: bytes, tag: int, position: int) -> tuple[int, int]:
    """Returns the size of a tuple, and where its items start."""
    if tag < 0x14:
        return tag - 0x0F, position
    if tag == 0x14:
        return data[position], position + 1
    return _U4.unpack_from(data, position)[0], position + 4


def spend_at(
    data: bytes,
    position: int,
    budget: Budget | None,
    price_at: Callable[[bytes, int, int], tuple[int, int]],
) -> None:
    """Takes the price of the rest of ``data`` out of a budget, before anything is made of it.

    Raises:
        LimitExceeded: it is not left.
    """
    while budget is not None:
        price, position = price_at(data, position, budget.left)
        budget.spend(price)
        if position >= len(data):
            return
        tag = data[position]
        if tag == LIFTED[0] and type(data) is SplicedPayload and position == data.place:
            position += 1
        elif tag in own_loads:
            position = own_loads[tag](data, position + 1)[1]
        else:
            return  # malformed: whoever loads it gets no further
