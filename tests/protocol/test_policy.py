"""Every handler, every special name, every configuration, against a table of what is allowed."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.core.config import DEFAULT_CONFIG
from rpyc_like.core.dispatch import handlers, policy
from rpyc_like.core.pipelining import chain_interpreter
from rpyc_like.core.protocol import Connection
from rpyc_like.errors import AccessDenied
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream


class Subject:
    """Has names of each kind; its methods do nothing that matters."""

    public = 1
    _private = 2
    exposed_shown = 3

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter((1, 2))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


@dataclasses.dataclass
class Data:
    """Has a field with a public name."""

    public: int = 1


def generator() -> Any:
    yield 1


def make_subjects() -> dict[str, Any]:
    """Returns one object of each kind that leads to code, globals or classes."""
    running = generator()
    next(running)
    try:
        raise ValueError
    except ValueError as error:
        trace = error.__traceback__
    return {
        "instance": Subject(),
        "function": make_subjects,
        "method": Subject().__len__,
        "generator": running,
        "frame": inspect.currentframe(),
        "code": make_subjects.__code__,
        "traceback": trace,
        "class": Subject,
        "list": [1],
    }


# Each name belongs to one category. The lists say what matters; the rest follows from the spelling.

LEADS_OUT = set(
    "__class__ __dict__ __getattribute__ __reduce_ex__ __reduce__ __init__ __globals__ __code__ "
    "__closure__ __subclasses__ __mro__ __self__ __func__ __wrapped__ __builtins__ __base__ "
    "__bases__ __init_subclass__ __setattr__ __delattr__ __getattr__ __defaults__ __getstate__ "
    "__subclasshook__ __del__ __sizeof__ __dir__ __instancecheck__ __subclasscheck__ __prepare__ "
    "__call__ __get__ __set__ __set_name__ __annotations__ __module__ __qualname__ __new__".split()
)
INTERNAL = set(
    "gi_frame gi_code gi_yieldfrom gi_running cr_frame cr_code cr_await cr_origin ag_frame "
    "ag_code f_globals f_locals f_back f_builtins f_code tb_frame "
    "tb_next co_code co_consts co_names mro".split()
)
SAFE = set(
    "__add__ __sub__ __mul__ __eq__ __lt__ __len__ __iter__ __next__ __getitem__ __setitem__ "
    "__contains__ __enter__ __exit__ __repr__ __str__ __hash__ __bool__ __int__ __index__ "
    "__format__ __doc__ __radd__ __iadd__ __divmod__ next".split()
)

MADE_OF_CODE = {("frame", "clear"), ("code", "replace"), ("frame", "replace"), ("code", "clear")}
"""Public names that are refused of objects of one kind, though not of others."""

TABLE: dict[str, tuple[dict[str, Any], str]] = {
    "default": ({}, "safe exposed"),
    "nothing": ({"allow_safe_attrs": False, "allow_exposed_attrs": False}, ""),
    "no switch": ({"allow_getattr": False, "allow_all_attrs": True}, ""),
    "exposed only": ({"allow_safe_attrs": False}, "exposed"),
    "safe only": ({"allow_exposed_attrs": False}, "safe"),
    "public": ({"allow_public_attrs": True}, "safe exposed public"),
    "public only": (
        {"allow_public_attrs": True, "allow_safe_attrs": False, "allow_exposed_attrs": False},
        # "next" needs no leave of the safe attributes: it is a public name. So is exposed_shown.
        "public exposed next",
    ),
    "no prefix": ({"exposed_prefix": ""}, "safe"),
    "all": ({"allow_all_attrs": True}, "safe exposed public internal private"),
}
"""Configurations, and the categories of names that may be read under each."""


def category(name: str) -> str:
    if name in LEADS_OUT:
        return "private"
    if name in INTERNAL or name in policy.INTERNALS:
        return "internal"
    if name == "next":
        return "next"
    if name in SAFE or name in DEFAULT_CONFIG["safe_attrs"]:
        return "safe"
    if name.startswith("_"):
        return "private"
    return "exposed" if name.startswith("exposed_") else "public"


def is_allowed(name: str, allowed: str) -> bool:
    found = category(name)
    if found == "next":
        return "next" in allowed or "safe" in allowed or "public" in allowed
    return found in allowed.split()


def all_names() -> list[str]:
    names = {*LEADS_OUT, *INTERNAL, *SAFE, "public", "_private", "exposed_shown", "exposed_missing"}
    for subject in make_subjects().values():
        names.update(dir(subject))
        names.update(dir(type(subject)))
    return sorted(names)


NAMES = all_names()


@pytest.fixture
def make_conn() -> Any:
    made: list[Connection] = []

    def make(config: dict[str, Any]) -> Connection:
        here, _ = MemoryStream.create_pair()
        conn = rpyc.connect_channel(Channel(here), config=config)
        made.append(conn)
        return conn

    yield make
    for conn in made:
        conn._link.lose(None)


def is_denied(func: Callable[..., Any], *args: Any) -> bool:
    """Returns whether the gate refused; whatever else happens, the gate let it happen."""
    try:
        func(*args)
    except AccessDenied:
        return True
    except BaseException:
        return False
    return False


def test_the_lists_are_consistent() -> None:
    """What leads out of the sandbox is in no list of harmless names."""
    assert not LEADS_OUT & set(DEFAULT_CONFIG["safe_attrs"])
    assert not INTERNAL & set(DEFAULT_CONFIG["safe_attrs"])
    assert set(DEFAULT_CONFIG["safe_attrs"]) >= SAFE
    assert {name for name in INTERNAL if name in NAMES} <= policy.INTERNALS
    assert len(NAMES) > 120


@pytest.mark.parametrize("name", TABLE)
def test_reading(name: str, make_conn: Any) -> None:
    """GETATTR and CALLATTR read what the table allows, of objects of every kind."""
    config, allowed = TABLE[name]
    conn = make_conn(config)
    for attribute in NAMES:
        expected = not is_allowed(attribute, allowed)
        for kind, subject in make_subjects().items():
            if (kind, attribute) in MADE_OF_CODE and "private" not in allowed:
                assert is_denied(conn._handle_getattr, subject, attribute)
                continue
            denied = is_denied(conn._handle_getattr, subject, attribute)
            shown = attribute == "shown" and "exposed" in allowed
            assert denied == (expected and not shown), (kind, attribute)
            denied = is_denied(conn._handle_getattr, subject, attribute.encode())
            assert denied == (expected and not shown), (kind, attribute)
            if attribute != "__call__" and kind not in ("frame", "code", "traceback"):
                denied = is_denied(conn._handle_callattr, subject, attribute, ())
                assert denied == expected, (kind, attribute, "CALLATTR")


@pytest.mark.parametrize("name", TABLE)
def test_steps_of_a_chain(name: str, make_conn: Any) -> None:
    """Each step of a chain reads and sets what the same request by itself would."""
    config, allowed = TABLE[name]
    conn = make_conn({**config, "allow_setattr": True})
    for attribute in NAMES:
        subject = Subject()
        lent = (chain_interpreter.VALUE, subject)
        steps = (
            (chain_interpreter.GETATTR, lent, attribute),
            (chain_interpreter.SETATTR, lent, attribute, (chain_interpreter.VALUE, 5)),
            (chain_interpreter.MAP, (0, [subject]), ((0, (1, 0, -1), attribute),), (1, 0, 0)),
        )
        got, put, mapped = conn._handle_chain(steps, (0, 1, 2))
        denied = not is_allowed(attribute, allowed)
        assert was_denied(got) == denied, attribute
        if name != "no switch":
            assert was_denied(put) == denied, attribute
        assert was_denied(mapped) == (denied or not is_allowed("__iter__", allowed)), attribute


def was_denied(outcome: Any) -> bool:
    """Returns whether a step failed because of the gate."""
    return outcome[0] == chain_interpreter.FAILED and "cannot access" in str(outcome[1][1])


@pytest.mark.parametrize("name", TABLE)
def test_writing(name: str, make_conn: Any) -> None:
    """SETATTR and DELATTR are off unless allowed, and then keep to the same table."""
    config, allowed = TABLE[name]
    for switch, do in (("allow_setattr", "_handle_setattr"), ("allow_delattr", "_handle_delattr")):
        values = (5,) if switch == "allow_setattr" else ()
        closed, opened = make_conn(config), make_conn({**config, switch: True})
        if name == "no switch":
            allowed = "safe exposed public internal private"  # the switch is about reading
        for attribute in NAMES:
            subject = Subject()
            assert is_denied(getattr(closed, do), subject, attribute, *values), attribute
            denied = is_denied(getattr(opened, do), subject, attribute, *values)
            assert denied == (not is_allowed(attribute, allowed)), attribute


@pytest.mark.parametrize("name", TABLE)
def test_fixed_names(name: str, make_conn: Any) -> None:
    """Requests that imply a name are allowed when that name is."""
    config, allowed = TABLE[name]
    conn = make_conn(config)
    implied: dict[str, Callable[[], Any]] = {
        "__repr__": lambda: conn._handle_repr(Subject()),
        "__str__": lambda: conn._handle_str(Subject()),
        "__hash__": lambda: conn._handle_hash(Subject()),
        "__eq__": lambda: conn._handle_cmp(Subject(), 5, "__eq__"),
        "__exit__": lambda: conn._handle_ctxexit(Subject(), None),
        "__iter__": lambda: conn._handle_buffiter(Subject(), 1),
    }
    chunked: list[Callable[[], Any]] = [
        lambda: conn._handle_iterate([1], 0, 1),
        lambda: conn._handle_iterate({1: 1}, 0, 1),
        lambda: conn._handle_chunk([1], 0, 1, 0),
        lambda: conn._handle_snapshot([1]),
        lambda: conn._handle_snapshot({1: [2]}),
    ]
    for run in chunked:
        assert is_denied(run) == (not is_allowed("__iter__", allowed))
    items = is_allowed("__iter__", allowed) and is_allowed("__getitem__", allowed)
    assert is_denied(lambda: conn._handle_iterate({1: 1}, 1, 1)) == (not items)
    assert is_denied(lambda: conn._handle_snapshot(Data())) == (not is_allowed("public", allowed))
    for attribute, run in implied.items():
        assert is_denied(run) == (not is_allowed(attribute, allowed)), attribute
    assert conn._handle_call(len, ("ab",)) == 2  # what was lent may be called
    assert conn._handle_callattr(len, "__call__", ("ab",)) == 2


@pytest.mark.parametrize("name", TABLE)
def test_names_in_other_places(name: str, make_conn: Any) -> None:
    """A comparison's operator and the names of old slicing are no way round the gate."""
    conn = make_conn(TABLE[name][0])
    for attribute in NAMES:
        if attribute not in handlers.COMPARISONS:
            assert is_denied(conn._handle_cmp, Subject(), 5, attribute), attribute
        if attribute not in handlers.SLICINGS:
            slicing = (Subject(), attribute, "__getitem__", 0, 1, ())
            assert is_denied(conn._handle_oldslicing, *slicing), attribute
            slicing = (Subject(), "__getitem__", attribute, 0, 1, ())
            assert is_denied(conn._handle_oldslicing, *slicing), attribute


