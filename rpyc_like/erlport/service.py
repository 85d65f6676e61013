"""Erlang behind any of the servers of :mod:`rpyc_like.utils.server`, over ``{packet, 4}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .modern.instance import Instance, any_module, only

__all__ = ["ErlangConnection", "ErlangService"]


class ErlangConnection(Instance):
    """A connection from Erlang to a server."""

    heard = True

    @property
    def _link(self) -> Any:
        return self.peer.link

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self.peer.link.closed

    def _unanswered(self) -> set[Any]:
        return {*tuple(self.peer.link.running)}

    def serve_all(self) -> None:
        """Serves until the connection ends."""
        try:
            self.serve()
        finally:
            self.close()


class ErlangService:
    """Functions for Erlang, to be given to a server of this package instead of a service.

    ::

        service = ErlangService({"math": math})
        ThreadedServer(service, port=18900).start()

    Args:
        modules: what Erlang may call: objects by the names that Erlang uses for modules. Names that
            begin with an underscore are refused.
        all_modules: whether Erlang may call everything in this process, as it may in a program that
            it has started. Whoever can connect has full control then.
        options: see :class:`.Instance`.
    """

    def __init__(
        self, modules: Mapping[str, Any] | None = None, *, all_modules: bool = False, **options: Any
    ) -> None:
        self.full_control = all_modules  # servers ask for an authenticator then
        self._resolve = any_module if all_modules else only(dict(modules or {}))
        self._options = options

    def get_service_name(self) -> str:
        """Returns what servers log."""
        return "ERLANG"

    def get_service_aliases(self) -> tuple[str, ...]:
        """Returns the names a registry knows the service under."""
        return ("ERLANG",)

    def _connect(self, channel: Any, config: dict[str, Any] | None = None) -> ErlangConnection:
        """Begins a connection over the stream of a channel."""
        return ErlangConnection(channel.stream, resolve=self._resolve, **self._options)
