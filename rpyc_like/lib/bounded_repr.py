"""Short text of a peer's values, for error messages: no recursion, and no more work than needed."""

from __future__ import annotations

from typing import Any

__all__ = ["bounded_repr"]

_MOST_ITEMS = 6
_MOST_LEVELS = 3


def bounded_repr(value: Any, size: int = 80) -> str:
    """Return the ``repr`` of a value, or the beginning of one.

    ``f"{value!r:.80}"`` makes the whole text first, which may be much larger than the value, and
    fails on deep ones.

    Args:
        size: most characters of the text.
    """
    return _shown(value, size, _MOST_LEVELS)[:size]


def _shown(value: Any, size: int, levels: int) -> str:
    kind = type(value)
    if isinstance(value, (str, bytes)):
        return repr(value if len(value) <= size else value[:size])
    if isinstance(value, int):
        long = value.bit_length() > 4 * size
        return f"an integer of {value.bit_length()} bits" if long else repr(value)
    if isinstance(value, (list, tuple, dict)) and len(value):
        if levels == 0:
            return f"<{kind.__name__} of {len(value)} items>"
        shown: list[str] = []
        for item in value:  # of a dict, its keys
            if len(shown) == _MOST_ITEMS:
                shown.append("...")
                break
            shown.append(_shown(item, size, levels - 1))
        comma = "," if kind is tuple and len(value) == 1 else ""
        opener, closer = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        text = f"{opener}{', '.join(shown)}{comma}{closer}"
        return text if kind in (list, tuple) else f"{kind.__name__}({text})"
    if value is None or isinstance(value, (float, list, tuple, dict)):
        return repr(value)
    return f"<{kind.__name__}>"
