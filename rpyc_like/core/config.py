"""What a connection can be configured with, and the defaults.

:data:`DEFAULT_CONFIG` is live: a program that changes it changes every connection made later, and
one that adds to its ``safe_attrs`` changes those already made as well.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final

from ..lib import settings
from ..lib.introspection import IMPLICIT
from ..lib.settings import FLAG, Kind
from ..link.receiving import FRAME_TIMEOUT, MAX_QUEUED
from ..link.sending import SEND_TIMEOUT
from ..link.serve.helpers import MAX_HELPERS
from ..link.streams.base import BUSY_POLL
from ..wire.framing import MAX_FIRST_FRAME_SIZE, MAX_FRAME_SIZE, MAX_INFLATED_SIZE
from ..wire.session import MAX_UNKNOWN
from .brine import MAX_DEPTH, MAX_DIGITS
from .encoding.codec import MAX_REQUESTS
from .references.accounts import MAX_KEPT, MAX_STEPS
from .references.tables import MAX_OBJECTS

__all__ = [
    "CLIENT_ATTRS",
    "COMPAT_RPYC6",
    "DEFAULT_CONFIG",
    "KINDS",
    "OF_SERVERS",
    "SAFE_ATTRS",
    "check_config",
    "client_settings",
    "make_config",
    "meant_by",
]

COMPAT_VARIABLE = "RPYC_LIKE_COMPAT"


def _compatible() -> bool:
    wanted = os.environ.get(COMPAT_VARIABLE, "")
    if wanted not in ("", "rpyc6"):
        raise ValueError(f"environment variable {COMPAT_VARIABLE}: expected rpyc6, got {wanted!r}")
    return wanted == "rpyc6"


COMPAT_RPYC6 = _compatible()
"""Whether RPyC's own defaults hold where ours are safer (``RPYC_LIKE_COMPAT=rpyc6``)."""

_BINARY = "add sub mul div truediv floordiv mod pow lshift rshift and or xor"
_REFLECTED = f"{_BINARY} divmod"
_IN_PLACE = "add sub mul div itruediv floordiv mod pow lshift rshift and or xor".replace(
    "itruediv", "truediv"
)

SAFE_ATTRS: set[str] = {
    *(f"__{name}__" for name in "lt le eq ne gt ge cmp hash".split()),
    *(f"__{name}__" for name in f"{_BINARY} divmod".split()),
    *(f"__r{name}__" for name in _REFLECTED.split()),
    *(f"__i{name}__" for name in _IN_PLACE.split()),
    *(f"__{name}__" for name in "neg pos abs invert bool nonzero int long float index".split()),
    *(f"__{name}__" for name in "oct hex repr str format doc enter exit".split()),
    *(f"__{name}__" for name in "len length_hint contains iter next".split()),
    *(f"__{name}__" for name in "aiter anext aenter aexit".split()),
    *(f"__{name}__" for name in "getitem setitem delitem getslice setslice delslice".split()),
    "next",
}
"""Names that are readable under ``allow_safe_attrs``: operators, containers, ``with``, ``async
for`` and ``async with``."""

CLIENT_ATTRS: frozenset[str] = frozenset(
    {
        *IMPLICIT,
        *(f"__{name}__" for name in "eq ne lt le gt ge hash repr str dir exit".split()),
        *(f"__{name}__" for name in "name qualname module doc".split()),
    }
)
"""What a classic client lets its server use of the objects that it passes, beside ``SAFE_ATTRS``:
every operator and conversion, and what they are called."""

