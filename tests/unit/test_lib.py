"""The helpers under the names of RPyC's library."""

from __future__ import annotations

import gc
import socket
import threading

import pytest

from rpyc_like import lib
from rpyc_like.lib import compat
from rpyc_like.lib.colls import RefCountingColl, WeakValueDict


class Thing:
    """Something that can be referenced weakly."""


def test_weak_values() -> None:
    """Values live for others' sake; a dead one is missing."""
    things = WeakValueDict()
    kept = things["a"] = Thing()
    things["b"] = Thing()
    gc.collect()
    assert list(things.iterkeys()) == ["a"]
    assert list(things.itervalues()) == [kept]
    assert list(things.iteritems()) == [("a", kept)]
    assert things.get("b", 5) == 5
    with pytest.raises(KeyError):
        things["b"]


def test_counted_objects() -> None:
    """An object stays until all references are given back."""
    table = RefCountingColl()
    thing = Thing()
    table.add("key", thing)
    table.add("key", thing)
    assert table["key"] is thing
    table.decref("key")
    assert table["key"] is thing
    assert "key" in repr(table)
    table.decref("key", 1)
    with pytest.raises(KeyError):
        table["key"]
    table.add("other", thing)
    table.clear()
    with pytest.raises(KeyError):
        table["other"]


def test_missing_modules() -> None:
    """What is not installed is false, and says so when it is used."""
    missing = lib.safe_import("no_such_module_at_all")
    assert isinstance(missing, lib.MissingModule)
    assert not missing
    with pytest.raises(ImportError, match="no_such_module_at_all"):
        missing.anything
    assert not hasattr(missing, "__path__")
    assert lib.safe_import("socket") is socket


def test_poll() -> None:
    """Descriptors with RPyC's modes."""
    here, there = socket.socketpair()
    watcher = compat.poll()
    watcher.register(here, "r")
    assert watcher.poll(0) == []
    there.send(b"x")
    assert watcher.poll(1) == [(here.fileno(), "r")]
    watcher.modify(here.fileno(), "rw")
    assert watcher.poll(1) == [(here.fileno(), "rw")]
    there.close()
    ((_, modes),) = watcher.poll(1)
    assert "h" in modes
    watcher.unregister(here)
    assert watcher.poll(0) == []
    here.close()


def test_the_rest_of_compat() -> None:
    """Small things that programs import."""
    assert compat.BYTES_LITERAL("a\xff") == b"a\xff"
    assert compat.get_exc_errno(OSError(5, "x")) == 5
    lock = threading.Lock()
    assert compat.acquire_lock(lock, True, lib.Timeout(0.01))
    assert not compat.acquire_lock(lock, True, lib.Timeout(0.01))
    assert not compat.acquire_lock(lock, False, lib.Timeout(None))

    class Meta(type):
        pass

    class Made(compat.with_metaclass(Meta, Thing)):  # type: ignore[misc]
        pass

    assert type(Made) is Meta
    assert issubclass(Made, Thing)
    assert 0 <= lib.exp_backoff(3) <= 0.4
    assert lib.maxint == compat.maxint
