"""Two connections of ours, in one process."""

from __future__ import annotations

import collections.abc
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.core.protocol import Connection
from rpyc_like.errors import ConnectionClosed
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from tests.support.asked import Asked
from tests.support.eventually import eventually
from tests.support.joining import join

Pair = tuple[Connection, Connection]
MakePair = Callable[..., Pair]


class Item:
    """An instance of a class of the program's own."""

    def __init__(self, value: int) -> None:
        self.exposed_value = value

    def __len__(self) -> int:
        return self.exposed_value


class TestService(rpyc.Service):
    """What the tests ask for."""

    __test__ = False
    ended = 0

    def on_connect(self, conn: Connection) -> None:
        self.conn = conn
        self.kept: list[Any] = []
        self.released = threading.Event()

    def on_disconnect(self, conn: Connection) -> None:
        self.ended += 1

    def exposed_item(self, value: int) -> Item:
        return Item(value)

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)

    def exposed_keep(self, obj: Any) -> None:
        self.kept.append(obj)

    def exposed_drop(self) -> None:
        self.kept.clear()

    def exposed_sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def exposed_late_item(self) -> Item:
        assert self.released.wait(60)
        return Item(1)


def test_one_class_is_described_once(pair: MakePair) -> None:
    """Instances of a known class cost one request each."""
    client, server = pair(TestService)
    item = client.root.item
    assert len(item(3)) == 3
    asked = Asked(server).seen
    assert [item(n).value for n in range(3)] == [0, 1, 2]
    assert asked == [consts.HANDLE_CALLATTR, consts.HANDLE_GETATTR] * 3


def test_a_changed_class_is_described_again(pair: MakePair) -> None:
    """A method that a class gets later works on objects that are sent later."""

    class Growing:
        pass

    class Growers(rpyc.Service):
        def exposed_make(self) -> Growing:
            return Growing()

    client, _ = pair(Growers)
    with pytest.raises(TypeError):
        len(client.root.make())
    Growing.__len__ = lambda self: 5  # type: ignore[attr-defined]
    assert len(client.root.make()) == 5


class Aliases(rpyc.Service):
    """Exports aliases."""

    exposed_list = list[int]
    exposed_callable = collections.abc.Callable[[int], int]


@pytest.mark.parametrize("name", ["list", "callable"])
def test_an_alias_is_an_object_like_others(pair: MakePair, name: str) -> None:
    """It is no class, although it says so on some versions of Python."""
    client, _ = pair(Aliases())
    alias = getattr(client.root, name)
    kind = type(getattr(Aliases, f"exposed_{name}"))
    id_pack = object.__getattribute__(alias, "____id_pack__")
    assert id_pack[0] == f"{kind.__module__}.{kind.__name__}"
    assert id_pack[2] != 0
    assert str(alias) == str(getattr(Aliases, f"exposed_{name}"))


def test_hasattr_is_one_request(pair: MakePair) -> None:
    """A missing attribute is asked for once."""
    client, server = pair(TestService)
    root = client.root
    asked = Asked(server).seen
    assert not hasattr(root, "missing")
    assert asked == [consts.HANDLE_GETATTR]


def test_identity_and_counts(pair: MakePair) -> None:
    """The same object is the same proxy; the owner lets go when the last one has died."""
    client, server = pair(TestService)
    item = client.root.item(1)
    held = len(server._local_objects)
    call, passed = client.root.call, [item]
    back = [call(passed.__getitem__, 0) for _ in range(3)]
    assert all(one is item for one in back)
    passed.clear()
    del back, item
    gc.collect()
    eventually(lambda: len(server._local_objects) < held)


def test_references_are_given_back_without_a_request(pair: MakePair) -> None:
    """``del`` of the last reference acts, though nothing is asked afterwards."""
    client, server = pair(TestService)
    item = client.root.item(1)
    held = len(server._local_objects)
    del item
    gc.collect()
    eventually(lambda: len(server._local_objects) < held)


