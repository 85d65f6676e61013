"""``rpyc_classic``: a server that gives its clients the whole interpreter."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

from plumbum import cli

import rpyc_like as rpyc

from ..core.config import COMPAT_RPYC6
from ..core.service import ClassicService
from ..errors import AuthenticationError
from ..lib.logging_setup import setup_logger
from ..link.listener import is_listening
from ..link.streams.pipe import standard_socket
from ..utils import systemd
from ..utils.authenticators import (
    Chain,
    KeyAuthenticator,
    SSLAuthenticator,
    TokenAuthenticator,
    UnixAuthenticator,
)
from ..utils.base_server import GRACE
from ..utils.classic import DEFAULT_SERVER_PORT, DEFAULT_SERVER_SSL_PORT
from ..utils.factory import connect_stdpipes
from ..utils.graceful_shutdown import leave_when_given_up
from ..utils.registry import (
    REGISTRY_PORT,
    RegistryClient,
    TCPRegistryClient,
    UDPRegistryClient,
)
from ..utils.server import ForkingServer, OneShotServer, Server, ThreadedServer, ThreadPoolServer
from ..version import __version__
from .rpyc_registry import read_secret

__all__ = ["DEFAULT_SERVER_PORT", "ClassicServer", "main", "rpyc"]

SlaveService = ClassicService


class ClassicServer(cli.Application):  # type: ignore[misc]
    """Gives whoever connects full control over this process: for trusted clients only."""

    PROGNAME = "rpyc_classic"
    VERSION = __version__

    mode = cli.SwitchAttr(
        ["-m", "--mode"],
        cli.Set("threaded", "pool", "forking", "stdio", "oneshot"),
        default="threaded",
        help="threaded: a thread for each client; pool: some threads for all; forking: a process "
        "for each; oneshot: one client, then exit; "
        "stdio: over standard input and output (inetd, ssh, subprocess)",
    )
    port = cli.SwitchAttr(
        ["-p", "--port"],
        cli.Range(0, 65535),
        default=None,
        help=f"TCP port, 0 for a free one (default {DEFAULT_SERVER_PORT}, "
        f"with TLS {DEFAULT_SERVER_SSL_PORT})",
    )
    host = cli.SwitchAttr(
        ["--host"], str, default=None, help="address to bind to (default the loopback address)"
    )
    ipv6 = cli.Flag(["--ipv6"], help="listen on IPv6")
    socket_path = cli.SwitchAttr(
        ["--socket-path"],
        str,
        default=None,
        excludes=["--port", "--host", "--ipv6"],
        help="unix socket to listen on instead, for programs of the same user",
    )
    systemd = cli.Flag(
        ["--systemd"],
        excludes=["--port", "--host", "--ipv6", "--socket-path"],
        help="use the sockets that systemd gives (LISTEN_FDS), and tell it how the service is "
        "doing (NOTIFY_SOCKET, WATCHDOG_USEC)",
    )
    fd_names = cli.SwitchAttr(
        ["--fd-name"],
        str,
        list=True,
        requires=["--systemd"],
        help="of systemd's sockets use those with this name (FileDescriptorName=); repeatable",
    )
    idle_exit = cli.SwitchAttr(
        ["--idle-exit"], float, default=None, help="exit after so many seconds without a client"
    )
    grace = cli.SwitchAttr(
        ["--grace"],
        float,
        default=GRACE,
        help="seconds that running calls get after SIGTERM; a second SIGTERM cuts them",
    )
    threads = cli.SwitchAttr(
        ["--threads"], int, default=20, help="calls that -m pool serves at once"
    )
    authenticator = cli.SwitchAttr(
        ["--authenticator"],
        str,
        default=None,
        excludes=["--ssl-keyfile"],
        help="MODULE:NAME of a callable that is given each client's socket and returns (socket, "
        "credentials), or raises AuthenticationError",
    )
    token_file = cli.SwitchAttr(
        "--token-file",
        cli.ExistingFile,
        excludes=["--authenticator", "--authorized-keys"],
        help="file with a secret that clients must know (TokenLogin)",
    )
    authorized_keys = cli.SwitchAttr(
        "--authorized-keys",
        cli.ExistingFile,
        excludes=["--authenticator"],
        help="file with the Ed25519 keys of those who are let in (KeyLogin), as OpenSSH's",
    )
    host_key = cli.SwitchAttr(
        "--host-key",
        cli.ExistingFile,
        requires=["--authorized-keys"],
        help="this server's own Ed25519 key, for clients that want to see it",
    )
    users = cli.SwitchAttr(
        "--user",
        str,
        list=True,
        requires=["--socket-path"],
        help="name or number of a user whose processes are let in; repeatable",
    )
    logfile = cli.SwitchAttr("--logfile", str, default=None, help="log file (default stderr)")
    quiet = cli.Flag(["-q", "--quiet"], help="log errors only")
    ssl_keyfile = cli.SwitchAttr(
        "--ssl-keyfile", cli.ExistingFile, requires=["--ssl-certfile"], help="private key (PEM)"
    )
    ssl_certfile = cli.SwitchAttr(
        "--ssl-certfile", cli.ExistingFile, requires=["--ssl-keyfile"], help="certificate (PEM)"
    )
    ssl_cafile = cli.SwitchAttr(
        "--ssl-cafile",
        cli.ExistingFile,
        requires=["--ssl-keyfile"],
        help="certificates of those whose clients are let in (PEM)",
    )

    auto_register = cli.Flag(
        "--register", help="register with a registry, and again from time to time"
    )
    registry_type = cli.SwitchAttr(
        "--registry-type",
        cli.Set("UDP", "TCP"),
        default="UDP",
        help="what the registry is asked by",
    )
    registry_port = cli.SwitchAttr(
        "--registry-port", cli.Range(0, 65535), default=REGISTRY_PORT, help="port of the registry"
    )
    registry_host = cli.SwitchAttr(
        "--registry-host",
        str,
        default=None,
        help="address of the registry (default a broadcast; needed for TCP)",
    )
    registry_secret_file = cli.SwitchAttr(
        "--registry-secret-file",
        cli.ExistingFile,
        default=None,
        help="file with a secret that the registry knows too",
    )
    insecure = cli.Flag(
        "--insecure", help="let everybody on the network in, with an address that is not loopback"
    )

    def main(self) -> int:
        """Serves in the chosen mode."""
        setup_logger(self.quiet, self.logfile)
        try:
            return self._serve()
        except AuthenticationError as error:
            self._complain(f"{error} (--insecure)")
        except (ImportError, ValueError, OSError) as error:
            self._complain(str(error))
        return 2

    def _complain(self, text: str) -> None:
        if self.logfile:
            logging.getLogger(self.PROGNAME).error("%s", text)
        sys.stderr.write(f"{self.PROGNAME}: {text}\n")

    def _serve(self) -> int:
        if self.systemd:
            self._serve_systemd()
        elif self.mode == "stdio":
            self._serve_stdio()
        elif self.mode == "oneshot":
            self._serve_oneshot()
        else:
            self._server(**self._address()).start()
        return 0

    def _address(self) -> dict[str, Any]:
        """Returns where to listen."""
        if self.socket_path:
            mode = 0o666 if self.users else 0o600  # the authenticator asks who it is
            return {"socket_path": str(self.socket_path), "socket_mode": mode}
        port = DEFAULT_SERVER_SSL_PORT if self.ssl_keyfile else DEFAULT_SERVER_PORT
        port = port if self.port is None else int(self.port)
        return {"hostname": self.host, "port": port, "ipv6": self.ipv6}

    def _server(self, kind: type[Server] | None = None, **address: Any) -> Server:
        options: dict[str, Any] = {
            "registrar": self._registrar(),
            "auto_register": bool(self.auto_register),
            "authenticator": self._authenticator(),
            "insecure": self.insecure or COMPAT_RPYC6,
            "idle_timeout": self.idle_exit,
            "grace": float(self.grace),
        }
        if kind is None:
            kind = _KINDS[str(self.mode)]
        if kind is ThreadPoolServer:
            options["nbThreads"] = int(self.threads)
        return kind(ClassicService, **options, **address)

    def _authenticator(self) -> Any:
        if self.authenticator:
            module, _, name = str(self.authenticator).partition(":")
            found = getattr(importlib.import_module(module), name, None)
            if not callable(found):
                raise ValueError(
                    "--authenticator: expected MODULE:NAME of a callable, "
                    f"got {str(self.authenticator)!r}"
                )
            return found
        chosen: list[Any] = []
        if self.users:
            chosen.append(UnixAuthenticator([_user_number(user) for user in self.users]))
        if self.ssl_keyfile:
            cafile = str(self.ssl_cafile) if self.ssl_cafile else None
            chosen.append(SSLAuthenticator(str(self.ssl_keyfile), str(self.ssl_certfile), cafile))
        if self.token_file:
            chosen.append(TokenAuthenticator(Path(str(self.token_file))))
        if self.authorized_keys:
            host_key = str(self.host_key) if self.host_key else None
            chosen.append(KeyAuthenticator(str(self.authorized_keys), host_key))
        return Chain(*chosen) if len(chosen) > 1 else next(iter(chosen), None)

    def _registrar(self) -> RegistryClient | None:
        if not self.auto_register:
            return None
        host, port = self.registry_host, int(self.registry_port)
        secret = read_secret(self.registry_secret_file)
        if str(self.registry_type).upper() == "TCP":
            if host is None:
                raise cli.switches.MissingArgument("--registry-type TCP needs --registry-host")
            return TCPRegistryClient(host, port, secret=secret)
        if host is None:
            return UDPRegistryClient(port=port, secret=secret)
        return UDPRegistryClient(host, port, secret=secret)

    def _serve_oneshot(self) -> None:
        address = self._address()
        if self.port is None and not self.socket_path:
            address["port"] = 0
        server = self._server(OneShotServer, **address)
        sys.stdout.write(f"rpyc-oneshot\n{server.host}\t{server.port}\n")
        sys.stdout.flush()
        server.start()

    def _serve_stdio(self) -> None:
        sock = standard_socket()
        if sock is None:
            conn = connect_stdpipes(ClassicService)
            leave_when_given_up(conn, float(self.grace))
            conn.serve_all()
        else:
            self._server(OneShotServer, sockets=[sock]).start()

    def _serve_systemd(self) -> None:
        given = systemd.received_sockets()
        sockets = [sock for name, sock in given if not self.fd_names or name in self.fd_names]
        if not sockets:
            wanted = f" named {', '.join(self.fd_names)}" if self.fd_names else ""
            got = ", ".join(name for name, _ in given) or "none"
            raise ValueError(f"--systemd: expected sockets{wanted} from systemd, got {got}")
        kind = None if is_listening(sockets[0]) else OneShotServer
        self._server(kind, sockets=sockets, tell_systemd=True).start()


def _user_number(user: str) -> int:
    """Returns the number of a user.

    Raises:
        ValueError: there is none of that name.
    """
    import pwd  # which some systems do not have

    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ValueError(f"--user: expected a user of this machine, got {user!r}") from None


_KINDS: dict[str, type[Server]] = {
    "threaded": ThreadedServer,
    "pool": ThreadPoolServer,
    "forking": ForkingServer,
    "oneshot": OneShotServer,
    "stdio": OneShotServer,
}


def main() -> None:
    """Runs the program."""
    ClassicServer.run()


if __name__ == "__main__":
    main()
