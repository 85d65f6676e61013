"""What one side of a Python-object conversation consists of, whoever moves its messages.

The blocking :class:`rpyc_like.core.protocol.Connection` and the asyncio
:class:`rpyc_like.aio.Connection` are both endpoints: tables, boxing, codec, session, access
policy and handlers stand here once. Only waiting is theirs.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from functools import partial
from inspect import getattr_static
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from ..lib.guards.c_guards import Guard
from ..lib.lifetimes import weak_call
from ..lib.stand_ins import dict_of
from ..link.housekeeping import housekeeper
from ..link.made_objects import MadeObjects
from ..link.receiving import FrameReceiver
from ..link.result import RemoteStopIteration, Unresolved, thrown
from ..link.sending import FrameSender
from ..link.streams.base import NativeStream
from ..version import __version__
from ..wire.framing import RpycFramer
from ..wire.meter import LOOK_EVERY, Meter, measure, message_memory
from ..wire.session import Session
from . import brine, consts, vinegar
from .config import make_config
from .dispatch import handlers, policy
from .encoding.boxing import Boxer, Steps
from .encoding.codec import Dialect, RpycCodec
from .iteration.prefetch import PrefetchRegistry
from .netref import BaseNetref
from .proxies.remote_classes import RemoteClasses
from .references.accounts import Account, Kept
from .references.tables import ExportTable, ImportTable
from .state_callbacks import StateCallbacks

if TYPE_CHECKING:
    from ..link.admission import Client

__all__ = ["FEATURES", "Endpoint", "UnresolvedException"]

logger = logging.getLogger("rpyc_like.core")

FEATURES = (
    consts.FEATURE_CAUSE
    | consts.FEATURE_RELEASE
    | consts.FEATURE_CLASS_IDS
    | consts.FEATURE_TYPES
    | consts.FEATURE_DESCRIPTIONS
    | consts.FEATURE_CHAINS
    | consts.FEATURE_CHUNKS
    | consts.FEATURE_SNAPSHOTS
    | consts.FEATURE_CALLS
    | consts.FEATURE_HEARTBEAT
)
"""The extensions that this implementation understands."""

_MAX_SENT_ERRORS = 512
_FASTEST_HEART, _SLOWEST_HEART = 0.05, 3600.0
_MOST_MILLISECONDS = (1 << 31) - 1
_VERSIONS_SENT = {5: "5.3.1", 6: __version__}
_connection_numbers = count(1)


class UnresolvedException(Unresolved):
    """A received exception that has not been rebuilt."""

    __slots__ = ("_load", "_raw")

    def __init__(self, raw: Any, load: Callable[[Any], BaseException]) -> None:
        self._raw = raw
        self._load = load

    def weight(self) -> int:
        """Return how many bytes of memory have been received for it."""
        return measure(self._raw)[0]

    def steps(self) -> Any:
        return self._load(self._raw)
        yield  # a generator, because other unfinished values need the peer


_ITERATING = (
    *("_handle_getattr", "_handle_call", "_handle_callattr", "_handle_buffiter", "_access_attr"),
    "_request_handlers",
)
"""What a program overrides to see, or to change, how its containers are iterated over."""


class HelloReply:
    """Takes the answer to this side's HELLO: ours give their features, others an error."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def settle(self, failed: bool, value: Any) -> bool:
        if issubclass(type(value), Unresolved):
            value = value.plain
        if not failed and type(value) is int:
            self._endpoint._learn_features(value)
        return False

    def run_callbacks(self) -> None:
        """Has none."""


class IgnoredReply:
    """Takes answers that mean nothing: to DEL and CLOSE."""

    __slots__ = ()

    def settle(self, failed: bool, value: Any) -> bool:
        """Ignores it."""
        return False

    def run_callbacks(self) -> None:
        """Has none."""


_NO_ANSWER = IgnoredReply()


