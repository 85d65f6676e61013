"""How much work the interpreter does to show, compare, hash or copy an object with all that it has.

It recurses over members, and meets what is shared once for each way that leads there. So an object
weighs as much as the tree that it would be written out to. Whose members count is decided by who
wrote the methods: those of the standard library recurse, whatever the type, and so do those that
:mod:`dataclasses` generates. What the program's own methods do is its business.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    ModuleType,
    TracebackType,
)
from typing import Any, Final
from weakref import CallableProxyType, ProxyType, ReferenceType

from ..errors import LimitExceeded, MalformedValue
from .access_policy import LIBRARY, find, instance_dict
from .referents import referents
from .stand_ins import dict_of, module_of, mro_of

__all__ = ["check_weight", "has_members", "members"]

_STEP: Final = 16  # items that C code looks at in the time of a step
_TEXT_STEP: Final = 64  # characters or bytes
_REVISITS: Final = 100  # a step of the limit for each; what is met again on a cycle is walked again

_TEXTS: Final = (str, bytes, bytearray, array)
_PLAIN: Final = (int, float, complex, bool, type(None), range, *_TEXTS)
_NAMED: Final = (
    *(type, FunctionType, BuiltinFunctionType, ModuleType, CodeType, FrameType, TracebackType),
    *(GeneratorType, CoroutineType, AsyncGeneratorType),
)
"""Types of what is shown by a name and compared by identity."""
_LEAVES: Final = frozenset(map(id, (*_PLAIN, *_NAMED)))
_TEXT_IDS: Final = frozenset(map(id, _TEXTS))
_SIMPLE: Final = _LEAVES - _TEXT_IDS
_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_BY_IDENTITY: Final = frozenset(
    "_asyncio _io _socket _ssl _thread asyncio concurrent io logging multiprocessing selectors "
    "socket socketserver ssl subprocess threading".split()
)
"""Packages whose objects are shown by their state, and lead to all of the program."""
_SHOWN: Final = {
    ("asyncio.queues", "Queue"): ("_queue",),
    ("logging", "LogRecord"): ("name", "levelno", "pathname", "lineno", "msg", "args"),
    ("multiprocessing.managers", "Namespace"): None,
    ("subprocess", "CompletedProcess"): ("args", "returncode", "stdout", "stderr"),
    ("subprocess", "Popen"): ("args", "returncode"),
}
"""Attributes that objects of such packages show nevertheless; ``None`` for all of an object's."""
_OPERATIONS: Final = ("__repr__", "__str__", "__format__", "__eq__", "__lt__", "__hash__")
_COPIES: Final = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__")
_ERROR: Final = dict_of(BaseException)
_NO_PARTS: Final = ("__traceback__", "__context__", "__cause__", "args")


def has_members(kind: type, copied: bool = False) -> bool:
    """Return whether showing, comparing or hashing an object of a type recurses over its members.

    Args:
        copied: whether copying it does so is enough.
    """
    if id(kind) in _LEAVES:
        return False
    if issubclass(kind, (*_CONTAINERS, dict, slice, *_WEAK)):
        return True
    if issubclass(kind, (*_NAMED, *_TEXTS)):
        return False
    if any(map(_is_shown, mro_of(kind))):
        return True
    for base in mro_of(kind):
        names = dict_of(base)
        if base is object:
            return False
        if "__dataclass_fields__" in names:
            return True
        module = module_of(base)
        package = module.partition(".")[0] if type(module) is str else ""
        if package not in LIBRARY or names.get("__abstractmethods__"):
            continue
        if package in _BY_IDENTITY:
            return False
        if _is_among_names(names, _COPIES if package in _COPIED_ONLY else _OPERATIONS):
            return copied or package not in _COPIED_ONLY
    return False


def _is_shown(base: type) -> bool:
    module, name = module_of(base), base.__name__
    return type(module) is str and type(name) is str and (module, name) in _SHOWN


_WEAK: Final = (ReferenceType, ProxyType, CallableProxyType)
_COPIED_ONLY: Final = frozenset(("xml", "_elementtree"))
"""Packages whose objects are shown without their members."""


def _is_among_names(names: Any, wanted: tuple[str, ...]) -> bool:
    return any(name in names for name in wanted)


