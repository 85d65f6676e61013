"""Vinegar: how exceptions travel.

StopIteration is the int 1. Anything else is ``((module, class name), args, attributes, traceback
text)``, where arguments and attributes that are not plain values are sent as their ``repr``. The
receiver rebuilds built-in exceptions, custom ones if the configuration allows, and otherwise raises
a subclass of :class:`GenericException` named after the remote class. Classes of this package travel
as their built-in base.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from collections import OrderedDict
from typing import Any

from ..errors import MalformedValue, RemoteError
from ..version import __version__
from . import brine, consts

__all__ = ["REMOTE_LINE", "GenericException", "dump", "load"]

REMOTE_LINE = "\n\n========= Remote Traceback ({}) =========\n"
REMOTE_LINE_START = "\n\n========= Remote Traceback "
REMOTE_LINE_END = " =========\n"

GenericException = RemoteError

_SKIPPED = frozenset({"args", "with_traceback", "add_note"})
_CACHE_SIZE = 512
_PACKAGE = __name__.partition(".")[0]
_MISSING = object()
_SPOKEN = frozenset({"4", "5", "6"})
"""Major versions whose exceptions mean here what they mean there."""


def dump(
    typ: type[BaseException] | str,
    val: BaseException,
    tb: Any,
    include_local_traceback: bool,
    include_local_version: bool,
    version: str = __version__,
) -> Any:
    """Returns the plain value that stands for an exception.

    Args:
        typ, val, tb: as from :func:`sys.exc_info`.
        include_local_traceback: whether the text of the traceback is sent.
        include_local_version: whether this side's version is sent.
        version: the version to send, of the dialect spoken.
    """
    if typ is StopIteration and not val.args:
        return consts.EXC_STOP_ITERATION
    text = _traceback_text(typ, val, tb) if include_local_traceback else "<traceback denied>"
    attributes = [(name, _plain(value)) for name, value in _public_attributes(val)]
    attributes.append(("_remote_version", version if include_local_version else "<version denied>"))
    cls = _travelling_class(type(val))
    args = tuple(_plain(arg) for arg in val.args)
    return (cls.__module__, cls.__name__), args, tuple(attributes), text


def _traceback_text(typ: Any, val: BaseException, tb: Any) -> str:
    try:
        return "".join(traceback.format_exception(typ, val, tb))
    except Exception as error:
        return f"<traceback cannot be formatted: {type(error).__name__}>"


def _travelling_class(cls: type) -> type:
    """Returns the class to name: of ours, the first base that every peer has."""
    if cls.__module__.partition(".")[0] == _PACKAGE:
        return next(base for base in cls.__mro__ if base.__module__ == "builtins")
    return cls


def _public_attributes(val: BaseException) -> list[tuple[str, Any]]:
    found = []
    for name in dir(val):
        if name.startswith("_") or name in _SKIPPED:
            continue
        try:
            found.append((name, getattr(val, name)))
        except Exception:
            continue
    return found


def _plain(value: Any) -> Any:
    if brine.dumpable(value):
        return value
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def load(
    val: Any,
    import_custom_exceptions: bool,
    instantiate_custom_exceptions: bool,
    instantiate_oldstyle_exceptions: bool = False,
) -> BaseException:
    """Returns the exception that a received plain value stands for.

    Args:
        import_custom_exceptions: whether to import the module the peer names.
        instantiate_custom_exceptions: whether to rebuild classes that are not built in.

    Raises:
        MalformedValue: ``val`` stands for no exception.
    """
    if val == consts.EXC_STOP_ITERATION and type(val) is int:
        return StopIteration()
    if type(val) is str:  # a very old peer
        return GenericException(val)
    (module, name), args, attributes, text = _check(val)
    if import_custom_exceptions and module not in sys.modules:
        try:
            __import__(module)
        except Exception:
            pass
    found = _find(module, name, instantiate_custom_exceptions)
    cls = _wrapper_class(_generic_class(module, name) if found is None else found)
    return _rebuild(cls, args, attributes, text)


def _check(val: Any) -> Any:
    if (
        type(val) is tuple
        and len(val) == 4
        and type(val[0]) is tuple
        and [type(part) for part in val[0]] == [str, str]
        and type(val[1]) is tuple
        and type(val[2]) is tuple
    ):
        return val
    raise MalformedValue(f"expected an exception (class, args, attributes, text), got {val!r:.80}")


def _find(module: str, name: str, custom: bool) -> type[BaseException] | None:
    if module == "builtins" or module == "exceptions":
        cls = getattr(builtins, name, None)
    elif custom and module in sys.modules:
        cls = getattr(sys.modules[module], name, None)
    else:
        cls = None
    return cls if isinstance(cls, type) and issubclass(cls, BaseException) else None


_generic_exceptions_cache: OrderedDict[str, type[BaseException]] = OrderedDict()
_exception_classes_cache: OrderedDict[type[BaseException], type[BaseException]] = OrderedDict()


def _generic_class(module: str, name: str) -> type[BaseException]:
    full = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}"[:200])
    cls = _generic_exceptions_cache.get(full)
    if cls is None:
        cls = type(full, (GenericException,), {"__module__": "rpyc_like.errors"})
        _remember(_generic_exceptions_cache, full, cls)
    return cls


def _remember(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    cache[key] = value
    while len(cache) > _CACHE_SIZE:
        cache.popitem(last=False)


def _wrapper_class(cls: type[BaseException]) -> type[BaseException]:
    """Returns a subclass of ``cls`` with the same name, whose text shows the remote traceback."""
    wrapper = _exception_classes_cache.get(cls)
    if wrapper is None:

        def _with_remote(self: Any, text: str) -> str:
            remote = getattr(self, "_remote_tb", None)
            if type(remote) is not str or remote == "<traceback denied>":
                return text
            return f"{text}{REMOTE_LINE.format(1)}{remote}"

        wrapper = type(
            cls.__name__,
            (cls,),
            {
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
                "__str__": lambda self: _with_remote(self, cls.__str__(self)),
                "__repr__": lambda self: _with_remote(self, cls.__repr__(self)),
            },
        )
        _remember(_exception_classes_cache, cls, wrapper)
    return wrapper


def _rebuild(cls: type[BaseException], args: Any, attributes: Any, text: Any) -> BaseException:
    try:
        exc = cls.__new__(cls, *args)
    except Exception:
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
