"""Helpers that need only the standard library, with the names of ``rpyc.lib``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_exports import lazily

if TYPE_CHECKING:
    from . import colls, compat
    from .compat import maxint
    from .connect_retry import socket_backoff_connect
    from .introspection import get_methods, hasattr_static, hybridmethod
    from .logging_setup import setup_logger
    from .object_ids import get_id_pack
    from .optional_imports import MissingModule, safe_import
    from .threads import SPAWN_THREAD_PREFIX, spawn, spawn_waitready
    from .timing import Timeout, exp_backoff

__all__ = [
    "SPAWN_THREAD_PREFIX",
    "MissingModule",
    "Timeout",
    "colls",
    "compat",
    "exp_backoff",
    "get_id_pack",
    "get_methods",
    "hasattr_static",
    "hybridmethod",
    "maxint",
    "safe_import",
    "setup_logger",
    "socket_backoff_connect",
    "spawn",
    "spawn_waitready",
]

_HOMES = {
    "connect_retry": ("socket_backoff_connect",),
    "introspection": ("get_methods", "hasattr_static", "hybridmethod"),
    "colls": (),
    "compat": ("maxint",),
    "object_ids": ("get_id_pack",),
    "logging_setup": ("setup_logger",),
    "optional_imports": ("MissingModule", "safe_import"),
    "threads": ("SPAWN_THREAD_PREFIX", "spawn", "spawn_waitready"),
    "timing": ("Timeout", "exp_backoff"),
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
