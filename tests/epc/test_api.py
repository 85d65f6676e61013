"""EPC servers and clients of this package with one another."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rpyc_like.epc.client import EPCClient, EPCClientHandler
from rpyc_like.epc.handler import (
    CallerUnknown,
    EPCClosed,
    EPCError,
    EPCErrorCallerUnknown,
    EPCHandler,
    ReturnError,
    ReturnErrorCallerUnknown,
)
from rpyc_like.epc.server import EPCServer, ThreadingEPCServer
from tests.support.eventually import eventually
from tests.support.joining import join

KINDS = [EPCServer, ThreadingEPCServer]
Start = Callable[..., Any]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers in threads, and ends them."""
    made: list[tuple[Any, threading.Thread]] = []

    def make(kind: type[EPCServer] = ThreadingEPCServer, **options: Any) -> Any:
        server = kind(("127.0.0.1", 0), **options)
        server.logger.setLevel(logging.CRITICAL)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        made.append((server, thread))
        server.register_function(echo)
        server.register_function(fail)
        return server

    yield make
    for server, thread in made:
        server.shutdown()
        server.server_close()
        join(thread)


def echo(*args: Any) -> list[Any]:
    """Returns its arguments."""
    return list(args)


def fail(*args: Any) -> None:
    raise ValueError(*args)


def connect(server: Any, **functions: Any) -> EPCClient:
    client = EPCClient()
    client.logger.setLevel(logging.CRITICAL)
    for name, function in functions.items():
        client.register_function(function, name)
    client.connect(server.server_address)
    return client


@pytest.mark.parametrize("kind", KINDS)
def test_calls(start: Start, kind: type[EPCServer]) -> None:
    """Calls, errors, the list of methods, callbacks."""
    server = start(kind)
    with connect(server) as client:
        assert client.call_sync("echo", [1, "two", 3.5, None, True, [4, {"a": 5}]]) == [
            *(1, "two", 3.5, [], True),
            [4, [client.call_sync("echo", {"a": 0})[0].__class__(":a"), 5]],
        ]
        with pytest.raises(ReturnError) as returned:
            client.call_sync("fail", ["x"])
        assert returned.value.args[0] == "ValueError('x')"
        with pytest.raises(EPCError, match="No such method : nothing"):
            client.call_sync("nothing", [])
        names = {str(name.value()): doc for name, _, doc in client.methods_sync()}
        assert names == {"echo": "Returns its arguments.", "fail": ""}
        answers: queue.Queue[Any] = queue.Queue()
        client.call("echo", [7], answers.put)
        assert answers.get(timeout=60) == [7]
        client.call("fail", [8], None, answers.put)
        assert isinstance(answers.get(timeout=60), ReturnError)
        client.methods(answers.put)
        assert len(answers.get(timeout=60)) == 2


def test_strange_arguments(start: Start) -> None:
    """A bare text is given letter by letter, nil is nothing, a dict a property list."""
    server = start()
    with connect(server) as client:
        assert client.call_sync("echo", "ab") == ["a", "b"]
        assert client.call_sync("echo", None) == []
        with pytest.raises(ReturnError, match="TypeError"):
            client.call_sync("echo", 5)
        key, value = client.call_sync("echo", {"name": 5})
        assert (key.value(), value) == (":name", 5)


def test_async_call(start: Start) -> None:
    """``async_call`` gives an AsyncResult: several calls at once, callbacks, a time limit."""
    server = start()
    server.register_function(lambda seconds: time.sleep(seconds) or "slept", "sleep")
    with connect(server) as client:
        begun = time.monotonic()
        results = [client.async_call("sleep", 3) for _ in range(5)]
        assert [result.value for result in results] == ["slept"] * 5
        assert time.monotonic() - begun < 13
        seen: list[Any] = []
        result = client.async_call("echo", 1)
        result.add_callback(seen.append)
        assert result.value == [1]
        slow = client.async_call("sleep", 3)
        slow.set_expiry(0.1)
        with pytest.raises(TimeoutError):
            slow.wait()


def test_timeout_is_queue_empty(start: Start) -> None:
    """call_sync raises queue.Empty, forgets the call, and a late answer harms nothing."""
    server = start()
    release = threading.Event()
    server.register_function(lambda: release.wait(60), "sleep")
    with connect(server) as client:
        with pytest.raises(queue.Empty):
            client.call_sync("sleep", [], timeout=0.1)
        assert len(client.handler.callmanager.callbacks) <= 1
        release.set()
        assert client.call_sync("echo", [1]) == [1]
        eventually(lambda: client.handler.callmanager.callbacks == {})


