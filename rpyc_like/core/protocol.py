"""The blocking connection: the face of the Python-object protocol.

A :class:`Connection` joins an endpoint (tables, codec, handlers) with the driver for threads. Its
documented methods delegate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionClosed, PingError
from ..lib import primitives
from ..lib.colls import RefCountingColl as RefCountingColl
from ..lib.colls import WeakValueDict as WeakValueDict
from ..lib.compat import acquire_lock as acquire_lock
from ..lib.compat import maxint as maxint
from ..lib.exact import exact
from ..lib.first_use import FirstUse, kept_first
from ..lib.guards.in_flight import to_mark, under_way
from ..lib.interrupts import raised_by_handler
from ..lib.introspection import get_methods as get_methods
from ..lib.introspection import hasattr_static as hasattr_static
from ..lib.lazy_exports import late_import
from ..lib.lifetimes import weak_call
from ..lib.object_ids import IdPack
from ..lib.object_ids import get_id_pack as get_id_pack
from ..lib.threads import ThreadCache, spawn
from ..lib.timing import Timeout
from ..lib.worker_pool import WorkerPool
from ..link.channel import client_of
from ..link.housekeeping import HeartbeatMonitor, housekeeper
from ..link.lost_requests import LostRequests
from ..link.result import AsyncResult, CallableResultAdapter, Unresolved, awaited
from ..link.streams.base import ExplainedEnd
from ..link.threaded import ThreadedLink
from . import brine, consts

# Names that programs of RPyC's import from here.
from . import netref as netref
from . import vinegar as vinegar
from .config import DEFAULT_CONFIG
from .dispatch import handlers
from .encoding.boxing import Boxer
from .encoding.codec import DialectMismatch, Target
from .encoding.foreign_memory import ForeignMemory, call_with_copies
from .encoding.hooked_boxing import HookedBoxer
from .endpoint import Endpoint
from .netref import is_netref
from .pipelining.chain_sender import follow
from .pipelining.pipeline import Pipeline
from .proxies.async_iterators import ASYNC, AsyncIteratorExport
from .proxies.deferred_methods import DeferredMetaclass, resolved
from .references.tables import Export

if TYPE_CHECKING:
    from ..link.futures import BackgroundReader
    from .dispatch.coroutines import CoroutineRunner

__all__ = ["DEFAULT_CONFIG", "UNBOUND_THREAD_ID", "AsyncResult", "Connection", "PingError"]

UNBOUND_THREAD_ID = 0

_AsyncResult = AsyncResult  # programs may replace the other name, by a subclass
_CLOSE_LIMIT = 2.0
_OPENING_LIMIT = 5.0
_CROWD = 1000
_FRAMED = (True,)
_SMALL, _LITTLE = frozenset((str, bytes, type(None))), 1000
_CALLS = (consts.HANDLE_CALL, consts.HANDLE_CALLATTR, consts.HANDLE_CHAIN)
_QUICK = frozenset(
    {
        consts.HANDLE_PING,
        consts.HANDLE_CLOSE,
        consts.HANDLE_GETROOT,
        consts.HANDLE_DEL,
        consts.HANDLE_INSPECT,
        consts.HANDLE_HELLO,
    }
)


class ClassicName:
    """A name that a classic connection has, fetched from the peer when it is first asked for.

    Each is then an attribute of the connection. (A ``__getattr__`` would do it too, and make every
    attribute of every connection slow.)
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, conn: Connection | None, owner: type) -> Any:
        if conn is None:
            return self
        installer = conn._installer
        if installer is not None:
            installer(conn, conn.root)  # perhaps in several threads at once: it fills the same in
            conn._installer = None
        # Looked up last: without an installer all is filled in, whichever thread has done it.
        make = conn._fetched_later.get(self._name)
        if make is not None:
            return kept_first(conn.__dict__, self._name, make)
        try:
            return conn.__dict__[self._name]
        except KeyError:
            raise AttributeError(
                f"{owner.__name__!r} object has no attribute {self._name!r}: "
                "not a classic connection (use rpyc_like.classic.connect for a classic server, "
                "conn.root for any other)"
            ) from None


def _make_coroutines() -> CoroutineRunner:
    with late_import():
        from .dispatch.coroutines import CoroutineRunner

    return CoroutineRunner()


def _make_reading_along() -> BackgroundReader:
    with late_import():
        from ..link.futures import BackgroundReader

    return BackgroundReader()


