"""Admission of clients: which of those that have shown nothing yet may stay, and for how long.

A client is *silent* from the moment it is accepted until its first message has been understood. It
costs a descriptor, and on most servers a thread or a process, so silent clients are bounded in
number for each listener. Where one more comes, the oldest makes room; clients that have spoken are
never cut off here. Addresses have a share of the room, so that one of them cannot push out the
silent clients of the others. Where clients log in, they have a deadline that runs from `accept`.

Every server has one :class:`Admission`, whatever serves its clients. Its methods may be called from
any thread; the one thread that it starts itself (for deadlines and sums in the log) ends when
nothing is due.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import math
import os
import re
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain, islice
from threading import local
from typing import Any, Final, Generic, Protocol, TypeVar

from ..errors import AuthenticationError, LimitExceeded, ProtocolError
from ..lib import primitives
from ..lib.lifetimes import weak_call
from ..lib.logging_setup import CountedWarning
from ..lib.settings import Kind, checked, count, number
from ..lib.threads import start_thread
from ..wire.framing import Framer
from . import fork
from .call_registry import MALFORMED

try:
    import fcntl
    import termios
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "ARGUMENTS",
    "AUTH_TIMEOUT",
    "MAX_MEMORY",
    "MAX_SILENT_CLIENTS",
    "PAUSE",
    "Admission",
    "Client",
    "ListenerAccount",
    "address_key",
    "exhausted",
    "frame_arrived",
    "login_is_watched",
    "unread",
]

AUTH_TIMEOUT: Final = 30.0
"""Default time in which a client must have logged in, in seconds."""

MAX_SILENT_CLIENTS: Final = 1000
"""Default for the clients of a listener that have shown nothing yet."""

MAX_MEMORY: Final = 1 << 30
"""Default for the bytes that are kept for all clients of a listener together."""

T = TypeVar("T")

ARGUMENTS: Final[dict[str, Kind]] = {
    "auth_timeout": number(optional=True),
    "max_silent_clients": count(1),
    "max_silent_per_address": count(1, optional=True),
    "max_memory": count(1, optional=True),
}
"""The arguments of a server that :class:`Admission` takes, with what they must be."""

_SHARES: Final = 4  # addresses that fill the room, unless there is another limit
_FEWEST_CUT: Final = 16  # at once, where the system has no descriptors, threads or processes left
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}
_TRIES: Final = 20
_SHOWN: Final = 300  # characters of an authenticator's error
_LOOKED_AT: Final = 100  # clients, for one that has not sent what this side has not read yet
_PEEKED: Final = 1 << 16  # bytes of a first frame; a longer one is not looked at
_BREATHS, _BREATH = 10, 0.005  # pauses in which what has arrived may be read
_RENEWED = 1.0  # seconds after which there may be so many again: a flood is not accepted slower

PAUSE: Final = 0.1
"""Seconds until something is tried again for which the system had nothing left."""


class _LoggingIn(local):
    """Whether this thread logs a client in that has to be done by a deadline of the server."""

    watched = False


_logging_in: Final = _LoggingIn()


def login_is_watched() -> bool:
    """Return whether a server cuts the login off that this thread does, so that it need not end."""
    return _logging_in.watched


def exhausted(error: BaseException) -> bool:
    """Return whether an error says that the system has nothing left of what was wanted."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED


class _Messages(Protocol):
    def on_first_message(self, func: Callable[[], object]) -> None: ...


class ListenerAccount:
    """Sum of the memory that is kept for the clients of a listener.

    Args:
        limit: bytes, ``None`` for no limit.
        argument: of the server, that changes ``limit``.
    """

    def __init__(self, limit: int | None, argument: str = "max_memory") -> None:
        self.limit = limit
        self.argument = argument
        self.held = 0
        self.orphan()
        fork.remember(self)

    def orphan(self) -> None:
        """Make the lock anew in a forked child, which lacks the thread that may hold it."""
        self._lock = primitives.RLock()  # guards held

    def add(self, size: int) -> None:
        """Count ``size`` bytes more, or less if it is negative.

        Raises:
            LimitExceeded: that would be more than the limit; nothing has been counted.
        """
        limit = math.inf if self.limit is None else self.limit
        with self._lock:
            held = self.held + size
            fits = size <= 0 or held <= limit
            if fits:
                self.held = held
        if not fits:  # made without the lock: it may cause finalizers to run
            what = "memory kept for all clients of the server, in bytes"
            raise LimitExceeded(what, held, limit, argument=self.argument)


