"""Iterating over remote containers: items arrive in chunks.

What has been read ahead and not been used is forgotten when something is asked of the peer that may
change the container (calls, assignments, deletions), and when the peer asks for something: then the
owner goes back, and reading starts with one item again. So a loop sees what a local loop would. How
far it reads ahead is bounded: 100 items first, 4,096 at most, 256 that do not travel by value, and
1 MiB of text and bytes.

Python asks for ``len()`` when it makes a list of something, and for ``keys()`` and each value when
it makes a dict. That is answered from what has just arrived, to the thread that reads, until the
next request in either direction, for at most 50 ms. Values that are asked for in the order of the
keys after that time are fetched anew, many at once, as long as most of them are used in time.
"""

from __future__ import annotations

import weakref
from collections import deque
from threading import get_ident
from typing import Any, Final

from ...errors import AccessDenied, LimitExceeded, MalformedValue
from ...lib import primitives
from ...wire.meter import check_hashes
from .. import consts
from ..brine import dumpable, simple_types
from .cursors import ALL, ITEMS, KEYS, KEYS_AND_VALUES, VALUES

__all__ = [
    "ITEMS",
    "KEYS",
    "KEYS_AND_VALUES",
    "MISSING",
    "VALUES",
    "PrefetchRegistry",
    "RemoteIterator",
    "open_items",
    "opening_steps",
]

FIRST: Final = 100
_GROWTH: Final = 40
_LARGEST: Final = 4096
_FRESH: Final = 0.05
_FIRST_VALUES: Final = 1000  # values that are fetched anew at first
_MORE_VALUES: Final = 4  # times as many, if all were used in time
_MOST_VALUES: Final = 16_000  # a slow machine takes 50 ms to use them
_WORTH: Final = 32  # values in a chunk that take the time of a request for one value
MISSING: Final = object()

_READS: Final = frozenset(
    (
        *(consts.HANDLE_PING, consts.HANDLE_GETROOT, consts.HANDLE_GETATTR, consts.HANDLE_REPR),
        *(consts.HANDLE_STR, consts.HANDLE_CMP, consts.HANDLE_HASH, consts.HANDLE_DIR),
        *(consts.HANDLE_PICKLE, consts.HANDLE_DEL, consts.HANDLE_INSPECT, consts.HANDLE_HELLO),
        *(consts.HANDLE_INSTANCECHECK, consts.HANDLE_SUBCLASSCHECK, consts.HANDLE_ITERATE),
        consts.HANDLE_CHUNK,
    )
)
_READING_METHODS: Final = frozenset(
    "__getitem__ __len__ __contains__ __bool__ __length_hint__ __iter__ __reversed__ __index__ "
    "__int__ __float__ __complex__ __bytes__ __fspath__ __format__ keys values items get".split()
)


class PrefetchRegistry:
    """What one connection has read ahead.

    Attributes:
        entries: those who have read ahead, by their id, and under None what was glimpsed. Empty
            if there is nothing to forget.
    """

    def __init__(self) -> None:
        self.entries: dict[int | None, Any] = {}

    @property
    def glimpse(self) -> ContainerHint | None:
        """What has just been seen."""
        return self.entries.get(None)

    def add(self, reader: RemoteIterator) -> None:
        """Notes who has read ahead."""
        key, entries = id(reader), self.entries
        entries[key] = weakref.ref(reader, lambda ref: entries.pop(key, None))

    def remove(self, reader: RemoteIterator) -> None:
        """Notes that somebody has used all that was read ahead."""
        self.entries.pop(id(reader), None)

    def before(self, handler: int, args: Any) -> list[tuple[Any, int]]:
        """Forgets what a request makes doubtful; called before it is sent.

        Returns:
            What the owner must be told first: cursors, and how many items were used.
        """
        glimpse = self.glimpse
        if glimpse is not None and (
            handler != consts.HANDLE_CHUNK or glimpse.source is not args[0]
        ):
            self.entries.pop(None, None)
        if handler in _READS:
            return []
        if handler == consts.HANDLE_CALLATTR and args[1] in _READING_METHODS:
            return []
        return self.forget()

    def forget(self) -> list[tuple[Any, int]]:
        """Forgets everything; returns what the owner must be told."""
        told: list[tuple[Any, int]] = []
        entries = self.entries
        entries.pop(None, None)
        while entries:
            try:
                _, ref = entries.popitem()
            except KeyError:
                break  # another thread was faster
            reader = ref()
            if type(reader) is RemoteIterator:
                told += reader.forget()
        return told