@pytest.mark.parametrize("kind", KINDS)
def test_calls_in_both_directions(start: Start, kind: type[EPCServer]) -> None:
    """A method may call back its caller, and that one again, on the single-threaded server too."""
    server = start(kind)

    def down(number: int) -> Any:
        if number == 0:
            return "bottom"
        return server.clients[0].call_sync("down", [number - 1], timeout=10)

    server.register_function(down)

    with connect(server) as client:
        client.register_function(lambda n: client.call_sync("down", [n], timeout=10), "down")
        assert client.call_sync("down", [5], timeout=20) == "bottom"


def test_the_end_is_noticed(start: Start) -> None:
    """When the connection goes, every waiter fails at once, and so does what comes later."""
    server = start()
    release = threading.Event()
    server.register_function(lambda: release.wait(60), "sleep")
    client = connect(server)
    failures: queue.Queue[Any] = queue.Queue()
    client.call("sleep", [], None, failures.put)
    threading.Timer(0.2, lambda: server.clients[0].close()).start()
    with pytest.raises(EPCClosed):
        client.call_sync("sleep", [])
    release.set()  # nobody has waited for that
    assert isinstance(failures.get(timeout=60), EPCClosed)
    with pytest.raises(EPCClosed):
        client.call_sync("echo", [1])
    client.close()
    client.close()


def test_close_closes(start: Start) -> None:
    """``close()`` of a client ends its connection at the server."""
    told: list[str] = []
    server = start()
    server.handle_client_connect = lambda handler: told.append("connect")
    server.handle_client_disconnect = lambda handler: told.append("disconnect")
    client = connect(server)
    assert client.call_sync("echo", []) == []
    assert len(server.clients) == 1
    client.close()
    eventually(lambda: not server.clients)
    eventually(lambda: told == ["connect", "disconnect"])


@pytest.mark.parametrize("kind", KINDS)
def test_shutdown_with_clients(start: Start, kind: type[EPCServer]) -> None:
    """``shutdown`` and ``server_close`` do not wait for clients."""
    server = kind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    server.register_function(echo)
    client = connect(server)
    assert client.call_sync("echo", [1]) == [1]
    begun = time.monotonic()
    server.shutdown()
    server.server_close()
    join(thread)
    assert time.monotonic() - begun < 60
    with pytest.raises(EPCClosed):
        client.call_sync("echo", [1])
    client.close()


def test_each_call_gets_one_answer(start: Start) -> None:
    """Whatever a method raises or returns, its caller hears of it."""
    server = start()

    def exits() -> None:
        raise SystemExit(3)

    def interrupts() -> None:
        raise KeyboardInterrupt

    def remote() -> None:
        raise ReturnError("from elsewhere")

    def closed() -> None:
        raise EPCClosed("elsewhere")

    def unsayable() -> Any:
        return object()

    def large() -> str:
        return "x" * (1 << 24)

    def nested() -> Any:
        return server.clients[0].call_sync("missing", [])

    for function in (exits, interrupts, remote, closed, unsayable, large, nested):
        server.register_function(function)
    texts = {}
    with connect(server) as client:
        for name in ("exits", "interrupts", "remote", "closed", "unsayable", "large", "nested"):
            with pytest.raises((ReturnError, EPCError)) as caught:
                client.call_sync(name, [], timeout=10)
            texts[name] = str(caught.value.args[0])
        assert client.call_sync("echo", ["still here"]) == ["still here"]
    assert "SystemExit(3)" in texts["exits"]
    assert "from elsewhere" in texts["remote"]
    assert "cannot be sent to Emacs" in texts["unsayable"]
    assert "EPC carries 16777215" in texts["large"]


def test_what_cannot_be_sent(start: Start) -> None:
    """A call that cannot be sent is an error to its caller, and leaves nothing behind."""
    server = start()
    with connect(server) as client:
        with pytest.raises(TypeError):
            client.call("echo", [object()])
        with pytest.raises(Exception, match="EPC carries"):
            client.call_sync("echo", ["x" * (1 << 24)])
        assert client.handler.callmanager.callbacks == {}
        assert client.call_sync("echo", [1]) == [1]


def test_callbacks_that_fail_stay_local(start: Start) -> None:
    """The peer does not hear of a callback that raises."""
    server = start()
    with connect(server) as client:
        called = threading.Event()

        def bad(value: Any) -> None:
            called.set()
            raise RuntimeError("local")

        client.call("echo", [1], bad)
        assert called.wait(60)
        assert client.call_sync("echo", [2]) == [2]


def test_large_answers_at_the_same_time(start: Start) -> None:
    """Many large answers, with a slow reader: all are intact."""
    server = start()
    with connect(server) as client:
        results = [client.async_call("echo", chr(65 + n) * 2_000_000) for n in range(24)]
        for number, result in enumerate(results):
            result.set_expiry(60)
            assert result.value == [chr(65 + number) * 2_000_000]


