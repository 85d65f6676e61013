"""Exceptions of signal handlers, which Python raises in the middle of whatever it interrupts."""

from __future__ import annotations

import contextlib
from threading import get_ident, main_thread
from types import TracebackType

__all__ = ["ignoring", "raised_by_handler"]


def raised_by_handler(error: BaseException | None) -> bool:
    """Return whether an exception comes from a signal handler that ran meanwhile.

    It may be of any class, of those that a stream raises itself too: ``TimeoutError`` for example.
    Whoever takes an error for one of its own call asks this before, and passes the others on. A
    handler is found in the traceback as a function that was given the frame it has interrupted.
    """
    if error is None or get_ident() != main_thread().ident:
        return False  # where Python runs no handler
    step = error.__traceback__
    while step is not None:
        frame, step = step.tb_frame, step.tb_next
        if step is not None:
            for value in step.tb_frame.f_locals.values():
                if value is frame:
                    return True
                if type(value) is tuple and any(one is frame for one in value):
                    return True
    return False


class ignoring(contextlib.suppress):  # noqa: N801 -- as what it extends
    """Like :class:`contextlib.suppress`, but passes on what a signal handler raises."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return bool(super().__exit__(kind, value, traceback)) and not raised_by_handler(value)
