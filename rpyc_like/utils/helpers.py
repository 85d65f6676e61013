"""Asynchronous and timed calls."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from ..core import consts
from ..core.netref import is_netref
from ..link.result import AsyncResult

__all__ = ["Async", "async_", "timed"]


class _Async:
    """A callable proxy whose calls return at once."""

    __slots__ = ("__weakref__", "proxy")

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncResult:
        conn = object.__getattribute__(self.proxy, "____conn__")
        result: AsyncResult = conn.async_request(
            consts.HANDLE_CALL, self.proxy, args, tuple(kwargs.items())
        )
        return result

    def __repr__(self) -> str:
        return f"async_({self.proxy!r})"


_wrappers: WeakValueDictionary[Any, _Async] = WeakValueDictionary()


def async_(proxy: Any) -> _Async:
    """Returns a function that calls ``proxy`` and returns an AsyncResult at once.

    Raises:
        TypeError: ``proxy`` is not a proxy, or not callable.
    """
    if isinstance(proxy, _Async):
        return proxy
    if not is_netref(proxy):
        raise TypeError(f"expected a proxy of a remote object, got {type(proxy).__name__}")
    if not callable(proxy):
        raise TypeError("expected a proxy of something callable")
    key = (
        id(object.__getattribute__(proxy, "____conn__")),
        object.__getattribute__(proxy, "____id_pack__"),
    )
    wrapper = _wrappers.get(key)
    if wrapper is None or wrapper.proxy is not proxy:
        wrapper = _wrappers[key] = _Async(proxy)
    return wrapper


Async = async_


class timed:  # noqa: N801
    """A callable proxy whose results expire.

    Args:
        proxy: what to call, or what :func:`async_` made of it.
        timeout: seconds that an answer may take.
    """

    __slots__ = ("__weakref__", "proxy", "timeout")

    def __init__(self, proxy: Any, timeout: float | None) -> None:
        self.proxy = async_(proxy)
        self.timeout = timeout

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncResult:
        result = self.proxy(*args, **kwargs)
        result.set_expiry(self.timeout)
        return result

    def __repr__(self) -> str:
        return f"timed({self.proxy.proxy!r}, {self.timeout!r})"
