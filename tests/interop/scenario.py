"""The same session against any server: ``scenario.py PACKAGE classic|service PORT``.

Uses only what RPyC 5.3.1, 6.0.2 and this package have in common. Prints a line for each step, and
how long the whole took.
"""

import gc
import importlib
import os
import sys
import tempfile
import threading
import time

package, kind, port = sys.argv[1:]
rpyc = importlib.import_module(package)
STEPS = []


def step(*kinds):
    def mark(func):
        if kind in kinds:
            STEPS.append(func)
        return func

    return mark


def eventually(condition, seconds=60.0):
    """Asks until the condition holds, because references are given back a moment later."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def expect(kind_of_error, func, *args):
    try:
        func(*args)
    except kind_of_error as error:
        return error
    raise AssertionError(f"{kind_of_error.__name__} was not raised")


# -- a service


@step("service")
def attributes(conn):
    item = conn.root.item(5)
    assert item.value == 5
    assert len(item) == 5
    assert item == conn.root.item(5)
    assert not item == conn.root.item(6)
    assert conn.root.same(1) is conn.root.same(1)
    assert not hasattr(conn.root, "missing")
    assert not hasattr(item, "items")
    assert isinstance(conn.root.numbers(3), list)


@step("service")
def hashes(conn):
    assert hash(conn.root.item(5)) == hash(conn.root.item(5))
    assert len({conn.root.item(5), conn.root.item(5), conn.root.item(6)}) == 2


@step("service")
def calls(conn):
    root = conn.root
    assert root.add(1) == 2
    assert root.add(1, b=5) == 6
    values = (
        None,
        True,
        3,
        -300,
        10**30,
        1.5,
        2j,
        "text",
        "ü" * 300,
        b"x" * 300,
        (),
        (1, (2, "3")),
    )
    for value in (*values, frozenset([1]), slice(1, 2, 3), NotImplemented, Ellipsis):
        assert root.echo(value) == value, value
    mine = [1, 2, 3]
    assert root.echo(mine) is mine
    assert root.echo((1, mine, ())) == (1, mine, ())
    assert root.item(2).double().double().value == 8


@step("service")
def callbacks(conn):
    root = conn.root
    assert root.call(lambda: 5) == 5
    assert root.call(lambda a, b: a - b, 5, b=3) == 2
    assert root.call(lambda item: item.value, root.item(7)) == 7
    assert root.call(lambda: root.call(lambda: root.add(1))) == 2
    back = expect(KeyError, root.call, {}.__getitem__, "lost")
    assert "lost" in str(back)


@step("service")
def exceptions(conn):
    error = expect(ValueError, conn.root.fail, "expected")
    assert error.args == ("expected",)
    assert "exposed_fail" in str(error)
    expect(AttributeError, getattr, conn.root, "conn")
    expect(AttributeError, setattr, conn.root, "x", 1)
    expect(TypeError, conn.root.add)
    assert conn.root.add(1) == 2


@step("service")
def iteration(conn):
    assert list(conn.root.numbers(20)) == list(range(20))
    assert [n for n in conn.root.generate(5)] == list(range(5))
    assert sum(conn.root.numbers(4)) == 6
    iterator = iter(conn.root.generate(1))
    assert next(iterator) == 0
    expect(StopIteration, next, iterator)


@step("service")
def asynchronous(conn):
    add = rpyc.async_(conn.root.add)
    results = [add(n) for n in range(50)]
    assert [result.value for result in results] == list(range(1, 51))
    done = []
    result = add(1)
    result.add_callback(lambda ready: done.append(ready.value))
    result.wait()
    assert result.ready and not result.error and done == [2]
    failing = rpyc.async_(conn.root.fail)("later")
    expect(ValueError, lambda: failing.value)
    assert failing.error


@step("service")
def upload_and_download(conn):
    data = os.urandom(300_000)
    assert conn.root.store(data) == data
    assert conn.root.store(b"z" * 2_000_000) == b"z" * 2_000_000


@step("service", "classic")
def threads(conn):
    add = conn.root.add if kind == "service" else conn.eval("lambda a, b: a + b")
    wrong = []

    def work(base):
        for n in range(30):
            if add(base, n) != base + n:
                wrong.append((base, n))

    workers = [threading.Thread(target=work, args=(base * 1000,)) for base in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert not wrong


@step("service")
def references(conn):
    held = conn.root.held
    gc.collect()
    eventually(lambda: held() == held())
    before = held()
    items = [conn.root.item(n) for n in range(10)]
    again = [conn.root.echo(item) for item in items]
    assert all(a is b for a, b in zip(items, again))
    assert held() == before + 10
    del items, again
    gc.collect()
    eventually(lambda: held() == before)
    mine = len(local_objects(conn))
    conn.root.call(lambda: 1)
    conn.root.echo([])
    gc.collect()
    eventually(lambda: conn.root.add(1) and len(local_objects(conn)) <= mine)


def local_objects(conn):
    table = conn._local_objects
    return getattr(table, "_dict", table)


# -- the whole interpreter


@step("classic")
def modules(conn):
    assert conn.modules.os.path.join("a", "b") == os.path.join("a", "b")
    assert conn.modules["xml.dom.minidom"].parseString("<a><b/></a>").documentElement.tagName == "a"
    assert "no_such_module" not in conn.modules
    assert conn.modules.sys.getrecursionlimit() > 0
    assert conn.modules.os.getpid() != os.getpid()


@step("classic")
def interpreter(conn):
    conn.execute("numbers = [3, 1, 2]")
    numbers = conn.namespace["numbers"]
    numbers.append(0)
    assert sorted(numbers) == [0, 1, 2, 3]
    assert conn.eval("len(numbers)") == 4
    assert conn.builtin.sum(numbers) == 6
    conn.namespace["text"] = "set from here"
    assert conn.eval("text.upper()") == "SET FROM HERE"
    assert list(conn.builtin.map(lambda n: n * 2, [1, 2])) == [2, 4]
    error = expect(ZeroDivisionError, conn.eval, "1 / 0")
    assert "division" in str(error)
    assert conn.teleport(lambda a, b=2: a * b)(21) == 42


@step("classic")
def by_value(conn):
    assert rpyc.classic.obtain(conn.eval("{'a': [1, 2]}")) == {"a": [1, 2]}
    there = rpyc.classic.deliver(conn, {"b": [3]})
    assert conn.builtin.str(there) == "{'b': [3]}"
    assert rpyc.classic.obtain(there) == {"b": [3]}


@step("classic")
def files(conn):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "source")
        os.makedirs(os.path.join(source, "inner"))
        contents = {"a.bin": os.urandom(200_000), os.path.join("inner", "b.txt"): b"text\n"}
        for name, data in contents.items():
            with open(os.path.join(source, name), "wb") as file:
                file.write(data)
        rpyc.classic.upload(conn, source, os.path.join(folder, "there"))
        rpyc.classic.download(conn, os.path.join(folder, "there"), os.path.join(folder, "back"))
        for name, data in contents.items():
            with open(os.path.join(folder, "back", name), "rb") as file:
                assert file.read() == data


@step("classic")
def classic_references(conn):
    conn.execute(
        "def held(root):\n"
        "    table = root.getconn()._local_objects\n"
        "    return len(getattr(table, '_dict', table))\n"
        "class Thing: pass\n"
    )
    held, make, root = conn.namespace["held"], conn.namespace["Thing"], conn.root
    gc.collect()
    held(root)
    before = held(root)
    things = [make() for _ in range(10)]
    assert held(root) >= before + 10
    del things
    gc.collect()
    eventually(lambda: held(root) == before)


def main():
    started = time.perf_counter()
    if kind == "classic":
        conn = rpyc.classic.connect("127.0.0.1", int(port))
    else:
        conn = rpyc.connect("127.0.0.1", int(port))
    for func in STEPS:
        func(conn)
        print("ok", func.__name__, flush=True)
    conn.ping()
    closing = time.perf_counter()
    conn.close()
    conn.close()
    assert conn.closed
    expect(EOFError, conn.ping)
    assert time.perf_counter() - closing < 15
    print(f"done in {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
