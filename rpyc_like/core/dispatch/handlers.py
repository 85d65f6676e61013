"""What a peer may ask for: one function for each request of the wire.

Each takes the connection it came over, then the request's arguments, and returns the answer. A
function that uses a name is subject to the connection's access policy.
"""

from __future__ import annotations

import logging
import pickle
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from inspect import getattr_static
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, Final

from ...errors import AccessDenied
from ...lib.brief import brief
from ...lib.guards import c_guards, growth
from ...lib.guards.access_policy import check_call, exact_name
from ...lib.guards.stdlib import LIBRARY
from ...lib.introspection import BINARY, COMPARISONS, IMPLICIT, get_methods, hasattr_static
from ...lib.object_ids import IdPack
from ...lib.received_errors import made_from_peer
from .. import consts, netref
from ..encoding.exception_classes import find_exception
from ..iteration import cursors
from ..netref import SLICERS, is_instance, is_netref
from ..pipelining.chain_handler import chain_work, do_step
from ..pipelining.chain_interpreter import drive
from ..proxies.async_iterators import AsyncIteratorExport
from ..proxies.class_descriptions import NO_FUNCTIONS, describe, functions_of, split_description
from ..proxies.class_proxies import is_subclass
from ..proxies.container_copies import COPIED, is_container
from ..references.accounts import FAIR, MAX_TAKEN, Account

__all__ = ["NAMES", "Turns", "dumping", "finish", "taking"]

logger = logging.getLogger("rpyc_like.core")

NAMES = {
    getattr(consts, name): name[len("HANDLE_") :]
    for name in vars(consts)
    if name.startswith("HANDLE_")
}
"""Handler numbers to their names, for error texts and logs."""

MAX_COUNT: Final = 100_000
"""Most items that a peer may ask for in one request."""

SLICINGS: Final = {*SLICERS, *SLICERS.values()}


Turns = Generator[None, None, Any]
"""Work that lets others have their turn at each step, and returns a value."""


def finish(work: Turns) -> Any:
    """Do some work to its end and return its value."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value


def ping(conn: Any, data: Any) -> Any:
    """Returns what it is given."""
    return data


def close(conn: Any) -> None:
    """Ends the connection; no answer arrives."""
    conn._cleanup()


def getroot(conn: Any) -> Any:
    """Returns the local service."""
    return conn._local_root


def getattr_(conn: Any, obj: Any, name: Any) -> Any:
    """Returns an attribute."""
    return conn._access_attr(obj, name, (), "_rpyc_getattr", "allow_getattr", getattr)


def delattr_(conn: Any, obj: Any, name: Any) -> None:
    """Deletes an attribute."""
    return conn._access_attr(obj, name, (), "_rpyc_delattr", "allow_delattr", delattr)  # type: ignore[no-any-return]


def setattr_(conn: Any, obj: Any, name: Any, value: Any) -> None:
    """Sets an attribute."""
    if not conn._config["allow_all_attrs"]:
        if type(obj) is defaultdict:
            c_guards.check_factory(conn._guard, obj, value)
        growth.keep(conn._made, value)
    return conn._access_attr(obj, name, (value,), "_rpyc_setattr", "allow_setattr", setattr)  # type: ignore[no-any-return]


def call(conn: Any, obj: Any, args: Any, kwargs: Any = ()) -> Any:
    """Call an exported object; a peer that may not do everything calls no known ladder.

    Args:
        kwargs: pairs of a name and a value.
    """
    if not conn._config["allow_all_attrs"]:
        # Functions and methods of the program, as call_for_peer() does it, without another Python
        # call: tests/protocol/test_counts.py.
        if (type(obj) is not FunctionType or LIBRARY[obj.__module__]) and (
            type(obj) is not MethodType
            or type(obj.__func__) is not FunctionType
            or LIBRARY[obj.__func__.__module__]
        ):
            return c_guards.call_for_peer(conn._guard, obj, args, _keywords(kwargs))
    return obj(*args, **_keywords(kwargs)) if kwargs else obj(*args)


def _keywords(pairs: Any) -> dict[str, Any]:
    """Returns keyword arguments; only a ``str`` cannot be made to have a chosen hash."""
    keywords: dict[str, Any] = {}
    for name, value in pairs.items() if type(pairs) is dict else pairs:
        if type(name) is not str:
            raise TypeError(f"keywords must be strings, got {brief(name)}")
        keywords[name] = value
    return keywords


def callattr(conn: Any, obj: Any, name: Any, args: Any, kwargs: Any = ()) -> Any:
    """Calls an attribute. Of a class, special methods are those of its metaclass."""
    if type(name) is not str:
        name = exact_name(name)
    if name == "__call__":
        return conn._handle_call(obj, args, kwargs)
    if issubclass(type(obj), type) and name in IMPLICIT:
        method = _special_of_class(conn, obj, name)
    else:
        method = conn._handle_getattr(obj, name)
        if name in BINARY and type(obj) in COPIED:
            args = tuple(
                [
                    c_guards.copy_for_peer(conn._guard, arg) if is_container(arg) else arg
                    for arg in args
                ]
            )
    return conn._handle_call(method, args, kwargs)


def _special_of_class(conn: Any, cls: type, name: str) -> Any:
    """Returns what Python would call for a special method of a class."""
    if hasattr_static(type(cls), name):
        _of_type(conn, cls, name)
        method = getattr_static(type(cls), name)
        bind = getattr(type(method), "__get__", None)
        return method if bind is None else bind(method, cls, type(cls))
    if name == "__getitem__" and hasattr_static(cls, "__class_getitem__"):
        name = "__class_getitem__"
    return conn._handle_getattr(cls, name)


def _of_type(conn: Any, obj: Any, name: str) -> Any:
    """Returns a special method of an object's class, if the access policy lets the peer use it."""
    return conn._access_attr(type(obj), name, (), "_rpyc_getattr", "allow_getattr", getattr)