class ContainerHint:
    """What has just been seen of a container, for the thread that reads it.

    Args:
        container: a proxy.
        reader: who reads it.
        source: what the reader's next request is about.
        length: of the container.
    """

    def __init__(self, container: Any, reader: RemoteIterator, source: Any, length: int) -> None:
        self._thread = get_ident()
        self._container = container
        self._reader = weakref.ref(reader)
        self._length = length
        self._keys: list[Any] = []  # in the order in which they were told
        self._values: dict[Any, Any] = {}  # of keys, as far as they are known
        self._used = 0  # how many values were asked for
        self._batch_size = 0  # how many were fetched at once
        self._batch_end = 0  # how many keys come before those that have not been fetched
        self._cursor: Any = None  # gives them
        self._end = 0.0
        self.source = source

    def refresh(self, keys: Any, values: Any) -> None:
        """Notes what has just arrived."""
        if values is not None and _are_plain(keys):
            self._keys += keys
            self._values.update(zip(keys, values))
        self._end = primitives.monotonic() + _FRESH

    def _holds(self, container: Any) -> bool:
        return (
            container is self._container
            and get_ident() == self._thread
            and primitives.monotonic() < self._end
        )

    def length(self, container: Any) -> int | None:
        """Returns the length of a container, if it has been seen."""
        if not self._holds(container):
            return None
        reader = self._reader()
        if reader is not None:
            reader.wants_all = True
        return self._length

    def value(self, container: Any, key: Any) -> Any:
        """Returns the value of a key, or MISSING."""
        if self._values and self._holds(container):
            try:
                value = self._values[key]
            except (KeyError, TypeError):
                pass
            else:
                self._used += 1
                return value
        return self._fetched_value(container, key) if self._values else MISSING

    def _fetched_value(self, container: Any, key: Any) -> Any:
        """Returns the value of a key that is not known any more, or MISSING.

        If it is the next one in the order of the keys, as where a dict is made, the values of many
        keys are fetched. What goes wrong, goes wrong again where the value is asked for by itself.
        """
        used = self._used
        if (
            container is not self._container
            or get_ident() != self._thread
            or used >= len(self._keys)
            or self._keys[used] is not key
        ):
            return MISSING
        size = self._batch_size * _MORE_VALUES
        if used < self._batch_end:  # the time was over before all were used
            size = used - (self._batch_end - self._batch_size)
            if size * _WORTH < used + self._batch_size:
                return MISSING  # who is that slow is asked for one after the other
            self._cursor = None
        self._batch_size = min(max(_FIRST_VALUES, size), _MOST_VALUES)
        try:
            if not self._fetch(object.__getattribute__(container, "____conn__")):
                return MISSING
        except (AccessDenied, LimitExceeded, MalformedValue, RuntimeError):
            return MISSING
        self._used += 1
        return self._values[key]

    def _fetch(self, conn: Any) -> bool:
        """Fetch values from the next key on; return whether they are the values of these keys."""
        used, entries = self._used, conn._read_ahead.entries
        keys: tuple[Any, ...] = ()
        start, last = self._batch_end, False
        if self._cursor is None:
            start = 0
            request: Any = (self._container, KEYS_AND_VALUES, min(used + self._batch_size, ALL))
            entries[id(self)] = _nobody  # is forgotten with the rest if the peer asks meanwhile
            try:
                reply = _checked(conn.sync_request(consts.HANDLE_ITERATE, *request), 5)
            finally:
                is_current = entries.pop(id(self), None) is not None
            if not is_current:
                return False
            keys, values, last, _, self._cursor = reply
            entries[None] = self
            self.source = self._cursor
        while not last and start + len(keys) <= used:
            start += len(keys)
            count = min(used + self._batch_size - start, ALL)
            request = (self._cursor, len(keys), count, KEYS_AND_VALUES)
            reply = _checked(conn.sync_request(consts.HANDLE_CHUNK, *request), 3)
            keys, values, last = reply
            if entries.get(None) is not self:
                return False
        skipped = used - start
        told = keys[skipped:]
        expected = self._keys[used : used + len(told)]
        if values is None or not told or list(map(type, told)) != list(map(type, expected)):
            return False
        if not _are_plain(told) or list(told) != expected:
            return False
        self._values = dict(zip(expected, values[skipped:]))
        self._batch_size, self._batch_end = len(told), used + len(told)
        self._end = primitives.monotonic() + _FRESH
        return True


