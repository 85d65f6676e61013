"""Erlang behind any of the servers of :mod:`rpyc_like.utils.server`, over ``{packet, 4}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..lib.settings import check_arguments
from ..link.channel import client_of
from ..link.plain_peer import ServerConnection
from ..wire.framing import ErlangFramer
from . import erlproto
from .erlproto import Port, Protocol
from .v1 import bridge
from .v1.bridge import Instance, any_module, only
from .v1.export_policy import warn_of_tools

if TYPE_CHECKING:
    from ..link.admission import Client

__all__ = ["ErlangConnection", "ErlangService", "PortConnection", "PortService"]


class ErlangConnection(Instance, ServerConnection):
    """A connection from Erlang to a server."""

    def _count_for(self, client: Client) -> None:
        super()._count_for(client)
        self.handles.count_for(client.account.add)


class PortConnection(ServerConnection):
    """A connection whose requests a protocol handles.

    Args:
        port: the connection.
        protocol: handles the requests.
    """

    def __init__(self, port: Port, protocol: Protocol) -> None:
        self.port = port
        self.peer = port.peer
        self.close = port.close
        self.serve = lambda: protocol.run(port)
        port.protocol = protocol  # for a server that reads by itself

    def _count_for(self, client: Client) -> None:
        self.peer.count_for(client, self.port)


class _Service:
    """What servers ask of a service."""

    _packet = 4

    def _make_framer(self) -> ErlangFramer:
        """Returns what cuts the bytes of a client into frames."""
        return ErlangFramer(self._packet)

    def get_service_name(self) -> str:
        """Returns what servers log."""
        return "ERLANG"

    def get_service_aliases(self) -> tuple[str, ...]:
        """Returns the names a registry knows the service under."""
        return ("ERLANG",)


class ErlangService(_Service):
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
        check_arguments(bridge.ARGUMENTS, options)
        # A pickle may run any code. Servers ask for an authenticator then.
        self.full_control = all_modules or bool(options.get("pickled"))
        modules = dict(modules or {})
        if not all_modules:
            warn_of_tools(modules)
        self._resolve = any_module if all_modules else only(modules)
        self._options = options

    def _connect(self, channel: Any, config: dict[str, Any] | None = None) -> ErlangConnection:
        """Begins a connection over the stream of a channel."""
        connection = ErlangConnection(channel.stream, resolve=self._resolve, **self._options)
        connection.introduce(config, client_of(channel))
        return connection


class PortService(_Service):
    """A protocol in the manner of erlport 0.6, to be given to a server of this package.

    Args:
        protocol: makes the :class:`.Protocol` of each connection: its class, for example.
        packet: size of the length before each term, in bytes: 1, 2 or 4.
        options: see :class:`.Port`.
    """

    def __init__(self, protocol: Callable[[], Protocol], packet: int = 4, **options: Any) -> None:
        check_arguments(erlproto.ARGUMENTS, {"packet": packet, **options})
        self._protocol = protocol
        self._packet = packet
        self._options = options

    def _connect(self, channel: Any, config: dict[str, Any] | None = None) -> PortConnection:
        """Begins a connection over the stream of a channel."""
        port = Port(self._packet, stream=channel.stream, **self._options)
        connection = PortConnection(port, self._protocol())
        connection.introduce(config, client_of(channel))
        return connection
