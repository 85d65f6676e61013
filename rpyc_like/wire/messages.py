"""The four shapes of a message, shared by all protocols.

Messages are plain tuples, because one is made for each frame:

* ``(REQUEST, id, target, args)``: the peer asks for something and wants an answer under ``id``;
* ``(REPLY, id, value)`` and ``(FAILURE, id, error)``: the answer to a request of this side;
* ``(CAST, payload)``: something that is never answered.

An id received in a request is opaque: it is echoed, never looked up.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["CAST", "FAILURE", "REPLY", "REQUEST", "Message"]

REQUEST: Final = 1
REPLY: Final = 2
FAILURE: Final = 3
CAST: Final = 4

Message = tuple[Any, ...]
