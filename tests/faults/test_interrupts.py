"""Case 129: an exception of a signal handler, Ctrl-C for example, at any line of a call.

``python -m tests.faults.test_interrupts`` tries each line and prints how many leave the connection
usable; an argument N has it try each N-th.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from types import FrameType
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.channel import Channel
from rpyc_like.link import lost_requests
from rpyc_like.link.streams import MemoryStream, PipeStream
from tests.support.joining import join

from .test_affinity import until

_PARTS = tuple(os.path.join("rpyc_like", part) + os.sep for part in ("link", "core", "wire"))
_BIG = bytes(range(256)) * 800


class _Service(rpyc.Service):
    def exposed_add(self, first: int, second: int) -> int:
        return first + second

    def exposed_back(self, func: Any, value: int) -> Any:
        return func(value)

    def exposed_big(self, value: bytes) -> bytes:
        return value + b"!"


def _program(conn: Any) -> None:
    assert conn.root.add(1, 2) == 3
    assert conn.root.back(lambda value: value + 1, 4) == 5
    assert conn.root.big(_BIG) == _BIG + b"!"


_UNCUT = (
    "sent = None",
    "stream.went = 0",
    "stream.went = sent",
    "stream.went -= size",
    "side.size += size",
    "self.went = size",
    "frame = ()  # no call since",
)
"""Lines that follow another without a call, or a way back: Python runs no handler before them."""


class _Interrupt:
    """Raises KeyboardInterrupt at a line, counted from the beginning."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_name == "__del__":
            return None  # Python reports what is raised there, and goes on
        if any(part in frame.f_code.co_filename for part in _PARTS):
            return self._line
        return None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            name, line = frame.f_code.co_filename, frame.f_lineno
            # Python runs no handler between the end of a block and the first call of its finally.
            before, text = (linecache.getline(name, at).strip() for at in (line - 1, line))
            calls = (".release()", "with self._lock:", "self._users -= 1")
            if "finally:" in (before, text) or text.endswith(calls) or text in _UNCUT:
                return self._line
            self.left -= 1
            if self.left <= 0:
                sys.settrace(None)
                self.where = f"{os.path.basename(name)}:{line} {frame.f_code.co_name}"
                raise KeyboardInterrupt
        return self._line


