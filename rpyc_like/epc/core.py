"""Which methods there are, and where what happens is noted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from ..lib.guards.access_policy import check_call, public
from ..lib.settings import FLAG, Kind, check_arguments, count
from ..lib.worker_pool import WorkerPool
from ..wire.sexp.reader import Reader
from .accounts import MAX_KEPT_MEMORY

__all__ = ["EPCCore", "EPCDispatcher"]

F = TypeVar("F", bound=Callable[..., Any])

_MANY = 10_000

ARGUMENTS: dict[str, Kind] = {
    "log_traceback": FLAG,
    "max_kept_memory": count(1, optional=True),
    "max_threads": count(0, optional=True),
    "ordered": FLAG,
    "structured_errors": FLAG,
}
"""What the arguments of :class:`EPCCore` must be, those that have a kind."""


class EPCDispatcher:
    """Methods by name: functions that were registered, then those of one instance."""

    def __init__(self) -> None:
        self.funcs: dict[str, Callable[..., Any]] = {}
        self.instance: Any = None
        self.allow_dotted_names = False

    def register_instance(self, instance: Any, allow_dotted_names: bool = False) -> None:
        """Offers the methods of an object, but for those that begin with an underscore.

        Args:
            instance: may have ``_get_method(name)``, which is asked first.
            allow_dotted_names: whether ``a.b`` means an attribute of an attribute.
        """
        self.instance = instance
        self.allow_dotted_names = allow_dotted_names

    def register_function(self, function: F, name: str | None = None) -> F:
        """Offers a function, under its own name or another; returns it."""
        self.funcs[function.__name__ if name is None else name] = function
        return function

    def get_method(self, name: str) -> Callable[..., Any]:
        """Return the function of a name.

        Raises:
            AttributeError: there is none, or the access policy refuses it.
        """
        if name in self.funcs:
            return self.funcs[name]
        if self.instance is None:
            raise AttributeError(f"no method {name!r}")
        try:
            found: Callable[..., Any] = self.instance._get_method(name)
        except AttributeError:
            path = name.split(".") if self.allow_dotted_names else [name]
            found = public(self.instance, path)
            check_call(found, ())
        return found


class EPCCore(EPCDispatcher):
    """A dispatcher with a logger and a debugger, and how calls are served.

    Args:
        debugger: ``"pdb"``, ``"ipdb"``, something with ``post_mortem``, or None; called in the
            thread in which a method has failed, before the answer is sent.
        log_traceback: whether failures are logged with their traceback.
        reader: reads values, in another way than the usual one.
        max_threads: how many calls of all peers are served at once; any number without it.
        ordered: whether the calls of a peer are served one after the other.
        structured_errors: whether errors are told as lists instead of a text.
        max_kept_memory: how many bytes of memory calls of a peer may leave behind in what the
            program offers that it has not written itself, such as the methods of a list; any
            number with ``None``.
    """

    logger = logging.getLogger("epc")

    def __init__(
        self,
        debugger: Any = None,
        log_traceback: bool = False,
        *,
        reader: Reader | None = None,
        max_threads: int | None = None,
        ordered: bool = False,
        structured_errors: bool = False,
        max_kept_memory: int | None = MAX_KEPT_MEMORY,
    ) -> None:
        check_arguments(ARGUMENTS, locals())
        super().__init__()
        self.debugger: Any = None
        self.log_traceback = log_traceback
        self.reader = reader
        self.ordered = ordered
        self.structured_errors = structured_errors
        self.max_kept_memory = max_kept_memory
        self.pool = WorkerPool(max_threads or _MANY) if max_threads or ordered else None
        self.set_debugger(debugger)

    def take_credentials(self, request: Any) -> Any:
        """Returns what an authenticator has found out about a client, once; None without one."""
        return None

    def take_client(self, request: Any) -> Any:
        """Returns what has admitted a client, None where that is not counted here."""
        return None

    def set_debugger(self, debugger: Any) -> None:
        """Sets the debugger, or takes it away with None."""
        if debugger == "pdb":
            import pdb

            debugger = pdb
        elif debugger == "ipdb":
            import ipdb  # type: ignore[import-not-found,unused-ignore]

            debugger = ipdb
        self.debugger = debugger
