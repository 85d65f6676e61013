"""What ``async def`` functions of a program return, and how it travels.

A coroutine is awaited on the side that made it: on the loop of an asyncio program, else on one loop
that all blocking connections of the process share. An asynchronous generator is sent by reference,
as an :class:`AsyncIteratorExport`; an item is made when the peer asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, MethodType
from typing import Any, Final

from ...link.result import RemoteStopIteration
from ..references.accounts import MAX_TAKEN, Account

__all__ = ["ASYNC", "AsyncIteratorExport", "is_async"]

ASYNC: Final = frozenset({CoroutineType, AsyncGeneratorType})
"""What calling an ``async def`` function returns."""

_FLAGS: Final = 0x80 | 0x200  # of the code of coroutine functions and of asynchronous generators


class AsyncIteratorExport:
    """The items of an asynchronous generator, for peers that await and for peers that wait.

    One item is made for each that is asked for (several for one request of ``buffiter``).
    """

    def __init__(self, source: AsyncGenerator[Any, Any]) -> None:
        self._source = source

    def __aiter__(self) -> AsyncIteratorExport:
        return self

    async def __anext__(self) -> Any:
        return await self._source.__anext__()

    def __iter__(self) -> AsyncIteratorExport:
        return self

    async def __next__(self) -> Any:
        try:
            return await self._source.__anext__()
        except StopAsyncIteration:
            raise RemoteStopIteration(StopIteration()) from None

    async def take(self, count: int, account: Account) -> tuple[Any, ...]:
        """Returns the next items, at most ``count``.

        Args:
            account: of the request, closed at the end.
        """
        items: list[Any] = []
        more = True
        with account:
            while more and len(items) < count and account.held <= MAX_TAKEN:
                if account.count():
                    await asyncio.sleep(0)
                account.check()
                try:
                    item = await self._source.__anext__()
                except StopAsyncIteration:
                    break
                more = account.hold_item(item, not items)
                items.append(item)
        return tuple(items)

    async def exposed_aclose(self) -> None:
        """Ends the generator, as ``aclose`` of one here."""
        await self._source.aclose()

    async def exposed_asend(self, value: Any) -> Any:
        """Gives the generator a value; returns its next item."""
        return await self._source.asend(value)

    aclose = close = exposed_close = exposed_aclose
    asend = exposed_asend


def is_async(func: Any) -> bool:
    """Returns whether calling something runs ``async def`` code, as far as that is easily seen."""
    kind = type(func)
    if kind is MethodType:
        func = func.__func__
        kind = type(func)
    if kind is staticmethod or kind is classmethod:
        func = func.__func__
    code = getattr(func, "__code__", None) if type(func) is FunctionType else None
    return type(code) is CodeType and bool(code.co_flags & _FLAGS)
