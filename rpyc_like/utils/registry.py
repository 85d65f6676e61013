"""The registry: which services run where, over UDP or TCP, on RPyC's wire.

A message is the brine of ``("RPYC", command, arguments)``, its answer that of a plain value.

==========  ===================  ====================================
command     arguments            answer
==========  ===================  ====================================
QUERY       name                 pairs of host and port
LIST        ``(host or None,)``  names; None if listing is not allowed
REGISTER    names, port          ``"OK"``
UNREGISTER  port                 ``"OK"``
==========  ===================  ====================================

A server enters the address that a message comes from, and nothing else: nobody registers or removes
somebody else. What is no message is not answered, answers over UDP fit into one datagram, and each
address gets a bounded number of them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from ..core import brine
from ..errors import ProtocolError
from ..lib.threads import spawn
from ..link.streams.base import READ, WakePipe, wait_for_fds

__all__ = [
    "DEFAULT_PRUNING_TIMEOUT",
    "MAX_DGRAM_SIZE",
    "REGISTRY_PORT",
    "RegistryClient",
    "RegistryServer",
    "TCPRegistryClient",
    "TCPRegistryServer",
    "UDPRegistryClient",
    "UDPRegistryServer",
]

REGISTRY_PORT = 18811
DEFAULT_PRUNING_TIMEOUT = 4 * 60
MAX_DGRAM_SIZE = 1500

_MAGIC = "RPYC"
_MAX_DEPTH = 8
_MAX_NAMES = 50
_MAX_NAME = 200

Address = tuple[str, int]


def _parse(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """Returns command and arguments of a message.

    Raises:
        ProtocolError, ValueError: it is none.
    """
    message = brine.load(data, _MAX_DEPTH, 20)
    if type(message) is not tuple or len(message) != 3:
        raise ValueError(f"expected a message of three items, got {message!r:.80}")
    magic, command, args = message
    if magic != _MAGIC or type(command) is not str or type(args) is not tuple:
        raise ValueError(f"expected ('RPYC', command, arguments), got {message!r:.80}")
    return command.upper(), args


def _port(value: Any) -> int:
    if type(value) is not int or not 0 < value < 65536:
        raise ValueError(f"expected a port, got {value!r:.80}")
    return value


def _name(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= _MAX_NAME:
        raise ValueError(f"expected the name of a service, got {value!r:.80}")
    return value.upper()


def _plain_host(host: str) -> str:
    """Returns an address as text, an IPv4 address that came over IPv6 as itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class _Rate:
    """How many answers an address gets: a number at once, and so many more each second."""

    def __init__(self, burst: int = 100, per_second: float = 50.0, addresses: int = 4096) -> None:
        self._burst = burst
        self._per_second = per_second
        self._addresses = addresses
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, host: str) -> bool:
        """Counts one answer; returns whether it may be sent."""
        now = time.monotonic()
        left, seen = self._known.pop(host, (float(self._burst), now))
        left = min(self._burst, left + (now - seen) * self._per_second)
        self._known[host] = (max(0.0, left - 1), now)
        while len(self._known) > self._addresses:
            self._known.popitem(last=False)
        return left >= 1


