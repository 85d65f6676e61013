"""Static tree of what a peer could reach from an object, as the access policy decides.

Nothing of the service runs: no property, no call, no instantiation. Values are those that stand in
classes, instance dictionaries and containers; what a call or a property gives is told from its
return annotation, where that names a class, and is unknown (``?``) otherwise.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import importlib
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any, Final, NamedTuple

from ..core import brine
from ..core.dispatch import policy as access
from ..core.service import Service, Slave
from ..lib.guards import access_policy
from ..lib.guards.access_policy import ABSENT, EXPOSED, MISSING, SAFE, full_name
from ..lib.guards.stdlib import MAX_WRAPPED, step_into, through_proxy
from ..lib.introspection import clean_name
from ..lib.stand_ins import dict_of, is_among, module_of, mro_of

__all__ = ["MAX_DEPTH", "MAX_NODES", "Node", "Tree", "denied", "exposes"]

_CHANGES: Final = {"allow_setattr": "set", "allow_delattr": "deleted"}

MAX_NODES: Final = 10_000
"""Default bound of the number of attributes in a tree."""

MAX_DEPTH: Final = 12
"""Default bound of the length of a path."""

_MAX_ITEMS: Final = 100  # objects that are shown of a container in the service
_MAX_LOOKED_AT: Final = 100_000  # items of it, most of them values
_MAX_ARGUMENTS: Final = 20
_MAX_NESTED: Final = 20  # levels of brackets in an annotation
_flags_of: Final = type.__dict__["__flags__"].__get__
_IS_ABSTRACT: Final = 1 << 20  # Py_TPFLAGS_IS_ABSTRACT

UNKNOWN: Final = "?"


@dataclass
class Node:
    """One attribute, item or result that a peer could reach."""

    path: str
    """How a program gets there from the root: ``thing().name``."""
    name: str
    """What a peer asks for; ``()`` for what a call returns, ``[...]`` for an item."""
    attribute: str
    """The attribute's own name."""
    rule: str
    """The rule that lets it through."""
    what: str
    """What it is, as far as that is known without running anything."""
    ladder: str = ""
    """What the policy does with it, if it leads further than it looks."""
    note: str = ""
    """Why there are no children: it has been shown above, or the tree is cut."""
    object: str = ""
    """The full name of a function, class or module."""
    safe: list[str] = field(default_factory=list)
    """Attributes of it that are reachable by the rule of safe attributes."""
    children: list[Node] = field(default_factory=list)
    same: Node | None = field(default=None, repr=False, compare=False)
    """The node that shows what is below this one."""


@dataclass
class Tree:
    """What a peer could reach."""

    root: Node
    full_control: bool
    """Whether a peer may do everything; nothing is listed then."""
    is_cut: bool = False
    """Whether there is more than the bounds allow."""
    changes: list[str] = field(default_factory=list)
    """What a peer may do besides reading, by which keys."""

    def __iter__(self) -> Iterator[Node]:
        nodes = [self.root]
        while nodes:
            node = nodes.pop()
            yield node
            nodes += reversed(node.children)

    @property
    def ladders(self) -> list[Node]:
        """The nodes that lead further than they look."""
        return [node for node in self if node.ladder]

    @property
    def unknown(self) -> list[Node]:
        """The nodes of which nothing, or not what they return, is known."""
        ends = (f" -> {UNKNOWN}", f": {UNKNOWN}")
        return [one for one in self if one.what.startswith(UNKNOWN) or one.what.endswith(ends)]


_ITEM: Final = "[...]"  # names of nodes: an item, another alternative, a class itself
_ALTERNATIVE: Final = "(or)"
_CLASS: Final = "(class)"


class _Part(NamedTuple):
    """A class that an annotation names beside that of the object itself."""

    cls: type
    mark: str
    """What it is: an item or an alternative; the class itself after ``_CLASS``."""