def repr_(conn: Any, obj: Any) -> str:
    """Returns ``repr(obj)``."""
    _of_type(conn, obj, "__repr__")
    with _using(conn, "repr", obj):
        return repr(obj)


def str_(conn: Any, obj: Any) -> str:
    """Returns ``str(obj)``."""
    _of_type(conn, obj, "__str__")
    with _using(conn, "str", obj):
        return str(obj)


def cmp(conn: Any, obj: Any, other: Any, op: Any = "__cmp__") -> Any:
    """Compares two objects with the operator that ``type(obj)`` has."""
    if exact_name(op) not in COMPARISONS:
        raise AccessDenied(f"expected the name of a comparison, got {brief(op)}")
    method = _of_type(conn, obj, op)
    if not conn._config["allow_all_attrs"] and not conn._config["allow_ladders"]:
        check_call(method, ())
    with _using(conn, op, obj, other):
        return method(obj, other)


def _using(conn: Any, name: str, *objects: Any) -> AbstractContextManager[object]:
    """Return what goes around an operation of C code on objects, for a ``with`` block.

    A peer that may do everything is not looked at.
    """
    if conn._config["allow_all_attrs"]:
        return _FREE
    for obj in objects:
        c_guards.check_weight(conn._guard, obj)
    return c_guards.using(conn._guard, name, *objects)


_FREE: Final = nullcontext()


def hash_(conn: Any, obj: Any) -> int:
    """Returns ``hash(obj)``."""
    _of_type(conn, obj, "__hash__")
    with _using(conn, "hash", obj):
        return hash(obj)


def dir_(conn: Any, obj: Any) -> tuple[str, ...]:
    """Returns the names of an object's attributes, as far as the peer may read them.

    A class that decides itself what may be read (``_rpyc_getattr``) tells by its own ``__dir__``.
    """
    kind = type(obj)
    account = conn._account()
    if hasattr(kind, "_rpyc_getattr") and not is_netref(obj):
        known = getattr(kind, "__dir__", None) not in (object.__dir__, type.__dir__)
        return tuple(str(name) for name in _counted(dir(obj), account)) if known else ()
    return tuple(
        name
        for name in _counted(dir(obj), account)
        if type(name) is str and conn._visible(obj, name)
    )