class RegistryServer:
    """Base of registries.

    Args:
        listenersock: a bound socket.
        pruning_timeout: seconds after which a service that has not registered again is forgotten.
        logger: where to log.
        allow_listing: whether LIST is answered.
    """

    TIMEOUT: ClassVar[float] = 1.0
    MAX_ENTRIES: ClassVar[int] = 10_000

    def __init__(
        self,
        listenersock: socket.socket,
        pruning_timeout: float | None = None,
        logger: logging.Logger | None = None,
        allow_listing: bool = False,
    ) -> None:
        self.sock = listenersock
        self.port = self.sock.getsockname()[1]
        self.active = False
        self.services: dict[str, dict[Address, float]] = {}
        self.pruning_timeout = (
            DEFAULT_PRUNING_TIMEOUT if pruning_timeout is None else pruning_timeout
        )
        self.logger = self._get_logger() if logger is None else logger
        self.allow_listing = allow_listing
        self._lock = threading.Lock()  # guards services
        self._wake = WakePipe()
        self.sock.setblocking(False)
        self._rate = _Rate()

    def _get_logger(self) -> logging.Logger:
        raise NotImplementedError

    def __enter__(self) -> RegistryServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- what happens; for subclasses

    def on_service_added(self, name: str, addrinfo: Address) -> None:
        """Is told that a service has come."""

    def on_service_removed(self, name: str, addrinfo: Address) -> None:
        """Is told that a service has gone, or was not heard of for too long."""

    def _add_service(self, name: str, addrinfo: Address) -> None:
        with self._lock:
            entries = self.services.setdefault(name, {})
            is_new = addrinfo not in entries
            if is_new and sum(map(len, self.services.values())) >= self.MAX_ENTRIES:
                raise ValueError(f"the registry is full ({self.MAX_ENTRIES} entries)")
            entries[addrinfo] = time.monotonic()
        if is_new:
            self.on_service_added(name, addrinfo)

    def _remove_service(self, name: str, addrinfo: Address) -> None:
        with self._lock:
            entries = self.services.get(name, {})
            known = entries.pop(addrinfo, None) is not None
            if not entries:
                self.services.pop(name, None)
        if known:
            self.on_service_removed(name, addrinfo)

    def _prune(self) -> None:
        oldest = time.monotonic() - self.pruning_timeout
        with self._lock:
            stale = [
                (name, address)
                for name, entries in self.services.items()
                for address, heard in entries.items()
                if heard < oldest
            ]
        for name, address in stale:
            self.logger.debug("discarding stale %s:%s of %s", *address, name)
            self._remove_service(name, address)

    # -- commands

    def cmd_query(self, host: str, name: Any) -> tuple[Address, ...]:
        """Returns where a service runs, those heard of longest ago first."""
        self._prune()
        with self._lock:
            entries = self.services.get(_name(name), {})
            return tuple(sorted(entries, key=entries.__getitem__))

    def cmd_list(self, host: str, filter_host: Any) -> tuple[str, ...] | None:
        """Returns the names of services, of one host or of all; None if that is not allowed."""
        if not self.allow_listing:
            return None
        wanted = filter_host[0] if type(filter_host) is tuple and filter_host else None
        self._prune()
        with self._lock:
            return tuple(
                name
                for name, entries in self.services.items()
                if wanted is None or any(address[0] == wanted for address in entries)
            )

    def cmd_register(self, host: str, names: Any, port: Any) -> str:
        """Enters services of the host that the message came from."""
        if type(names) is not tuple or not 0 < len(names) <= _MAX_NAMES:
            raise ValueError(f"expected 1 to {_MAX_NAMES} names, got {names!r:.80}")
        address = (host, _port(port))
        for name in [_name(name) for name in names]:
            self._add_service(name, address)
        self.logger.debug("registered %s:%s as %s", *address, ", ".join(names))
        return "OK"

    def cmd_unregister(self, host: str, port: Any) -> str:
        """Removes what runs on a port of the host that the message came from."""
        address = (host, _port(port))
        for name in list(self.services):
            self._remove_service(name, address)
        self.logger.debug("unregistered %s:%s", *address)
        return "OK"

    # -- serving

    def _answer(self, data: bytes, host: str) -> bytes | None:
        """Returns the answer to a message, or None for none."""
        try:
            command, args = _parse(data)
            if command not in ("QUERY", "LIST", "REGISTER", "UNREGISTER"):
                raise ValueError(f"unknown command {command!r:.80}")
            value = getattr(self, f"cmd_{command.lower()}")(host, *args)
        except (ProtocolError, ValueError, TypeError, IndexError) as error:
            self.logger.warning("a message from %s: %s", host, error)
            return None
        answer = brine.dump(value)
        while len(answer) > MAX_DGRAM_SIZE:
            value = value[:-1]  # what does not fit is left out
            answer = brine.dump(value)
        return answer

    def _recv(self) -> tuple[bytes, Any]:
        """Returns the next message and where it came from.

        Raises:
            BlockingIOError: none has come.
        """
        raise NotImplementedError

    def _send(self, data: bytes, addrinfo: Any) -> None:
        raise NotImplementedError

    def _wait(self) -> None:
        """Waits until something has come, or the registry is closed."""
        wait_for_fds([(self.sock.fileno(), READ), (self._wake.fileno(), READ)], self.TIMEOUT)

    def _work(self) -> None:
        while self.active:
            try:
                self._wait()
                data, addrinfo = self._recv()
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, ValueError):
                if self.active:
                    self.logger.debug("cannot receive", exc_info=True)
                    time.sleep(0.05)
                continue
            host = _plain_host(addrinfo[0])
            answer = self._answer(data, host) if self._rate.allows(host) else None
            if answer is not None:
                with contextlib.suppress(OSError):
                    self._send(answer, addrinfo)

    def start(self) -> None:
        """Serves until :meth:`close` is called, or Ctrl-C."""
        self.active = True
        self.logger.debug("registry started on port %s", self.port)
        try:
            self._work()
        except KeyboardInterrupt:
            self.logger.warning("keyboard interrupt!")
        finally:
            self.close()

    def close(self) -> None:
        """Stops serving. Idempotent."""
        self.active = False
        self._wake.wake()
        self.sock.close()
        self.logger.debug("registry closed")