@dataclass(frozen=True, eq=False)
class _Subject:
    """An object that is at hand, or only its class."""

    obj: Any
    kind: type | None = None
    """The class, if ``obj`` is ``ABSENT``."""
    result: Any = MISSING
    """What a call of a function returns: a class, or ``UNKNOWN``."""
    parts: tuple[_Part, ...] = ()
    """Classes that the annotation of it, or of its result, names as items or alternatives."""

    @property
    def key(self) -> tuple[Any, ...]:
        return (id(self.obj), id(self.kind), id(self.result), self.marked)

    @property
    def marked(self) -> tuple[tuple[int, str], ...]:
        return tuple((id(part.cls), part.mark) for part in self.parts)


def exposes(
    root: Any,
    config: Mapping[str, Any],
    max_nodes: int = MAX_NODES,
    max_depth: int = MAX_DEPTH,
) -> Tree:
    """Return the tree of what a peer could reach from a service.

    Args:
        root: an object, or a class: then its instances, as a server makes one for each client.
        config: the configuration of the connections, with all its keys.
        max_nodes, max_depth: bounds of the tree.
    """
    is_class = issubclass(type(root), type)
    subject = _Subject(ABSENT, root) if is_class else _Subject(root)
    kind = root if is_class else type(root)
    walker = _Walker(config, max_nodes, max_depth)
    node = Node("", access_policy.describe(kind), "", "root", f"instance of {full_name(kind)}")
    full = bool(config["allow_all_attrs"]) or is_among(Slave, mro_of(kind))
    if not full:
        walker.walk(subject, node)
    changes = [f"may be {done} as well ({key})" for key, done in _CHANGES.items() if config[key]]
    return Tree(node, full, walker.is_cut, changes)


def denied(tree: Tree, patterns: list[str]) -> list[tuple[str, Node]]:
    """Return each pattern with the nodes that it matches.

    Args:
        patterns: names; dotted paths from the root, with or without ``()``, which are followed
            round cycles; or full names of functions, classes and modules. ``*`` and ``?`` match
            as in file names.
    """
    found = []
    for pattern in patterns:
        nodes = [node for node in tree if _matches(node, pattern)]
        if "." in pattern:
            nodes += [node for node in _followed(tree.root, pattern) if node not in nodes]
        found += [(pattern, node) for node in nodes]
    return found


def _matches(node: Node, pattern: str) -> bool:
    short = node.object.removeprefix("builtins.")
    forms = (node.name, node.attribute, node.path, node.object, short, *node.safe)
    return any(form and fnmatchcase(form, pattern) for form in forms)


def _followed(root: Node, pattern: str) -> list[Node]:
    """Return the nodes that a dotted path leads to, through calls and what was shown before."""
    nodes = [root]
    for part in pattern.replace("()", "").split("."):
        known = _closed(nodes)
        nodes = [
            child
            for node in known
            for child in node.children
            if fnmatchcase(child.name, part) or fnmatchcase(child.attribute, part)
        ]
        if not nodes and any(fnmatchcase(name, part) for node in known for name in node.safe):
            return known[:1]
    return nodes


def _closed(nodes: list[Node]) -> list[Node]:
    """Return nodes with the results of calling them, and the nodes that show the same objects."""
    found: list[Node] = []
    left = [*nodes]
    while left:
        node = left.pop()
        if not any(node is known for known in found):
            found.append(node)
            left += [
                child
                for child in node.children
                if child.name in ("()", _ITEM, _ALTERNATIVE, _CLASS)
            ]
            left += [node.same] if node.same is not None else []
    return found


