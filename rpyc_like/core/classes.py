"""Remote classes, which are classes here as well.

A class of the other side is represented by a real class, so that ``except``, ``issubclass`` and
``isinstance`` take it. It has the name of the remote class and, as bases, what this program has
imported of the remote class's bases; an exception's base that is unknown here has a stand-in made
from its name. Its metaclass sends everything else to the owner: attributes, calls, operators.

Exceptions that arrive are instances of such classes. That is why
``except conn.modules.sqlite3.Error`` catches a remote ``sqlite3.OperationalError``: the class of
what was raised and the class that the ``except`` names come from the same table.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from ..lib.code import IMPLICIT, clean_name
from ..lib.identity import IdPack
from .class_proxies import ClassState, NetrefExceptionType, NetrefType, class_state
from .descriptions import Description
from .netref import _make_method, local_class
from .vinegar import Name, bases_of, find_exception, generic_class, remote_texts

__all__ = ["RemoteClasses"]

_CACHE_SIZE: Final = 512
_HEAP_TYPE, _BASE_TYPE = 1 << 9, 1 << 10
_BASE_EXCEPTION: Final = ("builtins", "BaseException")
_FORWARDED: Final = IMPLICIT - {
    *("__or__", "__ror__", "__call__", "__get__", "__set__", "__delete__", "__copy__"),
    *("__deepcopy__", "__array__"),
}


class _Quiet:
    """Stands first among the bases, so that no ``__init_subclass__`` of the program runs."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Does nothing."""


