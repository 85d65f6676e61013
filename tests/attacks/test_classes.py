"""Classes that a peer names give it no power: cases 86 to 88."""

from __future__ import annotations

import abc
import array
import asyncio
import collections
import copy
import copyreg
import dataclasses
import datetime
import decimal
import enum
import gc
import operator
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core import consts
from rpyc_like.core.protocol import Connection
from rpyc_like.core.proxies.class_descriptions import Description
from rpyc_like.core.proxies.class_proxies import class_state
from rpyc_like.core.proxies.remote_classes import RemoteClasses
from rpyc_like.core.service import ClassicClient, SlaveService
from rpyc_like.core.snapshots import load as snapshot_load
from rpyc_like.errors import MalformedValue
from rpyc_like.lib.stand_ins import is_among, mro_of, name_pair
from tests.support.joining import join

T = TypeVar("T")
bases_of = type.__dict__["__bases__"].__get__
ran: list[str] = []
"""What of the classes below has run because of a peer."""


def note(name: str) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        ran.append(name)
        return "secret"

    return method


ALL_SPECIAL = (
    "__new__ __init__ __del__ __len__ __iter__ __getitem__ __contains__ __bool__ __int__ __str__ "
    "__repr__ __eq__ __hash__ __call__ __enter__ __exit__ __reduce__ __reduce_ex__ __getattr__ "
    "__getattribute__ __setattr__ __delattr__ __dir__ __format__ __add__ __index__ __set_name__ "
    "__instancecheck__ __subclasscheck__ __fspath__ __bytes__ __copy__ __sizeof__"
).split()


class Vault:
    """A class of this program that nobody lends."""

    exposed_dump = dump = note("dump")

    @classmethod
    def exposed_make(cls) -> Any:
        return ran.append("make")

    def __repr__(self) -> str:
        return str(ran.append("repr"))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not ran or ran[-1] != "own":
            ran.append("init_subclass")

    @classmethod
    def __subclasshook__(cls, other: Any) -> Any:
        ran.append("subclasshook")
        return NotImplemented

    def __class_getitem__(cls, item: Any) -> Any:
        return ran.append("class_getitem")


class VaultMeta(type):
    """Runs for everything that is done with its classes."""

    __call__ = note("meta call")
    __instancecheck__ = note("meta instancecheck")
    __subclasscheck__ = note("meta subclasscheck")
    __getattribute__ = note("meta getattribute")  # type: ignore[assignment]
    __eq__ = note("meta eq")

    def __hash__(cls) -> int:
        ran.append("meta hash")
        return 5

    def mro(cls) -> list[type]:
        return super().mro()


class MetaVault(metaclass=VaultMeta):
    """Has a metaclass with code."""


def _noting(name: str, base: type) -> Any:
    """Returns a class with all special methods, derived from something built in."""
    body: dict[str, Any] = {special: note(special) for special in ALL_SPECIAL}
    return type(name, (base,), {**body, "dump": note("dump"), "__module__": __name__})


DictVault, ListVault = _noting("DictVault", dict), _noting("ListVault", list)
IntVault = _noting("IntVault", int)
ErrorVault, OSErrorVault = _noting("ErrorVault", Exception), _noting("OSErrorVault", OSError)


class PlainError(Exception):
    """An exception of this program, as they usually are."""

    def __init__(self, text: str, code: int) -> None:
        ran.append("init")
        super().__init__(text)
        self._code = code

    @property
    def code(self) -> int:
        ran.append("get code")
        return self._code

    @code.setter
    def code(self, value: int) -> None:
        ran.append("set code")

    def __setattr__(self, name: str, value: Any) -> None:
        ran.append("setattr")
        super().__setattr__(name, value)

    def __str__(self) -> str:
        ran.append("str")
        return "told by itself"

    exposed_dump = dump = note("dump")


class FinalError(Exception):
    """Does something when it is forgotten."""

    def __del__(self) -> None:
        ran.append("del")


@dataclasses.dataclass
class Record:
    """A dataclass with code."""

    path: str

    def __post_init__(self) -> None:
        ran.append("post_init")

    exposed_dump = dump = note("dump")


class Tuple(NamedTuple):
    """A named tuple with a method."""

    path: str

    def dump(self) -> None:
        ran.append("dump")


class Secret(enum.Enum):
    """An enumeration that makes members on demand."""

    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran.append("missing")
        return cls.ONE

    def dump(self) -> None:
        ran.append("dump")


class Rights(enum.Flag):
    """Flags that make members on demand."""

    READ = 1
    WRITE = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        ran.append("missing")
        return super()._missing_(value)


class Box(Generic[T]):
    """A generic class."""

    exposed_dump = dump = note("dump")