class _Walker:
    """Makes the nodes, breadth first, so that a path that is shown is a shortest one."""

    def __init__(self, config: Mapping[str, Any], max_nodes: int, max_depth: int) -> None:
        self._config = config
        self._left = max_nodes
        self._max_depth = max_depth
        self._seen: dict[tuple[Any, ...], Node] = {}
        self._kept: list[Any] = []  # objects whose ids are keys
        self.is_cut = False

    def walk(self, root: _Subject, node: Node) -> None:
        """Add everything below a node."""
        level = [(root, node)]
        for _ in range(self._max_depth):
            following: list[tuple[_Subject, Node]] = []
            for subject, parent in level:
                following += self._expand(subject, parent)
            level = following
        for _, parent in level:
            self.is_cut = True
            parent.note = "too deep"

    def _expand(self, subject: _Subject, node: Node) -> list[tuple[_Subject, Node]]:
        """Add the children of a node and return those that have something below them."""
        seen = self._seen.get(subject.key)
        if seen is not None:
            node.same = seen
            node.note = f"see {seen.path or 'the root'}"
            return []
        self._seen[subject.key] = node
        self._kept.append(subject)
        found: list[tuple[_Subject | None, Node]] = [
            *self._attributes(subject, node),
            *self._items(subject, node),
            *self._result(subject, node),
        ]
        node.children += [child for _, child in found]
        return [(below, child) for below, child in found if below is not None]

    def _take(self) -> bool:
        self._left -= 1
        if self._left < 0:
            self.is_cut = True
        return self._left >= 0

    # -- attributes

    def _attributes(self, subject: _Subject, node: Node) -> Iterator[tuple[_Subject | None, Node]]:
        obj, kind = subject.obj, subject.kind
        actual = type(obj) if kind is None else kind
        if actual is tuple or kind is object:
            return  # travels by value, or is not known
        mro = mro_of(actual)
        sets = (dict_of(base).get("_rpyc_setattr") for base in mro)
        if next((one for one in sets if one is not None), _REFUSES) is not _REFUSES:
            rule, what = access_policy.OWN, "set: _rpyc_setattr decides"
            yield None, Node(_joined(node.path, "*"), "*", "*", rule, what)
        if any("_rpyc_getattr" in dict_of(base) for base in mro):
            yield None, self._unknown(node, "*", access_policy.OWN, "_rpyc_getattr decides")
            return
        reached: dict[str, tuple[str, Any, str]] = {}
        stored = _stored(actual)
        left_out = {} if kind is None else stored  # an instance at hand shows what it has
        for name in sorted(_names(obj, actual) | {*left_out}):
            got = access.reachable(self._config, obj, name, kind)
            if got is None:
                continue
            if got[2] is SAFE:
                node.safe.append(name)
            elif got[0] not in reached and self._take():
                if kind is None:
                    got = (got[0], _held(obj, got[0], got[1]), got[2])
                reached[got[0]] = got
        for attribute, value, rule in reached.values():
            prefix = self._config["exposed_prefix"] if rule is EXPOSED else ""
            name = attribute.removeprefix(prefix)
            below, child = self._node(node, name, attribute, rule, value, subject)
            if attribute in stored and (value is MISSING or is_among(type(value), _SLOTS)):
                child.what = f"{UNKNOWN} (of an instance){_arrow(stored[attribute], ': ')}"
                below = _walkable(stored[attribute], _parts_stored(actual, attribute))
            yield below, child
        dynamic = any("__getattr__" in dict_of(base) for base in mro)
        if issubclass(actual, ModuleType):
            dynamic = "__getattr__" in access_policy.instance_dict(obj)
        if dynamic and not issubclass(actual, type):
            yield None, self._unknown(node, "*", access_policy.OWN, "__getattr__ decides")
        keeps = next(
            (dict_of(base)["__dict__"] for base in mro if "__dict__" in dict_of(base)), None
        )
        if keeps is not None and not is_among(type(keeps), _SLOTS):
            yield None, self._unknown(node, "*", EXPOSED, "__dict__ is no dictionary")

    def _unknown(self, parent: Node, name: str, rule: str, what: str) -> Node:
        return Node(_joined(parent.path, name), name, name, rule, f"{UNKNOWN} ({what})")

    def _node(
        self, parent: Node, name: str, attribute: str, rule: str, raw: Any, owner: _Subject
    ) -> tuple[_Subject | None, Node]:
        """Return the node of a value that stands in a class or an instance, and what is below."""
        child = Node(_joined(parent.path, name), name, attribute, rule, UNKNOWN)
        value = through_proxy(_bound(raw))
        row = access_policy.risk(value)
        if row is not None:
            free = self._config["allow_ladders"]
            child.ladder = (
                "called and passed on, because allow_ladders is set" if free else row.policy
            )
        below = self._describe(child, raw, value, owner)
        return (None if child.ladder and below is None else below), child

    def _describe(self, child: Node, raw: Any, value: Any, owner: _Subject) -> _Subject | None:
        """Say what a node is; return what is below it."""
        if value is MISSING:
            return None
        kind = type(value)
        of_class = owner.kind is None and issubclass(type(owner.obj), type)  # gives no results
        if (kind is property or issubclass(kind, cached_property)) and not of_class:
            getter = value.fget if kind is property else value.func
            result = _annotated(getter, owner)
            child.what = f"property{_arrow(result)}"
            return _walkable(result, _parts_annotated(getter, owner))
        if is_among(kind, _METHODS):
            child.object = f"{full_name(value.__objclass__)}.{value.__name__}"
            child.what = f"{child.object}(...){_arrow(UNKNOWN)}"
            return None
        if is_among(kind, _SLOTS) and not of_class:
            child.what = f"{UNKNOWN} (stored in the instance)"
            return None
        if is_among(kind, _VALUES) and (kind is not frozenset or brine.dumpable(value)):
            child.what = f"value: {kind.__name__}"
            return _Subject(value) if kind is tuple else None
        if is_among(kind, _FUNCTIONS):
            child.object = access_policy.describe(value)
            result = _annotated(access_policy.unwrapped(value), owner)
            name = child.object if kind is BuiltinFunctionType else "function"
            child.what = f"{name}{_parameters(value, raw, owner)}{_arrow(result)}"
            parts = _parts_annotated(access_policy.unwrapped(value), owner)
            return _Subject(value, None, result, parts)
        if issubclass(kind, type):
            child.object = full_name(value)
            child.what = f"class {child.object}"
            return _Subject(value)
        if issubclass(kind, ModuleType):
            child.object = str(access_policy.instance_dict(value).get("__name__"))
            child.what = f"module {child.object}"
            return _Subject(value)
        is_read = type(raw) is staticmethod or is_among(kind, (property, *_SLOTS))
        if not is_read and any("__get__" in dict_of(base) for base in mro_of(kind)):
            if owner.kind is not None or not _is_own(owner.obj, child.attribute):
                child.what = f"{UNKNOWN} (descriptor of class {full_name(kind)})"
                return None
        inner = access_policy.unwrapped(value)
        child.what = f"instance of {full_name(kind)}"
        if inner is not value:
            child.what = access_policy.describe(value)
            child.object = access_policy.describe(inner)
        return _Subject(value)

    # -- items and results

    def _items(self, subject: _Subject, node: Node) -> Iterator[tuple[_Subject | None, Node]]:
        """Yield nodes of the items that are objects, and of items that are not known."""
        obj, kind = subject.obj, subject.kind
        is_known = kind is not None and is_among(kind, _KNOWN_CONTAINERS)
        if obj is ABSENT and not is_known:  # its methods may give them, whatever they are called
            yield from self._parts(subject, node, "annotation")
        if kind is object:  # nothing else is known
            return
        by_value = type(obj) is tuple or kind is tuple
        rule = "by value" if by_value else SAFE
        asked = (access.reachable(self._config, obj, name, kind) for name in _GIVES_ITEMS)
        if not by_value and not any(got is not None and got[1] is not MISSING for got in asked):
            return
        if obj is not ABSENT and issubclass(type(obj), type):
            return
        if obj is ABSENT and is_known and subject.parts:
            yield from self._parts(subject, node, rule)
            return
        shown = 0
        for number, (name, value) in enumerate(access_policy.contents(obj, _MAX_LOOKED_AT)):
            if number == _MAX_LOOKED_AT - 1:
                self.is_cut = True
            if is_among(type(value), _VALUES) and type(value) is not tuple:
                continue
            if shown == _MAX_ITEMS:
                self.is_cut = True
                node.note = "more items than are shown"
                break
            if self._take():
                shown += 1
                yield self._node(node, name, name, rule, value, subject)
        if not is_among(type(obj), _KNOWN_CONTAINERS) and self._take():
            yield None, self._unknown(node, "[...]", rule, "its methods decide")

    def _parts(
        self, subject: _Subject, node: Node, rule: str
    ) -> Iterator[tuple[_Subject | None, Node]]:
        """Yield nodes of the classes that an annotation names beside that of the object itself."""
        for part in subject.parts:
            if not self._take():
                continue
            name = _ALTERNATIVE if part.mark.endswith(_ALTERNATIVE) else _ITEM
            if part.mark.startswith(_CLASS):
                name = _ITEM if part.mark.endswith(_ITEM) else _CLASS
                yield self._node(node, name, name, rule, part.cls, subject)
            else:
                what = f"instance of {full_name(part.cls)}"
                yield _Subject(ABSENT, part.cls), Node(f"{node.path}{name}", name, name, rule, what)

    def _result(self, subject: _Subject, node: Node) -> Iterator[tuple[_Subject | None, Node]]:
        """Yield the node of what a call returns."""
        result, obj = subject.result, subject.obj
        if obj is not ABSENT and issubclass(type(obj), type):
            result = obj
        elif result is MISSING and node.name != "":
            result = _called(obj, subject)
            if result is UNKNOWN and self._take():
                yield None, self._unknown(node, "()", "call", "__call__ decides")
        below = None if result is MISSING else _walkable(result, subject.parts)
        if below is not None and not node.ladder and self._take():
            what = "some object" if result is UNKNOWN else f"instance of {full_name(result)}"
            yield below, Node(f"{node.path}()", "()", "()", "call", what)


