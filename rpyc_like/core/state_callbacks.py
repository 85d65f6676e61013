"""What a program may know about the state of a connection, and have itself told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["StateCallbacks"]

logger = logging.getLogger("rpyc_like.core")


class StateCallbacks:
    """A connection whose changes of state are told."""

    _link: Any

    def __init__(self) -> None:
        self._state_callbacks: list[Callable[[Any, str], Any]] = []
        self._closed_here = False
        self._last_state = ["closed"]  # to be told once, by whichever thread comes first

    @property
    def state(self) -> str:
        """``"open"``, ``"silent"`` (signs of life are missing), ``"closing"`` or ``"closed"``."""
        link = self._link
        if link.closed:
            return "closed" if link.lost else "closing"
        return "silent" if link.heart is not None and link.heart.silent else "open"

    @property
    def reason(self) -> BaseException | None:
        """Why the connection has ended; None while it has not, or if this side closed it."""
        return None if self._closed_here else self._link.error

    def add_state_callback(self, func: Callable[[Any, str], Any]) -> None:
        """Has ``func(conn, state)`` called when :attr:`state` has changed.

        In any thread; of an asyncio connection on its loop.
        """
        self._state_callbacks.append(func)

    def _state_changed(self, state: str) -> None:
        for func in list(self._state_callbacks):
            try:
                func(self, state)
            except Exception:
                logger.exception("! a state callback failed")

    def fell_silent(self, silent: bool) -> None:
        """Tells the program."""
        self._state_changed("silent" if silent else "open")

    def went_down(self) -> None:
        """Tells the program at once; the service is told when the calls that are served end."""
        try:
            state = self._last_state.pop()
        except IndexError:
            return  # it has been told
        self._state_changed(state)
