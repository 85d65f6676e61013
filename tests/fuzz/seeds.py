"""Adds the first inputs to the corpus: ``python -m tests.fuzz.seeds``.

They are what a real client says, so that the fuzzer starts from conversations that make sense.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import inspect
import pathlib
import re
import sys
import uuid
import zlib
from collections.abc import Iterator

from rpyc_like.core import brine, consts
from rpyc_like.core.endpoint import FEATURES
from rpyc_like.core.snapshots import dump as snapshot_dump
from rpyc_like.lib import object_ids
from rpyc_like.wire import login
from rpyc_like.wire.framing import EpcFramer, RpycFramer
from tests.support import etf

from . import corpus, targets

VALUES = [
    *(None, True, 3, -300, 10**30, 1.5, 2j, "text", "\u00fc" * 100, b"x" * 300, b"ab", ()),
    *((1, (2, "3")), frozenset([5]), slice(1, 2, 3), NotImplemented, Ellipsis, (1, 2, 3, 4, 5)),
]


def request(number: int, handler: int, boxed: bytes) -> bytes:
    """Returns the payload of a request."""
    head = b"\x11" + brine.dump(number) + b"\x11" + brine.dump(handler)
    return b"\x01" + head + boxed


def on(pack: tuple[str, int, int], *rest: bytes) -> bytes:
    """Returns the boxed arguments of a request about a lent object."""
    return (
        b"\x11\x52"
        + brine.tuple_head(1 + len(rest))
        + b"\x11\x53"
        + brine.dump(pack)
        + b"".join(rest)
    )


def value(plain: object) -> bytes:
    return b"\x11\x51" + brine.dump(plain)


def conversations() -> Iterator[list[bytes]]:
    """Yields what clients say: each begins by asking for the root."""
    targets._start_numbers_anew()
    name, number = object_ids.class_pack(targets.Service)
    root = (name, number, number + 1)
    callback = b"\x11\x54" + brine.dump(("m.f", 7, 8))
    start = [request(0, consts.HANDLE_GETROOT, value(()))]
    for handler in (*range(1, 21), *range(100, 110)):
        yield [request(0, handler, value(()))]
        yield [*start, request(1, handler, on(root))]
        yield [*start, request(1, handler, on(root, value("echo")))]
        yield [*start, request(1, handler, on(root, value("__exit__"), value(1)))]
        yield [*start, request(1, handler, on(root, value("item"), value(()), value(())))]
        yield [*start, request(1, handler, on(root, callback, value("__eq__")))]
        yield [*start, request(1, handler, value((root,)))]
    for method in ("echo", "item", "fail", "count", "call"):
        for argument in ((value(((1,))),), (b"\x11\x52\x10" + callback,)):
            call = on(root, value(method), *argument, value(()))
            yield [*start, request(1, consts.HANDLE_CALLATTR, call)]
    hello = request(1, consts.HANDLE_HELLO, value((15,)))
    everything = request(1, consts.HANDLE_HELLO, value((FEATURES | consts.FEATURE_PUBLIC,)))
    described = b"\x11\x55\x11" + brine.dump(("m.C", 7, 8))
    description = (("f", None), ("____class____", ((("m", "C"),), (), (("f",), (), (), ()))))
    greeted = [*start, everything]
    yield [*greeted, request(2, consts.HANDLE_CALLATTR, on(root, value("echo"), value((1,))))]
    echo = on(root, value("echo"), b"\x11\x52\x10" + described + brine.dump(description))
    yield [*greeted, request(2, consts.HANDLE_CALLATTR, echo)]
    lent = b"\x11\x52\x11" + value(0) + b"\x11\x53" + brine.dump(root)
    for step in (
        b"\x11\x52\x12" + value(0) + lent + value("echo"),
        b"\x11\x52\x14\x05" + value(2) + lent + value("item") + value(()) + value(()),
        b"\x11\x52\x13" + value(3) + lent + value("x") + value((0, 1)),
        b"\x11\x52\x13" + value(4) + lent + value(((0, (1, 0, -1), "value"),)) + value((1, 0, 0)),
        value((5,)),
    ):
        chain = b"\x11\x52\x11\x11\x52\x11" + value((5,)) + step + value((0, 1))
        yield [*greeted, request(2, consts.HANDLE_CHAIN, chain)]
    for number_, handler in enumerate((104, 105, 106, 107, 108), 2):
        arguments = on(root, value(0), value(5), value(0))
        yield [*greeted, request(number_, handler, arguments)]
    release = b"\x01\x11\x50\x11" + brine.dump(101) + value(((root, 1),))
    yield [*start, hello, request(2, consts.HANDLE_GETROOT, value(())), release]
    yield [b"\x02\x11\x50" + value(5), b"\x02\x11\x51" + value(b"x")]
    error = (("builtins", "KeyError"), ("x",), (("_remote_version", "6.0.2"),), "text")
    extra = ((("builtins", "KeyError"),), ("note",), error, None, True, None)
    for exception in (error, (*error, extra), 1, "old"):
        yield [b"\x03\x11\x50" + brine.dump(exception)]
    yield [b"\x12" + request(0, consts.HANDLE_GETROOT, value(()))[1:].replace(b"\x11", b"\x51", 1)]


def snapshots() -> Iterator[object]:
    """Yields snapshots of data of each kind."""
    moment = datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)
    shared = [1, moment]
    for data in (
        *([1, "x", None], {"a": [1, (2, {3})]}, [shared, shared], frozenset([b"x"])),
        *(bytearray(b"y"), decimal.Decimal("1.5"), moment.date(), moment.time(), moment - moment),
        *(range(3), slice(1), uuid.UUID(int=1), pathlib.PurePath("x"), array.array("b", b"x")),
        *(collections.Counter("ab"), fractions.Fraction(1, 2), collections.deque([[]])),
        *(re.ASCII, moment.tzinfo),
        inspect.Attribute("a", "b", int, 4),  # type: ignore[attr-defined]
    ):
        try:
            yield snapshot_dump.dump(data, lambda container: None, getattr)
        except TypeError:
            continue  # a class is no data


TEXTS = [
    *("1 -2 +3 1. 1e5 -0.0e+NaN 1.0e+INF", "nil t () (nil)"),
    *('"a\\n\\x41\\ \\u00fc\\101\\^?\\M-a"', "'(a . b) `(a ,b ,@c) #'f #:g ##"),
    *("[1 2 [3]] ?a ?\\C-x ?\\n", "#x1F #b101 #o17 #24rx"),
    *("#s(hash-table test equal data (a 1 b 2))", "#s(point 1 2)", '#&5"\\37"', "; a comment\n1"),
    *("#1=(a . #1#)", '#("text" 0 2 (face bold))', "\\(odd\\ name) :key", "#<buffer x>"),
    *("(((1 . 2) . 3) . 4)", "(call 1 echo (1 2))\n", "(return 1 (a b))\n"),
    *('(return-error 2 "wrong")\n', "(methods 3)\n", '(epc-error 4 "x")\n'),
    *("(call (a) echo (1))", "(call 1 echo 1 2)", "(call 1 echo (((((1))))))", "[(a . [b]) c]"),
    *("(1 .5 . 6)", "(call 1 nobody ())"),
]
"""S-expressions and messages of EPC."""


def terms() -> list[bytes]:
    """Returns external terms of each kind."""
    written = [one.data for one in etf.corpus()] + [one.data for one in etf.crafted()]
    return [term for term in written if len(term) < 300]


def logins() -> list[bytes]:
    """Returns messages of logins."""
    nonce = bytes(range(32))
    said = [
        (b"token", nonce),
        (b"token", nonce, nonce),
        (b"ann", nonce, nonce),
        (b"ok", nonce),
        (b"no",),
    ]
    odd = [b"", b"\0", b"\0\0", b"\0\5ab", *[bytes([0, n]) * 3 for n in range(50)]]
    return [login.pack(*parts)[2:] for parts in said] + odd


def main() -> None:
    payload = b"payload" * 10
    packed = zlib.compress(payload)
    deflated = len(packed).to_bytes(4, "big") + b"\1" + packed + b"\n"
    frames = [RpycFramer().encode(payload) * 3, deflated]
    frames += [EpcFramer().encode(payload), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
    inputs = {
        "brine": [brine.dump(plain) for plain in VALUES],
        "frame": [b"\x03" + frame for frame in frames],
        "sexp": [text.encode() for text in TEXTS] + [text.encode()[:-1] for text in TEXTS],
        "etf": terms(),
        "login": logins(),
        "snapshot": [brine.dump_surrogates(one) for one in snapshots()],
        "dispatch": [
            role + targets.join(payloads) for role in (b"\0", b"\1") for payloads in conversations()
        ],
    }
    for name, seeds in inputs.items():
        corpus.save(name, [*corpus.load(name), *seeds])
        print(f"{name}: {len(corpus.load(name))} inputs")


if __name__ == "__main__":
    sys.exit(main())
