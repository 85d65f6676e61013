"""The program of the victims: services of many shapes, none of which needs any audited event.

Functions here do with their arguments what programs usually do: iterate, compare, call, copy,
format, raise. They reach nothing of :mod:`.canaries`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import enum
import functools
import operator
import string
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NamedTuple

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.errors import AccessDenied
from rpyc_like.utils.helpers import restricted

from . import canaries

__all__ = ["SHAPES", "Shape"]

MOST: Final = 20
"""How much of an argument is looked at: a hostile iterator need not end."""


def some(values: Any) -> list[Any]:
    """Return the first items of an iterable."""
    found = []
    for value in values:
        found.append(value)
        if len(found) >= MOST:
            break
    return found


class Plain(rpyc.Service):
    """A service as in the tutorial, with things that it keeps for itself."""

    def __init__(self) -> None:
        self._secret = canaries.SECRET
        self.secret = canaries.SECRET
        self._kept = canaries.KEPT

    def on_connect(self, conn: Any) -> None:
        self._conn = conn

    def hidden(self) -> str:
        canaries.touched("Plain.hidden")
        return canaries.SECRET

    def exposed_add(self, a: Any, b: Any) -> Any:
        return a + b

    def exposed_echo(self, *args: Any, **kwargs: Any) -> Any:
        return args

    def exposed_same(self, a: Any, b: Any) -> bool:
        return bool(a == b)

    def exposed_text(self, value: Any) -> str:
        return f"<{value}>"

    def exposed_list(self) -> list[int]:
        return [1, 2, 3]

    @property
    def exposed_size(self) -> int:
        return 3


class Thing:
    """What a service gives instances of."""

    shared = "shared"

    def __init__(self, name: Any = "thing") -> None:
        self.name = name
        self._secret = canaries.SECRET

    def exposed_name(self) -> Any:
        return self.name

    def exposed_rename(self, name: Any) -> Thing:
        return type(self)(name)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return (self.name, self.shared, 3)[index]

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Thing) and self.name == other.name

    def __hash__(self) -> int:
        return 7

    def __enter__(self) -> Thing:
        return self

    def __exit__(self, *exc: object) -> None: ...


class Special(Thing):
    """A class that derives from another."""

    @staticmethod
    def exposed_static(value: Any = None) -> Any:
        return value

    @classmethod
    def exposed_make(cls, name: Any = "made") -> Thing:
        return cls(name)


class Objects(Plain):
    """Gives classes, instances, modules' functions and bound methods."""

    exposed_Thing = Thing  # noqa: N815
    exposed_Special = Special  # noqa: N815

    def exposed_thing(self, name: Any = "thing") -> Thing:
        return Thing(name)

    def exposed_special(self) -> Special:
        return Special()

    def exposed_method(self) -> Any:
        return Special("bound").exposed_name

    def exposed_function(self) -> Any:
        return helper

    def exposed_kind(self, value: Any) -> bool:
        return isinstance(value, Thing)

    def exposed_below(self, value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, Thing)

    def exposed_things(self) -> list[Any]:
        return [Thing(), Special, Thing, helper]


def helper(value: Any = None, *, exposed: Any = 1) -> Any:
    """A function that is given to peers."""
    return value


class Callbacks(Plain):
    """Calls, iterates over and compares what the peer passes."""

    def __init__(self) -> None:
        super().__init__()
        self._kept_objects: list[Any] = []

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_each(self, values: Any) -> list[Any]:
        return some(values)

    def exposed_keep(self, value: Any) -> int:
        self._kept_objects = [*self._kept_objects[-5:], value]
        return len(self._kept_objects)

    def exposed_kept(self) -> list[Any]:
        return list(self._kept_objects)

    def exposed_join(self, values: Any) -> str:
        return ", ".join([str(value) for value in some(values)])

    def exposed_count(self, values: Any) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for value in some(values):
            found[value] = found.get(value, 0) + 1
        return found

    def exposed_with(self, manager: Any) -> Any:
        with manager as value:
            return value

    def exposed_index(self, value: Any) -> Any:
        return [1, 2, 3][value]

    def exposed_numbers(self, value: Any) -> Any:
        return int(value), float(value), complex(value), bytes(value)

    def exposed_kind(self, value: Any) -> Any:
        return isinstance(value, (int, Thing, list)), value.__class__ is Thing

    def exposed_dict(self, value: Any) -> Any:
        return len(dict(value))

    def exposed_repr(self, value: Any) -> str:
        return repr(value)

    def exposed_sorted(self, values: Any) -> list[Any]:
        return sorted(some(values))

    def exposed_attribute(self, value: Any) -> Any:
        return value.name

    def exposed_later(self, func: Any) -> Any:
        return rpyc.async_(func)(1)

    def exposed_ask(self, value: Any) -> Any:
        return rpyc.current_call() is not None and self._conn.root.name


