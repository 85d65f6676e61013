"""The Python-object protocol: the RPyC wire, netrefs, services."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "async_": ("AsyncResult", "AsyncResultTimeout"),
    "channel": ("Channel",),
    "netref": ("BaseNetref",),
    "protocol": ("DEFAULT_CONFIG", "Connection"),
    "service": ("ClassicService", "MasterService", "Service", "SlaveService", "VoidService"),
    "stream": ("PipeStream", "SocketStream", "TunneledSocketStream"),
    "vinegar": ("GenericException",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Returns what a program imports from here, when it does; parts of this package are pure."""
    home = _HOMES.get(name)
    if home is None and name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{home or name}")
    return module if home is None else getattr(module, name)
