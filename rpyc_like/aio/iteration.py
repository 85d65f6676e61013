"""Iterating over the peer's objects: ``async for``.

Items of built-in containers arrive in chunks, with the same bounds and the same rules as in
blocking programs (:mod:`rpyc_like.core.iteration.prefetch`). Any other iterator, an asynchronous
one too, is asked for one item at a time, so that nothing is made that nobody wants.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from ..core import consts
from ..core.iteration.prefetch import opening_steps
from ..core.netref import is_netref
from ..core.pipelining.lazy_value import LazyValue

__all__ = ["END", "items_of", "next_of"]

_local: Final = object.__getattribute__

END: Final = object()
"""What :func:`next_of` returns when there is nothing more."""


async def items_of(source: Any) -> AsyncIterator[Any]:
    """Yields the items of a proxy, of a deferred value, or of something here."""
    if issubclass(type(source), LazyValue):
        source = await source
    if not is_netref(source):
        for item in source:
            yield item
        return
    conn = _local(source, "____conn__")
    if conn._reads_ahead:
        reader = await conn.await_steps(opening_steps(conn, source))
        if reader is not None:
            while True:
                while reader.queue:
                    yield reader.queue.popleft()
                if reader.at_end:
                    break
                await conn.await_steps(reader.fetch_steps())
            reader.end()
            return
    begin = "__aiter__" if "__aiter__" in type(source).____remote__ else "__iter__"
    items = await conn.sync_request(consts.HANDLE_CALLATTR, source, begin, (), ())
    if not is_netref(items):
        for item in items:
            yield item
        return
    while (item := await next_of(items)) is not END:
        yield item


async def next_of(items: Any) -> Any:
    """Returns the next item of an iterator's proxy, or END."""
    conn = _local(items, "____conn__")
    step = "__anext__" if "__anext__" in type(items).____remote__ else "__next__"
    failed, value = await conn.outcome_of(consts.HANDLE_CALLATTR, items, step, (), ())
    if not failed:
        return value
    if isinstance(value, (StopIteration, StopAsyncIteration)):
        return END
    raise value
