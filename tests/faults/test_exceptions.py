"""Exceptions: cases 48 to 57 of the list of faults."""

from __future__ import annotations

import asyncio
import builtins
import sys
import threading
import types
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import brine, vinegar
from rpyc_like.core.netref import local_class
from rpyc_like.errors import ConnectionClosed, MalformedValue, RemoteError

from .test_state import Peer, closed_by, peer, reply

__all__ = ["peer"]


def failure(number: int, error: Any) -> bytes:
    return b"\x03" + brine.dump((number, error))


def receive(one: Peer, error: Any) -> BaseException:
    """Has the peer answer with an exception and returns what is raised."""
    result, number = one.ask()
    one.channel.send(failure(number, error))
    try:
        _ = result.value
    except BaseException as raised:
        return raised
    raise AssertionError("nothing was raised")


EVIL = [
    ("__class__", 5),
    ("__traceback__", 5),
    ("__cause__", 5),
    ("__context__", "x"),
    ("args", 5),
    ("__dict__", ()),
    ("with_traceback", 5),
    ("add_note", "x"),
    ("__notes__", 7),
]


@pytest.mark.parametrize(("name", "value"), EVIL)
def test_case_48_evil_attributes(peer: Any, name: str, value: Any) -> None:
    """Attributes cannot change what an exception is, and it stays printable."""
    error = receive(peer(), (("builtins", "ValueError"), ("x",), ((name, value),), 5))
    assert isinstance(error, ValueError)
    assert error.args == ("x",)
    assert str(error) == "x"
    assert error.__cause__ is None
    error.with_traceback(None)


EXITS = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"]


@pytest.mark.parametrize("name", EXITS)
def test_case_49_exits_are_errors(peer: Any, name: str) -> None:
    """A peer cannot end this program, unless it is asked to."""
    error = receive(peer(), (("builtins", name), (3,), (), "text"))
    assert isinstance(error, RemoteError)
    assert type(error).__name__ == f"builtins.{name}"
    error = receive(peer(rebuild_exit_exceptions=True), (("builtins", name), (3,), (), "text"))
    assert isinstance(error, getattr(builtins, name))


def test_case_49_an_interrupt_of_the_peer_stays_there(pair: Any) -> None:
    """A peer that leaves a block with KeyboardInterrupt interrupts nothing here."""
    left: list[Any] = []

    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
            left.append(kind)
            raise error

    class Managers(rpyc.Service):
        def exposed_manager(self) -> Manager:
            return Manager()

    client, server = pair(Managers)
    with pytest.raises(RemoteError), client.root.manager():
        raise KeyboardInterrupt
    assert left == [KeyboardInterrupt]
    client.ping()
    assert not server.closed


def test_case_49_cancelled(peer: Any) -> None:
    """Cancelling a task is this program's business too."""
    dumped = (("asyncio.exceptions", "CancelledError"), (), (), "")
    error = receive(peer(instantiate_custom_exceptions=True), dumped)
    assert isinstance(error, Exception)
    assert not isinstance(error, asyncio.CancelledError)


@pytest.mark.parametrize("name", ["with\0nul", "x" * 200_000, "", "a b", "\ud800"])
def test_case_50_class_names(peer: Any, name: str) -> None:
    """Names of classes are cleaned and cut."""
    one = peer()
    result, number = one.ask()
    dumped = brine.dump_surrogates((number, ((name, name), (), (), "")))
    threading.Thread(target=one.channel.send, args=(b"\x03" + dumped,), daemon=True).start()
    with pytest.raises(RemoteError) as caught:
        _ = result.value
    shown = type(caught.value).__name__
    assert shown.isprintable()
    assert len(shown) <= 200


def test_case_50_many_classes(peer: Any) -> None:
    """Classes that a peer invents are forgotten again."""
    one = peer()
    before = len(one.conn._classes._recent)
    for number in range(1500):
        receive(one, (("m", f"Class{number}"), (), (), ""))
    assert len(vinegar._generic_exceptions_cache) <= 512
    assert len(one.conn._classes._recent) <= 512 + before


class Raises(Exception):
    """Nothing of it can be looked at."""

    @property
    def trap(self) -> int:
        raise SystemError("property")

    def __str__(self) -> str:
        raise SystemError("text")

    def __repr__(self) -> str:
        raise SystemError("repr")


class RaisesDir(Exception):
    def __dir__(self) -> Any:
        raise SystemError("dir")


class RaisesArgument:
    def __repr__(self) -> str:
        raise SystemError("argument")


@pytest.mark.parametrize(
    "error",
    [Raises("x"), RaisesDir("x"), ValueError(RaisesArgument()), ValueError("\ud800"), KeyError([])],
    ids=["all", "dir", "argument", "surrogate", "list"],
)
def test_case_51_exceptions_that_raise(attack: Any, error: BaseException) -> None:
    """An exception that cannot be described still arrives, and the connection works."""
    one = attack()

    def fail() -> None:
        raise error

    one.victim._local_root.exposed_fail = fail
    kind, dumped = one.call("fail")
    assert kind == "error"
    if type(error) is not ValueError or error.args != ("\ud800",):
        assert dumped[0][1] == type(error).__name__
    assert one.works()