class Generators(Plain):
    """Gives generators, async generators, coroutines and context managers."""

    def exposed_numbers(self, count: Any = 5) -> Iterator[int]:
        secret = canaries.SECRET
        for number in range(min(count, MOST)):
            yield number + len(secret)

    async def exposed_later(self) -> Any:
        secret = canaries.SECRET
        await asyncio.sleep(0)
        return len(secret)

    async def exposed_async_numbers(self) -> AsyncIterator[int]:
        secret = canaries.SECRET
        for number in range(5):
            yield number
        del secret

    @contextlib.contextmanager
    def exposed_manager(self) -> Iterator[int]:
        secret = canaries.SECRET
        try:
            yield 1
        except ValueError:
            pass
        del secret

    def exposed_send(self) -> Iterator[Any]:
        got = None
        for _ in range(MOST):
            got = yield got

    def exposed_pair(self) -> Any:
        return iter([1, 2, 3]), map(helper, [1, 2])

    def exposed_closure(self) -> Callable[..., Any]:
        secret = canaries.SECRET

        def inner(*args: Any) -> int:
            return len(secret)

        return inner


class Broken(Exception):
    """An exception with state."""

    def __init__(self, text: Any = "broken", state: Any = None) -> None:
        super().__init__(text)
        self.state = state
        self._secret = canaries.SECRET


class BrokenOs(Broken, OSError):
    """One that is an OSError too."""


class Exceptions(Plain):
    """Raises, and catches what the peer raises."""

    exposed_Broken = Broken  # noqa: N815

    def exposed_raise(self, text: Any = "broken") -> None:
        raise Broken(text, {"a": 1})

    def exposed_raise_os(self) -> None:
        raise BrokenOs("os", (1, 2))

    def exposed_chained(self) -> None:
        try:
            raise Broken("first")
        except Broken as error:
            raise ValueError("second") from error

    def exposed_group(self) -> Any:
        kind: Any = getattr(__import__("builtins"), "ExceptionGroup", None)
        raise Broken if kind is None else kind("group", [ValueError(1), Broken("in it")])

    def exposed_give(self) -> Any:
        try:
            raise Broken("given")
        except Broken as error:
            return error

    def exposed_catch(self, func: Any) -> Any:
        try:
            return func()
        except Broken:
            return "broken"
        except OSError as error:
            return error.filename
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def exposed_catch_as(self, func: Any, kind: Any) -> Any:
        try:
            return func()
        except kind as error:
            return str(error)

    def exposed_reraise(self, error: Any) -> None:
        raise error

    def exposed_stop(self) -> None:
        raise StopIteration


