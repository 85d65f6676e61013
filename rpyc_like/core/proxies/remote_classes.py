"""Remote classes, which are classes here as well.

A class of the other side is represented by a real class, so that ``except``, ``issubclass`` and
``isinstance`` take it. It has the name of the remote class. Classes of this program that the remote
class derives from are in its ``__mro__`` only: they are no bases, and their special methods are
hidden (:mod:`rpyc_like.lib.stand_ins`). A base of an exception that is unknown here has a stand-in
made from its name. The metaclass sends everything else to the owner: attributes, calls, operators.

Of such a class there are no instances here, unless it is of an exception. Exceptions that arrive
are instances of such classes. That is why
``except conn.modules.sqlite3.Error`` catches a remote ``sqlite3.OperationalError``: the class of
what was raised and the class that the ``except`` names come from the same table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from ...lib import primitives
from ...lib.introspection import IMPLICIT, clean_name
from ...lib.object_ids import IdPack
from ...lib.stand_ins import (
    BUILTIN_EXCEPTIONS,
    build,
    forbid_instances,
    hidden,
    is_among,
    layout_of,
    no_instances,
)
from ..encoding.exception_classes import Name, bases_of, exception_class, find_exception
from ..netref import _make_method, local_class
from .class_descriptions import Description
from .class_proxies import NetrefExceptionType, NetrefType, RemoteClassRef, class_state

__all__ = ["RemoteClasses"]

_CACHE_SIZE: Final = 512
_BASE_EXCEPTION: Final = ("builtins", "BaseException")
_FORWARDED: Final = IMPLICIT - {
    *("__or__", "__ror__", "__call__", "__get__", "__set__", "__delete__", "__copy__"),
    *("__deepcopy__", "__array__"),
}


class RemoteClasses:
    """The classes that stand for the other side's, of one connection.

    Args:
        config: decides (``instantiate_custom_exceptions``, ``rebuild_exit_exceptions``) which
            exceptions are of this program's classes too.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._lock = primitives.RLock()  # guards the tables; no code of the program runs in it
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
        known = [cls for name in names if (cls := local_class(".".join(name))) is not None]
        layouts = [(cls, layout) for cls in known if (layout := layout_of(cls)) is not None]
        layout = next((one for _, one in layouts if one is not object), object)
        if is_among(layout, BUILTIN_EXCEPTIONS):
            layout, layouts = object, []  # of an exception that does not say that it is one
        bases = [cls for cls, one in layouts if issubclass(layout, one)]
        if layout is type:
            bases = [type]  # what a metaclass has, Python looks up on it when it makes a class
        module, name = map(clean_name, names[0])
        namespace: dict[str, Any] = {
            "__module__": module,
            "__qualname__": name,
            **hidden(bases, layout),
            **{name: _make_method(name, None) for name in special if name in IMPLICIT},
            **no_instances(layout),
            "____state__": RemoteClassRef(),
        }
        metaclass = self._metaclass(methods & _FORWARDED)
        made: type = build(metaclass, name, (layout, object), [bases], namespace)
        forbid_instances(made)
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
                cls = self._make_exception(names[position:], made, self._find)
                self._known.setdefault(key, cls)
            made.insert(0, cls)
        self._recent[key] = made[0]
        self._recent.move_to_end(key)
        while len(self._recent) > _CACHE_SIZE:
            self._recent.popitem(last=False)
        return made[0]

    def restored(self, names: Sequence[Name], sent: dict[Name, Any]) -> type[BaseException]:
        """Return the class of an exception that the peer gives back.

        Args:
            names: of its class and the bases, as far as they are known.
            sent: classes of exceptions that this side has sent; they are recognised.
        """

        def find(name: Name) -> type[BaseException] | None:
            return sent.get(name) or self._find(name, exits=True)

        local = find(names[0])
        if local is not None and is_among(local, BUILTIN_EXCEPTIONS):
            return local
        if local is not None and len(names) == 1:
            names = bases_of(local)
        cls: type[BaseException] = self._make_exception(names, [], find)
        return cls

    def _make_exception(
        self,
        names: Sequence[Name],
        bases: Sequence[type],
        find: Callable[[Name], type[BaseException] | None],
    ) -> Any:
        """Makes the class for ``names[0]``; ``bases`` stand for the others."""
        more = {"____state__": RemoteClassRef()}
        return exception_class(NetrefExceptionType, names, bases, find, more)

    def _find(self, name: Name, exits: bool = False) -> type[BaseException] | None:
        """Returns this program's exception class of a name, if it may be used."""
        custom = self._config["instantiate_custom_exceptions"]
        exits = exits or self._config["rebuild_exit_exceptions"]
        return find_exception(name, custom, exits)


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
