"""Methods and modules that are called without being fetched first."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicClient, SlaveService
from tests.support.asked import Asked

Pair = tuple[Connection, Connection]


class Thing:
    """Has methods of each kind."""

    flag = 1

    def method(self, value: int = 0, *, more: int = 0) -> int:
        return value + more

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__

    @staticmethod
    def static() -> str:
        return "static"

    @property
    def computed(self) -> int:
        return 7


class Service(rpyc.Service):
    """Gives a thing."""

    def exposed_f(self, value: int) -> int:
        return value

    def exposed_thing(self) -> Thing:
        return Thing()

    def hidden(self) -> None:
        """Not for peers."""


@pytest.fixture
def classic(pair: Callable[..., Pair]) -> Iterator[tuple[Connection, Asked]]:
    client, server = pair(SlaveService, ClassicClient)
    client.root
    server._local_root.namespace.update(Thing=Thing, thing=Thing(), text="x")
    yield client, Asked(server)


def test_calling_a_method_is_one_request(classic: Any) -> None:
    """Whatever kind of method it is."""
    conn, asked = classic
    thing = conn.eval("thing")
    one = [consts.HANDLE_CALLATTR]
    assert asked(lambda: thing.method(1, more=2)) == one
    assert asked(lambda: thing.of_class()) == one
    assert asked(lambda: thing.static()) == one
    assert (thing.method(1, more=2), thing.of_class(), thing.static()) == (3, "Thing", "static")
    numbers = conn.eval("[3, 1, 2]")
    assert asked(numbers.sort) == one
    assert list(numbers) == [1, 2, 3]


def test_the_root_is_known_with_the_first_answer(pair: Callable[..., Pair]) -> None:
    """``conn.root.f(1)`` is one request after the root has come, in one, too."""
    client, server = pair(Service)
    asked = Asked(server)
    assert asked(lambda: client.root) == [consts.HANDLE_HELLO, consts.HANDLE_GETROOT]
    assert asked(lambda: client.root.f(1)) == [consts.HANDLE_CALLATTR]
    assert client.root.f(5) == 5
    with pytest.raises(AttributeError, match="hidden"):
        client.root.hidden


def test_instances_bring_their_class(pair: Callable[..., Pair]) -> None:
    """An instance of a class that has not been seen costs no request more."""
    client, server = pair(Service, there_config={"allow_public_attrs": True})
    client.root
    asked = Asked(server)
    thing: list[Any] = []
    assert asked(lambda: thing.append(client.root.thing())) == [consts.HANDLE_CALLATTR]
    assert asked(lambda: thing[0].flag) == [consts.HANDLE_GETATTR]
    assert asked(lambda: thing[0].computed) == [consts.HANDLE_GETATTR]


def test_functions_of_modules_and_submodules(classic: Any) -> None:
    """The first use of a module takes two requests, later ones take one."""
    conn, asked = classic
    join = [consts.HANDLE_CALLATTR, consts.HANDLE_CHAIN]
    assert asked(lambda: conn.modules.os.path.join("a", "b")) == join
    assert asked(lambda: conn.modules.os.path.join("a", "b")) == [consts.HANDLE_CHAIN]
    assert conn.modules.os.path.join("a", "b") == "a/b"
    assert asked(lambda: conn.modules.os.getcwd()) == [consts.HANDLE_CALLATTR]
    assert conn.modules.os.path.sep == "/"
    with pytest.raises(AttributeError, match="no_such"):
        conn.modules.no_such_module
    with pytest.raises(AttributeError, match="nothing"):
        conn.modules.os.path.nothing


def test_anything_but_a_call_fetches_it(classic: Any) -> None:
    """A method that is looked at is the owner's, and the same as ever."""
    conn, asked = classic
    thing = conn.eval("thing")
    method = thing.method
    assert isinstance(method, types.MethodType)
    assert type(method).__name__ == "method"
    assert callable(method)
    assert method.__name__ == "method"
    assert method.__self__.flag == 1
    assert method == thing.method
    assert hash(method) == hash(thing.method)
    assert "bound method Thing.method" in repr(method)
    assert not hasattr(method, "nothing")
    assert asked(lambda: method(4)) == [consts.HANDLE_CALL]  # it has been fetched
    assert isinstance(conn.modules.os.path, types.ModuleType)
    assert conn.modules.os.path.__name__ == "posixpath"
    assert conn.modules.os.getcwd == conn.modules.os.getcwd


