"""``rpyc_classic``: a server that gives its clients the whole interpreter."""

from __future__ import annotations

import sys
from typing import Any

from plumbum import cli

import rpyc_like as rpyc

from ..core.config import COMPAT_RPYC6
from ..core.service import ClassicService
from ..errors import AuthenticationError
from ..lib.logs import setup_logger
from ..utils.authenticators import SSLAuthenticator
from ..utils.classic import DEFAULT_SERVER_PORT, DEFAULT_SERVER_SSL_PORT
from ..utils.factory import connect_stdpipes
from ..utils.registry import (
    REGISTRY_PORT,
    RegistryClient,
    TCPRegistryClient,
    UDPRegistryClient,
)
from ..utils.server import ForkingServer, OneShotServer, Server, ThreadedServer
from ..version import __version__

__all__ = ["DEFAULT_SERVER_PORT", "ClassicServer", "main", "rpyc"]

SlaveService = ClassicService


class ClassicServer(cli.Application):  # type: ignore[misc]
    """Gives whoever connects full control over this process: for trusted clients only."""

    PROGNAME = "rpyc_classic"
    VERSION = __version__

    mode = cli.SwitchAttr(
        ["-m", "--mode"],
        cli.Set("threaded", "forking", "stdio", "oneshot"),
        default="threaded",
        help="threaded: a thread for each client; forking: a process for each; "
        "oneshot: one client, then exit; "
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
    insecure = cli.Flag(
        "--insecure", help="let everybody on the network in, with an address that is not loopback"
    )

    def main(self) -> int:
        """Serves in the chosen mode."""
        setup_logger(self.quiet, self.logfile)
        try:
            return self._serve()
        except AuthenticationError as error:
            sys.stderr.write(f"rpyc_classic: {error} (--insecure)\n")
            return 2

    def _serve(self) -> int:
        if self.mode == "stdio":
            self._serve_stdio()
        elif self.mode == "oneshot":
            self._serve_oneshot()
        else:
            kind = ForkingServer if self.mode == "forking" else ThreadedServer
            self._server(kind).start()
        return 0

    def _server(self, factory: type[Server], **overrides: Any) -> Server:
        authenticator = None
        port = DEFAULT_SERVER_PORT
        if self.ssl_keyfile:
            cafile = str(self.ssl_cafile) if self.ssl_cafile else None
            authenticator = SSLAuthenticator(str(self.ssl_keyfile), str(self.ssl_certfile), cafile)
            port = DEFAULT_SERVER_SSL_PORT
        options: dict[str, Any] = {
            "registrar": self._registrar(),
            "auto_register": bool(self.auto_register),
            "hostname": self.host,
            "port": port if self.port is None else int(self.port),
            "ipv6": self.ipv6,
            "authenticator": authenticator,
            "insecure": self.insecure or COMPAT_RPYC6,
        }
        return factory(ClassicService, **{**options, **overrides})

    def _registrar(self) -> RegistryClient | None:
        if not self.auto_register:
            return None
        host, port = self.registry_host, int(self.registry_port)
        if str(self.registry_type).upper() == "TCP":
            if host is None:
                raise cli.switches.MissingArgument("--registry-type TCP needs --registry-host")
            return TCPRegistryClient(host, port)
        if host is None:
            return UDPRegistryClient(port=port)
        return UDPRegistryClient(host, port)

    def _serve_oneshot(self) -> None:
        server = self._server(OneShotServer, **({} if self.port is not None else {"port": 0}))
        sys.stdout.write(f"rpyc-oneshot\n{server.host}\t{server.port}\n")
        sys.stdout.flush()
        server.start()

    def _serve_stdio(self) -> None:
        connect_stdpipes(ClassicService).serve_all()


def main() -> None:
    """Runs the program."""
    ClassicServer.run()


if __name__ == "__main__":
    main()
