"""Logging set-up of the command line tools."""

from __future__ import annotations

import logging

__all__ = ["setup_logger"]


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