def _counted(items: Iterable[Any], account: Account) -> Iterator[Any]:
    """Yield items, each of which is a step."""
    for item in items:
        account.count()
        yield item


def _check_pickle(conn: Any) -> None:
    if not conn._config["allow_pickle"]:
        raise ValueError("pickling is disabled (configuration key 'allow_pickle')")


def pickle_(conn: Any, obj: Any, proto: Any) -> bytes:
    """Returns the pickle of an object.

    Raises:
        ValueError: this side's configuration does not allow it.
    """
    _check_pickle(conn)
    if type(proto) is not int:
        raise TypeError(f"expected a protocol number, got {type(proto).__name__}")
    return pickle.dumps(obj, proto)


def pickle_parts(conn: Any, obj: Any) -> tuple[bytes, tuple[bytes, ...]]:
    """Returns the pickle of an object, and its large buffers, which are not copied into it.

    Raises:
        ValueError: this side's configuration does not allow it.
    """
    _check_pickle(conn)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(obj, 5, buffer_callback=buffers.append)
    return data, tuple([buffer.raw().tobytes() for buffer in buffers])


def snapshot(conn: Any, obj: Any) -> Any:
    """Returns a description of data by value; the access policy decides about all attributes."""
    from ..snapshots import dump as snapshot_dump  # brings in a type of values after the other

    return snapshot_dump.dump(
        obj,
        lambda container: _of_type(conn, container, "__iter__"),
        conn._handle_getattr,
        conn._account,
    )


def dumping(conn: Any, obj: Any) -> Turns:
    """Do the same, and let others have their turn."""
    from ..snapshots import dump as snapshot_dump

    dumper = snapshot_dump.Dumper(
        lambda container: _of_type(conn, container, "__iter__"),
        conn._handle_getattr,
        lambda: conn._account(FAIR),
    )
    yield from dumper.work(obj)
    return tuple(dumper.classes), tuple(dumper.tokens)


def del_(conn: Any, obj: Any, count: Any = 1) -> None:
    """Gives references back.

    Usually that has been done already, in wire order: then there is nothing left to do. It happens
    here where a program's connection class overrides ``_handle_del``.
    """
    if not conn._codec.releases_at_once:
        if type(count) is not int:
            raise TypeError(f"expected a count, got {type(count).__name__}")
        if not conn._local_objects.give_back_object(obj, count):
            conn._codec.unheld = True
    if conn._codec.unheld:
        conn._codec.unheld = False
        logger.info("< gave back references that it does not hold")


def inspect_(conn: Any, id_pack: IdPack) -> Any:
    """Returns ``(name, docstring)`` of an object's methods, as far as the peer may use them."""
    obj = conn._local_objects[id_pack]
    if is_netref(obj):
        # The owner knows; this side has no more than the proxy.
        owner = object.__getattribute__(obj, "____conn__")
        pack = object.__getattribute__(obj, "____id_pack__")
        methods = split_description(owner.sync_request(consts.HANDLE_INSPECT, pack)).methods
    else:
        methods = tuple(get_methods(netref.LOCAL_ATTRS, obj))
    return _shown(conn, obj, methods)


def description(conn: Any, obj: Any) -> Any:
    """Returns what INSPECT tells of an object of this side, without docstrings."""
    return _shown(conn, obj, [(name, None) for name, _ in get_methods(netref.LOCAL_ATTRS, obj)])


