"""Reads what Emacs prints.

One regular expression finds tokens, an explicit stack builds values: depth costs memory and no
recursion. Syntax: the Emacs Lisp reference manual, chapters "Printed Representation" and "Lisp Data
Types"; sections on each type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ..errors import MalformedValue
from ..lib.digits import from_decimal
from ..lib.impl import sexp
from . import values
from .dicts import alist_to_dict, plist_to_dict
from .escapes import character, unescaped
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

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "Reader", "Unreadable"]

MAX_DEPTH: Final = 1_000_000
MAX_DIGITS: Final = 100_000

_END = r"""(?=[\x00-\x20\xa0"';()\[\]#`,]|$)"""
_INTEGERS, _DECIMAL, _WORD, _STRING, _OPEN, _CLOSE = range(1, 7)
_ESCAPED, _PREFIX, _HASH, _CHARACTER, _LONG, _OTHER = range(7, 13)
_TOKEN: Final = re.compile(
    r"[\x00-\x20\xa0]*(?:"
    rf"(-?[0-9]+(?: -?[0-9]+)*){_END}"
    rf"|(-?[0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?){_END}"
    rf"""|([^\x00-\x20\xa0"';()\[\]#`,?\\][^\x00-\x20\xa0"';()\[\]#`,\\]*){_END}"""
    r"""|"([^"\\]{0,300}(?:\\.[^"\\]{0,300}){0,10})\""""
    r"|([(\[])"
    r"|([)\]])"
    r"""|((?:[^\x00-\x20\xa0"';()\[\]#`,?\\]|\\.)(?:[^\x00-\x20\xa0"';()\[\]#`,\\]|\\.)*)"""
    r"|('|`|,@|,)"
    r"""|(\#(?:s?\(|\^?\^?\[|&[0-9]+|'|\#|:|_|[0-9]+[=\#]|[xXbBoO][-+]?[0-9a-zA-Z]+"""
    r"""|[0-9]+r[-+]?[0-9a-zA-Z]+|<))"""
    r"""|(\?(?:\\(?:\^.|[0-7]{1,3}|x[0-9a-fA-F]+|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}"""
    r"""|(?:[CMSHAs]-\\?)+.|.)|[^\\]))"""
    r"|;[^\n]*"
    r"|(\")"
    r"|(.)"
    r"|$)",
    re.DOTALL,
)
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*|\.?[0-9]+)(?:[eE][-+]?[0-9]+)?$"
    r"|[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?$"
)
_SPECIAL_FLOAT: Final = re.compile(r"([-+]?)[0-9]+\.[0-9]+[eE]\+(INF|NaN)$")
_MEMO_SIZE: Final = 10_000
_USUAL_DEPTH: Final = 200  # what the compiled half does without asking for the limit


class Unreadable(MalformedValue):
    """Emacs printed something that it cannot read back either: ``#<buffer x>``."""


class _Dot:
    """Stands for the dot of a pair until its list is complete."""


_DOT: Final = _Dot()


class _Opened:
    """A prefix or a special bracket: what ends it, and what is made of what it holds."""

    __slots__ = ("closer", "finish")

    def __init__(self, closer: str | None, finish: Callable[[list[Any]], Any]) -> None:
        self.closer = closer  # None for a prefix, which waits for one value
        self.finish = finish


