"""Code that Python runs by itself in the middle of what a thread does, perhaps of reading.

Signal handlers do, and finalizers and callbacks of weak references, when garbage is collected. A
thread that was interrupted while it reads from a connection, or writes to it, cannot wait for an
answer over the same connection: it would wait for itself. This is found out before it sleeps, by a
look at the frames of the thread, so that the usual way costs nothing.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from threading import get_ident
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import LocalProtocolError
from .receiving import FrameReceiver
from .sending import FrameSender

if TYPE_CHECKING:
    from .connection import MessageConnection

__all__ = ["check_not_reading", "holds_the_role", "leaves_the_role"]

_Func = TypeVar("_Func", bound=Callable[..., Any])

_PACKAGE = __name__.rpartition(".")[0] + "."
_READING = {FrameReceiver.receive.__code__, FrameReceiver._receive.__code__}
_WRITING = {
    FrameSender.try_frame.__code__,
    FrameSender._drain.__code__,
    FrameSender._write_out.__code__,
    FrameSender.try_send.__code__,
}
_ENDS = {"acquire": "release", "enter": "leave"}
_REGIONS: dict[CodeType, tuple[int, int]] = {}  # first and last line with the role
_OUTSIDE: set[CodeType] = set()


def holds_the_role(func: _Func) -> _Func:
    """Note a method, or a function of a ``link``, that has the reading role for a while.

    That is between ``acquire`` and ``release``, or between ``enter`` and ``leave``; from the
    beginning if it takes the role over.
    """
    assert isinstance(func, FunctionType)
    first = last = line = 0
    end = ""
    for step in dis.get_instructions(func):
        line = step.starts_line if type(step.starts_line) is int else line
        line = getattr(step, "line_number", None) or line  # Python 3.13
        if not first and step.argval in _ENDS:
            first, end = line, _ENDS[step.argval]
        elif (first and step.argval == end) or (not first and step.argval == "leave"):
            last = max(last, line)
    _REGIONS[func.__code__] = first or func.__code__.co_firstlineno, last
    return func


def leaves_the_role(func: _Func) -> _Func:
    """Note a method that is called without the reading role."""
    assert isinstance(func, FunctionType)
    _OUTSIDE.add(func.__code__)
    return func


def check_not_reading(link: MessageConnection) -> None:
    """See to it that the current thread was not interrupted while it uses the stream of ``link``.

    Raises:
        LocalProtocolError: it was.
    """
    if link.reading.kept_by == get_ident() or any(one.entered for one in link.guarded()):
        raise _error("uses")
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]  # of the wait that is about to begin
    while frame is not None:
        code = frame.f_code
        if code in _OUTSIDE:
            return
        if code in _READING:
            if frame.f_locals.get("self") is link.receiver:
                raise _error("reads")
        elif code in _WRITING:
            if frame.f_locals.get("self") is link.sender:
                raise _error("writes")
        elif code in _REGIONS:
            first, last = _REGIONS[code]
            names = frame.f_locals
            if names.get("link", names.get("self")) is link:
                if first <= frame.f_lineno <= last:
                    raise _error("reads")
                return
        frame = frame.f_back  # type: ignore[assignment]


def _error(does: str) -> LocalProtocolError:
    return LocalProtocolError(
        "a signal handler or finalizer asks over the connection that its thread "
        f"{does} at this moment, and the answer cannot be read before it has returned; expected "
        "another connection, async_(...) without waiting, or another thread"
    )