def test_give_back_reaches_the_peer_before_the_next_request(pair: MakePair) -> None:
    """Whoever asks the owner afterwards finds the object gone."""
    client, server = pair(TestService)
    item = client.root.item(1)
    call = client.root.call
    before = len(server._local_objects)
    del item
    gc.collect()
    call(int)
    assert len(server._local_objects) == before - 1


@pytest.mark.parametrize("known", [True, False], ids=["known class", "unknown class"])
def test_an_abandoned_answer_gives_its_references_back(pair: MakePair, known: bool) -> None:
    """References inside an answer that came too late are not lost."""
    client, server = pair(TestService)
    if known:
        client.root.item(1)
    late = rpyc.timed(client.root.late_item, 0.01)
    client.ping()
    before = len(server._local_objects)
    result = late()
    with pytest.raises(TimeoutError, match=r"no answer to CALL within 0\.01 s"):
        result.wait()
    assert client._session.pending.get(result.id_) is None
    server._local_root.released.set()
    eventually(lambda: len(server._local_objects) == before + 1)  # the answer has been sent
    client.ping()  # and is received here
    eventually(lambda: len(server._local_objects) == before)


def test_a_frame_that_cannot_be_sent_counts_nothing(pair: MakePair) -> None:
    """References in arguments that fail to encode are rolled back, and the connection works."""
    client, _ = pair(TestService)
    call = client.root.call
    held = len(client._local_objects)
    deep: Any = ()
    for _ in range(3000):
        deep = (deep, 1)
    with pytest.raises(rpyc.errors.LocalProtocolError):
        call([1], [2], deep)
    assert len(client._local_objects) == held
    assert call(lambda: 5) == 5


def test_callbacks_run_in_the_waiting_thread(pair: MakePair) -> None:
    """A callback runs in the thread whose call caused it, whoever reads."""
    client, _ = pair(TestService)
    call = client.root.call
    wrong: list[int] = []

    def work() -> None:
        me = threading.get_ident()
        for _ in range(50):
            if call(threading.get_ident) != me:
                wrong.append(me)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert not wrong


