"""EPC behind any of the servers of :mod:`rpyc_like.utils.server`, and over any stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..link.channel import client_of
from ..link.plain_peer import ServerConnection
from ..wire.framing import EpcFramer
from .client_manager import EPCClientManager
from .core import EPCCore
from .handler import ThreadingEPCHandler

if TYPE_CHECKING:
    from ..link.admission import Client

__all__ = ["EPCConnection", "EPCService"]


class EPCConnection(ThreadingEPCHandler, ServerConnection):
    """A connection over an open stream.

    Args:
        stream: the stream, which belongs to the connection from then on.
        server: whose methods the peer may call.
        config: what the server that listens knows about the peer.
        client: what that server counts the peer as.
    """

    def __init__(
        self,
        stream: Any,
        server: Any,
        config: dict[str, Any] | None = None,
        client: Client | None = None,
    ) -> None:
        self._known = config, client
        self.request = stream
        self.client_address = None
        self.server = server
        self.setup()

    def _prepare(self) -> None:
        super()._prepare()
        self.introduce(*self._known)

    def _count_for(self, client: Client) -> None:
        super()._count_for(client)
        self._calls.count_for(client.account.add)

    def serve(self) -> None:
        """Serves until the connection ends."""
        self.handle()


class EPCService(EPCClientManager, EPCCore):
    """Methods for Emacs, to be given to a server of this package instead of a service.

    ::

        service = EPCService()
        service.register_function(print)
        ThreadedServer(service, socket_path="/run/me/socket").start()

    Args:
        debugger, log_traceback, options: see :class:`.EPCCore`.
    """

    def __init__(self, debugger: Any = None, log_traceback: bool = False, **options: Any) -> None:
        EPCClientManager.__init__(self)
        EPCCore.__init__(self, debugger, log_traceback, **options)

    _make_framer = EpcFramer
    """Makes what cuts the bytes of a client into frames."""

    def get_service_name(self) -> str:
        """Returns what servers log."""
        return "EPC"

    def get_service_aliases(self) -> tuple[str, ...]:
        """Returns the names a registry knows the service under."""
        return ("EPC",)

    def _connect(self, channel: Any, config: dict[str, Any] | None = None) -> EPCConnection:
        """Begins a connection over the stream of a channel."""
        return EPCConnection(channel.stream, self, config, client_of(channel))
