"""Inputs that amplify: brine, messages, frames and snapshots that become much, or cost much.

A generator gives ``(name, data)`` for a size in bytes, which it keeps to roughly, and a source of
chance. A decoder takes the data and may raise an error of this package.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from rpyc_like.core import brine, vinegar
from rpyc_like.core.brine import tuple_head
from rpyc_like.core.config import make_config
from rpyc_like.core.encoding.boxing import Boxer
from rpyc_like.core.encoding.codec import Dialect, RpycCodec
from rpyc_like.core.proxies.remote_classes import RemoteClasses
from rpyc_like.core.references.tables import ExportTable, ImportTable
from rpyc_like.core.snapshots import load as snapshot_load
from rpyc_like.wire.framing import RpycFramer

__all__ = ["TARGETS", "Decoder", "Generator"]

Generator = Callable[[int, Random], Iterator[tuple[str, bytes]]]
Decoder = Callable[[bytes], object]

_PRIME = (1 << 61) - 1  # integers that are multiples of it hash to 0
_ATOMS = (b"\x00", b"\x02", b"\x50", b"\x20", b"\x0a\x21", b"\x16\x021", b"\x18" + bytes(8))


def _repeated(size: int, *items: bytes) -> bytes:
    pattern = b"".join(items)
    count = max(1, size // len(pattern))
    return tuple_head(count * len(items)) + pattern * count


def _nested(size: int, width: int) -> bytes:
    """Return brine of frozensets in each other whose items differ deep inside only."""
    known: dict[tuple[int, int], bytes] = {}

    def made(level: int, kind: int) -> bytes:
        if not level:
            return brine.dump(2.0 ** (61 * (kind % 32 - 16)))  # all have the hash 1
        if (level, kind) not in known:
            kinds = (*range(width - 1), width - 1 + kind)
            items = [made(level - 1, one) for one in kinds]
            known[level, kind] = b"\x1a" + tuple_head(width) + b"".join(items)
        return known[level, kind]

    level = 1
    while len(made(level, 0)) * width < size:
        level += 1
    return made(level, 0)


def _item(chance: Random, depth: int) -> bytes:
    """Return a small value of any shape."""
    kind = chance.randrange(6 if depth else 2)
    if kind == 0:
        return chance.choice(_ATOMS)
    if kind == 1:
        return brine.dump(chance.choice([1, 10**9, "a", "\u20ac", "\U0001f600", b"b", 1.5, 2j]))
    if kind == 2:
        return b"\x19\x12" + b"".join([_item(chance, depth - 1) for _ in range(3)])
    inner = [_item(chance, depth - 1) for _ in range(chance.randrange(6))]
    return (b"\x1a" if kind == 3 else b"") + tuple_head(len(inner)) + b"".join(inner)


def values(size: int, chance: Random) -> Iterator[tuple[str, bytes]]:
    """Give brine of one value each."""
    yield "empty frozensets", _repeated(size, b"\x1a\x02")
    yield "empty tuples", _repeated(size, b"\x02")
    yield "empty bytes", _repeated(size, b"\x01")
    yield "tuples of empty frozensets", _repeated(size, tuple_head(19) + b"\x1a\x02" * 19)
    yield "tuples of one", _repeated(size, b"\x10\x20")
    yield "constants", _repeated(size, b"\x00")
    yield "chains", _repeated(size, b"\x10" * 59 + b"\x02")
    yield "deep chains", _repeated(size, b"\x10" * 900 + b"\x02")
    yield "slices", _repeated(size, b"\x19\x12\x00\x00\x00")
    yield "frozensets of 19", _repeated(size, b"\x1a\x14\x13" + bytes(range(0x20, 0x33)))
    yield "floats", _repeated(size, b"\x18" + bytes(8))
    yield "empty texts", _repeated(size, b"\x08\x01")
    yield (
        "wide text",
        b"\x08\x0f" + size.to_bytes(4, "big") + "\U0001f600".encode() + bytes(size - 4),
    )
    lone = size // 3
    yield "surrogates", b"\x08\x0f" + (3 * lone).to_bytes(4, "big") + b"\xed\xa0\x80" * lone
    yield "bytes", b"\x0f" + size.to_bytes(4, "big") + bytes(size)
    count = size // 20
    yield "equal hashes", b"\x1a" + brine.dump(tuple([n * _PRIME for n in range(1, count)]))
    kinds = [brine.dump(((0,) * 230, n * _PRIME)) for n in range(1, 65)]
    repeated = [kinds[n * 37 % 64] for n in range(max(1, size // len(kinds[0])))]
    yield "repeated keys of one hash", b"\x1a" + tuple_head(len(repeated)) + b"".join(repeated)
    for width in (2, 4, 8):
        yield f"frozensets of {width} of one hash in each other", _nested(size, width)
    yield "a frozenset", b"\x1a" + brine.dump(tuple(range(200, 200 + size // 8)))
    yield "digits", _repeated(size, b"\x17" + (20_000).to_bytes(4, "big") + b"9" * 20_000)
    yield "malformed at the end", _repeated(size, b"\x10\x50")[:-1] + b"\x07"
    for number in range(3):
        items = [_item(chance, 4) for _ in range(20)]
        yield f"mixture {number}", _repeated(size, *items)


def messages(size: int, chance: Random) -> Iterator[tuple[str, bytes]]:
    """Give payloads of the usual dialect."""
    for name, value in values(size, chance):
        yield f"reply, {name}", b"\x02\x11\x51\x11\x51" + value
    box = b"\x11\x51\x1a\x02"
    yield "boxes", b"\x02\x11\x51\x11\x52" + _repeated(size, box)
    yield "boxes of tuples", b"\x02\x11\x51\x11\x52" + _repeated(size, b"\x11\x52\x02")
    references = [
        b"\x11\x54" + brine.dump(("a.B", number, number + 1)) for number in range(size // 20)
    ]
    yield "references", b"\x02\x11\x51\x11\x52" + tuple_head(len(references)) + b"".join(references)
    one = (("builtins", "ValueError"), ("x",), (("a", 1),) * (size // 8), "")
    yield "an exception", b"\x03\x11\x51" + brine.dump(one)


def frames(size: int, chance: Random) -> Iterator[tuple[str, bytes]]:
    """Give deflated frames."""
    for name, payload in messages(size, chance):
        packed = zlib.compress(payload, 9)
        yield f"deflated, {name}", len(packed).to_bytes(4, "big") + b"\x01" + packed + b"\n"
    packer = zlib.compressobj(9)
    packed = b"".join([*[packer.compress(bytes(1 << 20)) for _ in range(100)], packer.flush()])
    yield "a bomb", len(packed).to_bytes(4, "big") + b"\x01" + packed + b"\n"


def snapshots(size: int, chance: Random) -> Iterator[tuple[str, bytes]]:
    """Give brine of snapshots."""
    tokens: dict[str, tuple[Any, ...]] = {
        "lists": (1, 0),
        "dicts": (2, 0),
        "sets": (3, 0),
        "deques": (10, "deque", 0),
        "Counters": (10, "Counter", 0),
        "dates": (11, "date", "2020-01-01"),
        "Fractions": (11, "Fraction", 1, 3),
        "paths": (11, "PurePosixPath", "a/b"),
    }
    for name, token in tokens.items():
        count = max(1, size // len(brine.dump(token)))
        yield name, brine.dump(((), ((1, count), *((token,) * count))))
    count = size // 5
    for name, head in (("deep tuples", (0, 1)), ("deep lists", (1, 1)), ("deep sets", (4, 1))):
        yield name, brine.dump(((), (*((head,) * count), 1)))
    keys = tuple([number * _PRIME for number in range(1, size // 20)])
    yield "equal hashes", brine.dump(((), ((6, keys, keys),)))
    yield "a deep key", brine.dump(((), ((3, 1), *(((0, 1),) * count), 1)))
    again: list[Any] = [(1, count // 2)]
    for number in range(count // 2):
        again += [(0, 1), (7, number) if number else 1]
    yield "references", brine.dump(((), tuple(again)))


def _codec() -> RpycCodec:
    config = make_config(None)
    proxies = ImportTable(lambda: None)
    boxer = Boxer(object(), ExportTable(), proxies, RemoteClasses(config))
    codec = RpycCodec(boxer, Dialect(6, False))
    codec.failure = lambda raw: vinegar.load(raw, False, False)  # type: ignore[method-assign]
    return codec


def _decode_frame(data: bytes) -> Any:
    framer = RpycFramer(max_first_frame_size=1 << 30)
    payloads = framer.feed(data)
    if framer.error is not None:
        raise framer.error
    codec = _codec()
    return [codec.decode(payload) for payload in payloads]


TARGETS: dict[str, tuple[Generator, Decoder]] = {
    "brine": (values, brine.load),
    "messages": (messages, lambda data: _codec().decode(data)),
    "frames": (frames, _decode_frame),
    "snapshots": (snapshots, lambda data: snapshot_load.load(brine.load(data))),
}
