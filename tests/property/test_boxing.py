"""Boxing beside its description: a few lines that say what a boxed value is."""

from __future__ import annotations

import builtins
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rpyc_like.core import brine, vinegar
from rpyc_like.core.config import make_config
from rpyc_like.core.encoding.boxing import Boxer, UnresolvedValue, check_id_pack
from rpyc_like.core.netref import BaseNetref, is_netref
from rpyc_like.core.proxies.remote_classes import RemoteClasses
from rpyc_like.core.references.tables import ExportTable, ImportTable, StaleReference, identify
from rpyc_like.errors import MalformedValue, ProtocolError

from .test_properties import values


class Conn:
    """Stands for a connection: proxies are bound to it and never used."""

    _config = make_config({})

    def __init__(self) -> None:
        self.exports = ExportTable()
        self._proxies = ImportTable(lambda: None)
        self.boxer = Boxer(self, self.exports, self._proxies, RemoteClasses(self._config))


def plain_box(obj: Any, conn: Conn) -> Any:
    """Boxes as the wire is described: (1, value), (2, boxed items), (3, mine), (4, yours)."""
    if brine.dumpable(obj):
        return (1, obj)
    if type(obj) is tuple:
        return (2, tuple(plain_box(item, conn) for item in obj))
    if isinstance(obj, BaseNetref):
        return (3, object.__getattribute__(obj, "____id_pack__"))
    return (4, next(pack for pack in conn.exports if conn.exports[pack] is obj))


