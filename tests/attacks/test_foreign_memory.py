"""Views of memory that C code owns and frees: no peer gets one."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import rpyc_like as rpyc
from tests.support.peers import environment

from .served import Served

CONTENT = b"first line\nsecond line\n" * 40

Use = Callable[[memoryview], object]


def view_of_c_memory(use: Use, size: int = 8192) -> Any:
    """Call ``use`` with a view of the buffer of a BufferedReader, while that reads."""

    class Reading(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, view: Any) -> int:
            assert view.obj is None
            view[:4] = b"abcd"
            result.append(use(view))
            return 4

    result: list[Any] = []
    return io.BufferedReader(Reading(), size).read(4), result[0]


class Reads(rpyc.Service):
    """Reads and writes its clients' raw files through Python's buffers."""

    def exposed_read(self, raw: Any, count: int) -> bytes:
        reader = io.BufferedReader(raw, 512)
        try:
            return b"".join(iter(lambda: reader.read(count), b""))
        finally:
            reader.detach()

    def exposed_write(self, raw: Any, data: bytes) -> None:
        writer = io.BufferedWriter(raw)
        writer.write(data)
        writer.flush()
        writer.detach()

    def exposed_give(self, how: str, peer: Any) -> Any:
        """Pass a view of C memory to a peer in some way; return the memory after it."""

        def use(view: memoryview) -> Any:
            if how == "tuple":
                peer(("x", (view,)))
            elif how == "keyword":
                peer(view=view)
            elif how == "chained":
                peer(memoryview(view)[1:3].cast("b"))
            elif how == "strided":
                peer(view[0:4:2])
            elif how == "read-only":
                peer(view.toreadonly())
            elif how == "asynchronous":
                rpyc.async_(peer)(view).value
            elif how == "container":
                peer([view])
            return bytes(view[:4])

        return view_of_c_memory(use)[1]

    def exposed_fails(self, peer: Any) -> bytes:
        """Return the memory after a call that has raised."""

        def use(view: memoryview) -> bytes:
            with suppress(ValueError):
                peer(view)
            return bytes(view[:4])

        return view_of_c_memory(use)[1]  # type: ignore[no-any-return]

    def exposed_result(self) -> Any:
        return view_of_c_memory(lambda view: view)[1]


class Raw(io.RawIOBase):
    """A raw file that keeps what it is passed."""

    def __init__(self, content: bytes = b"") -> None:
        self.source = io.BytesIO(content)
        self.kept: list[Any] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        self.kept.append(view)
        data = self.source.read(min(len(view), 100))
        view[0 : len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        self.kept.append(data)
        return len(data)


@pytest.fixture(params=["threads", "pool", "aio"])
def client(request: pytest.FixtureRequest, served: Served) -> Any:
    """A client that lets its server read public names."""
    return served.client(served.server(request.param, Reads), allow_public_attrs=True)


def test_case_121_a_raw_file_is_read(client: Any) -> None:
    """What a peer writes into the view arrives; the view is of no use after the call."""
    raw = Raw(CONTENT)
    assert client.root.read(raw, 7) == CONTENT
    assert raw.kept
    for view in raw.kept:
        with pytest.raises(ValueError, match="released"):
            view[0] = 255


def test_case_121_a_raw_file_is_written(client: Any) -> None:
    """A peer gets bytes that are written into its file by value."""
    raw = Raw()
    client.root.write(raw, CONTENT)
    assert b"".join(raw.kept) == CONTENT


def _fill(*args: Any, **kwargs: Any) -> None:
    """Overwrite the view among the arguments."""
    found = kwargs.get("view", args[0] if args else None)
    while isinstance(found, tuple):
        found = found[-1]
    if not isinstance(found, bytes):
        for place in range(min(len(found), 4)):
            found[place] = 90


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("tuple", b"ZZZZ"),
        ("keyword", b"ZZZZ"),
        ("chained", b"aZZd"),
        ("strided", b"ZbZd"),
        ("read-only", b"abcd"),
    ],
)
def test_case_121_arguments(client: Any, how: str, left: bytes) -> None:
    """A copy takes the place of a view wherever it is among the arguments of a call."""
    assert client.root.give(how, _fill) == left


def test_case_121_what_nobody_waits_for(client: Any) -> None:
    """A call that is not waited for is refused: nobody could copy anything back."""
    with pytest.raises(TypeError, match=r"bytes\(view\)"):
        client.root.give("asynchronous", _fill)


def test_case_121_results(client: Any) -> None:
    """A view is not returned; the error says what to do."""
    with pytest.raises(TypeError, match=r"bytes\(view\)"):
        client.root.result()


def test_case_121_a_container_gives_none(client: Any) -> None:
    """A view is not read out of a container, either."""
    caught: list[BaseException] = []

    def look(items: Any) -> None:
        try:
            items[0]
        except TypeError as error:
            caught.append(error)

    assert client.root.give("container", look) == b"abcd"
    assert "bytes(view)" in str(caught[0])


def test_case_121_a_call_that_fails(client: Any) -> None:
    """Nothing is copied back if the peer raises."""

    def fail(view: Any) -> None:
        _fill(view)
        raise ValueError("no")

    assert client.root.fails(fail) == b"abcd"


def test_case_121_too_late() -> None:
    """Nothing is copied back after the time-out, and what comes then does no harm."""
    going_on, done = threading.Event(), threading.Event()

    def slow(view: Any) -> None:
        assert going_on.wait(60)
        with suppress(ValueError):
            view[0] = 255
        done.set()

    class Gives(rpyc.Service):
        def exposed_func(self) -> Any:
            return slow

    server = rpyc.ThreadedServer(Gives, port=0)
    server._start_in_thread()
    config = {"sync_request_timeout": 1}
    with rpyc.connect("127.0.0.1", server.port, config=config) as conn:
        func = conn.root.func()

        def use(view: memoryview) -> bytes:
            with pytest.raises(TimeoutError):
                func(view)
            going_on.set()
            while not done.is_set():
                conn.serve(0.1)
            return bytes(view[:4])

        assert view_of_c_memory(use)[1] == b"abcd"
    server.close()


SERVES = """
import io
import rpyc_like as rpyc
class Lines(rpyc.Service):
    def exposed_line(self, raw):
        with io.BufferedReader(raw, 1 << 20) as reader:
            return reader.readline()
    def exposed_keep(self, text):
        self.kept = text
