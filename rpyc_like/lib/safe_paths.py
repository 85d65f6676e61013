"""Make local paths of names that a peer has chosen.

Every such name passes :func:`join_name`: it becomes an entry of one given folder, and never leads
out of it. :class:`Folder` opens what is found there without following links, so that a link that
stands in the folder already, or is put there meanwhile, leads nowhere either.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
from pathlib import Path
from typing import Any, BinaryIO, Final

from .brief import brief
from .exact import exact

__all__ = ["Folder", "create_new", "join_name"]

_LONGEST: Final = 255  # bytes of a name, on the usual file systems
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_WINDOWS: Final = sys.platform == "win32"
_NUMBERS: Final = "0123456789\u00b9\u00b2\u00b3"
_DEVICES: Final = frozenset(
    "CON PRN AUX NUL CONIN$ CONOUT$ CLOCK$".split()
    + [name + number for name in ("COM", "LPT") for number in _NUMBERS]
)
_JOINERS: Final = "\u200c\u200d"  # found in Persian words and in emoji; they reorder nothing

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_PLAIN: Final = _NO_FOLLOW | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_AT: Final = {os.open, os.mkdir} <= os.supports_dir_fd and bool(_NO_FOLLOW)


def join_name(folder: str | Path, name: Any, purpose: str = "from the peer") -> str:
    """Return the path of the entry ``name`` of ``folder``.

    Args:
        folder: chosen by this program.
        name: chosen by a peer, or by somebody else who is not trusted with paths.
        purpose: where the name comes from or what it is for, for the error.

    Raises:
        TypeError: ``name`` is not exactly a ``str``.
        ValueError: it is not a plain file name here, or the entry is a link. On Windows, names of
            devices and names that end with a dot or a space are refused as well: there they mean
            something else than they say. Elsewhere they are names like others.
    """
    plain = exact(name, str, "a file name")
    fault = _fault(plain)
    path = os.path.join(os.fspath(folder), plain) if fault is None else ""
    if fault is None and os.path.islink(path):
        fault = "which is a link there"
    if fault is not None:
        raise ValueError(f"expected a plain file name {purpose}, got {brief(plain)}, {fault}")
    return path


def _fault(name: str) -> str | None:
    """Return what is wrong with a name, or ``None``."""
    if name in ("", ".", ".."):
        return "which names no entry of a folder"
    if "/" in name or "\\" in name:
        return "which has a separator"
    if _DRIVE.match(name) or (_WINDOWS and ":" in name):
        return "which names a drive"
    if _WINDOWS:
        if name[-1] in ". ":
            return "which ends with a dot or a space"
        if name.partition(".")[0].rstrip(" ").upper() in _DEVICES:
            return "which names a device"
    if not all(one.isprintable() or one in _JOINERS or _is_space(one) for one in name):
        return "which is not printable"
    if len(os.fsencode(name)) > _LONGEST:
        return f"which is longer than {_LONGEST} bytes"
    return None


def _is_space(character: str) -> bool:
    return unicodedata.category(character) == "Zs"  # not printable for Python, but usual in names


class Folder:
    """A folder of this machine that takes files and folders under names of a peer.

    Args:
        path: of the folder, chosen by this program; links in it are followed.
    """

    def __init__(self, path: str | Path) -> None:
        self._use(os.fspath(path), os.open(path, _DIRECTORY) if _AT else None)

    def _use(self, path: str, fd: int | None) -> None:
        self.path = path
        """Path of the folder, for messages."""
        self._fd = fd

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def folder(self, name: Any) -> Folder:
        """Return the folder ``name`` in this one, made if it is missing.

        Raises:
            TypeError, ValueError: see :func:`join_name`.
            OSError: there is something else of that name, for instance a link.
        """
        path = join_name(self.path, name)
        try:
            os.mkdir(self._entry(path), dir_fd=self._fd)
        except FileExistsError:
            pass
        inner = Folder.__new__(Folder)
        fd = os.open(self._entry(path), _DIRECTORY | _NO_FOLLOW, dir_fd=self._fd) if _AT else None
        inner._use(path, fd)
        return inner

    def create(self, name: Any) -> BinaryIO:
        """Return the file ``name`` of this folder, opened for writing and empty.

        Raises:
            TypeError, ValueError: see :func:`join_name`.
            OSError: it cannot be written, or is something else than a file.
        """
        path = join_name(self.path, name)
        # Without O_NONBLOCK, opening a FIFO that stands there would wait for its reader.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN | getattr(os, "O_NONBLOCK", 0)
        fd = os.open(self._entry(path), flags, 0o666, dir_fd=self._fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ValueError(f"expected a file to write to, {path!r} is something else")
        return open(fd, "wb")

    def _entry(self, path: str) -> str:
        return path if self._fd is None else os.path.basename(path)


def create_new(path: str | Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet; it has its permissions from the start.

    Args:
        mode: permission bits, before the umask.

    Raises:
        FileExistsError: there is something of that name, be it a link to nothing.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, mode)
    except FileExistsError as error:
        text = f"{error.strerror}, move it away first"
        raise FileExistsError(error.errno, text, os.fspath(path)) from None
    try:
        with open(fd, "wb") as file:
            file.write(data)
    except BaseException:
        os.unlink(path)
        raise
