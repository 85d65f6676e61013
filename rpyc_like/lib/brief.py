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
    if kind is str or kind is bytes:
        return repr(value if len(value) <= _LENGTH else value[:_LENGTH])
    if kind is int:
        bits = value.bit_length()
        return repr(value) if bits <= 4 * _LENGTH else f"an int of {bits} bits"
    if value is None or kind in (bool, float, complex, type(...), type(NotImplemented)):
        return repr(value)
    if kind is tuple or kind is list:
        left, right = "()" if kind is tuple else "[]"
        if not levels:
            return f"{left}...{right}" if value else left + right
        items = ", ".join([_brief(item, levels - 1) for item in value[:_FEW]])
        more = ", ..." if len(value) > _FEW else "," if kind is tuple and len(value) == 1 else ""
        return left + items + more + right
    if kind in (set, frozenset, dict):
        return f"a {kind.__name__} of {len(value)}"
    return f"a {type.__dict__['__name__'].__get__(kind)}"
