"""Local copies of remote containers, for operators whose other operand is a container here.

Python's own containers refuse to work with anything but their own kind: ``[1] + x`` wants a list.
So where one operand is a list (dict, set, bytearray) on one side and the other one on the other
side, one of them is copied. Nothing is kept: each operation copies anew.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Any, Final

from ...lib import proxies
from ...lib.exact import exact
from ...wire.meter import check_hashes
from .. import consts
from ..brine import dumpable
from ..iteration.prefetch import ITEMS, KEYS, open_items
from ..netref import BaseNetref, builtin_classes_cache, is_netref, syncreq

__all__ = ["COPIED", "copy_of", "equals_local", "is_container", "retried_comparison"]

COPIED: Final = (list, dict, set, frozenset, bytearray)
"""Types whose instances are copied, and only those: no subclasses."""

_PLAIN: Final = (int, float, str, bytes, tuple, frozenset)
_KEYED: Final = (dict, set, frozenset)
_AT_ONCE: Final = 1000

_proxies: Final = {builtin_classes_cache[f"builtins.{kind.__name__}"]: kind for kind in COPIED}


_named: Final = {f"builtins.{kind.__name__}": kind for kind in COPIED}


def _kind_of(obj: Any) -> Any:
    """Returns which container is behind a proxy, None for anything else."""
    kind = _proxies.get(type(obj))
    if kind is None and is_netref(obj) and object.__getattribute__(obj, "____conn__").waits:
        name, _, instance = object.__getattribute__(obj, "____id_pack__")
        return _named.get(name) if instance else None  # in a thread of an asyncio program
    return kind


def is_container(obj: Any) -> bool:
    """Returns whether ``obj`` is a proxy of a container that is copied."""
    return _kind_of(obj) is not None


def copy_of(proxy: Any, count: Callable[[Any], object] | None = None) -> Any:
    """Return a local copy of the container behind a proxy; its items are as they travel.

    Args:
        count: called with each item as it arrives; may raise.
    """
    return _copied(proxy, _kind_of(proxy), count)


def _copied(proxy: Any, kind: type, count: Callable[[Any], object] | None = None) -> Any:
    items = _items(proxy, ITEMS if kind is dict else KEYS)
    return _made(kind, items if count is None else _counted(items, count))


def _counted(items: Iterator[Any], count: Callable[[Any], object]) -> Iterator[Any]:
    for item in items:
        count(item)
        yield item


def _made(kind: type, items: Any) -> Any:
    """Returns a container of a peer's items; a proxy's hash is its owner's business."""
    if kind in _KEYED:
        items = list(items)
        keys = [key for key, _ in items] if kind is dict else items
        check_hashes([key for key in keys if dumpable(key)])
    return kind(items)


def equals_local(proxy: Any, other: Any) -> bool:
    """Returns whether the container behind a proxy equals one of this side."""
    kind = _proxies[type(proxy)]
    conn = object.__getattribute__(proxy, "____conn__")
    items = open_items(conn, proxy, ITEMS if kind is dict else KEYS)
    if items is None:
        return bool(_copied(proxy, kind) == other)
    items.wants_all = True
    if type(other) in COPIED and items.__length_hint__() != len(other):
        return False
    return bool(_made(kind, items) == other)


def _items(proxy: Any, what: int = KEYS) -> Iterator[Any]:
    """Yields the items of a remote iterable, many for each trip."""
    conn = object.__getattribute__(proxy, "____conn__")
    items = open_items(conn, proxy, what) if conn._reads_ahead else None
    if items is not None:
        items.wants_all = True
        yield from items
        return
    if what == ITEMS:
        for key in _items(proxy):
            yield key, proxy[key]
        return
    iterator = syncreq(proxy, consts.HANDLE_CALLATTR, "__iter__", (), ())
    while some := exact(syncreq(iterator, consts.HANDLE_BUFFITER, _AT_ONCE), tuple, "items"):
        yield from some


def retried_comparison(proxy: Any, other: Any, op: str) -> Any:
    """Returns the outcome of a comparison which the owner of ``proxy`` cannot make.

    Returns:
        NotImplemented if this side cannot either.
    """
    kind: Any = type(other)
    for base in _PLAIN:
        if kind is not base and issubclass(kind, base) and _compares_as(kind, base, op):
            return syncreq(proxy, consts.HANDLE_CMP, _plain(other, base), op)
    if issubclass(kind, enum.Enum) and op in ("__eq__", "__ne__") and proxy.__class__ is kind:
        same = repr(proxy) == repr(other)
        return same if op == "__eq__" else not same
    target = _kind_of(other) or kind
    if target not in COPIED:
        return NotImplemented
    own = _kind_of(proxy) or _container_class(proxy)
    if own is None:
        return NotImplemented
    # The class of the other operand does the rest, as it would here.
    return getattr(own, op)(_copied(proxy, own), copy_of(other) if is_netref(other) else other)


def _compares_as(kind: type, base: type, op: str) -> bool:
    return getattr(kind, op) is getattr(base, op)


def _plain(value: Any, base: type) -> Any:
    """Returns the plain value of an instance of a subclass, whatever its conversions say."""
    if base is str:
        return str.__str__(value)
    if base is int:
        return int.__int__(value)
    return base.__new__(base, value)


def _container_class(proxy: BaseNetref) -> type | None:
    """Returns which container the remote class derives from."""
    cls = proxy.__class__
    return next((base for base in COPIED if isinstance(cls, type) and issubclass(cls, base)), None)


_NAMES = "class_proxies copying deferred netref protocol read_ahead recorded".split()
_ASK: Final = frozenset(f"{__package__}.{name}" for name in _NAMES)
_ONLY_LOOK: Final = frozenset(func.__code__ for func in (is_netref, is_container, _kind_of))

proxies.register(is_netref, is_container, copy_of, _ASK, _ONLY_LOOK)
