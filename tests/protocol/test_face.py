"""What programs of RPyC's override, replace and reach for; all of it is live."""

from __future__ import annotations

import collections
import importlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import async_, brine, consts, netref, protocol, vinegar
from rpyc_like.core.channel import Channel
from rpyc_like.core.protocol import Connection
from rpyc_like.core.stream import SocketStream
from rpyc_like.utils.factory import connect_channel
from rpyc_like.utils.server import ThreadedServer
from tests.support.joining import join

MakePair = Callable[..., tuple[Connection, Connection]]


class Thing:
    """Something that travels by reference."""

    def __init__(self, number: int) -> None:
        self.exposed_number = number

    def exposed_twice(self) -> int:
        return 2 * self.exposed_number


class Shop(rpyc.Service):
    """Gives, takes and fails."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def exposed_echo(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    def exposed_thing(self, number: int) -> Thing:
        return Thing(number)

    def exposed_things(self) -> tuple[Thing, tuple[int, Thing], int]:
        return Thing(1), (2, Thing(3)), 4

    def exposed_call(self, func: Any) -> Any:
        return func()

    def exposed_fail(self) -> None:
        raise ZeroDivisionError("no")


def speaking(connection: type[Connection], base: type[rpyc.Service] = rpyc.VoidService) -> Any:
    """Returns a service class whose connections are of a program's own class."""
    return type("Speaking", (base,), {"_protocol": connection})


class Unboxable:
    """What a program's own boxing refuses."""


class ListsByValue(Connection):
    """Sends lists by value, under a label of its own."""

    LABEL = 5

    def _box(self, obj: Any) -> Any:
        if type(obj) is list:
            return self.LABEL, tuple([self._box(item) for item in obj])
        if type(obj) is Unboxable:
            raise ValueError("cannot be boxed")
        return super()._box(obj)

    def _unbox(self, package: Any) -> Any:
        label, value = package
        if label == self.LABEL:
            return [self._unbox(item) for item in value]
        return super()._unbox(package)


def test_own_boxing(pair: MakePair) -> None:
    """A program's _box and _unbox decide what travels by value, at any depth, both ways."""
    client, server = pair(speaking(ListsByValue, Shop), speaking(ListsByValue))
    assert client.root.echo([1, [2, "x"], (3, [4])]) == [1, [2, "x"], (3, [4])]
    assert type(server._local_root.seen[0]) is list
    thing = Thing(7)
    same, (other,) = client.root.echo(([thing], ()))[0], [client.root.thing(4)]
    assert same[0] is thing
    assert other.twice() == 8
    with pytest.raises(ZeroDivisionError):
        client.root.fail()


def test_own_boxing_counts_references(pair: MakePair) -> None:
    """References that went through a program's own boxing are given back, also after a failure."""
    client, server = pair(speaking(ListsByValue, Shop), speaking(ListsByValue))
    root = client.root
    held = len(server._local_objects)
    things = [root.thing(1), root.thing(2)]
    assert len(server._local_objects) == held + 2 + 1  # and the method that made them
    assert [one.number for one in root.echo(things)] == [1, 2]
    del things
    client.ping()
    client.ping()
    assert len(server._local_objects) <= held + 2
    mine = len(client._local_objects)
    with pytest.raises(ValueError, match="cannot be boxed"):
        root.echo([Thing(1), (Thing(2), Unboxable())])
    assert len(client._local_objects) == mine
    assert root.echo("\ud800") == "\ud800"


def test_boxing_without_overrides(pair: MakePair) -> None:
    """``_box`` and ``_unbox`` work on any connection."""
    client, server = pair(Shop)
    thing = Thing(5)
    label, pack = server._box(thing)
    assert label == consts.LABEL_REMOTE_REF
    assert client._unbox((label, pack)).number == 5
    assert server._unbox((consts.LABEL_LOCAL_REF, pack)) is thing
    assert client._box((1, "x")) == (consts.LABEL_VALUE, (1, "x"))
    mixed = server._box((1, thing))
    assert mixed == (consts.LABEL_TUPLE, ((consts.LABEL_VALUE, 1), (label, pack)))
    with pytest.raises(KeyError, match="stale"):
        client._unbox((consts.LABEL_LOCAL_REF, ("x.Y", 1, 2)))


