"""What had threads in the parent of a forked child has new ones there, once it is taken over."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.utils.server import ThreadedServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

QUIET = logging.getLogger("tests.adopted")
QUIET.setLevel(logging.CRITICAL)

CHILD = """\
import os, sys, time, warnings
import rpyc_like as rpyc

conn = rpyc.connect("127.0.0.1", int(sys.argv[1]), config={config})
conn.root.ping()
echo = rpyc.async_(conn.root.echo)
{before}
parent = os.getpid()
warnings.simplefilter("ignore")
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.01)
conn.adopt_after_fork()
{after}
sys.stdout.flush()
os._exit(0)
"""

LIMITED = """\
limited = echo({number})
limited.set_expiry(60)
print(limited.as_future().result(60))
"""


class Service(rpyc.Service):
    """What the child calls."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def exposed_ping(self) -> None: ...

    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_twice(self, func: Any) -> Any:
        return func(func(1))

    async def exposed_wait(self) -> str:
        await asyncio.get_running_loop().run_in_executor(None, self.opened.wait, 60)
        return "opened"

    def exposed_open(self) -> None:
        self.opened.set()


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server."""
    server = ThreadedServer(Service(), logger=QUIET, grace=0)
    server._start_in_thread()
    yield server.port
    server.close()


def run(port: int, before: str, after: str, config: dict[str, Any] | None = None) -> list[str]:
    """Return the lines that a child prints, which has taken over its parent's connection."""
    code = CHILD.format(before=before, after=after, config=config or {})
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, str(port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_a_future_with_a_limit_comes(port: int) -> None:
    """A thread that waited for futures in the parent gets nothing to do in the child."""
    before, after = LIMITED.format(number=1), LIMITED.format(number=2)
    assert run(port, before, after)[-1] == "2"


def test_futures_come_while_the_parent_read_for_one(port: int) -> None:
    """The child reads for its own futures, and for those that the parent had made."""
    before = "held = rpyc.async_(conn.root.wait)().as_future()"
    after = "print(echo(3).as_future().result(60)); conn.root.open(); print(held.result(60))"
    assert run(port, before, after) == ["3", "opened"]


def test_callbacks_are_served_at_the_same_time(port: int) -> None:
    """The pool of ``concurrent_calls`` has threads of the child's."""
    call = "print(conn.root.twice(lambda value: value + 1))"
    assert run(port, call, call, {"concurrent_calls": 2})[-1] == "3"


REACTOR = """\
import os, socket, threading
from rpyc_like.core import reactor

class File:
    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.called = threading.Event()
        self.fileno = self.ours.fileno
    def on_readable(self):
        self.ours.recv(1)
        self.called.set()

def use():
    reactor.start_reactor()
    file = File()
    reactor._reactor.register_read(file)
    file.theirs.send(b"x")
    return file.called.wait(20)

assert use()
child = os.fork()
if not child:
    os._exit(not use())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_reactor_is_started_again() -> None:
    """The process's reactor calls back in a child, also when it ran in the parent."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REACTOR],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout == "0\n"
