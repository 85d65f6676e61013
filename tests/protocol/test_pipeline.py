"""Chains of dependent operations in one trip."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import fetch, lazy
from rpyc_like.core import consts
from rpyc_like.core.pipelining import chain_handler, chain_interpreter
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicClient, SlaveService
from rpyc_like.errors import ProtocolError
from tests.support.asked import Asked

Pair = tuple[Connection, Connection]
MakePair = Callable[..., Pair]


class User:
    """Has public names, and counts what is done with it."""

    calls = 0

    def __init__(self, name: str) -> None:
        self.exposed_name = name
        self.exposed_friends: list[User] = []
        self.secret = "secret"

    def exposed_greet(self, other: Any = None, *, loud: bool = False) -> str:
        type(self).calls += 1
        text = f"{self.exposed_name} greets {other.exposed_name if other else 'nobody'}"
        return text.upper() if loud else text

    def exposed_fail(self) -> None:
        raise KeyError("failed on purpose")


class Users(rpyc.Service):
    """Gives users, by name."""

    def __init__(self) -> None:
        self.users = {name: User(name) for name in ("ann", "bob", "cid")}
        self.users["ann"].exposed_friends += [self.users["bob"], self.users["cid"]]

    def exposed_find(self, name: str) -> User:
        return self.users[name]

    def exposed_all(self) -> list[User]:
        return list(self.users.values())

    def exposed_call(self, func: Any, *args: Any) -> Any:
        return func(*args)


def test_dependent_steps_take_one_request(pair: MakePair) -> None:
    """Attributes, items, calls and arguments that depend on results, of a restricted service."""
    client, server = pair(Users)
    asked = Asked(server)
    with client.pipeline() as p:
        ann = p.root.find("ann")
        friend = ann.friends[1]
        text = ann.greet(friend, loud=True)
        name = friend.name
    assert asked.seen.count(consts.HANDLE_CHAIN) == 1
    asked.seen.clear()
    assert fetch(text) == "ANN GREETS CID"
    assert fetch(text, name) == ("ANN GREETS CID", "cid")
    assert asked.seen == []
    assert fetch(ann).name == "ann"  # an object is a proxy, as ever
    assert fetch(5) == 5


def test_a_fresh_connection_takes_one_trip(pair: MakePair) -> None:
    """The root may be part of the chain."""
    client, _ = pair(SlaveService, ClassicClient)
    with client.pipeline() as p:
        joined = p.modules.os.path.join("a", "b")
        home = p.root.eval("[1, {'x': 2}]")[1]["x"]
    assert fetch(joined, home) == ("a/b", 2)


def test_lazy(pair: MakePair) -> None:
    """Only what is fetched is done, and what it needs."""
    client, server = pair(Users)
    root = client.root
    asked = Asked(server)
    User.calls = 0
    ann = lazy(root).find("ann")
    ann.greet()
    greeting = ann.greet(ann.friends[0])
    assert asked.seen == []
    assert fetch(greeting) == "ann greets bob"
    assert asked.seen == [consts.HANDLE_CHAIN]
    assert User.calls == 1
    assert fetch(greeting, ann.name) == ("ann greets bob", "ann")
    assert User.calls == 1
    assert asked.seen == [consts.HANDLE_CHAIN] * 2


def test_errors_go_along_the_chain(pair: MakePair) -> None:
    """Each result that depends on a step that failed has its error; others do not."""
    client, _ = pair(Users)
    with client.pipeline() as p:
        ann = p.root.find("ann")
        failed = ann.fail()
        dependent = failed.something[3](ann)
        further = ann.greet(dependent)
        fine = ann.name
    for one in (failed, dependent, further):
        with pytest.raises(KeyError, match="failed on purpose"):
            fetch(one)
    assert fetch(fine) == "ann"
    with pytest.raises(KeyError, match="nobody"):
        fetch(lazy(client.root).find("nobody").greet())


def test_the_gate_stands_before_each_step(pair: MakePair) -> None:
    """What a peer may not read by itself it may not read in a chain."""
    client, _ = pair(Users)
    ann = lazy(client.root).find("ann")
    for forbidden in (ann.secret, ann.greet.im_func, lazy(client.root).users["ann"]):
        with pytest.raises(AttributeError):
            fetch(forbidden)
    with client.pipeline() as p:
        user = p.root.find("ann")
        user.exposed_name = "eve"
        name = user.name
    assert fetch(name) == "ann"


def test_values_are_computed_with_here(pair: MakePair) -> None:
    """A peer cannot have a server compute with plain values; the steps are done on this side."""
    client, server = pair(Users)
    asked = Asked(server)
    name = lazy(client.root).find("ann").name
    upper = name.upper()
    again = lazy(client.root).find(upper.lower()).name
    assert fetch(upper, again, name[0]) == ("ANN", "ann", "a")
    power = lazy(client.root).find("ann").name.ljust(10)
    assert fetch(power) == "ann       "
    assert consts.HANDLE_CHAIN in asked.seen


def test_a_peer_cannot_have_values_computed_with(pair: MakePair) -> None:
    """A chain that tries is refused, or the step is left to who asks for it."""
    client, _ = pair(Users)
    root = client.root
    ten: Any = (chain_interpreter.VALUE, 10)
    with pytest.raises(TypeError, match="expected a reference"):
        steps: Any = ((chain_interpreter.CALLATTR, ten, "__pow__", ((0, 3),), ()),)
        client.sync_request(consts.HANDLE_CHAIN, steps, (0,))
    steps = (
        (chain_interpreter.CALLATTR, (0, root), "find", ((0, "ann"),), ()),
        (chain_interpreter.GETATTR, (1, 0, 0), "name"),
        (chain_interpreter.CALLATTR, (1, 0, 1), "__mul__", ((0, 10**9),), ()),
    )
    outcomes = client.sync_request(consts.HANDLE_CHAIN, steps, (2,))
    assert outcomes == ((0,), (1, "ann"), (3,))


@pytest.mark.parametrize(
    "steps",
    [
        5,
        (5,),
        ((),),
        ((9, (0, 1), "x"),),
        ((0, (0, 1)),),
        ((0, (1, 0, 0), "x"),),
        ((0, (1, 0, -1), "x"),),
        ((0, (1, 1, 0), "x"),),
        ((0, (2, ((0, 1),)), "x"),),
        ((5,), (1, (1, 0, 0), 5, ())),
        ((5,), (1, (1, 0, 0), (5,), ())),
        ((5,), (1, (1, 0, 0), (), (("x",),))),
        ((5,), (4, (1, 0, 0), 5, (0, 1))),
        ((5,), (3, (1, 0, 0), "x", (7, 7))),
    ],
)
def test_malformed_chains(pair: MakePair, steps: Any) -> None:
    """What is no chain is refused as a whole, and the connection goes on."""
    client, _ = pair(Users)
    client.root
    with pytest.raises((TypeError, ValueError)):
        client.sync_request(consts.HANDLE_CHAIN, steps, ())
    assert client.root.find("ann").name == "ann"


def test_a_program_s_own_hooks_see_each_step(pair: MakePair) -> None:
    """Handlers and a gate that a connection class overrides are gone through."""
    seen: list[Any] = []

    class Audited(Connection):
        def _check_attr(self, obj: Any, name: str, perm: str) -> str:
            seen.append(name)
            return super()._check_attr(obj, name, perm)

        def _handle_getattr(self, obj: Any, name: Any) -> Any:
            seen.append(("get", name))
            return super()._handle_getattr(obj, name)

        def _handle_call(self, obj: Any, args: Any, kwargs: Any = ()) -> Any:
            seen.append("call")
            return super()._handle_call(obj, args, kwargs)

    class Own(Users):
        _protocol = Audited

    client, _ = pair(Own)
    name = fetch(lazy(client.root).find("ann").name)  # in an assert, pytest keeps what is between
    assert name == "ann"
    assert seen[-5:] == [("get", "find"), "find", "call", ("get", "name"), "name"]


def test_limits(pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and items of one chain are bounded."""
    client, _ = pair(Users)
    monkeypatch.setattr(chain_handler, "MAX_STEPS", 7)
    with client.pipeline() as p:
        found = [p.root.find("ann").name for _ in range(2)]
    assert fetch(*found) == ("ann", "ann")
    with pytest.raises(ValueError, match="at most 7 steps"), client.pipeline() as p:
        found = [p.root.find("ann").name for _ in range(3)]
    monkeypatch.setattr(chain_handler, "MAX_ITEMS", 2)
    with client.pipeline() as p:
        names = p.map(lambda user: user.name, p.root.all())
    with pytest.raises(ValueError, match="at most 2 items"):
        fetch(names)


