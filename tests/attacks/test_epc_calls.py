"""Methods of containers that a program offers to Emacs are guarded as for other peers: case 99."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rpyc_like.aio import epc as aio_epc
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.errors import ReturnError
from rpyc_like.epc.server import ThreadingEPCServer
from rpyc_like.epc.service import EPCService
from tests.attacks.front_ends import port_of
from tests.support.eventually import eventually
from tests.support.joining import join

PRIME = (1 << 61) - 1
MIB = 1 << 20
KINDS = ("server", "service", "asyncio")


class Offered:
    """Offers methods of containers, one of which is the program's own."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.keys: set[Any] = set()

    def keep(self, value: Any) -> None:
        """Keep a value as the program wants."""
        self.items.append(value)


@pytest.fixture(params=KINDS)
def offered(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Offered]]:
    """Return a client of a server of each kind, and what the server offers."""
    root = Offered()
    if request.param == "server":
        server = ThreadingEPCServer(("127.0.0.1", 0), max_kept_memory=4 * MIB)
        server.register_instance(root, allow_dotted_names=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            with EPCClient(server.server_address) as client:
                yield client, root
        finally:
            server.shutdown()
            server.server_close()
            join(thread)
        return
    kind = aio_epc.EPCService if request.param == "asyncio" else EPCService
    service = kind(max_kept_memory=4 * MIB)
    service.register_instance(root, allow_dotted_names=True)
    front_end = "asyncio" if request.param == "asyncio" else "blocking"
    with port_of(front_end, service) as port, EPCClient(("127.0.0.1", port)) as client:
        yield client, root


def test_emacs_adds_no_keys_of_one_hash(offered: tuple[Any, Offered]) -> None:
    """Neither one call nor several give a set too many keys that are equal by hash."""
    client, root = offered
    keys = [number * PRIME for number in range(1, 200)]
    with pytest.raises(ReturnError, match="at most 64 keys of one hash"):
        client.call_sync("keys.update", [keys], timeout=60)
    for key in keys[:60]:
        client.call_sync("keys.add", [key], timeout=60)
    with pytest.raises(ReturnError, match="at most 64 keys of one hash"):
        for key in keys[60:]:
            client.call_sync("keys.add", [key], timeout=60)
    assert len(root.keys) <= 64


def test_what_emacs_puts_into_containers_is_counted(offered: tuple[Any, Offered]) -> None:
    """A list of the program's takes no more than a peer may keep; what is taken out counts less."""
    client, root = offered
    with pytest.raises(ReturnError, match="'max_kept_memory'"):
        for _ in range(10):
            client.call_sync("items.append", ["x" * MIB], timeout=60)
    assert 2 <= len(root.items) <= 4
    root.items.clear()
    client.call_sync("items.append", ["x" * MIB], timeout=60)


def test_methods_of_the_program_are_its_own_business(offered: tuple[Any, Offered]) -> None:
    """What a method of the program keeps is not counted."""
    client, root = offered
    for _ in range(6):
        client.call_sync("keep", ["x" * MIB], timeout=60)
    assert len(root.items) == 6


def test_what_emacs_has_kept_counts_for_the_server_until_it_goes() -> None:
    """All clients of a server share its ``max_memory``; the end of a connection makes room."""
    items: list[Any] = []
    server = ThreadingEPCServer(("127.0.0.1", 0))
    server.register_instance(items)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    account = server.admission.account
    try:
        with EPCClient(server.server_address) as client:
            client.call_sync("append", ["x" * MIB], timeout=60)
            assert account.held >= MIB
        eventually(lambda: account.held == 0)
    finally:
        server.shutdown()
        server.server_close()
        join(thread)
