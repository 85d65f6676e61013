"""Case 132: the table of ``configuration.md`` about exceeded limits is true, row by row."""

from __future__ import annotations

import gc
import logging
import os
import re
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import LimitExceeded
from rpyc_like.core import brine
from rpyc_like.errors import ConnectionClosed, LocalProtocolError
from rpyc_like.utils import base_server
from rpyc_like.utils.authenticators import AuthenticationError
from tests.support.eventually import eventually

from ..support.both_servers import LIMIT, asyncio_server, blocking_server

SERVERS = pytest.mark.parametrize("serving", [blocking_server, asyncio_server])
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "configuration.md"


def nested(depth: int) -> Any:
    """Return a tuple in a tuple in a tuple ..."""
    value: Any = ()
    for _ in range(depth):
        value = (value,)
    return value


class Subject(rpyc.Service):
    """What limits are tried with."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_wait(self) -> None:
        self.go_on.wait(LIMIT)

    def exposed_free(self) -> None:
        self.go_on.set()

    def exposed_iterator(self) -> Any:
        return iter([nested(0), tuple((number,) for number in range(1000))])

    def exposed_mapping(self) -> Any:
        return dict.fromkeys(range(10), 1)

    def exposed_object(self) -> Any:
        return Subject()

    def exposed_nested(self) -> Any:
        return nested(100)

    def exposed_number(self) -> int:
        return 10**100

    def exposed_bytes(self) -> bytes:
        return os.urandom(5000)

    def exposed_nothings(self) -> Any:
        return (None,) * 10_000


# -- refused, and the connection goes on

REFUSED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "max_steps": (lambda root: list(rpyc.buffiter(root.iterator(), 10)), 100),
    "max_kept_memory": (lambda root: list(root.mapping()), 500),
    "max_objects": (lambda root: [root.object() for _ in range(20)], 10),
}


@SERVERS
@pytest.mark.parametrize("key", REFUSED)
def test_who_asks_for_too_much_is_refused(serving: Any, key: str) -> None:
    """The caller gets the error with the key, and the connection goes on."""
    ask, limit = REFUSED[key]
    with serving(Subject, **{key: limit}) as port, rpyc.connect("127.0.0.1", port) as conn:
        with pytest.raises(LimitExceeded, match=f"configuration key {key!r}"):
            ask(conn.root)
        assert conn.root.echo(1) == 1


@SERVERS
def test_who_asks_for_too_much_of_the_server_is_refused(serving: Any) -> None:
    """The same for the argument of the server."""
    with (
        serving(Subject, {"max_memory": 500}) as port,
        rpyc.connect("127.0.0.1", port) as conn,
    ):
        with pytest.raises(LimitExceeded, match="argument 'max_memory' of the server"):
            list(conn.root.mapping())
        assert conn.root.echo(1) == 1


# -- cut off

SENT: dict[str, tuple[Any, Any]] = {
    "max_memory": ((None,) * 10_000, 10_000),
    "max_depth": (nested(100), 50),
    "max_digits": (10**100, 50),
    "max_frame_size": (os.urandom(5000), 1000),
}


@SERVERS
@pytest.mark.parametrize("key", SENT)
def test_who_sends_too_much_is_cut_off(
    serving: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer sees a closed connection, and the log says the key."""
    value, limit = SENT[key]
    caplog.set_level(logging.WARNING, "rpyc_like")
    with serving(Subject, **{key: limit}) as port, rpyc.connect("127.0.0.1", port) as conn:
        assert conn.root.echo(1) == 1
        with pytest.raises(EOFError):
            conn.root.echo(value)
        assert conn.closed
        eventually(lambda: repr(key) in caplog.text)


ANSWERS = {
    "max_memory": ("nothings", 10_000),
    "max_depth": ("nested", 50),
    "max_digits": ("number", 50),
    "max_frame_size": ("bytes", 1000),
}