DEFAULT_CONFIG: dict[str, Any] = {
    # attributes
    "allow_safe_attrs": True,
    "allow_exposed_attrs": True,
    "allow_public_attrs": False,
    "allow_ladders": COMPAT_RPYC6,
    "allow_all_attrs": False,
    "safe_attrs": SAFE_ATTRS,
    "exposed_prefix": "exposed_",
    "allow_getattr": True,
    "allow_setattr": False,
    "allow_delattr": False,
    # exceptions
    "include_local_traceback": True,
    "include_local_version": True,
    "instantiate_custom_exceptions": False,
    "import_custom_exceptions": False,
    "instantiate_oldstyle_exceptions": False,
    "propagate_SystemExit_locally": False,
    "propagate_KeyboardInterrupt_locally": True,
    "log_exceptions": True,
    # the rest of RPyC's
    "allow_pickle": False,
    "connid": None,
    "credentials": None,
    "endpoints": None,
    "logger": None,
    "sync_request_timeout": 30,
    "before_closed": None,
    "close_catchall": False,
    "bind_threads": os.environ.get("RPYC_BIND_THREADS", "false").lower() == "true",
    # ours
    "dialect": None,
    "defer_methods": True,
    "allow_obtain": None,
    "allow_implicit_pickle": COMPAT_RPYC6,
    "rebuild_exit_exceptions": COMPAT_RPYC6,
    "max_first_frame_size": MAX_FIRST_FRAME_SIZE,
    "max_frame_size": MAX_FRAME_SIZE,
    "max_inflated_size": MAX_INFLATED_SIZE,
    "max_memory": None,
    "max_kept_memory": MAX_KEPT,
    "max_depth": MAX_DEPTH,
    "max_digits": MAX_DIGITS,
    "max_objects": MAX_OBJECTS,
    "max_requests": MAX_REQUESTS,
    "max_steps": MAX_STEPS,
    "max_queued_bytes": MAX_QUEUED,
    "busy_poll": BUSY_POLL,
    "max_unknown_answers": MAX_UNKNOWN,
    "frame_timeout": FRAME_TIMEOUT,
    "send_timeout": SEND_TIMEOUT,
    "concurrent_calls": 1,
    "max_helpers": MAX_HELPERS,
    "concurrent_tasks": 1000,
    "heartbeat": None,
}
"""Every configuration key with its default; described in the reference of the configuration."""

_SIZE: Final = settings.count(1)
_TIME: Final = settings.number(optional=True)

KINDS: dict[str, Kind] = {
    **{key: FLAG for key, value in DEFAULT_CONFIG.items() if isinstance(value, bool)},
    "safe_attrs": settings.NAMES,
    "exposed_prefix": settings.TEXT,
    "include_local_traceback": settings.TRACEBACKS,
    "connid": settings.ANYTHING,
    "credentials": settings.ANYTHING,
    "endpoints": settings.ANYTHING,
    "logger": settings.ANYTHING,
    # A negative time is none at all for RPyC.
    "sync_request_timeout": settings.number(-math.inf, optional=True),
    "before_closed": settings.FUNCTION,
    "dialect": settings.one_of(None, 5, 6),
    "allow_obtain": FLAG,
    "max_first_frame_size": _SIZE,
    "max_frame_size": _SIZE,
    "max_inflated_size": _SIZE,
    "max_memory": settings.count(1, optional=True),
    "max_kept_memory": settings.count(1, optional=True),
    "max_depth": _SIZE,
    "max_digits": _SIZE,
    "max_objects": _SIZE,
    "max_requests": _SIZE,
    "max_steps": _SIZE,
    "max_queued_bytes": _SIZE,
    "busy_poll": settings.number(0, 1000, unit="microseconds"),
    "max_unknown_answers": settings.count(0),
    "frame_timeout": _TIME,
    "send_timeout": _TIME,
    "concurrent_calls": _SIZE,
    "max_helpers": settings.count(0),
    "concurrent_tasks": _SIZE,
    "heartbeat": settings.number(0.05, 3600, optional=True),
}
"""What the value of each key must be."""

OF_SERVERS: Final = frozenset(
    {
        *("auth_timeout", "max_silent_clients", "max_silent_per_address", "listener_timeout"),
        *("auto_register", "socket_mode", "idle_timeout", "tell_systemd", "authenticator"),
        *("max_threads", "affinity", "nbThreads", "requestBatchSize"),
    }
)
"""Arguments of servers that are no keys; programs have no reason for keys of these names."""

