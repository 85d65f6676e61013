"""Asynchronous and timed calls, iteration in chunks, views, serving in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from threading import current_thread
from typing import Any, ClassVar, cast
from weakref import WeakValueDictionary

from ..core.consts import HANDLE_BUFFITER, HANDLE_CALL, HANDLE_CALLATTR
from ..core.netref import asyncreq, is_netref, syncreq
from ..core.proxies.deferred_methods import DeferredMetaclass, resolved
from ..errors import AccessDenied
from ..lib import primitives
from ..lib.colls import WeakValueDict
from ..lib.exact import exact
from ..lib.threads import spawn
from ..link.result import AsyncResult
from ..link.threaded import ThreadedLink

__all__ = [
    "HANDLE_BUFFITER",
    "HANDLE_CALL",
    "Async",
    "BgServingThread",
    "WeakValueDict",
    "async_",
    "asyncreq",
    "buffiter",
    "classpartial",
    "restricted",
    "timed",
]

logger = logging.getLogger("rpyc_like.utils")


class _Async:
    """A callable proxy whose calls return at once."""

    __slots__ = ("__weakref__", "proxy", "timeout")

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy
        self.timeout: float | None = None
        """Seconds after which results of calls made from now on expire."""

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncResult:
        return self._within(self.timeout, args, kwargs)

    def _within(self, timeout: float | None, args: Any, kwargs: dict[str, Any]) -> AsyncResult:
        pairs = tuple(kwargs.items())
        result: AsyncResult
        if timeout is None:
            result = asyncreq(self.proxy, HANDLE_CALL, args, pairs)
        else:
            request = object.__getattribute__(self.proxy, "____conn__").async_request
            result = request(HANDLE_CALL, self.proxy, args, pairs, timeout=timeout)
        return result

    def __repr__(self) -> str:
        return f"async_({self.proxy!r})"


_wrappers: WeakValueDictionary[Any, _Async] = WeakValueDictionary()


def async_(proxy: Any) -> _Async:
    """Returns a function that calls ``proxy`` and returns an AsyncResult at once.

    Raises:
        TypeError: ``proxy`` is not a proxy, or not callable.
    """
    if issubclass(type(proxy), _Async):  # a proxy may say that it is one
        return cast(_Async, proxy)
    if not is_netref(proxy):
        raise TypeError(f"expected a proxy of a remote object, got {type(proxy).__name__}")
    if not callable(proxy):
        raise TypeError("expected a proxy of something callable")
    if type(type(proxy)) is DeferredMetaclass:
        proxy = resolved(proxy)
    key = (
        id(object.__getattribute__(proxy, "____conn__")),
        object.__getattribute__(proxy, "____id_pack__"),
    )
    wrapper = _wrappers.get(key)
    if wrapper is None or wrapper.proxy is not proxy:
        wrapper = _wrappers[key] = _Async(proxy)
    return wrapper


Async = async_
globals()["async"] = async_  # a keyword since Python 3.7


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
        result = self.proxy._within(self.timeout, args, kwargs)
        result._cancelled_with_wait = True  # there is one wait for it, as for a plain call
        return result

    def __repr__(self) -> str:
        return f"timed({self.proxy.proxy!r}, {self.timeout!r})"


def buffiter(obj: Any, chunk: int = 10, max_chunk: int = 1000, factor: float = 2) -> Iterator[Any]:
    """Iterates over a remote object, with many items for each request.

    Items are read ahead, at most ``max_chunk`` of them. A local object is iterated over as it is.

    Args:
        chunk: how many items to ask for first.
        max_chunk: how many at most.
        factor: what the number is multiplied with after each request.

    Raises:
        ValueError: ``factor`` is below 1, or ``chunk`` is.
    """
    if factor < 1:
        raise ValueError(f"factor must be >= 1, got {factor!r}")
    if chunk < 1:
        raise ValueError(f"chunk must be >= 1, got {chunk!r}")
    return _chunks(obj, chunk, max_chunk, factor)


def _chunks(obj: Any, chunk: int, max_chunk: int, factor: float) -> Iterator[Any]:
    if not is_netref(obj):
        yield from obj
        return
    iterator = syncreq(obj, HANDLE_CALLATTR, "__iter__", (), ())
    count: float = chunk
    while items := exact(syncreq(iterator, HANDLE_BUFFITER, int(count)), tuple, "items"):
        if len(items) > count:
            raise ValueError(f"expected at most {int(count)} items, got {len(items)}")
        yield from items
        count = min(count * factor, max_chunk)


class _Restricted:
    """Gives some attributes of an object, and takes some."""

    __slots__ = ("__weakref__", "_obj", "_readable", "_writable")

    _obj: Any
    _readable: frozenset[str]
    _writable: frozenset[str]

    def __init__(self, obj: Any, readable: Collection[str], writable: Collection[str]) -> None:
        object.__setattr__(self, "_obj", obj)
        object.__setattr__(self, "_readable", frozenset(readable))
        object.__setattr__(self, "_writable", frozenset(writable))

    def _rpyc_getattr(self, name: str) -> Any:
        if name not in self._readable:
            raise AccessDenied(name)
        return getattr(self._obj, name)

    __getattr__ = _rpyc_getattr

    def _rpyc_setattr(self, name: str, value: Any) -> None:
        if name not in self._writable:
            raise AccessDenied(name)
        setattr(self._obj, name, value)

    __setattr__ = _rpyc_setattr

    def _rpyc_delattr(self, name: str) -> None:
        raise AccessDenied(name)

    __delattr__ = _rpyc_delattr

    def __dir__(self) -> list[str]:
        return sorted(self._readable)

    def __repr__(self) -> str:
        return f"<restricted {type(self._obj).__name__}>"


def restricted(obj: Any, attrs: Collection[str], wattrs: Collection[str] | None = None) -> Any:
    """Returns a view of ``obj`` that can be given to a peer in its place.

    Args:
        attrs: names that can be read.
        wattrs: names that can be set; ``attrs`` without it.
    """
    return _Restricted(obj, attrs, attrs if wattrs is None else wattrs)


class BgServingThread:
    """Serves a connection in a thread, so that callbacks arrive while nobody makes a request.

    Args:
        conn: the connection.
        callback: called without arguments when the connection has ended by itself, or something
            that was called here has raised an exception, which ends the thread.
        serve_interval, sleep_interval: accepted for compatibility; a callback is served when it
            arrives, and other threads need not be given time.
    """

    SERVE_INTERVAL: ClassVar[float] = 0.0
    SLEEP_INTERVAL: ClassVar[float] = 0.1
    _STOP_CHECK: ClassVar[float] = 0.1

    def __init__(
        self,
        conn: Any,
        callback: Callable[[], Any] | None = None,
        serve_interval: float = SERVE_INTERVAL,
        sleep_interval: float = SLEEP_INTERVAL,
    ) -> None:
        self._conn = conn
        self._callback = callback
        self._serve_interval = serve_interval
        self._sleep_interval = sleep_interval
        self._stopped = primitives.Event()
        self._thread = spawn(self._bg_server)

    @property
    def _active(self) -> bool:
        return not self._stopped.is_set()

    def _bg_server(self) -> None:
        link = getattr(self._conn, "_link", None)
        try:
            with link.serving() if isinstance(link, ThreadedLink) else nullcontext():
                while self._active:
                    self._conn.serve(self._STOP_CHECK)
        except Exception as error:  # of a result's callback, for example: nobody serves any more
            expected = isinstance(error, EOFError)
            if self._active and self._callback is not None:
                if not expected:
                    logger.exception("! %s: serving in the background has failed", self._conn)
                self._callback()
            elif not expected:
                raise
        finally:
            self._stopped.set()

    def stop(self) -> None:
        """Stops serving; returns when the thread has ended. Stopping twice is allowed."""
        self._stopped.set()
        if self._thread is not current_thread():
            self._thread.join()


def classpartial(*args: Any, **kwargs: Any) -> type:
    """Returns a service class whose instances are made with these arguments.

    A server makes one for each connection and passes none itself. The class is the first argument.
    """
    cls, *args = args  # type: ignore[assignment]

    class Partial(cls):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__(*args, **kwargs)

    Partial.__name__ = cls.__name__
    Partial.__qualname__ = cls.__qualname__
    Partial.__module__ = cls.__module__
    return Partial
