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
``(kind, *values)`` for the steps 0 to 3 and 5, and ``(6, value)`` for the items of a value.
"""

from __future__ import annotations

from typing import Any

GETATTR, CALL, CALLATTR, SETATTR, MAP, ROOT, ITEMS = range(7)
VALUE, STEP, TUPLE = range(3)
UNASKED, DONE, FAILED, LEFT, BLOCKED, PARTLY, ITEM = range(7)


def drive(work: Any, do: Any) -> Any:
    """Runs a chain where doing a step waits for it: ``do(kind, *values)``."""
    try:
        request = next(work)
        while True:
            try:
                value = do(*request)
            except Exception as error:
                request = work.throw(error)
            else:
                request = work.send(value)
    except StopIteration as end:
        return end.value


class Runner:
    """Runs chains.

    Args:
        elsewhere: whether nothing may be done here with a value that a step gave.
        describe: makes of an exception what travels.
        limit: of steps, inner ones included.
    """

    def __init__(self, elsewhere: Any, describe: Any, limit: Any) -> None:
        self.elsewhere = elsewhere
        self.describe = describe
        self.limit = limit

    def run(self, steps: Any, wanted: Any) -> Any:
        """Returns the outcomes of a chain.

        Args:
            wanted: indices of the steps whose values are asked for.
        """
        self.check(steps, 0)
        outcomes: list[Any] = []
        scopes = [(outcomes, None)]
        for step in steps:
            outcomes.append((yield from self.outcome(step, scopes)))
        return reply(steps, outcomes, wanted)

    def check(self, steps: Any, count: Any) -> int:
        """Counts the steps."""
        for step in steps:
            count += 1
            if step[0] == MAP:
                count = int(self.check(step[2], count))
            if count > self.limit:
                raise ValueError("expected a chain of at most %d steps" % self.limit)
        return int(count)

    def outcome(self, step: Any, scopes: Any) -> Any:
        """Returns the outcome of one step, with the real value.

        Args:
            scopes: outcomes of the chain, and of those around it with their items, innermost first.
        """
        kind = step[0]
        try:
            if kind == ROOT:
                return (DONE, (yield (ROOT,)))
            target, why = value_of(step[1], scopes)
            if why is None and step[1][0] != VALUE and self.elsewhere(kind, target, step):
                why = (LEFT,)
            if why is not None:
                return why
            if kind == MAP:
                return (yield from self.map(target, step[2], step[3], scopes))
            given = []
            for operand in operands_of(step):
                value, why = value_of(operand, scopes)
                if why is not None:
                    return why
                given.append(value)
            return (DONE, (yield (kind, target, *with_values(step, given))))
        except Exception as error:
            return (FAILED, self.describe(error))

    def map(self, iterable: Any, steps: Any, result: Any, scopes: Any) -> Any:
        """Returns the outcome of doing steps for each item."""
        found: list[Any] = []
        whole = True
        for item in (yield ITEMS, iterable):
            outcomes: list[Any] = []
            inner = [(outcomes, item), *scopes]
            for step in steps:
                outcomes.append((yield from self.outcome(step, inner)))
            for outcome in outcomes:
                if outcome[0] == FAILED:
                    return outcome
            value, why = value_of(result, inner)
            if why is None and all(outcome[0] == DONE for outcome in outcomes):
                found.append((DONE, value))
            else:
                whole = False
                found.append((ITEM, item, reply(steps, outcomes, uses(result, 0))))
        if whole:
            return (DONE, [value for _, value in found])
        return (PARTLY, tuple(found))


def value_of(operand: Any, scopes: Any) -> tuple[Any, Any]:
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
        value, why = value_of(inner, scopes)
        if why is not None:
            return None, why
        values.append(value)
    return tuple(values), None


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


def used_by(step: Any, depth: Any) -> list[int]:
    """Returns the indices of the steps of a chain that one of its steps uses."""
    if step[0] == ROOT:
        return []
    found = [index for inner in [step[1], *operands_of(step)] for index in uses(inner, depth)]
    if step[0] == MAP:
        found += uses(step[3], depth + 1)
        for inner in step[2]:
            found += used_by(inner, depth + 1)
    return found


def reply(steps: Any, outcomes: Any, wanted: Any) -> tuple[Any, ...]:
    """Returns the outcomes as they travel: with the values that the other side needs."""
    needed = set(wanted)
    for step, outcome in zip(steps, outcomes):
        if outcome[0] in (LEFT, PARTLY):
            needed.update(used_by(step, 0))
    told = []
    for index, (step, outcome) in enumerate(zip(steps, outcomes)):
        if outcome[0] == DONE:
            if index not in needed:
                outcome = (UNASKED,)
            elif step[0] == MAP:
                outcome = (DONE, tuple(outcome[1]))
        told.append(outcome)
    return tuple(told)
