"""The asyncio driver: one message connection on an event loop.

The counterpart of :mod:`rpyc_like.link.threaded`, over the same channels, with the same session.
It belongs to the loop it was made on; only :meth:`AioLink.call_soon` may be used from
other threads. Nothing here waits: what cannot be written now leaves when the loop says so.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from ..errors import ConnectionClosed, ProtocolError
from ..lib import primitives
from ..lib.lifetimes import without_frames
from ..lib.run_in_pool import in_new_thread
from ..wire.session import ANSWER, BROKEN, CALL, NOTICE, Outcome, Session, State
from . import fork
from .apart import takes_long
from .backlog import Backlog, Stash
from .call_context import idle_context, task_context
from .call_registry import CallRegistry, closed_error, name_of, warn_malformed
from .channel import endpoints
from .fast_path import FastCodec
from .housekeeping import HeartbeatMonitor
from .receiving import FrameReceiver
from .sending import FrameSender

__all__ = ["AioApplication", "AioLink", "AioResult"]

logger = logging.getLogger("rpyc_like.link")

_NEVER = float("inf")
_UNSENT = 1 << 20  # bytes after which answers leave although more is being taken in
_BURST = 100  # messages that are taken before others have their turn
_FEW = 2  # unanswered requests up to which a message leaves at once, and does not wait for others
_MANY = 32  # messages that wait for others, at most


class AioResult:
    """The answer to a request.

    Args:
        loop: the connection's.
    """

    __slots__ = ("deadline", "future", "id_", "origin", "timeout")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[tuple[bool, Any]] = loop.create_future()
        """Whether it is an exception, and the answer. To be awaited once."""
        self.id_: int | None = None
        self.deadline: float | None = None
        """When the time is over, on the monotonic clock."""
        self.timeout: float | None = None
        """Seconds from sending the request until then."""
        self.origin: Any = None
        """The thread that waits for what this is part of."""

    def settle(self, failed: bool, value: Any) -> bool:
        """Stores the answer and wakes who awaits it; has no callbacks."""
        if not self.future.done():
            try:
                self.future.set_result((failed, value))
            except RuntimeError:
                pass  # the loop is closed: no task is woken
        return False

    def run_callbacks(self) -> None:
        """Has none: the task is woken by the loop."""


def _decoded(codec: Any, message: bytes) -> tuple[bool, Any]:
    """Return whether a message is malformed, and it or the error. In a thread."""
    try:
        return False, codec.decode(message)
    except ProtocolError as error:
        return True, error


class AioApplication(Protocol):
    """What runs on top of an asyncio message connection."""

    def serve_request(self, id_: Any, target: Any, args: Any) -> None:
        """Does what the peer asks, or starts a task that does, and has the answer sent."""

    def is_awaited(self, target: Any) -> bool:
        """Return whether something that is being served waits for a request of the peer's."""

    def notice(self, payload: Any) -> None:
        """Is told what is not answered."""

    def beat(self, interval: float) -> None:
        """Sends a sign of life; the next one comes after ``interval`` seconds."""

    def fell_silent(self, silent: bool) -> None:
        """Is told that signs of life are missing, or come again."""

    def disconnected(self, error: BaseException | None) -> None:
        """Is told once that the connection is gone."""

    def recover(self, error: BaseException) -> BaseException | None:
        """Takes a broken conversation up again, or returns the error to end it with."""

    def expire(self, result: AioResult) -> BaseException:
        """Forgets a request that was not answered in time and returns the error to raise."""