_VALUES: Final = frozenset({*brine.simple_types, tuple, frozenset, type(None)})
_FUNCTIONS: Final = frozenset({FunctionType, BuiltinFunctionType, MethodType})
_REFUSES: Final = dict_of(Service).get("_rpyc_setattr")
_METHODS: Final = frozenset(
    {MethodDescriptorType, ClassMethodDescriptorType, WrapperDescriptorType}
)
_GIVES_ITEMS: Final = ("__getitem__", "__iter__", "__next__")
_KNOWN_CONTAINERS: Final = (list, tuple, dict, set, frozenset, deque, OrderedDict)
"""Types of which all items are shown."""
_SLOTS: Final = frozenset({MemberDescriptorType, GetSetDescriptorType})
_INNER: Final = frozenset({"Optional", "Final", "Annotated", "ClassVar"})
_CONTAINERS: Final[dict[str, type]] = {"List": list, "Dict": dict, "Set": set, "Tuple": tuple}


def _names(obj: Any, kind: type) -> set[str]:
    """Return the names of all attributes, without asking for any."""
    bases = [*mro_of(kind)]
    if obj is not ABSENT and issubclass(kind, type):
        bases += mro_of(obj)
    dicts = [*map(dict_of, bases), access_policy.instance_dict(obj)]
    return {name for attributes in dicts for name in attributes if type(name) is str}


