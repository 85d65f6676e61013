"""Fixtures for all tests."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import VoidService
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from tests.support.joining import join

Pair = tuple[Connection, Connection]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets its background jobs ignore Ctrl-C, and their children would do so too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Makes reports that a worker of pytest-xdist can send: lone surrogates are spelt out."""
    report = yield
    report.sections = [(name, _printable(text)) for name, text in report.sections]
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = str(report.longrepr)
        if not text.isascii() and text != _printable(text):
            report.longrepr = _printable(text)
    return report


@pytest.fixture
def pair() -> Iterator[Callable[..., Pair]]:
    """Makes two connected connections in this process; the second one is served by a thread."""
    made: list[Connection] = []
    threads: list[threading.Thread] = []

    def make(
        there: Any,
        here: Any = VoidService,
        there_config: dict[str, Any] | None = None,
        here_config: dict[str, Any] | None = None,
    ) -> Pair:
        a, b = MemoryStream.create_pair()
        server = there._connect(Channel(b), there_config)
        client = here._connect(Channel(a), here_config)
        thread = threading.Thread(target=server.serve_all, daemon=True)
        thread.start()
        made.extend((client, server))
        threads.append(thread)
        return client, server

    yield make
    for conn in made:
        conn.close()
    for thread in threads:
        join(thread, 60, "a serving thread did not end")
