"""``rpyc_registry``: a registry of services, by datagrams or TCP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from plumbum import cli

from ..lib.logging_setup import setup_logger
from ..utils.registry import (
    DEFAULT_PRUNING_TIMEOUT,
    REGISTRY_PORT,
    TCPRegistryServer,
    UDPRegistryServer,
)
from ..version import __version__

__all__ = ["RegistryServer", "main"]


def _truth(text: str) -> bool:
    """Returns what a word means.

    Raises:
        ValueError: it is none of those expected.
    """
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise ValueError(f"expected true or false, got {text!r}") from None


def read_secret(file: Any) -> bytes | None:
    """Returns the secret in a file, without the end of its line; None without a file."""
    return None if file is None else Path(str(file)).read_bytes().strip()


class RegistryServer(cli.Application):  # type: ignore[misc]
    """Knows which services run where, and tells who asks."""

    PROGNAME = "rpyc_registry"
    VERSION = __version__

    mode = cli.SwitchAttr(
        ["-m", "--mode"], cli.Set("UDP", "TCP"), default="UDP", help="what it is asked by"
    )
    ipv6 = cli.Flag(["-6", "--ipv6"], help="serve IPv6 (and IPv4, where the system does both)")
    port = cli.SwitchAttr(
        ["-p", "--port"], cli.Range(0, 65535), default=REGISTRY_PORT, help="port to serve on"
    )
    host = cli.SwitchAttr("--host", str, default=None, help="address to bind to (default: all)")
    logfile = cli.SwitchAttr("--logfile", str, default=None, help="log file (default stderr)")
    quiet = cli.Flag(["-q", "--quiet"], help="log errors only")
    pruning_timeout = cli.SwitchAttr(
        ["-t", "--timeout"],
        int,
        default=DEFAULT_PRUNING_TIMEOUT,
        help="seconds after which a service that was not heard of is forgotten",
    )
    allow_listing = cli.SwitchAttr(
        ["-l", "--listing"], _truth, default=False, help="whether all names are told: true, false"
    )

    max_entries = cli.SwitchAttr(
        "--max-entries", cli.Range(1, 10**7), default=10_000, help="most entries in all"
    )
    max_entries_per_host = cli.SwitchAttr(
        "--max-entries-per-host",
        cli.Range(1, 10**7),
        default=1000,
        help="most entries of one host, or of one IPv6 network",
    )
    secret_file = cli.SwitchAttr(
        "--secret-file",
        cli.ExistingFile,
        default=None,
        help="file with a secret of at least 16 bytes that clients must know",
    )

    def main(self) -> int:
        """Serves until it is interrupted."""
        setup_logger(self.quiet, self.logfile)
        host = self.host or ("::" if self.ipv6 else "0.0.0.0")
        kind = UDPRegistryServer if str(self.mode).upper() == "UDP" else TCPRegistryServer
        try:
            server = kind(
                host=host,
                port=int(self.port),
                pruning_timeout=self.pruning_timeout,
                allow_listing=self.allow_listing,
                secret=read_secret(self.secret_file),
            )
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{self.PROGNAME}: {error}\n")
            return 2
        server.MAX_ENTRIES = int(self.max_entries)
        server.MAX_ENTRIES_PER_HOST = int(self.max_entries_per_host)
        server.start()
        return 0


def main() -> None:
    """Runs the program."""
    RegistryServer.run()


if __name__ == "__main__":
    main()
