"""``rpyc_copy``: copies files to and from a machine with a classic server, with a progress bar."""

from __future__ import annotations

import sys
from typing import Any

from plumbum import cli
from plumbum.cli.progress import Progress as Bar

from ..errors import RpycLikeError
from ..utils import classic
from ..version import __version__

__all__ = ["Copy", "main"]


class ProgressBars:
    """Shows a bar for each file, where a terminal is there to see it.

    Args:
        quiet: shows nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stdout.isatty()
        self._path: str | None = None
        self._bar: Any = None

    def __call__(self, path: str, done: int, size: int | None) -> None:
        """Takes what a transfer reports; see :data:`rpyc_like.utils.file_transfer.Progress`."""
        if path != self._path:
            self.close()
            self._path = path
            if self._quiet:
                return
            print(path)
            self._bar = Bar(length=max(1, size or done), has_output=False, timer=True)
            self._bar.start()
        if self._bar is not None:
            self._bar.value = min(max(1, done), self._bar.length)

    def close(self) -> None:
        """Ends the last bar."""
        if self._bar is not None:
            self._bar.done()
            self._bar = None


class Copy(cli.Application):  # type: ignore[misc]
    """Copies a file or a directory: rpyc_copy SOURCE TARGET, one of them as HOST:PATH."""

    PROGNAME = "rpyc_copy"
    VERSION = __version__

    port = cli.SwitchAttr(
        ["-p", "--port"],
        cli.Range(1, 65535),
        default=classic.DEFAULT_SERVER_PORT,
        help="port of the classic server",
    )
    quiet = cli.Flag(["-q", "--quiet"], help="show no progress")

    def main(self, source: str, target: str) -> int:
        """Copies."""
        here, there = _host(source), _host(target)
        if (here is None) == (there is None):
            print("rpyc_copy: expected HOST:PATH as source or as target", file=sys.stderr)
            return 2
        bars = ProgressBars(self.quiet)
        try:
            with classic.connect(here or there or "", self.port) as conn:
                if here is not None:
                    path = source[len(here) + 1 :]
                    classic.download(conn, path, target, progress=bars)
                else:
                    assert there is not None
                    path = target[len(there) + 1 :]
                    classic.upload(conn, source, path, progress=bars)
        except (OSError, EOFError, ValueError, TypeError, RpycLikeError) as error:
            print(f"rpyc_copy: {_first_line(error)}", file=sys.stderr)
            return 1
        finally:
            bars.close()
        return 0


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, which may be the peer's, for a terminal."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return "".join(one if one.isprintable() else "?" for one in line)


def _host(path: str) -> str | None:
    """Returns the host of HOST:PATH; None for a path of this machine."""
    host, colon, _ = path.partition(":")
    is_drive = sys.platform == "win32" and len(host) == 1
    return host if colon and host and "/" not in host and not is_drive else None


def main() -> None:
    """Runs the command."""
    Copy.run()


if __name__ == "__main__":
    main()