class Registry(abc.ABC):  # noqa: B024
    """An abstract base class with code."""

    @classmethod
    def __subclasshook__(cls, other: Any) -> Any:
        ran.append("abc subclasshook")
        return NotImplemented


class Thing:
    """A class whose instances are lent."""


class Service(rpyc.Service):
    """Lends what services lend."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.seen: list[Any] = []

    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_list(self) -> list[int]:
        return [1]

    def exposed_dict(self) -> dict[str, int]:
        return {"a": 1}

    def exposed_number(self) -> Any:
        return IntLike()

    def exposed_thing(self) -> Thing:
        return Thing()

    def exposed_kind(self) -> type:
        return Thing

    def exposed_keep(self, obj: Any) -> Any:
        self.kept.append(obj)
        return len(self.kept)

    def exposed_catch(self, func: Any) -> Any:
        """Gives back an exception that the peer raises."""
        try:
            func()
        except Exception as error:
            self.kept.append(error)
            return error
        return None

    def exposed_call(self, func: Any) -> Any:
        return func()

    def exposed_block(self) -> Any:
        return Block(self.seen)

    def exposed_fail(self) -> None:
        ran.append("own")
        raise PlainError("lent", 1)


class IntLike(int):
    """A number that is lent."""


class Block:
    """A context manager that keeps what it was left with."""

    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        self._seen.append(error)
        return error


CLASSES = (
    Vault, MetaVault, DictVault, ListVault, IntVault, Record, Tuple, Secret, Box, Registry
)  # fmt: skip
NAMES = [name_pair(cls)[1] for cls in CLASSES]
ERRORS = (ErrorVault, OSErrorVault, PlainError, FinalError)


@pytest.fixture(autouse=True)
def _nothing_ran() -> Iterator[None]:
    """Nothing of the classes runs, not even when everything is forgotten."""
    ran.clear()
    yield
    gc.collect()
    assert [one for one in ran if one != "own"] == []


def shadow(cls: Any, *bases: Any, module: str = "evil", name: str = "X") -> Any:
    """Returns a class of the attacker's that names a class of the victim's as its base."""
    builtin = [base for base in mro_of(cls)[:-1] if name_pair(base)[0] == "builtins"]
    named = type(name_pair(cls)[1], bases or tuple(builtin[:1]), {"__module__": __name__})
    return type(name, (named,), {"__module__": module})


def attempt(func: Callable[..., Any], *args: Any) -> Any:
    """Returns what came out, or the exception."""
    try:
        return func(*args)
    except Exception as error:
        return error


def constructors(conn: Connection) -> Iterator[Any]:
    """Yields everything callable under names of construction that the attacker can get."""
    root = conn.root
    lent = [root, *(attempt(getattr(root, name)) for name in ("list", "dict", "number", "thing"))]
    lent.append(attempt(root.kind))
    names = "__new__ __init__ __class__ __init_subclass__ __subclasshook__ __reduce_ex__".split()
    for obj in lent:
        for name in names:
            found = attempt(conn.sync_request, consts.HANDLE_GETATTR, obj, name)
            if not isinstance(found, Exception) and callable(found):
                yield found


def instances_of(cls: type) -> list[Any]:
    gc.collect()
    return [one for one in gc.get_objects() if is_among(cls, mro_of(type(one)))]


# -- case 1 of the list of attacks


def case_1(conn: Connection, root: Any) -> None:
    """The attack as it was found."""
    named = type("Vault", (), {"__module__": __name__})
    mine = type("X", (named,), {"__module__": "evil"})
    new = conn.sync_request(consts.HANDLE_GETATTR, root, "__new__")
    new(mine).dump()


def test_case_86_an_instance_of_a_class_that_nobody_lent() -> None:
    """On a threaded server the attack is refused, and no instance is made."""
    server = rpyc.ThreadedServer(Service, hostname="127.0.0.1", port=0)
    thread = threading.Thread(target=server.start, daemon=True)
    thread.start()
    try:
        with rpyc.connect("127.0.0.1", server.port) as conn:
            with pytest.raises((TypeError, AttributeError)):
                case_1(conn, conn.root)
            for cls in (Vault, MetaVault, Registry):
                leave_with(conn, shadow(cls, module=__name__, name=name_pair(cls)[1]))
            assert conn.root.add(1, 2) == 3
        assert instances_of(Vault) == []
    finally:
        server.close()
        join(thread)


def leave_with(conn: Connection, mine: Any) -> None:
    """Leaves a block with a class, and with an instance of one, in place of an exception."""
    block = conn.root.block()
    for exc in (mine, mine()):
        attempt(conn.sync_request, consts.HANDLE_CTXEXIT, block, exc)


def test_case_86_on_an_asyncio_server() -> None:
    """So it is on an asyncio server."""

    async def main() -> None:
        async with aio.Server(Service, hostname="127.0.0.1", port=0) as server:
            await server.start()
            port = server.port

            def attack() -> None:
                with rpyc.connect("127.0.0.1", port) as conn:
                    with pytest.raises((TypeError, AttributeError)):
                        case_1(conn, conn.root)
                    assert conn.root.add(1, 2) == 3
                    for cls in (Vault, MetaVault, Registry):
                        leave_with(conn, shadow(cls, module=__name__, name=name_pair(cls)[1]))

            await asyncio.to_thread(attack)

    asyncio.run(main())
    assert instances_of(Vault) == []


def test_case_86_by_a_hostile_classic_server(pair: Any) -> None:
    """And so it is when a classic server turns on its client."""
    attacker, victim = pair(ClassicClient, SlaveService)
    with pytest.raises((TypeError, AttributeError)):
        case_1(attacker, attacker.root)
    assert instances_of(Vault) == []
    assert not victim.closed


REBUILD = {"instantiate_custom_exceptions": True, "rebuild_exit_exceptions": True}
CONFIGS = [{}, {"allow_public_attrs": True}, {"allow_public_attrs": True, "allow_setattr": True}]


@pytest.mark.parametrize("cls", CLASSES, ids=NAMES)
@pytest.mark.parametrize("config", CONFIGS, ids=["default", "public", "setattr"])
def test_case_86_no_constructor_takes_a_shadow(pair: Any, cls: Any, config: Any) -> None:
    """Whatever can be had of lent objects: none of it makes an instance that does anything."""
    conn, _ = pair(Service, there_config=config)
    before = len(instances_of(cls))
    mine = shadow(cls)
    conn.root.keep(mine)
    for make in constructors(conn):
        for args in ((mine,), (mine, "x"), (mine, mine)):
            made = attempt(make, *args)
            for name in ("dump", "exposed_dump", "path", "__len__", "__repr__", "__reduce_ex__"):
                method = attempt(getattr, made, name)
                assert attempt(method) != "secret"
            del made
    assert len(instances_of(cls)) == before


@pytest.mark.parametrize("cls", CLASSES, ids=NAMES)
def test_case_86_a_shadow_has_no_methods_to_give(pair: Any, cls: Any) -> None:
    """A peer that asks this side about a class of its own gets nothing of the program's class."""
    config = {"allow_public_attrs": True, "allow_setattr": True, "allow_delattr": True}
    conn, server = pair(Service, there_config=config)
    mine = shadow(cls)
    conn.root.keep(mine)
    told = server._local_root.kept[0]
    own = vars(types.SimpleNamespace(found=None))
    for name in [*ALL_SPECIAL, "dump", "exposed_dump", "exposed_make", "make", "__class_getitem__"]:
        for handler in (consts.HANDLE_GETATTR, consts.HANDLE_CALLATTR):
            args = (name,) if handler == consts.HANDLE_GETATTR else (name, (5,), ())
            found = attempt(conn.sync_request, handler, mine, *args)
            own["found"] = found
            assert found != "secret"
    for handler in (consts.HANDLE_REPR, consts.HANDLE_STR, consts.HANDLE_HASH, consts.HANDLE_DIR):
        attempt(conn.sync_request, handler, mine)
    attempt(conn.sync_request, consts.HANDLE_SETATTR, mine, "__new__", len)
    attempt(conn.sync_request, consts.HANDLE_DELATTR, mine, "__new__")
    for op in ("__eq__", "__lt__"):
        attempt(conn.sync_request, consts.HANDLE_CMP, mine, mine, op)
    assert class_state(told).conn is server


