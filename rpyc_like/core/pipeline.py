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

import inspect
import itertools
import operator
import weakref
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any, Final

from ..errors import MalformedValue
from ..link.result import Stopped
from . import chain_steps, consts, netref, vinegar
from .boxing import Steps
from .chain_steps import CALL, CALLATTR, GETATTR, MAP, ROOT, SETATTR, STEP, TUPLE, VALUE

__all__ = [
    "Pipeline",
    "Recorded",
    "fetch",
    "lazy",
    "one_request",
    "record",
    "recorded_request",
    "sending",
]


_numbers = itertools.count()
Request = tuple[int, tuple[Any, ...]]

_local: Final = object.__getattribute__
_ITEM, _ALONE = -1, -2
_CHUNK: Final = 100


class _Step:
    """One recorded step.

    Args:
        conn: where it is to be done.
        kind: one of :mod:`rpyc_like.core.chain_steps`, or -1 for the item of a map.
        target: an operand: a value, a :class:`_Step` or a tuple of operands.
        args: operands and names, as in the form that travels.
        scope: the map that it belongs to.
    """

    __slots__ = (
        *(
            "args",
            "asking",
            "conn",
            "direct",
            "failed",
            "handle",
            "kind",
            "number",
            "scope",
            "sent",
        ),
        *("target", "value"),
    )

    def __init__(self, conn: Any, kind: int, target: Any, args: Any, scope: _Map | None) -> None:
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

    def request(self, values: dict[_Step, Any]) -> Request | None:
        """Returns the request that does the step by itself; None if it is about something here.

        Args:
            values: of the steps of maps around.
        """
        if self.kind == ROOT:
            return consts.HANDLE_GETROOT, ()
        target = _value(self.target, values)
        if not _is_of(target, self.conn):
            return None
        if self.kind == GETATTR:
            return consts.HANDLE_GETATTR, (target, self.args[0])
        if self.kind == SETATTR:
            return consts.HANDLE_SETATTR, (target, self.args[0], _value(self.args[1], values))
        args, named = self._given(values)
        if self.kind == CALL:
            return consts.HANDLE_CALL, (target, args, tuple(named.items()))
        return consts.HANDLE_CALLATTR, (target, self.args[0], args, tuple(named.items()))

    def _given(self, values: dict[_Step, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self.args[-2:]
        named = {name: _value(arg, values) for name, arg in kwargs.items()}
        return tuple([_value(arg, values) for arg in args]), named

    def given(self) -> list[Any]:
        """Returns the values that the step uses, which must be known: target and arguments."""
        return [_value(self.target, {}), *self._given({})[0]]

    def do(self, values: dict[_Step, Any]) -> Steps:
        """Does the step by itself."""
        request = self.request(values)
        if request is not None:
            return (yield request)
        target = _value(self.target, values)
        if self.kind == GETATTR:
            return getattr(target, self.args[0])
        if self.kind == SETATTR:
            return setattr(target, self.args[0], _value(self.args[1], values))
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


class _Ask(_Step):
    """A request that no chain can hold.

    Args:
        conn: whom to ask.
        handler, args: the request.
    """

    __slots__ = ("_handler",)

    def __init__(self, conn: Any, handler: int, args: tuple[Any, ...]) -> None:
        super().__init__(conn, _ALONE, None, args, None)
        self._handler = handler

    def operands(self) -> list[Any]:
        return list(self.args)

    def request(self, values: dict[_Step, Any]) -> tuple[int, tuple[Any, ...]]:
        return self._handler, tuple([_value(arg, values) for arg in self.args])


class _Map(_Step):
    """Steps that are done for each item of something."""

    def __init__(self, conn: Any, iterable: Any, scope: _Map | None) -> None:
        super().__init__(conn, MAP, iterable, (), scope)
        self.steps: list[_Step] = []
        self.item = _Step(conn, _ITEM, None, (), self)
        self.result: Any = None

    def outer(self) -> list[Any]:
        """Returns the steps outside that those inside use."""
        found = []
        for step in self.steps:
            used = [*step.outer(), step.target] if isinstance(step, _Map) else step.operands()
            found += [one for one in _steps_in(used) if not _inside(one, self)]
        found += [one for one in _steps_in([self.result]) if not _inside(one, self)]
        return found

    def operands(self) -> list[Any]:
        return [self.target, *self.outer()]

    def do(self, values: dict[_Step, Any]) -> Steps:
        items = _value(self.target, values)
        if _is_of(items, self.conn):
            items = yield from _items_of(items)
        done = []
        for item in items:
            done.append((yield from self.do_for(item, {}, values)))
        return done

    def do_for(self, item: Any, known: dict[_Step, Any], values: dict[_Step, Any]) -> Steps:
        """Does what is left to do for an item, and returns the result.

        Args:
            known: values of the steps that have been done for it.
        """
        inner = {**values, **known, self.item: item}
        for step in self.steps:
            if step not in inner:
                inner[step] = yield from step.do(inner)
        return _value(self.result, inner)


def _items_of(container: Any) -> Steps:
    """Returns the items of an object of the peer's."""
    items = yield consts.HANDLE_CALLATTR, (container, "__iter__", (), ())
    if not netref.is_netref(items):
        return list(items)
    found: list[Any] = []
    while True:
        chunk = yield consts.HANDLE_BUFFITER, (items, _CHUNK)
        if not chunk:
            return found
        found += chunk


def _inside(step: _Step, scope: _Map) -> bool:
    inner: _Map | None = step.scope
    while inner is not None and inner is not scope:
        inner = inner.scope
    return inner is scope


def _steps_in(operands: Iterable[Any]) -> Iterable[_Step]:
    for operand in operands:
        if isinstance(operand, _Step):
            yield operand
        elif type(operand) is _Tuple:
            yield from _steps_in(operand)


class _Tuple(tuple[Any, ...]):
    """An operand: a tuple of operands."""


def _value(operand: Any, values: dict[_Step, Any]) -> Any:
    kind = type(operand)
    if kind is _Tuple:
        return tuple([_value(inner, values) for inner in operand])
    if not issubclass(kind, _Step):
        return operand
    if operand in values:
        return values[operand]
    assert operand.failed is not None
    if operand.failed:
        raise operand.value
    return operand.value


def _operand(value: Any) -> Any:
    """Returns the operand for something that a program has given."""
    kind = type(value)
    if issubclass(kind, Recorded):
        return _local(value, "____step__")
    if kind is tuple:
        items = [_operand(item) for item in value]
        if any(type(item) is _Tuple or isinstance(item, _Step) for item in items):
            return _Tuple(items)
    elif kind in (list, dict, set) and any(issubclass(type(item), Recorded) for item in value):
        raise TypeError(f"a recorded value cannot be in a {kind.__name__}: put it in a tuple")
    return value


class Recorded:
    """The value of a step that has not been done. What is done with it is recorded.

    :func:`fetch` returns the value. Python wants to know some things at once: the truth, the
    length, the items, the text of a value. Those are a TypeError.
    """

    __slots__ = ("____pipeline__", "____step__", "__weakref__")

    def __init__(self, pipeline: Pipeline | None, step: _Step) -> None:
        object.__setattr__(self, "____pipeline__", pipeline)
        object.__setattr__(self, "____step__", step)
        step.handle = weakref.ref(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # Python and its tools look for these on any object
        return record(self, GETATTR, (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        record(self, SETATTR, (name, _operand(value)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = {name: _operand(value) for name, value in kwargs.items()}
        return record(self, CALL, ([_operand(arg) for arg in args], named))

    def __getitem__(self, key: Any) -> Any:
        return record(self, CALLATTR, ("__getitem__", [_operand(key)], {}))

    def __setitem__(self, key: Any, value: Any) -> None:
        record(self, CALLATTR, ("__setitem__", [_operand(key), _operand(value)], {}))

    def __delitem__(self, key: Any) -> None:
        record(self, CALLATTR, ("__delitem__", [_operand(key)], {}))

    def __repr__(self) -> str:
        step = _local(self, "____step__")
        if step.failed is None:
            return "<recorded value, not fetched>"
        return f"<recorded value, {'failed' if step.failed else 'fetched'}: {step.value!r}>"

    __hash__ = object.__hash__


def _forbid(name: str, what: str) -> None:
    def method(self: Any, *args: Any) -> Any:
        raise TypeError(f"{what} of a recorded value is not known yet: fetch() the value first")

    method.__name__ = method.__qualname__ = name
    setattr(Recorded, name, method)


for _name, _what in {
    "__bool__": "the truth",
    "__len__": "the length",
    "__iter__": "the items",
    "__contains__": "the content",
    "__format__": "the text",
    "__reversed__": "the items",
    **dict.fromkeys("__eq__ __ne__ __lt__ __le__ __gt__ __ge__".split(), "the order"),
}.items():
    _forbid(_name, _what)


def record(recorded: Recorded, kind: int, args: tuple[Any, ...]) -> Recorded:
    """Records a step on a recorded value."""
    target: _Step = _local(recorded, "____step__")
    pipeline = _local(recorded, "____pipeline__")
    made = _Step(target.conn, kind, target, args, None)
    _check_operands(made)
    if made.scope is not None:
        made.scope.steps.append(made)
    elif pipeline is not None:
        pipeline._steps.append(made)
    return type(recorded)(pipeline, made)


def _check_operands(made: _Step) -> None:
    """Checks that a new step may use what it uses, and finds out which map it belongs to."""
    for used in _steps_in(made.operands()):
        if used.conn is not made.conn:
            raise ValueError("recorded values of two connections cannot be mixed: fetch() one")
        if used.scope is not None and (made.scope is None or _inside(used.scope, made.scope)):
            made.scope = used.scope


class Pipeline:
    """Records operations on the objects of one connection; see :mod:`rpyc_like.core.pipeline`.

    Args:
        conn: a connection; its peer does the steps.
        kind: the class of recorded values.
    """

    def __init__(self, conn: Any, kind: type[Recorded] = Recorded) -> None:
        self._conn = conn
        self._kind = kind
        self._steps: list[_Step] = []
        self._root: Any = None

    def __call__(self, obj: Any) -> Any:
        """Returns the recorded value for a proxy, to begin a chain with."""
        if issubclass(type(obj), Recorded):
            return obj
        if not netref.is_netref(obj):
            raise TypeError(f"expected a proxy of a remote object, got {type(obj).__name__}")
        step = _Step(_local(obj, "____conn__"), VALUE, obj, (), None)
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
                step = _Step(self._conn, ROOT, None, (), None)
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
        step = _Map(self._conn, _local(source, "____step__"), _local(source, "____step__").scope)
        result = func(self._kind(self, step.item))
        step.result = _operand(result)
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
    if issubclass(type(obj), Recorded):
        return obj
    step = _Step(_conn_of(obj), VALUE, obj, (), None)
    step.settle(False, obj)
    return Recorded(None, step)


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
    steps = [_local(one, "____step__") for one in recorded if issubclass(type(one), Recorded)]
    for step in steps:
        if step.scope is not None:
            raise TypeError("the item of a map is known on the other side only")
    for conn in {step.conn for step in steps}:
        conn.run_steps(sending([step for step in steps if step.conn is conn]))
    values = [_value(_operand(one), {}) for one in recorded]
    return values[0] if len(values) == 1 else tuple(values)


def recorded_request(kind: type[Recorded], conn: Any, handler: int, args: tuple[Any, ...]) -> Any:
    """Returns a recorded value, of class ``kind``, for a request about an object of the peer's."""
    if handler == consts.HANDLE_GETROOT:
        return kind(None, _Step(conn, ROOT, None, (), None))
    step: _Step | None = None
    if not args or not issubclass(type(args[0]), Recorded):
        if handler == consts.HANDLE_GETATTR:
            step = _Step(conn, GETATTR, args[0], args[1:], None)
        elif handler == consts.HANDLE_SETATTR:
            step = _Step(conn, SETATTR, args[0], (args[1], _operand(args[2])), None)
        elif handler in _CALLING:
            given, kwargs = args[-2], {}
            plain = not args[-1] and _PLAIN.issuperset(map(type, given))
            if not plain:
                given = [_operand(arg) for arg in given]
                kwargs = {name: _operand(value) for name, value in args[-1]}
                plain = not kwargs and all(map(is_, given, args[-2]))
            step = _Step(conn, _CALLING[handler], args[0], (*args[1:-2], given, kwargs), None)
            if plain:
                step.direct = handler, args
    if step is None:
        step = _Ask(conn, handler, tuple([_operand(arg) for arg in args]))
    return kind(None, step)


_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_CALLING: Final = {consts.HANDLE_CALL: CALL, consts.HANDLE_CALLATTR: CALLATTR}


def one_request(step: _Step) -> Request | None:
    """Returns the request that gives the value of a step, if one that is no chain does it.

    A call of an attribute that nobody has asked for yet is one.
    """
    if step.direct is not None:
        return step.direct
    target = step.target
    if (
        step.kind == CALL
        and isinstance(target, _Step)
        and target.failed is None
        and target.kind == GETATTR
        and not any(used.failed is not False for used in _steps_in(target.operands()))
        and not any(used.failed is not False for used in _steps_in(step.operands()[1:]))
    ):
        owner = _value(target.target, {})
        if _is_of(owner, step.conn):
            args, named = step._given({})
            pairs = tuple(named.items())
            return consts.HANDLE_CALLATTR, (owner, target.args[0], args, pairs)
    if any(used.failed is not False for used in _steps_in(step.operands())) or step.kind == MAP:
        return None
    return step.request({})


def _needed(steps: Iterable[_Step]) -> dict[_Step, list[_Step]]:
    """Returns the steps that must be done for others, and what each of them uses.

    They stand in the order in which they were recorded.
    """
    found: dict[_Step, list[_Step]] = {}
    stack = list(steps)
    while stack:
        step = stack.pop()
        if step.failed is None and step not in found and step.kind != _ITEM:
            found[step] = used = list(_steps_in(step.operands()))
            stack += used
    return {step: found[step] for step in sorted(found, key=_number_of)}


_number_of: Final = operator.attrgetter("number")


# -- doing it


def sending(steps: list[_Step]) -> Steps:
    """Has steps of one connection done, and settles those whose values can still be asked for."""
    needed = _needed(steps)
    if not needed:
        return
    for_here: set[_Step] = set()
    for step, used in needed.items():
        if _is_for_here(step, used) or not for_here.isdisjoint(used):
            for_here.add(step)
    yield from _send_chain(steps[0].conn, [step for step in needed if step not in for_here])
    for step in needed:
        if step.failed is None and not step.sent:
            try:
                step.settle(False, (yield from step.do({})))
            except Stopped as stopped:
                step.settle(True, stopped.error)
            except Exception as error:
                step.settle(True, error)


def _is_for_here(step: _Step, used: list[_Step]) -> bool:
    """Returns whether a step is about something that the peer has nothing to do with."""
    if step.kind == _ALONE:
        return True
    for one in used:
        if one.failed:
            return True
    target = step.target
    return (
        isinstance(target, _Step) and target.failed is False and not _is_of(target.value, step.conn)
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
        step = _Step(conn, GETATTR, step, (name,), None)
    if pairs is not None:
        named = {name: _operand(value) for name, value in pairs}
        step = _Step(conn, CALL, step, ([_operand(arg) for arg in args], named), None)
        _check_operands(step)
    step.handle = lambda: True  # its value is wanted, the others are not
    conn.run_steps(sending([step]))
    return _value(step, {})


def _is_of(value: Any, conn: Any) -> bool:
    """Returns whether a value is an object of the connection's peer."""
    return netref.is_netref(value) and _local(value, "____conn__") is conn


def _send_chain(conn: Any, steps: list[_Step]) -> Steps:
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


def _travelling(step: _Step, scopes: list[dict[_Step, int]]) -> tuple[Any, ...]:
    """Returns a step as it travels.

    Args:
        scopes: indices of the steps of the chain, and of those around it, innermost first.
    """

    def operand(value: Any) -> tuple[Any, ...]:
        if type(value) is _Tuple:
            return TUPLE, tuple([operand(inner) for inner in value])
        if not isinstance(value, _Step):
            return VALUE, value
        for depth, places in enumerate(scopes):
            if value in places:
                return STEP, depth, places[value]
        return VALUE, _value(value, {})

    if step.kind == ROOT:
        return (ROOT,)
    head = step.kind, operand(step.target)
    if isinstance(step, _Map):
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


def _settle(conn: Any, steps: list[_Step], outcomes: Any) -> Steps:
    """Takes the outcomes of a chain.

    Raises:
        MalformedValue: they are none.
    """
    if type(outcomes) is not tuple or len(outcomes) != len(steps):
        raise MalformedValue(f"expected {len(steps)} outcomes of a chain, got {outcomes!r:.80}")
    for step, outcome in zip(steps, outcomes):
        kind = outcome[0] if type(outcome) is tuple and outcome else None
        if type(kind) is not int or len(outcome) != _SIZES.get(kind):
            raise MalformedValue(f"expected the outcome of a step, got {outcome!r:.80}")
        if kind == chain_steps.FAILED:
            vinegar.check(outcome[1])
        elif kind == chain_steps.PARTLY and step.kind != MAP:
            raise MalformedValue(f"expected the outcome of one step, got {outcome!r:.80}")
    for index, (step, outcome) in enumerate(zip(steps, outcomes)):
        kind = outcome[0]
        step.sent = kind != chain_steps.LEFT
        if kind == chain_steps.DONE:
            step.settle(False, list(outcome[1]) if step.kind == MAP else outcome[1])
        elif kind == chain_steps.FAILED:
            step.settle(True, conn._unbox_exc(outcome[1]))
        elif kind == chain_steps.BLOCKED:
            if outcome[1] not in range(index):
                raise MalformedValue(f"expected the number of a step, got {outcome[1]!r:.80}")
            step.settle(True, steps[outcome[1]].value)
        elif kind == chain_steps.PARTLY:
            try:
                assert isinstance(step, _Map)
                step.settle(False, (yield from _finished(conn, step, outcome[1])))
            except Exception as error:
                step.settle(True, error)


_SIZES: Final = {
    chain_steps.UNASKED: 1,
    chain_steps.DONE: 2,
    chain_steps.FAILED: 2,
    chain_steps.LEFT: 1,
    chain_steps.BLOCKED: 2,
    chain_steps.PARTLY: 2,
}
"""How long an outcome of each kind is."""


def _finished(conn: Any, step: _Map, outcomes: Any) -> Steps:
    done = []
    for outcome in outcomes:
        done.append((yield from _finish(conn, step, outcome)))
    return done


def _finish(conn: Any, step: _Map, outcome: Any) -> Steps:
    """Does what the peer has left undone for one item."""
    if outcome[0] == chain_steps.DONE:
        return outcome[1]
    _, item, outcomes = outcome
    known = {}
    for inner, done in zip(step.steps, outcomes):
        if done[0] == chain_steps.DONE:
            known[inner] = list(done[1]) if inner.kind == MAP else done[1]
        elif done[0] == chain_steps.UNASKED:
            known[inner] = None
        elif done[0] == chain_steps.PARTLY:
            assert isinstance(inner, _Map)
            known[inner] = yield from _finished(conn, inner, done[1])
    return (yield from step.do_for(item, known, {}))


def _runner(conn: Any) -> Steps:
    """Returns what makes the request that runs a chain on the other side, if anything can."""
    if not conn._codec.heard:
        yield from conn.root_steps()  # until then nobody knows what the peer can do
    if conn._codec.features & consts.FEATURE_CHAINS:
        return lambda steps, wanted: (consts.HANDLE_CHAIN, (steps, wanted))
    helper = yield from conn.helper_steps("chain", inspect.getsource(chain_steps) + _HELPER)
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
            return iter(target)
        return setattr(target, *args) if kind == SETATTR else getattr(target, *args)

    proxy = sys.modules[package + ".core.netref"].BaseNetref
    mine = lambda kind, value, step: issubclass(type(value), proxy)
    return drive(Runner(mine, describe, 10000).run(steps, wanted), do)
"""
