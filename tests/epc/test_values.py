"""What Emacs prints is read, and what is written Emacs reads."""

from __future__ import annotations

import collections
import enum
import math
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rpyc_like.errors import LocalProtocolError, MalformedValue
from rpyc_like.wire.sexp.reader import Reader, Unreadable
from rpyc_like.wire.sexp.values import (
    Backquote,
    BoolVector,
    Brackets,
    ByteCode,
    CharTable,
    Comma,
    CommaAt,
    Dotted,
    FunctionQuoted,
    HashTable,
    PropertizedString,
    Quoted,
    Record,
    Symbol,
)
from rpyc_like.wire.sexp.writer import write
from tests.support.peers import ROOT, peers_folder

S = Symbol

READ: list[tuple[str, Any]] = [
    ("nil", []),
    ("()", []),
    ("t", True),
    ("(1 2 -3)", [1, 2, -3]),
    ("(1  2\n3)", [1, 2, 3]),
    ("12345678901234567890123", 12345678901234567890123),
    ("1.", 1),
    ("+5", 5),
    ("1.5", 1.5),
    ("-.5", -0.5),
    ("1e+16", 1e16),
    ("1.0e+INF", math.inf),
    ("-1.0e+INF", -math.inf),
    ("(inf nan infinity 1_000 - + 1+)", [S(n) for n in "inf nan infinity 1_000 - + 1+".split()]),
    ("foo-bar", S("foo-bar")),
    (":key", S(":key")),
    (r"path\.join", S("path.join")),
    (r"a\ b\(c", S("a b(c")),
    (r"\12", S("12")),
    (r"\.", S(".")),
    ("##", S("")),
    ("#:uninterned", S("uninterned")),
    ("日本", S("日本")),
    ("(a . b)", [S("a"), S("."), S("b")]),
    ("(a b . c)", [S("a"), S("b"), S("."), S("c")]),
    ("(a . (b . (c)))", [S("a"), S("b"), S("c")]),
    ("((a . 1) (b . 2))", [[S("a"), S("."), 1], [S("b"), S("."), 2]]),
    ("[1 (2) [3]]", Brackets([1, [2], Brackets([3])])),
    ("'x", Quoted(S("x"))),
    ("''(a)", Quoted(Quoted([S("a")]))),
    ("#'car", FunctionQuoted(S("car"))),
    ("`(a ,b ,@c)", Backquote([S("a"), Comma(S("b")), CommaAt(S("c"))])),
    ("(,4 3 5 ,6 7)", [Comma(4), 3, 5, Comma(6), 7]),
    ('"plain"', "plain"),
    (r'"a\"b\\c"', 'a"b\\c'),
    (r'"\\\\\"\\"', '\\\\"\\'),
    ('"line\nbreak\ttab"', "line\nbreak\ttab"),
    (r'"\n\t\r\e\s\d\a\b\f\v"', "\n\t\r\x1b \x7f\a\b\f\v"),
    (r'"\u00e9\U0001F600\x41\ b\N{LATIN SMALL LETTER E}\N{U+41}"', "é😀AbeA"),
    ('"a\\\nb\\ c"', "abc"),
    (r'"\^A\C-b\^?\101\12"', "\x01\x02\x7fA\n"),
    (r'"a\200\377b"', "a\udc80\udcffb"),
    ('"nul\x00esc\x1b"', "nul\x00esc\x1b"),
    ("?a", 97),
    (r"?\n", 10),
    (r"?\(", 40),
    (r"?\C-a", 1),
    (r"?\C-%", (1 << 26) + 37),
    (r"?\M-x", (1 << 27) + 120),
    (r"?\C-\M-a", (1 << 27) + 1),
    (r"?\x41", 65),
    ("?日", 0x65E5),
    ("(?a ?\\))", [97, 41]),
    ("#x1F", 31),
    ("#b-101", -5),
    ("#o17", 15),
    ("#24r1k", 44),
    ('#("abc" 0 3 (face bold))', "abc"),
    ('(1 #("a" 0 1 (face (:x 1))) 2)', [1, "a", 2]),
    ("#s(point 1 2)", Record([S("point"), 1, 2])),
    (
        '#s(hash-table size 65 test equal rehash-size 1.5 data (a 1 "b" (2)))',
        HashTable([(S("a"), 1), ("b", [2])], "equal"),
    ),
    ("#s(hash-table)", HashTable([], "eql")),
    (r'#[257 "\300\207" [] 2]', ByteCode([257, "\udcc0\udc87", Brackets([]), 2])),
    ('#&5"\x15"', BoolVector([True, False, True, False, True])),
    ("#^[nil nil]", CharTable([[], []])),
    ("(#1=(a) #1#)", [[S("a")], [S("a")]]),
    ("(1) ; comment\n", [1]),
    ("(1 ;)\n 2)", [1, 2]),
]


