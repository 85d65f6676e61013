"""Calls of functions in C that restricted peers have under way, and the objects they work on.

C code that asks a peer in the middle (for a key's ``__eq__``, an iterator's next item) often trusts
that its objects do not change meanwhile: an ``OrderedDict``, a ``csv.reader``, an XML element, many
iterators. The peer could change them from that very question, or over another connection, which
ends the process or shows it freed memory. So while a call waits for a peer, calls of peers that
would work on the same objects wait until it has ended. They are refused where that would be a
deadlock: in the same thread, which serves what the peer does to answer (only reading is free
there, see ``READING``), where the peer may do so without saying so, and in a circle of waits.

Who waits is found out in two ways, and both are needed. A thread that is on its way to ask has code
of a proxy on its stack; that is looked at by those who come later. A thread that is about to ask
looks for calls that have begun meanwhile (:meth:`Use.asking`), and lets them end. No lock is taken:
each one notes what it does before it looks for the others, so of two at least one sees the other.
Of two that both have proxies in their hands the later one waits at once: else both would stop in
the middle, and one would have to be refused.

Left alone are objects that C code works on safely while they change, see :mod:`.stdlib`.
Functions of the program are not looked at, nor what they call.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby
from threading import get_ident
from types import FrameType, ModuleType
from typing import Any, Final, TypeVar

from ...errors import LimitExceeded
from .. import primitives
from ..proxies import asks_here, is_proxy
from ..referents import referents
from ..timing import Timeout
from ..worker_pool import waiting
from .counted_items import source_of
from .growth import plain_size
from .stdlib import (
    CONTAINERS,
    READING,
    factory_of,
    facts_of,
    held_by,
    is_lookup,
    looks_within,
)

T = TypeVar("T")

__all__ = ["ItemWork", "Use", "count_item", "take", "taken", "to_mark", "under_way"]

under_way: Final[dict[int, list[Use]]] = {}
"""The calls under way by thread, the innermost last. A thread without one has no entry."""

_in_order: Final[dict[Use, None]] = {}
"""The same in the order in which they came."""
_awaited: Final[dict[int, tuple[Use, bool]]] = {}
"""The call that each thread waits for, and whether only until that one steps back."""


_PATIENCE: Final = 30.0  # seconds that a call waits for its turn
_LOOK: Final = 0.1  # seconds after which it looks whether it is still wanted


class Use:
    """A call under way, for a ``with`` block around what is called.

    Args:
        name: of what is called.
        values: what it works on: its arguments, and its object last.
        limit: most objects that are looked at.
        key: the configuration key that changes ``limit``.
        guard: the :class:`.c_guards.Guard` of the connection that the call came over.
        make_work: returns what counts the items that the call takes, and weighs what its peer
            answers; called if there is any.

    Raises:
        RuntimeError: another call works on the same, and its end cannot be waited for.
        LimitExceeded: so many objects hang on the values that this cannot be found out.
    """

    __slots__ = (
        *("_answered", "_asks", "_begun", "_found", "_frame", "_guard", "_key", "_limit"),
        *("_looked_at", "_max_answered"),
        *("_make_work", "_marked", "_may_ask", "_name", "_thread", "_too_much", "_values"),
        *("_waiters", "_work"),
    )

    def __init__(
        self,
        name: str,
        values: Iterable[Any],
        limit: int,
        key: str,
        guard: Any = None,
        make_work: Callable[[], ItemWork] | None = None,
    ) -> None:
        self._make_work = make_work
        self._work: ItemWork | None = None
        self._answered = 0  # bytes that peers have answered
        self._max_answered: int | None = None
        self._name = name
        self._values = tuple(values)
        self._limit = limit
        self._key = key
        self._guard = guard
        self._asks = False  # whether it has said so
        self._begun = False  # and has neither ended nor stepped back
        self._found: dict[int, Any] = {}  # what it works on
        self._looked_at = 0  # at how many values, for this
        self._too_much: LimitExceeded | None = None  # what that came to
        self._marked: list[Use] = []  # those of its thread that ask because it does
        self._may_ask: bool | None = None  # likewise, whether it is plain that it may ask
        self._frame: FrameType | None = None  # the frame of the ``with`` block
        self._thread = 0
        self._waiters: list[Any] = []  # events of threads that wait until it ends

    def __enter__(self) -> Use:
        me = self._thread = get_ident()
        self._frame = sys._getframe(1)
        own = under_way.setdefault(me, [])
        before = list(own)
        own.append(self)
        _in_order[self] = None
        self._begun = True
        sorts = self._name == "sort"  # while it does, the list is empty
        if before or sorts or len(under_way) > 1:
            try:
                if sorts:
                    self._objects()
                self._begin(before)
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
        own = under_way[self._thread]
        own.remove(self)
        if not own:
            del under_way[self._thread]
        del _in_order[self]
        self._step_back()

    def _step_back(self) -> None:
        self._begun = False
        for event in list(self._waiters):
            event.set()

    # -- turns

    def _begin(self, before: list[Use]) -> None:
        """Wait until no other call works on the same objects and waits for a peer.

        Calls of this thread go on when this one has ended, so there is no waiting for them.
        """
        clash = self._clash(before, self._name in READING)
        if clash is not None:
            raise self._refusal(*clash)
        patience: Timeout | None = None
        while (clash := self._clash(self._older())) is not None:
            other = clash[0]
            guard = self._guard
            if guard is not None and guard is other._guard and not guard.tells_causes():
                raise self._refusal(*clash)  # it may be what the peer does to answer
            patience = patience or Timeout(_PATIENCE)
            self._step_back()
            self._wait(*clash, patience, False)
            self._begun = True

    def _older(self) -> Iterator[Use]:
        """Yield the calls of other threads that this one must not go before."""
        frames: dict[int, FrameType] = {}
        older = True
        try:
            for use in list(_in_order):
                if use is self:
                    older = False
                elif use._thread != self._thread:
                    frames = frames or sys._current_frames()
                    both_ask = older and self._asks_plainly() and use._asks_plainly()
                    if both_ask or use._waits(frames.get(use._thread)):
                        yield use
        finally:
            # Else frames of threads that look at each other keep one another, and all in them.
            frames.clear()

    def _clash(self, others: Iterable[Use], reads: bool = False) -> tuple[Use, Any] | None:
        """Return another call that works on the same object, and that one.

        Args:
            reads: whether this call only reads objects that bear it.
        """
        for other in others:
            try:
                theirs = other._objects()
            except LimitExceeded:
                continue  # it is refused itself before it asks
            if not theirs:
                continue
            mine = self._objects()
            if not mine:
                return None
            few, many = sorted((mine, theirs), key=len)
            for key, one in list(few.items()):
                if key in many and not (reads and facts_of(type(one)).bears_readers):
                    return other, one
        return None

    def _wait(self, other: Use, found: Any, patience: Timeout, asks: bool) -> None:
        """Wait until another call has ended.

        Args:
            found: what both work on.
            asks: whether this one has begun and is about to ask; then the other may step back.

        Raises:
            RuntimeError: there is no waiting here, or it has taken too long.
            RpycLikeError: nobody waits for the answer any more.
        """
        if _is_loop():
            raise self._refusal(other, found)
        event = primitives.Event()
        other._waiters.append(event)
        _awaited[self._thread] = (other, asks)
        try:
            with waiting(), contextlib.ExitStack() as stack:
                account = self._guard and stack.enter_context(self._guard.open_account())
                while _is_awaited(other, asks):
                    if patience.expired() or (other._is_older(self) and self._is_in_circle()):
                        raise self._refusal(other, found)
                    if account is not None:
                        account.check()
                    event.wait(_LOOK)
                    event.clear()
        finally:
            del _awaited[self._thread]
            other._waiters.remove(event)

    def _is_in_circle(self) -> bool:
        """Return whether the call that is waited for waits for this thread in turn."""
        thread = self._thread
        met: set[int] = set()
        while thread in _awaited and thread not in met:
            met.add(thread)
            edge = _awaited.get(thread)
            if edge is None or not _is_awaited(*edge):
                return False
            thread = edge[0]._thread
        return thread == self._thread

    def _is_older(self, other: Use) -> bool:
        return next((use for use in list(_in_order) if use in (self, other)), other) is self

    def _refusal(self, other: Use, found: Any) -> RuntimeError:
        kind = type(found).__name__
        return RuntimeError(
            f"expected an object that no other call uses, got {kind} for {self._name!r}, while "
            f"{other._name!r} uses it and waits for a peer: let that call end first, or work on "
            "a copy"
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

    def _asks_plainly(self) -> bool:
        """Return whether a proxy is among what it is given, or in an iterator there."""
        if self._may_ask is None:
            given: list[Any] = []
            for value in self._values:
                given.append(value)
                facts = facts_of(type(value))
                if not facts.bears_changes and not facts.holds:
                    given += referents(value)
            self._may_ask = any(map(is_proxy, given))
        return self._may_ask

    # -- asking

    def asking(self) -> _Asking:
        """Return what goes around a request of a peer that is waited for, in a ``with`` block."""
        return _Asking(self)

    def mark(self) -> None:
        """Note that a peer is asked; wait for calls of peers that have begun on the same.

        Raise LimitExceeded if the call works on too much to be compared with others.
        """
        # one that calls another function in C asks when that does
        self._marked = mine = [use for use in under_way[self._thread] if not use._asks]
        patience: Timeout | None = None
        try:
            for use in mine:
                use._objects()
                use._asks = True
            for use in mine:
                while (clash := use._clash(self._begun_meanwhile())) is not None:
                    patience = patience or Timeout(_PATIENCE)
                    use._wait(*clash, patience, True)
        except BaseException:
            self.unmark()
            raise

    def _begun_meanwhile(self) -> list[Use]:
        return [use for use in list(_in_order) if use._begun and use._thread != self._thread]

    def unmark(self) -> None:
        """Note that the answer has come."""
        for use in self._marked:
            use._asks = False

    def take(self, answer: T) -> T:
        """Note what a peer has answered: C code works on it from now on, as on a sort's key.

        Raise LimitExceeded if it is too much to be compared, hashed or shown, or if all answers
        together are too much for a result.
        """
        work = self._item_work()
        if work is not None:
            work.weigh(answer)
        if self._max_answered is not None:
            self._answered += plain_size(answer)
            if self._answered > self._max_answered:
                raise LimitExceeded(
                    "size of the answers of peers in bytes",
                    self._answered,
                    self._max_answered,
                    "max_memory",
                )
        facts = facts_of(type(answer))
        if facts.holds or not facts.bears_changes:
            self._values += (answer,)
        return answer

    def bound_answers(self, limit: int) -> None:
        """Count from now on how many bytes peers answer to the call; refuse more than a limit.

        What they answer becomes part of a result, as often as they are asked for it: a text of
        theirs each time that a format names it.
        """
        self._max_answered = limit

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

        Each value is looked at once, so what comes into a container later is not seen. What is
        in a container counts: it may be compared, hashed or shown, results of a sort's key too.
        An iterator that is asked for its next item only passes on what a container holds; all but
        ``groupby``, which compares it.
        """
        values, known = self._values, self._found
        if len(values) == self._looked_at:
            return known
        if self._too_much is not None:
            raise self._too_much
        found: dict[int, Any] = {}
        seen: set[tuple[int, bool]] = set()
        steps = 0
        passes_on = self._name in ("next", "__next__")
        within = looks_within(self._name, values)
        stack = [
            (value, within or not facts_of(type(value)).is_native)
            for value in values[self._looked_at :]
        ]
        if not self._looked_at and is_lookup(self._name, type(values[-1])):
            stack.pop()
            if within:
                stack += [(item, True) for item in held_by(values[-1])]
        while stack:
            one, deep = stack.pop()
            one = source_of(one)
            kind = type(one)
            if issubclass(kind, (type, ModuleType)) or (id(one), deep) in seen:
                continue
            facts = facts_of(kind)
            if facts.is_bound:
                # a map has it, for example; what is given to be called looks itself
                if not any(one is value for value in values):
                    stack.append((one.__self__, not passes_on))
                continue
            if facts.bears_changes and not facts.holds and not (deep and facts.passes):
                continue
            if is_proxy(one):
                continue
            seen.add((id(one), deep))
            if not facts.bears_changes:
                found[id(one)] = one
            if facts.holds and not deep and facts.kind in CONTAINERS:
                if issubclass(kind, defaultdict):
                    stack.append((factory_of(one), True))  # is called for what is missing
                continue
            held = held_by(one)
            steps += 1 + len(held)
            if steps > self._limit:
                self._too_much = LimitExceeded(
                    "objects in one another", steps, self._limit, self._key
                )
                raise self._too_much
            deep = facts.holds or facts.passes or kind is groupby or not passes_on
            for item in held:  # an iterator has those that it takes from in a tuple
                stack.append((item, deep))
                if type(item) is tuple and not deep:
                    stack += [(each, False) for each in item]
        known.update(found)
        self._looked_at = len(values)
        return known


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

    def __enter__(self) -> Use:
        self._use.mark()
        return self._use

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


