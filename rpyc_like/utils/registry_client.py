"""Those who ask a registry: servers that enter themselves, clients that look for them."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from ..errors import ProtocolError
from ..lib.settings import PORT, checked
from .registry_protocol import Seal, answer_of, make_message
from .registry_server import MAX_DGRAM_SIZE, REGISTRY_PORT, Address

__all__ = ["RegistryClient", "TCPRegistryClient", "UDPRegistryClient"]

_MOST_ANSWERS = 100  # to one broadcast


class RegistryClient:
    """Base of those who ask a registry.

    Args:
        ip: where the registry is.
        timeout: seconds that an answer may take.
        secret: what the registry knows too, if it wants messages sealed.
    """

    REREGISTER_INTERVAL: ClassVar[float] = 60

    def __init__(
        self,
        ip: str,
        port: int,
        timeout: float,
        logger: logging.Logger | None = None,
        secret: bytes | None = None,
    ) -> None:
        self._seal = None if secret is None else Seal(secret)
        self.ip = ip
        self.port = checked("argument 'port'", PORT, port)
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

    def _message(self, command: str, args: tuple[Any, ...]) -> tuple[bytes, bytes]:
        """Returns a message to send, and the nonce that its answer must have."""
        message = make_message(command, args)
        return (message, b"") if self._seal is None else self._seal.close(message)

    def _answers(self, command: str, data: bytes, nonce: bytes) -> list[Any]:
        """Return the answer that was received, in a list; an empty one for anything else.

        Whatever comes from whom, it raises nothing here.
        """
        try:
            if self._seal is not None:
                data, _ = self._seal.open(data, nonce)
            return [answer_of(command, data)]
        except (ProtocolError, TypeError, ValueError) as error:
            self.logger.debug("not an answer of the registry: %s", error)
            return []

    def _note_silence(self, ignored: int) -> None:
        """Log that messages have come, and none that is an answer."""
        if ignored:
            self.logger.warning("no answer of the registry, ignored %d other messages", ignored)

    def discover(self, name: str) -> tuple[Address, ...]:
        """Returns where a service runs; an empty tuple if nobody knows."""
        for answer in self._ask("", "QUERY", name):
            if answer:
                found: tuple[Address, ...] = answer
                return found
        return ()

    def list(self, filter_host: str | None = None) -> tuple[str, ...] | None:
        """Returns the names of services; None if the registry does not tell.

        Args:
            filter_host: only those that run there.
        """
        answers = list(self._ask("", "LIST", (filter_host,)))
        told = [answer for answer in answers if answer is not None]
        if answers and not told:
            return None
        return tuple(dict.fromkeys(name for names in told for name in names))

    def register(self, aliases: Iterable[str], port: int, interface: str = "") -> bool:
        """Enters services of this machine; returns whether a registry has confirmed it.

        Args:
            interface: the address that the service is bound to.
        """
        self.logger.info("registering on %s:%s", self.ip, self.port)
        try:
            for _ in self._ask(interface, "REGISTER", tuple(aliases), port):
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
        secret: bytes | None = None,
    ) -> None:
        super().__init__(ip, port, timeout, logger, secret)
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
            message, nonce = self._message(command, args)
            sock.sendto(message, address)
            answered = ignored = 0
            while answered < _MOST_ANSWERS and (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data, _ = sock.recvfrom(MAX_DGRAM_SIZE + 1)
                except TimeoutError:
                    break
                except OSError:  # a message could not be delivered; another registry may answer
                    continue
                for answer in self._answers(command, data, nonce):
                    answered += 1
                    yield answer
                    if not self.bcast:
                        return
                ignored += not answered
            if not answered:
                self._note_silence(ignored)


class TCPRegistryClient(RegistryClient):
    """Asks one registry over TCP."""

    def __init__(
        self,
        ip: str,
        port: int = REGISTRY_PORT,
        timeout: float = 2,
        logger: logging.Logger | None = None,
        secret: bytes | None = None,
    ) -> None:
        super().__init__(ip, port, timeout, logger, secret)

    def _get_logger(self) -> logging.Logger:
        return logging.getLogger("REGCLNT/TCP")

    def _ask(self, interface: str, command: str, *args: Any) -> Iterator[Any]:
        source = (interface, 0) if interface else None
        with socket.create_connection((self.ip, self.port), self.timeout, source) as sock:
            message, nonce = self._message(command, args)
            deadline, data = time.monotonic() + self.timeout, b""
            with contextlib.suppress(OSError):  # the registry has hung up, or the time is over
                sock.sendall(message)
                while len(data) <= MAX_DGRAM_SIZE and (left := deadline - time.monotonic()) > 0:
                    sock.settimeout(left)
                    if not (got := sock.recv(MAX_DGRAM_SIZE + 1 - len(data))):
                        break
                    data += got
                    if answers := self._answers(command, data, nonce):
                        yield from answers
                        return
            self._note_silence(bool(data))
