"""``connect_thread``: the beginning of the service that runs in a thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.service import Service
from rpyc_like.utils import factory
from tests.support.joining import join


class Failing(Service):
    """Cannot be started."""

    def on_connect(self, conn: Any) -> None:
        raise LookupError("wanted")


class Asking(Service):
    """Asks the other side at once."""

    seen: Any = None

    def on_connect(self, conn: Any) -> None:
        self.seen = conn.root.number()

    def exposed_seen(self) -> Any:
        return self.seen


class Numbered(Service):
    """Answers that."""

    def exposed_number(self) -> int:
        return 5


class AskingNumbered(Asking, Numbered):
    """Does both."""


def outcome_in_thread(**services: Any) -> Any:
    """Return the connection that is made in a thread, or the error."""
    got: list[Any] = []

    def work() -> None:
        try:
            got.append(rpyc.connect_thread(**services))
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    join(thread, 30)
    assert got, "connecting takes too long"
    return got[0]


@pytest.mark.parametrize("service", [Numbered, Asking])
def test_the_error_of_the_service_is_raised(service: type[Service]) -> None:
    """A service whose ``on_connect`` fails has the caller get that error."""
    error = outcome_in_thread(service=service, remote_service=Failing)
    assert isinstance(error, LookupError)
    assert "wanted" in str(error)


@pytest.mark.parametrize("service", [Numbered, AskingNumbered])
def test_the_service_asks_at_once(service: type[Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that asks in ``on_connect`` is answered, also by a side that does the same."""
    monkeypatch.setattr(factory, "_BEGIN_LIMIT", 600)
    remote = Asking if service is Numbered else AskingNumbered
    conn = outcome_in_thread(service=service, remote_service=remote)
    with conn:
        assert conn.root.seen() == 5