@SERVERS
@pytest.mark.parametrize("key", ANSWERS)
def test_whose_answer_is_too_much_is_cut_off(serving: Any, key: str) -> None:
    """The call of the side with the limit raises ConnectionClosed, because of LimitExceeded."""
    name, limit = ANSWERS[key]
    with (
        serving(Subject) as port,
        rpyc.connect("127.0.0.1", port, config={key: limit}) as conn,
    ):
        with pytest.raises(ConnectionClosed) as info:
            getattr(conn.root, name)()
        cause: Any = info.value.__cause__
        assert type(cause) is LimitExceeded
        assert cause.key == key
        assert conn.closed


def frame(payload: bytes, flag: int = 0) -> bytes:
    """Return a frame of RPyC's."""
    return len(payload).to_bytes(4, "big") + bytes((flag,)) + payload + b"\n"


def ping(value: Any, number: int = 1) -> bytes:
    """Return a request that has ``value`` sent back."""
    return bytes((1,)) + brine.dump((number, (1, (1, (value,)))))


def answer(number: int) -> bytes:
    """Return an answer."""
    return bytes((2,)) + brine.dump((number, (1, 1)))


RAW: dict[str, tuple[Callable[[], bytes], Any]] = {
    "max_first_frame_size": (lambda: frame(ping(os.urandom(5000))), 1000),
    "max_inflated_size": (lambda: frame(zlib.compress(ping(bytes(5000))), 1), 1000),
    "max_unknown_answers": (
        lambda: b"".join(frame(answer(number)) for number in range(1000, 1020)),
        10,
    ),
    "frame_timeout": (lambda: frame(ping(1))[:-3], 0.2),
}


@SERVERS
@pytest.mark.parametrize("key", RAW)
def test_frames_that_are_too_much_are_cut_off(
    serving: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The same for a peer that is no program of ours."""
    make, limit = RAW[key]
    caplog.set_level(logging.WARNING, "rpyc_like")
    with serving(Subject, **{key: limit}) as port:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
            sock.sendall(make())
            while True:
                try:
                    if not sock.recv(10_000):
                        break
                except ConnectionError:
                    break
        eventually(lambda: repr(key) in caplog.text)


@SERVERS
def test_who_takes_nothing_in_is_cut_off(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A peer that does not read is cut off after ``send_timeout``."""
    caplog.set_level(logging.WARNING, "rpyc_like")
    with serving(Subject, send_timeout=0.2) as port:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
            value = os.urandom(500_000)
            try:
                for number in range(1, 100):
                    sock.sendall(frame(ping(value, number)))
            except OSError:
                pass
            eventually(lambda: "'send_timeout'" in caplog.text)


# -- of this side


@SERVERS
@pytest.mark.parametrize(
    ("key", "value", "name"),
    [("max_depth", nested(100), "nested"), ("max_digits", 10**100, "number")],
)
def test_what_this_side_sends(serving: Any, key: str, value: Any, name: str) -> None:
    """A call, and an answer, that is too much is a LocalProtocolError with the key."""
    with (
        serving(Subject, **{key: 50}) as port,
        rpyc.connect("127.0.0.1", port) as conn,
        rpyc.connect("127.0.0.1", port, config={key: 50}) as limited,
    ):
        with pytest.raises(LocalProtocolError, match=key):
            getattr(conn.root, name)()
        with pytest.raises(LocalProtocolError, match=key):
            limited.root.echo(value)
        assert conn.root.echo(1) == 1
        assert limited.root.echo(1) == 1


@SERVERS
@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("max_queued_bytes", 1000),
        ("concurrent_calls", 2),
        ("concurrent_tasks", 2),
        ("max_helpers", 0),
    ],
)
def test_what_waits(serving: Any, key: str, limit: int) -> None:
    """Nothing is refused: the next requests wait."""
    with serving(Subject, **{key: limit}) as port, rpyc.connect("127.0.0.1", port) as conn:
        echo = rpyc.async_(conn.root.echo)
        results = [echo(bytes((number,)) * 500) for number in range(20)]
        for number, result in enumerate(results):
            result.set_expiry(LIMIT)
            assert result.value == bytes((number,)) * 500


