"""S-expressions that become much, cost much, or nest deep."""

from __future__ import annotations

import logging
import time
import tracemalloc
from typing import Any

import pytest

from rpyc_like.epc.codec import EpcCodec, Uid
from rpyc_like.epc.service import EPCService
from rpyc_like.errors import LimitExceeded, MalformedValue, RpycLikeError
from rpyc_like.lib import native
from rpyc_like.wire.messages import REQUEST
from rpyc_like.wire.sexp import values
from rpyc_like.wire.sexp.reader import ExpressionLimitExceeded, Reader
from rpyc_like.wire.sexp.writer import symbol_text, write
from tests.attacks import amplify_adapters as amplify
from tests.faults.adapters import EpcVictim

SIZE = 30_000
LIMIT = 600_000
INPUTS = dict(amplify.expressions(SIZE))
DEEP = sorted(name for name in INPUTS if name.startswith(("nested", "open", "a key")))


def expression(name: str, size: int) -> str:
    """Return one of the generator's texts."""
    return next(data for found, data in amplify.expressions(size) if found == name).decode()


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_a_text_takes_no_more_memory_than_is_allowed(name: str) -> None:
    """Its prices cover what it takes, whether it is read or refused."""
    text = INPUTS[name].decode()
    for reader in (
        Reader(max_memory=LIMIT),
        Reader(
            *(list, True, True, True, True),  # properties, tables, property and association lists
            max_memory=LIMIT,
        ),
    ):
        reader.read_all("()")
        tracemalloc.start(1)
        try:
            kept: Any = reader.read_all(text)
        except RpycLikeError as error:
            kept = None
            if isinstance(error, LimitExceeded):
                assert error.key in ("max_memory", "max_digits")
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        del kept
        assert peak < LIMIT + 12 * len(text) + 200_000  # the last are the table of symbols


def test_limits_are_named_and_change() -> None:
    """Those of memory and of digits; an error of the first is a broken text, too."""
    lists = expression("empty lists", 4_000_000)
    with pytest.raises(ExpressionLimitExceeded, match="max_memory"):
        Reader().read(lists)
    assert issubclass(ExpressionLimitExceeded, MalformedValue)
    assert len(Reader(max_memory=1 << 30).read(lists)) == 2_000_000
    for text in ("1" * 200, "#x" + "f" * 200, "#36r" + "z" * 200, "-" + "1" * 200 + "."):
        with pytest.raises(ExpressionLimitExceeded, match="max_digits"):
            Reader(max_digits=100).read(text)
        assert Reader(max_digits=400).read(text) != 0


def test_usual_texts_are_below_the_limit() -> None:
    """Long lists of small values are read."""
    for item in (
        "1 ",
        "12345 ",
        "1.5 ",
        "nil ",
        "abc ",
        '"ab" ',
        "(a b) ",
        "[1 2] ",
        "'a ",
        '"é" ',
    ):
        count = 1_000_000 // len(item)
        assert len(Reader().read(f"({item * count})")) == count


def test_repeated_values_count_each_time() -> None:
    """A value of forty lists that holds 2 ** 40 is refused; a few references are not."""
    with pytest.raises(ExpressionLimitExceeded, match="max_memory"):
        Reader().read(expression("doubled lists", 2000))
    shared = Reader().read("(#1=(a b) #1# #1#)")
    assert shared[0] is shared[1] is shared[2]


def test_messages_that_hold_much_get_short_errors() -> None:
    """A value is not shown in full, and a wrong number of arguments costs one reading."""
    codec = EpcCodec()
    for payload in (
        b"((" + b"a " * 100_000 + b"))\n",
        b"(call 1 m () " + b"a " * 100_000 + b")\n",
        b"(return 1 " + b"a " * 100_000 + b")\n",
        b"(" + b"k" * 100_000 + b" 1)\n",
        b"(" * 50_000 + b")" * 50_000 + b"\n",
    ):
        message = codec.decode(payload)
        assert len(repr(message[2:])) < 2000
        told = message[2].args[0] if isinstance(message[2], Exception) else message[2].name.info
        assert len(told) < 1000