class _InterruptAfterCall:
    """Raises KeyboardInterrupt when a C function has returned, where Python runs a handler."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event != "c_return" or not any(part in code.co_filename for part in _PARTS):
            return
        if code.co_name == "__del__" or self.where:
            return
        self.left -= 1
        if self.left <= 0:
            self.where = (
                f"{os.path.basename(code.co_filename)}:{frame.f_lineno} {code.co_name} "
                f"{getattr(arg, '__name__', arg)}"
            )
            raise KeyboardInterrupt


def _by_line(interrupt: Any, conn: Any) -> None:
    before = sys.gettrace()
    try:
        sys.settrace(interrupt)
        _program(conn)
    finally:
        sys.settrace(before)


def _by_call(interrupt: Any, conn: Any, program: Callable[[Any], None] = _program) -> None:
    try:
        sys.setprofile(interrupt)
        program(conn)
    finally:
        sys.setprofile(None)


_WAYS: dict[str, tuple[Any, Any]] = {
    "line": (_Interrupt, _by_line),
    "call": (_InterruptAfterCall, _by_call),
}


def _over(kind: Any) -> Any:
    here, there = kind.create_pair()
    served = _Service()._connect(Channel(there))
    threading.Thread(target=served.serve_all, daemon=True).start()
    config = {"sync_request_timeout": 20}
    return rpyc.VoidService()._connect(Channel(here), config)


def _outcomes(step: int, way: str = "line", stream: Any = None) -> dict[str, str]:
    """Interrupt a program at each ``step``-th place; return what became of the connections.

    Args:
        way: whether places are lines or returns of C functions.
        stream: the kind of stream that makes pairs, None for TCP.
    """
    server = rpyc.ThreadedServer(_Service, port=0)
    server._start_in_thread()
    kind, run = _WAYS[way]
    found: dict[str, str] = {}
    at = 1
    try:
        while True:
            if stream is None:
                config = {"sync_request_timeout": 20}
                conn = rpyc.connect("127.0.0.1", server.port, config=config)
            else:
                conn = _over(stream)
            conn.root.add(0, 0)
            interrupt = kind(at)
            with contextlib.suppress(KeyboardInterrupt, EOFError):
                copy_context().run(run, interrupt, conn)
            if not interrupt.where:
                conn.close()
                return found
            try:
                _program(conn)
                outcome = "kept"
            except EOFError as error:
                outcome = "closed" if "interrupted" in str(error) else f"closed: {error}"
            except BaseException as error:
                outcome = repr(error)
            conn.close()
            found[f"{at} {interrupt.where}"] = outcome
            at += step
    finally:
        server.close()


def _check(found: dict[str, str]) -> None:
    assert found
    assert [one for one in found.items() if one[1] not in ("kept", "closed")] == []
    assert list(found.values()).count("kept") > len(found) // 3


_untraced = pytest.mark.skipif(
    sys.gettrace() is not None or sys.getprofile() is not None, reason="it is being traced already"
)


@_untraced
@pytest.mark.parametrize("stream", [None, PipeStream, MemoryStream])
def test_an_interrupted_call_leaves_the_connection_usable_or_ends_it(stream: Any) -> None:
    """Calls go on after an interrupt, or the connection ends, and nobody waits in vain."""
    _check(_outcomes(53, stream=stream))


@_untraced
def test_an_interrupt_after_a_call_leaves_no_role_taken_and_no_byte_lost() -> None:
    """A handler that raises as soon as a C function has returned leaves no half-done step."""
    _check(_outcomes(1, "call"))


@_untraced
@pytest.mark.parametrize("stream", [None, PipeStream, MemoryStream])
def test_an_interrupted_write_leaves_the_connection_usable(stream: Any) -> None:
    """A handler that raises while a frame is written delays it; the connection goes on."""
    found = _outcomes(1, "call", stream)
    writes = {
        place: outcome
        for place, outcome in found.items()
        if "sending.py" in place or " send_" in place
    }
    assert writes
    assert [one for one in writes.items() if one[1] != "kept"] == []


class _Counting(_Service):
    """Notes how many callbacks it waits for."""

    def __init__(self) -> None:
        self.waits: list[int] = []

    def exposed_back(self, func: Any, value: int) -> Any:
        self.waits.append(value)
        try:
            return func(value)
        finally:
            self.waits.remove(value)


def _call_back(conn: Any) -> None:
    assert conn.root.back(lambda value: value + 1, 4) == 5


@_untraced
def test_an_interrupted_callback_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a handler raises, the peer does not wait in vain for the callback's answer."""
    monkeypatch.setattr(lost_requests, "_PATIENCE", 0.1)
    done, at = False, 0
    while not done:
        at += 1
        here, there = MemoryStream.create_pair()
        service = _Counting()
        served = service._connect(Channel(there))
        thread = threading.Thread(target=served.serve_all, daemon=True)
        thread.start()
        conn: Any = rpyc.VoidService()._connect(Channel(here), {"sync_request_timeout": 60})
        assert conn.root.add(0, 0) == 0
        interrupt = _InterruptAfterCall(at)
        with contextlib.suppress(KeyboardInterrupt):
            copy_context().run(_by_call, interrupt, conn, _call_back)
        with contextlib.suppress(EOFError):
            conn.root.add(1, 2)  # what has come after the interrupt is served now
        done = not interrupt.where
        until(lambda: conn.closed or not service.waits, "the answer", 20)  # noqa: B023
        conn.close()
        join(thread, 10)


def test_an_interrupted_write_of_a_stream_that_takes_no_notes_ends_both_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The peer, which may have half a frame, does not wait for the rest."""
    server = rpyc.ThreadedServer(_Service, port=0)
    server._start_in_thread()
    try:
        conn = rpyc.connect("127.0.0.1", server.port)
        assert conn.root.add(1, 2) == 3
        stream = conn._link.sender._stream
        send = type(stream).send_some

        def interrupted(self: Any, data: bytes) -> int:
            if self is stream:
                raise KeyboardInterrupt
            return int(send(self, data))

        with monkeypatch.context() as patch:
            patch.setattr(type(stream), "send_some", interrupted)
            with pytest.raises(KeyboardInterrupt):
                conn.root.add(1, 2)
        assert conn.closed
        until(lambda: not server._connections)
        with pytest.raises(EOFError, match="interrupted in the middle of a frame"):
            conn.root.add(1, 2)
    finally:
        server.close()


def main() -> None:
    """Print what becomes of connections, by the number of places."""
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    for way in _WAYS:
        for stream in (None, PipeStream, MemoryStream):
            found = _outcomes(step, way, stream)
            for place, outcome in found.items():
                if outcome not in ("kept", "closed"):
                    print(place, outcome)
            name = "TCP" if stream is None else stream.__name__
            print(f"{len(found)} places, by {way}, {name}:", dict(Counter(found.values())))


if __name__ == "__main__":
    main()