def test_own_netref_factory(pair: MakePair) -> None:
    """A program's _netref_factory makes each proxy once; references are counted as ever."""
    made: list[Any] = []

    class Making(Connection):
        def _netref_factory(self, id_pack: Any) -> Any:
            made.append(id_pack)
            return super()._netref_factory(id_pack)

    client, server = pair(Shop, speaking(Making))
    first, (two, third), four = client.root.things()
    assert (first.number, two, third.number, four) == (1, 2, 3, 4)
    assert all(rpyc.core.netref.is_netref(one) for one in (first, third))
    again = client.root.echo(first)
    assert again is first
    assert made.count(first.____id_pack__) == 1
    pack = first.____id_pack__
    del first, again, third
    client.ping()
    client.ping()
    assert pack not in server._local_objects


def test_own_dispatch(pair: MakePair) -> None:
    """A program's _dispatch sees each payload and may keep it or change it."""
    seen: list[bytes] = []

    class Seeing(Connection):
        def _dispatch(self, data: bytes) -> None:
            seen.append(data)
            super()._dispatch(data)

    client, _ = pair(speaking(Seeing, Shop), speaking(Seeing))
    assert client.root.echo(41) == 41
    assert client.root.call(lambda: client.root.echo("nested")) == "nested"
    assert len(seen) >= 6
    assert all(type(data) is bytes for data in seen)
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(client.root.echo(n))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert sorted(results) == list(range(8))


def test_own_dispatch_that_loses_answers(pair: MakePair) -> None:
    """What a _dispatch does not pass on has not come."""

    class Deaf(Connection):
        deaf = False

        def _dispatch(self, data: bytes) -> None:
            if not self.deaf:
                super()._dispatch(data)

    client, _ = pair(Shop, speaking(Deaf))
    echo = client.root.echo
    assert echo(0) == 0
    client._config["sync_request_timeout"] = 0.3
    client.deaf = True  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        echo(1)
    client.deaf = False  # type: ignore[attr-defined]
    client._config["sync_request_timeout"] = 30
    assert echo(2) == 2


def test_own_del_handler(pair: MakePair) -> None:
    """A program's _handle_del is told of each object that is given back."""
    gone: list[Any] = []

    class Counting(Connection):
        def _handle_del(self, obj: Any, count: int = 1) -> None:
            gone.append((type(obj), count))
            super()._handle_del(obj, count)  # type: ignore[misc]

    client, server = pair(speaking(Counting, Shop))
    thing = client.root.thing(3)
    root = client.root
    again = root.echo(thing)
    pack = thing.____id_pack__
    del thing, again
    server._local_root.seen.clear()
    client.ping()
    client.ping()
    assert (Thing, 2) in gone
    assert pack not in server._local_objects


@pytest.mark.parametrize("name", ["getattr", "call", "callattr", "repr", "hash", "inspect"])
def test_own_handlers(pair: MakePair, name: str) -> None:
    """A program's _handle_... is what a request gets."""
    asked: list[str] = []

    def handle(self: Any, *args: Any) -> Any:
        asked.append(name)
        return getattr(Connection, f"_handle_{name}")(self, *args)

    own = type("Own", (Connection,), {f"_handle_{name}": handle})
    client, _ = pair(speaking(own, Shop), there_config={"allow_all_attrs": True})
    thing = client.root.echo(client.root.thing(3))
    assert repr(thing)
    assert isinstance(hash(thing), int)
    assert thing.twice() == 6
    assert len(client.root.echo(collections.deque([1]))) == 1
    assert next(iter(client.root.call(lambda: 5).__class__.mro())) is int
    client.root.seen.__len__()
    if name == "callattr":
        len(client.root.seen)
    assert asked


