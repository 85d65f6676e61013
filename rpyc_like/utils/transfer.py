"""Copying files between the two sides of a classic connection.

A file is opened, read or written, and closed in one trip if it is small. Larger ones travel in
chunks that grow up to 4 MiB (or of the size that is asked for); the next one is under way while
this side reads or writes its own file. A directory takes two trips, and one for each file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from ..core.consts import HANDLE_CALLATTR, STREAM_CHUNK
from ..core.netref import asyncreq
from ..core.protocol import Connection

__all__ = [
    "Progress",
    "download",
    "download_dir",
    "download_file",
    "upload",
    "upload_dir",
    "upload_file",
]

Filter = Callable[[str], bool]
Progress = Callable[[str, int, "int | None"], Any]
"""Is told the local path of a file, how many bytes of it have been copied, and how many it has
(None: not known)."""

_FIRST = 1 << 20
_LARGEST = 1 << 22


def upload(
    conn: Connection,
    localpath: str,
    remotepath: str,
    filter: Filter | None = None,
    ignore_invalid: bool = False,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a local file or directory tree to the other side.

    Args:
        filter: is asked with each name in a directory whether to copy it.
        ignore_invalid: whether to skip what is neither file nor directory.
        chunk_size: bytes of one message; the default leaves it to this side.
        progress: is told how far each file is.
    """
    if os.path.isdir(localpath):
        upload_dir(conn, localpath, remotepath, filter, chunk_size, progress)
    elif os.path.isfile(localpath):
        upload_file(conn, localpath, remotepath, chunk_size, progress)
    elif not ignore_invalid:
        raise ValueError(f"cannot upload {localpath!r}: neither a file nor a directory")


def upload_file(
    conn: Connection,
    localpath: str,
    remotepath: str,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a local file to the other side."""
    with open(localpath, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        sizes = _sizes(chunk_size)
        chunk = source.read(next(sizes))
        done = len(chunk)
        with conn.pipeline() as there:
            opened = there.root.getmodule("builtins").open(remotepath, "wb")
            written = opened.write(chunk)
            closed = opened.close() if done >= size else None
        target, _ = there.fetch(opened, written)
        if closed is not None:
            there.fetch(closed)
        _tell(progress, localpath, done, size)
        try:
            under_way = None
            while closed is None and (chunk := source.read(next(sizes))):
                if under_way is not None:
                    under_way.wait()
                under_way = asyncreq(target, HANDLE_CALLATTR, "write", (chunk,), ())
                done += len(chunk)
                _tell(progress, localpath, done, size)
            if under_way is not None:
                under_way.value  # noqa: B018
        finally:
            if closed is None:
                target.close()


def upload_dir(
    conn: Connection,
    localpath: str,
    remotepath: str,
    filter: Filter | None = None,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a local directory tree to the other side."""
    names = [name for name in os.listdir(localpath) if filter is None or filter(name)]
    with conn.pipeline() as there:
        remote_os = there.root.getmodule("os")
        made = remote_os.makedirs(remotepath, exist_ok=True)
        paths = [remote_os.path.join(remotepath, name) for name in names]
    there.fetch(made)
    for name, path in zip(names, paths):
        local = os.path.join(localpath, name)
        upload(conn, local, there.fetch(path), filter, True, chunk_size, progress)


def download(
    conn: Connection,
    remotepath: str,
    localpath: str,
    filter: Filter | None = None,
    ignore_invalid: bool = False,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a remote file or directory tree to this side; arguments as for :func:`upload`."""
    with conn.pipeline() as there:
        path = there.root.getmodule("os").path
        asked = path.isdir(remotepath), path.isfile(remotepath)
    kind = there.fetch(*asked)
    _download(conn, remotepath, localpath, kind, filter, ignore_invalid, chunk_size, progress)


def _download(
    conn: Connection,
    remotepath: str,
    localpath: str,
    kind: tuple[bool, bool],
    filter: Filter | None,
    ignore_invalid: bool,
    chunk_size: int,
    progress: Progress | None,
) -> None:
    is_dir, is_file = kind
    if is_dir:
        download_dir(conn, remotepath, localpath, filter, chunk_size, progress)
    elif is_file:
        download_file(conn, remotepath, localpath, chunk_size, progress)
    elif not ignore_invalid:
        raise ValueError(f"cannot download {remotepath!r}: neither a file nor a directory")


def download_file(
    conn: Connection,
    remotepath: str,
    localpath: str,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a remote file to this side."""
    sizes = _sizes(chunk_size)
    wanted = next(sizes)
    with conn.pipeline() as there:
        opened = there.root.getmodule("builtins").open(remotepath, "rb")
        asked = there.root.getmodule("os").fstat(opened.fileno()).st_size
        read = opened.read(wanted)
    source, size, chunk = there.fetch(opened, asked, read)
    done = 0
    try:
        with open(localpath, "wb") as target:
            while chunk:
                last = len(chunk) < wanted and done + len(chunk) >= size
                if not last:
                    wanted = next(sizes)
                    under_way = asyncreq(source, HANDLE_CALLATTR, "read", (wanted,), ())
                target.write(chunk)
                done += len(chunk)
                _tell(progress, localpath, done, size)
                chunk = b"" if last else under_way.value
    finally:
        asyncreq(source, HANDLE_CALLATTR, "close", (), ())  # closing what was read cannot fail


def download_dir(
    conn: Connection,
    remotepath: str,
    localpath: str,
    filter: Filter | None = None,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
) -> None:
    """Copies a remote directory tree to this side."""
    os.makedirs(localpath, exist_ok=True)
    with conn.pipeline() as there:
        there_names = there.map(lambda name: name, there.root.getmodule("os").listdir(remotepath))
    names = []
    for name in there.fetch(there_names):
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise ValueError(f"refusing to download {name!r}: not a plain file name")
        if filter is None or filter(name):
            names.append(name)
    with conn.pipeline() as there:
        path = there.root.getmodule("os").path
        asked = []
        for name in names:
            full = path.join(remotepath, name)
            asked.append((name, full, path.isdir(full), path.isfile(full)))
    for name, full, is_dir, is_file in asked:
        local = os.path.join(localpath, name)
        kind = there.fetch(is_dir, is_file)
        _download(conn, there.fetch(full), local, kind, filter, True, chunk_size, progress)


def _sizes(chunk_size: int) -> Iterator[int]:
    """Yields how many bytes the next message should have."""
    if chunk_size != STREAM_CHUNK:
        while True:
            yield chunk_size
    size = _FIRST
    while True:
        yield size
        size = min(2 * size, _LARGEST)


def _tell(progress: Progress | None, path: str, done: int, size: int | None) -> None:
    if progress is not None:
        progress(path, done, size)
