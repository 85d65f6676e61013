"""What keeps this program's code out of the classes that stand for a peer's.

``except``, ``isinstance`` and ``issubclass`` look at the ``__mro__`` of a class, so a stand-in has
classes of this program there, whatever names the peer chose. It must not give their methods to
anybody: their special methods, which Python calls by itself, are hidden behind harmless ones of the
stand-in, and only layouts of a closed list are taken.

Classes are compared by identity everywhere here (:func:`is_among`): a metaclass may have its own
``__eq__`` and ``__hash__``.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, Final, NoReturn

from .optional_imports import class_in

__all__ = [
    "BUILTIN_EXCEPTIONS",
    "Quiet",
    "StandIn",
    "build",
    "dict_of",
    "forbid_instances",
    "name_pair",
    "hidden",
    "is_among",
    "layout_of",
    "module_of",
    "mro_of",
    "no_instances",
    "qualname_of",
]

mro_of: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
"""Return the ``__mro__`` of a class without running code of its metaclass."""

dict_of: Final[Callable[[type], Any]] = type.__dict__["__dict__"].__get__
"""Return the ``__dict__`` of a class without running code of its metaclass."""

qualname_of: Final[Callable[[type], str]] = type.__dict__["__qualname__"].__get__
"""Return the ``__qualname__`` of a class without running code of its metaclass."""

module_of: Final[Callable[[type], Any]] = type.__dict__["__module__"].__get__
"""Return the ``__module__`` of a class, which can be anything, without code of its metaclass."""

_base_of: Final[Callable[[type], Any]] = type.__dict__["__base__"].__get__
_size_of: Final[Callable[[type], int]] = type.__dict__["__basicsize__"].__get__
_items_of: Final[Callable[[type], int]] = type.__dict__["__itemsize__"].__get__
_name_of: Final[Callable[[type], str]] = type.__dict__["__name__"].__get__
_set_abstract: Final = type.__dict__["__abstractmethods__"].__set__

BUILTIN_EXCEPTIONS: Final = tuple(
    {
        cls
        for cls in vars(builtins).values()
        if isinstance(cls, type) and BaseException in cls.__mro__
    }
)

_LAYOUTS: Final = (
    *(object, type, ModuleType, dict, list, set, frozenset, tuple),
    *(int, float, complex, str, bytes, bytearray),
)
_LIBRARY_LAYOUTS: Final = frozenset(
    [("collections", name) for name in ("OrderedDict", "defaultdict", "deque")]
    + [("datetime", name) for name in ("date", "time", "datetime", "timedelta", "tzinfo")]
    + [("array", "array"), ("decimal", "Decimal")]
)
"""Classes with a layout of their own that a stand-in may have; not imported for that."""

_ROOM: Final = 16  # bytes: a class of Python adds two pointers, to a dict and to weak references.
# Where an object's size varies (int, tuple), a class that adds them has another layout.

_INERT: Final = (str, tuple, dict, frozenset, int, bool, GetSetDescriptorType, MemberDescriptorType)
"""Types of class attributes that are no code of the class."""


def name_pair(cls: type) -> tuple[str, str]:
    """Return module and name of a class without running code of its metaclass."""
    module = module_of(cls)
    return (module if type(module) is str else "builtins"), _name_of(cls)


def is_among(cls: Any, classes: Iterable[Any]) -> bool:
    """Return whether a class is one of some classes."""
    return any(cls is one for one in classes)


class StandIn(type):
    """Metaclass of stand-ins: ``____bases__`` in the namespace come next in the ``__mro__``."""

    def mro(cls) -> list[type]:
        own = super().mro()
        first = dict_of(cls)["____bases__"]
        return [cls, *first, *(base for base in own[1:] if not is_among(base, first))]


class Quiet:
    """Stands first among the bases, so that no ``__init_subclass__`` of the program runs."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """No-op: a stand-in is no subclass that the program has written."""


def layout_of(cls: type) -> type | None:
    """Return which class of the closed list ``cls`` is laid out like, ``None`` if like no such."""
    slots = False
    base = cls
    while not _is_layout(base):
        slots = slots or any(type(one) is MemberDescriptorType for one in dict_of(base).values())
        base = _base_of(base)
    room = 0 if _items_of(cls) else _ROOM
    return None if slots or _size_of(cls) > _size_of(base) + room else base


def _is_layout(cls: type) -> bool:
    if is_among(cls, _LAYOUTS) or is_among(cls, BUILTIN_EXCEPTIONS):
        return True
    full = name_pair(cls)
    return full in _LIBRARY_LAYOUTS and class_in(*full) is cls


def hidden(classes: Iterable[type], layout: type) -> dict[str, Any]:
    """Return what a stand-in defines in place of special methods of this program's classes.

    Args:
        classes: of this program.
        layout: a built-in class; what it has, it has in the stand-in too.
    """
    found: dict[str, Any] = {}
    for cls in classes:
        for name, value in list(dict_of(cls).items()):
            if name in found or name[:2] != "__" or name[-2:] != "__" or name in _OF_ANY_CLASS:
                continue
            if value is None or type(value) in _INERT:
                continue
            found[name] = _instead(name, layout)
    return found


_OF_ANY_CLASS: Final = frozenset(
    "__module__ __qualname__ __doc__ __slots__ __annotations__ __annotate__ __annotate_func__ "
    "__annotations_cache__ __orig_bases__ __parameters__ __type_params__ __firstlineno__ "
    "__static_attributes__ __abstractmethods__".split()
)


def _instead(name: str, layout: type) -> Any:
    for base in mro_of(layout):
        if name in dict_of(base):
            return dict_of(base)[name]
    return _forget if name == "__del__" else _refusing(name)


def _forget(self: Any) -> None:
    """No-op: there is nothing that a stand-in would have to give back."""


def _refusing(name: str) -> Callable[..., NoReturn]:
    kind = AttributeError if name in ("__getattr__", "__getattribute__") else TypeError

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise kind(f"a class that stands for a peer's has no {name} here")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


_REFUSED: Final = {
    name: _refusing(name) for name in ("__new__", "__init__", "__getattribute__", "__getattr__")
}


def no_instances(layout: type) -> dict[str, Any]:
    """Return what a class defines whose instances are not to be had or, if forced, to be used.

    Args:
        layout: what they would be laid out like.
    """
    if layout is not object:
        return dict(_REFUSED)
    # A slot that no other class has: nothing else can be made an instance by setting __class__.
    return {**_REFUSED, "__slots__": ("____none____",)}


def forbid_instances(cls: type) -> None:
    """Have ``object.__new__`` refuse a class for ever."""
    _set_abstract(cls, frozenset(["__new__"]))


def build(
    metaclass: Any,
    name: str,
    solids: tuple[type, type],
    bases: Sequence[Sequence[type]],
    namespace: dict[str, Any],
) -> Any:
    """Make a stand-in.

    Args:
        metaclass: a :class:`StandIn`.
        solids: what instances are laid out like, and what to take if that does not go.
        bases: groups of classes that come next in its ``__mro__``; later ones are left out first.
    """
    for solid in solids:
        for count in reversed(range(len(bases) + 1)):
            first = (Quiet, *(cls for group in bases[:count] for cls in group))
            try:
                return metaclass.__new__(
                    metaclass, name, (solid,), {**namespace, "____bases__": first}
                )
            except TypeError:
                continue  # bases that exclude each other
    raise TypeError(f"cannot make a class that stands for {name!r}")
