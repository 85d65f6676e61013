"""The Python-object protocol: the RPyC wire, netrefs, services."""

from __future__ import annotations

from ..lib.lazy_exports import lazily

_NAMES = {
    "brine": (),
    "consts": (),
    "async_": ("AsyncResult", "AsyncResultTimeout"),
    "channel": ("Channel",),
    "netref": ("BaseNetref",),
    "protocol": ("DEFAULT_CONFIG", "Connection"),
    "service": ("ClassicService", "MasterService", "Service", "SlaveService", "VoidService"),
    "stream": ("PipeStream", "SocketStream", "TunneledSocketStream"),
    "vinegar": ("GenericException",),
}
__all__ = [name for names in _NAMES.values() for name in names]

__getattr__, __dir__ = lazily(__name__, _NAMES)
