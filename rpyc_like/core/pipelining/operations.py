"""Steps of a chain, as the side that asks for them keeps them."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from typing import Any, Final

from ...lib.exact import exact
from .. import consts, netref
from ..encoding.boxing import Steps
from .chain_interpreter import CALL, CALLATTR, GETATTR, MAP, ROOT, SETATTR

__all__ = [
    "ALONE",
    "ITEM",
    "SingleRequest",
    "MapOperation",
    "OperandTuple",
    "Request",
    "Operation",
    "inside",
    "is_of",
    "steps_in",
    "value_in",
]

Request = tuple[int, tuple[Any, ...]]
ITEM, ALONE = -1, -2
"""Kinds of steps beside those that travel: the item of a map, a request that no chain can hold."""

_numbers = itertools.count()
_local: Final = object.__getattribute__
_CHUNK: Final = 100


class Operation:
    """One recorded step.

    Args:
        conn: where it is to be done.
        kind: one of :mod:`.chain_interpreter`, or -1 for the item of a map.
        target: an operand: a value, a :class:`Operation` or a tuple of operands.
        args: operands and names, as in the form that travels.
        scope: the map that it belongs to.
    """

    __slots__ = tuple(
        "args asking conn direct failed handle kind number scope sent target value".split()
    )

    def __init__(
        self, conn: Any, kind: int, target: Any, args: Any, scope: MapOperation | None
    ) -> None:
        self.conn = conn
        self.kind = kind
        self.target = target
        self.args = args
        self.scope = scope
        self.direct: Request | None = None  # what it was, if nothing recorded is in it
        self.number = next(_numbers)
        self.failed: bool | None = None  # None: not known
        self.value: Any = None
        self.sent = False
        self.handle: Any = None
        self.asking: Any = None  # a future of an asyncio program that is asking for the value

    @property
    def wanted(self) -> bool:
        """Whether the program can still ask for the value."""
        return self.handle is not None and self.handle() is not None

    def settle(self, failed: bool, value: Any) -> None:
        self.failed, self.value = failed, value

    def operands(self) -> list[Any]:
        """Returns what the step uses."""
        if self.kind == CALL:
            return [self.target, *self.args[0], *self.args[1].values()]
        if self.kind == CALLATTR:
            return [self.target, *self.args[1], *self.args[2].values()]
        return [self.target, *self.args[1:]] if self.kind == SETATTR else [self.target]

    def request(self, values: dict[Operation, Any]) -> Request | None:
        """Returns the request that does the step by itself; None if it is about something here.

        Args:
            values: of the steps of maps around.
        """
        if self.kind == ROOT:
            return consts.HANDLE_GETROOT, ()
        target = value_in(self.target, values)
        if not is_of(target, self.conn):
            return None
        if self.kind == GETATTR:
            return consts.HANDLE_GETATTR, (target, self.args[0])
        if self.kind == SETATTR:
            return consts.HANDLE_SETATTR, (target, self.args[0], value_in(self.args[1], values))
        args, named = self._given(values)
        if self.kind == CALL:
            return consts.HANDLE_CALL, (target, args, tuple(named.items()))
        return consts.HANDLE_CALLATTR, (target, self.args[0], args, tuple(named.items()))

    def _given(self, values: dict[Operation, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self.args[-2:]
        named = {name: value_in(arg, values) for name, arg in kwargs.items()}
        return tuple([value_in(arg, values) for arg in args]), named

    def given(self) -> list[Any]:
        """Returns the values that the step uses, which must be known: target and arguments."""
        return [value_in(self.target, {}), *self._given({})[0]]

    def do(self, values: dict[Operation, Any]) -> Steps:
        """Does the step by itself."""
        request = self.request(values)
        if request is not None:
            return (yield request)
        target = value_in(self.target, values)
        if self.kind == GETATTR:
            return getattr(target, self.args[0])
        if self.kind == SETATTR:
            return setattr(target, self.args[0], value_in(self.args[1], values))
        args, named = self._given(values)
        return target(*args, **named) if self.kind == CALL else _called(target, self.args[0], args)


def _called(target: Any, name: str, args: tuple[Any, ...]) -> Any:
    """Does here what a special method of a value does."""
    do = getattr(operator, name, None)
    if do is not None:
        return do(target, *args)
    mirrored = getattr(operator, f"__{name[3:]}", None) if name.startswith("__r") else None
    if mirrored is not None:
        return mirrored(args[0], target)
    return getattr(target, name)(*args)


class SingleRequest(Operation):
    """A request that no chain can hold.

    Args:
        conn: whom to ask.
        handler, args: the request.
    """

    __slots__ = ("_handler",)

    def __init__(self, conn: Any, handler: int, args: tuple[Any, ...]) -> None:
        super().__init__(conn, ALONE, None, args, None)
        self._handler = handler

    def operands(self) -> list[Any]:
        return list(self.args)

    def request(self, values: dict[Operation, Any]) -> tuple[int, tuple[Any, ...]]:
        return self._handler, tuple([value_in(arg, values) for arg in self.args])


class MapOperation(Operation):
    """Steps that are done for each item of something."""

    def __init__(self, conn: Any, iterable: Any, scope: MapOperation | None) -> None:
        super().__init__(conn, MAP, iterable, (), scope)
        self.steps: list[Operation] = []
        self.item = Operation(conn, ITEM, None, (), self)
        self.result: Any = None

    def outer(self) -> list[Any]:
        """Returns the steps outside that those inside use."""
        found = []
        for step in self.steps:
            used = (
                [*step.outer(), step.target] if isinstance(step, MapOperation) else step.operands()
            )
            found += [one for one in steps_in(used) if not inside(one, self)]
        found += [one for one in steps_in([self.result]) if not inside(one, self)]
        return found

    def operands(self) -> list[Any]:
        return [self.target, *self.outer()]

    def do(self, values: dict[Operation, Any]) -> Steps:
        items = value_in(self.target, values)
        if is_of(items, self.conn):
            items = yield from _items_of(items)
        done = []
        for item in items:
            done.append((yield from self.do_for(item, {}, values)))
        return done

    def do_for(self, item: Any, known: dict[Operation, Any], values: dict[Operation, Any]) -> Steps:
        """Does what is left to do for an item, and returns the result.

        Args:
            known: values of the steps that have been done for it.
        """
        inner = {**values, **known, self.item: item}
        for step in self.steps:
            if step not in inner:
                inner[step] = yield from step.do(inner)
        return value_in(self.result, inner)


def _items_of(container: Any) -> Steps:
    """Returns the items of an object of the peer's."""
    items = yield consts.HANDLE_CALLATTR, (container, "__iter__", (), ())
    if not netref.is_netref(items):
        return list(items)
    found: list[Any] = []
    while True:
        chunk = exact((yield consts.HANDLE_BUFFITER, (items, _CHUNK)), tuple, "items")
        if not chunk:
            return found
        found += chunk