def _shown(conn: Any, obj: Any, methods: Iterable[tuple[str, str | None]]) -> Any:
    """Returns those of the methods that the peer may use, and what else it may know."""
    kind = type(obj)
    subject = obj if made_from_peer(obj) else kind
    shown = [one for one in methods if one[0] == "__call__" or conn._visible(subject, one[0])]
    features = conn._codec.features
    if features & consts.FEATURE_TYPES and not is_netref(obj):
        functions = None
        if features & consts.FEATURE_DESCRIPTIONS and conn._tells_functions:
            config = conn._config
            prefix = config["exposed_prefix"] if config["allow_exposed_attrs"] else ""
            functions = functions_of(obj, conn._visible, prefix)
            if not any(functions):
                functions = NO_FUNCTIONS
        shown.append(describe(obj, functions))
    return tuple(shown)


def buffiter(conn: Any, obj: Any, count: Any) -> Any:
    """Returns the next ``count`` items of an iterator."""
    return finish(taking(conn, obj, count))


def taking(conn: Any, obj: Any, count: Any) -> Turns:
    """Take items of an iterator, at most ``count``; return them.

    Others may have their turn after each.
    """
    _check_count(count)
    _of_type(conn, obj, "__iter__")
    if type(obj) is AsyncIteratorExport:
        return obj.take(count, conn._account(FAIR))
    items: list[Any] = []
    with conn._account() as account:
        free = conn._config["allow_all_attrs"]
        for item in islice(obj if free else c_guards.taken(conn._guard, obj), count):
            account.count()
            account.check()
            more = account.hold_item(item, not items)
            items.append(item)
            if not more or account.held > MAX_TAKEN:
                break  # the peer asks for the others
            yield
    return tuple(items)


def iterate(conn: Any, obj: Any, what: Any, count: Any) -> Any:
    """Returns the first items of a container: items, values, whether they are the last, the length
    of the container, and a cursor if it is a dict or set. None for anything else.
    """
    if type(obj) not in cursors.CONTAINERS or type(what) is not int or not 0 <= what <= 3:
        return None
    _check_count(count)
    _of_type(conn, obj, "__iter__")
    account = conn._account()
    if type(obj) in cursors.SEQUENCES:
        return (*_chunk(*cursors.take_from(obj, 0, count, account)), len(obj), None)
    if what != cursors.KEYS:
        if type(obj) is not dict:
            return None
        _of_type(conn, obj, "__getitem__")  # who may read each value may read them at once
    cursor = cursors.cursor_of(obj, what, conn._kept)
    items, last = cursor.take(count, account)
    values = cursors.plain_values(obj, items) if what == cursors.KEYS_AND_VALUES else None
    if values is not None:
        cursor.mapping = obj
    return (tuple(items), values, last, len(obj), cursor)


def chunk(conn: Any, source: Any, place: Any, count: Any, what: Any) -> Any:
    """Returns the next items: items, values, whether they are the last.

    Args:
        source: a cursor, or a sequence.
        place: how many items of the last chunk were used; of a sequence, the position.
        what: as for ITERATE.
    """
    _check_count(count)
    if type(place) is not int or place < 0:
        raise ValueError(f"expected a number of items, got {brief(place)}")
    if type(source) in cursors.SEQUENCES:
        _of_type(conn, source, "__iter__")
        return _chunk(*cursors.take_from(source, place, count, conn._account()))
    if type(source) is not cursors.Cursor:
        raise TypeError(f"expected a cursor or a sequence, got {type(source).__name__}")
    source.settle(place)
    items, last = source.take(count, conn._account())
    values = None if source.mapping is None else cursors.plain_values(source.mapping, items)
    return tuple(items), values, last


def _chunk(items: list[Any], last: bool) -> tuple[Any, ...]:
    return tuple(items), None, last


def _check_count(count: Any) -> None:
    if type(count) is not int or not 0 <= count <= MAX_COUNT:
        got = count if type(count) is int else type(count).__name__
        raise ValueError(f"expected a count of 0 to {MAX_COUNT}, got {got}")


