"""Keys of the configuration that nobody knows, but that look like known ones."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import config


@pytest.fixture(autouse=True)
def nothing_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process does."""
    monkeypatch.setattr(config, "_looked_at", set())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("sync_requst_timeout", "sync_request_timeout"),
        ("allow_public_attr", "allow_public_attrs"),
        ("max_frames_size", "max_frame_size"),
        ("heart_beat", "heartbeat"),
    ],
)
def test_a_misspelt_key_is_warned_of_once(wrong: str, right: str) -> None:
    """The warning names both keys; the next connection with it gives none."""
    with pytest.warns(RuntimeWarning, match=f"{wrong}.*{right}"):
        assert config.make_config({wrong: 5})[wrong] == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.make_config({wrong: 5})


@pytest.mark.parametrize("own", ["my_database", "user", "timeout", "color", 7, ("a", 1)])
def test_keys_of_the_program_are_its_own(own: Any) -> None:
    """What resembles no key is kept, and nothing is said about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.make_config({own: 1})[own] == 1


@pytest.mark.parametrize("key", sorted(config.DEFAULT_CONFIG))
def test_known_keys_are_known(key: str) -> None:
    """No key of the configuration is taken for another."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.make_config({key: config.DEFAULT_CONFIG[key]})


def test_what_the_program_adds_to_the_defaults_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes the defaults has chosen the name."""
    monkeypatch.setitem(config.DEFAULT_CONFIG, "max_frame_sizes", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.make_config({"max_frame_sizes": 2})


def test_the_warning_names_the_line_of_the_program() -> None:
    """The warning is about the line that has given the key, not about one of this package."""
    with pytest.warns(RuntimeWarning, match="max_frames_size") as warned:
        rpyc.connect_thread(config={"max_frames_size": 5}).close()
    assert [one.filename for one in warned] == [__file__]
