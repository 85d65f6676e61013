"""Files are copied to and from a peer that answers no more: the time-out of calls holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.service import ClassicService, SlaveService
from tests.support.joining import join

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes"),
    # The peer's file cannot be flushed when the pipe is gone.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Fifo:
    """A named pipe, and this side's end of it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(path, os.O_WRONLY)

    def close(self) -> None:
        """Have whoever reads or writes go on."""
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def fifo(tmp_path: Path) -> Fifo:
    """A named pipe that nobody reads from."""
    return Fifo(tmp_path / "fifo")


@pytest.fixture
def classic(pair: Callable[..., Any], fifo: Fifo) -> Iterator[Any]:
    """A classic connection with a short time-out; its end is not held up by the pipe."""
    conn, _ = pair(SlaveService, ClassicService, None, {"sync_request_timeout": 1})
    yield conn
    fifo.close()


def error_of(func: Callable[..., Any], *args: Any) -> BaseException:
    """Return what a function raises in a thread of its own."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            func(*args)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    join(thread, 15)
    assert errors, "the copy waits in vain"
    return errors[0]


def test_an_upload_ends(classic: Any, fifo: Fifo, tmp_path: Path) -> None:
    """A file that the peer cannot write to ends with TimeoutError."""
    (tmp_path / "large").write_bytes(bytes(1_000_000))
    chunk = 40_000  # the first one fits into the pipe
    upload = rpyc.classic.upload_file
    error = error_of(upload, classic, str(tmp_path / "large"), fifo.path, chunk)
    assert isinstance(error, TimeoutError)


def test_a_download_ends(classic: Any, fifo: Fifo, tmp_path: Path) -> None:
    """So does one from which nothing more comes."""
    os.write(fifo.writer, bytes(1_500))
    download = rpyc.classic.download_file
    error = error_of(download, classic, fifo.path, str(tmp_path / "copy"), 1_000)
    assert isinstance(error, TimeoutError)
