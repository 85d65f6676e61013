"""How large the result of a function of the standard library gets, from what it is called with.

A number of the peer's says how large: ``text * n``, ``format(1, "1000000000")``, ``10**n``. So the
size is estimated before the function runs. Functions of the program are its own business.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections import UserList, UserString, deque
from collections.abc import Callable, Iterable
from decimal import Context, Decimal
from fractions import Fraction
from functools import partial
from io import BytesIO, StringIO
from operator import index
from string import Formatter
from types import FunctionType, MethodDescriptorType, MethodType, ModuleType, WrapperDescriptorType
from typing import Any, Final

from ..errors import LimitExceeded
from .access_policy import LIBRARY, full_name
from .c_callables import is_bound, is_function

__all__ = ["check_result"]

_TEXTS: Final = (str, bytes, bytearray)
_SEQUENCES: Final = (*_TEXTS, list, tuple, deque, array, UserList, UserString)
_UNBOUND: Final = (MethodDescriptorType, WrapperDescriptorType)
_MAX_WRAPPED: Final = 20
_PLACE: Final = 8
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
    found = _find(func, args)
    if found is None:
        return
    estimate, owner, given, before = found
    pairs = {name: value for name, value in named if type(name) is str}
    size = estimate(owner, given, pairs)
    if before is not None:
        args[before:] = given
    if size > limit:
        got = int(min(size, _HUGE))
        raise LimitExceeded("size of the result in bytes", got, limit, key)


def _find(func: Any, args: Args) -> tuple[Estimate, Any, Args, int | None] | None:
    """Return what estimates, the owner of the method, its arguments, and where they are."""
    given = args
    place: int | None = 0
    for _ in range(_MAX_WRAPPED):
        kind = type(func)
        if issubclass(kind, partial):
            given, place = [*_args_of(func), *given], None
            func = _func_of(func)
        elif kind is MethodType:
            given, place = [func.__self__, *given], None
            func = func.__func__
        else:
            break
    kind = type(func)
    if is_bound(kind) and func.__self__ is not None:
        owner, name = func.__self__, func.__name__
        if not issubclass(type(owner), ModuleType):
            if name == "__call__":
                return None
            return _of_method(owner, name, given, place)
    elif kind in _UNBOUND:
        if not given:
            return None
        return _of_method(given[0], func.__name__, given[1:], None if place is None else 1)
    if is_function(kind):
        estimate = _FUNCTIONS.get(f"{func.__module__}.{func.__name__}".lstrip("_"))
        return None if estimate is None else (estimate, None, given, place)
    if issubclass(kind, type):
        estimate = _CLASSES.get(full_name(func))
        return None if estimate is None else (estimate, None, given, place)
    if kind is FunctionType and func.__module__ in LIBRARY:
        return partial(_of_library, func), None, given, place
    return None


_args_of: Final[Any] = partial.__dict__["args"].__get__
_func_of: Final[Any] = partial.__dict__["func"].__get__


def _of_method(
    owner: Any, name: str, given: Args, place: int | None
) -> tuple[Estimate, Any, Args, int | None] | None:
    for kinds, estimates in _METHODS:
        if issubclass(type(owner), kinds) and name in estimates:
            return estimates[name], owner, given, place
    return None


# -- what is given


def _number(args: Args, place: int, default: int = 0) -> int:
    """Return a whole number among the arguments; a proxy is asked once, and replaced by it."""
    if place >= len(args):
        return default
    value = args[place]
    if type(value) is not int and hasattr(type(value), "__index__"):
        value = args[place] = index(value)
    return value if type(value) is int else 0


def _named(named: Named, name: str) -> int:
    value = named.get(name, 0)
    return value if type(value) is int else 0


def _size(value: Any) -> int:
    """Return how many bytes a sequence or text takes; 0 for anything else."""
    kind = type(value)
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
    items = args[0] if args else ()
    if not issubclass(type(items), (list, tuple, set, frozenset, dict, str)):
        return 0
    return len(items) * _size(owner) + sum(map(_size, items))


def _translated(owner: Any, args: Args, named: Named) -> float:
    table: Any = args[0] if args else None
    values: Iterable[Any] = dict.values(table) if issubclass(type(table), dict) else ()
    return len(owner) * max(map(_size, values), default=1)


_PERCENT: Final = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(\*|\d+)?(?:\.(\*|\d+)?)?", re.ASCII)
_WIDTHS: Final = re.compile(r"\d+")


def _percent(owner: Any, args: Args, named: Named) -> float:
    text = owner if issubclass(type(owner), str) else owner.decode("latin-1")
    given = args[0] if args else ()
    values = _values(given)
    most = _largest(values)
    total = _size(owner)
    fields = 0
    for match in _PERCENT.finditer(text):
        fields += 1
        total += sum(most if one == "*" else _digits(one) for one in match.groups() if one)
    once = issubclass(type(given), tuple)
    return total + (sum if once else lambda sizes: fields * max(sizes, default=0))(
        list(map(_size_of_text, values))
    )


def _format(owner: Any, args: Args, named: Named) -> float:
    values = [*args, *named.values()]
    if len(args) == 1 and not named:
        values += _values(args[0])  # of format_map
    most = _largest(values)
    longest = max(map(_size_of_text, values), default=0)
    total = _size(owner)
    try:
        for _, field, spec, _ in Formatter().parse(str(owner)):
            if field is not None:
                total += longest + _width(spec or "")
                if spec and "{" in spec:
                    total += most
    except ValueError:
        return 0
    return total


def _values(given: Any) -> Args:
    if issubclass(type(given), dict):
        return list(dict.values(given))
    return list(given) if issubclass(type(given), tuple) else [given]


def _largest(values: Args) -> int:
    """Return the largest number that values would put into a format."""
    found = [abs(one) for one in values if type(one) is int]
    return max([*found, *(_width(one) for one in values if type(one) is str)], default=0)


def _size_of_text(value: Any) -> int:
    return _size(value) if issubclass(type(value), _TEXTS) else 0


def _width(spec: Any) -> int:
    return sum(map(_digits, _WIDTHS.findall(spec))) if issubclass(type(spec), str) else 0


def _formatted(owner: Any, args: Args, named: Named) -> float:
    spec = args[0] if args else ""
    return _width(spec) + (_exponent(owner) if spec else 0)


def _written(owner: Any, args: Args, named: Named) -> float:
    try:
        return int(owner.tell()) + max(map(_size, args), default=0)
    except ValueError:
        return 0  # closed


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
    digits = _exponent(value)
    if issubclass(type(value), str):
        digits = sum(map(_digits, _EXPONENT.findall(value)))
    return digits // 2 * _WORK


_EXPONENT: Final = re.compile(r"[eE][-+]?(\d+)")


def _groups(owner: Any, args: Args, named: Named) -> float:
    """Of iterators of groups, which keep a group."""
    names = ("r", "n", "repeat")
    return _PLACE * max(_number(args, 1), *(_named(named, name) for name in names))


def _product(owner: Any, args: Args, named: Named) -> float:
    each = [_size(one) + _PLACE for one in args]
    return _named(named, "repeat") * sum(each)


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


# -- functions


def _of_function(name: str) -> Estimate:
    """Return what estimates a function that does the same as a method of its first argument."""

    def estimate(owner: Any, args: Args, named: Named) -> float:
        if len(args) < 2:
            return 0
        first, second = args[:2]
        rest = args[1:]
        found = _of_method(first, name, rest, None)
        size = 0.0 if found is None else found[0](first, rest, named)
        args[1:] = rest
        reflected = [first]
        found = _of_method(second, f"__r{name[2:]}", reflected, None)
        if found is not None:
            size = max(size, found[0](second, reflected, named))
            args[0] = reflected[0]
        return size

    return estimate


_OPERATIONS: Final = ("mul", "pow", "lshift", "mod")
_SIZED: Final = {"indent": 1, "nbytes": 2, "k": _PLACE, "w": 64, "l": 64, "tabsize": 1}
"""Parameters of functions of the library that say how large something gets, with bytes for each."""


def _of_library(func: Any, owner: Any, args: Args, named: Named) -> float:
    """Of a function that is written in Python."""
    code = func.__code__
    names = code.co_varnames[: code.co_argcount]
    given = dict(zip(names, args))
    given.update(named)
    sized = {**_SIZED, "n": 1} if func.__module__ == "random" else _SIZED
    sizes = [given[name] * each for name, each in sized.items() if type(given.get(name, "")) is int]
    if args:
        found = _of_method(args[0], func.__name__, args[1:], None)
        if found is not None:
            sizes.append(found[0](args[0], args[1:], named))
    return max(sizes, default=0)


_COMMON: Final[dict[str, Estimate]] = {
    "__mul__": _repeated,
    "__rmul__": _repeated,
    "__imul__": _repeated,
}
_METHODS: Final[tuple[tuple[Any, dict[str, Estimate]], ...]] = (
    (_SEQUENCES, _COMMON),
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
    ((str, int, float, complex, Decimal, Fraction), {"__format__": _formatted}),
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
    ((BytesIO, StringIO), {"write": _written}),
    (struct.Struct, {"pack": lambda owner, args, named: owner.size}),
    (object, {"getrandbits": _random_bits}),
    (Context, {name: _precision for name in dir(Context) if name[:1] != "_"}),
)
_FUNCTIONS: Final[dict[str, Estimate]] = {
    **{f"operator.{name}": _of_function(f"__{name}__") for name in _OPERATIONS},
    **{f"operator.i{name}": _of_function(f"__{name}__") for name in _OPERATIONS},
    **{f"operator.__{name}__": _of_function(f"__{name}__") for name in _OPERATIONS},
    "builtins.pow": lambda owner, args, named: (
        0 if len(args) > 2 or "mod" in named else _raised(args[0] if args else 0, args[1:], named)
    ),
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
    "itertools.tee": _groups,
    "decimal.setcontext": _precision,
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
