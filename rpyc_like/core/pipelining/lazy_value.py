"""Values that have not been asked for: what is done with them is recorded, as steps."""

from __future__ import annotations

import weakref
from operator import is_
from typing import TYPE_CHECKING, Any, Final

from .. import consts
from .chain_interpreter import CALL, CALLATTR, GETATTR, ROOT, SETATTR
from .operations import OperandTuple, Operation, SingleRequest, inside, steps_in

if TYPE_CHECKING:
    from .pipeline import Pipeline

__all__ = ["LazyValue", "check_operands", "operand_of", "record", "recorded_request"]

_local: Final = object.__getattribute__


def operand_of(value: Any) -> Any:
    """Returns the operand for something that a program has given."""
    kind = type(value)
    if issubclass(kind, LazyValue):
        return _local(value, "____step__")
    if kind is tuple:
        items = [operand_of(item) for item in value]
        if any(type(item) is OperandTuple or isinstance(item, Operation) for item in items):
            return OperandTuple(items)
    elif kind in (list, dict, set) and any(issubclass(type(item), LazyValue) for item in value):
        raise TypeError(f"a recorded value cannot be in a {kind.__name__}: put it in a tuple")
    return value


class LazyValue:
    """The value of a step that has not been done. What is done with it is recorded.

    :func:`fetch` returns the value. Python wants to know some things at once: the truth, the
    length, the items, the text of a value. Those are a TypeError.
    """

    __slots__ = ("____pipeline__", "____step__", "__weakref__")

    def __init__(self, pipeline: Pipeline | None, step: Operation) -> None:
        object.__setattr__(self, "____pipeline__", pipeline)
        object.__setattr__(self, "____step__", step)
        step.handle = weakref.ref(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # Python and its tools look for these on any object
        return record(self, GETATTR, (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        record(self, SETATTR, (name, operand_of(value)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = {name: operand_of(value) for name, value in kwargs.items()}
        return record(self, CALL, ([operand_of(arg) for arg in args], named))

    def __getitem__(self, key: Any) -> Any:
        return record(self, CALLATTR, ("__getitem__", [operand_of(key)], {}))

    def __setitem__(self, key: Any, value: Any) -> None:
        record(self, CALLATTR, ("__setitem__", [operand_of(key), operand_of(value)], {}))

    def __delitem__(self, key: Any) -> None:
        record(self, CALLATTR, ("__delitem__", [operand_of(key)], {}))

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
    setattr(LazyValue, name, method)


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


def record(recorded: LazyValue, kind: int, args: tuple[Any, ...]) -> LazyValue:
    """Records a step on a recorded value."""
    target: Operation = _local(recorded, "____step__")
    pipeline = _local(recorded, "____pipeline__")
    made = Operation(target.conn, kind, target, args, None)
    check_operands(made)
    if made.scope is not None:
        made.scope.steps.append(made)
    elif pipeline is not None:
        pipeline._steps.append(made)
    return type(recorded)(pipeline, made)


def check_operands(made: Operation) -> None:
    """Checks that a new step may use what it uses, and finds out which map it belongs to."""
    for used in steps_in(made.operands()):
        if used.conn is not made.conn:
            raise ValueError("recorded values of two connections cannot be mixed: fetch() one")
        if used.scope is not None and (made.scope is None or inside(used.scope, made.scope)):
            made.scope = used.scope


def recorded_request(kind: type[LazyValue], conn: Any, handler: int, args: tuple[Any, ...]) -> Any:
    """Returns a recorded value, of class ``kind``, for a request about an object of the peer's."""
    if handler == consts.HANDLE_GETROOT:
        return kind(None, Operation(conn, ROOT, None, (), None))
    step: Operation | None = None
    if not args or not issubclass(type(args[0]), LazyValue):
        if handler == consts.HANDLE_GETATTR:
            step = Operation(conn, GETATTR, args[0], args[1:], None)
        elif handler == consts.HANDLE_SETATTR:
            step = Operation(conn, SETATTR, args[0], (args[1], operand_of(args[2])), None)
        elif handler in _CALLING:
            given, kwargs = args[-2], {}
            plain = not args[-1] and _PLAIN.issuperset(map(type, given))
            if not plain:
                given = [operand_of(arg) for arg in given]
                kwargs = {name: operand_of(value) for name, value in args[-1]}
                plain = not kwargs and all(map(is_, given, args[-2]))
            step = Operation(conn, _CALLING[handler], args[0], (*args[1:-2], given, kwargs), None)
            if plain:
                step.direct = handler, args
    if step is None:
        step = SingleRequest(conn, handler, tuple([operand_of(arg) for arg in args]))
    return kind(None, step)


_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_CALLING: Final = {consts.HANDLE_CALL: CALL, consts.HANDLE_CALLATTR: CALLATTR}