def _held(obj: Any, name: str, found: Any) -> Any:
    """Return what an object at hand gives under a name, as far as no code is needed for that."""
    if issubclass(type(obj), type):
        return _of_class(obj, name, found)
    if type(found) is MemberDescriptorType and not _is_own(obj, name):
        try:
            return found.__get__(obj)
        except AttributeError:
            return MISSING
    return found


def _of_class(cls: type, name: str, found: Any) -> Any:
    """Return what stands in a class itself, which comes before what its metaclass has."""
    own = [dict_of(base)[name] for base in mro_of(cls) if name in dict_of(base)]
    is_data = any("__set__" in dict_of(base) for base in mro_of(type(found)))
    return own[0] if own and not is_data else found


def _joined(path: str, name: str) -> str:
    return path + name if name.startswith(("[", "(")) or not path else f"{path}.{name}"


def _bound(raw: Any) -> Any:
    """Return what a peer gets of what stands in a class."""
    return access_policy.unwrapped(raw) if is_among(type(raw), (staticmethod, classmethod)) else raw


def _is_own(obj: Any, name: str) -> bool:
    return name in access_policy.instance_dict(obj) or issubclass(type(obj), ModuleType)


def _walkable(result: Any, parts: tuple[_Part, ...] = ()) -> _Subject | None:
    """Return a subject for instances of a class, None for values and what is unknown."""
    if parts:
        parts = tuple(one for one in parts if one.cls is not result or one.mark != _ALTERNATIVE)
        if result is MISSING or result is UNKNOWN:
            return _Subject(ABSENT, object, parts=parts)
    if result is MISSING or result is UNKNOWN:
        return None
    if is_among(result, _VALUES) and not (parts and is_among(result, (tuple, frozenset))):
        return None
    return _Subject(ABSENT, result, parts=parts)


