"""Inputs that amplify: s-expressions and external terms that become much, or cost much.

A generator gives ``(name, data)`` for a size in bytes, which it keeps to roughly. A decoder takes
the data as it comes off the wire and may raise an error of this package.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

__all__ = [
    "TARGETS",
    "Decoder",
    "Generator",
    "big",
    "expressions",
    "inflated",
    "list_of",
    "map_of",
    "terms",
]

Generator = Callable[[int], Iterator[tuple[str, bytes]]]
Decoder = Callable[[bytes], object]

_COLLIDING = (1 << 61) - 1  # integers that are multiples of it hash to 0


# -- external terms


def _counted(tag: int, count: int) -> bytes:
    return struct.pack(">BI", tag, count)


def big(number: int) -> bytes:
    """Return an integer of many bytes."""
    digits = number.to_bytes((number.bit_length() + 7) // 8, "little")
    return bytes((110, len(digits), 0)) + digits


def list_of(size: int, *items: bytes) -> bytes:
    """Return a list of ``size`` bytes that repeats some items."""
    pattern = b"".join(items)
    count = max(1, size // len(pattern))
    return _counted(108, count * len(items)) + pattern * count + b"j"


def inflated(data: bytes) -> int:
    """Return how many bytes a term says that it is, after inflation."""
    return int.from_bytes(data[2:6], "big") if data[:2] == b"\x83P" else len(data)


def _nested(size: int, head: bytes, tail: bytes = b"", core: bytes = b"j") -> bytes:
    count = max(1, size // len(head + tail))
    return head * count + core + tail * count


def _claims(size: int) -> bytes:
    """Return tuples of which each claims to have as many elements as there are bytes."""
    heads = b"".join(_counted(105, size - 5 * level) for level in range(1, 190))
    return heads + b"j" * (size - len(heads))


def map_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return a map of encoded keys and values."""
    return _counted(116, len(pairs)) + b"".join(key + value for key, value in pairs)


def _keys_of_keys(size: int) -> bytes:
    key = _counted(109, size - 1000) + bytes(size - 1000)
    return b"t\0\0\0\1" * 98 + map_of([(key, b"j")]) + b"j" * 98


def _lists_as_keys(size: int) -> bytes:
    key = list_of(size - 2000, b"a\1", b"j")
    return b"t\0\0\0\1l\0\0\0\1" * 60 + map_of([(key, b"j")]) + b"jj" * 60


def _funs(size: int) -> bytes:
    """Return funs, each closed over the next."""
    made = b"j"
    about = b"w\1m" + b"a\1" * 2 + b"X" + b"w\1n" + bytes(12)
    count = size // (len(about) + 30)
    step = 30 + len(about)
    heads = []
    for level in range(count):
        length = (count - level) * step + len(made) - 1
        heads.append(b"p" + struct.pack(">IB16sII", length, 0, bytes(16), 0, 1) + about)
    return b"".join(heads) + made


def _compressed(term: bytes, size: int | None = None) -> bytes:
    return b"\x83" + _counted(80, len(term) if size is None else size) + zlib.compress(term, 9)


