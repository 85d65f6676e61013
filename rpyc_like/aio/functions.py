"""What cannot be awaited by syntax: functions for it.

Each takes proxies, deferred values and plain ones; what is local is done here without a trip.
"""

from __future__ import annotations

import builtins
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..core import consts
from ..core.netref import is_netref
from ..core.pipelining.chain_sender import sending
from ..core.pipelining.lazy_value import LazyValue
from ..core.pipelining.pipeline import Pipeline
from ..core.snapshots import dump as snapshot_dump
from ..core.snapshots.load import load
from ..lib.exact import exact, exact_count, exact_items
from ..lib.value_classes import allowed_classes, imported_class
from .iteration import END, items_of, next_of
from .proxies import AsyncNetref, Deferred

__all__ = [
    "bool",
    "contains",
    "delattr",
    "delitem",
    "dir",
    "eq",
    "fetch",
    "ge",
    "gt",
    "hash",
    "le",
    "len",
    "list",
    "lt",
    "map",
    "ne",
    "next",
    "repr",
    "setattr",
    "setitem",
    "snapshot",
    "str",
]

_local: Final = object.__getattribute__


async def _known(value: Any) -> Any:
    return await value if issubclass(type(value), LazyValue) else value


async def _ask(handler: int, proxy: Any, *args: Any) -> Any:
    return await _conn_of(proxy).request(handler, proxy, *args)


def _conn_of(proxy: Any) -> Any:
    if not issubclass(type(proxy), AsyncNetref):
        raise TypeError(
            f"expected a proxy of an asyncio connection, got {type(proxy).__name__!r} of a "
            "blocking one: open a second one with rpyc_like.aio.connect"
        )
    return _local(proxy, "____conn__")


async def _method(name: builtins.str, obj: Any, *args: Any) -> Any:
    """Does what a special method is for, there or here."""
    obj = await _known(obj)
    if is_netref(obj):
        return await _ask(consts.HANDLE_CALLATTR, obj, name, args, ())
    return getattr(operator, name)(obj, *[await _known(arg) for arg in args])


async def _text(handler: int, obj: Any) -> builtins.str:
    """Asks for a text; one of a subclass of `str` comes by reference, and is asked for again."""
    answer = await _ask(handler, obj)
    if is_netref(answer):
        answer = await _ask(consts.HANDLE_STR, answer)
    return exact(answer, builtins.str, "a text")


async def setattr(obj: Any, name: builtins.str, value: Any) -> None:
    """Sets an attribute."""
    obj = await _known(obj)
    if is_netref(obj):
        await _ask(consts.HANDLE_SETATTR, obj, name, await _known(value))
    else:
        builtins.setattr(obj, name, await _known(value))


async def delattr(obj: Any, name: builtins.str) -> None:
    """Deletes an attribute."""
    obj = await _known(obj)
    if is_netref(obj):
        await _ask(consts.HANDLE_DELATTR, obj, name)
    else:
        builtins.delattr(obj, name)


async def setitem(obj: Any, key: Any, value: Any) -> None:
    """Does ``obj[key] = value``."""
    await _method("__setitem__", obj, await _known(key), await _known(value))


async def delitem(obj: Any, key: Any) -> None:
    """Does ``del obj[key]``."""
    await _method("__delitem__", obj, await _known(key))


async def contains(obj: Any, item: Any) -> builtins.bool:
    """Returns whether ``item in obj``."""
    obj, item = await _known(obj), await _known(item)
    if is_netref(obj) and "__contains__" not in type(obj).____remote__:
        async for one in items_of(obj):
            if await eq(one, item):
                return True
        return False
    return builtins.bool(await _method("__contains__", obj, item))


async def len(obj: Any) -> int:
    """Returns the length of something."""
    obj = await _known(obj)
    if not is_netref(obj):
        return builtins.len(obj)
    length = await _method("__len__", obj)
    return exact_count(int(length) if type(length) is builtins.bool else length, "a length")


async def bool(obj: Any) -> builtins.bool:
    """Returns whether something is true."""
    obj = await _known(obj)
    if not is_netref(obj):
        return builtins.bool(obj)
    for name in ("__bool__", "__len__"):
        if name in type(obj).____remote__:
            return builtins.bool(await _method(name, obj))
    return True


async def str(obj: Any) -> builtins.str:
    """Returns the text of something."""
    obj = await _known(obj)
    return await _text(consts.HANDLE_STR, obj) if is_netref(obj) else builtins.str(obj)


async def repr(obj: Any) -> builtins.str:
    """Returns the representation of something."""
    obj = await _known(obj)
    return await _text(consts.HANDLE_REPR, obj) if is_netref(obj) else builtins.repr(obj)


async def hash(obj: Any) -> int:
    """Returns the hash that something has at its owner."""
    obj = await _known(obj)
    if not is_netref(obj):
        return builtins.hash(obj)
    return exact(await _ask(consts.HANDLE_HASH, obj), int, "a hash")