class Sliced:
    """Takes slices in the way of Python 2, and notes what it is asked."""

    def __init__(self, error: type[Exception] | None) -> None:
        self.error = error
        self.asked: list[Any] = []

    def __getitem__(self, key: Any) -> Any:
        self.asked.append(key)
        if self.error is not None:
            raise self.error("x")
        return key

    def __getslice__(self, start: int, stop: int) -> Any:
        self.asked.append((start, stop))
        return start, stop


@pytest.mark.parametrize(
    ("error", "asked"),
    [(None, [slice(0, 5)]), (TypeError, [slice(0, 5), (0, 5)]), (ValueError, [slice(0, 5)])],
)
def test_old_slicing_falls_back_once(
    error: type[Exception] | None, asked: list[Any], make_conn: Any
) -> None:
    """Numbers come after a slice that was not taken, and after no other error."""
    conn, sliced = make_conn({"allow_all_attrs": True}), Sliced(error)
    ask = (sliced, "__getitem__", "__getslice__", 0, 5, ())
    if error is ValueError:
        with pytest.raises(ValueError, match="x"):
            conn._handle_oldslicing(*ask)
    else:
        conn._handle_oldslicing(*ask)
    assert sliced.asked == asked


def test_old_slicing_keeps_the_error_of_what_knows_no_other_way(make_conn: Any) -> None:
    """Where there is no method of Python 2, the error of the first one is the answer."""
    conn = make_conn({"allow_all_attrs": True})
    with pytest.raises(TypeError, match="slice"):
        conn._handle_oldslicing(deque([1]), "__getitem__", "__getslice__", 0, 5, ())


