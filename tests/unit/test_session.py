"""The session and the pending table: what an answer means, whoever moves the bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from rpyc_like.errors import MalformedValue
from rpyc_like.wire.messages import CAST, FAILURE, REPLY, REQUEST, Message
from rpyc_like.wire.pending import ABANDONED, UNKNOWN, PendingTable
from rpyc_like.wire.session import ANSWER, BROKEN, CALL, NOTHING, NOTICE, Session, State


class TextCodec:
    """Messages as text: ``kind id rest``."""

    def decode(self, payload: bytes) -> Message:
        kind, id_, rest = payload.decode().split(" ", 2)
        if kind == "request":
            return (REQUEST, int(id_), "target", rest)
        if kind == "cast":
            return (CAST, rest)
        if kind in ("reply", "failure"):
            return (REPLY if kind == "reply" else FAILURE, int(id_), rest)
        raise MalformedValue(f"got {kind!r}")

    def encode_request(self, id_: Any, target: Any, args: Any) -> bytes:
        return f"request {id_} {args.upper()}".encode()

    def encode_reply(self, id_: Any, value: Any) -> bytes:
        return f"reply {id_} {value}".encode()

    def encode_failure(self, id_: Any, error: Any) -> bytes:
        return f"failure {id_} {error}".encode()


def test_answers_find_their_requests() -> None:
    """Answers in any order find who asked; the entry is returned, not completed."""
    session = Session(TextCodec())
    first, payload = session.request("first", "t", "a")
    second, _ = session.request("second", "t", "b")
    assert payload == b"request 0 A"
    assert session.receive(b"failure 1 no") == (ANSWER, "second", True, "no")
    assert session.receive(b"reply 0 yes") == (ANSWER, "first", False, "yes")
    assert (first, second) == (0, 1)
    assert len(session.pending) == 0


def test_other_messages() -> None:
    """Requests and casts of the peer are handed on."""
    session = Session(TextCodec())
    assert session.receive(b"request 7 x") == (CALL, 7, "target", "x")
    assert session.receive(b"cast 0 y") == (NOTICE, "y")


def test_unexpected_answers() -> None:
    """Unknown, doubled and late answers mean nothing; only the first two are counted."""
    session = Session(TextCodec())
    id_, _ = session.request("entry", "t", "a")
    late, _ = session.request("late", "t", "a")
    session.receive(b"reply %d x" % id_)
    session.pending.abandon(late)
    assert session.receive(b"reply %d x" % id_) == (NOTHING,)
    assert session.receive(b"reply 99 x") == (NOTHING,)
    assert session.pending.unknown == 2
    assert session.receive(b"reply %d x" % late) == (NOTHING,)
    assert session.pending.unknown == 2


def test_nonsense_is_an_outcome() -> None:
    """A session never raises on what the peer sent."""
    kind, error = Session(TextCodec()).receive(b"what 0 x")
    assert kind == BROKEN
    assert isinstance(error, MalformedValue)


def test_a_request_that_cannot_be_encoded_is_not_filed() -> None:
    """What cannot be sent leaves nothing behind."""
    session = Session(TextCodec())
    try:
        session.request("entry", "t", 5)
    except AttributeError:
        pass
    assert len(session.pending) == 0


def test_states_move_forward() -> None:
    """Closing happens once, and closing returns who still waits, oldest first."""
    session = Session(TextCodec())
    session.request("a", "t", "x")
    session.request("b", "t", "x")
    assert session.closing()
    assert not session.closing()
    assert session.state is State.CLOSING
    assert session.closed() == ["a", "b"]
    assert session.closed() == []
    assert session.state is State.CLOSED


def test_table_verdicts() -> None:
    """Abandoned ids stay known until their answer comes; discarded ones do not."""
    table: PendingTable[str] = PendingTable()
    kept, dropped = table.open("kept"), table.open("dropped")
    assert table.get(kept) == "kept"
    table.abandon(kept)
    table.discard(dropped)
    assert table.get(kept) is None
    assert table.settle(kept) is ABANDONED
    assert table.settle(kept) is UNKNOWN
    assert table.settle(dropped) is UNKNOWN
    assert table.fail_all() == []


def at_each_step(func: Callable[[], Any], other: Callable[[], Any]) -> Iterator[int]:
    """Call a function once for each of its steps, and another one before that step.

    The other is what a second thread does there. Yields the number of the step when both are done.
    """
    for step in count(1):
        left = step

        def trace(frame: Any, event: str, arg: Any) -> Any:
            nonlocal left
            frame.f_trace_opcodes = True
            if event == "opcode":
                left -= 1
                if not left:
                    other()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            func()
        finally:
            sys.settrace(before)
        yield step
        if left > 0:
            return


@pytest.mark.parametrize("first", ["settle", "abandon"])
def test_an_answer_while_a_request_is_given_up(first: str) -> None:
    """Either the answer has its waiter, or the waiter has gone; nothing is left or unknown."""
    table: PendingTable[str] = PendingTable()
    outcomes: dict[str, Any] = {}
    id_ = table.open("entry")

    def call(name: str) -> None:
        outcomes[name] = getattr(table, name)(id_)

    second = "abandon" if first == "settle" else "settle"
    seen = []
    for _ in at_each_step(lambda: call(first), lambda: call(second)):
        if second not in outcomes:
            break  # there is no such step
        seen.append(outcomes["settle"])
        assert outcomes["abandon"] is (seen[-1] is ABANDONED), outcomes
        assert len(table) == 0
        assert table.unknown == 0
        outcomes.clear()
        id_ = table.open("entry")
    assert set(seen) == {"entry", ABANDONED}


def test_a_request_at_any_moment_of_the_end() -> None:
    """What is filed while the table is emptied is failed, or still there."""
    table: PendingTable[str] = PendingTable()
    failed: list[str] = []
    filed: list[int] = []
    table.open("old")
    steps = at_each_step(
        lambda: failed.extend(table.fail_all()), lambda: filed.append(table.open("new"))
    )
    for _ in steps:
        if not filed:
            break  # there is no such step
        assert [*failed, *table.waiting().values()] == ["old", "new"]
        table.fail_all()
        failed.clear()
        filed.clear()
        table.open("old")
