"""Victims that speak EPC and Erlang, for what both must guarantee."""

from __future__ import annotations

import logging
import re
import socket
import struct
import threading
from typing import Any

from rpyc_like.core.stream import SocketStream
from rpyc_like.epc.codec import CALL
from rpyc_like.epc.codec import Target as EpcTarget
from rpyc_like.epc.service import EPCConnection, EPCService
from rpyc_like.erlport.v1.bridge import Instance, only
from rpyc_like.erlport.v1.codec import Target as ErlangTarget
from rpyc_like.erlport.v1.erlterms import Atom, decode, encode
from rpyc_like.link.result import AsyncResult
from tests.support.joining import join
from tests.support.sockets import receive_exactly

__all__ = ["KINDS", "EpcVictim", "ErlangVictim", "Victim"]


class Evil(Exception):
    """An exception that cannot be told."""

    def __str__(self) -> str:
        raise SystemError("a text that raises")

    __repr__ = __str__


class Functions:
    """What a victim offers."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.noted: list[int] = []

    def note(self, number: int, text: str) -> None:
        """Notes the number."""
        self.noted.append(number)

    def echo(self, value: Any) -> Any:
        """Returns what it is given."""
        return value

    def slow(self) -> int:
        """Takes until it is told to go on."""
        self.entered.set()
        assert self.go_on.wait(60)
        return 1

    def unsendable(self) -> Any:
        """Returns what has no form in either format."""
        return threading.Lock()

    def evil(self) -> None:
        raise Evil

    def stop(self) -> None:
        raise StopIteration(1)

    def leave(self) -> None:
        raise SystemExit(3)


NAMES = ("echo", "note", "slow", "unsendable", "evil", "stop", "leave")


class Victim:
    """One side of a conversation; the test is the other."""

    link: Any
    peer: Any
    tells: tuple[str, ...] = ()
    """What the protocol has words for."""

    def __init__(self) -> None:
        self.sock, self.there = socket.socketpair()
        self.sock.settimeout(60)
        self.functions = Functions()
        self.thread = threading.Thread(target=self._begin(SocketStream(self.there)), daemon=True)
        self.thread.start()

    def _begin(self, stream: Any) -> Any:
        raise NotImplementedError

    def head(self, size: int) -> bytes:
        """Returns what goes before a payload."""
        raise NotImplementedError

    def size(self) -> int:
        """Receives what goes before a payload."""
        raise NotImplementedError

    def call(self, number: Any, name: str, *args: Any) -> bytes:
        """Returns the payload of a call."""
        raise NotImplementedError

    def answer(self, number: Any, value: int) -> bytes:
        """Returns the payload of an answer."""
        raise NotImplementedError

    def number_of(self, payload: bytes) -> Any:
        """Returns the number of a call or an answer of the victim's."""
        raise NotImplementedError

    def failed(self, payload: bytes) -> bool:
        """Returns whether an answer is an error."""
        raise NotImplementedError

    def target(self) -> Any:
        """Returns what the victim asks for when it asks for something."""
        raise NotImplementedError

    def raw(self, data: bytes) -> None:
        """Sends bytes."""
        self.sock.sendall(data)

    def send(self, *payloads: bytes) -> None:
        """Sends payloads."""
        self.raw(b"".join(self.head(len(payload)) + payload for payload in payloads))

    def receive(self) -> bytes:
        """Returns the next payload."""
        return self.exactly(self.size())

    def exactly(self, size: int) -> bytes:
        """Receives so many bytes."""
        return receive_exactly(self.sock, size)

    def ask(self, name: str, *args: Any, number: int = 1) -> bytes:
        """Returns the answer to a call."""
        self.send(self.call(number, name, *args))
        return self.receive()

    def works(self) -> bool:
        """Returns whether the victim still answers."""
        answer = self.ask("echo", 5, number=77)
        return self.number_of(answer) == 77 and not self.failed(answer)

    def request(self) -> AsyncResult:
        """Has the victim ask for something."""
        made: AsyncResult = self.link.request(AsyncResult(self.peer), self.target(), [1])
        return made

    def ended(self, timeout: float = 5) -> BaseException | None:
        """Waits until the victim has hung up and returns why it did."""
        join(self.thread, timeout, "the victim is still waiting")
        error: BaseException | None = self.link.error
        return error

    def close(self) -> None:
        """Ends the conversation."""
        self.functions.go_on.set()
        self.sock.close()
        join(self.thread)


class EpcVictim(Victim):
    """Speaks EPC."""

    def _begin(self, stream: Any) -> Any:
        service = EPCService()
        service.logger = logging.getLogger("tests.epc")
        service.logger.setLevel(logging.CRITICAL)
        for name in NAMES:
            service.register_function(getattr(self.functions, name))
        self.connection = EPCConnection(stream, service)
        self.peer = self.connection.peer
        self.link = self.peer.link
        return self.connection.serve_all

    def head(self, size: int) -> bytes:
        return b"%06x" % size

    def size(self) -> int:
        return int(self.exactly(6), 16)

    def call(self, number: Any, name: str, *args: Any) -> bytes:
        told = " ".join(map(str, args))
        return f"(call {number} {name} ({told}))\n".encode()

    def answer(self, number: Any, value: int) -> bytes:
        return b"(return %d %d)\n" % (number, value)

    def number_of(self, payload: bytes) -> Any:
        return int(re.split(rb"[\s()]+", payload)[2])

    def failed(self, payload: bytes) -> bool:
        return payload.startswith((b"(return-error", b"(epc-error"))

    def target(self) -> Any:
        return EpcTarget(CALL, "ask")


class ErlangVictim(Victim):
    """Speaks what Erlang does, in the manner of erlport 1.x."""

    tells = ("handles",)

    def _begin(self, stream: Any) -> Any:
        instance = Instance(stream, resolve=only({"m": self.functions}), threads=4)
        self.peer = instance.peer
        self.link = self.peer.link
        return instance.serve

    def head(self, size: int) -> bytes:
        return struct.pack(">I", size)

    def size(self) -> int:
        return int(struct.unpack(">I", self.exactly(4))[0])

    def call(self, number: Any, name: str, *args: Any) -> bytes:
        return encode((Atom(b"C"), number, Atom(b"m"), Atom(name.encode()), list(args)))

    def answer(self, number: Any, value: int) -> bytes:
        return encode((Atom(b"r"), number, value))

    def number_of(self, payload: bytes) -> Any:
        return decode(payload)[0][1]

    def failed(self, payload: bytes) -> bool:
        return bool(decode(payload)[0][0] == Atom(b"e"))

    def target(self) -> Any:
        return ErlangTarget(Atom(b"m"), Atom(b"f"))


KINDS: dict[str, type[Victim]] = {"epc": EpcVictim, "erlang": ErlangVictim}