class Reader:
    """Reads Emacs Lisp values.

    Args:
        nil: makes the value of ``nil``; a new list by default.
        properties: whether texts with properties keep them (:class:`.PropertizedString`).
        tables: whether hash tables become dicts where their keys allow.
        plists: whether property lists become dicts; see :func:`.plist_to_dict`.
        alists: whether association lists become dicts; see :func:`.alist_to_dict`.
        max_depth: of nesting.
    """

    def __init__(
        self,
        nil: Callable[[], Any] = list,
        properties: bool = False,
        tables: bool = False,
        plists: bool = False,
        alists: bool = False,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self._nil = nil
        self._properties = properties
        self._tables = tables
        self._dicts = [plist_to_dict] * plists + [alist_to_dict] * alists
        self._max_depth = max_depth
        self._words: dict[str, Any] = {"t": True}

    def read(self, text: str, plain: int = 0) -> Any:
        """Returns the one value in ``text``.

        Args:
            plain: of how many levels the lists stay lists: those of a message.

        Raises:
            Unreadable: it holds something that has no readable form.
            MalformedValue: there is none, more than one, or a broken one.
        """
        values = self.read_all(text, plain)
        if len(values) != 1:
            raise MalformedValue(f"expected one value, got {len(values)}")
        return values[0]

    def read_all(self, text: str, plain: int = 0) -> list[Any]:
        """Returns all values in ``text``; see :meth:`read`."""
        if sexp is not None and not self._dicts and self._max_depth >= _USUAL_DEPTH:
            found: list[Any] | None = sexp.read_all(
                text, self._nil, self._words, self._word, values.Brackets
            )
            if found is not None:
                return found
        items: list[Any] = []
        append = items.append
        closer: str | None = ""  # what ends the list that is read; None for a prefix
        finish: Callable[[list[Any]], Any] | None = None
        stack: list[tuple[list[Any], str | None, Callable[[list[Any]], Any] | None]] = []
        labels: dict[str, Any] = {}
        dots = False  # whether there is a dot anywhere
        words, dicts = self._words, self._dicts
        position: int | None = 0
        while position is not None:
            start = position
            for match in _TOKEN.finditer(text, position):
                kind = match.lastindex
                if kind == _WORD:
                    value = words.get(match[_WORD])
                    if value is None:
                        value = self._word(match[_WORD])
                        dots = dots or value is _DOT
                elif kind == _STRING:
                    value = match[_STRING]
                    if "\\" in value:
                        value = unescaped(value)
                elif kind == _INTEGERS:
                    digits = match[_INTEGERS]
                    if " " in digits:
                        if closer is not None:
                            items += _integers(digits)
                            continue
                        digits = digits.partition(" ")[0]  # a prefix is for the first alone
                        position = match.start(_INTEGERS) + len(digits)
                    value = int(digits) if len(digits) < 4000 else _long_integer(digits)
                elif kind == _OPEN:
                    stack.append((items, closer, finish))
                    if len(stack) > self._max_depth:
                        raise MalformedValue(f"nested deeper than {self._max_depth}")
                    closer, finish = (")", None) if match[_OPEN] == "(" else ("]", values.Brackets)
                    items = []
                    append = items.append
                    continue
                elif kind == _CLOSE:
                    if closer != match[_CLOSE]:
                        raise MalformedValue(f"unexpected {match[_CLOSE]!r} at {match.end() - 1}")
                    value = items
                    if dots and any(item is _DOT for item in value):
                        value = _dotted(value)
                    if finish is not None:
                        value = finish(value)
                    elif not value:
                        value = self._nil()
                    elif dicts and len(stack) > plain:
                        value = self._converted(value)
                    items, closer, finish = stack.pop()
                    append = items.append
                elif kind == _LONG:
                    value, position = _long_text(text, match.end())
                elif kind == _DECIMAL:
                    value = float(match[_DECIMAL])
                elif kind == _ESCAPED:
                    value = values.Symbol(_ESCAPED_CHARACTER.sub(r"\1", match[_ESCAPED]))
                elif kind == _CHARACTER:
                    value = character(match[_CHARACTER][1:])
                elif kind is None:
                    continue
                elif kind == _OTHER:
                    raise MalformedValue(f"unexpected {match[_OTHER]!r} at {match.end() - 1}")
                else:
                    value = self._prefixed(match[kind], labels)
                    if type(value) is _Opened:
                        stack.append((items, closer, finish))
                        if len(stack) > self._max_depth:
                            raise MalformedValue(f"nested deeper than {self._max_depth}")
                        closer, finish = value.closer, value.finish
                        items = []
                        append = items.append
                        continue
                append(value)
                while closer is None:  # a prefix has got its value
                    assert finish is not None
                    if value is _DOT:
                        raise MalformedValue("unexpected dot")
                    value = finish(items)
                    items, closer, finish = stack.pop()
                    append = items.append
                    append(value)
                if position != start:
                    break
            else:
                position = None
        if stack:
            raise MalformedValue("the text ends inside a value")
        if dots and any(item is _DOT for item in items):
            raise MalformedValue("unexpected dot")
        return items

    def is_nil(self, value: Any) -> bool:
        """Returns whether a value is what this reader makes of ``nil``."""
        nil = self._nil()
        return type(value) is type(nil) and bool(value == nil)

    def _converted(self, items: list[Any]) -> Any:
        """Returns a dict instead of a list, if that is wished and possible."""
        for convert in self._dicts:
            found = convert(items, self._converted, self._nil)
            if found is not None:
                return found
        return items

    def _word(self, word: str) -> Any:
        """Returns what a word without escapes means."""
        if word == "nil":
            return self._nil()
        if word == ".":
            return _DOT
        first = word[0]
        if first in "0123456789+-.":
            number = _number(word)
            if number is not None:
                return number
        if len(self._words) > _MEMO_SIZE:
            self._words = {"t": True}
        symbol = self._words[word] = values.Symbol(word)
        return symbol

    def _prefixed(self, token: str, labels: dict[str, Any]) -> Any:
        """Returns the value of a token, or what it begins."""
        finish = _PREFIXES.get(token)
        if finish is not None:
            return _Opened(None, lambda got: finish(got[0]))
        if token in ("#(", "#s(", "#[", "#^[", "#^^["):
            makers: dict[str, Callable[[list[Any]], Any]] = {
                "#(": self._propertized,
                "#s(": self._record,
                "#[": ByteCode,
                "#^[": CharTable,
                "#^^[": lambda got: CharTable(got, True),
            }
            return _Opened(")" if token.endswith("(") else "]", makers[token])
        if token == "##":
            return values.Symbol("")
        if token == "#<":
            raise Unreadable("an object without a readable form (#<...>)")
        if token[1] == "&":
            size = int(token[2:])
            return _Opened(None, lambda got: _bool_vector(size, got[0]))
        if token[-1] == "=":
            label = token[1:-1]

            def define(got: list[Any]) -> Any:
                labels[label] = got[0]
                return got[0]

            return _Opened(None, define)
        if token[-1] == "#":
            if token[1:-1] not in labels:
                raise MalformedValue(f"expected the label of a complete value, got {token}")
            return labels[token[1:-1]]
        return _radix(token)

    def _propertized(self, got: list[Any]) -> Any:
        if not got or type(got[0]) is not str or len(got) % 3 != 1:
            raise MalformedValue("expected a text and triples of start, end and properties")
        if not self._properties:
            return got[0]
        intervals = zip(got[1::3], got[2::3], got[3::3])
        return PropertizedString(got[0], intervals)

    def _record(self, got: list[Any]) -> Any:
        if not got or got[0] != values.Symbol("hash-table"):
            return Record(got)
        about = {str(_name(key)): value for key, value in zip(got[1::2], got[2::2])}
        data = about.get("data") or []
        if type(data) is not list or len(data) % 2:
            raise MalformedValue("expected keys and values in a hash table")
        table = HashTable(zip(data[::2], data[1::2]), str(_name(about.get("test", "eql"))))
        if self._tables:
            try:
                return table.to_dict()
            except TypeError:
                pass
        return table


def _long_text(text: str, start: int) -> tuple[str, int]:
    """Returns the text that begins at a place behind its first quote, and the place behind it."""
    end = text.find('"', start)
    if end >= 0 and text.find("\\", start, end) < 0:
        return text[start:end], end + 1
    match = _REST.match(text, start)
    if match is None:
        raise MalformedValue("the text ends inside a value")
    return unescaped(match[1]), match.end()


_REST: Final = re.compile(r'([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPED_CHARACTER: Final = re.compile(r"\\(.)", re.DOTALL)
_PREFIXES: Final[dict[str, Callable[[Any], Any]]] = {
    "'": values.Quoted,
    "#'": FunctionQuoted,
    "`": Backquote,
    ",": Comma,
    ",@": CommaAt,
    "#:": lambda symbol: symbol,
    "#_": lambda symbol: symbol,
}


def _name(symbol: Any) -> Any:
    return symbol.value() if hasattr(symbol, "value") else symbol


def _dotted(items: list[Any]) -> Any:
    """Returns the list or pair that is written with a dot."""
    if len(items) < 3 or items[-2] is not _DOT or sum(1 for one in items if one is _DOT) != 1:
        raise MalformedValue("expected a dot before the last of at least two values")
    end = items[-1]
    if type(end) is list:
        return items[:-2] + end
    if type(end) is Dotted:
        return Dotted(items[:-2] + end)
    return Dotted([*items[:-2], values.Symbol("."), end])


def _number(word: str) -> Any:
    """Returns the number that a word stands for, or None."""
    sign = word[0] in "+-"
    digits = word[sign:]
    if digits.isascii():
        if digits.isdigit():
            return _long_integer(word.lstrip("+"))
        if digits[:-1].isdigit() and digits[-1] == ".":
            return _long_integer(word[:-1].lstrip("+"))
    if _FLOAT.match(word):
        return float(word)
    special = _SPECIAL_FLOAT.match(word)
    if special:
        return float(special[1] + special[2].lower())
    return None


def _long_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise MalformedValue(f"integer of {len(digits)} digits, limit is {MAX_DIGITS}")
    return int(digits) if len(digits) < 4000 else from_decimal(digits)


def _radix(token: str) -> int:
    """Returns an integer that is written in another base: ``#x1F``, ``#24r1k``."""
    letter = token[1].lower()
    base, digits = {"x": 16, "o": 8, "b": 2}.get(letter, 0), token[2:]
    if not base:
        number, _, digits = token[1:].partition("r")
        base = int(number)
    try:
        return int(digits, base)
    except ValueError:
        raise MalformedValue(f"expected an integer of base {base}, got {token[:40]!r}") from None


def _integers(digits: str) -> list[int]:
    """Returns integers that are separated by spaces."""
    words = digits.split(" ")
    if len(digits) < 4000 or max(map(len, words)) < 4000:
        return [int(word) for word in words]
    return [_long_integer(word) for word in words]


def _bool_vector(size: int, packed: Any) -> BoolVector:
    if type(packed) is not str or size > 8 * len(packed):
        raise MalformedValue("expected the bits of a bool-vector as a text")
    codes = [ord(char) & 0xFF for char in packed]
    return BoolVector(bool(codes[bit // 8] >> (bit % 8) & 1) for bit in range(size))
