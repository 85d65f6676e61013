"""What is answered to the requests of an EPC peer, whoever waits for it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ..errors import ProtocolError
from ..lib.brief import brief
from ..wire.sexp.values import Symbol
from .accounts import MAX_KEPT_MEMORY, PeerCalls
from .codec import CALL, METHODS, RequestError, Target
from .errors import CallerUnknown, EPCError

__all__ = ["Responder"]


class Responder:
    """Makes the answers of one connection.

    It belongs to a server or client (``server``), whose methods are called.
    """

    server: Any
    _calls: PeerCalls
    """Calls what the peer names."""

    def _peer_calls(self, look: Callable[[], object]) -> PeerCalls:
        """Return what calls methods for the peer.

        Args:
            look: raises if the connection has ended.
        """
        server = self.server  # a program may have its own
        reader = getattr(server, "reader", None)
        most = getattr(server, "max_kept_memory", MAX_KEPT_MEMORY)
        return PeerCalls(getattr(reader, "max_memory", None), most, look)

    @property
    def logger(self) -> Any:
        """The server's logger."""
        return self.server.logger

    def message(self, uid: Any, target: Target, args: Any) -> list[Any]:
        """Does what is asked; returns the answer: kind, number, value."""
        if target.kind == CALL:
            return self._handle_call(uid, target.name, args)
        if target.kind == METHODS:
            return self._handle_methods(uid)
        problem: RequestError = target.name
        self._is_handled(EPCError(problem.info))
        return [problem.kind, uid, problem.info]

    def _send(self, kind: str, uid: Any, *parts: Any) -> None:
        """Sends a message, an answer as a rule."""
        raise NotImplementedError

    def _handle_call(self, uid: Any, meth: Any, args: Any) -> list[Any]:
        """Calls a method and returns the answer: kind, number, value. Programs override it."""
        if type(meth) is Symbol or type(meth) is str:
            name = meth if type(meth) is str else meth.value()
        else:
            return ["epc-error", uid, f"EPC-ERROR: No such method : {brief(meth)}"]
        try:
            func = self.server.get_method(name)
        except AttributeError:
            return ["epc-error", uid, f"EPC-ERROR: No such method : {name[:1000]}"]
        return ["return", uid, self._calls.call(func, tuple(args))]

    def _handle_methods(self, uid: Any) -> list[Any]:
        """Returns the answer with names, argument lists (empty) and docstrings of the functions."""
        functions = self.server.funcs.items()
        return ["return", uid, [(Symbol(name), [], func.__doc__ or "") for name, func in functions]]

    def unclaimed(self, error: CallerUnknown) -> None:
        """Hands an answer that nobody waits for to :meth:`handle_error`."""
        self._is_handled(error)

    def _is_handled(self, error: BaseException) -> bool:
        try:
            return bool(self.handle_error(error))
        except Exception:
            self.logger.exception("handle_error failed")
            return False

    def _fail(self, uid: Any, error: BaseException) -> None:
        """Answers a request that has failed."""
        self._send_first(self._failed(uid, error))

    def _send_first(self, messages: list[list[Any]]) -> None:
        """Send the first one of several messages that can be encoded."""
        for number, message in enumerate(messages, 1):
            try:
                self._send(*message)
                return
            except (ProtocolError, UnicodeError, TypeError):
                if number == len(messages):
                    raise

    def _failed(self, uid: Any, error: BaseException) -> list[list[Any]]:
        """Tell the program that a request has failed.

        Returns:
            Answers, of which the first that can be encoded is sent; none if there is to be none.
        """
        if self._is_handled(error):
            return []
        if self.server.debugger is not None:
            try:
                self.server.debugger.post_mortem(error.__traceback__)
            except Exception:
                self.logger.exception("the debugger failed")
        try:
            info = _structured(error) if self.server.structured_errors else repr(error)
        except Exception:  # of the error's own methods
            info = f"{type(error).__name__}, which cannot be told"
        unsent = f"{type(error).__name__}, which cannot be sent"
        return [["return-error", uid, info], ["return-error", uid, unsent]]

    def handle_error(self, err: BaseException) -> Any:
        """Is told of each failure: of a method, a message, an answer that nobody waits for.

        Returns:
            Whether it is dealt with, so that no answer is sent to the peer.
        """
        self.logger.error("%r", err)
        if self.server.log_traceback:
            self.logger.error(
                "%s", "".join(traceback.format_exception(type(err), err, err.__traceback__))
            )
        return None


def _structured(error: BaseException) -> list[Any]:
    """Returns what an error consists of: its class, its text, its module, its traceback."""
    kind = type(error)
    about = {
        "module": kind.__module__,
        "traceback": "".join(traceback.format_exception(kind, error, error.__traceback__)),
    }
    return [Symbol(kind.__name__), str(error), about]