def _atoms(size: int, length: int) -> Iterator[bytes]:
    for number in range(size // (length + 2)):
        yield bytes((119, length)) + (b"%x" % number).rjust(length, b"x")[-length:]


def _atom_list(size: int, length: int) -> bytes:
    atoms = list(_atoms(size, length))
    return _counted(108, len(atoms)) + b"".join(atoms) + b"j"


def _plain_terms(size: int) -> Iterator[tuple[str, bytes]]:
    yield "nils", list_of(size, b"j")
    yield "empty tuples", list_of(size, b"h\0")
    yield "large empty tuples", list_of(size, b"i\0\0\0\0")
    yield "empty lists with a tail", list_of(size, b"l\0\0\0\0j")
    yield "empty binaries", list_of(size, b"m\0\0\0\0")
    yield "empty bitstrings", list_of(size, b"M\0\0\0\0\0")
    yield "tuples of empty maps", list_of(size, b"h\x14" + b"t\0\0\0\0" * 20)
    yield "nils in tuples", _counted(105, size) + b"j" * size
    yield "tuples of a nil", list_of(size, b"h\1j")
    yield "lists of a nil", list_of(size, b"l\0\0\0\1jj")
    yield "empty strings", list_of(size, b"k\0\0")
    yield "strings", list_of(size, b"k\xff\xff" + bytes(0xFFFF))
    yield "strings of two", list_of(size, b"k\0\2ab")
    yield "empty maps", list_of(size, b"t\0\0\0\0")
    yield "maps with a list as key", list_of(size, b"t\0\0\0\1jj")
    yield "maps with a tuple as key", list_of(size, b"t\0\0\0\1h\1ja\1")
    yield "maps of a number", list_of(size, b"t\0\0\0\1a\1a\2")
    yield "bitstrings", list_of(size, b"M\0\0\0\1\3x")
    yield "binaries", list_of(size, b"m\0\0\0\2xy")
    yield "floats", list_of(size, b"F" + struct.pack(">d", 1.5))
    yield "floats as text", list_of(size, b"c" + b"1.5".ljust(31, b"\0"))
    yield "integers", list_of(size, b"b\1\2\3\4")
    yield "integers of two kinds", list_of(size, b"b\1\2\3\4", b"a\1")
    yield "five-byte integers", list_of(size, b"n\5\0\1\2\3\4\5")
    yield "one big integer", _counted(111, size) + b"\0" + b"\xff" * size
    yield "one negative integer", _counted(111, size) + b"\1" + b"\xff" * size
    yield "exports", list_of(size, b"qw\0w\0a\1")
    yield "pids", list_of(size, b"Xw\0" + b"\x7f" * 12)
    yield "references", list_of(size, b"Z\0\0w\0\0\0\0\1")
    yield "improper lists", list_of(size, b"l\0\0\0\1ja\1")
    yield "opaque terms", list_of(size, b"h\3d\0\x0f$erlport.opaquew\6erlangm\0\0\0\1j")
    yield "short new atoms", _atom_list(size, 4)
    yield "long new atoms", _atom_list(size, 255)
    yield (
        "atoms of wide letters",
        list_of(
            size, *(b"v\3\xfc" + "\U00010000".encode() * 254 + b"%04x" % n for n in range(2000))
        ),
    )


def _deep_terms(size: int) -> Iterator[tuple[str, bytes]]:
    yield "nested tuples", _nested(size, b"h\1")
    yield "nested lists", _nested(size, b"l\0\0\0\1", b"j")
    yield "nested tails", _nested(size, b"l\0\0\0\1j")
    yield "nested empty tails", _nested(size, b"l\0\0\0\0")
    yield "nested maps", _nested(size, b"t\0\0\0\1a\1")
    yield "maps as keys", _nested(size, b"t\0\0\0\1", b"j")
    yield "tuples as a key", b"t\0\0\0\1" + _nested(size, b"h\1") + b"j"
    yield "a key at all levels", _keys_of_keys(size)
    yield "a list at all levels", _lists_as_keys(size)
    yield "nested funs", _funs(size)
    yield "claims", _claims(size)
    yield "a claimed map", _counted(116, (size - 5) // 2) + b"j" * (size - 5)


def _keyed_terms(size: int) -> Iterator[tuple[str, bytes]]:
    count = size // 12
    yield "keys of one hash", map_of([(big(n * _COLLIDING), b"j") for n in range(1, count)])
    numbers = [b"m\0\0\0\4%04x" % n for n in range(min(size // 20, 60_000))]
    atoms = [b"w\4%04x" % n for n in range(min(size // 20, 60_000))]
    yield "twins", map_of([(key, b"j") for key in atoms + numbers])
    yield "keys", map_of([(struct.pack(">Bi", 98, n), b"j") for n in range(size // 6)])
    yield "floats as keys", map_of([(b"F" + struct.pack(">d", n), b"j") for n in range(size // 10)])


def terms(size: int, compressed: bool = True) -> Iterator[tuple[str, bytes]]:
    """Give external terms of about ``size`` bytes, inflated.

    Args:
        compressed: whether each comes compressed, too.
    """
    for group in (_plain_terms, _deep_terms, _keyed_terms):
        for name, term in group(size):
            yield name, b"\x83" + term
            if compressed:
                yield f"{name}, compressed", _compressed(term)
    yield "a bomb of zeros", _compressed(b"m" + bytes(4 * size))
    yield "a bomb that claims little", _compressed(b"m" + bytes(4 * size), 100)
    yield "a bomb that claims much", _compressed(b"j", 60 << 20)
    yield "garbage compressed", b"\x83" + _counted(80, size) + zlib.compress(b"j") + bytes(size)
    yield "cut off", b"\x83" + list_of(size, b"h\1j")[:-1]


# -- s-expressions


def _repeated(size: int, pattern: str, around: tuple[str, str] = ("(", ")")) -> str:
    count = max(1, size // len(pattern.encode()))
    return around[0] + pattern * count + around[1]


def _doubled(levels: int) -> str:
    """Return values of which each holds the one before twice."""
    labels = [f"#{n}=(#{n - 1}# #{n - 1}#)" for n in range(2, levels)]
    return f"(#1=(a a) {' '.join(labels)})"


def _prefixed(size: int) -> Iterator[tuple[str, str]]:
    for mark in ("'", "`", ",", ",@", "#'", "#1=", "#:", "(", "[", "#[", "#s(", "(a . ", "(a "):
        count = size // len(mark)
        end = {"(": ")", "[": "]", "#[": "]", "#s(": ")", "(a . ": ")", "(a ": ")"}.get(mark, "")
        yield f"nested {mark}", mark * count + "a" + end * count
        yield f"open {mark}", mark * count


def _lexical(size: int) -> Iterator[tuple[str, str]]:
    yield "numbers", _repeated(size, "1 ")
    yield "three digits", _repeated(size, "999 ")
    yield "digits", "9" * size
    yield "integers of 4000 digits", _repeated(size, "9" * 3990 + " ")
    yield "integers of 90000 digits", _repeated(size, "9" * 90_000 + " ")
    yield "hexadecimal digits", "#x" + "f" * size
    yield "digits of base 36", "#36r" + "z" * size
    yield "a base", "#" + "9" * size + "r1"
    yield "the size of a bool-vector", "#&" + "9" * size + '"a"'
    yield "digits of a float", "0." + "1" * size
    yield "digits of an exponent", "1e" + "1" * size
    yield "digits and a letter", "1" * size + "x"
    yield "numbers and a letter", "1 " * (size // 2) + "x"
    yield "one symbol", "a" * size
    yield "one escaped symbol", "\\a" * (size // 2)
    yield "one symbol with an escape", "a" * size + "\\b"
    yield "one text", '"' + "a" * size + '"'
    yield "one text of escapes", '"' + "\\n" * (size // 2) + '"'
    yield "one text of other escapes", '"' + "\\a" * (size // 2) + '"'
    yield "one text of backslashes", '"' + "\\\\" * (size // 2) + '"'
    yield "one text of octal escapes", '"' + "\\200" * (size // 4) + '"'
    yield "one text of hexadecimal escapes", '"\\x' + "4" * size + '"'
    yield "names of characters", '"' + "\\N{" * (size // 3) + '"'
    yield "character names", "?\\N{" * (size // 4)
    yield "one long character name", "?\\N{" + "A" * size + "}"
    yield "modifiers", "?" + "\\C-" * (size // 3) + "a"
    yield "an open text", '"' + "a" * size
    yield "open texts of escapes", '"' + "\\n" * (size // 2)
    yield "comments", ";\n" * (size // 2) + "1"
    yield "open comment", ";" * size
    yield "labels", "".join(f"#{n}=a " for n in range(size // 8))
    yield "spaces", " " * size + "1"
    yield "wide text", '"' + "a" * size + "\U00010000" + '"'


def _containers(size: int) -> Iterator[tuple[str, str]]:
    yield "empty lists", _repeated(size, "()")
    yield "nils", _repeated(size, "nil ")
    yield "lists of one", _repeated(size, "(a)")
    yield "vectors", _repeated(size, "[]")
    yield "records", _repeated(size, "#s()")
    yield "hash tables", _repeated(size, "#s(hash-table)")
    yield "byte-code", _repeated(size, "#[]")
    yield "char-tables", _repeated(size, "#^[]")
    yield "bool-vectors", _repeated(size, '#&8"a"')
    yield "one bool-vector", f'#&{size * 8}"{"a" * size}"'
    yield "quotes", _repeated(size, "'a")
    yield "empty texts", _repeated(size, '""')
    yield "short wide texts", _repeated(size, '"\u0100"')
    yield "short wider texts", _repeated(size, '"\U00010000"')
    yield "texts with properties", _repeated(size, '#("a")')
    yield "floats", _repeated(size, "1.5 ")
    yield "pairs", _repeated(size, "(a . b)")
    yield "new symbols", "(" + " ".join(f"{n:04x}" for n in range(size // 5)) + ")"
    yield "new escaped symbols", "(" + " ".join(f"\\{n:04x}" for n in range(size // 6)) + ")"
    yield "doubled lists", _doubled(min(size // 12, 60))
    yield "many references", "(#1=(a b c d) " + "#1#" * (size // 3) + ")"
    yield (
        "references to a large value",
        (f"(#1=({'a ' * (size // 4)}) " + "#1#" * (size // 6) + ")"),
    )
    yield (
        "a hash table of tables",
        _repeated(size, "#s(hash-table data (1 ", ("", "1" + "))" * (size // 22))),
    )
    yield "a key that is a table", _repeated(size, "#s(hash-table ", ("", "1)" * (size // 14)))
    yield "a key that is a quote", "#s(hash-table data (" + "'" * size + "a 1))"
    count = size // 22
    colliding = [f"{n * _COLLIDING} 1" for n in range(1, count)]
    yield "a table of one hash", f"#s(hash-table data ({' '.join(colliding)}))"
    yield "an alist of one hash", f"({' '.join(f'({one[:-2]} . 1)' for one in colliding)})"
    yield "nested alists", "((x . 1) " + "(a (y . 2) " * (size // 12) + ")" * (size // 12) + ")"
    yield "nested plists", "(:a " * (size // 5) + "1" + ")" * (size // 5)


def expressions(size: int) -> Iterator[tuple[str, bytes]]:
    """Give s-expressions of about ``size`` bytes."""
    for group in (_lexical, _containers, _prefixed):
        for name, text in group(size):
            yield name, text.encode()


def _calls(size: int) -> Iterator[tuple[str, bytes]]:
    """Give whole messages of EPC."""
    for name, text in expressions(size):
        yield name, b"(call 1 m (" + text + b"))\n"
        yield f"{name}, as a message", text + b"\n"
        yield f"{name}, as a number", b"(call " + text + b" m ())\n"
        yield f"{name}, as an answer", b"(return 7 " + text + b" 1)\n"


# -- decoders


def _decode_term(data: bytes) -> object:
    from rpyc_like.erlport import erlterms

    return erlterms.decode(data)


def _decode_modern(data: bytes) -> object:
    from rpyc_like.erlport.v1.erlterms import Terms

    return Terms(binaries="text").decode(data)


def _decode_message(data: bytes) -> object:
    from rpyc_like.erlport.v1.codec import ErlportCodec
    from rpyc_like.erlport.v1.erlterms import Terms

    return ErlportCodec(Terms()).decode(data)


def _read(data: bytes) -> object:
    from rpyc_like.wire.sexp.reader import Reader

    return Reader().read_all(data.decode())


def _read_dicts(data: bytes) -> object:
    from rpyc_like.wire.sexp.reader import Reader

    return Reader(properties=True, tables=True, plists=True, alists=True).read_all(data.decode())


def _decode_epc(data: bytes) -> object:
    from rpyc_like.epc.codec import EpcCodec

    return EpcCodec().decode(data)


TARGETS: dict[str, tuple[Generator, Decoder]] = {
    "terms of 0.6": (terms, _decode_term),
    "terms of 1.x": (terms, _decode_modern),
    "messages of 1.x": (terms, _decode_message),
    "s-expressions": (expressions, _read),
    "s-expressions as dicts": (expressions, _read_dicts),
    "EPC messages": (_calls, _decode_epc),
}