@pytest.mark.parametrize("name", TABLE)
def test_what_is_shown(name: str, make_conn: Any) -> None:
    """DIR always answers; it and INSPECT show what may be read, and __call__ where that is."""
    config, allowed = TABLE[name]
    conn = make_conn(config)
    for kind, subject in make_subjects().items():
        shown = conn._handle_dir(subject)
        assert all(is_allowed(attribute, allowed) for attribute in shown), kind
        if kind == "instance":
            assert ("__eq__" in shown) == is_allowed("__eq__", allowed)
            assert ("exposed_shown" in shown) == is_allowed("exposed_shown", allowed)
        raw = conn._local_objects.lend(subject, rpyc.core.references.tables.identify)
        pack = conn._local_objects.by_raw[raw].pack
        told = [attribute for attribute, _ in conn._handle_inspect(pack)]
        assert all(one == "__call__" or is_allowed(one, allowed) for one in told), kind
        assert ("__call__" in told) == callable(subject), kind


def test_every_handler_is_covered() -> None:
    """A new request must get its place in this file."""
    covered = {
        *("GETATTR", "CALLATTR", "SETATTR", "DELATTR", "REPR", "STR", "HASH", "CMP", "CTXEXIT"),
        *("BUFFITER", "CALL", "OLDSLICING", "DIR", "INSPECT"),
        *("CHAIN", "ITERATE", "CHUNK", "SNAPSHOT"),
    }
    without_names = {
        *("PING", "CLOSE", "GETROOT", "DEL", "HELLO", "RELEASE", "REWIND"),
        *("CANCEL", "DEADLINE", "HEARTBEAT"),
        *("PICKLE", "PICKLE_PARTS", "INSTANCECHECK", "SUBCLASSCHECK"),
    }
    assert set(handlers.NAMES.values()) == covered | without_names


