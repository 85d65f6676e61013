"""What one side tells the other about a class or a module, so that the other need not ask.

The answer to INSPECT is pairs of a method's name and its docstring. Between two of ours it ends
with one more pair, :data:`DESCRIPTION` and a tuple of

1. the names ``(module, class)`` of the object's class and its bases (of a class: its own);
2. of a class: the special methods of its instances;
3. the functions: names of methods, of functions, of built-in functions, and of submodules with
   the same three. What has such a name is a plain function as far as its class or module says. It
   can be called without being fetched first (:mod:`rpyc_like.core.proxies.deferred_methods`).

The third item is there only if the peer has FEATURE_DESCRIPTIONS. With it, a description also
travels with the first reference to an object of each class, without docstrings.
"""

from __future__ import annotations

from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
)
from typing import Any, Final, NamedTuple

from ...errors import MalformedValue
from ...lib.brief import brief
from ...lib.introspection import IMPLICIT, instance_methods
from ...lib.object_ids import is_class
from ...lib.received_errors import made_from_peer
from ..encoding.exception_classes import Name, bases_of
from ..netref import LOCAL_ATTRS

__all__ = [
    "DESCRIPTION",
    "NO_FUNCTIONS",
    "Description",
    "Functions",
    "Submodule",
    "describe",
    "functions_of",
    "functions_of_class",
    "split_description",
]

DESCRIPTION: Final = "____class____"
"""The name under which a class's description stands among the methods that INSPECT returns."""

MAX_FUNCTIONS: Final = 2000
"""Most names of functions that are told of one class or module, those of submodules included."""

_MOST_FUNCTIONS: Final = 4 * MAX_FUNCTIONS  # a class has three lists of them

_MAX_BASES: Final = 100
_MAX_NAME: Final = 300  # characters of the name of a class or its module; they are kept
_MAX_METHODS: Final = 5000  # each becomes a function here; further ones are not
_MAX_SPECIAL: Final = 1000
_KINDS: Final[dict[type, int]] = {
    FunctionType: 0,
    MethodDescriptorType: 2,
    ClassMethodDescriptorType: 2,
    BuiltinFunctionType: 2,
}


class Submodule(NamedTuple):
    """A module that is an attribute of a module."""

    attribute: str
    name: str
    functions: tuple[str, ...]
    builtins: tuple[str, ...]


class Functions(NamedTuple):
    """Names of what can be called without being fetched first."""

    methods: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    builtins: tuple[str, ...] = ()
    submodules: tuple[Submodule, ...] = ()


NO_FUNCTIONS: Final = Functions()


class Description(NamedTuple):
    """An answer to INSPECT, checked."""

    methods: tuple[tuple[str, str | None], ...]
    names: tuple[Name, ...] | None = None
    special: tuple[str, ...] = ()
    functions: Functions = NO_FUNCTIONS


def describe(obj: Any, functions: Functions | None) -> tuple[str, Any]:
    """Returns what INSPECT tells a peer that understands it beside the methods of ``obj``."""
    told: tuple[Any, ...]
    if is_class(obj):
        special = (name for name, _ in instance_methods(LOCAL_ATTRS, obj) if name in IMPLICIT)
        told = bases_of(obj), tuple(special)
    else:
        told = bases_of(type(obj)), ()
    if functions is not None:
        plain = tuple(functions[:3])
        told = (*told, (*plain, tuple([tuple(module) for module in functions.submodules])))
    return DESCRIPTION, told


def functions_of(obj: Any, visible: Callable[[Any, str], bool], prefix: str) -> Functions:
    """Returns the plain functions of a module, or of an instance's class.

    Args:
        visible: whether the peer may read a name of an object.
        prefix: what the peer may leave out in front of a name; empty for nothing.
    """
    if isinstance(obj, ModuleType):
        return _of_module(obj, visible)
    kind = type(obj)
    if made_from_peer(obj) or is_class(obj) or _reads_otherwise(kind):
        return NO_FUNCTIONS  # reading an attribute may do anything
    if hasattr(kind, "_rpyc_getattr"):
        return NO_FUNCTIONS
    return functions_of_class(kind, visible, prefix)


def _reads_otherwise(kind: Any) -> bool:
    return kind.__getattribute__ is not object.__getattribute__