def test_map(pair: MakePair) -> None:
    """A function is recorded once, and done there for each item."""
    client, server = pair(Users)
    users = client.root.all()
    asked = Asked(server)
    calls = 0

    def both(user: Any) -> Any:
        nonlocal calls
        calls += 1
        return user.name, user.greet(user)

    with client.pipeline() as p:
        pairs = p.map(both, users)
        constant = p.map(lambda user: 1, users)
        nested = p.map(lambda user: p.map(lambda one: one.greet(user), user.friends), users)
    assert asked.seen == [consts.HANDLE_CHAIN]
    assert calls == 1
    expected = [(name, f"{name} greets {name}") for name in ("ann", "bob", "cid")]
    assert fetch(pairs) == expected
    assert fetch(constant) == [1, 1, 1]
    assert fetch(nested) == [["bob greets ann", "cid greets ann"], [], []]


def test_map_leaves_values_to_this_side(pair: MakePair) -> None:
    """What an item's steps compute with plain values is done here, and nothing is done twice."""
    client, _ = pair(Users)
    User.calls = 0
    with client.pipeline() as p:
        shouted = p.map(lambda user: user.greet().upper(), p.root.all())
        failing = p.map(lambda user: user.fail(), p.root.all())
    assert fetch(shouted)[0] == "ANN GREETS NOBODY"
    assert User.calls == 3
    with pytest.raises(KeyError, match="on purpose"):
        fetch(failing)


