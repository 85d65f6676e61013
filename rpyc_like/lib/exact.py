"""Check values of a peer once, by their exact type.

A proxy may answer each question differently, and ``isinstance`` believes what it says about its
class. So a value of the peer is checked here when it comes in; what passes is plain data of this
process, and only that is used afterwards.
"""

from __future__ import annotations

from typing import Any, TypeVar

from .brief import brief

__all__ = ["exact", "exact_count", "exact_items"]

T = TypeVar("T")


def exact(value: Any, kind: type[T], what: str) -> T:
    """Return ``value``, whose type is ``kind`` itself and no subclass of it.

    Args:
        what: the value in words, for the error.

    Raises:
        TypeError: it is of another type, for instance a proxy.
    """
    if type(value) is not kind:
        raise TypeError(f"expected {what} ({kind.__name__}) from the peer, got {brief(value)}")
    return value


def exact_count(value: Any, what: str, limit: int | None = None) -> int:
    """Return ``value``, an ``int`` from 0 to ``limit``.

    Raises:
        TypeError: it is not an ``int``.
        ValueError: it is out of range.
    """
    count = exact(value, int, what)
    if count < 0 or (limit is not None and count > limit):
        bound = "at least 0" if limit is None else f"from 0 to {limit}"
        raise ValueError(f"expected {what} {bound} from the peer, got {brief(count)}")
    return count


def exact_items(value: Any, kind: type[T], what: str) -> list[T]:
    """Return the items of a ``list`` or ``tuple``, each of them exactly of a type.

    Args:
        what: one item in words, for the error.

    Raises:
        TypeError: something is of another type.
    """
    if type(value) is not list and type(value) is not tuple:
        raise TypeError(
            f"expected a list of items, each {what} ({kind.__name__}), from the peer, "
            f"got {brief(value)}"
        )
    return [exact(item, kind, what) for item in value]