def test_a_message_over_a_limit_is_answered() -> None:
    """With the number of the call; nothing is raised."""
    codec = EpcCodec(Reader(max_memory=1000))
    kind, uid, target, _ = codec.decode(b"(call 7 m (" + b"() " * 1000 + b"))\n")
    assert (kind, uid) == (REQUEST, 7)
    assert "max_memory" in target.name.info


@pytest.mark.parametrize("uid", ["9" * 5000, "-" + "9" * 30, "(1 2)", '"x"'])
def test_any_number_of_a_call_is_echoed(uid: str) -> None:
    """Also one of more digits than Python writes."""
    victim = EpcVictim()
    victim.send(f"(call {uid} echo (5))\n".encode())
    assert victim.receive() == f"(return {uid} 5)\n".encode()
    victim.close()
    assert type(EpcCodec().decode(b"(call " + b"9" * 30 + b" m ())\n")[1]) is Uid


def test_keys_of_one_hash_are_refused() -> None:
    """In hash tables and association lists that become dicts."""
    reader = Reader(tables=True, alists=True)
    for name in ("a table of one hash", "an alist of one hash"):
        text = expression(name, SIZE)
        with pytest.raises(MalformedValue, match="64 keys of one hash"):
            reader.read(text)
        assert Reader().read(text)


def test_hashing_a_deep_key_ends_no_process() -> None:
    """A table with such a key stays a table; one with a usual key becomes a dict."""
    reader = Reader(tables=True)
    assert type(reader.read("#s(hash-table data (" + "'" * 20_000 + "a 1))")) is values.HashTable
    assert reader.read("#s(hash-table data ('a 1))") == {values.Quoted(values.Symbol("a")): 1}


@pytest.mark.parametrize("name", DEEP)
def test_depth_ends_no_process(name: str) -> None:
    """Reading, showing, writing and dropping deep values does not recurse in C."""
    try:
        value = Reader(tables=True).read(expression(name, 300_000))
    except MalformedValue:
        return
    for use in (repr, write):
        try:
            use(value)
        except (RecursionError, TypeError, RpycLikeError):
            pass
    del value


@pytest.mark.parametrize(
    "name",
    [
        *("modifiers", "names of characters", "character names", "one long character name"),
        *("nested (a . ", "digits of base 36", "hexadecimal digits", "one escaped symbol"),
        *("open texts of escapes", "one text of escapes", "numbers and a letter"),
    ],
)
def test_time_is_linear(name: str) -> None:
    """Escapes, characters, dotted pairs and digits: no square of the size."""
    text = expression(name, 1_000_000)
    start = time.process_time()
    try:
        Reader().read_all(text)
    except MalformedValue:
        pass
    assert time.process_time() - start < 6


def test_tables_in_keys_of_tables_are_not_shown() -> None:
    """What is no symbol is no name of a part of a hash table."""
    table = Reader().read("#s(hash-table " * 1000 + "1" + " 1)" * 1000)
    assert type(table) is values.HashTable
    with pytest.raises(MalformedValue):
        Reader().read("#s(hash-table test (a b) data (1 2))")


def test_words_that_a_peer_makes_up_are_not_kept() -> None:
    """Long ones are in no table, whatever reads or writes them."""
    codec, name = EpcCodec(), "n" * 100_000
    codec.decode(f"(call 1 {name} ({name}x))\n".encode())
    assert all(len(word) < 1000 for word in codec.reader._words)
    assert all(len(word) < 1000 for word in codec._names)
    before = symbol_text.__globals__["_known_symbol"].cache_info().currsize
    write(values.Symbol(name))
    write({name: 1})
    assert symbol_text.__globals__["_known_symbol"].cache_info().currsize == before


@pytest.mark.skipif(native.sexp is None, reason="the interpreter looks up by itself")
def test_others_run_while_a_text_is_read() -> None:
    """The compiled reader lets others run after every 10,000 values."""
    before = native.sexp.looks()
    Reader(max_memory=1 << 40).read_all("(1 2) " * 100_000)
    assert native.sexp.looks() - before >= 20


def test_an_answer_that_nobody_waits_for_is_logged_whatever_it_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A deep one ends no connection."""
    victim = EpcVictim()
    with caplog.at_level(logging.CRITICAL):
        victim.send(b"(return 12345 " + b"(" * 5000 + b")" * 5000 + b")\n")
        assert victim.works()
    victim.close()
    assert EPCService().get_service_name() == "EPC"
