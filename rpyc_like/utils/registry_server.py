"""Registries: servers that know which services run where."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, ClassVar, TypeVar

from ..core import brine
from ..errors import ProtocolError
from ..lib.brief import brief
from ..lib.exact import exact
from ..lib.logging_setup import CountedWarning
from ..lib.os_errors import address_text, naming
from ..lib.settings import PORT, checked
from ..link.admission import Admission, Client
from ..link.listener import Listener
from ..link.streams.base import READ, WakePipe, wait_for_fds
from .registry_protocol import Seal, checked_name, checked_port, parse

__all__ = [
    "DEFAULT_PRUNING_TIMEOUT",
    "MAX_DGRAM_SIZE",
    "REGISTRY_PORT",
    "Address",
    "RegistryServer",
    "TCPRegistryServer",
    "UDPRegistryServer",
]

REGISTRY_PORT = 18811
DEFAULT_PRUNING_TIMEOUT = 4 * 60
MAX_DGRAM_SIZE = 1500

_MAX_NAMES = 50
_SEAL_SIZE = 110  # what a seal adds to an answer
_SURE_TO_FIT = 20  # items of an answer

Address = tuple[str, int]
T = TypeVar("T")


def _name(value: Any) -> str:
    """Return the name that a service is kept under: capitals may be more characters."""
    return checked_name(exact(value, str, "a name").upper())


def _plain_host(host: str) -> str:
    """Returns an address as text, an IPv4 address that came over IPv6 as itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