def test_many_threads_get_their_own_answers(pair: MakePair) -> None:
    """Answers find the thread that asked, and nobody sleeps through one."""
    client, _ = pair(TestService)
    call = client.root.call
    wrong: list[int] = []

    def work(base: int) -> None:
        for n in range(100):
            if call(int, base + n) != base + n:
                wrong.append(base + n)

    threads = [threading.Thread(target=work, args=(base * 1000,)) for base in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert not wrong


def test_a_waiting_thread_passes_the_reading_role_on(pair: MakePair) -> None:
    """A fast answer reaches its thread while the one that reads still waits for a slow one."""
    client, _ = pair(TestService, there_config=None)
    sleep = rpyc.async_(client.root.sleep)
    slow = threading.Thread(target=lambda: sleep(0.3).wait())
    slow.start()
    time.sleep(0.05)
    asked = time.monotonic()
    client.ping()
    slow.join()
    assert time.monotonic() - asked < 25


def test_nested_calls(pair: MakePair) -> None:
    """Calls go back and forth on one connection."""
    client, _ = pair(TestService)
    call = client.root.call

    def down(depth: int) -> int:
        return 0 if depth == 0 else call(down, depth - 1) + 1

    assert down(10) == 10


def test_async_results(pair: MakePair) -> None:
    """ready, error, value, callbacks and the older names."""
    client, _ = pair(TestService)
    result = rpyc.async_(client.root.sleep)(0.05)
    assert not result.ready
    assert not result.is_ready
    seen: list[Any] = []
    result.on_ready(lambda ready: seen.append(ready.value))
    assert result.result == 0.05
    assert seen == [0.05]
    result.add_callback(lambda ready: seen.append("at once"))
    assert seen[-1] == "at once"
    assert result.is_ready
    assert not result.error
    assert rpyc.Async is rpyc.async_
    assert getattr(rpyc, "async") is rpyc.async_
    assert rpyc.NetProxy is rpyc.BaseNetref


def test_async_needs_something_callable(pair: MakePair) -> None:
    """async_ says what it expects."""
    client, _ = pair(TestService)
    with pytest.raises(TypeError, match="proxy of a remote object"):
        rpyc.async_(len)
    with pytest.raises(TypeError, match="callable"):
        rpyc.async_(client.root.item(1))


def test_stale_reference(pair: MakePair) -> None:
    """An object that the owner has let go is refused without details, and the rest goes on."""
    client, server = pair(TestService)
    item = client.root.item(1)
    raw = next(raw for raw, held in server._local_objects.by_raw.items() if type(held.obj) is Item)
    server._local_objects.give_back(raw, 1)
    with pytest.raises(KeyError, match="stale or foreign reference"):
        _ = item.value
    client.ping()


def test_unknown_request(pair: MakePair) -> None:
    """A request number that does not exist is answered with an error."""
    client, _ = pair(TestService)
    with pytest.raises(KeyError, match="no request handler 77"):
        client.sync_request(77)
    with pytest.raises(TypeError):
        client.sync_request(consts.HANDLE_GETATTR)
    client.ping()


def test_a_result_that_cannot_be_sent(pair: MakePair) -> None:
    """A result that fails to be boxed is an error to its caller, and the connection works."""

    class Evil:
        @property
        def __class__(self) -> Any:  # type: ignore[override]
            raise RuntimeError("no class")

    class Evils(rpyc.Service):
        def exposed_evil(self) -> Evil:
            return Evil()

    client, _ = pair(Evils)
    with pytest.raises(RuntimeError, match="no class"):
        client.root.evil()
    client.ping()


def test_close(pair: MakePair) -> None:
    """Both sides notice, on_disconnect runs once, and later use says what happened."""
    client, server = pair(TestService)
    item = client.root.item(1)
    service = server._local_root
    client.close()
    client.close()
    assert client.closed
    eventually(lambda: server.closed)
    eventually(lambda: service.ended == 1)
    with pytest.raises(ConnectionClosed):
        client.ping()
    with pytest.raises(EOFError):
        _ = item.value
    server.close()
    assert service.ended == 1


def test_close_from_a_callback(pair: MakePair) -> None:
    """A callback may close the connection that it came over."""
    client, _ = pair(TestService)
    with pytest.raises(EOFError):
        client.root.call(client.close)
    assert client.closed


def test_close_takes_two_seconds_at_most() -> None:
    """A peer that does nothing does not hold close() up."""
    here, _there = MemoryStream.create_pair()
    conn = rpyc.connect_channel(Channel(here))
    started = time.monotonic()
    conn.close()
    assert time.monotonic() - started < 25


def test_a_peer_that_vanishes_fails_every_waiter(pair: MakePair) -> None:
    """All waiting threads end at once, with the reason."""
    client, server = pair(TestService)
    release = threading.Event()
    server._local_root.exposed_block = lambda: release.wait(20)
    block = rpyc.async_(client.root.block)
    results = [block() for _ in range(3)]
    errors: list[BaseException] = []

    def wait(result: Any) -> None:
        try:
            result.wait()
            _ = result.value
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=wait, args=(result,)) for result in results]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    server._channel.stream.close()
    for thread in threads:
        join(thread)
    release.set()
    assert [type(error) for error in errors] == [ConnectionClosed] * 3
    assert "closed by peer" in str(errors[0])


def test_both_sides_send_much_at_once(pair: MakePair) -> None:
    """Two sides that fill each other's buffers go on: whoever sends reads meanwhile."""

    class Echo(rpyc.Service):
        def exposed_echo(self, data: bytes) -> bytes:
            return data

    client, _ = pair(Echo)
    client._channel.framer.compress = False
    echo = rpyc.async_(client.root.echo)
    data = b"x" * 400_000
    results = [echo(data) for _ in range(20)]
    assert all(result.value == data for result in results)


