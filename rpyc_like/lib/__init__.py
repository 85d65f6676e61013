"""Helpers that need only the standard library, with the names of ``rpyc.lib``."""

from __future__ import annotations

from .code import get_methods, hasattr_static, hybridmethod
from .identity import get_id_pack
from .logs import setup_logger
from .threads import SPAWN_THREAD_PREFIX, spawn, spawn_waitready
from .timing import Timeout

__all__ = [
    "SPAWN_THREAD_PREFIX",
    "Timeout",
    "get_id_pack",
    "get_methods",
    "hasattr_static",
    "hybridmethod",
    "setup_logger",
    "spawn",
    "spawn_waitready",
]
