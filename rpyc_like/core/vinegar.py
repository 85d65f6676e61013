"""Vinegar: how exceptions travel.

StopIteration is the int 1. Anything else is ``((module, class name), args, attributes, traceback
text)``, where arguments and attributes that are not plain values are sent as their ``repr``. To a
peer that understands it (FEATURE_TYPES) a fifth item tells what RPyC's four leave out: ``(names of
the bases, notes, cause, context, whether the context is suppressed, members of a group)``, in which
the other exceptions have the same form again.

The receiver raises a stand-in (:mod:`rpyc_like.core.proxies.remote_classes`) that derives from
built-in exceptions only: for a class unknown here, from a :class:`GenericException` named after it.
If the configuration allows, ``except`` and ``isinstance`` take it for this program's own class of
that name as well, but no code of that class runs when it is made. Classes of this package travel as
their built-in base. The bases of the fifth item begin with their own names, by which ``except``
knows them again (:data:`~rpyc_like.core.encoding.exception_classes.OWN_ERRORS`).
"""

from __future__ import annotations

import builtins
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from .. import version as version
from ..errors import MalformedValue, RemoteError
from ..lib.brief import brief
from ..lib.received_errors import field_of, get_args, made_from_peer, set_args, values_of
from ..lib.stand_ins import BUILTIN_EXCEPTIONS, StandIn, dict_of, is_among, mro_of
from ..version import __version__
from . import brine, consts
from .encoding.exception_classes import (
    OWN_ERRORS,
    REMOTE_LINE,
    REMOTE_LINE_START,
    Name,
    _generic_exceptions_cache,
    bases_of,
    exception_class,
    find_exception,
    generic_class,
    with_remote,
)

__all__ = [
    "_generic_exceptions_cache",
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
    "reduced",
    "restore",
    "undescribed",
    "with_remote",
]

GenericException = RemoteError

REMOTE_LINE_END = " =========\n"

ClassMaker = Callable[[Sequence[Name]], type[BaseException]]
"""Returns the class for a received exception, from the names of its class and the bases."""

_SKIPPED: Final = frozenset({"args", "obj", "with_traceback", "add_note"})
_PACKAGE: Final = __name__.partition(".")[0]
_FOLDER: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_SPOKEN: Final = frozenset({"4", "5", "6"})
"""Major versions whose exceptions mean here what they mean there."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_MAX_CHAIN: Final = 50  # exceptions that travel with one
_MAX_ATTRIBUTES: Final = 1000  # of a received one; setting one takes as long as reading 100 bytes
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
    args = tuple([_plain(arg) for arg in _args_of(val)])
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


def _args_of(val: BaseException) -> Any:
    return get_args(val) if made_from_peer(val) else val.args


def _names(cls: type) -> tuple[Name, tuple[Name, ...]]:
    """Returns the name under which a class travels, and those of the class and its bases.

    One of this package's travels under the first base that every peer has, and of its bases go
    those that a peer may know. One that stands for a remote class is named like that class.
    """
    origin = cls.__dict__.get("____origin____")
    name, bases = (
        (bases_of(cls)[0], bases_of(cls)) if origin is None else (origin[:2], tuple(origin[2]))
    )
    if not _is_ours(name):
        return name, bases
    bases = tuple([base for base in bases if base in OWN_ERRORS or not _is_ours(base)])
    builtin = [base for base in bases if base[0] == "builtins"]
    return (builtin or [_EXCEPTION])[0], bases


def _is_ours(name: Name) -> bool:
    return name[0].partition(".")[0] == _PACKAGE


_EXCEPTION: Final = ("builtins", "Exception")


def _traceback_text(val: BaseException, tb: Any, policy: bool | str, chain: bool) -> str:
    if not policy or policy == "off":
        return _HIDDEN
    try:
        if policy == "short":
            frames = _without_ours(traceback.extract_tb(tb))
            lines = [f"  in {frame.name}, {_basename(frame.filename)}\n" for frame in frames]
            return "".join([*lines, *traceback.format_exception_only(type(val), val)])
        report = traceback.TracebackException(type(val), val, tb, compact=True)
        _prune(report)
        return "".join(report.format(chain=chain))
    except Exception as error:
        return f"<traceback cannot be formatted: {type(error).__name__}>"


def _without_ours(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the frames of the program, without those of this package."""
    return [frame for frame in frames if not frame.filename.startswith(_FOLDER)]


def _prune(report: traceback.TracebackException) -> None:
    """Leave the frames of this package out of a report, also of the exceptions that it has."""
    waiting: list[Any] = [report]
    while waiting:
        one = waiting.pop()
        if one is not None:
            if one.stack:
                one.stack[:] = _without_ours(one.stack)
            waiting += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]


