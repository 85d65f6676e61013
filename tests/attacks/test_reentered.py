"""C code of the library that a peer enters again while it is asked, and those who do no harm."""

from __future__ import annotations

import asyncio
import csv
import functools
import gc
import re
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.erlport.v1 import erlang
from rpyc_like.erlport.v1.bridge import only
from rpyc_like.erlport.v1.erlterms import Atom
from rpyc_like.erlport.v1.handles import Handle
from rpyc_like.lib.guards import in_flight
from rpyc_like.lib.guards.in_flight import Use, to_mark, under_way
from rpyc_like.lib.timing import Timeout
from tests.attacks.front_ends import FRONT_ENDS, port_of
from tests.attacks.reentered import REFUSED, SAFE, UNSAFE
from tests.erlport.test_wire import wired
from tests.support.joining import join
from tests.support.peers import OURS, environment

LIMIT = 60


KINDS = ("od", "shown", "compared", "element", "deque", "csv", "")
CASES = {
    kind or "others": [
        name
        for name in (*UNSAFE, *SAFE)
        if name.partition("_")[0] == kind or not (kind or name.partition("_")[0] in KINDS)
    ]
    for kind in KINDS
}


@pytest.mark.parametrize("kind", CASES)
def test_case_120_c_code_is_not_entered_again(kind: str) -> None:
    """A process that is attacked so survives, and refuses what would have ended it."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.attacks.reentered", *CASES[kind]],
        env=environment(OURS),
        capture_output=True,
        text=True,
        timeout=5 * LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Shared(rpyc.Service):
    """Exports the same objects to everybody."""

    def __init__(self) -> None:
        self.exposed_ordered = OrderedDict(a=1)
        self.exposed_deque = deque([3, 1, 2])
        self.exposed_list = [3, 1, 2]
        self.exposed_rows = [OrderedDict(x=number) for number in (3, 1, 2)]
        self.exposed_deques = [deque([number]) for number in (3, 1, 2)]
        self.exposed_queue: SimpleQueue[int] = SimpleQueue()
        self.exposed_pattern = re.compile("[a-z]")
        self.exposed_nested = functools.lru_cache(self.nested)
        self.exposed_map = map
        self.exposed_sorted = sorted
        self.exposed_big = OrderedDict(a=3, b=1, c=2)

    def exposed_share(self, items: Any) -> None:
        self.reader = csv.reader(items)

    def exposed_get_reader(self) -> Any:
        return self.reader

    def nested(self, number: int, func: Any) -> Any:
        return func(number)


@pytest.fixture(params=(*FRONT_ENDS, "pool"))
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    """Return what connects to a server."""
    conns = []
    with port_of(request.param, Shared(), allow_public_attrs=True) as port:

        def make() -> Any:
            conns.append(rpyc.connect("127.0.0.1", port, config={"sync_request_timeout": LIMIT}))
            return conns[-1].root

        try:
            yield make
        finally:
            for conn in conns:
                conn.close()


class Slow:
    """An iterator whose first item comes when the test says so."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def __iter__(self) -> Slow:
        return self

    def __next__(self) -> str:
        self.asked.set()
        assert self.go_on.wait(LIMIT)
        return "a,b"


def waiting_for(count: int) -> None:
    """Wait until so many calls wait for their turn."""
    deadline = Timeout(LIMIT)
    while len(in_flight._awaited) < count:
        assert not deadline.expired()
        deadline.sleep(0.01)


def test_case_120_other_connections_wait_meanwhile(connect: Callable[[], Any]) -> None:
    """They wait before what waits for a peer, and work on other objects at any time."""
    items = Slow()
    first, second = connect(), connect()
    first.share(items)
    served = rpyc.BgServingThread(object.__getattribute__(first, "____conn__"))
    reader = first.get_reader()
    other, third = second.get_reader(), connect()
    got: list[Any] = []
    threads = [
        threading.Thread(target=lambda one=one: got.append(list(one.__next__())))
        for one in (reader, other)
    ]
    threads[0].start()
    try:
        assert items.asked.wait(LIMIT)
        threads[1].start()
        waiting_for(1)
        third.deque.append(4)
        assert len(third.deque) == 4
        assert got == []
    finally:
        items.go_on.set()
        for thread in threads:
            join(thread, LIMIT)
        served.stop()
    assert got == [["a", "b"], ["a", "b"]]