def test_no_lock_is_held_while_the_end_is_told(pair: MakePair) -> None:
    """Callbacks and on_disconnect run when the reading role is free, in the thread that noticed."""
    free: list[bool] = []

    class Watching(rpyc.Service):
        def on_disconnect(self, conn: Connection) -> None:
            free.append(not conn._recvlock.lock.locked())

    client, server = pair(TestService, Watching)
    release = threading.Event()
    server._local_root.exposed_block = lambda: release.wait(20)
    result = rpyc.async_(client.root.block)()
    result.add_callback(lambda _: free.append(not client._recvlock.lock.locked()))
    server._channel.stream.close()
    with pytest.raises(EOFError):
        client.serve(5)
    release.set()
    assert free == [True, True]
    assert result.error


def test_serving_in_several_threads() -> None:
    """serve_threaded lets several calls of one connection run at once."""
    a, b = MemoryStream.create_pair()
    server = TestService._connect(Channel(b), None)
    thread = threading.Thread(target=server.serve_threaded, args=(4,), daemon=True)
    thread.start()
    client = rpyc.connect_channel(Channel(a))
    barrier = threading.Barrier(3)
    server._local_root.exposed_meet = lambda: barrier.wait(10)
    meet = rpyc.async_(client.root.meet)
    results = [meet() for _ in range(3)]
    assert sorted(result.value for result in results) == [0, 1, 2]
    client.close()
    join(thread)


def test_serve_and_poll() -> None:
    """Serve and poll say whether a message came in time; poll_all serves what is there."""
    a, b = MemoryStream.create_pair()
    server, client = TestService._connect(Channel(b), None), rpyc.connect_channel(Channel(a))
    assert not server.serve(0.01)
    assert not server.poll()
    result = client.async_request(consts.HANDLE_PING, "x")
    assert server.poll(1)
    assert server.poll_all(0.01) or result.ready
    assert result.value == "x"
    thread = threading.Thread(target=server.serve_all)
    thread.start()
    client.close()
    join(thread)


def test_ping_and_custom_data(pair: MakePair) -> None:
    """Ping echoes."""
    client, _ = pair(TestService)
    client.ping()
    client.ping("data", timeout=30)


def test_passing_a_foreign_proxy_on(pair: MakePair) -> None:
    """A proxy of one connection works through another, and is freed."""

    class Gateway(rpyc.Service):
        def on_connect(self, conn: Connection) -> None:
            self.upstream, _ = pair(TestService)

        def exposed_item(self, value: int) -> Any:
            return self.upstream.root.item(value)

        def exposed_list(self) -> Any:
            return self.upstream.root.call(lambda: [1, 2])

    client, gateway = pair(Gateway)
    items = [client.root.item(n) for n in (5, 6)]
    assert [len(item) for item in items] == [5, 6]
    assert [item.value for item in items] == [5, 6]
    before = len(gateway._local_objects)
    del items
    gc.collect()
    eventually(lambda: len(gateway._local_objects) < before)


def test_services(pair: MakePair) -> None:
    """Names, aliases, instances and the decorators."""

    @rpyc.service
    class Decorated(rpyc.Service):
        ALIASES = ["one", "Two"]

        @rpyc.exposed
        def shown(self) -> int:
            return 1

        @rpyc.exposed("exposed_")
        def prefixed(self) -> int:
            return 2

        def hidden(self) -> int:
            return 3

        @rpyc.exposed
        class Inner:
            @rpyc.exposed
            def deep(self) -> int:
                return 4

    shared = Decorated()
    client, _ = pair(shared)
    assert (client.root.shown(), client.root.prefixed()) == (1, 2)
    assert not hasattr(client.root, "hidden")
    assert client.root.Inner().deep() == 4
    assert tuple(client.root.get_service_aliases()) == ("ONE", "TWO")
    assert TestService.get_service_name() == "TEST"
    assert client.root.get_service_name() == "ONE"
    with pytest.raises(TypeError, match="expected a function"):
        rpyc.exposed(5)