class Connection(Endpoint):
    """One side of a conversation about Python objects, shared by any number of threads.

    Args:
        root: the local service, which the peer gets as ``conn.root``.
        channel: an open channel, which belongs to the connection from then on.
        config: overrides of :data:`DEFAULT_CONFIG`.
    """

    modules = ClassicName()
    eval = ClassicName()
    execute = ClassicName()
    namespace = ClassicName()
    builtin = ClassicName()
    builtins = ClassicName()
    teleport = ClassicName()
    proc: Any  # on connections to a subprocess
    _link: ThreadedLink

    def __init__(self, root: Any, channel: Any, config: dict[str, Any] | None = None) -> None:
        super().__init__(root, config, client_of(channel))
        self.adopt_channel(channel)
        self._installer: Any = None
        self._fetched_later: dict[str, Callable[[], Any]] = {}
        self._reopened = False
        self._link = ThreadedLink(channel, self._session, self)
        self._link.queued.total = self._total
        self._link.max_helpers = self._config["max_helpers"]
        self._link.guards += (self._local_objects, self._proxies)
        if self._overrides("_dispatch"):
            self._link.dispatch_with(self._dispatch)
        # What the peer gives back is noted while a message is decoded, where its finalizers could
        # ask nobody. It is dropped by the thread that acts on the message, before it serves.
        self._dropped: list[Export] = []
        self._local_objects.dropped = self._dropped
        self._link.looked_after = True
        self._link.lost_requests = LostRequests(weak_call(self, "_unanswered"))
        self._codec.link = self._link
        self._link.names_threads = self._codec.dialect.bound
        self._codec.became_usual = self._use_shortcut
        self._crowd = _CROWD  # requests from which expired ones are looked for
        self._pool: WorkerPool | None = None
        self._begin_without_threads()
        housekeeper.start()
        housekeeper.watch_end(self._link)

    def _boxer_class(self) -> type[Boxer]:
        return HookedBoxer if self._overrides("_box", "_unbox", "_netref_factory") else Boxer

    def _begin_without_threads(self) -> None:
        """Make what has threads of its own, or a lock that one of them may hold."""
        # Guards the order "encode, send" until the peer has been heard, because what was sent
        # until then may have to be sent again. Never held later.
        self._opening = primitives.RLock()
        self._flushing = primitives.Lock()  # held while releases are sent in a thread of their own
        self._coroutines = FirstUse(_make_coroutines)
        self._reading_along = FirstUse(_make_reading_along)
        self._threads = FirstUse(
            ThreadCache
        )  # for peers that name the thread a request is meant for
        if self._config["concurrent_calls"] > 1:
            self._serve_several(WorkerPool(self._config["concurrent_calls"]))

    def _serve_several(self, pool: WorkerPool) -> None:
        """Has the peer's requests served by a pool; they begin in the order in which they came."""
        self._pool = pool
        self._link.in_order = False
        self._link.workers = lambda func, mark: pool.run(func, object())

    def _use_shortcut(self) -> None:
        self._link.use_shortcut(self._codec)

    def _learn_features(self, features: int) -> None:
        super()._learn_features(features)
        described = self._codec.features & consts.FEATURE_DESCRIPTIONS
        self._defers = bool(described) and self._config["defer_methods"]

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._config['connid']!r}>"

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        link = self.__dict__.get("_link")
        if link is not None and not link.closed:
            try:
                link.try_send()  # what is held
                link.channel.close()
            except Exception:
                pass  # the interpreter is shutting down

    def _install_later(self, installer: Any) -> None:
        """Has ``installer(conn, conn.root)`` called when a classic name is first asked for."""
        self._installer = installer
        self._is_classic = True

    def _fetch_later(self, name: str, value: Callable[[], Any]) -> None:
        """Has a classic name fetched when it is first asked for."""
        self._fetched_later[name] = value

    # -- state

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, or closing."""
        return self._link.closed

    @property
    def heard(self) -> bool:
        """Whether the peer has said anything yet."""
        return self._codec.heard

    @property
    def _channel(self) -> Any:
        return self._link.channel

    @property
    def _recvlock(self) -> Any:
        """Who has it receives, and nobody else."""
        return self._link.reading

    @property
    def _seqcounter(self) -> Any:
        """Gives the number of the next request."""
        return self._session.pending.numbers

    def _unanswered(self) -> set[int]:
        """Returns the numbers of the peer's requests whose answers have not been sent."""
        return {*list(self._codec.serving), *list(self._link.running)}

    def fileno(self) -> int:
        """Returns a descriptor to wait on for incoming messages."""
        return int(self._link.channel.fileno())

    @property
    def root(self) -> Any:
        """The peer's service."""
        if self._remote_root is None:
            # Two threads that ask at once get the same proxy.
            self._remote_root = self.sync_request(consts.HANDLE_GETROOT)
        return self._remote_root

    def fetch_root(self, timeout: float | None) -> Any:
        """Return the peer's service, as :attr:`root` does.

        Args:
            timeout: seconds that the answer may take, instead of ``sync_request_timeout``.
        """
        if self._remote_root is None:
            result = self.async_request(consts.HANDLE_GETROOT, timeout=timeout)
            self._remote_root = awaited(result)
        return self._remote_root

    def add_state_callback(self, func: Callable[[Any, str], Any]) -> None:
        super().add_state_callback(func)
        housekeeper.watch_end(self._link, by_looking=True)

    # -- requests

    def sync_request(self, handler: int, *args: Any) -> Any:
        """Sends a request, waits for the answer, and returns it or raises it.

        The answer may take ``sync_request_timeout`` seconds of the configuration.
        """
        if under_way and (use := to_mark()) is not None:
            with use.asking():
                return use.take(self.sync_request(handler, *args))
        try:
            timeout = self._config["sync_request_timeout"]
            if self._reads:
                self._reconsider(handler, args)
            if AsyncResult is not _AsyncResult:
                return awaited(self.async_request(handler, *args, timeout=timeout))
            link = self._link
            if self._codec.heard:
                if self._stands_ahead:
                    result = link.exchange(handler, args, timeout, self._ahead())
                elif link.express is None:
                    result = link.exchange(handler, args, timeout)
                else:
                    result = link.express.ask(link, handler, args, timeout)
                    if type(result) is not _AsyncResult:
                        return result
            else:
                result = AsyncResult(self)
                result.set_expiry(timeout)
                self._request(result, handler, args)
                try:
                    link.wait(result, result._deadline)
                except BaseException:
                    link.give_up(result)
                    raise
            if not result._ready:
                raise self.expire(result)
            try:
                return result.take()
            finally:
                del result  # an exception's traceback would keep it, and it keeps the exception
        except ForeignMemory as refusal:
            return call_with_copies(self.sync_request, (handler, *args), refusal)

    def async_request(self, handler: int, *args: Any, timeout: float | None = None) -> AsyncResult:
        """Sends a request and returns the AsyncResult of the answer.

        Args:
            timeout: seconds until the result expires; None for never.
        """
        if self._reads:
            self._reconsider(handler, args)
        result = AsyncResult(self)
        if timeout is not None:
            self._forget_expired()
            result.set_expiry(timeout)
        return self._request(result, handler, args)

    def _request(self, result: AsyncResult, handler: int, args: tuple[Any, ...]) -> AsyncResult:
        link = self._link
        express = link.express
        if result._deadline is not None and handler in _CALLS:
            if self._codec.features & consts.FEATURE_CALLS:
                return self._request_in_time(result, handler, args, result._deadline)
        if express is not None and not self._stands_ahead and AsyncResult is _AsyncResult:
            express.post(link, result, handler, args)
            return result
        entry = self._entry(result)
        if not self._codec.heard:
            with self._opening:
                link.request(entry, handler, args, *self._ahead())
        elif self._stands_ahead:
            link.request(entry, handler, args, *self._ahead())
        else:
            link.request(entry, handler, args)
        return result

    @staticmethod
    def _entry(result: AsyncResult) -> Any:
        """Returns what to file for a result: itself, or what delivers to a program's own class."""
        if AsyncResult is not _AsyncResult and type(result).__call__ is not _AsyncResult.__call__:
            return CallableResultAdapter(result)
        return result

    def _request_in_time(
        self, result: AsyncResult, handler: int, args: tuple[Any, ...], deadline: Timeout
    ) -> AsyncResult:
        """Sends a request, and by when it is to be answered."""
        id_ = next(self._session.pending.numbers)
        left = int(1000 * (deadline.timeleft() or 0))
        said = self._codec.encode_saying(consts.HANDLE_DEADLINE, id_, left)
        self._link.request(self._entry(result), handler, args, *self._ahead(), said, id_=id_)
        return result

    def _forget_expired(self) -> None:
        """Gives up what has expired unnoticed, each time the number of requests has doubled."""
        pending = self._session.pending
        if len(pending) < self._crowd:
            return
        for entry in pending.waiting().values():
            if isinstance(entry, _AsyncResult) and entry.expired:
                self._link.give_up(entry)
        self._crowd = max(_CROWD, 2 * len(pending))

    def call(self, func: Any, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Calls a remote function and returns its result.

        Args:
            func: a proxy.
            timeout: seconds that the answer may take, instead of ``sync_request_timeout``. The peer
                is told, and that nobody waits any more when the time is over.

        Raises:
            TimeoutError: no answer came in time.
        """
        if not is_netref(func) or object.__getattribute__(func, "____conn__") is not self:
            raise TypeError(f"expected a proxy of this connection, got {type(func).__name__}")
        if timeout is None:
            return func(*args, **kwargs)
        if type(type(func)) is DeferredMetaclass:
            func = resolved(func)
        pairs = tuple(kwargs.items())
        return awaited(self.async_request(consts.HANDLE_CALL, func, args, pairs, timeout=timeout))

    def ping(self, data: Any = None, timeout: float | None = 3) -> None:
        """Has the peer echo ``data``.

        Raises:
            PingError: something else came back.
            TimeoutError: nothing came back within ``timeout`` seconds.
        """
        sent = "abcdefghijklmnopqrstuvwxyz" * 20 if data is None else data
        echo = awaited(self.async_request(consts.HANDLE_PING, sent, timeout=timeout))
        if echo != sent:
            raise PingError("echo mismatches sent data")

    def pipeline(self) -> Pipeline:
        """Returns a recorder of operations that are done in one trip."""
        return Pipeline(self)

    def _follow(self, root: Any, path: Sequence[str], *call: Any) -> Any:
        """Returns what a path of names leads to from a proxy, or what calling that returns.

        Args:
            call: arguments and pairs of keyword arguments.
        """
        if len(path) == 1 and not call:
            return self.sync_request(consts.HANDLE_GETATTR, root, path[0])
        return follow(self, root, path, *call)

    def is_subclass(self, cls: Any, other: Any) -> bool:
        """Asks the owner of two remote classes whether the first is a subclass of the second."""
        if self._codec.features & consts.FEATURE_TYPES:
            return exact(
                self.sync_request(consts.HANDLE_SUBCLASSCHECK, cls, other), bool, "a truth value"
            )
        try:
            check = self.sync_request(consts.HANDLE_GETATTR, other, "__subclasscheck__")
        except AttributeError:
            return False  # its policy does not tell
        return bool(check(cls))

    # -- what a subclass may override; who does not, is spared the call

    def _box(self, obj: Any) -> tuple[Any, Any]:
        """Returns ``(label, plain value)`` for what is sent; a tuple's items are boxed by it too.

        The labels are those of :mod:`rpyc_like.core.consts`; a label of the program's own is for
        the ``_unbox`` of the other side. References are counted.
        """
        return self._boxer.box(obj)

    def _unbox(self, package: tuple[Any, Any]) -> Any:
        """Returns what a received ``(label, plain value)`` stands for."""
        value = self._boxer.unbox(package)
        return self.finish(value) if issubclass(type(value), Unresolved) else value

    def _netref_factory(self, id_pack: IdPack) -> Any:
        """Returns a new proxy; asks the owner about its class if that is not known."""
        make = self._boxer.class_of(id_pack)
        if make is None:
            make = self._boxer.learn_class(
                id_pack, self.sync_request(consts.HANDLE_INSPECT, id_pack)
            )
        return make(self, id_pack, brine.dump(id_pack))

    def _dispatch(self, data: bytes) -> None:
        """Acts on a received payload.

        Messages that threads sharing a connection dispatch at the same time are taken in the order
        in which this method is called, which need not be the wire's.
        """
        self._link.take(data)

    # -- what an AsyncResult asks for

    def wait_for(self, result: AsyncResult, deadline: Timeout | None) -> None:
        """Serves the connection until ``result`` has come or the time is over."""
        if under_way and (use := to_mark()) is not None:
            with use.asking():
                self._link.wait(result, deadline)
        else:
            self._link.wait(result, deadline)

    def give_up(self, result: AsyncResult) -> None:
        """Forgets a request that nobody waits for any more; tells a peer of ours."""
        self._link.give_up(result)

    def read_for(self, result: AsyncResult, ended: Callable[[AsyncResult], None]) -> None:
        """Has a thread read until the answer has come, or the time is over."""
        self._reading_along.get().add(result, ended)

    def expire(self, result: AsyncResult) -> BaseException:
        """Forgets a request that was not answered in time and returns the error to raise."""
        self._link.give_up(result)
        name = handlers.NAMES.get(result.target, result.target)
        seconds = result._deadline.seconds if result._deadline is not None else None
        text = f"result expired: no answer to {name} within {seconds} s"
        if not self._codec.heard:
            text += (
                f"; the peer has never answered (it was addressed in {self._codec.dialect}, see "
                "configuration keys 'dialect' and 'bind_threads')"
            )
        elif self._found_no_helper(result):
            text += (
                "; requests of the peer have waited meanwhile, because all threads that serve them "
                "were busy (configuration key 'max_helpers' here)"
            )
        elif self._session.pending.waiting():
            text += (
                "; other calls over this connection were not answered either, and the peer may "
                "serve one after the other (configuration key 'concurrent_calls' there)"
            )
        elif self._link.serves:
            text += (
                "; the peer may not be serving: a client does while it waits for an answer itself, "
                "or in a BgServingThread"
            )
        return TimeoutError(text)

    def _found_no_helper(self, result: AsyncResult) -> bool:
        """Returns whether a request of the peer has waited for a thread since this one was sent."""
        limit = result._deadline
        start = 0.0 if limit is None else (limit.tmax or 0.0) - (limit.seconds or 0.0)
        return self._link.helpers.fell_short_since(start)

    # -- serving

    def serve(
        self,
        timeout: float | Timeout | None = 1,
        wait_for_lock: bool = True,
        waiting: Any = None,
    ) -> bool:
        """Takes one message and acts on it; returns whether one came within ``timeout`` seconds.

        Args:
            wait_for_lock: whether to wait while another thread receives.

        Raises:
            EOFError: the connection is closed.
        """
        return self._link.serve(None if timeout is None else Timeout(timeout), wait_for_lock)

    def poll(self, timeout: float | Timeout = 0) -> bool:
        """Serves one message if one comes within ``timeout`` seconds; returns whether it did."""
        return self.serve(timeout, False)

    def poll_all(self, timeout: float | Timeout = 0) -> bool:
        """Serves what comes within ``timeout`` seconds; returns whether anything did.

        A message that is being served then is served to its end. With 0 seconds, what has arrived
        is served, and nothing that comes meanwhile.
        """
        return self._link.poll_all(self.poll, timeout)

    def serve_all(self) -> None:
        """Serves until the connection is closed."""
        try:
            self._serve_until_closed(self._link.serve_alone)
        finally:
            self.close()

    def serve_threaded(self, thread_count: int = 10) -> None:
        """Serves in several threads until the connection is closed."""
        serve = self._link.serve_forever
        try:
            threads = [spawn(self._serve_until_closed, serve) for _ in range(thread_count)]
            for thread in threads:
                thread.join()
        finally:
            self.close()

    def _serve_until_closed(self, serve: Callable[[], None]) -> None:
        if type(self).serve is Connection.serve:
            serve()
            return
        try:
            while not self.closed:
                self.serve(None)
        except EOFError as error:
            if raised_by_handler(error):
                raise

    # -- what the link asks for

    def serve_request(self, id_: int, target: Target, args: Any) -> bool:
        """Does what the peer asks and sends the answer.

        Returns:
            Whether it is still being done: ``async def`` functions run on a loop of their own.
        """
        if self._reads:
            self._forget_ahead()
        if self._dropped:
            self._dropped.clear()
        link = self._link
        if link.calls.known and link.calls.is_cancelled(id_):
            self._answer(self._codec.encode_reply(id_, None))  # which nobody waits for
            return False
        frame = None
        try:
            if type(args) is not tuple:
                if not issubclass(type(args), Unresolved):
                    raise self._bad_args(args)
                args = self.finish(args)
            handler = self._HANDLERS.get(target[0]) or self._handler(target[0])
            if link.unbegun:
                link.begun(id_)
            value = handler(self, *args)
            if type(value) in ASYNC:
                if type(value) is CoroutineType:
                    self._coroutines.get().begin(self, id_, value)
                    return True
                value = AsyncIteratorExport(value)
            if link.send_frame and not self._proxies.released and not self._rewinds:
                (frame,) = map(self._codec.native.reply, _FRAMED, (id_,), (value,))
                if frame is not None:
                    del args, value
                    try:
                        link.send_frame(frame)
                    except EOFError as error:
                        if raised_by_handler(error):
                            raise
                        link.answer_failed(error)
                    return False
            payload = self._codec.encode_reply(id_, value)
        except BaseException as error:
            if frame is not None:  # this is the answer, whoever interrupts it
                link.resume(error, frame)
                raise
            self._answer(self._encode_failure(id_, error))
            if self._propagates(error):
                raise
        else:
            del args, value
            if self._proxies.released or self._rewinds:
                self._answer(payload)
                return False
            try:
                link.send(payload)
            except EOFError as error:
                if raised_by_handler(error):
                    raise
                link.answer_failed(error)
        return False

    def settled(self, value: Any) -> Any:
        """Returns what a function has given, when it is there: waits for ``async def`` ones."""
        return self._coroutines.get().value_of(value) if type(value) in ASYNC else value

    def _told(self, handler: int, number: int, milliseconds: int = 0) -> None:
        super()._told(handler, number, milliseconds)
        if handler == consts.HANDLE_CANCEL and self._coroutines.made is not None:
            self._coroutines.made.cancel(number)

    def _answer(self, payload: bytes) -> None:
        try:
            # The answer may name objects of the peer whose proxies have died since: it goes first.
            self._link.send(*self._take_rewinds(), payload, *self._releases())
        except EOFError as error:
            if raised_by_handler(error):
                raise
            self._link.answer_failed(error)

    def notice(self, payload: Any) -> None:
        """Drops what the peer has given back; that was noted in wire order."""
        self._dropped.clear()

    def refuse(self, id_: int, error: Exception) -> None:
        """Answers with an error."""
        self._answer(self._encode_failure(id_, error))

    def serve_at_once(self, id_: int, target: Target, args: Any) -> bool:
        """Answers a ping with little data, if the answer can leave at once and whole."""
        if (
            target[0] != consts.HANDLE_PING
            or target[2]
            or type(args) is not tuple
            or len(args) != 1
            or type(args[0]) not in _SMALL
            or len(args[0] or "") > _LITTLE
            or self._HANDLERS.get(target[0]) is not handlers.ping
            or not self._link.has_room()
        ):
            return False
        self._send_at_once(self._codec.encode_reply(id_, args[0]))
        return True

    def gave_up(self, id_: int) -> None:
        """Tells a peer of ours that nobody waits for its answer."""
        payload = self._cancel(id_)
        if payload is not None:
            self._send_at_once(payload)

    def _send_at_once(self, *payloads: bytes) -> None:
        """Sends something without waiting; the rest of it leaves with what is sent next."""
        try:
            self._link.try_send(*payloads)
        except EOFError as error:  # whoever reads finds out
            if raised_by_handler(error):
                raise

    # -- signs of life

    def _expect_beats(self, interval: float) -> None:
        link, interval = self._link, self._beating(interval)
        if self._codec.features & consts.FEATURE_HEARTBEAT:
            if link.heart is None or interval < link.heart.interval:
                housekeeper.start_heartbeat(link, HeartbeatMonitor(interval))

    def beat(self, interval: float) -> None:
        """Sends a sign of life."""
        self._send_at_once(self._beat(interval))

    def route(self, target: Target) -> tuple[int | None, int]:
        """Returns the thread that a request is meant for, and the peer's thread to answer."""
        handler, cause, sender, addressee = target
        link = self._link
        if self._pool is not None and handler in _QUICK and not link.pooled:
            return get_ident(), sender
        if cause is not None:
            return link.thread_waiting_for(cause), sender
        if sender:
            if link.workers is None:
                link.workers = self._threads.get().run
            if addressee in link.waiters:
                return addressee, sender
            if handler in _QUICK and not link.pooled:
                return get_ident(), sender
        return None, sender

    def will_repeat(self) -> bool:
        """Returns whether the peer may say that it wants another dialect."""
        return (
            not self._codec.heard
            and not self._reopened
            and getattr(self._channel, "reopen", None) is not None
        )

    def recover(self, error: BaseException) -> BaseException | None:
        """Speaks the peer's dialect over a new connection, if the first guess was wrong."""
        if not isinstance(error, DialectMismatch):
            if self._codec.heard or isinstance(error, (OSError, ExplainedEnd)):
                return error
            if isinstance(error, EOFError) and self._codec.waits_to_be_heard:
                closed = ConnectionClosed(
                    f"{error}: it hung up before it answered; it may want a login, have no room "
                    "for more clients or have waited too long, or it does not understand "
                    f"{self._codec.dialect} (see configuration keys 'dialect' and 'bind_threads')"
                )
                closed.__cause__ = error
                return closed
            return error
        reopen = getattr(self._channel, "reopen", None)
        if reopen is None or self._reopened or self._config["dialect"] is not None:
            return error
        if not self._opening.acquire(True, _OPENING_LIMIT):
            return error
        try:
            self._reopened = True
            old = self._channel
            channel = reopen()
            self.adopt_channel(channel)
            self._link.attach(channel)
            housekeeper.watch_end(self._link)
            old.close()
            self._link.send(*self._codec.repeat_unheard(error.heard))
        except (EOFError, OSError) as failure:
            if raised_by_handler(failure):
                raise
            failure.__cause__ = error
            return failure
        finally:
            self._opening.release()
        return None

    def flush_released(self) -> bool:
        """Send releases if that goes without waiting; return whether something is left."""
        self._proxies.armed = False
        more = not self._link.closed and not self._flush()
        self._proxies.armed = self._proxies.armed or more
        return more

    def _flush(self) -> bool:
        """Send releases; return whether all have left."""
        link = self._link
        if not (self._greeted and self._codec.heard):
            return not self._proxies.released
        if not link.sends_without_waiting:
            return self._flush_in_thread()
        try:
            # What the peer does not take in now is not encoded: until then it is counted together.
            return link.try_send() and link.try_send(*self._releases())
        except EOFError as error:
            if raised_by_handler(error):
                raise
            return True

    def _flush_in_thread(self) -> bool:
        """Have releases sent over a stream of the program's own, which may wait for the peer."""
        if self._flushing.locked():
            return not self._proxies.released
        try:
            spawn(self._flush_slowly)
        except RuntimeError:  # the system has no more threads
            return False
        return True

    def _flush_slowly(self) -> None:
        with self._flushing:
            self._send_at_once(*self._releases())

    # -- the end

    def close(self) -> None:
        """Says goodbye and closes. Takes at most 2 seconds, whatever the peer does. Idempotent.

        What the peer asks for meanwhile is served by other threads, or not at all.
        """
        if not self._session.closing():
            return
        self._closed_here = self._link.closed_here = True
        self._state_changed("closing")
        try:
            before_closed = self._config["before_closed"]
            if before_closed is not None:
                before_closed(self.root)
        except EOFError as error:
            if raised_by_handler(error):
                raise
        except Exception:
            if not self._config["close_catchall"]:
                raise
        finally:
            timeout = self._config["sync_request_timeout"]
            limit = _CLOSE_LIMIT if timeout is None else min(_CLOSE_LIMIT, timeout)
            self._link.close(self._say_goodbye, limit, lambda target: target[0] in _QUICK)

    def _say_goodbye(self) -> None:
        releases = self._releases() if self._codec.heard else []
        self._link.send(*releases, self._farewell())

    def _cleanup(self, _anyway: bool = True) -> None:
        self._link.lose(ConnectionClosed("connection closed by peer"))

    def disconnected(self, error: BaseException | None) -> None:
        """Clears the tables and tells the service, once."""
        self._defers = False  # reading a method fails from now on, as it does in RPyC
        if self._pool is not None:
            self._pool.close()
        if self._coroutines.made is not None:
            self._coroutines.made.cancel_all()
        try:
            self._forget_everything()
        finally:
            self._dropped.clear()
            self.went_down()
            self._hold_weakly()
            if self._link.dispatch is not None:
                self._link.dispatch = weak_call(self, "_dispatch")

    def adopt_after_fork(self) -> None:
        """Takes the connection over in a forked child, for a program that becomes a daemon."""
        link = self._link
        link.adopt()
        if self._threads.made is not None:
            link.workers = None  # which are the parent's; the next request that needs some has them
        self._begin_without_threads()
        for result in self._session.pending.waiting().values():
            if isinstance(result, _AsyncResult) and result._ended is not None:
                self.read_for(result, result._ended)  # for a future that the parent has made
        housekeeper.start()
        housekeeper.watch_end(self._link)


Connection._own = {**Endpoint._own, **vars(Connection)}
