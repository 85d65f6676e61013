"""What a backslash means in texts and characters that Emacs prints.

Syntax: the Emacs Lisp reference manual, "Character Type" and "String Type".
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from ...errors import MalformedValue
from ...lib.brief import brief

__all__ = ["character", "unescaped"]

_ESCAPE: Final = re.compile(
    r"\\(?:(\n| )|([0-7]{1,3})|x([0-9a-fA-F]+)(?:\\ )?|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    r"|N\{([^}]{0,200})\}|\^(.)|C-(.)|M-(.)|(.))",
    re.DOTALL,
)
_SIMPLE: Final = (
    ('\\"', '"'),
    ("\\n", "\n"),
    ("\\t", "\t"),
    ("\\r", "\r"),
    ("\\f", "\f"),
    ("\\b", "\b"),
    ("\\e", "\x1b"),
)
_LETTERS: Final = {
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    "s": " ",
    "d": "\x7f",
}
_MODIFIERS: Final = {
    "A": 1 << 22,
    "s": 1 << 23,
    "H": 1 << 24,
    "S": 1 << 25,
    "C": 1 << 26,
    "M": 1 << 27,
}


def unescaped(text: str) -> str:
    """Returns a text whose escapes have been replaced."""
    if "\0" not in text:
        return _simply_unescaped(text.replace("\\\\", "\0")).replace("\0", "\\")
    return "\\".join(map(_simply_unescaped, text.split("\\\\")))


def _simply_unescaped(text: str) -> str:
    """Does the same for a text in which no backslash is escaped."""
    for written, meant in _SIMPLE:
        text = text.replace(written, meant)
    return _ESCAPE.sub(_escape, text) if "\\" in text else text


def _escape(match: re.Match[str]) -> str:
    """Returns what an escape in a text means."""
    ignored, octal, hexa, four, eight, name, control, control2, meta, letter = match.groups()
    if ignored is not None:
        return ""
    if octal is not None:
        return _byte_or_character(int(octal, 8))
    if hexa is not None:
        return _byte_or_character(int(hexa, 16))
    if four is not None or eight is not None:
        return _chr(int(four or eight, 16))
    if name is not None:
        return chr(_named(name))
    if control is not None or control2 is not None:
        found = control or control2
        return "\x7f" if found == "?" else chr(ord(found.upper()) & 0x1F)
    if meta is not None:
        return _byte_or_character(0x80 | (ord(meta) & 0x7F))
    return _LETTERS.get(letter, letter)


def _byte_or_character(code: int) -> str:
    """Returns an ASCII character, a byte as Python's file names have it, or a character."""
    return chr(0xDC00 + code) if 0x80 <= code <= 0xFF else _chr(code)


def _chr(code: int) -> str:
    if 0x3FFF80 <= code <= 0x3FFFFF:  # how Emacs numbers raw bytes
        return chr(0xDC00 + (code & 0xFF))
    if code > 0x10FFFF:
        raise MalformedValue(f"character {brief(code)} is not one of Unicode's")
    return chr(code)


def _named(name: str) -> int:
    try:
        if name.startswith("U+"):
            return ord(chr(int(name[2:], 16)))
        return ord(unicodedata.lookup(name))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MalformedValue(f"unknown character name {name!r:.80}") from None


def character(text: str) -> int:
    """Returns the number of a character that is written with a question mark."""
    if text[0] != "\\":
        return ord(text)
    modifiers = 0
    text = text[1:]
    while len(text) > 2 and text[1] == "-" and text[0] in _MODIFIERS:
        modifiers |= _MODIFIERS[text[0]]
        text = text[2:].removeprefix("\\")
    if text in ("\n", " ") and not modifiers:
        return ord(text)
    if modifiers and len(text) == 1:
        code = ord(text)
    else:
        made = _ESCAPE.sub(_escape, "\\" + text)
        code = ord(made) if made else 0
        code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    if modifiers & _MODIFIERS["C"] and (chr(code).isalpha() or chr(code) in "@[\\]^_?"):
        modifiers &= ~_MODIFIERS["C"]
        code = 0x7F if chr(code) == "?" else ord(chr(code).upper()) & 0x1F
    return modifiers | code