def test_requests_without_a_name(make_conn: Any) -> None:
    """INSTANCECHECK and SUBCLASSCHECK take classes only; PICKLE needs its own leave."""
    conn = make_conn({})
    for value in (5, Subject(), "text"):
        with pytest.raises(TypeError, match="expected a class"):
            conn._handle_instancecheck(value, ("x", 1, 2))
        with pytest.raises(TypeError, match="expected a class"):
            conn._handle_subclasscheck(value, int)
    with pytest.raises(ValueError, match="allow_pickle"):
        conn._handle_pickle([], 2)
    with pytest.raises(ValueError, match="allow_pickle"):
        conn._handle_pickle_parts([])


@pytest.mark.parametrize("count", [-1, 100_001, "5", None, True])
def test_counts_are_bounded(count: Any, make_conn: Any) -> None:
    """A peer cannot ask for any number of items at once."""
    with pytest.raises(ValueError, match="expected a count"):
        make_conn({})._handle_buffiter(itertools.count(), count)


def test_strange_names(make_conn: Any) -> None:
    """Names are exact texts of bounded length that mean one thing only."""
    conn = make_conn({"allow_public_attrs": True})

    class Text(str):
        """A text of its own kind."""

    class Any_:  # noqa: N801
        """Has every name that it is asked for."""

        def __getattr__(self, name: str) -> str:
            return name

    for name in (5, None, Text("public"), bytearray(b"public"), ["public"]):
        with pytest.raises(TypeError, match="must be a string"):
            conn._handle_getattr(Any_(), name)
    for name in ("x" * 1001, "x" * 1_000_000, b"\xff", "\uff3fsecret", "\uff47i_frame"):
        with pytest.raises(AccessDenied):
            conn._handle_getattr(Any_(), name)
    assert conn._handle_getattr(Any_(), "fine") == "fine"
    assert conn._handle_getattr(Subject(), b"public") == 1