@SERVERS
def test_an_answer_that_takes_too_long(serving: Any) -> None:
    """The caller gets AsyncResultTimeout, and the connection goes on."""
    with serving(root := Subject()) as port:
        config = {"sync_request_timeout": 0.2}
        with rpyc.connect("127.0.0.1", port, config=config) as conn:
            with pytest.raises(rpyc.AsyncResultTimeout):
                conn.root.wait()
            root.go_on.set()
            conn._config["sync_request_timeout"] = LIMIT
            assert conn.root.echo(1) == 1


@SERVERS
def test_silent_clients(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The oldest silent client sees a closed connection, and the log says the argument."""
    caplog.set_level(logging.WARNING)
    log = logging.getLogger("tests.limits_table")
    with serving(Subject, {"max_silent_clients": 1, "logger": log}) as port:
        address = ("127.0.0.1", port)
        with socket.create_connection(address, LIMIT) as first:
            with socket.create_connection(address, LIMIT):
                assert not first.recv(1)
        eventually(lambda: "max_silent_clients" in caplog.text)


def open_at(port: int) -> list[socket.socket]:
    """Return the open sockets of this process that have a port at their end."""
    socks = [one for one in gc.get_objects() if type(one) is socket.socket]
    near = [one for one in socks if one.family == socket.AF_INET and one.fileno() != -1]
    return [one for one in near if one.getsockname()[1] == port]


@SERVERS
def test_a_silent_client_when_the_server_closes(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has made another one leave, and says nothing, is hung up on; no socket is left over."""
    monkeypatch.setattr(base_server.Server, "_cut", lambda self: None)  # which may come too late
    with ExitStack() as stack:
        with serving(Subject, {"max_silent_clients": 1}) as port:
            address = ("127.0.0.1", port)
            first = stack.enter_context(socket.create_connection(address, LIMIT))
            second = stack.enter_context(socket.create_connection(address, LIMIT))
            assert not first.recv(1)
        assert not second.recv(1)
        assert eventually(lambda: not open_at(port))


@SERVERS
def test_a_login_that_takes_too_long(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The client sees a closed connection, and the log says the argument."""
    caplog.set_level(logging.INFO)
    log = logging.getLogger("tests.limits_table")

    def authenticator(sock: Any) -> Any:
        sock.recv(1)
        raise AuthenticationError("nothing came")

    options = {"auth_timeout": 0.2, "authenticator": authenticator, "logger": log}
    with serving(Subject, options) as port:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as sock:
            assert not sock.recv(1)
        eventually(lambda: "auth_timeout" in caplog.text)


ELSEWHERE = {
    "max_requests": "attacks/test_limits_name_their_key.py",
    "heartbeat": "faults/test_housekeeping.py",
    "max_silent_per_address": "attacks/test_door.py",
    "max_threads": "faults/test_affinity.py",
    "affinity": "faults/test_affinity.py",
}
"""Keys of the table that other files try: they need peers or addresses of their own."""


def test_all_rows_are_tried() -> None:
    """Each key of the table's first column has a test."""
    table = PAGE.read_text("utf-8").split("| limit | error | connection |")[1].split("\n\n")[0]
    named = {
        name
        for row in table.splitlines()[2:]
        for name in re.findall(r"`(\w+)[=`]", row.split("|")[1])
    }
    here = Path(__file__).read_text("utf-8").split("ELSEWHERE")[0]
    assert named
    assert {name for name in named if name not in here} == set(ELSEWHERE)
    for name, file in ELSEWHERE.items():
        assert name in (Path(__file__).resolve().parents[1] / file).read_text("utf-8")
