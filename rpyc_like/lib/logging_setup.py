"""Logging set-up of the command line tools, and warnings that are counted or logged later."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

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


_MOST_CAUSES: Final = 32  # counted apart; there are fewer kinds of errors and keys of limits


class _Sum:
    """Warnings of one cause."""

    __slots__ = ("args", "count", "next")

    def __init__(self) -> None:
        self.count = 0  # warnings that have not been logged
        self.args: tuple[object, ...] = ()  # of the last one
        self.next = 0.0  # when the next line may come, on the monotonic clock


class CountedWarning:
    """A warning of which any number may be due: the first is logged at once, later ones as sums.

    Each cause has lines of its own, so that no cause is hidden by others.

    Args:
        logger: where to log.
        text: of the warning, with ``%`` fields.
        interval: seconds between two lines of one cause.
    """

    def __init__(self, logger: logging.Logger, text: str, interval: float = 10.0) -> None:
        self._logger = logger
        self._text = text
        self._interval = interval
        self._lock = primitives.RLock()  # guards what follows
        self._sums: dict[object, _Sum] = {}  # by cause

    @property
    def due(self) -> float | None:
        """When :meth:`flush_due` has something to log, on the monotonic clock; None for never."""
        with self._lock:
            return min((one.next for one in self._sums.values() if one.count), default=None)

    def count(self, *args: object, cause: object = None) -> None:
        """Log the warning, or count it for the next line about its cause.

        Args:
            cause: an error, a text or something else that is the same for warnings that are
                counted together; of errors only the class counts, and the limit that they name.
        """
        now = primitives.monotonic()
        with self._lock:
            found = self._sum_of(_kind(cause), now)
            found.count += 1
            found.args = args
        self.flush_due(now)

    def flush_due(self, now: float) -> None:
        """Log the sums of the causes that may have a line again."""
        self._flush(now)

    def flush(self) -> None:
        """Log the sum of each cause of which any warning has not been logged."""
        self._flush(None)

    def _sum_of(self, kind: object, now: float) -> _Sum:
        """Return where a cause is counted; those beyond the limit are counted together."""
        found = self._sums.get(kind)
        if found is None:
            if len(self._sums) >= _MOST_CAUSES:
                for old in [one for one, sum_ in self._sums.items() if _idle(sum_, now)]:
                    del self._sums[old]
            if len(self._sums) >= _MOST_CAUSES:
                kind = _OTHERS
            found = self._sums.setdefault(kind, _Sum())
        return found

    def _flush(self, now: float | None) -> None:
        """Log what has been counted, for ``now`` only where a line is due then."""
        lines = []
        with self._lock:
            for one in self._sums.values():
                if one.count and (now is None or one.next <= now):
                    lines.append((one.args, one.count))
                    one.count, one.args = 0, ()  # an error would keep what its traceback names
                    one.next = primitives.monotonic() + self._interval
        for args, count in lines:
            if count == 1:
                self._logger.warning(self._text, *args)
            else:
                self._logger.warning(f"{self._text} (and %d more since)", *args, count - 1)


_OTHERS: Final = object()  # the cause of warnings for which there was no sum left


def _kind(cause: object) -> object:
    """Return what the warnings of a cause are counted under."""
    if isinstance(cause, BaseException):
        return type(cause), getattr(cause, "key", None), getattr(cause, "argument", None)
    return cause


def _idle(sum_: _Sum, now: float) -> bool:
    return not sum_.count and sum_.next <= now


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
