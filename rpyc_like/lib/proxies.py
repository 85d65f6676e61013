"""Which objects stand for objects of a peer, as each protocol that has such proxies registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["copy_of", "is_container", "is_proxy", "register"]


class _Protocol(NamedTuple):
    """What one protocol tells of its proxies."""

    is_proxy: Callable[[Any], bool]
    is_container: Callable[[Any], bool]
    copy_of: Callable[[Any, Callable[[Any], object]], Any]


_protocols: list[_Protocol] = []


def register(
    is_proxy: Callable[[Any], bool],
    is_container: Callable[[Any], bool],
    copy_of: Callable[[Any, Callable[[Any], object]], Any],
) -> None:
    """Register the proxies of a protocol.

    Args:
        is_proxy: returns whether an object is a proxy; runs none of its code.
        is_container: returns whether an object is a proxy of a container that may be copied.
        copy_of: returns the copy, given the proxy and a function to call with each item.
    """
    _protocols.append(_Protocol(is_proxy, is_container, copy_of))


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
