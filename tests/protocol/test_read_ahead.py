"""Iterating over remote containers in chunks, beside the same loop on a local one."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpyc_like.core import consts
from rpyc_like.core.config import DEFAULT_CONFIG
from rpyc_like.core.iteration import cursors, prefetch
from rpyc_like.core.protocol import Connection
from rpyc_like.core.service import ClassicClient, SlaveService
from rpyc_like.errors import MalformedValue
from tests.support.asked import Asked
from tests.support.eventually import eventually

Pair = tuple[Connection, Connection]


class Item:
    """Something that does not travel by value."""

    def __init__(self, x: int) -> None:
        self.x = x


@pytest.fixture
def there(pair: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Returns a function that makes remote things, and one that counts requests."""
    monkeypatch.setattr(prefetch, "_FRESH", 60.0)  # a slow machine asks no more than a fast one
    client, server = pair(SlaveService, ClassicClient)
    client.root
    asked = Asked(server)
    kept: list[Any] = []

    def remote(obj: Any) -> Any:
        kept.append(obj)
        server._local_root.namespace.update(obj=obj, Item=Item)
        return client.eval("obj")

    remote.conn = client  # type: ignore[attr-defined]
    remote.asked = asked  # type: ignore[attr-defined]
    yield remote


PLAIN: dict[str, Any] = {
    "list": [*range(3000)],
    "set": {*range(1000)},
    "dict": {str(number): number for number in range(1000)},
    "bytearray": bytearray(range(256)),
    "range": range(5, 5000, 3),
    "empty list": [],
    "empty dict": {},
    "short": [1, "two", None, (3, 4.5)],
}


def loop_over(items: Any) -> list[Any]:
    seen = []
    for item in items:
        seen.append(item)
    return seen


@pytest.mark.parametrize("name", PLAIN)
def test_whole_containers_take_one_or_two_requests(there: Any, name: str) -> None:
    """list(), sorted(), set(), unpacking and == read a container at once."""
    local = PLAIN[name]
    remote = there(local)
    operations: dict[str, Callable[[Any], Any]] = {
        "list": list,
        "tuple": tuple,
        "set": set,
        "unpacking": lambda items: [*items],
        "loop": loop_over,
    }
    if name != "short":
        operations["sorted"] = sorted
    if type(local) in (list, set, dict):
        operations["=="] = lambda items: items == local
        operations["!="] = lambda items: items != local
        operations["== of another"] = lambda items: items == type(local)()
    for what, do in operations.items():
        expected = do(local)
        got: list[Any] = []
        asked = there.asked(lambda do=do, got=got: got.append(do(remote)))
        assert got[0] == expected, what
        assert type(got[0]) is type(expected)
        assert len(asked) <= (3 if what == "loop" else 2), what


def test_dicts(there: Any) -> None:
    """dict(), ``**``, items(), values() and keys() take one or two requests."""
    local = {str(number): number for number in range(1500)}
    remote = there(local)
    for do in (
        dict,
        lambda d: {**d},
        lambda d: list(d.items()),
        lambda d: list(d.values()),
        lambda d: sorted(d.keys()),
        lambda d: {}.update(d),
        lambda d: dict(d.items()),
        lambda d: [key for key, value in d.items() if value > 5],
    ):
        got: list[Any] = []
        asked = there.asked(lambda do=do, got=got: got.append(do(remote)))
        assert got[0] == do(local)
        assert len(asked) <= 3, asked
    hundred = there(dict.fromkeys(range(100), 1))
    for do in (dict, lambda d: list(d.items())):
        assert len(there.asked(lambda do=do: do(hundred))) == 1
    assert len(remote.keys()) == 1500
    assert "7" in remote.keys()  # noqa: SIM118
    assert remote.keys() & {"7", "x"} == {"7"}
    assert isinstance(remote.keys(), type({}.keys()))  # type: ignore[var-annotated]
    assert dict(there({1: Item(5)}))[1].x == 5


def test_objects_are_read_in_chunks(there: Any) -> None:
    """A loop over a thousand objects that reads an attribute of each."""
    remote = there([Item(number) for number in range(1000)])
    asked = there.asked(lambda: [item.x for item in remote])
    assert len(asked) <= 1010
    assert asked.count(consts.HANDLE_GETATTR) == 1000
    assert [item.x for item in remote] == [*range(1000)]


