"""What is done for a request is counted and bounded, and ends when nobody waits any more."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.core import consts
from rpyc_like.core.pipelining import chain_interpreter
from rpyc_like.core.references.accounts import CALL, Account, Kept
from rpyc_like.errors import LimitExceeded
from rpyc_like.wire.meter import Meter
from tests.support.eventually import eventually

from .served import KINDS, Served

LEVELS = 5
LIMIT = 5_000


class Lists(rpyc.Service):
    """Gives lists, and an iterator that tells when it is used."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.released = threading.Event()

    def exposed_list(self) -> list[None]:
        return [None] * 1000

    def exposed_long(self, size: int) -> list[Any]:
        return [[] for _ in range(size)]

    def exposed_text(self, size: int) -> str:
        return "x" * size

    def exposed_forever(self) -> Iterator[int]:
        self.begun.set()
        while True:
            self.released.wait(0.01)
            yield 1

    def exposed_texts(self, size: int) -> Iterator[str]:
        while True:
            yield "x" * size


def nested(items: Any, levels: int = LEVELS) -> Any:
    """Return steps that are done 1000 times for each level."""
    steps: Any = ((chain_interpreter.ROOT,),)
    for _ in range(levels):
        steps = (
            (
                chain_interpreter.MAP,
                (chain_interpreter.VALUE, items),
                steps,
                (chain_interpreter.VALUE, None),
            ),
        )
    return steps


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of server."""
    name: str = request.param
    return name


def test_steps_of_a_chain_are_counted_as_they_are_done(served: Served, kind: str) -> None:
    """A map in a map is refused after so many steps as are allowed; the connection goes on."""
    server = served.server(kind, Lists, max_steps=LIMIT)
    conn = served.client(server)
    with pytest.raises(Exception, match="max_steps") as caught:
        conn.sync_request(consts.HANDLE_CHAIN, nested(conn.root.list()), (0,))
    assert LIMIT < caught.value.got <= LIMIT + 1  # type: ignore[attr-defined]
    assert conn.root.text(3) == "xxx"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Tell when the account of a request is closed, which is when nothing works for it."""
    closed = threading.Event()
    close = Account.close

    def closing(account: Account) -> None:
        close(account)
        closed.set()

    monkeypatch.setattr(Account, "close", closing)
    return closed


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Tell when the account of a request is opened, which is when work for it begins."""
    opened = threading.Event()
    make = Account.__init__

    def opening(account: Account, *args: Any, **kwargs: Any) -> None:
        make(account, *args, **kwargs)
        opened.set()

    monkeypatch.setattr(Account, "__init__", opening)
    return opened


def test_a_chain_ends_when_its_asker_has_gone(
    served: Served, kind: str, begun: threading.Event, ended: threading.Event
) -> None:
    """The connection of a peer that hangs up is over soon, whatever it has asked for."""
    server = served.server(kind, Lists, max_steps=10**18)
    conn = served.client(server)
    items = conn.root.list()
    conn.async_request(consts.HANDLE_CHAIN, nested(items), (0,))
    assert begun.wait(60)
    assert not ended.is_set()
    conn.close()
    assert ended.wait(60)
    eventually(lambda: not server.connections)


def test_a_chain_ends_when_it_is_cancelled(
    served: Served, kind: str, begun: threading.Event, ended: threading.Event
) -> None:
    """A request that nobody waits for is not worked on; the next one is."""
    server = served.server(kind, Lists, max_steps=10**18)
    conn = served.client(server)
    items = conn.root.list()
    result = conn.async_request(consts.HANDLE_CHAIN, nested(items), (0,))
    (there,) = server.connections
    assert begun.wait(60)
    assert not ended.is_set()
    conn.give_up(result)
    assert ended.wait(60)
    eventually(lambda: not there._unanswered())
    assert conn.root.text(3) == "xxx"


def test_others_are_served_beside_a_chain(served: Served, kind: str) -> None:
    """A chain that never ends holds up nobody but who has asked for it."""
    server = served.server(kind, Lists, max_steps=10**18)
    attacker, other = served.client(server), served.client(server)
    attacker.async_request(consts.HANDLE_CHAIN, nested(attacker.root.list()), (0,))
    eventually(lambda: any(conn._unanswered() for conn in server.connections))
    for _ in range(10):
        assert other.root.text(3) == "xxx"
    assert any(conn._unanswered() for conn in server.connections)


def test_maps_without_steps_let_others_have_their_turn(served: Served) -> None:
    """On a loop, items of maps and operands are steps as well."""
    server = served.server("aio on the loop", Lists, max_steps=10**18)
    attacker, other = served.client(server), served.client(server)
    items = attacker.root.list()
    item = (chain_interpreter.STEP, 0, -1)
    wide = (chain_interpreter.TUPLE, (item,) * 1000)
    steps: Any = ((chain_interpreter.MAP, (chain_interpreter.VALUE, items), (), wide),)
    for _ in range(3):
        steps = (
            (
                chain_interpreter.MAP,
                (chain_interpreter.VALUE, items),
                steps,
                (chain_interpreter.VALUE, None),
            ),
        )
    attacker.async_request(consts.HANDLE_CHAIN, steps, ())
    eventually(lambda: any(conn._unanswered() for conn in server.connections))
    assert other.root.text(3) == "xxx"


def test_results_of_a_chain_are_counted(served: Served, kind: str) -> None:
    """What the steps have given is held until the answer goes, and no more than is allowed."""
    server = served.server(kind, Lists, max_kept_memory=1 << 20)
    conn = served.client(server)
    root = (chain_interpreter.VALUE, conn.root)
    size = (chain_interpreter.VALUE, 100_000)
    steps = tuple([(chain_interpreter.CALLATTR, root, "text", (size,), ())] * 20)
    with pytest.raises(Exception, match="max_kept_memory"):
        conn.sync_request(consts.HANDLE_CHAIN, steps, (0,))
    (there,) = server.connections
    eventually(lambda: there._kept.held < 1 << 16)
    assert conn.sync_request(consts.HANDLE_CHAIN, steps[:5], (0,))[0][1] == "x" * 100_000


def test_results_of_a_map_are_counted_as_they_are_listed(served: Served, kind: str) -> None:
    """An iterator that gives much is not listed to its end."""
    server = served.server(kind, Lists, max_kept_memory=1 << 20)
    conn = served.client(server)
    items = (chain_interpreter.VALUE, conn.root.texts(100_000))
    steps = ((chain_interpreter.MAP, items, (), (chain_interpreter.VALUE, None)),)
    ((outcome, _),) = conn.sync_request(consts.HANDLE_CHAIN, steps, (0,))
    assert outcome == chain_interpreter.FAILED
    assert conn.root.text(3) == "xxx"


def test_what_a_map_has_thrown_away_is_held_no_more(served: Served, kind: str) -> None:
    """Values that are used inside of a map only are not counted when their item is done."""
    server = served.server(kind, Lists, max_kept_memory=8 << 20)
    conn = served.client(server)
    size = (chain_interpreter.VALUE, 100_000)
    step = (chain_interpreter.CALLATTR, (chain_interpreter.VALUE, conn.root), "text", (size,), ())
    items = (chain_interpreter.VALUE, conn.root.list())
    steps = ((chain_interpreter.MAP, items, (step,), (chain_interpreter.VALUE, 1)),)
    assert conn.sync_request(consts.HANDLE_CHAIN, steps, (0,)) == ((1, (1,) * 1000),)


@pytest.mark.parametrize("wanted", [(-1,), (1,), ("x",), ((1,),), 0, (2**61 - 1,)])
def test_only_steps_of_the_chain_are_wanted(served: Served, wanted: Any) -> None:
    """Indices of other steps are refused before anything is done."""
    conn = served.client(served.server("threads", Lists))
    with pytest.raises((TypeError, ValueError)):
        conn.sync_request(consts.HANDLE_CHAIN, ((chain_interpreter.ROOT,),), wanted)


def test_operands_of_a_chain_are_limited(served: Served) -> None:
    """A step with a million operands is refused by its form."""
    conn = served.client(served.server("threads", Lists))
    operands = ((chain_interpreter.VALUE, None),) * 200_000
    root = (chain_interpreter.VALUE, conn.root)
    for steps in (
        ((chain_interpreter.CALLATTR, root, "text", operands, ()),),
        ((chain_interpreter.CALLATTR, root, "text", ((chain_interpreter.TUPLE, operands),), ()),),
    ):
        with pytest.raises(ValueError, match="operands"):
            conn.sync_request(consts.HANDLE_CHAIN, steps, ())


def nested_tuple(levels: int) -> Any:
    """Return an operand of tuples in tuples."""
    operand: Any = (chain_interpreter.VALUE, None)
    for _ in range(levels):
        operand = (chain_interpreter.TUPLE, (operand,))
    return operand


@pytest.mark.parametrize(
    ("steps", "expected", "got"),
    [
        (lambda root: ((chain_interpreter.ROOT,),) * 10_007, "10000 steps", "10007"),
        (lambda root: nested(root, 22), "20 levels", "21"),
        (
            lambda root: (
                (chain_interpreter.CALL, (chain_interpreter.VALUE, root), (nested_tuple(22),), ()),
            ),
            "20 levels",
            "21",
        ),
        (
            lambda root: (
                (
                    chain_interpreter.CALL,
                    (chain_interpreter.VALUE, root),
                    (nested_tuple(0),) * 100_003,
                    (),
                ),
            ),
            "100000 operands",
            "100003",
        ),
    ],
    ids=["steps", "maps", "tuples", "operands"],
)
def test_fixed_limits_say_what_they_got(
    served: Served, steps: Callable[[Any], Any], expected: str, got: str
) -> None:
    """Limits of the form of a chain have no key: errors say so, with both numbers."""
    conn = served.client(served.server("threads", Lists, max_steps=10**9))
    with pytest.raises(ValueError, match=rf"{expected}.* \(a fixed limit\), got {got}"):
        conn.sync_request(consts.HANDLE_CHAIN, steps(conn.root), ())


def test_items_of_a_map_are_limited(served: Served) -> None:
    """A map over more items than are allowed says where it ended, and that no key changes it."""
    conn = served.client(served.server("threads", Lists, max_steps=10**9))
    items = (chain_interpreter.VALUE, conn.root.texts(1))
    steps = ((chain_interpreter.MAP, items, (), (chain_interpreter.VALUE, None)),)
    ((outcome, error),) = conn.sync_request(consts.HANDLE_CHAIN, steps, (0,))
    assert outcome == chain_interpreter.FAILED
    assert "at most 100000 items to map (a fixed limit), got 100001 or more" in str(error)


class Awaited(rpyc.Service):
    """Gives what has to be awaited."""

    async def exposed_numbers(self) -> Any:
        for number in range(5):
            await asyncio.sleep(0)
            yield number

    async def exposed_endless(self) -> Any:
        while True:
            yield "x" * 1000

    def exposed_items(self) -> Any:
        class Items:
            def __iter__(self) -> Any:
                return self

            async def __next__(self) -> int:
                return 1

        return Items()


def mapped(conn: Any, items: Any) -> Any:
    """Return the outcome of a map that gives the items themselves."""
    steps = (
        (
            chain_interpreter.MAP,
            (chain_interpreter.VALUE, items),
            (),
            (chain_interpreter.STEP, 0, -1),
        ),
    )
    (outcome,) = conn.sync_request(consts.HANDLE_CHAIN, steps, (0,))
    return outcome


def test_a_map_takes_items_that_are_awaited(served: Served, kind: str) -> None:
    """An asynchronous generator gives its items to a map, whichever server has it."""
    conn = served.client(served.server(kind, Awaited))
    assert mapped(conn, conn.root.numbers()) == (chain_interpreter.DONE, (0, 1, 2, 3, 4))


def test_a_map_over_an_endless_asynchronous_generator_ends(served: Served, kind: str) -> None:
    """What it gives is counted as that of any iterator."""
    conn = served.client(served.server(kind, Awaited, max_kept_memory=1 << 20))
    outcome, error = mapped(conn, conn.root.endless())
    assert outcome == chain_interpreter.FAILED
    assert "max_kept_memory" in str(error)
    assert mapped(conn, conn.root.numbers())[0] == chain_interpreter.DONE


def test_a_map_makes_no_coroutines_that_nobody_awaits(
    served: Served, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    """An iterator with an ``async def __next__`` is refused with an error that says why."""
    conn = served.client(served.server(kind, Awaited))
    outcome, error = mapped(conn, conn.root.items())
    assert outcome == chain_interpreter.FAILED
    assert "items have to be awaited" in str(error)
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_what_cannot_be_finished_here_is_counted(served: Served) -> None:
    """Items that are left to the peer cost steps and memory as well."""
    server = served.server("threads", Lists, max_steps=LIMIT)
    conn = served.client(server)
    values = (chain_interpreter.VALUE, conn.root.list())
    item = (chain_interpreter.STEP, 0, -1)
    left = tuple([(chain_interpreter.GETATTR, item, "x")] * 100)
    with pytest.raises(Exception, match="max_steps"):
        conn.sync_request(consts.HANDLE_CHAIN, ((chain_interpreter.MAP, values, left, item),), (0,))


@pytest.mark.parametrize("way", ["gone", "cancelled"])
def test_an_iteration_ends_when_nobody_waits(
    served: Served, kind: str, way: str, ended: threading.Event
) -> None:
    """Nothing more is taken of an iterator that nobody waits for."""
    service = Lists()
    server = served.server(kind, service, max_steps=10**18)
    conn = served.client(server)
    conn.async_request(consts.HANDLE_BUFFITER, conn.root.forever(), 100_000)
    assert service.begun.wait(60)
    if way == "gone":
        conn._link.channel.close()
    else:
        (id_,) = conn._session.pending.waiting()
        conn._link.send(conn._codec.encode_saying(consts.HANDLE_CANCEL, id_))
    assert ended.wait(60)
    service.released.set()


def test_names_of_an_object_are_steps(served: Served) -> None:
    """An object with more names than there may be steps is not listed."""

    class Names(rpyc.Service):
        def exposed_names(self) -> Any:
            made = type("Made", (), {})()
            made.__dict__.update(dict.fromkeys(map("exposed_{}".format, range(2000))))
            return made

    conn = served.client(served.server("threads", Names, max_steps=1000))
    with pytest.raises(Exception, match="max_steps"):
        dir(conn.root.names())


class Data(rpyc.Service):
    """Has data of which copies are large."""

    def exposed_values(self, size: int) -> list[Any]:
        return [(number, [number]) for number in range(size)]

    def exposed_plain(self, size: int) -> list[int]:
        return [0] * size

    def exposed_table(self, size: int) -> dict[int, int]:
        return dict.fromkeys(range(size), 0)

    def exposed_same(self, size: int, count: int) -> list[str]:
        return ["x" * size] * count

    def exposed_array(self, size: int) -> Any:
        numpy = pytest.importorskip("numpy")
        return numpy.broadcast_to(numpy.zeros(1), (size,))

    def exposed_add(self, a: int, b: int) -> int:
        return a + b


@pytest.mark.parametrize("name", ["values", "plain", "table"])
def test_values_of_a_snapshot_are_steps(served: Served, kind: str, name: str) -> None:
    """Describing more values than there may be steps is refused."""
    conn = served.client(served.server(kind, Data, max_steps=1000))
    with pytest.raises(Exception, match="max_steps"):
        rpyc.snapshot(getattr(conn.root, name)(200_000))
    assert conn.root.add(1, 2) == 3
    assert len(rpyc.snapshot(getattr(conn.root, name)(100))) == 100


@pytest.mark.parametrize(
    ("name", "args"), [("plain", (1_000_000,)), ("same", (1 << 20, 1000)), ("array", (1 << 24,))]
)
def test_what_a_snapshot_becomes_is_counted(served: Served, name: str, args: Any) -> None:
    """A snapshot that would take more memory than is allowed is refused before it is made."""
    server = served.server("threads", Data, max_kept_memory=1 << 20)
    conn = served.client(server)
    with pytest.raises(Exception, match="max_kept_memory"):
        rpyc.snapshot(getattr(conn.root, name)(*args))
    (there,) = server.connections
    eventually(lambda: there._kept.held == 0)
    assert conn.root.add(1, 2) == 3


def test_a_snapshot_ends_when_nobody_waits(
    served: Served, kind: str, ended: threading.Event
) -> None:
    """Whatever has been described by then."""
    begun = threading.Event()

    @dataclasses.dataclass
    class Node:
        number: int = 0

        @property
        def next(self) -> Any:
            begun.set()
            return Node(self.number + 1)

    Node.__dataclass_fields__["next"] = Node.__dataclass_fields__["number"]

    class Nodes(rpyc.Service):
        def exposed_node(self) -> Any:
            return Node()

    config = {"max_steps": 10**18, "allow_public_attrs": True}
    conn = served.client(served.server(kind, Nodes, **config))
    conn.async_request(consts.HANDLE_SNAPSHOT, conn.root.node())
    assert begun.wait(60)
    conn._link.channel.close()
    assert ended.wait(60)


def test_exported_objects_are_counted(served: Served) -> None:
    """Entries of the export table cost memory, which is given back with them."""
    server = served.server("threads", Lists, max_kept_memory=250_000)
    conn = served.client(server)
    items = conn.root.long(5_000)
    found: list[Any] = []
    with pytest.raises(Exception, match="max_kept_memory"):
        for item in items:
            found.append(item)
    assert 1_000 < len(found) < 3_000
    found.clear()
    item = None
    (there,) = server.connections
    eventually(lambda: conn.flush_released() or len(there._local_objects) < 1_000)
    assert conn.root.text(3) == "xxx"
    eventually(lambda: conn.root.list()[0] is None and there._kept.held < 10_000)


class Waiting(rpyc.Service):
    """Has a call that ends when it is told to."""

    def __init__(self) -> None:
        self.going: list[Any] = []

    async def exposed_wait(self) -> None:
        event = asyncio.Event()
        self.going.append((asyncio.get_running_loop(), event))
        await event.wait()

    def exposed_go(self) -> None:
        while self.going:
            loop, event = self.going.pop()
            loop.call_soon_threadsafe(event.set)


def test_calls_under_way_are_counted(served: Served) -> None:
    """Coroutines of a blocking connection take memory until they end."""
    service = Waiting()
    server = served.server("threads", service, max_kept_memory=50_000)
    conn = served.client(server)
    wait = rpyc.async_(conn.root.wait)
    results = [wait() for _ in range(20)]
    refused = results[-1]
    refused.wait()
    with pytest.raises(Exception, match="max_kept_memory"):
        refused.value
    (there,) = server.connections
    assert there._kept.held <= 50_000
    eventually(lambda: len(service.going) == 50_000 // CALL)
    conn.root.go()
    assert results[0].value is None
    eventually(lambda: there._kept.held == 0)


@pytest.mark.parametrize("name", ["threads", "pool", "aio"])
def test_a_server_keeps_no_more_for_all_its_clients(served: Served, name: str) -> None:
    """What the connections keep is summed up; one that ends gives back what was kept for it."""
    server = served.server(name, Lists)
    account = server.admission.account
    account.limit = 500_000
    first, second = served.client(server), served.client(server)
    held = [*first.root.long(1_500)]
    assert account.held == 200_000
    with pytest.raises(Exception, match="all clients"):
        held += second.root.long(4_000)
    assert second.root.text(3) == "xxx"
    first.close()
    second.close()
    eventually(lambda: account.held == 0)


def test_what_is_kept_is_summed_up() -> None:
    """The account of a connection tells that of the server, and takes all away at its end."""
    total = [0]

    def add(size: int) -> None:
        total[0] += size

    kept = [Kept(Meter(1000, total=add)) for _ in range(2)]
    for one in kept:
        one.hold(600, "memory for a test")
    with pytest.raises(LimitExceeded):
        kept[0].hold(600, "memory for a test")
    assert total == [1200]
    kept[0].release_later(100)
    kept[0].hold(1, "memory for a test")
    assert total == [1101]
    kept[0].close()
    assert total == [600]
    kept[0].hold(50, "memory for a test")
    kept[0].release(50)
    assert total == [600]
