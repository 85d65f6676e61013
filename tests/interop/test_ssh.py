"""Connections and deployments over a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.errors import DeploymentError
from rpyc_like.utils.server import ThreadedServer
from rpyc_like.utils.zerodeploy import DeployedServer, MultiServerDeployment
from tests.support.eventually import eventually
from tests.support.joining import join
from tests.support.peers import OURS, environment, find_interpreter
from tests.support.programs import Sshd, running_sshd

from . import deployed_service

QUIET = logging.getLogger("tests.ssh")
QUIET.setLevel(logging.CRITICAL)
TEMP = Path("/tmp")
FAR_SIDES = ["3.9", "3.10", "3.11", "3.12", "3.13"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def machine(sshd: Sshd) -> Iterator[Any]:
    with sshd.machine() as opened:
        yield opened


@pytest.fixture
def tidy() -> Iterator[None]:
    """Nothing is left on the far side."""
    before = leftovers()
    yield
    eventually(lambda: leftovers() <= before, "clearing up")


def leftovers() -> set[Path]:
    return set(TEMP.glob("rpyc_like-*"))


@contextlib.contextmanager
def local_server() -> Iterator[int]:
    server = ThreadedServer(rpyc.ClassicService, port=0, logger=QUIET)
    server._start_in_thread()
    try:
        yield int(server.port)
    finally:
        server.close()


# -- ssh_connect


def test_ssh_connect(machine: Any) -> None:
    """A server that listens on a far loopback interface is reached through ssh."""
    with local_server() as port:
        with rpyc.classic.ssh_connect(machine, port) as conn:
            assert conn.modules.os.getpid() == os.getpid()
            assert len(conn.eval("b'x' * 10_000_000")) == 10_000_000
            proc = conn._channel.stream.tun.proc
        eventually(lambda: proc.poll() is not None, "the end of the tunnel")
        with rpyc.ssh_connect(machine, port) as conn:
            assert conn.root.eval("40 + 2") == 42


def test_ssh_connect_and_await(machine: Any) -> None:
    """An asyncio program does the same; the tunnel ends with the connection."""

    async def main(port: int) -> None:
        async with aio.classic.ssh_connect(machine, port) as conn:
            assert await conn.modules.os.getpid() == os.getpid()
            assert len(await conn.eval("b'x' * 3_000_000")) == 3_000_000
            proc = conn._link.channel.stream.tun.proc
        while proc.poll() is None:
            await asyncio.sleep(0.01)
        async with aio.ssh_connect(machine, port) as conn:
            assert await conn.root.eval("40 + 2") == 42

    with local_server() as port:
        asyncio.run(asyncio.wait_for(main(port), 60), debug=True)


def test_ssh_connect_to_nobody(machine: Any) -> None:
    """What ssh says about a port that nobody listens on is in the error."""
    with pytest.raises(EOFError, match="refused"):
        rpyc.classic.ssh_connect(machine, 1)


def test_ssh_connect_to_somebody_silent(machine: Any) -> None:
    """A far program that does not answer is given up in time; the error names the step."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TimeoutError, match=rf"port {port} of .*through ssh.*'timeout'"):
            rpyc.classic.ssh_connect(machine, port, timeout=2)

        async def main() -> None:
            await aio.classic.ssh_connect(machine, port, timeout=2)

        with pytest.raises(TimeoutError, match=rf"port {port} of .*through ssh.*'timeout'"):
            asyncio.run(main())


LEFT_OPEN = """
import sys
import rpyc_like as rpyc
from plumbum import SshMachine
port, key, served, *options = sys.argv[1:]
machine = SshMachine("127.0.0.1", port=int(port), keyfile=key, ssh_opts=options)
conn = rpyc.classic.ssh_connect(machine, int(served))
print(conn.eval("6 * 7"))
"""


def test_case_111_a_connection_that_is_left_open(sshd: Sshd) -> None:
    """A program that ends with a connection through ssh open ends with status 0."""
    with local_server() as port:
        done = subprocess.run(
            [
                *(sys.executable, "-c", LEFT_OPEN),
                *(str(sshd.port), str(sshd.keyfile), str(port), *sshd.options),
            ],
            capture_output=True,
            text=True,
            timeout=200,
            env=environment(OURS),
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


def test_paramiko(sshd: Sshd) -> None:
    """Paramiko's machines are as good."""
    pytest.importorskip("paramiko")
    from plumbum.machines.paramiko_machine import ParamikoMachine

    with (
        local_server() as port,
        ParamikoMachine(
            "127.0.0.1",
            port=sshd.port,
            keyfile=str(sshd.keyfile),
            load_system_host_keys=False,
            missing_host_policy=_accepting(),
        ) as machine,
    ):
        conn = rpyc.classic.ssh_connect(machine, port)
        assert conn.modules.os.getpid() == os.getpid()
        assert len(conn.eval("b'x' * 1_000_000")) == 1_000_000
        outcomes: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: outcomes.append(conn.eval(str(n))))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            join(thread)
        assert sorted(outcomes) == [0, 1, 2, 3, 4]
        conn.close()
        assert conn.closed


