"""Services with a hole, by which the oracle's power is tested.

Each hole is in the connection's own handling of requests, not in a function that is exposed.
"""

from __future__ import annotations

from typing import Any

import rpyc_like as rpyc

from . import canaries
from .services import Callbacks, Objects, Plain, Shape

__all__ = ["ATTRIBUTES", "CLASSES", "FILES", "IMPORTS", "SECRETS", "SOUND"]


class ReadsAll(rpyc.Connection):
    """Reads any attribute of any object."""

    def _handle_getattr(self, obj: Any, name: Any) -> Any:
        return getattr(obj, name)


class Imports(rpyc.Connection):
    """Imports what a peer names."""

    def _handle_dir(self, obj: Any) -> Any:
        __import__("tests.attacks.audit.nowhere")


class Opens(rpyc.Connection):
    """Opens a file when it shows an object."""

    def _handle_repr(self, obj: Any) -> Any:
        with open("/etc/hostname", encoding="utf-8") as file:
            return file.read()


class Makes(rpyc.Connection):
    """Makes an instance of a class of the program when it compares."""

    def _handle_cmp(self, obj: Any, other: Any, op: Any = "__cmp__") -> Any:
        return canaries.Money(1, other)


class Tells(rpyc.Connection):
    """Shows an object with all that is in it."""

    def _handle_str(self, obj: Any) -> Any:
        return str(vars(obj))


def _served_by(kind: type[rpyc.Connection], service: type[Plain]) -> Shape:
    return Shape("rpyc", type(service.__name__, (service,), {"_protocol": kind}))


ATTRIBUTES = _served_by(ReadsAll, Objects)
IMPORTS = _served_by(Imports, Plain)
FILES = _served_by(Opens, Plain)
CLASSES = _served_by(Makes, Callbacks)
SECRETS = _served_by(Tells, Plain)
SOUND = _served_by(rpyc.Connection, Plain)
