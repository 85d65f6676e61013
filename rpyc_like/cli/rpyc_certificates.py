"""``rpyc_certificates``: a private authority, certificates that live shortly, and tokens."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

from plumbum import cli

from ..lib.optional_imports import needed
from ..lib.safe_paths import create_new
from ..version import __version__

__all__ = ["Certificates", "main"]


class Certificates(cli.Application):  # type: ignore[misc]
    """Makes what servers and clients need to know each other: certificates and tokens."""

    PROGNAME = "rpyc_certificates"
    VERSION = __version__

    def main(self, *wrong: str) -> int:
        """Says what to do, if nothing was asked for."""
        if wrong:
            sys.stderr.write(f"{self.PROGNAME}: expected a command, got {wrong[0]!r}\n")
            return 2
        if not self.nested_command:
            self.help()
            return 2
        return 0


class _Command(cli.Application):  # type: ignore[misc]
    """A command that makes files in a folder."""

    folder = cli.SwitchAttr(["-d", "--folder"], str, default=".", help="of the authority")

    def _attempt(self, name: str, *args: Any) -> int:
        """Makes something and says what has been written."""
        try:
            made = getattr(needed("rpyc_like.utils.certificates", "cryptography"), name)(*args)
        except FileNotFoundError as error:
            sys.stderr.write(f"{error}; make an authority first: rpyc_certificates ca\n")
            return 2
        except (ImportError, OSError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return 2
        for path in made if isinstance(made, tuple) else (made,):
            sys.stdout.write(f"{path}\n")
        return 0


@Certificates.subcommand("ca")  # type: ignore[untyped-decorator]
class Authority(_Command):
    """Makes a new authority."""

    days = cli.SwitchAttr("--days", int, default=365, help="that it lives")

    def main(self) -> int:
        """Makes it."""
        done = self._attempt("make_authority", str(self.folder), int(self.days))
        if not done:
            sys.stderr.write(f"keep its key secret: {Path(str(self.folder), 'ca.key')}\n")
        return done


@Certificates.subcommand("server")  # type: ignore[untyped-decorator]
class ServerCertificate(_Command):
    """Makes the certificate of a server, for the names and addresses that clients connect to."""

    days = cli.SwitchAttr("--days", int, default=30, help="that it lives")

    def main(self, name: str, *names: str) -> int:
        """Makes it."""
        return self._attempt("make_server", str(self.folder), [name, *names], int(self.days))


@Certificates.subcommand("client")  # type: ignore[untyped-decorator]
class ClientCertificate(_Command):
    """Makes the certificate of a client."""

    days = cli.SwitchAttr("--days", int, default=30, help="that it lives")

    def main(self, name: str) -> int:
        """Makes it."""
        return self._attempt("make_client", str(self.folder), name, int(self.days))


@Certificates.subcommand("token")  # type: ignore[untyped-decorator]
class Token(cli.Application):  # type: ignore[misc]
    """Makes a secret in a new file, which only this user can read."""

    def main(self, file: str) -> int:
        """Makes it."""
        try:
            create_new(file, f"{secrets.token_urlsafe(32)}\n".encode(), 0o600)
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        sys.stdout.write(f"{file}\n")
        return 0


def main() -> None:
    """Runs the program."""
    Certificates.run()


if __name__ == "__main__":
    main()
