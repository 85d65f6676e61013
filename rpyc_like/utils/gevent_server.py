"""A greenlet for each client."""

from __future__ import annotations

import socket
import threading
from typing import Any

from ..lib.optional_imports import MissingModule, safe_import
from ..link import threaded
from .base_server import Server

__all__ = ["GeventServer"]


class GeventServer(Server):
    """Serves each client in a greenlet.

    The program calls ``gevent.monkey.patch_all()`` before it imports anything of this package: its
    waits are then gevent's, and none of them stops the others.

    Raises:
        RuntimeError: the program has not.
        ImportError: gevent is not installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        gevent = self._gevent = safe_import("gevent")
        if isinstance(gevent, MissingModule):
            raise ImportError("GeventServer needs gevent: pip install gevent")
        monkey = safe_import("gevent.monkey")
        patched = monkey.is_module_patched("socket") and monkey.is_module_patched("threading")
        if not patched or vars(threaded)["get_ident"] is not threading.get_ident:
            raise RuntimeError(
                "expected gevent.monkey.patch_all() before the first import of this package, "
                "got a program whose waits would block the hub"
            )
        super().__init__(*args, **kwargs)

    def _register(self) -> None:
        if self.auto_register and self.registrar is not None:
            self._gevent.spawn(self._bg_register)

    def _accept_method(self, sock: socket.socket) -> None:
        self._begin(self._gevent.spawn, sock)