shared: list[Any] = [[], {}, set()]
things = st.recursive(
    st.one_of(values, st.builds(list), st.sampled_from(shared)),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


@given(things)
@settings(max_examples=300)
def test_encoding_is_as_described(obj: Any) -> None:
    """The bytes are the brine of the boxed value, whatever is nested in what."""
    conn = Conn()
    data = conn.boxer.encode(obj)
    assert data == brine.dump(plain_box(obj, conn))


@given(things)
@settings(max_examples=300)
def test_the_owner_gets_its_objects_back(obj: Any) -> None:
    """What a peer sends back unchanged is the very same objects, in the same order."""
    conn = Conn()
    plain = plain_box_of_owned(obj, conn)
    value, end = conn.boxer.decode(brine.dump(plain), 0)
    assert end == len(brine.dump(plain))
    assert same(value, obj)


def plain_box_of_owned(obj: Any, conn: Conn) -> Any:
    """Boxes as the peer does that holds references to what is not plain."""
    if brine.dumpable(obj):
        return (1, obj)
    if type(obj) is tuple:
        return (2, tuple(plain_box_of_owned(item, conn) for item in obj))
    return (3, brine.load(conn.exports.lend(obj, identify)))


def same(a: Any, b: Any) -> bool:
    if type(a) is tuple:
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a is b or a == b


packs = st.tuples(
    st.text(max_size=8), st.integers(0, 2**62), st.one_of(st.just(0), st.integers(1, 2**62))
)
boxed = st.recursive(
    st.one_of(
        st.tuples(st.just(1), values),
        st.tuples(st.sampled_from([3, 4]), packs),
        st.tuples(st.sampled_from([0, 3, 4, 5]), values),
    ),
    lambda inner: st.tuples(st.just(2), st.lists(inner, max_size=4).map(tuple)),
    max_leaves=10,
)


def is_boxed(value: Any) -> bool:
    """Returns whether a plain value has the form of a boxed one."""
    if type(value) is not tuple or len(value) != 2:
        return False
    label, content = value
    if label == 1:
        return True
    if label == 2:
        return type(content) is tuple and all(is_boxed(item) for item in content)
    if label in (3, 4):
        try:
            check_id_pack(content)
        except MalformedValue:
            return False
        return True
    return False


@given(boxed)
@settings(max_examples=500)
def test_decoding_takes_what_is_described_and_nothing_else(value: Any) -> None:
    """Whatever has the form of a boxed value is one; anything else is a malformed value."""
    conn = Conn()
    data = brine.dump(value)
    try:
        got, end = conn.boxer.decode(data, 0)
    except ProtocolError:
        assert not is_boxed(value)
        return
    assert is_boxed(value)
    assert end == len(data)
    if "(3, " in repr(value) and not isinstance(got, UnresolvedValue):
        assert isinstance(got, StaleReference) or got is not None


@given(st.lists(packs, min_size=1, max_size=6), st.data())
def test_counts_come_out_even(names: list[Any], data: st.DataObject) -> None:
    """However often references are received, and whether used or not, all are given back."""
    conn = Conn()
    sent = 0
    for _ in range(data.draw(st.integers(1, 5))):
        chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
        sent += len(chosen)
        value, _ = conn.boxer.decode(brine.dump((2, tuple((4, pack) for pack in chosen))), 0)
        if isinstance(value, UnresolvedValue) and data.draw(st.booleans()):
            steps = value.steps()
            try:
                next(steps)
                while True:
                    steps.send((("__len__", None),))
            except StopIteration:
                pass
            del steps
        del value
    import gc

    gc.collect()
    assert sum(count for _, count in conn._proxies.take_released()) == sent


errors = st.sampled_from([ValueError, KeyError, OSError, RuntimeError, TypeError, LookupError])


@given(errors, st.lists(values, max_size=3), st.lists(st.text(), max_size=2), st.booleans())
def test_exceptions_round_trip(
    cls: type[Exception], args: list[Any], notes: list[str], whole: bool
) -> None:
    """Class, arguments, notes and cause arrive; without the extension the first two do."""
    error = cls(*args)
    error.__cause__ = KeyError("cause")
    for note in notes:
        if hasattr(error, "add_note"):
            error.add_note(note)
    dumped = vinegar.dump(cls, error, None, True, True, whole=whole)
    back = vinegar.load(brine.load(brine.dump(dumped)), False, False)
    assert isinstance(back, cls)
    assert back.args == error.args
    if whole:
        assert getattr(back, "__notes__", []) == getattr(error, "__notes__", [])
        assert isinstance(back.__cause__, KeyError)
    else:
        assert back.__cause__ is None


@given(values)
@settings(max_examples=300)
def test_any_value_is_an_exception_or_malformed(value: Any) -> None:
    """What stands for no exception is refused with the documented error."""
    try:
        error = vinegar.load(value, False, False)
    except MalformedValue:
        return
    assert isinstance(error, Exception)


special = sorted({name for kind in (object, type, dict, Conn) for name in dir(kind)})
names_of_methods = st.one_of(st.text(max_size=6), st.sampled_from(special), st.just("____boxed__"))
method_lists = st.lists(st.tuples(names_of_methods, st.one_of(st.none(), st.text())), max_size=12)
class_names = st.tuples(st.text(max_size=6), st.text(max_size=6))
descriptions = st.tuples(
    st.just("____class____"),
    st.one_of(
        values,
        st.tuples(
            st.lists(class_names, max_size=4).map(tuple),
            st.lists(names_of_methods, max_size=4).map(tuple),
        ),
    ),
)


@given(packs, method_lists, st.one_of(st.none(), descriptions))
@settings(max_examples=300)
def test_any_description_makes_a_proxy(pack: Any, methods: list[Any], description: Any) -> None:
    """Whatever names a peer gives to its classes and methods, a proxy can be made of them."""
    conn = Conn()
    told = tuple(methods) + (() if description is None else (description,))
    try:
        make = conn.boxer.learn_class(pack, told)
    except MalformedValue:
        return
    proxy = make(conn, pack, brine.dump(pack))
    assert is_netref(proxy)
    assert object.__getattribute__(proxy, "____id_pack__") == pack
    assert type(object.__getattribute__(proxy, "____boxed__")) is bytes
    isinstance(5, type(proxy))


known = [name for name in dir(builtins) if isinstance(getattr(builtins, name), type)]
bases = st.lists(
    st.tuples(
        st.sampled_from(["builtins", "m", "decimal", "", "\0"]),
        st.one_of(st.sampled_from(known), st.text(max_size=4)),
    ),
    max_size=5,
).map(tuple)
chains = st.recursive(
    st.none(),
    lambda inner: st.tuples(
        class_names.filter(bool),
        st.lists(values, max_size=2).map(tuple),
        st.lists(st.tuples(st.text(max_size=4), values), max_size=2).map(tuple),
        st.text(max_size=5),
        st.tuples(
            bases,
            st.lists(values, max_size=2).map(tuple),
            inner,
            inner,
            st.booleans(),
            st.one_of(st.none(), st.lists(inner.filter(bool), max_size=2).map(tuple)),
        ),
    ),
    max_leaves=4,
).filter(bool)


@given(chains, bases, st.booleans(), st.booleans())
@settings(max_examples=300)
def test_any_exception_can_be_raised(dumped: Any, first: Any, custom: bool, exits: bool) -> None:
    """Whatever bases and chains a peer tells of, an exception comes out, and its text."""
    config = {"instantiate_custom_exceptions": custom, "rebuild_exit_exceptions": exits}
    classes = RemoteClasses(config)
    if first:
        dumped = (first[0], *dumped[1:4], ((first[0], *dumped[4][0]), *dumped[4][1:]))
    error = vinegar.load(dumped, False, custom, False, classes.exception)
    assert isinstance(error, BaseException)
    assert exits or isinstance(error, Exception)
    str(error), repr(error)
    try:
        raise error
    except BaseException as caught:
        assert caught is error
