"""How large a result gets is a number of the peer's: it is bounded before anything is made."""

from __future__ import annotations

import array
import bz2
import calendar
import collections
import csv
import datetime
import decimal
import difflib
import enum
import fractions
import gzip
import hashlib
import io
import ipaddress
import itertools
import json
import lzma
import math
import operator
import os
import pprint
import random
import re
import secrets
import shutil
import statistics
import string
import struct
import textwrap
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import fetch
from rpyc_like.erlport.v1.bridge import Instance, only
from rpyc_like.erlport.v1.handles import Handles
from rpyc_like.errors import LimitExceeded
from rpyc_like.lib.guards import result_sizes
from rpyc_like.lib.guards.result_sizes import check_result
from tests.faults.adapters import EpcVictim

N = 10**9


class Color(enum.Enum):
    """One of the program's."""

    RED = 1


LIMIT = 64 << 20
WHOLE: Any = re.match("x+", "x" * 10**6)
ZEROS = zlib.compress(bytes(LIMIT + 1))
BIG = 10**4000
HALF = bytearray(LIMIT // 2 + 1)
SOUGHT = io.BytesIO()
SOUGHT.seek(N)
SOUGHT_TEXT = io.StringIO()
SOUGHT_TEXT.seek(LIMIT // 4)
WRAPPER = textwrap.TextWrapper(subsequent_indent="x" * 10**5)
ENCODER = json.JSONEncoder(separators=("y" * 10**5, ":"))
TABLE = csv.DictWriter(io.StringIO(), [], lineterminator="x" * 10**6)
TOO_LARGE: dict[str, tuple[Any, ...]] = {
    "list": ([0].__mul__, N),
    "list the other way": ([0].__rmul__, N),
    "list in place": ([0].__imul__, N),
    "a list's class": (list.__mul__, [0], N),
    "a list and itself": (HALF.__add__, HALF),
    "a container in place": (HALF.__iadd__, bytearray(LIMIT + 1)),
    "extend": (HALF.extend, bytearray(LIMIT + 1)),
    "a slice": (HALF.__setitem__, slice(0, 0), bytearray(LIMIT + 1)),
    "concat": (operator.concat, HALF, HALF),
    "tuple": ((0,).__mul__, N),
    "deque": (collections.deque([0]).__mul__, N),
    "array": (array.array("i", [0]).__mul__, N),
    "bytearray repeated": (bytearray(b"a").__imul__, N),
    "UserList": (collections.UserList([0]).__mul__, N),
    "UserString": (collections.UserString("a").__mul__, N),
    "str": ("a".__mul__, N),
    "partial": (partial(operator.mul, "a"), N),
    "mul": (operator.mul, [0], N),
    "partial of a modular power": (partial(pow, 3), BIG, BIG + 1),
    "mul the other way": (operator.mul, N, [0]),
    "imul": (operator.imul, [0], N),
    "bytes": (bytes, N),
    "bytearray": (bytearray, N),
    "ljust": ("a".ljust, N),
    "rjust": (b"a".rjust, N),
    "center": (str.center, "a", N),
    "zfill": ("1".zfill, N),
    "expandtabs": ("\t".expandtabs, N),
    "expandtabs of bytes": (b"\t".expandtabs, N),
    "replace": (("a" * 10000).replace, "a", "b" * 10000),
    "replace nothing": (("a" * 10000).replace, "", "b" * 10000),
    "join": (("a" * 10000).join, ["b"] * 10000),
    "translate": (("a" * 10000).translate, {97: "b" * 10000}),
    "percent": ("%1000000000d".__mod__, 1),
    "precision": ("%.1000000000f".__mod__, 1),
    "percent of bytes": (b"%1000000000d".__mod__, 1),
    "width of a tuple": ("%*d".__mod__, (N, 1)),
    "a value many times": (("%(a)s" * 10000).__mod__, {"a": "b" * 10000}),
    "a nested value many times": (("%(a)s" * 10000).__mod__, {"a": (("b" * 10000,),)}),
    "a shared value many times": (("%(a)s" * 10000).__mod__, {"a": (("b" * 100,) * 10,) * 10}),
    "digits many times": (("%(a)x" * 10000).__mod__, {"a": 1 << 200_000}),
    "mod": (operator.mod, "%1000000000d", 1),
    "translate by a tuple": ((chr(0) * 10000).translate, ("b" * 10000,)),
    "a StringIO that was sought": (SOUGHT_TEXT.write, "a"),
    "lines of a file": (SOUGHT.writelines, ["a"]),
    "large lines": (io.BytesIO().writelines, [b"a" * LIMIT, b"a"]),
    "text of a file in memory": (io.TextIOWrapper(SOUGHT).write, "a"),
    "lines of a text of a file in memory": (io.TextIOWrapper(SOUGHT).writelines, ["a"]),
    "a buffer of a file in memory": (io.BufferedRandom(SOUGHT).write, b"a"),
    "prefixes of a TextWrapper": (WRAPPER.fill, "a " * 1000),
    "lines of a TextWrapper": (WRAPPER.wrap, "a " * 1000),
    "separators of an encoder": (ENCODER.encode, [1] * 1000),
    "pieces of an encoder": (ENCODER.iterencode, [1] * 1000),
    "indents of an encoder": (json.JSONEncoder(indent=10**6).encode, [1] * 1000),
    "ends of rows": (csv.writer(io.StringIO(), lineterminator="x" * 10**6).writerows, [[]] * 1000),
    "ends of rows of dicts": (TABLE.writerows, [{}] * 1000),
    "rest of rows": (csv.DictWriter(io.StringIO(), ["a"], "x" * 10**6).writerows, [{}] * 1000),
    "format": (format, 1, "1000000000"),
    "other digits": (format, 1, "\u0661" * 10),
    "int format": ((1).__format__, "1000000000"),
    "float format": ((1.5).__format__, ".1000000000f"),
    "text format": ("a".__format__, "1000000000"),
    "Decimal format": (decimal.Decimal(1).__format__, ".300000000f"),
    "exponent format": (decimal.Decimal("1e300000000").__format__, "f"),
    "format text": ("{:1000000000}".format, 1),
    "width of an argument": ("{:>{w}}".format, 1),
    "argument many times": (("{0}" * 10000).format, "b" * 10000),
    "format_map": ("{a:1000000000}".format_map, {"a": 1}),
    "to_bytes": ((1).to_bytes, N, "big"),
    "lshift": ((1).__lshift__, N),
    "rlshift": (N.__rlshift__, 1),
    "operator lshift": (operator.lshift, 1, N),
    "pow": (pow, 10, N),
    "pow of int": ((10).__pow__, N),
    "rpow": (N.__rpow__, 10),
    "operator pow": (operator.pow, 10, N),
    "negative power of a fraction": (fractions.Fraction(3, 2).__pow__, -N),
    "round": (round, 5, -N),
    "factorial": (math.factorial, N),
    "comb": (math.comb, 2 * N, N),
    "perm": (math.perm, N, N),
    "int of many digits": (int, decimal.Decimal("9" * 300_000)),
    "mean of many digits": (statistics.mean, [decimal.Decimal("9" * 300_000)]),
    "int of a decimal": (int, decimal.Decimal("1e300000000")),
    "floor": (math.floor, decimal.Decimal("1e300000000")),
    "ratio": (decimal.Decimal("1e300000000").as_integer_ratio,),
    "fraction of a text": (fractions.Fraction, "1e300000000"),
    "combinations": (itertools.combinations, "ab", N),
    "permutations": (itertools.permutations, "ab", N),
    "tee": (itertools.tee, [], N),
    "each iterator of tee": (itertools.tee, [], 10**6),
    "struct": (struct.pack, "1000000000s", b""),
    "Struct": (struct.Struct("1000000000s").pack, b""),
    "getrandbits": (random.getrandbits, 8 * N),
    "randbytes": (random.randbytes, N),
    "sample": (random.sample, [1], N),
    "urandom": (os.urandom, N),
    "token_bytes": (secrets.token_bytes, N),
    "write far behind": (SOUGHT.write, b"a"),
    "Pattern.sub": (re.compile("x").sub, "A" * 10**6, "x" * 2000),
    "Pattern.subn with groups": (re.compile("(x+)").subn, r"\1" * 1000, "x" * 10**6),
    "re.sub": (re.sub, "x", "A" * 10**6, "x" * 2000),
    "Match.expand": (WHOLE.expand, r"\g<0>" * 1000),
    "Template": (string.Template("$x" * 1000).substitute, {"x": "y" * 10**6}),
    "a long list many times": (("%(a)s" * 10**4).__mod__, {"a": ["b" * 10**4]}),
    "textwrap.indent": (textwrap.indent, "a\n" * 1000, "y" * 10**6),
    "zlib": (zlib.decompress, ZEROS),
    "gzip": (gzip.decompress, gzip.compress(bytes(LIMIT + 1))),
    "bz2": (bz2.decompress, bz2.compress(bytes(LIMIT + 1))),
    "lzma": (lzma.decompress, lzma.compress(bytes(LIMIT + 1))),
    "zlib in parts": (zlib.decompressobj().decompress, ZEROS),
    "bz2 in parts": (bz2.BZ2Decompressor().decompress, b""),
    "GzipFile": (gzip.GzipFile(fileobj=io.BytesIO(b"")).read,),
    "pbkdf2": (hashlib.pbkdf2_hmac, "sha256", b"a", b"b", N),
    "modular power": (pow, 3, BIG, BIG + 1),
    "method of a modular power": ((3).__pow__, BIG, BIG + 1),
    "lcm": (math.lcm, *[(1 << 13000) - 2 * one - 1 for one in range(200)]),
    "gcd": (math.gcd, 1 << 3000000, (1 << 3000000) - 1),
    "prod": (math.prod, [1 << 20000] * 500),
    "prod of a range": (math.prod, range(1, 10**6)),
    "multiplication": (operator.mul, 1 << 30000000, 1 << 30000000),
    "division": (operator.floordiv, 1 << 3000000, (1 << 1500000) - 1),
    "isqrt": (math.isqrt, 1 << 3000000),
    "product": (itertools.product, range(N)),
    "combinations of a range": (itertools.combinations, range(N), 2),
    "format of an enum": (format, Color.RED, "1000000000"),
    "format of an address": (format, ipaddress.ip_address("127.0.0.1"), "1000000000s"),
    "method of an address": (ipaddress.ip_address("127.0.0.1").__format__, "1000000000x"),
    "format of a time": (format, datetime.date(2020, 1, 1), "%999999999Y"),
    "strftime": (datetime.date(2020, 1, 1).strftime, "%999999999Y"),
    "fields of a time": (datetime.date(2020, 1, 1).strftime, "%c" * 10**6),
    "token_hex": (secrets.token_hex, N),
    "token_urlsafe": (secrets.token_urlsafe, N),
    "shake": (hashlib.shake_128(b"x").digest, N),
    "quantiles of a distribution": (statistics.NormalDist(0, 1).quantiles, N),
    "samples": (statistics.NormalDist(0, 1).samples, N),
    "month": (calendar.TextCalendar().formatmonth, 2020, 1, 10**7),
    "week": (calendar.TextCalendar().formatweek, [], 10**8),
    "pretty indent": (pprint.pformat, [[1] * 1000], 10**6),
    "fraction of a decimal": (fractions.Fraction.from_decimal, decimal.Decimal("1e300000000")),
    "mean": (statistics.mean, (decimal.Decimal("1e300000000"),)),
    "mean of small numbers": (statistics.mean, [decimal.Decimal("1e-300000000")]),
    "variance of a set": (statistics.pvariance, {decimal.Decimal("1e300000000")}),
    "whole number of a decimal": ("%d".__mod__, decimal.Decimal("1e300000000")),
    "whole number in bytes": (b"%s %-5li".__mod__, (b"", decimal.Decimal("1e300000000"))),
    "whole number by name": ("%(a)d".__mod__, {"a": decimal.Decimal("1e300000000")}),
    "mod of bytes": (operator.mod, bytearray(b"%d"), decimal.Decimal("1e300000000")),
    "format of a decimal": ("{:f}".format, decimal.Decimal("1e300000000")),
    "format of a small decimal": ("{:f}".format, decimal.Decimal("1e-300000000")),
    "format of an item": ("{0[0][a]:f}".format, [{"a": decimal.Decimal("1e300000000")}]),
    "format_map of a decimal": ("{a:f}".format_map, {"a": decimal.Decimal("1e300000000")}),
    "ln": (decimal.Context(prec=10**5).ln, decimal.Decimal(2)),
    "exp": (decimal.Decimal(2).exp, decimal.Context(prec=10**5)),
    "power": (decimal.Context(prec=10**5).power, decimal.Decimal(2), decimal.Decimal("0.5")),
    "digits of a context": (decimal.Context(prec=N).divide, 1, 3),
}
NAMED: dict[str, tuple[Any, dict[str, Any]]] = {
    "fraction": (fractions.Fraction.from_decimal, {"dec": decimal.Decimal("1e300000000")}),
    "mean": (statistics.mean, {"data": [decimal.Decimal("1e300000000")]}),
    "log10": (decimal.Decimal(2).log10, {"context": decimal.Context(prec=10**5)}),
    "product": (partial(itertools.product, "ab"), {"repeat": N}),
    "format": ("{:>{w}}".format, {"w": N}),
    "tabsize": ("\t".expandtabs, {"tabsize": N}),
    "choices": (random.choices, {"k": N}),
    "indent": (json.dumps, {"indent": N}),
    "precision": (decimal.Context, {"prec": N}),
    "re.sub": (partial(re.sub, "x"), {"repl": "A" * 10**6, "string": "x" * 2000}),
    "Template": (string.Template("$x" * 1000).safe_substitute, {"x": "y" * 10**6}),
    "separators": (partial(json.dumps, [1] * 1000), {"separators": ("y" * 10**6, ":")}),
    "scrypt": (hashlib.scrypt, {"salt": b"b", "n": 2**20, "r": 8, "p": 1}),
    "exponent": (partial(pow, 7), {"exp": 3 * 10**7}),
    "partial of an exponent": (partial(pow, exp=3 * 10**7), {"base": 7}),
    "base and exponent": (pow, {"base": 7, "exp": 3 * 10**7}),
    "digits of a round": (round, {"number": 5, "ndigits": -3 * 10**7}),
    "numerator": (fractions.Fraction, {"numerator": "1e30000000"}),
    "length of bytes": ((5).to_bytes, {"byteorder": "big", "length": N}),
    "length of a digest": (hashlib.shake_128(b"x").hexdigest, {"length": N}),
    "indents": (json.dumps, {"obj": [1] * 1000, "indent": 10**6}),
    "tabs of a text": (textwrap.fill, {"text": "\t" * 1000, "tabsize": 10**6}),
    "quantiles": (statistics.quantiles, {"data": [1, 2], "n": N}),
    "column": (calendar.TextCalendar().formatyear, {"theyear": 2020, "c": 10**7}),
    "size of a buffer": (partial(zlib.decompress, zlib.compress(b"a")), {"bufsize": 3 * N}),
    "modulus": (pow, {"exp": BIG, "mod": BIG + 1}),
}
ALONE = {
    "text",
    "base",
    "number",
    "numerator",
    "length",
    "obj",
    "data",
    "theyear",
    "bufsize",
    "exp",
} | {
    "dec",
    "context",
}
"""Names of arguments beside which there is no other."""
SMALL: dict[str, tuple[Any, ...]] = {
    "many of the most common": (collections.Counter("abc").most_common, N),
    "whole context": (difflib.unified_diff, ["a"], ["b"], "", "", "", "", N),
    "wide text": (textwrap.fill, "a b", N),
    "seed": (random.Random(1).seed, N),
    "number in a range": (random.randint, 0, N),
    "timestamp": (datetime.datetime.fromtimestamp, N),
    "ordinal": (datetime.timedelta, 0, N),
    "number in bytes": ((N).to_bytes, 8, "big"),
    "json of a number": (json.dumps, N),
    "address": (ipaddress.ip_address, N),
    "format of a date": (format, datetime.date(2020, 1, 1), "%Y-%m-%d"),
    "format of an enum": (format, Color.RED, ">20"),
    "token": (secrets.token_bytes, 1000),
    "calendar": (calendar.TextCalendar().formatyear, 2020, 2, 1, 6, 3),
    "list": ([0].__mul__, 1000),
    "negative": ([0].__mul__, -N),
    "percent": ("%5d and %.3f %s %%".__mod__, (1, 1.5, "a")),
    "percent of a nested value": ("%s %s".__mod__, (((1, ("a",)), {"b": [2]}), 1 << 4000)),
    "a shared value once": ("%s".__mod__, ((("b" * 1000,) * 10,) * 10,)),
    "format": ("{:>{}} {!r:10}".format, "1", 20, "b"),
    "pow": (pow, 10, 1000),
    "modular power": (pow, 10, N, 7),
    "power of one": ((1).__pow__, N),
    "round": (round, 5.5, 2),
    "comb": (math.comb, N, 2),
    "join": (", ".join, ["a", "b"]),
    "replace": ("abc".replace, "x", "y" * 10000),
    "bytes of a list": (bytes, [1, 2, 3]),
    "decimal": (int, decimal.Decimal("12.5")),
    "fraction of a decimal": (fractions.Fraction.from_decimal, decimal.Decimal("1.5e10")),
    "mean of decimals": (statistics.mean, [decimal.Decimal("12.5"), decimal.Decimal("1e-20")]),
    "tee": (itertools.tee, [], 1000),
    "infinite": (statistics.mean, [decimal.Decimal("inf")]),
    "mode of decimals": (statistics.mode, [decimal.Decimal("12.5")] * 1000),
    "percent of a decimal": ("%d %.2f".__mod__, (decimal.Decimal("1e20"), decimal.Decimal(2))),
    "text of a large decimal": ("%s".__mod__, decimal.Decimal("1e300000000")),
    "large decimal as it is": ("{}".format, decimal.Decimal("1e300000000")),
    "format of a decimal": ("{:.2f}".format, decimal.Decimal("12.345")),
    "root of a large decimal": (math.sqrt, decimal.Decimal("1e300")),
    "ln": (decimal.Context(prec=50).ln, decimal.Decimal(2)),
    "exp": (decimal.Decimal(2).exp, decimal.Context(prec=1000)),
    "power of decimals": (pow, decimal.Decimal(2), decimal.Decimal("0.5")),
    "whole power": (pow, decimal.Decimal(2), N // 2000),
    "range": (range, N),
    "spaces": (re.compile(r"\s+").sub, " ", "abc " * 10**5),
    "groups": (re.sub, r"(\w+)", r"<\1>", "word " * 10**5),
    "Template": (string.Template("$x and $y").substitute, {"x": 1, "y": "abc"}),
    "indent": (textwrap.indent, "a\n" * 1000, "    "),
    "json": (json.dumps, {"a": [1] * 1000}),
    "encoder": (json.JSONEncoder(indent=4).encode, {"a": [1] * 1000}),
    "rows": (csv.writer(io.StringIO()).writerows, [["a" * 100] * 100] * 100),
    "rows of dicts": (csv.DictWriter(io.StringIO(), ["a", "b"]).writerows, [{"a": 1}] * 100),
    "TextWrapper": (textwrap.TextWrapper(initial_indent="- ").fill, "word " * 1000),
    "lines of a file": (io.BytesIO().writelines, [b"a" * 1000] * 1000),
    "text of a file in memory": (io.TextIOWrapper(io.BytesIO()).write, "a" * 1000),
    "zlib": (zlib.decompress, zlib.compress(bytes(10**6))),
    "gzip": (gzip.decompress, gzip.compress(b"a") + gzip.compress(b"b")),
    "zlib in parts": (zlib.decompressobj().decompress, zlib.compress(b"a"), 100),
    "pbkdf2": (hashlib.pbkdf2_hmac, "sha256", b"a", b"b", 1000),
    "signature": (pow, 3, 1 << 4095, (1 << 4096) - 1),
    "small modulus": (pow, 3, 10**100000, 7),
    "lcm": (math.lcm, *range(1, 100)),
    "multiplication": (operator.mul, 1 << 100000, 1 << 100000),
    "addition": (operator.add, 1 << 3000000, 1),
    "product": (itertools.product, range(1000), range(1000)),
}


def check(func: Any, *args: Any, **named: Any) -> None:
    """Estimate with the default limit."""
    check_result(func, list(args), named.items(), LIMIT)


class Numbers(rpyc.Service):
    """Exports values and functions of the standard library."""

    exposed_multiply = staticmethod(operator.mul)
    exposed_power = staticmethod(pow)
    exposed_bytes = bytearray
    exposed_sum = staticmethod(sum)
    exposed_combinations = itertools.combinations
    exposed_product = itertools.product
    exposed_dumps = staticmethod(json.dumps)
    exposed_token = staticmethod(secrets.token_hex)

    def __init__(self) -> None:
        self.exposed_list = [0]
        self.exposed_to_bytes = (5).to_bytes
        self.exposed_expand = "a\t".expandtabs
        self.exposed_format = "{:{}}".format
        self.exposed_named_format = "{:{width}}".format
        self.exposed_deque = collections.deque([0])
        self.exposed_range = range(N)

    def exposed_own(self, count: int) -> int:
        """Return the length of a list that the program makes of a number."""
        return len([0] * count)


class Growing:
    """A number that gets larger each time it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def exposed___index__(self) -> int:
        """Return 2 first, much more then."""
        self.asked += 1
        return 2 if self.asked == 1 else N

    __index__ = exposed___index__


@pytest.mark.parametrize("case", TOO_LARGE)
def test_a_result_is_not_made_too_large(case: str) -> None:
    """The size is estimated from the operands."""
    func, *args = TOO_LARGE[case]
    if case == "width of an argument":
        args = [f"{N}"]
    with pytest.raises(LimitExceeded, match="max_memory"):
        check(func, *args)


@pytest.mark.parametrize("case", NAMED)
def test_named_arguments_are_looked_at(case: str) -> None:
    """The size may come with a name."""
    func, named = NAMED[case]
    with pytest.raises(LimitExceeded, match="max_memory"):
        check(func, *(() if ALONE.intersection(named) else ("a",)), **named)


@pytest.mark.parametrize("case", SMALL)
def test_usual_results_are_allowed(case: str) -> None:
    """Nothing that fits is refused, and the function works with the arguments."""
    func, *args = SMALL[case]
    check(func, *args)
    func(*args)


@pytest.mark.parametrize("power", [pow, operator.pow, decimal.Decimal.__pow__])
def test_a_power_is_computed_with_the_precision_of_the_thread(power: Any) -> None:
    """Powers of decimal numbers take the current context, whose precision may be a peer's."""
    with decimal.localcontext() as context:
        context.prec = 10**5
        with pytest.raises(LimitExceeded, match="max_memory"):
            check(power, decimal.Decimal(2), decimal.Decimal("0.5"))
        check(power, decimal.Decimal(2), 3)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "list": lambda root: root.list * N,
    "deque": lambda root: root.deque * N,
    "function": lambda root: root.multiply("a", N),
    "power": lambda root: root.power(10, N),
    "class": lambda root: root.bytes(N),
    "indent of a peer's list": lambda root: root.dumps([1], indent=10**6),
    "sum of a range": lambda root: root.sum(root.range),
    "search in a range": lambda root: 1.5 in root.range,
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_a_peer_gives_no_size_that_is_too_large(pair: Callable[..., Any], case: str) -> None:
    """A restricted peer is refused with the key that changes the limit."""
    client, _ = pair(Numbers())
    with pytest.raises(Exception, match=r"max_memory|max_steps"):
        OPERATIONS[case](client.root)
    assert client.root.list == [0]
    assert client.root.dumps([1], indent=4) == "[\n    1\n]"


def test_a_chain_is_bounded_too(pair: Callable[..., Any]) -> None:
    """The steps of a chain are calls like others."""
    client, _ = pair(Numbers())
    with client.pipeline() as batch:
        result = batch.root.multiply("a", N)
    with pytest.raises(Exception, match="max_memory"):
        fetch(result)


@pytest.mark.parametrize("end", ["", ")"])
def test_a_name_without_an_end_is_looked_for_once(end: str) -> None:
    """The estimate of ``%`` is linear: for the square of this number it would take minutes."""
    check(("%(" * 10**6 + end).__mod__, 1)


def test_the_end_of_a_name_is_found() -> None:
    """There may be parentheses in it."""
    for text in ("%((a))1000000000d", "%(a(b)c)1000000000d", "%%%()1000000000d", "%(%)1000000000d"):
        with pytest.raises(LimitExceeded, match="max_memory"):
            check(text.__mod__, {})
    check("%%1000000000d".__mod__, {})


def test_the_limit_is_configured(pair: Callable[..., Any]) -> None:
    """``max_memory`` is the limit."""
    client, _ = pair(Numbers(), there_config={"max_memory": 1 << 20})
    with pytest.raises(Exception, match="limit is 1048576"):
        client.root.multiply("a", 2 << 20)
    assert len(client.root.multiply("a", 1000)) == 1000


def test_a_number_of_the_peer_is_asked_for_once(pair: Callable[..., Any]) -> None:
    """What has been looked at is what is used."""
    client, _ = pair(Numbers())
    number = Growing()
    assert client.root.multiply(client.root.list, number) == [0, 0]
    assert number.asked == 1


PROXIES: dict[str, Callable[[Any, Any], Any]] = {
    "tabsize": lambda root, number: root.expand(tabsize=number),
    "repeat": lambda root, number: root.product([1], repeat=number),
    "r": lambda root, number: root.combinations([1], r=number),
    "length": lambda root, number: root.to_bytes(length=number, byteorder="big"),
    "width": lambda root, number: root.format(1, number),
    "named width": lambda root, number: root.named_format(1, width=number),
    "function in Python": lambda root, number: root.token(number),
    "named, in Python": lambda root, number: root.token(nbytes=number),
}


@pytest.mark.parametrize("case", PROXIES)
def test_a_proxy_that_says_how_large_is_asked_once(pair: Callable[..., Any], case: str) -> None:
    """A number of the peer's is replaced by a plain one, named or not."""
    client, _ = pair(Numbers())
    number = Growing()
    PROXIES[case](client.root, number)
    assert number.asked == 1
    number.asked = 1
    with pytest.raises(Exception, match="max_memory"):
        PROXIES[case](client.root, number)


class Text(str):
    """A text of another class."""


class Cases(rpyc.Service):
    """Exports the function of a case."""

    def exposed_func(self, name: str) -> Any:
        """Return what is called."""
        return BY_REFERENCE[name][0]


BY_REFERENCE: dict[str, tuple[Any, ...]] = {
    **{name: TOO_LARGE[name] for name in ("join", "prod", "a value many times", "Template")},
    "join of bytes": ((b"a" * 10000).join, [b""] * 10000),
    "join of a UserString": (collections.UserString("a" * 10000).join, [""] * 10000),
    "join of a class": (str.join, "a" * 10000, [""] * 10000),
    "join of a subclass": (Text("a" * 10000).join, [""] * 10000),
    "table": (("a" * 10000).translate, {97: "b" * 10000}),
    "mod of a table": (operator.mod, "%(a)s" * 10000, {"a": "b" * 10000}),
    "dist": (math.dist, [1 << 300_000] * 2, [1] * 2),
}
LAZY = [name for name in BY_REFERENCE if "join" in name] + ["prod"]


@pytest.mark.parametrize("case", BY_REFERENCE)
def test_what_the_peer_keeps_is_looked_at_too(pair: Callable[..., Any], case: str) -> None:
    """A container of the peer's is refused like a tuple that it sends."""
    client, _ = pair(Cases(), there_config={"allow_public_attrs": True})
    with pytest.raises(Exception, match="max_memory"):
        client.root.func(case)(*BY_REFERENCE[case][1:])


@pytest.mark.parametrize("case", LAZY)
def test_what_the_peer_yields_is_looked_at_too(pair: Callable[..., Any], case: str) -> None:
    """A generator of the peer's is refused like a tuple that it sends."""
    client, _ = pair(Cases(), there_config={"allow_public_attrs": True})
    *args, items = BY_REFERENCE[case][1:]
    with pytest.raises(Exception, match="max_memory"):
        client.root.func(case)(*args, (one for one in items))


def test_small_containers_of_the_peer_are_used(pair: Callable[..., Any]) -> None:
    """What they become is what a tuple or dict of this side would."""
    client, _ = pair(Cases(), there_config={"allow_public_attrs": True})
    func = client.root.func
    assert len(func("join")(["b", "c"])) == 10002
    assert len(func("join of a UserString")(seq=["b", "c"])) == 10002
    assert func("prod")([2, 3]) == func("prod")(iter([2, 3])) == 6
    assert func("mod of a table")("%(a)s%(b)d", {"a": ["x"], "b": 1}) == "['x']1"
    assert func("Template")({"x": "y"}) == "y" * 1000
    assert func("table")({97: "b"}) == "b" * 10000
    assert func("dist")([0, 0], [3, 4]) == 5


class Wordy(list[Any]):
    """A list of the peer's that is long when it is shown."""

    asked = 0

    def __repr__(self) -> str:
        Wordy.asked += 1
        return "x" * 40_000

    def __call__(self, *args: Any) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)

    def read(self, size: int) -> str:
        """Return a piece of a file; there are a thousand."""
        return repr(self) if Wordy.asked < 1000 else ""


class Null:
    """A file that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


class Shown(rpyc.Service):
    """Exports functions that write out what they are given."""

    exposed_mod = staticmethod(operator.mod)
    exposed_named = ("%(a)s" * 1000).__mod__
    exposed_format = ("{0}" * 1000).format
    exposed_substitute = string.Template("$a" * 1000).substitute
    exposed_repr = staticmethod(repr)
    exposed_str = str
    exposed_pformat = staticmethod(pprint.pformat)
    exposed_sub = re.compile("a").sub
    exposed_copy = staticmethod(shutil.copyfileobj)
    exposed_sort = staticmethod(sorted)
    exposed_dumps = staticmethod(json.dumps)
    exposed_indent = staticmethod(textwrap.indent)

    def __init__(self) -> None:
        self.exposed_null = Null()


SHOWN: dict[str, Callable[[Any], Any]] = {
    "percent of a dict": lambda root: root.named({"a": Wordy()}),
    "percent of a value": lambda root: root.named({"a": (Wordy(),)}),
    "percent of many": lambda root: root.mod("%s" * 1000, (Wordy(),) * 1000),
    "format": lambda root: root.format(Wordy()),
    "Template": lambda root: root.substitute({"a": Wordy()}),
    "Template with a name": lambda root: root.substitute(a=Wordy()),
    "repr of a tuple": lambda root: root.repr((Wordy(),) * 1000),
    "str of a tuple": lambda root: root.str((Wordy(),) * 1000),
    "pformat": lambda root: root.pformat((Wordy(),) * 1000),
    "replacements": lambda root: root.sub(Wordy(), "a" * 1000),
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_text_of_the_peer_is_not_asked_for_without_end(
    pair: Callable[..., Any], case: str
) -> None:
    """What the peer answers to one call is counted as it comes, whatever asks for it."""
    config = {"max_memory": 4 << 20}
    client, _ = pair(Shown(), there_config=config, here_config={"allow_public_attrs": True})
    Wordy.asked = 0
    with pytest.raises(Exception, match="max_memory"):
        SHOWN[case](client.root)
    assert 90 < Wordy.asked < 120
    assert client.root.mod("%s", Wordy()) == "x" * 40_000


SEPARATORS: dict[str, Callable[[Any], Any]] = {
    "separators": lambda root: root.dumps((1,) * 1000, separators=["y" * 100_000, ":"]),
    "a separator": lambda root: root.dumps((1,) * 1000, separators=(Text("y"), ":")),
    "an indent": lambda root: root.dumps((1,) * 1000, indent=Text("y")),
    "a prefix": lambda root: root.indent("a\n" * 1000, Text("y")),
}


@pytest.mark.parametrize("case", SEPARATORS)
def test_what_is_repeated_is_not_the_peers(pair: Callable[..., Any], case: str) -> None:
    """A text that stands between others is known before the call."""
    client, _ = pair(Shown(), here_config={"allow_public_attrs": True})
    with pytest.raises(Exception, match="max_memory"):
        SEPARATORS[case](client.root)
    assert client.root.dumps((1, 2), separators=["; ", ":"]) == "[1; 2]"


def test_answers_that_are_not_kept_are_not_counted(pair: Callable[..., Any]) -> None:
    """A copy passes on what it reads, and a comparison says no more than yes or no."""
    config = {"max_memory": 4 << 20, "allow_public_attrs": True}
    client, _ = pair(Shown(), there_config=config, here_config={"allow_public_attrs": True})
    Wordy.asked = 0
    client.root.copy(Wordy(), client.root.null)
    assert Wordy.asked == 1000
    words = [Wordy([number % 10]) for number in range(1000)]
    assert [len(one) for one in client.root.sort(words)] == [1] * 1000


@pytest.mark.parametrize("func", [re.compile("a").sub, partial(re.sub, "a")])
def test_a_pattern_runs_once_more_only_for_a_result_that_may_be_large(
    func: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a pattern has no bound, so it is not taken twice without need."""
    counted: list[Any] = []
    monkeypatch.setattr(result_sizes, "_in_matches", lambda *args: counted.append(args) or 0)
    check_result(func, ["b" * 100, "a" * 10_000], (), 1 << 30)
    assert not counted
    check_result(func, ["b" * 100, "a" * 10_000], (), 1 << 16)
    assert len(counted) == 1


def test_functions_of_the_program_decide_themselves(pair: Callable[..., Any]) -> None:
    """What they do with a number is theirs."""
    client, _ = pair(Numbers(), there_config={"max_memory": 1 << 20})
    assert client.root.own(1 << 20) == 1 << 20


def test_emacs_gives_no_size_either() -> None:
    """A registered function of the library is looked at as well."""
    victim = EpcVictim()
    victim.connection.server.register_function(operator.mul, "multiply")
    victim.send(b'(call 1 multiply ("a" 1000000000))\n')
    answer = victim.receive()
    assert answer.startswith(b"(return-error 1 ")
    assert b"max_memory" in answer
    victim.send(b'(call 2 multiply ("a" 3))\n')
    assert victim.receive() == b'(return 2 "aaa")\n'
    victim.close()


def test_erlang_gives_no_size_either() -> None:
    """A function of an offered module is looked at as well."""
    instance = Instance.__new__(Instance)
    instance._resolve = only({"operator": operator})
    instance._max_result = LIMIT
    instance.handles = Handles()
    with pytest.raises(LimitExceeded, match="max_memory"):
        instance._do(operator.mul, ["a", N], {})
    assert instance._do(operator.mul, ["a", 3], {}) == "aaa"
