"""Calls of functions in C that restricted peers have under way, and the objects they work on.

C code that asks a peer in the middle (for a key's ``__eq__``, an iterator's next item) often trusts
that its objects do not change meanwhile: an ``OrderedDict``, a ``csv.reader``, an XML element, many
iterators. The peer could change them from that very question, or over another connection, which
ends the process or shows it freed memory. So while a call waits for a peer, other calls of peers
that would work on the same objects are refused.

Who waits is found out in two ways, and both are needed. A thread that is on its way to ask has code
of a proxy on its stack; that is looked at by those who come later. A thread that is about to ask
looks for calls that have begun meanwhile (:meth:`Use.asking`). No lock is taken: each one notes
what it does before it looks for the others, so of two at least one sees the other.

Left alone are objects that C code works on safely while they change, see ``_SAFE``. Functions of
the program are not looked at, nor what they call.
"""

from __future__ import annotations

import contextvars
import functools
import operator
import os
import re
import struct
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from threading import get_ident
from types import (
    CodeType,
    FrameType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    TracebackType,
    WrapperDescriptorType,
)
from typing import Any, Final

from ..errors import LimitExceeded
from .c_callables import is_bound
from .counted_items import source_of
from .proxies import asks_here
from .referents import referents
from .stand_ins import dict_of, mro_of

__all__ = ["ItemWork", "Use", "count_item", "taken", "to_mark", "under_way"]

under_way: Final[dict[int, list[Use]]] = {}
"""The calls under way by thread, the innermost last. A thread without one has no entry."""


def _safe_types() -> Iterable[type]:
    # CPython's own lists, dicts and sets expect to be changed by what they call: they hold the item
    # that they work on, and look at their tables anew after each call. So do their views and
    # iterators. A deque has a counter of its changes, but is not among them: its C code had faults
    # of this kind up to 3.13.
    yield from (list, tuple, dict, defaultdict, set, frozenset, range, slice)
    empty: dict[Any, Any] = {}
    for view in (empty.keys(), empty.values(), empty.items()):
        yield from (type(view), type(iter(view)), type(reversed(view)))
    several: tuple[Any, ...] = ([], (), set(), "", b"", bytearray(), range(0), range(1 << 70))
    for items in (*several, deque()):
        yield type(iter(items))
    yield from (type(reversed([])), type(reversed(deque())))
    # They have their own answer to who enters them twice.
    yield from (type(_ for _ in ()), type(functools.lru_cache(abs)), contextvars.Context)
    # They never change.
    yield from (int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented))
    yield from (re.Pattern, re.Match, struct.Struct, functools.partial)
    yield from (operator.itemgetter, operator.attrgetter, operator.methodcaller)
    yield from (CodeType, FrameType, TracebackType, property, staticmethod, classmethod)
    yield from (FunctionType, MethodType, WrapperDescriptorType, MethodDescriptorType, type)


# Their ids: a metaclass of the program may have its own __hash__ and __eq__.
_SAFE: Final = frozenset(map(id, _safe_types()))
_NEVER_CHANGE: Final = (
    *(("datetime", name) for name in ("date", "time", "timedelta", "tzinfo")),
    ("decimal", "Decimal"),
)
"""Others that never change; they are not imported for this."""
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)


