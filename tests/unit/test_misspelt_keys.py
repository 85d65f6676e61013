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
        ("Max_Steps", "max_steps"),
        ("MAX-STEPS", "max_steps"),
        ("maxsteps", "max_steps"),
        ("Allow_Public_Attrs", "allow_public_attrs"),
        ("propagate_systemexit_locally", "propagate_SystemExit_locally"),
        ("max_mem", "max_memory"),
        ("allow_public", "allow_public_attrs"),
        ("sync_timeout", "sync_request_timeout"),
    ],
)
def test_a_misspelt_key_is_warned_of_once(wrong: str, right: str) -> None:
    """The warning names both keys; the next connection with it gives none."""
    with pytest.warns(RuntimeWarning, match=f"{wrong}.*{right}"):
        assert config.make_config({wrong: 5})[wrong] == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.make_config({wrong: 5})


@pytest.mark.parametrize(
    "own", ["my_database", "user", "timeout", "color", "max_age", "user_name", "port", 7, ("a", 1)]
)
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


@pytest.mark.parametrize("argument", sorted(config.OF_SERVERS))
def test_arguments_of_servers_are_no_keys(argument: str) -> None:
    """The warning says where the setting belongs, at the line of the program."""
    with pytest.warns(RuntimeWarning, match=f"{argument}.*argument of the server") as warned:
        rpyc.ThreadedServer(rpyc.Service, port=0, protocol_config={argument: 5}).close()
    assert [one.filename for one in warned] == [__file__]


def test_the_arguments_are_those_of_the_servers() -> None:
    """What is called an argument is one of a server."""
    from rpyc_like.aio import server as aio_server
    from rpyc_like.utils import base_server, pool_server

    known = {*base_server.ARGUMENTS, *pool_server.ARGUMENTS, *aio_server.ARGUMENTS}
    assert known >= config.OF_SERVERS


@pytest.mark.parametrize("key", ["max_steps", "allow_public_attrs"])
def test_keys_are_no_arguments_of_servers(key: str) -> None:
    """The error says where the setting belongs."""
    with pytest.raises(TypeError, match=f"{key}.*key of protocol_config"):
        rpyc.ThreadedServer(rpyc.Service, port=0, **{key: 5})
