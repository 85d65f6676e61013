"""Writes values so that Emacs reads them, and nothing that it does not.

Lists, tuples and other iterables become lists, dicts property lists; None, False and what is empty
become ``()``. An explicit stack replaces recursion.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final

from ...errors import LocalProtocolError
from ...lib.big_ints import to_decimal
from ...lib.brief import brief
from ...lib.native import sexp
from . import values
from .values import (
    Backquote,
    BoolVector,
    ByteCode,
    CharTable,
    Comma,
    CommaAt,
    Dotted,
    FunctionQuoted,
    HashTable,
    PropertizedString,
    Record,
)

__all__ = ["MAX_TOKENS", "symbol_text", "write"]

MAX_TOKENS: Final = 1 << 24
"""More cannot be in one frame."""

MAX_DEPTH: Final = 1_000_000
"""Of nesting; a list that holds itself would go on for ever."""

_MEMO_LENGTH: Final = 100  # characters of a name whose text is kept: a peer may have made it up

_LONG: Final = 1000
"""Characters from which on it pays to see first whether a text has anything to escape."""

_TO_ESCAPE: Final = '\n"\\' + "".join(map(chr, range(32)))
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_SYMBOL_SPECIAL: Final = re.compile(r"""([\\'`"()\[\]\x00-\x20\x7f\xa0,?;#])""")

_Open = tuple[str, Iterator[Any], str]
"""What comes before the items, the items, and what comes after them."""


class _Literal:
    """Text that is written as it is."""

    def __init__(self, text: str) -> None:
        self.text = text


_DOT: Final = _Literal(".")


def write(value: Any) -> str:
    """Returns the text of a value.

    Raises:
        TypeError: there is none.
        LocalProtocolError: it does not end.
    """
    if sexp is not None:
        made: str | None = sexp.write(value, values.Symbol, _symbol)
        if made is not None:
            return made
    simple = _ATOMS.get(type(value)) or (_flat if type(value) in (list, tuple) else None)
    text = None if simple is None else simple(value)
    if text is None:
        text = _write(value)
    return text if text.isascii() else _SURROGATE.sub(_surrogate, text)


def _write(value: Any) -> str:
    parts: list[str] = []
    append = parts.append
    stack: list[tuple[Iterator[Any], str]] = []
    items: Iterator[Any] = iter((value,))
    closer = space = ""
    while True:
        for item in items:
            kind = type(item)
            atom = _ATOMS.get(kind)
            if atom is not None:
                append(space + atom(item))
                space = " "
                continue
            if kind is list or kind is tuple:
                flat = _flat(item)
                if flat is not None:
                    append(space + flat)
                    space = " "
                    continue
                opener, inner, end = "(", iter(item), ")"
                if len(item) > 2 and _is_dot(item[-2]):
                    inner = _dotted_items(item)
            elif kind is dict:
                opener, inner, end = _plist(item)
            else:
                opened = _open(item)
                if isinstance(opened, str):
                    append(space + opened)
                    space = " "
                    continue
                opener, inner, end = opened
            append(space + opener)
            stack.append((items, closer))
            items, closer, space = inner, end, ""
            break
        else:
            if not stack:
                return "".join(parts)
            append(closer)
            items, closer = stack.pop()
            space = " "
        if len(parts) > MAX_TOKENS or len(stack) > MAX_DEPTH:
            raise LocalProtocolError("value too large for a frame, or it contains itself")


def _flat(value: Sequence[Any]) -> str | None:
    """Returns the text of a list that holds nothing but atoms, or None."""
    kinds = set(map(type, value))
    if len(kinds) == 1 and int in kinds:
        try:
            return f"({' '.join(map(str, value))})"
        except ValueError:
            return None  # a very long one
    if not kinds:
        return "()"
    if kinds <= _ATOMS.keys() and not (len(value) > 2 and _is_dot(value[-2])):
        return f"({' '.join([_ATOMS[type(item)](item) for item in value])})"
    return None


def _string(text: str) -> str:
    """Returns a text in quotes."""
    if len(text) > _LONG and not any(char in text for char in _TO_ESCAPE):
        return f'"{text}"'
    if "\x1b" not in text and "\0" not in text:
        made = encode_basestring(text)
        if "\\u00" not in made:
            return made
    # JSON's way of writing control characters can be read by Emacs, but not by sexpdata.
    for char, written in _ESCAPES:
        text = text.replace(char, written)
    return f'"{text}"'


_ESCAPES: Final = (
    *(("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")),
    *(("\r", "\\r"), ("\b", "\\b"), ("\f", "\\f")),
)


def _surrogate(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\{code - 0xDC00:03o}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _bytes(value: bytes) -> str:
    """Returns a unibyte text."""
    return _SURROGATE.sub(_surrogate, _string(value.decode("ascii", "surrogateescape")))


def _integer(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # longer than Python converts without being asked
        return to_decimal(value)


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return "0.0e+NaN"
    return "1.0e+INF" if value > 0 else "-1.0e+INF"


def _symbol(value: Any) -> str:
    return symbol_text(str(value.value()) if hasattr(value, "value") else str(value))


def symbol_text(name: str) -> str:
    """Returns the text of the symbol of a name."""
    return _known_symbol(name) if len(name) <= _MEMO_LENGTH else _symbol_text(name)


def _symbol_text(name: str) -> str:
    if not name:
        return "##"
    text = _SYMBOL_SPECIAL.sub(r"\\\1", name)
    return "\\" + text if name == "." or _NUMBER.match(name) else text


_known_symbol: Final = lru_cache(maxsize=4096)(_symbol_text)

_NUMBER: Final = re.compile(
    r"[-+]?[0-9]+\.?$|[-+]?(?:[0-9]+\.[0-9]*|\.?[0-9]+)(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?$|[-+]?[0-9]+\.[0-9]+[eE]\+(?:INF|NaN)$"
)

_ATOMS: Final[dict[type, Callable[[Any], str]]] = {
    str: _string,
    int: _integer,
    bool: lambda value: "t" if value else "()",
    type(None): lambda value: "()",
    float: _float,
    bytes: _bytes,
}
_ATOMS[values.Symbol] = _symbol
_ATOMS[_Literal] = lambda value: value.text


def _open(value: Any) -> _Open | str:
    """Returns the text of a value of a rarer type, or what is in it."""
    for kind, opener in _OPENERS:
        if isinstance(value, kind):
            return opener(value)
    as_lisp = getattr(value, "__to_lisp_as__", None)
    if as_lisp is not None:
        return "", iter((as_lisp(),)), ""
    if isinstance(value, Mapping):
        return _plist(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plist(value._asdict())
    extended = _extended(value)
    if extended is not None:
        return extended
    if isinstance(value, Iterable):
        return "(", iter(value), ")"
    raise TypeError(f"cannot be sent to Emacs: {brief(value)} of type {type(value).__name__}")


def _plist(value: Mapping[Any, Any]) -> _Open:
    flat: list[Any] = []
    for key, item in value.items():
        flat += (_keyword(key), item)
    return "(", iter(flat), ")"


def _keyword(key: Any) -> _Literal:
    """Returns the text of the key of a property list."""
    if not isinstance(key, str):
        raise TypeError(f"expected a str as the key of a dict, got {type(key).__name__}")
    return _Literal(_symbol(key if hasattr(key, "value") else f":{key}"))


def _extended(value: Any) -> str | None:
    """Asks sexpdata's ``tosexp``, which programs extend for their types."""
    tosexp = getattr(values.HOME, "tosexp", None)
    registry = getattr(tosexp, "registry", {})
    for kind in type(value).__mro__:
        if kind in registry:
            own = getattr(registry[kind], "__module__", "") != "sexpdata"
            return str(tosexp(value)) if own and tosexp is not None else None
    return None


def _quoted(mark: str) -> Callable[[Any], _Open]:
    return lambda value: (mark, iter((values.quoted_item(value),)), "")


def _comma(value: Any) -> _Open:
    item = values.quoted_item(value)
    if type(item) is values.Symbol and str(item.value()).startswith("@"):
        item = _Literal("\\" + _symbol(item))  # else the two would be read as one mark
    return ",", iter((item,)), ""


def _is_dot(value: Any) -> bool:
    """Returns whether a value is the symbol that stands before the end of a dotted list."""
    return type(value) is values.Symbol and str(value.value()) == "."


def _dotted_items(value: Sequence[Any]) -> Iterator[Any]:
    yield from value[:-2]
    yield _DOT
    yield value[-1]


def _table(value: HashTable) -> _Open:
    def items() -> Iterator[Any]:
        yield values.Symbol("test")
        yield values.Symbol(value.test)
        yield values.Symbol("data")
        yield [item for pair in value.pairs for item in pair]

    return "#s(hash-table ", items(), ")"


def _propertized(value: PropertizedString) -> _Open | str:
    if not value.properties:
        return _string(str(value))
    flat = [item for interval in value.properties for item in interval]
    return "#(", iter([str(value), *flat]), ")"


def _bool_vector(value: BoolVector) -> str:
    packed = bytearray(-(-len(value) // 8))
    for bit, isset in enumerate(value):
        packed[bit // 8] |= bool(isset) << (bit % 8)
    text = "".join(f"\\{byte:03o}" for byte in packed)
    return f'#&{len(value)}"{text}"'


def _char_table(value: CharTable) -> _Open:
    return "#^^[" if value.part else "#^[", iter(value), "]"


def _vector(value: Any) -> _Open:
    return "[", iter(values.vector_items(value)), "]"


def _kinds(*names: str) -> tuple[type, ...]:
    """Returns sexpdata's classes of these names, where it is installed."""
    found = [getattr(values.HOME, name, None) for name in names]
    return tuple(kind for kind in found if isinstance(kind, type))


_OPENERS: Final[list[tuple[Any, Callable[[Any], _Open | str]]]] = [
    (values.Symbol, _symbol),
    (_kinds("String"), lambda value: _string(str(value.value()))),
    (PropertizedString, _propertized),
    (enum.IntEnum, lambda value: _integer(int(value))),
    (enum.Enum, lambda value: _enum(value)),
    (str, lambda value: _string(str(value))),
    ((values.Brackets if isinstance(values.Brackets, type) else (), *_kinds("Bracket")), _vector),
    (_kinds("Parens"), lambda value: ("(", iter(values.vector_items(value)), ")")),
    (values.Quoted, _quoted("'")),
    (FunctionQuoted, _quoted("#'")),
    (Backquote, _quoted("`")),
    (CommaAt, _quoted(",@")),
    (Comma, _comma),
    (Dotted, lambda value: ("(", _dotted_items(value), ")")),
    (HashTable, _table),
    (CharTable, _char_table),
    (BoolVector, _bool_vector),
    (Record, lambda value: ("#s(", iter(value), ")")),
    (ByteCode, lambda value: ("#[", iter(value), "]")),
    ((int, float), lambda value: _ATOMS[int if isinstance(value, int) else float](value)),
    (bytes, _bytes),
]


def _enum(value: enum.Enum) -> str:
    if isinstance(value, str):
        return _string(str(value))
    raise TypeError(f"cannot be sent to Emacs: {value!r} of type {type(value).__name__}")
