"""Calls and messages to Erlang, from any thread of a program that Erlang has started.

In a call that another Erlang node makes over a socket, these go to that node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...link.result import AsyncResult
from ..errors import (
    CallError,
    DuplicateMessageId,
    Error,
    InvalidMessage,
    UnexpectedMessage,
    UnexpectedResponses,
    UnknownMessage,
)
from .bridge import Instance
from .handles import Handle

__all__ = [
    "CallError",
    "DuplicateMessageId",
    "Error",
    "Handle",
    "InvalidMessage",
    "UnexpectedMessage",
    "UnexpectedResponses",
    "UnknownMessage",
    "async_call",
    "call",
    "cancel",
    "cast",
    "make_ref",
    "module",
    "self",
    "set_decoder",
    "set_default_decoder",
    "set_default_encoder",
    "set_default_message_handler",
    "set_encoder",
    "set_message_handler",
]


def call(module: Any, function: Any, args: list[Any], timeout: float | None = None) -> Any:
    """Calls a function of Erlang's and returns its value; serves what comes in meanwhile.

    Args:
        module, function: atoms, or their names.
        args: a list of values.
        timeout: seconds that it may take, None for any time.

    Raises:
        CallError: the function failed.
        TimeoutError: it took too long.
        EOFError: Erlang has gone.
        ValueError: an argument is no term.
    """
    return Instance.current().call(module, function, args, timeout)


def async_call(module: Any, function: Any, args: list[Any]) -> AsyncResult:
    """Calls a function of Erlang's and returns the :class:`AsyncResult` of its value at once."""
    return Instance.current().async_call(module, function, args)


def cancel(result: AsyncResult) -> bool:
    """Gives up a call made with :func:`async_call`: who waits for it gets :class:`CallError`.

    Returns:
        Whether the answer was still to come. Under :mod:`rpyc_like`'s own Erlang module the process
        that runs the function is ended.
    """
    return Instance.current().cancel(result)


def cast(pid: Any, message: Any) -> None:
    """Sends a message to a pid, a registered name (an atom), or ``(name, node)``."""
    Instance.current().cast(pid, message)


def self() -> Any:
    """Returns the pid of the process that has started this program."""
    return Instance.current().self()


def make_ref() -> Any:
    """Returns a reference that is like no other."""
    return Instance.current().make_ref()


class _Module:
    """A module of Erlang's, whose functions are called like Python's.

    Args:
        name: the name of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, function: str) -> Callable[..., Any]:
        return lambda *args: call(self._name, function, list(args))

    def __repr__(self) -> str:
        return f"<Erlang module {self._name}>"


def module(name: str) -> Any:
    """Returns a module of Erlang's: ``module("lists").reverse([1, 2])``."""
    return _Module(name)


def set_encoder(encoder: Callable[[Any], Any]) -> None:
    """Has each result, and each argument of a call, go through ``encoder``; not what is in them."""
    _check(encoder)
    Instance.current().encoder = encoder


def set_decoder(decoder: Callable[[Any], Any]) -> None:
    """Has each argument, and each value of a call, go through ``decoder``; not what is in them."""
    _check(decoder)
    Instance.current().decoder = decoder


def set_message_handler(handler: Callable[[Any], Any]) -> None:
    """Has messages handled; without one they are dropped.

    What the handler raises ends the instance, as erlport does it.
    """
    _check(handler)
    Instance.current().message_handler = handler


def set_default_encoder() -> None:
    """Takes the encoder away."""
    set_encoder(_same)


def set_default_decoder() -> None:
    """Takes the decoder away."""
    set_decoder(_same)


def set_default_message_handler() -> None:
    """Takes the message handler away."""
    set_message_handler(_same)


def _same(value: Any) -> Any:
    return value


def _check(func: Any) -> None:
    if not callable(func):
        raise ValueError(f"expected a function, got {func!r:.100}")