@pytest.mark.parametrize(("text", "value"), READ, ids=range(len(READ)))
def test_reading(text: str, value: Any) -> None:
    """Each printed form is read as its value, of the same type."""
    got = Reader().read(text)
    assert got == value
    assert type(got) is type(value) or isinstance(got, Dotted)


def test_nan() -> None:
    """Not a number is read and written."""
    assert math.isnan(Reader().read("0.0e+NaN"))
    assert write(math.nan) == "0.0e+NaN"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        ")",
        "(1]",
        "[1)",
        '"a',
        "1 2",
        "(. a)",
        "(a .)",
        "(a . b c)",
        "a . b",
        "'",
        "#",
        "(')",
        "#1#",
        "#s",
        "#z9",
        "#16rxyz",
        '"\\N{NO SUCH NAME}"',
        '#&9"a"',
        "#(1 2)",
        "(`)",
    ],
)
def test_malformed(text: str) -> None:
    """What is no value is refused, and nothing else is raised."""
    with pytest.raises(MalformedValue):
        Reader().read(text)


@pytest.mark.parametrize("text", ["#<buffer x>", "(1 #<process a b> 2)", "[#<subr car>]"])
def test_unreadable(text: str) -> None:
    """What Emacs cannot read back itself is told apart."""
    with pytest.raises(Unreadable):
        Reader().read(text)


def test_options() -> None:
    """nil, properties and tables are read as wanted."""
    assert Reader(nil=lambda: None).read("(nil () 1)") == [None, None, 1]
    text = Reader(properties=True).read('#("abc" 0 3 (face bold))')
    assert text == "abc"
    assert isinstance(text, PropertizedString)
    assert text.properties == ((0, 3, [S("face"), S("bold")]),)
    assert write(text) == '#("abc" 0 3 (face bold))'
    assert Reader(tables=True).read("#s(hash-table data (1 2))") == {1: 2}
    assert type(Reader(tables=True).read("#s(hash-table data ((1) 2))")) is HashTable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(:a 1 :b (:c nil))", {"a": 1, "b": {"c": []}}),
        ("(:a 1 :b)", [Symbol(":a"), 1, Symbol(":b")]),
        ("(:a 1 b 2)", [Symbol(":a"), 1, Symbol("b"), 2]),
        ('((a . 1) ("b" . "c") (3 . t))', {"a": 1, "b": "c", 3: True}),
        ("((a . 1) (b) (c 2 3) (d :e 4))", {"a": 1, "b": [], "c": [2, 3], "d": {"e": 4}}),
        ("((a (b . 1)))", [[Symbol("a"), Dotted([Symbol("b"), Symbol("."), 1])]]),
        ("((a (b . 1)) (c . 2))", {"a": {"b": 1}, "c": 2}),
        ("((a b . c) (d . 1))", {"a": Dotted([Symbol("b"), Symbol("."), Symbol("c")]), "d": 1}),
        ("((a 1) (b 2))", [[Symbol("a"), 1], [Symbol("b"), 2]]),
        ("((a . 1) 2)", [Dotted([Symbol("a"), Symbol("."), 1]), 2]),
        ("((a . 1) ((b) . 2))", ...),
        ("(a . b)", Dotted([Symbol("a"), Symbol("."), Symbol("b")])),
        ("[(:a 1)]", Brackets([{"a": 1}])),
        ("()", []),
    ],
)
def test_dicts(text: str, value: Any) -> None:
    """Property lists and association lists become dicts if that is wanted."""
    got = Reader(plists=True, alists=True).read(text)
    assert got == (Reader().read(text) if value is ... else value)
    assert type(Reader().read(text)) is not dict

    assert Reader().read("(a . b)").end == S("b")
    assert Reader().read("#s(hash-table data (1 2))").to_dict() == {1: 2}


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


Point = collections.namedtuple("Point", "x y")


class Own:
    def __to_lisp_as__(self) -> Any:
        return [1, "own"]


WRITTEN: list[tuple[Any, str]] = [
    (None, "()"),
    (False, "()"),
    ([], "()"),
    ((), "()"),
    ({}, "()"),
    (True, "t"),
    ([1, [2, (3,)], "x"], '(1 (2 (3)) "x")'),
    (10**5000, "1" + "0" * 5000),
    (1.5, "1.5"),
    (1e100, "1e+100"),
    (math.inf, "1.0e+INF"),
    ('a"b\\c\nd\te\rf\bg\fh', r'"a\"b\\c\nd\te\rf\bg\fh"'),
    ("\x1b\x00é😀", '"\x1b\x00é😀"'),
    ("a\udc80b", r'"a\200b"'),
    (b"a\x80\xff\n", r'"a\200\377\n"'),
    ({"a": 1, "b c": [2]}, r"(:a 1 :b\ c (2))"),
    (S("a b"), r"a\ b"),
    (S(""), "##"),
    (S("12"), r"\12"),
    (S("1.5e3"), r"\1.5e3"),
    (S("-"), "-"),
    (S("1+"), "1+"),
    (S("a.b"), "a.b"),
    (S("x?y#z"), r"x\?y\#z"),
    ([S("a"), S("."), S("b")], "(a . b)"),
    (Brackets([1, [2]]), "[1 (2)]"),
    (Quoted([S("x")]), "'(x)"),
    ({1}, "(1)"),
    (range(3), "(0 1 2)"),
    (iter([1]), "(1)"),
    (collections.deque([1, "a"]), '(1 "a")'),
    (bytearray(b"\x01"), "(1)"),
    (Point(1, 2), "(:x 1 :y 2)"),
    (Level.HIGH, "3"),
    (Own(), '(1 "own")'),
    (HashTable([("k", 1)]), '#s(hash-table test equal data ("k" 1))'),
    (BoolVector([True, False, True]), r'#&3"\005"'),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN, ids=range(len(WRITTEN)))