def _arrow(result: Any, arrow: str = " -> ") -> str:
    if result is UNKNOWN:
        return f"{arrow}{UNKNOWN}" if arrow == " -> " else ""
    return arrow + ("None" if result is type(None) else full_name(result))


def _stored(cls: type) -> dict[str, Any]:
    """Return what a class declares, and what its methods set on their instance.

    Returns:
        Names, with the classes that the annotations in the class body mean.
    """
    found: dict[str, Any] = {}
    for base in reversed(mro_of(cls)):
        annotations = _annotations(base)
        for name, annotation in annotations.items():
            found[name] = _resolved(annotation, _module_dict(base), _Subject(ABSENT, cls))
        for method in dict_of(base).values():
            if type(method) is FunctionType:
                for name in _set_on_self(method.__code__):
                    found.setdefault(name, UNKNOWN)
    return found


def _set_on_self(code: CodeType) -> Iterator[str]:
    """Yield the names of attributes that a method sets on its first argument."""
    loaded: Any = None
    for one in dis.get_instructions(code):
        if one.opname == "STORE_ATTR" and code.co_argcount and loaded == code.co_varnames[0]:
            yield one.argval
        name = one.argval[-1] if type(one.argval) is tuple and one.argval else one.argval
        loaded = name if one.opname.startswith("LOAD_FAST") else None


def _module_dict(cls: type) -> Mapping[str, Any]:
    module = sys.modules.get(str(access_policy.module_of(cls)))
    return {} if module is None else access_policy.instance_dict(module)