def test_a_loop_that_is_left_reads_little(there: Any) -> None:
    """The first chunk is small, and what was read ahead is given back."""
    remote = there([Item(number) for number in range(5000)])
    server_side = len(there.conn._proxies)
    for item in remote:
        assert item.x == 0
        break
    assert len(there.conn._proxies) <= server_side + prefetch.FIRST + 3


class Loop:
    """One run over a container, with changes on the way; the same code for both sides."""

    def __init__(self, container: Any, changes: list[Any]) -> None:
        self.container = container
        self.changes = changes

    def run(self) -> Any:
        seen: list[Any] = []
        changes = iter(self.changes)
        try:
            for item in self.container:
                seen.append(item)
                if len(seen) > 60:
                    break
                for name, *args in next(changes, ()):
                    self.change(name, args)
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            seen.append(type(error).__name__)
        return seen, sorted(self.container, key=repr)

    def change(self, name: str, args: list[Any]) -> None:
        if name == "__setitem__":
            self.container[args[0]] = args[1]
        elif name == "__delitem__":
            del self.container[args[0]]
        elif name == "len":
            len(self.container)
        elif name == "in":
            args[0] in self.container  # noqa: B015
        else:
            getattr(self.container, name)(*args)


numbers = st.integers(0, 12)
CHANGES = {
    list: st.one_of(
        st.tuples(st.just("append"), numbers),
        st.tuples(st.just("insert"), numbers, numbers),
        st.tuples(st.just("pop")),
        st.tuples(st.just("__setitem__"), st.just(0), numbers),
        st.tuples(st.just("__delitem__"), st.just(0)),
        st.tuples(st.just("clear")),
        st.tuples(st.just("len")),
        st.tuples(st.just("in"), numbers),
    ),
    dict: st.one_of(
        st.tuples(st.just("__setitem__"), numbers, numbers),
        st.tuples(st.just("pop"), numbers),
        st.tuples(st.just("pop"), numbers, st.none()),
        st.tuples(st.just("len")),
        st.tuples(st.just("in"), numbers),
    ),
    set: st.one_of(
        st.tuples(st.just("add"), numbers),
        st.tuples(st.just("discard"), numbers),
        st.tuples(st.just("len")),
        st.tuples(st.just("in"), numbers),
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_loop_sees_what_a_local_loop_would(there: Any, kind: type, data: Any) -> None:
    """Whatever the loop changes on the way: same items, same errors."""
    content = data.draw(st.lists(numbers, max_size=10))
    steps = st.lists(CHANGES[kind], max_size=2)
    changes = data.draw(st.lists(steps, max_size=12))

    def make() -> Any:
        return dict.fromkeys(content, 0) if kind is dict else kind(content)

    assert Loop(there(make()), changes).run() == Loop(make(), changes).run()


def test_a_long_loop_with_changes(there: Any) -> None:
    """Chunks of every size are discarded at every point."""
    rng = random.Random(7)
    for size in (5, 99, 100, 101, 250, 1200):
        stops = {rng.randrange(size) for _ in range(5)}

        def loop(container: list[int], stops: set[int] = stops) -> list[int]:
            seen = []
            for position, item in enumerate(container):
                seen.append(item)
                if position in stops:
                    container.append(-position)
                    container.insert(0, item)
                    container[position] = 7
            return seen

        assert loop(there([*range(size)])) == loop([*range(size)])


def test_a_request_of_the_peer_discards_too(there: Any) -> None:
    """A callback that changes the container is noticed, though this side has sent nothing."""
    conn = there.conn
    numbers = there([1, 2, 3, 4])
    seen = []
    conn.execute(
        "import threading\n"
        "def change(tell):\n"
        "    def later():\n        obj.append(5)\n        del obj[1]\n        tell()\n"
        "    threading.Thread(target=later).start()\n"
    )
    told = threading.Event()
    change = conn.namespace["change"]
    iterator = iter(numbers)
    seen.append(next(iterator))
    pending = conn.eval("lambda change, tell: change(tell)")
    result = rpyc_async(pending)(change, told.set)
    result.wait()
    eventually(lambda: told.is_set() or conn.poll(0.05) is None)
    seen += iterator
    assert seen == [1, 3, 4, 5]


def rpyc_async(func: Any) -> Any:
    from rpyc_like import async_

    return async_(func)


def test_plain_reads_do_not_discard(there: Any) -> None:
    """Attributes, items, lengths and comparisons leave the chunk as it is."""
    remote = there([*range(100)])
    other = there({"x": Item(1)})

    def loop() -> None:
        for number in remote:
            assert other["x"].x == 1
            assert len(other) == 1
            assert number >= 0

    assert there.asked(loop).count(consts.HANDLE_CHUNK) == 0


def test_what_is_seen_is_fresh(there: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The length that Python asks for is answered for 50 ms at most, and to one thread."""
    numbers = [1, 2, 3]
    remote = there(numbers)
    iterator = iter(remote)
    numbers.append(4)
    assert len(remote) == 3  # from the chunk
    thread_saw: list[int] = []
    thread = threading.Thread(target=lambda: thread_saw.append(len(remote)))
    thread.start()
    thread.join()
    assert thread_saw == [4]
    assert len(remote) == 4  # a request has been made since
    del iterator
    iterator = iter(remote)
    numbers.append(5)
    assert len(remote) == 4
    monkeypatch.setattr(prefetch, "_FRESH", 0.0)
    other = iter(remote)
    numbers.append(6)
    assert len(remote) == 6
    assert next(iterator) == next(other) == 1


def test_weight_is_bounded(there: Any) -> None:
    """Large items end a chunk early."""
    remote = there(["x" * 300_000] * 20)
    assert list(remote) == ["x" * 300_000] * 20
    asked = there.asked(lambda: loop_over(remote))
    assert asked.count(consts.HANDLE_CHUNK) >= 4


def test_subclasses_are_asked_themselves(there: Any) -> None:
    """A list of its own kind iterates in its own way."""

    class Backwards(list[int]):
        def __iter__(self) -> Any:
            return iter(self[::-1])

    assert list(there(Backwards([1, 2, 3]))) == [3, 2, 1]


def test_misuse_of_the_requests(there: Any) -> None:
    """Counts are bounded, and only containers that were lent are read."""
    conn = there.conn
    remote = there([1, 2])
    for args in ((remote, 0, -1), (remote, 0, 10**6), (remote, 0, "5")):
        with pytest.raises(ValueError, match="expected a count"):
            conn.sync_request(consts.HANDLE_ITERATE, *args)
    assert conn.sync_request(consts.HANDLE_ITERATE, remote, 7, 1) is None
    assert conn.sync_request(consts.HANDLE_ITERATE, conn.root, 0, 1) is None
    for args in ((remote, -1, 1, 0), (remote, None, 1, 0)):
        with pytest.raises(ValueError, match="number of items"):
            conn.sync_request(consts.HANDLE_CHUNK, *args)
    with pytest.raises(TypeError, match="expected a cursor"):
        conn.sync_request(consts.HANDLE_CHUNK, conn.root, 0, 1, 0)
    with pytest.raises(TypeError, match="expected a reference"):
        conn.sync_request(consts.HANDLE_ITERATE, [1], 0, 1)
    cursor = conn.sync_request(consts.HANDLE_ITERATE, there({1: 1, 2: 2}), 0, 1)[4]
    with pytest.raises(AttributeError):
        cursor.settle


def test_restricted_peers_need_leave(pair: Callable[..., Pair]) -> None:
    """The gate stands before a container as before any object."""
    import rpyc_like as rpyc

    class Service(rpyc.Service):
        def exposed_numbers(self) -> list[int]:
            return [1, 2, 3]

        def exposed_table(self) -> dict[str, int]:
            return {"x": 1}

    client, _ = pair(Service, there_config={"allow_safe_attrs": False})
    with pytest.raises(AttributeError):
        list(client.root.numbers())
    client, _ = pair(Service)
    assert list(client.root.numbers()) == [1, 2, 3]
    with pytest.raises(AttributeError):
        client.root.table().items
    assert client.root.table() == {"x": 1}
    assert client.root.table() != {"x": 2}
    config = {"safe_attrs": DEFAULT_CONFIG["safe_attrs"] - {"__getitem__"}}
    client, _ = pair(Service, there_config=config)
    for what in (cursors.ITEMS, cursors.VALUES, cursors.KEYS_AND_VALUES):
        with pytest.raises(AttributeError, match="__getitem__"):
            client.sync_request(consts.HANDLE_ITERATE, client.root.table(), what, 1)
    assert list(client.root.table()) == ["x"]


@pytest.mark.parametrize("answer", [5, (), ((1,), None, True), ([1], None, True, 1, None)])
def test_malformed_chunks(there: Any, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers with something else is told so, and the connection goes on."""
    remote = there([1, 2])
    monkeypatch.setattr(there.conn, "sync_request", lambda *args: answer)
    with pytest.raises(MalformedValue, match="expected a chunk"):
        iter(remote)
    monkeypatch.undo()
    assert list(remote) == [1, 2]


class Clock:
    """Goes on by a fixed time whenever somebody looks."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(there: Any, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock; what is seen stays for 50 ms of it."""
    made = Clock(5e-6)
    monkeypatch.setattr(prefetch, "_FRESH", 0.05)
    monkeypatch.setattr(prefetch, "primitives", SimpleNamespace(monotonic=made))
    return made


@pytest.mark.parametrize("kind", [int, str, lambda number: (number, "x")])
def test_a_large_dict_takes_few_requests(there: Any, clock: Clock, kind: Any) -> None:
    """The values of a dict that takes longer than 50 ms to make are fetched many at once."""
    local = {kind(number): number for number in range(60_000)}
    remote = there(local)
    got: list[Any] = []
    asked = there.asked(lambda: got.append(dict(remote)))
    assert got == [local]
    assert list(got[0]) == list(local)
    assert len(asked) <= 40, len(asked)


def test_values_are_no_older_than_before(there: Any, clock: Clock) -> None:
    """A value that is asked for 50 ms after it came is asked for again."""
    local = dict.fromkeys(range(5000), 0)
    remote = there(local)
    keys = list(remote.keys())
    for position, key in enumerate(keys):
        if not position % 500:
            local.update(dict.fromkeys(keys, position))
            clock.now += 0.06
        assert remote[key] == position - position % 500


def test_a_slow_loop_fetches_no_more_than_it_asks_for(there: Any, clock: Clock) -> None:
    """Where most values would be too old when they are used, each is asked for by itself."""
    remote = there(dict.fromkeys(range(2000), 0))
    keys = list(remote.keys())

    def loop() -> None:
        for key in keys[:50]:
            clock.now += 0.06
            assert remote[key] == 0

    asked = there.asked(loop)
    assert asked.count(consts.HANDLE_ITERATE) <= 1
    assert asked.count(consts.HANDLE_CALLATTR) >= 48


@pytest.mark.parametrize("change", ["gone", "new", "moved", "object"])
def test_a_dict_that_changes_while_it_is_copied(there: Any, clock: Clock, change: str) -> None:
    """Each key is looked up in the dict as it is then, as ``dict`` does with any mapping."""
    local: dict[int, Any] = dict.fromkeys(range(1000), 0)
    remote = there(local)
    keys = list(remote.keys())
    for key in keys[:100]:
        assert remote[key] == 0
    if change == "gone":
        del local[100]
    elif change == "new":
        local[1000] = 5
    elif change == "moved":
        local[101] = local.pop(101)
    else:
        local[100] = Item(7)
    clock.now += 0.06
    if change == "gone":
        with pytest.raises(KeyError):
            remote[100]
    elif change == "object":
        assert remote[100].x == 7
    assert [remote[key] for key in keys[101:]] == [local[key] for key in keys[101:]]


def test_keys_of_equal_hash_are_not_looked_up_here(there: Any) -> None:
    """A peer's keys are in no table of this side unless the program puts them there."""
    local = {number * ((1 << 61) - 1): number for number in range(1, 200)}
    remote = there(local)
    keys = list(remote.keys())
    assert not there.conn._read_ahead.glimpse._values
    assert {number: remote[number] for number in keys[:5]} == dict(list(local.items())[:5])