def test_many_outstanding_calls(start: Start) -> None:
    """A thousand calls at once are all answered."""
    server = start()
    with connect(server) as client:
        results = [client.async_call("echo", number) for number in range(1000)]
        assert [result.value for result in results] == [[number] for number in range(1000)]


def test_own_handlers(start: Start) -> None:
    """Programs override what a handler does."""
    seen: list[Any] = []

    class Own(EPCHandler):
        def _handle(self, sexp: bytes) -> None:
            seen.append(sexp)
            super()._handle(sexp)

        def _handle_call(self, uid: Any, meth: Any, args: Any) -> list[Any]:
            seen.append(meth.value())
            if meth.value() == "mine":
                return ["return-error", uid, "not today"]
            return super()._handle_call(uid, meth, args)

        def handle_error(self, err: BaseException) -> Any:
            seen.append(err)
            return super().handle_error(err)

    server = start(EPCServer, RequestHandlerClass=Own)
    with connect(server) as client:
        assert client.call_sync("echo", [1]) == [1]
        with pytest.raises(ReturnError):
            client.call_sync("fail", [])
        with pytest.raises(ReturnError, match="not today"):
            client.call_sync("mine", [])
    assert b"(call 1 echo (1))\n" in seen
    assert "echo" in seen
    assert any(isinstance(one, ValueError) for one in seen)


@pytest.mark.parametrize(
    ("message", "kind", "info"),
    [
        (b"(return 77 (1 2))", CallerUnknown, [1, 2]),
        (b'(return-error 77 "x")', ReturnErrorCallerUnknown, "x"),
        (b'(epc-error 77 "x")', EPCErrorCallerUnknown, "x"),
        (b"(return-error 77)", ReturnErrorCallerUnknown, None),
        (b"(return-error foo 3)", ReturnErrorCallerUnknown, 3),
        (b"(call 3)", EPCError, ...),
        (b"(foo 3)", EPCError, ...),
    ],
)
def test_handle_error_is_told(start: Start, message: bytes, kind: Any, info: Any) -> None:
    """Answers that nobody waits for and broken messages come to ``handle_error`` too."""
    told: list[Any] = []

    class Own(EPCHandler):
        def handle_error(self, err: BaseException) -> None:
            told.append(err)
            raise OSError("handle_error itself fails")

    server = start(EPCServer, RequestHandlerClass=Own)
    with socket.create_connection(server.server_address) as peer:
        peer.sendall(b"%06x%s" % (len(message), message))
        eventually(lambda: told)
        assert type(told[0]) is kind
        assert info in (..., told[0].args[0])
        peer.sendall(b"000010(call 5 echo ())")
        peer.settimeout(60)
        got = b""
        while b"(return 5 ())" not in got:
            got += peer.recv(1000)


