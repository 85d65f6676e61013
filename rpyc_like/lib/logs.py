"""Logging set-up of the command line tools, and warnings that are counted or logged later."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from . import primitives

__all__ = ["CountedWarning", "LateLog", "setup_logger"]


def setup_logger(
    quiet: bool = False, logfile: str | None = None, namespace: str | None = None
) -> logging.Logger:
    """Configures the root logger for a program and returns a logger.

    Args:
        quiet: show errors only; otherwise everything.
        logfile: a file to append to; standard error without it.
        namespace: the name of the logger to return; the root logger without it.
    """
    level = logging.ERROR if quiet else logging.DEBUG
    handler = logging.FileHandler(logfile) if logfile else logging.StreamHandler()
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname)s %(name)s[%(threadName)s]: %(message)s",
        handlers=[handler],
    )
    return logging.getLogger(namespace)


class CountedWarning:
    """A warning of which any number may be due: the first is logged at once, later ones as sums.

    Args:
        logger: where to log.
        text: of the warning, with ``%`` fields.
        interval: seconds between two lines.
    """

    def __init__(self, logger: logging.Logger, text: str, interval: float = 10.0) -> None:
        self._logger = logger
        self._text = text
        self._interval = interval
        self._lock = primitives.RLock()  # guards what follows
        self._count = 0  # warnings that have not been logged
        self._args: tuple[object, ...] = ()  # of the last one
        self._next = 0.0  # when the next line may come, on the monotonic clock

    @property
    def due(self) -> float | None:
        """When :meth:`flush` has something to log, on the monotonic clock; ``None`` for never."""
        return self._next if self._count else None

    def count(self, *args: object) -> None:
        """Log the warning, or count it for the next line."""
        with self._lock:
            self._count += 1
            self._args = args
            if primitives.monotonic() < self._next:
                return
        self.flush()

    def flush(self) -> None:
        """Log the last warning and how many there were beside it, if any has not been logged."""
        with self._lock:
            count, self._count = self._count, 0
            if count:
                self._next = primitives.monotonic() + self._interval
        if count == 1:
            self._logger.warning(self._text, *self._args)
        elif count:
            self._logger.warning(f"{self._text} (and %d more since)", *self._args, count - 1)


class LateLog:
    """Warnings that become due with a lock held; they are logged when it has been released.

    A log handler is code of the program: it may take long, and ask peers.

    Args:
        logger: where to log.
        held: returns whether the current thread has the lock.
    """

    def __init__(self, logger: logging.Logger, held: Callable[[], bool]) -> None:
        self._logger = logger
        self._held = held
        self._lines: deque[tuple[Any, ...]] = deque()

    def add(self, text: str, *args: object) -> None:
        """Note a warning; the caller calls :meth:`flush` without the lock."""
        self._lines.append((text, *args))

    def flush(self) -> None:
        """Log what has been noted. No-op with the lock held, by what it interrupts."""
        while self._lines and not self._held():
            with contextlib.suppress(IndexError):  # another thread has logged it
                self._logger.warning(*self._lines.popleft())
