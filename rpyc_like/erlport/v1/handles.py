"""Python objects that Erlang holds: handles, and what can be done with them.

A handle is the term ``{'$erlport.opaque', python, Binary}``. Erlang passes it on, and gives it back
as an argument, where the object itself arrives. Each time an object is sent its count goes up by
one; ``release`` brings it down; when the connection ends all are gone. A handle is good only on the
connection that it came over.

A service exports what its functions return as handles. Attributes and calls of other objects are
refused there: the values that a peer sends have methods too (``bytes.ljust``), and no program has
exported those. A peer may have its own values kept (``hold``), iterate over them and index them.
"""

from __future__ import annotations

import itertools
import pickle
import secrets
from collections.abc import Callable
from typing import Any, Final

from ...errors import AccessDenied, LimitExceeded
from ...lib import primitives
from ...lib.brief import brief
from ...lib.guards.c_guards import Guard, check_method, check_weight, taken, using
from ...link.kept import Kept as KeptMemory
from ...link.kept import RequestAccount as Account
from ...link.made_objects import MadeObjects
from ...wire.meter import Meter, Work, memory_of
from .erlterms import CONTENTS, PICKLE_PROTOCOL, Atom, Objects, OpaqueObject
from .export_policy import check_name, check_special, public

__all__ = [
    "BUILTINS",
    "CALLS",
    "GUARDED",
    "MAX_HANDLES",
    "MAX_HELD_MEMORY",
    "MAX_ITEMS",
    "Account",
    "Handle",
    "Handles",
    "check_exported",
    "next_items",
]

MAX_HANDLES: Final = 100_000
"""Default number of objects that a peer may hold at once."""

MAX_HELD_MEMORY: Final = 256 << 20
"""Default number of bytes of memory for values of the peer's own that it has kept here."""

MAX_ITEMS: Final = 1_000_000
"""Default number of items that are taken of an iterator for one request."""

_PREFIX: Final = b"handle:"
_EXPORTED: Final = object()  # stands for the source of what the program exports


class Handle:
    """Wraps a value that is to be sent as a handle, though it could be sent as a term.

    Args:
        value: the object that Erlang is to hold.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Kept(Handle):
    """Wraps a value of the peer's own, which it wants to have kept.

    Args:
        value: the value, or an iterator of one.
        source: the value that is kept with it.
    """

    __slots__ = ("source",)

    def __init__(self, value: Any, source: Any) -> None:
        super().__init__(value)
        self.source = source


class _Entry:
    """An object that the peer holds.

    Args:
        value: the object.
        price: bytes of memory, for a value of the peer's own; 0 for what the program exports.
    """

    __slots__ = ("count", "price", "value")

    def __init__(self, value: Any, price: int) -> None:
        self.value = value
        self.price = price
        self.count = 0


class Handles(Objects):
    """The objects that the peer holds.

    Args:
        limit: how many there may be.
        max_memory: how many bytes of memory values of the peer's own may take.
        pickled: whether objects that are no terms are sent as pickles instead, and pickles that
            come in are loaded: whoever can send them can run code here.
    """

    def __init__(
        self,
        limit: int = MAX_HANDLES,
        pickled: bool = False,
        max_memory: int | None = MAX_HELD_MEMORY,
    ) -> None:
        self._limit = limit
        self._kept = KeptMemory(Meter(max_memory, "max_held_memory"))
        self.made = MadeObjects(self._kept)
        """What the peer has made or enlarged by calls of the library."""
        self._pickled = pickled
        self._prefix = _PREFIX + secrets.token_hex(8).encode() + b":"
        self._numbers = itertools.count(1)
        self._lock = primitives.RLock()  # guards the tables
        self._entries: dict[bytes, _Entry] = {}  # by what stands for the object
        self._names: dict[int, bytes] = {}  # by the id of the object

    def __len__(self) -> int:
        return len(self._entries)

    def export(self, value: Any) -> bytes:
        if self._pickled and not isinstance(value, Handle):
            try:
                return pickle.dumps(value, PICKLE_PROTOCOL)
            except Exception as error:
                raise ValueError(f"unsupported data type: {type(value)}: {error}") from error
        source = value.source if type(value) is Kept else _EXPORTED
        price = 0 if source is _EXPORTED else memory_of(source, CONTENTS)
        if isinstance(value, Handle):
            value = value.value
        with self._lock:
            name = self._names.get(id(value))
            if name is None:
                if len(self._entries) >= self._limit:
                    key = "max_handles"
                    raise LimitExceeded("objects held", self._limit + 1, self._limit, key)
                self._kept.hold(price, "values that the peer has kept")
                name = self._prefix + b"%d" % next(self._numbers)
                self._names[id(value)] = name
                self._entries[name] = _Entry(value, price)
            entry = self._entries[name]
            entry.count += 1
            if entry.price and source is _EXPORTED:  # the program exports it as well
                self._kept.release(entry.price)
                entry.price = 0
        return name

    def count_for(self, total: Callable[[int], object]) -> None:
        """Have ``total`` told as well of what the peer has kept; before it keeps anything."""
        self._kept.meter.total = total

    def export_iterator(self, value: Any) -> Handle:
        """Return what is to be sent for an iterator of an object, or of a value of the peer's."""
        iterator = iter(_living(value))
        return Handle(iterator) if self.is_exported(value) else Kept(iterator, value)

    def is_exported(self, value: Any) -> bool:
        """Return whether the program has sent this very object as a handle, which still holds."""
        with self._lock:
            name = self._names.get(id(value))
            return name is not None and not self._entries[name].price

    def open_account(self, limit: int, look: Callable[[], object]) -> Account:
        """Return an account of the items that are taken for one request.

        Args:
            limit: how many there may be.
            look: called now and then; raises if nobody waits for the items any more.
        """
        return Account(self._kept, Work(limit, "max_items", look), CONTENTS)

    def find(self, data: bytes) -> Any:
        if self._pickled and not data.startswith(_PREFIX):
            try:
                return pickle.loads(data)
            except Exception as error:  # whatever a pickle raises
                raise LookupError(data) from error
        return self._entries[data].value

    def release(self, value: Any, count: int | None = 1) -> int:
        """Brings the count of an object down; returns what is left of it.

        Args:
            count: by how much, None for all.
        """
        if count is not None and (type(count) is not int or count < 1):
            raise ValueError(f"expected a positive count or none, got {brief(count)}")
        with self._lock:
            name = self._names.get(id(value))
            if name is None:
                return 0
            entry = self._entries[name]
            entry.count -= entry.count if count is None else count
            if entry.count > 0:
                return entry.count
            del self._entries[name], self._names[id(value)]
            self._kept.release(entry.price)
            self.made.release((value,))
            return 0

    def clear(self) -> None:
        """Forgets all objects: the connection has ended."""
        with self._lock:
            entries, self._entries = self._entries, {}
            self._names.clear()
        self._kept.close()
        self.made.clear()
        entries.clear()  # which may run code of the program