class Client:
    """A client that has been accepted.

    Args:
        admission: of the listener that has accepted it.
        sock: its socket.
        due: by when it must have logged in, on the monotonic clock; ``None`` for at any time.
    """

    def __init__(self, admission: Admission, sock: socket.socket, due: float | None) -> None:
        try:
            self.address: Any = sock.getpeername()
        except OSError:
            self.address = None
        ip = sock.family in (socket.AF_INET, socket.AF_INET6) and self.address
        self.key = address_key(self.address[0]) if ip else None
        """What the share of its address is counted under, if it has one."""
        self.name = "a client that is gone" if self.address is None else str(self.address)
        """Its address for the log."""
        self.due = due
        self.cut_off = False
        """Whether it had to make room, or has not logged in in time."""
        self.why = ""
        """Why it had to make room, for the log."""
        self.pushed = False
        """Whether there was no room for it, so that another client was cut off."""
        self.held = False
        """Whether it is not read from before it has sent a whole frame."""
        self.spoken = False
        """Whether a message of it has been understood."""
        self.reports = False
        """Whether somebody tells when it has spoken."""
        self.hang_up: Callable[[], object] = weak_call(self, "_shut_down")
        """Ends it: called once from any thread, must not wait."""
        self.admission = admission
        """Where it is counted."""
        self._sock = sock
        self._spare: int | None = None  # a descriptor of the socket while others may detach it

    @property
    def account(self) -> ListenerAccount:
        """What is kept for all clients of the listener together."""
        return self.admission.account

    def watch(self, messages: _Messages) -> None:
        """Have the client counted as one that speaks when its first message is understood."""
        self.reports = True
        messages.on_first_message(self.spoke)

    def log_in(self, authenticator: Callable[[Any], tuple[Any, Any]]) -> tuple[Any, Any]:
        """Return what an authenticator makes of the socket, and credentials.

        Raises:
            AuthenticationError: it refuses the client, or the client was cut off meanwhile.
        """
        spare = self._spare_descriptor()
        try:
            self.admission.change_spare(self, spare)
            _logging_in.watched = True
            sock, credentials = authenticator(self._sock)
        finally:
            _logging_in.watched = False
            self.admission.change_spare(self, None)
            os.close(spare)
        if not self.admission.logged_in(self, sock):
            with contextlib.suppress(OSError):
                sock.close()
            raise AuthenticationError("the client was cut off during its login")
        return sock, credentials

    def _spare_descriptor(self) -> int:
        """Return a descriptor of the socket, which an authenticator may detach, as TLS does."""
        tries = _TRIES
        while True:
            try:
                return os.dup(self._sock.fileno())
            except OSError as error:
                tries -= 1
                if not tries or not exhausted(error):
                    raise AuthenticationError(f"cannot begin a login: {error}") from error
                self.admission.make_room(error, self)
                primitives.sleep(PAUSE)

    def spoke(self) -> None:
        """Note that a message of the client has been understood: it is not silent any more."""
        self.spoken = True
        self.admission.forget(self)

    def leave(self) -> None:
        """Note that the client is gone."""
        self.admission.forget(self)

    def has_unread(self) -> bool:
        """Return whether it has sent something that this side has not read yet."""
        if self.held:
            return False
        return unread(self._sock if self._spare is None else self._spare) > 0

    def end(self) -> None:
        """Hang up on the client."""
        self.admission.hang_up(self)

    def _shut_down(self) -> None:
        # The socket class's own: TLS sockets must not say goodbye from a foreign thread.
        with contextlib.suppress(OSError, TypeError):
            if self._spare is None:
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
            else:
                with socket.socket(fileno=self._spare) as alias:
                    try:
                        alias.shutdown(socket.SHUT_RDWR)
                    finally:
                        alias.detach()


