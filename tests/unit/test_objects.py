"""The tables of references, ids, and the attribute gate."""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from rpyc_like.core.config import make_config
from rpyc_like.core.dispatch import policy
from rpyc_like.core.references.tables import ExportTable, StaleReference, identify
from rpyc_like.errors import AccessDenied
from rpyc_like.lib.object_ids import class_id, fresh_id


class Thing:
    """An instance of some class."""


def lend(table: ExportTable, obj: Any) -> Any:
    table.lend(obj, identify)
    return next(pack for pack in table if table[pack] is obj)


def test_ids_are_not_addresses() -> None:
    """Ids come from one counter, are never reused, and an instance names its class."""
    thing = Thing()
    name, cls, instance = identify(thing)
    assert name == f"{__name__}.Thing"
    assert (cls, 0) == identify(Thing)[1:]
    assert instance not in (0, id(thing))
    assert fresh_id() > instance
    assert identify(Thing()) != identify(Thing())


def test_module_names() -> None:
    """A module is known by its own name, one that is not imported under builtins."""
    assert identify(os)[0] == "os"
    assert identify(ModuleType("stray"))[0] == "builtins.stray"


def test_class_id_follows_the_shape() -> None:
    """A class that gets another method gets another id, because peers cache its description."""

    class Growing:
        pass

    before = class_id(Growing)
    assert class_id(Growing) == before
    Growing.__len__ = lambda self: 1  # type: ignore[attr-defined]
    assert class_id(Growing) != before
    assert class_id(int) == class_id(int)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ids_start_anew_in_a_forked_child() -> None:
    """Parent and child never give the same number to different objects."""
    here, there = os.pipe()
    if os.fork() == 0:
        os.write(there, str(fresh_id()).encode())
        os._exit(0)
    os.wait()
    child = int(os.read(here, 100))
    os.close(here)
    os.close(there)
    assert abs(child - fresh_id()) > 1000


def test_counts() -> None:
    """An object is held as long as the peer holds references, and no longer."""
    table, thing = ExportTable(), Thing()
    raw = table.lend(thing, identify)
    assert table.lend(thing, identify) == raw
    pack = next(iter(table))
    assert table[pack] is thing
    assert table.count(pack) == 2
    assert table.give_back(raw, 1)
    assert pack in table
    assert table.give_back(raw, 1)
    assert pack not in table
    assert len(table) == 0
    with pytest.raises(StaleReference, match="stale or foreign"):
        table[pack]


@pytest.mark.parametrize("count", [0, -1, -(10**6)])
def test_counts_below_one_do_nothing(count: int) -> None:
    """A count that is not positive never pins an object."""
    table = ExportTable()
    raw = table.lend(Thing(), identify)
    assert not table.give_back(raw, count)
    assert table.give_back(raw, 1)
    assert len(table) == 0


def test_counts_above_what_is_held_are_clamped() -> None:
    """Giving back too much is noticed, and harms nothing else."""
    table = ExportTable()
    raw, other = table.lend(Thing(), identify), table.lend(Thing(), identify)
    assert not table.give_back(raw, 10**9)
    assert len(table) == 1
    assert table.give_back(other, 1)
    assert not table.give_back(other, 1)


def test_the_root_is_pinned() -> None:
    """The root stays whatever the peer gives back."""
    table, root = ExportTable(), Thing()
    table.pin(root)
    pack = lend(table, root)
    raw = table.lend(root, identify)
    table.give_back(raw, 2)
    assert table[pack] is root


def test_equal_objects_are_different() -> None:
    """Identity counts, not equality, and unhashable objects are welcome."""
    table = ExportTable()
    assert table.lend([1], identify) != table.lend([1], identify)


class Guarded:
    """Names of all kinds."""

    public = 1
    _private = 2
    exposed_shown = 3
    exposed_both = 4
    both = 5
    evaluated = 0

    @property
    def exposed_counted(self) -> int:
        Guarded.evaluated += 1
        return Guarded.evaluated

    def __len__(self) -> int:
        return 7


RULES = [
    ({}, "shown", "exposed_shown"),
    ({}, "exposed_shown", "exposed_shown"),
    ({}, "public", None),
    ({}, "_private", None),
    ({}, "__len__", "__len__"),
    ({}, "__dict__", None),
    ({}, "__class__", None),
    ({}, "missing", None),
    ({}, "both", "exposed_both"),
    ({"allow_public_attrs": True}, "public", "public"),
    ({"allow_public_attrs": True}, "both", "both"),
    ({"allow_public_attrs": True}, "_private", None),
    ({"allow_public_attrs": True}, "missing", "missing"),
    ({"allow_all_attrs": True}, "_private", "_private"),
    ({"allow_all_attrs": True}, "shown", "exposed_shown"),
    ({"allow_exposed_attrs": False}, "shown", None),
    ({"allow_exposed_attrs": False}, "exposed_shown", None),
    ({"allow_safe_attrs": False}, "__len__", None),
    ({"allow_getattr": False, "allow_all_attrs": True}, "public", None),
    ({"exposed_prefix": "pub"}, "lic", "public"),
    ({"safe_attrs": {"_private"}}, "_private", "_private"),
]


@pytest.mark.parametrize(("config", "name", "expected"), RULES)
def test_attribute_rules(config: dict[str, Any], name: str, expected: str | None) -> None:
    """Which name is used when a peer asks for one, or that it is refused."""
    full = make_config(config)
    if expected is None:
        with pytest.raises(AccessDenied, match="cannot access"):
            policy.check_attr(full, Guarded(), name, "allow_getattr")
        assert issubclass(AccessDenied, AttributeError)
    else:
        assert policy.check_attr(full, Guarded(), name, "allow_getattr") == expected


def test_setting_and_deleting_are_off() -> None:
    """Reading does not imply writing."""
    for perm in ("allow_setattr", "allow_delattr"):
        with pytest.raises(AccessDenied):
            policy.check_attr(make_config({"allow_all_attrs": True}), Guarded(), "public", perm)


def read(obj: Any, name: Any) -> Any:
    config = make_config({})
    return policy.access_attr(
        partial(policy.decide, config), obj, name, (), "_rpyc_getattr", "allow_getattr", getattr
    )


def test_a_property_is_evaluated_once() -> None:
    """The gate decides without running the object's code."""
    before = Guarded.evaluated
    read(Guarded(), "counted")
    assert Guarded.evaluated == before + 1


def test_names_are_exact_strings() -> None:
    """Bytes are UTF-8 names; other types are refused."""
    assert read(Guarded(), b"shown") == 3
    with pytest.raises(TypeError, match="string"):
        read(Guarded(), 5)


def test_a_class_may_decide_itself() -> None:
    """``_rpyc_getattr`` replaces the rules."""

    class Own:
        def _rpyc_getattr(self, name: str) -> str:
            return name.upper()

    assert read(Own(), "anything") == "ANYTHING"


def test_safe_attrs_are_live() -> None:
    """Adding to the default set changes connections that exist."""
    config = make_config({})
    name = "__trunc__"
    assert hasattr(math, "trunc")
    with pytest.raises(AccessDenied):
        policy.check_attr(config, 1.5, name, "allow_getattr")
    config["safe_attrs"].add(name)
    try:
        assert policy.check_attr(make_config({}), 1.5, name, "allow_getattr") == name
    finally:
        config["safe_attrs"].discard(name)
    assert sys.getrefcount(config) > 0
