"""What keeps ended connections out of reference cycles, so that they are freed when dropped.

The parts of a connection call back into it. They must not keep it alive: memory in a cycle waits
for the cyclic garbage collector, which a server under load runs late.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["weak_call", "without_frames"]


def weak_call(owner: object, name: str) -> Callable[..., Any]:
    """Return a function that calls a method of ``owner`` and does not keep ``owner`` alive.

    The method is looked up at each call. The function returns ``None`` when ``owner`` is gone.
    """
    reference = weakref.ref(owner)

    def call(*args: Any) -> Any:
        owner = reference()
        return None if owner is None else getattr(owner, name)(*args)

    return call


def without_frames(error: BaseException | None) -> None:
    """Take the tracebacks off an exception that is kept, and off those that led to it.

    A traceback keeps all local variables of the threads that have met the exception.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