def test_it_can_be_passed_and_kept(classic: Any) -> None:
    """A deferred method goes to the owner as the method that it is, and to async_."""
    conn, _ = classic
    thing = conn.eval("thing")
    assert list(conn.builtins.map(thing.method, [1, 2])) == [1, 2]
    assert conn.eval("lambda f: type(f).__name__")(thing.method) == "method"
    assert conn.eval("lambda m: m.__name__")(conn.modules.os.path) == "posixpath"
    assert rpyc.async_(thing.method)(3).value == 3
    assert rpyc.timed(thing.method, 5)(3).value == 3


def test_late_binding(classic: Any) -> None:
    """The owner looks a method up when it is called; one that is gone is missed then."""
    conn, _ = classic
    conn.execute(
        "class Changing:\n    def f(self): return 'old'\n    def g(self): return 'g'\n"
        "changing = Changing()"
    )
    changing = conn.eval("changing")
    f, g, kept = changing.f, changing.g, changing.f
    assert kept.__name__ == "f"
    conn.execute("Changing.f = lambda self: 'new'\ndel Changing.g")
    assert f() == "new"
    assert kept() == "old"  # it was fetched before
    with pytest.raises(AttributeError, match="'g'"):
        g()
    conn.execute("changing.f = lambda: 'own'")
    assert changing.f() == "own"


def test_a_value_in_place_of_a_method(classic: Any) -> None:
    """An instance's own attribute that hides a method is what it is."""
    conn, _ = classic
    conn.execute("class Odd:\n    def f(self): pass\nodd = Odd()")
    odd = conn.eval("odd")
    odd.f()
    odd.f = 5
    assert odd.f == 5
    assert str(odd.f) == "5"
    assert f"{odd.f:03}" == "005"
    assert odd.f != 6 and odd.f < 6 and odd.f >= 5
    assert conn.eval("lambda value: value + 1")(odd.f) == 6


def test_the_switch(pair: Callable[..., Pair]) -> None:
    """``defer_methods`` has each attribute fetched when it is read."""
    client, server = pair(Service, here_config={"defer_methods": False})
    client.root
    asked = Asked(server)
    two = [consts.HANDLE_GETATTR, consts.HANDLE_CALL]
    assert asked(lambda: client.root.f(1)) == two


def test_what_reads_attributes_its_own_way_is_asked(classic: Any) -> None:
    """Nothing is deferred of objects whose class reads attributes in its own way."""
    conn, asked = classic
    conn.execute(
        "class Own:\n"
        "    def __getattribute__(self, name): return lambda: name.upper()\n"
        "    def f(self): return 1\n"
        "own = Own()"
    )
    own = conn.eval("own")
    assert own.f() == "F"
    assert asked(lambda: own.f()) == [consts.HANDLE_GETATTR, consts.HANDLE_CALL]


def test_a_gate_of_its_own_sees_every_name_once(pair: Callable[..., Pair]) -> None:
    """A connection with its own gate tells no names that nobody has asked for."""
    names: list[str] = []

    class Audited(Connection):
        def _check_attr(self, obj: Any, name: str, perm: str) -> str:
            names.append(name)
            return super()._check_attr(obj, name, perm)

    class Own(Service):
        _protocol = Audited

    client, _ = pair(Own)
    assert client.root.f(1) == 1
    names.clear()
    assert client.root.f(1) == 1
    assert names == ["f"]


def test_hidden_functions_are_not_told(pair: Callable[..., Pair]) -> None:
    """What a restricted peer may not read is refused when it is read, not when it is called."""
    client, _ = pair(Service)
    thing = client.root.thing()
    assert not hasattr(thing, "method")
    with pytest.raises(AttributeError, match="cannot access 'method'"):
        thing.method


def test_a_changed_class_is_described_again(classic: Any) -> None:
    """A method that a class has got since is one request as well, from the next object on."""
    conn, asked = classic
    conn.execute("class Growing:\n    def f(self): return 1")
    first = conn.eval("Growing()")
    first.f()
    conn.execute("Growing.g = lambda self: 2")
    second = conn.eval("Growing()")
    assert asked(lambda: second.g()) == [consts.HANDLE_CALLATTR]
    assert first.g() == 2
