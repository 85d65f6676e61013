"""Memory of C code, which no Python object keeps alive, among the arguments of a call.

``io.BufferedReader(raw)`` passes ``raw.readinto`` a view of its own buffer, which it frees later,
whoever still has the view. A peer could read and write freed memory through it. So such a view is
never exported: a call is made with a copy, and what the peer has written into the copy is copied
back when the call has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

__all__ = ["ForeignMemory", "call_with_copies", "check_memory"]

_DEEPEST: Final = 100  # levels of tuples that are searched for views


class ForeignMemory(TypeError):
    """A view of memory of C code was about to be exported."""

    def __init__(self) -> None:
        super().__init__(
            "expected memory that a Python object keeps alive, got a memoryview of memory of C "
            "code (pass bytes(view), or a bytearray of it)"
        )


def _is_foreign(obj: Any) -> bool:
    if type(obj) is not memoryview:
        return False
    try:
        return obj.obj is None
    except ValueError:  # it has been released
        return False


def check_memory(view: memoryview) -> None:
    """Raise ForeignMemory for a view of memory that no Python object keeps alive."""
    if _is_foreign(view):
        raise ForeignMemory


def call_with_copies(
    request: Callable[..., Any], args: tuple[Any, ...], refusal: ForeignMemory
) -> Any:
    """Make a request again with copies of the views among its arguments; return the answer.

    If the request raises, because its time is over for example, nothing is copied back.

    Args:
        request: raises what the peer raises.
        refusal: is raised if there is no such view.
    """
    copies: list[tuple[memoryview, memoryview]] = []
    found, copied = _copied(args, copies, 0)
    if not found:
        raise refusal
    try:
        answer = request(*copied)
        for view, copy in copies:
            _bytes_of(view)[:] = _bytes_of(copy)
        return answer
    finally:
        for _, copy in copies:
            with suppress(BufferError):  # it is being used
                copy.release()  # the peer may keep it, but not its memory


def _copied(
    value: Any, copies: list[tuple[memoryview, memoryview]], depth: int
) -> tuple[bool, Any]:
    """Return whether there are views of C memory in a value, and it with copies of them."""
    if _is_foreign(value):
        if value.readonly:
            return True, value.tobytes()
        copy = memoryview(bytearray(value.tobytes()))
        if value.format != "B" or value.ndim != 1:
            copy = copy.cast(value.format, value.shape)
        copies.append((value, copy))
        return True, copy
    if type(value) is tuple and depth < _DEEPEST:
        pairs = [_copied(item, copies, depth + 1) for item in value]
        if any(found for found, _ in pairs):
            return True, tuple([item for _, item in pairs])
    return False, value


def _bytes_of(view: memoryview) -> memoryview:
    return view.cast("B") if view.c_contiguous else view
