"""Guards of containers written in C that a restricted peer uses.

The interpreter hashes, compares and shows nested containers by recursion, and some of its buffers
trust that nobody changes them while it asks an argument for its number. So what a peer passes to
such a container is looked at before.
"""

from __future__ import annotations

import array
import gc
import sys
from collections import deque
from collections.abc import Iterable
from types import (
    BuiltinFunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any, Final

from ..errors import LimitExceeded
from ..lib.brief import brief
from .copying import copy_of, is_container
from .netref import COMPARISONS, is_netref

__all__ = ["GUARDED", "check_call", "check_weight"]

GUARDED: Final = frozenset(
    (BuiltinFunctionType, MethodWrapperType, MethodDescriptorType, WrapperDescriptorType, type)
)
"""Types of callables that may belong to a container written in C."""

_DEEPEST: Final = 1000  # levels; the stack of a thread takes about ten times as many
_A_STEP: Final = 16  # items that are looked at in C
_BUFFERS: Final = (bytearray, array.array, memoryview)
_LIBRARY_BUFFERS: Final = (("mmap", "mmap"), ("_ctypes", "Array"))  # not imported for this
_HASHED: Final = (set, frozenset, dict)
_NESTED: Final = (list, tuple, dict, set, frozenset, deque, slice, MappingProxyType)
_EMPTY: Final[dict[Any, Any]] = {}
_EACH_VIEW: Final[tuple[Any, ...]] = (_EMPTY.keys(), _EMPTY.values(), _EMPTY.items())
_VIEWS: Final[tuple[type, ...]] = tuple(map(type, _EACH_VIEW))
_ITERABLES: Final = (list, deque, set, frozenset, dict, *_VIEWS)
_LOOKING: Final = frozenset(
    (
        *COMPARISONS,
        "__contains__",
        "index",
        "count",
        "remove",
        "sort",
        "__hash__",
        "__repr__",
        "__str__",
        "__format__",
    )
)


def check_call(conn: Any, func: Any, args: tuple[Any, ...], named: Any) -> tuple[Any, ...]:
    """Return the arguments to call a method of a container with; a peer's lists are copied.

    Raises:
        TypeError: a buffer would ask the peer.
        LimitExceeded: something is nested too deeply, or too large with all that it shares.
    """
    kind = type(func)
    if kind is type:
        owner, name, rest = func, "__init__", args
        cls: type = func
    else:
        bound = kind is BuiltinFunctionType or kind is MethodWrapperType
        if not bound and not args:
            return args
        owner, rest = (func.__self__, args) if bound else (args[0], args[1:])
        name = func.__name__
        cls = owner if type(owner) is type else type(owner)
    if _is_buffer(cls):
        if name not in COMPARISONS:
            rest = tuple([_plain(arg) for arg in rest])
            for _, value in named:
                _plain(value)
    elif issubclass(cls, _NESTED):
        if name in _LOOKING:
            check_weight(conn, owner)
        if name in _LOOKING or issubclass(cls, _HASHED):
            for arg in rest[: 1 if name in ("__setitem__", "setdefault") else None]:
                if not isinstance_of(arg, dict):
                    check_weight(conn, arg)
    else:
        return args
    return rest if owner is func or kind in _BOUND else (owner, *rest)


def _is_buffer(cls: type) -> bool:
    if issubclass(cls, _BUFFERS):
        return True
    known = (getattr(sys.modules.get(module), name, None) for module, name in _LIBRARY_BUFFERS)
    return any(isinstance(one, type) and issubclass(cls, one) for one in known)


_BOUND: Final = (BuiltinFunctionType, MethodWrapperType)


def isinstance_of(obj: Any, kinds: Any) -> bool:
    """Return whether an object is an instance, without asking it."""
    return issubclass(type(obj), kinds)


def check_weight(conn: Any, obj: Any) -> None:
    """Raise LimitExceeded if a nested container is too deep or too large.

    What is shared counts as often as it is reached: so does the interpreter work.
    """
    if not isinstance_of(obj, _NESTED):
        return
    config = conn._config
    limit, deepest = config["max_steps"], min(config["max_depth"], _DEEPEST)
    weight = 0
    stack = [iter((obj,))]
    path: list[int] = []
    while stack:
        one = next(stack[-1], None)
        if one is None:
            stack.pop()
            if path:
                path.pop()
            continue
        items = _items(one)
        weight += 1 + len(items) // _A_STEP
        if weight > limit:
            raise LimitExceeded("items of nested containers", weight, limit, "max_steps")
        if id(one) in path or not any(issubclass(kind, _NESTED) for kind in set(map(type, items))):
            continue
        if len(stack) > deepest:
            raise LimitExceeded("levels of nested containers", len(stack), deepest, "max_depth")
        path.append(id(one))
        stack.append(iter([item for item in items if issubclass(type(item), _NESTED)]))


def _items(obj: Any) -> list[Any]:
    if issubclass(type(obj), slice):
        return [obj.start, obj.stop, obj.step]
    if issubclass(type(obj), dict):
        return [*dict.keys(obj), *dict.values(obj)]
    for kind in (list, tuple, set, frozenset, deque):
        if issubclass(type(obj), kind):
            return list(kind.__iter__(obj))
    return gc.get_referents(obj)  # a mapping proxy


def _plain(arg: Any, depth: int = 0) -> Any:
    """Return an argument for a buffer, with a copy of what others could change meanwhile."""
    if is_netref(arg) and is_container(arg):
        arg = copy_of(arg)
    if is_netref(arg):
        raise TypeError(
            f"expected plain values for a buffer of this side, got a proxy {brief(arg)}"
        )
    if isinstance_of(arg, _ITERABLES) or hasattr(type(arg), "__next__"):
        arg = list(arg)
        items: Iterable[Any] = arg
    elif isinstance_of(arg, (tuple, slice)):
        items = _items(arg)
    else:
        return arg
    for item in items:
        if is_netref(item):
            raise TypeError(
                f"expected plain values for a buffer of this side, got a proxy {brief(item)}"
            )
    return arg
