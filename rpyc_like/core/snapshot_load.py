"""Makes data of a snapshot; the form is described in :mod:`rpyc_like.core.snapshot_dump`.

What arrives chooses no code to run. A dataclass, a named tuple or an enumeration is this program's
own only if its module has been imported and the class has the same fields; a dataclass is filled
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
import pathlib
import re
import sys
import uuid
from collections.abc import Callable
from functools import lru_cache
from inspect import getattr_static
from types import MemberDescriptorType
from typing import Any, Final

from ..errors import MalformedValue
from ..lib.modules import class_in
from . import snapshot_dump as form

__all__ = ["load"]

_DTYPE: Final = re.compile(r"[<>|=][biufcSUmM?]\d{1,9}(\[[\w/]{1,20}\])?")


def load(snapshot: Any) -> Any:
    """Returns the data of a snapshot.

    Raises:
        MalformedValue: it is none.
    """
    try:
        classes, tokens = snapshot
        made = [_class(*one) for one in classes]
        return _Loader(made).load(tokens)
    except MalformedValue:
        raise
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
            cls = self._classes[token[1]]
            member = cls.__members__.get(token[2])
            return cls(token[3]) if member is None else member
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


def _class(kind: str, module: str, name: str, names: Any) -> Any:
    """Returns a class and its fields, or an enumeration."""
    for text in (kind, module, name):
        if type(text) is not str:
            raise MalformedValue(f"expected the name of a class, got {text!r:.80}")
    found: Any = class_in(module, name) if module in sys.modules else None
    if kind in form.ENUMS:
        if isinstance(found, enum.EnumMeta):
            if all(pair[0] in found.__members__ for pair in names):
                return found
        return _stand_in_enum(kind, module, name, names)
    for field in names:
        if type(field) is not str or not field.isidentifier() or keyword.iskeyword(field):
            raise MalformedValue(f"expected the name of a field, got {field!r:.80}")
    if kind == "namedtuple":
        if isinstance(found, type) and issubclass(found, tuple):
            if getattr(found, "_fields", None) == names:
                return found, names
        return _stand_in_tuple(module, name, names), names
    if kind != "dataclass":
        raise MalformedValue(f"expected a kind of class, got {kind!r:.80}")
    if _can_be_filled(found, names):
        return found, names
    return _stand_in_dataclass(module, name, names), names


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


@lru_cache(maxsize=256)
def _stand_in_enum(kind: str, module: str, name: str, names: Any) -> Any:
    base: Any = getattr(enum, kind, enum.Enum)
    return base(_short(name), list(names), module=module)


@lru_cache(maxsize=256)
def _stand_in_tuple(module: str, name: str, names: tuple[str, ...]) -> Any:
    return collections.namedtuple(_short(name), names, rename=True, module=module)


@lru_cache(maxsize=256)
def _stand_in_dataclass(module: str, name: str, names: tuple[str, ...]) -> Any:
    cls = dataclasses.make_dataclass(_short(name), names)
    cls.__module__ = module
    return cls


def _short(name: str) -> str:
    short = name.rpartition(".")[2]
    return short if short.isidentifier() and not keyword.iskeyword(short) else "Unknown"


# -- single values


def _array(dtype: Any, shape: Any, order: Any, raw: Any) -> Any:
    if type(dtype) is not str or not _DTYPE.fullmatch(dtype):
        raise MalformedValue(f"expected an array of numbers, times or text, got {dtype!r:.80}")
    import numpy  # type: ignore[import-not-found,unused-ignore]

    flat = numpy.frombuffer(raw, numpy.dtype(dtype))
    if not order:
        return flat[0]
    return flat.reshape(shape, order=order).copy(order="K")


def _zone(zone: Any) -> Any:
    if zone is None:
        return None
    if type(zone) is str:
        from zoneinfo import ZoneInfo

        return ZoneInfo(zone)
    return _fixed_zone(*zone)


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
