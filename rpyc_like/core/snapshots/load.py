"""Makes data of a snapshot; the form is described in :mod:`rpyc_like.core.snapshots.dump`.

What arrives chooses no code to run, and has nothing imported. A dataclass, a named tuple or an
enumeration is this program's own only if the program has said so
(:mod:`rpyc_like.lib.value_classes`) and the class has the same fields; a dataclass is filled
without its ``__init__``, and one with a ``__del__`` is not taken. Else a class of the same name and
with the same fields stands in.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import keyword
import os
import pathlib
import re
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from functools import lru_cache
from inspect import getattr_static
from operator import itemgetter
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import Any, ClassVar, Final, NamedTuple

from ...errors import LimitExceeded, MalformedValue
from ...lib.brief import brief
from ...lib.hashes import update_in_slices
from ...lib.introspection import clean_name
from ...lib.optional_imports import imported
from ...lib.stand_ins import dict_of, is_among, mro_of
from ...lib.value_classes import FindClass, registered_class
from ...wire.meter import MAX_EQUAL_HASHES, check_hashes, measure, message_memory, set_memory
from . import dump as form
from .checks import check_array, check_count, check_items, check_plain, check_simple

__all__ = ["load"]

_DTYPE: Final = re.compile(r"[<>|=][biufcSUmM?]\d{1,9}(\[[\w/]{1,20}\])?")


_NO_KEYS, _ALL_KEYS, _EVEN_KEYS = range(3)


def load(snapshot: Any, find: FindClass = registered_class, max_memory: int | None = None) -> Any:
    """Returns the data of a snapshot.

    Args:
        find: finds the classes of this program that may be used.
        max_memory: the configuration key, for data of a peer.

    Raises:
        MalformedValue: it is none, or it has NumPy arrays and NumPy is not imported here.
        LimitExceeded: it takes more memory than a message may.
    """
    try:
        classes, tokens = snapshot
        made = _classes(classes, tokens, find) if classes else []
        return _Loader(made, snapshot, max_memory).load()
    except (MalformedValue, LimitExceeded):
        raise
    except ImportError as error:
        raise MalformedValue(f"expected a snapshot of what can be made here: {error}") from error
    except Exception as error:
        text = str(error) if isinstance(error, (TypeError, ValueError)) else ""
        raise MalformedValue(
            f"expected a snapshot, got {type(error).__name__}: {text:.160}"
        ) from error


class _OpenContainer:
    """A container whose items are being read.

    It knows what the container costs those that hash, compare or free it, which recurses. Parts
    that are shared count as often as they occur.
    """

    __slots__ = ("chain", "finish", "hashed", "height", "items", "left", "place", "weight")

    def __init__(
        self, left: int, place: int, finish: Callable[[list[Any]], Any], hashed: int = _NO_KEYS
    ) -> None:
        self.left = left
        self.place = place
        self.finish = finish
        self.items: list[Any] = []
        self.hashed = hashed
        self.weight = 1 + left
        self.height = self.chain = 0

    def expects_key(self) -> bool:
        """Returns whether the next item is hashed."""
        return self.hashed == _ALL_KEYS or (self.hashed == _EVEN_KEYS and not len(self.items) % 2)


class _Again(NamedTuple):
    """A container that is referred to once more."""

    place: int


class _Loader:
    _key: int | None = None  # where in the stack the outermost key begins
    _limit = 0

    def __init__(self, classes: list[Any], snapshot: Any, max_memory: int | None) -> None:
        tokens = snapshot[1]
        if type(tokens) is not tuple:
            raise MalformedValue(f"expected a tuple of tokens, got {brief(tokens)}")
        self._classes = classes
        self._snapshot = snapshot
        self._max_memory = max_memory
        self._left = _UNMETERED  # bytes of memory
        # Of each container, by its place. The weight is 0 while it is not complete.
        self._known: list[Any] = []
        self._weights: list[int] = []
        self._heights: list[int] = []
        self._chains: dict[int, int] = {}
        self._stack: list[_OpenContainer] = []
        self._work = _KEYS_OF_ALL + _KEYS_OF_A_TOKEN * len(tokens)

    def load(self) -> Any:
        stack, tokens = self._stack, self._snapshot[1]
        values = iter(tokens)
        for token in values:
            value: Any = token
            place = _NOWHERE  # of a container
            if type(token) is tuple:
                opened = self._open(token)
                if type(opened) is _OpenContainer:
                    self._spend(_OPEN + 8 * opened.left)
                    self._push(opened)
                    if opened.left:
                        continue
                    place = self._close(stack)
                    value = self._known[place]
                elif type(opened) is _Again:
                    place = opened.place
                    value = self._known[place]
                else:
                    value = opened
            while stack:
                top = stack[-1]
                if place != _NOWHERE:
                    self._note(top, place)
                top.items.append(value)
                if len(top.items) < top.left:
                    break
                place = self._close(stack)
                value = self._known[place]
            else:
                if next(values, stack) is not stack:
                    raise MalformedValue("tokens after the end")
                return value
        raise MalformedValue("the tokens end early")

    def _push(self, opened: _OpenContainer) -> None:
        """Opens a container; one that is nested too deeply in a key is refused at once."""
        stack = self._stack
        if self._key is None:
            if stack and stack[-1].expects_key():
                self._key = len(stack)
        elif len(stack) - self._key >= _DEEPEST_KEY:
            raise MalformedValue(f"expected keys of at most {_DEEPEST_KEY} levels, got more")
        stack.append(opened)

    def _note(self, top: _OpenContainer, place: int) -> None:
        """Notes what a container costs the one that it is in."""
        weight, height = self._weights[place], self._heights[place]
        if top.expects_key():
            if height >= _DEEPEST_KEY:
                raise MalformedValue(f"expected keys of at most {_DEEPEST_KEY} levels, got more")
            self._work -= weight
            if self._work < 0:
                raise MalformedValue("expected keys with fewer parts, shared ones counted again")
        top.weight += weight
        top.height = max(top.height, height + 1)
        if place in self._chains:
            top.chain = max(top.chain, self._chains[place] + 1)

    def _close(self, stack: list[_OpenContainer]) -> int:
        """Finishes the innermost container and returns its place."""
        top = stack.pop()
        if len(stack) == self._key:
            self._key = None
        place = top.place
        value = self._known[place] = top.finish(top.items)
        self._weights[place], self._heights[place] = top.weight, top.height
        kind = type(value)
        if kind in _CHAINED:
            if top.chain > _DEEPEST_KEY:  # the interpreter frees those by recursion
                raise MalformedValue(f"expected at most {_DEEPEST_KEY} levels of {kind.__name__}")
            self._chains[place] = top.chain
        elif getattr(kind, "__hash__", None) is _BY_IDENTITY:
            self._weights[place], self._heights[place] = 1, 0
        self._left += _OPEN + 8 * top.left
        return place

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self._find_limit()

    def _find_limit(self) -> None:
        """Finds out, for a large snapshot, what may be made of it beside what it is already."""
        if not self._limit:
            memory, wire = measure(self._snapshot)
            self._limit = message_memory(wire, self._max_memory)
            self._left += self._limit - wire - memory - _UNMETERED
        if self._left < 0:
            got = self._limit - self._left
            raise LimitExceeded("memory for a message in bytes", got, self._limit, "max_memory")

    def _open(self, token: Any) -> Any:
        code = token[0]
        if code == form.PLAIN_LIST or code == form.PLAIN_DICT:
            value, size = _plain_list(token) if code == form.PLAIN_LIST else _plain_dict(token)
            self._left -= size
            if self._left < 0:
                self._find_limit()
            self._known.append(value)
            self._weights.append(1)
            self._heights.append(0)
            return _Again(len(self._known) - 1)
        if code == form.SIMPLE:
            self._spend(_SIMPLE_MEMORY + check_simple(token[1], token[2:]))
            return _SIMPLE[token[1]](*token[2:])
        if code == form.MEMBER:
            return _member(self._classes[token[1]], token[2], token[3])
        if code == form.ARRAY:
            self._spend(_SIMPLE_MEMORY + check_array(*token[1:]))
            return _array(*token[1:])
        content = token[1]
        if code == form.AGAIN:
            return self._again(content)
        place = len(self._known)
        self._add(_UNFINISHED, 0)
        if code == form.OBJECT:
            return self._object(token, place)
        if code == form.COLLECTION:
            return self._collection(token, place)
        count = self._count(content)
        if code == form.TUPLE:
            self._spend(_TUPLE + 8 * count)
            return _OpenContainer(count, place, tuple)
        if code == form.FROZENSET:
            self._spend(set_memory(count))
            return _OpenContainer(count, place, _frozen, _ALL_KEYS)
        if code == form.LIST:
            self._spend(_LIST + 9 * count)
            return self._filled(count, place, [], _NO_KEYS)
        if code == form.SET:
            self._spend(set_memory(count))
            return self._filled(count, place, set(), _ALL_KEYS)
        if code == form.DICT:
            self._spend(_DICT + _PAIR * count)
            return self._filled(2 * count, place, {}, _EVEN_KEYS)
        raise MalformedValue(f"expected a token, got {brief(token)}")

    def _count(self, number: Any) -> int:
        """Returns how many items a container has; each is a token."""
        if check_count(number) > len(self._snapshot[1]):
            raise MalformedValue(f"{brief(number)} items in {len(self._snapshot[1])} tokens")
        return number  # type: ignore[no-any-return]

    def _add(self, value: Any, weight: int) -> None:
        self._spend(_ENTRY)
        self._known.append(value)
        self._weights.append(weight)
        self._heights.append(0)

    def _filled(self, count: int, place: int, empty: Any, hashed: int) -> _OpenContainer:
        """Returns a container that others may refer to before it is complete."""
        self._known[place] = empty
        return _OpenContainer(count, place, _filling(empty), hashed)

    def _again(self, place: Any) -> _Again:
        if check_count(place) >= len(self._known):
            raise MalformedValue(f"container {place} of {len(self._known)}")
        value = self._known[place]
        if value is _UNFINISHED:
            raise MalformedValue("a value that contains itself and cannot")
        if type(value) in _CHAINED and not self._weights[place] and self._stack:
            # Not complete. A chain of those must not go on where it began.
            around = self._stack[-1].place
            if around != place and type(self._known[around]) in _CHAINED:
                raise MalformedValue("a deque or defaultdict in one that it contains")
        return _Again(place)

    def _object(self, token: Any, place: int) -> _OpenContainer:
        cls, names = self._classes[check_count(token[1])]
        if token[2] != len(names):
            raise MalformedValue(f"{brief(token[2])} fields of a class that has {len(names)}")
        self._spend(_OBJECT + 16 * len(names))
        if issubclass(cls, tuple):
            return _OpenContainer(len(names), place, lambda items: tuple.__new__(cls, items))
        empty = self._known[place] = object.__new__(cls)

        def fill(items: list[Any]) -> Any:
            for name, value in zip(names, items):
                object.__setattr__(empty, name, value)
            return empty

        return _OpenContainer(len(names), place, fill)

    def _collection(self, token: Any, place: int) -> _OpenContainer:
        count = self._count(token[2])
        empty = _COLLECTIONS[token[1]]()
        if type(empty) is collections.deque:
            self._spend(_DEQUE + 8 * count)
            return self._filled(count, place, empty, _NO_KEYS)
        self._spend(_DICT + _PAIR * count)
        return self._filled(count, place, empty, _EVEN_KEYS)


_NOWHERE: Final = -1
_UNFINISHED: Final[Any] = object()
_BY_IDENTITY: Final[Any] = object.__hash__
_CHAINED: Final = (collections.deque, collections.defaultdict)
_DEEPEST_KEY: Final = 1000  # levels; the stack of a thread takes about ten times as many
_KEYS_OF_ALL, _KEYS_OF_A_TOKEN = 10_000, 16  # parts of keys that are hashed

# Bytes of memory.
_UNMETERED: Final = 4 << 20  # up to which nobody asks how large the snapshot is
_ENTRY: Final = 24  # in the lists of what is known
_OPEN: Final = 256  # of what a container is read with
_TUPLE, _LIST, _DICT, _PAIR, _OBJECT, _DEQUE, _SIMPLE_MEMORY = 40, 88, 240, 100, 200, 776, 96


def _plain_list(token: tuple[Any, ...]) -> tuple[Any, int]:
    """Returns a list and its price."""
    _, items = token
    check_plain(items)
    return list(items), _ENTRY + _LIST + 9 * len(items)


def _plain_dict(token: tuple[Any, ...]) -> tuple[Any, int]:
    """Returns a dict and its price."""
    _, keys, values = token
    check_plain(keys)
    check_plain(values)
    if len(keys) > MAX_EQUAL_HASHES:
        check_hashes(keys)
    return dict(zip(keys, values)), _ENTRY + _DICT + _PAIR * len(keys)


def _frozen(items: list[Any]) -> frozenset[Any]:
    check_hashes(items)
    made: set[Any] = set()
    update_in_slices(made, items)
    return frozenset(made)


def _filling(empty: Any) -> Callable[[list[Any]], Any]:
    """Returns what puts items into a container that others may refer to already."""

    def fill(items: list[Any]) -> Any:
        if isinstance(empty, dict):
            keys = items[::2]
            check_hashes(keys)
            for key, value in zip(keys, items[1::2]):
                empty[key] = value
        elif isinstance(empty, set):
            check_hashes(items)
            update_in_slices(empty, items)
        else:
            empty.extend(items)
        return empty

    return fill


_COLLECTIONS: Final[dict[str, Callable[[], Any]]] = {
    "deque": collections.deque,
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
    "defaultdict": collections.defaultdict,
}


# -- classes

_MAX_CLASSES: Final = 500  # making one costs 50 microseconds or more, whatever it costs the peer
_MAX_MEMBERS: Final = 10_000  # of all enumerations of a snapshot
_MAX_FIELDS: Final = 1000
_MAX_COMBINATIONS: Final = 4096  # of flags, which a class keeps
_MAX_BITS: Final = 128  # of a combination of flags that are unknown here
_MAX_KEPT: Final = 5000  # characters of names and values that a stand-in is kept for


def _classes(classes: Any, tokens: Any, find: FindClass) -> list[Any]:
    """Returns classes and their fields, or enumerations."""
    if len(classes) > _MAX_CLASSES:
        raise MalformedValue(f"expected at most {_MAX_CLASSES} classes, got {len(classes)}")
    numbers = [number for number, one in enumerate(classes) if one[0] in form.ENUMS]
    members: dict[int, dict[str, Any]] = {number: {} for number in numbers}
    for token in tokens if members else ():
        if type(token) is tuple and len(token) == 4 and token[0] == form.MEMBER:
            members[token[1]][_text(token[2])] = token[3]
    if sum(len(classes[number][3]) + len(members[number]) for number in numbers) > _MAX_MEMBERS:
        raise MalformedValue(f"expected at most {_MAX_MEMBERS} members of enumerations, got more")
    return [
        _class(kind, module, name, names, members.get(number), find)
        for number, (kind, module, name, names) in enumerate(classes)
    ]


def _class(
    kind: str, module: str, name: str, names: Any, members: dict[str, Any] | None, find: FindClass
) -> Any:
    """Returns a class and its fields, or an enumeration.

    Args:
        members: of an enumeration, those that occur.
    """
    for text in (kind, module, name):
        _text(text)
    found: Any = find(module, name)
    if members is not None:
        return _enumeration(kind, module, name, names, members, found)
    if type(names) is not tuple or len(names) > _MAX_FIELDS:
        raise MalformedValue(f"expected at most {_MAX_FIELDS} names of fields, got {brief(names)}")
    for field in names:
        if not _text(field).isidentifier() or keyword.iskeyword(field) or _is_special(field):
            raise MalformedValue(f"expected the name of a field, got {brief(field)}")
    if kind == "namedtuple":
        if found is not None and is_among(tuple, mro_of(found)) and _fields_of(found) == names:
            return found, names
        return _kept(_stand_in_tuple, module, name, names), names
    if kind != "dataclass":
        raise MalformedValue(f"expected a kind of class, got {brief(kind)}")
    if _can_be_filled(found, names):
        return found, names
    return _kept(_stand_in_dataclass, module, name, names), names


def _text(value: Any) -> str:
    if type(value) is not str:
        raise MalformedValue(f"expected the name of a class, field or member, got {brief(value)}")
    return value


def _is_special(name: str) -> bool:
    return name[:2] == "__" and name[-2:] == "__"


def _fields_of(cls: type) -> Any:
    return next((dict_of(base)["_fields"] for base in mro_of(cls) if "_fields" in dict_of(base)), 0)


# -- enumerations


def _enumeration(
    kind: str, module: str, name: str, pairs: Any, members: dict[str, Any], found: Any
) -> Any:
    """Returns this program's enumeration if it has all the members, else a stand-in."""
    values = {_text(pair[0]): pair[1] for pair in pairs}
    is_flag = "Flag" in kind
    if issubclass(type(found), enum.EnumMeta) and issubclass(found, enum.Flag) == is_flag:
        known = dict_of(found)["_member_map_"]
        if all(one in known for one in (values if is_flag else {**values, **members})):
            return found
    if not is_flag:
        for member, value in members.items():
            values.setdefault(member, member if value is None else value)
    plain = _PLAIN_MEMBERS.get(kind, form.PLAIN)
    for member, value in values.items():
        if type(value) not in plain or not member.isprintable() or member == "mro":
            raise MalformedValue(f"expected a member of a {kind}, got {brief(member)}")
        if not member or (member[0] == "_" and member[-1] == "_"):
            raise MalformedValue(f"expected the name of a member, got {brief(member)}")
    check_hashes(values)
    check_hashes(values.values())
    kinds = tuple([type(value) for value in values.values()])
    return _kept(_stand_in_enum, module, name, tuple(values.items()), kind, kinds)


