"""Which objects stand for objects of a peer, as each protocol that has such proxies registers."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

__all__ = ["asks_here", "copy_of", "is_container", "is_proxy", "register"]


class _Protocol(NamedTuple):
    """What one protocol tells of its proxies."""

    is_proxy: Callable[[Any], bool]
    is_container: Callable[[Any], bool]
    copy_of: Callable[[Any, Callable[[Any], object]], Any]
    modules: frozenset[str]
    only_look: frozenset[CodeType]


_protocols: list[_Protocol] = []


def register(
    is_proxy: Callable[[Any], bool],
    is_container: Callable[[Any], bool],
    copy_of: Callable[[Any, Callable[[Any], object]], Any],
    modules: frozenset[str] = frozenset(),
    only_look: frozenset[CodeType] = frozenset(),
) -> None:
    """Register the proxies of a protocol.

    Args:
        is_proxy: returns whether an object is a proxy; runs none of its code.
        is_container: returns whether an object is a proxy of a container that may be copied.
        copy_of: returns the copy, given the proxy and a function to call with each item.
        modules: full names of those whose functions ask the peer.
        only_look: code of functions in them that never ask.
    """
    _protocols.append(_Protocol(is_proxy, is_container, copy_of, modules, only_look))


def is_proxy(obj: Any) -> bool:
    """Return whether operations on an object ask a peer; runs none of its code."""
    return any(protocol.is_proxy(obj) for protocol in _protocols)


def is_container(obj: Any) -> bool:
    """Return whether an object is a proxy of a container that may be copied."""
    return any(protocol.is_container(obj) for protocol in _protocols)


def copy_of(proxy: Any, count: Callable[[Any], object]) -> Any:
    """Return a copy of the container behind a proxy.

    Args:
        count: called with each item as it arrives; may raise.
    """
    found = next(protocol for protocol in _protocols if protocol.is_container(proxy))
    return found.copy_of(proxy, count)


def asks_here(frame: FrameType) -> bool:
    """Return whether a frame belongs to a function that asks a peer."""
    module = frame.f_globals.get("__name__")
    return any(
        module in protocol.modules and frame.f_code not in protocol.only_look
        for protocol in _protocols
    )