def made_for(*names: tuple[str, str]) -> Any:
    """Returns a stand-in for a class of these names, that belongs to nobody."""
    told = Description((("dump", None),), (("evil", "X"), *names), ("__len__", "__iter__"))
    made = RemoteClasses(REBUILD).proxy(told, None, ("evil.X", 1, 0), b"")
    class_state(made).refcount = 0
    return made


def test_case_86_every_way_to_an_instance_is_shut() -> None:
    """Neither Python's own constructors nor a change of class make an instance."""
    made = made_for(name_pair(Vault))
    assert Vault in made.__mro__ and Vault not in bases_of(made)
    for make in (
        lambda: made.__new__(made),
        lambda: type.__call__(made),
        lambda: object.__new__(made),
        lambda: setattr(Thing(), "__class__", made),
        lambda: type.__new__(type(made), "Y", (made,), {}),
        lambda: type("Y", (made,), {}),
        lambda: types.new_class("Y", (made,)),
        lambda: copyreg.__newobj__(made),  # type: ignore[attr-defined]
        lambda: copyreg._reconstructor(made, object, None),  # type: ignore[attr-defined]
    ):
        with pytest.raises((TypeError, KeyError, AttributeError)):
            make()
    type.__setattr__(made, "__abstractmethods__", frozenset())  # even so
    with pytest.raises((TypeError, AttributeError)):
        made.__new__(made)


