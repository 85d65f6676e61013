"""The messages of erlport 1.x: tuples in the external term format, one in each frame.

===================================== ============================================================
``{'C', Id, Module, Function, Args}`` a call of Python; ``Args`` is a list, whose last item may
                                      be ``{'$kwargs', Map}``, or ``{'$kwargs', [{Name, Value}]}``
``{'C', Id, M, F, Args, Context}``    a call of Erlang, in a process of its own (``'N'``) or in
                                      that of the server (``'L'``)
``{r, Id, Value}``                    the answer
``{e, Id, Error}``                    the error instead; ``Error`` is
                                      ``{Language, Type, Value, Stack}``
``{'M', Message}``                    a message for Python's message handler
``{'M', Pid, Message}``               a message for a process of Erlang's
``{e, Error}``                        the message handler has failed
``{'P', Text}``                       what Python prints
``{'X', Id}``                         nobody waits for this answer any more (only between this
                                      package and its own Erlang module)
===================================== ============================================================
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ...errors import MalformedValue
from ...lib.brief import brief
from ...wire.messages import CAST, FAILURE, REPLY, REQUEST, Message
from ..errors import CallError, InvalidMessage, UnknownMessage
from .erlterms import Atom, List, OpaqueObject, Pid, Terms

__all__ = ["BROKEN", "CANCEL", "MESSAGE", "ErlportCodec", "Target", "error_term"]

_CALL: Final = Atom(b"C")
_MESSAGE: Final = Atom(b"M")
_PRINT: Final = Atom(b"P")
_CANCEL: Final = Atom(b"X")
_REPLY: Final = Atom(b"r")
_ERROR: Final = Atom(b"e")

MESSAGE: Final = "message"
CANCEL: Final = "cancel"
BROKEN: Final = "broken"
"""What a payload that needs no answer, ``(kind, value)``, is about."""


class Target(NamedTuple):
    """What is called.

    Args:
        context: ``b"N"``, or ``b"L"`` for something that only the server's process can do.
        problem: what is wrong with a request, which is answered with it.
    """

    module: Any
    function: Any
    context: bytes = b"N"
    problem: Exception | None = None

    def __str__(self) -> str:
        return f"{_name(self.module)}:{_name(self.function)}"


def _name(atom: Any) -> str:
    return atom.text if isinstance(atom, Atom) else str(atom)


def error_term(error: Any) -> Any:
    """Returns the term for what is the matter: the four parts of an error, or None for others."""
    if isinstance(error, CallError) and error.language is not None:
        return (error.language, error.type, error.value, error.stacktrace)
    return None


class ErlportCodec:
    """Messages to frames and back.

    Args:
        terms: encodes and decodes terms.
        compressed: whether terms are compressed when written; a level of zlib's.
    """

    def __init__(self, terms: Terms, compressed: Any = False) -> None:
        self.terms = terms
        self.compressed = compressed

    def decode(self, payload: bytes) -> Message:
        """Returns the message in a frame.

        Raises:
            MalformedValue: it is no term, or none of the messages.
        """
        try:
            message = self.terms.decode(payload)[0]
        except MalformedValue:
            raise
        except ValueError as error:
            raise InvalidMessage(f"expected a term: {error}") from error
        if type(message) is not tuple or not message:
            raise InvalidMessage(f"expected a tuple, got {brief(message)}")
        kind, size = message[0], len(message)
        if kind is _CALL and size > 1:
            return self._request(message)
        if kind is _REPLY and size == 3:
            return (REPLY, _number(message), message[2])
        if kind is _ERROR and size == 3:
            return (FAILURE, _number(message), CallError(message[2]))
        if kind is _MESSAGE and size == 2:
            return (CAST, (MESSAGE, message[1]))
        if kind is _CANCEL and size == 2:
            return (CAST, (CANCEL, message[1]))
        raise UnknownMessage(f"expected C, r, e or M, got {brief(message)}")

    def _request(self, message: Any) -> Message:
        id_ = message[1]
        if len(message) != 5:
            problem = InvalidMessage(f"expected 5 parts in a call, got {len(message)}")
            return (REQUEST, id_, Target("", "", problem=problem), ())
        _, _, module, function, args = message
        if type(module) is not Atom or type(function) is not Atom or not isinstance(args, list):
            problem = InvalidMessage(
                "expected atom, atom and list in a call, got "
                f"{brief(module)}, {brief(function)}, {brief(args)}"
            )
            return (REQUEST, id_, Target("", "", problem=problem), ())
        return (REQUEST, id_, Target(module.text, function.text), args)

    def encode_request(self, id_: Any, target: Target, args: Any) -> bytes:
        call = (_CALL, id_, target.module, target.function, List(args), Atom(target.context))
        return self.terms.encode(call, self.compressed)

    def encode_reply(self, id_: Any, value: Any) -> bytes:
        return self.terms.encode((_REPLY, id_, value), self.compressed)

    def encode_failure(self, id_: Any, error: Any) -> bytes:
        return self.terms.encode((_ERROR, id_, error), self.compressed)

    def encode_message_failure(self, error: Any) -> bytes:
        """Returns the frame that says that the message handler has failed."""
        return self.terms.encode((_ERROR, error), self.compressed)

    def encode_message(self, to: Any, message: Any) -> bytes:
        """Returns the frame with a message for a process.

        Raises:
            ValueError: ``to`` is neither a pid nor a name.
        """
        if not isinstance(to, (Atom, Pid, OpaqueObject, tuple)):
            raise ValueError(f"expected a pid or an atom to send to, got {type(to).__name__}")
        return self.terms.encode((_MESSAGE, to, message), self.compressed)

    def encode_print(self, text: str) -> bytes:
        """Returns the frame with something that was printed."""
        return self.terms.encode((_PRINT, List(map(ord, text))), self.compressed)

    def encode_cancel(self, id_: Any) -> bytes:
        """Returns the frame that says that nobody waits for an answer any more."""
        return self.terms.encode((_CANCEL, id_), False)


def _number(message: Any) -> int:
    if type(message[1]) is not int:
        raise InvalidMessage(f"expected the number of a request, got {brief(message)}")
    return int(message[1])