class Failing(rpyc.Service):
    """Raises what it is told."""

    def exposed_fail(self, name: str) -> None:
        raise {
            "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
            "os": lambda: FileNotFoundError(2, "gone", "/file"),
            "group": lambda: builtins.ExceptionGroup("g", [ValueError("a"), TypeError("b")]),
            "timeout": lambda: TimeoutError(110, "late"),
            "key": lambda: KeyError("k"),
        }[name]()


def test_case_52_special_classes(pair: Any) -> None:
    """Classes with fields of their own are rebuilt with them."""
    client, _ = pair(Failing)
    with pytest.raises(UnicodeDecodeError) as unicode_error:
        client.root.fail("unicode")
    assert (unicode_error.value.start, unicode_error.value.object) == (0, b"\xff")
    with pytest.raises(FileNotFoundError) as os_error:
        client.root.fail("os")
    assert (os_error.value.errno, os_error.value.filename) == (2, "/file")
    with pytest.raises(TimeoutError):
        client.root.fail("timeout")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups came with 3.11")
def test_case_52_groups(pair: Any, peer: Any) -> None:
    """A group arrives with its members; what an RPyC peer makes of one is no trap."""
    client, _ = pair(Failing)
    with pytest.raises(builtins.ExceptionGroup) as caught:
        client.root.fail("group")
    assert [type(one).__name__ for one in caught.value.exceptions] == ["ValueError", "TypeError"]
    matched, _ = caught.value.split(ValueError)
    assert matched is not None
    error = receive(peer(), (("builtins", "ExceptionGroup"), ("g", "[...]"), (), "text"))
    assert isinstance(error, RemoteError)
    assert error.args == ("g", "[...]")


def test_case_53_notes_and_causes(pair: Any) -> None:
    """Notes, cause and context arrive and can be added to."""

    class Chained(rpyc.Service):
        def exposed_fail(self) -> None:
            try:
                {}["first"]
            except KeyError as first:
                error = ValueError("second")
                if hasattr(error, "add_note"):
                    error.add_note("a note")
                raise error from first

    client, _ = pair(Chained)
    with pytest.raises(ValueError) as caught:
        client.root.fail()
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.__suppress_context__
    assert "exposed_fail" in str(caught.value)
    if sys.version_info >= (3, 11):
        caught.value.add_note("another")
        assert caught.value.__notes__ == ["a note", "another"]


def test_case_53_long_chains(pair: Any) -> None:
    """A chain is cut, not a reason to fail."""

    class Long(rpyc.Service):
        def exposed_fail(self) -> None:
            error: Exception = ValueError("end")
            for number in range(300):
                following = ValueError(number)
                following.__cause__ = error
                error = following
            error.__context__ = error.__cause__
            raise error

    client, _ = pair(Long)
    with pytest.raises(ValueError) as caught:
        client.root.fail()
    length = 0
    link: BaseException | None = caught.value
    while link is not None:
        link, length = link.__cause__, length + 1
    assert 10 < length <= 50


def test_case_54_no_import(peer: Any) -> None:
    """A peer cannot have a module imported, and a class that is no exception is none."""
    one = peer(instantiate_custom_exceptions=True)
    sys.modules.pop("this", None)
    assert isinstance(receive(one, (("this", "Error"), (), (), "")), RemoteError)
    assert "this" not in sys.modules
    assert isinstance(receive(one, (("subprocess", "Popen"), ("id",), (), "")), RemoteError)
    import decimal

    error = receive(one, (("decimal", "InvalidOperation"), ("x",), (), ""))
    assert isinstance(error, decimal.InvalidOperation)


