"""Helpers that need only the standard library, with the names of ``rpyc.lib``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazily

if TYPE_CHECKING:
    from . import colls, compat
    from .backoff import socket_backoff_connect
    from .code import get_methods, hasattr_static, hybridmethod
    from .compat import maxint
    from .identity import get_id_pack
    from .logs import setup_logger
    from .modules import MissingModule, safe_import
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
    "backoff": ("socket_backoff_connect",),
    "code": ("get_methods", "hasattr_static", "hybridmethod"),
    "colls": (),
    "compat": ("maxint",),
    "identity": ("get_id_pack",),
    "logs": ("setup_logger",),
    "modules": ("MissingModule", "safe_import"),
    "threads": ("SPAWN_THREAD_PREFIX", "spawn", "spawn_waitready"),
    "timing": ("Timeout", "exp_backoff"),
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
