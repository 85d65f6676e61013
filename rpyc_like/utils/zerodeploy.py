"""Servers on machines that have only a Python: this package is sent there, run, and removed.

::

    with DeployedServer(SshMachine("host")) as server:
        conn = server.classic_connect()

Everything goes over the ways to run a program that a plumbum machine offers. The server listens on
a unix socket in a folder of its own, so that no two deployments meet and no other user of the
machine gets in. It ends, and the folder is removed, when the deployment is closed, and also when
this process or the connection to the machine dies.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, NoReturn

import rpyc_like as rpyc

from ..core.channel import Channel
from ..core.protocol import Connection
from ..core.service import VoidService
from ..core.stream import SocketStream
from ..errors import DeploymentError
from ..lib.compat import BYTES_LITERAL as BYTES_LITERAL
from . import classic
from .children import Input, Output, start_limit
from .factory import Config, ServiceLike, connect_channel
from .tunnels import StderrTail, open_tunnel

__all__ = ["DEPLOY_TIMEOUT", "SERVER_SCRIPT", "DeployedServer", "MultiServerDeployment", "rpyc"]

logger = logging.getLogger("rpyc_like.zerodeploy")

_PACKAGE: Final = __name__.partition(".")[0]
_PATIENCE: Final = 15.0
DEPLOY_TIMEOUT: Final = 60.0
"""Default time that the machine may take for each step of a deployment, in seconds."""

SERVER_SCRIPT: Final = """\
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
from $SERVER_MODULE$ import $SERVER_CLASS$ as ServerCls
from $SERVICE_MODULE$ import $SERVICE_CLASS$ as ServiceCls

logger = None
$EXTRA_SETUP$

t = ServerCls(ServiceCls, socket_path=os.path.join(here, "socket"), logger=logger)
thd = t._start_in_thread()
sys.stdout.write("rpyc_like-listening %s\\n" % t.port)
sys.stdout.flush()
try:
    while sys.stdin.read(4096):
        pass
finally:
    t.close()
    thd.join(2)
"""
"""What runs on the far side; a program may bring its own.

``$SERVER_MODULE$``, ``$SERVER_CLASS$``, ``$SERVICE_MODULE$``, ``$SERVICE_CLASS$`` and
``$EXTRA_SETUP$`` are replaced. The script writes the port it listens on to standard output, alone
in a line, and ends when its standard input does.
"""

_FIND_PYTHON: Final = """\
echo "rpyc_like-step finding a Python"
found=
for python in "$@"; do
  if command -v "$python" >/dev/null 2>&1; then
    found="$found $python"
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
      exec "$python" -c "$0"
    fi
  fi