BUILT_IN: list[type] = [
    *(dict, list, set, frozenset, tuple, int, float, complex, str, bytes, bytearray),
    *(collections.OrderedDict, collections.defaultdict, collections.deque, decimal.Decimal),
    *(datetime.date, datetime.timedelta, array.array, types.ModuleType),
]
ARGUMENTS: dict[type, Any] = {
    array.array: ("i",),
    datetime.date: (2020, 1, 1),
    types.ModuleType: ("m",),
}


@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize("base", BUILT_IN)
def test_case_86_an_instance_that_is_forced_is_of_no_use(
    monkeypatch: pytest.MonkeyPatch, base: type, slots: bool
) -> None:
    """``dict.__new__`` asks nobody. What it makes has no method of a local class, nor its end."""
    body: dict[str, Any] = {name: note(name) for name in [*ALL_SPECIAL, "dump"]}
    extra = {"__slots__": ()} if slots else {}
    local = type("Forced", (base,), {**body, **extra, "__module__": __name__})
    mixed = type("Mixed", (), {**body, "__module__": __name__})
    for cls in (local, mixed):
        monkeypatch.setattr(sys.modules[__name__], cls.__name__, cls, raising=False)
    names = [name_pair(cls) for cls in type.mro(local)[:-1] if cls is not types.ModuleType]
    module = [("types", "ModuleType")] if base is types.ModuleType else []
    made = made_for(*names, *module, name_pair(mixed))
    assert mixed in made.__mro__ and base in made.__mro__
    ran.clear()
    forced = base.__new__(made, *ARGUMENTS.get(base, ()))  # type: ignore[call-overload]
    gc.collect()
    for name in [*ALL_SPECIAL, "dump", "__class__", "__dict__"]:
        with pytest.raises(AttributeError):
            getattr(forced, name)
    for use in (len, iter, str, repr, hash, bool, int, bytes, dir, copy.copy, sys.getsizeof):
        attempt(use, forced)
    for twice in (operator.add, operator.eq, operator.lt, operator.getitem, operator.contains):
        attempt(twice, forced, forced)
    del forced


def test_case_86_a_class_that_forges_what_it_is(pair: Any) -> None:
    """Class checks with ids that the peer makes up run no code of a class that it names."""
    conn, server = pair(Service)
    for cls in (Vault, MetaVault, Registry):
        mine = shadow(cls, module=__name__, name=name_pair(cls)[1])
        thing = conn.root.thing()
        kind = conn.root.kind()
        pack = object.__getattribute__(thing, "____id_pack__")
        for forged in (pack, (pack[0], 5, 6), ("builtins.int", 0, 1), 5, None, ("x",)):
            outcome = attempt(conn.sync_request, consts.HANDLE_INSTANCECHECK, mine, forged)
            assert outcome is False or isinstance(outcome, Exception)
        assert attempt(conn.sync_request, consts.HANDLE_SUBCLASSCHECK, kind, mine) is False
        attempt(conn.sync_request, consts.HANDLE_SUBCLASSCHECK, mine, kind)
    assert not server.closed


def test_case_86_through_a_public_service_into_a_guarded_one(pair: Any) -> None:
    """What one peer names gives another one of the same process nothing either."""
    first, public = pair(Service, there_config=CUSTOM)
    second, guarded = pair(Service, there_config={"allow_public_attrs": True})
    guarded._local_root.exposed_foreign = lambda: public._local_root.kept[-1]
    for cls in (shadow(Vault), shadow(PlainError, Exception)):
        first.root.keep(cls)
        serving = rpyc.BgServingThread(first)
        foreign = second.root.foreign()
        for name in ("__new__", "__repr__", "__eq__", "dump", "exposed_dump", "exposed_make"):
            found = attempt(second.sync_request, consts.HANDLE_GETATTR, foreign, name)
            for args in ((foreign,), (5,), ()):
                assert attempt(found, *args) != "secret"
        serving.stop()
    assert instances_of(Vault) == instances_of(PlainError) == []


def test_case_86_hundred_bases() -> None:
    """A description with as many bases as are read is a class, and costs little."""
    names = [name_pair(cls) for cls in CLASSES] * 9
    classes = RemoteClasses(
        {"instantiate_custom_exceptions": True, "rebuild_exit_exceptions": True}
    )
    for number in range(50):
        told = Description((), ((f"m{number}", "X"), *names))
        made = classes.proxy(told, None, ("m.X", number, 0), b"")
        class_state(made).refcount = 0
        with pytest.raises(TypeError):
            object.__new__(made)


