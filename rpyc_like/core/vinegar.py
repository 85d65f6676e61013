"""Vinegar: how exceptions travel.

StopIteration is the int 1. Anything else is ``((module, class name), args, attributes, traceback
text)``, where arguments and attributes that are not plain values are sent as their ``repr``. To a
peer that understands it (FEATURE_TYPES) a fifth item tells what RPyC's four leave out: ``(names of
the bases, notes, cause, context, whether the context is suppressed, members of a group)``, in which
the other exceptions have the same form again.

The receiver rebuilds built-in exceptions, custom ones if the configuration allows, and otherwise
raises a subclass of :class:`GenericException` named after the remote class. Classes of this package
travel as their built-in base.
"""

from __future__ import annotations

import builtins
import re
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from .. import version as version
from ..errors import MalformedValue, RemoteError
from ..lib.brief import brief
from ..lib.code import clean_name
from ..lib.modules import class_in
from ..version import __version__
from . import brine, consts

__all__ = [
    "REMOTE_LINE",
    "REMOTE_LINE_END",
    "REMOTE_LINE_START",
    "ClassMaker",
    "GenericException",
    "Name",
    "bases_of",
    "check",
    "dump",
    "find_exception",
    "generic_class",
    "load",
    "remote_texts",
    "restore",
    "undescribed",
    "with_remote",
]

GenericException = RemoteError

REMOTE_LINE = "\n\n========= Remote Traceback ({}) =========\n"
REMOTE_LINE_START = "\n\n========= Remote Traceback "
REMOTE_LINE_END = " =========\n"

Name = tuple[str, str]
"""Module and name of a class."""

ClassMaker = Callable[[Sequence[Name]], type[BaseException]]
"""Returns the class for a received exception, from the names of its class and the bases."""

_SKIPPED: Final = frozenset({"args", "obj", "with_traceback", "add_note"})
_PACKAGE: Final = __name__.partition(".")[0]
_OURS: Final = (f"{_PACKAGE}.core.", f"{_PACKAGE}.aio.", f"{_PACKAGE}.link.")
_MISSING: Final = object()
_SPOKEN: Final = frozenset({"4", "5", "6"})
"""Major versions whose exceptions mean here what they mean there."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_MAX_BASES: Final = 100
_CACHE_SIZE: Final = 512
_MAX_CHAIN: Final = 50  # exceptions that travel with one
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())
_HIDDEN = "<traceback denied>"


# -- sending


def dump(
    typ: type[BaseException] | str,
    val: BaseException,
    tb: Any,
    include_local_traceback: bool | str,
    include_local_version: bool,
    version: str = __version__,
    whole: bool = False,
) -> Any:
    """Returns the plain value that stands for an exception.

    Args:
        typ, val, tb: as from :func:`sys.exc_info`.
        include_local_traceback: whether the text of the traceback is sent; ``"short"`` for one
            without paths and source lines.
        include_local_version: whether this side's version is sent.
        version: the version to send, of the dialect spoken.
        whole: whether the peer understands the fifth item.
    """
    if typ is StopIteration and not val.args:
        return consts.EXC_STOP_ITERATION
    told = version if include_local_version else "<version denied>"
    return _dump(val, tb, include_local_traceback, told, whole, [])


def _dump(
    val: BaseException, tb: Any, text: bool | str, version: str, whole: bool, seen: list[Any]
) -> Any:
    seen.append(val)
    attributes = [*_public_attributes(val), ("_remote_version", version)]
    name, bases = _names(type(val))
    args = tuple([_plain(arg) for arg in val.args])
    said = _traceback_text(val, tb, text, not whole)
    if not whole:
        if _GROUP and isinstance(val, _GROUP):
            name = (f"remote.{name[0]}", name[1])  # RPyC cannot rebuild one
        return name, args, tuple(attributes), said

    def other(error: BaseException | None) -> Any:
        if error is None or len(seen) >= _MAX_CHAIN or any(error is known for known in seen):
            return None
        return _dump(error, error.__traceback__, text, version, True, seen)

    members = None
    if _GROUP and isinstance(val, _GROUP):
        members = tuple([dumped for one in val.exceptions if (dumped := other(one)) is not None])
        args = args[:1]
    notes = getattr(val, "__notes__", ())
    notes = tuple(_plain(note) for note in notes) if type(notes) is list else ()
    cause, context = other(val.__cause__), other(val.__context__)
    extra = (bases, notes, cause, context, bool(val.__suppress_context__), members)
    return name, args, tuple(attributes), said, extra


def _names(cls: type) -> tuple[Name, tuple[Name, ...]]:
    """Returns the name under which a class travels, and those of the class and its bases.

    Of this package's classes, the first base that every peer has; of one that stands for a remote
    class, that class.
    """
    origin = cls.__dict__.get("____origin____")
    if origin is not None:
        return (origin[0], origin[1]), tuple(origin[2])
    if cls.__module__.partition(".")[0] == _PACKAGE:
        cls = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    bases = bases_of(cls)
    return bases[0], bases


def _traceback_text(val: BaseException, tb: Any, policy: bool | str, chain: bool) -> str:
    if not policy or policy == "off":
        return _HIDDEN
    tb = _without_ours(tb)
    try:
        if policy == "short":
            frames = traceback.extract_tb(tb)
            lines = [f"  in {frame.name}, {_basename(frame.filename)}\n" for frame in frames]
            return "".join([*lines, *traceback.format_exception_only(type(val), val)])
        return "".join(traceback.format_exception(type(val), val, tb, chain=chain))
    except Exception as error:
        return f"<traceback cannot be formatted: {type(error).__name__}>"


def _without_ours(tb: Any) -> Any:
    """Skips the frames of this package that led to the program's own."""
    while tb is not None and tb.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        tb = tb.tb_next
    return tb


