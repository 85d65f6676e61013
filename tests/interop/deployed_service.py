"""A service and a server that are sent to another machine."""

from __future__ import annotations

import os

import rpyc_like as rpyc
from rpyc_like.utils.server import ThreadedServer


class Thermometer(rpyc.Service):
    """Measures."""

    def exposed_read(self) -> float:
        return 21.5

    def exposed_pid(self) -> int:
        return os.getpid()

    def exposed_die(self) -> None:
        os._exit(7)


class Polite(ThreadedServer):
    """Greets in its own way."""

    def _serve_client(self, sock, credentials):  # type: ignore[no-untyped-def]
        self.greeted = True
        return super()._serve_client(sock, credentials)
