"""Kinds of the values that a program may set: configuration keys and arguments of servers.

A table of names with their kinds stands where the settings are defined; :func:`checked` is the one
function that compares a value with its kind.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

from .brief import brief

__all__ = [
    "ANYTHING",
    "FLAG",
    "FUNCTION",
    "MAPPING",
    "NAMES",
    "PORT",
    "TEXT",
    "TRACEBACKS",
    "Kind",
    "check_arguments",
    "checked",
    "count",
    "number",
    "one_of",
]


@dataclass(frozen=True)
class Kind:
    """What the value of a setting must be."""

    expected: str
    """Said in errors after "expected"."""
    take: Callable[[Any], Any]
    """Return the value to use, or raise a TypeError or ValueError without a text."""


def checked(where: str, kind: Kind, value: Any) -> Any:
    """Return a value as it is to be used.

    Args:
        where: the setting's name for the error: ``argument 'grace'``.
        kind: what is expected.
        value: what the program has set.

    Raises:
        TypeError: the value is of another type.
        ValueError: it is out of bounds.
    """
    try:
        return kind.take(value)
    except (TypeError, ValueError) as error:
        base = TypeError if isinstance(error, TypeError) else ValueError
        raise base(f"{where}: expected {kind.expected}; got {brief(value)}") from None


def check_arguments(kinds: Mapping[str, Kind], given: Mapping[str, Any]) -> None:
    """Check those arguments of a constructor that have a kind.

    Raises:
        TypeError, ValueError: see :func:`checked`.
    """
    for name, kind in kinds.items():
        if name in given:
            checked(f"argument {name!r}", kind, given[name])


def count(least: int = 0, most: float = math.inf, optional: bool = False) -> Kind:
    """Return the kind of integers within bounds (both included), and of ``None`` if optional."""

    def take(value: Any) -> Any:
        if value is None and optional:
            return None
        if isinstance(value, bool):  # True is no number of anything
            raise TypeError
        number = operator.index(value)
        if not least <= number <= most:
            raise ValueError
        return number

    bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
    return Kind(f"an integer {bounds}{_or_none(optional)}", take)


def number(
    least: float = 0.0, most: float = math.inf, optional: bool = False, unit: str = "seconds"
) -> Kind:
    """Return the kind of finite numbers within bounds, and of ``None`` if optional."""

    def take(value: Any) -> Any:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        if not (math.isfinite(value) and least <= float(value) <= most):
            raise ValueError
        return value

    bounds = "" if least == -math.inf else f", at least {least:g}"
    if most != math.inf:
        bounds = f" from {least:g} to {most:g}"
    return Kind(f"a finite number of {unit}{bounds}{_or_none(optional)}", take)


def one_of(*values: Any) -> Kind:
    """Return the kind of a few values."""

    def take(value: Any) -> Any:
        if not isinstance(value, (str, int, type(None))):
            raise TypeError
        if isinstance(value, bool) or value not in values:
            raise ValueError
        return value

    return Kind(f"{', '.join(map(repr, values[:-1]))} or {values[-1]!r}", take)


def _or_none(optional: bool) -> str:
    return ", or None" if optional else ""


def _flag(value: Any) -> Any:
    # RPyC asks for the truth of whatever it finds. Texts and containers are no answers to a
    # question of yes or no: "False" is true. numpy's bool is neither a bool nor an integer.
    if value is not None and type(value).__name__ not in ("bool", "bool_"):
        operator.index(value)
    return value


def _tracebacks(value: Any) -> Any:
    return value if isinstance(value, str) and value in ("short", "off") else _flag(value)


def _function(value: Any) -> Any:
    if value is not None and not callable(value):
        raise TypeError
    return value


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value or ""


def _names(value: Any) -> Any:
    # Any collection of names, as with RPyC; "in" of a text would find parts of names.
    if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, Collection):
        raise TypeError
    if not all(isinstance(name, str) for name in value):
        raise TypeError
    return value


def _port(value: Any) -> Any:
    # Decimal texts are what programs have from their command lines.
    if isinstance(value, bool) or (isinstance(value, str) and not value.isdecimal()):
        raise TypeError
    number = int(value) if isinstance(value, str) else operator.index(value)
    if not 0 <= number <= 65535:
        raise ValueError
    return number


def _mapping(value: Any) -> Any:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError
    return value


ANYTHING: Final = Kind("anything", lambda value: value)
FLAG: Final = Kind("a bool (True or False), an integer or None", _flag)
FUNCTION: Final = Kind("a callable, or None", _function)
MAPPING: Final = Kind("a mapping of configuration keys, or None", _mapping)
NAMES: Final = Kind("a set of names", _names)
PORT: Final = Kind("a port, an integer from 0 to 65535", _port)
TEXT: Final = Kind("a str, or None", _text)
TRACEBACKS: Final = Kind("True, False, 'short' or 'off'", _tracebacks)
