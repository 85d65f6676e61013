"""The registry: which services run where, over UDP or TCP, on RPyC's wire.

A message is the brine of ``("RPYC", command, arguments)``, its answer that of a plain value.

==========  ===================  ====================================
command     arguments            answer
==========  ===================  ====================================
QUERY       name                 pairs of host and port
LIST        ``(host or None,)``  names; None if listing is not allowed
REGISTER    names, port          ``"OK"``
UNREGISTER  port                 ``"OK"``
==========  ===================  ====================================

A registry enters the address that a message comes from, and nothing else: nobody registers or
removes somebody else. What is no message is not answered, answers fit into one datagram, and over
UDP each address gets a bounded number of them. One host (or IPv6 network) has a bounded share of
the entries (``MAX_ENTRIES_PER_HOST``), and when all are taken (``MAX_ENTRIES``) the host with most
makes room. A client takes what has the shape of an answer to its command; anything else is silence,
and it goes on waiting. With a secret, which real RPyC does not know, messages are sealed
(:mod:`rpyc_like.utils.registry_protocol`), and others are not answered.
"""

from __future__ import annotations

from ..core import brine as brine
from .registry_client import RegistryClient, TCPRegistryClient, UDPRegistryClient
from .registry_server import (
    DEFAULT_PRUNING_TIMEOUT,
    MAX_DGRAM_SIZE,
    REGISTRY_PORT,
    RegistryServer,
    TCPRegistryServer,
    UDPRegistryServer,
)

__all__ = [
    "DEFAULT_PRUNING_TIMEOUT",
    "MAX_DGRAM_SIZE",
    "REGISTRY_PORT",
    "RegistryClient",
    "RegistryServer",
    "TCPRegistryClient",
    "TCPRegistryServer",
    "UDPRegistryClient",
    "UDPRegistryServer",
]