class Use:
    """A call under way, for a ``with`` block around what is called.

    Args:
        name: of what is called.
        values: what it works on: its object, and its arguments.
        limit: most objects that are looked at.
        key: the configuration key that changes ``limit``.
        make_work: returns what counts the items that the call takes, and weighs what its peer
            answers; called if there is any.

    Raises:
        RuntimeError: another call works on the same, and waits for a peer.
        LimitExceeded: so many objects hang on the values that this cannot be found out.
    """

    __slots__ = (
        *("_asks", "_found", "_frame", "_key", "_limit", "_make_work", "_name", "_values", "_work"),
    )

    def __init__(
        self,
        name: str,
        values: Iterable[Any],
        limit: int,
        key: str,
        make_work: Callable[[], ItemWork] | None = None,
    ) -> None:
        self._make_work = make_work
        self._work: ItemWork | None = None
        self._name = name
        self._values = tuple(values)
        self._limit = limit
        self._key = key
        self._asks = False  # whether it has said so
        self._found: dict[int, Any] | None = None  # what it works on, when that has been asked
        self._frame: FrameType | None = None  # the frame of the ``with`` block

    def __enter__(self) -> Use:
        me = get_ident()
        self._frame = sys._getframe(1)
        own = under_way.setdefault(me, [])
        before = tuple(own)
        own.append(self)
        if before or len(under_way) > 1:
            try:
                self._check(before, me)
            except BaseException:
                self._leave()
                raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._frame = None
        if self._work is not None:
            self._work.end()
        me = get_ident()
        own = under_way[me]
        own.remove(self)
        if not own:
            del under_way[me]

    def _check(self, before: tuple[Use, ...], me: int) -> None:
        """Raise if a call that waits works on the same objects; those of this thread all wait."""
        others = [*before]
        frames: Any = None
        for ident, uses in under_way.copy().items():
            if ident != me:
                if frames is None:
                    frames = sys._current_frames()
                others += [use for use in tuple(uses) if use._waits(frames.get(ident))]
        frames = None
        self._compare(others)

    def _compare(self, others: list[Use]) -> None:
        if not others:
            return
        mine = self._objects()
        if mine:
            for other in others:
                try:
                    theirs = other._objects()
                except LimitExceeded:
                    continue  # it is refused itself before it asks
                few, many = sorted((mine, theirs), key=len)
                found = next((one for key, one in few.items() if key in many), None)
                if found is not None:
                    kind = type(found).__name__
                    raise RuntimeError(
                        f"expected an object that no other call uses, got {kind} for "
                        f"{self._name!r}, while {other._name!r} uses it and waits for a peer: "
                        "let that call end first, or work on a copy"
                    )

    def _waits(self, frame: FrameType | None) -> bool:
        """Return whether the call waits for a peer, or is about to.

        Args:
            frame: the innermost frame of its thread.
        """
        entered = self._frame
        if self._asks:
            return True
        while frame is not None and entered is not None and frame is not entered:
            if asks_here(frame):
                return True
            frame = frame.f_back
        return False

    # -- asking

    def asking(self) -> _Asking:
        """Return what goes around a request of a peer that is waited for, in a ``with`` block."""
        return _Asking(self)

    def mark(self) -> None:
        """Note that a peer is asked; raise if another call of a peer has begun on the same.

        Raise LimitExceeded as well if the call works on too much to be compared with others.
        """
        self._objects()
        self._asks = True
        me = get_ident()
        others = [
            use
            for ident, uses in under_way.copy().items()
            if ident != me
            for use in tuple(uses)
            if not use._asks
        ]
        try:
            self._compare(others)
        except BaseException:
            self._asks = False
            raise

    def unmark(self) -> None:
        """Note that the answer has come."""
        self._asks = False

    def answered(self, value: Any) -> Any:
        """Return what a peer has answered to the call; raise LimitExceeded if it is too much.

        C code compares, hashes and shows such an answer, which may be any object of this side.
        """
        work = self._item_work()
        if work is not None:
            work.weigh(value)
        return value

    # -- what it takes

    def count(self, item: Any, held: bool) -> None:
        """Count an item that the call takes of an iterator; raise LimitExceeded at too many."""
        work = self._item_work()
        if work is not None:
            work.count(item, held)

    def _item_work(self) -> ItemWork | None:
        if self._work is None and self._make_work is not None:
            self._work = self._make_work()
        return self._work

    # -- what it works on

    def _objects(self) -> dict[int, Any]:
        """Return the objects by id that C code works on, except for those that are safe.

        They are looked for once, so what comes into a container later is not among them.
        A function that is given something to call may pass it any item, and that is to be of use;
        so containers are not looked into then. Others compare, hash or show what is in them.
        """
        if self._found is not None:
            return self._found
        values = [value for value in self._values if not _is_callable(value)]
        deep = len(values) == len(self._values)
        found: dict[int, Any] = {}
        seen: set[int] = set()
        kinds: dict[int, tuple[bool, bool]] = {}
        steps = 0
        stack = [(value, deep) for value in values]
        while stack:
            one, deep = stack.pop()
            one = source_of(one)
            kind = type(one)
            if id(one) in seen or issubclass(kind, (type, ModuleType, BaseException)):
                continue
            if is_bound(kind):  # a map has it, for example
                stack.append((one.__self__, False))
                continue
            safe, holds = kinds.get(id(kind)) or kinds.setdefault(id(kind), _looked_at(kind))
            if safe and not holds:
                continue
            seen.add(id(one))
            if not safe:
                found[id(one)] = one
            if holds and not deep:
                continue
            held = referents(one)
            steps += 1 + len(held)
            if steps > self._limit:
                raise LimitExceeded("objects in one another", steps, self._limit, self._key)
            if holds:
                stack += [(item, True) for item in held]
                continue
            for item in held:  # an iterator has those that it takes from in a tuple
                stack += [(each, False) for each in (item if type(item) is tuple else (item,))]
        self._found = found
        return found


