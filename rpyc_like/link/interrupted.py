"""Code that Python runs by itself in the middle of what a thread does, perhaps of reading.

Signal handlers do, and finalizers and callbacks of weak references, when garbage is collected. It
may ask the peer over the same connection:

* Where it has interrupted a wait for the first bytes of a message, which is where a thread nearly
  always is, it reads on in the role that its thread has. The interrupted wait gets nothing then, so
  that its caller looks at what was read meanwhile (:class:`Inside`).
* Where it has interrupted the thread while a message is half read, or filed, or while something is
  written, it would wait for itself, and gets LocalProtocolError at once.

Which of the two it is is found out before such code sleeps, by a look at the frames of the thread,
so that the usual way costs nothing.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import LocalProtocolError
from .receiving import FrameReceiver
from .sending import FrameSender
from .streams.base import rests

if TYPE_CHECKING:
    from .threaded import ThreadedLink

__all__ = [
    "Inside",
    "check_not_reading",
    "files_late",
    "holds_the_role",
    "leaves_the_role",
    "look_inside",
]

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
_EXPRESS: set[CodeType] = set()


def holds_the_role(func: _Func) -> _Func:
    """Note a method, or a function of a ``link``, that has the reading role for a while.

    That is between ``acquire`` and ``release``, or between ``enter`` and ``leave``; from the
    beginning if it takes the role over.
    """
    assert isinstance(func, FunctionType)
    lines: dict[str, list[int]] = {"acquire": [], "enter": [], "release": [], "leave": []}
    line = 0
    for step in dis.get_instructions(func):
        line = step.starts_line if type(step.starts_line) is int else line
        line = getattr(step, "line_number", None) or line  # Python 3.13
        if step.argval in lines:
            lines[step.argval].append(line)
    begin = "acquire" if lines["acquire"] else "enter"
    first = min(lines[begin], default=func.__code__.co_firstlineno)
    last = max(lines[_ENDS[begin]])
    _REGIONS[func.__code__] = first, last
    return func


def files_late(func: _Func) -> _Func:
    """Note a method that reads before its request is filed: it has a ``target`` and an ``id_``."""
    assert isinstance(func, FunctionType)
    _EXPRESS.add(func.__code__)
    return func


def leaves_the_role(func: _Func) -> _Func:
    """Note a method that is called without the reading role."""
    assert isinstance(func, FunctionType)
    _OUTSIDE.add(func.__code__)
    return func


class Inside:
    """The right to read on in code that has interrupted its thread's own reading.

    Args:
        link: the connection.
        asked: number and target of the interrupted request, if only that function knows of it.
    """

    def __init__(self, link: ThreadedLink, asked: tuple[int, Any] | None = None) -> None:
        self._link = link
        self._asked = asked

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read, and act on what is read."""
        link, role = self._link, self._link.reading
        if self._asked is not None:
            link.file_early(*self._asked)
        before = role.inside
        try:
            with link.channel.stream.interrupting():
                role.inside = get_ident()
                yield
        finally:
            role.inside = before
            role.insides += 1


def look_inside(link: ThreadedLink) -> Inside | None:
    """Find out whether the current thread was interrupted while it uses the stream of ``link``.

    Returns:
        How it may read on; None if it was not interrupted.

    Raises:
        LocalProtocolError: it was, where it may not.
    """
    role = link.reading
    if role.kept_by == get_ident() or any(one.entered for one in link.guarded()):
        raise _error("uses")
    inside = Inside(link) if role.inside == get_ident() else None
    waits: bool | None = None  # whether all functions of ``link`` up to here wait for bytes
    resting = False  # whether those were called by one that receives
    frame = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back  # type: ignore[assignment]  # of the wait that is about to begin
    while frame is not None:
        code = frame.f_code
        if code in _READING:
            if frame.f_locals.get("self") is link.receiver:
                resting = resting or (waits is True and link.receiver.rests)  # type: ignore[attr-defined]
                if not resting:
                    raise _error("reads")
        elif code in _WRITING:
            if frame.f_locals.get("self") is link.sender:
                raise _error("writes")
        elif code in _OUTSIDE or code in _REGIONS:
            names = frame.f_locals
            if names.get("link", names.get("self")) is link:
                first, last = _REGIONS.get(code, (0, 0))
                if not first <= frame.f_lineno <= last:
                    return inside
                if not resting:
                    raise _error("reads")
                asked = (names["id_"], names["target"]) if code in _EXPRESS else None
                return Inside(link, asked)
        waits = (waits is not False and rests(code)) if _is_ours(frame) else None
        frame = frame.f_back  # type: ignore[assignment]
    if resting:
        raise _error("reads")
    return inside


def check_not_reading(link: ThreadedLink) -> None:
    """See to it that the current thread was not interrupted while it uses the stream of ``link``.

    Raises:
        LocalProtocolError: it was.
    """
    if look_inside(link) is not None:
        raise _error("reads")


def _is_ours(frame: FrameType) -> bool:
    """Return whether a frame is one of a function of ``link``."""
    return str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE)


def _error(does: str) -> LocalProtocolError:
    return LocalProtocolError(
        "a signal handler or finalizer asks over the connection that its thread "
        f"{does} at this moment, and the answer cannot be read before it has returned; expected "
        "another connection, async_(...) without waiting, or another thread"
    )
