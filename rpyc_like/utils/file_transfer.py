"""Copying files between the two sides of a classic connection.

A file is opened, read or written, and closed in one trip if it is small. Larger ones travel in
chunks that grow up to 4 MiB (or of the size that is asked for); the next one is under way while
this side reads or writes its own file. A directory takes two trips, and one for each file.

What the other side says is checked once, by its exact type. Names become entries of the folder that
is written to and nothing else; see :mod:`rpyc_like.lib.safe_paths`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from ..core.consts import HANDLE_CALLATTR, STREAM_CHUNK
from ..core.netref import asyncreq, is_netref
from ..core.protocol import Connection
from ..lib.brief import brief
from ..lib.exact import exact, exact_count, exact_items
from ..lib.safe_paths import Folder, join_name
from ..link.result import AsyncResult

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

_DEEPEST = 200  # directories in directories; a peer can say that there is always one more
_LOOKED_AT = 500  # names that are asked about in one trip; a chain has a limit of steps
_LISTED = 50_000  # names that are taken in one trip; a map has a limit of 100,000 items
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
        target = _remote_file(conn, there.fetch(opened))
        there.fetch(written)
        if closed is not None:
            there.fetch(closed)
        _tell(progress, localpath, done, size)
        try:
            under_way = None
            while closed is None and (chunk := source.read(next(sizes))):
                if under_way is not None:
                    _in_time(conn, under_way).wait()
                under_way = asyncreq(target, HANDLE_CALLATTR, "write", (chunk,), ())
                done += len(chunk)
                _tell(progress, localpath, done, size)
            if under_way is not None:
                _in_time(conn, under_way).value  # noqa: B018
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
    for start in range(0, max(1, len(names)), _LOOKED_AT):
        some = names[start : start + _LOOKED_AT]
        with conn.pipeline() as there:
            remote_os = there.root.getmodule("os")
            made = remote_os.makedirs(remotepath, exist_ok=True)
            paths = [remote_os.path.join(remotepath, name) for name in some]
        there.fetch(made)
        for name, path in zip(some, paths):
            local = os.path.join(localpath, name)
            remote = exact(there.fetch(path), str, "a path")
            upload(conn, local, remote, filter, True, chunk_size, progress)


MAX_ENTRIES = 1_000_000
"""Default limit of files and directories of a tree that is downloaded."""


class _Bounds:
    """Counts what one download has taken of the peer.

    Args:
        max_size: bytes of all files together; None for any number.
        max_entries: files and directories; None for any number.
    """

    def __init__(self, max_size: int | None, max_entries: int | None) -> None:
        self._max_size = max_size
        self._max_entries = max_entries
        self._size = 0
        self._entries = 0

    def add_entries(self, count: int) -> None:
        """Count entries of a directory, before any of them is made."""
        self._entries += count
        if self._max_entries is not None and self._entries > self._max_entries:
            raise ValueError(
                f"expected at most {self._max_entries} files and directories, "
                f"got {self._entries} (argument 'max_entries')"
            )

    def add_size(self, size: int) -> None:
        """Count bytes of a file, before they are written."""
        self._size += size
        if self._max_size is not None and self._size > self._max_size:
            raise ValueError(
                f"expected at most {self._max_size} bytes of files, "
                f"got {self._size} (argument 'max_size')"
            )


def download(
    conn: Connection,
    remotepath: str,
    localpath: str,
    filter: Filter | None = None,
    ignore_invalid: bool = False,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
    *,
    max_size: int | None = None,
    max_entries: int | None = MAX_ENTRIES,
) -> None:
    """Copies a remote file or directory tree to this side; arguments as for :func:`upload`.

    Files are written as they come, so that memory stays bounded, whatever the other side says.

    Args:
        max_size: bytes that all files together may have; the disk is the limit without it.
        max_entries: how many files and directories there may be; None for any number.

    Raises:
        ValueError: there are more; what has been written until then stays.
        TypeError, ValueError: the other side gives something that is no file name, or an entry of
            the directory would be written through a link.
    """
    with conn.pipeline() as there:
        path = there.root.getmodule("os").path
        asked = path.isdir(remotepath), path.isfile(remotepath)
    is_dir, is_file = (exact(answer, bool, "an answer") for answer in there.fetch(*asked))
    if is_dir:
        download_dir(
            conn,
            remotepath,
            localpath,
            filter,
            chunk_size,
            progress,
            max_size=max_size,
            max_entries=max_entries,
        )
    elif is_file:
        download_file(conn, remotepath, localpath, chunk_size, progress, max_size=max_size)
    elif not ignore_invalid:
        raise ValueError(f"cannot download {remotepath!r}: neither a file nor a directory")


def download_file(
    conn: Connection,
    remotepath: str,
    localpath: str,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
    *,
    max_size: int | None = None,
) -> None:
    """Copies a remote file to this side; arguments as for :func:`download`."""

    def create() -> BinaryIO:
        return open(localpath, "wb")

    _copy_file(conn, remotepath, localpath, create, chunk_size, progress, _Bounds(max_size, None))


def download_dir(
    conn: Connection,
    remotepath: str,
    localpath: str,
    filter: Filter | None = None,
    chunk_size: int = STREAM_CHUNK,
    progress: Progress | None = None,
    *,
    max_size: int | None = None,
    max_entries: int | None = MAX_ENTRIES,
) -> None:
    """Copies a remote directory tree to this side; arguments as for :func:`download`."""
    bounds = _Bounds(max_size, max_entries)

    def enter() -> Folder:
        os.makedirs(localpath, exist_ok=True)
        return Folder(localpath)

    _copy_dir(conn, remotepath, localpath, enter, filter, chunk_size, progress, bounds, _DEEPEST)


def _copy_dir(
    conn: Connection,
    remotepath: str,
    localpath: str,
    enter: Callable[[], Folder],
    filter: Filter | None,
    chunk_size: int,
    progress: Progress | None,
    bounds: _Bounds,
    depth: int,
) -> None:
    """Copy what a remote directory holds into a local one.

    Args:
        enter: makes and opens the local directory, once the names are known to be plain.
        depth: how many more levels of directories may follow.
    """
    if not depth:
        raise ValueError(f"expected at most {_DEEPEST} nested directories, {localpath!r} is deeper")
    names = _names_in(conn, remotepath, bounds)
    for name in names:
        join_name(localpath, name)  # all of them, before anything is written
    wanted = [name for name in names if filter is None or filter(name)]
    with enter() as folder:
        for name, remote, is_dir, is_file in _looked_at(conn, remotepath, wanted):
            local = join_name(folder.path, name)
            if is_dir:
                inner = partial(folder.folder, name)
                _copy_dir(
                    conn, remote, local, inner, filter, chunk_size, progress, bounds, depth - 1
                )
            elif is_file:
                create = partial(folder.create, name)
                _copy_file(conn, remote, local, create, chunk_size, progress, bounds)


def _names_in(conn: Connection, remotepath: str, bounds: _Bounds) -> list[str]:
    """Return the names in a remote directory, counted as they come."""
    with conn.pipeline() as there:
        found = there.root.getmodule("os").listdir(remotepath)
        listed = there.map(lambda name: name, found[:_LISTED])
    found = there.fetch(found)
    if not is_netref(found):
        raise TypeError(f"expected a list of file names of the other side, got {brief(found)}")
    names = exact_items(there.fetch(listed), str, "a file name")
    bounds.add_entries(len(names))
    while len(names) % _LISTED == 0 and names:
        with conn.pipeline() as there:
            part = found[len(names) : len(names) + _LISTED]
            listed = there.map(lambda name: name, part)
        more = exact_items(there.fetch(listed), str, "a file name")
        bounds.add_entries(len(more))
        if not more:
            break
        names += more
    return names


def _looked_at(
    conn: Connection, remotepath: str, names: list[str]
) -> Iterator[tuple[str, str, bool, bool]]:
    """Yield names in a remote directory, their paths, and whether they are directories or files."""
    for start in range(0, len(names), _LOOKED_AT):
        some = names[start : start + _LOOKED_AT]
        with conn.pipeline() as there:
            path = there.root.getmodule("os").path
            full = [path.join(remotepath, name) for name in some]
            asked = [(one, path.isdir(one), path.isfile(one)) for one in full]
        for name, answers in zip(some, asked):
            remote, is_dir, is_file = there.fetch(*answers)
            yield (
                name,
                exact(remote, str, "a path"),
                exact(is_dir, bool, "an answer"),
                exact(is_file, bool, "an answer"),
            )


def _copy_file(
    conn: Connection,
    remotepath: str,
    localpath: str,
    create: Callable[[], BinaryIO],
    chunk_size: int,
    progress: Progress | None,
    bounds: _Bounds,
) -> None:
    """Copy a remote file into a local one.

    Args:
        localpath: of the local file, for ``progress``.
        create: opens the local file, once the remote one is known to be readable.
    """
    sizes = _sizes(chunk_size)
    wanted = next(sizes)
    with conn.pipeline() as there:
        opened = there.root.getmodule("builtins").open(remotepath, "rb")
        asked = there.root.getmodule("os").fstat(opened.fileno()).st_size
        read = opened.read(wanted)
    source = _remote_file(conn, there.fetch(opened))
    try:
        size = exact_count(there.fetch(asked), "the size of a file")
        chunk = _chunk(there.fetch(read), wanted)
        done = 0
        with create() as target:
            while chunk:
                last = len(chunk) < wanted and done + len(chunk) >= size
                if not last:
                    wanted = next(sizes)
                    under_way = asyncreq(source, HANDLE_CALLATTR, "read", (wanted,), ())
                bounds.add_size(len(chunk))
                target.write(chunk)
                done += len(chunk)
                _tell(progress, localpath, done, size)
                chunk = b"" if last else _chunk(_in_time(conn, under_way).value, wanted)
    finally:
        asyncreq(source, HANDLE_CALLATTR, "close", (), ())  # closing what was read cannot fail


def _in_time(conn: Connection, result: AsyncResult) -> AsyncResult:
    """Have a request expire that was sent ahead, so much later as if it were sent now."""
    result.set_expiry(conn._config["sync_request_timeout"])
    return result


def _remote_file(conn: Connection, file: Any) -> Any:
    """Return a proxy of an opened file, which must be the peer's own."""
    if not is_netref(file) or object.__getattribute__(file, "____conn__") is not conn:
        raise TypeError(f"expected an open file of the peer, got {brief(file)}")
    return file


def _chunk(data: Any, wanted: int) -> bytes:
    """Return what a file has given, no more than was asked for."""
    chunk = exact(data, bytes, "the content of a file")
    if 0 <= wanted < len(chunk):
        raise ValueError(f"expected at most {wanted} bytes of a file, got {len(chunk)}")
    return chunk


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
