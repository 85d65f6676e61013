"""Decimal text of big integers, in less than quadratic time and free of the interpreter's limit.

Python refuses ``int("9" * 5000)`` since 3.11, because its conversion is quadratic. RPyC's wire
carries integers in decimal, so both directions are done here by splitting in halves.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["from_decimal", "to_decimal"]

_CHUNK = 4000


@lru_cache(maxsize=64)
def _power(exponent: int) -> int:
    return int(10**exponent)


def to_decimal(value: int) -> str:
    """Returns ``str(value)`` for an integer of any size."""
    if -(1 << 8192) < value < (1 << 8192):
        return str(value)
    if value < 0:
        return "-" + to_decimal(-value)
    digits = int(value.bit_length() * 0.30103) + 1
    return _halve(value, digits).lstrip("0")


def _halve(value: int, digits: int) -> str:
    if digits <= _CHUNK:
        return str(value).zfill(digits)
    low = digits // 2
    high_part, low_part = divmod(value, _power(low))
    return _halve(high_part, digits - low) + _halve(low_part, low)


def from_decimal(text: str) -> int:
    """Returns ``int(text)`` for a text of ASCII digits with an optional minus sign."""
    if len(text) <= _CHUNK:
        return int(text)
    if text[0] == "-":
        return -from_decimal(text[1:])
    low = len(text) // 2
    return from_decimal(text[:-low]) * _power(low) + from_decimal(text[-low:])