def test_case_54_no_code_of_a_module_runs(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that makes its names on demand is not asked to: it may import what it likes."""
    asked: list[str] = []
    lazy: Any = types.ModuleType("lazy")
    lazy.__getattr__ = lambda name: asked.append(name) or ValueError
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    one = peer(instantiate_custom_exceptions=True)
    assert isinstance(receive(one, (("lazy", "Error"), (), (), "")), RemoteError)
    assert local_class("lazy.Error") is None
    assert asked == []
    lazy.Known = KeyError
    assert isinstance(receive(one, (("lazy", "Known"), (), (), "")), KeyError)


def describe(**config: Any) -> Any:
    here = Peer(**config).conn

    def secret_place() -> None:
        password = "a secret"  # noqa: F841
        raise ValueError(secret_place.__get__(5), object())

    try:
        secret_place()
    except ValueError as error:
        return here._box_exc(ValueError, error, error.__traceback__)


def test_case_55_tracebacks() -> None:
    """How much a traceback tells is configuration; addresses are never told."""
    full = describe()
    assert "secret_place" in full[3]
    assert __file__ in full[3]
    assert "0x" not in str(full[1])
    assert "rpyc_like/core" not in full[3]
    short = describe(include_local_traceback="short")
    assert "in secret_place, test_exceptions.py" in short[3]
    assert __file__ not in short[3]
    assert "password" not in short[3]
    for off in (False, "off"):
        assert describe(include_local_traceback=off)[3] == "<traceback denied>"


@pytest.mark.parametrize("policy", [True, "short"])
def test_case_55_an_error_of_ours_shows_no_frame(policy: Any) -> None:
    """An error that this package raises for a request shows no frame of the package."""
    config = {"include_local_traceback": policy}
    with rpyc.connect_thread(remote_service=rpyc.Service, remote_config=config) as conn:
        with pytest.raises(AttributeError) as caught:
            conn.root._secret + 1
        text = caught.value._remote_tb  # type: ignore[attr-defined]
        assert "cannot access" in text
        assert ".py" not in text


def test_case_55_causes_show_no_frame_of_ours() -> None:
    """What an exception was raised from shows no frame of this package, for a peer of RPyC's."""
    try:
        try:
            brine.dump(object())
        except TypeError as error:
            raise KeyError("outer") from error
    except KeyError as error:
        dumped = vinegar.dump(KeyError, error, error.__traceback__, True, False)
    assert "direct cause" in dumped[3]
    assert __file__ in dumped[3]
    assert "rpyc_like/" not in dumped[3].replace(__file__, "")


class Generators(rpyc.Service):
    """Has generators of several kinds."""

    closed = 0

    def exposed_plain(self) -> Any:
        yield 1
        return 5

    def exposed_raises_stop(self) -> Any:
        yield 1
        raise StopIteration("not the end")

    def exposed_cleans_up(self) -> Any:
        try:
            yield 1
        finally:
            Generators.closed += 1

    def exposed_stop(self) -> None:
        raise StopIteration("value")

    def exposed_stop_async(self) -> None:
        raise StopAsyncIteration


def test_case_56_stop_iteration(pair: Any) -> None:
    """The end of a generator, its value, and what is no end of it."""
    client, _ = pair(Generators, here_config={"allow_public_attrs": True})
    plain = client.root.plain()
    assert next(plain) == 1
    with pytest.raises(StopIteration) as end:
        next(plain)
    assert end.value.value == 5
    with pytest.raises(StopIteration):
        next(plain)

    def delegating() -> Any:
        return (yield from client.root.plain())

    whole = delegating()
    assert next(whole) == 1
    with pytest.raises(StopIteration) as end:
        next(whole)
    assert end.value.value == 5
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(client.root.raises_stop())
    with pytest.raises(StopAsyncIteration):
        client.root.stop_async()

    def local() -> Any:
        yield client.root.stop()

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(local())


def test_case_56_close(pair: Any) -> None:
    """Closing a remote generator runs its clean-up there."""
    client, _ = pair(Generators, there_config={"allow_public_attrs": True})
    running = client.root.cleans_up()
    next(running)
    before = Generators.closed
    running.close()
    assert Generators.closed == before + 1
    assert list(running) == []


WRONG = [2, (), (1, 2, 3, 4), (("a",), (), (), ""), (("a", b""), (), (), ""), None, b"x", 1.0, True]


@pytest.mark.parametrize("payload", WRONG)
def test_case_57_wrong_shape(peer: Any, payload: Any) -> None:
    """An exception of a wrong shape is an error of the protocol to its waiter, and closes."""
    one = peer()
    other, _ = one.ask()
    result, number = one.ask()
    one.channel.send(failure(number, payload))
    with pytest.raises(MalformedValue, match="expected an exception"):
        _ = result.value
    with pytest.raises(ConnectionClosed) as caught:
        _ = other.value
    assert isinstance(closed_by(caught.value), MalformedValue)
    assert one.conn.closed


EXTRAS = [
    (),
    (1, 2, 3, 4, 5, 6),
    ((), (), 5, None, False, None),
    ((), (), None, ((),), False, None),
    ((("a",),), (), None, None, False, None),
    ((), (), None, None, False, (5,)),
    ((("m", "C"),) * 101, (), None, None, False, None),
]


@pytest.mark.parametrize("extra", EXTRAS)
def test_case_57_wrong_chain(peer: Any, extra: Any) -> None:
    """So is one whose chain is of a wrong shape."""
    one = peer()
    result, number = one.ask()
    one.channel.send(failure(number, (("builtins", "ValueError"), (), (), "", extra)))
    with pytest.raises(MalformedValue, match="expected an exception"):
        _ = result.value
    assert one.conn.closed


def test_case_57_a_right_answer_still_works(peer: Any) -> None:
    """What has the right shape closes nothing."""
    one = peer()
    extra = ((("builtins", "KeyError"),), (), None, None, True, None)
    assert isinstance(receive(one, (("builtins", "KeyError"), (), (), "", extra)), KeyError)
    assert isinstance(receive(one, "old peers send a text"), RemoteError)
    result, number = one.ask()
    one.channel.send(reply(number, (1, "x")))
    assert result.value == "x"
