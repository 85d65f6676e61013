"""Short texts of values that a peer has sent, for error messages."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["brief"]

_FEW: Final = 5
_LEVELS: Final = 2
_LENGTH: Final = 80


def brief(value: Any) -> str:
    """Return a text like ``repr(value)``, but short, without recursion and without foreign code.

    The ``repr`` of what a peer has sent may be large, and it recurses on nested containers.
    """
    text = _brief(value, _LEVELS)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + "..."


def _brief(value: Any, levels: int) -> str:
    kind = type(value)
    if value is None or any(kind is known for known in _PLAIN):
        return repr(value)
    for base in _SHOWN:
        if issubclass(kind, base):  # its own methods, not those that a subclass has overridden
            text = _of_base(base, value, levels)
            return text if kind is base else f"{_name(kind)}({text})"
    if kind is set or kind is frozenset or kind is dict:
        return f"a {kind.__name__} of {len(value)}"
    return f"a {_name(kind)}"


def _of_base(base: Any, value: Any, levels: int) -> str:
    if base is int:
        bits = int.bit_length(value)
        return int.__repr__(value) if bits <= 4 * _LENGTH else f"an int of {bits} bits"
    if base is str or base is bytes:
        return repr(base.__getitem__(value, slice(_LENGTH)))
    size = base.__len__(value)
    left, right = "()" if base is tuple else "[]"
    if not levels:
        return f"{left}...{right}" if size else left + right
    items = ", ".join([_brief(item, levels - 1) for item in base.__getitem__(value, slice(_FEW))])
    more = ", ..." if size > _FEW else "," if base is tuple and size == 1 else ""
    return left + items + more + right


def _name(kind: type) -> str:
    name: str = type.__dict__["__name__"].__get__(kind)
    return name.lstrip("_")


_PLAIN: Final = (bool, float, complex, type(...), type(NotImplemented))
_SHOWN: Final[tuple[Any, ...]] = (str, bytes, int, tuple, list)