def test_writing(value: Any, text: str) -> None:
    """Each value has its text."""
    assert write(value) == text


def test_what_has_no_text() -> None:
    """Other objects, dicts with other keys, and what never ends are refused."""
    for value in (object(), {1: 2}, 1j, lambda: 0):
        with pytest.raises(TypeError):
            write(value)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError, match="contains itself"):
        write(endless)


def test_depth_and_size() -> None:
    """Depth and size cost time in proportion, and no recursion."""
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    text = write(deep)
    assert text == "(" * 200_000 + "()" + ")" * 200_000
    again = Reader().read(text)
    while again:
        (again,) = again
    with pytest.raises(MalformedValue, match="deeper than 10"):
        Reader(max_depth=10).read("(" * 11 + ")" * 11)


symbols = st.text(min_size=1, max_size=8).filter(lambda s: s not in ("nil", "t", ".")).map(S)
texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.one_of(st.integers(), st.floats(allow_nan=False), texts, st.just(True), symbols)
trees = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        *[st.builds(mark, inner) for mark in (Comma, CommaAt, Backquote)],
    ),
    max_leaves=30,
)


@given(trees)
@example([Comma(S("@")), 1])
@example([Backquote(4), 5, 6])
def test_round_trip(value: Any) -> None:
    """What is written is read as the same."""
    assert Reader().read(write(value)) == value


@given(st.binary())
def test_bytes_round_trip(value: bytes) -> None:
    """Bytes come back as a text with the bytes that are no ASCII as in Python's file names."""
    got = Reader().read(write(value))
    assert got.encode("ascii", "surrogateescape") == value


@given(st.text(alphabet="()[]'\"`,;#?\\. \n10aeNF+-:s^&<@x", max_size=30))
def test_any_text(text: str) -> None:
    """Any text is a value, or refused; a value can be written, and is read as the same."""
    try:
        value = Reader().read(text)
    except MalformedValue:
        return
    written = write(value)
    again = Reader().read(written)
    assert again == value or "NaN" in written


def test_without_sexpdata() -> None:
    """Where sexpdata is not installed, the package has classes of the same shape."""
    code = (
        "import sys; sys.modules['sexpdata'] = None\n"
        "from rpyc_like.wire.sexp.values import Symbol, Quoted, Brackets\n"
        "from rpyc_like.wire.sexp.reader import Reader\n"
        "from rpyc_like.wire.sexp.writer import write\n"
        'value = Reader().read("(a \'b [1] :k)")\n'
        "assert value == [Symbol('a'), Quoted(Symbol('b')), Brackets([1]), Symbol(':k')], value\n"
        'assert write(value) == "(a \'b [1] :k)"\n'
        "assert Symbol('a') != 'a' and Symbol('a').value() == 'a'\n"
        "assert value[2].I == [1] and value[1].x == Symbol('b')\n"
        "assert len({Symbol('a'), Symbol('a'), 'a'}) == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", ["epc-0.0.5", "sexpdata-0.0.3"])
def test_with_sexpdata(version: str) -> None:
    """The classes of sexpdata, old and new, are handed out and accepted."""
    home = peers_folder() / version
    if not home.is_dir():
        assert "CI" not in os.environ, f"{home} is missing"
        pytest.skip(f"{home} is missing: run bin/test")
    code = (
        "import sexpdata\nfrom rpyc_like.wire.sexp.reader import Reader\n"
        "from rpyc_like.wire.sexp.writer import write\n"
        'value = Reader().read("(a \'b [1 (c)] :k \\"text\\")")\n'
        "assert isinstance(value[0], sexpdata.Symbol) and value[0].value() == 'a', value\n"
        "assert isinstance(value[1], sexpdata.Quoted), value\n"
        "bracket = getattr(sexpdata, 'Brackets', None) or sexpdata.Bracket\n"
        "assert isinstance(value[2], bracket), value\n"
        'assert write(value) == sexpdata.dumps(value) == "(a \'b [1 (c)] :k \\"text\\")"\n'
        'assert write([sexpdata.String("x"), sexpdata.Quoted([1])]) == "(\\"x\\" \'(1))"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{home}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
