"""Connections through others: objects that are passed on, connections opened over there."""

from __future__ import annotations

import gc
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.channel import Channel
from rpyc_like.core.stream import SocketStream
from rpyc_like.utils.factory import connect_channel, connect_multiprocess
from rpyc_like.utils.server import ThreadedServer
from tests.support.eventually import eventually

QUIET = logging.getLogger("tests.chains")
QUIET.setLevel(logging.CRITICAL)


class Thing:
    """Something that lives at one end of a chain."""

    def __init__(self, name: str) -> None:
        self.name = name

    def call(self, func: Callable[[Any], Any], value: Any) -> Any:
        return func(value)


class Maker(rpyc.Service):
    """Makes things, takes things."""

    made: list[Any] = []

    def exposed_make(self, name: str) -> Thing:
        thing = Thing(name)
        self.made.append(weakref.ref(thing))
        return thing

    def exposed_name_of(self, thing: Any) -> str:
        return str(thing.name)

    def exposed_is(self, one: Any, other: Any) -> bool:
        return one is other


@pytest.fixture
def serve() -> Iterator[Callable[..., ThreadedServer]]:
    made: list[ThreadedServer] = []

    def start(service: Any = Maker, **options: Any) -> ThreadedServer:
        config = {"allow_public_attrs": True}
        server = ThreadedServer(service, logger=QUIET, protocol_config=config, **options)
        server._start_in_thread()
        made.append(server)
        return server

    yield start
    for server in made:
        server.close()


def connect(server: ThreadedServer) -> Any:
    return rpyc.connect(server.host, server.port, config={"allow_public_attrs": True})


def test_a_netref_of_one_is_passed_to_another(serve: Callable[..., ThreadedServer]) -> None:
    """B uses an object of A through the program in the middle, and it is freed in the end."""
    Maker.made = []
    with connect(serve()) as a, connect(serve()) as b:
        thing = a.root.make("a's")
        assert b.root.name_of(thing) == "a's"
        assert thing.call(b.root.name_of, thing) == "a's"  # a calls b
        other = b.root.make("b's")
        assert a.root.name_of(other) == "b's"
        assert getattr(a.root, "is")(thing, thing) is True  # back home it is itself
        assert len(Maker.made) == 2
        del thing, other
        gc.collect()
        eventually(lambda: all(ref() is None for ref in Maker.made))


def test_two_upstreams_do_not_mix(serve: Callable[..., ThreadedServer]) -> None:
    """Objects of two servers that are passed to a third stay what they are."""
    with connect(serve()) as a, connect(serve()) as b, connect(serve()) as c:
        things = [
            conn.root.make(f"{name}{number}")
            for number in range(5)
            for name, conn in (("a", a), ("b", b))
        ]
        names = [c.root.name_of(thing) for thing in things]
        assert names == [f"{name}{number}" for number in range(5) for name in "ab"]


def test_the_end_of_an_upstream(serve: Callable[..., ThreadedServer]) -> None:
    """When the owner is gone, the others get EOFError and go on."""
    first = serve()
    with connect(first) as a, connect(serve()) as b:
        thing = a.root.make("gone soon")
        assert b.root.name_of(thing) == "gone soon"
        first.close()
        with pytest.raises(EOFError):
            b.root.name_of(thing)
        assert b.root.name_of(b.root.make("still here")) == "still here"


def test_a_connection_that_is_opened_over_there() -> None:
    """A classic connection may open others from where it leads; those are used from here."""
    near = connect_multiprocess(rpyc.core.service.ClassicClient, remote_service=rpyc.SlaveService)
    with near:
        far = near.modules.rpyc_like.classic.connect_subproc()
        pids = {os.getpid(), near.modules.os.getpid(), far.modules.os.getpid()}
        assert len(pids) == 3
        assert far.eval("[n * n for n in range(4)]")[3] == 9
        far.execute("def call(func): return func(20) + 1")
        assert far.namespace["call"](lambda x: 2 * x) == 41
        with pytest.raises(ZeroDivisionError):
            far.eval("1 / 0")
        far.close()
        assert far.closed


def test_a_tunnelled_connection(serve: Callable[..., ThreadedServer]) -> None:
    """A connection goes over a stream that is open over there: what that host can reach is ours."""
    server = serve(rpyc.SlaveService)
    near = connect_multiprocess(rpyc.core.service.ClassicClient, remote_service=rpyc.SlaveService)
    with near:
        streams = near.modules["rpyc_like.core.stream"]
        stream = streams.SocketStream.connect("127.0.0.1", server.port)
        peer = stream.sock.getpeername()
        assert peer[1] == server.port
        conn = connect_channel(Channel(stream), rpyc.core.service.ClassicClient)
        assert conn.modules.os.getpid() == os.getpid()  # the server is a thread here
        assert conn.eval("6 * 7") == 42
        assert len(conn.eval("b'x' * 1000000")) == 1000000
        conn.close()


def test_a_remote_socket_is_no_socket(serve: Callable[..., ThreadedServer]) -> None:
    """A proxy of a socket has a descriptor that means something else here: it is refused."""
    server = serve()
    near = connect_multiprocess(rpyc.core.service.ClassicClient, remote_service=rpyc.SlaveService)
    with near:
        sock = near.modules.socket.create_connection(("127.0.0.1", server.port))
        with pytest.raises(TypeError, match="expected a socket of this process"):
            SocketStream(sock)
        sock.close()
