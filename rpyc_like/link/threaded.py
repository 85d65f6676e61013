"""The blocking driver: threads that share one message connection.

It moves payloads and decides who waits, who reads and who works; what payloads mean is the
session's business, and what to do for a request is the application's.

* One thread at a time has the reading role, and gives it up before any code of the program runs.
* What has been read is filed before the role is given up, where every thread finds it that could
  act on it: an answer is settled; a request is put into the inbox of the thread it is meant for,
  or is left to the threads that serve, or stays in the stash for the next reader. Each thread looks
  for all of these when it has the role, before it reads, and when it is listed as a sleeper, before
  it sleeps. So nobody waits for something that has been read.
* A thread goes on with its answer when what came before that is served, or left to others that
  serve, though another thread has read both. If that was the watchdog, the stash keeps the answer's
  place.
* A thread that waits while another reads sleeps, and is woken by its answer, by work handed to
  it, or by the role.
* A thread that waits for an answer serves the requests that its own request has caused. It leaves
  others to the threads that do nothing but serve, where there are any: such a request may wait for
  something that the waiting thread does next. Without such threads it serves those as well; so does
  a serving thread that waits, while no other one has nothing to do.
* A request that finds its thread busy is served by a helper, a thread of the connection's own,
  after a moment (:mod:`.helpers`).
* A program's own way of dispatching gets payloads from the thread that has read them. That thread
  keeps the role until the payload has been passed to :meth:`ThreadedLink.take`, because an
  answer is visible only then.
* Sending is a role too (:mod:`rpyc_like.link.sending`).
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import get_ident
from typing import Any, Final, Protocol

from ..errors import ConnectionClosed, LocalProtocolError, ProtocolError
from ..lib import primitives
from ..lib.interrupts import ignoring, raised_by_handler
from ..lib.lifetimes import without_frames
from ..lib.recursion_limit import has_room
from ..lib.subinterpreters import at_end
from ..lib.threads import spawn
from ..lib.timing import Timeout
from ..lib.worker_pool import in_pool, waiting
from ..wire.session import ANSWER, BROKEN, CALL, NOTHING, NOTICE, Outcome, Session, State
from . import fork
from .apart import APART, takes_long
from .backlog import Backlog, Stash
from .call_context import IN_TASK, THREAD
from .call_registry import CallRegistry, closed_error, name_of, warn_malformed
from .channel import endpoints
from .fast_path import FastCodec, FastPath
from .housekeeping import HeartbeatMonitor, housekeeper
from .interrupted import Inside, check_not_reading, holds_the_role, leaves_the_role, look_inside
from .lost_requests import LostRequests
from .receiving import AT_ONCE, MAX_QUEUED, DispatchLock, FrameReceiver, ReadingRole, Waiter
from .result import AsyncResult, CallableResultAdapter
from .sending import FrameSender, PeerStuck
from .serve.helpers import MAX_HELPERS, Helpers
from .streams.base import READ, WRITE, NativeStream
from .write_coalescing import WriteCoalescer

__all__ = ["LinkClient", "ThreadedLink"]

logger = logging.getLogger("rpyc_like.link")

RAW: Final = "raw"
"""Read a payload, ``(RAW, payload)``, for a program's own way of dispatching it."""

_ENDS: Final = (EOFError, OSError)
"""Errors that mean that the peer, or the network, has ended a connection."""
_SLICE = 0.05
_LOOK = 0.5  # seconds after which a thread that reads looks whether its time has been changed
_MANY = 1000  # messages that one look serves where a stream does not tell how many have arrived
_links_with_calls = housekeeper.links_with_calls
_UNREAD: Outcome = ()
_SETTLED: Outcome = (NOTHING,)
"""Read an answer, and nothing more is to be done for it."""


class LinkClient(Protocol):
    """What runs on top of a message connection."""

    def serve_request(self, id_: Any, target: Any, args: Any) -> object:
        """Does what the peer asks and sends the answer. May run code of the program."""

    def notice(self, payload: Any) -> None:
        """Takes something that needs no answer. May run code of the program."""

    def route(self, target: Any) -> tuple[int | None, int]:
        """Returns the thread a request is meant for (None: any), and a mark kept while serving."""

    def refuse(self, id_: Any, error: Exception) -> None:
        """Answers a request that cannot be served."""

    def serve_at_once(self, id_: Any, target: Any, args: Any) -> bool:
        """Answers a request without waiting and without code of the program, if that can be.

        Called while another thread serves something that takes long.
        """

    def gave_up(self, id_: Any) -> None:
        """Is told that nobody waits for the answer to this side's request ``id_`` any more."""

    def beat(self, interval: float) -> None:
        """Sends a sign of life, without waiting; the next one comes after ``interval`` seconds."""

    def fell_silent(self, silent: bool) -> None:
        """Is told that signs of life are missing, or come again. May run code of the program."""

    def went_down(self) -> None:
        """Is told that the peer is gone while requests are being served; the end comes later."""

    def disconnected(self, error: BaseException | None) -> None:
        """Is told once that the connection is gone."""

    def will_repeat(self) -> bool:
        """Returns whether what cannot be sent will be sent again, over another channel."""

    def recover(self, error: BaseException) -> BaseException | None:
        """Takes a broken conversation up again in another way, and returns None if that worked.

        Otherwise returns the error to end the connection with.
        """


class Guarded(Protocol):
    """A part of a connection that several threads change, under a lock."""

    @property
    def entered(self) -> bool:
        """Whether the current thread has the lock."""