def test_case_86_a_name_that_is_taken_by_a_stand_in() -> None:
    """A second class of a name gets its own bases, and neither has instances."""
    classes = RemoteClasses(
        {"instantiate_custom_exceptions": True, "rebuild_exit_exceptions": True}
    )
    first = classes.proxy(Description((), (("m", "X"),)), None, ("m.X", 1, 0), b"")
    names = (("m", "X"), (__name__, "Vault"))
    second = classes.proxy(Description((), names), None, ("m.X", 2, 0), b"")
    for one in (first, second):
        class_state(one).refcount = 0
        with pytest.raises(TypeError):
            object.__new__(one)
    assert Vault not in first.__mro__


def test_case_86_what_users_have_stays(pair: Any) -> None:
    """Classes of the peer still answer isinstance and issubclass, and are caught."""
    conn, _ = pair(SlaveService, ClassicClient)
    conn.execute(
        "import collections, collections.abc, enum, sqlite3\n"
        "class Mine(collections.abc.Sequence):\n"
        "    __len__ = __getitem__ = lambda self, *args: 0\n"
        "class Words(dict): pass\n"
        "class Tally(collections.Counter): pass\n"
        "class Level(enum.IntEnum):\n    HIGH = 1\n"
    )
    mine, words, tally, level = [conn.namespace[n] for n in ("Mine", "Words", "Tally", "Level")]
    assert issubclass(mine, collections.abc.Sequence) and isinstance(mine(), collections.abc.Sized)
    assert issubclass(words, dict) and isinstance(words(), dict)
    assert issubclass(tally, collections.Counter) and isinstance(tally(), dict)
    assert issubclass(level, (int, enum.IntEnum)) and isinstance(level.HIGH, enum.Enum)
    assert not issubclass(words, list) and isinstance(words, type)
    with closing(conn.modules.sqlite3.connect(":memory:")) as database:
        with pytest.raises(conn.modules.sqlite3.Error):
            database.execute("no sql")
    import sqlite3

    with closing(conn.modules.sqlite3.connect(":memory:")) as database:
        with pytest.raises(sqlite3.OperationalError):
            database.execute("no sql")


# -- case 87: exceptions, snapshots, teleported code


def hostile_error(cls: Any) -> Callable[[], Any]:
    """Returns a function that raises an exception of a class that the victim knows by name."""
    mine = shadow(cls, OSError if issubclass(cls, OSError) else Exception)

    def fail() -> Any:
        error = mine.__mro__[1]("x", 5)
        error.code = 7
        error.note = "n"
        raise error

    return fail


CUSTOM = {"instantiate_custom_exceptions": True, "allow_public_attrs": True}


@pytest.mark.parametrize("cls", ERRORS)
@pytest.mark.parametrize("config", [{}, CUSTOM], ids=["default", "custom"])
def test_case_87_exceptions_run_no_code(pair: Any, cls: Any, config: Any) -> None:
    """An exception that names a local class is caught as that, if allowed, and made without it."""
    conn, server = pair(Service, there_config=config)
    given = conn.root.catch(hostile_error(cls))
    error = server._local_root.kept[0]
    expected = bool(config) and cls is not FinalError
    own_finalizer = any("__del__" in vars(base) for base in cls.__mro__)
    assert issubclass(type(error), cls) == (expected and not own_finalizer)
    assert cls not in bases_of(type(error))
    assert (error.args, vars(error)["code"], vars(error)["note"]) == (("x", 5), 7, "n")
    assert "x" in str(error) and "x" in repr(error)
    for name in ("dump", "exposed_dump", "with_traceback", "add_note", *ALL_SPECIAL):
        for handler, args in (
            (consts.HANDLE_GETATTR, (name,)),
            (consts.HANDLE_CALLATTR, (name, ("",), ())),
        ):
            assert attempt(conn.sync_request, handler, given, *args) != "secret"
    for name in ("dump", "exposed_dump", "with_traceback", "__reduce_ex__", "__new__"):
        with pytest.raises(AttributeError):
            conn.sync_request(consts.HANDLE_GETATTR, given, name)
    if config:
        assert given.note == "n" and given.args[0] == "x" and "dump" not in dir(given)
    assert "x" in str(given)
    server._local_root.kept.clear()


def test_case_87_an_exception_on_its_way_back(pair: Any) -> None:
    """One that goes on to the peer that raised it is described without asking it."""
    conn, _ = pair(Service, there_config=CUSTOM)
    with pytest.raises(Exception, match="x") as caught:
        conn.root.call(hostile_error(PlainError))
    assert caught.value.code == 7  # type: ignore[attr-defined]