server = rpyc.ThreadedServer(Lines, port=0)
print(server.port, flush=True)
server.start()
"""


def test_case_121_a_kept_view_is_harmless() -> None:
    """A peer that keeps the view neither sees nor overwrites what the memory is used for next."""
    command = [sys.executable, "-c", SERVES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            raw = Raw(b"abc\n")
            with rpyc.connect("127.0.0.1", port, config={"allow_public_attrs": True}) as conn:
                assert conn.root.line(raw) == b"abc\n"
                conn.root.keep("secret" * 100_000)
                for view in raw.kept:
                    with pytest.raises(ValueError, match="released"):
                        view[0]
                    with pytest.raises(ValueError, match="released"):
                        view[0:100_000] = b"x" * 100_000
                conn.ping()
            assert process.poll() is None
        finally:
            process.kill()


OF_RPYC = """
import io, sys, rpyc
class Raw(io.RawIOBase):
    source = io.BytesIO(b"first line\\nsecond line\\n" * 40)
    def readable(self): return True
    def writable(self): return True
    def readinto(self, view):
        data = self.source.read(min(len(view), 100))
        view[0:len(data)] = data
        return len(data)
    def write(self, data):
        sys.stdout.write("wrote %d\\n" % len(data))
        return len(data)
conn = rpyc.connect("127.0.0.1", int(sys.argv[1]), config={"allow_public_attrs": True})
print(conn.root.read(Raw(), 7) == b"first line\\nsecond line\\n" * 40)
conn.root.write(Raw(), b"x" * 50)
"""


def test_case_121_files_of_rpyc(served: Served) -> None:
    """Raw files of an RPyC 6.0.2 program are read and written."""
    server = served.server("threads", Reads)
    program = subprocess.run(
        [sys.executable, "-c", OF_RPYC, str(server.port)],
        env=environment("rpyc-6.0.2"),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert program.stdout.split() == ["True", "wrote", "50"], program.stderr
