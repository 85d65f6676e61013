"""The requests by which recorded steps are done; :mod:`.chain_handler` does them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable
from typing import Any, Final

from ...errors import MalformedValue
from ...lib.brief import brief
from ...link.result import RemoteStopIteration
from .. import consts, vinegar
from ..encoding.boxing import Steps
from . import chain_interpreter
from .chain_interpreter import CALL, GETATTR, MAP, ROOT, SETATTR, STEP, TUPLE, VALUE
from .lazy_value import check_operands, operand_of
from .operations import (
    ALONE,
    ITEM,
    MapOperation,
    OperandTuple,
    Operation,
    Request,
    is_of,
    steps_in,
    value_in,
)

__all__ = ["follow", "one_request", "sending"]


def one_request(step: Operation) -> Request | None:
    """Returns the request that gives the value of a step, if one that is no chain does it.

    A call of an attribute that nobody has asked for yet is one.
    """
    if step.direct is not None:
        return step.direct
    target = step.target
    if (
        step.kind == CALL
        and isinstance(target, Operation)
        and target.failed is None
        and target.kind == GETATTR
        and not any(used.failed is not False for used in steps_in(target.operands()))
        and not any(used.failed is not False for used in steps_in(step.operands()[1:]))
    ):
        owner = value_in(target.target, {})
        if is_of(owner, step.conn):
            args, named = step._given({})
            pairs = tuple(named.items())
            return consts.HANDLE_CALLATTR, (owner, target.args[0], args, pairs)
    if any(used.failed is not False for used in steps_in(step.operands())) or step.kind == MAP:
        return None
    return step.request({})


def _needed(steps: Iterable[Operation]) -> dict[Operation, list[Operation]]:
    """Returns the steps that must be done for others, and what each of them uses.

    They stand in the order in which they were recorded.
    """
    found: dict[Operation, list[Operation]] = {}
    stack = list(steps)
    while stack:
        step = stack.pop()
        if step.failed is None and step not in found and step.kind != ITEM:
            found[step] = used = list(steps_in(step.operands()))
            stack += used
    return {step: found[step] for step in sorted(found, key=_number_of)}


_number_of: Final = operator.attrgetter("number")


# -- doing it


def sending(steps: list[Operation]) -> Steps:
    """Has steps of one connection done, and settles those whose values can still be asked for."""
    needed = _needed(steps)
    if not needed:
        return
    for_here: set[Operation] = set()
    for step, used in needed.items():
        if _is_for_here(step, used) or not for_here.isdisjoint(used):
            for_here.add(step)
    yield from _send_chain(steps[0].conn, [step for step in needed if step not in for_here])
    for step in needed:
        if step.failed is None and not step.sent:
            try:
                step.settle(False, (yield from step.do({})))
            except RemoteStopIteration as stopped:
                step.settle(True, stopped.error)
            except Exception as error:
                step.settle(True, error)


def _is_for_here(step: Operation, used: list[Operation]) -> bool:
    """Returns whether a step is about something that the peer has nothing to do with."""
    if step.kind == ALONE:
        return True
    for one in used:
        if one.failed:
            return True
    target = step.target
    return (
        isinstance(target, Operation)
        and target.failed is False
        and not is_of(target.value, step.conn)
    )


def follow(
    conn: Any, root: Any, path: Iterable[str], args: tuple[Any, ...] = (), pairs: Any = None
) -> Any:
    """Returns what a path of names leads to from a proxy, or what calling that returns.

    Args:
        pairs: keyword arguments; None for no call.
    """
    step: Any = root
    for name in path:
        step = Operation(conn, GETATTR, step, (name,), None)
    if pairs is not None:
        named = {name: operand_of(value) for name, value in pairs}
        step = Operation(conn, CALL, step, ([operand_of(arg) for arg in args], named), None)
        check_operands(step)
    step.handle = lambda: True  # its value is wanted, the others are not
    conn.run_steps(sending([step]))
    return value_in(step, {})


def _send_chain(conn: Any, steps: list[Operation]) -> Steps:
    """Has the peer do steps, if it can."""
    run = (yield from _runner(conn)) if steps else None
    if run is not None:
        places = {step: index for index, step in enumerate(steps)}
        chain = tuple([_travelling(step, [places]) for step in steps])
        wanted = tuple([index for index, step in enumerate(steps) if step.wanted])
        try:
            yield from _settle(conn, steps, (yield run(chain, wanted)))
        except BaseException as error:
            for step in steps:
                step.settle(True, error)
            raise


def _travelling(step: Operation, scopes: list[dict[Operation, int]]) -> tuple[Any, ...]:
    """Returns a step as it travels.

    Args:
        scopes: indices of the steps of the chain, and of those around it, innermost first.
    """

    def operand(value: Any) -> tuple[Any, ...]:
        if type(value) is OperandTuple:
            return TUPLE, tuple([operand(inner) for inner in value])
        if not isinstance(value, Operation):
            return VALUE, value
        for depth, places in enumerate(scopes):
            if value in places:
                return STEP, depth, places[value]
        return VALUE, value_in(value, {})

    if step.kind == ROOT:
        return (ROOT,)
    head = step.kind, operand(step.target)
    if isinstance(step, MapOperation):
        inner = {step.item: -1}
        inner.update({one: index for index, one in enumerate(step.steps)})
        told = tuple([_travelling(one, [inner, *scopes]) for one in step.steps])
        scopes = [inner, *scopes]
        return (*head, told, operand(step.result))
    if step.kind == GETATTR:
        return (*head, *step.args)
    if step.kind == SETATTR:
        return (*head, step.args[0], operand(step.args[1]))
    args, kwargs = step.args[-2:]
    pairs = tuple([(name, operand(value)) for name, value in kwargs.items()])
    return (*head, *step.args[:-2], tuple([operand(arg) for arg in args]), pairs)


def _settle(conn: Any, steps: list[Operation], outcomes: Any) -> Steps:
    """Takes the outcomes of a chain.

    Raises:
        MalformedValue: they are none.
    """
    if type(outcomes) is not tuple or len(outcomes) != len(steps):
        raise MalformedValue(f"expected {len(steps)} outcomes of a chain, got {brief(outcomes)}")
    for step, outcome in zip(steps, outcomes):
        kind = outcome[0] if type(outcome) is tuple and outcome else None
        if type(kind) is not int or len(outcome) != _SIZES.get(kind):
            raise MalformedValue(f"expected the outcome of a step, got {brief(outcome)}")
        if kind == chain_interpreter.FAILED:
            vinegar.check(outcome[1])
        elif kind == chain_interpreter.PARTLY and step.kind != MAP:
            raise MalformedValue(f"expected the outcome of one step, got {brief(outcome)}")
    for index, (step, outcome) in enumerate(zip(steps, outcomes)):
        kind = outcome[0]
        step.sent = kind != chain_interpreter.LEFT
        if kind == chain_interpreter.DONE:
            step.settle(False, list(_tuple(outcome[1])) if step.kind == MAP else outcome[1])
        elif kind == chain_interpreter.FAILED:
            step.settle(True, conn._unbox_exc(outcome[1]))
        elif kind == chain_interpreter.BLOCKED:
            if type(outcome[1]) is not int or outcome[1] not in range(index):
                raise MalformedValue(f"expected the number of a step, got {brief(outcome[1])}")
            step.settle(True, steps[outcome[1]].value)
        elif kind == chain_interpreter.PARTLY:
            try:
                assert isinstance(step, MapOperation)
                step.settle(False, (yield from _finished(conn, step, outcome[1])))
            except Exception as error:
                step.settle(True, error)


_SIZES: Final = {
    chain_interpreter.UNASKED: 1,
    chain_interpreter.DONE: 2,
    chain_interpreter.FAILED: 2,
    chain_interpreter.LEFT: 1,
    chain_interpreter.BLOCKED: 2,
    chain_interpreter.PARTLY: 2,
}
"""How long an outcome of each kind is."""


def _finished(conn: Any, step: MapOperation, outcomes: Any) -> Steps:
    done = []
    for outcome in _tuple(outcomes):
        done.append((yield from _finish(conn, step, outcome)))
    return done


def _tuple(value: Any) -> tuple[Any, ...]:
    if type(value) is not tuple:
        raise MalformedValue(f"expected the outcome of a step, got {brief(value)}")
    return value


def _finish(conn: Any, step: MapOperation, outcome: Any) -> Steps:
    """Does what the peer has left undone for one item."""
    kind = outcome[0] if type(outcome) is tuple and outcome else None
    if type(kind) is not int or len(outcome) != (2 if kind == chain_interpreter.DONE else 3):
        raise MalformedValue(f"expected the outcome for one item, got {brief(outcome)}")
    if kind == chain_interpreter.DONE:
        return outcome[1]
    _, item, outcomes = outcome
    known = {}
    for inner, done in zip(step.steps, _tuple(outcomes)):
        if not _tuple(done) or type(done[0]) is not int or len(done) != _SIZES.get(done[0]):
            raise MalformedValue(f"expected the outcome of a step, got {brief(done)}")
        if done[0] == chain_interpreter.DONE:
            known[inner] = list(_tuple(done[1])) if inner.kind == MAP else done[1]
        elif done[0] == chain_interpreter.UNASKED:
            known[inner] = None
        elif done[0] == chain_interpreter.PARTLY:
            if not isinstance(inner, MapOperation):
                raise MalformedValue(f"expected the outcome of one step, got {brief(done)}")
            known[inner] = yield from _finished(conn, inner, done[1])
    return (yield from step.do_for(item, known, {}))


def _runner(conn: Any) -> Steps:
    """Returns what makes the request that runs a chain on the other side, if anything can."""
    if not conn._codec.heard:
        yield from conn.root_steps()  # until then nobody knows what the peer can do
    if conn._codec.features & consts.FEATURE_CHAINS:
        return lambda steps, wanted: (consts.HANDLE_CHAIN, (steps, wanted))
    helper = yield from conn.helper_steps("chain", inspect.getsource(chain_interpreter) + _HELPER)
    if helper is None:
        return None
    root = yield from conn.root_steps()
    return lambda steps, wanted: (consts.HANDLE_CALL, (helper, (root, steps, wanted), ()))


_HELPER: Final = """
def run(root, steps, wanted):
    import operator, sys
    package = [name for name in ("rpyc", "rpyc_like") if name + ".core.vinegar" in sys.modules][0]
    dump = sys.modules[package + ".core.vinegar"].dump

    def describe(error):
        try:
            return dump(type(error), error, error.__traceback__, True, True)
        except TypeError:
            return dump(type(error), error, error.__traceback__, True)

    def do(kind, target=None, *args):
        if kind == CALL:
            return target(*args[0], **dict(args[1]))
        if kind == CALLATTR:
            return getattr(operator, args[0])(target, *args[1])
        if kind == ROOT:
            return root
        if kind == ITEMS:
            return list(target)
        return setattr(target, *args) if kind == SETATTR else getattr(target, *args)

    proxy = sys.modules[package + ".core.netref"].BaseNetref
    mine = lambda kind, value, step: issubclass(type(value), proxy)
    return drive(ChainInterpreter(mine, describe, 10000).run(steps, wanted), do)
"""