def _are_plain(keys: tuple[Any, ...]) -> bool:
    """Return whether keys may be looked up here: they travel by value and their hashes differ."""
    if not simple_types.issuperset(map(type, keys)) and not all(map(dumpable, keys)):
        return False
    try:
        check_hashes(keys)
    except MalformedValue:
        return False
    return True


def _nobody() -> None:
    """Return what a dead weak reference does."""


class RemoteIterator:
    """Iterates over a container of the other side.

    Args:
        conn: the connection.
        container: a proxy.
        what: of a dict, KEYS, ITEMS, VALUES or KEYS_AND_VALUES.
        first: what came with the first chunk: items, values, whether they are the last, the length
            of the container, and the cursor or None.
    """

    def __init__(self, conn: Any, container: Any, what: int, first: Any) -> None:
        self._conn = conn
        self._container = container
        self._what = what
        self._count = FIRST
        self.wants_all = False
        self._ended = False
        self._position = 0  # how many items have been used before the last chunk
        self._given = 0  # how many were in it
        self._queue: deque[Any] = deque()
        items, values, last, self._length, self._cursor = first
        ahead = conn._read_ahead
        source = container if self._cursor is None else self._cursor
        ahead.entries[None] = ContainerHint(container, self, source, self._length)
        self._take(items, values, last)

    def _take(self, items: Any, values: Any, last: bool) -> None:
        ahead = self._conn._read_ahead
        glimpse = ahead.glimpse
        if glimpse is not None and glimpse._reader() is self:
            glimpse.refresh(items, values)
        self._given = len(items)
        self._last = last
        self._queue.extend(items)
        ahead.add(self)

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        if self._queue:
            try:
                return self._queue.popleft()
            except IndexError:
                pass  # another thread has made us forget it
        return self._next()

    def _next(self) -> Any:
        while not (self._ended or self._last):
            self._conn.run_steps(self.fetch_steps())
            if self._queue:
                try:
                    return self._queue.popleft()
                except IndexError:
                    pass
        self.end()
        raise StopIteration

    def end(self) -> None:
        """Notes that all has been used."""
        self._ended = True
        self._conn._read_ahead.remove(self)
        self._container = self._cursor = None

    @property
    def queue(self) -> deque[Any]:
        """What has come and has not been used."""
        return self._queue

    @property
    def at_end(self) -> bool:
        """Whether nothing more will come."""
        return self._ended or self._last

    def fetch_steps(self) -> Any:
        """Asks for the next chunk."""
        if self.wants_all:
            count = ALL
        else:
            count = self._count = min(self._count * _GROWTH, _LARGEST) if self._count else 1
        used, self._given = self._given, 0
        self._position += used
        source, place = self._cursor, used
        if source is None:
            source, place = self._container, self._position
        try:
            reply = yield consts.HANDLE_CHUNK, (source, place, count, self._what)
        except BaseException:
            self._last = self._ended = True
            raise
        self._take(*_checked(reply, 3))

    def forget(self) -> list[tuple[Any, int]]:
        """Forgets what has not been used; returns what the owner must be told."""
        left = 0
        try:
            while True:
                self._queue.popleft()
                left += 1
        except IndexError:
            pass
        used, self._given = self._given - left, 0
        self._position += used
        self._count = 0
        self._last = self.wants_all = False
        return [] if self._cursor is None else [(self._cursor, used)]

    def __length_hint__(self) -> int:
        self.wants_all = True
        return max(0, int(self._length) - self._position)


def open_items(conn: Any, container: Any, what: int = KEYS) -> RemoteIterator | None:
    """Returns an iterator that has its first items, or None if the container is not read so."""
    items: RemoteIterator | None = conn.run_steps(opening_steps(conn, container, what))
    return items


def opening_steps(conn: Any, container: Any, what: int = KEYS) -> Any:
    """Does the same for any driver."""
    first = yield consts.HANDLE_ITERATE, (container, what, FIRST)
    return None if first is None else RemoteIterator(conn, container, what, _checked(first, 5))


def _checked(chunk: Any, size: int) -> Any:
    """Returns a chunk: items, values or None, whether they are the last, the length, the cursor.

    Raises:
        MalformedValue: the peer has sent something else.
    """
    kinds: tuple[Any, ...] = ((tuple,), (tuple, type(None)), (bool,), (int,))
    if (
        type(chunk) is not tuple
        or len(chunk) != size
        or not all(type(part) in allowed for part, allowed in zip(chunk, kinds))
    ):
        raise MalformedValue("expected a chunk of a container's items, got something else")
    return chunk
