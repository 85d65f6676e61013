"""Objects of many kinds, for programs that use them from the other side of a connection.

It is imported where the objects live; a client does not import it, so that it knows none of the
classes.
"""

import abc
import array
import builtins
import collections
import contextlib
import dataclasses
import decimal
import enum
import io
import pathlib
import sqlite3
import tempfile
import threading


class AppError(Exception):
    """An error of the program's own."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


class NarrowError(AppError, ValueError):
    """A more special one."""


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(order=True, frozen=True)
class Point:
    x: int
    y: int = 0


Pair = collections.namedtuple("Pair", "left right")


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Celsius:
    """A descriptor."""

    def __get__(self, instance, owner):
        return self if instance is None else instance.kelvin - 273

    def __set__(self, instance, value):
        instance.kelvin = value + 273


class Weather:
    degrees = Celsius()

    def __init__(self):
        self.kelvin = 300

    @property
    def hot(self):
        return self.kelvin > 310

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def unit():
        return "K"


class Meta(type):
    def __len__(cls):
        return 7

    def __getitem__(cls, item):
        return (cls.__name__, item)

    def __contains__(cls, item):
        return item == 1

    def __iter__(cls):
        return iter("ab")


class Registered(metaclass=Meta):
    """Has a class that is a container."""


class Sized:
    """A class whose instances are empty: the class is not."""

    def __len__(self):
        return 0

    def __bool__(self):
        return False


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self):
        """Returns the area."""


class Square(Shape):
    def area(self):
        return 4


class Stack(collections.abc.MutableSequence):
    def __init__(self, items=()):
        self.items = list(items)

    def __getitem__(self, index):
        return self.items[index]

    def __setitem__(self, index, value):
        self.items[index] = value

    def __delitem__(self, index):
        del self.items[index]

    def __len__(self):
        return len(self.items)

    def insert(self, index, value):
        self.items.insert(index, value)


class Dictionary(dict):
    """A dict of the program's own."""


class Number:
    """Answers every operator with what was asked."""

    def __init__(self, value=6):
        self.value = value

    def __index__(self):
        return self.value

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        return self.value == getattr(other, "value", other)

    def __lt__(self, other):
        return self.value < getattr(other, "value", other)

    def __round__(self, digits=None):
        return ("round", digits)

    def __complex__(self):
        return complex(self.value, 1)

    def __float__(self):
        return self.value + 0.5

    def __int__(self):
        return self.value

    def __bytes__(self):
        return b"number"

    def __fspath__(self):
        return "/some/path"

    def __format__(self, spec):
        return f"<{spec}>"

    def __reversed__(self):
        return iter((3, 2, 1))

    def __length_hint__(self):
        return 9

    def __call__(self, *args, **kwargs):
        return (args, tuple(kwargs))

    def __divmod__(self, other):
        return (1, other)

    def __rdivmod__(self, other):
        return (other, 1)

    def __missing__(self, key):
        return key

    def __copy__(self):
        return Number(77)


def _operator(name):
    def method(self, *args):
        return (name, *args)

    return method


for _name in "add sub mul matmul truediv floordiv mod pow lshift rshift and or xor".split():
    for _kind in ("", "r", "i"):
        setattr(Number, f"__{_kind}{_name}__", _operator(_kind + _name))
for _name in "neg pos abs invert trunc floor ceil".split():
    setattr(Number, f"__{_name}__", _operator(_name))


class Manager:
    """A context manager that tells what it was left with."""

    def __init__(self, swallow=True):
        self.swallow = swallow
        self.seen = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        known = kind is not None and issubclass(kind, BaseException)
        self.seen = (getattr(kind, "__name__", None), known, str(error), traceback is not None)
        return self.swallow


@contextlib.contextmanager
def generated(log):
    try:
        yield "inside"
    except AppError as error:
        log.append(f"app {error.args[0]}")
    except ValueError as error:
        log.append(f"value {error}")
    else:
        log.append("fine")


def fail(text="it failed", kind=AppError):
    raise kind(text)


def fail_from():
    try:
        fail("the cause", KeyError)
    except KeyError as error:
        raise AppError("the effect", 5) from error


def fail_within():
    try:
        fail("the first", KeyError)
    except KeyError:
        fail("the second")


def fail_with_notes():
    error = AppError("noted")
    if hasattr(error, "add_note"):
        error.add_note("a note")
    raise error


def fail_group():
    raise builtins.ExceptionGroup("several", [ValueError("one"), TypeError("two")])


def fail_unicode():
    b"\xff".decode("utf-8")


def fail_os():
    open("/no/such/file")  # noqa: SIM115


def leave(kind=SystemExit):
    raise kind(3)


def count(limit=3):
    got = []
    for number in range(limit):
        got.append((yield number))
    return got


def stubborn():
    try:
        yield 1
    finally:
        closed.append(True)


closed = []


def throw_inside():
    """A generator that tells what was thrown into it."""
    try:
        yield 1
    except ValueError:
        yield "value"


def connect():
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("create table t (a)")
    return db


def make_file(text="one\ntwo\n"):
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115
    file.write(text)
    file.seek(0)
    return file


def numbers():
    return [3, 1, 2]


def mapping():
    return {"a": 1, "b": [2]}


def surrogate():
    return "name\udcff"


def apply(func, *args):
    return func(*args)


def echo(value):
    return value


def is_same(a, b):
    return a is b


lock = threading.Lock()
red = Color.RED
high = Level.HIGH
point = Point(1, 2)
pair = Pair(1, 2)
weather = Weather()
number = Number()
stack = Stack([1, 2, 3])
dictionary = Dictionary(a=1)
ordered = collections.OrderedDict(a=1)
counter = collections.Counter("aab")
queue = collections.deque([1, 2, 3])
numbers_array = array.array("i", [1, 2, 3])
price = decimal.Decimal("1.50")
path = pathlib.PurePosixPath("/a/b")
text_file = io.StringIO("x\ny\n")