def _accepting() -> Any:
    import paramiko

    return paramiko.AutoAddPolicy()


# -- deployments


@pytest.mark.usefixtures("tidy")
def test_deployed_server(machine: Any) -> None:
    """The package is sent, a server runs, connections work; afterwards nothing is there."""
    with DeployedServer(machine, python_executable=sys.executable) as server:
        first, second = server.classic_connect(), server.classic_connect()
        assert first.modules.os.getpid() == second.modules.os.getpid() != os.getpid()
        folder = Path(first.modules.rpyc_like.__file__).parent.parent
        assert folder in leftovers()
        assert folder.stat().st_mode & 0o777 == 0o700
        first.execute("print('printed there')")
        assert first.teleport(lambda x: x + 1)(4) == 5
        pid = first.modules.os.getpid()
        first.close()
    with pytest.raises(EOFError):
        second.eval("1")
    eventually(lambda: not alive(pid), "the far process's end")


@pytest.mark.usefixtures("tidy")
def test_own_service_and_server(machine: Any) -> None:
    """Classes are given as names or as classes, whose modules are sent; setup lines run."""
    setup = "import logging; logging.getLogger().setLevel(logging.ERROR); import rpyc_like.version"
    by_class = DeployedServer(
        machine,
        server_class=deployed_service.Polite,
        service_class=deployed_service.Thermometer,
        extra_setup=setup,
        python_executable=sys.executable,
    )
    by_name = DeployedServer(
        machine,
        server_class="rpyc.utils.server.ThreadPoolServer",
        service_class="rpyc_like.core.service.ClassicService",
        python_executable=sys.executable,
    )
    with by_class, by_name:
        assert by_class.connect().root.read() == 21.5
        assert by_name.classic_connect().eval("6 * 7") == 42
    assert by_class.proc is None
    with pytest.raises(ValueError, match="closed"):
        by_class.connect()


@pytest.mark.parametrize("version", FAR_SIDES)
@pytest.mark.usefixtures("tidy")
def test_far_pythons(machine: Any, version: str) -> None:
    """The far side may have any Python from 3.9 on."""
    python = find_interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    with DeployedServer(machine, python_executable=python) as server:
        conn = server.classic_connect()
        assert conn.modules.sys.version.startswith(f"{version}.")
        assert conn.eval("sum(range(10))") == 45
        with pytest.raises(ZeroDivisionError):
            conn.eval("1 / 0")
        conn.execute("class C:\n    def f(self, g): return g(20) + 1")
        assert conn.eval("C()").f(lambda x: 2 * x) == 41


@pytest.mark.parametrize("version", ["3.8", "3.6", "2.7"])
@pytest.mark.usefixtures("tidy")
def test_python_that_is_too_old(machine: Any, version: str) -> None:
    """An older Python is named, with what is expected."""
    python = find_interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    with pytest.raises(
        DeploymentError, match=r"(?s)finding a Python.*expected Python 3\.9"
    ) as caught:
        DeployedServer(machine, python_executable=python)
    assert python in caught.value.stderr


@pytest.mark.usefixtures("tidy")
def test_no_python(machine: Any) -> None:
    """A machine without Python: the error names the step and what was looked for."""
    with pytest.raises(DeploymentError) as caught:
        DeployedServer(machine, python_executable="python9.9")
    assert caught.value.step == "finding a Python"
    assert "python9.9" in str(caught.value)
    assert caught.value.status == 127


@pytest.mark.usefixtures("tidy")
def test_no_room(machine: Any) -> None:
    """A machine where nothing can be written: the error names the step and says why."""
    limited = machine["/bin/sh"]["-c", 'ulimit -f 0; exec "$0" "$@"', sys.executable]
    with pytest.raises(DeploymentError, match="writing the files failed") as caught:
        DeployedServer(machine, python_executable=limited)
    assert "Error" in caught.value.stderr


@pytest.mark.usefixtures("tidy")
def test_server_that_fails(machine: Any) -> None:
    """A server that does not start there: the error shows its traceback."""
    with pytest.raises(DeploymentError, match="starting the server failed") as caught:
        DeployedServer(machine, service_class="no.such.Service", python_executable=sys.executable)
    assert "ModuleNotFoundError" in caught.value.stderr
    for wrong in ("Service", type("Local", (), {"__module__": "__main__"})):
        with pytest.raises(ValueError, match="expected a class"):
            DeployedServer(machine, service_class=wrong)