done
echo "expected Python 3.9 or newer under one of the names $*; found:${found:- none of them}" >&2
exit 127
"""

_CONNECTING: Final = "connecting to the machine"
_STEPS = {127: "finding a Python", 126: "finding a Python"}
_LISTENING = re.compile(r"rpyc_like-listening (?P<path>.{1,4096})|(?P<port>[1-9][0-9]{0,4})")


class DeployedServer:
    """A server that has been brought to another machine and started there.

    Args:
        remote_machine: a plumbum machine: ``SshMachine``, ``plumbum.local`` ...
        server_class, service_class: names of classes that can be imported there
            (``"rpyc.utils.server.ThreadedServer"``), or classes, whose modules are sent as well.
        server_script: what to run there instead of :data:`SERVER_SCRIPT`.
        extra_setup: lines of Python that run there before the server is made.
        python_executable: the Python to use, a name, a path or a plumbum command; by default the
            version that runs here if it is there, else ``python3``.
        timeout: seconds that the machine may take for each step; ``None`` for any.

    Raises:
        DeploymentError: names the step that failed, or took too long.
    """

    _timeout: float | None = DEPLOY_TIMEOUT
    _input: Input | None = None

    def __init__(
        self,
        remote_machine: Any,
        server_class: str | type = "rpyc.utils.server.ThreadedServer",
        service_class: str | type = "rpyc.core.service.SlaveService",
        server_script: str = SERVER_SCRIPT,
        extra_setup: str = "",
        python_executable: Any = None,
        timeout: float | None = DEPLOY_TIMEOUT,
    ) -> None:
        self.proc: Any = None
        self._timeout = timeout
        self._connections: list[Connection] = []
        self.remote_machine = remote_machine
        self.remote_port: int | str | None = None
        self._python: str | None = None
        self._python_executable = python_executable
        script = _fill(server_script, server_class, service_class, extra_setup)
        archive = _archive(script, server_class, service_class)
        self._step = _CONNECTING
        if python_executable is not None and not isinstance(python_executable, (str, Path)):
            self._step += " and starting Python"
        try:
            self._start(archive)
        except BaseException:
            self._abandon()
            raise

    def _start(self, archive: bytes) -> None:
        self._news = threading.Event()  # set at each step, and at the end of the output
        self._ended = False
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.proc = self._command(_far_program("bootstrap")).popen(**pipes, new_session=True)
        self._words = StderrTail(self.proc.stderr)
        self._input = Input(self.proc.stdin)
        Output(self.proc.stdout, self._take_line, self._output_ended)
        self._input.send(b"%d\n%b" % (len(archive), archive))
        while not self._ended and self.remote_port is None:
            if not self._news.wait(self._timeout):
                self._fail(self._timeout)
            self._news.clear()
        if self.remote_port is None:
            self._fail()

    def _take_line(self, line: str) -> None:
        """Take a line that the far side has printed. Runs in the thread that reads them."""
        if self.remote_port is not None:
            logger.info("< %s", line.rstrip())
            return
        text = line.strip()
        word, _, name = text.partition(" ")
        if word == "rpyc_like-step":
            self._step = name
        elif word == "rpyc_like-python":
            self._python = name
        elif self._step == "starting the server":
            self.remote_port = _address(text)
            if self.remote_port is None:
                return  # something else that the server prints
        else:
            return
        self._news.set()

    def _output_ended(self) -> None:
        self._ended = True
        self._news.set()

    def _command(self, program: str, *args: str) -> Any:
        """Returns the command that runs a Python program, given as text, on the machine."""
        python = self._python_executable
        if python is not None and not isinstance(python, (str, Path)):
            return python["-c", program, args]
        shell = self.remote_machine["/bin/sh"]
        if self._python is not None:
            return shell["-c", 'exec "$0" "$@"', self._python, "-c", program, args]
        names = _python_names() if python is None else [str(python)]
        return shell["-c", _FIND_PYTHON, program, names]

    def _fail(self, limit: float | None = None) -> NoReturn:
        """Raise the error about the step that has failed, or taken longer than ``limit``."""
        status: Any = None
        if limit is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.proc.wait(_PATIENCE)
        else:
            self.proc.kill()
        step = self._step
        if step.startswith(_CONNECTING):
            step = _STEPS.get(status, step)
        raise DeploymentError(str(self.remote_machine), step, status, self._words.get(), limit)

    def _abandon(self) -> None:
        """End what has been started, when it has failed."""
        proc = self.proc
        self.close(0)
        if proc is not None and proc.poll() is None:
            proc.kill()
            proc.wait()

    def __repr__(self) -> str:
        return f"<DeployedServer on {self.remote_machine} at {self.remote_port}>"

    def __enter__(self) -> DeployedServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if sys.is_finalizing():
            return  # the threads are gone; the far side ends when this process has
        with contextlib.suppress(Exception):
            self.close(0)

    def close(self, timeout: float | None = None) -> None:
        """Ends the server and the connections to it; its files are removed. Idempotent.

        Args:
            timeout: seconds to wait for that; 15 by default. The far side goes on by itself.
        """
        proc, self.proc = self.proc, None
        if proc is None:
            return
        while self._connections:
            self._connections.pop().close()
        if self._input is not None:
            self._input.close()
        try:
            proc.wait(_PATIENCE if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            if timeout != 0:
                proc.kill()
                proc.wait()

    def _stream(self) -> SocketStream:
        if self.proc is None or self.remote_port is None:
            raise ValueError("the deployment is closed")
        command = self._command(_far_program("stdio_relay"), str(self.remote_port))
        return open_tunnel(command.popen, new_session=True)

    def _connect_sock(self) -> Any:
        """Returns a socket that leads to the server."""
        return self._stream().sock

    def connect(
        self, service: ServiceLike = VoidService, config: Config | None = None
    ) -> Connection:
        """Returns a connection to the server.

        Args:
            service: what this side gives the server.
            config: overrides of the default configuration.
        """
        return self._keep(connect_channel(Channel(self._stream()), service, config))

    def classic_connect(self) -> Connection:
        """Returns a classic connection to the server, if it serves one."""
        stream = self._stream()
        step = f"connecting to the server on {self.remote_machine}"
        with start_limit(self._timeout, step, stream.close) as limit:
            return self._keep(classic.connect_stream(stream, limit))

    def _keep(self, conn: Connection) -> Connection:
        self._connections = [one for one in self._connections if not one.closed] + [conn]
        return conn


class MultiServerDeployment:
    """Servers on several machines, brought there at the same time.

    Args:
        remote_machines: plumbum machines.
        server_class, service_class, options: as for :class:`DeployedServer`.

    Raises:
        DeploymentError: one of them failed; the others have been closed.
    """

    def __init__(
        self,
        remote_machines: Sequence[Any],
        server_class: str | type = "rpyc.utils.server.ThreadedServer",
        service_class: str | type = "rpyc.core.service.SlaveService",
        **options: Any,
    ) -> None:
        self.remote_machines = list(remote_machines)
        self.servers: list[DeployedServer] = []
        with ThreadPoolExecutor(max(1, len(self.remote_machines))) as executor:
            jobs = [
                executor.submit(DeployedServer, machine, server_class, service_class, **options)
                for machine in self.remote_machines
            ]
        failures = [job.exception() for job in jobs]
        self.servers += [job.result() for job, error in zip(jobs, failures) if error is None]
        for error in failures:
            if error is not None:
                self.close()
                raise error

    def __enter__(self) -> MultiServerDeployment:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[DeployedServer]:
        return iter(self.servers)

    def __len__(self) -> int:
        return len(self.servers)

    def __getitem__(self, index: int) -> DeployedServer:
        return self.servers[index]

    def close(self) -> None:
        """Ends all servers. Idempotent."""
        while self.servers:
            self.servers.pop().close()

    def connect_all(
        self, service: ServiceLike = VoidService, config: Config | None = None
    ) -> list[Connection]:
        """Returns a connection to each server."""
        return [server.connect(service, config) for server in self.servers]

    def classic_connect_all(self) -> list[Connection]:
        """Returns a classic connection to each server."""
        return [server.classic_connect() for server in self.servers]


def _address(text: str) -> int | str | None:
    """Return the address that a line tells: a port, the path of a unix socket, or ``None``."""
    found = _LISTENING.fullmatch(text)
    if found is None:
        return None
    port = int(found["port"] or 0)
    return found["path"] or (port if port < 65536 else None)


def _python_names() -> list[str]:
    major, minor = sys.version_info[:2]
    return [f"python{major}.{minor}", f"python{major}", "python"]


def _class_name(cls: str | type) -> tuple[str, str]:
    """Returns module and name of a class; RPyC's modules are this package's."""
    if isinstance(cls, type):
        if cls.__module__ == "__main__" or "." in cls.__qualname__:
            raise ValueError(f"expected a class at the top of an importable module, got {cls!r}")
        return cls.__module__, cls.__name__
    module, _, name = cls.rpartition(".")
    if not module:
        raise ValueError(f"expected a class as 'module.Class', got {cls!r}")
    package, dot, rest = module.partition(".")
    return (_PACKAGE + dot + rest if package == "rpyc" else module), name


def _fill(script: str, server_class: str | type, service_class: str | type, setup: str) -> str:
    server, service = _class_name(server_class), _class_name(service_class)
    values = {
        "SERVER_MODULE": server[0],
        "SERVER_CLASS": server[1],
        "SERVICE_MODULE": service[0],
        "SERVICE_CLASS": service[1],
        "EXTRA_SETUP": setup,
    }
    for name, value in values.items():
        script = script.replace(f"${name}$", value)
    return script


@cache
def _far_program(name: str) -> str:
    return (resources.files(_PACKAGE) / "remote_scripts" / f"{name}.py").read_text("utf-8")


def _archive(script: str, *classes: str | type) -> bytes:
    """Returns a zip archive of this package, the modules of classes, and the script."""
    packages = {_PACKAGE}
    packages.update(cls.__module__.partition(".")[0] for cls in classes if isinstance(cls, type))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in sorted(packages - {"builtins"}):
            for path, content in _sources(package):
                archive.writestr(path, content)
        archive.writestr("deployed-rpyc.py", script)
    return buffer.getvalue()


@lru_cache(maxsize=16)
def _sources(package: str) -> list[tuple[str, bytes]]:
    """Returns paths and contents of the Python files of a package or module."""
    module = importlib.import_module(package)
    if not hasattr(module, "__path__"):
        if not module.__file__ or not module.__file__.endswith(".py"):
            raise ValueError(f"expected a module with a source file, got {module!r}")
        return [(f"{package}.py", Path(module.__file__).read_bytes())]
    return list(_walk(resources.files(package), package))


def _walk(folder: Any, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        path = f"{prefix}/{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _walk(entry, path)
        elif entry.name.endswith((".py", ".typed")):
            yield path, entry.read_bytes()
