"""Every exception this package raises, in one hierarchy.

::

    RpycLikeError
    ├── ProtocolError
    │   ├── LocalProtocolError        this program asked for something illegal
    │   └── RemoteProtocolError       the peer sent something illegal
    │       ├── MalformedFrame
    │       ├── MalformedValue
    │       └── LimitExceeded
    ├── ConnectionClosed (EOFError)   was open, is not; ``__cause__`` says why
    ├── AccessDenied (AttributeError) the attribute policy refused
    ├── RemoteError                   what the peer raised and cannot be rebuilt here
    ├── AuthenticationError
    ├── DiscoveryError
    ├── ForbiddenError
    └── PingError

``AsyncResultTimeout`` is the builtin :class:`TimeoutError`. A connection that never opened raises
the original :class:`OSError`. On the wire these classes travel as their builtin base, so that a
peer of another kind can catch them.
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "AsyncResultTimeout",
    "AuthenticationError",
    "ConnectionClosed",
    "DeploymentError",
    "DiscoveryError",
    "ForbiddenError",
    "LimitExceeded",
    "LocalProtocolError",
    "MalformedFrame",
    "MalformedValue",
    "PingError",
    "ProtocolError",
    "RemoteError",
    "RemoteProtocolError",
    "RpycLikeError",
]

AsyncResultTimeout = TimeoutError

_UNITS = (" in bytes", " in seconds")


class RpycLikeError(Exception):
    """Base of all errors of this package."""


class ProtocolError(RpycLikeError):
    """A rule of the protocol was broken."""


class LocalProtocolError(ProtocolError):
    """This side asked for something the protocol cannot carry."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow."""


class MalformedFrame(RemoteProtocolError):
    """The bytes received are not a frame of the protocol spoken here."""


class MalformedValue(RemoteProtocolError):
    """A frame's payload is not a value of the codec spoken here."""


class LimitExceeded(RemoteProtocolError):
    """The peer sent more than a configured limit allows.

    Args:
        what: what was measured, in words; the unit may follow, as in ``"size in bytes"``.
        got: the measured number.
        limit: the number allowed.
        key: the configuration key that changes the limit.
        argument: the argument of the server that changes it, if no key does.
    """

    def __init__(
        self, what: str, got: float, limit: float, key: str | None = None, *, argument: str = ""
    ) -> None:
        measured, _, unit = what.rpartition(" in ") if what.endswith(_UNITS) else (what, "", "")
        number = f"{got} {unit}" if unit else got
        where = f"configuration key {key!r}" if key else f"argument {argument!r} of the server"
        super().__init__(f"{measured.rstrip(',')}: {number}, limit is {limit} ({where})")
        self.what = what
        self.got = got
        self.limit = limit
        self.key = key
        self.argument = argument


class ConnectionClosed(RpycLikeError, EOFError):
    """The connection was open and is not any more; ``__cause__`` says why."""


class AccessDenied(RpycLikeError, AttributeError):
    """The attribute policy of the object's owner refused the access."""


class RemoteError(RpycLikeError):
    """An exception of the peer whose class cannot be rebuilt here.

    Subclasses are made on the fly and are named ``module.Class`` after the peer's class.
    """


class AuthenticationError(RpycLikeError):
    """An authenticator refused the client, or there is none where one is needed."""


class DiscoveryError(RpycLikeError):
    """No server of the wanted service was found."""


class DeploymentError(RpycLikeError):
    """A server could not be brought to another machine and started there.

    Attributes:
        machine: the machine, as a text.
        step: what was being done.
        status: the exit status of the program that did it, None if it did not end.
        stderr: the end of what that wrote to standard error.

    Args:
        limit: the seconds that the step was given, if it has not ended in that time.
    """

    def __init__(
        self, machine: str, step: str, status: int | None, stderr: str, limit: float | None = None
    ) -> None:
        if limit is not None:
            what = f"no answer within {limit:g} s (argument 'timeout')"
        else:
            what = "no exit status" if status is None else f"exit status {status}"
        said = f":\n{stderr}" if stderr else ", nothing on standard error"
        super().__init__(f"{machine}: {step} failed, {what}{said}")
        self.machine = machine
        self.step = step
        self.status = status
        self.stderr = stderr


class ForbiddenError(RpycLikeError):
    """The registry does not allow the query."""


class PingError(RpycLikeError):
    """The peer answered a ping with other data than was sent."""
