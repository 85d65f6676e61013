"""Chains of dependent operations, recorded here and done in one trip.

::

    with conn.pipeline() as p:
        user = p.root.find_user("ann")
        names = p.map(lambda one: one.name, user.friends)
    print(fetch(user.age), fetch(names))

What is recorded is attributes, items, calls and assignments. Nothing is sent before the block ends
(or :meth:`Pipeline.send`, or :func:`fetch`), then all of it goes in one request. Each step is done
as if it had been asked for by itself; an exception is that of the step and of every step that uses
its value. Other steps are done all the same.

Against a classic server of RPyC's a helper is lent once and does the same in one trip. Other peers
are asked step by step, with the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .. import netref
from .chain_interpreter import ROOT, VALUE
from .chain_sender import sending
from .lazy_value import LazyValue, operand_of
from .operations import MapOperation, Operation, value_in

__all__ = ["Pipeline", "LazyValue", "fetch", "lazy"]

_local: Final = object.__getattribute__


class Pipeline:
    """Records operations on the objects of one connection; see :mod:`.pipelining.pipeline`.

    Args:
        conn: a connection; its peer does the steps.
        kind: the class of recorded values.
    """

    def __init__(self, conn: Any, kind: type[LazyValue] = LazyValue) -> None:
        self._conn = conn
        self._kind = kind
        self._steps: list[Operation] = []
        self._root: Any = None

    def __call__(self, obj: Any) -> Any:
        """Returns the recorded value for a proxy, to begin a chain with."""
        if issubclass(type(obj), LazyValue):
            return obj
        if not netref.is_netref(obj):
            raise TypeError(f"expected a proxy of a remote object, got {type(obj).__name__}")
        step = Operation(_local(obj, "____conn__"), VALUE, obj, (), None)
        if step.conn is not self._conn:
            raise ValueError("expected a proxy of this pipeline's connection, got another's")
        step.settle(False, obj)
        return self._kind(self, step)

    @property
    def root(self) -> Any:
        """The peer's service. It need not have been fetched before."""
        if self._root is None:
            if self._conn._remote_root is not None:
                self._root = self(self._conn._remote_root)
            else:
                step = Operation(self._conn, ROOT, None, (), None)
                self._steps.append(step)
                self._root = self._kind(self, step)
        return self._root

    @property
    def modules(self) -> _Modules:
        """The modules of a classic peer, recorded: ``p.modules.os.getcwd()``."""
        return _Modules(self)

    def map(self, func: Callable[[Any], Any], iterable: Any) -> Any:
        """Returns the recorded list of what ``func`` gives for each item.

        Args:
            func: is called once, here, with a recorded value, and returns one (or a tuple of
                them, or something plain). The steps it records are done there for each item.
            iterable: a proxy or a recorded value.
        """
        source = self(iterable)
        step = MapOperation(
            self._conn, _local(source, "____step__"), _local(source, "____step__").scope
        )
        result = func(self._kind(self, step.item))
        step.result = operand_of(result)
        if step.scope is not None:
            step.scope.steps.append(step)
        else:
            self._steps.append(step)
        return self._kind(self, step)

    def send(self) -> None:
        """Has all that was recorded done, in one trip."""
        steps, self._steps = self._steps, []
        self._conn.run_steps(sending(steps))

    def fetch(self, *recorded: Any) -> Any:
        """Sends what was recorded and returns values, as :func:`fetch` does."""
        self.send()
        return fetch(*recorded)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        if kind is None:
            self.send()
        else:
            self._steps.clear()


class _Modules:
    """Modules by name."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __getitem__(self, name: str) -> Any:
        return self._pipeline.root.getmodule(name)

    def __getattr__(self, name: str) -> Any:
        return self[name]


def lazy(obj: Any) -> Any:
    """Returns a recorded value for a proxy: what is done with it is done when it is fetched.

    Only what the fetched value needs is done::

        fetch(lazy(conn.modules.os).path.join("a", "b"))

    Raises:
        TypeError: ``obj`` is no proxy.
    """
    if issubclass(type(obj), LazyValue):
        return obj
    step = Operation(_conn_of(obj), VALUE, obj, (), None)
    step.settle(False, obj)
    return LazyValue(None, step)


def _conn_of(obj: Any) -> Any:
    if not netref.is_netref(obj):
        raise TypeError(f"expected a proxy of a remote object, got {type(obj).__name__}")
    conn = object.__getattribute__(obj, "____conn__")
    if not conn.waits:
        raise TypeError(
            "expected a proxy of a blocking connection, got one of an asyncio program: its chains "
            "are recorded without lazy(), or open a second connection with rpyc_like.connect"
        )
    return conn


def fetch(*recorded: Any) -> Any:
    """Returns the value of a recorded one, or a tuple of several; what is missing takes one trip.

    Anything else is returned as it is.

    Raises:
        Exception: the step failed, or one that it uses.
    """
    steps = [_local(one, "____step__") for one in recorded if issubclass(type(one), LazyValue)]
    for step in steps:
        if step.scope is not None:
            raise TypeError("the item of a map is known on the other side only")
    for conn in {step.conn for step in steps}:
        conn.run_steps(sending([step for step in steps if step.conn is conn]))
    values = [value_in(operand_of(one), {}) for one in recorded]
    return values[0] if len(values) == 1 else tuple(values)