_PLAIN_MEMBERS: Final = {
    **dict.fromkeys(("IntFlag", "Flag", "IntEnum"), frozenset([int, bool])),
    "StrEnum": frozenset([str]),
}
"""Types of the values that members of some kinds of enumerations have."""


def _member(cls: Any, name: Any, value: Any) -> Any:
    """Returns a member of an enumeration by its name, a combination of flags by its value."""
    members = dict_of(cls)["_member_map_"]
    if name in members:
        return members[name]
    if type(value) is int and value >= 0 and issubclass(cls, enum.Flag):
        return _combination(cls, value)
    raise MalformedValue(f"expected a member of {cls.__name__}, got {brief(name)}")


def _combination(cls: Any, value: int) -> Any:
    """Returns a combination of flags. A ``_missing_`` of the program's own does not run."""
    known = dict_of(cls)["_value2member_map_"]
    if value in known:
        return known[value]
    bits = 0
    for member in dict_of(cls)["_member_map_"].values():
        bits |= member._value_
    base = enum.IntFlag if issubclass(cls, enum.IntFlag) else enum.Flag
    if value & ~bits and (base is enum.Flag or value.bit_length() > _MAX_BITS):
        raise MalformedValue(f"expected flags of {cls.__name__}, got {value}")
    if len(known) >= _MAX_COMBINATIONS:
        raise MalformedValue(
            f"expected at most {_MAX_COMBINATIONS} combinations of {cls.__name__}, got another one"
        )
    return base._missing_.__func__(cls, value)  # type: ignore[attr-defined]


