"""Children and far programs: their pipes, what they say when they fail, limits, signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.aio import client
from rpyc_like.core.config import DEFAULT_CONFIG
from rpyc_like.errors import ConnectionClosed, DeploymentError
from rpyc_like.utils import children, factory, zerodeploy
from rpyc_like.utils.children import START_TIMEOUT, Child, Input, Output, Pids, start_limit
from rpyc_like.utils.factory import connect_multiprocess
from rpyc_like.utils.zerodeploy import SERVER_SCRIPT, DeployedServer
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.processes import is_alive

from .test_exit import run, terminal

QUIET = logging.getLogger("tests.children")
QUIET.setLevel(logging.CRITICAL)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def script(folder: Path, text: str) -> str:
    """Write a program; return its path."""
    path = folder / "program.py"
    path.write_text(text)
    return str(path)


SILENT = """\
import os, pathlib, sys, time
print("pid", os.getpid(), file=sys.stderr, flush=True)
pathlib.Path({!r}).touch()
time.sleep(60)
"""


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that programs make when they fall silent; the limits of starts count from then on."""
    path = tmp_path / "silent"

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            end = time.monotonic() + 60
            while not (path.exists() or super().wait(0.01) or time.monotonic() > end):
                pass
            return super().wait(timeout)

    class Timer(threading.Timer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.finished = Event()

    monkeypatch.setattr(threading, "Timer", Timer)
    monkeypatch.setattr(zerodeploy, "threading", SimpleNamespace(Event=Event))
    return path


def ended(error: BaseException) -> None:
    """Wait until the program that wrote its pid into an error has ended."""
    pid = int(str(error).partition("pid ")[2].split()[0])
    eventually(lambda: not is_alive(pid), "the end of the child")


# -- pipes


CHATTY = """
import rpyc_like as rpyc
conn = rpyc.classic.connect_subproc()
conn.execute("import sys; n = sys.stderr.write('y' * 1_000_000); sys.stderr.flush()")
print(conn.eval("6 * 7"))
conn.close()
conn.proc.wait()
conn.proc.errors._thread.join()
"""


def test_case_113_standard_error_of_a_child_is_passed_on() -> None:
    """What a child writes to standard error, however much, is seen and does not stop it."""
    status, out, err = run(CHATTY)
    assert (status, out, len(err)) == (0, "42\n", 1_000_000)


def test_case_113_a_pipe_is_read_while_nobody_asks() -> None:
    """A program that writes much to a pipe that nobody waits for comes to its end."""
    program = "import sys; sys.stdout.write('x' * 1_000_000)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as proc:
        output = Output(proc.stdout)
        assert proc.wait(60) == 0
        assert output.text(30) == "x" * 2000


def test_case_113_lines_are_cut() -> None:
    """A line of a program is cut at 64 KiB, and the next one is whole."""
    program = "import os; os.write(1, b'x' * 200_000 + b'\\nnext\\nlast')"
    lines: list[str] = []
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as proc:
        Output(proc.stdout, lines.append).text(30)
    assert lines == ["x" * (64 << 10), "next", "last"]


def test_case_113_closing_waits_for_no_reader() -> None:
    """Closing the input of a program that does not read comes back at once."""
    args = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(args, stdin=subprocess.PIPE) as proc:
        proc_input = Input(proc.stdin)
        proc_input.send(b"x" * 10_000_000)
        proc_input.close()
        proc.kill()
        eventually(lambda: not proc_input._sending, "the end of the writing")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_case_113_what_the_quickstarts_server_prints() -> None:
    """In the quickstart, what the server prints is seen, and much of it does not stop it."""
    with terminal("-m", "rpyc_like.cli.quickstart") as child:
        child.expect_exact(">>> ")
        child.sendline("conn.execute(\"print('HEL' + 'LO')\")")
        child.expect_exact("HELLO")
        child.sendline("conn.execute(\"print((('x' * 79) + chr(10)) * 2500)\")")
        child.sendline("print('ALI' + 'VE')")
        child.expect_exact("ALIVE")


# -- what a child says when it fails


FAILURES = {
    "import": ("import no_such_module\n", "exit status 1", "No module named 'no_such_module'"),
    "exit": ("import sys\nsys.exit('no licence')\n", "exit status 1", "no licence"),
    "signal": ("import os\nos.kill(os.getpid(), 9)\n", "signal SIGKILL", "child process"),
    "noise": ("print('hello, world', flush=True)\nimport time\ntime.sleep(9)\n", "hello", "began"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_case_113_a_child_that_does_not_start(tmp_path: Path, name: str) -> None:
    """The error of a child that ends before it has answered tells how it ended, and why."""
    program, *texts = FAILURES[name]
    with pytest.raises(ConnectionClosed) as caught:
        rpyc.classic.connect_subproc(script(tmp_path, program))
    for text in texts:
        assert text in str(caught.value)
    assert "login" not in str(caught.value)


@pytest.mark.parametrize("name", FAILURES)
def test_case_113_a_child_of_asyncio_that_does_not_start(tmp_path: Path, name: str) -> None:
    """An asyncio program is told as well."""
    program, *texts = FAILURES[name]

    async def main() -> None:
        await aio.classic.connect_subproc([sys.executable, script(tmp_path, program)])

    with pytest.raises(ConnectionClosed) as caught:
        asyncio.run(main())
    for text in texts:
        assert text in str(caught.value)


def test_case_113_a_program_that_is_not_there() -> None:
    """A missing program is an error that names it, whoever looks for it."""
    with pytest.raises(FileNotFoundError, match="no-such-python"):
        rpyc.connect_subproc(["no-such-python"])
    args = ["/usr/bin/env", "no-such-python"]
    with pytest.raises(ConnectionClosed, match=r"(?s)exit status 127.*no-such-python"):
        rpyc.connect_subproc(args)
    with (
        contextlib.closing(rpyc.connect_subproc(args, timeout=None)) as conn,
        pytest.raises(ConnectionClosed, match=r"(?s)exit status 127.*no-such-python"),
    ):
        conn.ping()


# -- limits of starts


SERVING = "from rpyc_like.utils.factory import connect_stdpipes as c; c().serve_all()"


def test_case_113_a_start_may_take_longer_than_a_call() -> None:
    """The first answer of a child has the time of its start, not that of a request."""
    config = {"sync_request_timeout": 0.001}  # less than any program takes to start
    with rpyc.connect_subproc([sys.executable, "-c", SERVING], config=config, timeout=60) as conn:
        assert conn.root
        assert not conn.closed


def test_case_113_a_start_on_asyncio_may_take_longer_than_a_call() -> None:
    """The same on asyncio."""

    async def main() -> None:
        args, config = [sys.executable, "-c", SERVING], {"sync_request_timeout": 0.001}
        async with aio.connect_subproc(args, config=config, timeout=60) as conn:
            assert not conn.closed

    asyncio.run(main())


def test_case_113_a_classic_start_may_take_longer_than_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same for classic servers in children."""
    monkeypatch.setitem(DEFAULT_CONFIG, "sync_request_timeout", 0.001)
    with rpyc.classic.connect_subproc(timeout=60) as conn:
        assert not conn.closed


class LateTimer(threading.Timer):
    """A timer that cannot be stopped any more: it is about to fire when it is cancelled."""

    def cancel(self) -> None:
        """Let the time be over first."""
        self.function()


def test_case_113_a_start_that_succeeds_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been started in time is left alone by a timer that fires meanwhile."""
    monkeypatch.setattr(children.threading, "Timer", LateTimer)
    given_up: list[str] = []
    with start_limit(60, "starting", lambda: given_up.append("given up")):
        pass
    assert not given_up


def test_case_113_a_start_that_is_given_up_has_not_succeeded() -> None:
    """The error comes although the block has not noticed that its time was over."""
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"starting: no answer within .*'timeout'"):
        with start_limit(0.01, "starting", over.set):
            assert over.wait(60)


def test_case_113_a_silent_child(tmp_path: Path, silent: Path) -> None:
    """A child that does not answer is given up in time and killed; the error names the step."""
    program = script(tmp_path, SILENT.format(str(silent)))
    with pytest.raises(TimeoutError, match=r"starting .*'timeout'") as caught:
        rpyc.classic.connect_subproc(program, timeout=1)
    ended(caught.value)
    silent.unlink()
    with pytest.raises(TimeoutError, match=r"starting .*'timeout'") as caught:
        rpyc.connect_subproc([sys.executable, program], timeout=1)
    ended(caught.value)


def test_case_113_a_silent_child_of_asyncio(tmp_path: Path) -> None:
    """The same on asyncio, where the loop goes on meanwhile."""
    program = script(tmp_path, SILENT.format(str(tmp_path / "silent")))

    async def main() -> None:
        await aio.classic.connect_subproc([sys.executable, program], timeout=10)

    with pytest.raises(TimeoutError, match=r"starting .*'timeout'") as caught:
        asyncio.run(main())
    ended(caught.value)


@pytest.fixture
def default_limits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The limits of starts with which functions were called; these last a second."""
    limits: list[float | None] = []

    def limited(seconds: float | None, *args: Any) -> Any:
        limits.append(seconds)
        return start_limit(1, *args)

    monkeypatch.setattr(factory, "start_limit", limited)
    return limits


def test_case_113_a_silent_child_by_default(
    tmp_path: Path, silent: Path, default_limits: list[float | None]
) -> None:
    """Without the argument a child has 30 seconds."""
    program = script(tmp_path, SILENT.format(str(silent)))
    with pytest.raises(TimeoutError, match=r"starting .*'timeout'") as caught:
        rpyc.connect_subproc([sys.executable, program])
    ended(caught.value)
    assert default_limits == [START_TIMEOUT]


def test_case_113_a_silent_child_of_asyncio_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on asyncio."""
    limits: list[float | None] = []

    async def answered(conn: Any, seconds: float | None, *args: Any) -> Any:
        limits.append(seconds)
        return conn

    monkeypatch.setattr(client, "_answered", answered)

    async def main() -> None:
        async with aio.connect_subproc([sys.executable, "-c", SERVING]):
            pass

    asyncio.run(main())
    assert limits == [START_TIMEOUT]


def fall_silent(listener: Any, service: Any, config: Any, args: Any) -> None:
    """Do nothing, instead of serving, in a process of multiprocessing."""
    Path(args["silent"]).touch()
    time.sleep(60)


def end_at_once(listener: Any, service: Any, config: Any, args: Any) -> None:
    """End instead of serving."""
    sys.exit(3)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("connect", [rpyc.classic.connect_multiprocess, connect_multiprocess])
def test_case_113_a_silent_process(
    silent: Path,
    default_limits: list[float | None],
    monkeypatch: pytest.MonkeyPatch,
    connect: Any,
) -> None:
    """A process that does not answer is given up, killed and reaped; the error names the step."""
    monkeypatch.setattr(factory, "_server", fall_silent)
    with pytest.raises(TimeoutError, match=r"starting a process: .*'timeout'"):
        connect(args={"silent": str(silent)})
    assert multiprocessing.active_children() == []
    assert default_limits == [START_TIMEOUT]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("connect", [rpyc.classic.connect_multiprocess, connect_multiprocess])
def test_case_113_a_process_that_ends(monkeypatch: pytest.MonkeyPatch, connect: Any) -> None:
    """The error of a process that has ended instead of answering tells how."""
    monkeypatch.setattr(factory, "_server", end_at_once)
    with pytest.raises(ConnectionClosed, match=r"did not answer.*exit status 3"):
        connect(args={})
    assert multiprocessing.active_children() == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_case_113_a_process_without_a_limit(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``None`` nothing is waited for."""
    monkeypatch.setattr(factory, "_server", fall_silent)
    conn = connect_multiprocess(args={"silent": str(silent)}, timeout=None)
    conn.proc.kill()
    join(conn.proc)
    assert conn.proc.exitcode is not None
    conn.close()


AT_A_STEP = """\
import os, pathlib, sys, time
print("pid", os.getpid(), file=sys.stderr, flush=True)
if sys.argv[1:2] == ["bootstrap"]:
    print("rpyc_like-step writing the files", flush=True)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("step", "options"),
    [
        ("connecting to the machine and starting Python", {"python_executable": "quiet"}),
        ("writing the files", {"python_executable": "bootstrap"}),
        ("finding a Python", {"python_executable": "path"}),
        ("starting the server", {"server_script": SILENT}),
    ],
    ids=["connecting", "writing", "finding", "starting"],
)
def test_case_113_each_step_of_a_deployment_is_limited(
    tmp_path: Path, silent: Path, step: str, options: dict[str, str]
) -> None:
    """A far side that falls silent is given up in time, and the error names the step."""
    from plumbum import local

    python: Any = options.get("python_executable", sys.executable)
    if python in ("quiet", "bootstrap"):
        program = local[sys.executable]["-c", AT_A_STEP, python, str(silent)]

        class Python:
            """A command that ignores what it is asked to run."""

            def __getitem__(self, arguments: Any) -> Any:
                return program

        python = Python()
    elif python == "path":
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho pid $$ >&2\n: > '{silent}'\nexec sleep 60\n")
        path.chmod(0o755)
        python = str(path)
    scripts = {
        name: text.format(str(silent)) + SERVER_SCRIPT
        for name, text in options.items()
        if name == "server_script"
    }
    with pytest.raises(
        DeploymentError, match=r"no answer within 2 s \(argument 'timeout'\)"
    ) as got:
        DeployedServer(local, python_executable=python, timeout=2, **scripts)
    assert got.value.step == step
    if step != "finding a Python":  # the words of the shell's test are not shown
        assert "pid" in got.value.stderr


def test_case_113_chatting_is_no_answer(silent: Path) -> None:
    """A far side that prints and never says where it listens is given up as well."""
    from plumbum import local

    chatty = (
        f"import pathlib, time\npathlib.Path({str(silent)!r}).touch()\n"
        "while True:\n    print('la', flush=True)\n    time.sleep(0.1)\n"
    )
    with pytest.raises(DeploymentError, match="starting the server failed, no answer within"):
        DeployedServer(local, python_executable=sys.executable, server_script=chatty, timeout=2)


# -- pids


@needs_fork
def test_case_113_a_pid_is_signalled_only_while_unreaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a child has been reaped, its number is no longer signalled."""
    pids = Pids()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as proc:
        proc.returncode = 0  # Popen leaves it alone
        pids.add(proc.pid)
        assert pids.signal(proc.pid, signal.SIGKILL)
        pids.reap(proc.pid)
        sent: list[Any] = []
        monkeypatch.setattr(children.os, "kill", lambda *args: sent.append(args))
        assert not pids.signal(proc.pid, signal.SIGKILL)
        assert not sent


@needs_fork
def test_case_113_a_forking_server_signals_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reaping of a child and its removal from the table, nobody is signalled."""
    server = rpyc.ForkingServer(rpyc.ClassicService, port=0, logger=QUIET, grace=0)
    server._start_in_thread()
    try:
        conn = rpyc.classic.connect("127.0.0.1", server.port)
        pid = conn.modules.os.getpid()
        with server._clients_lock:  # its removal waits
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not is_there(pid), "the reaping")
            assert pid in server._children
            sent: list[Any] = []
            with monkeypatch.context() as patch:
                patch.setattr(os, "kill", lambda *args: sent.append(args))
                server._signal(signal.SIGTERM)
                server._end_child(pid)
            assert not sent
        with contextlib.suppress(EOFError):
            conn.close()
        eventually(lambda: not server._children, "the removal")
        assert not server._ending
    finally:
        server.close()


@needs_fork
def test_case_113_a_child_that_does_not_end_is_killed() -> None:
    """A forking server kills a child that was told to end and has missed the signal."""
    with rpyc.ForkingServer(rpyc.ClassicService, port=0, logger=QUIET, grace=0) as server:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        with subprocess.Popen(command) as late, subprocess.Popen(command) as other:
            server._pids.add(late.pid)
            server._pids.add(other.pid)
            server._ending = {late.pid: time.monotonic() - 60, other.pid: time.monotonic() + 60}
            due = server._chores()
            assert late.wait(60) == -signal.SIGKILL
            assert other.poll() is None
            assert due is not None
            assert due > 30
            other.kill()
            server._ending.clear()


@needs_fork
def test_case_113_two_threads_take_clients_without_a_process() -> None:
    """A forking server that is being closed takes no client twice, and none that is not there."""
    server = rpyc.ForkingServer(rpyc.ClassicService, port=0, logger=QUIET, grace=0)
    with server:
        here, there = socket.socketpair()
        server._unserved = deque([here])
        assert server._take_unserved(if_cut_off=True) is here  # it is no client
        assert server._take_unserved() is None
        assert server._take_unserved(newest=True) is None
        assert server._take_unserved(if_cut_off=True) is None
        here.close()
        there.close()


def is_there(pid: int) -> bool:
    """Return whether the system knows a process, dead or alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_case_113_a_child_is_reaped() -> None:
    """A child that has ended leaves no zombie, though nobody waits for it; waiting has limits."""
    child = Child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.05)
    assert child.stdin is not None
    child.stdin.close()
    eventually(lambda: child.returncode is not None, "the reaping")
    assert child.wait() == 1
    assert "EOFError" in child.errors.text(10)


def test_case_113_a_child_is_not_signalled_while_it_is_reaped() -> None:
    """A signal to a child waits until it has been found out whether it has ended."""
    child = Child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child._reaping:
        killer = threading.Thread(target=child.kill)
        killer.start()
        killer.join(0.5)
        assert killer.is_alive()
    join(killer)
    assert child.wait(60) == -signal.SIGKILL
    assert child.stdin is not None
    child.stdin.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there are no such signals")
def test_a_stopped_child_ends_with_its_connection() -> None:
    """A child that has been stopped is no orphan when its connection has been closed."""
    conn = rpyc.classic.connect_subproc()
    conn.ping()
    os.kill(conn.proc.pid, signal.SIGSTOP)
    conn.close()
    assert conn.proc.wait(60) is not None