def members(obj: Any) -> Sequence[Any]:
    """Return what an object's methods recurse over; runs none of them."""
    kind = type(obj)
    if kind is tuple or kind is list:
        return obj  # type: ignore[no-any-return]
    if issubclass(kind, slice):
        return [obj.start, obj.stop, obj.step]
    if issubclass(kind, dict):
        found = [*dict.keys(obj), *dict.values(obj)]
        return [*found, _factory_of(obj)] if issubclass(kind, defaultdict) else found
    for container in _CONTAINERS:
        if issubclass(kind, container):
            return list(container.__iter__(obj))
    if issubclass(kind, _WEAK):
        return [_target_of(obj)]
    if issubclass(kind, BaseException):
        left = {id(_ERROR[name].__get__(obj)) for name in _NO_PARTS}
        args = _ERROR["args"].__get__(obj)
        return [*args, *(one for one in referents(obj) if id(one) not in left)]
    for base in mro_of(kind):
        if _is_shown(base):
            names = _SHOWN[module_of(base), base.__name__]
            own = instance_dict(obj)
            return [*own.values()] if names is None else [own.get(name) for name in names]
        if _FIELDS in dict_of(base):
            fields = dict_of(base)[_FIELDS].values()
            return [_field(obj, one.name) for one in fields if one.repr or one.compare]
    return referents(obj)


def _field(obj: Any, name: str) -> Any:
    own = instance_dict(obj)
    if name in own:
        return own[name]
    found = find(obj, name)
    try:
        return found.__get__(obj) if type(found) is MemberDescriptorType else found
    except AttributeError:
        return None


_factory_of: Final[Any] = dict_of(defaultdict)["default_factory"].__get__
_FIELDS: Final = "__dataclass_fields__"


def _target_of(obj: Any) -> Any:
    if issubclass(type(obj), ReferenceType):
        return ReferenceType.__call__(obj)
    try:
        return obj.__reduce_ex__.__self__
    except (AttributeError, ReferenceError):
        return None


class _Node:
    """An object whose members are being weighed."""

    __slots__ = ("key", "lowest", "rest", "weight")

    def __init__(self, key: int, rest: Iterator[Any], weight: int, depth: int) -> None:
        self.key = key
        self.rest = rest
        self.weight = weight
        self.lowest = depth  # the level of the outermost object that its members lead back to


def check_weight(
    obj: Any,
    limit: int,
    deepest: int,
    is_leaf: Callable[[Any], bool],
    copied: bool = False,
    steps_key: str = "max_steps",
    depth_key: str | None = "max_depth",
) -> None:
    """Raise LimitExceeded if an object is too deep or too large with all that it shares.

    What is met again is not walked again, but for cycles, so this takes much less time than what
    it guards.

    Args:
        limit: steps.
        deepest: levels.
        is_leaf: whether nothing in an object is looked at, in any case.
        copied: whether it is about to be copied.
        steps_key: the key that changes ``limit``, as errors name it.
        depth_key: the key that changes ``deepest``; ``None`` if no key does.
    """
    kinds: dict[int, bool] = {}

    def walked(one: Any) -> bool:
        kind = type(one)
        known = kinds.get(id(kind))
        if known is None:
            known = kinds[id(kind)] = has_members(kind, copied) and not is_leaf(one)
        return known

    if not walked(obj):
        return
    known: dict[int, int] = {}  # weights that do not depend on the way that leads there
    again: set[int] = set()
    steps = revisits = 0
    path: dict[int, int] = {}
    stack = [_Node(0, iter((obj,)), 0, 0)]
    while stack:
        node = stack[-1]
        one = next(node.rest, None)
        if one is None:
            stack.pop()
            path.pop(node.key, None)
            if stack:
                above, depth = stack[-1], len(stack)
                above.weight += node.weight
                _check(above.weight, limit, steps_key)
                if node.lowest >= depth:
                    known[node.key] = node.weight
                else:
                    again.add(node.key)
                    above.lowest = min(above.lowest, node.lowest)
            continue
        key = id(one)
        if key in path:
            node.weight += 1
            node.lowest = min(node.lowest, path[key])
            continue
        if key in known:
            node.weight += known[key]
            _check(node.weight, limit, steps_key)
            continue
        inside = members(one)
        plain = _SIMPLE.issuperset(map(id, map(type, inside)))
        weight = 1 + len(inside) // _STEP + (0 if plain else _texts(inside) // _TEXT_STEP)
        steps += weight
        if key in again:
            revisits += weight
        _check(max(steps, revisits * _REVISITS, node.weight + weight), limit, steps_key)
        nested = () if plain else [one for one in inside if walked(one)]
        if not nested:
            node.weight += weight
            known[key] = weight
            continue
        depth = len(stack)
        if depth > deepest:
            if depth_key is None:
                raise MalformedValue(f"expected at most {deepest} levels of containers, got more")
            raise LimitExceeded("levels of nested containers", depth, deepest, depth_key)
        path[key] = depth
        stack.append(_Node(key, iter(nested), weight, depth))


def _check(weight: int, limit: int, key: str) -> None:
    if weight > limit:
        raise LimitExceeded("items of nested containers", weight, limit, key)


def _texts(items: Sequence[Any]) -> int:
    """Return how long the texts among some objects are, all together."""
    return sum([len(one) for one in items if id(type(one)) in _TEXT_IDS])