# -- what is filled


def _can_be_filled(cls: Any, names: tuple[str, ...]) -> bool:
    if not isinstance(cls, type) or type(vars(cls).get("__dataclass_fields__")) is not dict:
        return False
    if tuple(cls.__dataclass_fields__) != names or hasattr(cls, "__del__"):  # type: ignore[attr-defined]
        return False
    if any(_runs_code(getattr_static(cls, name, None)) for name in names):
        return False
    try:
        object.__new__(cls)
    except TypeError:
        return False  # abstract, or laid out like something built in
    return True


def _runs_code(attribute: Any) -> bool:
    """Returns whether setting an attribute of an instance runs code of its class."""
    return hasattr(type(attribute), "__set__") and type(attribute) is not MemberDescriptorType


# -- stand-ins


def _kept(make: Any, module: str, name: str, names: Any, *rest: Any) -> Any:
    """Returns the stand-in of a name, the same one as before unless it is a large one."""
    size = len(module) + sum([len(one) if type(one) is str else len(repr(one)) for one in names])
    make = make if size < _MAX_KEPT else make.__wrapped__
    return make(clean_name(module), clean_name(_short(name)), names, *rest)


@lru_cache(maxsize=256)
def _stand_in_enum(module: str, name: str, names: Any, kind: str, kinds: Any) -> Any:
    base: Any = getattr(enum, kind, enum.Enum)
    return base(name, list(names), module=module)


