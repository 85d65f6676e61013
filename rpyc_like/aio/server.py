"""A server for asyncio programs: thousands of connections on one loop.

::

    async with aio.Server(MyService, port=18861) as server:
        await server.serve_forever()

Services are those of the blocking servers. ``async def`` methods run as tasks; plain ones in the
connection's thread, where proxies ask and wait as they do in blocking programs. Both find the
context variables that earlier requests of the connection have set.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

from ..core.channel import Channel
from ..core.service import Service
from ..lib import primitives
from ..lib.connection_threads import ConnectionThreads
from ..lib.settings import Kind, check_arguments, count, one_of
from ..lib.threads import spawn
from ..link.admission import Admission
from ..utils.base_server import Server as BaseServer
from .connection import Connection

__all__ = ["Server"]

MAX_THREADS = 1000
"""Default number of connections that may have a thread, for methods that are not ``async def``."""

_BESIDE = 20
"""Default number of threads for callbacks."""

_LAST = 2.0

ARGUMENTS: dict[str, Kind] = {
    "max_threads": count(0, optional=True),
    "threads": count(0, optional=True),
    "affinity": one_of("preferred", "strict"),
}
"""What the arguments must be that only this server has."""


class _ThreadedAcceptor(BaseServer):
    """Listens and lets clients in, in threads; passes them to the loop.

    Args:
        arrived: is given the socket and credentials of a client that has been let in.
        workers: for the connections.
    """

    def __init__(
        self,
        arrived: Callable[[Any, Any], None],
        workers: ConnectionThreads | None,
        service: Any,
        **options: Any,
    ) -> None:
        self._arrived = arrived
        self._workers = workers
        super().__init__(service, **options)

    def _accept_method(self, sock: Any) -> None:
        if self.authenticator is None:
            self._authenticate_and_serve_client(sock)
        else:
            self._begin(spawn, sock)  # it takes as long as the client likes

    def _makes_connections(self) -> bool:
        return type(self)._serve_client is _ThreadedAcceptor._serve_client

    def _serve_client(self, sock: Any, credentials: Any) -> bool:
        self._arrived(sock, credentials)
        return True

    def _connect(self, channel: Channel, config: dict[str, Any]) -> Any:
        make = getattr(self.service, "connect_in_loop", None)
        if make is not None:
            return make(channel, config, self._workers)
        root = self.service() if isinstance(self.service, type) else self.service
        return Connection(root, channel, config, workers=self._workers)

    def _hang_up(self, conn: Any) -> None:
        conn._link.lose(None)


class Server:
    """Serves clients on the running loop.

    It listens from :meth:`start` on (or ``async with``), until :meth:`close`.

    Args:
        service: a service class (one instance for each client) or an instance (shared).
        max_threads: most threads for what is not ``async def`` (1,000 by default), those not
            counted that wait for a client; 0 to do that on the loop, which then stands still
            meanwhile. A connection gets one with its first plain call. Callbacks have as many
            beside (20 by default).
        affinity: what happens when there are no more: with "preferred" the connection that has been
            idle for longest gives its thread up; with "strict" connections keep theirs to the end,
            and plain calls of others are refused.
        threads: the older name of ``max_threads``.
        options: those of :class:`rpyc_like.utils.server.Server`: ``hostname``, ``port``,
            ``socket_path``, ``sockets``, ``authenticator``, ``protocol_config``, ``grace`` ...

    Raises:
        AuthenticationError: the service gives full control to whoever connects, and ``insecure``
            is not set.
    """

    def __init__(
        self,
        service: type[Service] | Service,
        *,
        max_threads: int | None = None,
        affinity: str = "preferred",
        threads: int | None = None,
        **options: Any,
    ) -> None:
        check_arguments(ARGUMENTS, locals())
        if max_threads is not None and threads is not None:
            raise TypeError("expected 'max_threads' or its older name 'threads', got both")
        most = threads if max_threads is None else max_threads
        self._workers = None
        if most != 0:
            strict = affinity == "strict"
            self._workers = ConnectionThreads(most or MAX_THREADS, strict, most or _BESIDE)
        self._door = _ThreadedAcceptor(self._arrived, self._workers, service, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._arriving = primitives.RLock()  # guards the next two
        self._coming: set[Any] = set()  # sockets that the loop has not begun to serve
        self._closed = False  # whether none is begun any more
        self._ended: asyncio.Event | None = None

    @property
    def host(self) -> Any:
        """The address that the server listens on."""
        return self._door.host

    @property
    def port(self) -> Any:
        """The port that it listens on; of a unix socket its path."""
        return self._door.port

    @property
    def logger(self) -> logging.Logger:
        """Where the server logs."""
        return self._door.logger

    @property
    def admission(self) -> Admission:
        """Which clients that have shown nothing yet may stay; its attributes may be changed."""
        return self._door.admission

    @property
    def connections(self) -> list[Any]:
        """The connections of the clients that have been let in."""
        return list(self._door._connections.values())

    def fileno(self) -> int:
        """Returns the listening socket's descriptor."""
        return self._door.fileno()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- the life of a server

    async def start(self) -> None:
        """Begins to listen; clients are served while the loop runs."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._ended = asyncio.Event()
            try:
                self._door._listen()
                spawn(self._let_in)
            except BaseException:
                self._loop = None  # so that another call starts it
                raise

    def _let_in(self) -> None:
        """Accepts clients until the server is closed, in a thread."""
        try:
            self._door.start()
        finally:
            assert self._ended is not None
            self._on_loop(self._ended.set)

    async def serve_forever(self) -> None:
        """Serves until :meth:`close` is called, or SIGTERM comes.

        SIGTERM is handled in the main thread, unless the program handles it: the first one closes
        the server and lets running calls finish, a second one cuts them.
        """
        await self.start()
        assert self._ended is not None
        handles = self._handle_sigterm()
        try:
            await self._ended.wait()
        finally:
            if handles:
                asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            await self.close()

    def _handle_sigterm(self) -> bool:
        mine = threading.current_thread() is threading.main_thread()
        if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return False
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGTERM, lambda: spawn(self._door._terminate))
        except NotImplementedError:
            return False  # Windows
        return True

    async def close(self) -> None:
        """Stops listening, lets running calls finish for ``grace`` seconds, and hangs up.

        Idempotent.
        """
        await asyncio.to_thread(self._door.close)
        with self._arriving:  # threads may still let in who was accepted before
            self._closed = True
            late, self._coming = self._coming, set()
        for sock in late:
            self._door._drop(sock)
        clients = {task for task in self._clients if task is not asyncio.current_task()}
        if clients:
            await asyncio.wait(clients, timeout=_LAST)
        if self._workers is not None:
            self._workers.close()

    # -- clients

    def _on_loop(self, func: Callable[[], Any]) -> bool:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(func)
        except RuntimeError:
            return False  # the loop is closed
        return True

    def _arrived(self, sock: Any, credentials: Any) -> None:
        with self._arriving:
            taken = not self._closed and self._on_loop(lambda: self._begin(sock, credentials))
            if taken:
                self._coming.add(sock)
        if not taken:
            self._door._drop(sock)

    def _begin(self, sock: Any, credentials: Any) -> None:
        with self._arriving:
            if sock not in self._coming:
                return  # the server has been closed
            self._coming.remove(sock)
        assert self._loop is not None
        task = self._loop.create_task(self._serve(sock, credentials))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        # Not in the task itself, which does nothing if it is cancelled before it has begun.
        task.add_done_callback(lambda _: self._door._drop(sock))

    async def _serve(self, sock: Any, credentials: Any) -> None:
        """Serves a client until it is gone."""
        conn: Any = None
        client = self._door._admitted.get(sock)
        try:
            conn = self._door._make_connection(sock, credentials)
            await conn.open()
            await conn._link.ended.wait()
        except EOFError:
            pass
        except Exception as error:
            if client is not None:
                self._door._failed(client, error)
        finally:
            if conn is not None:
                await conn.close()
