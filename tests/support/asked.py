"""Which requests a connection is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rpyc_like.core.protocol import Connection
from rpyc_like.wire.session import CALL

__all__ = ["Asked"]


class Asked:
    """Notes the numbers of the handlers of the requests that a connection is asked."""

    def __init__(self, conn: Connection) -> None:
        self.seen: list[int] = []
        original = conn._link.understand

        def understand(payload: Any) -> Any:
            outcome = original(payload)
            if outcome[0] is CALL:
                self.seen.append(outcome[2][0])
            return outcome

        conn._link.understand = understand  # type: ignore[method-assign]

    def __call__(self, do: Callable[[], Any]) -> list[int]:
        """Returns what one operation asks."""
        self.seen.clear()
        do()
        return self.seen