@lru_cache(maxsize=256)
def _stand_in_tuple(module: str, name: str, names: tuple[str, ...]) -> Any:
    fields = []
    for place, field in enumerate(names):
        fields.append(f"_{place}" if field[0] == "_" or field in fields else field)
    getters = {field: property(itemgetter(place)) for place, field in enumerate(fields)}
    namespace = {**getters, "__slots__": (), "__module__": module, "_fields": tuple(fields)}
    return type(name, (_NamedTuple,), namespace)


@lru_cache(maxsize=256)
def _stand_in_dataclass(module: str, name: str, names: tuple[str, ...]) -> Any:
    without = {"init": False, "repr": False, "eq": False}
    namespace = {"__module__": __name__, "__doc__": "Data of a class that is not used here."}
    cls = dataclasses.make_dataclass(name, names, bases=(_Record,), namespace=namespace, **without)
    cls.__module__ = module  # not earlier: the module of that name would be looked at
    return cls


class _NamedTuple(tuple[Any, ...]):
    """Base of stand-ins for named tuples. What is generated elsewhere is inherited: no ``exec``."""

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()
    _field_defaults: ClassVar[dict[str, Any]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return tuple.__new__(cls, _bound(cls, cls._fields, args, kwargs).values())

    @classmethod
    def _make(cls, items: Any) -> Any:
        return cls(*items)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self))

    def _replace(self, **changes: Any) -> Any:
        return type(self)(**{**self._asdict(), **changes})

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return _shown(self, self._asdict())


