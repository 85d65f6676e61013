"""Exceptions: there and back."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from rpyc_like.core import brine, vinegar
from rpyc_like.errors import (
    AccessDenied,
    ConnectionClosed,
    LocalProtocolError,
    MalformedValue,
    RemoteError,
)


class Custom(Exception):
    """A class that only this module has."""


def travel(error: BaseException, **options: bool) -> BaseException:
    try:
        raise error
    except BaseException:
        dumped = vinegar.dump(*sys.exc_info(), True, True)  # type: ignore[arg-type]
    assert brine.dumpable(dumped)
    settings = {"import_custom_exceptions": False, "instantiate_custom_exceptions": False}
    return vinegar.load(dumped, **{**settings, **options})


def test_builtin_exceptions_are_rebuilt() -> None:
    """The class, arguments and remote traceback arrive."""
    error = travel(KeyError("name", 5))
    assert isinstance(error, KeyError)
    assert error.args == ("name", 5)
    assert "Remote Traceback (1)" in str(error)
    assert "raise error" in str(error)


def test_os_errors_keep_their_fields() -> None:
    """Errno and file name arrive, and the text is that of a local error."""
    error = travel(FileNotFoundError(2, "No such file", "/x"))
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.filename) == (2, "/x")
    assert str(error).startswith("[Errno 2] No such file: '/x'\n")


def test_attributes_travel() -> None:
    """Public attributes arrive, plain ones as values, others as text."""
    original = ValueError("x")
    original.number = 5  # type: ignore[attr-defined]
    original.things = [1]  # type: ignore[attr-defined]
    error: Any = travel(original)
    assert (error.number, error.things) == (5, "[1]")


def test_custom_exceptions() -> None:
    """A custom class is rebuilt if that is allowed, else stands behind a class of its name."""
    error = travel(Custom("x"))
    assert isinstance(error, RemoteError)
    assert type(error).__name__ == f"{__name__}.Custom"
    assert isinstance(travel(Custom("x"), instantiate_custom_exceptions=True), Custom)


def test_our_classes_travel_as_builtins() -> None:
    """A vanilla peer can catch what this package raises."""
    for error, base in ((AccessDenied("x"), AttributeError), (ConnectionClosed("x"), EOFError)):
        assert vinegar.dump(type(error), error, None, True, True)[0] == (
            "builtins",
            base.__name__,
        )
    assert vinegar.dump(LocalProtocolError, LocalProtocolError("x"), None, True, True)[0] == (
        "builtins",
        "Exception",
    )


def test_stop_iteration() -> None:
    """The end of an iteration is a number on the wire."""
    assert vinegar.dump(StopIteration, StopIteration(), None, True, True) == 1
    assert isinstance(vinegar.load(1, False, False), StopIteration)


def test_hidden_traceback() -> None:
    """A denied traceback is not sent."""
    dumped = vinegar.dump(ValueError, ValueError("x"), None, False, False)
    assert dumped[3] == "<traceback denied>"
    assert ("_remote_version", "<version denied>") in dumped[2]
    assert str(vinegar.load(dumped, False, False)) == "x"


@pytest.mark.parametrize(
    "value", [2, (), (1, 2, 3, 4), (("a",), (), (), ""), (("a", b""), (), (), ""), None, b"x"]
)
def test_wrong_shapes(value: Any) -> None:
    """What stands for no exception is a malformed value."""
    with pytest.raises(MalformedValue, match="expected an exception"):
        vinegar.load(value, False, False)


@pytest.mark.parametrize(("version", "warned"), [("5.3.1", False), ("6.0.2", False), ("7.0", True)])
def test_a_version_that_is_not_spoken_is_told(version: str, warned: bool) -> None:
    """The text of an exception warns when its sender's version is unknown."""
    attributes = (("_remote_version", version),)
    error = vinegar.load((("builtins", "ValueError"), (), attributes, "text"), False, False)
    assert ("WARNING" in str(error)) == warned


def test_evil_attributes_are_ignored() -> None:
    """Attributes cannot change what the exception is."""
    attributes = (("__class__", 5), ("__traceback__", 5), ("with_traceback", 5), ("ok", 1), 7)
    error: Any = vinegar.load((("builtins", "ValueError"), ("x",), attributes, 5), False, False)
    assert isinstance(error, ValueError)
    assert error.ok == 1
    assert str(error) == "x"
    assert callable(error.with_traceback)


def test_what_cannot_be_represented() -> None:
    """An argument whose repr raises, a property that raises: the exception still arrives."""

    class Evil:
        def __repr__(self) -> str:
            raise RuntimeError

    class Trap(Exception):
        @property
        def broken(self) -> int:
            raise RuntimeError

    error = travel(Trap(Evil()))
    assert "whose repr raised" in error.args[0]


def test_cache_is_bounded() -> None:
    """A peer that invents class names does not fill the memory."""
    for number in range(2000):
        vinegar.load((("m", f"Class{number}"), (), (), ""), False, False)
    assert len(vinegar._generic_exceptions_cache) <= 512