def functions_of_class(
    kind: type, visible: Callable[[Any, str], bool] = lambda obj, name: True, prefix: str = ""
) -> Functions:
    """Returns the plain functions that instances of a class have; see :func:`functions_of`."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        found.update(vars(base))
    names: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name, value in found.items():
        group = _group(value)
        if group is None or name[:2] == "__" or not visible(kind, name):
            continue
        names[group].append(name)
        short = name[len(prefix) :] if prefix and name.startswith(prefix) else ""
        if short and not (short in found and visible(kind, short)):
            names[group].append(short)
    methods, functions, builtins = [tuple(group[:MAX_FUNCTIONS]) for group in names]
    return Functions(methods, functions, builtins)


def _group(value: Any) -> int | None:
    """Returns which list of :class:`Functions` an attribute of a class belongs to."""
    kind = type(value)
    if kind is staticmethod:
        return 1 if type(value.__func__) is FunctionType else None
    if kind is classmethod:
        return 0 if type(value.__func__) is FunctionType else None
    return _KINDS.get(kind)


def _of_module(module: ModuleType, visible: Callable[[Any, str], bool]) -> Functions:
    functions, builtins = _names_in(module, visible)
    left = MAX_FUNCTIONS - len(functions) - len(builtins)
    submodules = []
    for name, value in list(vars(module).items()):
        if type(value) is ModuleType and name[:1] != "_" and visible(module, name):
            inside = _names_in(value, visible)
            left -= 1 + len(inside[0]) + len(inside[1])
            if left < 0:
                break
            submodules.append(Submodule(name, value.__name__, *inside))
    return Functions((), functions, builtins, tuple(submodules))


def _names_in(
    module: ModuleType, visible: Callable[[Any, str], bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: dict[type, list[str]] = {FunctionType: [], BuiltinFunctionType: []}
    for name, value in list(vars(module).items()):
        group = names.get(type(value))
        if group is not None and name[:1] != "_" and visible(module, name):
            group.append(name)
    functions, builtins = names.values()
    return tuple(functions[:MAX_FUNCTIONS]), tuple(builtins[:MAX_FUNCTIONS])


def split_description(methods: Any) -> Description:
    """Checks the answer to INSPECT.

    Raises:
        MalformedValue: it is not pairs of a name and a docstring.
    """
    if type(methods) is not tuple or not all(
        type(item) is tuple and len(item) == 2 and type(item[0]) is str for item in methods
    ):
        raise MalformedValue(f"expected pairs of name and docstring, got {brief(methods)}")
    if not methods or methods[-1][0] != DESCRIPTION:
        return Description(methods[:_MAX_METHODS])
    told = methods[-1][1]
    try:
        names, special, *functions = _tuple(told)
        pairs = [_tuple(pair) for pair in _tuple(names)[:_MAX_BASES]]
        checked = tuple([(_short(module), _short(name)) for module, name in pairs])
        return Description(
            methods[:-1][:_MAX_METHODS],
            checked,
            _texts(_tuple(special)[:_MAX_SPECIAL]),
            _functions(functions[0]) if functions else NO_FUNCTIONS,
        )
    except (TypeError, ValueError):
        raise MalformedValue(f"expected the description of a class, got {brief(told)}") from None


def _functions(told: Any) -> Functions:
    *plain, submodules = _tuple(told)
    methods, functions, builtins = map(_texts, plain)
    found = tuple([_submodule(one) for one in _tuple(submodules)])
    inside = sum([1 + len(one.functions) + len(one.builtins) for one in found])
    if len(methods) + len(functions) + len(builtins) + inside > _MOST_FUNCTIONS:
        raise ValueError
    return Functions(methods, functions, builtins, found)


def _submodule(told: Any) -> Submodule:
    attribute, name, functions, builtins = _tuple(told)
    return Submodule(_text(attribute), _text(name), _texts(functions), _texts(builtins))


def _texts(values: Any) -> tuple[str, ...]:
    return tuple([_text(value) for value in _tuple(values)])


def _tuple(value: Any) -> tuple[Any, ...]:
    if type(value) is not tuple:  # a proxy could have items without end
        raise TypeError
    return value


def _short(value: Any) -> str:
    return _text(value)[:_MAX_NAME]


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value