class _Line:
    """Silent clients in the order of their coming; those that have not logged in go first."""

    __slots__ = ("known", "unknown")

    def __init__(self) -> None:
        # Not plain dicts: these find their first item slowly when many have been removed.
        self.unknown: OrderedDict[Client, None] = OrderedDict()
        self.known: OrderedDict[Client, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.unknown) + len(self.known)

    def add(self, client: Client, known: bool = False) -> None:
        (self.known if known else self.unknown)[client] = None

    def discard(self, client: Client) -> bool:
        """Remove a client; return whether it was there."""
        found = self.unknown.pop(client, 0) is None
        return self.known.pop(client, 0) is None or found

    def oldest(self, but: Client | None = None, patient: bool = False) -> Client | None:
        """Return the oldest client of which all that has arrived has been read.

        Args:
            but: who is not meant.
            patient: whether to return None if there seems to be none, and not the oldest.
        """
        clients = (one for one in chain(self.unknown, self.known) if one is not but)
        first = list(islice(clients, _LOOKED_AT))
        for client in first:
            if not client.has_unread():
                return client
        return first[0] if first and not patient else None


class _Argument(Generic[T]):
    """An attribute that is an argument of the server, checked whenever it is set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, obj: Any, owner: type | None = None) -> T:
        value: T = vars(obj)[self._name]
        return value

    def __set__(self, obj: Any, value: T) -> None:
        name = self._name
        vars(obj)[name] = checked(f"argument {name!r}", ARGUMENTS[name], value)


class Admission:
    """The silent clients of one listener.

    Args:
        max_silent_clients: most of them.
        max_silent_per_address: most of one address while there is no room for others; a quarter
            of ``max_silent_clients`` without it.
        auth_timeout: seconds from `accept` in which a client must have logged in, where it has
            to; ``None`` for any time.
        max_memory: bytes that may be kept for all clients together, ``None`` for any number.
        logger: where to log.
        bounded_by: what sets ``max_silent_clients``, for the log.
    """

    max_silent_clients = _Argument[int]()
    max_silent_per_address = _Argument["int | None"]()
    auth_timeout = _Argument["float | None"]()

    def __init__(
        self,
        max_silent_clients: int = MAX_SILENT_CLIENTS,
        max_silent_per_address: int | None = None,
        auth_timeout: float | None = AUTH_TIMEOUT,
        max_memory: int | None = MAX_MEMORY,
        logger: logging.Logger | None = None,
        bounded_by: str = "argument 'max_silent_clients' of the server",
    ) -> None:
        self.max_silent_clients = max_silent_clients
        self.max_silent_per_address = max_silent_per_address
        self.auth_timeout = auth_timeout
        self._bounded_by = bounded_by
        max_memory = checked("argument 'max_memory'", ARGUMENTS["max_memory"], max_memory)
        self.account = ListenerAccount(max_memory)
        # Guards all that follows, and the descriptors of clients.
        self._lock = primitives.RLock()
        self._changed = primitives.Condition(self._lock)
        self._line = _Line()
        self._lines: dict[Any, _Line] = {}  # by the keys of addresses
        self._crowded: OrderedDict[Any, None] = OrderedDict()  # keys of more than their share
        self._deadlines: dict[float, OrderedDict[Client, None]] = {}
        """Who is to log in, in the order of coming, by ``auth_timeout`` at that time."""
        self._renewed = self._breaths = 0.0  # when there were pauses again, how many are left
        self._watching = False  # whether the thread runs
        self._closed = False
        self.logger = logger = logger or logging.getLogger("rpyc_like.server")
        self._cut = CountedWarning(logger, "! cut off %s: %s")
        self._late = CountedWarning(
            logger, "! cut off %s: it has not logged in in time (argument 'auth_timeout')"
        )
        self._refused = CountedWarning(logger, "! refused %s: %s")
        self._not_let_in = CountedWarning(
            logger, "%s failed to authenticate, rejecting connection: %s"
        )
        self._short = CountedWarning(logger, "! cannot take in a client: %s")
        self._malformed = CountedWarning(logging.getLogger("rpyc_like.link"), MALFORMED)
        self._counted = (
            *(self._cut, self._late, self._malformed, self._not_let_in, self._refused),
            self._short,
        )

    @property
    def silent(self) -> int:
        """How many clients are silent."""
        return len(self._line)

    # -- clients

    def admit(self, sock: socket.socket, logs_in: bool) -> Client:
        """Take in a client that has just been accepted; another one may have to make room.

        Args:
            logs_in: whether there is a deadline, by which :meth:`Client.log_in` must have ended.
                Where the system has no thread to see to that, the client is hung up on.
        """
        timeout = self.auth_timeout if logs_in else None
        due = None if timeout is None else primitives.monotonic() + timeout
        client = Client(self, sock, due)
        key = client.key
        victim = self._make_place(key)
        client.pushed = victim is not None
        with self._lock:
            self._line.add(client)
            if key is not None:
                self._lines.setdefault(key, _Line()).add(client)
                self._measure(key)
            if timeout is not None:
                self._deadlines.setdefault(timeout, OrderedDict())[client] = None
        if victim is not None:
            self._cut_off(victim, self._cut, victim.why)
        if timeout is not None:
            self._see_to_deadlines(client)
        return client

    def _see_to_deadlines(self, client: Client) -> None:
        """Have the thread run, for which others make room; hang up on a new client in vain."""
        try:
            with self._lock:
                self._watch()
            return
        except RuntimeError as error:  # the system has no more threads
            if self.make_room(error, client):
                primitives.sleep(PAUSE)
        try:
            with self._lock:
                self._watch()
        except RuntimeError as error:
            self.forget(client)
            self._cut_off(client, self._refused, error)

    def logged_in(self, client: Client, sock: Any) -> bool:
        """Note that a client has logged in.

        Args:
            sock: what it talks over from now on.

        Returns:
            Whether it may stay: it has not been cut off before.
        """
        with self._lock:
            if client.cut_off:
                return False
            self._end_deadline(client)
            client._sock = sock
            lines = [self._line]
            if client.key in self._lines:
                lines.append(self._lines[client.key])
            for line in lines:
                if line.discard(client):
                    line.add(client, known=True)
        return True

    def change_spare(self, client: Client, descriptor: int | None) -> None:
        """Set what a client is hung up on with, other than its socket."""
        with self._lock:
            client._spare = descriptor

    def forget(self, client: Client) -> None:
        """Note that a client is not silent any more, or gone."""
        with self._lock:
            self._take_out(client)

    def hang_up(self, client: Client) -> None:
        """Hang up on a client."""
        with self._lock:
            client.hang_up()

    def make_room(self, error: BaseException, but: Client | None = None) -> int:
        """Cut silent clients off because the system has no more descriptors, threads or processes.

        Args:
            error: which says so.
            but: who is not cut off.

        Returns:
            How many are cut off: a quarter of them, but at least 16 if there are so many.
        """
        self._note(self._short, error, cause=error)
        victims = []
        with self._lock:
            for _ in range(max(_FEWEST_CUT, len(self._line) // 4)):
                victim = self._line.oldest(but)
                if victim is None:
                    break
                self._take_out(victim)
                victims.append(victim)
        for victim in victims:
            self._cut_off(victim, self._cut, f"the system has nothing left for it ({error})")
        return len(victims)

    def note_malformed(self, who: object, error: object) -> None:
        """Log that a client has broken the protocol."""
        self._note(self._malformed, who, error, cause=error)

    def refuse(self, who: object, why: object) -> None:
        """Log that a client is not served."""
        self._note(self._refused, who, why, cause=why)

    def reject(self, client: Client, error: Exception) -> None:
        """Log that an authenticator has refused a client, with why.

        That a client was cut off is logged already, with the limit.
        """
        if not client.cut_off:
            text = str(error)[:_SHOWN]  # it may quote what the client has sent
            why = "".join([char if char.isprintable() else "?" for char in text])
            self._note(self._not_let_in, client.name, why, cause=re.sub(r"\d+", "N", why))

    def close(self) -> None:
        """End the thread, and log what has been counted."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        for counted in self._counted:
            counted.flush()

    # -- choosing

    def _share(self) -> int:
        share = self.max_silent_per_address
        return max(1, self.max_silent_clients // _SHARES) if share is None else share

    def _limit(self, line: _Line) -> str:
        """Return the limits for which a client in a line is cut off, and what sets them."""
        text = f"limit is {self.max_silent_clients}, {self._bounded_by}"
        if line is not self._line:
            default = self.max_silent_per_address is None
            what = "a quarter of it" if default else "argument 'max_silent_per_address'"
            text += f"; for one address it is {self._share()}, {what}"
        return f"no room for more silent clients ({text})"

    def _make_place(self, key: Any) -> Client | None:
        """Take out who makes room for a client of an address, if there is none; return that."""
        while True:
            with self._lock:
                if len(self._line) < max(1, self.max_silent_clients):
                    return None
                line = self._line_of_victim(key)
                victim = line.oldest(patient=self._has_breath())
                if victim is not None:
                    victim.why = self._limit(line)
                    self._take_out(victim)
                    return victim
                self._breaths -= 1
            primitives.sleep(_BREATH)

    def _has_breath(self) -> bool:
        """Return whether there may be a pause; there are few in a second, for all clients."""
        now = primitives.monotonic()
        if now >= self._renewed + _RENEWED:
            self._renewed, self._breaths = now, _BREATHS
        return self._breaths > 0

    def _line_of_victim(self, key: Any) -> _Line:
        line = self._lines.get(key)
        if line is not None and len(line) >= self._share():
            return line
        for crowded in self._crowded:
            return self._lines[crowded]
        return self._line

    def _measure(self, key: Any) -> None:
        """Note whether an address has more than its share."""
        line = self._lines[key]
        if len(line) > self._share():
            self._crowded[key] = None
        else:
            self._crowded.pop(key, None)
            if not line:
                del self._lines[key]

    def _take_out(self, client: Client) -> None:
        self._end_deadline(client)
        if self._line.discard(client) and client.key is not None:
            self._lines[client.key].discard(client)
            self._measure(client.key)

    def _cut_off(self, client: Client, counted: CountedWarning, *why: object) -> None:
        with self._lock:
            client.cut_off = True
            client.hang_up()
        self._note(counted, client.name, *why, cause=why)

    # -- what is due

    def _note(self, counted: CountedWarning, *args: object, cause: object) -> None:
        counted.count(*args, cause=cause)
        if counted.due is not None:
            with self._lock, contextlib.suppress(RuntimeError):  # it is told at the end then
                self._watch()

    def _watch(self) -> None:
        """Have the thread look at what is due, which may have become earlier."""
        if self._watching:
            self._changed.notify_all()
        elif not self._closed:
            self._watching = True
            try:
                start_thread(self._run, "rpyc_like-admission")
            except BaseException:
                self._watching = False
                raise

    def _end_deadline(self, client: Client) -> None:
        for timeout, line in list(self._deadlines.items()):
            line.pop(client, None)
            if not line:
                del self._deadlines[timeout]

    def _next_due(self) -> Client | None:
        """Return the client that must have logged in first."""
        first = [next(iter(line)) for line in self._deadlines.values()]
        return min(first, key=lambda client: client.due or 0.0, default=None)

    def _run(self) -> None:
        counted = self._counted
        while True:
            late = []
            with self._lock:
                now = primitives.monotonic()
                while (client := self._next_due()) is not None:
                    if client.due is None or client.due > now:
                        break
                    self._take_out(client)
                    late.append(client)
                if not late and all(one.due is None or one.due > now for one in counted):
                    dues = [one.due for one in (client, *counted) if one is not None]
                    left = min([due for due in dues if due is not None], default=None)
                    if left is None or self._closed:
                        self._watching = False
                        return
                    self._changed.wait(max(0.001, left - now))
                    continue
            for client in late:
                self._cut_off(client, self._late)
            for one in counted:
                one.flush_due(now)


def unread(sock: Any) -> int:
    """Return how many bytes wait in a socket, or in one with that descriptor; 0 if unknown."""
    descriptor = sock if isinstance(sock, int) else sock.fileno()
    if fcntl is None or descriptor < 0:
        return 0
    try:
        found = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(found, sys.byteorder)


def frame_arrived(sock: socket.socket, framer: Framer) -> bool | None:
    """Look whether a client has sent a whole frame; nothing is taken from the socket.

    Returns:
        False if it has gone. None if more must come; the system says that something can be read
        only then.
    """
    try:
        expected = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        data = sock.recv(_PEEKED, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return False
    if len(data) < expected:
        return False  # nothing more will come
    try:
        whole = bool(framer.feed(data)) or framer.error is not None
    except ProtocolError:
        whole = True
    wanted = 1 if whole or len(data) >= _PEEKED or unread(sock) > len(data) else len(data) + 1
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
    if wanted > 1:
        return None
    return True


def address_key(host: str) -> Any:
    """Return what the share of an address is counted under.

    That is the IPv4 address, or the first 64 bits of the IPv6 address, which is what one customer
    of a provider has.

    Returns:
        ``None`` for an address of this machine: these have no share, because nothing tells the
        clients of this machine from one another.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    address = address if mapped is None else mapped
    if address.is_loopback:
        return None
    return (address.version, int(address) >> (64 if address.version == 6 else 0))
