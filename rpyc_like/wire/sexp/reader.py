"""Reads what Emacs prints.

One regular expression finds tokens, an explicit stack builds values: depth costs memory and no
recursion. Syntax: the Emacs Lisp reference manual, chapters "Printed Representation" and "Lisp Data
Types"; sections on each type.

What a text may take in memory is limited (:func:`rpyc_like.wire.meter.message_memory`). Each value
has a price, which is spent before the value is made; the compiled half has the same prices. A value
that a label repeats costs as much each time as a copy would.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, Optional

from ...errors import LimitExceeded, MalformedValue
from ...lib.big_ints import from_decimal
from ...lib.brief import brief
from ...lib.native import sexp
from ..meter import Budget, message_memory
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

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "ExpressionLimitExceeded", "Reader", "Unreadable"]

MAX_DEPTH: Final = 1_000_000
MAX_DIGITS: Final = 100_000
"""Default limit of decimal digits of an integer, whatever its base."""

# Prices in bytes of memory, as CPython 3.11 allocates, rounded up to 16.
_PLACE: Final = 9  # in a list, which grows by an eighth
_NUMBER: Final = 32 + _PLACE
_TEXT: Final = 80 + _PLACE  # and a byte for each character, four if one of them is not ASCII
_LIST: Final = 96
_VECTOR: Final = 160
_PREFIXED: Final = 80
_SPECIAL: Final = 128
# What incomplete values take beside, which is given back when they are complete. More for those
# that take time, because depth costs more time than length.
_INCOMPLETE: Final = 176
_INCOMPLETE_PREFIX: Final = 560
_INCOMPLETE_SPECIAL: Final = 1200
_SYMBOL: Final = 320  # a new one; and eight bytes for each character
_PAIR: Final = 176  # of a dict or a hash table
_SPEND: Final = 1 << 14  # bytes that are spent at once

_END = r"""(?=[\x00-\x20\xa0"';()\[\]#`,]|$)"""
_INTEGERS, _DECIMAL, _WORD, _STRING, _OPEN, _CLOSE = range(1, 7)
_ESCAPED, _PREFIX, _HASH, _CHARACTER, _LONG, _OTHER = range(7, 13)
_TOKEN: Final = re.compile(
    r"[\x00-\x20\xa0]*(?:"
    rf"(-?[0-9]+(?: -?[0-9]+){{0,1000}}){_END}"  # each repetition of a group takes memory
    rf"|(-?[0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?){_END}"
    rf"""|([^\x00-\x20\xa0"';()\[\]#`,?\\][^\x00-\x20\xa0"';()\[\]#`,\\]*){_END}"""
    r"""|"([^"\\]{0,300}(?:\\.[^"\\]{0,300}){0,10})\""""
    r"|([(\[])"
    r"|([)\]])"
    r"""|((?:[^\x00-\x20\xa0"';()\[\]#`,?\\]|\\.)(?:[^\x00-\x20\xa0"';()\[\]#`,\\]|\\.){0,1000})"""
    r"|('|`|,@|,)"
    r"""|(\#(?:s?\(|\^?\^?\[|&[0-9]+|'|\#|:|_|[0-9]+[=\#]|[xXbBoO][-+]?[0-9a-zA-Z]+"""
    r"""|[0-9]+r[-+]?[0-9a-zA-Z]+|<))"""
    r"""|(\?(?:\\(?:\^.|[0-7]{1,3}|x[0-9a-fA-F]+|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]{0,200}\}"""
    r"""|(?:[CMSHAs]-\\?){1,8}.|.)|[^\\]))"""
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
_MEMO_LENGTH: Final = 100  # characters of a word that is kept: a peer may have made it up
_ALIST_LEVELS: Final = 100
_USUAL_DEPTH: Final = 200  # what the compiled half does without asking for the limits
_USUAL_DIGITS: Final = 18
_SHORT: Final = 4000  # digits up to which Python converts at once, in quadratic time


class ExpressionLimitExceeded(LimitExceeded, MalformedValue):
    """An s-expression is larger than allowed."""


class Unreadable(MalformedValue):
    """Emacs printed something that it cannot read back either: ``#<buffer x>``."""


class _Dot:
    """Stands for the dot of a pair until its list is complete."""


_DOT: Final = _Dot()


_Opened = tuple[Optional[str], Callable[[list[Any]], Any]]  # noqa: UP045 -- evaluated on Python 3.9
"""What ends the value of a prefix (None) or of a special bracket, and what is made of it."""


class Reader:
    """Reads Emacs Lisp values.

    Args:
        nil: makes the value of ``nil``; a new list by default.
        properties: whether texts with properties keep them (:class:`.PropertizedString`).
        tables: whether hash tables become dicts where their keys allow.
        plists: whether property lists become dicts; see :func:`.plist_to_dict`.
        alists: whether association lists become dicts; see :func:`.alist_to_dict`.
        max_depth: of nesting.
        max_digits: decimal digits of an integer.
        max_memory: how many bytes of memory the values may become; without it 64 MiB, and 32 for
            each byte of the text.
    """

    def __init__(
        self,
        nil: Callable[[], Any] = list,
        properties: bool = False,
        tables: bool = False,
        plists: bool = False,
        alists: bool = False,
        max_depth: int = MAX_DEPTH,
        max_digits: int = MAX_DIGITS,
        max_memory: int | None = None,
    ) -> None:
        self._nil = nil
        self._properties = properties
        self._tables = tables
        self._dicts = [plist_to_dict] * plists + [alist_to_dict] * alists
        self._max_depth = max_depth
        self._max_digits = max_digits
        self._short = min(_SHORT, max_digits + 1)
        self.max_memory = max_memory
        self._words: dict[str, Any] = {"t": True}

    def read(self, text: str, plain: int = 0) -> Any:
        """Returns the one value in ``text``.

        Args:
            plain: of how many levels the lists stay lists: those of a message.

        Raises:
            Unreadable: it holds something that has no readable form.
            ExpressionLimitExceeded: it is larger than allowed.
            MalformedValue: there is none, more than one, or a broken one.
        """
        values = self.read_all(text, plain)
        if len(values) != 1:
            raise MalformedValue(f"expected one value, got {len(values)}")
        return values[0]

    def read_all(self, text: str, plain: int = 0) -> list[Any]:
        """Returns all values in ``text``; see :meth:`read`."""
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        budget = _Budget(message_memory(size, self.max_memory))
        usual = self._max_depth >= _USUAL_DEPTH and self._max_digits >= _USUAL_DIGITS
        if sexp is not None and not self._dicts and usual:
            found: Any = sexp.read_all(
                text, self._nil, self._words, self._word, values.Brackets, budget.limit
            )
            if type(found) is int:
                budget.spend(budget.limit - found)
            if found is not None:
                return found  # type: ignore[no-any-return]
        items: list[Any] = []
        append = items.append
        closer: str | None = ""  # what ends the list that is read; None for a prefix
        finish: Callable[[list[Any]], Any] | None = None
        held = 0  # bytes that are given back when it is complete
        stack: list[tuple[list[Any], str | None, Callable[[list[Any]], Any] | None, int]] = []
        labels: dict[str, tuple[Any, int]] = {}
        dots = False  # whether there is a dot anywhere
        words, dicts = self._words, self._dicts
        spent = 0  # and not yet taken from the budget
        position: int | None = 0
        while position is not None:
            start = position
            for match in _TOKEN.finditer(text, position):
                kind = match.lastindex
                spent += _PLACE
                if spent > _SPEND:
                    budget.spend(spent)
                    spent = 0
                if kind == _WORD:
                    value = words.get(match[_WORD])
                    if value is None:
                        word = match[_WORD]
                        budget.spend(_LIST if len(word) < 4 else _SYMBOL + 8 * len(word))
                        value = self._word(word)
                        dots = dots or value is _DOT
                elif kind == _STRING:
                    value = match[_STRING]
                    spent += _TEXT + (len(value) if value.isascii() else 4 * len(value))
                    if "\\" in value:
                        value = unescaped(value)
                elif kind == _INTEGERS:
                    digits = match[_INTEGERS]
                    spent += _NUMBER + len(digits) // 2
                    if " " in digits:
                        if closer is not None:
                            some = self._integers(digits)
                            spent += _NUMBER * len(some)
                            items += some
                            continue
                        digits = digits.partition(" ")[0]  # a prefix is for the first alone
                        position = match.start(_INTEGERS) + len(digits)
                    value = int(digits) if len(digits) < self._short else self._long_integer(digits)
                elif kind == _OPEN:
                    stack.append((items, closer, finish, held))
                    if len(stack) > self._max_depth:
                        raise MalformedValue(f"nested deeper than {self._max_depth}")
                    held = _INCOMPLETE
                    spent += held
                    if match[_OPEN] == "(":
                        closer, finish = ")", None
                        spent += _LIST
                    else:
                        closer, finish = "]", values.Brackets
                        spent += _VECTOR
                    items = []
                    append = items.append
                    continue
                elif kind == _CLOSE:
                    if closer != match[_CLOSE]:
                        raise MalformedValue(f"unexpected {match[_CLOSE]!r} at {match.end() - 1}")
                    value = items
                    spent -= held
                    if dots and any(item is _DOT for item in value):
                        if isinstance(value[-1], list):
                            budget.spend(_PLACE * len(value[-1]))  # it is copied
                        value = _dotted(value)
                    if finish is not None:
                        spent += _PLACE * len(value)
                        value = finish(value)
                    elif not value:
                        value = self._nil()
                    elif dicts and len(stack) > plain:
                        value = self._converted(value)
                        if type(value) is dict:
                            budget.spend(_PAIR * len(value))
                    items, closer, finish, held = stack.pop()
                    append = items.append
                elif kind == _LONG:
                    end = _end_of_text(text, match.end())
                    value = text[match.end() : end]
                    budget.spend(_TEXT + (len(value) if value.isascii() else 4 * len(value)))
                    if "\\" in value:
                        value = unescaped(value)
                    position = end + 1
                elif kind == _DECIMAL:
                    spent += _NUMBER
                    value = float(match[_DECIMAL])
                elif kind == _ESCAPED:
                    end = _end_of_symbol(text, match.end())
                    if end != match.end():
                        position = end
                    name = text[match.start(_ESCAPED) : end]
                    budget.spend(_SYMBOL + 8 * len(name))
                    value = values.Symbol(_ESCAPED_CHARACTER.sub(r"\1", name))
                elif kind == _CHARACTER:
                    spent += _NUMBER
                    value = character(match[_CHARACTER][1:])
                elif kind is None:
                    continue
                elif kind == _OTHER:
                    raise MalformedValue(f"unexpected {match[_OTHER]!r} at {match.end() - 1}")
                else:
                    token = match[kind]
                    begun = _PREFIXES.get(token)
                    if begun is not None:
                        price, given_back = _PREFIXED, _INCOMPLETE_PREFIX
                        opened: tuple[str | None, Callable[[list[Any]], Any]] | None = (None, begun)
                    else:
                        price, given_back = _SPECIAL, _INCOMPLETE_SPECIAL
                        budget.spend(spent)
                        spent = 0
                        value, opened = self._prefixed(token, labels, budget)
                    if opened is not None:
                        stack.append((items, closer, finish, held))
                        if len(stack) > self._max_depth:
                            raise MalformedValue(f"nested deeper than {self._max_depth}")
                        closer, finish = opened
                        held = given_back
                        spent += price + held
                        items = []
                        append = items.append
                        continue
                append(value)
                while closer is None:  # a prefix has got its value
                    assert finish is not None
                    if value is _DOT:
                        raise MalformedValue("unexpected dot")
                    budget.spend(spent - held)
                    spent = 0
                    value = finish(items)
                    items, closer, finish, held = stack.pop()
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

    def _converted(self, items: list[Any], level: int = 0) -> Any:
        """Returns a dict instead of a list, if that is wished and possible."""
        if level > _ALIST_LEVELS:
            raise MalformedValue(f"association lists nested deeper than {_ALIST_LEVELS}")
        for convert in self._dicts:
            found = convert(items, lambda rest: self._converted(rest, level + 1), self._nil)
            if found is not None:
                return found
        return items

    def _word(self, word: str) -> Any:
        """Returns what a word without escapes means."""
        if word == "nil":
            return self._nil()
        if word == "t":
            return True
        if word == ".":
            return _DOT
        first = word[0]
        if first in "0123456789+-.":
            number = self._number(word)
            if number is not None:
                return number
        symbol = values.Symbol(word)
        if len(word) <= _MEMO_LENGTH:
            if len(self._words) > _MEMO_SIZE:
                self._words = {"t": True}
            self._words[word] = symbol
        return symbol

    def _number(self, word: str) -> Any:
        """Returns the number that a word stands for, or None."""
        sign = word[0] in "+-"
        digits = word[sign:]
        if digits.isascii():
            if digits.isdigit():
                return self._long_integer(word.lstrip("+"))
            if digits[:-1].isdigit() and digits[-1] == ".":
                return self._long_integer(word[:-1].lstrip("+"))
        if _FLOAT.match(word):
            return float(word)
        special = _SPECIAL_FLOAT.match(word)
        if special:
            return float(special[1] + special[2].lower())
        return None

    def _check_digits(self, count: int) -> None:
        if count > self._max_digits:
            what = "digits of an integer"
            raise ExpressionLimitExceeded(what, count, self._max_digits, "max_digits")

    def _long_integer(self, digits: str) -> int:
        self._check_digits(len(digits))
        return int(digits) if len(digits) < _SHORT else from_decimal(digits)

    def _integers(self, digits: str) -> list[int]:
        """Returns integers that are separated by spaces."""
        words = digits.split(" ")
        if len(digits) < self._short or max(map(len, words)) < self._short:
            return [int(word) for word in words]
        return [self._long_integer(word) for word in words]

    def _radix(self, token: str) -> int:
        """Returns an integer that is written in another base: ``#x1F``, ``#24r1k``."""
        letter = token[1].lower()
        base, digits = {"x": 16, "o": 8, "b": 2}.get(letter, 0), token[2:]
        try:
            if not base:
                number, _, digits = token[1:].partition("r")
                base = int(number)
            self._check_digits(int(len(digits) * math.log10(max(base, 2))))
            if len(digits) < _SHORT:
                return int(digits, base)
            return _from_base(digits.lower(), base)
        except ExpressionLimitExceeded:
            raise
        except ValueError:
            what = f"expected an integer of base {base}, got {token[:40]!r}"
            raise MalformedValue(what) from None

    def _prefixed(
        self, token: str, labels: dict[str, tuple[Any, int]], budget: Budget
    ) -> tuple[Any, _Opened | None]:
        """Returns the value of a token, or what it begins."""
        if token in ("#(", "#s(", "#[", "#^[", "#^^["):
            makers: dict[str, Callable[[list[Any]], Any]] = {
                "#(": lambda got: self._propertized(got, budget),
                "#s(": lambda got: self._record(got, budget),
                "#[": ByteCode,
                "#^[": CharTable,
                "#^^[": lambda got: CharTable(got, True),
            }
            return None, (")" if token.endswith("(") else "]", makers[token])
        if token == "##":
            return values.Symbol(""), None
        if token == "#<":
            raise Unreadable("an object without a readable form (#<...>)")
        if token[1] == "&":
            self._check_digits(len(token) - 2)
            size = from_decimal(token[2:])
            return None, (None, lambda got: _bool_vector(size, got[0], budget))
        if token[-1] == "=":
            label, before = token[1:-1], budget.left

            def define(got: list[Any]) -> Any:
                labels[label] = (got[0], before - budget.left)
                return got[0]

            return None, (None, define)
        if token[-1] == "#":
            if token[1:-1] not in labels:
                shown = brief(token)
                raise MalformedValue(f"expected the label of a complete value, got {shown}")
            value, price = labels[token[1:-1]]
            budget.spend(price)
            return value, None
        return self._radix(token), None

    def _propertized(self, got: list[Any], budget: Budget) -> Any:
        if not got or type(got[0]) is not str or len(got) % 3 != 1:
            raise MalformedValue("expected a text and triples of start, end and properties")
        if not self._properties:
            return got[0]
        budget.spend(512 + 4 * len(got[0]) + 40 * len(got))
        intervals = zip(got[1::3], got[2::3], got[3::3])
        return PropertizedString(got[0], intervals)

    def _record(self, got: list[Any], budget: Budget) -> Any:
        if not got or got[0] != values.Symbol("hash-table"):
            return Record(got)
        pairs = zip(got[1::2], got[2::2])
        about = {_name(key): value for key, value in pairs if isinstance(key, values.Symbol)}
        data = about.get("data") or []
        test = _name(about.get("test", "eql"))
        if type(data) is not list or len(data) % 2 or type(test) is not str:
            raise MalformedValue("expected keys and values in a hash table")
        budget.spend(_PAIR * len(data) // 2)
        table = HashTable(zip(data[::2], data[1::2]), test)
        if self._tables:
            try:
                return table.to_dict()
            except TypeError:
                pass
        return table


class _Budget(Budget):
    """Memory for the values of one text."""

    __slots__ = ()

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            got = self.limit - self.left
            what = "memory for an s-expression in bytes"
            raise ExpressionLimitExceeded(what, got, self.limit, self.key)


def _end_of_text(text: str, start: int) -> int:
    """Return where the quote is that ends a text, which begins behind its first quote."""
    end = text.find('"', start)
    if end >= 0 and text.find("\\", start, end) < 0:
        return end
    while True:
        match = _REST.match(text, start)
        end = start if match is None else match.end()
        if text[end : end + 1] == '"':
            return end
        if end == start or end == len(text):
            raise MalformedValue("the text ends inside a value")
        start = end


def _end_of_symbol(text: str, end: int) -> int:
    """Return where a symbol ends that has an escape, and has been read up to ``end``."""
    while True:
        match = _MORE.match(text, end)
        if match is None:
            return end
        end = match.end()


# In pieces, because each repetition of a group takes memory.
_REST: Final = re.compile(r'[^"\\]*(?:\\.[^"\\]*){0,1000}', re.DOTALL)
_MORE: Final = re.compile(
    r"""(?:[^\x00-\x20\xa0"';()\[\]#`,\\]|\\.){1,1000}""",
    re.DOTALL,
)
_ESCAPED_CHARACTER: Final = re.compile(r"\\(.)", re.DOTALL)
_PREFIXES: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "'": lambda got: values.Quoted(got[0]),
    "#'": lambda got: FunctionQuoted(got[0]),
    "`": lambda got: Backquote(got[0]),
    ",": lambda got: Comma(got[0]),
    ",@": lambda got: CommaAt(got[0]),
    "#:": lambda got: got[0],
    "#_": lambda got: got[0],
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


def _from_base(digits: str, base: int) -> int:
    """Return an integer of many digits, in less than quadratic time."""
    if len(digits) < _SHORT or base & (base - 1) == 0:
        return int(digits, base)
    if digits[0] in "+-":
        return int(digits[0] + "1") * _from_base(digits[1:], base)
    low = len(digits) // 2
    return _from_base(digits[:-low], base) * int(base**low) + _from_base(digits[-low:], base)


def _bool_vector(size: int, packed: Any, budget: Budget) -> BoolVector:
    if type(packed) is not str or size > 8 * len(packed):
        raise MalformedValue("expected the bits of a bool-vector as a text")
    budget.spend(_PLACE * (size + len(packed)))
    codes = [ord(char) & 0xFF for char in packed]
    return BoolVector(bool(codes[bit // 8] >> (bit % 8) & 1) for bit in range(size))
