"""What can go wrong with a call."""

from __future__ import annotations

import queue

from ..errors import ConnectionClosed

__all__ = [
    "BaseRemoteError",
    "CallerUnknown",
    "EPCClosed",
    "EPCError",
    "EPCErrorCallerUnknown",
    "EPCTimeout",
    "ReturnError",
    "ReturnErrorCallerUnknown",
]


class BaseRemoteError(Exception):
    """The other side answered with an error; the first argument is what it sent."""


class CallerUnknown(BaseRemoteError):
    """An error came for a call that nobody waits for."""


class EPCError(BaseRemoteError):
    """The call could not be made: there is no such method, or the message was broken."""


class ReturnError(BaseRemoteError):
    """The method raised an error."""


class EPCErrorCallerUnknown(CallerUnknown, EPCError):
    """An :class:`EPCError` for a call that nobody waits for."""


class ReturnErrorCallerUnknown(CallerUnknown, ReturnError):
    """A :class:`ReturnError` for a call that nobody waits for."""


class EPCClosed(ConnectionClosed):
    """The connection is closed, or was lost while an answer was due."""


class EPCTimeout(queue.Empty, TimeoutError):
    """No answer came in time. A :class:`queue.Empty`, as in python-epc."""