def _bound(kind: int, host: str, port: int, reuse: bool) -> socket.socket:
    info = socket.getaddrinfo(host, port, 0, kind, 0, socket.AI_PASSIVE)[0]
    sock = socket.socket(info[0], kind)
    try:
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(info[4])
    except BaseException:
        sock.close()
        raise
    return sock


class UDPRegistryServer(RegistryServer):
    """A registry that is asked by datagrams, also by broadcast.

    Args:
        host: the address to bind to; ``"::"`` for IPv6.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int = REGISTRY_PORT,
        pruning_timeout: float | None = None,
        logger: logging.Logger | None = None,
        allow_listing: bool = False,
    ) -> None:
        sock = _bound(socket.SOCK_DGRAM, host, port, reuse=False)
        super().__init__(sock, pruning_timeout, logger, allow_listing)

    def _get_logger(self) -> logging.Logger:
        return logging.getLogger(f"REGSRV/UDP/{self.port}")

    def _recv(self) -> tuple[bytes, Any]:
        return self.sock.recvfrom(MAX_DGRAM_SIZE + 1)

    def _send(self, data: bytes, addrinfo: Any) -> None:
        self.sock.sendto(data, addrinfo)


class TCPRegistryServer(RegistryServer):
    """A registry that is asked over TCP, one question for each connection."""

    TIMEOUT: ClassVar[float] = 3.0
    MAX_CLIENTS: ClassVar[int] = 100

    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int = REGISTRY_PORT,
        pruning_timeout: float | None = None,
        logger: logging.Logger | None = None,
        reuse_addr: bool = True,
        allow_listing: bool = False,
    ) -> None:
        sock = _bound(socket.SOCK_STREAM, host, port, reuse_addr)
        sock.listen(10)
        super().__init__(sock, pruning_timeout, logger, allow_listing)
        self._clients = threading.BoundedSemaphore(self.MAX_CLIENTS)

    def _get_logger(self) -> logging.Logger:
        return logging.getLogger(f"REGSRV/TCP/{self.port}")

    def _work(self) -> None:
        while self.active:
            try:
                self._wait()
                sock, addrinfo = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, ValueError):
                if self.active:
                    time.sleep(0.05)
                continue
            if self._clients.acquire(False):
                spawn(self._serve, sock, addrinfo)
            else:
                sock.close()

    def _serve(self, sock: socket.socket, addrinfo: Any) -> None:
        """Answers one client, who may take its time without holding up the others."""
        try:
            with contextlib.closing(sock), contextlib.suppress(OSError):
                sock.settimeout(self.TIMEOUT)
                answer = self._answer(sock.recv(MAX_DGRAM_SIZE + 1), _plain_host(addrinfo[0]))
                if answer is not None:
                    sock.sendall(answer)
        finally:
            self._clients.release()


class RegistryClient:
    """Base of those who ask a registry.

    Args:
        ip: where the registry is.
        timeout: seconds that an answer may take.
    """

    REREGISTER_INTERVAL: ClassVar[float] = 60

    def __init__(
        self, ip: str, port: int, timeout: float, logger: logging.Logger | None = None
    ) -> None:
        self.ip = ip
        self.port = port
        self.timeout = timeout
        self.logger = self._get_logger() if logger is None else logger

    def _get_logger(self) -> logging.Logger:
        raise NotImplementedError

    def _ask(self, interface: str, command: str, *args: Any) -> Iterator[Any]:
        """Yields the answers to a message, until the time is over.

        Args:
            interface: the address to ask from, if any.
        """
        raise NotImplementedError

    def discover(self, name: str) -> tuple[Address, ...]:
        """Returns where a service runs; an empty tuple if nobody knows."""
        for answer in self._ask("", "QUERY", name):
            if type(answer) is tuple and answer:
                return tuple((str(host), int(port)) for host, port in answer)
        return ()

    def list(self, filter_host: str | None = None) -> tuple[str, ...] | None:
        """Returns the names of services; None if the registry does not tell.

        Args:
            filter_host: only those that run there.
        """
        answers = list(self._ask("", "LIST", (filter_host,)))
        told = [answer for answer in answers if type(answer) is tuple]
        if answers and not told:
            return None
        return tuple(dict.fromkeys(str(name) for names in told for name in names))

    def register(self, aliases: Iterable[str], port: int, interface: str = "") -> bool:
        """Enters services of this machine; returns whether a registry has confirmed it.

        Args:
            interface: the address that the service is bound to.
        """
        self.logger.info("registering on %s:%s", self.ip, self.port)
        try:
            for answer in self._ask(interface, "REGISTER", tuple(aliases), port):
                if answer == "OK":
                    self.logger.info("registry %s:%s acknowledged", self.ip, self.port)
                    return True
        except OSError as error:
            self.logger.warning(
                "cannot register on %s:%s from %s: %s%s",
                *(self.ip, self.port, interface or "any address", error),
                " (the service can only be reached from this machine)"
                if _is_loopback(interface)
                else "",
            )
            return False
        self.logger.warning("no registry acknowledged")
        return False

    def unregister(self, port: int) -> None:
        """Removes what runs on a port of this machine."""
        self.logger.info("unregistering from %s:%s", self.ip, self.port)
        with contextlib.suppress(OSError):
            for _ in self._ask("", "UNREGISTER", port):
                return


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _message(command: str, args: tuple[Any, ...]) -> bytes:
    return brine.dump((_MAGIC, command, args))


def _answer_of(data: bytes) -> Any:
    """Returns a received answer; what is none counts as silence."""
    try:
        return brine.load(data, _MAX_DEPTH, 20)
    except ProtocolError:
        return ()


class UDPRegistryClient(RegistryClient):
    """Asks registries by datagrams, by default all that a broadcast reaches.

    Args:
        bcast: whether ``ip`` is a broadcast address; found out for 255.255.255.255.
        ipv6: whether to ask over IPv6.
    """

    def __init__(
        self,
        ip: str = "255.255.255.255",
        port: int = REGISTRY_PORT,
        timeout: float = 2,
        bcast: bool | None = None,
        logger: logging.Logger | None = None,
        ipv6: bool = False,
    ) -> None:
        super().__init__(ip, port, timeout, logger)
        self.bcast = ip == "255.255.255.255" if bcast is None else bcast
        self.ipv6 = ipv6

    def _get_logger(self) -> logging.Logger:
        return logging.getLogger("REGCLNT/UDP")

    def _ask(self, interface: str, command: str, *args: Any) -> Iterator[Any]:
        family = socket.AF_INET6 if self.ipv6 else socket.AF_INET
        address = socket.getaddrinfo(self.ip, self.port, family, socket.SOCK_DGRAM)[0][4]
        deadline = time.monotonic() + self.timeout
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
            if self.bcast and not self.ipv6:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if interface:
                sock.bind((interface, 0))
            sock.sendto(_message(command, args), address)
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data, _ = sock.recvfrom(MAX_DGRAM_SIZE)
                except (TimeoutError, ConnectionError):
                    return
                yield _answer_of(data)
                if not self.bcast:
                    return


class TCPRegistryClient(RegistryClient):
    """Asks one registry over TCP."""

    def __init__(
        self,
        ip: str,
        port: int = REGISTRY_PORT,
        timeout: float = 2,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(ip, port, timeout, logger)

    def _get_logger(self) -> logging.Logger:
        return logging.getLogger("REGCLNT/TCP")

    def _ask(self, interface: str, command: str, *args: Any) -> Iterator[Any]:
        source = (interface, 0) if interface else None
        with socket.create_connection((self.ip, self.port), self.timeout, source) as sock:
            sock.sendall(_message(command, args))
            try:
                data = sock.recv(MAX_DGRAM_SIZE)
            except TimeoutError:
                return
            if data:
                yield _answer_of(data)
