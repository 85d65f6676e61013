"""Copies of remote data, without pickle and in one trip."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any, Final

from ...lib.value_classes import allowed_classes, imported_class
from .. import consts
from ..netref import is_netref
from ..proxies.container_copies import copy_of, is_container
from . import dump as snapshot_dump
from . import load as snapshot_load

__all__ = ["snapshot"]

_HELPER: Final = """
def run(obj):
    return dump(obj, lambda container: None, getattr)
"""


def snapshot(obj: Any, classes: Iterable[type] = ()) -> Any:
    """Returns a copy of remote data: what is nested in it comes along, in one trip.

    Data are plain values, lists, tuples, dicts, sets, the collections of :mod:`collections`,
    dataclasses, named tuples, enumerations, dates and times, Decimals, Fractions, UUIDs, paths,
    ranges, arrays and NumPy arrays of numbers, times and text. What is referred to twice is one
    object in the copy as well, and cycles are kept. The peer chooses no code to run:
    :mod:`rpyc_like.core.snapshots.load`. An object of this side is copied in the same way.

    Dataclasses, named tuples and enumerations of the peer are classes that stand in, with the same
    name and fields, unless this program has registered its own with
    :func:`~rpyc_like.lib.value_classes.by_value` or passes it.

    A classic server of RPyC's does it with a helper that is lent to it; of other peers of RPyC's
    only lists, dicts, sets and bytearrays of plain values can be copied.

    Args:
        classes: dataclasses, named tuples and enumerations of this program to be used for the
            peer's ones of the same module and name, beside those that are registered.

    Raises:
        TypeError: part of it is no data; the text says where.
        MalformedValue: the peer sent none, or it has NumPy arrays and NumPy is not imported here.
        AttributeError: the owner does not let this side read it.
    """
    if not is_netref(obj):
        local = snapshot_dump.dump(obj, lambda container: None, getattr)
        return snapshot_load.load(local, imported_class, sys.maxsize)
    find = allowed_classes(classes)
    conn = object.__getattribute__(obj, "____conn__")
    max_memory = conn._config["max_memory"]
    if conn._codec.features & consts.FEATURE_SNAPSHOTS:
        return snapshot_load.load(conn.sync_request(consts.HANDLE_SNAPSHOT, obj), find, max_memory)
    helper = conn.run_steps(conn.helper_steps("snapshot", helper_source()))
    if helper is not None:
        return snapshot_load.load(helper(obj), find, max_memory)
    return _copied(obj)


def helper_source() -> str:
    """Returns the source of what makes snapshots at a classic peer of RPyC's."""
    return inspect.getsource(snapshot_dump) + _HELPER


def _copied(obj: Any) -> Any:
    if not is_netref(obj):
        return tuple([_copied(item) for item in obj]) if type(obj) is tuple else obj
    if not is_container(obj):
        raise TypeError("this peer cannot make a snapshot of anything but built-in containers")
    copy = copy_of(obj)
    if type(copy) is dict:
        return {_copied(key): _copied(value) for key, value in copy.items()}
    return copy if type(copy) is bytearray else type(copy)([_copied(item) for item in copy])
