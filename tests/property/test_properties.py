"""Properties of the codecs, with values that hypothesis makes up."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rpyc_like.core import brine
from rpyc_like.core.config import make_config
from rpyc_like.core.encoding.boxing import Boxer, UnresolvedValue
from rpyc_like.core.proxies.remote_classes import RemoteClasses
from rpyc_like.core.references.tables import ExportTable, ImportTable, StaleReference
from rpyc_like.errors import ProtocolError
from rpyc_like.wire.framing import EpcFramer, ErlangFramer, RpycFramer
from tests.support.peers import path_of

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(max_size=400),
    st.just(NotImplemented),
    st.just(Ellipsis),
)
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6).map(tuple),
        st.frozensets(atoms, max_size=4),
        st.tuples(inner, inner, inner).map(lambda parts: slice(*parts)),
    ),
    max_leaves=20,
)


@given(values)
def test_brine_round_trip(value: Any) -> None:
    """Every value comes back equal, of its type, and from the same bytes."""
    data = brine.dump(value)
    loaded = brine.load(data)
    assert loaded == value
    assert brine.dump(loaded) == data or isinstance(value, frozenset) or "frozenset" in repr(value)
    assert brine.dumpable(value)


@given(values)
@settings(max_examples=200)
def test_brine_is_what_rpyc_writes_and_reads(value: Any) -> None:
    """RPyC's own codec reads what ours writes, and writes the same."""
    folder = str(path_of("rpyc-6.0.2"))
    if folder not in sys.path:
        sys.path.append(folder)
    from rpyc.core import brine as theirs

    assert theirs.load(brine.dump(value)) == value
    if "frozenset" not in repr(value):
        assert theirs.dump(value) == brine.dump(value)


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_a_value_or_a_protocol_error(data: bytes) -> None:
    """Bytes that are no value end in the documented error."""
    try:
        brine.load(data)
    except ProtocolError:
        pass


@given(values, st.data())
def test_cut_values_are_refused(value: Any, data: st.DataObject) -> None:
    """No proper prefix of a value is a value."""
    whole = brine.dump(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        brine.load(whole[:cut])
    except ProtocolError:
        return
    raise AssertionError("a cut value was accepted")


framers = st.sampled_from([RpycFramer, EpcFramer, lambda: ErlangFramer(2), lambda: ErlangFramer(4)])


@given(framers, st.lists(st.binary(min_size=1, max_size=5000), max_size=5), st.data())
def test_any_arrival_gives_the_same_payloads(
    make: Any, payloads: list[bytes], data: st.DataObject
) -> None:
    """However the stream is cut, the payloads are the same."""
    stream = b"".join(make().encode(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    framer = make()
    got = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)]):
        got += framer.feed(stream[start:stop])
    assert got == payloads
    assert framer.idle and framer.error is None


def boxer() -> tuple[Boxer, ExportTable]:
    exports = ExportTable()
    conn: Any = object()
    return Boxer(conn, exports, ImportTable(lambda: None), RemoteClasses(make_config({}))), exports


@given(values)
def test_boxing_round_trip(value: Any) -> None:
    """Plain values come out of their box as they went in."""
    box, exports = boxer()
    data = box.encode(value)
    assert box.decode(data, 0) == (value, len(data))
    assert len(exports) == 0


@given(st.lists(st.one_of(values, st.builds(list)), max_size=6).map(tuple))
def test_references_are_counted_once_each(items: Any) -> None:
    """Each mutable object in a tuple is lent once for each time it is sent."""
    box, exports = boxer()
    box.encode(items)
    lists = [item for item in items if type(item) is list]
    assert len(exports) == len(lists)
    box.encode(items)
    assert all(exports.count(pack) == 2 for pack in exports)


@given(st.binary(max_size=120))
@settings(max_examples=500)
def test_any_bytes_are_a_box_or_a_protocol_error(data: bytes) -> None:
    """Bytes that are no box end in the documented error, or before the end of the message."""
    box, _ = boxer()
    try:
        value, _ = box.decode(data, 0)
    except (ProtocolError, IndexError):
        return
    assert not isinstance(value, BaseException) or isinstance(value, StaleReference)
    assert not isinstance(value, UnresolvedValue) or value.steps() is not None