def test_case_87_by_a_hostile_classic_server(pair: Any) -> None:
    """A classic client catches its own class; nothing of it runs, and the server gets nothing."""
    attacker, victim = pair(ClassicClient, SlaveService)
    fail = hostile_error(PlainError)
    given: list[Any] = []

    def turn(func: Any) -> None:
        """What the program of the client does: it calls something and keeps the exception."""
        try:
            func()
        except PlainError as error:
            given.append(error)

    victim._local_root.exposed_turn = turn
    attacker.root.turn(fail)
    assert given[0].args == ("x", 5) and issubclass(type(given[0]), PlainError)
    victim._local_root.exposed_given = lambda: given[0]
    error = attacker.root.given()
    for name in ("dump", "exposed_dump", "with_traceback", "add_note"):
        found = attempt(attacker.sync_request, consts.HANDLE_GETATTR, error, name)
        assert isinstance(found, AttributeError)
    assert error.code == 7
    assert "x" in str(error)


def test_case_87_leaving_a_block(pair: Any) -> None:
    """What a peer leaves a block with names a class that was sent, and is made without its code."""
    conn, server = pair(Service, there_config={"allow_public_attrs": True})
    with pytest.raises(Exception, match="lent"):
        conn.root.fail()
    ran.clear()
    raw = ((__name__, "PlainError"), ("y", 1), (("code", 2),), "", ((), (), None, None, True, None))
    block = conn.root.block()
    given = conn.sync_request(consts.HANDLE_CTXEXIT, block, raw)
    error = server._local_root.seen[0]
    assert issubclass(type(error), PlainError) and error.args == ("y", 1)
    liar = type("PlainError", (Exception,), {"module": 1, "__str__": lambda self: "z"})
    liar.__module__ = __name__
    other = conn.sync_request(consts.HANDLE_CTXEXIT, block, liar())
    assert str(server._local_root.seen[1]) == "z"
    for error in (given, other):
        for name in ("dump", "exposed_dump", "__init__", "with_traceback"):
            with pytest.raises(AttributeError):
                conn.sync_request(consts.HANDLE_GETATTR, error, name)
    server._local_root.seen.clear()


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("UnicodeDecodeError", (("object", b"x"), ("start", -(10**12)), ("end", 1 - 10**12))),
        ("UnicodeDecodeError", (("end", 1 - 10**9), ("object", b"x"), ("start", -(10**9)))),
        ("SyntaxError", (("text", "x"), ("offset", 1), ("end_offset", 10**12), ("lineno", 1))),
        ("SyntaxError", (("text", "x"), ("offset", 10**15), ("lineno", 10**15))),
    ],
)
def test_case_87_numbers_that_built_in_exceptions_trust(
    pair: Any, name: str, attributes: Any
) -> None:
    """A printed exception reads no memory that is not its own, and writes no line of terabytes."""
    import traceback

    attributes = (("reason", "bad"), ("encoding", "utf-8"), ("filename", "f"), *attributes)
    conn, _ = pair(Service)
    error = conn._unbox_exc((("builtins", name), ("x",), attributes, ""))
    assert type(error).__name__ == name
    assert len("".join(traceback.format_exception(type(error), error, None))) < 100_000


def test_case_87_printing_an_exception_imports_nothing(pair: Any) -> None:
    """A suggestion for a missing name is not looked for in a module that the peer names."""
    import traceback

    conn, _ = pair(Service)
    sys.modules.pop("this", None)
    attributes = (("name", "this"), ("name_from", "x"), ("msg", "m"), ("path", "p"))
    error: Any = conn._unbox_exc((("builtins", "ImportError"), ("m",), attributes, ""))
    traceback.format_exception(type(error), error, None)
    assert error.name == "this" and getattr(error, "name_from", None) is None
    assert "this" not in sys.modules


def dumped(kind: str, cls: Any, names: Any, *tokens: Any) -> Any:
    return ((kind, __name__, name_pair(cls)[1], names),), tokens


@pytest.mark.parametrize(
    ("snapshot", "cls"),
    [
        (dumped("dataclass", Record, ("path",), (8, 0, 1), "/etc"), Record),
        (dumped("namedtuple", Tuple, ("path",), (8, 0, 1), "/etc"), Tuple),
        (dumped("Enum", Secret, (("ONE", 1),), (9, 0, "ONE", 1)), Secret),
        (dumped("Enum", Secret, (("ONE", 1),), (9, 0, "TWO", 5)), Secret),
        (dumped("Flag", Rights, (("READ", 1), ("WRITE", 2)), (9, 0, "READ|WRITE", 3)), Rights),
        (dumped("dataclass", Vault, (), (8, 0, 0)), Vault),
        (dumped("dataclass", MetaVault, ("path",), (8, 0, 1), 1), MetaVault),
        (dumped("namedtuple", DictVault, ("path",), (8, 0, 1), 1), DictVault),
        (dumped("Enum", ErrorVault, (("ONE", 1),), (9, 0, "ONE", 1)), ErrorVault),
    ],
)
def test_case_87_snapshots_name_classes(snapshot: Any, cls: Any) -> None:
    """A class that is not registered stands in, with the same name and fields."""
    made = snapshot_load.load(snapshot)
    assert not is_among(cls, mro_of(type(made)))
    assert type(made).__name__ == name_pair(cls)[1]
    assert getattr(made, "path", "/etc") in ("/etc", 1)
    assert not hasattr(made, "dump")