def test_case_120_who_is_asked_sees_who_has_begun_meanwhile() -> None:
    """A call that has looked before the other one waited is let end by that one."""
    shared: OrderedDict[Any, Any] = OrderedDict()
    begun, end = threading.Event(), threading.Event()
    ended: list[bool] = []

    def work() -> None:
        with Use("clear", (shared,), 1000, "max_steps"):
            begun.set()
            assert end.wait(LIMIT)
            ended.append(True)

    def let_end() -> None:
        waiting_for(1)
        end.set()

    with Use("__setitem__", (shared, 1), 1000, "max_steps"):
        threads = [threading.Thread(target=work), threading.Thread(target=let_end)]
        threads[0].start()
        assert begun.wait(LIMIT)
        use = to_mark()
        assert use is not None
        threads[1].start()
        use.mark()
        assert ended
        use.unmark()
        for thread in threads:
            join(thread, LIMIT)
    assert not under_way


def test_case_120_who_has_a_proxy_waits_before_it_begins(connect: Callable[[], Any]) -> None:
    """Of two calls with keys of clients the later one waits though the first has not asked yet."""
    shared: OrderedDict[Any, Any] = OrderedDict()
    key = connect()
    ended: list[bool] = []

    def work() -> None:
        with Use("__setitem__", (shared, key), 1000, "max_steps"):
            assert ended

    thread = threading.Thread(target=work)
    with Use("__setitem__", (shared, key), 1000, "max_steps"):
        thread.start()
        waiting_for(1)
        ended.append(True)
    join(thread, LIMIT)
    assert not under_way


def test_case_120_a_circle_of_waits_ends() -> None:
    """Of two calls that have begun and are to ask, one is refused, and the other goes on."""
    shared: OrderedDict[Any, Any] = OrderedDict()
    both = threading.Barrier(2)
    outcomes: list[str] = []

    def work() -> None:
        with Use("__setitem__", (shared, 1), 1000, "max_steps"):
            both.wait(LIMIT)
            use = to_mark()
            assert use is not None
            try:
                use.mark()
                use.unmark()
                outcomes.append("asked")
            except RuntimeError as error:
                assert re.search(REFUSED, str(error))
                outcomes.append("refused")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread, LIMIT)
    assert sorted(outcomes) == ["asked", "refused"]
    assert not under_way


class Point:
    """A key of a client, many of which have one hash."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3

    def __eq__(self, other: object) -> bool:
        return type(other) is Point and self.number == other.number


def test_case_120_clients_with_keys_of_their_own_have_their_turns(
    connect: Callable[[], Any],
) -> None:
    """Nobody is refused where several change one OrderedDict and search one deque."""
    roots = [connect() for _ in range(3)]
    served = [rpyc.BgServingThread(object.__getattribute__(r, "____conn__")) for r in roots]
    errors: list[BaseException] = []

    def work(root: Any) -> None:
        try:
            ordered, items = root.ordered, root.deque
            for number in range(10):
                ordered[Point(number)] = number
                assert Point(number) not in items
                items.append(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread, LIMIT)
    for each in served:
        each.stop()
    assert errors == []
    assert len(roots[0].ordered) >= 10


def test_case_120_who_is_gone_waits_no_longer(connect: Callable[[], Any]) -> None:
    """A call that waits for its turn ends when its peer has gone."""
    items = Slow()
    first, second = connect(), connect()
    first.share(items)
    reader, other = first.get_reader(), rpyc.async_(second.get_reader().__next__)
    thread = threading.Thread(target=reader.__next__)
    thread.start()
    try:
        assert items.asked.wait(LIMIT)
        other()
        waiting_for(1)
        object.__getattribute__(second, "____conn__").close()
        deadline = Timeout(LIMIT)
        while in_flight._awaited:
            assert not deadline.expired()
            deadline.sleep(0.01)
        assert thread.is_alive()
    finally:
        items.go_on.set()
        join(thread, LIMIT)


class Kept:
    """Something that a thread works with."""


def test_case_120_threads_that_look_at_each_other_keep_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What any thread works with is freed when it has ended, without the garbage collector."""
    both_look = threading.Barrier(2, timeout=LIMIT)
    kept: list[weakref.ref[Kept]] = []
    begun, over = threading.Event(), threading.Event()
    current_frames = sys._current_frames

    def look() -> Any:
        both_look.wait()
        found = current_frames()
        both_look.wait()
        return found

    def call() -> None:
        with Use("index", ([],), 10, "max_steps"):
            pass

    def work() -> None:
        mine = Kept()
        kept.append(weakref.ref(mine))
        begun.set()
        assert over.wait(LIMIT)

    monkeypatch.setattr(sys, "_current_frames", look)
    third = Use("index", ([],), 10, "max_steps")
    third._thread = -1
    monkeypatch.setitem(in_flight._in_order, third, None)
    monkeypatch.setitem(under_way, -1, [third])
    working = threading.Thread(target=work)
    calling = [threading.Thread(target=call) for _ in range(2)]
    gc.disable()
    try:
        working.start()
        assert begun.wait(LIMIT)
        for thread in calling:
            thread.start()
        for thread in calling:
            join(thread, LIMIT)
        over.set()
        join(working, LIMIT)
        assert [one() for one in kept] == [None]
    finally:
        over.set()
        gc.enable()