async def dir(obj: Any) -> builtins.list[builtins.str]:
    """Returns the names of an object's attributes."""
    obj = await _known(obj)
    if not is_netref(obj):
        return builtins.dir(obj)
    return exact_items(await _ask(consts.HANDLE_DIR, obj), builtins.str, "a name")


async def next(iterator: Any, *default: Any) -> Any:
    """Returns the next item of an iterator.

    Args:
        default: what to return when there is none.

    Raises:
        StopAsyncIteration: there is none, and no default.
    """
    iterator = await _known(iterator)
    found = await next_of(iterator) if is_netref(iterator) else builtins.next(iterator, END)
    if found is not END:
        return found
    if default:
        return default[0]
    raise StopAsyncIteration


async def list(obj: Any) -> builtins.list[Any]:
    """Returns the items of something."""
    return [item async for item in items_of(obj)]


_MIRRORED: Final = {
    "__eq__": "__eq__",
    "__ne__": "__ne__",
    "__lt__": "__gt__",
    "__gt__": "__lt__",
    "__le__": "__ge__",
    "__ge__": "__le__",
}


async def _compared(name: builtins.str, one: Any, other: Any) -> builtins.bool:
    one, other = await _known(one), await _known(other)
    outcome: Any = NotImplemented
    for left, right, method in ((one, other, name), (other, one, _MIRRORED[name])):
        if is_netref(left):
            outcome = await _ask(consts.HANDLE_CMP, left, right, method)
        elif not is_netref(right):
            outcome = getattr(operator, method)(left, right)
        if outcome is not NotImplemented:
            return outcome if type(outcome) is builtins.bool else await bool(outcome)
    if name in ("__eq__", "__ne__"):
        return (one is other) is (name == "__eq__")
    kinds = f"{type(one).__name__!r} and {type(other).__name__!r}"
    raise TypeError(f"{name} is not supported between instances of {kinds}")


async def eq(one: Any, other: Any) -> builtins.bool:
    """Returns whether ``one == other``, to judge by their owners."""
    return await _compared("__eq__", one, other)


async def ne(one: Any, other: Any) -> builtins.bool:
    """Returns whether ``one != other``."""
    return await _compared("__ne__", one, other)


async def lt(one: Any, other: Any) -> builtins.bool:
    """Returns whether ``one < other``."""
    return await _compared("__lt__", one, other)


async def le(one: Any, other: Any) -> builtins.bool:
    """Returns whether ``one <= other``."""
    return await _compared("__le__", one, other)


async def gt(one: Any, other: Any) -> builtins.bool:
    """Returns whether ``one > other``."""
    return await _compared("__gt__", one, other)


async def ge(one: Any, other: Any) -> builtins.bool:
    """Returns whether ``one >= other``."""
    return await _compared("__ge__", one, other)


async def fetch(*deferred: Any) -> Any:
    """Returns the value of a deferred one, or a tuple of several, which take one trip together.

    Raises:
        Exception: a step failed.
    """
    recorded = [one for one in deferred if issubclass(type(one), LazyValue)]
    steps = [_local(one, "____step__") for one in recorded]
    for conn in {step.conn for step in steps}:
        mine = [step for step in steps if step.conn is conn and step.asking is None]
        await conn.await_steps(sending(mine))
    values = [await _known(one) for one in deferred]
    return values[0] if builtins.len(values) == 1 else tuple(values)


def map(func: Callable[[Any], Any], iterable: Any) -> Any:
    """Returns the deferred list of what ``func`` gives for each item of the peer's.

    Args:
        func: is called once, here, with a deferred value, and returns one (or a tuple of them, or
            something plain). The steps are done there for each item, in one trip.
        iterable: a proxy or a deferred value.
    """
    conn = _local(iterable, "____step__").conn if issubclass(type(iterable), LazyValue) else None
    if conn is None:
        if not is_netref(iterable):
            raise TypeError(f"expected a proxy or a deferred value, got {type(iterable).__name__}")
        conn = _conn_of(iterable)
    return Pipeline(conn, Deferred).map(func, iterable)


async def snapshot(obj: Any, classes: Iterable[type] = ()) -> Any:
    """Returns a local copy of remote data; see :func:`rpyc_like.snapshot`."""
    obj = await _known(obj)
    if not is_netref(obj):
        local = snapshot_dump.dump(obj, lambda container: None, getattr)
        return load(local, imported_class, sys.maxsize)
    conn, find = _conn_of(obj), allowed_classes(classes)
    if conn._codec.features & consts.FEATURE_SNAPSHOTS:
        found = await _ask(consts.HANDLE_SNAPSHOT, obj)
        return load(found, find, conn._config["max_memory"])
    from ..core.snapshots import helper_source

    helper = await conn.await_steps(conn.helper_steps("snapshot", helper_source()))
    if helper is None:
        raise TypeError("this peer cannot make a snapshot")
    return load(await helper(obj), find, conn._config["max_memory"])
