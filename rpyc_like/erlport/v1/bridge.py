"""One conversation with Erlang in the manner of erlport 1.x: calls and messages, both ways."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import secrets
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from threading import current_thread, main_thread
from typing import Any, Final

from ...errors import AccessDenied, ConnectionClosed, LocalProtocolError, ProtocolError
from ...lib import primitives
from ...lib.brief import brief
from ...lib.guards.c_guards import Guard, call_for_peer
from ...lib.guards.in_flight import to_mark, under_way
from ...lib.settings import FLAG, FUNCTION, Kind, check_arguments, count, one_of
from ...lib.worker_pool import WorkerPool
from ...link.backlog import weight_of
from ...link.call_context import current
from ...link.result import AsyncResult
from ...link.streams import PipeStream
from ...wire.framing import MAX_FRAME_SIZE, ErlangFramer
from ...wire.meter import message_memory
from ..errors import CallError, Error
from ..peer import ErlangPeer
from .codec import CANCEL, ErlportCodec, Target, error_term
from .erlterms import CONTENTS, Atom, List, Terms
from .export_policy import public
from .handles import (
    BUILTINS,
    CALLS,
    GUARDED,
    MAX_HANDLES,
    MAX_HELD_MEMORY,
    MAX_ITEMS,
    Account,
    Handle,
    Handles,
    check_exported,
    next_items,
)

__all__ = ["BUILTIN_MODULE", "Instance", "any_module"]

logger = logging.getLogger("rpyc_like.erlport")

BUILTIN_MODULE: Final = "$rpyc_like"
_MOST_CANCELLED: Final = 1000  # some have been answered when nobody waits any more
_ID_BITS: Final = 128  # of the number of a request, in what is remembered
_DEEPEST: Final = 1000  # levels of containers in one another, as for other protocols
_PYTHON: Final = Atom(b"python")
_KWARGS: Final = Atom(b"$kwargs")

Resolver = Callable[[str, str], Callable[..., Any]]


def any_module(module: str, function: str) -> Callable[..., Any]:
    """Returns a function of any module, which is imported if need be; both may be dotted."""
    found: Any = importlib.import_module(module)
    for part in function.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _same(value: Any) -> Any:
    return value


ARGUMENTS: dict[str, Kind] = {
    "packet": one_of(1, 2, 4),
    "pickled": FLAG,
    "threads": count(0, optional=True),
    "cancels": FLAG,
    "resolve": FUNCTION,
    "max_handles": count(1),
    "max_held_memory": count(1, optional=True),
    "max_items": count(1),
    "max_frame_size": count(1),
    "max_inflated_size": count(1),
    "max_memory": count(1, optional=True),
}
"""What the arguments of :class:`Instance` must be, those that have a kind."""


class Instance:
    """Calls from Erlang, and calls of Erlang.

    Args:
        stream: an open stream; standard input and output, moved away, without it.
        packet: size of the length before each message, in bytes: 1, 2 or 4.
        compressed: whether terms are compressed when written; a level of zlib's.
        none, text, binaries, max_inflated_size, max_memory: see :class:`.Terms`.
        pickled, max_handles: see :class:`.Handles`.
        max_held_memory: bytes of memory for values of the peer's own that it has kept here.
        max_items: how many items are taken of an iterator for one request.
        threads: how many calls are served at once; one after the other, in the thread of
            :meth:`serve`, without it.
        cancels: whether the peer is this package's own Erlang module, which is told when nobody
            waits for an answer any more.
        resolve: returns what is called, given the names of a module and a function.
        max_frame_size: longest message to accept, in bytes.
    """

    _max_items = MAX_ITEMS

    def __init__(
        self,
        stream: Any = None,
        *,
        packet: int = 4,
        compressed: Any = False,
        none: str = "undefined",
        text: str = "list",
        binaries: str = "bytes",
        pickled: bool = False,
        threads: int | None = None,
        cancels: bool = False,
        resolve: Resolver = any_module,
        max_handles: int = MAX_HANDLES,
        max_held_memory: int | None = MAX_HELD_MEMORY,
        max_items: int = MAX_ITEMS,
        max_frame_size: int = MAX_FRAME_SIZE,
        **options: Any,
    ) -> None:
        check_arguments(ARGUMENTS, {**locals(), **options})
        framer = ErlangFramer(packet, max_frame_size)
        self.handles = Handles(max_handles, pickled, max_held_memory)
        self.codec = ErlportCodec(Terms(none, text, binaries, self.handles, **options), compressed)
        if stream is None:
            stream = PipeStream.from_std()
        self.peer = ErlangPeer(stream, framer, self.codec, self)
        self.peer.link.queued.weigh = partial(weight_of, contents=CONTENTS)
        self.peer.session.pending.numbers = itertools.count(secrets.randbits(60))
        self.encoder: Callable[[Any], Any] = _same
        self.decoder: Callable[[Any], Any] = _same
        self.message_handler: Callable[[Any], Any] = _same
        self.failure: BaseException | None = None
        """Why the conversation ended, if not because Erlang wanted it to."""
        self._resolve = resolve
        self._max_items = max_items
        self._max_result = message_memory(0, options.get("max_memory"))
        self._cancels = cancels
        self._cancelled: dict[Any, None] = {}  # the last requests that need no answer any more
        self._pool = WorkerPool(threads) if threads and threads > 1 else None
        if self._pool is not None:
            pool = self._pool
            self.peer.link.workers = lambda func, mark: pool.run(func, object())
        self._self: Any = None

    # -- serving

    def serve(self) -> None:
        """Serves until the connection ends."""
        if self._pool is None:
            self.peer.serve_here()
        else:
            self.peer.link.serve_forever()

    def close(self) -> None:
        """Hangs up. Idempotent."""
        self.peer.close()

    def answer(self, id_: Any, target: Target, args: Any) -> None:
        """Does what is asked and sends one answer."""
        codec = self.codec
        if self._is_cancelled(id_):
            return
        try:
            if target.problem is not None:
                raise target.problem
            with self.peer.link.queued.serving(args):
                payload = codec.encode_reply(id_, self._call(id_, target, args))
        except ConnectionClosed:
            if self.peer.link.closed:
                raise
            payload = self._failure(id_)
        except (KeyboardInterrupt, SystemExit):
            if current_thread() is main_thread():
                raise
            payload = self._failure(id_)
        except BaseException:
            payload = self._failure(id_)
        if self._is_cancelled(id_):
            return
        try:
            with self.peer.link.queued.holding(len(payload)):
                self.peer.batch.send(payload)
        except ProtocolError as error:  # too long, or the server's clients hold too much
            self.peer.batch.send(codec.encode_failure(id_, _python_error(error, ())))

    def _is_cancelled(self, id_: Any) -> bool:
        if not self._cancelled or type(id_) is not int or id_ not in self._cancelled:
            return False
        self._cancelled.pop(id_, None)
        return True

    def _look(self, id_: Any) -> None:
        """Raise if nobody waits for an answer any more."""
        if self.peer.link.closed:
            raise self.peer.link.closed_error()
        if type(id_) is int and id_ in self._cancelled:
            raise Error("the call was cancelled")

    def _call(self, id_: Any, target: Target, args: Any) -> Any:
        if target.module == BUILTIN_MODULE:
            if self._resolve is not any_module:
                check_exported(self.handles, target.function, args)
            return self._builtin(target.function, args, id_)
        func = self._resolve(target.module, target.function)
        decoder = self.decoder
        kwargs: dict[str, Any] = {}
        if args and _is_kwargs(args[-1]):
            kwargs = {name: decoder(value) for name, value in _kwargs(args[-1][1]).items()}
            args = args[:-1]
        if decoder is not _same:
            args = map(decoder, args)
        value = self._do(func, args, kwargs)
        return self.encoder(value)  # which the function may have set

    def _builtin(self, name: str, args: Any, id_: Any = None) -> Any:
        if name == "release":
            return self.handles.release(*args)
        if name == "held":
            return len(self.handles)
        kwargs: dict[str, Any] = {}
        if args and _is_kwargs(args[-1]):
            args, kwargs = args[:-1], _kwargs(args[-1][1])
        if kwargs and name not in CALLS and name != "keep":  # the policy looks at args[0]
            raise TypeError(f"expected no named arguments of {name}, got {brief(sorted(kwargs))}")
        guard = None if self._resolve is any_module else self._guard
        if name == "next" and len(args) == 2:
            return next_items(args[0], args[1], self._max_items, lambda: self._look(id_), guard)
        if name == "iterate" and len(args) == 1:
            return self.handles.export_iterator(args[0])
        if name == "setattr" and self._resolve is not any_module:
            raise AccessDenied("attributes are set only in programs that Erlang has started")
        if name == "keep":
            module, function, rest = args
            if type(module) is not Atom or type(function) is not Atom:
                raise TypeError(f"expected two atoms and a list, got {brief(args)}")
            return Handle(self._do(self._resolve(module.text, function.text), rest, kwargs))
        if name in CALLS:
            func, args = CALLS[name](*args)
            return self._do(func, args, kwargs)
        if name in GUARDED:
            return GUARDED[name](guard, *args, **kwargs)
        func = BUILTINS.get(name)
        if func is None:
            known = sorted(
                {*BUILTINS, *CALLS, *GUARDED, "held", "iterate", "keep", "next", "release"}
            )
            raise AttributeError(f"expected one of {', '.join(known)}, got {name!r}")
        return func(*args, **kwargs)

    def _do(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call what Erlang names, if it may do everything or the policy allows it."""
        if isinstance(args, map):
            args = list(args)  # what the program's decoder makes of them
        if type(args) not in (list, tuple, List):
            raise TypeError(f"expected a list of arguments, got {brief(args)}")
        if self._resolve is not any_module:
            return call_for_peer(self._guard, func, tuple(args), kwargs)
        return func(*args, **kwargs)

    @cached_property
    def _guard(self) -> Guard:
        """The guard of functions in C for a peer that may not do everything."""
        limits = {"max_steps": self._max_items, "max_depth": _DEEPEST, "allow_ladders": False}
        return Guard(
            *(limits, self._open_account, self._max_result, "max_items", None),
            keeper=self.handles.made,
        )

    def _open_account(self) -> Account:
        """Return an account of the items that are taken for the request being served."""
        served = current()
        id_ = served[1] if served is not None and served[0] is self.peer.link else None
        return self.handles.open_account(self._max_items, lambda: self._look(id_))

    def _failure(self, id_: Any) -> bytes:
        error = sys.exc_info()[1]
        assert error is not None
        term = error_term(error)
        if term is None:
            # without the frames of this file
            frames = traceback.extract_tb(error.__traceback__)
            shown = [frame for frame in frames if frame.filename not in _HIDDEN]
            term = _python_error(error, shown)
        try:
            return self.codec.encode_failure(id_, term)
        except ValueError as problem:
            return self.codec.encode_failure(id_, _python_error(problem, ()))

    def message(self, payload: Any) -> None:
        """Hands a message to the message handler, or forgets a request."""
        kind, value = payload
        if kind == CANCEL:
            if type(value) is int and value.bit_length() <= _ID_BITS:
                self._cancelled[value] = None
                while len(self._cancelled) > _MOST_CANCELLED:
                    self._cancelled.pop(next(iter(self._cancelled)), None)
            return
        try:
            self.message_handler(value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            if self.peer.link.closed:
                return
            logger.warning("! message handler: %r", error)
            frames = traceback.extract_tb(error.__traceback__)
            told = [error_term(error) or _python_error(error, frames), _python_error(error, ())]
            for term in told:  # the second one where there is no room for the first
                with contextlib.suppress(ConnectionClosed, ValueError, LocalProtocolError):
                    self.peer.link.send(self.codec.encode_message_failure(term))
                    return

    def disconnected(self, error: BaseException | None) -> None:
        """Forgets what the peer held."""
        self.handles.clear()
        if isinstance(error, ProtocolError):
            self.failure = error

    # -- calls of Erlang

    def call(
        self,
        module: Any,
        function: Any,
        args: Any,
        timeout: float | None = None,
        context: bytes = b"N",
    ) -> Any:
        """Calls a function of Erlang's and returns its value; serves what comes in meanwhile.

        Raises:
            CallError: it failed.
            TimeoutError: it took longer than ``timeout`` seconds.
            EOFError: the connection has ended.
        """
        if under_way and (use := to_mark()) is not None:
            with use.asking():
                return use.take(self.call(module, function, args, timeout, context))
        target, args = self._prepared(module, function, args, context)
        result = self.peer.link.exchange(target, args, timeout)
        if not result._ready:
            error = self.peer.expire(result)
            self._cancel(result)
            raise error
        return self.decoder(result.value)

    def async_call(self, module: Any, function: Any, args: Any) -> AsyncResult:
        """Calls a function of Erlang's and returns the :class:`AsyncResult` of its value."""
        target, args = self._prepared(module, function, args, b"N")
        return self.peer.call(target, args)

    def _prepared(
        self, module: Any, function: Any, args: Any, context: bytes
    ) -> tuple[Target, list[Any]]:
        if not isinstance(args, list):
            raise TypeError(f"expected a list of arguments, got {type(args).__name__}")
        return Target(Atom(module), Atom(function), context), list(map(self.encoder, args))

    def cancel(self, result: AsyncResult) -> bool:
        """Gives up a call of Erlang's; returns whether it was still waited for."""
        if result._ready:
            return False
        self.peer.expire(result)
        result.settle(True, CallError((Atom(b"python"), Atom(b"cancelled"), None, [])))
        result.run_callbacks()
        self._cancel(result)
        return True

    def _cancel(self, result: AsyncResult) -> None:
        if self._cancels:
            with contextlib.suppress(ConnectionClosed):
                self.peer.link.send(self.codec.encode_cancel(result.id_))

    def cast(self, to: Any, message: Any) -> None:
        """Sends a message to a pid, a registered name, or ``(name, node)``."""
        self.peer.link.send(self.codec.encode_message(to, message))

    def self(self) -> Any:
        """Returns the pid of Erlang's side of the connection."""
        if self._self is None:
            self._self = self.call(b"erlang", b"self", [], context=b"L")
        return self._self

    def make_ref(self) -> Any:
        """Returns a reference that is like no other."""
        return self.call(b"erlang", b"make_ref", [], context=b"L")

    def write_output(self, text: str) -> None:
        """Has Erlang print a text."""
        self.peer.link.send(self.codec.encode_print(text))

    # -- which one

    _default: Instance | None = None
    _lock = primitives.RLock()  # guards _default

    def make_default(self) -> None:
        """Makes this the instance of the functions in :mod:`.erlang`."""
        with Instance._lock:
            Instance._default = self

    @staticmethod
    def current() -> Instance:
        """Returns the instance whose call is being served, or else the default one.

        Raises:
            RuntimeError: there is none.
        """
        served = current()
        if served is not None:
            handler = getattr(served[0].application, "handler", None)
            if isinstance(handler, Instance):
                return handler
        if Instance._default is None:
            raise RuntimeError("this program was not started by Erlang, and serves no call of its")
        return Instance._default


_HIDDEN: Final = (__file__, importlib.__file__, "<frozen importlib._bootstrap>")


def _is_kwargs(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and value[0] is _KWARGS


def _kwargs(value: Any) -> dict[str, Any]:
    pairs = value.items() if isinstance(value, Mapping) else value
    return {_keyword(name): one for name, one in pairs}


def _keyword(name: Any) -> str:
    if isinstance(name, Atom):
        return name.text
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str):
        return name
    raise TypeError(f"expected an atom as the name of an argument, got {brief(name)}")


def _python_error(error: BaseException, frames: Any) -> Any:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"[-255:]
    try:
        text = str(error).encode("utf-8", "replace").decode()
    except Exception:
        text = f"{kind.__name__}, whose text cannot be made"
    stack = traceback.format_list(list(frames))
    return (_PYTHON, Atom(name), text, stack[::-1])


def only(modules: Mapping[str, Any]) -> Resolver:
    """Returns a resolver for what is registered: public names of these objects."""

    def resolve(module: str, function: str) -> Callable[..., Any]:
        if module not in modules:
            raise AccessDenied(f"no module {module!r} is served here")
        found = modules[module]
        return public(found, function)  # type: ignore[no-any-return]

    return resolve
