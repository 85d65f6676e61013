"""Programs that end with connections open, and Ctrl-C at a terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import rpyc_like as rpyc
from rpyc_like.lib.exiting import Writing
from rpyc_like.link import futures
from rpyc_like.utils.authenticators import SSLAuthenticator
from rpyc_like.utils.server import ThreadedServer
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.processes import has_proc, is_alive

pexpect = pytest.importorskip("pexpect")
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON_BASIC_REPL": "1", "TERM": "dumb"}
QUIET = logging.getLogger("tests.exit")
QUIET.setLevel(logging.CRITICAL)
STDIO = "[sys.executable, '-u', '-m', 'rpyc_like.cli.rpyc_classic', '-q', '-m', 'stdio']"


def run(program: str, *arguments: str) -> tuple[int, str, str]:
    """Return the exit status of a Python program, and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", "import os, subprocess, sys, time\n" + program, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        env=ENVIRONMENT,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# -- programs that end


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Serve over TCP, TLS and a unix socket; return port, TLS port, authority and path."""
    folder = tmp_path_factory.mktemp("exit")
    authority = trustme.CA()
    pair = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca"))
    pair.private_key_pem.write_to_path(str(folder / "key"))
    pair.cert_chain_pems[0].write_to_path(str(folder / "cert"))
    tls = SSLAuthenticator(str(folder / "key"), str(folder / "cert"))
    options: dict[str, Any] = {"logger": QUIET, "grace": 0}
    servers = [
        ThreadedServer(rpyc.ClassicService, port=0, **options),
        ThreadedServer(rpyc.ClassicService, port=0, authenticator=tls, **options),
        ThreadedServer(rpyc.ClassicService, socket_path=str(folder / "socket"), **options),
    ]
    for server in servers:
        server._start_in_thread()
    ports = [str(server.port) for server in servers[:2]]
    yield [*ports, str(folder / "ca"), str(folder / "socket")]
    for server in servers:
        server.close()


TCP = "import rpyc_like as rpyc\nconn = rpyc.classic.connect('127.0.0.1', int(sys.argv[1]))\n"
ANSWER = "print(conn.eval('6 * 7'))\n"
PROGRAMS = {
    "tcp": TCP + ANSWER,
    "tls": (
        "import rpyc_like as rpyc\n"
        "conn = rpyc.classic.ssl_connect('localhost', int(sys.argv[2]), ca_certs=sys.argv[3])\n"
    )
    + ANSWER,
    "unix": "import rpyc_like as rpyc\nconn = rpyc.classic.unix_connect(sys.argv[4])\n" + ANSWER,
    "background": TCP + "thread = rpyc.BgServingThread(conn)\n" + ANSWER,
    "future": TCP + "future = rpyc.async_(conn.modules.time.sleep)(0.5).as_future()\n" + ANSWER,
    "subproc": "import rpyc_like as rpyc\nconn = rpyc.classic.connect_subproc()\n" + ANSWER,
    "pipes": (
        "import rpyc_like as rpyc\n"
        f"proc = subprocess.Popen({STDIO}, stdin=-1, stdout=-1)\n"
        "conn = rpyc.classic.connect_pipes(proc.stdout, proc.stdin)\n"
        "thread = rpyc.BgServingThread(conn)\n"
    )
    + ANSWER,
    "thread": "import rpyc_like as rpyc\nconn = rpyc.classic.connect_thread()\n" + ANSWER,
    "multiprocess": "import rpyc_like as rpyc\nconn = rpyc.classic.connect_multiprocess()\n"
    + ANSWER,
    "deployed": (
        "from plumbum import local\n"
        "from rpyc_like.utils.zerodeploy import DeployedServer\n"
        "server = DeployedServer(local, python_executable=sys.executable)\n"
        "conn = server.classic_connect()\n"
    )
    + ANSWER,
    "asyncio": (
        "import asyncio\n"
        "from rpyc_like import aio\n"
        "async def main():\n"
        "    global conn\n"
        "    conn = await aio.classic.connect('127.0.0.1', int(sys.argv[1]))\n"
        "    print(await conn.eval('6 * 7'))\n"
        "asyncio.run(main())\n"
    ),
    "asyncio-subproc": (
        "import asyncio\n"
        "from rpyc_like import aio\n"
        "async def main():\n"
        "    global conn\n"
        f"    conn = await aio.classic.connect_subproc({STDIO})\n"
        "    print(await conn.eval('6 * 7'))\n"
        "asyncio.run(main())\n"
    ),
    "tunnel": (
        "from functools import partial\n"
        "from rpyc_like.utils.tunnels import open_tunnel\n"
        "stream = open_tunnel(partial(subprocess.Popen, ['sleep', '2']))\n"
        "print(42)\n"
    ),
    "output": (
        "from rpyc_like.utils.children import Output\n"
        "proc = subprocess.Popen(['sleep', '2'], stdout=subprocess.PIPE)\n"
        "output = Output(proc.stdout)\n"
        "print(42)\n"
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_case_111_a_connection_that_is_left_open(places: list[str], name: str) -> None:
    """A program that ends with a connection open ends with status 0 and says nothing."""
    assert run(PROGRAMS[name], *places) == (0, "42\n", "")


FIRST_USES = """
def first_uses():
    yield lambda: conn.eval("40 + 2")
    yield lambda: conn.modules.operator.add(40, 2)
    yield lambda: len(conn.builtins.str("*" * 42))
    yield lambda: conn.teleport(answer)()
    yield lambda: rpyc.async_(conn.root.eval)("42").value
    yield lambda: 42 if [4, 2] == conn.root.eval("[4, 2]") else 0
    yield lambda: rpyc.snapshot(conn.root.eval("[42]"))[0]
