"""The configuration keys that change what a connection does."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core.protocol import DEFAULT_CONFIG, Connection

MakePair = Callable[..., tuple[Connection, Connection]]


class Own(Exception):
    """A class that only this module has."""


class Subject(rpyc.Service):
    """Has and raises things."""

    public = 5

    def exposed_fail(self) -> None:
        raise Own("x")

    def exposed_exit(self) -> None:
        raise SystemExit(3)

    def exposed_list(self) -> list[int]:
        return [1]


def test_attribute_switches(pair: MakePair) -> None:
    """allow_public_attrs and allow_setattr on the owner's side decide."""
    client, _ = pair(Subject, there_config={"allow_public_attrs": True})
    assert client.root.public == 5
    with pytest.raises(AttributeError, match="access"):
        client.root.public = 6
    strict, _ = pair(Subject, there_config={"allow_getattr": False})
    with pytest.raises(AttributeError):
        strict.root.list


def test_own_prefix(pair: MakePair) -> None:
    """exposed_prefix names what is exposed."""
    client, _ = pair(Subject, there_config={"exposed_prefix": "pub"})
    assert client.root.lic == 5


def test_custom_exceptions(pair: MakePair) -> None:
    """The side that catches decides whether it rebuilds classes."""
    client, _ = pair(Subject)
    with pytest.raises(rpyc.GenericException) as caught:
        client.root.fail()
    assert type(caught.value).__name__ == f"{__name__}.Own"
    client, _ = pair(Subject, here_config={"instantiate_custom_exceptions": True})
    with pytest.raises(Own):
        client.root.fail()


def test_tracebacks_and_versions(pair: MakePair) -> None:
    """The side that raises decides what it tells."""
    hidden = {"include_local_traceback": False, "include_local_version": False}
    client, _ = pair(Subject, there_config=hidden)
    with pytest.raises(rpyc.GenericException) as caught:
        client.root.fail()
    assert "exposed_fail" not in str(caught.value)
    assert caught.value._remote_version == "<version denied>"  # type: ignore[attr-defined]


def test_system_exit_stays_an_error(pair: MakePair) -> None:
    """A handler that raises SystemExit does not end the server."""
    client, _ = pair(Subject)
    with pytest.raises(rpyc.GenericException) as caught:
        client.root.exit()
    assert type(caught.value).__name__ == "builtins.SystemExit"
    client.ping()
    client, _ = pair(Subject, here_config={"rebuild_exit_exceptions": True})
    with pytest.raises(SystemExit):
        client.root.exit()


def test_timeout(pair: MakePair) -> None:
    """sync_request_timeout bounds every call, and a late answer harms nothing."""

    class Slow(rpyc.Service):
        def exposed_wait(self) -> None:
            assert released.wait(60)

    released = threading.Event()
    client, _ = pair(Slow, here_config={"sync_request_timeout": 30})
    client.ping()
    wait = client.root.wait
    client._config["sync_request_timeout"] = 0.1
    with pytest.raises(TimeoutError, match=r"no answer to CALLATTR within 0\.1 s"):
        wait()
    client._config["sync_request_timeout"] = None
    released.set()
    wait()
    client.ping()


def test_before_closed(pair: MakePair) -> None:
    """before_closed gets the peer's root; its errors are raised unless close_catchall is set."""
    seen: list[Any] = []
    client, _ = pair(Subject, here_config={"before_closed": lambda root: seen.append(root.list())})
    client.close()
    assert len(seen) == 1

    def fail(root: Any) -> None:
        raise Own("while closing")

    client, _ = pair(Subject, here_config={"before_closed": fail})
    with pytest.raises(Own):
        client.close()
    assert client.closed
    client, _ = pair(Subject, here_config={"before_closed": fail, "close_catchall": True})
    client.close()


def test_pickle_is_off(pair: MakePair) -> None:
    """Pickling needs the owner's leave, and implicit unpickling this side's."""
    import copy

    client, _ = pair(Subject)
    remote = client.root.list()
    with pytest.raises(ValueError, match="allow_obtain"):
        rpyc.classic.obtain(remote)
    with pytest.raises(ValueError, match="allow_implicit_pickle"):
        copy.copy(remote)
    client, _ = pair(Subject, here_config={"allow_obtain": True})
    with pytest.raises(ValueError, match="pickling is disabled"):
        rpyc.classic.obtain(client.root.list())
    here = {"allow_pickle": True}
    client, _ = pair(Subject, there_config={"allow_pickle": True}, here_config=here)
    assert rpyc.classic.obtain(client.root.list()) == [1]


def test_logger_and_name(pair: MakePair, caplog: pytest.LogCaptureFixture) -> None:
    """Logger gets the exceptions that are sent; connid names the connection."""
    log = logging.getLogger("tests.exceptions")
    client, server = pair(Subject, there_config={"logger": log, "connid": "named"})
    with caplog.at_level(logging.DEBUG, "tests.exceptions"):
        assert not hasattr(client.root, "missing")
    assert "Exception caught" in caplog.text
    assert "'named'" in repr(server)
    assert client._config["connid"].startswith("conn")


def test_defaults_are_live(pair: MakePair) -> None:
    """A changed default holds for connections made later."""
    DEFAULT_CONFIG["allow_public_attrs"] = True
    try:
        client, _ = pair(Subject)
    finally:
        DEFAULT_CONFIG["allow_public_attrs"] = False
    assert client.root.public == 5


def test_limits(pair: MakePair) -> None:
    """A frame above the limit closes the connection of whoever sent it."""
    client, server = pair(Subject, there_config={"max_frame_size": 1000})
    client.ping()
    with pytest.raises(EOFError):
        client.ping(os.urandom(4000))
    assert "max_frame_size" in str(server._link.error)


def test_own_gate(pair: MakePair) -> None:
    """A connection class that overrides the gate or a handler is never gone round."""
    asked: list[str] = []

    class Audited(Connection):
        def _check_attr(self, obj: Any, name: str, perm: str) -> str:
            asked.append(name)
            return super()._check_attr(obj, name, perm)

        def _handle_call(self, obj: Any, args: Any, kwargs: Any = ()) -> Any:
            asked.append("call")
            return super()._handle_call(obj, args, kwargs)

    class AuditedService(Subject):
        _protocol = Audited

    client, _ = pair(AuditedService)
    call = client.root.list
    asked.append("mark")
    assert list(call()) == [1]
    before, after = asked[: asked.index("mark")], asked[asked.index("mark") + 1 :]
    assert before[-1] == "list"
    assert after[0] == "call"