def test_case_120_a_loop_never_waits() -> None:
    """There a call is refused instead."""
    shared: OrderedDict[Any, Any] = OrderedDict()
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with Use("__setitem__", (shared, 1), 1000, "max_steps") as use:
            use.mark()
            begun.set()
            assert end.wait(LIMIT)
            use.unmark()

    async def clear() -> None:
        with Use("clear", (shared,), 1000, "max_steps"):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(LIMIT)
        with pytest.raises(RuntimeError, match=REFUSED):
            asyncio.run(clear())
    finally:
        end.set()
        join(thread, LIMIT)


@pytest.fixture
def waiting_call() -> Iterator[OrderedDict[Any, Any]]:
    """Yield what a call of another thread works on that waits for a peer."""
    shared: OrderedDict[Any, Any] = OrderedDict(a=1)
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with Use("__setitem__", ("b", 1, shared), 1000, "max_steps") as use:
            use.mark()
            begun.set()
            assert end.wait(LIMIT)
            use.unmark()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(LIMIT)
    try:
        yield shared
    finally:
        end.set()
        join(thread, LIMIT)


LONG = list(range(2000))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("__getitem__", (0, [LONG])),
        ("__getitem__", (0, LONG)),
        ("pop", (LONG,)),
        ("append", ([1], LONG)),
        ("__contains__", (5, set(LONG))),
        ("__setitem__", ((1, "a"), LONG, dict.fromkeys(LONG))),
        ("get", ("a", dict.fromkeys(LONG))),
        ("__len__", (deque(LONG),)),
        ("len", (LONG,)),
    ],
)
def test_case_120_plain_reads_of_others_are_not_compared(
    waiting_call: object, name: str, values: tuple[Any, ...]
) -> None:
    """What looks at no item of a large container is not refused while a stranger waits."""
    use = Use(name, values, 1000, "max_steps")
    with use:
        assert len(use._objects()) <= 1


def test_case_120_who_works_on_nothing_unsafe_costs_others_nothing() -> None:
    """What a call works on is not looked at if the one that waits has only safe objects."""
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with Use("__contains__", (Asking(), [1, 2]), 1000, "max_steps") as use:
            use.mark()
            begun.set()
            assert end.wait(LIMIT)
            use.unmark()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(LIMIT)
        with Use("sum", (LONG,), 1000, "max_steps"):
            pass
    finally:
        end.set()
        join(thread, LIMIT)


@pytest.mark.parametrize("name", ["__getitem__", "get", "__contains__", "__len__", "keys", "items"])
def test_case_120_looking_up_waits_for_nobody(
    waiting_call: OrderedDict[Any, Any], name: str
) -> None:
    """An OrderedDict is read while a call that changes it waits for a peer."""
    key = Point(1)
    values = (
        (waiting_call,) if name[-2:] in ("ms", "ys") or name == "__len__" else (key, waiting_call)
    )
    with Use(name, values, 1000, "max_steps") as use:
        assert not use._objects()


def test_case_120_who_looks_up_holds_nobody_up() -> None:
    """An OrderedDict is changed while a key that is looked up waits for what changes it."""
    shared: OrderedDict[Any, Any] = OrderedDict()
    done = threading.Event()

    def change() -> None:
        with Use("__setitem__", ("x", 1, shared), 1000, "max_steps"):
            shared["x"] = 1
        done.set()

    thread = threading.Thread(target=change)
    with Use("get", (Asking(), shared), 1000, "max_steps") as use:
        use.mark()
        thread.start()
        assert done.wait(LIMIT)
        use.unmark()
    join(thread, LIMIT)
    assert shared == {"x": 1}


@pytest.mark.parametrize("name", ["deque", "list"])
def test_case_120_a_consumer_takes_what_a_live_stream_has_given(
    connect: Callable[[], Any], name: str
) -> None:
    """An iterator goes on when another client has taken its item, as in one process."""
    first, second = connect(), connect()
    source, target = getattr(first, name), getattr(second, name)
    target.clear()
    taken = threading.Event()

    def live() -> Iterator[int]:
        yield 1
        assert taken.wait(LIMIT)
        yield 2

    thread = threading.Thread(target=lambda: source.extend(live()))
    thread.start()
    deadline = Timeout(LIMIT)
    while not len(target):
        assert not deadline.expired()
        deadline.sleep(0.01)
    assert target.pop() == 1
    taken.set()
    join(thread, LIMIT)
    assert list(target) == [2]


