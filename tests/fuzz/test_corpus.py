"""What the fuzzer has found interesting, replayed without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import targets

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_corpus(name: str) -> None:
    """Each input gives a value or a documented error, in bounded time."""
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) > 3
    for path in inputs:
        try:
            targets.check(name, path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.name}: {error!r}") from error


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_oracle_can_fail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that takes too long, or an error that is not documented, is noticed."""
    monkeypatch.setattr(targets, "LIMIT", -1)
    with pytest.raises(targets.TooSlow):
        targets.check(name, b"")
