"""rpyc_classic under a real inetd and the real systemd-socket-activate, as demos/ shows them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.utils.factory import unix_connect
from tests.support.eventually import eventually
from tests.support.peers import OURS, ROOT, environment
from tests.support.processes import is_alive
from tests.support.programs import answers, free_port, program

DEMOS = ROOT / "demos"
COMMAND = [sys.executable, "-m", "rpyc_like.cli.rpyc_classic"]
INSTALLED = "/usr/local/bin/rpyc_classic"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run() -> Iterator[Start]:
    """Runs programs, and ends them."""
    made: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **variables: str) -> subprocess.Popen[bytes]:
        made.append(
            subprocess.Popen(
                command, env={**environment(OURS), **variables}, stderr=subprocess.PIPE, cwd="/"
            )
        )
        return made[-1]

    yield start
    for proc in made:
        proc.terminate()
    for proc in made:
        try:
            proc.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.communicate()


def unit(name: str, key: str) -> list[str]:
    """Returns the values of a key in a unit file of the demos."""
    lines = (DEMOS / "systemd" / name).read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def command_of(name: str) -> list[str]:
    """Returns what a unit file starts, with the program of this clone in place of the installed."""
    words = shlex.split(unit(name, "ExecStart")[0])
    assert words[0] == INSTALLED
    return [*COMMAND, *words[1:]]


# -- inetd


@pytest.fixture
def inetd(run: Start, tmp_path: Path) -> tuple[int, Path]:
    """A real inetd with the line of the demos; its port, and the log of what it starts."""
    lines = (DEMOS / "inetd" / "inetd.conf").read_text().splitlines()
    (line,) = (line for line in lines if not line.startswith("#"))
    log = tmp_path / "log"
    port = free_port()
    words = line.split()
    assert words[:2] == ["127.0.0.1:18812", "stream"]
    words[0] = f"127.0.0.1:{port}"
    words[4] = pwd.getpwuid(os.getuid()).pw_name
    place = words.index(INSTALLED)
    start = tmp_path / "start"
    paths = environment(OURS)["PYTHONPATH"]
    start.write_text(f'#!/bin/sh\nexec env PYTHONPATH={paths} {shlex.join(COMMAND)} "$@"\n')
    start.chmod(0o755)
    words[place] = str(start)
    words[-1] = str(log)
    config = tmp_path / "inetd.conf"
    config.write_text(" ".join(words) + "\n")
    run(program("inetd"), "-i", str(config))
    eventually(lambda: answers(port), "inetd's listening")
    return port, log


def test_inetd(inetd: tuple[int, Path]) -> None:
    """Inetd starts a process for each client."""
    port, log = inetd
    with (
        rpyc.classic.connect("127.0.0.1", port) as one,
        rpyc.classic.connect("127.0.0.1", port) as two,
    ):
        pids = one.modules.os.getpid(), two.modules.os.getpid()
        assert len({*pids, os.getpid()}) == 3
        assert one.teleport(lambda x: x + 1)(1) == 2
    eventually(lambda: not any(map(is_alive, pids)), "the end of the processes")
    eventually(lambda: "goodbye" in log.read_text(), "a line in the log")


def test_inetd_and_what_is_printed(inetd: tuple[int, Path]) -> None:
    """Neither Python's print, nor C code that writes to descriptors 1 and 2, nor a child process
    can get anything into the connection, which is all of 0, 1 and 2 under inetd.
    """
    port, _ = inetd
    with rpyc.classic.connect("127.0.0.1", port) as conn:
        conn.execute(
            "import ctypes, os, subprocess, sys, logging\n"
            "print('printed', flush=True)\n"
            "print('printed', file=sys.stderr, flush=True)\n"
            "libc = ctypes.CDLL(None)\n"
            "libc.write(1, b'written by C', 12)\n"
            "libc.write(2, b'written by C', 12)\n"
            "libc.puts(b'buffered by C'); libc.fflush(None)\n"
            "os.system('echo from a shell; echo from a shell >&2')\n"
            "subprocess.run(['echo', 'from a child'])\n"
            "logging.error('logged')\n"
        )
        assert conn.eval("1 + 1") == 2
        assert conn.eval("sys.stdin.read()") == ""
        assert conn.eval("os.read(0, 10)") == b""


def test_inetd_and_a_reachable_address(tmp_path: Path) -> None:
    """Started by inetd for a client of another machine, full control needs an authenticator."""
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    log = tmp_path / "log"
    with socket.create_server((address, 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with client, accepted:
        done = subprocess.run(
            [*COMMAND, "-m", "stdio", "--logfile", str(log)],
            stdin=accepted,
            stdout=accepted,
            stderr=accepted,
            env=environment(OURS),
            timeout=200,
            check=False,
        )
        assert done.returncode == 2
        accepted.close()
        client.settimeout(60)
        assert client.recv(10) == b""
    assert "expected an authenticator" in log.read_text()


def _own_address() -> str | None:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def test_stdio_child_that_writes_in_c() -> None:
    """The same for a subprocess, whose standard error is left as it is."""
    conn = rpyc.classic.connect_subproc(str(ROOT / "bin" / "rpyc_classic.py"))
    with conn:
        conn.execute("import ctypes, os; libc = ctypes.CDLL(None)")
        conn.execute("libc.write(1, b'', 0); libc.puts(b''); libc.fflush(None)")
        conn.execute("os.system('echo'); print()")
        assert conn.eval("6 * 7") == 42
    eventually(lambda: conn.proc.returncode == 0, "the child's end")


# -- systemd


class Notices:
    """Takes what services tell their manager (``sd_notify``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.settimeout(0.05)
        self.got: list[str] = []

    def wait_for(self, text: str, count: int = 1) -> None:
        def seen() -> bool:
            with contextlib.suppress(TimeoutError):
                self.got.append(self._sock.recv(4096).decode())
            return sum(text in notice for notice in self.got) >= count

        eventually(seen, f"{text!r}, among {self.got}")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[Notices]:
    made = Notices(tmp_path / "notify")
    yield made
    made.close()


def activate(
    run: Start, listen: list[str], command: list[str], *options: str, **variables: str
) -> subprocess.Popen[bytes]:
    """Runs the real systemd-socket-activate."""
    return run(
        program("systemd-socket-activate"),
        *(f"--listen={one}" for one in listen),
        *(f"--setenv={name}" for name in ("PYTHONPATH", *variables)),
        *options,
        *command,
        **variables,
    )


def test_one_process_for_all(run: Start, notices: Notices, tmp_path: Path) -> None:
    """Accept=no, with the unit files of the demos: notes to the manager, idle exit, SIGTERM."""
    path = tmp_path / "socket"
    assert unit("rpyc_classic.socket", "ListenStream") == ["/run/rpyc_classic/socket"]
    (name,) = unit("rpyc_classic.socket", "FileDescriptorName")
    proc = activate(
        run,
        [str(path)],
        command_of("rpyc_classic.service"),
        f"--fdname={name}",
        NOTIFY_SOCKET=str(notices.path),
        WATCHDOG_USEC="400000",
    )
    eventually(path.exists, "the socket")
    with classic(unix_connect, str(path)) as conn, classic(unix_connect, str(path)) as other:
        pid = conn.eval("__import__('os').getpid()")
        assert pid == other.eval("__import__('os').getpid()") == proc.pid
        notices.wait_for("READY=1")
        notices.wait_for("WATCHDOG=1", 3)
        environ = conn.eval("dict(__import__('os').environ)")
        assert "LISTEN_FDS" not in environ
        assert not conn.eval("__import__('os').get_inheritable(3)")
        assert "STOPPING=1" not in "".join(notices.got)
        begun = tmp_path / "begun"
        conn.execute("import pathlib, time")
        slow = rpyc.async_(conn.eval)(
            f"(pathlib.Path({str(begun)!r}).touch(), time.sleep(1), 'slept')[2]"
        )
        eventually(begun.exists)
        proc.send_signal(signal.SIGTERM)
        notices.wait_for("STOPPING=1")
        assert slow.value == "slept"
    assert proc.wait(60) == 0
    assert path.exists()  # it is systemd's


def test_idle_service_exits(run: Start, tmp_path: Path) -> None:
    """A service that systemd has started goes when nobody has needed it for a while."""
    path = tmp_path / "socket"
    command = [*COMMAND, "--systemd", "--idle-exit", "0.5", "-q"]
    proc = activate(run, [str(path)], command)
    eventually(path.exists, "the socket")
    with classic(unix_connect, str(path)) as conn:
        time.sleep(1)
        assert conn.eval("1") == 1
    assert proc.wait(60) == 0


def test_several_named_sockets(run: Start, tmp_path: Path) -> None:
    """Of several sockets, unix and TCP, those with the wanted names are served."""
    paths, port = [tmp_path / "one", tmp_path / "two"], free_port()
    proc = activate(
        run,
        [str(paths[0]), f"127.0.0.1:{port}", str(paths[1])],
        [*COMMAND, "--systemd", "--fd-name", "main", "--fd-name", "more", "-q"],
        "--fdname=main:more:other",
    )
    eventually(paths[1].exists, "the sockets")
    with classic(unix_connect, str(paths[0])) as conn:
        assert conn.eval("2") == 2
    with classic(rpyc.connect, "127.0.0.1", port) as conn:
        assert conn.eval("3") == 3
    conn = unix_connect(str(paths[1]), config={"sync_request_timeout": 0.5})
    with contextlib.closing(conn), pytest.raises((TimeoutError, EOFError)):
        conn.root
    assert proc.poll() is None


def test_process_for_each_client(run: Start, notices: Notices) -> None:
    """Accept=yes, with the unit files of the demos."""
    assert unit("rpyc_percall.socket", "Accept") == ["yes"]
    assert unit("rpyc_percall.socket", "ListenStream") == ["127.0.0.1:18812"]
    port = free_port()
    activate(
        run,
        [f"127.0.0.1:{port}"],
        command_of("rpyc_percall@.service"),
        "--accept",
        NOTIFY_SOCKET=str(notices.path),
    )
    one = eventually(lambda: attempt(port), "a first client")
    with one, classic(rpyc.connect, "127.0.0.1", port) as two:
        pids = {conn.eval("__import__('os').getpid()") for conn in (one, two)}
        assert len(pids) == 2
        notices.wait_for("READY=1", 2)
    eventually(lambda: not any(map(is_alive, pids)), "the end of the processes")


def test_inetd_style_activation(run: Start) -> None:
    """StandardInput=socket is what inetd does."""
    port = free_port()
    command = [*COMMAND, "-m", "stdio", "-q"]
    activate(run, [f"127.0.0.1:{port}"], command, "--accept", "--inetd")
    with eventually(lambda: attempt(port), "a client") as conn:
        conn.execute("print('x' * 10000, flush=True)")
        assert conn.eval("1 + 2") == 3


def test_no_sockets() -> None:
    """--systemd without sockets, or without those that are wanted, says so."""
    done = subprocess.run(
        [*COMMAND, "--systemd"], env=environment(OURS), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "expected sockets from systemd, got none" in done.stderr
    assert "Traceback" not in done.stderr


def classic(connect: Callable[..., Any], *address: Any) -> Any:
    """Connects as :mod:`rpyc_like.classic` does; waits for a socket that is bound to listen."""

    def connected() -> Any:
        with contextlib.suppress(ConnectionRefusedError):
            return connect(*address, service=rpyc.core.service.ClassicClient)

    conn = eventually(connected, "listening")
    try:
        conn.root
    except BaseException:
        conn.close()
        raise
    return conn


def attempt(port: int) -> Any:
    try:
        return classic(rpyc.connect, "127.0.0.1", port)
    except (OSError, EOFError):
        return None
