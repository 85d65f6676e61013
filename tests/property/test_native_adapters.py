"""The compiled readers and writers of EPC's values and Erlang's terms beside the pure ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rpyc_like.erlport import erlterms
from rpyc_like.erlport.v1 import erlterms as modern
from rpyc_like.lib import native
from rpyc_like.wire.etf import decoder as erl_decoder
from rpyc_like.wire.etf import encoder as erl_encoder
from rpyc_like.wire.sexp import reader as epc_reader
from rpyc_like.wire.sexp import values
from rpyc_like.wire.sexp import writer as epc_writer
from tests.support import etf as terms

pytestmark = pytest.mark.skipif(native.sexp is None, reason="the compiled core is not in use")


@contextlib.contextmanager
def pure() -> Iterator[None]:
    """Does without the compiled halves."""
    modules: list[Any] = [epc_reader, epc_writer, erl_decoder, erl_encoder]
    names = ["sexp", "sexp", "etf", "etf"]
    kept = [getattr(module, name) for module, name in zip(modules, names)]
    for module, name in zip(modules, names):
        setattr(module, name, None)
    try:
        yield
    finally:
        for module, name, value in zip(modules, names, kept):
            setattr(module, name, value)


def both(func: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """Returns what the compiled half gives, and what the pure half gives."""
    with pure():
        second = outcome(func, *args)
    return outcome(func, *args), second


def outcome(func: Callable[..., Any], *args: Any) -> Any:
    """Returns a description that tells types as well as values, or the error."""
    try:
        return described(func(*args))
    except Exception as error:
        return type(error), str(error)


def described(value: Any) -> Any:
    if isinstance(value, dict):
        return type(value), [(described(key), described(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [described(item) for item in value]
    return type(value), repr(value)


# -- Emacs Lisp

text_parts = st.one_of(
    st.sampled_from(
        "( ) [ ] ' ` , ,@ #' # . nil t ? ; :key \\ \" -1 007 +5 1. 1.5 -0.5e3 1e5 .5 1.0e+INF a.b "
        '"x" "a\\"b\\\\c\\n" "\\x41" "\\u00e9" "\\ " #s(hash-table) #1=(a) #1# ## #x1F ?a "ä" '
        "#".split()
    ),
    st.sampled_from([" ", "\n", "\xa0", "\0", "ä", "1234567890123456789", "x" * 400]),
    st.integers().map(str),
    st.text(max_size=4),
)


@settings(deadline=None, max_examples=400)
@given(st.lists(text_parts, max_size=12), st.booleans())
@example(["("] * 300 + [")"] * 300, False)
@example(["(a . b)", "(a b . c)", '("\\', '"'], False)
def test_reading(parts: list[str], spaced: bool) -> None:
    """A text means the same to both, or is refused in the same way."""
    text = (" " if spaced else "").join(parts)
    for reader in (
        epc_reader.Reader(),
        epc_reader.Reader(nil=lambda: None),
        epc_reader.Reader(plists=True),
        epc_reader.Reader(max_depth=2),
    ):
        ours, theirs = both(reader.read_all, text)
        assert ours == theirs


symbols = st.sampled_from(["a", ".", "nil", "1", "", "a b", "ä"]).map(values.Symbol)
lisp = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=4),
        symbols, st.text('"\\\n\t\r\b\f\x1b\0a', max_size=40), st.just(10**30), st.just(object()),
        st.text(st.characters(categories=["Cs", "Ll"]), max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.sampled_from(["a-b", "x_1", "nil"]), inner,
                        max_size=3),
        inner.map(values.Quoted),
    ),
    max_leaves=10,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(lisp)
@example([values.Symbol("a"), values.Symbol("."), 1])
def test_writing(value: Any) -> None:
    """A value is written in the same way by both; what cannot be written is an error of both."""
    ours, theirs = both(epc_writer.write, value)
    assert ours == theirs


# -- Erlang

atoms = st.sampled_from(["true", "false", "undefined", "none", "a", "ä", "x" * 255, "€"])
erlang = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(1 << 33), 1 << 33), st.floats(),
        st.binary(), st.text(max_size=5), atoms.map(erlterms.Atom), st.just(2**900),
        st.just(-(2**2100)), st.just(erlterms.BitBinary(b"ab", 3)), st.just(object()),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=4).map(tuple),
        st.lists(st.integers(0, 255), max_size=9), st.lists(st.booleans() | st.integers(0, 2)),
        st.lists(st.floats(), max_size=6), st.lists(inner, min_size=255, max_size=257).map(tuple),
        st.dictionaries(st.text(max_size=2) | st.integers(0, 3), inner, max_size=3),
        st.builds(erlterms.ImproperList, st.lists(inner, min_size=1, max_size=3), st.integers()),
    ),
    max_leaves=10,
)  # fmt: skip
changes = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3)


@settings(deadline=None, max_examples=300)
@given(erlang, changes)
def test_terms(value: Any, changed: list[tuple[int, int]]) -> None:
    """Terms are the same bytes, and what is read of them, changed or cut off, is the same."""
    for codec in (erlterms, modern):
        ours, theirs = both(codec.encode, value)
        assert ours == theirs
        try:
            data = bytearray(codec.encode(value))
        except (ValueError, TypeError):
            continue
        for place, byte in changed:
            data[place % len(data)] = byte
        for raw in (bytes(data), bytes(data[: len(data) // 2])):
            ours, theirs = both(codec.decode, raw)
            assert ours == theirs, raw.hex()


def test_the_corpus_of_terms() -> None:
    """What Erlang writes is read as the pure half reads it, and written again."""
    for entry in terms.corpus():
        for codec in (erlterms, modern):
            ours, theirs = both(codec.decode, entry.data)
            assert ours == theirs, entry
            value = codec.decode(entry.data)[0]
            ours, theirs = both(codec.encode, value)
            assert ours == theirs, entry


def test_a_list_of_itself() -> None:
    """What contains itself is refused by both, in the same words."""
    endless: list[Any] = [1]
    endless.append(endless)
    ours, theirs = both(erlterms.encode, endless)
    assert ours == theirs
    assert "contains itself" in ours[1]
    ours, theirs = both(erlterms.encode, (1, {"a": endless}))
    assert ours == theirs