def take(answer: T) -> T:
    """Note what C code is given by a function that it has called, for the call that it runs in."""
    own = under_way.get(get_ident())
    return own[-1].take(answer) if own else answer


def taken(
    iterator: Any,
    limit: int,
    key: str,
    guard: Any = None,
    make_work: Callable[[], ItemWork] | None = None,
) -> Iterator[Any]:
    """Yield the items of a peer's iterator; each is taken in a call of its own.

    Args:
        limit: most objects that are looked at.
        key: the configuration key that changes ``limit``.
        guard: of the peer's connection.
        make_work: returns what counts the items that a call takes.
    """
    facts = facts_of(type(iterator))
    if facts.bears_changes and not facts.holds:
        for item in iterator:  # "yield from" would close a generator that is not used up
            yield item
        return
    iterator = iter(iterator)
    while True:
        try:
            with Use("__next__", (iterator,), limit, key, guard, make_work):
                item = next(iterator)
        except StopIteration:
            return
        yield item


def _is_awaited(use: Use, asks: bool) -> bool:
    """Return whether a call is still to be waited for; if ``asks``, until it steps back."""
    return use._begun if asks else use in _in_order


def _is_loop() -> bool:
    """Return whether this thread runs an asyncio loop, which never waits."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _forget_others() -> None:
    """Forget the calls of threads that a forked child does not have."""
    own = under_way.get(get_ident())
    under_way.clear()
    _in_order.clear()
    _awaited.clear()
    if own:
        under_way[get_ident()] = own
        _in_order.update(dict.fromkeys(own))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)
