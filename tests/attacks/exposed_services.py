"""Ten small services, for what ``exposes`` shows and what a client reaches."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import json
import logging
import operator
import os
import socketserver
import string
import sys
import threading
import typing
import weakref
from typing import Any

import rpyc_like as rpyc
from rpyc_like.core.config import CLIENT_ATTRS, SAFE_ATTRS

ran: list[str] = []
"""What ran of the code that nobody may run."""


class Item:
    """Has names of each kind."""

    exposed_price = 3
    public = 1
    _private = 2
    json = json

    def exposed_owner(self) -> Shop | None:
        return None

    def exposed_boxes(self) -> list[Item]:
        return []

    @property
    def exposed_parent(self) -> Item:
        ran.append("parent")
        return self

    def __len__(self) -> int:
        return 1


class Shop(rpyc.Service):
    """Methods of each kind."""

    exposed_Item = Item  # noqa: N815

    def exposed_make(self, name: str) -> Item:
        return Item()

    async def exposed_later(self) -> Item:
        return Item()

    def exposed_anything(self):  # type: ignore[no-untyped-def]
        return Item()

    @staticmethod
    def exposed_static(number: int) -> int:
        return number

    @classmethod
    def exposed_class_method(cls) -> str:
        return "x"

    def hidden(self) -> None:
        pass


class Plain:
    """Public names, modules, and both forms of a name."""

    exposed_both = 1
    both = 2
    mro = 3
    f_back = 4
    os = os

    def __init__(self) -> None:
        self.own = 5
        self.exposed_own = 6
        self._hidden = 7
        self.item = Item()
        self.module = json

    @functools.cached_property
    def cached(self) -> Item:
        return Item()

    @property
    def failing(self) -> int:
        raise ValueError


class Slots:
    """Has no instance dictionary."""

    __slots__ = ("_private", "exposed_a", "public")

    def __init__(self) -> None:
        self.exposed_a = self.public = self._private = 1


@dataclasses.dataclass
class Record:
    """Fields."""

    name: str = "x"
    item: Item = dataclasses.field(default_factory=Item)
    exposed_number: int = 1


class Careless(rpyc.Service):
    """Exports ladders."""

    exposed_get = getattr
    exposed_os = os
    exposed_sys = sys
    exposed_formatter = string.Formatter()
    exposed_partial = functools.partial(print, 1)
    exposed_attrgetter = operator.attrgetter
    exposed_reader = operator.attrgetter("x")
    exposed_type = type
    exposed_logger = logging.getLogger("tests.attacks")


class Color(enum.Enum):
    RED = 1
    exposed_green = 2


class Meta(type):
    """A metaclass with names of its own."""

    exposed_meta = 1
    public_meta = 2

    def __len__(cls) -> int:
        return 1


class Made(metaclass=Meta):
    exposed_made = 1
    public_made = 2


class Classes(rpyc.Service):
    """Exports classes."""

    exposed_color = Color
    exposed_made = Made
    exposed_abstract = collections.abc.Sized
    exposed_item = Item


class Containers:
    """Objects in containers."""

    def __init__(self) -> None:
        self.exposed_list = [Item(), 5]
        self.exposed_dict = {"a": Item(), "b": eval}
        self.exposed_tuple = (Item(), 5)
        self.exposed_lock = threading.Lock()


class Text(str):
    """A text that travels by reference."""


class Texts:
    """Texts, and bound methods of such."""

    exposed_text = Text("{0.__class__}")
    exposed_format = "{0.__class__}".format
    exposed_plain = "{}".format


class Cyclic:
    """Leads back to itself."""

    def __init__(self) -> None:
        self.exposed_me = self
        self.me = self
        self.exposed_function = helper


def helper() -> Item:
    return Item()


helper.public = Item()  # type: ignore[attr-defined]
helper.exposed_item = Item()  # type: ignore[attr-defined]


class Silent(rpyc.Service):
    """Code that would be noticed."""

    def __init__(self) -> None:
        ran.append("init")

    @property
    def exposed_computed(self) -> Item:
        ran.append("property")
        return Item()

    def exposed_method(self) -> Item:
        ran.append("method")
        return Item()

    def __getattr__(self, name: str) -> Any:
        ran.append(name)
        raise AttributeError(name)

    def __del__(self) -> None:
        ran.append("del")


class Giving:
    """Decides itself what its items are."""

    def __getitem__(self, key: Any) -> Any:
        ran.append("item")
        return eval


class Handler(socketserver.BaseRequestHandler):
    """Derives from the standard library, and keeps something of its own."""

    limit = 3

    def __init__(self) -> None:
        self.volts = 5
        self.item = Item()
        self.request = self.server = json


class MoreContainers(rpyc.Service):
    """Each has ``eval`` somewhere."""

    exposed_ordered = collections.OrderedDict(a=eval)
    exposed_default = collections.defaultdict(list, a=eval)
    exposed_deque = collections.deque([eval])
    exposed_set = {eval}
    exposed_frozen = frozenset([eval])
    exposed_long = [*range(1000), eval]
    exposed_keys = {(1, 2): 3, eval: 4}
    exposed_generator = (one for one in [eval])
    exposed_iterator = iter([eval])
    exposed_own = Giving()

    def exposed_annotated(self) -> list[Item]:
        return []


@dataclasses.dataclass(frozen=True)
class Frozen:
    exposed_item: Item


class Slotted:
    __slots__ = ("exposed_item",)
    exposed_item: Item

    def __init__(self) -> None:
        self.exposed_item = Item()


class Called:
    def __call__(self) -> Item:
        return Item()


class Annotated(rpyc.Service):
    """Declares what it gives."""

    exposed_declared: Item
    exposed_here = Slotted()
    exposed_called = Called()

    def exposed_frozen(self) -> Frozen:
        return Frozen(Item())

    def exposed_slotted(self) -> Slotted:
        return Slotted()

    def exposed_mine(self) -> typing.Self:
        return self

    def exposed_callback(self) -> typing.Callable[[], Item]:
        return Item

    def exposed_iterator(self) -> collections.abc.Iterator[Item]:
        return iter([])

    def exposed_cls(self) -> type[Item]:
        return Item

    def exposed_protocol(self) -> typing.Sized:
        return []


def unannotated():  # type: ignore[no-untyped-def]
    return Item()


class OfClass:
    """Instances call what the class has from elsewhere."""

    __call__ = staticmethod(helper)


ITEM = Item()


class Callables(rpyc.Service):
    """Exports objects that are called by code in C."""

    exposed_known = staticmethod(functools.partial(helper))
    exposed_item = staticmethod(functools.partial(Item))
    exposed_of_class = OfClass()
    exposed_unknown = staticmethod(functools.partial(unannotated))
    exposed_reference = weakref.ref(ITEM)
    exposed_proxy = weakref.proxy(ITEM)
    exposed_function = weakref.proxy(helper)


class Referring(rpyc.Service):
    exposed_reference = weakref.ref(ITEM)


shop = Shop()
plain = Plain()
slots = Slots()
record = Record()
containers = Containers()
cyclic = Cyclic()
texts = Texts()
more_containers = MoreContainers()
annotated = Annotated()
callables = Callables()
handler = Handler()

PUBLIC = {"allow_public_attrs": True}
CLIENT = {**PUBLIC, "safe_attrs": SAFE_ATTRS | CLIENT_ATTRS}

SERVICES: dict[str, tuple[Any, dict[str, Any]]] = {
    "shop": (shop, {}),
    "a class": (Shop, PUBLIC),
    "plain": (plain, {}),
    "plain, public": (plain, PUBLIC),
    "slots": (slots, PUBLIC),
    "record": (record, PUBLIC),
    "careless": (Careless(), {}),
    "classes": (Classes(), {}),
    "classes, public": (Classes(), CLIENT),
    "containers": (containers, {}),
    "texts": (texts, CLIENT),
    "cyclic": (cyclic, PUBLIC),
    "cyclic, without safe names": (cyclic, {"allow_safe_attrs": False}),
    "a prefix": (plain, {"exposed_prefix": "pub", "allow_safe_attrs": False}),
    "more containers": (more_containers, {}),
    "annotated": (annotated, {}),
    "callables": (callables, {}),
    "callables, public": (callables, PUBLIC),
    "of the library": (handler, PUBLIC),
    "a class, of the library": (Handler, PUBLIC),
    "nothing": (shop, {"allow_getattr": False}),
}
"""Services, and the configurations they are looked at with."""