def answer():
    return 42
def use(write=sys.stdout.write, uses=first_uses, errors=(EOFError, RuntimeError)):
    for one in uses():
        try:
            write(f"{one()}\\n")
        except errors:
            write("error\\n")
        except BaseException as error:
            write(f"{error!r}\\n")
"""


def test_case_111_first_uses_at_exit(places: list[str]) -> None:
    """A function that is called at the exit may use what the program has not used before."""
    program = "import atexit\n" + TCP + FIRST_USES + "atexit.register(use)\n"
    assert run(program, *places) == (0, "42\n" * 7, "")


@pytest.mark.parametrize("used", [False, True])
def test_case_111_first_uses_at_shutdown(places: list[str], used: bool) -> None:
    """A finalizer at the very end gets its answers, or ConnectionClosed or RuntimeError."""
    finalizer = "class Last:\n    def __del__(self, use=use): use()\nlast = Last()\n"
    program = TCP + FIRST_USES + finalizer + ("conn.eval('1')\n" if used else "")
    status, written, errors = run(program, *places)
    assert (status, errors) == (0, "")
    assert len(written.split()) == 7
    assert set(written.split()) <= {"42", "error"}


def test_a_future_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can read for a future there is none; the next one is read for."""

    def no_threads(*_: Any) -> None:
        raise RuntimeError("no more threads")

    with rpyc.classic.connect_thread() as conn:
        ask = rpyc.async_(conn.eval)
        with monkeypatch.context() as patched:
            patched.setattr(futures, "spawn", no_threads)
            with pytest.raises(RuntimeError):
                ask("1").as_future()
        assert ask("2").as_future().result(60) == 2


def test_case_111_the_end_waits_for_threads_that_write() -> None:
    """The end of the interpreter lets a thread finish what it writes, and no other begin."""
    writing, inside, go_on = Writing(), threading.Event(), threading.Event()
    seen: list[bool] = []

    def write() -> None:
        with writing as allowed:
            seen.append(allowed)
            inside.set()
            go_on.wait(60)
            seen.append(not ended.is_set())

    ended = threading.Event()

    def end() -> None:
        writing.end()
        ended.set()

    threads = [threading.Thread(target=write)]
    threads[0].start()
    assert inside.wait(60)
    threads.append(threading.Thread(target=end))
    threads[1].start()
    eventually(lambda: writing._ended)
    go_on.set()
    for thread in threads:
        join(thread)
    with writing as allowed:
        assert [*seen, allowed] == [True, True, False]