def test_classic_client_gives_nothing(pair: MakePair) -> None:
    """A server can use what it is passed, and nothing else of a classic client."""
    client, server = pair(rpyc.ClassicService, rpyc.core.service.ClassicClient)

    class Mine:
        public = 1
        _private = 2

    seen: list[Any] = []
    client.execute("def look(x): return x.public\ndef peek(x): return x._private")
    seen.append(client.namespace["look"](Mine()))
    assert seen == [1]
    with pytest.raises(AttributeError, match="cannot access"):
        client.namespace["peek"](Mine())
    outcomes: list[Any] = []

    def attack() -> None:
        outcomes.append(server.root.getmodule("os"))
        outcomes.append(server.root.eval("1 + 1"))
        outcomes.append(hasattr(server.root, "on_connect"))
        outcomes.append(hasattr(server.root, "__globals__"))

    thread = threading.Thread(target=attack)
    thread.start()
    while thread.is_alive():
        client.serve(0.01)
    assert outcomes == [None, None, False, False]


def test_dead_after_fork(pair: MakePair) -> None:
    """The copy of a connection in a forked child is dead and silent."""
    client, _ = pair(TestService)
    item = client.root.item(3)
    client._link.orphan()
    with pytest.raises(ConnectionClosed, match="forked"):
        _ = item.value
    assert client.closed
    client.adopt_after_fork()
    assert item.value == 3


def test_a_proxy_of_a_closed_connection_is_shown() -> None:
    """``repr`` says that the connection is closed, for debuggers and logs."""
    conn = rpyc.classic.connect_thread()
    proxies = [conn.eval("[1, 2]"), conn.eval("object()")]
    conn.close()
    assert repr(proxies[0]) == "<proxy of a builtins.list, connection closed>"
    assert "connection closed" in repr(proxies[1])


def test_an_error_of_a_remote_repr_is_its_own() -> None:
    """An EOFError of the object's own ``__repr__`` does not pass for a closed connection."""
    with rpyc.classic.connect_thread() as conn:
        conn.execute(
            "class Odd:\n    def __repr__(self):\n        raise EOFError('nothing to show')\n"
        )
        with pytest.raises(EOFError, match="nothing to show"):
            repr(conn.eval("Odd()"))


def test_a_method_of_a_closed_connection_is_not_read() -> None:
    """Reading a method fails, and not only calling it."""
    conn = rpyc.connect_thread(remote_service=rpyc.Service)
    root = conn.root
    assert root.get_service_name
    conn.close()
    with pytest.raises(EOFError):
        root.get_service_name


def test_the_error_says_who_closed_the_connection(pair: MakePair) -> None:
    """After this side's own close() no error says that the peer closed the connection."""
    client, server = pair(rpyc.ClassicService)
    proxy = client.root.namespace
    waiting = rpyc.async_(client.root.eval)("1")
    assert waiting.value == 1
    client.close()
    for ask in (lambda: client.ping(), lambda: proxy["x"], lambda: client.root.eval("1")):
        with pytest.raises(ConnectionClosed, match=r"^connection closed by this side$") as caught:
            ask()
        assert caught.value.__cause__ is None
    assert client.reason is None
    eventually(lambda: server.closed)
    with pytest.raises(ConnectionClosed, match="closed by peer"):
        server.ping()


def test_the_reason_of_an_end_is_kept_when_it_is_closed_later(pair: MakePair) -> None:
    """A connection that its peer has closed says so also after close() on this side."""
    client, server = pair(rpyc.ClassicService)
    client.ping()
    closing = threading.Thread(target=server.close)
    closing.start()
    with pytest.raises(ConnectionClosed):
        client.ping()
    join(closing)
    client.close()
    with pytest.raises(ConnectionClosed, match="closed by peer"):
        client.ping()