def _basename(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _public_attributes(val: BaseException) -> Iterator[tuple[str, Any]]:
    try:
        names = dir(val)
    except Exception:
        return
    for name in names:
        if type(name) is not str or name.startswith("_") or name in _SKIPPED:
            continue
        try:
            value = getattr(val, name)
        except Exception:
            continue
        if not callable(value):
            yield name, _plain(value)


def _plain(value: Any) -> Any:
    if brine.dumpable(value):
        return value
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def undescribed(val: BaseException) -> Any:
    """Returns the plain value for an exception that cannot be sent as it is."""
    return ("builtins", "RuntimeError"), (f"a {type(val).__name__} that cannot be sent",), (), ""


# -- classes

_generic_exceptions_cache: OrderedDict[str, type[RemoteError]] = OrderedDict()
_exception_classes_cache: OrderedDict[type[BaseException], type[BaseException]] = OrderedDict()


def bases_of(cls: type) -> tuple[Name, ...]:
    """Returns the names of a class and its bases, as far as it is told to a peer."""
    return tuple(
        (str(getattr(base, "__module__", "builtins")), base.__name__)
        for base in type.__dict__["__mro__"].__get__(cls)[:_MAX_BASES]
        if base is not object
    )


def find_exception(full: Name, custom: bool, exits: bool) -> type[BaseException] | None:
    """Returns this program's exception class of a name, if it may be used.

    Args:
        custom: whether others than built-in ones may.
        exits: whether those may that are no :class:`Exception`: SystemExit and the like.
    """
    module, name = full
    if module not in ("builtins", "exceptions"):
        cls = class_in(module, name) if custom else None
    else:
        cls = class_in("builtins", name)
    base = BaseException if exits else Exception
    return cls if cls is not None and issubclass(cls, base) else None


def generic_class(name: Name) -> type[RemoteError]:
    """Returns the :class:`GenericException` that is called after a class unknown here."""
    full = clean_name(".".join(name))
    cls = _generic_exceptions_cache.get(full)
    if cls is None:
        cls = type(full, (RemoteError,), {"__module__": "rpyc_like.errors"})
        _generic_exceptions_cache[full] = cls
        while len(_generic_exceptions_cache) > _CACHE_SIZE:
            _generic_exceptions_cache.popitem(last=False)
    return cls


def with_remote(error: Any, text: str) -> str:
    """Returns the text of a received exception, with the traceback of its origin."""
    remote = getattr(error, "_remote_tb", None)
    if type(remote) is not str or remote == "<traceback denied>":
        return text
    number = remote.count(REMOTE_LINE_START) + 1
    return f"{text}{REMOTE_LINE.format(number)}{remote}"


def _wrapper_class(cls: type[BaseException]) -> type[BaseException]:
    """Returns a subclass of ``cls`` with the same name, whose text shows the remote traceback."""
    wrapper = _exception_classes_cache.get(cls)
    if wrapper is None:
        wrapper = type(cls.__name__, (cls,), remote_texts(cls))
        _exception_classes_cache[cls] = wrapper
        while len(_exception_classes_cache) > _CACHE_SIZE:
            _exception_classes_cache.popitem(last=False)
    return wrapper


def remote_texts(cls: type[BaseException]) -> dict[str, Any]:
    """Returns what a class of received exceptions needs to look like ``cls``."""
    return {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__str__": lambda self: with_remote(self, cls.__str__(self)),
        "__repr__": lambda self: with_remote(self, cls.__repr__(self)),
        "__reduce_ex__": _reduce,
    }


def _reduce(self: BaseException, protocol: Any) -> Any:
    """Pickles a received exception as what was received."""
    raw = dump(type(self), self, None, False, True, whole=True)
    if type(raw) is tuple:
        raw = (*raw[:3], getattr(self, "_remote_tb", _HIDDEN), *raw[4:])
    return load, (raw, False, True)


# -- receiving


def load(
    val: Any,
    import_custom_exceptions: bool,
    instantiate_custom_exceptions: bool,
    instantiate_oldstyle_exceptions: bool = False,
    make_class: ClassMaker | None = None,
) -> BaseException:
    """Returns the exception that a received plain value stands for.

    Args:
        import_custom_exceptions: whether to import the module the peer names.
        instantiate_custom_exceptions: whether to rebuild classes that are not built in.
        make_class: makes the classes of the connection it came over.

    Raises:
        MalformedValue: ``val`` stands for no exception.
    """
    check(val)
    if type(val) is int:
        return StopIteration()
    if type(val) is str:  # a very old peer
        return GenericException(val)

    def make(name: Name, bases: Sequence[Name]) -> type[BaseException]:
        if import_custom_exceptions and name[0] not in sys.modules:
            try:
                __import__(name[0])
            except Exception:
                pass
        if make_class is not None:
            return make_class(bases or (name,))
        found = find_exception(name, instantiate_custom_exceptions, exits=False)
        return _wrapper_class(found or generic_class(name))

    return _load(val, make)


def restore(val: Any, known: dict[Name, type[BaseException]], custom: bool) -> BaseException:
    """Returns an exception of this program's own class for one that a peer gives back.

    Args:
        known: classes of exceptions that this side has sent.
        custom: whether others that are imported here may be rebuilt.
    """
    check(val)

    def make(name: Name, bases: Any) -> type[BaseException]:
        found = known.get(name) or find_exception(name, custom, exits=True)
        for base in bases or ():
            found = found or find_exception(base, custom, exits=True)
        return found or GenericException

    if type(val) is int:
        return StopIteration()
    return GenericException(val) if type(val) is str else _load(val, make)


def check(val: Any) -> None:
    """Raises MalformedValue if a received plain value stands for no exception."""
    if (type(val) is int and val == consts.EXC_STOP_ITERATION) or type(val) is str:
        return
    found = 0
    waiting = [val]
    while waiting:
        one = waiting.pop()
        found += 1
        if not _is_exception(one) or found > 2 * _MAX_CHAIN:
            raise MalformedValue(
                f"expected an exception (class, args, attributes, text), got {brief(one)}"
            )
        if len(one) == 5:
            _, _, cause, context, _, members = one[4]
            waiting += [other for other in (cause, context, *(members or ())) if other is not None]


def _is_exception(val: Any) -> bool:
    return (
        type(val) is tuple
        and 4 <= len(val) <= 5
        and _is_name(val[0])
        and type(val[1]) is tuple
        and type(val[2]) is tuple
        and (len(val) == 4 or _is_extra(val[4]))
    )


def _is_name(val: Any) -> bool:
    return type(val) is tuple and [type(part) for part in val] == [str, str]


def _is_extra(val: Any) -> bool:
    return (
        type(val) is tuple
        and len(val) == 6
        and type(val[0]) is tuple
        and len(val[0]) <= 100
        and all(_is_name(name) for name in val[0])
        and type(val[1]) is tuple
        and (val[5] is None or type(val[5]) is tuple)
    )


def _load(val: Any, make: Any) -> BaseException:
    name, args, attributes, text = val[:4]
    bases, notes, cause, context, suppress, members = val[4] if len(val) == 5 else _NO_EXTRA
    if members is not None:
        args = (*args[:1], [_load(one, make) for one in members])
    exc = _rebuild(make(name, bases), args, attributes, text)
    for note in notes:
        if hasattr(exc, "add_note") and type(note) is str:
            exc.add_note(note)
    if cause is not None:
        exc.__cause__ = _load(cause, make)
    if context is not None:
        exc.__context__ = _load(context, make)
    if len(val) == 5:
        exc.__suppress_context__ = suppress is True
    return exc


_NO_EXTRA: Final = ((), (), None, None, False, None)


def _rebuild(cls: type[BaseException], args: Any, attributes: Any, text: Any) -> BaseException:
    try:
        exc = cls.__new__(cls, *args)
    except Exception:
        try:
            exc = cls.__new__(cls)
        except Exception:
            cls = GenericException
            exc = cls.__new__(cls)
    exc.args = args
    version = None
    for pair in attributes:
        if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not str:
            continue
        name, value = pair
        if name == "_remote_version":
            version = value
        if name.startswith("_") and name != "_remote_version":
            continue
        if name in _SKIPPED:
            continue
        try:
            # What the constructor has set stays: an OSError shows a file name set to None.
            if getattr(exc, name, _MISSING) != value:
                setattr(exc, name, value)
        except Exception:
            continue
    exc._remote_tb = _warned(text, version)  # type: ignore[attr-defined]
    return exc


def _warned(text: Any, version: Any) -> Any:
    if type(text) is not str or type(version) is not str or version == "<version denied>":
        return text
    if version.partition(".")[0] in _SPOKEN:
        return text
    return f"{text}\nWARNING: Remote is on RPyC {version} and local is on RPyC {__version__}.\n\n"