def inside(step: Operation, scope: MapOperation) -> bool:
    """Returns whether a step belongs to a map, or to one in it."""
    inner: MapOperation | None = step.scope
    while inner is not None and inner is not scope:
        inner = inner.scope
    return inner is scope


def steps_in(operands: Iterable[Any]) -> Iterable[Operation]:
    """Yields the steps among operands, those in tuples too."""
    for operand in operands:
        if isinstance(operand, Operation):
            yield operand
        elif type(operand) is OperandTuple:
            yield from steps_in(operand)


class OperandTuple(tuple[Any, ...]):
    """An operand: a tuple of operands."""


def value_in(operand: Any, values: dict[Operation, Any]) -> Any:
    """Returns the value of an operand; raises what a step has raised.

    Args:
        values: of the steps of maps around.
    """
    kind = type(operand)
    if kind is OperandTuple:
        return tuple([value_in(inner, values) for inner in operand])
    if not issubclass(kind, Operation):
        return operand
    if operand in values:
        return values[operand]
    assert operand.failed is not None
    if operand.failed:
        raise operand.value
    return operand.value


def is_of(value: Any, conn: Any) -> bool:
    """Returns whether a value is an object of the connection's peer."""
    return netref.is_netref(value) and _local(value, "____conn__") is conn
