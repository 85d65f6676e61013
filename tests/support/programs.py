"""Programs of the system that tests talk with: sshd, inetd, systemd-socket-activate."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually

from .peers import find_interpreter as find_interpreter

PACKAGES = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "inetd": "openbsd-inetd",
    "systemd-socket-activate": "systemd",
    "emacs": "emacs-nox elpa-epc",
    "xvfb-run": "xvfb xauth",
    "erl": "erlang-base",
    "erlc": "erlang-dev",
    "escript": "erlang-base",
    "elixir": "elixir",
}
"""Programs, and the Debian packages they come from; ``bin/test`` installs them."""


def program(name: str) -> str:
    """Returns the path of a program; skips (in CI: fails) if it is not there."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        message = f"{name} is missing: install {PACKAGES[name]} (bin/test --install does)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def free_port() -> int:
    """Returns a port that is free, and stays so: the system gives nobody one of this range."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Sshd:
    """A real sshd on a port of its own, for the user who runs the tests.

    Args:
        folder: where its files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._proc: subprocess.Popen[bytes] | None = None
        self.keyfile = folder / "client"
        self.known_hosts = folder / "known_hosts"
        self._keygen(self.keyfile)
        self.new_host_key()
        self.trust()
        shutil.copy(f"{self.keyfile}.pub", folder / "authorized")
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\nPidFile none\nStrictModes no\n"
            "UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\n"
            "MaxSessions 100\nSubsystem sftp internal-sftp\n"
        )

    def _keygen(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def new_host_key(self) -> None:
        """Makes a host key, which clients do not know."""
        self._keygen(self.folder / "host")

    def trust(self) -> None:
        """Tells clients the host key."""
        key = (self.folder / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}")

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it separates its privileges
        command = [program("sshd"), "-D", "-e", "-f", str(self.folder / "config")]
        self._proc = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        eventually(lambda: answers(self.port), "sshd's listening")

    def stop(self) -> None:
        if self._proc is not None:
            self._proc.kill()
            self._proc.wait()
            self._proc = None

    @property
    def options(self) -> list[str]:
        """What ssh needs to be told."""
        return [
            *("-F", "/dev/null"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"),
            *("-o", "IdentitiesOnly=yes"),
        ]

    def machine(self) -> Any:
        """Returns a plumbum SshMachine."""
        from plumbum import SshMachine

        program("ssh")
        return SshMachine(
            "127.0.0.1",
            port=self.port,
            keyfile=str(self.keyfile),
            ssh_opts=self.options,
            scp_opts=self.options,
        )


@contextlib.contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Runs an sshd whose files are in a folder."""
    program("sshd")
    sshd = Sshd(folder)
    sshd.start()
    try:
        yield sshd
    finally:
        sshd.stop()