_DEFAULTS: Final = dict(DEFAULT_CONFIG)  # as they stand above; known to be right
_KEYS: Final = tuple(DEFAULT_CONFIG)  # those of this package; programs may add others
_SIMILAR: Final = 0.85  # how alike two keys are, of 1, if one is taken for the other misspelt
_SHORTEST: Final = 3  # letters of a word that abbreviates another
_MOST_LOOKED_AT: Final = 1000  # keys; a program may make up any number


def client_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings by which a classic client restricts its server, to be laid over others.

    Of the objects that it passes the server may call, read public names and use safe special
    methods.
    """
    return {
        "allow_public_attrs": True,
        "allow_ladders": False,
        "safe_attrs": {*config["safe_attrs"], *CLIENT_ATTRS},
        "instantiate_custom_exceptions": True,
        "allow_obtain": True,
    }


def make_config(config: dict[str, Any] | None) -> dict[str, Any]:
    """Return the defaults of this moment, overlaid with ``config``.

    Programs may have keys of their own, as with RPyC. One that looks like a misspelt key is warned
    of, once in a process.

    Raises:
        TypeError, ValueError: the value of a key is not one of its :data:`KINDS`.
    """
    return check_config(config, "config", DEFAULT_CONFIG)


def check_config(
    config: Mapping[str, Any] | None, name: str, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a configuration with its values as they are to be used, laid over the defaults.

    Args:
        config: what the program gives.
        name: of the argument in which it does, for errors.
        defaults: what else the program has set; nothing without it.

    Raises:
        TypeError, ValueError: the value of a key is not one of its :data:`KINDS`.
    """
    settings.checked(f"argument {name!r}", settings.MAPPING, config)
    made = {**(defaults or {}), **(config or {})}
    if config and not config.keys() <= DEFAULT_CONFIG.keys():
        _warn_of_misspelt(config.keys() - DEFAULT_CONFIG.keys())
    for key, kind in KINDS.items():
        value = made.get(key)
        if value is not _DEFAULTS[key] and key in made:
            where = name if config and key in config else "DEFAULT_CONFIG"
            made[key] = settings.checked(f"{where}[{key!r}]", kind, value)
    return made


_looked_at: set[Any] = set()


def _warn_of_misspelt(keys: set[Any]) -> None:
    """Warn of keys that resemble one of the configuration, but for those looked at before."""
    new = [key for key in keys - _looked_at if isinstance(key, str)]
    if not new or len(_looked_at) >= _MOST_LOOKED_AT:
        return
    for key in sorted(new):
        _looked_at.add(key)
        if key in OF_SERVERS:
            hint = "it is an argument of the server"
        elif meant := meant_by(key):
            hint = f"expected {meant!r}?"
        else:
            continue
        warnings.warn(
            f"unknown configuration key {key!r}: {hint}",
            RuntimeWarning,
            stacklevel=_level_of_program(),
        )


def meant_by(key: str) -> str:
    """Return the known key that another one seems to be a spelling of, "" if there is none.

    It may be written in another case, abbreviated (``max_mem``, ``sync_timeout``) or misspelt.
    """
    from difflib import get_close_matches  # few programs need it

    lower = key.lower().replace("-", "_")
    plain = lower.replace("_", "")
    for known in _KEYS:
        if known.lower().replace("_", "") == plain:
            return known
    words = lower.split("_")
    if len(words) > 1 and all(len(word) >= _SHORTEST for word in words):
        fitting = [known for known in _KEYS if _abbreviates(words, known.lower().split("_"))]
        if fitting:
            return min(fitting, key=len)
    return next(iter(get_close_matches(lower, _KEYS, 1, _SIMILAR)), "")


def _abbreviates(words: list[str], known: list[str]) -> bool:
    """Return whether words are the beginnings of some of the others, in order, the first of all."""
    left = iter(known)
    return known[0].startswith(words[0]) and all(
        any(one.startswith(word) for one in left) for word in words
    )


def _level_of_program() -> int:
    """Return the ``stacklevel`` with which this function's caller warns at the program's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_of_package(frame.f_globals.get("__name__")):
        level, frame = level + 1, frame.f_back
    return level


def _is_of_package(module: Any) -> bool:
    package = __name__.partition(".")[0]
    return isinstance(module, str) and (module == package or module.startswith(package + "."))
