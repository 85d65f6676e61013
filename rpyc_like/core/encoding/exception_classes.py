"""Classes of received exceptions.

An exception that arrives is an instance of a stand-in: a class that has the name of the peer's and
derives from built-in exceptions only, because ``except`` looks at the real ``__mro__``. Exception
classes of this program that it may be taken for come into its ``__mro__``; none of their code runs
when an instance is made, and nothing of them is a peer's to use
(:mod:`rpyc_like.lib.received_errors`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from ... import errors
from ...errors import RemoteError
from ...lib.introspection import clean_name
from ...lib.lazy_exports import late_import
from ...lib.optional_imports import class_in
from ...lib.received_errors import values_of
from ...lib.stand_ins import (
    BUILTIN_EXCEPTIONS,
    build,
    dict_of,
    hidden,
    is_among,
    layout_of,
    mro_of,
    name_pair,
    qualname_of,
)

__all__ = [
    "REMOTE_LINE",
    "REMOTE_LINE_START",
    "Name",
    "OWN_ERRORS",
    "bases_of",
    "exception_class",
    "find_exception",
    "generic_class",
    "with_remote",
]

REMOTE_LINE = "\n\n========= Remote Traceback ({}) =========\n"
REMOTE_LINE_START = "\n\n========= Remote Traceback "

Name = tuple[str, str]
"""Module and name of a class."""

OWN_ERRORS: Final[dict[Name, type[BaseException]]] = {
    name_pair(cls): cls
    for name in errors.__all__
    if (cls := getattr(errors, name)).__module__ == errors.__name__
    and cls is not errors.ConnectionClosed
}
"""Errors of this package that a received one may be taken for: they do nothing.

Not ConnectionClosed, by which a program knows that its own connection has ended."""

_MAX_BASES: Final = 100
_CACHE_SIZE: Final = 512

_generic_exceptions_cache: OrderedDict[str, type[RemoteError]] = OrderedDict()


def bases_of(cls: type) -> tuple[Name, ...]:
    """Return the names of a class and its bases, as many as a peer is sent."""
    return tuple([name_pair(base) for base in mro_of(cls)[:_MAX_BASES] if base is not object])


def find_exception(full: Name, custom: bool, exits: bool) -> type[BaseException] | None:
    """Return this program's exception class of a name, if it may be used.

    Args:
        custom: whether others than built-in ones and those of this package may.
        exits: whether those may that are no :class:`Exception`: SystemExit and the like.
    """
    module, name = full
    if full in OWN_ERRORS:
        return OWN_ERRORS[full]
    if module not in ("builtins", "exceptions"):
        cls = class_in(module, name) if custom else None
    else:
        cls = class_in("builtins", name)
    base = BaseException if exits else Exception
    return cls if cls is not None and is_among(base, mro_of(cls)) else None


def generic_class(name: Name) -> type[RemoteError]:
    """Return the :class:`GenericException` that is called after a class unknown here."""
    full = clean_name(".".join(name))
    cls = _generic_exceptions_cache.get(full)
    if cls is None:
        cls = type(full, (RemoteError,), {"__module__": "rpyc_like.errors"})
        _generic_exceptions_cache[full] = cls
        while len(_generic_exceptions_cache) > _CACHE_SIZE:
            _generic_exceptions_cache.popitem(last=False)
    return cls


def with_remote(error: Any, text: str) -> str:
    """Return the text of a received exception, with the traceback of its origin."""
    remote = values_of(error).get("_remote_tb")
    if type(remote) is not str or remote == "<traceback denied>":
        return text
    number = remote.count(REMOTE_LINE_START) + 1
    return f"{text}{REMOTE_LINE.format(number)}{remote}"


def exception_class(
    metaclass: type,
    names: Sequence[Name],
    bases: Sequence[type],
    find: Callable[[Name], type[BaseException] | None],
    more: dict[str, Any] | None = None,
) -> Any:
    """Return a class for ``names[0]``, whose instances run no code of this program.

    Args:
        names: of a peer's class and its bases, as far as they are known.
        bases: stand for the others, if the connection has classes for them.
        find: returns this program's class of a name, if it may be used.
        more: what else is in the namespace of the class.
    """
    taken = [(name, cls) for name in names if (cls := find(name)) and _can_be_taken(cls)]
    local = taken[0][1] if taken and taken[0][0] == names[0] else None
    layouts: list[Any] = [layout_of(cls) for _, cls in taken]
    layout = max(layouts, key=lambda one: one.__basicsize__, default=Exception)
    generic = generic_class(names[0])
    real: tuple[Any, ...] = (layout,)
    if local is None and issubclass(generic, layout):
        real = (generic,)
    elif local is None and issubclass(layout, Exception):
        real = (generic, layout)
    known = (*mro_of(layout), *mro_of(real[0]))
    found = {id(cls): cls for _, one in taken for cls in mro_of(one)}
    ours = [cls for cls in found.values() if not is_among(cls, known)]
    builtin = (object, *BUILTIN_EXCEPTIONS)
    program = [cls for cls in (*ours, *mro_of(real[0])) if not is_among(cls, builtin)]
    own = local or real[0]
    namespace = {
        **hidden(program, layout),
        **_texts(own, real[0], program),
        "____origin____": (*names[0], tuple(names)),
        "____program____": tuple(program),
        **(more or {}),
    }
    solid: Any = real[0]
    if len(real) == 2:
        try:
            solid = type(own.__name__, real, {"__module__": own.__module__})
        except TypeError:
            pass  # the two exclude each other
    name = name_pair(own)[1]
    return build(metaclass, name, (solid, generic), [bases, ours], namespace)


def _can_be_taken(cls: type) -> bool:
    """Return whether an exception class of this program may stand behind a peer's."""
    classes = mro_of(cls)
    if any("____origin____" in dict_of(base) for base in classes):
        return False  # a stand-in itself
    if any("__del__" in dict_of(base) for base in classes):
        return False
    return is_among(layout_of(cls), BUILTIN_EXCEPTIONS)


def _texts(own: type, texts: Any, program: Sequence[type]) -> dict[str, Any]:
    """Return what a class of received exceptions needs to look like ``own``.

    Args:
        texts: the class whose ``__str__`` and ``__repr__`` are used.
        program: classes of this program that it stands for. Their code is not used: a text of
            their own is taken from the remote traceback.
    """
    module, name = name_pair(own)[0], qualname_of(own)
    own_text = any("__str__" in dict_of(cls) for cls in program)
    start = f"\n{module}.{name}: "

    def text(self: BaseException) -> str:
        remote = values_of(self).get("_remote_tb") if own_text else None
        place = remote.rfind(start) if type(remote) is str else -1
        if type(remote) is not str or place < 0:
            return with_remote(self, texts.__str__(self))
        told = remote[place + len(start) :].partition(REMOTE_LINE_START)[0]
        return with_remote(self, told.rstrip("\n"))

    return {
        "__module__": module,
        "__qualname__": name,
        "__str__": text,
        "__repr__": lambda self: with_remote(self, texts.__repr__(self)),
        "__reduce_ex__": _reduce,
    }


def _reduce(self: BaseException, protocol: Any) -> Any:
    """Pickle a received exception as what was received."""
    with late_import():
        from .. import vinegar  # needs this module

    return vinegar.reduced(self)
