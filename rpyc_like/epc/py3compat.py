"""Names of the standard library under which python-epc has them."""

from __future__ import annotations

import contextlib
import queue as Queue
import socketserver as SocketServer
import xmlrpc.server as SimpleXMLRPCServer
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["PY3", "Queue", "SimpleXMLRPCServer", "SocketServer", "contextmanager", "nested", "utf8"]

PY3 = True


def utf8(s: str) -> bytes:
    """Returns a text in UTF-8."""
    return s.encode("utf-8")


@contextmanager
def nested(*managers: Any) -> Iterator[tuple[Any, ...]]:
    """Enters context managers one inside of the other."""
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(manager) for manager in managers)
