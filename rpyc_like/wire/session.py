"""One side's view of a conversation: state, pending requests, and what a payload means.

A session is shared by every protocol and by both drivers. It neither moves bytes nor wakes
anybody: it says what came in, and the driver acts. It never raises on what the peer sent; a
violation is the outcome ``(BROKEN, error)``, after which the driver ends the conversation.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final

from ..errors import LimitExceeded, ProtocolError
from ..lib.interrupts import raised_by_handler
from .codec import Codec, MalformedAnswer
from .messages import CAST, FAILURE, REPLY, REQUEST
from .pending import ABANDONED, UNKNOWN, NoEntry, PendingTable

__all__ = [
    "ANSWER",
    "BROKEN",
    "CALL",
    "MAX_UNKNOWN",
    "NOTHING",
    "NOTICE",
    "Outcome",
    "Session",
    "State",
]

ANSWER: Final = "answer"
CALL: Final = REQUEST  # a request means what it says: its message is its outcome
NOTICE: Final = "notice"
NOTHING: Final = "nothing"
BROKEN: Final = "broken"

MAX_UNKNOWN: Final = 1000
"""Default number of answers that nobody asked for until a session breaks."""

Outcome = tuple[Any, ...]
"""``(ANSWER, entry, failed, value)``, ``(CALL, id, target, args)``, ``(NOTICE, payload)``,
``(NOTHING,)`` or ``(BROKEN, error)``."""

_NOTHING: Outcome = (NOTHING,)


class State(enum.Enum):
    """Where a session stands. It only ever moves forward."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Session:
    """The conversation on one connection.

    Args:
        codec: decodes and encodes the protocol's payloads.
        max_unknown: answers that nobody asked for, which are dropped, until the session breaks.
    """

    def __init__(self, codec: Codec, max_unknown: int = MAX_UNKNOWN) -> None:
        self._max_unknown = max_unknown
        self.codec = codec
        self._on_first: Callable[[], object] | None = None
        self.pending: PendingTable[Any] = PendingTable()
        self.state = State.OPEN

    def request(
        self, entry: Any, target: Any, args: Any, id_: int | None = None
    ) -> tuple[int, bytes]:
        """Files ``entry`` and returns its id and the payload to send.

        Nothing is filed if the arguments cannot be encoded.

        Args:
            id_: the number to use, if one has been taken already.
        """
        if id_ is None:
            id_ = self.pending.open(entry)
        else:
            self.pending.file(id_, entry)
        try:
            return id_, self.codec.encode_request(id_, target, args)
        except BaseException:
            self.pending.discard(id_)
            raise

    def receive(self, payload: bytes) -> Outcome:
        """Returns what ``payload`` means for this side."""
        try:
            message = self.codec.decode(payload)
        except ProtocolError as error:
            if raised_by_handler(error):
                raise
            return self.broken(error)
        return self.understand(message)

    def broken(self, error: ProtocolError) -> Outcome:
        """Return what an error of the codec means for this side."""
        if isinstance(error, MalformedAnswer):
            self._fail(error)
        return (BROKEN, error)

    def decoded(self, failed: bool, message: Any) -> Outcome:
        """Return what a payload means that has been decoded elsewhere.

        Args:
            failed: whether it was malformed; then ``message`` is the error.
        """
        outcome = self.broken(message) if failed else self.understand(message)
        if self._on_first is not None:
            self._note_first(outcome)
        return outcome

    def on_first_message(self, func: Callable[[], object]) -> None:
        """Call ``func`` once, when the first payload has been understood."""

        def receive(payload: bytes) -> Outcome:
            outcome = type(self).receive(self, payload)
            self._note_first(outcome)
            return outcome

        self._on_first = func
        self.receive = receive  # type: ignore[method-assign]

    def _note_first(self, outcome: Outcome) -> None:
        if outcome[0] is not BROKEN and self._restore_receive():
            func, self._on_first = self._on_first, None
            if func is not None:
                func()

    def _restore_receive(self) -> bool:
        """Undo :meth:`on_first_message`; return whether this call did it."""
        try:
            del self.receive  # not by self.__dict__: see link.result.AsyncResult
        except AttributeError:
            return False
        return True

    def understand(self, message: Any) -> Outcome:
        """Returns what a message means for this side."""
        kind = message[0]
        if kind == REQUEST:
            return message  # type: ignore[no-any-return]
        if kind == REPLY or kind == FAILURE:
            entry = self.pending.settle(message[1])
            if entry is ABANDONED:
                return _NOTHING
            if entry is UNKNOWN:
                if self.pending.unknown <= self._max_unknown:
                    return self._unclaimed(kind == FAILURE, message[2])
                return (BROKEN, self._too_many_unknown())
            return (ANSWER, entry, kind == FAILURE, message[2])
        if kind == CAST:
            return (NOTICE, message[1])
        return (BROKEN, ProtocolError(f"codec made a message of unknown kind {kind!r}"))

    def _unclaimed(self, failed: bool, value: Any) -> Outcome:
        """Returns what is done about an answer that nobody asked for: nothing."""
        return _NOTHING

    def _too_many_unknown(self) -> LimitExceeded:
        what, key = "answers nobody asked for", "max_unknown_answers"
        return LimitExceeded(what, self.pending.unknown, self._max_unknown, key)

    def _fail(self, error: MalformedAnswer) -> None:
        """Settles the one request that was answered with something malformed."""
        entry = self.pending.settle(error.id_)
        if not isinstance(entry, NoEntry):
            entry.settle(True, error)

    def closing(self) -> bool:
        """Moves from OPEN to CLOSING; returns whether this call did it."""
        if self.state is State.OPEN:
            self.state = State.CLOSING
            return True
        return False

    def closed(self) -> list[Any]:
        """Moves to CLOSED and returns the entries that will never be answered."""
        self.state = State.CLOSED
        self._restore_receive()
        return self.pending.fail_all()
