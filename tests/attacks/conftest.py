"""Fixtures of the attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .served import Served


@pytest.fixture
def served() -> Iterator[Served]:
    """Make servers and clients that are closed at the end."""
    made = Served()
    try:
        yield made
    finally:
        made.close()
