"""What is wrong with a term, with the bytes of one, or with a call."""

from __future__ import annotations

from typing import Any

from ..errors import LimitExceeded, LocalProtocolError, MalformedValue

__all__ = [
    "CallError",
    "DuplicateMessageId",
    "Error",
    "IncompleteData",
    "InvalidMessage",
    "MalformedTerm",
    "TermLimitExceeded",
    "UnexpectedMessage",
    "UnexpectedResponses",
    "UnknownMessage",
]


class MalformedTerm(MalformedValue, ValueError):
    """The bytes are not a term of Erlang's external format."""


class IncompleteData(MalformedTerm):
    """The bytes end in the middle of a term.

    Attributes:
        data: the bytes, if known.
    """

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(f"incomplete data: {data[:200]!r:.200}")
        self.data = data


class TermLimitExceeded(LimitExceeded, ValueError):
    """A term is larger than allowed."""


class Error(Exception):
    """Base of what goes wrong with messages."""


class InvalidMessage(Error, MalformedValue):
    """A message has the wrong shape."""


class UnknownMessage(Error, MalformedValue):
    """A message is of no known kind."""


class UnexpectedMessage(Error):
    """A message came where none could."""


class UnexpectedResponses(UnexpectedMessage):
    """Answers came that nobody waits for."""


class DuplicateMessageId(Error, LocalProtocolError):
    """The number of a request is in use."""


class CallError(Error):
    """The called side answered with an error.

    Attributes:
        language: an atom, ``erlang`` or ``python``.
        type: the class of the exception: an atom, ``error``, ``exit``, ``throw`` or ``undefined``
            of Erlang's.
        value: the reason, a term.
        stacktrace: a list.
    """

    def __init__(self, error: Any) -> None:
        if isinstance(error, tuple) and len(error) == 4:
            self.language, self.type, self.value, self.stacktrace = error
        else:
            self.language = self.type = None
            self.value, self.stacktrace = error, []
        super().__init__(error)
