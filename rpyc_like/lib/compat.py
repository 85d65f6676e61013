"""Names that programs import from ``rpyc.lib.compat``."""

from __future__ import annotations

import pickle
import select
import sys
from io import BytesIO
from struct import Struct
from typing import Any

from .poll_compat import poll

__all__ = [
    "BYTES_LITERAL",
    "BytesIO",
    "Struct",
    "TimeoutError",
    "PollingPoll",
    "acquire_lock",
    "get_exc_errno",
    "is_py_3k",
    "is_py_gte37",
    "is_py_gte38",
    "is_py_gte310",
    "is_py_gte311",
    "maxint",
    "pickle",
    "poll",
    "select",
    "select_error",
    "with_metaclass",
]

TimeoutError = TimeoutError
select_error = OSError
maxint = sys.maxsize
is_py_3k = is_py_gte37 = is_py_gte38 = is_py_gte310 = True
is_py_gte311 = sys.version_info >= (3, 11)

PollingPoll = poll


def BYTES_LITERAL(text: str) -> bytes:  # noqa: N802
    """Returns a text of Latin-1 as bytes."""
    return bytes(text, "latin1")


def acquire_lock(lock: Any, blocking: bool, timeout: Any) -> bool:
    """Acquires a lock, for as long as a :class:`rpyc_like.lib.Timeout` lasts."""
    if blocking and timeout.finite:
        return bool(lock.acquire(blocking, timeout.timeleft()))
    return bool(lock.acquire(blocking))


def get_exc_errno(exc: BaseException) -> Any:
    """Returns the number of an error of the system."""
    return getattr(exc, "errno", None) if hasattr(exc, "errno") else exc.args[0]


def with_metaclass(meta: type, *bases: type) -> type:
    """Returns a base class that gives its subclasses a metaclass."""
    made: type = meta("temporary_class", bases or (object,), {})
    return made