def test_case_87_registered_classes(pair: Any) -> None:
    """A class that is registered or passed is used, without code of its own."""
    conn, _ = pair(SlaveService, ClassicClient)
    conn.execute(
        f"from {__name__} import Record, Tuple, Secret, Rights\nr = Record('p')\nt = Tuple('q')"
    )
    ran.clear()
    remote = conn.eval("[r, t, Secret.ONE, Rights(3)]")
    ran.clear()
    stand_ins = rpyc.snapshot(remote)
    for one, cls in zip(stand_ins, (Record, Tuple, Secret, Rights)):
        assert type(one) is not cls and type(one).__name__ == cls.__name__
    own = rpyc.snapshot(remote, classes=[Record, Tuple, Secret, Rights])
    assert [type(one) for one in own] == [Record, Tuple, Secret, Rights]
    assert own[0].path == "p" and own[2] is Secret.ONE and own[3] is (Rights.READ | Rights.WRITE)
    ran.clear()
    for wrong in (Vault, 5, object, tuple):
        with pytest.raises(TypeError, match="expected a dataclass, named tuple or enumeration"):
            rpyc.snapshot(remote, classes=[wrong])  # type: ignore[list-item]
        with pytest.raises(TypeError):
            rpyc.by_value(wrong)  # type: ignore[type-var]


def test_case_87_registered_enumerations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member comes by its name; a value that the class would be asked about is refused."""
    from rpyc_like.lib import value_classes

    monkeypatch.setattr(value_classes, "_registered", {})
    for cls in (Secret, Rights, Record):
        assert rpyc.by_value(cls) is cls
    one = snapshot_load.load(dumped("Enum", Secret, (("ONE", 1),), (9, 0, "ONE", 99)))
    assert one is Secret.ONE
    other = snapshot_load.load(dumped("Enum", Secret, (("ONE", 1),), (9, 0, "TWO", 5)))
    assert type(other) is not Secret and (other.name, other.value) == ("TWO", 5)
    flags = (("READ", 1), ("WRITE", 2))
    both = snapshot_load.load(dumped("Flag", Rights, flags, (9, 0, "None", 3)))
    none = snapshot_load.load(dumped("Flag", Rights, flags, (9, 0, "None", 0)))
    for value in (4, -1, 1 << 200, True, "READ", None, 2.0):
        with pytest.raises(MalformedValue):
            snapshot_load.load(dumped("Flag", Rights, flags, (9, 0, "FOUR", value)))
    made = snapshot_load.load(dumped("dataclass", Record, ("path",), (8, 0, 1), "/etc"))
    assert type(made) is Record and made.path == "/etc"
    assert ran == []
    assert both is Rights(3) and both == Rights.READ | Rights.WRITE and none.value == 0
    ran.clear()


@pytest.mark.parametrize(
    "classes",
    [
        (("dataclass", "m", "C", ("__del__",)),),
        (("dataclass", "m", "C", ("__class__", "x")),),
        (("Enum", "m", "C", (("_missing_", 1),)),),
        (("Enum", "m", "C", (("__init__", 1),)),),
        (("Enum", "m", "C", (("mro", 1),)),),
        (("IntEnum", "m", "C", (("A", ("9" * 10, 10)),)),),
        (("StrEnum", "m", "C", (("A", (b"x", "rot13")),)),),
        (("IntFlag", "m", "C", (("A", "x"),)),),
        (("Enum", "m", "C", tuple((f"A{k}", k * ((1 << 61) - 1)) for k in range(1, 200))),),
        (("Enum", "m", "C", tuple((f"A{k}", k) for k in range(20_000))),),
        (("dataclass", "m", "C", ("a",)),) * 501,
        (("dataclass", "m", "C", tuple(f"a{k}" for k in range(2000))),),
        (("dataclass", b"m", "C", ("a",)),),
    ],
)
def test_case_87_stand_ins_are_plain_and_cheap(classes: Any) -> None:
    """Names and values that mean something to Python, or are too many, are malformed."""
    with pytest.raises(MalformedValue):
        snapshot_load.load((classes, ([],)))


def test_case_87_teleported_code_has_no_way_in(pair: Any) -> None:
    """A service that is not classic, and a classic client, take no code."""
    from rpyc_like.core.teleport.functions import export_function

    def exported() -> None:
        """Runs nowhere."""

    for there, here in ((Service, ClassicClient), (ClassicClient, SlaveService)):
        conn, server = pair(there, here)
        for name in ("getmodule", "eval", "execute"):
            found = attempt(getattr, conn.root, name)
            outcome = attempt(found, "rpyc.utils.teleportation")
            assert outcome is None or isinstance(outcome, Exception)
        assert export_function(exported)[0] == "exported"
        assert not server.closed


# -- case 88: no import


class Lazy(types.ModuleType):
    """A module that loads another one as soon as anything of it is read."""

    def __getattribute__(self, name: str) -> Any:
        ran.append(f"loaded for {name}")
        return super().__getattribute__(name)


class LazyValue:
    """An object of a module that finds out what it is when it is asked for its class."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        ran.append("found out")
        return Vault


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> str:
    module = Lazy("lazy_vault")
    monkeypatch.setitem(sys.modules, "lazy_vault", module)
    types.ModuleType.__dict__["__dict__"].__get__(module).update(
        Value=LazyValue(), __getattr__=note("module getattr"), Known=PlainError
    )
    monkeypatch.setitem(sys.modules, "lazy_other", LazyValue())
    return "lazy_vault"