class AioLink:
    """Requests and answers over a channel, on the running loop.

    Args:
        channel: an open channel over a native stream, which belongs to the connection from then on.
        session: knows the protocol.
        application: serves the peer's requests.

    Raises:
        TypeError: the stream is one of a program's own, which can only be waited for.
    """

    def __init__(self, channel: Any, session: Session, application: AioApplication) -> None:
        self.session = session
        self.application = application
        self.error: BaseException | None = None
        self.closed_class: type[ConnectionClosed] = ConnectionClosed
        self.closed_here = False  # whether the program has closed the connection
        """What is raised when the connection is gone."""
        self.ended = asyncio.Event()
        self.drops = False
        """Whether the connection has ended so that what has not begun need not be served."""
        self.calls = CallRegistry()
        """What the peer has said about its requests."""
        self.heart: HeartbeatMonitor | None = None
        """Watches over the peer, if it is to send signs of life."""
        self.loop = asyncio.get_running_loop()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._looks = _NEVER  # when it is looked next which answers are late
        self._reading = False  # whether what is sent leaves when all that has come has been taken
        self._flushing = False  # whether what is held leaves soon
        self._room: asyncio.Event | None = None  # there while the system takes nothing more
        self._stuck = 0.0  # since when
        self.queued = Backlog()
        """Memory of what has been read and waits to be served, or is being served."""
        self._waiting = Stash(self.queued)  # requests that come while they cannot be served
        self._held = False  # whether the application takes no requests
        self._served = 0  # requests that it serves
        self._waiting_size = 0  # bytes of the messages that they came in
        self._waiting_from = 0
        self._paused = False  # whether nothing is read, because too much waits to be served
        self._decoding = False  # whether nothing is read, because a message is being decoded
        self._unheard = False  # whether the peer has hung up, and only what it sent is served
        self._unsent = 0  # bytes of what has been sent since the system last took all
        self.attach(channel)
        fork.remember(self)

    def attach(self, channel: Any) -> None:
        """Moves the conversation to another channel (before anything was understood on the old)."""
        receiver, sender = endpoints(channel)
        if not isinstance(receiver, FrameReceiver) or not isinstance(sender, FrameSender):
            kind = type(getattr(channel, "stream", channel)).__name__
            raise TypeError(f"expected a stream of this package, got {kind}, which can only block")
        self.channel, self.receiver, self.sender = channel, receiver, sender
        self.queued.limit = receiver.max_queued
        self._open: Callable[[bytes], Any] | None = None
        self._frame_request: Callable[[Any, Any, Any], bytes | None] | None = None
        self._ends = channel.fileno(), channel.stream.fileno_out()
        self.loop.add_reader(self._ends[0], self._readable)

    def detach(self) -> None:
        """Drops the channel; the conversation goes on over another."""
        self._unwatch()
        self.channel.close()

    def _unwatch(self) -> None:
        self.loop.remove_reader(self._ends[0])
        self.loop.remove_writer(self._ends[1])
        self._ends = -1, -1

    def use_shortcut(self, shortcut: FastCodec) -> None:
        """Has usual messages written and read in one step, where the channel allows it."""
        if self.receiver.takes_shortcuts:
            self._open = shortcut.open_frames
            self._frame_request = shortcut.frame_request

    @property
    def lost(self) -> bool:
        """Whether the peer is gone."""
        return self.ended.is_set()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or closing."""
        return self.session.state is not State.OPEN or self.lost

    # -- receiving

    def _readable(self) -> None:
        receiver, take, taken = self.receiver, self._open, 0
        self._reading = True
        try:
            while taken < _BURST:
                message = receiver.receive(0, take)
                if message is None:
                    break
                taken += 1
                if takes_long(message, receiver):
                    self._decode_aside(message)
                    return  # what comes next has to wait
                self._understand(message)
                if self.receiver is not receiver or self.lost or self._paused:
                    return  # the conversation goes on elsewhere, or later, or not at all
                if not receiver.payloads and not receiver.hides and receiver.clock is None:
                    break  # the loop tells if there is more
                take = self._open
            else:
                self.loop.call_soon(self._readable_again, receiver)
        except (EOFError, OSError, ProtocolError) as error:
            self._break(error)
        except Exception as error:
            logger.exception("! %s: taking in a message", name_of(self.application))
            self._break(error)
        finally:
            self._reading = False
            if not self.lost:
                self.flush()
        if receiver.clock is not None and not self.lost:
            self._after(receiver.clock.left(), self._ring)

    def _readable_again(self, receiver: FrameReceiver) -> None:
        if self.receiver is receiver and not (self.lost or self._paused or self._decoding):
            self._readable()

    def _understand(self, message: Any) -> None:
        session, size = self.session, 0
        if type(message) is not tuple:
            size = len(message)
            outcome = session.receive(message)
        else:
            outcome = message if message[0] is CALL else session.understand(message)
        self._act(outcome, size)

    def _act(self, outcome: Outcome, size: int) -> None:
        """Do what a message of so many bytes asks for."""
        kind = outcome[0]
        if kind is ANSWER:
            outcome[1].settle(outcome[2], outcome[3])
        elif kind is CALL:
            if self._room is not None or (
                (self._held or self._waiting) and not self.application.is_awaited(outcome[2])
            ):
                self._keep(outcome, size)
            else:
                self.application.serve_request(outcome[1], outcome[2], outcome[3])
            if self.queued.full:
                self.queued.on_room = self._room_again
                self._pause()
        elif kind is BROKEN:
            self._break(outcome[1])
        elif kind is NOTICE:
            self.application.notice(outcome[1])

    def _decode_aside(self, message: bytes) -> None:
        """Decode a large message in a thread; what comes after it is read when it has been."""
        self._decoding = True
        self.loop.remove_reader(self._ends[0])
        decoding = in_new_thread(self.loop, partial(_decoded, self.session.codec, message))
        decoding.add_done_callback(partial(self._decoded, self.receiver, len(message)))

    def _decoded(
        self, receiver: FrameReceiver, size: int, decoding: asyncio.Future[tuple[bool, Any]]
    ) -> None:
        self._decoding = False
        if self.lost or self.receiver is not receiver:
            return
        try:
            self._act(self.session.decoded(*decoding.result()), size)
        except Exception as error:
            logger.exception("! %s: taking in a message", name_of(self.application))
            self._break(error)
        self._read_on()

    def _room_again(self) -> None:
        """Go on when enough of what waits has been served."""
        if not self.lost:
            self.loop.call_soon(self._go_on)

    def _read_on(self) -> None:
        """Read again, if nothing is in the way any more."""
        if not (self.lost or self._paused or self._decoding):
            self.loop.add_reader(self._ends[0], self._readable)
            self.loop.call_soon(self._readable_again, self.receiver)  # of what has come already

    def _keep(self, outcome: Outcome, size: int) -> None:
        """Puts a request aside until earlier ones have been served and the peer takes answers."""
        receiver = self.receiver
        if not self._waiting:
            self._waiting_from, self._waiting_size = receiver.arrivals, 0
        self._waiting.append(outcome)
        self._waiting_size += size
        arrived = receiver.arrivals - self._waiting_from
        if max(arrived, self._waiting_size) > receiver.max_queued:
            self._pause()

    def _pause(self) -> None:
        """Read nothing until what has been read has been served."""
        if not self._paused and not self.lost:
            self._paused = True
            self.loop.remove_reader(self._ends[0])

    def _ring(self) -> None:
        """Looks at a frame that has been started."""
        clock = self.receiver.clock
        if clock is not None:
            if clock.expired():
                self._break(clock.error())
            else:
                self._after(clock.left(), self._ring)

    # -- sending

    def request(
        self, result: AioResult, target: Any, args: Any, before: list[bytes], timeout: float | None
    ) -> None:
        """Sends a request whose answer goes to ``result``.

        Args:
            before: payloads that must reach the peer first.
            timeout: seconds that the answer may take.
        """
        session = self.session
        if session.state is State.CLOSED:
            raise self.closed_error()
        if timeout is not None:
            result.timeout = timeout
            result.deadline = deadline = primitives.monotonic() + timeout
            if deadline < self._looks:
                self._looks = deadline
                self._after(timeout, self._expire)
        if self._frame_request is not None and not before:
            id_ = next(session.pending.numbers)
            frame = self._frame_request(id_, target, args)
            if frame is not None:
                result.id_ = id_
                session.pending.file(id_, result)
                self.send_frame(frame)
                return
        result.id_, payload = session.request(result, target, args)
        self.send(*before, payload)

    def _expire(self) -> None:
        """Ends the waits whose time is over, the oldest first."""
        now = primitives.monotonic()
        self._looks = _NEVER
        for entry in self.session.pending.waiting().values():
            if isinstance(entry, AioResult) and entry.deadline is not None:
                if entry.deadline <= now:
                    entry.settle(True, self.application.expire(entry))
                else:
                    self._looks = min(self._looks, entry.deadline)
        if self._looks < _NEVER:
            self._after(self._looks - now, self._expire)

    def send(self, *payloads: Any) -> None:
        """Sends payloads, in one write."""
        if self.lost:
            raise self.closed_error()
        if self._unheard:
            return
        sender = self.sender
        for payload in payloads:
            frame: Any = sender.encode(payload)
            for part in frame if type(frame) is list else (frame,):
                self._unsent += len(part)
                sender.hold(part)
        self._hurry()

    def send_frame(self, frame: bytes) -> None:
        """Sends one whole frame."""
        if self.lost:
            raise self.closed_error()
        if self._unheard:
            return
        self._unsent += len(frame)
        self.sender.hold(frame)
        self._hurry()

    def _hurry(self) -> None:
        """Writes what is held now, or when others that are about to send have done so."""
        if self._room is not None:
            return
        if self._reading:
            if self._unsent > _UNSENT:
                self.flush()  # whether the peer takes it decides whether more is served
        elif self._flushing:
            if self.sender.held >= _MANY:
                self.flush()  # the peer begins while this side goes on
        elif len(self.session.pending) + self._served <= _FEW:
            self.flush()
        else:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes what is held, as far as the system takes it."""
        self._flushing = False
        if self.lost or self._unheard:
            return
        try:
            gone = self.sender.try_send()
        except ConnectionClosed as error:
            self._cannot_send(error)
            return
        if gone:
            self._unsent = 0
        elif self._room is None:
            self._room = asyncio.Event()
            self._stuck = primitives.monotonic()
            self.loop.add_writer(self._ends[1], self._writable)
            self._after(self.sender.timeout, self._give_up)

    def _cannot_send(self, error: ConnectionClosed) -> None:
        """Serve what the peer had sent before it hung up: reading comes to the end by itself.

        Nobody may wait for the answers.
        """
        stream = self.channel.stream
        if self._unheard or not stream.hung_up() or stream.closed:
            self._break(error)
            return
        self._unheard = True
        self.loop.remove_writer(self._ends[1])
        room, self._room = self._room, None
        self._unsent = 0
        if room is not None:
            room.set()
        self.loop.call_soon(self._go_on)

    def _writable(self) -> None:
        self._stuck = primitives.monotonic()
        try:
            gone = self.sender.try_send()
        except ConnectionClosed as error:
            self._cannot_send(error)
            return
        if not gone:
            return
        self.loop.remove_writer(self._ends[1])
        room, self._room = self._room, None
        self._unsent = 0
        if room is not None:
            room.set()
        self._go_on()

    def _go_on(self) -> None:
        """Serves what was put aside, as far as that goes now."""
        while self._waiting and self._room is None and not self._held and not self.lost:
            _, id_, target, args = self._waiting.popleft()
            self.application.serve_request(id_, target, args)
        if self._paused and not self._waiting and not self.queued.full and not self.lost:
            self._paused = False
            self._read_on()

    def hold(self, held: bool, served: int) -> None:
        """Says whether the application takes no requests for now, and how many it serves."""
        self._served = served
        was_held, self._held = self._held, held
        if was_held and not held:
            self.loop.call_soon(self._go_on)

    def _give_up(self) -> None:
        """Looks whether the peer takes anything in."""
        timeout = self.sender.timeout
        if self._room is None or timeout is None:
            return
        left = self._stuck + timeout - primitives.monotonic()
        if left > 0:
            self._after(left, self._give_up)
        else:
            error = ConnectionClosed(
                f"the peer has taken nothing in for {timeout:g} s "
                "(configuration key 'send_timeout')"
            )
            logger.warning("! %s: %s", name_of(self.application), error)
            self._break(error)

    def try_send(self) -> None:
        """Has what is held written. From any thread."""
        self.call_soon(self.flush)

    @property
    def full(self) -> bool:
        """Whether the system takes nothing more at the moment."""
        return self._room is not None

    async def drained(self) -> None:
        """Waits until the system takes more."""
        while self._room is not None:
            await self._room.wait()

    # -- time

    def _after(self, seconds: float | None, func: Callable[[], None]) -> None:
        """Has ``func`` called in so many seconds: once, at the earliest time that was asked for."""
        if seconds is None:
            return
        when = self.loop.time() + seconds
        timer = self._timers.get(func)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()

        def ring() -> None:
            del self._timers[func]
            if not self.lost:
                func()

        self._timers[func] = self.loop.call_at(when, ring, context=idle_context())

    def call_soon(self, func: Callable[[], Any]) -> bool:
        """Has ``func`` called on the loop, from any thread; returns whether the loop still runs."""
        try:
            self.loop.call_soon_threadsafe(func, context=task_context())
        except RuntimeError:
            return False
        return True

    def watch(self, heart: HeartbeatMonitor) -> None:
        """Has signs of life sent and watched for."""
        self.heart = heart
        self._after(0, self._feel)

    def _feel(self) -> None:
        heart = self.heart
        assert heart is not None
        self.application.beat(heart.interval)  # twice in an interval, so that none is missed
        was_silent = heart.silent
        dead = heart.look(self.receiver.arrivals)
        if heart.silent != was_silent:
            self.application.fell_silent(heart.silent)
        if dead and not (self._paused or self._decoding):
            self._break(heart.error())
        else:
            self._after(heart.interval / 2, self._feel)

    # -- the end

    def closed_error(self) -> ConnectionClosed:
        """Returns the error for whoever still wants something."""
        return closed_error(self.closed_class, self.error, self.closed_here)

    def _break(self, error: BaseException) -> None:
        if self.lost:
            return
        remaining = self.application.recover(error)
        if remaining is not None:
            if isinstance(remaining, ProtocolError):
                warn_malformed(self.application, remaining)
            self.lose(remaining)

    def lose(self, error: BaseException | None) -> None:
        """Ends the connection for everybody. Idempotent."""
        if self.lost:
            return
        with suppress(RuntimeError):  # the loop is closed: no task is woken
            self.ended.set()
        if isinstance(error, (EOFError, OSError, ProtocolError)):
            without_frames(error)
        self.error = error
        self.drops = not isinstance(error, (EOFError, OSError))
        self.queued.close()
        self.queued.on_room = None
        room, self._room = self._room, None
        if room is not None:
            with suppress(RuntimeError):
                room.set()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._unwatch()
        if hasattr(self.channel.stream, "tun"):
            in_new_thread(self.loop, self.channel.close)  # waits for another program
        else:
            self.channel.close()
        for entry in self.session.closed():
            entry.settle(True, self.closed_error())
        if not self.drops and (self._waiting or self._served):
            self.loop.call_soon(self._serve_rest)
        else:
            self._tell_lost()

    def _serve_rest(self) -> None:
        """Serve what the peer asked before it hung up; end when all of it has begun."""
        if self._waiting:
            _, id_, target, args = self._waiting.popleft()
            self.application.serve_request(id_, target, args)
            self.loop.call_soon(self._serve_rest)  # after the first step of its task
        else:
            self._tell_lost()

    def _tell_lost(self) -> None:
        self.application.disconnected(self.error)
        self.application = weakref.proxy(self.application)  # which is freed when it is dropped

    def orphan(self) -> None:
        """Makes this copy, in a forked child, dead and silent."""
        self.ended.set()