def oldslicing(
    conn: Any, obj: Any, attempt: Any, fallback: Any, start: Any, stop: Any, args: Any
) -> Any:
    """Slices for peers on Python 2: ``attempt`` with a slice, else ``fallback`` with numbers."""
    for name in (attempt, fallback):
        if exact_name(name) not in SLICINGS:
            raise AccessDenied(f"expected the name of a slicing method, got {brief(name)}")
    last = (1 << 31) - 1 if stop is None else stop
    try:
        method = conn._handle_getattr(obj, attempt)
    except AttributeError:
        return conn._handle_call(conn._handle_getattr(obj, fallback), (start, last, *args))
    try:
        return conn._handle_call(method, (slice(start, stop), *args))
    except TypeError:  # it takes no slices, maybe; any other error is the answer
        try:
            method = conn._handle_getattr(obj, fallback)
        except AttributeError:
            method = None
        if method is None:
            raise
    return conn._handle_call(method, (start, last, *args))


def ctxexit(conn: Any, obj: Any, exc: Any) -> Any:
    """Leaves a ``with`` block: calls ``__exit__`` with an exception, or with none."""
    kind = type(obj)
    aside = hasattr_static(kind, "__aexit__") and not hasattr_static(kind, "__exit__")
    leave = conn._handle_getattr(obj, "__aexit__" if aside else "__exit__")
    if type(exc) is tuple:
        exc = conn._restore_exc(exc)
    if not exc and not issubclass(type(exc), BaseException):
        return conn._handle_call(leave, (None, None, None))
    if not isinstance(exc, BaseException) or is_netref(exc):
        exc = _stand_in(conn, exc)
    try:
        raise exc
    except BaseException as error:
        return conn._handle_call(leave, (type(error), error, error.__traceback__))


def _stand_in(conn: Any, exc: Any) -> BaseException:
    """Return a local exception for an object of the peer's: a proxy cannot be raised.

    Its class is a builtin one, or one that is taken for that of an exception that was sent to this
    peer: the peer names it, and no other class of this program is meant.
    """
    module, _, name = _remote_name(exc).rpartition(".")
    cls = find_exception((module, name), custom=False, exits=False)
    full = (module, name) if cls or (module, name) in conn._sent_errors else _UNKNOWN_ERROR
    return conn._restore_exc((full, (str(exc),), (), "<traceback denied>"))  # type: ignore[no-any-return]


_UNKNOWN_ERROR: Final = ("builtins", "RuntimeError")


def _remote_name(obj: Any) -> str:
    """Return the full name of a proxy's remote class, "" for what is no proxy."""
    return str(object.__getattribute__(obj, "____id_pack__")[0]) if is_netref(obj) else ""


def instancecheck(conn: Any, obj: Any, other_id_pack: Any) -> bool:
    """Returns whether the object that the peer names is an instance of class ``obj``."""
    if not issubclass(type(obj), type) and not is_netref(obj):
        raise TypeError(f"expected a class, got an instance of {type(obj).__name__}")
    try:
        other = conn._local_objects[other_id_pack]
    except KeyError:
        return False
    return is_instance(obj, other, quiet=True) if is_netref(obj) else isinstance(other, obj)


def subclasscheck(conn: Any, cls: Any, other: Any) -> bool:
    """Returns whether class ``cls`` is a subclass of class ``other``."""
    for one in (cls, other):
        if not issubclass(type(one), type):
            raise TypeError(f"expected a class, got an instance of {type(one).__name__}")
    return is_subclass(cls, other) if is_netref(other) else issubclass(cls, other)


def chain(conn: Any, steps: Any, wanted: Any) -> tuple[Any, ...]:
    """Does steps that depend on one another; see :mod:`.pipelining.chain_interpreter`."""
    with conn._account() as account:

        def do(kind: int, *values: Any) -> Any:
            return conn.settled(do_step(conn, account, kind, *values))

        return drive(chain_work(conn, account, steps, wanted), do)  # type: ignore[no-any-return]


def hello(conn: Any, features: Any) -> int:
    """Notes which extensions the peer understands and returns those of this side."""
    if type(features) is not int:
        raise TypeError(f"features must be an int, got {type(features).__name__}")
    return conn._hello(features)  # type: ignore[no-any-return]