class _Record:
    """Base of stand-ins for dataclasses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = tuple([field.name for field in dataclasses.fields(self)])  # type: ignore[arg-type]
        vars(self).update(_bound(type(self), names, args, kwargs))

    def __eq__(self, other: object) -> Any:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @recursive_repr()
    def __repr__(self) -> str:
        return _shown(self, vars(self))


def _bound(cls: type, names: tuple[str, ...], args: Any, kwargs: Any) -> dict[str, Any]:
    """Returns fields by name, for the arguments of a constructor."""
    values = {**dict(zip(names, args)), **kwargs}
    if len(args) + len(kwargs) != len(names) or values.keys() != set(names):
        raise TypeError(f"expected {', '.join(names)} for {cls.__name__}, got {list(values)}")
    return {name: values[name] for name in names}


def _shown(obj: Any, values: dict[str, Any]) -> str:
    fields = ", ".join([f"{name}={value!r}" for name, value in values.items()])
    return f"{type(obj).__qualname__}({fields})"


def _short(name: str) -> str:
    short = name.rpartition(".")[2]
    return short if short.isidentifier() and not keyword.iskeyword(short) else "Unknown"


# -- single values


def _array(dtype: Any, shape: Any, order: Any, raw: Any) -> Any:
    if type(dtype) is not str or not _DTYPE.fullmatch(dtype):
        raise MalformedValue(f"expected an array of numbers, times or text, got {brief(dtype)}")
    numpy: Any = imported("numpy")
    flat = numpy.frombuffer(raw, numpy.dtype(dtype))
    check_items(flat)
    if not order:
        return flat[0]
    return flat.reshape(shape, order=order).copy(order="K")


def _zone(zone: Any) -> Any:
    if zone is None:
        return None
    return _named_zone(zone) if type(zone) is str else _fixed_zone(*zone)


def _named_zone(key: str) -> zoneinfo.ZoneInfo:
    """Returns a zone whose rules are among those of this system.

    ZoneInfo itself would look for a package of that name as well.
    """
    if not _ZONE.fullmatch(key):
        raise MalformedValue(f"expected the name of a time zone, got {brief(key)}")
    parts = key.split("/")
    if any(os.path.isfile(os.path.join(root, *parts)) for root in zoneinfo.TZPATH):
        return zoneinfo.ZoneInfo(key)
    package = sys.modules.get("tzdata")
    if package is not None and package.__file__:
        path = os.path.join(os.path.dirname(package.__file__), "zoneinfo", *parts)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return zoneinfo.ZoneInfo.from_file(file, key)
    raise MalformedValue(f"time zone {key!r} is not known here (import tzdata to have them all)")


_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}")


def _fixed_zone(seconds: float, name: str) -> datetime.timezone:
    offset = datetime.timedelta(seconds=seconds)
    plain = datetime.timezone(offset)
    return plain if plain.tzname(None) == name else datetime.timezone(offset, name)


def _machine_array(code: str, order: str, raw: bytes) -> Any:
    made = array.array(code)
    made.frombytes(raw)
    if order != sys.byteorder:
        made.byteswap()
    return made


def _path(cls: type[pathlib.PurePath], pure: type[pathlib.PurePath]) -> Callable[[str], Any]:
    fits = issubclass(type(pathlib.Path()), pure)
    return lambda text: (pathlib.Path if fits and cls is not pure else pure)(text)


_SIMPLE: Final[dict[str, Callable[..., Any]]] = {
    "bytearray": bytearray,
    "range": range,
    "slice": lambda *parts: slice(*form.plain_parts(parts)),
    "ellipsis": lambda: ...,
    "NotImplementedType": lambda: NotImplemented,
    "datetime": lambda text, fold, zone: datetime.datetime.fromisoformat(text).replace(
        fold=fold, tzinfo=_zone(zone)
    ),
    "time": lambda text, fold, zone: datetime.time.fromisoformat(text).replace(
        fold=fold, tzinfo=_zone(zone)
    ),
    "date": datetime.date.fromisoformat,
    "timedelta": datetime.timedelta,
    "timezone": _fixed_zone,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "UUID": lambda raw: uuid.UUID(bytes=raw),
    "array": _machine_array,
    "PosixPath": _path(pathlib.PosixPath, pathlib.PurePosixPath),
    "WindowsPath": _path(pathlib.WindowsPath, pathlib.PureWindowsPath),
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}