@lru_cache(maxsize=1 << 14)
def _owner(host: str) -> str:
    """Return to whom a host's entries are counted: of an IPv6 address, its /64 network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host


def _size(name: str) -> int:
    """Return how many bytes a name takes in an answer, at most."""
    return 5 + len(name.encode())


def _in_turns(items: Iterable[T], owner: Callable[[T], str]) -> list[T]:
    """Return items so that each owner's first come before anybody's second.

    An answer that is cut off then still has something of everybody.
    """
    places: Counter[str] = Counter()
    rounds: defaultdict[int, list[T]] = defaultdict(list)
    for item in items:
        one = owner(item)
        rounds[places[one]].append(item)
        places[one] += 1
    return [item for number in sorted(rounds) for item in rounds[number]]


class _RateLimiter:
    """How many answers a host gets: a number at once, and so many more each second."""

    def __init__(self, burst: int = 100, per_second: float = 50.0, hosts: int = 4096) -> None:
        self._burst = burst
        self._per_second = per_second
        self._hosts = hosts
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, host: str) -> bool:
        """Count one answer; return whether it may be sent.

        Args:
            host: whose entries are counted together as well; see :func:`_owner`.
        """
        now = time.monotonic()
        left, seen = self._known.pop(host, (float(self._burst), now))
        left = min(self._burst, left + (now - seen) * self._per_second)
        self._known[host] = (max(0.0, left - 1), now)
        while len(self._known) > self._hosts:
            self._known.popitem(last=False)
        return left >= 1


class RegistryServer:
    """Base of registries.

    Args:
        listenersock: a bound socket.
        pruning_timeout: seconds after which a service that has not registered again is forgotten.
        logger: where to log.
        allow_listing: whether LIST is answered.
        secret: what clients must know, at least 16 bytes; see :mod:`.registry_protocol`.
    """

    TIMEOUT: ClassVar[float] = 1.0

    MAX_ENTRIES: int = 10_000
    """Entries in all. A new one then takes the place of the oldest of the host with most."""

    MAX_ENTRIES_PER_HOST: int = 1000
    """Entries of one host, or of one IPv6 network (/64)."""

    def __init__(
        self,
        listenersock: socket.socket,
        pruning_timeout: float | None = None,
        logger: logging.Logger | None = None,
        allow_listing: bool = False,
        secret: bytes | None = None,
    ) -> None:
        self._seal = None if secret is None else Seal(secret)
        self.sock = listenersock
        self.port = self.sock.getsockname()[1]
        self.active = False
        self.services: dict[str, dict[Address, float]] = {}
        self.pruning_timeout = (
            DEFAULT_PRUNING_TIMEOUT if pruning_timeout is None else pruning_timeout
        )
        self.logger = self._get_logger() if logger is None else logger
        self.allow_listing = allow_listing
        self._lock = threading.RLock()  # guards services, _held and _total
        self._held: dict[str, dict[tuple[str, Address], None]] = {}
        """Entries of each owner, those heard of longest ago first."""
        self._total = 0
        self._complaints = CountedWarning(self.logger, "! a message from %s: %s")
        self._wake = WakePipe()
        self.sock.setblocking(False)
        self._rate = _RateLimiter()

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
        entry, owner = (name, addrinfo), _owner(addrinfo[0])
        with self._lock:
            is_new = addrinfo not in self.services.get(name, {})
            evicted = self._evicted() if is_new else None
            if evicted is not None:
                self._forget(*evicted)
            self.services.setdefault(name, {})[addrinfo] = time.monotonic()
            held = self._held.setdefault(owner, {})
            self._total += entry not in held
            held.pop(entry, None)
            held[entry] = None
        if evicted is not None:
            self.on_service_removed(*evicted)
        if is_new:
            self.on_service_added(name, addrinfo)

    def _share(self, owner: str) -> int:
        return len(self._held.get(owner, ()))

    def _check_room(self, owner: str, count: int) -> None:
        """Refuse new entries if there is no room for all of them.

        Raises:
            ValueError: the owner would have more than its share, or others have no more than it.
        """
        if not count:
            return
        with self._lock:
            share = self._share(owner)
            if share + count > self.MAX_ENTRIES_PER_HOST:
                raise ValueError(
                    f"expected at most {self.MAX_ENTRIES_PER_HOST} entries of {owner}, "
                    f"got {share + count}"
                )
            evicted = min(count, max(0, self._total + count - self.MAX_ENTRIES))
            others = {one: len(held) for one, held in self._held.items() if one != owner}
            share += count - evicted
            for _ in range(evicted):
                greediest = max(others, key=others.__getitem__, default=None)
                if greediest is None or share + 1 >= others[greediest]:
                    raise ValueError(
                        f"expected at most {self.MAX_ENTRIES} entries in all, "
                        f"got {self._total + count}"
                    )
                others[greediest] -= 1
                share += 1

    def _evicted(self) -> tuple[str, Address] | None:
        """Return the entry that a new one replaces; ``None`` if there is room."""
        if self._total < self.MAX_ENTRIES:
            return None
        return next(iter(self._held[max(self._held, key=self._share)]))

    def _forget(self, name: str, addrinfo: Address) -> bool:
        """Remove an entry, with the lock held; return whether it was there."""
        entry, owner = (name, addrinfo), _owner(addrinfo[0])
        held = self._held.get(owner, {})
        self._total -= entry in held
        held.pop(entry, None)
        if not held:
            self._held.pop(owner, None)
        entries = self.services.get(name, {})
        known = entries.pop(addrinfo, None) is not None
        if not entries:
            self.services.pop(name, None)
        return known

    def _remove_service(self, name: str, addrinfo: Address) -> None:
        with self._lock:
            known = self._forget(name, addrinfo)
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
        """Returns where a service runs, those heard of longest ago first.

        Of many, those of one host do not come one after the other.
        """
        self._prune()
        with self._lock:
            entries = self.services.get(_name(name), {})
            found = sorted(entries, key=entries.__getitem__)
        if len(found) > _SURE_TO_FIT:
            found = _in_turns(found, lambda address: _owner(address[0]))
        return tuple(found)

    def cmd_list(self, host: str, filter_host: Any) -> tuple[str, ...] | None:
        """Returns the names of services, of one host or of all; None if that is not allowed."""
        if not self.allow_listing:
            return None
        wanted = filter_host[0] if type(filter_host) is tuple and filter_host else None
        if wanted is not None:
            wanted = checked_name(wanted)
        self._prune()
        with self._lock:
            hosts = {
                name: next(iter(entries))[0]
                for name, entries in self.services.items()
                if wanted is None or any(address[0] == wanted for address in entries)
            }
        if sum(map(_size, hosts)) <= MAX_DGRAM_SIZE - _SEAL_SIZE:
            return tuple(hosts)
        # Short names first: a few long ones would fill the answer.
        found = sorted(hosts, key=_size)
        return tuple(_in_turns(found, lambda name: _owner(hosts[name])))

    def cmd_register(self, host: str, names: Any, port: Any) -> str:
        """Enters services of the host that the message came from."""
        if type(names) is not tuple or not 0 < len(names) <= _MAX_NAMES:
            raise ValueError(f"expected 1 to {_MAX_NAMES} names, got {brief(names)}")
        address = (host, checked_port(port))
        if (
            self._total >= self.MAX_ENTRIES
            or self._share(_owner(host)) >= self.MAX_ENTRIES_PER_HOST
        ):
            self._prune()
        wanted = {_name(name): None for name in names}
        new = [name for name in wanted if address not in self.services.get(name, {})]
        self._check_room(_owner(host), len(new))
        for name in wanted:
            self._add_service(name, address)
        self.logger.debug("registered %s:%s as %s", *address, ", ".join(wanted))
        return "OK"

    def cmd_unregister(self, host: str, port: Any) -> str:
        """Removes what runs on a port of the host that the message came from."""
        address = (host, checked_port(port))
        with self._lock:
            held = self._held.get(_owner(host), ())
            names = [name for name, entered in held if entered == address]
        for name in names:
            self._remove_service(name, address)
        self.logger.debug("unregistered %s:%s", *address)
        return "OK"

    # -- serving

    def _answer(self, data: bytes, host: str) -> bytes | None:
        """Returns the answer to a message, or None for none."""
        if not self._rate.allows(_owner(host)):
            return None
        nonce = None
        try:
            if self._seal is not None:
                data, nonce = self._seal.open(data)
            command, args = parse(data)
            if command not in ("QUERY", "LIST", "REGISTER", "UNREGISTER"):
                raise ValueError(f"unknown command {brief(command)}")
            value = getattr(self, f"cmd_{command.lower()}")(host, *args)
        except (ProtocolError, ValueError, TypeError) as error:
            self._complaints.count(host, error, cause=error)
            return None
        except Exception:  # of a program's on_service_added, for instance
            self.logger.exception("! a message from %s", host)
            return None
        answer = _fitting(value, MAX_DGRAM_SIZE - (0 if self._seal is None else _SEAL_SIZE))
        return answer if self._seal is None else self._seal.close(answer, nonce)[0]

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
            with contextlib.suppress(OSError, ValueError):  # of an address that is none
                host = _plain_host(addrinfo[0])
                answer = self._answer(data, host)
                if answer is not None:
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
        self._complaints.flush()
        self.logger.debug("registry closed")


def _fitting(value: Any, limit: int) -> bytes:
    """Return an answer; of many items, those at the end that do not fit are left out."""
    answer = brine.dump(value if type(value) is not tuple else value[:limit])
    if len(answer) <= limit:
        return answer
    fit, too_many = 0, min(len(value), limit)
    while too_many - fit > 1:
        middle = (fit + too_many) // 2
        if len(brine.dump(value[:middle])) <= limit:
            fit = middle
        else:
            too_many = middle
    return brine.dump(value[:fit])


def _bound(kind: int, host: str, port: int, reuse: bool) -> socket.socket:
    checked("argument 'port'", PORT, port)
    place = address_text(host, port)
    with naming(place):
        info = socket.getaddrinfo(host, port, 0, kind, 0, socket.AI_PASSIVE)[0]
    sock = socket.socket(info[0], kind)
    try:
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with naming(place):
            sock.bind(info[4])
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    """Close a socket if the server that it was made for cannot be made."""
    try:
        yield
    except BaseException:
        sock.close()
        raise


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
        secret: bytes | None = None,
    ) -> None:
        sock = _bound(socket.SOCK_DGRAM, host, port, reuse=False)
        with _closed_on_error(sock):
            super().__init__(sock, pruning_timeout, logger, allow_listing, secret)

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
        secret: bytes | None = None,
    ) -> None:
        sock = _bound(socket.SOCK_STREAM, host, port, reuse_addr)
        with _closed_on_error(sock):
            sock.listen(socket.SOMAXCONN)
            super().__init__(sock, pruning_timeout, logger, allow_listing, secret)
            timeout = self.TIMEOUT
            self.admission = Admission(
                self.MAX_CLIENTS,
                auth_timeout=timeout,
                logger=self.logger,
                bounded_by="MAX_CLIENTS of the registry's class",
            )
            """Which clients that have asked nothing yet may stay."""
            self._listener = Listener([self.sock], self.admission)
        self._silent: dict[int, tuple[socket.socket, Client]] = {}  # by their descriptors

    def _get_logger(self) -> logging.Logger:
        return logging.getLogger(f"REGSRV/TCP/{self.port}")

    def close(self) -> None:
        super().close()
        self._listener.close()
        self.admission.close()

    def _work(self) -> None:
        try:
            while self.active:
                self._turn()
        finally:
            for sock, client in self._silent.values():
                sock.close()
                client.leave()
            self._silent.clear()

    def _turn(self) -> None:
        """Wait for a client, or answer one."""
        try:
            sock = self._listener.turn()
        except (OSError, EOFError, ValueError):
            if self.active:
                time.sleep(0.05)
            return
        if sock is not None:
            descriptor = sock.fileno()
            self._silent[descriptor] = sock, self.admission.admit(sock, logs_in=True)
            self._listener.watch(descriptor, partial(self._serve, descriptor))

    def _serve(self, descriptor: int) -> None:
        """Answer a client that has sent something or gone; none is waited for."""
        self._listener.unwatch(descriptor)
        sock, client = self._silent.pop(descriptor)
        with contextlib.closing(sock), contextlib.suppress(OSError):
            sock.setblocking(False)
            data, addrinfo = sock.recv(MAX_DGRAM_SIZE + 1), client.address
            answer = self._answer(data, _plain_host(addrinfo[0])) if data and addrinfo else None
            if answer is not None:
                client.spoke()
                sock.send(answer)
        client.leave()
