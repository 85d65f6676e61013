"""Makes data of a snapshot; the form is described in :mod:`rpyc_like.core.snapshot_dump`.

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
from typing import Any, ClassVar, Final

from ..errors import MalformedValue
from ..lib.code import clean_name
from ..lib.modules import imported
from ..lib.stand_ins import dict_of, is_among, mro_of
from ..lib.value_classes import FindClass, registered_class
from ..wire.meter import check_hashes
from . import snapshot_dump as form

__all__ = ["load"]

_DTYPE: Final = re.compile(r"[<>|=][biufcSUmM?]\d{1,9}(\[[\w/]{1,20}\])?")


def load(snapshot: Any, find: FindClass = registered_class) -> Any:
    """Returns the data of a snapshot.

    Args:
        find: finds the classes of this program that may be used.

    Raises:
        MalformedValue: it is none, or it has NumPy arrays and NumPy is not imported here.
    """
    try:
        classes, tokens = snapshot
        made = _classes(classes, tokens, find) if classes else []
        return _Loader(made).load(tokens)
    except MalformedValue:
        raise
    except ImportError as error:
        raise MalformedValue(f"expected a snapshot of what can be made here: {error}") from error
    except Exception as error:
        raise MalformedValue(f"expected a snapshot: {error!r:.200}") from error


class _Open:
    """A container whose items are being read."""

    __slots__ = ("finish", "items", "left", "place")

    def __init__(self, left: int, place: int, finish: Callable[[list[Any]], Any]) -> None:
        self.left = left
        self.place = place
        self.finish = finish
        self.items: list[Any] = []


class _Loader:
    def __init__(self, classes: list[Any]) -> None:
        self._classes = classes
        self._known: list[Any] = []

    def load(self, tokens: Any) -> Any:
        stack: list[_Open] = []
        values = iter(tokens)
        for token in values:
            value: Any = token
            if type(token) is tuple:
                opened = self._open(token)
                if type(opened) is _Open:
                    if opened.left > len(tokens):
                        raise MalformedValue(f"{opened.left} items in {len(tokens)} tokens")
                    stack.append(opened)
                    if opened.left:
                        continue
                    value = self._close(stack)
                else:
                    value = opened
            while stack:
                top = stack[-1]
                top.items.append(value)
                if len(top.items) < top.left:
                    break
                value = self._close(stack)
            else:
                if next(values, stack) is not stack:
                    raise MalformedValue("tokens after the end")
                return value
        raise MalformedValue("the tokens end early")

    def _close(self, stack: list[_Open]) -> Any:
        top = stack.pop()
        value = top.finish(top.items)
        self._known[top.place] = value
        return value

    def _open(self, token: Any) -> Any:
        code = token[0]
        if code == form.SIMPLE:
            return _SIMPLE[token[1]](*token[2:])
        if code == form.MEMBER:
            return _member(self._classes[token[1]], token[2], token[3])
        if code == form.ARRAY:
            return _array(*token[1:])
        if code == form.AGAIN:
            value = self._known[token[1]]
            if value is _UNFINISHED:
                raise MalformedValue("a value that contains itself and cannot")
            return value
        place = len(self._known)
        if code == form.PLAIN_LIST:
            self._known.append(list(token[1]))
            return self._known[place]
        if code == form.PLAIN_DICT:
            self._known.append(dict(zip(token[1], token[2])))
            return self._known[place]
        self._known.append(_UNFINISHED)
        if code == form.OBJECT:
            return self._object(token, place)
        if code == form.COLLECTION:
            return self._collection(token, place)
        count = 2 * token[1] if code == form.DICT else token[1]
        if code in (form.TUPLE, form.FROZENSET):
            return _Open(count, place, tuple if code == form.TUPLE else frozenset)
        empty: Any = {form.LIST: list, form.DICT: dict, form.SET: set}[code]()
        self._known[place] = empty
        return _Open(count, place, _filling(empty))

    def _object(self, token: Any, place: int) -> _Open:
        cls, names = self._classes[token[1]]
        if token[2] != len(names):
            raise MalformedValue(f"{token[2]} fields of a class that has {len(names)}")
        if issubclass(cls, tuple):
            return _Open(token[2], place, lambda items: tuple.__new__(cls, items))
        empty = self._known[place] = object.__new__(cls)

        def fill(items: list[Any]) -> Any:
            for name, value in zip(names, items):
                object.__setattr__(empty, name, value)
            return empty

        return _Open(token[2], place, fill)

    def _collection(self, token: Any, place: int) -> _Open:
        empty = self._known[place] = _COLLECTIONS[token[1]]()
        return _Open(token[2], place, _filling(empty))


_UNFINISHED: Final = object()


def _filling(empty: Any) -> Callable[[list[Any]], Any]:
    """Returns what puts items into a container that others may refer to already."""

    def fill(items: list[Any]) -> Any:
        if isinstance(empty, dict):
            for key, value in zip(items[::2], items[1::2]):
                empty[key] = value
        elif isinstance(empty, set):
            empty.update(items)
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
        raise MalformedValue(f"expected at most {_MAX_FIELDS} names of fields, got {names!r:.80}")
    for field in names:
        if not _text(field).isidentifier() or keyword.iskeyword(field) or _is_special(field):
            raise MalformedValue(f"expected the name of a field, got {field!r:.80}")
    if kind == "namedtuple":
        if found is not None and is_among(tuple, mro_of(found)) and _fields_of(found) == names:
            return found, names
        return _kept(_stand_in_tuple, module, name, names), names
    if kind != "dataclass":
        raise MalformedValue(f"expected a kind of class, got {kind!r:.80}")
    if _can_be_filled(found, names):
        return found, names
    return _kept(_stand_in_dataclass, module, name, names), names


def _text(value: Any) -> str:
    if type(value) is not str:
        raise MalformedValue(f"expected the name of a class, field or member, got {value!r:.80}")
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
            raise MalformedValue(f"expected a member of a {kind}, got {member!r:.80}")
        if not member or (member[0] == "_" and member[-1] == "_"):
            raise MalformedValue(f"expected the name of a member, got {member!r:.80}")
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
    raise MalformedValue(f"expected a member of {cls.__name__}, got {name!r:.80}")


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
        raise MalformedValue(f"expected an array of numbers, times or text, got {dtype!r:.80}")
    numpy: Any = imported("numpy")
    flat = numpy.frombuffer(raw, numpy.dtype(dtype))
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
        raise MalformedValue(f"expected the name of a time zone, got {key!r:.80}")
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
