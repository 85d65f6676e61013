"""How large the result of a function of the standard library gets, from what it is called with.

A number of the peer's says how large: ``text * n``, ``format(1, "1000000000")``, ``10**n``. So the
size is estimated before the function runs. Functions of the program are its own business.
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from array import array
from collections import UserList, UserString, deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Context, Decimal, getcontext
from fractions import Fraction
from io import BufferedRandom, BufferedWriter, BytesIO, StringIO, TextIOWrapper
from itertools import count, islice
from operator import index
from string import Formatter
from types import FunctionType, ModuleType
from typing import Any, Final

from ...errors import LimitExceeded
from ..proxies import is_proxy
from ..stand_ins import module_of, mro_of
from .stdlib import (
    ABSENT,
    ALWAYS,
    FORMATTING,
    FUNCTION,
    LIBRARY,
    METHOD,
    PROGRAM,
    Call,
    facts_of,
    find,
    full_name,
    instance_dict,
    members,
    parameters_of,
)

__all__ = ["OF_ITEMS", "check_call_result", "check_number", "check_result"]

_TEXTS: Final = (str, bytes, bytearray)
_SEQUENCES: Final = (*_TEXTS, list, tuple, deque, array, UserList, UserString)
_MUTABLE: Final = (bytearray, list, deque, array, UserList, UserString)
_PLACE: Final = 8
_NUMBER: Final = 40  # a whole number, with its place
_WORK: Final = 64  # a big number takes that much longer to compute than a text of its size
_HUGE: Final = 1 << 60

Args = list[Any]
Named = dict[str, Any]
Estimate = Callable[[Any, Args, Named], float]


def check_result(
    func: Any, args: Args, named: Iterable[tuple[str, Any]], limit: int, key: str = "max_memory"
) -> None:
    """Raise LimitExceeded if calling a function would make something too large.

    Args:
        args: of the call; objects that stand for numbers are replaced by these.
        limit: bytes.
        key: the configuration key that changes ``limit``.
    """
    call = Call(func, args)
    check_call_result(call, named, limit, key)
    args[:] = call.given[call.before :]


def check_call_result(
    call: Call, named: Iterable[tuple[str, Any]], limit: int, key: str = "max_memory"
) -> list[tuple[str, Any]]:
    """Raise LimitExceeded if a call would make something too large; see :func:`check_result`.

    Returns:
        The named arguments, in which numbers replace what stands for one. So they do in
        ``call.given``.
    """
    plain = list(named)
    if call.sort is not PROGRAM:
        plain = [(name, _plain(one) if _is_number(call, name) else one) for name, one in plain]
    pairs = {**call.keywords, **{name: value for name, value in plain if type(name) is str}}
    placed = len(call.given) - call.skip
    given = call.bind(pairs)
    size = max(_number_work(call, [*call.given[: call.skip], *given], pairs), 0)
    size = max(size, _estimated(call, given, pairs))
    call.given[call.skip :] = given[:placed]
    if size > limit and type(size) is _AtMost:
        size = size.count()
    if size > limit:
        got = int(min(size, _HUGE))
        raise LimitExceeded("size of the result in bytes", got, limit, key)
    return [(name, pairs.get(name, one)) for name, one in plain]


def _estimated(call: Call, given: Args, named: Named) -> float:
    """Return what is estimated for a function; in ``given`` numbers replace what stands for one."""
    func, estimate = call.func, None
    if call.sort is PROGRAM:
        return 0
    if type(func) is FunctionType:
        return _of_python(func, call.given[: call.skip], given, named)
    if call.sort is METHOD:
        if call.name == "__call__":
            return 0
        return max(
            _of_method(call.owner, call.name, given, named), _of_parameters(func, given, named)
        )
    if call.sort is FUNCTION:
        estimate = _FUNCTIONS.get(f"{call.module}.{call.name}".lstrip("_"))
    elif issubclass(type(func), type):
        estimate = _CLASSES.get(full_name(func))
        init = find(ABSENT, "__init__", func)
        if estimate is None and type(init) is FunctionType and LIBRARY[init.__module__]:
            return _of_python(init, [None], given, named)
    size = _of_parameters(func, given, named)
    return size if estimate is None else max(size, estimate(None, given, named))


def _of_python(func: Any, before: Args, given: Args, named: Named) -> float:
    args = [*before, *given]
    size = _of_library(func, args, named)
    given[:] = args[len(before) :]
    return size


def _of_parameters(func: Any, given: Args, named: Named) -> float:
    """Of a function in C: what its parameters are called says whether they are sizes."""
    sizes = [_SIZED_IN_C.get(name, 0) * _named(named, name) for name in named]
    if any(map(_may_be_large, given)):
        for place, name in enumerate(parameters_of(func)[: len(given)]):
            if name in _SIZED_IN_C:
                sizes.append(_SIZED_IN_C[name] * _number(given, place))
    return max(sizes, default=0)


def _may_be_large(value: Any) -> bool:
    return value > _FEW if type(value) is int else hasattr(type(value), "__index__")


_FEW: Final = 1000
_SIZED_IN_C: Final = {"length": 2, "nbytes": 2, "bufsize": 1, "repeat": _PLACE}


def _of_method(owner: Any, name: str, given: Args, named: Named) -> float:
    for kinds, estimates in _METHODS:
        if issubclass(type(owner), kinds) and name in estimates:
            return estimates[name](owner, given, named)
    if name in _READING:
        for base in mro_of(type(owner)):
            if full_name(base) in _INFLATING:
                return _INFLATING[full_name(base)](owner, given, named)
    return 0


# -- what is given


def _number(args: Args, place: int, default: int = 0) -> int:
    """Return a whole number among the arguments; a proxy is asked once, and replaced by it."""
    if place >= len(args):
        return default
    value = args[place] = _plain(args[place])
    return value if type(value) is int else 0


def _plain(value: Any) -> Any:
    """Return the number that a proxy stands for, asked once; any other value as it is."""
    return index(value) if type(value) is not int and hasattr(type(value), "__index__") else value


def _is_number(call: Call, name: Any) -> bool:
    """Return whether a parameter is one whose argument is a number, as its name says."""
    if name not in _NUMBERS or call.stores or call.name in FORMATTING:
        return False
    if type(call.func) is not FunctionType:
        return True
    code = call.func.__code__
    return name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


_NUMBERS: Final = frozenset(
    "b base bufsize c count denominator depth dklen exp h indent iterations k l length m "
    "max_length maxsplit mod n nbytes ndigits number numerator p prec r repeat size source "
    "tabsize w width wbits".split()
)
"""Names of parameters whose arguments are numbers, or texts and sequences."""


def _named(named: Named, name: str) -> int:
    value = named.get(name, 0)
    return value if type(value) is int else 0


def _size(value: Any) -> int:
    """Return how many bytes a sequence or text takes; 0 for anything else."""
    kind = type(value)
    if kind is range:
        return _NUMBER * len(value[:_HUGE])
    if issubclass(kind, (UserList, UserString)):
        value = vars(value).get("data")
        kind = type(value)
    if issubclass(kind, str):
        return str.__len__(value) * (1 if str.isascii(value) else 4)
    if issubclass(kind, (bytes, bytearray)):
        return len(value)
    if issubclass(kind, array):
        return len(value) * int(value.itemsize)
    return _PLACE * len(value) if issubclass(kind, (list, tuple, deque)) else 0


def _digits(text: str) -> int:
    return int(text) if len(text) < 19 else _HUGE


# -- texts and sequences


def _repeated(owner: Any, args: Args, named: Named) -> float:
    return _size(owner) * _number(args, 0)


def _added(owner: Any, args: Args, named: Named) -> float:
    return _size(owner) + _extended(owner, args, named)


def _extended(owner: Any, args: Args, named: Named) -> float:
    """Of what is put into a container: plain values have come by themselves, and have a limit."""
    return max([_size(one) for one in args if issubclass(type(one), _MUTABLE)], default=0)


def _padded(owner: Any, args: Args, named: Named) -> float:
    fill = args[1] if len(args) > 1 else ""
    wide = not all(one.isascii() for one in (owner, fill) if issubclass(type(one), str))
    return _number(args, 0) * (4 if wide else 1)


def _expanded(owner: Any, args: Args, named: Named) -> float:
    tab = "\t" if issubclass(type(owner), str) else b"\t"
    return _size(owner) + int(owner.count(tab)) * max(_number(args, 0), _named(named, "tabsize"))


def _replaced(owner: Any, args: Args, named: Named) -> float:
    if len(args) < 2 or not all(issubclass(type(one), _TEXTS) for one in args[:2]):
        return 0
    try:
        count = int(owner.count(args[0]))
    except TypeError:
        return 0
    most = _number(args, 2, -1)
    most = _named(named, "count") if "count" in named else most
    count = count if most < 0 else min(count, most)
    return _size(owner) + count * _size(args[1])


def _joined(owner: Any, args: Args, named: Named) -> float:
    items: Any = args[0] if args else named.get("seq", ())
    if not issubclass(type(items), (list, tuple, set, frozenset, dict, str)):
        items = members(items)
    return len(items) * _size(owner) + sum(map(_size, items))


def _translated(owner: Any, args: Args, named: Named) -> float:
    table: Any = args[0] if args else None
    values: Iterable[Any] = members(table) if issubclass(type(table), (list, tuple)) else ()
    if issubclass(type(table), dict):
        values = dict.values(table)
    return len(owner) * max(map(_size, values), default=1)


_PERCENT: Final = re.compile(
    r"[-#0 +]*(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?([diu])?",
    re.ASCII,
)
_PARENTHESES: Final = re.compile("[()]")
_WIDTHS: Final = re.compile(r"\d+")


def _percent(owner: Any, args: Args, named: Named) -> float:
    text = owner if issubclass(type(owner), str) else owner.decode("latin-1")
    given = args[0] if args else ()
    values = _values(given)
    most = _largest(values)
    longest = max(map(_whole_number, values), default=0)
    total = _size(owner)
    fields = 0
    for *widths, whole in _percent_fields(text):
        fields += 1
        total += sum(most if one == "*" else _digits(one) for one in widths if one)
        total += longest if whole else 0
    once = issubclass(type(given), tuple)
    return total + (sum if once else lambda sizes: fields * max(sizes, default=0))(
        list(map(_size_of_text, values))
    )


def _percent_fields(text: str) -> Iterator[tuple[str | None, ...]]:
    """Yield width, precision and kind of number of each field of a format with ``%``."""
    at = text.find("%")
    while at >= 0:
        at += 1
        if text[at : at + 1] == "(":
            at = _end_of_name(text, at)
            if not at:
                return  # the operation fails here
        match = _PERCENT.match(text, at)
        assert match is not None  # all of it is optional
        yield match.groups()
        at = text.find("%", max(match.end(), at + (text[at : at + 1] == "%")))


def _end_of_name(text: str, at: int) -> int:
    """Return where a name in parentheses ends, which may have others in it; 0 if nowhere."""
    depth = 0
    for match in _PARENTHESES.finditer(text, at):
        depth += 1 if match[0] == "(" else -1
        if not depth:
            return match.end()
    return 0


def _format(owner: Any, args: Args, named: Named) -> float:
    if not _settle_widths(owner, args, named):
        return _HUGE
    values = [*args, *named.values()]
    if len(args) == 1 and not named:
        values += _values(args[0])  # of format_map
    most = _largest(values)
    longest = max(map(_size_of_text, values), default=0)
    digits = _most_digits(values)
    total = _size(owner)
    try:
        for _, field, spec, _ in Formatter().parse(str(owner)):
            if field is not None:
                total += longest + _width(spec or "") + (digits if spec else 0)
                if spec and "{" in spec:
                    total += most
    except ValueError:
        return 0
    return total


def _settle_widths(text: Any, args: Args, named: Named) -> bool:
    """Put plain values for proxies among the widths of a format, so that they are asked once.

    Returns:
        Whether all widths are known.
    """
    places = count()
    try:
        for _, field, spec, _ in Formatter().parse(str(text)):
            if field is None:
                continue
            if not _first(field):
                next(places)
            for _, inner, _, _ in Formatter().parse(spec or ""):
                if inner is None:
                    continue
                name = _first(inner) or str(next(places))
                found: Any = int(name) if name.isdigit() else name
                values: Any = args if name.isdigit() else named
                try:
                    value = values[found]
                except LookupError:
                    if len(args) == 1 and is_proxy(args[0]):
                        return False  # of format_map
                    continue
                if is_proxy(value):
                    if name != inner and inner:
                        return False
                    value = _plain(value)
                    values[found] = value if type(value) is int else format(value, "")
    except ValueError:
        return True  # the format itself says what is wrong
    return True


def _first(field: str) -> str:
    return re.split(r"[.[]", field, maxsplit=1)[0]


def _values(given: Any) -> Args:
    if issubclass(type(given), dict):
        return list(dict.values(given))
    return list(given) if issubclass(type(given), tuple) else [given]


def _largest(values: Args) -> int:
    """Return the largest number that values would put into a format."""
    found = [abs(one) for one in values if type(one) is int]
    return max([*found, *(_width(one) for one in values if type(one) is str)], default=0)


def _size_of_text(value: Any) -> int:
    """Return how long an object is when it is written out, roughly; at any depth.

    What peers answer to those who ask for a text is counted when it comes.
    """
    sizes: dict[int, int] = {}
    left = [(value, False)]
    while left:
        one, is_done = left.pop()
        if is_done:
            parts = members(one)
            sizes[id(one)] = 2 + sum(
                [2 + (sizes.get(id(part)) or _of_leaf(part)) for part in parts]
            )
        elif id(one) not in sizes and _is_shown_with_parts(one):
            sizes[id(one)] = 0
            left.append((one, True))
            left += [(part, False) for part in members(one)]
    return sizes.get(id(value)) or _of_leaf(value)


def _is_shown_with_parts(value: Any) -> bool:
    return facts_of(type(value)).recurses == ALWAYS and not is_proxy(value)


def _of_leaf(value: Any) -> int:
    kind = type(value)
    return _bits(value) // 3 if kind is int else _size(value) if issubclass(kind, _TEXTS) else 0


def _width(spec: Any) -> int:
    return sum(map(_digits, _WIDTHS.findall(spec))) if issubclass(type(spec), str) else 0


def _formatted(owner: Any, args: Args, named: Named) -> float:
    """Of ``format`` with a class of the library: it passes the text on, maybe."""
    spec = args[0] if args else named.get("format_spec", "")
    method = find(owner, "__format__")
    if type(method) is FunctionType and not LIBRARY[method.__module__]:
        return 0  # of the program
    if hasattr(type(owner), "strftime"):
        return _of_time(spec)
    return _width(spec) + (_exponent(owner) if spec else 0)


def _of_time(spec: Any) -> float:
    """Of ``strftime``."""
    if not issubclass(type(spec), str):
        return 0
    widths = sum(map(_digits, _TIME_WIDTHS.findall(spec)))
    return len(spec) + int(spec.count("%")) * _FIELD + widths


_FIELD: Final = 128  # bytes of a text that are made in the time that a field of a time takes
_TIME_WIDTHS: Final = re.compile(r"%[-_0^#+]*(\d+)", re.ASCII)


def _strftime(owner: Any, args: Args, named: Named) -> float:
    return _of_time(args[0] if args else named.get("format"))


def _written(owner: Any, args: Args, named: Named) -> float:
    """Of a file in memory, or what writes to one: it is filled up to where it is written."""
    given = [members(one) if issubclass(type(one), (list, tuple)) else (one,) for one in args]
    size = sum([_size(one) for some in given for one in some])
    try:
        for _ in range(_MAX_FILES):
            if issubclass(type(owner), (BytesIO, StringIO)):
                break
            owner = owner.buffer if issubclass(type(owner), TextIOWrapper) else owner.raw
        else:
            return 0
        wide = 4 if issubclass(type(owner), StringIO) else 1
        return wide * (StringIO if wide > 1 else BytesIO).tell(owner) + size
    except (ValueError, AttributeError):
        return 0  # closed, or another file


_MAX_FILES: Final = 4  # in one another: texts, a buffer, and the file itself


# -- numbers


def _bits(value: Any) -> int:
    if issubclass(type(value), Fraction):
        return int(max(value.numerator.bit_length(), value.denominator.bit_length()))
    return int.bit_length(value) if issubclass(type(value), int) else 0


def _exponent(value: Any) -> int:
    """Return how many digits a decimal number has, written out."""
    if issubclass(type(value), Decimal) and value.is_finite():
        return int(abs(value.adjusted()))
    return 0


def _most_digits(values: Args) -> int:
    """Return how many digits the longest decimal number has, in containers at any depth too."""
    most = 0
    stack: Args = [values]
    seen: set[int] = set()
    while stack:
        one: Any = stack.pop()
        if issubclass(type(one), dict):
            one = list(dict.values(one))
        if not issubclass(type(one), (list, tuple)):
            most = max(most, _exponent(one))
        elif id(one) not in seen:
            seen.add(id(one))
            stack += one
    return most


def _number_work(call: Call, args: Args, named: Named) -> float:
    """Return what computing with large whole numbers costs; most of it takes their square."""
    name = call.name
    if name in _LINEAR or call.sort is PROGRAM:
        return 0
    values = [*args, *named.values()]
    if call.sort is METHOD and not call.skip:
        args = [call.owner, *args]
        values.append(call.owner)
    module = call.module if type(call.module) is str else ""
    words = [_words_in(value) if module in OF_ITEMS else _words(value) for value in values]
    fractions = sum(map(_whole_numbers, values)) if module == "statistics" else 0
    total = sum(words)
    if name in ("pow", "__pow__", "__rpow__"):
        return _modular_power(args, named)
    if total < _LARGE:
        return fractions
    if name.strip("_") in ("mul", "rmul", "imul"):
        few = max(1, min(one for one in words if one) if all(words[:2]) else 1)
        return float(max(words) * few**_KARATSUBA) / _AT_ONCE
    return max(fractions, total * total / _AT_ONCE)


def check_number(number: Any, limit: int, key: str = "max_memory") -> None:
    """Raise LimitExceeded if a decimal number is too large to be made a fraction."""
    size = _whole_number(number)
    if size > limit:
        raise LimitExceeded("size of the result in bytes", min(size, _HUGE), limit, key)


def _modular_power(given: Args, named: Named) -> float:
    """Of a power with a modulus; another one is as large as its result."""
    parts = {**dict(zip(("base", "exp", "mod"), given)), **named}
    base, exponent, modulus = (_words(parts.get(name)) for name in ("base", "exp", "mod"))
    if not modulus:
        return 0
    return float(exponent * _WORD * modulus**2 + base * modulus) / _AT_ONCE


_WORD: Final = 30  # bits of a digit of CPython's
_AT_ONCE: Final = 2  # products of two such digits in the time that a byte of a text may take
_LARGE: Final = 1000  # digits; below, no operation takes long
_KARATSUBA: Final = 0.585
_CONTAINERS: Final = (list, tuple, deque, set, frozenset, dict)
OF_ITEMS: Final = frozenset(("math", "statistics"))
"""Modules whose functions compute with the items of containers."""
_LINEAR: Final = frozenset(
    "__add__ __radd__ __sub__ __rsub__ __neg__ __pos__ __abs__ __invert__ __and__ __or__ __xor__ "
    "__rand__ __ror__ __rxor__ __lshift__ __rshift__ __rlshift__ __rrshift__ __eq__ __ne__ __lt__ "
    "__le__ __gt__ __ge__ __hash__ __bool__ __index__ __int__ bit_length bit_count to_bytes "
    "add sub neg pos and_ or_ xor lshift rshift eq ne lt le gt ge is_ is_not not_ truth index "
    "__contains__ __getitem__ __setitem__ contains getitem setitem index count remove "
    "hash abs len bool sum min max append extend insert add put get set setdefault pop".split()
)
"""Operations that take no longer than reading the numbers."""


def _words(value: Any) -> int:
    kind = type(value)
    return _bits(value) // _WORD + 1 if kind is int or issubclass(kind, Fraction) else 0


def _words_in(value: Any) -> int:
    """Return the same for all numbers in a container together."""
    if issubclass(type(value), _CONTAINERS):
        return sum(map(_words, value))
    if type(value) is range:
        return len(value[:_HUGE]) * max(map(_words, (value.start, value.stop)))
    return _words(value)


def _power(base: Any, exponent: Any) -> float:
    bits = _bits(base)
    exponent = exponent if type(exponent) is int else 0
    return bits * abs(exponent) // 8 * _WORK if bits > 1 else 0


def _raised(owner: Any, args: Args, named: Named) -> float:
    exponent = _number(args, 0)
    return 0 if len(args) > 1 and args[1] is not None else _power(owner, exponent)


def _exponent_of(owner: Any, args: Args, named: Named) -> float:
    _number(args, 0)
    return _power(args[0] if args else 0, owner)


def _shifted(owner: Any, args: Args, named: Named) -> float:
    return max(0, _number(args, 0)) // 8 if owner else 0


def _shift_of(owner: Any, args: Args, named: Named) -> float:
    return max(0, int(owner)) // 8 if _number(args, 0) else 0


def _rounded(owner: Any, args: Args, named: Named) -> float:
    digits = abs(_number(args, 0)) if issubclass(type(owner), (int, Fraction)) else 0
    return (digits + _exponent(owner)) // 2 * _WORK


def _count(owner: Any, args: Args, named: Named) -> float:
    return max(_number(args, 0), *(_named(named, name) for name in ("length", "count", "source")))


def _bytes(owner: Any, args: Args, named: Named) -> float:
    if args and issubclass(type(args[0]), (*_SEQUENCES, memoryview)):
        return 0
    return _count(owner, args, named)


def _random_bits(owner: Any, args: Args, named: Named) -> float:
    return max(_number(args, 0), _named(named, "k")) // 8


def _factorial(owner: Any, args: Args, named: Named) -> float:
    number = _number(args, 0)
    return number * number.bit_length() // 8 * _WORK


def _chosen(owner: Any, args: Args, named: Named) -> float:
    """Of ``comb`` and ``perm``."""
    total = _number(args, 0)
    count = _number(args, 1, total) if len(args) < 2 or args[1] is not None else total
    return max(0, min(count, total)) * total.bit_length() // 8 * _WORK


def _combinations(owner: Any, args: Args, named: Named) -> float:
    total, count = _number(args, 0), _number(args, 1)
    return _chosen(owner, [total, min(count, total - count)], named)


def _whole(owner: Any, args: Args, named: Named) -> float:
    """Of what makes a whole number or a fraction of a decimal number or a text."""
    value = args[0] if args else owner
    if issubclass(type(value), str):
        return sum(map(_digits, _EXPONENT.findall(value))) // 2 * _WORK
    return _whole_number(value)


def _whole_number(value: Any) -> int:
    """Return what it costs to write a decimal number out as a whole number or a fraction."""
    if not issubclass(type(value), Decimal) or not value.is_finite():
        return 0
    digits = max(_exponent(value), len(value.as_tuple().digits))
    return digits * digits // _DIGITS


def _whole_numbers(value: Any) -> int:
    """Return the same for all decimal numbers in a container together."""
    values = value if issubclass(type(value), _CONTAINERS) else [value]
    return sum(map(_whole_number, values))


_DIGITS: Final = 64  # squared, that are converted in the time of a byte of a text
_EXPONENT: Final = re.compile(r"[eE][-+]?(\d+)")


def _groups(owner: Any, args: Args, named: Named) -> float:
    """Of iterators of groups, which keep a group."""
    names = ("r", "n", "repeat")
    most = max(_number(args, 1), *(_named(named, name) for name in names))
    return (_size(args[0]) if args else 0) + _PLACE * most


_COPY: Final = 80  # bytes of one iterator of ``tee``, with its place


def _product(owner: Any, args: Args, named: Named) -> float:
    each = [_size(one) + _PLACE for one in args]
    return _named({"repeat": 1, **named}, "repeat") * sum(each)


def _packed(owner: Any, args: Args, named: Named) -> float:
    text = args[0] if args else named.get("format", "")
    try:
        return struct.calcsize(text) if type(text) in (str, bytes) else 0
    except struct.error:
        return 0


def _precision(owner: Any, args: Args, named: Named) -> float:
    context = next((one for one in (owner, *args[:1]) if issubclass(type(one), Context)), None)
    own = 0 if context is None else context.prec
    return max(own, _number(args, 0), _named(named, "prec")) // 2 * _WORK


def _series(owner: Any, args: Args, named: Named) -> float:
    """Of a logarithm or a power of decimal numbers, computed with a precision by a series."""
    given = (owner, *args, *named.values())
    contexts = [one for one in given if issubclass(type(one), Context)]
    context = contexts[0] if contexts else getcontext()
    return float(context.prec**3 // _TERMS)


def _decimal_power(owner: Any, args: Args, named: Named) -> float:
    exponent = args[0] if args else 0
    return 0 if type(exponent) is int else _series(owner, [], named)


_TERMS: Final = 16  # digits cubed that take the time of a byte of a text


# -- replacements in texts


def _substituted(owner: Any, args: Args, named: Named) -> float:
    """Of ``Pattern.sub`` and ``Pattern.subn``."""
    given = {**dict(zip(("repl", "string", "count"), args)), **named}
    return _of_matches(owner, given)


def _of_matches(pattern: re.Pattern[Any], given: Named) -> float:
    template: Any = given.get("repl")
    text: Any = given.get("string")
    if not all(issubclass(type(one), _TEXTS) for one in (template, text)):
        return 0  # what a function returns is its business
    size = _size(template)
    references = _references(template)
    most = _size(text) + (len(text) + 1) * (size + references * _size(text))
    # A pattern can take any time, and the call itself will run it.
    return _AtMost(most, lambda: _in_matches(pattern, template, text, given.get("count")))


class _AtMost(float):
    """A size in bytes that a result does not exceed.

    Args:
        size: the bound.
        count: returns the size itself, with more work.
    """

    __slots__ = ("count",)
    count: Callable[[], float]

    def __new__(cls, size: float, count: Callable[[], float]) -> _AtMost:
        bound = super().__new__(cls, size)
        bound.count = count
        return bound


def _in_matches(pattern: re.Pattern[Any], template: Any, text: Any, count: Any) -> float:
    """Return the size of a text in which matches are replaced."""
    found: Iterable[re.Match[Any]] = pattern.finditer(text)
    if type(count) is int and count > 0:
        found = islice(found, count)
    size, references = _size(template), _references(template)
    wide = _size(text) // max(1, len(text))
    total = _size(text)
    for match in found:
        total += size + (references * wide * _longest_group(match) if references else 0)
        if total > _HUGE:
            break
    return total


def _references(template: Any) -> int:
    return int(template.count("\\" if issubclass(type(template), str) else b"\\"))


def _longest_group(match: re.Match[Any]) -> int:
    spans = [match.span(group) for group in range(match.re.groups + 1)]
    return max(end - start for start, end in spans)


_SMALL: Final = 1 << 20  # bytes; nothing is counted for less


def _with_groups(owner: Any, args: Args, named: Named) -> float:
    """Of ``Match.expand``."""
    template: Any = args[0] if args else named.get("template")
    if not issubclass(type(template), _TEXTS):
        return 0
    return _size(template) + _references(template) * 4 * _longest_group(owner)


def _of_re(given: Named) -> float:
    pattern, flags = given.get("pattern"), given.get("flags", 0)
    try:
        return _of_matches(re.compile(pattern, flags), given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError, re.error):
        return 0


def _of_template(given: Named) -> float:
    template = given["self"]
    text: Any = vars(template).get("template")
    if not issubclass(type(text), str):
        return 0
    values = [value for name, value in given.items() if name != "self"]
    values += [one for value in values if issubclass(type(value), dict) for one in value.values()]
    longest = max(map(_size_of_text, values), default=0)
    return _size(text) + int(text.count(type(template).delimiter)) * longest


def _of_lines(given: Named) -> float:
    """Of functions that put a text before each line of another."""
    wrapper = given.get("self")
    given = {**instance_dict(wrapper), **given} if wrapper is not None else given
    text: Any = given.get("text")
    names = ("prefix", "subsequent_indent", "initial_indent")
    prefixes = [given.get(name) for name in names]
    if any(map(is_proxy, prefixes)):
        return _HUGE  # nobody knows its size
    if not issubclass(type(text), str):
        return 0
    lines = text.count("\n") + 1 if "prefix" in given else len(text)
    tabs = int(text.count("\t")) * _named(given, "tabsize")
    return _size(text) + tabs + lines * max(map(_size_of_text, prefixes))


def _of_json(given: Named) -> float:
    encoder = given.get("self")
    own = instance_dict(encoder) if encoder is not None else {}
    separators: Any = given.get("separators")
    texts: Any = separators if issubclass(type(separators), (tuple, list)) else (separators,)
    texts = (*texts, own.get("item_separator"), own.get("key_separator"))
    indent: Any = own.get("indent", given.get("indent"))
    if any(map(is_proxy, (*texts, indent))):
        return _HUGE  # nobody knows its size
    longest = max(map(_size_of_text, (*texts, "" if type(indent) is int else indent)))
    longest = max(longest, indent if type(indent) is int else 0)
    shown = given.get("obj", given.get("object", given.get("o")))
    return _leaves(shown) * longest if longest > _PLACE else 0


_UNKNOWN: Final = 100_000  # items of a peer's container, which may have any number


def _leaves(value: Any) -> int:
    """Return how many items a structure has in all; of what is shared, each time."""
    total = 0
    stack = [(value, 1)]
    while stack and total < _SMALL:
        one, depth = stack.pop()
        kind = type(one)
        if issubclass(kind, dict):
            inside = list(dict.values(one))
        elif issubclass(kind, (list, tuple)):
            inside = list(one)
        else:
            total += _UNKNOWN if is_proxy(one) else 0
            continue
        total += (len(inside) + 1) * depth  # an indent for each level
        stack += [(item, depth + 1) for item in inside]
    return total


def _written_rows(owner: Any, args: Args, named: Named) -> float:
    """Of a writer of ``csv``: each row ends as the writer was told."""
    given = args[0] if args else next(iter(named.values()), ())
    rows = len(members(given)) if issubclass(type(given), (list, tuple)) else _UNKNOWN
    own = instance_dict(owner)
    names: Any = own.get("fieldnames", ())
    columns = len(members(names)) if issubclass(type(names), (list, tuple)) else _UNKNOWN
    each = columns * _size_of_text(own.get("restval"))
    ending: Any = getattr(own.get("writer", owner), "dialect", None)
    if module_of(type(ending)) == "_csv":
        ended = _size(ending.lineterminator)
        each += ended if ended > _PLACE else 0
    return rows * each


# -- inflation


def _inflated(name: str) -> Estimate:
    """Return what measures the result of a function that inflates, without keeping it."""

    def estimate(owner: Any, args: Args, named: Named) -> float:
        data: Any = args[0] if args else named.get("data")
        if not issubclass(type(data), (bytes, bytearray)):
            return _HUGE  # refused: nobody knows its size
        module = sys.modules.get(name)
        if module is None:
            return 0
        window = args[1] if len(args) > 1 else named.get("wbits", zlib.MAX_WBITS)
        return _measured(module, bytes(data), window)

    return estimate


def _measured(module: ModuleType, data: bytes, window: Any) -> int:
    total = 0
    try:
        while data and total <= _MOST_MEASURED:
            if module is zlib or module.__name__ == "gzip":
                inflator: Any = zlib.decompressobj(31 if module is not zlib else window)
            else:
                inflator = getattr(module, _INFLATORS[module.__name__])()
            size, data = _measure(inflator, data, total)
            total += size
            if module is zlib:
                break
    except Exception:  # what is wrong with the data, the function itself says
        return total
    return total if total <= _MOST_MEASURED else _HUGE


_INFLATORS: Final = {"bz2": "BZ2Decompressor", "lzma": "LZMADecompressor"}
_PIECE: Final = 1 << 20
_MOST_MEASURED: Final = 1 << 30


def _measure(inflator: Any, data: bytes, total: int) -> tuple[int, bytes]:
    """Return how long the data of one stream is inflated, and what follows the stream."""
    size = 0
    while True:
        piece = inflator.decompress(data, _PIECE)
        size += len(piece)
        data = getattr(inflator, "unconsumed_tail", b"")
        if inflator.eof or not piece or total + size > _MOST_MEASURED:
            return size, inflator.unused_data if inflator.eof else b""


def _inflated_in_parts(owner: Any, args: Args, named: Named) -> float:
    """Of an object that inflates: it must be given a bound."""
    most = _number(args, 1) if len(args) > 1 else _named(named, "max_length")
    return most if most > 0 else _HUGE


def _read(owner: Any, args: Args, named: Named) -> float:
    most = _number(args, 0, -1) if args else named.get("size", -1)
    return most if type(most) is int and most >= 0 else _HUGE


_INFLATING: Final[dict[str, Estimate]] = {
    **dict.fromkeys(("zlib.Decompress", "zlib._ZlibDecompressor"), _inflated_in_parts),
    **dict.fromkeys(("_bz2.BZ2Decompressor", "_lzma.LZMADecompressor"), _inflated_in_parts),
    **dict.fromkeys(("gzip.GzipFile", "bz2.BZ2File", "lzma.LZMAFile"), _read),
}
"""Classes whose objects inflate, by name; they are not imported for this."""
_READING: Final = frozenset("decompress read read1 readline readlines readall flush".split())


# -- passwords


def _scrypt(owner: Any, args: Args, named: Named) -> float:
    cost, size, times = (max(1, _named(named, name)) for name in "nrp")
    return 128 * size * (cost + times) + 16 * cost * size * times


def _rounds(owner: Any, args: Args, named: Named) -> float:
    given = {**dict(zip(("hash_name", "password", "salt", "iterations", "dklen"), args)), **named}
    blocks = _named(given, "dklen") // 20 + 1
    return 16 * _named(given, "iterations") * blocks


# -- functions


def _of_function(name: str) -> Estimate:
    """Return what estimates a function that does the same as a method of its first argument."""

    def estimate(owner: Any, args: Args, named: Named) -> float:
        if len(args) < 2:
            return 0
        first, second = args[:2]
        rest, reflected = args[1:], [first]
        size = _of_method(first, name, rest, named)
        size = max(size, _of_method(second, f"__r{name[2:]}", reflected, named))
        args[:] = reflected + rest
        return size

    return estimate


_OPERATIONS: Final = ("add", "mul", "pow", "lshift", "mod")
_SIZED: Final = {
    **dict.fromkeys(("indent", "n", "k"), 64),
    **dict.fromkeys(("nbytes", "length"), 2),
    "tabsize": 1,
    "repeat": _PLACE,
}
"""Parameters of functions of the library that say how large something gets, with bytes for each."""
_SIZED_IN: Final = {
    "random": {**_SIZED, "n": 1, "k": _PLACE},
    "calendar": {**_SIZED, **dict.fromkeys(("w", "l", "c", "m", "width"), 4096)},
}
"""Likewise, in some modules."""
_ONLY_MOST: Final = frozenset(
    "collections.Counter.most_common heapq.nlargest heapq.nsmallest difflib.unified_diff "
    "difflib.context_diff difflib.SequenceMatcher.get_grouped_opcodes difflib.get_close_matches "
    "random.Random.binomialvariate asyncio.streams.StreamReader.read zipfile.ZipExtFile.read "
    "zipfile.ZipExtFile.read1 zipfile.ZipExtFile.peek".split()
)
"""Functions that only take no more than such a number, or do not need as much as it says."""


def _of_library(func: Any, args: Args, named: Named) -> float:
    """Of a function that is written in Python."""
    code = func.__code__
    names = code.co_varnames[: code.co_argcount]
    given = dict(zip(names, args))
    given.update(named)
    full = f"{func.__module__}.{func.__qualname__}"
    sized = _SIZED if full not in _ONLY_MOST else {}
    sized = _SIZED_IN.get(func.__module__, sized) if sized else sized
    for place, name in enumerate(names[: len(args)]):
        if name in sized:
            given[name] = args[place] = _plain(args[place])
    sizes: list[float] = [
        given[name] * each for name, each in sized.items() if type(given.get(name, "")) is int
    ]
    special = _LIBRARY_FUNCTIONS.get(full)
    if special is not None:
        sizes.append(special(given))
    if args:
        sizes.append(_of_method(args[0], func.__name__, args[1:], named))
    return max(sizes, default=0)


_LIBRARY_FUNCTIONS: Final[dict[str, Callable[[Named], float]]] = {
    **dict.fromkeys(("re.sub", "re.subn"), _of_re),
    **dict.fromkeys(
        ("string.Template.substitute", "string.Template.safe_substitute"), _of_template
    ),
    "fractions.Fraction.from_decimal": lambda given: _whole_number(given.get("dec")),
    **dict.fromkeys(("textwrap.indent", "textwrap.wrap", "textwrap.fill"), _of_lines),
    **dict.fromkeys(("textwrap.TextWrapper.wrap", "textwrap.TextWrapper.fill"), _of_lines),
    **dict.fromkeys(("json.dumps", "pprint.pformat", "pprint.pprint"), _of_json),
    "json.encoder.JSONEncoder.encode": _of_json,
    "json.encoder.JSONEncoder.iterencode": _of_json,
    "gzip.decompress": lambda given: _inflated("gzip")(None, [given.get("data")], {}),
    "bz2.decompress": lambda given: _inflated("bz2")(None, [given.get("data")], {}),
    "lzma.decompress": lambda given: _inflated("lzma")(None, [given.get("data")], {}),
}
_COMMON: Final[dict[str, Estimate]] = {
    "__mul__": _repeated,
    "__rmul__": _repeated,
    "__imul__": _repeated,
}
_METHODS: Final[tuple[tuple[Any, dict[str, Estimate]], ...]] = (
    (_SEQUENCES, _COMMON),
    (
        _MUTABLE,
        {
            **dict.fromkeys(("__add__", "__radd__"), _added),
            **dict.fromkeys(("__iadd__", "__setitem__"), _extended),
            **dict.fromkeys(("extend", "extendleft"), _extended),
        },
    ),
    (
        (*_TEXTS, UserString),
        {
            "ljust": _padded,
            "rjust": _padded,
            "center": _padded,
            "zfill": _padded,
            "expandtabs": _expanded,
            "replace": _replaced,
            "join": _joined,
            "translate": _translated,
            "__mod__": _percent,
        },
    ),
    ((str, UserString), {"format": _format, "format_map": _format}),
    (object, {"__format__": _formatted, "strftime": _strftime}),
    (
        int,
        {
            "__pow__": _raised,
            "__rpow__": _exponent_of,
            "__lshift__": _shifted,
            "__rlshift__": _shift_of,
            "to_bytes": _count,
        },
    ),
    (Fraction, {"__pow__": _raised}),
    ((int, Decimal, Fraction), {"__round__": _rounded}),
    (
        Decimal,
        dict.fromkeys(
            ("__int__", "__trunc__", "__floor__", "__ceil__", "as_integer_ratio"), _whole
        ),
    ),
    (
        (BytesIO, StringIO, TextIOWrapper, BufferedRandom, BufferedWriter),
        dict.fromkeys(("write", "writelines"), _written),
    ),
    (object, dict.fromkeys(("writerow", "writerows"), _written_rows)),
    (re.Pattern, {"sub": _substituted, "subn": _substituted}),
    (re.Match, {"expand": _with_groups}),
    (struct.Struct, {"pack": lambda owner, args, named: owner.size}),
    (object, {"getrandbits": _random_bits}),
    ((Decimal, Context), dict.fromkeys(("exp", "ln", "log10", "power"), _series)),
    (Decimal, {"__pow__": _decimal_power, "__rpow__": _decimal_power}),
    (Context, {name: _precision for name in dir(Context) if name[:1] != "_"}),
)
_FUNCTIONS: Final[dict[str, Estimate]] = {
    **{f"operator.{name}": _of_function(f"__{name}__") for name in _OPERATIONS},
    **{f"operator.i{name}": _of_function(f"__{name}__") for name in _OPERATIONS},
    **{f"operator.__{name}__": _of_function(f"__{name}__") for name in _OPERATIONS},
    "operator.concat": _of_function("__add__"),
    **dict.fromkeys(("operator.iadd", "operator.iconcat"), _of_function("__iadd__")),
    "operator.setitem": lambda owner, args, named: _extended(None, args[2:], named),
    "builtins.pow": lambda owner, args, named: (
        0 if len(args) > 2 or "mod" in named else _of_function("__pow__")(None, args, named)
    ),
    "time.strftime": _strftime,
    "builtins.format": lambda owner, args, named: _formatted(
        args[0] if args else "", args[1:], named
    ),
    "builtins.round": lambda owner, args, named: _rounded(args[0] if args else 0, args[1:], named),
    **dict.fromkeys(("math.floor", "math.ceil", "math.trunc"), _whole),
    "math.factorial": _factorial,
    "math.comb": _combinations,
    "math.perm": _chosen,
    "posix.urandom": _count,
    "nt.urandom": _count,
    "struct.pack": _packed,
    "itertools.tee": lambda owner, args, named: _number(args, 1, 2) * _COPY,
    "decimal.setcontext": _precision,
    "zlib.decompress": _inflated("zlib"),
    "hashlib.scrypt": _scrypt,
    "hashlib.pbkdf2_hmac": _rounds,
}
_CLASSES: Final[dict[str, Estimate]] = {
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.int": _whole,
    "fractions.Fraction": _whole,
    "itertools.combinations": _groups,
    "itertools.combinations_with_replacement": _groups,
    "itertools.permutations": _groups,
    "itertools.batched": _groups,
    "itertools.product": _product,
    "decimal.Context": _precision,
}
