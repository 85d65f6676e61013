"""Python objects that Erlang holds: handles, and what can be done with them.

A handle is the term ``{'$erlport.opaque', python, Binary}``. Erlang passes it on, and gives it back
as an argument, where the object itself arrives. Each time an object is sent its count goes up by
one; ``release`` brings it down; when the connection ends all are gone. A handle is good only on the
connection that it came over.
"""

from __future__ import annotations

import itertools
import pickle
import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

from ...errors import LimitExceeded
from .access import check_name, public
from .erlterms import PICKLE_PROTOCOL, Atom, Objects, OpaqueObject

__all__ = ["BUILTINS", "CALLS", "MAX_HANDLES", "Handle", "Handles"]

MAX_HANDLES: Final = 100_000
"""Default number of objects that a peer may hold at once."""

_PREFIX: Final = b"handle:"


class Handle:
    """Wraps a value that is to be sent as a handle, though it could be sent as a term.

    Args:
        value: the object that Erlang is to hold.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Handles(Objects):
    """The objects that the peer holds.

    Args:
        limit: how many there may be.
        pickled: whether objects that are no terms are sent as pickles instead, and pickles that
            come in are loaded: whoever can send them can run code here.
    """

    def __init__(self, limit: int = MAX_HANDLES, pickled: bool = False) -> None:
        self._limit = limit
        self._pickled = pickled
        self._prefix = _PREFIX + secrets.token_hex(8).encode() + b":"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # guards the tables
        self._entries: dict[bytes, list[Any]] = {}  # object and count, by what stands for it
        self._names: dict[int, bytes] = {}  # by the id of the object

    def __len__(self) -> int:
        return len(self._entries)

    def export(self, value: Any) -> bytes:
        if self._pickled and not isinstance(value, Handle):
            try:
                return pickle.dumps(value, PICKLE_PROTOCOL)
            except Exception as error:
                raise ValueError(f"unsupported data type: {type(value)}: {error}") from error
        if isinstance(value, Handle):
            value = value.value
        with self._lock:
            name = self._names.get(id(value))
            if name is None:
                if len(self._entries) >= self._limit:
                    key = "max_handles"
                    raise LimitExceeded("objects held", self._limit + 1, self._limit, key)
                name = self._prefix + b"%d" % next(self._numbers)
                self._names[id(value)] = name
                self._entries[name] = [value, 0]
            self._entries[name][1] += 1
        return name

    def find(self, data: bytes) -> Any:
        if self._pickled and not data.startswith(_PREFIX):
            try:
                return pickle.loads(data)
            except Exception as error:  # whatever a pickle raises
                raise LookupError(data) from error
        return self._entries[data][0]

    def release(self, value: Any, count: int | None = 1) -> int:
        """Brings the count of an object down; returns what is left of it.

        Args:
            count: by how much, None for all.
        """
        with self._lock:
            name = self._names.get(id(value))
            if name is None:
                return 0
            entry = self._entries[name]
            entry[1] -= entry[1] if count is None else count
            if entry[1] > 0:
                return int(entry[1])
            del self._entries[name], self._names[id(value)]
            return 0

    def clear(self) -> None:
        """Forgets all objects: the connection has ended."""
        with self._lock:
            self._entries.clear()
            self._names.clear()


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


def _next(iterator: Any, count: int) -> list[Any]:
    return list(itertools.islice(_living(iterator), count))


BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    "getattr": _get,
    "setattr": _set,
    "hold": lambda value: Handle(_living(value)),
    "value": _living,
    "iterate": lambda value: Handle(iter(_living(value))),
    "next": _next,
    "item": lambda value, key: _living(value)[key],
    "length": lambda value: len(_living(value)),
    "text": lambda value: str(_living(value)),
    "type": lambda value: f"{type(value).__module__}.{type(value).__qualname__}",
}
"""What Erlang calls in the module ``'$rpyc_like'``; names with an underscore first are refused."""

CALLS: Final[dict[str, Callable[..., tuple[Any, Any]]]] = {
    "method": lambda value, name, args: (_get(value, name), args),
    "call": lambda value, args: (_living(value), args),
}
"""What Erlang calls in the same module to call something: how to find that, and its arguments."""
