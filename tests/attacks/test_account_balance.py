"""What is counted for a connection leaves the sum of its listener, whenever the connection ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from rpyc_like.errors import LimitExceeded
from rpyc_like.link import admission
from rpyc_like.link.admission import ListenerAccount
from rpyc_like.link.backlog import Backlog, Stash
from rpyc_like.link.kept import Kept
from rpyc_like.link.made_objects import MadeObjects
from rpyc_like.wire.meter import Meter
from rpyc_like.wire.session import CALL
from tests.support.joining import join

SIZE = 1000


class Interrupting:
    """A lock; something else happens each time that it has been released, but not meanwhile."""

    def __init__(self, lock: Any, does: Callable[[], object]) -> None:
        self._lock = lock
        self._does = does
        self._busy = False

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._lock.__exit__(*exc)
        if not self._busy:
            self._busy = True
            self._does()
            self._busy = False


def counted() -> tuple[Backlog, ListenerAccount]:
    """Return what a connection counts, and the account of its listener."""
    account, backlog = ListenerAccount(1 << 30), Backlog()
    backlog.total = account.add
    return backlog, account


def test_a_connection_that_ends_while_a_message_is_added_holds_nothing() -> None:
    """The end may come when the listener has counted a message, and the connection has not."""
    backlog, account = counted()

    def ending(size: int) -> None:
        account.add(size)
        backlog.close()

    backlog.total = ending
    backlog.add(SIZE)
    assert (account.held, backlog.size, backlog.full) == (0, 0, False)


def test_a_connection_that_ends_while_a_message_is_refused_holds_nothing() -> None:
    """So may it when the listener has refused to count it."""
    backlog, account = counted()

    def refusing(size: int) -> None:
        if size > 0:
            backlog.close()
            raise LimitExceeded("memory", size, 1)
        account.add(size)

    backlog.total = refusing
    backlog.add(SIZE)
    backlog.remove(SIZE)
    assert (account.held, backlog.size, backlog.full) == (0, 0, False)


def test_a_connection_that_ends_while_a_message_is_removed_holds_nothing() -> None:
    """The end may come when the connection counts a message no more, and the listener does."""
    backlog, account = counted()
    backlog.add(SIZE)
    backlog._lock = Interrupting(backlog._lock, backlog.close)  # type: ignore[assignment]
    backlog.remove(SIZE)
    assert (account.held, backlog.size, backlog.full) == (0, 0, False)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_comes_after_the_end_is_not_counted(count: int) -> None:
    """What is served last, or read too late, changes neither number any more."""
    backlog, account = counted()
    stash = Stash(backlog)
    for _ in range(count):
        stash.append((CALL, 1, None, ()))
    backlog.close()
    backlog.close()
    stash.append((CALL, 1, None, ()))
    assert (account.held, backlog.size, backlog.full) == (0, 0, False)
    while stash:
        stash.popleft()
    assert (account.held, backlog.size, backlog.full) == (0, 0, False)


def test_what_was_refused_is_not_given_back() -> None:
    """The listener gets back what it has counted, in whatever order messages are removed."""
    account, backlog = ListenerAccount(SIZE), Backlog()
    backlog.total = account.add
    backlog.add(600)
    backlog.add(600)
    assert account.held == 600
    backlog.remove(600)
    backlog.remove(600)
    assert (account.held, backlog.size, backlog.full) == (0, 0, False)
    backlog.add(600)
    backlog.add(600)
    backlog.close()
    assert account.held == 0


def test_connections_that_end_while_they_are_used_hold_nothing() -> None:
    """The sum is zero when all have ended, however their threads have met."""
    account = ListenerAccount(1 << 40)
    for _ in range(200):
        backlog = Backlog()
        backlog.total = account.add
        begun = threading.Event()

        def work(backlog: Backlog = backlog, begun: threading.Event = begun) -> None:
            begun.set()
            for _ in range(20):
                backlog.add(SIZE)
                with backlog.holding(SIZE):
                    backlog.remove(SIZE)

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(60)
        backlog.close()
        join(thread)
    assert account.held == 0


def test_memory_that_is_kept_ends_with_its_connection() -> None:
    """What is kept, returned or left by finalizers after the end changes the sum no more."""
    account = ListenerAccount(1 << 30)
    kept = Kept(Meter(1 << 30, total=account.add), lambda it: None)
    kept.hold(SIZE, "something")
    kept.release_later(SIZE)
    kept.hold(SIZE, "something")
    kept.close()
    assert account.held == 0
    kept.hold(SIZE, "something")
    kept.release(SIZE)
    kept.release_later(SIZE)
    kept.flush_released()
    kept.close()
    assert (account.held, kept.held) == (0, 0)


def test_an_account_is_not_locked_when_it_makes_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finalizers that run meanwhile may use other connections of the listener."""
    account = ListenerAccount(SIZE)
    locked: list[bool] = []

    class Noted(LimitExceeded):
        def __init__(self, *args: Any, **options: Any) -> None:
            locked.append(account._lock._is_owned())  # type: ignore[attr-defined]
            super().__init__(*args, **options)

    monkeypatch.setattr(admission, "LimitExceeded", Noted)
    with pytest.raises(LimitExceeded):
        account.add(2 * SIZE)
    assert locked == [False]


def test_growth_that_could_not_be_counted_is_given_back() -> None:
    """What an object has grown by beyond the limit counts when there is room, until it is gone."""
    account = ListenerAccount(1 << 30)
    kept = Kept(Meter(10 * SIZE, total=account.add), lambda it: None)
    made = MadeObjects(kept, lambda it: None)
    grown: list[Any] = []
    kept.hold(8 * SIZE, "something")
    made.resize(grown, 5 * SIZE)
    kept.release(8 * SIZE)
    made.check(0)
    assert kept.held == 5 * SIZE
    made.resize(grown, -5 * SIZE)
    del grown
    made._look()
    made.check(0)
    assert kept.held < SIZE


def test_growth_that_could_not_be_counted_is_forgiven() -> None:
    """What an object has lost again before there was room has never been counted."""
    kept = Kept(Meter(10 * SIZE), lambda it: None)
    made = MadeObjects(kept, lambda it: None)
    grown: list[Any] = []
    kept.hold(8 * SIZE, "something")
    made.resize(grown, 5 * SIZE)
    made.resize(grown, -5 * SIZE)
    assert kept.held == 8 * SIZE
    made.check(SIZE)
    assert kept.held == 8 * SIZE
