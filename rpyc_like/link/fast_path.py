"""Requests whose threads wait for the answer, in the fewest steps.

Usually the next thing that arrives is the answer, in one frame. Then a request needs no entry in
the table of pending ones and no result to wait for: the thread takes the reading role, sends, and
reads. Whatever else arrives first, or does not, is left to the general way, for which the request
is filed then; nobody can have missed it, because who has the role is the only one to look.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConnectionClosed, ProtocolError
from ..lib import primitives
from ..lib.interrupts import raised_by_handler
from ..lib.worker_pool import here
from ..wire.messages import REPLY
from ..wire.pending import ABANDONED
from ..wire.session import State
from .interrupted import files_late, holds_the_role, leaves_the_role
from .receiving import AT_ONCE, FrameReceiver, Waiter
from .result import AsyncResult
from .sending import FrameSender

if TYPE_CHECKING:
    from .threaded import ThreadedLink

__all__ = ["FastPath", "FastCodec"]


_CLOSED = State.CLOSED


class FastCodec(Protocol):
    """Whole frames of usual messages, made and read in one step; None for all others."""

    def frame_request(self, id_: Any, target: Any, args: Any) -> bytes | None:
        """Returns the frame of a request."""

    @property
    def open_frames(self) -> Callable[[bytes], Any]:
        """What returns the messages of received bytes; see :class:`.receiving.Receiver`."""


class FastPath:
    """The quick way of one connection, which is given to each method: it is in no reference cycle.

    Args:
        receiver, sender: of its channel.
        shortcut: the codec's.
    """

    def __init__(
        self,
        receiver: FrameReceiver,
        sender: FrameSender,
        shortcut: FastCodec,
    ) -> None:
        self._receiver = receiver
        self._sender = sender
        self._frame_request = shortcut.frame_request
        self.open: Callable[[bytes], Any] = shortcut.open_frames

    @files_late
    @holds_the_role
    def ask(self, link: ThreadedLink, target: Any, args: Any, timeout: float | None) -> Any:
        """Sends a request and waits for its answer.

        Returns:
            The answer's value if it is a plain one and came first; otherwise what
            :meth:`.ThreadedLink.exchange` returns.
        """
        receiver = self._receiver
        session, reading = link.session, link.reading
        id_ = next(session.pending.numbers)
        if here.pool is not None:
            return link.exchange(target, args, timeout, (), id_)
        started = primitives.monotonic()
        got = frame = None
        taken = False
        try:
            if reading.offered is None:
                (taken,) = map(reading.lock.acquire, AT_ONCE)
            if not taken:
                return self._ask_beside(link, id_, target, args, timeout, started)
            if not (
                receiver.payloads
                or receiver.clock is not None
                or receiver.ended is not None
                or link.stash
                or (link.waiters and link.has_inbox())
                or session.state is _CLOSED
            ):
                frame = self._frame_request(id_, target, args)
            if frame is not None:
                if self._sender.try_frame(frame):
                    link.exchanges += 1
                    got = receiver.receive(timeout, self.open)
                    if (
                        type(got) is tuple
                        and got[0] == REPLY
                        and got[1] == id_
                        and not receiver.payloads
                    ):
                        return got[2]
                if got is None:
                    result, outcome = link.filed_early(id_) or link.file(id_, target), None
                else:
                    result = link.file(id_, target)
                    outcome = link.read_on(result, link.understand(got))
        except BaseException as error:
            own = isinstance(error, (EOFError, OSError, ProtocolError))
            if not own or raised_by_handler(error):
                if frame is not None:
                    self._sender.resume(error, frame)
                    if got is None or got[:2] != (REPLY, id_):
                        self._abandon(link, id_)
                if taken:
                    link.check_taken(got)
                raise
            if frame is None:
                raise
            result = link.filed_early(id_) or link.file(id_, target)
            outcome = None
            if not (self._sender.broken and link.fails_alone(result, error)):
                outcome = link.broken(error)
        finally:
            if taken:
                reading.lock.release()
                if reading.sleepers:
                    reading.offer()
        if frame is None:
            return link.exchange(target, args, timeout, (), id_)
        return self._go_on(link, result, outcome, timeout, started)

    @leaves_the_role
    def _ask_beside(
        self,
        link: ThreadedLink,
        id_: int,
        target: Any,
        args: Any,
        timeout: float | None,
        started: float,
    ) -> Any:
        """Does the same while another thread reads."""
        if link.look_inside() is not None:
            return link.exchange(target, args, timeout, (), id_)
        frame = result = me = None
        ident = get_ident()
        try:
            if not link.end._ready and link.session.state is not State.CLOSED:
                frame = self._frame_request(id_, target, args)
            if frame is None:
                return link.exchange(target, args, timeout, (), id_)
            result = link.file(id_, target)
            if ident not in link.waiters:
                # A new one each time: what it serves at the end may ask over another connection.
                me = Waiter(ident)
                me.awaited = result
                link.waiters[ident] = me
                result.add_waiter(me)
            try:
                self._sender.send_frame(frame)
            except ConnectionClosed as error:
                if raised_by_handler(error):
                    raise
                if not link.fails_alone(result, error):
                    link.lose(error)
            link.exchanges += 1
            if me is not None:
                self._sleep(link, me, result, timeout)
            if not result._ready:
                link.wait_on(result, timeout, started, None)
        except BaseException as error:
            if frame is not None:
                self._sender.resume(error, frame)
                self._abandon(link, id_)
            raise
        finally:
            if me is not None and result is not None:
                result.remove_waiter(me)
                link.leave(me, result._ready)
        if result._ready and (me is None or link.stash):
            link.act_on_earlier(result)
        return result

    @staticmethod
    def _abandon(link: ThreadedLink, id_: int) -> None:
        """Note that nobody waits any more for the answer to a request that leaves, or has left."""
        if link.end._ready:
            return
        pending = link.session.pending
        early = link.filed_early(id_)
        if early is not None and early._ready:
            return
        if pending.abandon(id_):
            link.application.gave_up(id_)
        elif id_ not in pending:  # it has not been filed
            pending.file(id_, ABANDONED)
            link.application.gave_up(id_)

    def _sleep(
        self, link: ThreadedLink, me: Waiter, result: AsyncResult, timeout: float | None
    ) -> None:
        """Sleeps once while another thread reads, which is how long it usually takes."""
        reading = link.reading
        try:
            me.arm()
            me.dormant = True
            reading.sleepers.append(me)
            if reading.lock.locked() and not result._ready and not me.inbox:
                if not link.unserved:
                    me.sleep(timeout)
        finally:
            reading.wake_up(me)
            if result._ready and reading.sleepers:
                reading.offer()

    def post(self, link: ThreadedLink, result: AsyncResult, target: Any, args: Any) -> None:
        """Sends a request whose answer goes to ``result``, perhaps a moment later."""
        pending = link.session.pending
        id_ = next(pending.numbers)
        if type(result) is AsyncResult and link.bystander is None and not link.queued.full:
            if link.session.state is State.CLOSED:
                raise link.closed_error()
            frame = None
            try:
                frame = self._frame_request(id_, target, args)
                if frame is not None:
                    result.id_, result.target = id_, target
                    pending.file(id_, result)
                    link.batch.send_unawaited(link, frame)
                    return
            except BaseException as error:
                if isinstance(error, ConnectionClosed) and not raised_by_handler(error):
                    if not link.fails_alone(result, error):
                        link.lose(error)
                    raise link.closed_error(error) from error
                if frame is not None:
                    self._sender.resume(error, frame)
                    self._abandon(link, id_)
                raise
        link.request(result, target, args, id_=id_)

    @leaves_the_role
    def _go_on(
        self,
        link: ThreadedLink,
        result: AsyncResult,
        outcome: Any,
        timeout: float | None,
        started: float,
    ) -> AsyncResult:
        """Waits in the general way.

        Args:
            outcome: of what was read instead of the answer.
        """
        try:
            self._sender.flush()
        except ConnectionClosed as error:
            if raised_by_handler(error):
                raise
            if not link.fails_alone(result, error):
                link.lose(error)
        try:
            if link.unsent:
                link.look_inside()
            link.wait_on(result, timeout, started, outcome)
        except BaseException:
            link.give_up(result)
            raise
        return result
