"""Describes nested data by value, where the data is.

This module needs nothing else of the package: where the peer is RPyC's, its source is sent there.
A snapshot is ``(classes, tokens)``, all of it plain values of the RPyC wire. A token that is no
tuple stands for itself. The others are ``(code, ...)``; the items of a container are the tokens
that follow it:

======================================  ========================================================
token                                   value
======================================  ========================================================
``(0, n)``, ``(1, n)``                  a tuple, a list of the next n values
``(2, n)``                              a dict of the next n keys and values in turn
``(3, n)``, ``(4, n)``                  a set, a frozenset
``(5, values)``, ``(6, keys, values)``  a list, a dict of values that stand for themselves
``(7, i)``                              the i-th container or object once more, counted from 0
``(8, class, n)``                       a dataclass or named tuple; its n fields follow
``(9, class, name, value)``             a member of an enumeration
``(10, kind, n)``                       another collection: its name in ``collections``, its items
``(11, kind, ...)``                     something whose constructor takes the rest, see SIMPLE
``(12, dtype, shape, order, bytes)``    a NumPy array; a scalar if the order is ``""``
======================================  ========================================================

``classes`` are ``(kind, module, qualified name, names)``; for an enumeration, names are pairs of a
member's name and value.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import sys
import uuid
from typing import Any

TUPLE, LIST, DICT, SET, FROZENSET, PLAIN_LIST, PLAIN_DICT, AGAIN = range(8)
OBJECT, MEMBER, COLLECTION, SIMPLE, ARRAY = range(8, 13)

PLAIN = frozenset([type(None), bool, int, float, complex, str, bytes])
MAX_MEMBERS = 1000
COUNTED = {tuple: TUPLE, list: LIST, set: SET, frozenset: FROZENSET}
COLLECTIONS = (collections.deque, collections.OrderedDict, collections.Counter)
ENUMS = ("IntFlag", "Flag", "StrEnum", "IntEnum", "Enum")


def dump(obj: Any, iterate: Any, read: Any) -> Any:
    """Returns the snapshot of an object.

    Args:
        iterate: is asked, with a container, whether its items may be read.
        read: returns an attribute: ``read(obj, name)``.

    Raises:
        TypeError: part of it is no data; the text says where it is.
    """
    return _Dumper(iterate, read).dump(obj)


class _Dumper:
    def __init__(self, iterate: Any, read: Any) -> None:
        self.iterate = iterate
        self.read = read
        self.allowed: set[Any] = set()
        self.classes: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []
        self.tokens: list[Any] = []

    def dump(self, obj: Any) -> Any:
        """Goes over the values, without recursion."""
        stack: list[Any] = [iter([(obj, None)])]
        while stack:
            for value, place in stack[-1]:
                if type(value) in PLAIN:
                    self.tokens.append(value)
                    continue
                inside = self.token(value, place)
                if inside is not None:
                    stack.append(inside)
                    break
            else:
                stack.pop()
        return tuple(self.classes), tuple(self.tokens)

    def token(self, value: Any, place: Any) -> Any:
        """Appends the token of a value; returns an iterator over what is in it and where."""
        kind = type(value)
        if hasattr(kind, "____conn__"):
            raise TypeError("expected data for a snapshot, got a proxy" + where(place))
        simple = SIMPLE_TYPES.get(kind)
        if simple is not None:
            self.tokens.append((SIMPLE, kind.__name__, *simple(value)))
            return None
        if isinstance(value, enum.Enum):
            content = value.value if type(value.value) in PLAIN else None
            number = self.class_number(kind, "enum")
            self.tokens.append((MEMBER, number, str(value.name), content))
            return None
        if isinstance(value, pathlib.PurePath):
            windows = isinstance(value, pathlib.PureWindowsPath)
            name = "WindowsPath" if windows else "PosixPath"
            name = name if isinstance(value, pathlib.Path) else "Pure" + name
            self.tokens.append((SIMPLE, name, str(value)))
            return None
        if kind.__module__ == "numpy" and self.numpy(value):
            return None
        known = self.seen.get(id(value))
        if known is not None:
            self.tokens.append((AGAIN, known))
            return None
        self.seen[id(value)] = len(self.kept)
        self.kept.append(value)
        return self.container(value, kind, place)

    def container(self, value: Any, kind: Any, place: Any) -> Any:
        fields = getattr(kind, "__dataclass_fields__", None)
        if type(fields) is dict or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            what = "dataclass" if type(fields) is dict else "namedtuple"
            names = tuple(fields) if type(fields) is dict else tuple(kind._fields)
            number = self.class_number(kind, what, names)
            self.tokens.append((OBJECT, number, len(names)))
            return ((self.read(value, name), (place, "." + name)) for name in names)
        if kind in COLLECTIONS or kind is collections.defaultdict:
            self.allow(value, kind)
            pairs = kind is not collections.deque
            items = [item for pair in value.items() for item in pair] if pairs else list(value)
            self.tokens.append((COLLECTION, kind.__name__, len(items)))
            return ((item, (place, "[...]")) for item in items)
        if kind is dict:
            self.allow(value, kind)
            keys, values = tuple(value), tuple(value.values())
            if PLAIN.issuperset(map(type, keys)) and PLAIN.issuperset(map(type, values)):
                self.tokens.append((PLAIN_DICT, keys, values))
                return None
            self.tokens.append((DICT, len(keys)))
            return self.pairs(keys, values, place)
        if kind in COUNTED:
            self.allow(value, kind)
            items = list(value)
            if kind is list and PLAIN.issuperset(map(type, items)):
                self.tokens.append((PLAIN_LIST, tuple(items)))
                return None
            self.tokens.append((COUNTED[kind], len(items)))
            return ((item, (place, "[%d]" % at)) for at, item in enumerate(items))
        text = "expected data for a snapshot, got a %s%s"
        raise TypeError(text % (kind.__name__, where(place)))

    def pairs(self, keys: Any, values: Any, place: Any) -> Any:
        for key, value in zip(keys, values):
            yield key, (place, ", a key")
            yield value, (place, "[%s]" % (repr(key) if type(key) in PLAIN else "..."))

    def allow(self, value: Any, kind: Any) -> None:
        if kind not in self.allowed:
            self.iterate(value)
            self.allowed.add(kind)

    def class_number(self, kind: Any, what: str, names: Any = ()) -> int:
        number = self.numbers.get(kind)
        if number is None:
            if what == "enum":
                what = next(name for name in ENUMS if issubclass(kind, getattr(enum, name, ())))
                members = list(kind.__members__.items())[:MAX_MEMBERS]
                pairs = [(name, member.value) for name, member in members]
                names = tuple([pair for pair in pairs if type(pair[1]) in PLAIN])
            number = self.numbers[kind] = len(self.classes)
            self.classes.append((what, str(kind.__module__), str(kind.__qualname__), names))
        return number

    def numpy(self, value: Any) -> bool:
        """Appends a NumPy array or scalar; returns whether it is one of plain data."""
        numpy = sys.modules["numpy"]
        scalar = isinstance(value, numpy.generic)
        if not scalar and type(value) is not numpy.ndarray:
            return False
        if value.dtype.kind not in "biufcmMSU":
            return False
        self.iterate(value) if not scalar else None
        order = "" if scalar else "C"
        if not scalar and value.flags.f_contiguous and not value.flags.c_contiguous:
            order = "F"
        raw = value.tobytes() if scalar else value.tobytes(order)
        self.tokens.append((ARRAY, value.dtype.str, tuple(map(int, value.shape)), order, raw))
        return True


def where(place: Any) -> str:
    """Returns the end of an error's text.

    Args:
        place: a pair of the place around and what leads from there; None at the top.
    """
    parts: list[str] = []
    while place is not None:
        place, part = place
        parts.insert(0, part)
    return " at " + "".join(parts)[-1000:] if parts else ""


def _zone(tz: Any, moment: Any) -> Any:
    """Returns how a time zone travels: None, the key of a zone, or seconds and a name."""
    if tz is None:
        return None
    key = getattr(tz, "key", None)
    if type(key) is str:
        return key
    offset = tz.utcoffset(moment if isinstance(moment, datetime.datetime) else None)
    if offset is None:
        raise TypeError("expected a time zone with a known offset in a snapshot, got %r" % (tz,))
    return offset.total_seconds(), str(tz.tzname(None))


def _datetime(value: Any) -> Any:
    bare = value.replace(tzinfo=None, fold=0)
    return bare.isoformat(), value.fold, _zone(value.tzinfo, value)


SIMPLE_TYPES: dict[Any, Any] = {
    bytearray: lambda value: (bytes(value),),
    range: lambda value: (value.start, value.stop, value.step),
    slice: lambda value: plain_parts((value.start, value.stop, value.step)),
    type(Ellipsis): lambda value: (),
    type(NotImplemented): lambda value: (),
    datetime.datetime: _datetime,
    datetime.time: _datetime,
    datetime.date: lambda value: (value.isoformat(),),
    datetime.timedelta: lambda value: (value.days, value.seconds, value.microseconds),
    datetime.timezone: lambda value: _zone(value, None),
    decimal.Decimal: lambda value: (str(value),),
    fractions.Fraction: lambda value: (value.numerator, value.denominator),
    uuid.UUID: lambda value: (value.bytes,),
    array.array: lambda value: (value.typecode, sys.byteorder, value.tobytes()),
}


def plain_parts(values: Any) -> Any:
    """Returns the parts of a slice, which must stand for themselves."""
    for value in values:
        if type(value) not in PLAIN:
            raise TypeError("expected plain values in a slice, got a %s" % type(value).__name__)
    return values