def _parameters(func: Any, raw: Any, owner: _Subject) -> str:
    """Return the parameters of a function in brackets, told from its code."""
    is_bound = func is raw or type(raw) is classmethod  # not so: static methods, weak proxies
    func = access_policy.unwrapped(func)
    if type(func) is not FunctionType:
        return "(...)"
    code = func.__code__
    names = [*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
    is_method = is_bound and (
        owner.kind is not None or type(raw) is classmethod or _is_method_of(owner.obj, func)
    )
    if is_method and names:
        del names[0]
    return f"({', '.join(clean_name(name) for name in names[:_MAX_ARGUMENTS])})"


def _is_method_of(obj: Any, func: Any) -> bool:
    """Return whether a function is found in the class of an object, so that it is bound to it."""
    if issubclass(type(obj), (type, ModuleType)):
        return False
    return any(func is value for base in mro_of(type(obj)) for value in dict_of(base).values())


# -- annotations


def _annotated(func: Any, owner: _Subject) -> Any:
    """Return the class that a function is annotated to return, or ``UNKNOWN``."""
    if type(func) is not FunctionType:
        return UNKNOWN
    return _resolved(_annotations(func).get("return", MISSING), func.__globals__, owner)


def _called(obj: Any, subject: _Subject) -> Any:
    """Return the class of what calling an object returns, or ``UNKNOWN``; MISSING if it is not."""
    kind = type(obj) if subject.kind is None else subject.kind
    called = access_policy.find(ABSENT, "__call__", kind)
    if called is MISSING or type(called) is FunctionType:
        return called if called is MISSING else _annotated(called, subject)
    if obj is ABSENT:
        return UNKNOWN
    for _ in range(MAX_WRAPPED):
        step = step_into(obj)
        inner = access_policy.unwrapped(obj) if step is None else step[0]
        if inner is obj:
            break
        obj = inner
    if issubclass(type(obj), type):
        return _plain_class(obj)
    called = access_policy.find(ABSENT, "__call__", type(obj))
    return _annotated(obj if type(obj) is FunctionType else called, subject)


def _parts_annotated(func: Any, owner: _Subject) -> tuple[_Part, ...]:
    """Return the classes that the return annotation of a function names in brackets or ``|``."""
    if type(func) is not FunctionType:
        return ()
    annotation = _annotations(func).get("return", MISSING)
    return tuple(_unique(_mentioned(annotation, func.__globals__, owner, _MAX_NESTED)))


def _parts_stored(cls: type, name: str) -> tuple[_Part, ...]:
    """Return such classes of the annotation of an attribute in a class body."""
    for base in mro_of(cls):
        annotation = _annotations(base).get(name, MISSING)
        if annotation is not MISSING:
            owner = _Subject(ABSENT, cls)
            found = _mentioned(annotation, _module_dict(base), owner, _MAX_NESTED)
            return tuple(_unique(found))
    return ()


def _unique(parts: Iterator[_Part]) -> Iterator[_Part]:
    seen: set[tuple[int, bool]] = set()
    for part in parts:
        known = (id(part.cls), part.mark.startswith(_CLASS))
        if known not in seen:
            seen.add(known)
            yield part


def _below(mark: str, is_one_of: bool, is_class: bool = False) -> str:
    """Return the mark of what stands in the brackets of an annotation that has a mark itself."""
    if is_class:
        return _CLASS + mark
    return (mark or _ALTERNATIVE) if is_one_of else _ITEM


def _mentioned(
    annotation: Any, names: Mapping[str, Any], owner: _Subject, left: int, mark: str = ""
) -> Iterator[_Part]:
    """Yield the classes that an annotation names as items, arguments or alternatives.

    Args:
        annotation: a text, or what it has been evaluated to; nothing is evaluated here.
        names: the module in which it stands.
        owner: the object of which ``Self`` is the class.
        left: levels to go down.
        mark: "" if it stands for the object itself, else what it is of another one.
    """
    kind = type(annotation)
    if not left or annotation is MISSING:
        return
    if kind is str:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.parse(annotation, mode="eval").body
            yield from _mentioned_in(tree, names, owner, left - 1, mark)
    elif issubclass(kind, type) and kind.__module__ != "types":
        found = _plain_class(annotation)
        if mark and found is not UNKNOWN:
            hides = not is_among(found, _VALUES) and not is_among(found, _KNOWN_CONTAINERS)
            if hides or mark.startswith(_CLASS):
                yield _Part(found, mark)
    elif kind.__module__ in ("typing", "types"):  # list[X], X | Y, Annotated[X, ...]
        if kind.__name__ == "ForwardRef":
            yield from _mentioned(annotation.__forward_arg__, names, owner, left - 1, mark)
            return
        origin = getattr(annotation, "__origin__", None)
        if mark and issubclass(type(origin), type):
            yield from _mentioned(origin, names, owner, left - 1, mark)
        args = getattr(annotation, "__args__", ())
        if kind.__name__ == "_LiteralGenericAlias" or type(args) is not tuple:
            return
        is_one_of = "Union" in kind.__name__ or "Annotated" in kind.__name__
        below = _below(mark, is_one_of, origin is type)
        for one in args[-1:] if "Callable" in kind.__name__ else args:
            yield from _mentioned(one, names, owner, left - 1, below)


def _mentioned_in(
    tree: ast.expr, names: Mapping[str, Any], owner: _Subject, left: int, mark: str
) -> Iterator[_Part]:
    """Do the same for the syntax tree of a text."""
    if not left:
        return
    if isinstance(tree, ast.Constant):
        if type(tree.value) is str:
            yield from _mentioned(tree.value, names, owner, left - 1, mark)
    elif isinstance(tree, ast.BinOp):
        for one in (tree.left, tree.right):
            yield from _mentioned_in(one, names, owner, left - 1, _below(mark, True))
    elif isinstance(tree, ast.Subscript):
        base = tree.value
        name = base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")
        items = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        if mark and name not in ("type", "Type"):
            yield from _mentioned_in(base, names, owner, left - 1, mark)
        if name == "Literal":
            return
        items = items[:1] if name == "Annotated" else items[-1:] if name == "Callable" else items
        if name not in _INNER or name == "Annotated":
            is_one_of = name in ("Annotated", "Union")
            mark = _below(mark, is_one_of, name in ("type", "Type"))
        for one in items:
            yield from _mentioned_in(one, names, owner, left - 1, mark)
    elif isinstance(tree, (ast.Name, ast.Attribute)):
        if (tree.id if isinstance(tree, ast.Name) else tree.attr) == "Self":
            if mark and owner.kind is not None:
                yield _Part(owner.kind, mark)
        else:
            yield from _mentioned(_named(tree, names), names, owner, left - 1, mark)


def _annotations(obj: Any) -> Mapping[str, Any]:
    """Return annotations as they stand; where they are lazy, as texts that nobody evaluates."""
    if sys.version_info >= (3, 14):
        annotationlib = importlib.import_module("annotationlib")
        return annotationlib.get_annotations(obj, format=annotationlib.Format.STRING)
    is_class = issubclass(type(obj), type)
    found = dict_of(obj).get("__annotations__") if is_class else obj.__annotations__
    return found if type(found) is dict else {}


def _resolved(annotation: Any, names: Mapping[str, Any], owner: _Subject) -> Any:
    """Return the class that an annotation means, or ``UNKNOWN``; evaluates nothing.

    Args:
        names: the module in which the annotation stands.
        owner: the object of which ``Self`` is the class.
    """
    if type(annotation) is not str:
        return _plain_class(annotation)
    try:
        tree = ast.parse(annotation, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return UNKNOWN
    return _class_of(tree, names, owner)


def _plain_class(annotation: Any) -> Any:
    if annotation is None:
        return type(None)
    if type(annotation) is UnionType:
        kinds = [one for one in annotation.__args__ if one is not type(None)]
        return _plain_class(kinds[0]) if len(kinds) == 1 else UNKNOWN
    if not issubclass(type(annotation), type):  # list[int], or an alias of typing
        origin = access_policy.unwrapped(annotation)
        annotation = access_policy.find(origin, "__origin__") if origin is annotation else origin
    is_class = issubclass(type(annotation), type) and not is_among(annotation, (object, type, Any))
    return annotation if is_class and not _is_interface(annotation) else UNKNOWN


def _is_interface(cls: type) -> bool:
    """Return whether a class says nothing about what its objects have besides."""
    return module_of(cls) in ("collections.abc", "typing", "contextlib") and bool(
        _flags_of(cls) & _IS_ABSTRACT
    )


def _class_of(tree: ast.expr, names: Mapping[str, Any], owner: _Subject) -> Any:
    """Return the class that an annotation names; names are looked up and nothing is evaluated."""
    if isinstance(tree, ast.Constant):
        known = tree.value is None or type(tree.value) is str
        return _resolved(tree.value, names, owner) if known else UNKNOWN
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        left, right = (_class_of(one, names, owner) for one in (tree.left, tree.right))
        if left is type(None):
            return right
        return left if right is left or right is type(None) else UNKNOWN
    if isinstance(tree, ast.Subscript):
        name = tree.value.attr if isinstance(tree.value, ast.Attribute) else None
        name = tree.value.id if isinstance(tree.value, ast.Name) else name
        if name in _INNER:
            return _class_of(tree.slice, names, owner)
        return _CONTAINERS.get(str(name)) or _class_of(tree.value, names, owner)
    if (tree.id if isinstance(tree, ast.Name) else getattr(tree, "attr", None)) == "Self":
        if owner.kind is not None:
            return owner.kind
        return UNKNOWN if owner.obj is ABSENT else type(owner.obj)
    return _plain_class(_named(tree, names))


def _named(tree: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what a name or a dotted name stands for."""
    if isinstance(tree, ast.Name):
        found = names.get(tree.id, MISSING)
        return vars(builtins).get(tree.id, MISSING) if found is MISSING else found
    if isinstance(tree, ast.Attribute):
        holder = _named(tree.value, names)
        if issubclass(type(holder), (ModuleType, type)):
            return access_policy.find(holder, tree.attr)
    return MISSING
