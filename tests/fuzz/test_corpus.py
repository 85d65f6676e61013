"""What the fuzzer has found interesting, replayed without it."""

from __future__ import annotations

import logging

import pytest

from . import corpus, targets


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "rpyc_like")


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_corpus(name: str) -> None:
    """Each input gives a value or a documented error, in bounded time."""
    inputs = corpus.load(name)
    assert len(inputs) > 50
    for data in inputs:
        try:
            targets.check(name, data)
        except Exception as error:
            raise AssertionError(f"{data.hex()}: {error!r}") from error


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_oracle_can_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that takes too long, or an error that is not documented, is noticed."""
    monkeypatch.setattr(targets, "LIMIT", -1)
    with pytest.raises(targets.TooSlow):
        targets.check(name, b"")