# -- Ctrl-C at a terminal


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[Any]:
    """Run Python in a terminal of its own."""
    child = pexpect.spawn(
        sys.executable,
        list(arguments),
        timeout=120,
        encoding="utf-8",
        env=ENVIRONMENT,
        cwd=str(ROOT),
        dimensions=(40, 200),
    )
    try:
        yield child
    finally:
        child.close(force=True)


AT_A_PROMPT = """
import signal, sys, threading, time
import rpyc_like as rpyc
from rpyc_like.utils.zerodeploy import DeployedServer
if sys.argv[1] == "deployed":
    from plumbum import local
    server = DeployedServer(local, python_executable=sys.executable)
    conn = server.classic_connect()
else:
    conn = getattr(rpyc.classic, "connect_" + sys.argv[1])()
pid = conn.modules.os.getpid()
try:
    print("ready", flush=True)
    sys.stdin.readline()
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("same", conn.modules.os.getpid() == pid, flush=True)
"""


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["subproc", "multiprocess", "deployed"])
def test_case_112_ctrl_c_at_a_prompt_ends_no_child(kind: str) -> None:
    """Ctrl-C between calls reaches the program, and not the children that serve it."""
    with terminal("-c", AT_A_PROMPT, kind) as child:
        child.expect_exact("ready")
        child.sendintr()
        child.expect_exact("interrupted")
        child.expect_exact("same True")


NESTED = "conn.eval('lambda f: f()')"
IN_A_CALL = {
    "call": ["sleep = conn.modules.time.sleep", "print('GO', 'ING'); sleep(30)"],
    "callback": [f"{NESTED}(lambda: (print('GO', 'ING'), time.sleep(30)))"],
    "call in a callback": [
        "sleep = conn.modules.time.sleep",
        f"{NESTED}(lambda: (print('GO', 'ING'), sleep(30)))",
    ],
    "after a callback": [
        "conn.execute('import time\\ndef g(f):\\n    f()\\n    time.sleep(30)')",
        "conn.namespace['g'](lambda: print('GO', 'ING'))",
    ],
}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("lines", IN_A_CALL.values(), ids=IN_A_CALL)
def test_case_112_ctrl_c_during_a_call(lines: list[str]) -> None:
    """Ctrl-C in a REPL cancels the call and shows one traceback; the next call works."""
    with terminal("-q", "-i") as child:
        for line in ["import time, rpyc_like as rpyc", "conn = rpyc.classic.connect_subproc()"]:
            child.expect_exact(">>> ")
            child.sendline(line)
        for line in lines:
            child.expect_exact(">>> ")
            child.sendline(line)
        child.expect_exact("GO ING")
        child.sendintr()
        child.expect_exact("\nKeyboardInterrupt")
        shown = child.before
        child.expect_exact(">>> ")
        shown += child.before
        assert shown.count("Traceback") == 1, shown
        child.sendline("conn.eval('6 * 7')")
        child.expect_exact("\n42")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", [("-m", "rpyc_like.cli.quickstart"), ("bin/quickstart",)])
def test_case_112_ctrl_c_in_the_quickstart(start: tuple[str, ...]) -> None:
    """Ctrl-C at the quickstart's prompt, and during a call, leaves session and server alone."""
    with terminal(*start) as child:
        child.expect_exact(">>> ")
        child.sendintr()
        child.expect_exact("KeyboardInterrupt")
        child.expect_exact(">>> ")
        child.sendline("sleep = conn.modules.time.sleep")
        child.expect_exact(">>> ")
        child.sendline("print('GO', 'ING'); sleep(30)")
        child.expect_exact("GO ING")
        child.sendintr()
        child.expect_exact("\nKeyboardInterrupt")
        child.expect_exact(">>> ")
        child.sendline("conn.eval('6 * 7')")
        child.expect_exact("\n42")
        child.expect_exact(">>> ")
        child.sendeof()
        child.expect_exact("stopped the server")
        child.expect(pexpect.EOF)