class Endpoint(StateCallbacks):
    """Tables, codec and handlers of one side.

    Args:
        root: the local service.
        config: overrides of the default configuration.
        client: of the server that has admitted it, on a server.
        base: what proxy classes derive from.
    """

    _HANDLERS: dict[int, Callable[..., Any]]
    _defers = False  # whether functions need not be fetched to be called; see core.deferred
    _reads_ahead = False  # whether containers of the peer are read in chunks
    _tells_functions = False  # a program's own policy is not asked about names that nobody uses
    _peer_is_open = False  # whether the peer lets this side read public names of any object
    _link: Any  # the driver
    note_malformed: Any = None
    """Counts for the log that the peer has broken the protocol, where a server has let it in."""
    _own: ClassVar[dict[str, Any]] = {}
    """The methods of the class itself, to tell those from a program's."""

    def __init__(
        self,
        root: Any,
        config: dict[str, Any] | None,
        client: Client | None = None,
        base: type = BaseNetref,
    ) -> None:
        super().__init__()
        self._config = make_config(config)
        if self._config["connid"] is None:
            self._config["connid"] = f"conn{next(_connection_numbers)}"
        self._local_root = root
        self._last_traceback: Any = None
        total = None if client is None else client.account.add  # of the server's clients
        self._total = total
        meter = Meter(self._config["max_kept_memory"], "max_kept_memory", total)
        self._schedule_flush = self._flush_scheduler()
        self._kept = Kept(meter, self._schedule_flush)
        self._made = MadeObjects(self._kept, self._schedule_flush)
        self._guard = Guard(
            self._config,
            self._account,
            message_memory(0, self._config["max_memory"]),
            tells_causes=self._tells_causes,
            keeper=self._made,
        )
        self._local_objects = ExportTable(self._config["max_objects"], self._kept, self._made)
        self._local_objects.pin(root)
        self._proxies = ImportTable(self._arm_flush)
        limits = (self._config["max_depth"], self._config["max_digits"])
        self._classes = RemoteClasses(self._config)
        self._sent_errors: dict[vinegar.Name, type[BaseException]] = {}
        self._boxer = self._boxer_class()(
            self, self._local_objects, self._proxies, self._classes, base, *limits
        )
        self._codec = RpycCodec(
            self._boxer,
            self._first_dialect(),
            *limits,
            self._config["max_requests"],
            self._config["max_memory"],
        )
        self._codec.failure = self._failure  # type: ignore[method-assign]
        self._codec.learn = self._learn_features
        self._codec.told = self._told
        self._session = Session(self._codec, self._config["max_unknown_answers"])
        if client is not None:
            client.watch(self._session)
            self.note_malformed = client.admission.note_malformed
        self._HANDLERS = self._request_handlers()
        self._decide: Callable[[Any, str, str], tuple[str, Any, str]] = self._checked
        self._visible: Callable[[Any, str], bool] = self._readable
        if not self._overrides("_check_attr"):
            self._decide = partial(policy.decide, self._config)
            self._visible = partial(policy.visible, self._config)
            self._tells_functions = True
        self._features = FEATURES
        if self._overrides("_handle_del"):
            self._codec.releases_at_once = False
            self._features &= ~consts.FEATURE_RELEASE
        if not self._boxer.direct or self._overrides(*_ITERATING):
            self._features &= ~consts.FEATURE_CHUNKS
        if self._overrides("_handle_pickle"):
            self._features &= ~consts.FEATURE_SNAPSHOTS
        if not self._boxer.direct or self._overrides("_handle_inspect"):
            self._features &= ~consts.FEATURE_DESCRIPTIONS
        self._greeted = False
        self._read_ahead = PrefetchRegistry()
        self._reads = self._read_ahead.entries
        self._rewinds: list[tuple[Any, int]] = []
        self._stands_ahead = True  # whether something may have to go ahead of a request
        self._weak: weakref.ref[Any] = weakref.ref(self)
        self._remote_root: Any = None
        self._is_classic = False
        self._told_service = False  # whether on_disconnect has returned
        self._helpers: dict[str, Any] = {}  # functions that a classic peer of RPyC's was lent

    def _boxer_class(self) -> type[Boxer]:
        return Boxer

    def _overrides(self, *names: str) -> bool:
        """Returns whether this connection's class has methods of a program's own under the names.

        It is asked when the connection is made.
        """
        cls = type(self)
        return any(getattr_static(cls, name) is not self._own[name] for name in names)

    def _first_dialect(self) -> Dialect:
        wanted = self._config["dialect"]
        return Dialect(wanted or 6, bool(self._config["bind_threads"]))

    def _failure(self, raw: Any) -> UnresolvedException:
        vinegar.check(raw)
        return UnresolvedException(raw, self._unbox_exc)

    def _account(self, every: int = LOOK_EVERY) -> Account:
        """Return an account for the request that is being served.

        Args:
            every: steps after which others have their turn.
        """
        return Account(self._kept, self._config["max_steps"], every)

    def _tells_causes(self) -> int:
        return self._codec.features & consts.FEATURE_CAUSE

    # -- extensions

    def _hello(self, features: int) -> int:
        self._greeted = True
        return self._own_features()

    def _own_features(self) -> int:
        """Returns the features of this side, and what it has to say about itself."""
        config = self._config
        features = self._features | round((config["heartbeat"] or 0) * 1000) << consts.FEATURE_BITS
        if config["allow_getattr"] and (config["allow_all_attrs"] or config["allow_public_attrs"]):
            return features | consts.FEATURE_PUBLIC
        return features

    def _learn_features(self, features: int) -> None:
        self._peer_is_open = bool(features & consts.FEATURE_PUBLIC)
        self._link.calls.most = self._config["max_requests"]
        wanted = features >> consts.FEATURE_BITS & _MOST_MILLISECONDS
        features &= self._features
        if features & consts.FEATURE_DESCRIPTIONS and self._tells_functions:
            self._boxer.describe = partial(handlers.description, self)
        self._codec.features = features
        self._codec.accepted |= features
        self._stands_ahead = not features & consts.FEATURE_RELEASE  # else releases ride along
        self._boxer.keep_classes = bool(features & consts.FEATURE_CLASS_IDS)
        self._boxer.keep_surrogates = bool(features & consts.FEATURE_TYPES)
        self._reads_ahead = bool(self._codec.features & consts.FEATURE_CHUNKS)
        self._expect_delays(self._link.channel, False)
        if wanted:
            self._expect_beats(wanted / 1000)
        if self._config["heartbeat"] is not None:
            self._expect_beats(self._config["heartbeat"])

    # -- what the peer says about its requests and itself

    def _told(self, handler: int, number: int, milliseconds: int = 0) -> None:
        """Notes it, in wire order and in the reading role."""
        calls = self._link.calls
        if handler == consts.HANDLE_DEADLINE:
            calls.limit(number, milliseconds / 1000)
        elif handler == consts.HANDLE_HEARTBEAT:
            self._expect_beats(number / 1000)
        elif number in self._codec.serving:
            calls.cancel(number)

    def _expect_beats(self, interval: float) -> None:
        """Begins to send signs of life, and to watch for them."""

    @staticmethod
    def _beating(interval: float) -> float:
        """Returns the interval that is kept: the peer may say anything."""
        return min(max(_FASTEST_HEART, interval), _SLOWEST_HEART)

    def _beat(self, interval: float) -> bytes:
        """Returns the payload that is a sign of life."""
        milliseconds = max(1, round(interval * 1000))
        return self._codec.encode_saying(consts.HANDLE_HEARTBEAT, milliseconds)

    def _cancel(self, id_: int) -> bytes | None:
        """Returns the payload that says that nobody waits for an answer, if the peer would care."""
        if self._codec.features & consts.FEATURE_CALLS:
            return self._codec.encode_saying(consts.HANDLE_CANCEL, id_)
        return None

    @property
    def waits(self) -> bool:
        """Whether who asks for something waits for the answer, in the current thread."""
        return True

    @property
    def credentials(self) -> Any:
        """What the server's authenticator has found out about the peer; None without one."""
        return self._config["credentials"]

    @property
    def endpoints(self) -> Any:
        """The addresses of this side and of the peer, where a server has let it in."""
        return self._config["endpoints"]

    # -- the channel

    def adopt_channel(self, channel: Any) -> None:
        """Applies this side's limits to a channel."""
        stream = getattr(channel, "stream", None)
        if isinstance(stream, NativeStream):
            stream.busy_poll(self._config["busy_poll"])
        framer = getattr(channel, "framer", None)
        if isinstance(framer, RpycFramer):
            for key in ("max_first_frame_size", "max_frame_size", "max_inflated_size"):
                setattr(framer, key, self._config[key])
        receiver = getattr(channel, "receiver", None)
        if isinstance(receiver, FrameReceiver):
            receiver.max_queued = self._config["max_queued_bytes"]
            receiver.frame_timeout = self._config["frame_timeout"]
            receiver.spot, receiver.lift = self._codec.spot, brine.lift
        sender = getattr(channel, "sender", None)
        if isinstance(sender, FrameSender):
            sender.timeout = self._config["send_timeout"]
        self._expect_delays(channel, True)

    @staticmethod
    def _expect_delays(channel: Any, expected: bool) -> None:
        """Until a peer has said HELLO it may be one that does not set TCP_NODELAY."""
        stream = getattr(channel, "stream", None)
        if isinstance(stream, NativeStream):
            stream.ack_at_once(expected)

    # -- what takes requests; each driver has a loop that makes them

    def root_steps(self) -> Steps:
        """Returns the peer's service."""
        if self._remote_root is None:
            self._remote_root = yield consts.HANDLE_GETROOT, ()
        return self._remote_root

    def helper_steps(self, name: str, source: str) -> Steps:
        """Returns a function that a classic peer makes of source code, under no name there.

        Args:
            name: under which it is kept here.
            source: defines ``run``.

        Returns:
            The function's proxy; None if the peer is not a classic one.
        """
        if name not in self._helpers:
            helper = None
            if self._is_classic:
                text = f"(lambda names: exec({source!r}, names) or names['run'])({{}})"
                try:
                    root = yield from self.root_steps()
                    helper = yield consts.HANDLE_CALLATTR, (root, "eval", (text,), ())
                except AttributeError:
                    pass  # it gives nothing
            self._helpers[name] = helper
        return self._helpers[name]

    # -- what takes requests, for who waits

    def sync_request(self, handler: int, *args: Any) -> Any:
        """Sends a request and returns the answer. The drivers know how."""
        raise NotImplementedError

    def finish(self, value: Unresolved) -> Any:
        """Makes a program's value of a received one; asks the peer where that is needed."""
        return self.run_steps(value.steps())

    def run_steps(self, steps: Steps) -> Any:
        """Makes the requests that a generator yields, gives it the answers, returns its value."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = self.sync_request(request[0], *request[1])
                except BaseException as error:
                    request = steps.throw(thrown(error))
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            return end.value
        except RemoteStopIteration as stopped:
            raise stopped.error from None

    # -- sending

    def _ahead(self) -> list[bytes]:
        """Returns the payloads that go ahead of this side's next request."""
        payloads: list[bytes] = []
        if not self._greeted:
            self._greeted = True
            self._codec.accepted = self._features
            hello = self._session.request(
                HelloReply(self), consts.HANDLE_HELLO, (self._own_features(),)
            )
            payloads.append(hello[1])
        rides_along = self._codec.features & consts.FEATURE_RELEASE
        if self._proxies.released and not rides_along:
            payloads += self._releases()
        if self._rewinds:
            payloads += self._take_rewinds()
        self._stands_ahead = not rides_along
        return payloads

    def _reconsider(self, handler: int, args: Any) -> None:
        """Forgets what was read ahead and a request makes doubtful."""
        rewinds = self._read_ahead.before(handler, args)
        if rewinds:
            self._rewinds += rewinds
            self._stands_ahead = True

    def _forget_ahead(self) -> None:
        """Forgets what was read ahead, because the peer asks for something."""
        self._rewinds += self._read_ahead.forget()
        self._stands_ahead = True

    def _take_rewinds(self) -> list[bytes]:
        """Returns the payloads that say how much of what was read ahead has been used."""
        told, self._rewinds = self._rewinds, []
        return [self._codec.encode_rewind(cursor, used) for cursor, used in told]

    def _releases(self) -> list[bytes]:
        payloads: list[bytes] = []
        codec, opened = self._codec, self._session.pending.open
        proxies = self._proxies
        while proxies.released and (released := proxies.take_released()):
            if codec.features & consts.FEATURE_RELEASE:
                payloads.append(codec.encode_release(released))
            else:
                payloads += [
                    codec.encode_delete(opened(_NO_ANSWER), raw, count) for raw, count in released
                ]
        return payloads

    def _flush_scheduler(self) -> Callable[[weakref.ref[Any]], object]:
        """Return what has something flushed soon, and is safe in finalizers."""
        return housekeeper.schedule_flush

    def _arm_flush(self) -> None:
        self._schedule_flush(self._weak)

    def _farewell(self) -> bytes:
        return self._session.request(_NO_ANSWER, consts.HANDLE_CLOSE, ())[1]

    # -- answering

    def _encode_failure(self, id_: Any, error: BaseException) -> bytes:
        if type(error) is RemoteStopIteration:
            error = error.error
        self._note_failure(error)
        typ, tb = type(error), error.__traceback__
        try:
            return self._codec.encode_failure(id_, self._box_exc(typ, error, tb))
        except Exception:
            logger.debug("! an exception that cannot be sent", exc_info=True)
            return self._codec.encode_failure(id_, vinegar.undescribed(error))

    def _describe_failure(self, error: BaseException) -> Any:
        """Returns what travels of the exception of one step of a chain."""
        if type(error) is RemoteStopIteration:
            error = error.error
        self._note_failure(error)
        raw = self._box_exc(type(error), error, error.__traceback__)
        return raw if brine.dumpable(raw) else vinegar.undescribed(error)

    def _note_failure(self, error: BaseException) -> None:
        typ, tb = type(error), error.__traceback__
        self._remember_error(typ)
        self._last_traceback = tb
        log = self._config["logger"]
        if log is not None and not isinstance(error, StopIteration):
            log.debug("Exception caught", exc_info=(typ, error, tb))

    def _remember_error(self, cls: type[BaseException]) -> None:
        """Notes the class of an exception that is sent: the peer may give it back."""
        if "____origin____" in dict_of(cls):
            return  # the peer's own
        sent = self._sent_errors
        sent[(cls.__module__, cls.__name__)] = cls
        if len(sent) > _MAX_SENT_ERRORS:
            del sent[next(iter(sent))]

    def _propagates(self, error: BaseException) -> bool:
        if hasattr(error, "_remote_tb"):
            return False  # it came from the peer, which does not end this program
        config = self._config
        return (isinstance(error, SystemExit) and config["propagate_SystemExit_locally"]) or (
            isinstance(error, KeyboardInterrupt) and config["propagate_KeyboardInterrupt_locally"]
        )

    def _handler(self, number: Any) -> Callable[..., Any]:
        try:
            return self._HANDLERS[number]
        except (KeyError, TypeError):
            raise KeyError(f"no request handler {number!r}") from None

    @staticmethod
    def _bad_args(args: Any) -> Exception:
        """Returns the error for arguments that are not a tuple."""
        if isinstance(args, Exception):
            return args
        return TypeError(f"expected a tuple of arguments, got {type(args).__name__}")

    def _box_exc(self, typ: Any, val: Any, tb: Any) -> Any:
        return vinegar.dump(
            typ,
            val,
            tb,
            include_local_traceback=self._config["include_local_traceback"],
            include_local_version=self._config["include_local_version"],
            version=_VERSIONS_SENT[self._codec.dialect.version],
            whole=bool(self._codec.features & consts.FEATURE_TYPES),
        )

    def _box_own_exc(self, error: BaseException) -> Any:
        """Returns an exception by value, for the ``__exit__`` of a peer's object."""
        return vinegar.dump(type(error), error, None, False, False, whole=True)

    def _restore_exc(self, raw: Any) -> BaseException:
        """Returns the exception that a peer leaves a ``with`` block with."""
        return vinegar.restore(raw, lambda names: self._classes.restored(names, self._sent_errors))

    def _unbox_exc(self, raw: Any) -> BaseException:
        return vinegar.load(
            raw,
            import_custom_exceptions=self._config["import_custom_exceptions"],
            instantiate_custom_exceptions=self._config["instantiate_custom_exceptions"],
            instantiate_oldstyle_exceptions=self._config["instantiate_oldstyle_exceptions"],
            make_class=self._classes.exception,
        )

    # -- the access policy and the handlers

    def _check_attr(self, obj: Any, name: str, perm: str) -> str:
        return policy.check_attr(self._config, obj, name, perm)

    def _checked(self, obj: Any, name: str, perm: str) -> tuple[str, Any, str]:
        """Ask a program's own ``_check_attr``."""
        name = self._check_attr(obj, name, perm)
        return name, policy.MISSING, policy.rule_of(self._config, obj, name)

    def _readable(self, obj: Any, name: str) -> bool:
        """Asks a program's own ``_check_attr`` whether a name may be shown."""
        try:
            self._check_attr(obj, name, "allow_getattr")
        except AttributeError:
            return False
        return True

    def _access_attr(
        self,
        obj: Any,
        name: Any,
        args: tuple[Any, ...],
        overrider: str,
        param: str,
        default: Callable[..., Any],
    ) -> Any:
        return policy.access_attr(self._decide, obj, name, args, overrider, param, default)

    _handle_ping = handlers.ping
    _handle_close = handlers.close
    _handle_getroot = handlers.getroot
    _handle_getattr = handlers.getattr_
    _handle_delattr = handlers.delattr_
    _handle_setattr = handlers.setattr_
    _handle_call = handlers.call
    _handle_callattr = handlers.callattr
    _handle_repr = handlers.repr_
    _handle_str = handlers.str_
    _handle_cmp = handlers.cmp
    _handle_hash = handlers.hash_
    _handle_dir = handlers.dir_
    _handle_pickle = handlers.pickle_
    _handle_del = handlers.del_
    _handle_inspect = handlers.inspect_
    _handle_buffiter = handlers.buffiter
    _handle_oldslicing = handlers.oldslicing
    _handle_ctxexit = handlers.ctxexit
    _handle_instancecheck = handlers.instancecheck
    _handle_subclasscheck = handlers.subclasscheck
    _handle_hello = handlers.hello
    _handle_chain: Callable[..., Any] = handlers.chain
    _handle_iterate = handlers.iterate
    _handle_chunk = handlers.chunk
    _handle_snapshot = handlers.snapshot
    _handle_pickle_parts = handlers.pickle_parts

    @classmethod
    def _request_handlers(cls) -> dict[int, Callable[..., Any]]:
        """Returns the function for each request number."""
        numbers = {name.lower(): number for number, name in handlers.NAMES.items()}
        return {
            number: getattr(cls, f"_handle_{name}")
            for name, number in numbers.items()
            if hasattr(cls, f"_handle_{name}")
        }

    # -- the end

    def _tell_service(self, func: Callable[[Any], Any]) -> None:
        """Tells the service that the connection is gone."""
        self.settled(func(self))

    def settled(self, value: Any) -> Any:
        """Returns what a function has given, when it is there."""
        return value

    def _forget_everything(self) -> None:
        """Clears the tables and tells the service. The driver calls it once."""
        on_disconnect = getattr(self._local_root, "on_disconnect", None)
        try:
            if on_disconnect is not None:
                self._tell_service(on_disconnect)
        finally:
            self._told_service = True
            self._local_objects.clear()
            self._proxies.clear()
            self._made.clear()
            self._kept.close()
            self._last_traceback = None
            self._remote_root = None
            self._helpers.clear()

    def _hold_weakly(self) -> None:
        """Have the parts of this endpoint, which has ended, keep it alive no longer.

        While it is open they do: a finalizer in the same garbage may still ask the peer, when weak
        references lead nowhere any more.
        """
        codec, guard = self._codec, self._guard
        codec.failure = weak_call(self, "_failure")  # type: ignore[method-assign]
        codec.learn = weak_call(self, "_learn_features")
        codec.told = weak_call(self, "_told")
        codec.disown()
        guard.open_account = weak_call(self, "_account")
        guard.tells_causes = weak_call(self, "_tells_causes")
        self._proxies.on_released = weak_call(self, "_arm_flush")
        self._boxer.describe = None
        self._boxer.conn = weakref.proxy(self)


Endpoint._own.update(vars(Endpoint))