class ItemWork:
    """Items that calls of one request take of iterators, on an account that is opened when needed.

    Args:
        open_account: returns an account of the request, to count on.
        weigh: raises LimitExceeded for what is too large to be compared, hashed or shown.
        kept: whether the account outlasts a call; whoever made this ends it then.
    """

    __slots__ = ("_account", "_kept", "_open", "weigh")

    def __init__(
        self,
        open_account: Callable[[], AbstractContextManager[Any]],
        weigh: Callable[[Any], object],
        kept: bool = False,
    ) -> None:
        self.weigh = weigh
        self._open = open_account
        self._kept = kept
        self._account: Any = None

    def count(self, item: Any, held: bool) -> None:
        """Count an item, its memory as well if it is held."""
        self.weigh(item)
        account = self._account
        if account is None:
            account = self._account = self._open().__enter__()
        account.count()
        account.check()
        if held:
            account.hold(item)

    def end(self, at_last: bool = False) -> None:
        """Close the account; what is held is not counted any more."""
        account = self._account
        if account is not None and (at_last or not self._kept):
            self._account = None
            account.__exit__(None, None, None)


class _Asking:
    """A ``with`` block in which a call waits for a peer."""

    __slots__ = ("_use",)

    def __init__(self, use: Use) -> None:
        self._use = use

    def __enter__(self) -> None:
        self._use.mark()

    def __exit__(self, *exc: object) -> None:
        self._use.unmark()


def to_mark() -> Use | None:
    """Return the call that this thread has under way, unless it has said that it asks a peer."""
    own = under_way.get(get_ident())
    return own[-1] if own and not own[-1]._asks else None


def count_item(item: Any, held: bool) -> Any:
    """Count an item for the call of a peer that takes it; return the item.

    What the program takes is not counted.
    """
    own = under_way.get(get_ident())
    if own:
        own[-1].count(item, held)
    return item


def taken(
    iterator: Any, limit: int, key: str, make_work: Callable[[], ItemWork] | None = None
) -> Iterator[Any]:
    """Yield the items of a peer's iterator; each is taken in a call of its own.

    Args:
        limit: most objects that are looked at.
        key: the configuration key that changes ``limit``.
        make_work: returns what counts the items that a call takes.
    """
    safe, holds = _looked_at(type(iterator))
    if safe and not holds:
        for item in iterator:  # "yield from" would close a generator that is not used up
            yield item
        return
    iterator = iter(iterator)
    while True:
        try:
            with Use("__next__", (iterator,), limit, key, make_work):
                item = next(iterator)
        except StopIteration:
            return
        yield item


def _is_callable(value: Any) -> bool:
    return any("__call__" in dict_of(base) for base in mro_of(type(value)))


def _looked_at(cls: type) -> tuple[bool, bool]:
    """Return whether instances of a class are safe, and whether they are containers."""
    made_in_c = next((base for base in mro_of(cls) if _is_of_c(base)), object)
    if made_in_c is object or id(made_in_c) in _SAFE or _never_changes(made_in_c):
        return True, issubclass(made_in_c, _CONTAINERS)
    return False, issubclass(made_in_c, _CONTAINERS) or "__len__" in dict_of(made_in_c)


def _is_of_c(cls: Any) -> bool:
    """Return whether a class other than ``object`` is written in C."""
    if cls is object:
        return False
    own: tuple[Any, ...] = tuple(dict_of(cls).values())
    return any(
        (type(one) is WrapperDescriptorType or type(one) is MethodDescriptorType)
        and one.__objclass__ is cls
        for one in own
    )


def _never_changes(cls: type) -> bool:
    known = (getattr(sys.modules.get(module), name, None) for module, name in _NEVER_CHANGE)
    return any(cls is one for one in known)


def _forget_others() -> None:
    """Forget the calls of threads that a forked child does not have."""
    own = under_way.get(get_ident())
    under_way.clear()
    if own:
        under_way[get_ident()] = own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)
