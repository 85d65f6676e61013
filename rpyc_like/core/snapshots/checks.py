"""Bounds of what a snapshot's tokens give to constructors.

A constructor that takes numbers of a peer's may make much of little (``bytearray(n)``), or work
long (the greatest common divisor of large numbers). So each is given values of exact types only,
within bounds of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from ...errors import MalformedValue
from ...lib.brief import brief
from .dump import PLAIN

__all__ = ["check_array", "check_count", "check_items", "check_plain", "check_simple"]

_NUMBER_BITS: Final = 100_000  # of a Fraction's: its normal form takes the square of that
_DECIMAL_LENGTH: Final = 100_000
_SHORT: Final = 255
_DIMENSIONS: Final = 32
_TYPECODES: Final = frozenset("bBhHiIlLqQfduw")


def check_count(value: Any) -> int:
    """Return a number of items, or of something that has occurred before."""
    if type(value) is not int or value < 0:
        raise MalformedValue(f"expected a number from 0 on, got {brief(value)}")
    return value


def check_plain(values: Any) -> None:
    """Refuse what is no tuple of values that stand for themselves."""
    if type(values) is not tuple or not PLAIN.issuperset(map(type, values)):
        raise MalformedValue(f"expected a tuple of plain values, got {brief(values)}")


def check_simple(kind: Any, args: tuple[Any, ...]) -> int:
    """Check the arguments of a constructor.

    Returns:
        Bytes of memory that it takes beyond those of a small object.
    """
    check = _CHECKS.get(kind) if type(kind) is str else None
    if check is None or not check(args):
        raise MalformedValue(f"expected the parts of a {brief(kind)}, got {brief(args)}")
    return sum([len(arg) for arg in args if type(arg) is bytes or type(arg) is str])


def check_array(dtype: Any, shape: Any, order: Any, raw: Any) -> int:
    """Check the parts of a NumPy array; return the bytes of memory that it takes."""
    if (
        type(dtype) is not str
        or type(shape) is not tuple
        or order not in ("", "C", "F")
        or type(raw) is not bytes
        or len(shape) > _DIMENSIONS
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise MalformedValue(f"expected the parts of an array, got {brief((dtype, shape, order))}")
    items = 1
    for size in shape:
        items *= max(1, size)  # also of an empty array, which others may reshape
        if items > 1 << 48:
            raise MalformedValue(f"expected the shape of an array, got {brief(shape)}")
    return 2 * len(raw)


def _has(*kinds: type) -> Callable[[tuple[Any, ...]], bool]:
    return lambda args: tuple(map(type, args)) == kinds


def _is_short(*lengths: int) -> Callable[[tuple[Any, ...]], bool]:
    """Returns what checks texts of at most so many characters."""
    return lambda args: (
        len(args) == len(lengths)
        and all(type(arg) is str and len(arg) <= length for arg, length in zip(args, lengths))
    )


def _are_small(args: tuple[Any, ...], bits: int, count: int) -> bool:
    return len(args) == count and all(type(arg) is int and arg.bit_length() <= bits for arg in args)


def _is_zone(zone: Any) -> bool:
    if type(zone) is tuple and len(zone) == 2:
        seconds, name = zone
        return type(seconds) in (int, float) and -90_000 < seconds < 90_000 and _is_name(name)
    return zone is None or _is_name(zone)


def _is_name(text: Any) -> bool:
    return type(text) is str and len(text) <= _SHORT


def _is_time(args: tuple[Any, ...]) -> bool:
    if len(args) != 3:
        return False
    text, fold, zone = args
    return _is_name(text) and type(fold) is int and 0 <= fold <= 1 and _is_zone(zone)


def _is_array(args: tuple[Any, ...]) -> bool:
    if _has(str, str, bytes)(args):
        code, order, _ = args
        return code in _TYPECODES and order in ("little", "big")
    return False


def _is_path(args: tuple[Any, ...]) -> bool:
    return len(args) == 1 and type(args[0]) is str


_CHECKS: Final[dict[str, Callable[[tuple[Any, ...]], bool]]] = {
    "bytearray": _has(bytes),
    "range": _has(int, int, int),
    "slice": lambda args: len(args) == 3 and PLAIN.issuperset(map(type, args)),
    "ellipsis": _has(),
    "NotImplementedType": _has(),
    "datetime": _is_time,
    "time": _is_time,
    "date": _is_short(_SHORT),
    "timedelta": lambda args: _are_small(args, 64, 3),
    "timezone": lambda args: _is_zone(args),
    "Decimal": _is_short(_DECIMAL_LENGTH),
    "Fraction": lambda args: _are_small(args, _NUMBER_BITS, 2),
    "UUID": lambda args: _has(bytes)(args) and len(args[0]) == 16,
    "array": _is_array,
    **dict.fromkeys(("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"), _is_path),
}


def check_items(flat: Any) -> None:
    """Raise MalformedValue for items that numpy itself would not make: it trusts what it holds."""
    kind, size = flat.dtype.kind, flat.dtype.itemsize
    if kind == "b":
        highest, unit = 1, "u1"
    elif kind == "U" and size:
        highest, unit = sys.maxunicode, f"{flat.dtype.byteorder}u4"
    else:
        return
    most = flat.view(unit).max(initial=0)
    if most > highest:
        what = "booleans" if kind == "b" else "code points"
        raise MalformedValue(f"expected {what} of at most {highest}, got {int(most)}")
