"""The commands, as a user runs them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest

import rpyc_like as rpyc
from tests.support.eventually import eventually
from tests.support.processes import has_proc, started_with

ROOT = Path(__file__).resolve().parents[2]
CLASSIC = [sys.executable, str(ROOT / "bin" / "rpyc_classic.py")]
QUICKSTART = [sys.executable, "-m", "rpyc_like.cli.quickstart"]


def test_help_and_version() -> None:
    """The command says what it is."""
    text = subprocess.run([*CLASSIC, "--help"], capture_output=True, text=True, check=True).stdout
    for option in ("--mode", "--port", "--host", "--ipv6", "--logfile", "--quiet", "--ssl-keyfile"):
        assert option in text
    assert "18812" in text
    version = subprocess.run([*CLASSIC, "--version"], capture_output=True, text=True, check=True)
    assert rpyc.__version__ in version.stdout


def test_oneshot_mode() -> None:
    """Oneshot announces itself in two lines, serves one client and ends."""
    with subprocess.Popen(
        [*CLASSIC, "-q", "-m", "oneshot"], stdout=subprocess.PIPE, text=True
    ) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "rpyc-oneshot\n"
        host, port = p.stdout.readline().split("\t")
        conn = rpyc.classic.connect(host, int(port))
        assert conn.modules.os.getpid() == p.pid
        conn.close()
        assert p.wait(60) == 0


def test_threaded_mode(tmp_path: Path) -> None:
    """Threaded serves several clients and logs where it is told."""
    log = tmp_path / "log"
    args = [*CLASSIC, "--port", "0", "--logfile", str(log)]
    with subprocess.Popen(args) as server:
        try:
            port = wait_for(log, r"server started on \[127\.0\.0\.1\]:(\d+)")
            conns = [rpyc.classic.connect("127.0.0.1", int(port)) for _ in range(2)]
            assert [conn.modules.os.getpid() for conn in conns] == [server.pid] * 2
            for conn in conns:
                conn.close()
            wait_for(log, "(goodbye)")
        finally:
            server.terminate()


def wait_for(log: Path, pattern: str) -> str:
    def found() -> re.Match[str] | None:
        return re.search(pattern, log.read_text()) if log.exists() else None

    seen: re.Match[str] = eventually(found, f"{pattern!r} in the log")
    return seen[1]


def test_wrong_options() -> None:
    """A mistake is answered with what was expected."""
    wrong = subprocess.run(
        [*CLASSIC, "-m", "nonsense"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0
    assert "nonsense" in wrong.stdout + wrong.stderr
    lone = subprocess.run(
        [*CLASSIC, "--ssl-keyfile", __file__], capture_output=True, text=True, check=False
    )
    assert lone.returncode != 0
    assert "ssl-certfile" in lone.stdout + lone.stderr


def test_tour() -> None:
    """Without a terminal the quickstart narrates, ends clean and leaves no process behind."""
    mark = {"RPYC_LIKE_TEST_TOUR": f"{os.getpid()} {time.time()}"}
    done = subprocess.run(
        QUICKSTART,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, **mark},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    for text in (
        "A remote ls of",
        "__init__.py",
        "xml.dom.minidom",
        "sqlite3",
        "gave ['fig', 'pear', 'banana']",
        "caught FileNotFoundError: [Errno 2] No such file or directory: '/no/such/folder'\n",
        "[1, 2, 4, 8, 16, 32, 64, 128, 256, 512]",
        "Closed the connection and stopped the server.",
    ):
        assert text in done.stdout
    if has_proc():
        (name,) = mark
        eventually(lambda: not started_with(name, mark[name]), "the end of the processes")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_interactive_session() -> None:
    """In a terminal there is a prompt with conn, completion, and both tracebacks."""
    child = pexpect.spawn(
        QUICKSTART[0],
        QUICKSTART[1:],
        timeout=120,
        encoding="utf-8",
        env={**os.environ, "TERM": "dumb"},
        dimensions=(40, 150),
    )
    child.expect("Connected: ")
    child.expect("Tab completes")
    child.expect(">>> ")
    child.sendline("conn.eval('6 * 7')")
    child.expect("42")
    child.expect(">>> ")
    child.send("conn.modules.os.getpi\t")
    child.expect("getpid")
    child.send("()\n") if "(" not in child.after else child.send("\n")
    child.expect(r"\d+\r\n")
    child.expect(">>> ")
    child.sendline("conn.modules.os.listdir('/nowhere')")
    child.expect("Traceback")
    child.expect("FileNotFoundError")
    child.expect("Remote Traceback")
    child.expect(">>> ")
    child.sendeof()
    child.expect("stopped the server")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_quickstart_script_needs_no_installation(tmp_path: Path) -> None:
    """Where no environment can be made the script says so and runs from the clone."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("bin", "rpyc_like", "setup.cfg", "setup.py", "pyproject.toml", "README.md"):
        (clone / name).symlink_to(ROOT / name)
    (clone / "bin").unlink()
    (clone / "bin").mkdir()
    script = clone / "bin" / "quickstart"
    script.write_text((ROOT / "bin" / "quickstart").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "venv.py").write_text("raise SystemExit('no venv here')")
    env = {**os.environ, "PYTHONPATH": str(broken), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "venv module does not work" in done.stdout
    assert "Running from the clone" in done.stdout
    assert "stopped the server" in done.stdout


@pytest.mark.parametrize("mode", ["threaded", "pool", "forking", "oneshot"])
def test_unix_socket(mode: str, tmp_path: Path) -> None:
    """Each mode serves on a unix socket, and removes it when it is told to end."""
    path = tmp_path / "socket"
    args = [*CLASSIC, "-q", "-m", mode, "--socket-path", str(path), "--threads", "2"]
    with subprocess.Popen(args, stdout=subprocess.DEVNULL) as server:

        def connected() -> Any:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return rpyc.classic.unix_connect(str(path), timeout=60, nodelay=True)

        try:
            conn = eventually(connected, "the server's listening")
        except BaseException:
            server.kill()
            raise
        with conn:
            assert conn.eval("6 * 7") == 42
            begun = tmp_path / "begun"
            conn.execute("import pathlib, time")
            slow = rpyc.async_(conn.eval)(
                f"(pathlib.Path({str(begun)!r}).touch(), time.sleep(1), 'slept')[2]"
            )
            eventually(begun.exists)
            server.terminate()
            assert slow.value == "slept"
        assert server.wait(60) == 0
    assert not path.exists()


def test_idle_exit() -> None:
    """A server that nobody needs ends."""
    done = subprocess.run(
        [*CLASSIC, "-q", "-p", "0", "--idle-exit", "0.3"], timeout=200, check=False
    )
    assert done.returncode == 0


AUTHENTICATOR = """
from rpyc_like.utils.authenticators import AuthenticationError

def ask(sock):
    name = sock.recv(3)
    if name != b"ann":
        raise AuthenticationError("who?")
    return sock, name.decode()

nothing = None
"""


def test_authenticator(tmp_path: Path) -> None:
    """--authenticator names a callable that lets clients in, on any address."""
    (tmp_path / "doorman.py").write_text(AUTHENTICATOR)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    args = [*CLASSIC, "-m", "oneshot", "--host", "0.0.0.0", "-q", "--authenticator"]
    for name in (b"ann", b"bob"):
        with subprocess.Popen([*args, "doorman:ask"], env=env, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            port = int(server.stdout.readline().split()[1])
            stream = rpyc.SocketStream.connect("127.0.0.1", port)
            stream.sock.sendall(name)
            if name == b"ann":
                with rpyc.classic.connect_stream(stream) as conn:
                    assert conn.eval("1 + 1") == 2
            else:
                with pytest.raises(EOFError):
                    rpyc.classic.connect_stream(stream)
            assert server.wait(60) == 0
    for wrong, text in (("doorman:nothing", "callable"), ("no_such:ask", "no_such")):
        done = subprocess.run([*args, wrong], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert text in done.stderr
        assert "Traceback" not in done.stderr