class ThreadedLink:
    """Requests and answers over a channel, shared by any number of threads.

    Args:
        channel: an open channel, which belongs to the connection from then on.
        session: knows the protocol.
        application: serves the peer's requests.
    """

    def __init__(self, channel: Any, session: Session, application: LinkClient) -> None:
        self.session = session
        self.reading = ReadingRole()
        self.end = AsyncResult(None)  # only this class waits for it
        self.error: BaseException | None = None
        self.closed_class: type[ConnectionClosed] = ConnectionClosed
        self.closed_here = False  # whether the program has closed the connection
        """What whoever waits or wants something gets after the end."""
        self.dispatch: Callable[[bytes], None] | None = None
        """Is given each payload, and gives it to :meth:`take`; see :meth:`dispatch_with`."""
        self.workers: Callable[[Callable[[], None], Any], Any] | None = None
        """Runs a request that is meant for no thread; also given the mark of its route."""
        self.overtake: Callable[[], None] | None = None
        """Has workers go on with the next request, because the one being served is given up."""
        self.pooled = False
        """Whether a :class:`~rpyc_like.link.serve.poller.Poller` has the reading role for good."""
        self.names_threads = False
        """Whether the peer's requests name the thread to serve them, as soon as it has asked."""
        self.in_order = True
        """Whether requests of the same mark are served one after the other by workers."""
        self.unbegun: set[Any] = set()
        """The peer's requests that were given to threads which have not begun them."""
        self.running: set[Any] = set()
        """The peer's requests that are being served; their answers have not been sent."""
        self.calls = CallRegistry()
        """What the peer has said about its requests."""
        self.attended: set[Any] = set()
        """The peer's requests that were being served at the watchdog's last look."""
        self.looked_after = False
        """Whether what arrives is taken in while the connection's own threads are occupied."""
        self.lost_requests: LostRequests | None = None
        """Answers what interrupted threads have read and do not serve."""
        self.heart: HeartbeatMonitor | None = None
        """Watches over the peer, if it is to send signs of life."""
        self.exchanges = 0
        """How many requests were made whose threads wait for the answers."""
        self.bystander: Waiter | None = None
        """The thread that would read, but leaves that to others; see :mod:`.leader_follower`."""
        self.server_thread: Waiter | None = None
        """The thread that serves all requests, in order."""
        self.application = application
        self.waiters: dict[int, Waiter] = {}
        """Threads that wait for an answer, and may be handed work meanwhile."""
        self.servers: dict[int, Waiter] = {}
        """Threads that do nothing but serve. Each sleeps on its waiter while another reads."""
        self.unserved: deque[tuple[float, Outcome]] = deque()
        """Requests that are left to those, and when they were read."""
        self._make_locks()
        self._dispatch_lock: DispatchLock
        self._passes_late = False  # whether a program passes payloads on from other threads
        self._orphaned = False
        self._is_quick: Callable[[Any], bool] = bool  # see close
        self._hung_up = False  # whether what is left is being served
        self._answered: list[Any] = []  # results whose callbacks are run with those of the end
        self._untold: list[list[Any]] = []  # whom to tell that the connection is lost
        self._malformed: list[ProtocolError] = []  # what is to be logged outside of the role
        self._drops = False  # whether requests that have not begun do not delay that
        self._turn: object = None  # of the thread that serves alone; see serve_alone
        self._successor = False  # whether a thread has been started to take the turn
        self.queued = Backlog()
        """Memory of what has been read and waits to be served."""
        self._going_on: dict[Any, int] = {}  # bytes of requests that no thread of it serves
        self._early: dict[int, AsyncResult] = {}  # see file_early
        self.max_helpers = MAX_HELPERS
        """How many threads may serve what the connection's own threads are too busy for."""
        self.stash = Stash(self.queued)
        """What was read too early to be acted on. Belongs to the reading role."""
        self.guards: list[Guarded] = [self.queued]
        """What takes part in delivering answers and has locks, beside the stream."""
        self.kept_from = 0
        """How many bytes had arrived when nothing was kept in the stash."""
        self.attach(channel)
        fork.remember(self)

    def _make_locks(self) -> None:
        # Two of the locks may be held when a signal handler runs in this very thread.
        self.inbox_lock = primitives.RLock()
        """Guards handing work to a waiter that may be leaving, and to helpers."""
        self.helpers = Helpers(self.inbox_lock)
        self._taking = primitives.RLock()  # guards decoding outside of the reading role
        self._gone_lock = primitives.RLock()  # guards the first call of lose()

    def attach(self, channel: Any) -> None:
        """Moves the conversation to another channel (before anything was understood on the old)."""
        self.channel = channel
        self.receiver, self.sender = endpoints(channel)
        self.queued.limit = getattr(self.receiver, "max_queued", MAX_QUEUED)
        if isinstance(self.receiver, FrameReceiver) and isinstance(self.sender, FrameSender):
            self.sender.blocked = self._read_while_full
            self.sender.interrupted = self._write_interrupted
        self.express: FastPath | None = None
        """The quick way, once the application has opened it with :meth:`use_shortcut`."""
        self.send_frame: Callable[[bytes], None] | None = None
        """Sends a whole frame that a shortcut has made, where there is one."""
        self._open: Callable[[bytes], Any] | None = None
        self.batch = WriteCoalescer(self)
        self.unsent: Sequence[Any] = getattr(self.sender, "queue", ())
        """What the system has not taken yet."""
        self.send = self.sender.send
        self.try_send = self.sender.try_send

    def dispatch_with(self, dispatch: Callable[[bytes], None]) -> None:
        """Gives each payload to a method of the program, before anything has been read.

        The thread that has read it has the reading role until the method passes the payload to
        :meth:`take`, calls :meth:`pass_on`, or returns. Meanwhile that thread may read on.
        """
        self.dispatch = dispatch
        self.reading.lock = self._dispatch_lock = DispatchLock()

    def use_shortcut(self, shortcut: FastCodec) -> None:
        """Has usual messages written and read in one step, where the channel allows it."""
        receiver, sender = self.receiver, self.sender
        if (
            isinstance(receiver, FrameReceiver)
            and isinstance(sender, FrameSender)
            and self.dispatch is None
            and receiver.takes_shortcuts
        ):
            self.express = FastPath(receiver, sender, shortcut)
            self.send_frame = self.batch.send_frame
            self._open = self.express.open

    @property
    def serves(self) -> bool:
        """Whether threads of this side do nothing but serve the connection."""
        return self._turn is not None or self.pooled or self.server_thread is not None

    @property
    def sends_without_waiting(self) -> bool:
        """Whether :attr:`try_send` never waits: the stream is none of the program's own."""
        return isinstance(self.sender, FrameSender)

    @property
    def backlog(self) -> bool:
        """Whether messages have arrived that were not acted on yet."""
        return bool(self.receiver.payloads)

    # -- requests of this side

    def request(
        self,
        result: AsyncResult,
        target: Any,
        args: Any,
        *before: bytes,
        id_: int | None = None,
    ) -> AsyncResult:
        """Sends a request whose answer goes to ``result``.

        Args:
            before: payloads that must reach the peer first.
            id_: the request's number, if one has been taken already.
        """
        self._request(result, target, args, before, id_)
        bystander = self.bystander
        if bystander is not None:
            self.bystander = None
            bystander.wake()
        return result

    def _request(
        self,
        result: AsyncResult,
        target: Any,
        args: Any,
        before: Sequence[bytes],
        id_: int | None = None,
    ) -> None:
        if self._orphaned or self.session.state is State.CLOSED:
            raise self.closed_error()
        result.target = target
        result.id_, payload = self.session.request(result, target, args, id_)
        if self.queued.full:
            self.queued.reconsider()
        try:
            self.send(*before, payload)
        except BaseException as error:
            if not isinstance(error, ConnectionClosed) or raised_by_handler(error):
                self.give_up(result)
                raise
            if not self.application.will_repeat():
                if not self.fails_alone(result, error):
                    self.lose(error)
                raise self.closed_error(error) from error

    def wait(self, result: AsyncResult, deadline: Timeout | None) -> None:
        """Serves the connection until ``result`` is there or the time is over."""
        self._flush_held()
        left = None if deadline is None else deadline.timeleft()
        left = _LOOK if left is None else min(left, _LOOK)
        try:
            first = self._not_read(result) if in_pool() else self._read_answers(result, left)
            if not result._ready:
                own = deadline is None or result._deadline is not None  # not for this wait alone
                self._wait(result, deadline, first, own and result is not self.end)
            elif first is not None:
                self.act(first)
        except BaseException:
            self.look_for_lost_requests()
            raise

    def _flush_held(self) -> None:
        """Sends what is held; where that fails, the connection is lost."""
        if self.batch.held:
            try:
                self.batch.flush()
            except ConnectionClosed as error:
                if raised_by_handler(error):
                    raise
                self.answer_failed(error)

    @holds_the_role
    def _read_answers(self, result: AsyncResult, timeout: float | None) -> Outcome | None:
        """Reads once if nobody else reads, in the hope of the answer to ``result``.

        Answers to other requests that have arrived with it are settled as well.

        Returns:
            What was read instead and needs acting on.
        """
        reading = self.reading
        if self.unsent:
            self.look_inside()
        outcome = None
        taken = False
        try:
            if reading.offered is None:
                (taken,) = map(reading.lock.acquire, AT_ONCE)
            if taken and not (
                result._ready
                or result.delivered_by is not None
                or (self.waiters and self.has_inbox())
            ):
                outcome = self.read_on(result, self._read(timeout))
        finally:
            if taken:
                reading.lock.release()
                if reading.sleepers:
                    reading.offer()
        if outcome is _SETTLED:
            return None
        return self._not_read(result) if outcome is None else outcome

    def _not_read(self, result: AsyncResult) -> Outcome | None:
        """Does what is left if another thread has read the answer before this one could."""
        if result._ready:
            self.act_on_earlier(result)
        return None

    def has_inbox(self) -> bool:
        """Returns whether something was handed to the current thread, which waits already."""
        me = self.waiters.get(get_ident())
        return me is not None and bool(me.inbox)

    def read_on(self, result: AsyncResult, outcome: Outcome | None) -> Outcome | None:
        """Files what was read, in the reading role; reads on while answers have arrived with it.

        Args:
            result: what this thread waits for.
            outcome: of what was read.

        Returns:
            What this thread is to act on.
        """
        receiver = self.receiver
        while receiver.payloads and outcome is _SETTLED:
            outcome = self._read(0)
        if outcome is not None and outcome[0] is CALL:
            if result._ready:
                self.stash.append(outcome)  # not worth delaying the answer for
                return None
            ident, waiters = get_ident(), self.waiters
            if self.servers or (waiters and (len(waiters) > 1 or ident not in waiters)):
                me = Waiter(ident)
                me.awaited = result
                noted = result.add_waiter(me)  # so that what it has caused comes to this thread
                try:
                    return self.file_request(outcome, not self.servers or self._must_serve(ident))
                finally:
                    noted.remove(me)
        return outcome

    def file_request(self, outcome: Outcome, serves: bool) -> Outcome | None:
        """Puts a request where its thread finds it, in the reading role.

        Args:
            serves: whether this thread serves requests that are meant for none.

        Returns:
            The request, if this thread is to serve it.
        """
        thread, route = self.application.route(outcome[2])
        if thread == get_ident():
            return outcome
        if thread is not None and self._hand(outcome, thread):
            return None
        if self.workers is not None or serves or not self.servers or route:
            return outcome
        self._leave_unserved(outcome)
        self._rouse()
        return None

    def leave_kept_requests(self) -> None:
        """Leave requests in the stash to helpers, where threads serve and others wait for answers.

        Those others serve as well, and what one serves may wait for what was read after it. In the
        reading role, for who has found all these threads busy.
        """
        servers = self.servers
        beside = any(ident not in servers for ident in list(self.waiters))
        if self.workers is None and servers and beside:
            while self.stash and self.stash[0][0] is CALL:
                outcome = self.file_request(self.stash.popleft(), False)
                if outcome is not None:  # it is bound to its turn
                    self.stash.appendleft(outcome)
                    return

    def _leave_unserved(self, outcome: Outcome) -> None:
        """Leave a request to the threads that serve."""
        self.queued.put(outcome)
        self.unbegun.add(outcome[1])
        self.unserved.append((primitives.monotonic(), outcome))

    def _must_serve(self, ident: int) -> bool:
        """Whether a thread that waits for an answer serves, and no other one has nothing to do."""
        return ident in self.servers and not self._idle_servers()

    def _idle_servers(self) -> list[Waiter]:
        """Return the serving threads that sleep and wait for no answer."""
        waiters = self.waiters
        return [
            one for one in list(self.servers.values()) if one.dormant and one.ident not in waiters
        ]

    def _rouse(self) -> None:
        """Has a thread look for the requests that are left to those that serve."""
        for waiter in self._idle_servers() or list(self.servers.values()):
            if waiter.dormant:
                waiter.dormant = False  # it will take one, and may be busy then
                waiter.roused = True
                waiter.wake()
                if self.servers.get(waiter.ident) is waiter:  # else it has ceased to wait
                    return
        self.helpers.call(self)

    def _hand(self, outcome: Outcome, thread: int) -> bool:
        """Puts a request into the inbox of a thread that waits; returns whether it still does."""
        with self.inbox_lock:
            waiter = self.waiters.get(thread)
            if waiter is None:
                return False
            self.queued.put(outcome)
            self.unbegun.add(outcome[1])
            if not waiter.inbox:
                waiter.since = primitives.monotonic()
            waiter.inbox.append(outcome)
        busy = len(waiter.inbox) > 1 or not waiter.dormant
        waiter.wake()
        if busy and self.servers:
            self.helpers.call(self)
        return True

    def take_unserved(self) -> Outcome | None:
        """Returns the oldest request that is left to the threads that serve."""
        try:
            _, outcome = self.unserved.popleft()
        except IndexError:
            return None
        if self.unserved and not self.end._ready:  # else what is left is served in order
            self._rouse()
        self.queued.take(outcome)
        return outcome

    def _wait(
        self,
        result: AsyncResult,
        deadline: Timeout | None,
        first: Outcome | None,
        changes: bool = False,
    ) -> None:
        if in_pool():
            with waiting():
                self._serve_while_waiting(result, deadline, first, changes)
        else:
            self._serve_while_waiting(result, deadline, first, changes)

    @holds_the_role
    def _serve_while_waiting(
        self, result: AsyncResult, deadline: Timeout | None, first: Outcome | None, changes: bool
    ) -> None:
        """The general way of waiting.

        Args:
            first: something to act on before.
            changes: whether the program has the result and may change its deadline meanwhile.
        """
        ident = get_ident()
        gone, servers, threads = self.end, self.servers, self.waiters
        me = threads.get(ident)
        outermost = me is None
        if me is None:
            me = Waiter(ident)
            if result is not gone:  # who closes the connection is handed nothing
                threads[ident] = me
        outer, me.awaited = me.awaited, result
        waiters = result.add_waiter(me)
        reading, lock, now = self.reading, self.reading.lock, primitives.monotonic
        server = servers.get(ident) if servers else None
        if server is not None:
            servers[ident] = me

        def found() -> Any:
            """Returns whether there is something to do, other than to read."""
            return (
                result._ready
                or me.inbox
                or (server and self.unserved and (me.roused or len(servers) == 1))
            )

        usual = server is None and self.dispatch is None and type(result) is AsyncResult
        act = self.act if result is not gone else self._act_while_closing
        # It looks at least once, however little time there is.
        looks = first is None and deadline is not None and deadline.expired()
        try:
            if first is not None:
                act(first)
            while not result._ready:
                if changes:
                    deadline = result._deadline
                left = None if deadline is None else deadline.tmax
                if left is not None:
                    left -= now()
                    if left <= 0:
                        if not looks:
                            return  # whatever the peer goes on sending
                        looks, left = False, 0.0
                # In a method that dispatches, this thread may have the role already.
                outcome: Outcome | None = _UNREAD
                taken = False
                try:
                    if reading.offered is None or not usual:
                        (taken,) = map(lock.acquire, AT_ONCE)
                    if taken:
                        if not (result._ready or me.inbox or gone._ready) and (
                            usual or not (found() or self._is_delivered(result, ident))
                        ):
                            if not usual and self._passes_late:
                                left = _SLICE if left is None else min(left, _SLICE)
                            if changes and (left is None or left > _LOOK):
                                left = _LOOK  # while it reads, nobody can wake it
                            outcome = self._read(left)
                            if outcome is _SETTLED or servers or len(threads) > 1:
                                outcome = self.read_on(result, outcome)
                finally:
                    if taken:
                        lock.release()
                        if reading.sleepers:
                            reading.offer()
                if outcome:
                    if outcome is not _SETTLED:
                        act(outcome)
                    continue
                if outcome is None:
                    continue
                if me.inbox:
                    self._act_on_handed(me)
                elif server and self.unserved and (me.roused or len(servers) == 1):
                    me.roused = False
                    outcome = self.take_unserved()
                    if outcome is not None:
                        self.act_here(outcome)
                elif self._is_delivered(result, ident):
                    if left == 0:
                        return
                    me.arm()  # the answer has been read: there is nothing to read for
                    me.dormant = True
                    if not found() and self._is_delivered(result, ident):
                        me.sleep(left)
                    me.dormant = False
                elif gone._ready:
                    result.settle(True, self.closed_error())
                    self.tell_lost()
                    return
                elif left == 0:
                    return
                elif not result._ready:
                    inside = self.look_inside()
                    if inside is None:
                        reading.sleep(me, found, left)
                    else:
                        self._read_inside(inside, result, left)
            if me.inbox or self.stash:
                self.act_on_earlier(result)
        finally:
            waiters.remove(me)
            me.awaited = outer
            if server is not None and self.servers.get(ident) is me:
                self.servers[ident] = server
            if me.roused:
                me.roused = False
                if self.unserved:
                    self._rouse()
            reading.offer()
            if outermost:
                self.leave(me, result._ready)
            else:
                me.wake()  # in a signal handler the outer wait may have been woken meanwhile

    def _read_inside(self, inside: Inside, result: AsyncResult, timeout: float | None) -> None:
        """Reads a message and acts on it, in code that has interrupted this thread's reading."""
        if self._passes_late:
            timeout = _SLICE if timeout is None else min(timeout, _SLICE)
        with inside.reading():
            outcome = self.read_on(result, self._read(timeout))
            if outcome is not None and outcome is not _SETTLED:
                self.act(outcome)

    def _is_delivered(self, result: AsyncResult, ident: int) -> bool:
        """Returns whether another thread gives the answer to a program's own kind of result."""
        by = result.delivered_by
        return by is not None and by != ident and (by != 0 or not self.end._ready)

    def exchange(
        self,
        target: Any,
        args: Any,
        timeout: float | None,
        before: Sequence[bytes] = (),
        id_: int | None = None,
    ) -> AsyncResult:
        """Sends a request and waits for its answer: :meth:`request` and :meth:`wait` in one.

        Args:
            timeout: seconds that the answer may take.
            before: payloads that must reach the peer first.
            id_: the request's number, if one has been taken already.

        Returns:
            What the answer has come to, ready or expired.
        """
        started = primitives.monotonic()
        result = AsyncResult(self.application)
        beside = self.names_threads or self.waiters or self.reading.lock.locked()
        if beside and get_ident() not in self.waiters:
            return self._exchange_beside(result, target, args, timeout, before, id_)
        self._request(result, target, args, before, id_)
        self.exchanges += 1
        try:
            first = self._not_read(result) if in_pool() else self._read_answers(result, timeout)
            self.wait_on(result, timeout, started, first)
        except BaseException:
            self.give_up(result)
            raise
        return result

    @leaves_the_role
    def _exchange_beside(
        self,
        result: AsyncResult,
        target: Any,
        args: Any,
        timeout: float | None,
        before: Sequence[bytes],
        id_: int | None,
    ) -> AsyncResult:
        """Does the same; what the request causes finds this thread, as soon as it has been sent."""
        deadline = None
        if timeout is not None:
            deadline = result._deadline = Timeout(timeout)
        me = Waiter(get_ident())
        me.awaited = result
        result.add_waiter(me)
        self.waiters[me.ident] = me
        try:
            self._request(result, target, args, before, id_)
            self.exchanges += 1
            self._wait(result, deadline, None)
        except BaseException:
            self.give_up(result)
            raise
        finally:
            result.remove_waiter(me)
            self.leave(me, result._ready)
        return result

    def give_up(self, result: Any) -> None:
        """Forgets a request that nobody waits for any more; its answer will be dropped."""
        if result.id_ is not None and self.session.pending.abandon(result.id_):
            self.application.gave_up(result.id_)
        self.look_for_lost_requests()

    def look_for_lost_requests(self) -> None:
        """Has requests answered that this thread may have read, if it was interrupted then."""
        if self.lost_requests is not None and self.lost_requests.suspect(self):
            housekeeper.watch_calls(self)

    def file(self, id_: int, target: Any) -> AsyncResult:
        """Files a request that has been sent; for the holder of the reading role."""
        result = AsyncResult(self.application)
        result.id_, result.target = id_, target
        self.session.pending.file(id_, result)
        return result

    def file_early(self, id_: int, target: Any) -> None:
        """Files a request whose thread was interrupted while it waits, and has not done so."""
        if id_ not in self._early:
            self._early[id_] = self.file(id_, target)

    def filed_early(self, id_: int) -> AsyncResult | None:
        """Returns, once, what :meth:`file_early` has filed."""
        return self._early.pop(id_, None)

    def wait_on(
        self, result: AsyncResult, timeout: float | None, started: float, first: Outcome | None
    ) -> None:
        """Waits for the answer to a request that was sent at ``started``.

        Args:
            timeout: seconds from then.
            first: something to act on before.
        """
        if first is _SETTLED:
            first = None
        if not result._ready:
            deadline = None
            if timeout is not None:
                deadline = result._deadline = Timeout(
                    max(0.0, timeout + started - primitives.monotonic())
                )
                deadline.seconds = timeout
            self._wait(result, deadline, first)
        elif first is not None:
            self.act(first)

    @holds_the_role
    def act_on_earlier(self, result: AsyncResult) -> None:
        """Acts on what the peer has sent before its answer, when another thread has read both.

        That is what was handed to this thread, and what the watchdog has kept: nobody else may
        read, and the program may wait for it next.
        """
        me, lock = self.waiters.get(get_ident()), self.reading.lock
        if me is not None:
            for _ in range(len(me.inbox)):  # what comes from now on has come later
                self._act_on_handed(me)
        while self._is_behind(result):
            outcome = None
            taken = False
            try:
                (taken,) = map(lock.acquire, (True,), (_SLICE,))
                if taken and self._is_behind(result):
                    outcome = self.stash.popleft()
                    if outcome[0] is CALL:
                        serves = not self.servers or self._must_serve(get_ident())
                        outcome = self.file_request(outcome, serves)
            finally:
                if taken:
                    lock.release()
                    if self.reading.sleepers:
                        self.reading.offer()
            if outcome is not None:
                self.act(outcome)

    def _is_behind(self, result: AsyncResult) -> bool:
        """Returns whether an answer stands in the stash, behind what the peer sent before."""
        if not any(outcome[1] is result for outcome in list(self.stash)) or self.end._ready:
            return False
        try:
            return self.look_inside() is None
        except LocalProtocolError:
            return False  # the thread has the role, in what has been interrupted

    @leaves_the_role
    def leave(self, me: Waiter, acts: bool = True) -> None:
        """Ends a thread's waiting.

        Args:
            acts: whether it does what others have handed to it; if not, other threads do.
        """
        try:
            for _ in range(len(me.inbox) if acts else 0):
                self._act_on_handed(me)  # what waits in there for an answer finds the rest
        finally:
            with self.inbox_lock:
                self.waiters.pop(me.ident, None)
            if me.inbox:
                self._leave_handed(me)

    def _leave_handed(self, me: Waiter) -> None:
        """Leave what was handed to a thread that waits no more to others."""
        while (outcome := self.take_handed(me)) is not None:
            if outcome[0] is not CALL:
                self.act(outcome)
            elif self.workers is not None:
                self._queue(outcome, self.application.route(outcome[2])[1])
            else:
                self._leave_unserved(outcome)
        if self.unserved and self.has_work:
            self._rouse()

    # -- serving

    @contextmanager
    def serving(self, waiter: Waiter | None = None) -> Iterator[Waiter]:
        """Counts the current thread among those that do nothing but serve.

        Args:
            waiter: what it sleeps on.
        """
        ident = get_ident()
        known = self.servers.get(ident)
        waiter = known or waiter or Waiter(ident)
        self.servers[ident] = waiter
        try:
            yield waiter
        except BaseException:
            self.look_for_lost_requests()
            raise
        finally:
            if known is None:
                self.servers.pop(ident, None)
                if self.unserved and self.has_work:
                    self._rouse()

    @property
    def has_work(self) -> bool:
        """Whether requests come, or some that came before the end have not begun."""
        return not self.end._ready or (not self._drops and bool(self.unbegun))

    def serve_forever(
        self, act: Callable[[Outcome], bool | None] | None = None, turn: object = None
    ) -> None:
        """Takes messages and acts on them until the connection is gone.

        Args:
            act: does what a message asks for, and returns whether to leave off.
            turn: to leave off also when it is another's.
        """
        with self.serving() as me:
            self._serve_forever(me, self.act if act is None else act, turn)

    @holds_the_role
    def _serve_forever(
        self, me: Waiter, act: Callable[[Outcome], bool | None], turn: object
    ) -> None:
        reading, lock, end = self.reading, self.reading.lock, self.end
        waiters, unserved = self.waiters, self.unserved
        while not end._ready:
            taken = False
            try:
                (taken,) = map(lock.acquire, AT_ONCE)
                if not taken:
                    outcome = None
                elif unserved:
                    outcome = self.take_unserved()
                else:
                    outcome = self._read(None)
                    if waiters and outcome is not None and outcome[0] is CALL:
                        outcome = self.file_request(outcome, True)
            finally:
                if taken:
                    lock.release()
                    if reading.sleepers:
                        reading.offer()
            if outcome is not None:
                if act(outcome) or (turn is not None and self._turn is not turn):
                    return
            elif taken:
                continue
            elif unserved:
                outcome = self.take_unserved()
                if outcome is not None and act(outcome):
                    return
            else:
                self.wait_for_role(me)
        while unserved and self.has_work:
            outcome = self.take_unserved()
            if outcome is not None:
                self.act_here(outcome)
        self.tell_lost()

    @holds_the_role
    def serve_what_is_left(self) -> None:
        """Serve what a peer that has hung up sent before, and end. In a thread of its own."""
        channel, reading = self.channel, self.reading
        self._hung_up = True
        try:
            while not self.end._ready and self.channel is channel:
                outcome = None
                taken = False
                try:
                    (taken,) = map(reading.lock.acquire, AT_ONCE)
                    if taken:
                        self._read_to_the_end()
                        outcome = None if self.end._ready else self._read(None)
                        if outcome is not None and outcome[0] is CALL:
                            outcome = self.file_request(outcome, True)
                finally:
                    if taken:
                        reading.lock.release()
                        if reading.sleepers:
                            reading.offer()
                if not taken:
                    self.wait_for_role(Waiter(get_ident()), _SLICE)
                elif outcome is not None:
                    self.act(outcome)
        except BaseException as error:  # meant for a thread that is not there
            self._hung_up = False
            self.lose(error)
            raise
        self._hung_up = False
        if self.end._ready:
            self.tell_lost()

    def _read_to_the_end(self) -> None:
        """Put what has arrived into the stash, within limits, before anything is answered."""
        while not self.end._ready and not self.queued.full:
            outcome = self.read_quickly()
            if outcome is None or outcome[0] is BROKEN:
                return
            if outcome[0] is APART:
                outcome = self.understand(outcome[1])
            if len(outcome) > 1:
                self.stash.append(outcome)

    def serve_alone(self) -> None:
        """Run the serve loop as the connection's only serving thread.

        Return when the connection is closed, or when another thread serves instead: that is where
        all requests that are being served have been cancelled and nobody asks about that.
        """
        self._serve_turn()
        while not self.end._ready:
            self._wait_for_end()

    def _serve_turn(self) -> None:
        """Serves alone, until the connection is gone or another thread has taken over."""
        turn = self._turn = object()
        self._successor = False
        self.serve_forever(turn=turn)

    def serve_instead(self) -> bool:
        """Has another thread go on serving, if one serves alone; returns whether that was so.

        The turn is still that of the thread before until the other one has started.

        Raises:
            RuntimeError: the system has no more threads; nothing has changed.
        """
        if self._turn is None or self._successor:
            return False
        self._successor = True
        try:
            spawn(self._serve_instead)
        except BaseException:
            self._successor = False
            raise
        return True

    def _serve_instead(self) -> None:
        try:
            self._serve_turn()
        except BaseException as error:  # meant for a thread that is not there any more
            self.lose(error)
            raise

    @holds_the_role
    def serve_in_order(self) -> None:
        """Takes messages and acts on them in this thread, until the connection is gone.

        Requests that other threads read are served here as well, if the application's ``route``
        says so or its ``dispatch`` calls :meth:`hand_over`.
        """
        ident = get_ident()
        me = self.server_thread = self.waiters.setdefault(ident, Waiter(ident))
        waiters = self.end.add_waiter(me)
        reading, end = self.reading, self.end
        try:
            while not end._ready:
                if me.inbox:
                    self._act_on_handed(me)
                    continue
                outcome = None
                taken = False
                try:
                    (taken,) = map(reading.lock.acquire, AT_ONCE)
                    if taken and not me.inbox and not end._ready:
                        outcome = self._read(None)
                        if outcome is not None and outcome[0] is CALL:
                            outcome = self.file_request(outcome, True)
                finally:
                    if taken:
                        reading.lock.release()
                        if reading.sleepers:
                            reading.offer()
                if outcome is not None:
                    self.act(outcome)
                elif not taken:
                    reading.sleep(me, lambda: me.inbox or end._ready, None)
            self.tell_lost()
        finally:
            self.server_thread = None
            waiters.remove(me)
            self.leave(me)
            reading.offer()

    def hand_over(self, payload: bytes) -> bool:
        """Gives a payload to the thread in :meth:`serve_in_order`, unless that is this one."""
        thread = self.server_thread
        if thread is None or thread.ident == get_ident():
            return False
        outcome = (RAW, payload)
        self.queued.put(outcome)
        thread.inbox.append(outcome)
        thread.wake()
        return True

    def _wait_for_end(self) -> None:
        """Sleeps until the connection is gone, or a little earlier."""
        me = Waiter(get_ident())
        me.arm()
        waiters = self.end.add_waiter(me)
        try:
            if not self.end._ready:
                me.sleep(None)
        finally:
            waiters.remove(me)

    @leaves_the_role
    def wait_for_role(self, me: Waiter, timeout: float | None = None) -> None:
        """Sleeps until the reading role may be free, or there is something else to do.

        Args:
            me: of the current thread, which serves.
        """
        waiters = self.end.add_waiter(me)
        try:
            self.reading.sleep(me, lambda: self.end._ready or self.unserved, timeout)
        finally:
            waiters.remove(me)

    @leaves_the_role
    def _await_role(self, timeout: float | None) -> None:
        self.check_not_reading()
        with self.serving() as me:
            self.wait_for_role(me, timeout)
        if self.end._ready:
            raise self.closed_error()

    @holds_the_role
    def serve(self, deadline: Timeout | None, wait_for_role: bool = True) -> bool:
        """Takes one message and acts on it; returns whether there was one in time.

        Raises:
            ConnectionClosed: the connection is gone.
        """
        self._flush_held()
        reading = self.reading
        insides = reading.insides
        while True:
            outcome = self.take_unserved() if self.unserved else None
            if outcome is not None:
                self.act_here(outcome)
                return True
            taken = again = False
            try:
                (taken,) = map(reading.lock.acquire, AT_ONCE)
                if taken:
                    again = bool(self.unserved)
                    if not again:
                        outcome = self._read(None if deadline is None else deadline.timeleft())
                        if self.waiters and outcome is not None and outcome[0] is CALL:
                            outcome = self.file_request(outcome, True) or _SETTLED
            finally:
                if taken:
                    reading.lock.release()
                    if reading.sleepers:
                        reading.offer()
            if taken and not again:
                break
            if not taken:
                left = None if deadline is None else deadline.timeleft()
                if not wait_for_role or left == 0:
                    return False
                self._await_role(left)
        if outcome is None:
            return reading.insides != insides  # then code that has interrupted this one served
        if outcome is not _SETTLED:
            self.act(outcome)
            if outcome[0] is BROKEN and self.end._ready:
                raise self.closed_error()
        return True

    def poll_all(self, poll: Callable[[Timeout], bool], timeout: float | Timeout | None) -> bool:
        """Serves what comes in time, or what has arrived by now; returns whether anything did.

        Args:
            poll: serves one message if one comes in time, and returns whether it did.
        """
        limit = Timeout(timeout)
        most = None if not limit.expired() else 1
        served = False
        try:
            while most != 0 and poll(limit):
                if most is not None:  # what comes from now on has come later
                    most = most - 1 if served else self._take_in()
                elif limit.expired():
                    most = 0
                served = True
        except EOFError as error:
            if raised_by_handler(error):
                raise
        return served

    def _take_in(self) -> int:
        """Takes in what has arrived; returns how many messages wait to be acted on."""
        if not isinstance(self.receiver, FrameReceiver):
            return _MANY  # it does not tell
        with ignoring(EOFError, OSError, ProtocolError):  # who reads finds out
            self._pull_with(self.receiver.pull, None)
        return len(self.receiver.payloads) + len(self.stash) + len(self.unserved)

    @holds_the_role
    def _pull_with(
        self, pull: Callable[[], object], otherwise: Callable[[], object] | None
    ) -> None:
        """Take in what has arrived, in the reading role if nobody has it.

        Only what a signal handler raises may end the connection here. After an error of the stream
        whoever reads finds that, when all that came before has been acted on.

        Args:
            pull: does it in the role.
            otherwise: is called where another thread has the role, or this one further out.
        """
        reading = self.reading
        taken = False
        try:
            (taken,) = map(reading.lock.acquire, AT_ONCE)
            if taken:
                pull()
            elif otherwise is not None:
                otherwise()
        except BaseException as error:
            own = isinstance(error, (EOFError, OSError, ProtocolError))
            if taken and (not own or raised_by_handler(error)):
                self.check_taken(None)
            raise
        finally:
            if taken:
                reading.lock.release()
                if reading.sleepers:
                    reading.offer()

    def _read(self, timeout: float | None) -> Outcome | None:
        """Reads one message, in the reading role. Settles answers, and nothing more."""
        return self.stash.popleft() if self.stash else self.read_new(timeout)

    def read_new(self, timeout: float | None) -> Outcome | None:
        """Reads one message that has not been read yet; see :meth:`_read`."""
        if self.queued.full and not self.queued.wait(timeout, self._may_read_on):
            return None
        payload = None
        try:
            payload = self.receiver.receive(timeout, self._open)
            if payload is None:
                return None
            if self.dispatch is not None:
                self._dispatch_lock.keep()
                return (RAW, payload)
            return self.understand(payload)
        except BaseException as error:
            own = isinstance(error, (EOFError, OSError, ProtocolError))
            if own and payload is None and not raised_by_handler(error):
                return self.broken(error)
            self.check_taken(payload)
            raise

    def _may_read_on(self) -> bool:
        """Whether to read, although what has been read takes much memory."""
        return self.end._ready or not self.queued.keeps_from_reading(len(self.session.pending) > 0)

    def check_taken(self, payload: Any) -> None:
        """Go on after an exception in the reading role, which a signal handler may raise anywhere.

        A message is left to the next reader. The connection ends if that cannot be and the peer
        would wait in vain. An answer may be lost: who waits for it does so no more, or finds that
        its time is over.

        Args:
            payload: what was received and not filed, None for nothing.
        """
        ended = getattr(self.receiver, "ended", None)
        if payload is None:
            lost = isinstance(ended, ConnectionClosed)
        elif type(payload) is tuple:
            # Only frames are made messages in one step, and not where the program dispatches.
            lost = False
            if payload[0] is CALL or payload[1] in self.session.pending:
                self.receiver.payloads.appendleft(payload)  # type: ignore[attr-defined]
        else:
            is_answer = getattr(self.session.codec, "is_answer", None)
            lost = is_answer is None or not is_answer(payload)
        if lost:
            self._interrupted("a thread was interrupted while it read a message")

    def resume(self, error: BaseException, frame: bytes) -> None:
        """Has a frame leave that a shortcut has made, after an exception of a signal handler.

        Args:
            error: may have come anywhere while :attr:`send_frame` was called.
        """
        if isinstance(self.sender, FrameSender) and not self.end._ready:
            self.sender.resume(error, frame)

    def _write_interrupted(self, text: str) -> None:
        """Go on after an exception of a signal handler while something was sent.

        Args:
            text: why the connection must end; empty if it need not.
        """
        if text:
            self._interrupted(text)
        elif not self.end._ready:
            self.batch.resume()

    def _interrupted(self, text: str) -> None:
        if not self.end._ready:
            self.fail(self.closed_class(text))

    def read_quickly(self) -> Outcome | None:
        """Read one message that has arrived, as :meth:`read_new` does.

        Returns:
            ``(APART, payload)`` for one that takes long to decode.
        """
        try:
            payload = self.receiver.receive(0, self._open)
        except (EOFError, OSError, ProtocolError) as error:
            if raised_by_handler(error):
                raise
            if self.stash and not self.running:
                return None  # who serves what was read before finds out
            return self.broken(error)
        if payload is None:
            return None
        if self.dispatch is not None:
            return (RAW, payload)
        if takes_long(payload, self.receiver):
            return (APART, payload)
        return self.understand(payload, bool(self.stash))

    def broken(self, error: BaseException) -> Outcome:
        """Notes that nothing more can be read, in the reading role."""
        without_frames(error)
        if self.stash and not self._hung_up and isinstance(error, _ENDS):
            self._give_out_stash()
        self._break(error)
        return (BROKEN, error)

    def _give_out_stash(self) -> None:
        """Leave what was read too early to others: nobody will read any more."""
        while self.stash:
            outcome = self.stash.popleft()
            if outcome[0] is CALL:
                thread, route = self.application.route(outcome[2])
                if self.workers is not None:
                    self._queue(outcome, route)
                elif thread is None or not self._hand(outcome, thread):
                    self._leave_unserved(outcome)
            elif outcome[0] is ANSWER:
                self._answered.append(outcome[1])
        if self.unserved and not self.servers:
            self._rouse()

    def understand(self, payload: Any, in_order: bool = False) -> Outcome:
        """Returns what a payload means, or a message; answers are settled. In the reading role.

        Args:
            in_order: whether to return an answer as well for which nothing more is to be done, so
                that it can be noted what stands before it.
        """
        if type(payload) is tuple:
            if payload[0] is CALL:
                return payload
            entry = self.session.pending.pop(payload[1])
            if type(entry) is AsyncResult:  # nearly always
                if entry.settle(False, payload[2]) or in_order:
                    return (ANSWER, entry)
                return _SETTLED
            if entry is not None:
                self.session.pending.file(payload[1], entry)
            outcome = self.session.understand(payload)
        else:
            outcome = self.session.receive(payload)
        kind = outcome[0]
        if kind is ANSWER:
            if not outcome[1].settle(outcome[2], outcome[3]) and not in_order:
                return _SETTLED
        elif kind is BROKEN:
            self._break(outcome[1])
        return outcome

    def take(self, payload: bytes) -> None:
        """Acts on a payload that was received, or that a program says was."""
        with self._taking:
            outcome = self.understand(payload)
        if outcome[0] is CALL and self.waiters:
            self._hand_on(outcome)
        else:
            self.pass_on()
            self.act(outcome)

    def _hand_on(self, outcome: Outcome) -> None:
        """Has a request served that a program has passed on, by the thread it is meant for."""
        filed = self.file_request(outcome, True)
        self.pass_on()
        if filed is not None:
            self.act(filed)

    def pass_on(self) -> None:
        """Gives the reading role up, which a method that dispatches has; see dispatch_with."""
        lock = self.reading.lock
        if isinstance(lock, DispatchLock) and lock.passed() and self.reading.sleepers:
            self.reading.offer()

    @leaves_the_role
    def _dispatch(self, payload: bytes) -> None:
        dispatch, lock = self.dispatch, self._dispatch_lock
        assert dispatch is not None
        kept = lock.kept
        try:
            dispatch(payload)
        finally:
            if kept and lock.kept == kept:  # to be passed on by another thread, or never
                self._passes_late = True
                self.pass_on()

    def _break(self, error: BaseException) -> None:
        """Ends the connection because of ``error``, unless the application can take it up again."""
        if self.end._ready:
            return
        remaining = self.application.recover(error)
        if remaining is not None:
            if isinstance(remaining, ProtocolError):
                self._malformed.append(remaining)
            self._mark_lost(remaining)  # act does the rest, when the role has been given up

    @leaves_the_role
    def act(self, outcome: Outcome) -> None:
        """Does what a message asks for, outside of the reading role.

        A request is served in this thread or by a worker. It is too late to hand it to a thread
        that waits, which may have begun to read: see :meth:`file_request`.
        """
        kind = outcome[0]
        if kind is CALL:
            _, id_, target, args = outcome
            thread, route = self.application.route(target)
            if self.workers is None or thread == get_ident():
                self._serve(id_, target, args, route)
            else:
                self._queue(outcome, route)
        elif kind is ANSWER:
            outcome[1].run_callbacks()
        elif kind is NOTICE:
            self.application.notice(outcome[1])
        elif kind is RAW:
            self._dispatch(outcome[1])
        else:
            assert kind is NOTHING or kind is BROKEN
            self.tell_lost()

    def _act_while_closing(self, outcome: Outcome) -> None:
        """Does so in a thread that closes the connection, and serves only what is quick."""
        if outcome[0] is CALL and self.workers is None and not self._is_quick(outcome[2]):
            self._leave_unserved(outcome)
            self._rouse()
        else:
            self.act(outcome)

    def act_here(self, outcome: Outcome) -> None:
        """Does what a message asks for in this thread, whichever a request is meant for."""
        if outcome[0] is CALL:
            _, id_, target, args = outcome
            self._serve(id_, target, args, self.application.route(target)[1])
        else:
            self.act(outcome)

    def _queue(self, outcome: Outcome, route: int) -> None:
        """Has a request served by a worker."""
        _, id_, target, args = outcome
        assert self.workers is not None
        size = self.queued.weigh(outcome)
        self.queued.add(size)
        self.unbegun.add(id_)
        self.workers(lambda: self._serve_queued(size, id_, target, args, route), route)

    def _serve_queued(self, size: int, id_: Any, target: Any, args: Any, route: int) -> None:
        self.queued.remove(size)
        self._serve(id_, target, args, route)

    def take_handed(self, waiter: Waiter) -> Outcome | None:
        """Return the oldest message that was handed to a thread, if it has not been taken."""
        try:
            outcome: Outcome = waiter.inbox.popleft()
        except IndexError:
            return None
        self.queued.take(outcome)
        return outcome

    def _act_on_handed(self, me: Waiter) -> None:
        """Act on the oldest message that another thread has handed to this one."""
        me.since = primitives.monotonic()
        outcome = self.take_handed(me)
        if outcome is not None:
            self.act_here(outcome)

    @leaves_the_role
    def _serve(self, id_: Any, target: Any, args: Any, route: int) -> None:
        before, in_task = THREAD.now, IN_TASK.get()
        if (before or in_task) is not None and not has_room():
            text = "calls between the two sides are nested too deeply for this interpreter's stack"
            self.refuse(id_, RecursionError(text))
            return
        goes_on = None
        try:
            THREAD.now = (self, id_, route), in_task  # as call_serving() does
            self.running.add(id_)
            if self not in _links_with_calls and self.looked_after:
                housekeeper.watch_calls(self)
            goes_on = self.application.serve_request(id_, target, args)
        finally:
            THREAD.now = before  # first: no signal handler runs before
            if not goes_on:  # served(id_), without another Python call
                self.running.discard(id_)
                if self.calls.known:
                    self.calls.forget(id_)
            else:
                self._count_running(id_, args)
            if self.unbegun:
                self._has_begun(id_)

    def refuse(self, id_: Any, error: Exception) -> None:
        """Answer a request with an error instead of serving it."""
        self.calls.forget(id_)
        self._has_begun(id_)
        self.application.refuse(id_, error)

    def begun(self, id_: Any) -> None:
        """Note that a request has its function and arguments: the end takes nothing from it now."""
        if self.workers is None:
            return  # the end is told in order, when this thread has served it
        self.unbegun.discard(id_)
        if self._untold and not self.unbegun:
            with suppress(RuntimeError):  # no more threads: when this thread has served it
                spawn(self.tell_lost)  # what has begun may take any time

    def _has_begun(self, id_: Any) -> None:
        """Note that a request has been served; what is told of the end may have waited for it."""
        self.unbegun.discard(id_)
        if self._untold:
            self.tell_lost()

    def _count_running(self, id_: Any, args: Any) -> None:
        """Count a request that goes on elsewhere until it has been answered."""
        size = self.queued.weigh((CALL, id_, None, args))
        self._going_on[id_] = size
        self.queued.add(size)
        if id_ not in self.running:  # it has ended meanwhile
            self.queued.remove(self._going_on.pop(id_, 0))

    def served(self, id_: Any) -> None:
        """Notes that a request has been answered."""
        self.running.discard(id_)
        self.queued.remove(self._going_on.pop(id_, 0))
        if self.calls.known:
            self.calls.forget(id_)

    def guarded(self) -> Iterator[Guarded]:
        """Iterate over all whose locks a thread may need to deliver an answer."""
        yield from self.guards
        yield self.helpers
        stream = getattr(self.channel, "stream", None)
        if isinstance(stream, NativeStream):
            yield stream

    def check_not_reading(self) -> None:
        """Refuses to wait in code that has interrupted this thread's reading or writing."""
        check_not_reading(self)

    def look_inside(self) -> Inside | None:
        """Returns how code may read on that has interrupted this thread's reading, if it has.

        Raises:
            LocalProtocolError: it has, and may not.
        """
        return look_inside(self)

    def thread_waiting_for(self, id_: Any) -> int | None:
        """Returns the thread that waits for the answer to this side's request ``id_``."""
        entry = self.session.pending.get(id_)
        waiters: Sequence[Waiter]
        if type(entry) is AsyncResult:  # nearly always
            waiters = entry._waiters
        elif isinstance(entry, (AsyncResult, CallableResultAdapter)):
            waiters = entry.waiters()
        else:
            return None
        for waiter in waiters:
            if self.servers:
                awaited = waiter.awaited
                if awaited is not None and awaited.id_ != id_:
                    return None  # it waits for something else meanwhile
            return waiter.ident
        return None

    def has_room(self) -> bool:
        """Whether something small that is sent now leaves at once."""
        sender, stream = self.sender, getattr(self.channel, "stream", None)
        if not isinstance(sender, FrameSender) or not isinstance(stream, NativeStream):
            return False
        try:
            return sender.idle and bool(stream.wait(WRITE, 0))
        except ConnectionClosed as error:
            if raised_by_handler(error):
                raise
            return True  # it fails at once

    def _read_while_full(self) -> None:
        """The stream is full: takes in what the peer sends, so that it can go on reading."""
        stream = self.channel.stream
        assert isinstance(stream, NativeStream)
        with waiting(for_room=True):
            self._pull_with(partial(self._pull, stream), partial(self._pull_inside, stream))

    def _pull(self, stream: NativeStream) -> None:
        if stream.wait(READ | WRITE, _SLICE) & READ and not self.receiver.pull():
            stream.wait(WRITE, _SLICE)  # the end has come, or no more may pile up

    def _pull_inside(self, stream: NativeStream) -> None:
        """Does so if this thread has the role, and was interrupted; otherwise another one reads."""
        try:
            inside = self.look_inside()
        except LocalProtocolError:
            inside = None
        if inside is None:
            stream.wait(WRITE, _SLICE)
        else:
            with inside.reading():
                self._pull(stream)

    # -- the end

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or closing."""
        return self.session.state is not State.OPEN or self._orphaned

    @property
    def lost(self) -> bool:
        """Whether the peer is gone."""
        return self.end._ready

    def closed_error(self, error: BaseException | None = None) -> ConnectionClosed:
        """Returns the error for whoever still wants something.

        Args:
            error: of a write, while the connection goes on to serve what it has read.
        """
        if self._orphaned:
            return self.closed_class("the process has forked; this copy of the connection is dead")
        return closed_error(self.closed_class, self.error or error, self.closed_here)

    def close(
        self, farewell: Callable[[], None], limit: float, is_quick: Callable[[Any], bool]
    ) -> None:
        """Says goodbye, waits for the peer to hang up, and closes.

        What the peer asks for meanwhile is served by other threads.

        Args:
            farewell: sends the protocol's goodbye.
            limit: seconds that all of it may take.
            is_quick: whether a request for a target is served at once, without the program.
        """
        self._is_quick = is_quick
        deadline = Timeout(limit)
        try:
            if not self._orphaned:
                farewell_thread = spawn(_quietly, farewell) if self._is_full() else None
                if farewell_thread is None:
                    _quietly(farewell)
                else:
                    farewell_thread.join(deadline.timeleft())
                self.wait(self.end, deadline)
        finally:
            self.lose(None)

    def _is_full(self) -> bool:
        stream = getattr(self.channel, "stream", None)
        try:
            return isinstance(stream, NativeStream) and not stream.wait(WRITE, 0)
        except ConnectionClosed as error:
            if raised_by_handler(error):
                raise
            return False

    def lose(self, error: BaseException | None) -> None:
        """Ends the connection for everybody: waiters fail, the channel is closed. Idempotent."""
        if self._mark_lost(error) and isinstance(error, PeerStuck):
            logger.warning("! %s: %s", name_of(self.application), error)
        if error is None:
            self._drops = True  # also if the peer has hung up before
        self.tell_lost()

    def answer_failed(self, error: BaseException) -> None:
        """Handle the failure to send an answer: the connection ends, now or when all is served."""
        if not self.reads_on(error):
            self.lose(error)

    def fails_alone(self, result: AsyncResult, error: BaseException) -> bool:
        """Have a request fail that could not be sent, and nothing else if something is served.

        The function that is served has asked its caller, who has hung up, or another one will.

        Returns:
            Whether the connection goes on; see :meth:`reads_on`. Otherwise it must end.
        """
        if not self.running or not self.reads_on(error):
            return False
        if result.id_ is not None:
            self.session.pending.discard(result.id_)
        result.settle(True, self.closed_error(error))
        return True

    def reads_on(self, error: BaseException) -> bool:
        """Return whether what the peer had sent before it hung up is read and served all the same.

        Nobody may wait for the answers. Reading comes to the end without waiting, and that ends the
        connection.

        Args:
            error: of a write.
        """
        stream = getattr(self.channel, "stream", None)
        if (
            self.end._ready
            or isinstance(error, PeerStuck)
            or not isinstance(stream, NativeStream)
            or not stream.hung_up()
            or stream.closed
        ):
            return False
        if not (self.serves or self.servers or self._hung_up):
            self._hung_up = True
            try:
                spawn(self.serve_what_is_left)
            except BaseException as error:
                self._hung_up = False
                if not isinstance(error, RuntimeError) or raised_by_handler(error):
                    raise
                return False  # the system has no more threads
        return True

    def fail(self, error: BaseException) -> None:
        """Ends the connection, and has another thread tell the program."""
        self._mark_lost(error)
        self.have_told()

    def have_told(self) -> None:
        """Has another thread tell the program that the connection is lost.

        What waits for the end is told by the threads that serve, when they have done so.
        """
        tell = self.tell_lost
        if self.running and not self.pooled:
            # The method keeps the application alive, which the connection refers to weakly.
            tell = partial(self._go_down, self.application.went_down)
        try:
            spawn(tell)
        except RuntimeError:  # the system has no more threads
            tell()

    def _go_down(self, tell: Callable[[], object]) -> None:
        self._warn()
        tell()

    def _warn(self) -> None:
        """Log that the peer has broken the protocol, if it has. A log handler may ask others."""
        while self._malformed:
            warn_malformed(self.application, self._malformed.pop())

    def _mark_lost(self, error: BaseException | None) -> bool:
        """Close the channel and settle what waits; return whether this is the first call.

        Runs no callback.
        """
        if self._hung_up and self.stash and error is not None:
            return False  # an answer could not be sent: what has been read is served all the same
        with self._gone_lock:
            if self.end._ready:
                return False
            if isinstance(error, (*_ENDS, ProtocolError)):
                without_frames(error)
            self.error = error
            self._drops = not isinstance(error, _ENDS)
            self.end._ready = True
        if not self._orphaned:
            try:
                self.channel.close()
            except Exception:
                logger.debug("! closing the channel", exc_info=True)
        self.queued.close()
        entries = [*self.session.closed()]
        for entry in entries:
            entry.settle(True, self.closed_error())
        entries += self._answered
        for waiter in [*self.waiters.values(), *self.end.waiters()]:
            waiter.wake()
        self._untold.append(entries)
        return True

    @leaves_the_role
    def tell_lost(self) -> None:
        """Runs callbacks and tells the application, once, outside of the reading role.

        Whoever finds out that the connection is lost, or reads next, calls it. What a peer sent
        before it hung up is served, so that waits until all of it has begun.
        """
        if self.unbegun and not self._drops:
            return  # who begins the last of these calls it again
        self._warn()
        try:
            entries = self._untold.pop()
        except IndexError:
            return
        for entry in entries:
            entry.run_callbacks()
        self.application.disconnected(self.error)
        if not self.unbegun:  # else requests are left for which nothing else keeps it
            self.application = weakref.proxy(self.application)
        if isinstance(self.sender, FrameSender):
            self.sender.blocked = self.sender.interrupted = None
        self.batch.disown()

    def orphan(self) -> None:
        """Makes this copy, in a forked child, dead and silent."""
        self._orphaned = True
        self._make_locks()  # the child lacks the threads that may hold them
        self._before_orphaned = self.receiver, self.send, self.try_send, self.express
        dead = _ForkedTransport()
        self.express = self.send_frame = None
        self.receiver = dead
        self.send = self.try_send = dead.send

    def adopt(self) -> None:
        """Takes the connection over after a fork whose parent leaves it alone."""
        if self._orphaned:
            self._orphaned = False
            self.receiver, self.send, self.try_send, self.express = self._before_orphaned
            self.batch = WriteCoalescer(self)  # the thread of the other one was the parent's
            if self.express is not None:
                self.send_frame = self.batch.send_frame
        self.reading = ReadingRole()
        if self.dispatch is not None:
            self.dispatch_with(self.dispatch)
        self.waiters.clear()
        self.servers.clear()
        self.unbegun.clear()


def _lose_all() -> None:
    for connection in fork.alive():
        if isinstance(connection, ThreadedLink):
            connection.lose(None)


at_end(_lose_all)


def _quietly(farewell: Callable[[], None]) -> None:
    try:
        farewell()
    except (EOFError, OSError) as error:
        if raised_by_handler(error):
            raise


class _ForkedTransport:
    """What a connection's copy in a forked child sends and receives with."""

    def receive(self, timeout: float | None, open: Any = None) -> bytes | None:
        raise ConnectionClosed("the process has forked; this copy of the connection is dead")

    def send(self, *payloads: Any) -> Any:
        raise ConnectionClosed("the process has forked; this copy of the connection is dead")

    payloads: Collection[bytes] = ()

    def pull(self) -> bool:
        """Has nothing."""
        return False
