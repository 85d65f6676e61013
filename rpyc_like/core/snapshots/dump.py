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

sizeof = sys.getsizeof
PLAIN = frozenset([type(None), bool, int, float, complex, str, bytes])
MAX_MEMBERS = 1000
BULK = 10_000  # plain items that are looked at at once
FASTER = 100  # of them are one step
COUNTED = 100  # values that are counted at once
PIECE = 1 << 18  # bytes that are counted at once
PLACE = 8  # bytes of a place in a list
KEPT = 200  # bytes of the entries for a container that may be met again
BUILTIN = frozenset([dict, tuple, list, set, frozenset])
COUNTS = {tuple: TUPLE, list: LIST, set: SET, frozenset: FROZENSET}
COLLECTIONS = (collections.deque, collections.OrderedDict, collections.Counter)
ENUMS = ("IntFlag", "Flag", "StrEnum", "IntEnum", "Enum")


def dump(obj: Any, iterate: Any, read: Any, account: Any = None) -> Any:
    """Returns the snapshot of an object.

    Args:
        iterate: is asked, with a container, whether its items may be read.
        read: returns an attribute: ``read(obj, name)``.
        account: opens an account of the values that are described and of what is held, whose errors
            end the work; see :mod:`rpyc_like.core.references.accounts`.

    Raises:
        TypeError: part of it is no data; the text says where it is.
    """
    dumper = Dumper(iterate, read, account)
    for _ in dumper.work(obj):
        pass
    return tuple(dumper.classes), tuple(dumper.tokens)


class Unlimited:
    """The account of a snapshot that nobody limits."""

    def count(self, steps: Any) -> bool:
        """Counts steps that are about to be done; returns whether others are to have their turn."""
        return False

    def take(self, size: Any) -> None:
        """Counts so many bytes that are held."""

    def close(self) -> None:
        """Counts nothing any more."""


