"""What Emacs Lisp has and Python has not: symbols, vectors, quotes, dotted pairs and the like.

Where :mod:`sexpdata` is installed its classes are used for symbols, vectors and quotes, because
programs test for them; otherwise classes of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, NamedTuple

from ..meter import Contents, check_hashes

__all__ = [
    "Backquote",
    "BoolVector",
    "Brackets",
    "ByteCode",
    "CharTable",
    "CONTENTS",
    "Comma",
    "CommaAt",
    "Dotted",
    "FunctionQuoted",
    "HOME",
    "HashTable",
    "PropertizedString",
    "Quoted",
    "Record",
    "Symbol",
    "quoted_item",
    "vector_items",
]

_KEY_LEVELS = 100

Brackets: Any
Quoted: Any
Symbol: Any
HOME: Any = None
"""The module :mod:`sexpdata`, if it is installed."""

try:
    import sexpdata
except ImportError:

    class _Symbol(str):
        """A symbol; not equal to a str of the same characters."""

        __slots__ = ()

        def value(self) -> str:
            """Returns its name."""
            return str.__str__(self)

        def __eq__(self, other: object) -> bool:
            return type(other) is _Symbol and str.__eq__(self, other)

        def __ne__(self, other: object) -> bool:
            return not self == other

        def __hash__(self) -> int:
            return hash((_Symbol, str(self)))

        def __repr__(self) -> str:
            return f"Symbol({str.__repr__(self)})"

        def __str__(self) -> str:
            return str.__str__(self)

    class _Quoted(NamedTuple):
        """``'x``."""

        x: Any

    class _Brackets(NamedTuple):
        """``[...]``, a vector."""

        I: list[Any]  # noqa: E741 - sexpdata's name

    Symbol, Quoted, Brackets = _Symbol, _Quoted, _Brackets
else:
    HOME = sexpdata
    Symbol, Quoted = sexpdata.Symbol, sexpdata.Quoted
    Brackets = getattr(sexpdata, "Brackets", None)
    if Brackets is None:  # before 1.0

        def Brackets(items: list[Any]) -> Any:  # noqa: N802
            """Returns a vector."""
            return sexpdata.Bracket(items, "[")


class FunctionQuoted(NamedTuple):
    """``#'x``."""

    x: Any


class Backquote(NamedTuple):
    r"""```x``."""

    x: Any


class Comma(NamedTuple):
    """``,x``."""

    x: Any


class CommaAt(NamedTuple):
    """``,@x``."""

    x: Any


class Dotted(list[Any]):
    """A list whose last pair ends in something else than nil: ``(a . b)``, ``(a b . c)``.

    Its items are those of the list, the symbol ``.``, and the end, as sexpdata has them.
    """

    __slots__ = ()

    @property
    def items(self) -> list[Any]:
        """What stands before the dot."""
        return list(self[:-2])

    @property
    def end(self) -> Any:
        """What stands behind the dot."""
        return self[-1]


class _Sequence(list[Any]):
    """A list of what stands between the brackets."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list.__repr__(self)})"


class Record(_Sequence):
    """``#s(type field ...)``."""

    __slots__ = ()


class ByteCode(_Sequence):
    """``#[...]``, a compiled function or a closure."""

    __slots__ = ()


class CharTable(_Sequence):
    """``#^[...]``, or a part of one (``#^^[...]``).

    Args:
        items: its contents.
        part: whether it is a part.
    """

    __slots__ = ("part",)

    def __init__(self, items: Iterable[Any] = (), part: bool = False) -> None:
        super().__init__(items)
        self.part = part


class BoolVector(_Sequence):
    """``#&3"..."``: a list of booleans."""

    __slots__ = ()


class HashTable:
    """``#s(hash-table ... data (key value ...))``.

    Args:
        pairs: keys and values; keys need not be hashable in Python.
        test: how keys are compared: ``eql``, ``equal``, ``eq`` or the name of a test.
    """

    __slots__ = ("pairs", "test")

    def __init__(self, pairs: Iterable[tuple[Any, Any]] = (), test: str = "equal") -> None:
        self.pairs = list(pairs)
        self.test = test

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashTable) and (self.pairs, self.test) == (other.pairs, other.test)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"HashTable({self.pairs!r}, {self.test!r})"

    def to_dict(self) -> dict[Any, Any]:
        """Returns a dict.

        Raises:
            TypeError: a key is not hashable, or nested deep.
            MalformedValue: more than 64 keys have the same hash.
        """
        keys = [key for key, _ in self.pairs]
        for key in keys:
            levels = 0
            while isinstance(key, (tuple, Quoted)):  # whose hash recurses in C
                if levels == _KEY_LEVELS:
                    raise TypeError(f"expected a key of {_KEY_LEVELS} levels at most, got more")
                levels += 1
                key = quoted_item(key)
        check_hashes(keys)
        return dict(self.pairs)


class PropertizedString(str):
    """A text with properties.

    Args:
        text: the text.
        properties: ``(start, end, plist)`` for each interval.
    """

    properties: tuple[tuple[int, int, list[Any]], ...]

    def __new__(
        cls, text: str, properties: Iterable[tuple[int, int, list[Any]]] = ()
    ) -> PropertizedString:
        made = super().__new__(cls, text)
        made.properties = tuple(properties)
        return made


def vector_items(value: Any) -> Iterable[Any]:
    """Returns what is in a vector, of any version of sexpdata's."""
    return value.I if hasattr(value, "I") else value.value()  # type: ignore[no-any-return]


def quoted_item(value: Any) -> Any:
    """Returns what is quoted, by any version of sexpdata's ``Quoted`` or a class of this module."""
    return value[0] if isinstance(value, tuple) else value.value()


CONTENTS: Final[Contents] = {
    **dict.fromkeys((list, Dotted, Record, ByteCode, CharTable, BoolVector), iter),
    **dict.fromkeys((tuple, FunctionQuoted, Backquote, Comma, CommaAt), iter),
    dict: lambda value: chain.from_iterable(value.items()),
    HashTable: lambda value: (value.pairs,),
    PropertizedString: lambda value: (value.properties,),
    Quoted: lambda value: (quoted_item(value),),
    type(Brackets([])): lambda value: (vector_items(value),),
}
"""What is in the values that a peer sends."""