def _basename(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _public_attributes(val: BaseException) -> Iterator[tuple[str, Any]]:
    if made_from_peer(val):
        yield from _received_attributes(val)
        return
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


def _received_attributes(val: BaseException) -> Iterator[tuple[str, Any]]:
    """Yields the fields of a received exception; none of them is asked of its class."""
    cls = type(val)
    builtin = [base for base in mro_of(cls) if is_among(base, BUILTIN_EXCEPTIONS)]
    fields = [name for base in builtin for name in dict_of(base)]
    values = values_of(val)
    for name in dict.fromkeys([*values, *fields]):
        if name.startswith("_") or name in _SKIPPED:
            continue
        field = field_of(cls, name)
        try:
            value = values[name] if field is None else field.__get__(val)
        except (AttributeError, KeyError):
            continue
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


def reduced(error: BaseException) -> Any:
    """Return what ``__reduce_ex__`` of a received exception returns: what was received."""
    raw = dump(type(error), error, None, False, True, whole=True)
    if type(raw) is tuple:
        raw = (*raw[:3], values_of(error).get("_remote_tb", _HIDDEN), *raw[4:])
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
        names = tuple([_cut(one) for one in bases or (name,)])
        if make_class is not None:
            return make_class(names)
        cls: type[BaseException] = _without_connection(names, bool(instantiate_custom_exceptions))
        return cls

    return _load(val, make)


_MAX_NAME: Final = 300  # characters; classes keep the names they were made from


def _cut(name: Name) -> Name:
    return name[0][:_MAX_NAME], name[1][:_MAX_NAME]


@lru_cache(maxsize=512)
def _without_connection(names: tuple[Name, ...], custom: bool) -> Any:
    """Returns the class of an exception that came over no connection."""

    def find(name: Name) -> type[BaseException] | None:
        return find_exception(name, custom, exits=False)

    local = find(names[0])
    if local is not None and len(names) == 1:
        names = bases_of(local)
    return exception_class(StandIn, names, (), find)


def restore(val: Any, make_class: ClassMaker) -> BaseException:
    """Returns an exception for one that a peer gives back.

    Args:
        make_class: finds the class among those of this program.
    """
    check(val)
    if type(val) is int:
        return StopIteration()
    if type(val) is str:
        return GenericException(val)
    return _load(val, lambda name, bases: make_class([_cut(one) for one in bases or (name,)]))


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
    return type(val) is tuple and len(val) == 2 and type(val[0]) is type(val[1]) is str


def _is_extra(val: Any) -> bool:
    return (
        type(val) is tuple
        and len(val) == 6
        and type(val[0]) is tuple
        and len(val[0]) <= 100
        and all(_is_name(name) for name in val[0])
        and type(val[1]) is tuple
        and (val[5] is None or (type(val[5]) is tuple and len(val[5]) <= 2 * _MAX_CHAIN))
    )


def _load(val: Any, make: Any) -> BaseException:
    name, args, attributes, text = val[:4]
    bases, notes, cause, context, suppress, members = val[4] if len(val) == 5 else _NO_EXTRA
    if members is not None:
        args = (*args[:1], [_load(one, make) for one in members])
    exc = _rebuild(make(name, bases), args, attributes, text)
    kept = [note for note in notes if type(note) is str]
    if kept and hasattr(exc, "add_note"):
        values_of(exc)["__notes__"] = kept
    if cause is not None:
        exc.__cause__ = _load(cause, make)
    if context is not None:
        exc.__context__ = _load(context, make)
    if len(val) == 5:
        exc.__suppress_context__ = suppress is True
    return exc


_NO_EXTRA: Final = ((), (), None, None, False, None)


def _rebuild(cls: type[BaseException], args: Any, attributes: Any, text: Any) -> BaseException:
    """Makes an exception. Only built-in code runs: what a class of the program adds does not."""
    builtin: Any = next(base for base in mro_of(cls) if is_among(base, BUILTIN_EXCEPTIONS))
    new = builtin.__new__
    try:
        exc: BaseException = new(cls, *args)
    except Exception:
        try:
            exc = new(cls)
        except Exception:
            cls = GenericException
            exc = Exception.__new__(cls)
    set_args(exc, args)
    version = None
    values = values_of(exc)
    for pair in attributes[:_MAX_ATTRIBUTES]:
        if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not str:
            continue
        name, value = pair
        if name == "_remote_version":
            version = values[name] = value
        if name.startswith("_") or name in _SKIPPED:
            continue
        if any(issubclass(cls, kind) and name in names for kind, names in _UNUSED):
            continue
        field = field_of(cls, name)
        if field is None:
            values[name] = value
        else:
            try:
                # What the constructor has set stays: an OSError shows a file name set to None.
                if field.__get__(exc) != value and _is_harmless(exc, name, value):
                    field.__set__(exc, value)
            except Exception:
                continue
    values["_remote_tb"] = _warned(text, version)
    return exc


_UNUSED: Final = (
    (ImportError, ("name_from",)),  # 3.12 imports the module to make a suggestion
    (NameError, ("name",)),  # and looks for such a name in the frames of this side
)
"""Attributes that would have the traceback module do something when the exception is printed."""

_MAX_COLUMN: Final = 10_000  # a printed SyntaxError has a mark for each column


def _is_harmless(exc: BaseException, name: str, value: Any) -> bool:
    """Returns whether a built-in class can be trusted with a field that the peer has chosen."""
    if issubclass(type(exc), UnicodeError) and name in ("start", "end"):
        # Its text shows the byte at start, and Python does not check that start is not negative.
        return type(value) is int and value >= 0
    if issubclass(type(exc), SyntaxError) and name in ("lineno", "end_lineno"):
        return value is None or (type(value) is int and abs(value) < 1 << 31)
    if issubclass(type(exc), SyntaxError) and name in ("offset", "end_offset"):
        return value is None or (type(value) is int and abs(value) <= _MAX_COLUMN)
    return True


def _warned(text: Any, version: Any) -> Any:
    if type(text) is not str or type(version) is not str or version == "<version denied>":
        return text
    if version.partition(".")[0] in _SPOKEN:
        return text
    return f"{text}\nWARNING: Remote is on RPyC {version} and local is on RPyC {__version__}.\n\n"