def test_case_88_modules_are_not_asked(pair: Any, lazy: str) -> None:
    """A module that loads on demand is not made to, whatever names it."""
    conn, server = pair(Service, there_config=CUSTOM)
    for module in (lazy, "lazy_other", "this"):
        for name in ("Value", "Missing", "Known"):
            mine = type(name, (), {"__module__": module})
            conn.root.keep(mine)
            conn.root.keep(mine())
            attempt(conn.sync_request, consts.HANDLE_INSTANCECHECK, mine, ("x", 1, 2))
            error = type(name, (Exception,), {"__module__": module})

            def fail(error: Any = error) -> None:
                raise error("x")

            conn.root.catch(fail)
            for kind, fields in (
                ("dataclass", ("a",)),
                ("namedtuple", ("a",)),
                ("Enum", (("A", 1),)),
            ):
                token = (9, 0, "A", 1) if kind == "Enum" else (8, 0, 1)
                tokens = (token,) if kind == "Enum" else (token, 1)
                snapshot_load.load((((kind, module, name, fields),), tokens))
    assert "this" not in sys.modules
    assert not server.closed


ZONES = [
    "nowhere/this",
    "../etc/passwd",
    "/etc/passwd",
    "os",
    "Europe/../../x",
    "a" * 500,
    "",
    "a\0b",
]


@pytest.mark.parametrize("zone", ZONES)
def test_case_88_time_zones_are_those_of_the_system(zone: str) -> None:
    """A zone's name opens no other file and imports no package."""
    opened: list[str] = []
    before = set(sys.modules)
    _hook(opened)
    with pytest.raises(MalformedValue):
        snapshot_load.load(((), ((11, "datetime", "2020-01-01T00:00:00", 0, zone),)))
    assert opened == []
    assert set(sys.modules) == before


_listening: list[list[str]] = []


def _hook(opened: list[str]) -> None:
    if not _listening:
        sys.addaudithook(
            lambda event, args: _listening[-1].append(str(args[0])) if event == "open" else None
        )
    _listening.append(opened)


def test_case_88_a_zone_that_is_there() -> None:
    """One of the system's comes as it was."""
    made = snapshot_load.load(((), ((11, "datetime", "2020-07-01T00:00:00", 0, "Europe/Berlin"),)))
    assert str(made.tzinfo) == "Europe/Berlin" and made.utcoffset().total_seconds() == 7200


def test_case_88_numpy_is_not_imported(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are made only where the program has imported NumPy itself."""
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    with pytest.raises(MalformedValue, match="'numpy' is not imported here"):
        snapshot_load.load(((), ((12, "<i8", (1,), "C", bytes(8)),)))
    conn, _ = pair(SlaveService, ClassicClient)
    conn.execute("class Array:\n    def __array__(self): return 5")
    with pytest.raises(ImportError, match="'numpy' is not imported here"):
        conn.eval("Array()").__array__()
    assert "numpy" not in sys.modules


def test_case_88_a_classic_client_imports_nothing(pair: Any) -> None:
    """The key that has modules imported is not switched on by the connection."""
    _, victim = pair(ClassicClient, SlaveService)
    assert victim._config["import_custom_exceptions"] is False
    sys.modules.pop("this", None)
    victim._unbox_exc((("this", "Error"), ("x",), (), ""))
    assert "this" not in sys.modules
