"""Whether byte code is of the kind that this Python makes.

Code of another version must not even become a code object: Python writes into the places that its
own instructions keep free, and would write elsewhere. What is checked here tells the versions
apart; it is no protection against code that somebody has made up.
"""

from __future__ import annotations

import dis
import opcode
import sys
from collections.abc import Iterator

__all__ = ["is_ours"]

_UNIT = 2 if sys.version_info >= (3, 10) else 1
_NAME_SHIFTS = {
    "LOAD_GLOBAL": 1 if sys.version_info >= (3, 11) else 0,
    "LOAD_ATTR": 1 if sys.version_info >= (3, 12) else 0,
    "LOAD_SUPER_ATTR": 2,
}
"""Names of instructions whose argument is not just the number of a name."""


def is_ours(raw: bytes, lines: bytes, constants: int, names: int) -> bool:
    """Returns whether byte code may be given to this Python.

    Its instructions must be known, name what there is, and be laid out as here.

    Args:
        raw: the instructions.
        lines: the table of line numbers.
        constants, names: how many of them there are.
    """
    resumes = sys.version_info < (3, 11)
    try:
        for name, number, argument, after in _instructions(raw):
            resumes = resumes or name == "RESUME"
            if number in dis.hasconst and argument >= constants:
                return False
            if number in dis.hasname and argument >> _NAME_SHIFTS.get(name, 0) >= names:
                return False
            if not 0 <= _target(name, number, argument, after) <= len(raw):
                return False
    except ValueError:
        return False
    return resumes and _lines_fit(lines, len(raw))


def _instructions(raw: bytes) -> Iterator[tuple[str, int, int, int]]:
    """Yields name, number and argument of instructions, and where the next one starts.

    Raises:
        ValueError: there is something that this Python does not make.
    """
    position = extended = 0
    while position < len(raw):
        number, argument = raw[position], raw[position + 1 : position + 2]
        name = dis.opname[number]
        kept = 2 * _places_kept(name, number)
        empty = raw[position + 2 : position + 2 + kept]
        if not argument or name.startswith("<") or name == "CACHE":
            raise ValueError(f"unknown instruction {number}")
        if len(empty) < kept or any(empty):
            raise ValueError(f"{name} is followed by something else than here")
        position += 2 + kept
        value = extended | argument[0]
        extended = value << 8 if name == "EXTENDED_ARG" else 0
        yield name, number, value, position


def _places_kept(name: str, number: int) -> int:
    """Returns how many places this Python keeps free behind an instruction."""
    known = getattr(opcode, "_inline_cache_entries", None)
    if known is None:
        return 0
    return int(known.get(name, 0) if isinstance(known, dict) else known[number])


def _target(name: str, number: int, argument: int, after: int) -> int:
    """Returns where an instruction jumps to, or where the next one is."""
    if number in dis.hasjabs:
        return _UNIT * argument
    if number in dis.hasjrel:
        return after - _UNIT * argument if "BACKWARD" in name else after + _UNIT * argument
    return after


def _lines_fit(lines: bytes, size: int) -> bool:
    """Returns whether a table of line numbers is of this Python's kind, where that shows."""
    covered = sum(lines[::2])
    if sys.version_info >= (3, 11):
        return True
    return covered == size if sys.version_info >= (3, 10) else covered < size
