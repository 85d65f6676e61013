"""Errors of this package that a peer raises: known again by ``except``, and without power."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio, errors
from rpyc_like.core import vinegar
from rpyc_like.core.encoding.exception_classes import OWN_ERRORS

from .served import Served


class Raising(rpyc.Service):
    """Raises what it is asked for."""

    def exposed_fail(self, name: str) -> None:
        """Raise an error of this package."""
        if name == "LimitExceeded":
            raise errors.LimitExceeded("steps", 2, 1, "max_steps")
        raise getattr(errors, name)("the text")

    def exposed_relay(self, func: Any) -> Any:
        """Call a function of the peer's."""
        return func()


NAMES = sorted(name for _, name in OWN_ERRORS if name != "DeploymentError")


@pytest.mark.parametrize("name", NAMES)
def test_except_knows_errors_of_the_package(pair: Callable[..., Any], name: str) -> None:
    """Whatever the configuration says about other classes."""
    client, _ = pair(Raising())
    with pytest.raises(getattr(errors, name)) as caught:
        client.root.fail(name)
    assert type(caught.value).__name__ == name
    assert ("max_steps" if name == "LimitExceeded" else "the text") in str(caught.value)


@pytest.mark.parametrize("kind", ["threads", "aio"])
def test_fields_of_a_limit_arrive(served: Served, kind: str) -> None:
    """Which key to change is to be had without reading the text."""
    conn = served.client(served.server(kind, Raising))
    with pytest.raises(errors.LimitExceeded) as caught:
        conn.root.fail("LimitExceeded")
    assert (caught.value.key, caught.value.got, caught.value.limit) == ("max_steps", 2, 1)
    assert "max_steps" in str(caught.value)


def test_an_asyncio_client_knows_them(served: Served) -> None:
    """``except`` in a coroutine is the same."""
    server = served.server("aio", Raising)

    async def ask() -> Any:
        async with await aio.connect("127.0.0.1", server.port) as conn:
            try:
                await conn.root.fail("LimitExceeded")
            except rpyc.LimitExceeded as error:
                return error.key
        return None

    assert asyncio.run(ask()) == "max_steps"


def test_errors_pass_through_another_side(pair: Callable[..., Any]) -> None:
    """An error that came from a peer and goes back is known there too."""
    client, _ = pair(Raising())

    def fail() -> None:
        raise errors.LimitExceeded("steps", 2, 1, "max_steps")

    with pytest.raises(errors.LimitExceeded) as caught:
        client.root.relay(fail)
    assert caught.value.key == "max_steps"
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, errors.LimitExceeded)


def test_rpyc_gets_a_builtin_class() -> None:
    """A peer that takes four items gets names that every peer has, of passed-on ones too."""
    for whole in (False, True):
        error: Any = errors.LimitExceeded("steps", 2, 1, "max_steps")
        for _ in range(2):
            raw = vinegar.dump(type(error), error, None, False, True, whole=whole)
            assert raw[0] == ("builtins", "Exception")
            assert len(raw) == (5 if whole else 4)
            error = vinegar.load(raw, False, False)
    denied = errors.AccessDenied("no")
    assert vinegar.dump(type(denied), denied, None, False, True)[0][1] == "AttributeError"


def test_no_code_of_the_class_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer chooses the fields of an error, and calls nothing with them."""
    ran: list[Any] = []
    monkeypatch.setattr(errors.LimitExceeded, "__init__", lambda *args: ran.append(args))
    names = (("rpyc_like.errors", "LimitExceeded"), ("builtins", "Exception"))
    fields = (("key", "x"), ("__class__", "y"), ("with_traceback", "z"))
    raw = (("builtins", "Exception"), (1, 2), fields, "", (names, (), None, None, False, None))
    error: Any = vinegar.load(raw, False, False)
    assert isinstance(error, errors.LimitExceeded)
    assert not ran
    assert error.key == "x"
    assert callable(error.with_traceback)


def test_nobody_says_that_a_connection_is_closed_but_this_side(pair: Callable[..., Any]) -> None:
    """An upstream connection that is lost is an EOFError to the client of the gateway."""
    client, _ = pair(Raising())
    with pytest.raises(EOFError) as caught:
        client.root.fail("ConnectionClosed")
    assert not isinstance(caught.value, errors.ConnectionClosed)
    assert client.ping() is None


def test_other_names_of_the_package_are_not_admitted() -> None:
    """The list is closed: no module of the package is searched for a class."""
    for name in (
        ("rpyc_like.core.references.tables", "StaleReference"),
        ("rpyc_like.errors", "Exception"),
    ):
        names = (name, ("builtins", "Exception"))
        raw = (("builtins", "Exception"), (), (), "", (names, (), None, None, False, None))
        error = vinegar.load(raw, False, False)
        assert not any(
            base.__module__ == "rpyc_like.core.references.tables" for base in type(error).__mro__
        )