class Containers(Plain):
    """Gives containers, and takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Any, Any] = {"list": [1, 2], 3: {4, 5}, "nested": {"a": [Thing()]}}

    def exposed_all(self) -> tuple[Any, ...]:
        return [1, "two", [3]], {"a": 1, 2: [3]}, {1, 2}, bytearray(b"abc"), self.kept

    def exposed_more(self) -> list[Any]:
        queue: Any = collections.deque([1, 2], 5)
        counter: Any = collections.Counter("abca")
        return [queue, counter, collections.OrderedDict(a=1), collections.defaultdict(list, a=[1])]

    def exposed_views(self) -> Any:
        return self.kept.keys(), self.kept.values(), self.kept.items(), memoryview(b"abc"), range(9)

    def exposed_merge(self, values: Any) -> Any:
        return [*[1, 2], *some(values)]

    def exposed_compare(self, values: Any) -> bool:
        return self.kept["list"] == values or bool(values == {"a": 1})

    def exposed_has(self, value: Any) -> bool:
        return value in self.kept or value in [1, 2]

    def exposed_nested(self) -> Any:
        return ([1, {"a": (2, [3])}],)


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


class Level(enum.Enum):
    """An enumeration."""

    LOW = 1
    HIGH = 2


class Mode(enum.IntFlag):
    """A flag."""

    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Order:
    """A dataclass."""

    number: Any
    point: Any = None
    level: Any = Level.LOW


class Values(Plain):
    """Gives values with classes of their own, and makes snapshots of what it is given."""

    exposed_Point = Point  # noqa: N815
    exposed_Level = Level  # noqa: N815
    exposed_Order = Order  # noqa: N815

    def exposed_point(self) -> Point:
        return Point(1, [2])

    def exposed_level(self) -> Level:
        return Level.HIGH

    def exposed_mode(self) -> Mode:
        return Mode.READ | Mode.WRITE

    def exposed_order(self) -> Order:
        return Order(1, Point(1, 2), Level.HIGH)

    def exposed_orders(self) -> list[Any]:
        return [Order(1), {"a": Order(2, Point(3, 4))}, Level.LOW]

    def exposed_copy(self, value: Any) -> Any:
        return [rpyc.snapshot(value)]

    def exposed_compare(self, value: Any) -> Any:
        return value == Level.HIGH, value in (Level.LOW, Point(1, 2)), Point(1, 2) < value

    def exposed_by_level(self, value: Any) -> Any:
        return {Level.LOW: "low", Level.HIGH: "high"}.get(value)


class Public(rpyc.Service):
    """A service whose public names are all open, and that keeps nothing under one."""

    Level = Level
    Order = Order

    def __init__(self) -> None:
        self._secret = canaries.SECRET
        self.thing = Thing("public")
        self.table = {"a": [1, 2]}

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def function(self) -> Any:
        return helper

    def generator(self) -> Iterator[int]:
        secret = canaries.SECRET
        yield len(secret)

    async def later(self) -> int:
        return len(self._secret)

    def fail(self) -> None:
        raise Broken("public")

    def values(self) -> Any:
        return [Level.LOW, Order(1), Point(1, 2), Thing(), "{0}", b"bytes", 2**70]

    def call(self, func: Any, *args: Any) -> Any:
        return func(*args)


class Deciding:
    """An object that decides itself what a peer may use."""

    def __init__(self) -> None:
        self.open = "open"
        self.secret = canaries.SECRET

    def _rpyc_getattr(self, name: str) -> Any:
        if name in ("open", "again", "method"):
            return getattr(self, name)
        raise AccessDenied(f"cannot access {name[:40]!r}")

    def _rpyc_setattr(self, name: str, value: Any) -> None:
        if name != "open":
            raise AccessDenied("cannot set that")
        self.open = value

    def again(self) -> Deciding:
        return Deciding()

    def method(self, value: Any = None) -> Any:
        return value


class Decides(Plain):
    """A service with ``_rpyc_getattr``, of itself and of what it gives."""

    def _rpyc_getattr(self, name: str) -> Any:
        if name in ("deciding", "exposed_deciding"):
            return self.exposed_deciding
        raise AccessDenied(f"cannot access {name[:40]!r}")

    def exposed_deciding(self) -> Deciding:
        return Deciding()


class Restricts(Plain):
    """Gives restricted views of objects."""

    def exposed_view(self) -> Any:
        return restricted(Thing("seen"), ["name", "exposed_name", "__len__"], ["name"])

    def exposed_views(self) -> Any:
        return [
            restricted(canaries_free, ["shared"]),
            restricted([1, 2], ["append", "__getitem__"]),
        ]


canaries_free = Special("free")


class Text(str):
    """A text that is passed by reference, because it is of a class of its own."""


class Ladders(Plain):
    """Gives objects whose own methods reach attributes that a peer names."""

    exposed_Text = Text  # noqa: N815

    def __init__(self) -> None:
        self._secret = canaries.SECRET
        self._kept = canaries.KEPT

    def hidden(self) -> str:
        return "open to peers, as all public names are"

    def exposed_text(self) -> Text:  # type: ignore[override]
        return Text("{0._secret} {0}")

    def exposed_template(self) -> string.Template:
        return string.Template("$a ${b}")

    def exposed_formatter(self) -> string.Formatter:
        return string.Formatter()

    def exposed_getters(self) -> list[Any]:
        return [
            operator.attrgetter,
            operator.methodcaller,
            operator.itemgetter,
            operator.attrgetter("shared"),
        ]

    def exposed_partials(self) -> list[Any]:
        return [functools.partial, functools.partial(helper, 1), functools.partialmethod(helper)]

    def exposed_methods(self) -> list[Any]:
        return [
            self.exposed_add,
            Text("{0._kept.secret}").format,
            "{0._secret}".format_map,
            [].append,
        ]

    def exposed_inner(self) -> list[Any]:
        secret = canaries.SECRET

        def generator() -> Iterator[int]:
            yield len(secret)

        async def coroutine() -> int:
            return len(secret)

        made = coroutine()
        made.close()
        return [generator(), made, helper, lambda: len(secret), self._traceback()]

    def _traceback(self) -> Any:
        try:
            raise Broken("ladder")
        except Broken as error:
            return error.__traceback__

    def exposed_types(self) -> list[Any]:
        return [Thing, Level, Order, Point, Broken]


class Asynchronous(Callbacks):
    """A service of asyncio programs."""

    async def exposed_soon(self, value: Any = None) -> Any:
        await asyncio.sleep(0)
        return value

    async def exposed_await(self, func: Any) -> Any:
        return await aio.call(func) if hasattr(aio, "call") else await func()

    async def exposed_async_each(self, values: Any) -> Any:
        found = []
        async for value in values:
            found.append(value)
            if len(found) >= MOST:
                break
        return found

    async def exposed_numbers_soon(self) -> AsyncIterator[int]:
        for number in range(5):
            yield number

    async def exposed_fail(self) -> None:
        raise Broken("soon")


class Shape(NamedTuple):
    """One victim: what it serves, and how."""

    kind: str
    service: Any
    config: dict[str, Any] = {}


SHAPES: Final = {
    "plain": Shape("rpyc", Plain),
    "public": Shape("rpyc", Public, {"allow_public_attrs": True}),
    "objects": Shape("rpyc", Objects),
    "callbacks": Shape("rpyc", Callbacks),
    "generators": Shape("rpyc", Generators),
    "exceptions": Shape("rpyc", Exceptions),
    "containers": Shape("rpyc", Containers),
    "values": Shape("rpyc", Values),
    "ladders": Shape("rpyc", Ladders, {"allow_public_attrs": True}),
    "deciding": Shape("rpyc", Decides),
    "restricted": Shape("rpyc", Restricts),
    "void": Shape("rpyc", rpyc.VoidService),
    "aio": Shape("aio", Asynchronous),
    "client": Shape("client", None),
    "epc": Shape("epc", None),
    "erlang": Shape("erlang", None),
}


# -- adapters


class Registered:
    """What an EPC server or an Erlang service offers as a whole."""

    limit = 3
    title = "{0}"

    def __init__(self) -> None:
        self.thing = Thing("registered")
        self.template = string.Template("$a")
        self._secret = canaries.SECRET

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def echo(self, *args: Any) -> Any:
        return list(args)

    def text(self, value: Any) -> str:
        return f"<{value}>"

    def each(self, values: Any) -> list[Any]:
        return some(values)

    def fail(self, text: Any = "broken") -> None:
        raise Broken(text, 1)

    def give(self) -> Any:
        return Thing("given")

    def give_class(self) -> Any:
        return Thing

    def give_function(self) -> Any:
        return functools.partial(helper, 1)

    def numbers(self) -> Iterator[int]:
        yield from range(3)

    def table(self) -> dict[Any, Any]:
        return {"a": [1, 2], 3: (4, 5.5)}


def functions() -> list[Callable[..., Any]]:
    """Return the functions that are registered by themselves."""
    one = Registered()
    return [one.add, one.echo, one.text, one.each, one.fail, one.table]