def test_errors_without_an_errback(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a call whose program gave no ``errback`` goes to the client's handler."""
    told: list[Any] = []
    monkeypatch.setattr(EPCClientHandler, "handle_error", lambda self, err: told.append(err))
    with connect(start()) as client:
        client.call("fail", ["x"])
        eventually(lambda: told)
    assert type(told[0]) is ReturnError
    assert told[0].args == ("ValueError('x')",)


def test_call_manager(start: Start) -> None:
    """The calls that wait can be looked at and made through ``callmanager``."""
    release = threading.Event()
    server = start()
    server.register_function(lambda: release.wait(10), "wait")
    got: list[Any] = []
    with connect(server) as client:
        manager = client.handler.callmanager
        manager.call(client.handler, "wait", [], got.append)
        manager.methods(client.handler, got.append)
        assert 1 in manager.callbacks
        assert manager.get_uid() == 3
        eventually(lambda: 2 not in manager.callbacks)
        release.set()
        eventually(lambda: len(got) == 2)
        assert manager.callbacks == {}


def test_instances(start: Start) -> None:
    """Methods of an instance are found, also dotted ones if that is wanted; private ones never."""

    class Inner:
        def method(self) -> str:
            return "inner"

    class Instance:
        inner = Inner()

        def public(self) -> str:
            return "public"

        def _private(self) -> str:
            return "private"

        def broken(self) -> None:
            raise AttributeError("inside")

    server = start()
    server.register_instance(Instance(), allow_dotted_names=True)
    with connect(server) as client:
        assert client.call_sync("public", []) == "public"
        assert client.call_sync("inner.method", []) == "inner"
        with pytest.raises(EPCError, match="No such method"):
            client.call_sync("_private", [])
        with pytest.raises(ReturnError, match="inside"):
            client.call_sync("broken", [])
        server.allow_dotted_names = False
        with pytest.raises(EPCError):
            client.call_sync("inner.method", [])


def test_ipv6_and_the_port(start: Start) -> None:
    """A server may listen on IPv6; the port is told in one write."""

    class Stream:
        writes: list[str] = []

        def write(self, text: str) -> None:
            self.writes.append(text)

        def flush(self) -> None:
            pass

    server = ThreadingEPCServer(("::1", 0))
    stream = Stream()
    server.print_port(stream)
    assert stream.writes == [f"{server.server_address[1]}\n"]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    server.register_function(echo)
    with EPCClient(server.server_address[:2]) as client:
        assert client.call_sync("echo", [6]) == [6]
    server.shutdown()
    server.server_close()
    join(thread)


def raw(server: Any, *payloads: bytes, count: int = 1) -> list[bytes]:
    """Sends payloads as frames and returns the payloads of so many answers."""
    answers = []
    with socket.create_connection(server.server_address) as sock:
        sock.settimeout(60)
        for payload in payloads:
            sock.sendall(b"%06x" % len(payload) + payload)
        stream = sock.makefile("rb")
        with stream:
            for _ in range(count):
                size = stream.read(6)
                if not size:
                    break
                answers.append(stream.read(int(size, 16)))
    return answers


BROKEN = [
    (b"", b"(epc-error () "),
    (b"(call 1 echo", b'(return-error 1 "MalformedValue'),
    (b"(call 5 echo (#<buffer x>))", b'(return-error 5 "Unreadable'),
    (b"\xff\xfe", b"(epc-error () "),
    (b'(call 3 echo ("\xff"))', b"(return-error 3 "),
    (b"(call 1 echo ()) (call 2 echo ())", b"(return-error 1 "),
    (b"5", b"(epc-error () "),
    (b"()", b"(epc-error () "),
    (b"(1 2)", b"(epc-error () "),
    (b"(strange 4 5)", b'(return-error 4 "AttributeError'),
    (b"(call 6)", b'(epc-error 6 "(call UID ...): Not enough arguments'),
    (b"(call 7 echo () 8)", b'(epc-error 7 "(call UID ...): Too many arguments'),
    (b"(methods 8 9)", b'(epc-error 8 "(methods UID ...): Too many arguments'),
    (b"(call)", b"(epc-error () "),
    (b"(call (1 a) echo (2))", b"(return (1 a) (2))\n"),
    (b'(call "uid" echo (2))', b'(return "uid" (2))\n'),
    (b"(call nil echo nil)", b"(return () ())\n"),
    (b"(call 9 echo " + b"(" * 100_000 + b")" * 100_000 + b")", b"(return 9 ("),
    (b"(call 10 echo (1)) ; comment\r\n", b"(return 10 (1))\n"),
]


@pytest.mark.parametrize(("payload", "answer"), BROKEN, ids=range(len(BROKEN)))
def test_bad_messages(start: Start, payload: bytes, answer: bytes) -> None:
    """A broken message is answered, and the connection goes on."""
    server = start()
    got = raw(server, payload, b"(call 99 echo (1))", count=2)
    assert len(got) == 2
    assert any(one.startswith(answer) for one in got), got
    assert b"(return 99 (1))\n" in got


@pytest.mark.parametrize(
    "data", [b"xyzxyz(call", b"      (", b"ffffff(call 1", b"00000"], ids=range(4)
)
def test_bad_frames(start: Start, data: bytes) -> None:
    """Wrong digits, or an early end, close this connection and no other."""
    server = start()
    with connect(server) as other, socket.create_connection(server.server_address) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(60)
        assert sock.recv(100) == b""
        assert other.call_sync("echo", [1]) == [1]


@pytest.mark.parametrize(
    "answer",
    [
        b"(return 1)",
        b"(return 1 2 3)",
        b"(return-error 1)",
        b"(epc-error 1)",
        b"(return 1 (((",
        b"(return 1 #<marker>)",
    ],
)
def test_bad_answers(answer: bytes) -> None:
    """A broken answer is an error to its caller; the connection goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = EPCClient(listener.getsockname())
        client.logger.setLevel(logging.CRITICAL)
        sock, _ = listener.accept()
        with sock, client:
            first = client.async_call("x")
            unknown = b"(return 77 1)"
            for payload in (unknown, answer, answer):
                sock.sendall(b"%06x" % len(payload) + payload)
            first.set_expiry(5)
            with pytest.raises((EPCError, ReturnError)):
                first.value
            second = client.async_call("y")
            sock.sendall(b"00000c(return 2 5)"[:6] + b"(return 2 5)")
            second.set_expiry(5)
            assert second.value == 5
