"""Runs a chain of steps where the objects are.

This module needs nothing else of the package and no other: where the peer is RPyC's, its source is
sent there. A chain is a tuple of steps, each of which may use the values of earlier ones:

========================================  ======================================================
step                                      value
========================================  ======================================================
``(0, target, name)``                     an attribute
``(1, target, arguments, pairs)``         what a call returns
``(2, target, name, arguments, pairs)``   what calling an attribute returns
``(3, target, name, value)``              None, after setting an attribute
``(4, iterable, steps, result)``          for each item of a list: the result of some more steps
``(5,)``                                  the root
========================================  ======================================================

Targets, arguments and results are operands: ``(0, value)``; ``(1, depth, index)``, the value of a
step of this chain (depth 0), or of a chain around it, where index -1 is the item; and
``(2, operands)``, a tuple of them. The outcome of a step is one of

* ``(0,)``: nobody asked for the value;
* ``(1, value)``;
* ``(2, error)``;
* ``(3,)``: the step was not done, because one of the values it uses is nothing for this side;
* ``(4, index)``: the step was not done, because that other one failed;
* ``(5, outcomes of the items)``, where some could not be finished: each is ``(1, value)`` or
  ``(6, item, outcomes)``.

Doing a step may take waiting, and who waits differs: a chain is a generator of what is to be done,
``(kind, *values)`` for the steps 0 to 3 and 5, and ``(6, value)`` for the items of a value. It also
yields ``(7,)`` where others may have their turn.
"""

from __future__ import annotations

from typing import Any

GETATTR, CALL, CALLATTR, SETATTR, MAP, ROOT, ITEMS, PAUSE = range(8)
VALUE, STEP, TUPLE = range(3)
UNASKED, DONE, FAILED, LEFT, BLOCKED, PARTLY, ITEM = range(7)
SIZE = 64  # bytes of an outcome without a value


def drive(work: Any, do: Any) -> Any:
    """Runs a chain where doing a step waits for it: ``do(kind, *values)``."""
    try:
        request = next(work)
        while True:
            if request[0] == PAUSE:
                request = next(work)
                continue
            try:
                value = do(*request)
            except Exception as error:
                request = work.throw(error)
            else:
                request = work.send(value)
    except StopIteration as end:
        return end.value


class Unlimited:
    """The account of a chain that nobody limits; see :mod:`rpyc_like.core.references.accounts`."""

    held = 0

    def count(self, steps: Any = 1) -> bool:
        """Counts steps that are about to be done; returns whether others are to have their turn."""
        return False

    def check(self) -> None:
        """Raises an error if the chain is not to be worked on any more."""

    def hold(self, value: Any) -> None:
        """Counts a value that is held."""

    def take(self, size: Any) -> None:
        """Counts so many bytes more."""

    def drop(self, size: Any) -> None:
        """Counts so many bytes less."""