def test_who_waits_for_no_peer_refuses_nobody(connect: Callable[[], Any]) -> None:
    """One thread waits at a queue, and others put something into it."""
    first, second = connect(), connect()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(first.queue.get()))
    thread.start()
    second.queue.put(5)
    join(thread, LIMIT)
    assert got == [5]


def test_threads_use_the_same_object_at_once(connect: Callable[[], Any]) -> None:
    """Nobody is refused who asks no peer."""
    roots = [connect() for _ in range(4)]
    errors: list[BaseException] = []

    def work(root: Any) -> None:
        try:
            ordered, items = root.ordered, root.deque
            for number in range(50):
                ordered[number] = number
                items.append(number)
                items.count(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread, LIMIT)
    assert errors == []
    assert len(roots[0].deque) == 3 + 4 * 50


def test_keys_of_the_peer_read_other_objects(connect: Callable[[], Any]) -> None:
    """The function of a sort reads the items, the list itself, and other objects."""
    root = connect()
    items, ordered = root.list, root.ordered
    items.sort(key=lambda item: item + ordered["a"] + len(root.deque) + items.count(7))
    assert list(items) == [1, 2, 3]
    rows, deques = root.rows, root.deques
    rows.sort(key=lambda row: row["x"])
    assert [row["x"] for row in rows] == [1, 2, 3]
    deques.sort(key=lambda one: one.count(3))
    made = root.big
    assert list(root.sorted(made, key=lambda key: made[key])) == ["b", "c", "a"]
    assert [one[0] for one in deques] == [1, 2, 3]
    assert list(root.map(lambda one: one[0], deques)) == [1, 2, 3]


def test_what_never_changes_is_used_again(connect: Callable[[], Any]) -> None:
    """A pattern is used by the function that it calls, a cached function calls itself."""
    root = connect()
    pattern = root.pattern
    assert pattern.sub(lambda found: "x" if pattern.match("a") else "y", "abc") == "xxx"
    nested = root.nested
    assert nested(1, lambda number: nested(2, lambda number: number + 1)) == 3


class Asking:
    """A key that asks Erlang when it is compared."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return bool(erlang.call(Atom(b"m"), Atom(b"equals"), []))


class Offered:
    """Gives an OrderedDict, and keys."""

    ordered = staticmethod(lambda: Handle(OrderedDict({Asking(): 1})))
    key = staticmethod(lambda: Handle(Asking()))


@pytest.mark.parametrize("threads", [None, 4])
def test_case_120_erlang_is_refused_as_well(threads: int | None) -> None:
    """While Erlang is asked by C code, it does not change what that works on."""
    builtin, method = Atom(b"$rpyc_like"), Atom(b"method")
    with wired(resolve=only({"m": Offered}), threads=threads) as wire:
        ordered, key = (wire.call(b"m", name)[2] for name in (b"ordered", b"key"))
        wire.sock.settimeout(LIMIT)
        wire.send((Atom(b"C"), 1, builtin, method, [ordered, Atom(b"pop"), [key, 5]]))
        question = wire.receive()
        assert question[0] == b"C"
        wire.send((Atom(b"C"), 2, builtin, method, [ordered, Atom(b"clear"), []]))
        kind, number, problem = wire.receive()
        assert (kind, number) == (b"e", 2)
        assert REFUSED in problem[2].to_string()
        while question[0] == b"C":
            wire.send((Atom(b"r"), question[1], Atom(b"true")))
            question = wire.receive()
        assert question == (b"r", 1, 1)


SHARED: OrderedDict[Any, Any] = OrderedDict()


class Common:
    """Gives everybody the same OrderedDict."""

    ordered = staticmethod(lambda: Handle(SHARED))


def test_case_120_another_connection_of_erlang_waits() -> None:
    """Its call is served when the one that asks the first connection has ended."""
    builtin, method = Atom(b"$rpyc_like"), Atom(b"method")
    SHARED.clear()
    SHARED[Asking()] = 1
    resolve = only({"m": Common, "o": Offered})
    with wired(resolve=resolve, threads=4) as first, wired(resolve=resolve, threads=4) as second:
        ordered, others = (wire.call(b"m", b"ordered")[2] for wire in (first, second))
        key = first.call(b"o", b"key")[2]
        for wire in (first, second):
            wire.sock.settimeout(LIMIT)
        first.send((Atom(b"C"), 1, builtin, method, [ordered, Atom(b"pop"), [key, 5]]))
        question = first.receive()
        assert question[0] == b"C"
        second.send((Atom(b"C"), 2, builtin, method, [others, Atom(b"clear"), []]))
        waiting_for(1)
        while question[0] == b"C":
            first.send((Atom(b"r"), question[1], Atom(b"true")))
            question = first.receive()
        assert question == (b"r", 1, 1)
        assert second.receive()[:2] == (b"r", 2)