def test_the_prefix_is_not_doubled(make_conn: Any) -> None:
    """A name that has the prefix is that name, and no other."""

    class Doubled:
        exposed_exposed_hidden = 1

    conn = make_conn({})
    with pytest.raises(AttributeError):
        conn._handle_getattr(Doubled(), "exposed_hidden")


def test_asked_once(make_conn: Any) -> None:
    """A property and a __getattr__ run once, and the gate decides without them."""
    asked: list[str] = []

    class Counting:
        @property
        def exposed_value(self) -> int:
            asked.append("property")
            return 1

        def __getattr__(self, name: str) -> int:
            asked.append(name)
            if name == "missing" or name == "exposed_missing":
                raise AttributeError(name)
            return 2

    conn = make_conn({})
    assert conn._handle_getattr(Counting(), "value") == 1
    assert asked == ["property"]
    asked.clear()
    assert conn._handle_getattr(Counting(), "made") == 2
    assert asked == ["exposed_made"]
    asked.clear()
    with pytest.raises(AttributeError):
        conn._handle_getattr(Counting(), "missing")
    assert asked == ["exposed_missing"]
    asked.clear()
    public = make_conn({"allow_public_attrs": True})
    assert public._handle_getattr(Counting(), "made") == 2
    assert asked == ["made"]
    asked.clear()
    with pytest.raises(AttributeError):
        public._handle_getattr(Counting(), "missing")
    assert asked == ["missing", "exposed_missing"]


def test_a_class_that_decides_itself_tells_what_it_likes(make_conn: Any) -> None:
    """DIR of a class with _rpyc_getattr shows nothing, unless the class has its own __dir__."""

    class Silent:
        secret = 1

        def _rpyc_getattr(self, name: str) -> Any:
            raise AccessDenied(name)

    class Telling(Silent):
        def __dir__(self) -> list[str]:
            return ["told"]

    conn = make_conn({"allow_public_attrs": True})
    assert conn._handle_dir(Silent()) == ()
    assert conn._handle_dir(Telling()) == ("told",)


def test_proxies_are_asked_once(pair: Any, make_conn: Any) -> None:
    """An object of a third side is asked for its attribute, once; its own methods do not decide."""

    class Far(rpyc.Service):
        seen: list[str] = []

        def _rpyc_getattr(self, name: str) -> Any:
            self.seen.append(name)
            if name != "exposed_value":
                raise AttributeError(name)
            return name

    client, _ = pair(Far)
    gateway = make_conn({})
    root = client.root
    Far.seen.clear()
    assert gateway._handle_getattr(root, "value") == "exposed_value"
    assert Far.seen == ["exposed_value"]
    with pytest.raises(AccessDenied):
        gateway._handle_getattr(root, "__class__")


def test_generators_keep_their_frames(make_conn: Any) -> None:
    """The names are those of this interpreter, not a list that ages."""
    conn = make_conn({"allow_public_attrs": True})
    running = generator()
    for name in dir(running):
        if name.startswith("gi_"):
            with pytest.raises(AccessDenied):
                conn._handle_getattr(running, name)
    assert isinstance(running, types.GeneratorType)
    assert consts.HANDLE_GETATTR == 4