class ChainInterpreter:
    """Runs chains.

    Args:
        elsewhere: whether nothing may be done here with a value that a step gave.
        describe: makes of an exception what travels.
        limit: of steps, inner ones included.
        account: counts the steps that are done, and what is held; its errors end the chain.
    """

    def __init__(self, elsewhere: Any, describe: Any, limit: Any, account: Any = None) -> None:
        self.elsewhere = elsewhere
        self.describe = describe
        self.limit = limit
        self.account = account or Unlimited()
        self.used: dict[int, set[int]] = {}  # what steps and results of maps use, by their ids

    def run(self, steps: Any, wanted: Any) -> Any:
        """Returns the outcomes of a chain.

        Args:
            wanted: indices of the steps whose values are asked for.
        """
        self.check(self.total(steps))
        outcomes: list[Any] = []
        scopes = [(outcomes, None)]
        for step in steps:
            outcomes.append((yield from self.outcome(step, scopes)))
        return (yield from self.reply(steps, outcomes, wanted))

    def check(self, count: Any) -> None:
        """Raises an error if there are too many steps."""
        if count > self.limit:
            text = "expected a chain of at most %d steps as sent (a fixed limit), got %d"
            raise ValueError(text % (self.limit, count))

    def total(self, steps: Any) -> int:
        """Returns how many steps there are, those in maps included."""
        return sum([1 + (self.total(step[2]) if step[0] == MAP else 0) for step in steps])

    def outcome(self, step: Any, scopes: Any) -> Any:
        """Returns the outcome of one step, with the real value.

        Args:
            scopes: outcomes of the chain, and of those around it with their items, innermost first.
        """
        kind = step[0]
        if self.account.count():
            yield (PAUSE,)
        request: Any = (ROOT,)
        if kind != ROOT:
            target, why = yield from self.value_of(step[1], scopes)
            if why is None and step[1][0] != VALUE and self.elsewhere(kind, target, step):
                why = (LEFT,)
            if why is not None:
                return why
            if kind == MAP:
                return (yield from self.map(target, step[2], step[3], scopes))
            given = []
            for operand in operands_of(step):
                value, why = yield from self.value_of(operand, scopes)
                if why is not None:
                    return why
                given.append(value)
            request = (kind, target, *with_values(step, given))
        try:
            value = yield request
        except Exception as error:
            return self.failed(error)
        self.account.hold(value)
        return (DONE, value)

    def failed(self, error: Any) -> Any:
        """Returns the outcome of a step that has failed."""
        self.account.check()
        described = self.describe(error)
        self.account.hold(described)
        return (FAILED, described)

    def map(self, iterable: Any, steps: Any, result: Any, scopes: Any) -> Any:
        """Returns the outcome of doing steps for each item."""
        account = self.account
        start = account.held
        try:
            items = yield ITEMS, iterable
        except Exception as error:
            account.drop(account.held - start)
            return self.failed(error)
        listed = account.held - start
        found: list[Any] = []
        whole = True
        for item in items:
            if account.count():
                yield (PAUSE,)
            outcomes: list[Any] = []
            inner = [(outcomes, item), *scopes]
            before = account.held
            for step in steps:
                outcomes.append((yield from self.outcome(step, inner)))
            for outcome in outcomes:
                if outcome[0] == FAILED:
                    account.drop(account.held - start)
                    account.hold(outcome[1])
                    return outcome
            value, why = yield from self.value_of(result, inner)
            if why is None and all(outcome[0] == DONE for outcome in outcomes):
                account.drop(account.held - before)
                account.hold(value)
                found.append((DONE, value))
            else:
                whole = False
                if id(result) not in self.used:
                    self.used[id(result)] = set(uses(result, 0))
                account.hold(item)
                account.take(SIZE * len(steps))
                left = yield from self.reply(steps, outcomes, self.used[id(result)])
                found.append((ITEM, item, left))
        account.drop(listed)
        if whole:
            return (DONE, [value for _, value in found])
        return (PARTLY, tuple(found))

    def value_of(self, operand: Any, scopes: Any) -> Any:
        """Returns the value of an operand and None; or None and why there is none, an outcome."""
        kind = operand[0]
        if kind == VALUE:
            return operand[1], None
        if kind == STEP:
            outcomes, item = scopes[operand[1]]
            if operand[2] == -1:
                return item, None
            outcome = outcomes[operand[2]]
            if outcome[0] == DONE:
                return outcome[1], None
            if outcome[0] == FAILED:
                return None, (BLOCKED, operand[2])
            return None, outcome if outcome[0] == BLOCKED else (LEFT,)
        values = []
        for inner in operand[1]:
            if self.account.count():
                yield (PAUSE,)
            value, why = yield from self.value_of(inner, scopes)
            if why is not None:
                return None, why
            values.append(value)
        return tuple(values), None

    def reply(self, steps: Any, outcomes: Any, wanted: Any) -> Any:
        """Returns the outcomes as they travel: with the values that the other side needs."""
        needed = set(wanted)
        for step, outcome in zip(steps, outcomes):
            if outcome[0] in (LEFT, PARTLY):
                if id(step) not in self.used:
                    self.used[id(step)] = yield from self.used_by(step, 0)
                if self.account.count(1 + len(self.used[id(step)])):
                    yield (PAUSE,)
                needed.update(self.used[id(step)])
        told = []
        for index, (step, outcome) in enumerate(zip(steps, outcomes)):
            if outcome[0] == DONE:
                if index not in needed:
                    outcome = (UNASKED,)
                elif step[0] == MAP:
                    outcome = (DONE, tuple(outcome[1]))
            told.append(outcome)
        return tuple(told)

    def used_by(self, step: Any, depth: Any) -> Any:
        """Returns the indices of the steps of a chain that one of its steps uses."""
        found: set[int] = set()
        if step[0] == ROOT:
            return found
        for operand in [step[1], *operands_of(step)]:
            used = uses(operand, depth)
            if self.account.count(1 + len(used)):
                yield (PAUSE,)
            found.update(used)
        if step[0] == MAP:
            found.update(uses(step[3], depth + 1))
            for inner in step[2]:
                found.update((yield from self.used_by(inner, depth + 1)))
        return found


def operands_of(step: Any) -> list[Any]:
    """Returns the operands of a step beside its target."""
    kind = step[0]
    if kind == CALL or kind == CALLATTR:
        return [*step[-2], *[operand for _, operand in step[-1]]]
    return [step[3]] if kind == SETATTR else []


def with_values(step: Any, given: Any) -> tuple[Any, ...]:
    """Returns what is done with a step's target, with values in place of operands."""
    kind = step[0]
    if kind == GETATTR:
        return (step[2],)
    if kind == SETATTR:
        return (step[2], *given)
    count = len(step[-2])
    arguments = tuple(given[:count])
    pairs = tuple([(name, value) for (name, _), value in zip(step[-1], given[count:])])
    return (*step[2:-2], arguments, pairs)


def uses(operand: Any, depth: Any) -> list[int]:
    """Returns the indices of the steps of a chain that an operand uses.

    Args:
        depth: how far out the chain is, seen from the operand.
    """
    if operand[0] == STEP:
        return [operand[2]] if operand[1] == depth and operand[2] >= 0 else []
    if operand[0] == TUPLE:
        return [index for inner in operand[1] for index in uses(inner, depth)]
    return []
