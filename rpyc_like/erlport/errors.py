"""What is wrong with a term, or with the bytes of one."""

from __future__ import annotations

from ..errors import LimitExceeded, MalformedValue

__all__ = ["IncompleteData", "MalformedTerm", "TermLimitExceeded"]


class MalformedTerm(MalformedValue, ValueError):
    """The bytes are not a term of Erlang's external format."""


class IncompleteData(MalformedTerm):
    """The bytes end in the middle of a term.

    Attributes:
        data: the bytes, if known.
    """

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(f"incomplete data: {data!r:.200}")
        self.data = data


class TermLimitExceeded(LimitExceeded, ValueError):
    """A term is larger than allowed."""
