"""Dicts of what Emacs Lisp has for them: property lists and association lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..meter import check_hashes
from .values import Dotted, Symbol

__all__ = ["alist_to_dict", "plist_to_dict"]


def plist_to_dict(items: list[Any], *_: Any) -> dict[str, Any] | None:
    """Returns the dict that is meant by ``(:a 1 :b 2)``, or None.

    Each second item must be a symbol that begins with a colon; without the colon it is a key.
    """
    if len(items) % 2 or not all(_is_keyword(item) for item in items[::2]):
        return None
    return {_key(item): value for item, value in zip(items[::2], items[1::2])}


def alist_to_dict(
    items: list[Any],
    convert: Callable[[list[Any]], Any] = lambda rest: rest,
    nil: Callable[[], Any] = list,
) -> dict[Any, Any] | None:
    """Returns the dict that is meant by ``((a . 1) ("b" . 2))``, or None.

    Keys must be symbols, which become texts, or texts or integers. A pair whose value is a list is
    printed as a list that begins with its key; one pair at least must be printed with a dot, as
    a list of lists means something else as a rule.

    Args:
        convert: is applied to values that are lists.
        nil: makes the value of ``nil``.
    """
    if not any(type(pair) is Dotted and len(pair) == 3 for pair in items):
        return None
    check_hashes(
        [pair[0] for pair in items if isinstance(pair, list) and pair and type(pair[0]) is int]
    )
    made = {}
    for pair in items:
        if not isinstance(pair, list) or not _is_key(pair[0] if pair else None):
            return None
        if type(pair) is not Dotted:
            value = convert(pair[1:]) if pair[1:] else nil()
        elif len(pair) == 3:
            value = pair.end
        else:
            value = Dotted(pair[1:])
        made[_key(pair[0])] = value
    return made


def _is_keyword(value: Any) -> bool:
    return isinstance(value, Symbol) and value.value().startswith(":")


def _is_key(value: Any) -> bool:
    return isinstance(value, Symbol) or type(value) in (str, int)


def _key(value: Any) -> Any:
    return value.value().removeprefix(":") if isinstance(value, Symbol) else value