@pytest.mark.usefixtures("tidy")
def test_changed_host_key(tmp_path: Path) -> None:
    """A host key that has changed: the error shows what ssh says of it."""
    with running_sshd(tmp_path) as sshd, sshd.machine() as machine:
        sshd.stop()
        sshd.new_host_key()
        sshd.start()
        with pytest.raises(DeploymentError) as caught:
            DeployedServer(machine, python_executable=sys.executable)
        assert caught.value.step == "connecting to the machine"
        assert "verification failed" in caught.value.stderr
        with local_server() as port, pytest.raises(EOFError, match="verification failed"):
            rpyc.classic.ssh_connect(machine, port)


@pytest.mark.usefixtures("tidy")
def test_many_deployments(machine: Any) -> None:
    """Deployments at the same time, to one machine, do not meet."""
    with ThreadPoolExecutor(5) as executor:
        servers = list(
            executor.map(
                lambda _: DeployedServer(machine, python_executable=sys.executable), range(5)
            )
        )
    pids = {server.classic_connect().modules.os.getpid() for server in servers}
    assert len(pids) == 5
    for server in servers:
        server.close()


@pytest.mark.usefixtures("tidy")
def test_several_machines(sshd: Sshd) -> None:
    """MultiServerDeployment deploys everywhere, with a service of one's own too."""
    with (
        sshd.machine() as one,
        sshd.machine() as two,
        MultiServerDeployment(
            [one, two],
            service_class=deployed_service.Thermometer,
            python_executable=sys.executable,
        ) as deployment,
    ):
        assert len(deployment) == 2
        assert [conn.root.read() for conn in deployment.connect_all()] == [21.5, 21.5]
        assert len({server.connect().root.pid() for server in deployment}) == 2
        assert deployment[0].remote_machine is one
    assert len(deployment) == 0


@pytest.mark.usefixtures("tidy")
def test_one_of_several_fails(machine: Any) -> None:
    """Where one of several deployments fails, the others are taken back."""
    from plumbum import local

    with pytest.raises(DeploymentError):
        MultiServerDeployment([machine, local], python_executable="python9.9")


@pytest.mark.usefixtures("tidy")
def test_service_that_dies(machine: Any) -> None:
    """Nothing is left either when the server's process ends by itself."""
    server = DeployedServer(
        machine, service_class=deployed_service.Thermometer, python_executable=sys.executable
    )
    conn = server.connect()
    with pytest.raises(EOFError):
        conn.root.die()
    server.close()


CLIENT = """
import sys, time
from plumbum import SshMachine
from rpyc_like.utils.zerodeploy import DeployedServer
port, key, *options = sys.argv[1:]
machine = SshMachine("127.0.0.1", port=int(port), keyfile=key, ssh_opts=options)
server = DeployedServer(machine, python_executable=sys.executable)
conn = server.classic_connect()
print(conn.modules.os.getpid(), conn.modules.rpyc_like.__file__, flush=True)
time.sleep(60)
"""


@pytest.mark.usefixtures("tidy")
def test_client_that_is_killed(sshd: Sshd) -> None:
    """A client that is killed leaves nothing behind."""
    proc = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(sshd.port), str(sshd.keyfile), *sshd.options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(OURS),
    )
    assert proc.stdout is not None
    pid, file = proc.stdout.readline().split()
    folder = Path(file).parent.parent
    assert folder.is_dir()
    assert alive(int(pid))
    proc.send_signal(signal.SIGKILL)
    proc.communicate()
    eventually(lambda: not folder.exists() and not alive(int(pid)), "clearing up")


@pytest.mark.usefixtures("tidy")
def test_local_machine() -> None:
    """``plumbum.local`` is a machine as well."""
    from plumbum import local

    with DeployedServer(local) as server:
        assert server.classic_connect().eval("1 + 1") == 2


OWN_SCRIPT = """
import sys
sys.path.insert(0, sys.path[0])
from $SERVER_MODULE$ import $SERVER_CLASS$ as ServerCls
from $SERVICE_MODULE$ import $SERVICE_CLASS$ as ServiceCls
$EXTRA_SETUP$
t = ServerCls(ServiceCls, hostname="localhost", port=0, reuse_addr=True)
thd = t._start_in_thread()
sys.stdout.write("12 lines of greeting\\n%d\\n" % t.port)
sys.stdout.flush()
try:
    sys.stdin.read()
finally:
    t.close()
    thd.join(60)
"""


@pytest.mark.usefixtures("tidy")
def test_own_script(machine: Any) -> None:
    """A script in the manner of RPyC's, which prints a port, does as well."""
    with DeployedServer(
        machine, server_script=OWN_SCRIPT, python_executable=sys.executable
    ) as server:
        assert isinstance(server.remote_port, int)
        assert server.classic_connect().eval("2 + 2") == 4


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