TOLD = """
import os, signal, sys, threading, time
import rpyc_like as rpyc
server = ["-u", "-m", "rpyc_like.cli.rpyc_classic", "-q", "-m", "stdio"]
args = [sys.executable, *server, *sys.argv[3:]]
conn = rpyc.connect_subproc(args, rpyc.core.service.ClassicClient)
conn.execute('''
import rpyc_like, time
seen = []
def mark():
    open(path, "x").close()
def watch(begin):
    begin()
    mark()
    while not rpyc_like.current_call().cancelled:
        time.sleep(0.01)
    seen.append("cancelled")
def spin(begin):
    begin()
    mark()
    while True:
        pass
''')
print(conn.proc.pid, flush=True)
conn.namespace["path"] = sys.argv[2]
def sends():
    # What is interrupted in the middle of a frame ends the connection, and cannot be cancelled.
    frame, names = sys._current_frames()[threading.main_thread().ident], []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return any(name.startswith("send") or name == "serve_request" for name in names)
def interrupt():
    while not os.path.exists(sys.argv[2]) or sends():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
def begin():
    threading.Thread(target=interrupt, daemon=True).start()
try:
    conn.namespace[sys.argv[1]](begin)
except KeyboardInterrupt:
    pass
if sys.argv[1] == "watch":
    while list(conn.namespace["seen"]) != ["cancelled"]:
        time.sleep(0.01)
print("told", flush=True)
"""


def test_case_112_the_peer_is_told(tmp_path: Path) -> None:
    """A call of a child that Ctrl-C has ended here is cancelled there."""
    status, out, err = run(TOLD, "watch", str(tmp_path / "begun"))
    assert (status, out.split()[1:], err) == (0, ["told"], "")


@pytest.mark.skipif(not has_proc(), reason="needs /proc")
def test_case_112_a_child_that_was_given_up_ends(tmp_path: Path) -> None:
    """A child whose client has gone does not run on with a call that the client had cancelled."""
    status, out, err = run(TOLD, "spin", str(tmp_path / "begun"), "--grace", "0.1")
    pid, told = out.split()
    assert (status, told, err) == (0, "told", "")
    try:
        eventually(lambda: not is_alive(int(pid)), "the end of the child")
    except AssertionError:
        os.kill(int(pid), signal.SIGKILL)
        raise


FORKING = """
import sys, threading, time
import rpyc_like as rpyc
class Slow(rpyc.Service):
    def exposed_work(self, begun):
        begun()
        time.sleep(1)
        return "done"
server = rpyc.ForkingServer(Slow, hostname="127.0.0.1", port=0)
threading.Timer(0.2, lambda: print(server.port, flush=True)).start()
try:
    server.start()
except KeyboardInterrupt:
    pass
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_case_112_ctrl_c_cuts_no_call_of_a_forking_server() -> None:
    """Ctrl-C at the terminal of a ForkingServer ends it after the running calls."""
    args = [sys.executable, "-c", FORKING]
    with subprocess.Popen(
        args, stdout=-1, stderr=-3, env=ENVIRONMENT, cwd=ROOT, start_new_session=True
    ) as proc:
        assert proc.stdout is not None
        conn = rpyc.connect("127.0.0.1", int(proc.stdout.readline()))
        begun = threading.Event()
        result = rpyc.async_(conn.root.work)(begun.set)
        eventually(lambda: result.ready or begun.is_set(), "the beginning of the call")
        os.killpg(proc.pid, signal.SIGINT)
        assert result.value == "done"
        conn.close()
        assert proc.wait(60) == 0