class Dumper:
    """Makes a snapshot; the arguments are those of :func:`dump`."""

    account: Any = None  # until there is something worth counting
    size = 0  # bytes of what has been made since it was last counted

    def __init__(self, iterate: Any, read: Any, open_account: Any = None) -> None:
        self.iterate = iterate
        self.read = read
        self.open_account = open_account
        self.allowed: set[Any] = set()
        self.classes: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []
        self.tokens: list[Any] = []

    def work(self, obj: Any) -> Any:
        """Goes over the values, without recursion; yields where others may have their turn."""
        steps = 0
        stack: list[Any] = [iter([(obj, None)])]
        try:
            while stack:
                for value, place in stack[-1]:
                    steps += 1
                    if steps == COUNTED:
                        steps = 0
                        if self.spend(COUNTED):
                            yield
                    if type(value) in PLAIN:
                        self.size += sizeof(value)
                        self.tokens.append(value)
                        continue
                    inside = self.token(value, place)
                    if inside is not None:
                        stack.append(inside)
                        break
                else:
                    stack.pop()
            if steps > 1 or self.size > PIECE:
                self.spend(steps)
        finally:
            if self.account is not None:
                self.account.close()

    def spend(self, steps: Any) -> bool:
        """Counts steps, and what has been made; returns whether others are to have their turn."""
        if self.account is None:
            self.account = (self.open_account or Unlimited)()
        size, self.size = self.size, 0
        self.account.take(size)
        return bool(self.account.count(steps))

    def append(self, token: Any) -> None:
        """Appends a token of plain values."""
        self.tokens.append(token)
        self.size += sizeof(token) + sum(map(sizeof, token))

    def copying(self, places: int) -> None:
        """Counts the copy of a container before it is made, if it is large."""
        self.size += PLACE * places
        self.spend(0)

    def plain(self, items: Any) -> bool:
        """Returns whether all of many items are plain; counts them."""
        for start in range(0, len(items), BULK):
            part = items[start : start + BULK]
            if not PLAIN.issuperset(map(type, part)):
                return False
            self.size += sum(map(sizeof, part))
            self.spend(BULK // FASTER)
        return True

    def token(self, value: Any, place: Any) -> Any:
        """Appends the token of a value; returns an iterator over what is in it and where."""
        kind = type(value)
        if kind not in BUILTIN and self.other(value, kind, place):
            return None
        known = self.seen.get(id(value))
        if known is not None:
            self.append((AGAIN, known))
            return None
        self.size += KEPT
        self.seen[id(value)] = len(self.kept)
        self.kept.append(value)
        return self.container(value, kind, place)

    def other(self, value: Any, kind: Any, place: Any) -> bool:
        """Appends the token of a value that is no container; returns whether it is none."""
        if hasattr(kind, "____conn__"):
            raise TypeError("expected data for a snapshot, got a proxy" + where(place))
        simple = SIMPLE_TYPES.get(kind)
        if simple is not None:
            self.append((SIMPLE, kind.__name__, *simple(value)))
            return True
        if isinstance(value, enum.Enum):
            content = value.value if type(value.value) in PLAIN else None
            number = self.class_number(kind, "enum")
            self.append((MEMBER, number, str(value.name), content))
            return True
        if isinstance(value, pathlib.PurePath):
            windows = isinstance(value, pathlib.PureWindowsPath)
            name = "WindowsPath" if windows else "PosixPath"
            name = name if isinstance(value, pathlib.Path) else "Pure" + name
            self.append((SIMPLE, name, str(value)))
            return True
        return bool(kind.__module__ == "numpy" and self.numpy(value))

    def container(self, value: Any, kind: Any, place: Any) -> Any:
        fields = getattr(kind, "__dataclass_fields__", None)
        if type(fields) is dict or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            what = "dataclass" if type(fields) is dict else "namedtuple"
            names = tuple(fields) if type(fields) is dict else tuple(kind._fields)
            number = self.class_number(kind, what, names)
            self.append((OBJECT, number, len(names)))
            return ((self.read(value, name), (place, "." + name)) for name in names)
        if kind in COLLECTIONS or kind is collections.defaultdict:
            self.allow(value, kind)
            pairs = kind is not collections.deque
            self.copying(2 * len(value))
            items = [item for pair in value.items() for item in pair] if pairs else list(value)
            self.append((COLLECTION, kind.__name__, len(items)))
            return ((item, (place, "[...]")) for item in items)
        if kind is dict:
            self.allow(value, kind)
            if len(value) > BULK:
                self.copying(4 * len(value))
            keys, values = tuple(value), tuple(value.values())
            both = keys + values
            if len(both) > BULK:
                plain = self.plain(both)
            else:
                plain = PLAIN.issuperset(map(type, both))
                self.size += sum(map(sizeof, both)) if plain else 0
            if plain:
                self.tokens.append((PLAIN_DICT, keys, values))
                return None
            self.append((DICT, len(keys)))
            return self.pairs(keys, values, place)
        if kind in COUNTS:
            self.allow(value, kind)
            if len(value) > BULK:
                self.copying(len(value))
            listed = tuple(value)
            plain = kind is list
            if plain and len(listed) > BULK:
                plain = self.plain(listed)
            elif plain:
                plain = PLAIN.issuperset(map(type, listed))
                self.size += sum(map(sizeof, listed)) if plain else 0
            if plain:
                self.tokens.append((PLAIN_LIST, listed))
                return None
            self.append((COUNTS[kind], len(listed)))
            return ((item, (place, "[%d]" % at)) for at, item in enumerate(listed))
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
        self.copying(value.nbytes // PLACE)
        raw = value.tobytes() if scalar else value.tobytes(order)
        self.append((ARRAY, value.dtype.str, tuple(map(int, value.shape)), order, raw))
        return True


def where(place: Any) -> str:
    """Returns the end of an error's text.

    Args:
        place: a pair of the place around and what leads from there; None at the top.
    """
    parts: list[str] = []
    while place is not None:
        place, part = place
        parts.append(part)
    return " at " + "".join(reversed(parts))[-1000:] if parts else ""


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