def test_seen_netrefs(pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced syncreq sees every request that a proxy makes."""
    handlers: list[int] = []
    plain = netref.syncreq

    def syncreq(proxy: Any, handler: int, *args: Any) -> Any:
        handlers.append(handler)
        return plain(proxy, handler, *args)

    client, _ = pair(Shop, there_config={"allow_all_attrs": True})
    monkeypatch.setattr(netref, "syncreq", syncreq)
    seen = client.root.seen
    assert client.root.echo(1) == 1
    assert len(seen) == 1
    repr(seen)
    assert {
        consts.HANDLE_GETATTR,
        consts.HANDLE_CALL,
        consts.HANDLE_CALLATTR,
        consts.HANDLE_REPR,
    } <= set(handlers)


def test_own_class_factory(pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced class_factory makes the classes of proxies, and _make_method their methods."""
    factory, make_method = netref.class_factory, netref._make_method
    made: list[str] = []
    methods: list[str] = []

    def class_factory(id_pack: Any, names: Any) -> Any:
        cls = factory(id_pack, names)
        made.append(id_pack[0])
        return cls

    def own_method(name: str, doc: str | None) -> Any:
        methods.append(name)
        return make_method(name, doc)

    monkeypatch.setattr(netref, "class_factory", class_factory)
    monkeypatch.setattr(netref, "_make_method", own_method)
    client, _ = pair(Shop, there_config={"allow_all_attrs": True})
    assert client.root.thing(2).twice() == 4
    assert client.root.thing(2).__class__ is Thing
    assert f"{__name__}.Thing" in made
    assert "exposed_twice" in methods
    cls = client.root.echo.__self__.__class__
    assert cls is Shop or netref.is_netref(cls)


def test_local_attrs_are_live(pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names added to LOCAL_ATTRS are never asked of the owner."""
    client, _ = pair(Shop, there_config={"allow_all_attrs": True})
    root = client.root
    methods = client.sync_request(consts.HANDLE_INSPECT, root.____id_pack__)
    assert "exposed_echo" in dict(methods[:-1])
    monkeypatch.setattr(netref, "LOCAL_ATTRS", netref.LOCAL_ATTRS | {"exposed_echo"})
    thing = client.root.thing
    assert "exposed_echo" not in dict(
        client.sync_request(consts.HANDLE_INSPECT, root.____id_pack__)
    )
    assert thing(1).number == 1


class Telling(rpyc.AsyncResult):
    """Notes what happens to it."""

    told: list[Any] = []

    def __call__(self, is_exc: bool, obj: Any) -> None:
        self.told.append((is_exc, obj))
        super().__call__(is_exc, obj)

    def wait(self) -> None:
        self.told.append("wait")
        super().wait()


@pytest.mark.parametrize("home", [protocol, async_])
def test_own_async_result(pair: MakePair, monkeypatch: pytest.MonkeyPatch, home: Any) -> None:
    """A subclass that replaces AsyncResult, in either module, is what requests return."""
    client, _ = pair(Shop)
    root = client.root
    Telling.told = []
    monkeypatch.setattr(home, "AsyncResult", Telling)
    assert protocol.AsyncResult is async_.AsyncResult is Telling
    assert importlib.import_module("rpyc_like.core.async").AsyncResult is Telling
    assert root.echo(5) == 5
    result = rpyc.async_(root.echo)(6)
    assert type(result) is Telling
    called: list[Any] = []
    result.add_callback(called.append)
    assert result.value == 6
    assert called == [result]
    with pytest.raises(ZeroDivisionError):
        root.fail()
    assert (False, 5) in Telling.told
    assert (False, 6) in Telling.told
    assert "wait" in Telling.told
    assert any(isinstance(one[1], ZeroDivisionError) for one in Telling.told if one != "wait")
    monkeypatch.undo()
    assert async_.AsyncResult is protocol.AsyncResult is rpyc.AsyncResult


def test_own_async_result_hears_of_the_end(pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is never answered is delivered as the connection's end."""
    client, _ = pair(Shop)
    stop = threading.Event()
    call = rpyc.async_(client.root.call)
    Telling.told = []
    monkeypatch.setattr(protocol, "AsyncResult", Telling)
    pending = call(lambda: stop.wait(10))
    client._link.lose(None)
    stop.set()
    with pytest.raises(EOFError):
        pending.value
    assert any(isinstance(one[1], EOFError) for one in Telling.told if one != "wait")


def test_defaults_are_one_set(pair: MakePair) -> None:
    """What a program adds to safe_attrs holds for connections that are open."""
    client, _ = pair(Shop)

    class Container:
        def __missing_one__(self) -> int:
            return 3

    safe = protocol.DEFAULT_CONFIG["safe_attrs"]
    lent = client.root.echo  # a method: nothing but safe names
    with pytest.raises(AttributeError):
        lent.__name__
    safe.add("__name__")
    try:
        assert lent.__name__ == "exposed_echo"
    finally:
        safe.discard("__name__")


def test_members(pair: MakePair) -> None:
    """The members that programs read are what the connection itself works with."""
    client, server = pair(Shop)
    assert client._config["sync_request_timeout"] == 30
    assert client._channel.stream.closed is False
    assert isinstance(server._local_root, Shop)
    assert client._remote_root is None
    root = client.root
    assert client._remote_root is root
    assert root.____id_pack__ in server._local_objects
    assert server._local_objects[root.____id_pack__] is server._local_root
    number = next(client._seqcounter)
    result = rpyc.async_(root.echo)
    assert result(1).id_ > number
    with pytest.raises(ZeroDivisionError):
        root.fail()
    frames = []
    traceback = server._last_traceback
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "exposed_fail"
    client._config["sync_request_timeout"] = 0.2
    with pytest.raises(TimeoutError):
        root.call(lambda: threading.Event().wait(0.6))


def test_held_recvlock(pair: MakePair) -> None:
    """Nobody receives while a program holds _recvlock."""
    client, _ = pair(Shop)
    echo = client.root.echo
    answers: list[int] = []
    with client._recvlock:
        thread = threading.Thread(target=lambda: answers.append(echo(1)))
        thread.start()
        thread.join(0.3)
        assert answers == []
    join(thread)
    assert answers == [1]


def test_generic_exceptions_cache(pair: MakePair) -> None:
    """A class filed in the cache is what an unknown exception of that name is here."""

    class Unknown(Exception):
        """Not to be found by its name."""

    class Raising(rpyc.Service):
        def exposed_fail(self) -> None:
            raise Unknown("x")

    class Known(rpyc.GenericException):
        """What a program has for it."""

    full = f"{__name__}.Unknown"
    vinegar._generic_exceptions_cache[full] = Known
    try:
        client, _ = pair(Raising)
        with pytest.raises(Known, match="x"):
            client.root.fail()
    finally:
        del vinegar._generic_exceptions_cache[full]
    client, _ = pair(Raising)
    with pytest.raises(rpyc.GenericException):
        client.root.fail()
    assert full in vinegar._generic_exceptions_cache


@pytest.fixture
def decimal_brine() -> Iterator[None]:
    """Registers a type, as a program of RPyC's does."""

    @brine.register(brine._dump_registry, Decimal)
    def dump_decimal(obj: Decimal, stream: list[bytes]) -> None:
        stream.append(b"\x1c")
        brine._dump(str(obj), stream)

    @brine.register(brine._load_registry, b"\x1c")
    def load_decimal(stream: Any) -> Decimal:
        return Decimal(brine._load(stream))

    simple = brine.simple_types
    brine.simple_types = simple | {Decimal}  # type: ignore[misc]
    yield
    brine.simple_types = simple  # type: ignore[misc]
    del brine._dump_registry[Decimal], brine._load_registry[b"\x1c"]


@pytest.mark.usefixtures("decimal_brine")
def test_own_brine_type(pair: MakePair) -> None:
    """A registered type travels by value, alone and inside of others."""
    value = Decimal("1.50")
    assert brine.load(brine.dump((1, (value,), "x"))) == (1, (value,), "x")
    assert brine.dumpable((value,))
    assert brine.dump(value) == b"\x1c\x08\x0d1.50"
    client, server = pair(Shop)
    echoed = client.root.echo(value)
    assert echoed == value
    assert type(echoed) is Decimal
    assert client.root.echo((value, [value]))[0] == value
    assert type(server._local_root.seen[0]) is Decimal
    with pytest.raises(rpyc.errors.MalformedValue, match="cannot load"):
        brine.load(b"\x1c\x08\x0cabc")
    with pytest.raises(rpyc.errors.MalformedValue, match="early"):
        brine.load(b"\x1c\x08")


def test_registries() -> None:
    """The standard types are in the registries and stay as they are."""
    parts: list[bytes] = []
    brine._dump_registry[str]("a", parts)
    assert parts == [b"\x08\x0aa"]
    with pytest.raises(ValueError, match="fixed"):
        brine._dump_registry[int] = brine._dump
    with pytest.raises(ValueError, match="taken"):
        brine._load_registry[b"\x00"] = brine._load
    with pytest.raises(ValueError, match="one byte"):
        brine._load_registry[b"xy"] = brine._load
    assert brine.load(brine.TAG_TUP1 + brine.IMM_INTS[7]) == (7,)


class Password(rpyc.Service):
    """Both sides talk on the socket before the protocol does."""

    SECRET = b"open sesame\n"

    def exposed_inside(self) -> bool:
        return True

    @classmethod
    def _connect(cls, channel: Any, config: Any = None) -> Connection:  # type: ignore[override]
        sock = channel.stream.sock
        sock.sendall(b"who?\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += sock.recv(1)
        if answer != cls.SECRET:
            sock.sendall(b"no\n")
            raise EOFError("wrong password")
        sock.sendall(b"ok\n")
        return super()._connect(channel, config)  # type: ignore[misc,no-any-return]


def _line(sock: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += sock.recv(1)
    return line


def test_talk_before_the_protocol() -> None:
    """A service's _connect and a client's own bytes come before the protocol."""
    server = ThreadedServer(Password, port=0, logger=_quiet())
    server._start_in_thread()
    try:
        stream = SocketStream.connect(server.host, server.port)
        assert _line(stream.sock) == b"who?\n"
        stream.sock.sendall(Password.SECRET)
        assert _line(stream.sock) == b"ok\n"
        with connect_channel(Channel(stream)) as conn:
            assert conn.root.inside() is True
        refused = SocketStream.connect(server.host, server.port)
        assert _line(refused.sock) == b"who?\n"
        refused.sock.sendall(b"please\n")
        assert _line(refused.sock) == b"no\n"
        with connect_channel(Channel(refused)) as conn, pytest.raises(EOFError):
            conn.root
    finally:
        server.close()


def test_own_talk_is_not_repeated() -> None:
    """A connection whose service talks first is not silently opened again in another dialect."""

    class Asking(rpyc.VoidService):
        talks = 0

        @classmethod
        def _connect(cls, channel: Any, config: Any = None) -> Connection:  # type: ignore[override]
            cls.talks += 1
            assert channel.reopen is None
            return super()._connect(channel, config)  # type: ignore[misc,no-any-return]

    server = ThreadedServer(Shop, port=0, logger=_quiet())
    server._start_in_thread()
    try:
        with rpyc.connect(server.host, server.port, service=Asking) as conn:
            assert conn.root.echo(1) == 1
        assert Asking.talks == 1
    finally:
        server.close()


def test_replaced_connect_and_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    """SocketStream's ways to connect and a server's accept can be replaced."""
    asked: list[Any] = []
    connect = SocketStream.connect.__func__  # type: ignore[attr-defined]
    inner = SocketStream._connect.__func__  # type: ignore[attr-defined]

    def own_connect(
        cls: Any, host: str, port: int, ipv6: bool = False, keepalive: Any = False
    ) -> Any:
        asked.append((host, port))
        return connect(cls, "127.0.0.1", real_port)

    def own_inner(cls: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append("inner")
        return inner(cls, *args, **kwargs)

    class Accepting(ThreadedServer):
        accepted = 0

        def accept(self) -> None:
            while self.active:
                try:
                    sock, _ = self.listener.accept()
                except TimeoutError:
                    continue
                except OSError as error:
                    raise EOFError from error
                sock.setblocking(True)
                self.accepted += 1
                self.clients.add(sock)
                self._accept_method(sock)
                return

    server = Accepting(Shop, port=0, logger=_quiet())
    server._start_in_thread()
    real_port = server.port
    monkeypatch.setattr(SocketStream, "connect", classmethod(own_connect))
    monkeypatch.setattr(SocketStream, "_connect", classmethod(own_inner))
    try:
        with rpyc.connect("nowhere.invalid", 1) as conn:
            assert conn.root.echo(2) == 2
        assert asked == [("nowhere.invalid", 1), "inner"]
        assert server.accepted == 1
    finally:
        server.close()


def _quiet() -> logging.Logger:
    logger = logging.getLogger("tests.face")
    logger.setLevel(logging.CRITICAL)
    return logger