@pytest.mark.parametrize(
    "use",
    [
        bool,
        iter,
        len,
        format,
        list,
        lambda value: 5 in value,
        lambda value: f"{value}",
        lambda value: value == 5,
        lambda value: operator.lt(value, 5),
        lambda value: value + 1,
        int,
    ],
)
def test_what_python_wants_to_know_at_once(pair: MakePair, use: Callable[[Any], Any]) -> None:
    """The truth, the items, the length and the text of a recorded value are TypeErrors."""
    client, _ = pair(Users)
    value = lazy(client.root).find("ann").name
    with pytest.raises(TypeError):
        use(value)
    assert "not fetched" in repr(value)
    assert fetch(value) == "ann"
    assert "'ann'" in repr(value)


def test_objects_of_this_side(pair: MakePair) -> None:
    """A function of this side may be passed; what comes back of it is used here."""
    client, _ = pair(Users)
    found = lazy(client.root).call(lambda: [1, 2])
    assert fetch(found) == [1, 2]
    assert fetch(found[1]) == 2


def test_misuse(pair: MakePair) -> None:
    """Mistakes are TypeErrors and ValueErrors that say what was expected."""
    client, _ = pair(Users)
    other, _ = pair(Users)
    with pytest.raises(TypeError, match="expected a proxy"):
        lazy(5)
    with pytest.raises(ValueError, match="another's"):
        client.pipeline()(other.root)
    recorded = lazy(client.root).find("ann")
    with pytest.raises(ValueError, match="two connections"):
        lazy(other.root).call(recorded)
    with pytest.raises(TypeError, match="put it in a tuple"):
        lazy(client.root).call([recorded])
    assert fetch(lazy(client.root).call(len, (recorded, 2))) == 2
    with client.pipeline() as p, pytest.raises(TypeError, match="item of a map"):
        p.map(fetch, p.root.all())


def test_an_exception_in_the_block_sends_nothing(pair: MakePair) -> None:
    """What was recorded before is not done."""
    client, _ = pair(Users)
    User.calls = 0
    with pytest.raises(RuntimeError), client.pipeline() as p:
        p.root.find("ann").greet()
        raise RuntimeError
    assert User.calls == 0


def test_items_and_assignments(pair: MakePair) -> None:
    """Items are set and deleted, attributes are set, in order."""
    client, _ = pair(SlaveService, ClassicClient)
    with client.pipeline() as p:
        numbers = p.root.eval("{'a': 1, 'b': 2}")
        numbers["c"] = numbers["a"]
        del numbers["b"]
        keys = p.modules.builtins.sorted(numbers)
        space = p.modules.types.SimpleNamespace()
        space.value = numbers["c"]
        value = space.value
    assert list(fetch(keys)) == ["a", "c"]
    assert fetch(value) == 1
    assert fetch(lazy(client.root).eval("[1, 2, 3]")[1:]) == [2, 3]


def test_the_connection_is_lost(pair: MakePair) -> None:
    """Every result fails with what happened."""
    client, server = pair(Users)
    client.root
    p = client.pipeline()
    name = p.root.find("ann").name
    server.close()
    with pytest.raises(EOFError):
        p.send()
    with pytest.raises(EOFError):
        fetch(name)


@pytest.mark.parametrize(
    "answer",
    [
        5,
        (),
        ((1, 5), (1, 5)),
        ((9, 1),),
        ((1,),),
        (5,),
        ((),),
        ((4, 0),),
        ((4, "x"),),
        ((2, (1, 2)),),
        (([], 2),),
        ((5, 7),),
    ],
)
def test_malformed_outcomes(pair: MakePair, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers a chain with something else is told from one whose steps failed."""
    client, server = pair(Users)
    root = client.root
    monkeypatch.setitem(server._HANDLERS, consts.HANDLE_CHAIN, lambda *args: answer)
    name = lazy(root).name
    with pytest.raises((ValueError, TypeError, ProtocolError)):
        fetch(name)
    assert root.find("ann").name == "ann"
