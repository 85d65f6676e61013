"""The owner's side of a chain: many steps in one request, each checked by the access policy.

What steps are is said in :mod:`rpyc_like.core.pipelining.chain_interpreter`. Each is done by the
handler that the same request by itself would reach, so whatever a program has overridden sees them
all. Values that
travel by value are nothing to compute with here, unless the peer may do everything: such a step is
left to the peer, which gets the value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import CoroutineType
from typing import Any, Final

from ...lib.brief import brief
from .. import brine, consts
from ..netref import is_netref
from ..proxies.async_iterators import AsyncIteratorExport
from ..references.accounts import FAIR, Account
from . import chain_interpreter

__all__ = ["HANDLERS", "MAX_ITEMS", "MAX_STEPS", "chain_work", "do_step"]

MAX_STEPS: Final = 10_000
"""Most steps of a chain as it was sent; those that are done are limited by ``max_steps``."""

MAX_OPERANDS: Final = 100_000
"""Most operands of the steps of a chain."""

MAX_ITEMS: Final = 100_000
"""Most items that the steps of a map are done for."""

HANDLERS: Final = {
    chain_interpreter.GETATTR: consts.HANDLE_GETATTR,
    chain_interpreter.CALL: consts.HANDLE_CALL,
    chain_interpreter.CALLATTR: consts.HANDLE_CALLATTR,
    chain_interpreter.SETATTR: consts.HANDLE_SETATTR,
}
"""The request that each kind of step is."""
_MAX_DEPTH: Final = 20  # levels of maps in maps, and of tuples of operands
_PLAIN: Final = brine.simple_types | brine.container_types
_INDEXED: Final = frozenset({tuple, str, bytes})


def chain_work(conn: Any, account: Account, steps: Any, wanted: Any) -> Any:
    """Return the generator for a chain that the peer has sent; it returns the outcomes.

    Args:
        account: counts the steps that are done, and what is held for the answer.

    Raises:
        TypeError, ValueError: it is none, or has too many steps.
        LimitExceeded: too many steps are to be done, or too much would be held.
    """
    open_ = conn._config["allow_all_attrs"]

    def elsewhere(kind: int, value: Any, step: Any) -> bool:
        if type(value) in _PLAIN:
            item = kind == chain_interpreter.CALLATTR and step[2] == "__getitem__"
            return not open_ and not (item and type(value) in _INDEXED)
        return is_netref(value) and _conn_of(value) is conn

    yield from _Form(conn, account).check(steps, 0)
    account.count(len(_tuple(wanted)))
    for index in wanted:
        if type(index) is not int or not 0 <= index < len(steps):
            raise ValueError(f"expected the index of a step, got {brief(index)}")
    runner = chain_interpreter.ChainInterpreter(
        elsewhere, conn._describe_failure, MAX_STEPS, account
    )
    return (yield from runner.run(steps, wanted))


def do_step(conn: Any, account: Account, kind: int, *values: Any) -> Any:
    """Do what a chain asks for next."""
    account.check()
    if kind == chain_interpreter.ROOT:
        return conn._handler(consts.HANDLE_GETROOT)(conn)
    if kind != chain_interpreter.ITEMS:
        return conn._handler(HANDLERS[kind])(conn, *values)
    source = conn._handler(consts.HANDLE_CALLATTR)(conn, values[0], "__iter__", ())
    if type(source) is AsyncIteratorExport:
        return _list_async(source, account)
    found: list[Any] = []
    for item in iter(_ready(source)):
        _list(found, _ready(item), account)
    return found


async def _list_async(source: AsyncIteratorExport, account: Account) -> list[Any]:
    """Return the items of an asynchronous generator, for a map."""
    found: list[Any] = []
    async for item in source:
        _list(found, item, account)
        if not len(found) % FAIR:
            await asyncio.sleep(0)
    return found


def _list(found: list[Any], item: Any, account: Account) -> None:
    """Add an item that a map is done for."""
    if len(found) >= MAX_ITEMS:
        raise ValueError(
            f"expected at most {MAX_ITEMS} items to map (a fixed limit), got {len(found) + 1} "
            "or more"
        )
    account.check()
    account.hold(item)
    found.append(item)


def _ready(value: Any) -> Any:
    """Return a value that nobody has to wait for.

    Raises:
        TypeError: it is the coroutine of a special method that is ``async def``.
    """
    if type(value) is CoroutineType:
        value.close()
        raise TypeError("expected an iterable to map, got one whose items have to be awaited")
    return value


def _conn_of(proxy: Any) -> Any:
    return object.__getattribute__(proxy, "____conn__")


_SHAPES: Final = {
    chain_interpreter.GETATTR: 3,
    chain_interpreter.CALL: 4,
    chain_interpreter.CALLATTR: 5,
    chain_interpreter.SETATTR: 4,
    chain_interpreter.MAP: 4,
    chain_interpreter.ROOT: 1,
}


class _Form:
    """Checks the form of a chain, and that it is about objects that were exported to the peer.

    Args:
        account: counts the steps and operands that are looked at.
    """

    def __init__(self, conn: Any, account: Account) -> None:
        self._conn = conn
        self._account = account
        self._operands = 0

    def check(self, steps: Any, depth: int) -> Generator[Any, Any, None]:
        """Check some steps, those in them included.

        Args:
            depth: how many maps are around them.
        """
        if depth > _MAX_DEPTH:
            text = f"expected maps in at most {_MAX_DEPTH} levels (a fixed limit), got {depth}"
            raise ValueError(text)
        for index, step in enumerate(_tuple(steps)):
            if self._account.count():
                yield (chain_interpreter.PAUSE,)
            if not _tuple(step) or type(step[0]) is not int or _SHAPES.get(step[0]) != len(step):
                raise TypeError(f"expected a step of a chain, got {brief(step)}")
            kind = step[0]
            if kind == chain_interpreter.ROOT:
                continue
            yield from self._check_operand(step[1], depth, index)
            if step[1][0] == chain_interpreter.TUPLE or (
                step[1][0] == chain_interpreter.VALUE and _is_foreign(self._conn, step[1][1])
            ):
                raise TypeError(
                    "expected a reference to an object of this side, got something else"
                )
            if kind == chain_interpreter.MAP:
                yield from self.check(step[2], depth + 1)
                yield from self._check_operand(step[3], depth + 1, len(step[2]))
                continue
            if kind == chain_interpreter.CALL or kind == chain_interpreter.CALLATTR:
                self._count(len(_tuple(step[-2])) + len(_tuple(step[-1])))
                for pair in step[-1]:
                    if len(_tuple(pair)) != 2 or type(pair[0]) is not str:
                        raise TypeError(f"expected a pair of a name and a value, got {brief(pair)}")
            for operand in chain_interpreter.operands_of(step):
                yield from self._check_operand(operand, depth, index)

    def _count(self, operands: int) -> None:
        self._operands += operands
        if self._operands > MAX_OPERANDS:
            raise ValueError(
                f"expected at most {MAX_OPERANDS} operands of the steps of a chain "
                f"(a fixed limit), got {self._operands} or more"
            )

    def _check_operand(
        self, operand: Any, depth: int, index: int, nested: int = 0
    ) -> Generator[Any, Any, None]:
        if self._account.count():
            yield (chain_interpreter.PAUSE,)
        kind = _tuple(operand)[0] if operand else None
        if kind == chain_interpreter.VALUE and len(operand) == 2:
            return
        if kind == chain_interpreter.TUPLE and len(operand) == 2:
            if nested >= _MAX_DEPTH:
                raise ValueError(
                    f"expected tuples of operands in at most {_MAX_DEPTH} levels (a fixed limit), "
                    f"got {nested + 1}"
                )
            self._count(len(_tuple(operand[1])))
            for inner in operand[1]:
                yield from self._check_operand(inner, depth, index, nested + 1)
            return
        if kind == chain_interpreter.STEP and len(operand) == 3:
            out, step = operand[1:]
            if type(out) is type(step) is int and 0 <= out <= depth:
                if (step == -1 and out < depth) or (step >= 0 and (out or step < index)):
                    return
        raise TypeError(f"expected an operand of a step, got {brief(operand)}")


def _is_foreign(conn: Any, value: Any) -> bool:
    """Return whether a value that came with a request is no object exported to the peer."""
    return type(value) in _PLAIN or (is_netref(value) and _conn_of(value) is conn)


def _tuple(value: Any) -> tuple[Any, ...]:
    if type(value) is not tuple:
        raise TypeError(f"expected a tuple in a chain, got {brief(value)}")
    return value
