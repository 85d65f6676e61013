"""AsyncResult under its old address.

``AsyncResult`` here and in :mod:`rpyc_like.core.protocol` is one name: a program that replaces it,
by a subclass, may do so in either place, and requests made afterwards return the subclass.
"""

from __future__ import annotations

import sys
from types import ModuleType

from ..errors import AsyncResultTimeout
from ..lib.timing import Timeout
from ..link.result import AsyncResult

__all__ = ["AsyncResult", "AsyncResultTimeout", "Timeout"]


class _Module(ModuleType):
    """This module, with a name that stands for another module's."""

    @property
    def AsyncResult(self) -> type[AsyncResult]:  # noqa: N802
        """What requests return."""
        from . import protocol

        return protocol.AsyncResult

    @AsyncResult.setter
    def AsyncResult(self, replacement: type[AsyncResult]) -> None:  # noqa: N802
        from . import protocol

        protocol.AsyncResult = replacement  # type: ignore[misc]


sys.modules[__name__].__class__ = _Module