class RemoteClasses:
    """The classes that stand for the other side's, of one connection.

    Args:
        config: decides (``instantiate_custom_exceptions``, ``rebuild_exit_exceptions``) which
            exceptions are of this program's classes too.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._lock = threading.RLock()  # guards the two tables; no code of the program runs in it
        self._known: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self._recent: OrderedDict[Any, Any] = OrderedDict()
        self._metaclasses: dict[frozenset[str], type[NetrefType]] = {frozenset(): NetrefType}

    # -- proxies

    def proxy(
        self,
        description: Description,
        conn: Any,
        pack: IdPack,
        raw: bytes,
    ) -> Any:
        """Returns the class that stands for the remote class ``pack``."""
        methods, names, special, _ = description
        if not names:
            names = _guess_names(pack[0], methods)
        with self._lock:
            cls = self._class(names, frozenset(name for name, _ in methods), special, fresh=False)
            if class_state(cls).refcount:  # another class of this name
                cls = self._class(names, frozenset(name for name, _ in methods), special, True)
            class_state(cls).bind(conn, pack, raw)
            return cls

    def stand_in(self, names: tuple[Name, ...]) -> type:
        """Returns a class for instances of a remote class that is known by name alone."""
        with self._lock:
            cls: type = self._class(names, frozenset(), (), fresh=False)
            return cls

    def _class(
        self, names: Sequence[Name], methods: frozenset[str], special: Sequence[str], fresh: bool
    ) -> Any:
        if _BASE_EXCEPTION in names:
            return self._exception(names, fresh)
        key = names[0]
        found = None if fresh else self._known.get(key)
        if found is None:
            found = self._make_class(names, methods, special)
            self._known.setdefault(key, found)
        return found

    def _make_class(
        self, names: Sequence[Name], methods: frozenset[str], special: Sequence[str]
    ) -> type:
        bases = [cls for name in names if (cls := local_class(".".join(name))) is not None]
        solid = next((cls for cls in bases if _is_solid(cls)), object)
        module, name = map(clean_name, names[0])
        namespace: dict[str, Any] = {"__module__": module, "__qualname__": name}
        namespace |= {name: _make_method(name, None) for name in special if name in IMPLICIT}
        made: type = _build(
            self._metaclass(methods & _FORWARDED), name, (solid, object), bases, namespace
        )
        return made

    def _metaclass(self, operators: frozenset[str]) -> type[NetrefType]:
        """Returns a metaclass that sends these operators of the class to its owner."""
        found = self._metaclasses.get(operators)
        if found is None:
            namespace = {name: _make_method(name, None) for name in operators}
            found = type("NetrefType", (NetrefType,), {**namespace, "__slots__": ()})
            self._metaclasses[operators] = found
            while len(self._metaclasses) > _CACHE_SIZE:
                del self._metaclasses[next(iter(self._metaclasses))]
        return found

    # -- exceptions

    def exception(self, names: Sequence[Name]) -> type[BaseException]:
        """Returns the class of a received exception.

        Args:
            names: of its class and the bases, as far as they are known.
        """
        with self._lock:
            cls: type[BaseException] = self._exception(names, fresh=False)
            return cls

    def _exception(self, names: Sequence[Name], fresh: bool) -> Any:
        policy = (
            bool(self._config["instantiate_custom_exceptions"]),
            bool(self._config["rebuild_exit_exceptions"]),
        )
        if len(names) == 1:
            local = self._find(names[0])
            if local is not None:
                names = bases_of(local)
        made: list[Any] = []
        for position in reversed(range(len(names))):
            key = (names[position], policy)
            cls = None if fresh and not position else self._known.get(key)
            if cls is None:
                cls = self._make_exception(names[position:], made)
                self._known.setdefault(key, cls)
            made.insert(0, cls)
        self._recent[key] = made[0]
        self._recent.move_to_end(key)
        while len(self._recent) > _CACHE_SIZE:
            self._recent.popitem(last=False)
        return made[0]

    def _make_exception(self, names: Sequence[Name], bases: list[Any]) -> Any:
        """Makes the class for ``names[0]``; ``bases`` stand for the others."""
        local = self._find(names[0])
        real: tuple[type, ...]
        if local is None:
            generic = generic_class(names[0])
            parent = next((cls for base in names[1:] if (cls := self._find(base))), Exception)
            real = (generic,) if issubclass(generic, parent) else (generic, parent)
        else:
            real = (local,)
        own = local or real[0]
        namespace = {**remote_texts(own), "____origin____": (*names[0], tuple(names))}
        solid: Any = real[0]
        if len(real) == 2:
            try:
                solid = type(own.__name__, real, {"__module__": own.__module__})
            except TypeError:
                pass  # the two exclude each other
        solids = (solid, generic_class(names[0]))
        return _build(NetrefExceptionType, own.__name__, solids, bases, namespace)

    def _find(self, name: Name) -> type[BaseException] | None:
        """Returns this program's exception class of a name, if it may be used."""
        custom = self._config["instantiate_custom_exceptions"]
        return find_exception(name, custom, self._config["rebuild_exit_exceptions"])


def _guess_names(name: str, methods: Any) -> tuple[Name, ...]:
    """Returns what is known of a class whose owner tells no more than its methods."""
    module, _, short = name.rpartition(".")
    known = local_class(name)
    names = bases_of(known) if known is not None else ()
    if not names:
        names = ((module or "builtins", short or name),)
        if any(method == "with_traceback" for method, _ in methods):
            names += (("builtins", "Exception"), _BASE_EXCEPTION)
    return names


def _is_solid(cls: type) -> bool:
    """Returns whether a class is built in and may be derived from."""
    return not cls.__flags__ & _HEAP_TYPE and bool(cls.__flags__ & _BASE_TYPE)


def _build(
    metaclass: type[NetrefType],
    name: str,
    solids: tuple[type, type],
    bases: Sequence[type],
    namespace: dict[str, Any],
) -> Any:
    """Makes a class that derives from ``bases``.

    Args:
        solids: what instances are laid out like, and what to take if that does not go.
    """
    for solid, first in ((solids[0], (_Quiet, *bases)), (solids[0], (_Quiet,))):
        space = {**namespace, "____state__": ClassState(), "____bases__": first}
        try:
            return metaclass.__new__(metaclass, name, (solid,), space)
        except TypeError:
            continue  # bases that exclude each other
    space = {**namespace, "____state__": ClassState(), "____bases__": (_Quiet,)}
    return metaclass.__new__(metaclass, name, (solids[1],), space)