def _living(value: Any) -> Any:
    if isinstance(value, OpaqueObject):
        raise ValueError("expected a handle of an object that is held, got one that was released")
    return value


def _text(name: Any) -> str:
    """Returns a name that came as an atom, a binary or a list of characters."""
    if isinstance(name, Atom):
        return name.text
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, list):
        return "".join(map(chr, name))
    return str(name)


def _get(value: Any, name: Any) -> Any:
    return public(_living(value), _text(name))


def _set(value: Any, name: Any, new: Any) -> None:
    text = _text(name)
    check_name(_living(value), text)
    setattr(value, text, new)


def _item(guard: Guard | None, value: Any, key: Any) -> Any:
    if guard is None:
        return value[key]
    check_method(guard, value, "__getitem__", key)
    with using(guard, "__getitem__", key, value):
        return value[key]


def _shown(guard: Guard | None, value: Any) -> str:
    if guard is None:
        return str(value)
    check_weight(guard, value)
    with using(guard, "str", value):
        return str(value)


BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    "getattr": _get,
    "setattr": _set,
    "hold": lambda value: Kept(_living(value), value),
    "value": _living,
    "length": lambda value: len(_living(value)),
    "type": lambda value: f"{type(value).__module__}.{type(value).__qualname__}",
}
"""What Erlang calls in the module ``'$rpyc_like'``; names with an underscore first are refused."""

GUARDED: Final[dict[str, Callable[..., Any]]] = {
    "item": lambda guard, value, key: _item(guard, _living(value), key),
    "text": lambda guard, value: _shown(guard, _living(value)),
}
"""What Erlang calls in the same module where C code may do much work; first comes the guard."""

CALLS: Final[dict[str, Callable[..., tuple[Any, Any]]]] = {
    "method": lambda value, name, args: (_get(value, name), args),
    "call": lambda value, args: (_living(value), args),
}
"""What Erlang calls in the same module to call something: how to find that, and its arguments."""

EXPORTED_ONLY: Final = frozenset({"call", "getattr", "method", "setattr"})
"""Those of which the object must have been exported, unless Erlang may do everything anyway."""


_SPECIAL: Final = {
    "item": "__getitem__",
    "iterate": "__iter__",
    "length": "__len__",
    "next": "__next__",
    "text": "__str__",
}
"""Those that call a special method of the object: which."""


def check_exported(handles: Handles, name: str, args: Any) -> None:
    """Raise AccessDenied if a builtin is not for its object, which is the first argument."""
    if name in _SPECIAL and args:
        check_special(args[0], _SPECIAL[name])
    if name in EXPORTED_ONLY and args and not handles.is_exported(args[0]):
        _living(args[0])
        raise AccessDenied(f"expected a handle of an exported object, got {brief(args[0])}")


def next_items(
    iterator: Any,
    count: Any,
    limit: int,
    look: Callable[[], object],
    guard: Guard | None = None,
) -> list[Any]:
    """Return the next items of an iterator.

    Args:
        count: how many; the peer's number.
        limit: how many there may be.
        look: called now and then; raises if nobody waits for the items any more.
        guard: of a peer that may not do everything.
    """
    if type(count) is not int or count < 0:
        raise ValueError(f"expected how many items, got {brief(count)}")
    if count > limit:
        raise LimitExceeded("items of an iterator", count, limit, "max_items")
    work = Work(limit, "max_items", look)
    items = []
    source = _living(iterator) if guard is None else taken(guard, _living(iterator))
    for item in itertools.islice(source, count):
        work.do()
        items.append(item)
    return items
